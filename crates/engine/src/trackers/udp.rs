//! Questions to UDP trackers: a socket for each address of ours that is called from, mostly one a family, with an
//! [`UdpClient`] each, which knows what to send when and whom to believe.
//!
//! Sockets are opened when they are first needed. Whoever stops waiting has his question dropped at the machine's next
//! turn. Tested in `tests/asker.rs`, against a tracker made for it.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use samara_proto::tracker::udp_client::{Answer, Ask, AskError, Config, Output, UdpClient};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::clock::Clock;
use crate::net::here::Here;

/// Questions that may wait for a socket's task.
const INBOX: usize = 64;

/// The largest datagram there is.
const MAX_DATAGRAM: usize = 65_536;

/// When the machine names no deadline.
const FAR: Duration = Duration::from_secs(3600);

type Reply = oneshot::Sender<Result<Answer, AskError>>;

/// A question on its way.
struct Query {
    to: SocketAddr,
    ask: Ask,
    reply: Reply,
}

/// All sockets. Their tasks end when it is dropped.
#[derive(Debug)]
pub(super) struct Udp {
    here: Here,
    config: Config,
    ways: Mutex<Ways>,
}

#[derive(Debug, Default)]
struct Ways {
    /// By the address that is called from.
    open: HashMap<IpAddr, mpsc::Sender<Query>>,
    tasks: JoinSet<()>,
}

impl Udp {
    pub(super) fn new(here: Here, config: Config) -> Self {
        Self { here, config, ways: Mutex::default() }
    }

    /// Asks the tracker at `to`, as often and as long as the configuration says.
    pub(super) async fn ask(&self, to: SocketAddr, ask: Ask) -> Result<Answer, AskError> {
        let way = self.way(to.ip()).map_err(|error| {
            tracing::debug!(%error, "no UDP socket for trackers");
            AskError::Unreachable
        })?;
        let (reply, answer) = oneshot::channel();
        way.send(Query { to, ask, reply }).await.map_err(|_| AskError::Unreachable)?;
        answer.await.unwrap_or(Err(AskError::Unreachable))
    }

    /// Waits until all sockets are closed.
    pub(super) async fn close(&self) {
        let ways = std::mem::take(&mut *self.lock());
        let Ways { open, mut tasks } = ways;
        drop(open);
        tasks.shutdown().await;
    }

    /// The socket from which `to` is called.
    fn way(&self, to: IpAddr) -> io::Result<mpsc::Sender<Query>> {
        let any = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let from = self.here.towards(to).unwrap_or(any);
        let mut ways = self.lock();
        if let Some(way) = ways.open.get(&from).filter(|way| !way.is_closed()) {
            return Ok(way.clone());
        }
        let (socket, seed) = (bind(from)?, getrandom::u64().map_err(io::Error::other)?);
        let (way, inbox) = mpsc::channel(INBOX);
        ways.tasks.spawn(Talk::new(socket, UdpClient::new(self.config, seed)).run(inbox));
        ways.open.insert(from, way.clone());
        Ok(way)
    }

    /// A poisoned lock is of no consequence: what is in the map works.
    fn lock(&self) -> MutexGuard<'_, Ways> {
        self.ways.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bind(from: IpAddr) -> io::Result<UdpSocket> {
    let addr = SocketAddr::new(from, 0);
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    UdpSocket::from_std(socket.into())
}

/// The task of one socket.
struct Talk {
    socket: UdpSocket,
    machine: UdpClient<u64>,
    clock: Clock,
    waiting: HashMap<u64, Reply>,
    next: u64,
}

impl Talk {
    fn new(socket: UdpSocket, machine: UdpClient<u64>) -> Self {
        Self { socket, machine, clock: Clock::start(), waiting: HashMap::new(), next: 0 }
    }

    /// Carries between those who ask, the machine and the socket until nobody can ask any more.
    async fn run(mut self, mut inbox: mpsc::Receiver<Query>) {
        let mut buffer = vec![0; MAX_DATAGRAM];
        loop {
            self.settle().await;
            let deadline = self.machine.deadline().map(|due| self.clock.instant(due));
            let sleep = tokio::time::sleep_until(deadline.unwrap_or_else(|| Instant::now() + FAR));
            tokio::select! {
                query = inbox.recv() => match query {
                    Some(query) => self.ask(query),
                    None => return,
                },
                received = self.socket.recv_from(&mut buffer) => match received {
                    Ok((len, from)) => self.machine.handle(self.clock.now(), from, &buffer[..len]),
                    Err(error) => tracing::debug!(%error, "nothing received from a UDP tracker"),
                },
                () = sleep => self.tick(),
            }
        }
    }

    fn ask(&mut self, Query { to, ask, reply }: Query) {
        let key = self.next;
        self.next += 1;
        self.waiting.insert(key, reply);
        self.machine.ask(self.clock.now(), key, to, ask);
    }

    /// Before anything is sent again those who no longer wait are let go.
    fn tick(&mut self) {
        let machine = &mut self.machine;
        self.waiting.retain(|key, reply| {
            let gone = reply.is_closed();
            if gone {
                machine.cancel(*key);
            }
            !gone
        });
        self.machine.tick(self.clock.now());
    }

    async fn settle(&mut self) {
        while let Some(output) = self.machine.poll() {
            match output {
                Output::Send { to, datagram } => {
                    if let Err(error) = self.socket.send_to(&datagram, to).await {
                        tracing::debug!(%to, %error, "a UDP tracker cannot be reached");
                        self.machine.unreachable(to);
                    }
                }
                Output::Done { key, result } => {
                    if let Some(reply) = self.waiting.remove(&key) {
                        let _ = reply.send(result);
                    }
                }
            }
        }
    }
}
