//! What the remote said about itself, as far as its later messages are judged by it.

use super::config::MAX_ALLOWED_FAST;
use super::{Shape, Violation};
use crate::ids::PieceIndex;

/// The remote's state. It starts choking and not interested (BEP 3).
#[derive(Debug)]
pub(super) struct Remote {
    pub(super) choking: bool,
    pub(super) interested: bool,
    /// Pieces it serves although it chokes us (BEP 6).
    allowed_fast: Vec<PieceIndex>,
    /// Whether it may still send a bitfield.
    pub(super) bitfield_due: bool,
    unchecked: Unchecked,
}

/// What must be checked once the shape of the torrent is known.
#[derive(Debug, Default)]
struct Unchecked {
    /// One more than the highest piece index that it named.
    pieces: u64,
    /// Length and last byte of its bitfield.
    bitfield: Option<(usize, u8)>,
}

impl Default for Remote {
    fn default() -> Self {
        Self {
            choking: true,
            interested: false,
            allowed_fast: Vec::new(),
            bitfield_due: true,
            unchecked: Unchecked::default(),
        }
    }
}

impl Remote {
    /// Takes a piece index that it named: checked now, or when the shape is known.
    pub(super) fn check_piece(&mut self, piece: PieceIndex, shape: Option<&Shape>) -> Result<(), Violation> {
        match shape {
            Some(shape) if piece.0 >= shape.layout.num_pieces() => Err(Violation::OutOfRange),
            Some(_) => Ok(()),
            None => {
                self.unchecked.pieces = self.unchecked.pieces.max(u64::from(piece.0) + 1);
                Ok(())
            }
        }
    }

    /// Takes its bitfield: checked now, or when the shape is known.
    pub(super) fn check_bitfield(&mut self, bits: &[u8], shape: Option<&Shape>) -> Result<(), Violation> {
        let ends = (bits.len(), bits.last().copied().unwrap_or_default());
        match shape {
            Some(shape) => check_bitfield(ends, shape.layout.num_pieces()),
            None => {
                self.unchecked.bitfield = Some(ends);
                Ok(())
            }
        }
    }

    /// The shape became known: does what it said before fit?
    pub(super) fn check_past(&mut self, shape: &Shape) -> Result<(), Violation> {
        let past = std::mem::take(&mut self.unchecked);
        let pieces = shape.layout.num_pieces();
        if past.pieces > pieces.into() {
            return Err(Violation::OutOfRange);
        }
        past.bitfield.map_or(Ok(()), |ends| check_bitfield(ends, pieces))
    }

    /// It will serve `piece` even while it chokes us.
    pub(super) fn allow_fast(&mut self, piece: PieceIndex) {
        if self.allowed_fast.len() < MAX_ALLOWED_FAST && !self.allowed_fast.contains(&piece) {
            self.allowed_fast.push(piece);
        }
    }

    /// Whether a request for `piece` would be answered.
    pub(super) fn serves(&self, piece: PieceIndex) -> bool {
        !self.choking || self.allowed_fast.contains(&piece)
    }
}

/// Whether a bitfield of this length and last byte fits `pieces` pieces, with no spare bit set (BEP 3).
fn check_bitfield((len, last): (usize, u8), pieces: u32) -> Result<(), Violation> {
    if len != pieces.div_ceil(8) as usize {
        return Err(Violation::MalformedMessage);
    }
    let spare_set = !pieces.is_multiple_of(8) && last << (pieces % 8) != 0;
    if spare_set { Err(Violation::OutOfRange) } else { Ok(()) }
}
