//! What users see of the DHT: how it is started, what can be asked of it, what it says.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use samara_proto::dht::Contact;
use samara_proto::dht::item::Item;
use samara_proto::dht::node::{Announce, Ask, Summary};
use samara_proto::dht::outside::Outside;
use samara_proto::dht::server::ServerConfig;
use samara_proto::ids::NodeId;
use samara_proto::magnet::Host;
use samara_proto::tracker::Family;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::line::Line;
use super::memory::Memory;
use super::socket::Port;
use super::task::Driver;
use crate::client::BindError;

/// Where the mainline DHT is entered, as other clients do: kept by BitTorrent, Transmission, µTorrent and libtorrent.
pub const BOOTSTRAP: [&str; 4] = [
    "router.bittorrent.com:6881",
    "dht.transmissionbt.com:6881",
    "router.utorrent.com:6881",
    "dht.libtorrent.org:25401",
];

/// Commands that may wait for the task.
const COMMANDS: usize = 64;

/// Answers that may wait for a reader. One that lets more pile up loses the rest, the end included.
const ANSWERS: usize = 1024;

/// How a node behaves.
#[derive(Clone, Debug)]
pub struct DhtConfig {
    /// Whom to ask while nobody else is known, wherever that is.
    pub bootstrap: Vec<Host>,
    /// Answer nobody (BEP 43). Without listening addresses a node does not answer in any case.
    pub read_only: bool,
    /// Whether nodes that a torrent names may be inside this machine and network
    /// ([`reach`](samara_proto::tracker::reach)).
    pub inside: bool,
    /// Whether it is an error, and no mere warning, if a client's port is taken for UDP.
    pub insist: bool,
    /// What is done for others.
    pub server: ServerConfig,
}

impl Default for DhtConfig {
    /// A node of the mainline DHT, which is entered at [`BOOTSTRAP`].
    fn default() -> Self {
        Self {
            bootstrap: BOOTSTRAP.iter().filter_map(|host| host.parse().ok()).collect(),
            read_only: false,
            inside: false,
            insist: false,
            server: ServerConfig::default(),
        }
    }
}

/// What comes of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// Peers that were not told of before in this run.
    Peers(Vec<SocketAddr>),
    /// An item; of a mutable one those with a higher sequence number follow.
    Item(Item),
    /// Some info-hashes of one node (BEP 51).
    Sample {
        /// Whose.
        from: Contact,
        /// At most 75.
        hashes: Vec<NodeId>,
        /// How many it has in all.
        num: u32,
        /// When it will have others.
        interval: Duration,
    },
    /// All was asked that was to be asked of the nodes of one family.
    Done {
        /// Which.
        family: Family,
        /// How it went.
        summary: Box<Summary>,
    },
}

/// What comes of a question, bit by bit. The question is dropped with it.
#[derive(Debug)]
pub struct Answers {
    id: u64,
    inbox: mpsc::Receiver<Answer>,
    commands: mpsc::Sender<Command>,
}

/// All that came of a question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Peers, each once.
    pub peers: Vec<SocketAddr>,
    /// Of an immutable item the item, of a mutable one that with the highest sequence number.
    pub item: Option<Item>,
    /// Info-hashes of nodes.
    pub samples: Vec<(Contact, Vec<NodeId>)>,
    /// How it went, by family; empty if there was nobody to ask with.
    pub runs: Vec<(Family, Summary)>,
}

impl Answers {
    /// The next one; `None` once all families have ended, or the node.
    pub async fn next(&mut self) -> Option<Answer> {
        self.inbox.recv().await
    }

    /// Waits until all families have ended.
    pub async fn finish(mut self) -> Found {
        let mut found = Found::default();
        while let Some(answer) = self.next().await {
            found.take(answer);
        }
        found
    }
}

impl Drop for Answers {
    /// If the task is busy it notices by itself that nobody listens.
    fn drop(&mut self) {
        let _ = self.commands.try_send(Command::Cancel(self.id));
    }
}

impl Found {
    fn take(&mut self, answer: Answer) {
        match answer {
            Answer::Peers(peers) => self.peers.extend(peers),
            Answer::Item(item) if self.item.as_ref().is_none_or(|old| old.seq() < item.seq()) => {
                self.item = Some(item);
            }
            Answer::Item(_) => {}
            Answer::Sample { from, hashes, .. } => self.samples.push((from, hashes)),
            Answer::Done { family, summary } => self.runs.push((family, *summary)),
        }
    }
}

/// How the nodes stand.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DhtStats {
    /// One for each family that we take part in.
    pub nodes: Vec<NodeStats>,
}

/// How one node stands.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeStats {
    /// Its addresses' family.
    pub family: Family,
    /// Where its socket is bound.
    pub local: SocketAddr,
    /// Its place in the table.
    pub id: NodeId,
    /// It answers nobody.
    pub read_only: bool,
    /// It has found its neighbours.
    pub joined: bool,
    /// Nodes in its table.
    pub contacts: usize,
    /// Nodes of the whole network that answer, roughly, once that is known.
    pub network_size: Option<f64>,
    /// Where others see us.
    pub outside: Option<Outside>,
    /// Torrents that it keeps peers of.
    pub torrents: usize,
    /// Items that it keeps.
    pub items: usize,
    /// What came in.
    pub received: Traffic,
    /// What went out.
    pub sent: Traffic,
}

/// What went over a socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Datagrams.
    pub datagrams: u64,
    /// Bytes, without headers.
    pub bytes: u64,
}

impl Traffic {
    pub(super) const fn count(&mut self, len: usize) {
        self.datagrams += 1;
        self.bytes += len as u64;
    }
}

/// What the task can be told.
#[derive(Debug)]
pub(crate) enum Command {
    Ask {
        id: u64,
        ask: Ask,
        reply: mpsc::Sender<Answer>,
    },
    Announce {
        id: u64,
        announce: Announce,
        reply: mpsc::Sender<Answer>,
    },
    /// Nobody waits for this any more.
    Cancel(u64),
    Stats(oneshot::Sender<DhtStats>),
    /// A node may be there.
    Hint(SocketAddr),
    /// A torrent says that nodes are there.
    Named(Vec<(String, u16)>),
    NetworkChanged,
    /// Dropped once all is saved.
    Stop(oneshot::Sender<()>),
}

/// A part in the DHT: nodes of one or both families. Copies are the same; with the last one it ends at once.
#[derive(Clone, Debug)]
pub struct Dht {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    commands: mpsc::Sender<Command>,
    local: Vec<SocketAddr>,
    next: AtomicU64,
    /// The task, if this is what keeps it alive.
    task: JoinSet<()>,
}

impl Dht {
    /// Starts nodes on the first address of each family of `listen`; without any, read-only nodes on ports that the
    /// system picks. What they know is kept in `state_dir`. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// If an address can't be bound.
    pub async fn start(
        listen: &[SocketAddr],
        state_dir: Option<PathBuf>,
        config: DhtConfig,
    ) -> Result<Self, BindError> {
        let (ports, read_only) = ports(listen)?;
        let config = DhtConfig { read_only: config.read_only || read_only, ..config };
        let (mut inner, driver) = prepare(ports, state_dir, config).await;
        inner.task.spawn(driver.run());
        Ok(Self { inner: Arc::new(inner) })
    }

    /// For a client, which runs the task itself, and tells it of its torrents through the line.
    pub(crate) async fn of_client(
        ports: Vec<Port>,
        state_dir: Option<PathBuf>,
        config: DhtConfig,
    ) -> (Self, Line, Driver) {
        let nodes: Vec<_> = ports.iter().filter(|_| !config.read_only).map(Port::local).collect();
        let (inner, driver) = prepare(ports, state_dir, config).await;
        let line = Line::new(inner.commands.clone(), nodes);
        (Self { inner: Arc::new(inner) }, line, driver)
    }

    /// Where its sockets are bound.
    pub fn listening(&self) -> &[SocketAddr] {
        &self.inner.local
    }

    /// Asks something of all families that it concerns, beside each other. Without an answer it ends after some twenty
    /// seconds.
    pub async fn ask(&self, ask: Ask) -> Answers {
        self.command(|id, reply| Command::Ask { id, ask, reply }).await
    }

    /// Tells of a torrent in both families, again and again until the answers are dropped. Each run ends with a
    /// [`Answer::Done`] a family, and finds peers.
    pub async fn announce(&self, announce: Announce) -> Answers {
        self.command(|id, reply| Command::Announce { id, announce, reply }).await
    }

    /// Who answers at an address, and how fast; `None` if nobody does.
    pub async fn ping(&self, addr: SocketAddr) -> Option<(Contact, Duration)> {
        let found = self.ask(Ask::Ping { addr }).await.finish().await;
        let (_, summary) = found.runs.into_iter().next()?;
        Some((*summary.closest.first()?, summary.took))
    }

    /// A node may be there; what becomes of it is up to the nodes.
    pub async fn hint(&self, addr: SocketAddr) {
        let _ = self.inner.commands.send(Command::Hint(addr)).await;
    }

    /// Nodes that a torrent names, host and port (BEP 5): asked while neighbours are missing, and if strangers may lead
    /// there.
    pub async fn named(&self, nodes: Vec<(String, u16)>) {
        let _ = self.inner.commands.send(Command::Named(nodes)).await;
    }

    /// The network is another one, or is there again. Mostly noticed without that.
    pub async fn network_changed(&self) {
        let _ = self.inner.commands.send(Command::NetworkChanged).await;
    }

    /// How the nodes stand; nothing once they ended.
    pub async fn stats(&self) -> DhtStats {
        let (reply, answer) = oneshot::channel();
        let _ = self.inner.commands.send(Command::Stats(reply)).await;
        answer.await.unwrap_or_default()
    }

    /// Ends it, for all copies, once what it knows is saved.
    pub async fn shutdown(self) {
        let (done, ended) = oneshot::channel();
        let _ = self.inner.commands.send(Command::Stop(done)).await;
        let _ = ended.await;
    }

    async fn command(&self, make: impl FnOnce(u64, mpsc::Sender<Answer>) -> Command) -> Answers {
        let (reply, inbox) = mpsc::channel(ANSWERS);
        let id = self.inner.next.fetch_add(1, Ordering::Relaxed);
        let _ = self.inner.commands.send(make(id, reply)).await;
        Answers { id, inbox, commands: self.inner.commands.clone() }
    }
}

/// Both ends of the way to a task that is not yet started.
async fn prepare(ports: Vec<Port>, state_dir: Option<PathBuf>, config: DhtConfig) -> (Inner, Driver) {
    let (commands, inbox) = mpsc::channel(COMMANDS);
    let local = ports.iter().map(Port::local).collect();
    let keeps = !config.read_only;
    let memory =
        tokio::task::spawn_blocking(move || Memory::open(state_dir, keeps)).await.unwrap_or_default();
    let driver = Driver::new(ports, memory, config, inbox);
    (Inner { commands, local, next: AtomicU64::new(0), task: JoinSet::new() }, driver)
}

/// The sockets for these addresses, and whether nobody is told of them.
fn ports(listen: &[SocketAddr]) -> Result<(Vec<Port>, bool), BindError> {
    if listen.is_empty() {
        return Ok((pick_ports()?, true));
    }
    let first = |v4| listen.iter().find(|addr| addr.is_ipv4() == v4).copied();
    let bind = |addr| Port::bind(addr).map_err(|source| BindError { addr, source });
    let ports = [first(true), first(false)].into_iter().flatten().map(bind).collect::<Result<_, _>>()?;
    Ok((ports, false))
}

/// Sockets on ports that the system picks, of the families that there are.
pub(crate) fn pick_ports() -> Result<Vec<Port>, BindError> {
    let any = [(Ipv4Addr::UNSPECIFIED, 0).into(), (Ipv6Addr::UNSPECIFIED, 0).into()];
    let (mut ports, mut refused) = (Vec::new(), None);
    for addr in any {
        match Port::bind(addr) {
            Ok(port) => ports.push(port),
            Err(source) => refused = Some(BindError { addr, source }),
        }
    }
    refused.filter(|_| ports.is_empty()).map_or(Ok(ports), Err)
}
