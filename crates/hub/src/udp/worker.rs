//! One thread of the front end, with a socket at each address.

use std::io;
use std::net::UdpSocket as StdSocket;
use std::sync::Arc;
use std::time::Duration;

use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token, Waker};

use super::batch::{BATCH, Batch};
use super::service::{Origin, Service};
use crate::clock::Clock;
use crate::dht::Letter;
use crate::metrics::Count;
use crate::stopper::Stopper;

/// Batches of one socket before another one's turn.
const TURN: usize = 16;

const WAKE: Token = Token(usize::MAX);

/// A socket and its datagrams.
struct Line {
    socket: Arc<UdpSocket>,
    batch: Batch,
    /// Answers of the DHT node.
    letters: Vec<Letter>,
    /// More may have come than was taken.
    ready: bool,
}

/// One thread of the front end.
pub(crate) struct Worker {
    poll: Poll,
    sockets: Vec<Arc<UdpSocket>>,
    service: Service,
    clock: Clock,
    stopper: Stopper,
}

impl Worker {
    /// A worker that answers at `sockets`.
    ///
    /// # Errors
    /// If the system gives no queue of events.
    pub(crate) fn new(sockets: Vec<StdSocket>, service: Service, clock: Clock) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
        let mut sockets: Vec<_> = sockets.into_iter().map(UdpSocket::from_std).collect();
        for (i, socket) in sockets.iter_mut().enumerate() {
            poll.registry().register(socket, Token(i), Interest::READABLE)?;
        }
        let sockets = sockets.into_iter().map(Arc::new).collect();
        Ok(Self { poll, sockets, service, clock, stopper: Stopper::new(waker) })
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
        let mut events = Events::with_capacity(64);
        // Here, because the system's descriptions of batches stay in one thread.
        let lines: io::Result<Vec<_>> = self.sockets.drain(..).map(Line::new).collect();
        let mut lines = lines?;
        while !self.stopper.is_asked() {
            let busy = lines.iter().any(|line| line.ready);
            match self.poll.poll(&mut events, busy.then_some(Duration::ZERO)) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            }
            for event in &events {
                if let Some(line) = lines.get_mut(event.token().0) {
                    line.ready = true;
                }
            }
            let ready = lines.iter_mut().filter(|line| line.ready);
            ready.for_each(|line| line.turn(&mut self.service, self.clock));
        }
        Ok(())
    }
}

impl Line {
    fn new(socket: Arc<UdpSocket>) -> io::Result<Self> {
        let batch = Batch::new(socket.local_addr()?);
        Ok(Self { socket, batch, letters: Vec::new(), ready: true })
    }

    /// Answers some batches.
    fn turn(&mut self, service: &mut Service, clock: Clock) {
        for _ in 0..TURN {
            match self.batch.receive(&self.socket) {
                Ok(count) => {
                    self.answer(service, clock);
                    // The system found nothing more; what comes now is an event.
                    if count < BATCH {
                        self.ready = false;
                        return;
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    self.ready = false;
                    return;
                }
                // What an earlier answer met with, or a signal: there may be datagrams all the same.
                Err(error) => tracing::debug!(%error, "cannot read a socket"),
            }
        }
    }

    fn answer(&mut self, service: &mut Service, clock: Clock) {
        let now = clock.now();
        let socket = &self.socket;
        self.batch.each(|from, datagram, out| service.answer(Origin { now, socket, from }, datagram, out));
        self.letters.clear();
        service.answer_messages(now, self.batch.requests(), &mut self.letters);
        let unsent = self.batch.send(socket) + self.batch.send_others(socket, &self.letters);
        let (received, sent) = self.batch.bytes();
        let sent = sent + self.letters.iter().map(|letter| letter.bytes.len()).sum::<usize>();
        service.tally.add(Count::Received, received as u64);
        service.tally.add(Count::Sent, sent as u64);
        service.tally.add(Count::Unsent, unsent as u64);
    }
}
