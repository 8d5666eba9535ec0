//! A client reads.

use std::net::{IpAddr, SocketAddr};

use super::super::text::clean;
use super::super::types::{
    AnnounceResponse, DEFAULT_INTERVAL, Failure, Family, Retry, ScrapeStats, compact_peer, packed_ip,
    push_peer, read_compact,
};
use super::{MAX_BODY, MAX_SCRAPE, MAX_TRACKER_ID};
use crate::bencode::{self, Dict, Limits, Value};
use crate::ids::WireHash;

const LIMITS: Limits = Limits { len: MAX_BODY, ..Limits::MESSAGE };

/// A body that is no answer of a tracker.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// No bencoding: an error page, as a rule.
    #[error("the answer is no tracker's: {error} (it begins with `{start}`)")]
    Bencoding {
        /// What is wrong.
        error: bencode::Error,
        /// The first characters, cleaned.
        start: String,
    },
    /// Bencoding, but no dictionary.
    #[error("the answer is no tracker's: it is no dictionary")]
    NoDictionary,
    /// A scrape without `files`.
    #[error("the answer to the scrape has no `files`")]
    NoFiles,
}

/// Reads the answer to an announce; the inner error is the tracker's refusal.
///
/// # Errors
/// If it is no bencoded dictionary.
pub fn parse_announce(body: &[u8]) -> Result<Result<AnnounceResponse, Failure>, Malformed> {
    let dict = dictionary(body)?;
    let mut answer = AnnounceResponse { interval: DEFAULT_INTERVAL, ..AnnounceResponse::default() };
    let mut refusal = Refusal::default();
    for (key, value) in dict {
        refusal.take(key, value);
        take(&mut answer, key, value);
    }
    Ok(refusal.failure().map_or(Ok(answer), Err))
}

/// Reads the answer to a scrape: at most [`MAX_SCRAPE`] torrents, in any order, asked for or not.
///
/// # Errors
/// If it is no bencoded dictionary, or has neither `files` nor a refusal.
pub fn parse_scrape(body: &[u8]) -> Result<Result<Vec<(WireHash, ScrapeStats)>, Failure>, Malformed> {
    let dict = dictionary(body)?;
    let (mut files, mut refusal) = (None, Refusal::default());
    for (key, value) in dict {
        refusal.take(key, value);
        if key == b"files" {
            files = value.as_dict();
        }
    }
    match refusal.failure() {
        Some(failure) => Ok(Err(failure)),
        None => Ok(Ok(files.ok_or(Malformed::NoFiles)?.iter().filter_map(file).take(MAX_SCRAPE).collect())),
    }
}

fn dictionary(body: &[u8]) -> Result<Dict<'_>, Malformed> {
    let body = body.trim_ascii_start();
    let start = || clean(&body[..body.len().min(40)]);
    let (value, _) = bencode::parse_prefix(body, LIMITS)
        .map_err(|error| Malformed::Bencoding { error, start: start() })?;
    value.as_dict().ok_or(Malformed::NoDictionary)
}

fn take(answer: &mut AnnounceResponse, key: &[u8], value: Value<'_>) {
    match key {
        b"interval" => answer.interval = count(value).unwrap_or(DEFAULT_INTERVAL),
        b"min interval" => answer.min_interval = count(value),
        b"complete" => answer.complete = count(value),
        b"incomplete" => answer.incomplete = count(value),
        b"downloaded" => answer.downloaded = count(value),
        b"peers" => peers(value, Family::V4, &mut answer.peers),
        b"peers6" => peers(value, Family::V6, &mut answer.peers),
        b"external ip" => answer.external_ip = value.as_bytes().and_then(address),
        b"warning message" => answer.warning = value.as_bytes().map(clean).filter(|text| !text.is_empty()),
        b"tracker id" => {
            let fits = |id: &&[u8]| (1..=MAX_TRACKER_ID).contains(&id.len());
            answer.tracker_id = value.as_bytes().filter(fits).map(Box::from);
        }
        _ => {}
    }
}

fn peers(value: Value<'_>, family: Family, out: &mut Vec<SocketAddr>) {
    if let Some(packed) = value.as_bytes() {
        read_compact(packed, family, out);
    }
    for peer in value.as_list().into_iter().flatten() {
        push_peer(peer.as_bytes().map_or_else(|| listed_peer(peer), compact_peer), out);
    }
}

/// A peer as a dictionary (BEP 3). One that gives its `ip` as a name is passed over.
fn listed_peer(peer: Value<'_>) -> Option<SocketAddr> {
    let (mut ip, mut port) = (None, None);
    for (key, value) in peer.as_dict()? {
        match key {
            b"ip" => ip = value.as_bytes().and_then(address),
            b"port" => port = count(value).and_then(|port| u16::try_from(port).ok()),
            _ => {}
        }
    }
    Some(SocketAddr::new(ip?, port?))
}

/// An address as text, or packed. Four bytes are never one as text, and sixteen that are would, packed, lie between
/// `3030::` and `6666::`, of which nothing is handed out.
fn address(bytes: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(bytes).ok();
    let spoken = text.and_then(|text| text.trim_matches(['[', ']']).parse().ok());
    spoken.or_else(|| packed_ip(bytes)).map(|ip: IpAddr| ip.to_canonical())
}

fn file((hash, stats): (&[u8], Value<'_>)) -> Option<(WireHash, ScrapeStats)> {
    let mut read = ScrapeStats::default();
    for (key, value) in stats.as_dict()? {
        let n = count(value).unwrap_or(0);
        match key {
            b"complete" => read.complete = n,
            b"downloaded" => read.downloaded = n,
            b"incomplete" => read.incomplete = n,
            _ => {}
        }
    }
    Some((WireHash::from_slice(hash).or_else(|| transcoded(hash))?, read))
}

/// A hash that was taken for Latin-1 and written as UTF-8, as npm's bittorrent-tracker 11 does in scrapes.
fn transcoded(key: &[u8]) -> Option<WireHash> {
    let text = std::str::from_utf8(key).ok().filter(|text| text.len() <= 40)?;
    let bytes: Vec<u8> = text.chars().map(|c| u8::try_from(c).ok()).collect::<Option<_>>()?;
    WireHash::from_slice(&bytes)
}

/// A number, or a string of one; `None` below 0.
fn count(value: Value<'_>) -> Option<u32> {
    let spelled = || value.as_str().and_then(|text| text.trim().parse().ok());
    let n = value.as_int().or_else(spelled)?;
    u64::try_from(n).ok().map(|n| u32::try_from(n).unwrap_or(u32::MAX))
}

#[derive(Default)]
struct Refusal {
    reason: Option<String>,
    retry: Option<Retry>,
}

impl Refusal {
    fn take(&mut self, key: &[u8], value: Value<'_>) {
        match key {
            b"failure reason" => self.reason = value.as_bytes().map(clean),
            // BEP 31 says an integer and shows a string.
            b"retry in" if value.as_bytes() == Some(b"never") => self.retry = Some(Retry::Never),
            b"retry in" => self.retry = count(value).map(Retry::Minutes),
            _ => {}
        }
    }

    fn failure(self) -> Option<Failure> {
        self.reason.map(|reason| Failure { reason, retry: self.retry })
    }
}
