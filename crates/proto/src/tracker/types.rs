//! What announces and scrapes say, whatever carries them (BEP 3, 7, 15, 21, 24, 31, 48).

use std::net::{IpAddr, SocketAddr};

use crate::ids::{PeerId, WireHash};

/// Most peers taken from one answer; the rest is passed over. Ten times what clients commonly ask for (200).
pub const MAX_PEERS: usize = 2000;

/// The interval, in seconds, where an HTTP tracker names none: half an hour, what most trackers say.
pub const DEFAULT_INTERVAL: u32 = 1800;

/// Why an announce is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Event {
    /// It is time, or more peers are needed.
    #[default]
    None,
    /// The first announce of a session.
    Started,
    /// The torrent became whole during this session (BEP 3: not if everything was there before).
    Completed,
    /// The last announce of a session.
    Stopped,
    /// We are a partial seed and want no more (BEP 21). BEP 15 has no number for it; libtorrent sends 4.
    Paused,
}

impl Event {
    /// The value of HTTP's `event`; `None` where the parameter is left out.
    pub const fn name(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Started => Some("started"),
            Self::Completed => Some("completed"),
            Self::Stopped => Some("stopped"),
            Self::Paused => Some("paused"),
        }
    }

    /// From HTTP's `event`; what is unknown or empty is [`Event::None`], as BEP 3 has it for `empty`.
    pub fn from_name(name: &[u8]) -> Self {
        match name {
            b"started" => Self::Started,
            b"completed" => Self::Completed,
            b"stopped" => Self::Stopped,
            b"paused" => Self::Paused,
            _ => Self::None,
        }
    }

    /// The number in a UDP announce (BEP 15).
    pub const fn number(self) -> u32 {
        match self {
            Self::None => 0,
            Self::Completed => 1,
            Self::Started => 2,
            Self::Stopped => 3,
            Self::Paused => 4,
        }
    }

    /// From the number in a UDP announce; what is unknown is [`Event::None`].
    pub const fn from_number(number: u32) -> Self {
        match number {
            1 => Self::Completed,
            2 => Self::Started,
            3 => Self::Stopped,
            4 => Self::Paused,
            _ => Self::None,
        }
    }
}

/// One announce of one torrent. Small and `Copy`, for a tracker reads hundreds of thousands a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnnounceRequest {
    /// The torrent; of a v2 torrent the first 20 bytes (BEP 52).
    pub info_hash: WireHash,
    /// Who announces.
    pub peer_id: PeerId,
    /// The port it listens on; 0 if nobody can connect to it.
    pub port: u16,
    /// Bytes uploaded in this session.
    pub uploaded: u64,
    /// Bytes downloaded in this session.
    pub downloaded: u64,
    /// Bytes still wanted; 0 for a seed.
    pub left: u64,
    /// Why.
    pub event: Event,
    /// Peers wanted; `None` leaves it to the tracker.
    pub numwant: Option<u32>,
    /// Stays the same over a session while the address changes (BEP 7); 0 if absent.
    pub key: u32,
    /// An address to hand out in place of the sender's. Trackers ignore it, bar those told to trust the sender; UDP
    /// carries IPv4 only.
    pub ip: Option<IpAddr>,
}

/// What a tracker answered to an announce.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnnounceResponse {
    /// Seconds until the next regular announce, as it was said: the caller has to bound it.
    pub interval: u32,
    /// Seconds before which no announce at all is welcome.
    pub min_interval: Option<u32>,
    /// Seeds.
    pub complete: Option<u32>,
    /// Peers that are no seeds.
    pub incomplete: Option<u32>,
    /// Downloads ever completed.
    pub downloaded: Option<u32>,
    /// Peers: at most [`MAX_PEERS`], none with port 0, mapped IPv4 addresses as IPv4. A peer given by name is passed
    /// over: nothing deployed does that, and resolving names for a stranger is a way to reach inside.
    pub peers: Vec<SocketAddr>,
    /// Something for the user.
    pub warning: Option<String>,
    /// Our address as the tracker sees it (BEP 24).
    pub external_ip: Option<IpAddr>,
    /// To be sent back with each further announce to this tracker; at most [`super::http::MAX_TRACKER_ID`] bytes.
    pub tracker_id: Option<Box<[u8]>>,
}

/// A tracker's refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Its words for the user: one line, cleaned, and at most some hundred bytes.
    pub reason: String,
    /// When to come back, if it says so (BEP 31).
    pub retry: Option<Retry>,
}

/// BEP 31's `retry in`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// After so many minutes.
    Minutes(u32),
    /// Not at all: there is no tracker for this torrent.
    Never,
}

/// The size of one swarm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScrapeStats {
    /// Seeds.
    pub complete: u32,
    /// Downloads ever completed.
    pub downloaded: u32,
    /// Peers that are no seeds.
    pub incomplete: u32,
}

/// The family of an address; a UDP answer's peers are of the family of the socket (BEP 15).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Bytes of a compact peer: address and port (BEP 23, BEP 7).
    pub const fn peer_len(self) -> usize {
        match self {
            Self::V4 => 6,
            Self::V6 => 18,
        }
    }

    /// Not this one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::V4 => Self::V6,
            Self::V6 => Self::V4,
        }
    }

    /// The family of `addr`; an IPv4 address mapped into IPv6 is IPv4.
    pub fn of(addr: IpAddr) -> Self {
        match addr.to_canonical() {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

/// Reads compact peers (BEP 23; BEP 7 for IPv6) until [`MAX_PEERS`] are in `out`. Part of a peer at the end, and
/// peers with port 0, are passed over.
pub(crate) fn read_compact(bytes: &[u8], family: Family, out: &mut Vec<SocketAddr>) {
    for peer in bytes.chunks_exact(family.peer_len()) {
        push_peer(compact_peer(peer), out);
    }
}

/// One compact peer, whose family its length tells.
pub(crate) fn compact_peer(bytes: &[u8]) -> Option<SocketAddr> {
    let (ip, port) = bytes.split_last_chunk::<2>()?;
    Some(SocketAddr::new(packed_ip(ip)?, u16::from_be_bytes(*port)))
}

/// An address of 4 or 16 bytes.
pub(crate) fn packed_ip(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = || <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from);
    v4().or_else(|| <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from))
}

/// Notes a peer, unless it cannot be connected to or the list is full.
pub(crate) fn push_peer(peer: Option<SocketAddr>, out: &mut Vec<SocketAddr>) {
    if let Some(peer) = peer.filter(|peer| peer.port() != 0 && out.len() < MAX_PEERS) {
        out.push(SocketAddr::new(peer.ip().to_canonical(), peer.port()));
    }
}
