//! Which pieces are had, for many threads.

use std::sync::atomic::{AtomicU8, Ordering};

use samara_proto::bitfield::Bitfield;
use samara_proto::ids::PieceIndex;

/// A set of pieces.
#[derive(Debug)]
pub(super) struct Have {
    bytes: Vec<AtomicU8>,
    len: u32,
}

impl Have {
    pub(super) fn new(have: &Bitfield) -> Self {
        Self { bytes: have.as_bytes().iter().map(|&b| AtomicU8::new(b)).collect(), len: have.len() }
    }

    /// Whether the piece is had: then its data is written.
    pub(super) fn has(&self, piece: PieceIndex) -> bool {
        let byte = self.bytes.get(piece.0 as usize / 8);
        byte.is_some_and(|b| b.load(Ordering::Acquire) & mask(piece) != 0)
    }

    /// Adds a piece; true if it was not there.
    pub(super) fn insert(&self, piece: PieceIndex) -> bool {
        let byte = self.bytes.get(piece.0 as usize / 8).filter(|_| piece.0 < self.len);
        byte.is_some_and(|b| b.fetch_or(mask(piece), Ordering::AcqRel) & mask(piece) == 0)
    }

    /// Takes a piece out; true if it was there.
    pub(super) fn remove(&self, piece: PieceIndex) -> bool {
        let byte = self.bytes.get(piece.0 as usize / 8);
        byte.is_some_and(|b| b.fetch_and(!mask(piece), Ordering::AcqRel) & mask(piece) != 0)
    }

    /// As it is now.
    pub(super) fn to_bitfield(&self) -> Bitfield {
        let bytes: Vec<u8> = self.bytes.iter().map(|b| b.load(Ordering::Acquire)).collect();
        Bitfield::from_bytes(&bytes, self.len).unwrap_or_else(|| Bitfield::new(self.len))
    }
}

const fn mask(piece: PieceIndex) -> u8 {
    0x80 >> (piece.0 % 8)
}
