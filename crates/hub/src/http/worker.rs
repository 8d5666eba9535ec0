//! One thread of the HTTP front end: accepts, reads, answers, and ends what takes too long.

use std::io;
use std::net::TcpListener as StdListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};
use samara_proto::http::server::{Connection, Server};
use samara_proto::time::Time;
use slab::Slab;

use super::Service;
use super::socket::{Fate, Room, Socket};
use crate::clock::Clock;

/// Events taken from the system at one time.
const EVENTS: usize = 1024;

/// How often deadlines are looked at.
const SWEEP: Duration = Duration::from_secs(1);

/// How long a stopping hub waits for answers to be taken.
const GRACE: Duration = Duration::from_secs(3);

/// So many connections are looked at to find one to give up when there are too many.
const CANDIDATES: usize = 16;

const WAKE: Token = Token(usize::MAX);

/// Listeners count down from here; connections count up from 0.
const FIRST_LISTENER: usize = usize::MAX - 1;

/// Ends a worker.
#[derive(Clone, Debug)]
pub(crate) struct Stopper {
    stop: Arc<AtomicBool>,
    waker: Arc<Waker>,
}

impl Stopper {
    /// Asks the worker to finish what it is at. It is heard even if the worker is busy.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        if let Err(error) = self.waker.wake() {
            tracing::warn!(%error, "a worker cannot be woken");
        }
    }
}

/// One thread of the front end.
#[derive(Debug)]
pub(crate) struct Worker {
    poll: Poll,
    listeners: Vec<TcpListener>,
    sockets: Slab<Socket>,
    server: Server<Service>,
    room: Room,
    clock: Clock,
    stop: Arc<AtomicBool>,
    waker: Arc<Waker>,
    max_connections: usize,
    /// Where the search for a connection to give up goes on.
    hand: usize,
    /// Accepting failed, mostly for want of descriptors, and is tried again later.
    blocked: bool,
}

impl Worker {
    /// A worker that accepts from `listeners`.
    ///
    /// # Errors
    /// If the system gives no queue of events.
    pub(crate) fn new(
        listeners: Vec<StdListener>,
        server: Server<Service>,
        clock: Clock,
        max_connections: usize,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
        let mut listeners: Vec<_> = listeners.into_iter().map(TcpListener::from_std).collect();
        for (i, listener) in listeners.iter_mut().enumerate() {
            poll.registry().register(listener, Token(FIRST_LISTENER - i), Interest::READABLE)?;
        }
        Ok(Self {
            poll,
            listeners,
            sockets: Slab::new(),
            server,
            room: Room::new(),
            clock,
            stop: Arc::default(),
            waker,
            max_connections,
            hand: 0,
            blocked: false,
        })
    }

    /// What ends it.
    pub(crate) fn stopper(&self) -> Stopper {
        Stopper { stop: Arc::clone(&self.stop), waker: Arc::clone(&self.waker) }
    }

    /// Works until stopped.
    ///
    /// # Errors
    /// If the system's queue of events fails.
    pub(crate) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        let mut next_sweep = self.clock.now() + SWEEP;
        while !self.stop.load(Ordering::Acquire) {
            self.turn(&mut events, &mut next_sweep)?;
        }
        self.listeners.clear();
        let end = self.clock.now() + GRACE;
        self.sockets.retain(|_, socket| !socket.is_idle());
        while !self.sockets.is_empty() && self.clock.now() < end {
            self.turn(&mut events, &mut next_sweep)?;
            self.sockets.retain(|_, socket| !socket.is_idle());
        }
        Ok(())
    }

    fn turn(&mut self, events: &mut Events, next_sweep: &mut Time) -> io::Result<()> {
        let idle = self.sockets.is_empty() && !self.blocked;
        match self.poll.poll(events, (!idle).then_some(SWEEP)) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => return Ok(()),
            other => other?,
        }
        let now = self.clock.now();
        for event in events.iter() {
            match event.token() {
                WAKE => {}
                Token(i) if i > FIRST_LISTENER - 1 - self.listeners.len() => {
                    self.accept(FIRST_LISTENER - i, now)
                }
                Token(key) => self.drive(key, event.is_read_closed(), now),
            }
        }
        if now >= *next_sweep {
            *next_sweep = now + SWEEP;
            self.sweep(now);
        }
        Ok(())
    }

    fn accept(&mut self, listener: usize, now: Time) {
        while let Some(accepted) = self.listeners.get(listener).map(TcpListener::accept) {
            match accepted {
                Ok((stream, addr)) => self.admit(stream, addr.ip(), now),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(e)
                    if matches!(e.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    self.blocked = true;
                    return;
                }
            }
        }
    }

    fn admit(&mut self, stream: TcpStream, sender: std::net::IpAddr, now: Time) {
        if self.sockets.len() >= self.max_connections {
            self.give_one_up();
        }
        let mut socket = Socket::new(stream, sender, Connection::new(now, &self.server.limits));
        // The request is often there already.
        if socket.drive(now, false, &mut self.server, &mut self.room) == Fate::Ends {
            return;
        }
        let entry = self.sockets.vacant_entry();
        let both = Interest::READABLE | Interest::WRITABLE;
        match self.poll.registry().register(&mut socket.stream, Token(entry.key()), both) {
            Ok(()) => drop(entry.insert(socket)),
            Err(error) => tracing::warn!(%error, "cannot wait for a connection"),
        }
    }

    fn drive(&mut self, key: usize, at_end: bool, now: Time) {
        let Some(socket) = self.sockets.get_mut(key) else { return };
        if socket.drive(now, at_end, &mut self.server, &mut self.room) == Fate::Ends {
            self.sockets.remove(key);
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
            self.sockets.remove(key);
        }
    }

    fn sweep(&mut self, now: Time) {
        self.sockets.retain(|_, socket| socket.deadline() > now);
        if std::mem::take(&mut self.blocked) {
            (0..self.listeners.len()).for_each(|i| self.accept(i, now));
        }
    }
}
