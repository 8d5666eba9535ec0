//! One thread of the HTTP front end: accepts, reads, answers, and ends what takes too long.

use std::io;
use std::net::{IpAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};
use rustls::{ServerConfig, ServerConnection};
use samara_proto::http::server::{Connection, Limits, Reply, Server};
use samara_proto::time::Time;
use slab::Slab;

use super::channel::Channel;
use super::front::{Desk, Front, Mailbox};
use super::socket::{Fate, Room, Socket};
use crate::clock::Clock;
use crate::metrics::Count;
use crate::shared::Reader;
use crate::stopper::Stopper;

/// Events taken from the system at one time.
const EVENTS: usize = 1024;

/// How often deadlines are looked at.
const SWEEP: Duration = Duration::from_secs(1);

/// How long a stopping hub waits for answers to be taken.
const GRACE: Duration = Duration::from_secs(3);

/// Connections accepted in a row; then it is the turn of those that are there.
const ACCEPTS: usize = 64;

/// So many connections are looked at to find one to give up when there are too many.
const CANDIDATES: usize = 16;

const WAKE: Token = Token(usize::MAX);

/// Listeners count down from here; connections count up from 0.
const FIRST_LISTENER: usize = usize::MAX - 1;

/// Where one worker accepts connections.
#[derive(Debug, Default)]
pub(crate) struct Listeners {
    pub(crate) plain: Vec<StdListener>,
    pub(crate) encrypted: Vec<StdListener>,
    /// Needed for encrypted ones.
    pub(crate) greeting: Option<Reader<ServerConfig>>,
}

/// One thread of the front end.
#[derive(Debug)]
pub(crate) struct Worker<F> {
    poll: Poll,
    listeners: Vec<(TcpListener, bool)>,
    /// For connections that are to be encrypted.
    greeting: Option<Reader<ServerConfig>>,
    sockets: Slab<Socket>,
    server: Server<F>,
    mailbox: Arc<Mailbox>,
    room: Room,
    clock: Clock,
    stopper: Stopper,
    max_connections: usize,
    /// Where the search for a connection to give up goes on.
    hand: usize,
    /// Connections that have to be driven again, and whether more may wait to be accepted.
    again: Vec<usize>,
    crowded: bool,
    /// Accepting failed, mostly for want of descriptors, and is tried again later.
    blocked: bool,
}

impl<F: Front> Worker<F> {
    /// A worker that accepts from `listeners` and answers by the front that `make` makes.
    ///
    /// # Errors
    /// If the system gives no queue of events.
    pub(crate) fn new(
        listeners: Listeners,
        make: impl FnOnce(Desk) -> F,
        limits: Limits,
        clock: Clock,
        max_connections: usize,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
        let Listeners { plain, encrypted, greeting } = listeners;
        let plain = plain.into_iter().map(|listener| (TcpListener::from_std(listener), false));
        let encrypted = encrypted.into_iter().map(|listener| (TcpListener::from_std(listener), true));
        let mut listeners: Vec<_> = plain.chain(encrypted).collect();
        for (i, (listener, _)) in listeners.iter_mut().enumerate() {
            poll.registry().register(listener, Token(FIRST_LISTENER - i), Interest::READABLE)?;
        }
        let mailbox = Mailbox::new(Arc::clone(&waker));
        let server = Server::new(limits, make(Desk::new(Arc::clone(&mailbox))));
        Ok(Self {
            poll,
            listeners,
            greeting,
            sockets: Slab::new(),
            server,
            mailbox,
            room: Room::new(),
            clock,
            stopper: Stopper::new(waker),
            max_connections,
            hand: 0,
            again: Vec::new(),
            crowded: false,
            blocked: false,
        })
    }

    /// What ends it.
    pub(crate) fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Works until stopped.
    ///
    /// # Errors
    /// If the system's queue of events fails.
    pub(crate) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        let mut next_sweep = self.clock.now() + SWEEP;
        while !self.stopper.is_asked() {
            self.turn(&mut events, &mut next_sweep)?;
        }
        self.listeners.clear();
        let end = self.clock.now() + GRACE;
        self.retain(|socket| !socket.is_idle());
        while !self.sockets.is_empty() && self.clock.now() < end {
            self.turn(&mut events, &mut next_sweep)?;
            self.retain(|socket| !socket.is_idle());
        }
        Ok(())
    }

    fn turn(&mut self, events: &mut Events, next_sweep: &mut Time) -> io::Result<()> {
        match self.poll.poll(events, self.patience()) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => return Ok(()),
            other => other?,
        }
        let now = self.clock.now();
        for event in events.iter() {
            match event.token() {
                WAKE => self.deliver(now),
                Token(i) if i > FIRST_LISTENER - 1 - self.listeners.len() => {
                    self.accept(FIRST_LISTENER - i, now)
                }
                Token(key) => self.drive(key, event.is_read_closed(), now),
            }
        }
        self.go_on(now);
        if now >= *next_sweep {
            *next_sweep = now + SWEEP;
            self.sweep(now);
        }
        Ok(())
    }

    /// How long to wait for something to happen.
    fn patience(&self) -> Option<Duration> {
        let idle = self.sockets.is_empty() && !self.blocked;
        let more = self.crowded || !self.again.is_empty();
        if more { Some(Duration::ZERO) } else { (!idle).then_some(SWEEP) }
    }

    /// Does what was left for others to have their turn. The system will not tell of it again.
    fn go_on(&mut self, now: Time) {
        for key in std::mem::take(&mut self.again) {
            self.drive(key, true, now);
        }
        if std::mem::take(&mut self.crowded) {
            (0..self.listeners.len()).for_each(|i| self.accept(i, now));
        }
    }

    fn accept(&mut self, listener: usize, now: Time) {
        for _ in 0..ACCEPTS {
            let Some((listener, encrypted)) = self.listeners.get(listener) else { return };
            let encrypted = *encrypted;
            match listener.accept() {
                Ok((stream, addr)) => self.admit(stream, addr.ip(), encrypted, now),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(e)
                    if matches!(e.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted) => {}
                // Out of descriptors: as with too many connections, who is slow or idle makes room.
                Err(e) if is_full(&e) && !self.sockets.is_empty() => self.give_one_up(),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    self.blocked = true;
                    return;
                }
            }
        }
        self.crowded = true;
    }

    fn admit(&mut self, stream: TcpStream, sender: IpAddr, encrypted: bool, now: Time) {
        let Ok(channel) = self.channel(stream, encrypted) else { return };
        if self.sockets.len() >= self.max_connections {
            self.give_one_up();
        }
        self.server.handler.count(Count::Opened, 1);
        let mut socket = Socket::new(channel, sender, Connection::new(now, &self.server.limits));
        let entry = self.sockets.vacant_entry();
        // The request is often there already.
        self.server.handler.asked_by(socket.sender, entry.key());
        match socket.drive(now, false, &mut self.server, &mut self.room) {
            Fate::Stays => {}
            Fate::Continues => self.again.push(entry.key()),
            Fate::Ends => return self.server.handler.count(Count::Closed, 1),
            Fate::Leaves => return self.server.handler.take_over(socket.into_gone()),
        }
        let both = Interest::READABLE | Interest::WRITABLE;
        match self.poll.registry().register(&mut socket.channel.stream, Token(entry.key()), both) {
            Ok(()) => _ = entry.insert(socket),
            Err(error) => {
                self.server.handler.count(Count::Closed, 1);
                tracing::warn!(%error, "cannot wait for a connection");
            }
        }
    }

    fn channel(&mut self, stream: TcpStream, encrypted: bool) -> Result<Channel, rustls::Error> {
        let greeting = self.greeting.as_mut().filter(|_| encrypted);
        let tls = greeting.map(|greeting| ServerConnection::new(Arc::clone(greeting.get()))).transpose()?;
        Ok(Channel::new(stream, tls))
    }

    fn drive(&mut self, key: usize, at_end: bool, now: Time) {
        let Some(socket) = self.sockets.get_mut(key) else { return };
        self.server.handler.asked_by(socket.sender, key);
        let fate = socket.drive(now, at_end, &mut self.server, &mut self.room);
        self.settle(key, fate);
    }

    /// Passes on what other threads answered.
    fn deliver(&mut self, now: Time) {
        for (key, ticket, answer) in self.mailbox.take() {
            self.answer(key, ticket, now, |front, reply| {
                front.count(answer.counts, 1);
                answer.fill(reply);
            });
        }
    }

    fn answer(&mut self, key: usize, ticket: u64, now: Time, fill: impl FnOnce(&mut F, &mut Reply)) {
        let Some(socket) = self.sockets.get_mut(key) else { return };
        self.server.handler.asked_by(socket.sender, key);
        let fate = socket.answer(now, ticket, &mut self.server, &mut self.room, |front, reply| {
            fill(front, reply);
            if reply.status.is_error() {
                front.count(Count::Errors, 1);
            }
        });
        self.settle(key, fate);
    }

    fn settle(&mut self, key: usize, fate: Fate) {
        match fate {
            Fate::Stays => return,
            Fate::Continues => return self.again.push(key),
            Fate::Ends | Fate::Leaves => {}
        }
        let mut socket = self.sockets.remove(key);
        if fate == Fate::Ends {
            return self.server.handler.count(Count::Closed, 1);
        }
        match self.poll.registry().deregister(&mut socket.channel.stream) {
            Ok(()) => self.server.handler.take_over(socket.into_gone()),
            Err(error) => tracing::warn!(%error, "cannot let go of a connection"),
        }
    }

    /// Of a few connections, ends the one whose time would be up first: who is slow or idle makes room for who comes.
    fn give_one_up(&mut self) {
        let slots = self.sockets.capacity().max(1);
        let start = self.hand;
        self.hand = (start + CANDIDATES) % slots;
        let some =
            (0..slots).map(|i| (start + i) % slots).filter_map(|key| Some((self.sockets.get(key)?, key)));
        let first = some.take(CANDIDATES).min_by_key(|(socket, _)| socket.deadline()).map(|(_, key)| key);
        if let Some(key) = first {
            self.settle(key, Fate::Ends);
        }
    }

    /// Ends all but those.
    fn retain(&mut self, those: impl Fn(&Socket) -> bool) {
        let before = self.sockets.len();
        self.sockets.retain(|_, socket| those(socket));
        self.server.handler.count(Count::Closed, (before - self.sockets.len()) as u64);
    }

    fn sweep(&mut self, now: Time) {
        let late = |(key, socket): (usize, &Socket)| {
            let ticket = socket.awaited().filter(|_| socket.deadline() <= now)?;
            Some((key, ticket))
        };
        let overdue: Vec<_> = self.sockets.iter().filter_map(late).collect();
        for (key, ticket) in overdue {
            self.answer(key, ticket, now, F::overdue);
        }
        self.retain(|socket| socket.deadline() > now);
        if std::mem::take(&mut self.blocked) {
            (0..self.listeners.len()).for_each(|i| self.accept(i, now));
        }
    }
}

/// Whether the process or the system has too many files open: `EMFILE` and `ENFILE`, the same numbers on every Unix.
fn is_full(error: &io::Error) -> bool {
    cfg!(unix) && matches!(error.raw_os_error(), Some(23 | 24))
}

#[cfg(test)]
mod tests;
