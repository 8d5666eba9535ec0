//! The owner task of a torrent: the one place that touches its [`Machine`]. It carries messages between the machine,
//! the connections, the disk and the user, and decides nothing itself.

mod announce;
mod keeper;
mod life;
mod links;
mod opening;
mod origin;
mod readers;
mod rest;
mod selection;
mod uplink;
mod wake;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use samara_proto::ids::{PeerId, PeerKey, PieceIndex};
use samara_proto::layout::LayoutError;
use samara_proto::metainfo::Metainfo;
use samara_proto::peer::{self, Command, Departure, Event, Prefix};
use samara_proto::torrent::{self as machine, Input, Known, Output, PeerStatus, Source, Torrent as Machine};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::announce::Announced;
use self::keeper::Keeper;
use self::links::Links;
use self::opening::Opened;
use self::readers::Readers;
use self::rest::Quiet;
use self::selection::Selection;
use self::uplink::Part;
use self::wake::Arrivals;
use crate::api::{AddSource, AddTorrent, Limits, PeerState, Priority, Snapshot, TorrentEvent};
use crate::client::Shared;
use crate::disk::{Buf, DiskEvent, StorageError, StoreJob};
use crate::entry::Entry;
use crate::handle::ReadError;
use crate::limit::TorrentLimits;
use crate::places::Place;
use crate::trackers::List;
pub(crate) use opening::{Looked, OpenError, Opening, REPORT_EVERY, all_cores, look};
pub use origin::OriginError;
pub(crate) use origin::{Origin, read};
pub(crate) use rest::{Awake, AwakeOne, Basis, Dormant};
pub(crate) use uplink::Uplink;
pub(crate) use wake::{live, wake};

/// Messages taken at once, so that one round of the machine serves many blocks.
const ROUND: usize = 64;

/// When the machine names no deadline.
const FAR: Duration = Duration::from_secs(3600);

/// How long connections may take to end.
const GOODBYE: Duration = Duration::from_secs(2);

/// What reaches an owner.
pub(crate) enum ToTorrent {
    /// A connection has something to say.
    Peer(PeerKey, Vec<Event<Buf>>),
    /// Somebody connected and asks for this torrent, and has a place among all connections.
    Incoming { stream: TcpStream, addr: SocketAddr, prefix: Prefix, place: Place },
    /// What became of a connection that we wanted.
    Outgoing { addr: SocketAddr, dialled: Dialled },
    /// Peers that a tracker, the DHT or a neighbour gave.
    Candidates(Source, Vec<SocketAddr>),
    /// A tracker at `by` sees us at `ip`.
    Seen { by: IpAddr, ip: IpAddr },
    /// Hashing of what is on disk got this far, in bytes.
    Checking { done: u64, total: u64 },
    /// The storage is open, or will never be.
    Opened(Box<Result<Opened, OpenError>>),
    /// The disk knows which files are wanted, or could not do what that takes.
    Selected(Result<(), StorageError>),
    /// From the user.
    Control(Control),
}

/// What became of an attempt to connect.
pub(crate) enum Dialled {
    /// A connection, with its place among all.
    Made(TcpStream, Place),
    /// It came to nothing.
    Failed,
    /// There is no place for it.
    NotTried,
}

/// What a user asks.
pub(crate) enum Control {
    Snapshot(oneshot::Sender<Snapshot>),
    Peers(oneshot::Sender<Vec<PeerStatus>>),
    Metainfo(oneshot::Sender<Option<Arc<Metainfo>>>),
    ReadPiece(PieceIndex, oneshot::Sender<Result<Vec<u8>, ReadError>>),
    SetLimits(Limits, oneshot::Sender<()>),
    /// Those of the client.
    LimitsChanged,
    Select(Vec<Priority>, selection::Reply),
    Prioritise(PieceIndex, Option<Priority>),
    /// Dropped once all is done.
    Stop(oneshot::Sender<()>),
}

/// How an owner ended.
pub(crate) enum End {
    /// The torrent is gone.
    Over,
    /// It rests. What waits in its inbox is to be seen to.
    Rest(Box<Dormant>, mpsc::Receiver<ToTorrent>),
}

/// How the world reaches an owner, and hears of it.
pub(crate) struct Ends {
    pub(crate) inbox: mpsc::Receiver<ToTorrent>,
    /// The sending end of `inbox`, for those whom the owner starts.
    pub(crate) me: mpsc::Sender<ToTorrent>,
    /// Its place in the table, where news is told.
    pub(crate) entry: Arc<Entry>,
}

/// What is known of the data on disk.
enum Data {
    /// The info dictionary is not here yet.
    Unknown,
    /// It is being opened and checked.
    Opening,
    /// Pieces can be stored and read.
    Open(Opened),
}

/// The owner of one torrent.
pub(crate) struct Owner {
    shared: Arc<Shared>,
    machine: Machine<Buf>,
    inbox: mpsc::Receiver<ToTorrent>,
    me: mpsc::Sender<ToTorrent>,
    links: Links,
    limits: TorrentLimits,
    entry: Arc<Entry>,
    news: Voice,
    data: Data,
    /// What opening needs; taken when it begins.
    opening: Option<Opening>,
    metainfo: Option<Arc<Metainfo>>,
    keeper: Keeper,
    readers: Readers,
    selection: Selection,
    /// Blocks for the disk, handed over once a round.
    store: Vec<StoreJob>,
    /// Opening, and reads for users: what ends by itself, and is waited for.
    tasks: JoinSet<()>,
    /// Ends a check that is under way.
    cancel: Cancel,
    /// The disk is full.
    full: bool,
    /// It ended with an error.
    failed: bool,
    /// It ends when all connections said goodbye, or then.
    stopping: Option<Instant>,
    /// Who waits for the end.
    waiting: Vec<oneshot::Sender<()>>,
    /// What it needs to be woken again.
    basis: Basis,
    /// It was dormant before: if it fails it becomes so again.
    woken: bool,
    /// Every wanted file has its final name.
    finished: bool,
    /// The user knows that already, from before it rested.
    known: bool,
    quiet: Quiet,
    uplink: Part,
    announced: Announced,
    /// It is going to rest.
    resting: bool,
    /// Who came while it wakes.
    arrivals: Arrivals,
}

/// Tells whoever listens to this torrent, and whoever listens to all.
struct Voice {
    shared: Arc<Shared>,
    entry: Arc<Entry>,
}

impl Voice {
    /// Says how many hear it.
    fn send(&self, event: TorrentEvent) -> usize {
        let all = self.shared.news.send((self.entry.hashes(), event.clone()));
        all + self.entry.news.send(event)
    }
}

/// Set when the owner ends, also if it is dropped in the middle.
#[derive(Default)]
struct Cancel(Arc<Cancelled>);

/// Whether to stop, for threads that look now and then and tasks that wait.
#[derive(Default)]
struct Cancelled {
    flag: AtomicBool,
    told: Notify,
}

impl Drop for Cancel {
    fn drop(&mut self) {
        self.0.flag.store(true, Ordering::Relaxed);
        self.0.told.notify_one();
    }
}

impl Owner {
    pub(crate) fn new(
        shared: Arc<Shared>,
        add: AddTorrent,
        origin: Option<Origin>,
        identity: (PeerId, u64),
        ends: Ends,
    ) -> Result<Self, LayoutError> {
        let now = shared.clock.now();
        let AddTorrent {
            source,
            dir,
            peers,
            trackers,
            linked_trackers,
            mode,
            select,
            sequential,
            limits,
            paths,
        } = add;
        let (hashes, metainfo) = match source {
            AddSource::Metainfo(metainfo) => (metainfo.info.hashes(), Some(Arc::new(*metainfo))),
            AddSource::Magnet { hashes, .. } => (hashes, None),
            // The caller has read it.
            AddSource::File(_) => (ends.entry.hashes(), None),
        };
        let basis = Basis::new(origin, dir, mode, paths, sequential, limits, &peers);
        let (peer_id, seed) = identity;
        let listen_port = shared.port.unwrap_or(0);
        let pex = shared.config.pex;
        let config = machine::Config { sequential, listen_port, pex, ..machine::Config::new(peer_id) };
        let mut machine = match &metainfo {
            Some(m) => {
                let known = Known { info: Arc::clone(&m.info), piece_layers: m.piece_layers.clone() };
                Machine::with_info(config, known, seed, now)?
            }
            None => Machine::new(config, hashes, seed, now),
        };
        machine.handle(now, Input::Candidates { source: Source::User, addrs: peers });
        let limits = shared.limiter.torrent(limits);
        machine.handle(now, Input::UploadLimit(limits.upload()));
        let mut connection = peer::Config::new(peer_id);
        connection.client = shared.config.client_name.as_str().into();
        connection.listen_port = shared.port;
        connection.pex = machine.may_exchange();
        let private = metainfo.as_ref().is_some_and(|m| m.info.private());
        Ok(Self {
            links: Links::new(Arc::clone(&shared), connection, limits.clone(), ends.me.clone(), private),
            limits,
            machine,
            inbox: ends.inbox,
            me: ends.me,
            news: Voice { shared: Arc::clone(&shared), entry: Arc::clone(&ends.entry) },
            entry: ends.entry,
            data: Data::Unknown,
            opening: Some(Opening::new(&basis, select)),
            basis,
            woken: false,
            finished: false,
            known: false,
            quiet: Quiet::default(),
            uplink: shared.uplink.join(),
            announced: Announced::new(List::new(&linked_trackers, trackers)),
            resting: false,
            arrivals: Arrivals::default(),
            metainfo,
            keeper: Keeper::default(),
            readers: Readers::default(),
            selection: Selection::default(),
            store: Vec::new(),
            tasks: JoinSet::new(),
            cancel: Cancel::default(),
            full: false,
            failed: false,
            stopping: None,
            waiting: Vec::new(),
            shared,
        })
    }

    /// Runs the torrent to its end (a stop from the user, or an error nothing can mend), or until it rests.
    pub(crate) async fn run(mut self) -> End {
        self.begin();
        let mut batch = Vec::with_capacity(ROUND);
        let sleep = tokio::time::sleep(FAR);
        tokio::pin!(sleep);
        while !self.ended() && !self.rests() {
            self.settle();
            let deadline = self.deadline();
            if sleep.deadline() > deadline || sleep.is_elapsed() {
                sleep.as_mut().reset(deadline);
            }
            tokio::select! {
                _ = self.inbox.recv_many(&mut batch, ROUND) => {
                    batch.drain(..).for_each(|message| self.message(message));
                }
                Some(event) = disk_event(&mut self.data) => self.disk_events(event),
                () = &mut sleep => self.tick(),
            }
        }
        self.finish().await
    }

    /// Starts with what was given: a whole torrent is opened at once.
    fn begin(&mut self) {
        if let Some(metainfo) = &self.metainfo {
            if !self.woken {
                let _ = self.news.send(TorrentEvent::Metadata(Arc::clone(&metainfo.info)));
            }
            self.open();
        } else {
            self.announce();
        }
    }

    /// Lets the machine speak until it has nothing more to say, then hands everything over in batches.
    fn settle(&mut self) {
        while let Some(output) = self.machine.poll() {
            match output {
                Output::Send { peer, command } => self.links.send(peer, command),
                Output::Connect { addr } => self.links.connect(addr),
                Output::Disconnect { peer, reason } => self.links.send(peer, Command::Close(reason)),
                Output::Store { block, data, expected, suspected, .. } => {
                    self.store.push(StoreJob { block, data, expected, suspected });
                }
                Output::Discard { piece, blocks } => self.discard(piece, blocks),
                Output::ReadLeaves { piece } => self.read_leaves(piece),
                Output::Event(event) => self.machine_event(event),
            }
        }
        if let (Data::Open(opened), false) = (&self.data, self.store.is_empty()) {
            opened.storage.store(&mut self.store);
        }
        self.links.flush();
    }

    /// In order with what is stored.
    fn discard(&mut self, piece: PieceIndex, blocks: Option<Vec<u32>>) {
        if let Data::Open(opened) = &self.data {
            opened.storage.store(&mut self.store);
            opened.storage.discard(piece, blocks);
        }
    }

    fn read_leaves(&self, piece: PieceIndex) {
        if let Data::Open(opened) = &self.data {
            opened.storage.leaves(piece);
        }
    }

    fn handle(&mut self, input: Input<Buf>) {
        self.machine.handle(self.shared.clock.now(), input);
    }

    fn tick(&mut self) {
        self.handle(Input::Room(self.links.has_room()));
        let others = self.uplink.say(self.machine.up_rate());
        self.handle(Input::Beside(others));
        self.handle(Input::Tick);
        self.expire_readers();
        self.links.reap();
        self.tell_trackers();
        while self.tasks.try_join_next().is_some() {}
        self.keep(false);
    }

    fn message(&mut self, message: ToTorrent) {
        match message {
            ToTorrent::Peer(peer, events) => self.peer_events(peer, events),
            ToTorrent::Incoming { stream, addr, prefix, place } => {
                self.incoming(stream, addr, prefix, place);
            }
            ToTorrent::Outgoing { addr, dialled } => self.outgoing(addr, dialled),
            ToTorrent::Candidates(source, addrs) => self.handle(Input::Candidates { source, addrs }),
            ToTorrent::Seen { by, ip } => self.handle(Input::Seen { by, ip }),
            ToTorrent::Checking { done, total } => {
                self.arrivals.refuse();
                let _ = self.news.send(TorrentEvent::Checking { done, total });
            }
            ToTorrent::Opened(opened) => self.opened(*opened),
            ToTorrent::Selected(result) => self.selected(result),
            ToTorrent::Control(control) => self.control(control),
        }
    }

    fn peer_events(&mut self, peer: PeerKey, events: Vec<Event<Buf>>) {
        let now = self.shared.clock.now();
        for event in events {
            if let Event::Closed(_) = event {
                self.links.remove(peer);
            }
            self.machine.handle(now, Input::Peer { peer, event });
        }
    }

    fn incoming(&mut self, stream: TcpStream, addr: SocketAddr, prefix: Prefix, place: Place) {
        if self.stopping.is_some() {
            return;
        }
        if self.woken && !matches!(self.data, Data::Open(_)) {
            return self.arrivals.hold(ToTorrent::Incoming { stream, addr, prefix, place });
        }
        let (place, room) = self.links.adopt(place);
        self.handle(Input::Room(room));
        self.tell_local(&stream);
        let peer = self.links.incoming(stream, addr, prefix, place, self.machine.hashes());
        self.handle(Input::Connected { peer, addr, outgoing: false });
    }

    /// Our end of a connection says how others see us.
    fn tell_local(&mut self, stream: &TcpStream) {
        if let Ok(local) = stream.local_addr() {
            self.handle(Input::Local { ip: local.ip() });
        }
    }

    fn outgoing(&mut self, addr: SocketAddr, dialled: Dialled) {
        match dialled {
            Dialled::Made(stream, place) if self.stopping.is_none() => {
                self.tell_local(&stream);
                let peer = self.links.outgoing(stream, addr, place, self.machine.hashes());
                self.handle(Input::Connected { peer, addr, outgoing: true });
            }
            Dialled::NotTried => self.handle(Input::ConnectDeferred { addr }),
            Dialled::Made(..) | Dialled::Failed => self.handle(Input::ConnectFailed { addr }),
        }
    }

    fn machine_event(&mut self, event: machine::TorrentEvent) {
        match event {
            machine::TorrentEvent::Metadata(info) => self.learned(info),
            machine::TorrentEvent::BadInfo(error) => {
                self.fail(format!("the torrent's metadata cannot be used: {error}"));
            }
            machine::TorrentEvent::Layers(layers) => self.layers(layers),
            machine::TorrentEvent::PieceDone(piece) => self.piece_done(piece),
            machine::TorrentEvent::PeerNamed { addr, client, .. } => {
                self.tell_peer(addr, PeerState::Connected, Some(client), None);
            }
            machine::TorrentEvent::DhtNode(addr) => self.dht_node(addr),
            machine::TorrentEvent::PeerJoined { addr, .. } => {
                self.tell_peer(addr, PeerState::Connected, None, None);
            }
            machine::TorrentEvent::PeerLeft { addr, client, reason, .. } => {
                self.tell_peer(addr, PeerState::Gone, client, Some(reason));
            }
            machine::TorrentEvent::Banned { addr, violation } => {
                self.tell_peer(addr, PeerState::Banned, None, Some(Departure::Violation(violation)));
                let text = format!("{addr} is banned: {}", violation.name());
                let _ = self.news.send(TorrentEvent::Warning(text));
            }
            // The user hears of it when the files have their names: see `DiskEvent::Finished`.
            machine::TorrentEvent::Complete => {}
            other => tracing::debug!(?other, "news that nobody reads"),
        }
    }

    /// Peers of a private torrent are asked nothing that is not of the torrent.
    fn dht_node(&self, addr: SocketAddr) {
        if let Some(dht) = self.shared.dht.as_ref().filter(|_| !self.entry.tally.is_private()) {
            dht.hint(addr);
        }
    }

    fn tell_peer(
        &self,
        addr: SocketAddr,
        state: PeerState,
        client: Option<String>,
        reason: Option<Departure>,
    ) {
        let _ = self.news.send(TorrentEvent::Peer { addr, state, client, reason });
    }

    fn disk_events(&mut self, first: DiskEvent) {
        self.disk_event(first);
        while let Data::Open(opened) = &mut self.data {
            let Some(event) = opened.events.try_recv() else { break };
            self.disk_event(event);
        }
        self.keep(false);
    }

    fn disk_event(&mut self, event: DiskEvent) {
        match event {
            DiskEvent::Verified { piece, ok, digests } => {
                self.handle(Input::Verified { piece, ok, digests });
            }
            DiskEvent::Lost { piece } => self.handle(Input::Lost { piece }),
            DiskEvent::Gone { pieces, error } => self.gone(&pieces, &error),
            DiskEvent::Leaves { piece, leaves } => self.handle(Input::Leaves { piece, leaves }),
            DiskEvent::Finished => self.finished(),
            DiskEvent::Displaced { from, to } => {
                let text = format!("{} was in the way and is now {}", from.display(), to.display());
                let _ = self.news.send(TorrentEvent::Warning(text));
            }
            DiskEvent::Synced { pieces } => self.synced(&pieces),
            DiskEvent::LinkSkipped(error) => {
                let _ = self.news.send(TorrentEvent::Warning(error.to_string()));
            }
            DiskEvent::Full { needed } => self.disk_full(needed),
            DiskEvent::Room => self.disk_room(),
            DiskEvent::Failed(error) => self.fail(error.to_string()),
        }
    }

    fn disk_full(&mut self, needed: u64) {
        self.full = true;
        self.handle(Input::Pause);
        let text = format!("the disk is full: {needed} more bytes are needed; free some space to go on");
        let _ = self.news.send(TorrentEvent::Paused(text));
    }

    fn disk_room(&mut self) {
        self.full = false;
        self.handle(Input::Resume);
        let _ = self.news.send(TorrentEvent::Resumed);
    }

    fn control(&mut self, control: Control) {
        match control {
            Control::Snapshot(reply) => drop(reply.send(self.snapshot())),
            Control::Peers(reply) => drop(reply.send(self.machine.peers().collect())),
            Control::Metainfo(reply) => drop(reply.send(self.metainfo.clone())),
            Control::ReadPiece(piece, reply) => self.read_piece(piece, reply),
            Control::SetLimits(limits, reply) => {
                self.basis.limits = limits;
                self.limits.set(limits);
                self.limits_changed();
                let _ = reply.send(());
            }
            Control::LimitsChanged => self.limits_changed(),
            Control::Select(files, reply) => self.select(files, reply),
            Control::Prioritise(piece, priority) => self.handle(Input::Prioritise { piece, priority }),
            Control::Stop(done) => {
                self.waiting.push(done);
                self.stop();
            }
        }
    }

    /// The connections keep them by themselves; the machine is told whom it can serve.
    fn limits_changed(&mut self) {
        self.handle(Input::UploadLimit(self.limits.upload()));
    }

    fn stop(&mut self) {
        if self.stopping.is_none() {
            self.stopping = Some(Instant::now() + GOODBYE);
            self.handle(Input::Stop);
            self.leave_trackers();
        }
    }

    fn fail(&mut self, message: String) {
        if !self.failed {
            let _ = self.news.send(self.failure(message));
            self.failed = true;
            self.stop();
        }
    }
}

/// The next event of the disk; never, while it is not open.
async fn disk_event(data: &mut Data) -> Option<DiskEvent> {
    match data {
        Data::Open(opened) => opened.events.recv().await,
        Data::Unknown | Data::Opening => std::future::pending().await,
    }
}
