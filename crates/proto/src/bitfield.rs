//! A fixed-length set of piece indices, in the bit order of the `bitfield` message (BEP 3: the high bit of the
//! first byte is piece 0).

use crate::ids::PieceIndex;

/// Which of `len` pieces are in the set. Spare bits of the last byte are always zero.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Bitfield {
    bytes: Vec<u8>,
    len: u32,
    ones: u32,
}

impl Bitfield {
    /// An empty set over `len` pieces.
    pub fn new(len: u32) -> Self {
        Self { bytes: vec![0; len.div_ceil(8) as usize], len, ones: 0 }
    }

    /// The set of all `len` pieces.
    pub fn full(len: u32) -> Self {
        let mut bytes = vec![0xff; len.div_ceil(8) as usize];
        if let (Some(last), true) = (bytes.last_mut(), !len.is_multiple_of(8)) {
            *last = 0xff << (8 - len % 8);
        }
        Self { bytes, len, ones: len }
    }

    /// From the payload of a `bitfield` message; `None` if its length is not `⌈len/8⌉` or a spare bit is set.
    pub fn from_bytes(bytes: &[u8], len: u32) -> Option<Self> {
        if bytes.len() != len.div_ceil(8) as usize {
            return None;
        }
        if !len.is_multiple_of(8) && bytes.last().is_some_and(|last| last << (len % 8) != 0) {
            return None;
        }
        let ones = bytes.iter().map(|b| b.count_ones()).sum();
        Some(Self { bytes: bytes.to_vec(), len, ones })
    }

    /// The payload of a `bitfield` message.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Number of pieces it speaks of.
    pub const fn len(&self) -> u32 {
        self.len
    }

    /// Whether it speaks of no piece at all.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Number of pieces in the set.
    pub const fn count(&self) -> u32 {
        self.ones
    }

    /// Whether every piece is in the set.
    pub const fn is_full(&self) -> bool {
        self.ones == self.len
    }

    /// Whether `piece` is in the set; false beyond the end.
    pub fn has(&self, piece: PieceIndex) -> bool {
        let (byte, bit) = (piece.0 as usize / 8, 0x80 >> (piece.0 % 8));
        self.bytes.get(byte).is_some_and(|b| b & bit != 0)
    }

    /// Adds `piece`; true if it was not there. Beyond the end nothing happens.
    pub fn insert(&mut self, piece: PieceIndex) -> bool {
        if piece.0 >= self.len || self.has(piece) {
            return false;
        }
        self.bytes[piece.0 as usize / 8] |= 0x80 >> (piece.0 % 8);
        self.ones += 1;
        true
    }

    /// Takes `piece` out; true if it was there.
    pub fn remove(&mut self, piece: PieceIndex) -> bool {
        if !self.has(piece) {
            return false;
        }
        self.bytes[piece.0 as usize / 8] &= !(0x80 >> (piece.0 % 8));
        self.ones -= 1;
        true
    }

    /// The pieces in the set, in order.
    pub fn iter(&self) -> impl Iterator<Item = PieceIndex> + '_ {
        self.bytes.iter().enumerate().filter(|(_, b)| **b != 0).flat_map(|(i, &b)| {
            (0..8u32).filter(move |bit| b & (0x80 >> bit) != 0).map(move |bit| PieceIndex(i as u32 * 8 + bit))
        })
    }
}

impl Extend<PieceIndex> for Bitfield {
    fn extend<I: IntoIterator<Item = PieceIndex>>(&mut self, pieces: I) {
        for piece in pieces {
            self.insert(piece);
        }
    }
}

impl std::fmt::Debug for Bitfield {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Bitfield({} of {})", self.ones, self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn full_has_no_spare_bits() {
        for len in 0..40 {
            let f = Bitfield::full(len);
            assert_eq!(f.count(), len);
            assert_eq!(Bitfield::from_bytes(f.as_bytes(), len), Some(f));
        }
        assert!(Bitfield::from_bytes(&[0b1000_0001], 7).is_none());
        assert!(Bitfield::from_bytes(&[0, 0], 7).is_none());
    }

    proptest! {
        #[test]
        fn behaves_like_a_set(len in 1u32..200, ops in prop::collection::vec((any::<bool>(), 0u32..220), 0..200)) {
            let mut model = std::collections::BTreeSet::new();
            let mut b = Bitfield::new(len);
            for (add, p) in ops {
                let i = PieceIndex(p);
                if add {
                    prop_assert_eq!(b.insert(i), p < len && model.insert(p));
                } else {
                    prop_assert_eq!(b.remove(i), model.remove(&p));
                }
            }
            prop_assert_eq!(b.iter().map(|p| p.0).collect::<Vec<_>>(), model.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(b.count() as usize, model.len());
        }
    }
}
