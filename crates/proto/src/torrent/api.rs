//! What goes into a torrent machine and what comes out of it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::bitfield::Bitfield;
use crate::ids::{Block, PeerId, PeerKey, PieceIndex, Sha1Hash, Sha256Hash};
pub use crate::metainfo::PieceLayers;
use crate::metainfo::{Info, MetainfoError};
use crate::peer::{Command, Departure, Event, Violation};
use crate::time::Time;

use super::metadata::MetadataProgress;
pub use super::priority::Priority;
use super::sources::Sources;

/// Settings of one torrent. They do not change while it runs, but for the selection.
#[derive(Clone, Debug)]
pub struct Config {
    /// The id we show in handshakes: tells a connection to ourselves, and breaks ties between two connections.
    pub peer_id: PeerId,
    /// Most connections at once, both directions, those being opened counted.
    pub max_peers: usize,
    /// Most connections being opened at once.
    pub max_half_open: usize,
    /// Where we listen, for canonical priorities between peers on one address (BEP 40); 0 for nowhere.
    pub listen_port: u16,
    /// Peers served at once, the optimistic one counted; `None` for as many as the measured capacity says.
    pub upload_slots: Option<usize>,
    /// As the only seed, tell each peer of other pieces (BEP 16).
    pub super_seeding: bool,
    /// Grant newcomers a few pieces although they are choked (BEP 6).
    pub allowed_fast: bool,
    /// Exchange addresses with peers, unless the torrent is private (BEP 11, 27).
    pub pex: bool,
    /// Take pieces in order instead of rarest first.
    pub sequential: bool,
    /// How much each file is wanted, by index (pad files counted); `None` is all alike. Files beyond its end are not
    /// wanted.
    pub wanted: Option<Vec<Priority>>,
}

impl Config {
    /// The defaults, for the given id: 80 connections, 20 being opened, slots by capacity, super seeding where it helps,
    /// peer exchange, rarest first, everything wanted.
    pub const fn new(peer_id: PeerId) -> Self {
        Self {
            peer_id,
            max_peers: 80,
            max_half_open: 20,
            listen_port: 0,
            upload_slots: None,
            super_seeding: true,
            allowed_fast: true,
            pex: true,
            sequential: false,
            wanted: None,
        }
    }
}

/// What is known of the torrent beyond its hashes.
#[derive(Clone, Debug)]
pub struct Known {
    /// The info dictionary.
    pub info: Arc<Info>,
    /// `pieces root` → concatenated hashes of its piece layer (BEP 52); may lack any of them. What does not hash
    /// to its root is ignored.
    pub piece_layers: PieceLayers,
}

/// Who told us of an address. The order is that of trust: the first are tried first and forgotten last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// The user: tried for ever.
    User,
    /// A magnet link or a .torrent file.
    Link,
    /// Local service discovery (BEP 14).
    Lsd,
    /// A tracker.
    Tracker,
    /// It connected to us and told us its listening port (BEP 10).
    Incoming,
    /// Another peer (BEP 11).
    Pex,
    /// The DHT (BEP 5).
    Dht,
}

/// Shell → torrent. `B` is the handle of a payload buffer; the torrent only hands it on.
#[derive(Clone, Debug)]
pub enum Input<B> {
    /// A transport connection exists; its handshake is not done yet. Exactly once a peer, before its events.
    Connected {
        /// Names it from now on.
        peer: PeerKey,
        /// The remote's address.
        addr: SocketAddr,
        /// We asked for it by [`Output::Connect`] (`addr` must then be the one asked for).
        outgoing: bool,
    },
    /// A [`Output::Connect`] came to nothing.
    ConnectFailed {
        /// The address asked for.
        addr: SocketAddr,
    },
    /// A [`Output::Connect`] was not tried, for the program has too many connections. It is asked for again later.
    ConnectDeferred {
        /// The address asked for.
        addr: SocketAddr,
    },
    /// Our end of a connection has this address. Any number of times; it counts for canonical priorities (BEP 40).
    Local {
        /// The address.
        ip: IpAddr,
    },
    /// Somebody whom we called, a tracker, sees us at this address: a vote as those of peers are (BEP 24).
    Seen {
        /// Who says so.
        by: IpAddr,
        /// Our address.
        ip: IpAddr,
    },
    /// Whether the program has room for more connections of this torrent, as it has at first. Without it somebody must
    /// go for each who comes.
    Room(bool),
    /// Addresses that may be peers.
    Candidates {
        /// Who says so.
        source: Source,
        /// At most a few hundred at once are looked at.
        addrs: Vec<SocketAddr>,
    },
    /// A connection has something to say. `Event::Closed` is its last, exactly once a peer.
    Peer {
        /// Which.
        peer: PeerKey,
        /// What.
        event: Event<B>,
    },
    /// The storage is open, and this is what of it is proven. Once, after the info dictionary is known.
    Ready {
        /// As long as the torrent has pieces.
        have: Bitfield,
    },
    /// A piece that was stored whole was hashed. If it is wrong its blocks stay with the storage until
    /// [`Output::Discard`] says which of them are to come again.
    Verified {
        /// Which.
        piece: PieceIndex,
        /// Whether it is right; its data is then written and may be announced and read.
        ok: bool,
        /// The SHA-256 of each block that came from a peer, by its index: due if the piece is wrong, or if
        /// [`Output::Store`] asked for it. What is not known may be left out.
        digests: Vec<(u32, Sha256Hash)>,
    },
    /// The storage lost what it held of a piece (an error): it is fetched anew if it is wanted, and nobody blamed. If it
    /// was verified, peers are told that we do not have it any more (BEP 54).
    Lost {
        /// Which.
        piece: PieceIndex,
    },
    /// From now on files are wanted so much, by index; files beyond its end are not. What single pieces were given by
    /// `Prioritise` stays.
    Select(Vec<Priority>),
    /// From now on a piece is wanted so much, whatever its files are; `None`: as its files are. The last one counts. Ignored
    /// before the info dictionary is known.
    Prioritise {
        /// Which.
        piece: PieceIndex,
        /// How much.
        priority: Option<Priority>,
    },
    /// Somebody waits for these pieces and would have each by its time; a time that is over means at once. They come before
    /// everything else, whatever their priority; those that are had or not wanted are left out. The list replaces the one
    /// before. At most the 64 nearest count. Ignored before `Ready`.
    Deadlines(Vec<(PieceIndex, Time)>),
    /// What [`Output::ReadLeaves`] asked for.
    Leaves {
        /// Which piece.
        piece: PieceIndex,
        /// The SHA-256 of each of its blocks, as far as they belong to its file; empty if it cannot be read.
        leaves: Vec<Sha256Hash>,
    },
    /// What may go up in all, in bytes a second; `None` (as at first) is no limit.
    UploadLimit(Option<u64>),
    /// What the other torrents of the program send at present, in bytes a second; at first nothing. The slots are shared
    /// with them.
    Beside(u64),
    /// Ask for nothing more, for instance because the disk is full. Requests under way are taken back.
    Pause,
    /// Go on after `Pause`.
    Resume,
    /// Close every connection and open none.
    Stop,
    /// Only look at the time.
    Tick,
}

/// What a piece must hash to. At least one of the two; if both, both must fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// SHA-1 of the piece (BEP 3).
    pub v1: Option<Sha1Hash>,
    /// Root of the piece's part of its file's tree (BEP 52).
    pub v2: Option<Sha256Hash>,
}

/// Torrent → shell.
#[derive(Clone, Debug)]
pub enum Output<B> {
    /// Give this to the connection.
    Send {
        /// Which.
        peer: PeerKey,
        /// What.
        command: Command,
    },
    /// Open a connection; answer with `Connected` or `ConnectFailed`.
    Connect {
        /// Where to.
        addr: SocketAddr,
    },
    /// Close the connection; its `Closed` is still due. Nothing more is sent to it.
    Disconnect {
        /// Which.
        peer: PeerKey,
        /// Why.
        reason: Departure,
    },
    /// Keep a block; when its piece is whole, hash it and answer with `Verified`.
    Store {
        /// Who sent it.
        peer: PeerKey,
        /// Which. Never twice the same until [`Output::Discard`] or a restart.
        block: Block,
        /// Its bytes.
        data: B,
        /// What the piece must hash to.
        expected: Expected,
        /// The piece failed before: its digests are needed also if it is right.
        suspected: bool,
    },
    /// Let go of these blocks of a piece, if they are there; they come again. In order with `Store`: what was stored
    /// before is meant, what is stored later is not.
    Discard {
        /// Which piece.
        piece: PieceIndex,
        /// Which blocks, by index; `None` is all.
        blocks: Option<Vec<u32>>,
    },
    /// Hash the blocks of a piece that is verified (v2), and answer with `Leaves`. At most a few at a time.
    ReadLeaves {
        /// Which.
        piece: PieceIndex,
    },
    /// News for the user.
    Event(TorrentEvent),
}

/// News for the user of a torrent.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum TorrentEvent {
    /// The info dictionary came from peers, and hashes to the info-hash. Answer with [`Input::Ready`].
    Metadata(Arc<Info>),
    /// The info dictionary hashes to the info-hash but is not one: this torrent can never work.
    BadInfo(MetainfoError),
    /// Every file's piece layer came from peers (v2 magnet links).
    Layers(PieceLayers),
    /// One piece more.
    PieceDone(PieceIndex),
    /// Every wanted piece is there.
    Complete,
    /// A peer's handshake is done.
    PeerJoined {
        /// Which.
        peer: PeerKey,
        /// Its address.
        addr: SocketAddr,
    },
    /// A peer said what it is.
    PeerNamed {
        /// Which.
        peer: PeerKey,
        /// Its address.
        addr: SocketAddr,
        /// Client and version.
        client: String,
    },
    /// A peer has a DHT node there (BEP 5); at most one of each peer. Not to be told to the DHT of a private torrent.
    DhtNode(SocketAddr),
    /// A peer is gone, or a connection ended before its handshake was done.
    PeerLeft {
        /// Which.
        peer: PeerKey,
        /// Its address.
        addr: SocketAddr,
        /// Client and version, if it said.
        client: Option<String>,
        /// Why.
        reason: Departure,
    },
    /// An address was banned for the rest of the run.
    Banned {
        /// Whose.
        addr: SocketAddr,
        /// What it did.
        violation: Violation,
    },
}

/// Numbers of a torrent. Bytes, and bytes a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Bytes of wanted files that are had; pad files never count.
    pub done: u64,
    /// Bytes of wanted files.
    pub wanted: u64,
    /// Payload coming in.
    pub down_rate: u64,
    /// Payload going out.
    pub up_rate: u64,
    /// Payload that came, wasted counted.
    pub downloaded: u64,
    /// Payload that left.
    pub uploaded: u64,
    /// Payload that came for nothing: twice, or wrong.
    pub wasted: u64,
    /// Peers whose handshake is done.
    pub peers: u32,
    /// Those of them that have every piece.
    pub seeds: u32,
    /// Connections, those being opened counted.
    pub connections: u32,
    /// Known addresses.
    pub candidates: u32,
    /// Who told us of them.
    pub sources: Sources,
    /// How far the info dictionary is, while it is fetched from somebody.
    pub metadata: Option<MetadataProgress>,
    /// Hosts that were banned so far.
    pub banned: u32,
}

/// A peer as it is now, for lists.
#[derive(Clone, Debug)]
pub struct PeerStatus {
    /// Names it.
    pub peer: PeerKey,
    /// Its address.
    pub addr: SocketAddr,
    /// We opened the connection.
    pub outgoing: bool,
    /// Its id, once the handshake is done.
    pub peer_id: Option<PeerId>,
    /// Client and version, if it said.
    pub client: Option<String>,
    /// Number of pieces it has.
    pub pieces: u32,
    /// Bytes a second from it.
    pub down_rate: u64,
    /// Bytes a second to it.
    pub up_rate: u64,
    /// Payload that came from it.
    pub downloaded: u64,
    /// Payload that went to it.
    pub uploaded: u64,
    /// We want something of it.
    pub interested: bool,
    /// It does not serve us.
    pub choked: bool,
    /// It wants something of ours.
    pub peer_interested: bool,
    /// We do not serve it.
    pub peer_choked: bool,
    /// It sent nothing for too long.
    pub snubbed: bool,
    /// It took part in a piece that was wrong, and gets pieces of its own until it is cleared.
    pub suspect: bool,
    /// Requests under way.
    pub requests: u32,
    /// Most requests under way, at present.
    pub window: u32,
    /// Shortest time from a request to its block of late.
    pub round_trip: Option<Duration>,
}
