//! Newtypes for every id, hash and index, so that no two can be confused.

use std::fmt;

/// The size of a block, the unit of requests: 16 KiB (BEP 3), and of a v2 leaf (BEP 52).
pub const BLOCK_LEN: u32 = 16 * 1024;

/// Writes bytes as lower-case hex.
fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|b| write!(f, "{b:02x}"))
}

/// Reads exactly `N` bytes of hex, either case.
fn parse_hex<const N: usize>(s: &str) -> Option<[u8; N]> {
    let s = s.as_bytes();
    if s.len() != 2 * N {
        return None;
    }
    let mut out = [0; N];
    for (byte, pair) in out.iter_mut().zip(s.chunks(2)) {
        let digit = |c: u8| (c as char).to_digit(16);
        *byte = (digit(pair[0])? * 16 + digit(pair[1])?) as u8;
    }
    Some(out)
}

macro_rules! hash_type {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = $len;

            /// From hex, either case; `None` unless it is exactly the right length.
            pub fn from_hex(s: &str) -> Option<Self> {
                parse_hex(s).map(Self)
            }

            /// From a slice; `None` unless it is exactly the right length.
            pub fn from_slice(s: &[u8]) -> Option<Self> {
                s.try_into().ok().map(Self)
            }

            /// The bytes.
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(f, &self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(f, &self.0)
            }
        }
    };
}

hash_type!(
    /// A SHA-1 digest: a v1 piece hash (BEP 3).
    Sha1Hash, 20
);
hash_type!(
    /// A SHA-256 digest: a leaf, node or root of a v2 hash tree (BEP 52).
    Sha256Hash, 32
);
hash_type!(
    /// SHA-1 of the info dictionary as it stands in the file (BEP 3).
    InfoHashV1, 20
);
hash_type!(
    /// SHA-256 of the info dictionary as it stands in the file (BEP 52).
    InfoHashV2, 32
);
hash_type!(
    /// What goes over the wire where a 20-byte info-hash is due: v1, or v2 cut to 20 bytes (BEP 52).
    WireHash, 20
);
hash_type!(
    /// A peer's self-chosen id (BEP 3, BEP 20).
    PeerId, 20
);
hash_type!(
    /// A place in the key space of the DHT: a node, or what is looked for (BEP 5).
    NodeId, 20
);

impl From<WireHash> for NodeId {
    fn from(hash: WireHash) -> Self {
        Self(hash.0)
    }
}

impl InfoHashV2 {
    /// The first 20 bytes, used in handshakes, trackers and the DHT (BEP 52).
    pub fn truncated(&self) -> WireHash {
        let mut out = [0; 20];
        out.copy_from_slice(&self.0[..20]);
        WireHash(out)
    }
}

/// The info-hashes of one torrent: v1, v2, or both for a hybrid. Never neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum InfoHashes {
    /// A v1 torrent.
    V1(InfoHashV1),
    /// A v2-only torrent.
    V2(InfoHashV2),
    /// A hybrid torrent: both halves describe the same files.
    Hybrid(InfoHashV1, InfoHashV2),
}

impl InfoHashes {
    /// From the halves; `None` if both are missing.
    pub fn new(v1: Option<InfoHashV1>, v2: Option<InfoHashV2>) -> Option<Self> {
        match (v1, v2) {
            (Some(a), Some(b)) => Some(Self::Hybrid(a, b)),
            (Some(a), None) => Some(Self::V1(a)),
            (None, Some(b)) => Some(Self::V2(b)),
            (None, None) => None,
        }
    }

    /// The v1 half.
    pub fn v1(&self) -> Option<InfoHashV1> {
        match *self {
            Self::V1(h) | Self::Hybrid(h, _) => Some(h),
            Self::V2(_) => None,
        }
    }

    /// The v2 half.
    pub fn v2(&self) -> Option<InfoHashV2> {
        match *self {
            Self::V2(h) | Self::Hybrid(_, h) => Some(h),
            Self::V1(_) => None,
        }
    }

    /// What to put first into a handshake: v1 where there is one, for every client knows it (BEP 52).
    pub fn primary(&self) -> WireHash {
        match *self {
            Self::V1(h) | Self::Hybrid(h, _) => WireHash(h.0),
            Self::V2(h) => h.truncated(),
        }
    }

    /// Whether a 20-byte hash from the wire names this torrent by either half.
    pub fn matches(&self, wire: &WireHash) -> bool {
        self.v1().is_some_and(|h| h.0 == wire.0) || self.v2().is_some_and(|h| h.truncated() == *wire)
    }
}

/// 0-based index of a piece.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PieceIndex(pub u32);

/// 0-based index of a file in the torrent's order, pad files counted (as BEP 53 does).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileIndex(pub u32);

impl fmt::Display for PieceIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for FileIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A span of one piece, as `request` and `piece` messages name it (BEP 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Block {
    /// The piece it lies in.
    pub piece: PieceIndex,
    /// First byte, counted from the start of the piece.
    pub offset: u32,
    /// Length in bytes; at most [`BLOCK_LEN`] in what we ask.
    pub len: u32,
}

impl Block {
    /// Position among the piece's 16 KiB blocks.
    pub const fn index(&self) -> u32 {
        self.offset / BLOCK_LEN
    }
}

/// Names one connected peer within one process; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerKey(pub u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_round_trip_and_refusals() {
        let h = InfoHashV1::from_hex("000102030405060708090A0b0c0d0e0f10111213").unwrap();
        assert_eq!(h.to_string(), "000102030405060708090a0b0c0d0e0f10111213");
        assert!(InfoHashV1::from_hex("00").is_none());
        assert!(InfoHashV1::from_hex("zz0102030405060708090a0b0c0d0e0f10111213").is_none());
        assert!(InfoHashV1::from_hex("é00102030405060708090a0b0c0d0e0f1011121").is_none());
    }

    #[test]
    fn hybrid_matches_by_either_half() {
        let (a, b) = (InfoHashV1([1; 20]), InfoHashV2([2; 32]));
        let h = InfoHashes::new(Some(a), Some(b)).unwrap();
        assert!(h.matches(&WireHash([1; 20])) && h.matches(&WireHash([2; 20])));
        assert!(!h.matches(&WireHash([3; 20])));
        assert_eq!(h.primary(), WireHash([1; 20]));
        assert!(InfoHashes::new(None, None).is_none());
    }
}
