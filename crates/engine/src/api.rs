//! What a program that embeds the engine sees: how a torrent is added, what it tells, and what it looks like now.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use samara_proto::ids::InfoHashes;
use samara_proto::metainfo::{Info, Metainfo};
use samara_proto::peer::Departure;
pub use samara_proto::torrent::{MetadataProgress, Priority, Source, Sources};
use samara_proto::tracker::TrackerUrl;
use samara_proto::tracker::announcer::Report;

use crate::dht::DhtConfig;

/// Settings of a [`Client`](crate::Client).
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to accept connections; port 0 picks a free one. Empty: outgoing connections only.
    pub listen: Vec<SocketAddr>,
    /// Where resume data is kept; `None` keeps none, so that a restart hashes what is on disk.
    pub state_dir: Option<PathBuf>,
    /// Connections of all torrents together, incoming and outgoing.
    pub max_peers: usize,
    /// Connections of all torrents that are being opened at once.
    pub max_half_open: usize,
    /// Connections of all torrents that are begun to be opened in a second.
    pub max_dials: u32,
    /// Bytes of payload held in memory before reading from sockets pauses.
    pub disk_budget: usize,
    /// Disk threads, which hash and write.
    pub disk_threads: usize,
    /// Files held open at once.
    pub max_open_files: usize,
    /// What all torrents together may move; each may have limits of its own.
    pub limits: Limits,
    /// Whether the limits hold for peers on the local network too: loopback, private (RFC 1918, RFC 4193) and link-local
    /// (RFC 3927, RFC 4291) addresses.
    pub limit_lan: bool,
    /// Client name and version for the extension handshake (BEP 10).
    pub client_name: String,
    /// Whether trackers are asked.
    pub trackers: bool,
    /// Whether peers are asked for and told of others (BEP 11), but in private torrents.
    pub pex: bool,
    /// Whether peers are looked for on the local network, and told of what is shared (BEP 14). Never private torrents.
    pub lsd: bool,
    /// Whether trackers that a torrent or a link names, their redirects and the peers they give may lead to addresses
    /// inside this machine and network ([`reach`](samara_proto::tracker::reach)).
    pub inside_trackers: bool,
    /// Part in the DHT, where torrents that are not private are announced and looked for; `None` takes none. Without
    /// listening addresses it is read-only (BEP 43).
    pub dht: Option<DhtConfig>,
    /// For how long nothing may go on before a whole torrent gives up its task, memory and open files, until somebody
    /// connects or asks.
    pub rest_after: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            state_dir: None,
            max_peers: 500,
            max_half_open: 100,
            max_dials: 30,
            disk_budget: 64 << 20,
            disk_threads: std::thread::available_parallelism().map_or(2, |n| n.get().min(4)),
            max_open_files: 128,
            limits: Limits::default(),
            limit_lan: true,
            client_name: concat!("Samara ", env!("CARGO_PKG_VERSION")).to_owned(),
            trackers: true,
            pex: true,
            lsd: false,
            inside_trackers: false,
            dht: None,
            rest_after: Duration::from_secs(60),
        }
    }
}

/// How much payload may be moved, in bytes a second: over ten seconds within 2 %, and at once no more than 150 ms of it
/// after a pause. `None` is no limit; 0 counts as 1. Headers and control messages are not counted, nor held up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// From peers.
    pub down: Option<u64>,
    /// To peers.
    pub up: Option<u64>,
}

/// Decides, once the files are known, how much each is wanted: one priority per file in the torrent's order, pad files
/// counted. An error ends the torrent with that message.
pub type SelectFn = Box<dyn FnOnce(&Info) -> Result<Vec<Priority>, String> + Send>;

/// A torrent to add.
pub struct AddTorrent {
    /// What is known of it.
    pub source: AddSource,
    /// The folder that holds, or will hold, the torrent's name.
    pub dir: PathBuf,
    /// Peers to connect to, and to return to for as long as the torrent runs.
    pub peers: Vec<SocketAddr>,
    /// Trackers that the user names, asked before those of the torrent; they may be anywhere. Those of a private torrent
    /// are not joined by others.
    pub trackers: Vec<TrackerUrl>,
    /// Trackers that a link names (`tr`), each a tier of its own. Those of a `.torrent` are known from it.
    pub linked_trackers: Vec<String>,
    /// What to do with data that is there already.
    pub mode: Mode,
    /// How much files are wanted; `None` wants all alike.
    pub select: Option<SelectFn>,
    /// Pieces in order rather than rarest first.
    pub sequential: bool,
    /// What this torrent may move, within what the client may.
    pub limits: Limits,
    /// Where each file lies, if not below `dir`: absolute paths in the torrent's order, `None` for pad files. The
    /// files are never written, renamed or created then.
    pub paths: Option<Vec<Option<PathBuf>>>,
}

impl AddTorrent {
    /// Downloads a torrent into `dir`, wanting all of it.
    pub fn new(source: AddSource, dir: impl Into<PathBuf>) -> Self {
        Self {
            source,
            dir: dir.into(),
            peers: Vec::new(),
            trackers: Vec::new(),
            linked_trackers: Vec::new(),
            mode: Mode::Download,
            select: None,
            sequential: false,
            limits: Limits::default(),
            paths: None,
        }
    }
}

/// What is known of a torrent when it is added.
#[derive(Clone, Debug)]
pub enum AddSource {
    /// All of it.
    Metainfo(Box<Metainfo>),
    /// All of it is in this `.torrent` file, which is read when it is needed and should stay where it is.
    File(PathBuf),
    /// Only its hashes: the rest comes from peers (BEP 9).
    Magnet {
        /// v1, v2 or both.
        hashes: InfoHashes,
        /// A name to show until the real one is known.
        name: Option<String>,
    },
}

/// What a torrent is added for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Fetch what is missing. Data that is there is hashed and adopted.
    Download,
    /// Share what is there after hashing it; fail if some of it is missing. Nothing is written.
    Seed,
    /// Share what is there without hashing: the caller has just done so. Nothing is written.
    Trusted,
}

/// What happened to a torrent.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum TorrentEvent {
    /// The info dictionary is known.
    Metadata(Arc<Info>),
    /// Data on disk is being hashed.
    Checking {
        /// Bytes looked at.
        done: u64,
        /// Bytes to look at.
        total: u64,
    },
    /// What is there is known; pieces flow from now on.
    Started,
    /// Every wanted byte is verified and in its file, under its final name.
    Complete {
        /// The file, or the folder.
        path: PathBuf,
    },
    /// A peer came or went.
    Peer {
        /// Its address.
        addr: SocketAddr,
        /// What became of it.
        state: PeerState,
        /// Its name for itself, once known.
        client: Option<String>,
        /// Why it went.
        reason: Option<Departure>,
    },
    /// What became of an announce.
    Tracker(Arc<Report>),
    /// Something the user should know, that stops nothing.
    Warning(String),
    /// The torrent waits, and goes on by itself once the cause is gone.
    Paused(String),
    /// It goes on.
    Resumed,
    /// The torrent ended for this reason.
    Failed(String),
}

/// Where a peer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerState {
    /// The handshake is done.
    Connected,
    /// It is gone.
    Gone,
    /// It is banned for the rest of the run, for the reason given. It may be gone already.
    Banned,
}

/// Where a torrent stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// The info dictionary is not known yet.
    #[default]
    Metadata,
    /// Data on disk is being hashed.
    Checking,
    /// Pieces are missing.
    Downloading,
    /// All wanted pieces are there.
    Seeding,
    /// The disk is full.
    Paused,
    /// It ended with an error.
    Failed,
}

/// A torrent at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Where it stands.
    pub state: State,
    /// Wanted bytes that are verified.
    pub done: u64,
    /// Wanted bytes.
    pub total: u64,
    /// Payload received, bytes per second.
    pub down_rate: u64,
    /// Payload sent, bytes per second.
    pub up_rate: u64,
    /// Payload received in this run, bytes.
    pub downloaded: u64,
    /// Payload sent in this run, bytes.
    pub uploaded: u64,
    /// Peers connected.
    pub peers: u32,
    /// Those of them that have everything.
    pub seeds: u32,
    /// Hosts that were banned so far.
    pub banned: u32,
    /// Known addresses, by who told us.
    pub sources: Sources,
    /// How far the info dictionary is, while it is fetched from somebody.
    pub metadata: Option<MetadataProgress>,
    /// How full each of at most 64 equal stretches of the torrent is, 0 to 255.
    pub piece_map: Vec<u8>,
}

impl Snapshot {
    /// Adds the numbers of another torrent.
    pub(crate) fn add(&mut self, other: &Self) {
        self.done += other.done;
        self.total += other.total;
        self.down_rate += other.down_rate;
        self.up_rate += other.up_rate;
        self.downloaded += other.downloaded;
        self.uploaded += other.uploaded;
        self.peers += other.peers;
        self.seeds += other.seeds;
        self.banned += other.banned;
    }
}
