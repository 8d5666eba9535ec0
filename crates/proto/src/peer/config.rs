//! What a connection is told at its birth, and the limits that it keeps.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::ids::PeerId;
use crate::layout::Layout;

/// How long the whole handshake may take. libtorrent gives 10 s; a lossy line needs room for two retransmissions.
pub(super) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);

/// We say something at least this often. BEP 3 speaks of two minutes, at which libtorrent hangs up.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(100);

/// A peer that is silent for longer has gone: one and a half of the keep-alives of BEP 3.
pub(super) const SILENCE_TIMEOUT: Duration = Duration::from_secs(180);

/// How long our bytes may lie without any of them leaving. A kernel says that a socket is writable only when a third
/// of its buffer is free, which takes a minute at 1 KiB/s.
pub(super) const STALL_TIMEOUT: Duration = Duration::from_secs(120);

/// How long a fast peer that choked us may take to reject what we asked. BEP 6 wants it at once; not all do it.
pub(super) const REJECT_TIMEOUT: Duration = Duration::from_secs(20);

/// Payload that left is reported at most this often.
pub(super) const REPORT_INTERVAL: Duration = Duration::from_millis(500);

/// Requests of the remote that we keep, and announce as `reqq`. Deployed clients have 250 to 500 in flight, Transmission
/// announces 2000; at 16 KiB each that is 32 MiB in flight, a second at 250 Mbit/s, for 24 KiB of memory.
pub(super) const MAX_QUEUED_REQUESTS: u32 = 2000;

/// Requests of ours in flight to one peer, whatever it announces: 64 MiB.
pub(super) const MAX_ASKED: usize = 4096;

/// Blocks that nobody asked for before we hang up. Honest peers send none; half a megabyte forgives a confused one.
pub(super) const MAX_UNREQUESTED: u32 = 32;

/// Bytes of control messages that wait for a peer that does not read, beyond a bitfield: 230 000 haves.
pub(super) const MAX_CONTROL: usize = 2 * 1024 * 1024;

/// While more control bytes than this wait, requests for hashes and metadata, whose answers are long, are refused.
pub(super) const BUSY_CONTROL: usize = 256 * 1024;

/// Requests for hashes, and for metadata, that wait for the torrent's answer.
pub(super) const MAX_UNANSWERED: u32 = 16;

/// Requests of ours for hashes, and for metadata, that wait for the remote's answer: more than a torrent asks of one
/// peer, and cheap to search.
pub(super) const MAX_QUESTIONS: usize = 64;

/// Pieces of an allowed-fast set that we remember. BEP 6 gives 10.
pub(super) const MAX_ALLOWED_FAST: usize = 64;

/// The shape of the torrent, known from the start or when its metadata came.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Pieces and blocks.
    pub layout: Arc<Layout>,
    /// Size of the info dictionary in bytes.
    pub metadata_size: u32,
}

/// What a connection needs to know about us and about the other end.
#[derive(Clone, Debug)]
pub struct Config {
    /// Our id.
    pub peer_id: PeerId,
    /// Our name and version, for the extension handshake (BEP 10 `v`).
    pub client: Arc<str>,
    /// The port that we listen on, told to peers that we connect to (BEP 10 `p`).
    pub listen_port: Option<u16>,
    /// The UDP port of our DHT node, if we have one (BEP 5).
    pub dht_port: Option<u16>,
    /// The remote's address, told to it so that it learns how it is seen (BEP 10 `yourip`).
    pub remote_ip: Option<IpAddr>,
    /// Whether the first extension handshake names `ut_pex` (BEP 11). What a later one adds libtorrent does not heed, and
    /// takes the messages that follow from it for an error. `Command::AllowPex` takes it back.
    pub pex: bool,
    /// The torrent's shape, if it is known already; otherwise `Command::Layout` brings it.
    pub shape: Option<Shape>,
}

impl Config {
    /// A configuration that tells nothing but our id.
    pub fn new(peer_id: PeerId) -> Self {
        Self {
            peer_id,
            client: "Samara".into(),
            listen_port: None,
            dht_port: None,
            remote_ip: None,
            pex: false,
            shape: None,
        }
    }
}
