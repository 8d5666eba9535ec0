//! The sockets to the servers, by the number that the machine gives them.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use samara_proto::redis::{Client, Host, NodeId};

use super::Bell;

/// Names that are looked up at a time; each is a thread, since the system's resolver blocks.
const LOOKUPS: usize = 8;

/// Bytes read by one call.
const READ: usize = 64 * 1024;

/// Such calls before others have their turn.
const READS: usize = 16;

/// A connection, or one in the making.
#[derive(Debug)]
struct Line {
    attempt: u64,
    stream: Option<TcpStream>,
    connected: bool,
    /// Where else the server may be, the last one first.
    others: Vec<SocketAddr>,
}

/// What a look-up led to.
type Found = (NodeId, u64, io::Result<Vec<SocketAddr>>);

#[derive(Debug)]
pub(super) struct Lines {
    registry: Registry,
    lines: Vec<Option<Line>>,
    lookups: usize,
    finder: SyncSender<Found>,
    found: Receiver<Found>,
    bell: Arc<Bell>,
    room: Box<[u8]>,
}

impl Lines {
    pub(super) fn new(registry: Registry, bell: Arc<Bell>) -> Self {
        let (finder, found) = mpsc::sync_channel(LOOKUPS);
        Self { registry, lines: Vec::new(), lookups: 0, finder, found, bell, room: vec![0; READ].into() }
    }

    /// Begins to connect.
    ///
    /// # Errors
    /// If that failed already.
    pub(super) fn open(&mut self, node: NodeId, attempt: u64, host: &Host) -> io::Result<()> {
        if self.lines.len() <= node {
            self.lines.resize_with(node + 1, || None);
        }
        self.lines[node] = Some(Line { attempt, stream: None, connected: false, others: Vec::new() });
        match host.name.parse::<IpAddr>() {
            Ok(ip) => self.try_all(node, vec![SocketAddr::new(ip, host.port)]),
            Err(_) => self.look_up(node, attempt, host),
        }
    }

    pub(super) fn close(&mut self, node: NodeId) {
        if let Some(line) = self.lines.get_mut(node) {
            // The system forgets its events together with the socket.
            *line = None;
        }
    }

    /// The attempt that a server's connection belongs to.
    pub(super) fn attempt(&self, node: NodeId) -> Option<u64> {
        self.line(node).map(|line| line.attempt)
    }

    fn line(&self, node: NodeId) -> Option<&Line> {
        self.lines.get(node)?.as_ref()
    }

    fn look_up(&mut self, node: NodeId, attempt: u64, host: &Host) -> io::Result<()> {
        if self.lookups >= LOOKUPS {
            return Err(io::Error::other("too many names are being looked up"));
        }
        let (finder, bell, host) = (self.finder.clone(), Arc::clone(&self.bell), host.clone());
        thread::Builder::new().name("lookup".into()).spawn(move || {
            let addrs = (&*host.name, host.port).to_socket_addrs().map(Iterator::collect);
            // There is room for as many as are under way.
            if finder.try_send((node, attempt, addrs)).is_ok() {
                // Unlike at the queue of questions, the thread does not look again before it sleeps.
                bell.wake();
            }
        })?;
        self.lookups += 1;
        Ok(())
    }

    /// Connects to what was looked up; returns the servers that cannot be connected to.
    pub(super) fn take_found(&mut self) -> Vec<(NodeId, u64)> {
        let mut failed = Vec::new();
        while let Ok((node, attempt, addrs)) = self.found.try_recv() {
            self.lookups -= 1;
            if self.attempt(node) != Some(attempt) {
                continue;
            }
            if let Err(error) = addrs.and_then(|addrs| self.try_all(node, addrs)) {
                tracing::debug!(%error, "a server of the store cannot be found");
                failed.push((node, attempt));
            }
        }
        failed
    }

    /// Begins to connect to the first address that takes it.
    fn try_all(&mut self, node: NodeId, mut addrs: Vec<SocketAddr>) -> io::Result<()> {
        addrs.reverse();
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        while let Some(addr) = addrs.pop() {
            match self.try_one(node, addr) {
                Ok(stream) => {
                    if let Some(Some(line)) = self.lines.get_mut(node) {
                        (line.stream, line.connected, line.others) = (Some(stream), false, addrs);
                    }
                    return Ok(());
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn try_one(&self, node: NodeId, addr: SocketAddr) -> io::Result<TcpStream> {
        let mut stream = TcpStream::connect(addr)?;
        self.registry.register(&mut stream, Token(node), Interest::READABLE | Interest::WRITABLE)?;
        Ok(stream)
    }

    /// Whether a connection stands by now; `None` if it is still in the making.
    pub(super) fn is_connected(&mut self, node: NodeId) -> io::Result<Option<bool>> {
        let Some(Some(line)) = self.lines.get_mut(node) else { return Ok(None) };
        let Some(stream) = &line.stream else { return Ok(None) };
        if line.connected {
            return Ok(Some(false));
        }
        let state = match stream.take_error()? {
            Some(error) => Err(error),
            None => stream.peer_addr().map(|_| ()),
        };
        match state {
            Ok(()) => {
                line.connected = true;
                let _ = stream.set_nodelay(true);
                Ok(Some(true))
            }
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(None),
            Err(error) => {
                let others = std::mem::take(&mut line.others);
                if others.is_empty() {
                    return Err(error);
                }
                // As they lie, the last is first.
                self.try_all(node, others.into_iter().rev().collect()).map(|()| None)
            }
        }
    }

    /// Sends what the machine has for a server.
    pub(super) fn flush(&mut self, node: NodeId, client: &mut Client) -> io::Result<()> {
        let Some(Some(Line { stream: Some(stream), connected: true, .. })) = self.lines.get_mut(node) else {
            return Ok(());
        };
        while !client.outgoing(node).is_empty() {
            match stream.write(client.outgoing(node)) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(len) => client.sent(node, len),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Gives `take` what came from a server. True if more may be there, of which the system says nothing.
    pub(super) fn read(&mut self, node: NodeId, mut take: impl FnMut(&[u8])) -> io::Result<bool> {
        let Some(Some(Line { stream: Some(stream), connected: true, .. })) = self.lines.get_mut(node) else {
            return Ok(false);
        };
        for _ in 0..READS {
            match stream.read(&mut self.room) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(len) => take(&self.room[..len]),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(true)
    }

    /// Numbers up to which servers may have connections.
    pub(super) const fn len(&self) -> usize {
        self.lines.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mio::{Events, Poll, Waker};

    use super::*;

    #[test]
    fn a_name_that_was_found_is_heard_of_though_the_thread_was_busy() {
        let mut poll = Poll::new().unwrap();
        let waker = Waker::new(poll.registry(), Token(usize::MAX)).unwrap();
        let bell = Arc::new(Bell { waker, asleep: false.into(), stop: false.into() });
        let mut lines = Lines::new(poll.registry().try_clone().unwrap(), bell);
        lines.open(0, 1, &Host { name: "localhost".into(), port: 1 }).unwrap();
        let mut events = Events::with_capacity(1);
        poll.poll(&mut events, Some(Duration::from_secs(30))).unwrap();
        assert!(!events.is_empty());
    }
}
