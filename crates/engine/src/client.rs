//! The client: listeners, the disk, and the torrents that share them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use samara_proto::ids::{InfoHashes, PeerId};
use samara_proto::layout::LayoutError;
use samara_proto::metainfo::Metainfo;
use tokio::sync::{Mutex, Semaphore, broadcast, mpsc, oneshot, watch};
use tokio::task::JoinSet;

use crate::api::{AddSource, AddTorrent, Config, TorrentEvent};
use crate::clock::Clock;
use crate::disk::{Disk, DiskConfig, Gauge, StorageError};
use crate::handle::Torrent;
use crate::listener;
use crate::net::tcp;
use crate::registry::Registry;
use crate::store::Store;
use crate::torrent::{Control, Ends, Owner, ToTorrent};

/// Messages that may wait for a torrent's owner: each is a batch of one connection's events.
const TORRENT_INBOX: usize = 256;

/// News that may wait for a slow reader before the oldest is dropped.
const NEWS: usize = 1024;

/// Peer-id prefix (BEP 20).
const PEER_ID_PREFIX: &[u8; 8] = b"-SA0100-";

/// What all torrents of a client share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) clock: Clock,
    pub(crate) disk: Disk,
    pub(crate) torrents: Registry,
    /// One permit a connection, over all torrents.
    pub(crate) connections: Arc<Semaphore>,
    /// The port to tell peers, if we listen (BEP 10).
    pub(crate) port: Option<u16>,
}

/// Shares and fetches torrents. Dropping it without [`shutdown`](Self::shutdown) ends everything at once, and what was
/// not synced is hashed again next time.
///
/// See `examples/fetch.rs` for a whole program.
#[derive(Debug)]
pub struct Client {
    shared: Arc<Shared>,
    listening: Vec<SocketAddr>,
    listeners: JoinSet<()>,
    /// Ends the listeners when it is dropped.
    stop: watch::Sender<()>,
    owners: Mutex<JoinSet<()>>,
}

/// A listen address could not be had.
#[derive(Debug, thiserror::Error)]
#[error("can't listen on {addr}: {source}")]
pub struct BindError {
    /// The address asked for.
    pub addr: SocketAddr,
    /// What the system says.
    pub source: io::Error,
}

/// Why a client did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A listen address could not be had.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The system gives no disk threads.
    #[error(transparent)]
    Disk(#[from] StorageError),
}

/// Why a torrent was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddError {
    /// It runs already.
    #[error("this torrent is there already")]
    Duplicate,
    /// Its files cannot be laid out.
    #[error("the torrent's files cannot be laid out: {0}")]
    Layout(#[from] LayoutError),
    /// The system gives no randomness.
    #[error("the system gives no random numbers")]
    NoRandomness,
}

impl Client {
    /// Binds the listeners and starts the disk threads. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// If an address can't be bound or the system refuses threads.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let mut bound = Vec::new();
        for &addr in &config.listen {
            bound.push(tcp::listen(addr).map_err(|source| BindError { addr, source })?);
        }
        let listening: Vec<_> = bound.iter().filter_map(|l| l.local_addr().ok()).collect();
        let disk = Disk::start(&DiskConfig {
            threads: config.disk_threads,
            budget: config.disk_budget,
            max_open_files: config.max_open_files,
            ..DiskConfig::default()
        })?;
        let shared = Arc::new(Shared {
            clock: Clock::start(),
            disk,
            torrents: Registry::default(),
            connections: Arc::new(Semaphore::new(config.max_peers)),
            port: listening.first().map(SocketAddr::port),
            config,
        });
        let mut listeners = JoinSet::new();
        let (stop, stopped) = watch::channel(());
        for listener in bound {
            listeners.spawn(listener::accept(listener, Arc::clone(&shared), stopped.clone()));
        }
        Ok(Self { shared, listening, listeners, stop, owners: Mutex::default() })
    }

    /// Where connections are accepted, with the ports that were really taken.
    pub fn listening(&self) -> &[SocketAddr] {
        &self.listening
    }

    /// How much payload is in memory, on its way to the disk and to peers.
    pub fn memory(&self) -> Gauge {
        self.shared.disk.pool().gauge()
    }

    /// Adds a torrent and returns at once; opening and checking go on behind it.
    ///
    /// # Errors
    /// If a torrent with one of its hashes is there already.
    pub async fn add(&self, mut add: AddTorrent) -> Result<Torrent, AddError> {
        self.remember(&mut add).await;
        let hashes = match &add.source {
            AddSource::Metainfo(m) => m.info.hashes(),
            AddSource::Magnet { hashes, .. } => *hashes,
        };
        let (inbox, messages) = mpsc::channel(TORRENT_INBOX);
        let identity = identity().map_err(|_| AddError::NoRandomness)?;
        let (news, events) = broadcast::channel::<TorrentEvent>(NEWS);
        let ends = Ends { inbox: messages, me: inbox.clone(), news };
        let owner = Owner::new(Arc::clone(&self.shared), add, identity, ends)?;
        if !self.shared.torrents.insert(&hashes, &inbox) {
            return Err(AddError::Duplicate);
        }
        let mut owners = self.owners.lock().await;
        while owners.try_join_next().is_some() {}
        owners.spawn(owner.run());
        Ok(Torrent::new(hashes, inbox, events))
    }

    /// Turns a magnet link into a whole torrent if an earlier run fetched its metadata.
    async fn remember(&self, add: &mut AddTorrent) {
        let (AddSource::Magnet { hashes, .. }, Some(state_dir)) =
            (&add.source, &self.shared.config.state_dir)
        else {
            return;
        };
        let (hashes, state_dir, dir) = (*hashes, state_dir.clone(), add.dir.clone());
        let load = move || {
            let record = Store::open(&state_dir, &hashes, &dir).ok()?.load()?;
            let metainfo = Metainfo::parse(&record.torrent).ok()?;
            metainfo.info.hashes().matches(&hashes.primary()).then_some(metainfo)
        };
        if let Ok(Some(metainfo)) = tokio::task::spawn_blocking(load).await {
            add.source = AddSource::Metainfo(Box::new(metainfo));
        }
    }

    /// Ends a torrent: closes its connections, makes its data durable, keeps its files. When this returns it is gone, and
    /// may be added again. Unknown hashes are ignored.
    pub async fn remove(&self, hashes: InfoHashes) {
        if let Some(inbox) = self.shared.torrents.find(&hashes.primary()) {
            // Dropped when all is done, which shows as an error.
            let _ = stop(&inbox).await.await;
        }
    }

    /// Ends all torrents, makes everything durable, and waits for every task and thread.
    pub async fn shutdown(mut self) {
        drop(self.stop);
        while self.listeners.join_next().await.is_some() {}
        for inbox in self.shared.torrents.all() {
            stop(&inbox).await;
        }
        let mut owners = self.owners.into_inner();
        while owners.join_next().await.is_some() {}
        self.shared.disk.shutdown().await;
    }
}

/// Asks an owner to end. What is returned resolves, with an error, when it has; at once if it had before.
async fn stop(inbox: &mpsc::Sender<ToTorrent>) -> oneshot::Receiver<()> {
    let (done, ended) = oneshot::channel();
    let _ = inbox.send(ToTorrent::Control(Control::Stop(done))).await;
    ended
}

/// A fresh peer id, and a seed for the machine's generator.
fn identity() -> Result<(PeerId, u64), getrandom::Error> {
    let seed = getrandom::u64()?;
    let mut id = [0; 20];
    id[..8].copy_from_slice(PEER_ID_PREFIX);
    getrandom::fill(&mut id[8..])?;
    Ok((PeerId(id), seed))
}
