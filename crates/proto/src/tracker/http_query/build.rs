//! A client writes.

use std::fmt::Write as _;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

use super::super::types::AnnounceRequest;
use super::super::url::TrackerUrl;
use crate::ids::WireHash;

/// All but what RFC 3986 calls unreserved.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The URL that announces `request` to the tracker at `url`, with the id that it gave, if any. What query the URL has
/// already stays in front; a fragment goes. `key` is given as 8 hex digits, as other clients do.
pub fn announce_url(url: &TrackerUrl, request: &AnnounceRequest, tracker_id: Option<&[u8]>) -> String {
    let mut out = with_query(url.without_fragment());
    let AnnounceRequest { port, uploaded, downloaded, left, key, .. } = request;
    let (hash, peer_id) = (encode(&request.info_hash.0), encode(&request.peer_id.0));
    // Writing to a String cannot fail.
    let _ = write!(out, "info_hash={hash}&peer_id={peer_id}&port={port}&uploaded={uploaded}");
    let _ = write!(out, "&downloaded={downloaded}&left={left}&key={key:08X}");
    if let Some(event) = request.event.name() {
        let _ = write!(out, "&event={event}");
    }
    if let Some(numwant) = request.numwant {
        let _ = write!(out, "&numwant={numwant}");
    }
    out.push_str("&compact=1&no_peer_id=1");
    if let Some(ip) = request.ip {
        let _ = write!(out, "&ip={}", encode(ip.to_string().as_bytes()));
    }
    if let Some(id) = tracker_id {
        let _ = write!(out, "&trackerid={}", encode(id));
    }
    out
}

/// The URL that asks the tracker at `url` for the sizes of swarms; `None` if it has no scrape URL: the last segment of
/// the path that begins with `announce` would begin with `scrape` (BEP 48; `/announce.php` and `/announce/PASSKEY`
/// are deployed). With no hashes a tracker may answer with all it has, so there must be one.
pub fn scrape_url(url: &TrackerUrl, hashes: &[WireHash]) -> Option<String> {
    const ANNOUNCE: &str = "/announce";
    let text = url.without_fragment();
    let path_end = text[url.path_at()..].find('?').map_or(text.len(), |at| url.path_at() + at);
    let at = url.path_at() + text[url.path_at()..path_end].rfind(ANNOUNCE)?;
    let mut out = with_query(&format!("{}/scrape{}", &text[..at], &text[at + ANNOUNCE.len()..]));
    for (i, hash) in hashes.iter().enumerate() {
        out.push_str(if i == 0 { "info_hash=" } else { "&info_hash=" });
        out.extend(percent_encode(&hash.0, ESCAPED));
    }
    (!hashes.is_empty()).then_some(out)
}

/// `url`, so that a parameter can follow.
fn with_query(url: &str) -> String {
    let joint = match url.split_once('?') {
        None => "?",
        Some((_, query)) if query.is_empty() || query.ends_with('&') => "",
        Some(_) => "&",
    };
    format!("{url}{joint}")
}

fn encode(bytes: &[u8]) -> impl std::fmt::Display + '_ {
    percent_encode(bytes, ESCAPED)
}
