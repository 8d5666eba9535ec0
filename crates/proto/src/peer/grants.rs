//! Pieces that we serve to the remote although we choke it (BEP 6 "allowed fast"): each block of them once.
//!
//! The torrent names the pieces, a few, and withdraws them once the remote has something to trade. What was asked for
//! while it was not choked costs no grant. Memory: one bit a block of at most [`MOST`] pieces. It
//! refuses to choose: that is for the torrent. Tested in `tests/rules.rs` and fuzzed with the connection.

use super::Shape;
use crate::bitfield::Bitfield;
use crate::ids::{BLOCK_LEN, Block, PieceIndex};

/// Pieces granted at once. BEP 6 speaks of 10.
const MOST: usize = 16;

/// What may be asked for in spite of the choke.
#[derive(Debug, Default)]
pub(super) struct Grants {
    /// The pieces, and which of their blocks were asked for.
    pieces: Vec<(PieceIndex, Bitfield)>,
}

impl Grants {
    /// From now on only these pieces, as far as they exist. Returns those that are new.
    pub(super) fn set(&mut self, pieces: &[PieceIndex], shape: &Shape) -> Vec<PieceIndex> {
        self.pieces.retain(|(piece, _)| pieces.contains(piece));
        let exists = |piece: &&PieceIndex| piece.0 < shape.layout.num_pieces();
        let mut new = Vec::new();
        for &piece in pieces.iter().take(MOST).filter(exists) {
            if self.pieces.iter().all(|(p, _)| *p != piece) {
                let blocks = shape.layout.piece_length().div_ceil(BLOCK_LEN);
                self.pieces.push((piece, Bitfield::new(blocks)));
                new.push(piece);
            }
        }
        new
    }

    /// Whether this request is granted, which it is once.
    pub(super) fn take(&mut self, block: &Block) -> bool {
        let whole = block.offset.is_multiple_of(BLOCK_LEN) && block.len <= BLOCK_LEN;
        let granted = self.pieces.iter_mut().find(|(piece, _)| *piece == block.piece).filter(|_| whole);
        granted.is_some_and(|(_, asked)| asked.insert(PieceIndex(block.offset / BLOCK_LEN)))
    }
}
