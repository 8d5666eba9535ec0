//! The thread of WebSockets.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use mio::{Events, Interest, Poll, Token};
use samara_proto::ids::WireHash;
use samara_proto::signal::{Config, ConnId, Signal};
use samara_proto::time::Time;
use slab::Slab;
use tungstenite::protocol::frame::coding::CloseCode;

use super::line::{Heard, Line, Patience};
use super::{Arrival, Door};
use crate::clock::Clock;

/// Events taken from the system at one time.
const EVENTS: usize = 1024;

/// How often it looks after the silent and at those who said too much.
const SWEEP: Duration = Duration::from_secs(1);

/// How long a stopping hub waits for clients to take leave.
const GRACE: Duration = Duration::from_secs(3);

/// Messages read from one connection before it is another's turn.
const TURN: usize = 32;

/// Bits of a connection's name that say where it is kept; the rest counts up.
const SLOT_BITS: u32 = 20;

const WAKE: Token = Token(usize::MAX);

/// Which torrents the operator wants.
pub(crate) trait Policy {
    /// Whether a torrent is served.
    fn serves(&mut self, torrent: &WireHash) -> bool;

    /// Another number whenever the answers may have changed.
    fn edition(&self) -> u64;
}

/// All WebSockets, and who is led to whom.
pub(crate) struct Switchboard<P> {
    poll: Poll,
    door: Arc<Door>,
    lines: Slab<Line>,
    signal: Signal,
    policy: P,
    edition: u64,
    patience: Patience,
    clock: Clock,
    /// Connections so far.
    opened: u64,
    /// Connections that have more to be read.
    busy: BTreeSet<usize>,
    /// Connections that said too much and have to wait.
    held: BTreeSet<usize>,
}

impl<P: Policy> Switchboard<P> {
    /// A switchboard without connections; the choices of its swarms follow from `seed`.
    ///
    /// # Errors
    /// If the system gives no queue of events.
    pub(crate) fn new(config: Config, policy: P, clock: Clock, seed: u64) -> io::Result<Self> {
        let poll = Poll::new()?;
        Ok(Self {
            door: Door::new(poll.registry(), WAKE)?,
            poll,
            lines: Slab::new(),
            signal: Signal::new(config, seed),
            edition: policy.edition(),
            policy,
            patience: Patience::default(),
            clock,
            opened: 0,
            busy: BTreeSet::new(),
            held: BTreeSet::new(),
        })
    }

    /// Where connections come in.
    pub(crate) fn door(&self) -> Arc<Door> {
        Arc::clone(&self.door)
    }

    /// Works until stopped.
    ///
    /// # Errors
    /// If the system's queue of events fails.
    pub(crate) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        let mut next_sweep = self.clock.now() + SWEEP;
        while !self.door.is_stopped() {
            self.turn(&mut events, &mut next_sweep)?;
        }
        let end = self.clock.now() + GRACE;
        self.end_those(|line| line.close(CloseCode::Away, "the tracker stops"));
        while !self.lines.is_empty() && self.clock.now() < end {
            self.turn(&mut events, &mut next_sweep)?;
        }
        Ok(())
    }

    fn turn(&mut self, events: &mut Events, next_sweep: &mut Time) -> io::Result<()> {
        let wait = match (self.busy.is_empty(), self.lines.is_empty()) {
            (false, _) => Some(Duration::ZERO),
            (true, false) => Some(SWEEP),
            (true, true) => None,
        };
        match self.poll.poll(events, wait) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => return Ok(()),
            other => other?,
        }
        let now = self.clock.now();
        let busy = std::mem::take(&mut self.busy);
        for event in events.iter() {
            match event.token() {
                WAKE => self.door.take().into_iter().for_each(|arrival| self.open(arrival, now)),
                Token(key) => self.drive(key, now),
            }
        }
        busy.into_iter().for_each(|key| self.drive(key, now));
        if now >= *next_sweep {
            *next_sweep = now + SWEEP;
            self.sweep(now);
        }
        Ok(())
    }

    fn open(&mut self, arrival: Arrival, now: Time) {
        if self.door.is_stopped() {
            return self.door.one_left();
        }
        let key = self.lines.vacant_key();
        self.opened += 1;
        let id = ConnId(self.opened << SLOT_BITS | key as u64);
        let mut line = Line::new(id, arrival.channel, arrival.rest, now);
        let both = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = self.poll.registry().register(line.stream(), Token(key), both) {
            tracing::warn!(%error, "cannot wait for a connection");
            return self.door.one_left();
        }
        self.lines.insert(line);
        self.signal.open(now, id);
        // What came behind the request brings no event.
        self.drive(key, now);
    }

    /// Sends and reads what can be.
    fn drive(&mut self, key: usize, now: Time) {
        let Some(line) = self.lines.get_mut(key) else { return };
        if !line.flush() {
            return self.close(key);
        }
        line.begin_turn();
        for _ in 0..TURN {
            let Some(line) = self.lines.get_mut(key) else { return };
            let id = line.id;
            if self.signal.may_say_at(id) > now {
                self.held.insert(key);
                return;
            }
            match line.read(now) {
                Heard::Message(message) => {
                    self.signal.handle(now, id, &message, |hash| self.policy.serves(hash));
                    self.deliver();
                }
                Heard::Control => {}
                Heard::Nothing => return,
                Heard::Enough => break,
                Heard::End => return self.close(key),
            }
        }
        self.busy.insert(key);
    }

    /// Sends what is to be sent. Who does not read is dropped.
    fn deliver(&mut self) {
        while let Some(output) = self.signal.poll() {
            let key = (output.to.0 & ((1 << SLOT_BITS) - 1)) as usize;
            let line = self.lines.get_mut(key).filter(|line| line.id == output.to);
            if line.is_some_and(|line| !line.send(output.text)) {
                self.close(key);
            }
        }
    }

    fn close(&mut self, key: usize) {
        let Some(mut line) = self.lines.try_remove(key) else { return };
        if let Err(error) = self.poll.registry().deregister(line.stream()) {
            tracing::debug!(%error, "cannot let go of a connection");
        }
        self.signal.close(line.id);
        self.door.one_left();
    }

    /// Ends the connections that do not live.
    fn end_those(&mut self, mut lives: impl FnMut(&mut Line) -> bool) {
        let dead = |(key, line): (usize, &mut Line)| (!lives(line)).then_some(key);
        let dead: Vec<_> = self.lines.iter_mut().filter_map(dead).collect();
        dead.into_iter().for_each(|key| self.close(key));
    }

    fn sweep(&mut self, now: Time) {
        self.signal.expire(now);
        let edition = self.policy.edition();
        if std::mem::replace(&mut self.edition, edition) != edition {
            self.signal.revise(|hash| self.policy.serves(hash));
        }
        let patience = self.patience;
        self.end_those(|line| line.look_after(now, patience));
        std::mem::take(&mut self.held).into_iter().for_each(|key| self.drive(key, now));
        self.door.publish(self.signal.sizes(), self.signal.counters());
    }
}

#[cfg(test)]
mod tests;
