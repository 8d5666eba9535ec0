//! Files of one entry a line: info-hashes, or keys.

use sha2::{Digest, Sha256};

use super::super::text::clean;
use crate::ids::WireHash;

/// Shortest key, in characters: 48 bits if they are random, so that trying them all over the network is no way in.
pub const MIN_KEY: usize = 8;

/// Longest key, in characters; with `/announce` behind it it fits into the 255 bytes of one piece of BEP 41's data.
pub const MAX_KEY: usize = 128;

/// Each bucket of the index holds about so many entries.
const BUCKET: usize = 8;

/// Largest index: 2²⁰ buckets, 4 MiB.
const MAX_INDEX_BITS: u32 = 20;

/// A line that is no entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} is {expected}: `{text}`")]
pub struct BadLine {
    /// Counted from 1.
    pub line: usize,
    /// What it is not.
    expected: &'static str,
    /// How it begins, cleaned.
    text: String,
}

/// The entries of a file, with their lines: `#` begins a comment, and empty lines are passed over.
fn entries(file: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let lines = file.split(|b| *b == b'\n').enumerate();
    let bare =
        lines.map(|(i, line)| (i + 1, line.split(|b| *b == b'#').next().unwrap_or_default().trim_ascii()));
    bare.filter(|(_, text)| !text.is_empty())
}

fn read(
    file: &[u8],
    expected: &'static str,
    entry: impl Fn(&[u8]) -> Option<WireHash>,
) -> Result<Sorted, BadLine> {
    let bad = |line, text: &[u8]| BadLine { line, expected, text: clean(&text[..text.len().min(60)]) };
    let all = entries(file).map(|(line, text)| entry(text).ok_or_else(|| bad(line, text)));
    all.collect::<Result<Vec<_>, _>>().map(Sorted::new)
}

/// Info-hashes of v1 torrents (40 hex digits) and v2 torrents (64, of which trackers know the first 40; BEP 52).
#[derive(Clone, Debug, Default)]
pub struct HashList(Sorted);

impl HashList {
    /// Reads a file.
    ///
    /// # Errors
    /// Names the first line that is no hash.
    pub fn parse(file: &[u8]) -> Result<Self, BadLine> {
        read(file, "no info-hash, which has 40 or 64 hex digits", hash).map(Self)
    }

    /// Whether it is listed. One or two cache misses, however long the list is.
    pub fn contains(&self, hash: &WireHash) -> bool {
        self.0.contains(hash)
    }

    /// Different hashes.
    pub fn len(&self) -> usize {
        self.0.all.len()
    }

    /// Whether nothing is listed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn hash(text: &[u8]) -> Option<WireHash> {
    let text = std::str::from_utf8(text).ok()?;
    let is_v2 = text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
    WireHash::from_hex(if is_v2 { &text[..40] } else { text })
}

/// Users' keys: [`MIN_KEY`] to [`MAX_KEY`] letters, digits, `-` and `_`. Kept as digests, so that neither a dump of the
/// memory nor the time of a look-up tells one.
#[derive(Clone, Debug, Default)]
pub struct KeyList(Sorted);

impl KeyList {
    /// Reads a file.
    ///
    /// # Errors
    /// Names the first line that is no key.
    pub fn parse(file: &[u8]) -> Result<Self, BadLine> {
        let list = read(file, "no key of 8 to 128 letters, digits, - and _", |text| {
            is_key(text).then(|| digest(text))
        });
        // A key in a log is a key lost.
        list.map(Self).map_err(|bad| BadLine { text: String::from("..."), ..bad })
    }

    /// Whether it is listed.
    pub fn contains(&self, key: &[u8]) -> bool {
        is_key(key) && self.0.contains(&digest(key))
    }

    /// Different keys.
    pub fn len(&self) -> usize {
        self.0.all.len()
    }

    /// Whether nothing is listed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn is_key(text: &[u8]) -> bool {
    (MIN_KEY..=MAX_KEY).contains(&text.len())
        && text.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

fn digest(key: &[u8]) -> WireHash {
    let mut out = [0; 20];
    out.copy_from_slice(&Sha256::digest(key)[..20]);
    WireHash(out)
}

/// Hashes in order, and where those that begin with the same bits do.
#[derive(Clone, Debug, Default)]
struct Sorted {
    all: Vec<WireHash>,
    starts: Vec<u32>,
    bits: u32,
}

impl Sorted {
    fn new(mut all: Vec<WireHash>) -> Self {
        all.sort_unstable();
        all.dedup();
        all.shrink_to_fit();
        let bits = (all.len() / BUCKET).checked_ilog2().unwrap_or(0).min(MAX_INDEX_BITS);
        let first_at_least = |bucket| all.partition_point(|hash| prefix(hash, bits) < bucket) as u32;
        let starts = (0..=1u64 << bits).map(first_at_least).collect();
        Self { starts, bits, all }
    }

    fn contains(&self, hash: &WireHash) -> bool {
        let bucket = prefix(hash, self.bits) as usize;
        let (Some(from), Some(to)) = (self.starts.get(bucket), self.starts.get(bucket + 1)) else {
            return false;
        };
        self.all[*from as usize..*to as usize].binary_search(hash).is_ok()
    }
}

/// The first `bits`, at most 32.
fn prefix(hash: &WireHash, bits: u32) -> u64 {
    let [a, b, c, d, ..] = hash.0;
    u64::from(u32::from_be_bytes([a, b, c, d])) >> (32 - bits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    fn hashes(text: &str) -> Result<HashList, String> {
        HashList::parse(text.as_bytes()).map_err(|bad| bad.to_string())
    }

    #[test]
    fn hashes_of_both_kinds_comments_and_line_ends() {
        let (v1, v2) = ("ab".repeat(20), "CD".repeat(32));
        let list = hashes(&format!("# all of ours\r\n\r\n{v1} # a film\r\n  {v2}\n{v1}")).unwrap();
        assert_eq!(list.len(), 2);
        assert!(list.contains(&WireHash([0xab; 20])) && list.contains(&WireHash([0xcd; 20])));
        assert!(!list.contains(&WireHash([0xac; 20])));
        assert!(hashes("").unwrap().is_empty() && hashes("#").unwrap().is_empty());
        assert!(!HashList::default().contains(&WireHash([0; 20])));
    }

    #[test]
    fn a_bad_line_is_named() {
        let bad = hashes("\n#\nxyz\x1b[m # no\n").unwrap_err();
        assert_eq!(bad, "line 3 is no info-hash, which has 40 or 64 hex digits: `xyz [m`");
        for text in ["a".repeat(39), "g".repeat(40), "a".repeat(65), "a".repeat(63) + "g", "é".repeat(32)] {
            assert!(hashes(&text).is_err(), "{text}");
        }
    }

    #[test]
    fn keys() {
        let list = KeyList::parse(b"abcdefgh\nA-b_c-D0 # of bob\n").unwrap();
        assert!(list.contains(b"abcdefgh") && list.contains(b"A-b_c-D0") && list.len() == 2);
        assert!(!list.contains(b"abcdefgi") && !list.contains(b"") && !list.contains(b"abcdefgh "));
        let bad = KeyList::parse(b"short\n").unwrap_err().to_string();
        assert!(bad.starts_with("line 1 is no key") && !bad.contains("short"), "{bad}");
        assert!(KeyList::parse("é".repeat(8).as_bytes()).is_err());
        assert!(KeyList::parse("a".repeat(129).as_bytes()).is_err());
    }

    #[test]
    fn long_lists_hold_what_is_in_them_and_nothing_else() {
        let mut rng = Rng::new(7);
        let mut random = || {
            let mut hash = [0; 20];
            hash.iter_mut().for_each(|b| *b = rng.index(256) as u8);
            WireHash(hash)
        };
        for len in [1, 15, 16, 17, 1000, 20_000] {
            let all: Vec<_> = (0..len).map(|_| random()).collect();
            let sorted = Sorted::new(all.clone());
            assert!(all.iter().all(|hash| sorted.contains(hash)));
            assert!((0..100).all(|_| !sorted.contains(&random())));
        }
        // Hashes that somebody ground to begin alike.
        let alike = (0..=255).map(|n| WireHash([&[9; 19][..], &[n]].concat().try_into().unwrap())).collect();
        assert!(Sorted::new(alike).contains(&WireHash([9; 20])));
    }
}
