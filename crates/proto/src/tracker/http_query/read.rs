//! A tracker reads.

use std::net::IpAddr;

use super::super::types::{AnnounceRequest, Event};
use super::{Params, decode};
use crate::ids::{PeerId, WireHash};

/// Longest query that need be read, in bytes: a scrape of 100 torrents takes 7,200.
pub const MAX_LEN: usize = 8192;

/// An announce, as a view into its query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnnounceQuery<'a> {
    /// What it says. Sizes that are absent are 0, bar `left`: see [`AnnounceQuery::left_known`].
    pub request: AnnounceRequest,
    /// Whether there was a `left`. Clients that have only a magnet link yet know none; where there is none
    /// `request.left` is `u64::MAX`, so that nobody takes the peer for a seed.
    pub left_known: bool,
    /// Whether compact peers are welcome (BEP 23). Only those who say `compact=0` want dictionaries.
    pub compact: bool,
    /// Whether peer ids may be left out of dictionaries.
    pub no_peer_id: bool,
    /// What we said in an earlier answer, still encoded.
    pub tracker_id: Option<&'a [u8]>,
}

/// Why an announce cannot be answered. The text is for the `failure reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadQuery {
    /// Absent, or not 20 bytes.
    #[error("info_hash is missing, or is not 20 bytes, percent-encoded")]
    InfoHash,
    /// Absent, or not 20 bytes.
    #[error("peer_id is missing, or is not 20 bytes, percent-encoded")]
    PeerId,
    /// Absent, or no port.
    #[error("port is missing, or is not a number from 0 to 65535")]
    Port,
}

/// Reads an announce from what follows the `?`.
///
/// # Errors
/// If info-hash, peer id or port are missing or malformed.
pub fn parse_announce(query: &[u8]) -> Result<AnnounceQuery<'_>, BadQuery> {
    let mut draft = Draft::default();
    Params::new(query).for_each(|(key, value)| draft.take(key, value));
    let left_known = draft.left.is_some();
    let request = AnnounceRequest {
        info_hash: WireHash(draft.info_hash.ok_or(BadQuery::InfoHash)?),
        peer_id: PeerId(draft.peer_id.ok_or(BadQuery::PeerId)?),
        port: draft.port.ok_or(BadQuery::Port)?,
        uploaded: draft.uploaded,
        downloaded: draft.downloaded,
        left: draft.left.unwrap_or(u64::MAX),
        event: draft.event,
        numwant: draft.numwant,
        key: draft.key,
        ip: draft.ip,
    };
    let Draft { compact_refused, no_peer_id, tracker_id, .. } = draft;
    Ok(AnnounceQuery { request, left_known, compact: !compact_refused, no_peer_id, tracker_id })
}

/// The info-hashes of a scrape, in order; malformed ones are passed over. The caller bounds how many it takes.
pub fn scrape_hashes(query: &[u8]) -> impl Iterator<Item = WireHash> + '_ {
    let hashes = Params::new(query).filter(|(key, _)| *key == b"info_hash");
    hashes.filter_map(|(_, value)| decode(value).exactly().map(WireHash))
}

#[derive(Default)]
struct Draft<'a> {
    info_hash: Option<[u8; 20]>,
    peer_id: Option<[u8; 20]>,
    port: Option<u16>,
    uploaded: u64,
    downloaded: u64,
    left: Option<u64>,
    event: Event,
    numwant: Option<u32>,
    key: u32,
    ip: Option<IpAddr>,
    compact_refused: bool,
    no_peer_id: bool,
    tracker_id: Option<&'a [u8]>,
}

impl<'a> Draft<'a> {
    fn take(&mut self, key: &[u8], value: &'a [u8]) {
        match key {
            b"info_hash" => self.info_hash = decode(value).exactly(),
            b"peer_id" => self.peer_id = decode(value).exactly(),
            b"port" => self.port = number(value).and_then(|n| u16::try_from(n).ok()),
            b"uploaded" => self.uploaded = number(value).unwrap_or(0),
            b"downloaded" => self.downloaded = number(value).unwrap_or(0),
            b"left" => self.left = number(value),
            b"event" => self.event = Event::from_name(value),
            b"numwant" => self.numwant = number(value).map(saturated),
            b"key" => self.key = key_of(value),
            b"ip" => self.ip = ip(value),
            b"compact" => self.compact_refused = value == b"0",
            b"no_peer_id" => self.no_peer_id = value != b"0",
            b"trackerid" => self.tracker_id = Some(value).filter(|id| !id.is_empty()),
            _ => {}
        }
    }
}

/// A number in decimal digits; `None` for anything else, negative ones too, which some clients send for *unknown*.
fn number(value: &[u8]) -> Option<u64> {
    let digit = |n: u64, b: &u8| {
        let digit = (*b as char).to_digit(10)?;
        Some(n.saturating_mul(10).saturating_add(u64::from(digit)))
    };
    if value.is_empty() { None } else { value.iter().try_fold(0, digit) }
}

fn saturated(n: u64) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// The key is any text. One of up to 8 hex digits, which is what clients send, is that number, so that the same client
/// has the same key over UDP; of another a hash is taken (FNV-1a, which an attacker may as well choose as the key).
fn key_of(value: &[u8]) -> u32 {
    let digits = || value.iter().try_fold(0u32, |n, b| Some(n << 4 | (*b as char).to_digit(16)?));
    let fnv = || value.iter().fold(0x811c_9dc5, |n: u32, b| (n ^ u32::from(*b)).wrapping_mul(0x0100_0193));
    Some(value).filter(|v| v.len() <= 8).and_then(|_| digits()).unwrap_or_else(fnv)
}

/// An IP address; names are not resolved for anybody.
fn ip(value: &[u8]) -> Option<IpAddr> {
    // The longest form of an IPv6 address has 45 bytes.
    let mut buffer = [0; 45];
    let text = decode(value).fill(&mut buffer)?;
    std::str::from_utf8(text).ok()?.parse().ok()
}
