//! The handshake: 68 bytes, of which the first 48 tell a listener which torrent is meant (BEP 3).

use crate::ids::{PeerId, WireHash};

/// Length of the protocol name with its length byte.
const PROTOCOL: &[u8; 20] = b"\x13BitTorrent protocol";

/// The eight reserved bytes: which extensions a side has (BEP 4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reserved(pub [u8; 8]);

impl Reserved {
    /// (byte, bit) of the extension protocol (BEP 10).
    const EXTENDED: (usize, u8) = (5, 0x10);
    /// (byte, bit) of a DHT node (BEP 5).
    const DHT: (usize, u8) = (7, 0x01);
    /// (byte, bit) of the fast extension (BEP 6).
    const FAST: (usize, u8) = (7, 0x04);
    /// (byte, bit) of an upgrade to v2 (BEP 52).
    const V2: (usize, u8) = (7, 0x10);

    /// What we announce: always the extension protocol and the fast extension.
    pub const fn ours(dht: bool, v2: bool) -> Self {
        let mut bytes = [0; 8];
        bytes[Self::EXTENDED.0] |= Self::EXTENDED.1;
        bytes[Self::FAST.0] |= Self::FAST.1;
        if dht {
            bytes[Self::DHT.0] |= Self::DHT.1;
        }
        if v2 {
            bytes[Self::V2.0] |= Self::V2.1;
        }
        Self(bytes)
    }

    const fn has(&self, (byte, bit): (usize, u8)) -> bool {
        self.0[byte] & bit != 0
    }

    /// The extension protocol (BEP 10).
    pub const fn extended(&self) -> bool {
        self.has(Self::EXTENDED)
    }

    /// A DHT node, so that `port` may be sent (BEP 5).
    pub const fn dht(&self) -> bool {
        self.has(Self::DHT)
    }

    /// The fast extension (BEP 6).
    pub const fn fast(&self) -> bool {
        self.has(Self::FAST)
    }

    /// The sender of a v1 hash would accept the v2 hash of the same torrent as answer (BEP 52).
    pub const fn v2(&self) -> bool {
        self.has(Self::V2)
    }
}

/// The first 48 bytes of a handshake: enough to find the torrent, and to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// Extensions of the sender.
    pub reserved: Reserved,
    /// Which torrent it means.
    pub hash: WireHash,
}

impl Prefix {
    /// Length in bytes.
    pub const LEN: usize = 48;

    /// Reads a prefix; `None` if the bytes are not a BitTorrent handshake.
    pub fn parse(bytes: &[u8; Self::LEN]) -> Option<Self> {
        let (protocol, rest) = bytes.split_first_chunk::<20>()?;
        let (reserved, hash) = rest.split_first_chunk::<8>()?;
        let hash = WireHash::from_slice(hash)?;
        (protocol == PROTOCOL).then_some(Self { reserved: Reserved(*reserved), hash })
    }

    /// Whether `bytes`, the first of a connection, may still become a handshake. Lets a listener that takes several
    /// protocols, or that wants to drop strangers early, decide before all 48 bytes are there.
    pub fn may_start_with(bytes: &[u8]) -> bool {
        bytes.iter().zip(PROTOCOL).all(|(a, b)| a == b)
    }

    /// The 48 bytes.
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        out[..20].copy_from_slice(PROTOCOL);
        out[20..28].copy_from_slice(&self.reserved.0);
        out[28..].copy_from_slice(self.hash.as_bytes());
        out
    }
}

/// A whole handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// All but the id.
    pub prefix: Prefix,
    /// The sender's id.
    pub peer_id: PeerId,
}

impl Handshake {
    /// Length in bytes.
    pub const LEN: usize = Prefix::LEN + PeerId::LEN;

    /// The 68 bytes.
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        out[..Prefix::LEN].copy_from_slice(&self.prefix.to_bytes());
        out[Prefix::LEN..].copy_from_slice(self.peer_id.as_bytes());
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_where_the_specs_put_them() {
        assert_eq!(Reserved::ours(false, false).0, [0, 0, 0, 0, 0, 0x10, 0, 0x04]);
        assert_eq!(Reserved::ours(true, true).0, [0, 0, 0, 0, 0, 0x10, 0, 0x15]);
        let all = Reserved([0xff; 8]);
        assert!(all.extended() && all.dht() && all.fast() && all.v2());
        let none = Reserved::default();
        assert!(!none.extended() && !none.dht() && !none.fast() && !none.v2());
    }

    #[test]
    fn prefix_round_trip_and_refusals() {
        let prefix = Prefix { reserved: Reserved::ours(true, false), hash: WireHash([7; 20]) };
        let bytes = prefix.to_bytes();
        assert_eq!(Prefix::parse(&bytes), Some(prefix));
        assert!((0..=48).all(|n| Prefix::may_start_with(&bytes[..n])));
        for at in 0..20 {
            let mut broken = bytes;
            broken[at] ^= 1;
            assert_eq!(Prefix::parse(&broken), None);
            assert!(!Prefix::may_start_with(&broken[..=at]));
        }
    }
}
