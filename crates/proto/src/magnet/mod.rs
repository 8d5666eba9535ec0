//! Magnet links, and bare info-hashes: what names a torrent without being one.
//!
//! Specs: BEP 9 (`xt`, `dn`, `tr`, `x.pe`; hex and base32), BEP 52 (`urn:btmh:`, a multihash), BEP 53 (`so`), and
//! by custom, `ws` (web seeds) and `xl` (size).
//!
//! Refused: a link without a BitTorrent hash, with a malformed one, or with two that differ; a selection (`so`) that
//! is malformed, because passing over it would download what was not asked for; and links above [`MAX_LEN`]. Other
//! parameters that are unknown or malformed are passed over.
//!
//! Tested by links in the wild's shapes, by a refusal for each error, and by a round trip of random links.

mod host;
mod select;

use std::fmt;
use std::str::FromStr;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::ids::{InfoHashV1, InfoHashV2, InfoHashes};

pub use host::{BadHost, Host};
pub use select::{MAX_SELECTED_INDEX, Selection};

/// Longest link in bytes; thousands of trackers fit.
pub const MAX_LEN: usize = 1 << 20;

/// A magnet link. `parse` reads one, `Display` writes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Magnet {
    /// What it names (`xt`).
    pub hashes: InfoHashes,
    /// A name to show until the metadata is there (`dn`).
    pub name: Option<String>,
    /// Size in bytes (`xl`); a hint.
    pub length: Option<u64>,
    /// Tracker URLs, each a tier of its own (`tr`).
    pub trackers: Vec<String>,
    /// Web seeds (`ws`).
    pub web_seeds: Vec<String>,
    /// Peers to connect to (`x.pe`).
    pub peers: Vec<Host>,
    /// The files to download (`so`); all of them if absent.
    pub selected: Option<Selection>,
}

/// Why a link or info-hash is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MagnetError {
    /// Longer than [`MAX_LEN`].
    #[error("the magnet link is longer than the {MAX_LEN} bytes allowed")]
    TooLong,
    /// Another kind of text.
    #[error("a magnet link begins with `magnet:?`")]
    NotAMagnet,
    /// Neither a link nor an info-hash.
    #[error("this is neither a magnet link nor an info-hash of 40 or 64 hex digits, or 32 of base32")]
    NotAnInfoHash,
    /// No `urn:btih:` or `urn:btmh:`.
    #[error("the magnet link names no torrent: it has neither `xt=urn:btih:` nor `xt=urn:btmh:`")]
    NoHash,
    /// A v1 hash of wrong length or digits.
    #[error("`urn:btih:` is not followed by 40 hex digits or 32 of base32")]
    BadV1,
    /// A v2 hash that is no SHA-256 multihash.
    #[error("`urn:btmh:` is not followed by `1220` and 64 hex digits")]
    BadV2,
    /// Two hashes of one kind that differ.
    #[error("the magnet link names two different torrents")]
    Conflict,
    /// A selection that is no list of indices and ranges.
    #[error("`so` is not a list of file indices and ranges up to {MAX_SELECTED_INDEX}, such as `0,2,6-8`")]
    BadSelection,
}

impl Magnet {
    /// A link that says no more than the hashes.
    pub const fn new(hashes: InfoHashes) -> Self {
        Self {
            hashes,
            name: None,
            length: None,
            trackers: Vec::new(),
            web_seeds: Vec::new(),
            peers: Vec::new(),
            selected: None,
        }
    }

    /// Reads a magnet link.
    ///
    /// # Errors
    /// As the [module](self) says.
    pub fn parse(link: &str) -> Result<Self, MagnetError> {
        if link.len() > MAX_LEN {
            return Err(MagnetError::TooLong);
        }
        let mut draft = Draft::default();
        for parameter in query(link).ok_or(MagnetError::NotAMagnet)?.split('&') {
            if let Some((key, value)) = parameter.split_once('=') {
                draft.take(key, value)?;
            }
        }
        draft.finish()
    }

    /// Reads a magnet link or a bare info-hash, whichever it is; space around it is ignored.
    ///
    /// # Errors
    /// As [`Magnet::parse`]; or that it is neither.
    pub fn parse_source(text: &str) -> Result<Self, MagnetError> {
        let text = text.trim();
        if query(text).is_some() {
            return Self::parse(text);
        }
        parse_info_hash(text).map(Self::new).ok_or(MagnetError::NotAnInfoHash)
    }
}

/// Reads a bare info-hash: 40 hex digits or 32 of base32 for v1, 64 hex digits for v2; either case.
pub fn parse_info_hash(text: &str) -> Option<InfoHashes> {
    let v2 = || InfoHashV2::from_hex(text).map(InfoHashes::V2);
    parse_v1(text).map(InfoHashes::V1).or_else(v2)
}

/// What follows `magnet:?`, in either case.
fn query(link: &str) -> Option<&str> {
    const SCHEME: &str = "magnet:?";
    let scheme = link.get(..SCHEME.len())?;
    scheme.eq_ignore_ascii_case(SCHEME).then(|| &link[SCHEME.len()..])
}

fn parse_v1(digits: &str) -> Option<InfoHashV1> {
    InfoHashV1::from_hex(digits).or_else(|| base32(digits).map(InfoHashV1))
}

/// Twenty bytes of RFC 4648 base32: 32 digits, either case, which need no padding.
fn base32(digits: &str) -> Option<[u8; 20]> {
    if digits.len() != 32 {
        return None;
    }
    let mut out = [0; 20];
    for (five, eight) in out.chunks_mut(5).zip(digits.as_bytes().chunks(8)) {
        let bits = eight.iter().try_fold(0u64, |bits, digit| Some(bits << 5 | base32_digit(*digit)?))?;
        five.copy_from_slice(&bits.to_be_bytes()[3..]);
    }
    Some(out)
}

fn base32_digit(digit: u8) -> Option<u64> {
    match digit.to_ascii_lowercase() {
        letter @ b'a'..=b'z' => Some(u64::from(letter - b'a')),
        number @ b'2'..=b'7' => Some(u64::from(number - b'2') + 26),
        _ => None,
    }
}

/// A link being read.
#[derive(Default)]
struct Draft {
    v1: Option<InfoHashV1>,
    v2: Option<InfoHashV2>,
    name: Option<String>,
    length: Option<u64>,
    trackers: Vec<String>,
    web_seeds: Vec<String>,
    peers: Vec<Host>,
    selected: Option<Selection>,
}

impl Draft {
    fn take(&mut self, key: &str, value: &str) -> Result<(), MagnetError> {
        match unnumbered(key) {
            "xt" => self.take_topic(&decode(value))?,
            "dn" => self.name = Some(decode(&value.replace('+', " "))),
            "xl" => self.length = value.parse().ok(),
            "tr" => push(&mut self.trackers, decode(value)),
            "ws" => push(&mut self.web_seeds, decode(value)),
            "x.pe" => self.peers.extend(decode(value).parse::<Host>()),
            "so" if !value.is_empty() => self.selected = Some(decode(value).parse()?),
            _ => {}
        }
        Ok(())
    }

    fn take_topic(&mut self, topic: &str) -> Result<(), MagnetError> {
        // "urn", "btih", and the hash; other namespaces name no torrent.
        let mut parts = topic.splitn(3, ':');
        let (Some(urn), Some(kind), Some(digits)) = (parts.next(), parts.next(), parts.next()) else {
            return Ok(());
        };
        if !urn.eq_ignore_ascii_case("urn") {
            return Ok(());
        }
        match kind.to_ascii_lowercase().as_str() {
            "btih" => set(&mut self.v1, parse_v1(digits).ok_or(MagnetError::BadV1)?),
            "btmh" => set(&mut self.v2, parse_multihash(digits).ok_or(MagnetError::BadV2)?),
            _ => Ok(()),
        }
    }

    fn finish(self) -> Result<Magnet, MagnetError> {
        Ok(Magnet {
            hashes: InfoHashes::new(self.v1, self.v2).ok_or(MagnetError::NoHash)?,
            name: self.name.filter(|name| !name.is_empty()),
            length: self.length,
            trackers: self.trackers,
            web_seeds: self.web_seeds,
            peers: self.peers,
            selected: self.selected,
        })
    }
}

/// The key without a number that tells it from others of its kind: `tr.1` is `tr`.
fn unnumbered(key: &str) -> &str {
    match key.rsplit_once('.') {
        Some((base, number)) if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) => base,
        _ => key,
    }
}

/// A SHA-256 multihash: its code 0x12, its length 0x20, and the digest.
fn parse_multihash(digits: &str) -> Option<InfoHashV2> {
    digits.strip_prefix("1220").and_then(InfoHashV2::from_hex)
}

fn set<T: PartialEq>(slot: &mut Option<T>, hash: T) -> Result<(), MagnetError> {
    if slot.as_ref().is_some_and(|known| *known != hash) {
        return Err(MagnetError::Conflict);
    }
    *slot = Some(hash);
    Ok(())
}

fn push(urls: &mut Vec<String>, url: String) {
    if !url.is_empty() {
        urls.push(url);
    }
}

fn decode(value: &str) -> String {
    percent_decode_str(value).decode_utf8_lossy().into_owned()
}

impl FromStr for Magnet {
    type Err = MagnetError;

    fn from_str(link: &str) -> Result<Self, MagnetError> {
        Self::parse(link)
    }
}

/// All but what RFC 3986 calls unreserved: no client can take the rest for something else.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

impl fmt::Display for Magnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("magnet:?")?;
        match self.hashes {
            InfoHashes::V1(v1) => write!(f, "xt=urn:btih:{v1}")?,
            InfoHashes::V2(v2) => write!(f, "xt=urn:btmh:1220{v2}")?,
            InfoHashes::Hybrid(v1, v2) => write!(f, "xt=urn:btih:{v1}&xt=urn:btmh:1220{v2}")?,
        }
        let mut text = |key, value: &str| write!(f, "&{key}={}", utf8_percent_encode(value, ESCAPED));
        self.name.iter().try_for_each(|name| text("dn", name))?;
        self.length.iter().try_for_each(|length| text("xl", &length.to_string()))?;
        self.trackers.iter().try_for_each(|url| text("tr", url))?;
        self.web_seeds.iter().try_for_each(|url| text("ws", url))?;
        // Colons and brackets, commas and dashes stay readable here, as BEP 9 and BEP 53 show them.
        self.peers.iter().try_for_each(|peer| write!(f, "&x.pe={peer}"))?;
        self.selected.iter().try_for_each(|selected| write!(f, "&so={selected}"))
    }
}

#[cfg(test)]
mod tests;
