//! The client: listeners, the disk, and the torrents that share them.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use samara_proto::ids::{InfoHashes, PeerId};
use samara_proto::layout::LayoutError;
use samara_proto::metainfo::Metainfo;
use samara_proto::tracker::fleet::{self, Fleet};
use samara_proto::tracker::reach::Policy;
use samara_proto::tracker::udp_client;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;

use crate::api::{AddSource, AddTorrent, Config, Limits, Snapshot, TorrentEvent};
use crate::clock::Clock;
use crate::desk::Desk;
use crate::dht::{Dht, DhtConfig, Driver, Line, Port, Torrents};
use crate::dials::Dials;
use crate::disk::{Disk, DiskConfig, Gauge, StorageError};
use crate::entry::{self, Entry, Look};
use crate::handle::Torrent;
use crate::limit::Limiter;
use crate::listener;
use crate::lsd;
use crate::news::{News, Reader};
use crate::places::Places;
use crate::ports::Ports;
use crate::registry::Registry;
use crate::share::{self, Sharing};
use crate::store::{Seeds, Store};
use crate::torrent::{self, Awake, Control, Ends, Origin, OriginError, Owner, ToTorrent, Uplink};
use crate::trackers::{self, Asker, Callers};

/// Torrents whose files are looked at beside each other when each is added by itself: enough to keep a disk busy.
const LOOKING: usize = 16;

/// Torrents that are hashed beside each other, each on all cores: so many that a large one does not hold up all others.
const HASHING: usize = 4;

/// How long trackers are told of the end, which shutdown waits for: somebody looks at the screen meanwhile.
const FAREWELL: Duration = Duration::from_secs(3);

/// Peer-id prefix (BEP 20).
const PEER_ID_PREFIX: &[u8; 8] = b"-SA0100-";

/// What all torrents of a client share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) clock: Clock,
    pub(crate) disk: Disk,
    pub(crate) torrents: Registry,
    /// Connections over all torrents, and those that are being opened.
    pub(crate) places: Arc<Places>,
    pub(crate) dials: Arc<Dials>,
    pub(crate) limiter: Limiter,
    /// What trackers and others are to be told.
    pub(crate) desk: Desk,
    /// The way to the DHT, if we take part.
    pub(crate) dht: Option<Line>,
    /// From how far out we were called.
    pub(crate) callers: Callers,
    /// The port to tell peers, if we listen (BEP 10).
    pub(crate) port: Option<u16>,
    /// What all torrents send.
    pub(crate) uplink: Uplink,
    /// How many torrents have an owner.
    pub(crate) awake: Awake,
    /// What vouches for what is shared; `None` if nothing is kept.
    pub(crate) seeds: Option<Seeds>,
    /// News of all torrents.
    pub(crate) news: News<(InfoHashes, TorrentEvent)>,
    /// One permit a torrent that is opened, before its data is hashed.
    pub(crate) looking: Semaphore,
    /// One permit a torrent that is hashed.
    pub(crate) hashing: Semaphore,
    /// It ends: what takes long and asks nobody is to stop.
    pub(crate) ending: AtomicBool,
    /// Owners, and what adds torrents; `None` once no more are started.
    tasks: Mutex<Option<JoinSet<()>>>,
}

impl Shared {
    /// Starts a task that shutdown waits for. Dropped at once if it has begun.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(tasks) = &mut *self.tasks() {
            while tasks.try_join_next().is_some() {}
            tasks.spawn(task);
        }
    }

    pub(crate) fn state_dir(&self) -> Option<&Path> {
        self.config.state_dir.as_deref()
    }

    /// A poisoned lock is of no consequence: every change is a single call.
    fn tasks(&self) -> MutexGuard<'_, Option<JoinSet<()>>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// No more torrents, and no more tasks. Those that are there are for the caller to end.
    fn end(&self) -> (Vec<Arc<Entry>>, JoinSet<()>) {
        self.ending.store(true, Ordering::Relaxed);
        let tasks = self.tasks().take().unwrap_or_default();
        (self.torrents.close(), tasks)
    }
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
    stop: Option<watch::Sender<()>>,
    /// The task that asks trackers.
    trackers: JoinSet<()>,
    /// The task of the DHT, and its handle.
    dht_task: JoinSet<()>,
    dht: Option<Dht>,
    dht_problems: Vec<BindError>,
    /// The task that looks for neighbours.
    lsd: JoinSet<()>,
    /// They run for ever, and end with the client.
    _pacers: JoinSet<()>,
}

/// News of all torrents of a client.
#[derive(Debug)]
pub struct ClientEvents(Reader<(InfoHashes, TorrentEvent)>);

impl ClientEvents {
    /// The next piece of news, and whose it is; `None` once the client has ended. A reader that is more than a thousand
    /// events late misses the oldest of them.
    pub async fn next(&mut self) -> Option<(InfoHashes, TorrentEvent)> {
        self.0.next().await
    }
}

/// All torrents of a client together.
#[derive(Clone, Debug, Default)]
pub struct Overview {
    /// Torrents.
    pub torrents: usize,
    /// Those that have a task, sockets or open files: the others cost some hundred bytes each.
    pub awake: usize,
    /// Sums over all; its state and piece map mean nothing.
    pub sum: Snapshot,
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
    /// The UDP port of a listen address could not be had, and the DHT insists.
    #[error("can't use UDP on {}: {}", .0.addr, .0.source)]
    BindUdp(BindError),
    /// The system gives no disk threads.
    #[error(transparent)]
    Disk(#[from] StorageError),
}

/// Why a torrent was not added.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AddError {
    /// It runs already.
    #[error("this torrent is there already")]
    Duplicate,
    /// Its `.torrent` file cannot be used.
    #[error("the .torrent file cannot be used: {0}")]
    File(#[from] OriginError),
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
        let Ports { listeners: bound, udp, unlisted, problems: dht_problems } = Ports::take(&config)?;
        let listening: Vec<_> = bound.iter().filter_map(|l| l.local_addr().ok()).collect();
        let disk = Disk::start(&DiskConfig {
            threads: config.disk_threads,
            budget: config.disk_budget,
            max_open_files: config.max_open_files,
            ..DiskConfig::default()
        })?;
        let dht = open_dht(&config, udp, unlisted).await;
        let clock = Clock::start();
        let limiter = Limiter::new(clock, config.limits, config.limit_lan);
        let mut pacers = JoinSet::new();
        limiter.start(&mut pacers);
        let shared = Arc::new(Shared {
            clock,
            limiter,
            disk,
            torrents: Registry::default(),
            places: Places::new(config.max_peers),
            dials: Arc::new(Dials::new(config.max_half_open, config.max_dials)),
            desk: Desk::default(),
            dht: dht.as_ref().map(|(_, line, _)| line.clone()),
            callers: Callers::default(),
            port: listening.first().map(SocketAddr::port),
            uplink: Uplink::default(),
            awake: Awake::default(),
            seeds: config.state_dir.as_deref().map(Seeds::new),
            news: News::default(),
            looking: Semaphore::new(LOOKING),
            hashing: Semaphore::new(HASHING),
            ending: AtomicBool::new(false),
            tasks: Mutex::new(Some(JoinSet::new())),
            config,
        });
        let trackers = start_trackers(&shared, &listening);
        let (dht, dht_task) = start_dht(&shared, dht);
        let lsd = lsd::start(&shared, &listening);
        let mut listeners = JoinSet::new();
        let (stop, stopped) = watch::channel(());
        for listener in bound {
            listeners.spawn(listener::accept(listener, Arc::clone(&shared), stopped.clone()));
        }
        Ok(Self {
            shared,
            listening,
            listeners,
            stop: Some(stop),
            trackers,
            dht_task,
            lsd,
            dht,
            dht_problems,
            _pacers: pacers,
        })
    }

    #[cfg(test)]
    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// Where connections are accepted, with the ports that were really taken.
    pub fn listening(&self) -> &[SocketAddr] {
        &self.listening
    }

    /// Our part in the DHT, if we take one.
    pub const fn dht(&self) -> Option<&Dht> {
        self.dht.as_ref()
    }

    /// UDP ports that could not be had, so that the DHT does without that family.
    pub fn dht_problems(&self) -> &[BindError] {
        &self.dht_problems
    }

    /// Changes what all torrents together may move, from now on.
    pub async fn set_limits(&self, limits: Limits) {
        self.shared.limiter.set(limits);
        // Those that are dormant ask when they wake.
        for entry in self.shared.torrents.all() {
            if let Look::Awake(inbox) = entry.look() {
                let _ = inbox.send(ToTorrent::Control(Control::LimitsChanged)).await;
            }
        }
    }

    /// How much payload is in memory, on its way to the disk and to peers.
    pub fn memory(&self) -> Gauge {
        self.shared.disk.pool().gauge()
    }

    /// How many torrents there are, and what they do together.
    pub async fn overview(&self) -> Overview {
        let all = self.shared.torrents.all();
        let mut overview =
            Overview { torrents: all.len(), awake: self.shared.awake.count(), ..Overview::default() };
        for entry in all {
            let snapshot = match entry.look() {
                Look::Dormant(snapshot) => Some(snapshot),
                Look::Awake(inbox) => ask_snapshot(&inbox).await,
                Look::Ended => None,
            };
            snapshot.iter().for_each(|snapshot| overview.sum.add(snapshot));
        }
        overview
    }

    /// News of all torrents, from now on.
    pub fn events(&self) -> ClientEvents {
        ClientEvents(self.shared.news.subscribe())
    }

    /// Every torrent, in no order.
    pub fn torrents(&self) -> Vec<Torrent> {
        let handle = |entry| Torrent::new(entry, Arc::downgrade(&self.shared));
        self.shared.torrents.all().into_iter().map(handle).collect()
    }

    /// The torrent that one of these hashes names.
    pub fn torrent(&self, hashes: &InfoHashes) -> Option<Torrent> {
        let entry = self.shared.torrents.find(&hashes.primary())?;
        Some(Torrent::new(entry, Arc::downgrade(&self.shared)))
    }

    /// Connections that are open, over all torrents.
    pub fn connections(&self) -> usize {
        self.shared.places.taken()
    }

    /// Adds a torrent and returns at once; opening and checking go on behind it.
    ///
    /// # Errors
    /// If a torrent with one of its hashes is there already, or its file cannot be read.
    pub async fn add(&self, mut add: AddTorrent) -> Result<Torrent, AddError> {
        let origin = read_file(&mut add).await?;
        self.remember(&mut add).await;
        let hashes = match &add.source {
            AddSource::Metainfo(m) => m.info.hashes(),
            AddSource::Magnet { hashes, .. } => *hashes,
            // It was read above.
            AddSource::File(_) => return Err(OriginError::Gone.into()),
        };
        let (inbox, messages) = mpsc::channel(entry::INBOX);
        let identity = identity().map_err(|_| AddError::NoRandomness)?;
        let entry = Entry::awake(hashes, inbox.clone());
        let ends = Ends { inbox: messages, me: inbox, entry: Arc::clone(&entry) };
        let owner = Owner::new(Arc::clone(&self.shared), add, origin, identity, ends)?;
        if !self.shared.torrents.insert(&entry) {
            return Err(AddError::Duplicate);
        }
        let torrent = Torrent::new(entry, Arc::downgrade(&self.shared));
        self.shared.spawn(torrent::live(owner));
        Ok(torrent)
    }

    /// Adds torrents that are whole on the disk, to be shared, however many they are. All but those that have peers to
    /// call begin dormant: what is not being fetched costs some hundred bytes.
    ///
    /// Returns at once. First all are looked at, and those that resume data vouches for are there; the others are
    /// hashed, and are there one by one. One that cannot be shared is told of and stops nothing. `mode` must be
    /// [`Mode::Seed`](crate::Mode::Seed) or [`Mode::Trusted`](crate::Mode::Trusted), and the source no magnet link;
    /// `select` is ignored.
    pub fn share<I>(&self, torrents: I) -> Sharing
    where
        I: IntoIterator<Item = AddTorrent>,
        I::IntoIter: Send + 'static,
    {
        share::start(&self.shared, Box::new(torrents.into_iter()))
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
        let Some(entry) = self.shared.torrents.find(&hashes.primary()) else { return };
        let news = entry.news.subscribe();
        // It may be about to rest: then it is woken to be told, or is found resting the next time.
        while !entry.end_if_dormant() {
            let Look::Awake(inbox) = entry.look() else { break };
            // Dropped when all is done, which shows as an error.
            let _ = stop(inbox).await.await;
        }
        while news.next().await.is_some() {}
        self.shared.desk.stop(&entry.tally);
        self.shared.torrents.remove(&entry);
    }

    /// Ends all torrents, makes everything durable, and waits for every task and thread.
    pub async fn shutdown(mut self) {
        self.stop = None;
        while self.listeners.join_next().await.is_some() {}
        let (torrents, mut tasks) = self.shared.end();
        for entry in torrents {
            if entry.end_if_dormant() {
                self.shared.desk.stop(&entry.tally);
            } else if let Look::Awake(inbox) = entry.look() {
                stop(inbox).await;
            }
        }
        while tasks.join_next().await.is_some() {}
        // Most were told of their end by now, beside that.
        self.shared.desk.stop_all();
        while self.trackers.join_next().await.is_some() {}
        while self.dht_task.join_next().await.is_some() {}
        while self.lsd.join_next().await.is_some() {}
        let shared = Arc::clone(&self.shared);
        let _ = tokio::task::spawn_blocking(move || shared.seeds.iter().for_each(Seeds::finish)).await;
        self.shared.news.close();
        self.shared.disk.shutdown().await;
    }
}

impl Drop for Client {
    /// Owners hold on to what they share, so they have to be ended by hand.
    fn drop(&mut self) {
        let (torrents, mut tasks) = self.shared.end();
        torrents.iter().for_each(|entry| entry.end());
        tasks.abort_all();
        self.shared.news.close();
    }
}

/// Prepares our part in the DHT, if we take one and there is a socket for it.
async fn open_dht(config: &Config, ports: Vec<Port>, unlisted: bool) -> Option<(Dht, Line, Driver)> {
    let dht = config.dht.clone().filter(|_| !ports.is_empty())?;
    let dht = DhtConfig { read_only: dht.read_only || unlisted, ..dht };
    Some(Dht::of_client(ports, config.state_dir.clone(), dht).await)
}

/// Starts the task of the DHT, if there is one.
fn start_dht(shared: &Arc<Shared>, dht: Option<(Dht, Line, Driver)>) -> (Option<Dht>, JoinSet<()>) {
    let mut tasks = JoinSet::new();
    let Some((dht, _, driver)) = dht else {
        shared.desk.dht.close();
        return (None, tasks);
    };
    tasks.spawn(driver.with(Torrents::new(Arc::clone(shared))).run());
    (Some(dht), tasks)
}

/// Starts the task that asks trackers, if they are to be asked.
fn start_trackers(shared: &Arc<Shared>, listening: &[SocketAddr]) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let policy = Policy { inside: shared.config.inside_trackers };
    match identity() {
        Ok((peer_id, seed)) if shared.config.trackers => {
            let who = trackers::identity(peer_id, listening);
            let mut config = fleet::Config { policy, ..fleet::Config::new(who) };
            config.announcer.farewell = FAREWELL;
            let fleet = Fleet::new(config, seed);
            let asker = Asker::new(listening, policy, udp_client::Config::default());
            tasks.spawn(trackers::run(Arc::clone(shared), asker, fleet));
        }
        _ => shared.desk.trackers.close(),
    }
    tasks
}

/// Asks an owner to end. What is returned resolves, with an error, when it has; at once if it had before.
async fn stop(inbox: mpsc::Sender<ToTorrent>) -> oneshot::Receiver<()> {
    let (done, ended) = oneshot::channel();
    let _ = inbox.send(ToTorrent::Control(Control::Stop(done))).await;
    ended
}

async fn ask_snapshot(inbox: &mpsc::Sender<ToTorrent>) -> Option<Snapshot> {
    let (reply, answer) = oneshot::channel();
    inbox.send(ToTorrent::Control(Control::Snapshot(reply))).await.ok()?;
    answer.await.ok()
}

/// Turns the name of a `.torrent` file into what it says.
async fn read_file(add: &mut AddTorrent) -> Result<Option<Origin>, OriginError> {
    let AddSource::File(path) = &add.source else { return Ok(None) };
    let path: Arc<Path> = std::path::absolute(path).unwrap_or_else(|_| path.clone()).into();
    let origin = Origin::File(Arc::clone(&path));
    let read = tokio::task::spawn_blocking(move || torrent::read(&path)).await;
    add.source = AddSource::Metainfo(Box::new(read.map_err(|_| OriginError::Gone)??));
    Ok(Some(origin))
}

/// A fresh peer id, and a seed for the machine's generator.
pub(crate) fn identity() -> Result<(PeerId, u64), getrandom::Error> {
    let seed = getrandom::u64()?;
    let mut id = [0; 20];
    id[..8].copy_from_slice(PEER_ID_PREFIX);
    getrandom::fill(&mut id[8..])?;
    Ok((PeerId(id), seed))
}
