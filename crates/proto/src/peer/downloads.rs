//! Our requests to this peer: what is in flight, what we took back, and what came unasked.

use std::collections::VecDeque;

use super::config::MAX_ASKED;
use crate::ids::{Block, PieceIndex};

/// What we know of a block or of a reject that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Match {
    /// We asked for it and still want it.
    Asked,
    /// We asked for it, and took that back.
    Retracted,
    /// We never asked, or so long ago that we forgot.
    Unknown,
}

/// Requests in the order of asking. Peers answer in that order nearly always, so the front is looked at first.
#[derive(Debug, Default)]
pub(super) struct Downloads {
    asked: VecDeque<Block>,
    /// How many at the front of `asked` were sent before the remote choked us.
    stale: usize,
    /// Taken back, and not answered since. No longer than `asked` may be; the oldest fall out.
    retracted: VecDeque<Block>,
    unrequested: u32,
}

impl Downloads {
    /// Notes a request; false if there is no room for it.
    pub(super) fn ask(&mut self, block: Block) -> bool {
        let room = self.asked.len() < MAX_ASKED;
        if room {
            self.asked.push_back(block);
        }
        room
    }

    /// Whether nothing that was asked for is still to come.
    pub(super) fn is_idle(&self) -> bool {
        self.asked.is_empty()
    }

    /// Takes a request back; false if it is not in flight.
    pub(super) fn retract(&mut self, block: &Block) -> bool {
        let found = self.remove_asked(block);
        if found {
            self.remember(*block);
        }
        found
    }

    /// A block or a reject came.
    pub(super) fn answer(&mut self, block: &Block) -> Match {
        if self.remove_asked(block) {
            Match::Asked
        } else if remove(&mut self.retracted, block).is_some() {
            Match::Retracted
        } else {
            Match::Unknown
        }
    }

    /// Counts a block that came unasked, and says how many there were.
    pub(super) fn count_unrequested(&mut self) -> u32 {
        self.unrequested += 1;
        self.unrequested
    }

    /// The remote choked us, and will reject one by one what it does not serve. True if there is anything to wait for.
    pub(super) fn mark_stale(&mut self) -> bool {
        self.stale = self.asked.len();
        self.stale > 0
    }

    /// Gives up on one request from before the choke.
    pub(super) fn give_up_stale(&mut self) -> Option<Block> {
        self.stale = self.stale.checked_sub(1)?;
        let block = self.asked.pop_front()?;
        self.remember(block);
        Some(block)
    }

    /// Gives up on one request for a block of `piece`.
    pub(super) fn give_up_piece(&mut self, piece: PieceIndex) -> Option<Block> {
        let block = *self.asked.iter().find(|block| block.piece == piece)?;
        self.retract(&block).then_some(block)
    }

    fn remove_asked(&mut self, block: &Block) -> bool {
        let Some(at) = remove(&mut self.asked, block) else { return false };
        if at < self.stale {
            self.stale -= 1;
        }
        true
    }

    fn remember(&mut self, block: Block) {
        if self.retracted.len() == MAX_ASKED {
            self.retracted.pop_front();
        }
        self.retracted.push_back(block);
    }
}

/// Removes the first `block`, and says where it was.
fn remove(queue: &mut VecDeque<Block>, block: &Block) -> Option<usize> {
    if queue.front() == Some(block) {
        queue.pop_front();
        return Some(0);
    }
    let at = queue.iter().position(|b| b == block)?;
    queue.remove(at);
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(piece: u32) -> Block {
        Block { piece: PieceIndex(piece), offset: 0, len: 16384 }
    }

    #[test]
    fn answers_are_told_apart() {
        let mut d = Downloads::default();
        assert!(d.ask(block(1)) && d.ask(block(2)) && d.ask(block(3)));
        assert!(d.retract(&block(2)));
        assert!(!d.retract(&block(2)));
        assert_eq!(d.answer(&block(3)), Match::Asked);
        assert_eq!(d.answer(&block(3)), Match::Unknown);
        assert_eq!(d.answer(&block(2)), Match::Retracted);
        assert_eq!(d.answer(&block(2)), Match::Unknown);
        assert_eq!(d.answer(&Block { len: 1, ..block(1) }), Match::Unknown);
        assert_eq!(d.answer(&block(1)), Match::Asked);
    }

    #[test]
    fn only_what_a_choke_left_hanging_is_given_up() {
        let mut d = Downloads::default();
        assert!(d.ask(block(1)) && d.ask(block(2)) && d.ask(block(3)));
        assert!(d.mark_stale());
        assert!(d.ask(block(4)));
        assert_eq!(d.answer(&block(2)), Match::Asked);
        assert_eq!(d.answer(&block(4)), Match::Asked);
        assert!(d.ask(block(5)));
        assert_eq!(std::iter::from_fn(|| d.give_up_stale()).collect::<Vec<_>>(), [block(1), block(3)]);
        assert_eq!(d.answer(&block(1)), Match::Retracted);
        assert_eq!(d.answer(&block(5)), Match::Asked);
    }

    #[test]
    fn memory_is_bounded() {
        let mut d = Downloads::default();
        for piece in 0..3 * MAX_ASKED as u32 {
            assert!(d.ask(block(piece)) && d.retract(&block(piece)));
        }
        assert_eq!(d.retracted.len(), MAX_ASKED);
        assert!((0..MAX_ASKED as u32).all(|piece| d.ask(block(piece))));
        assert!(!d.ask(block(0)));
    }
}
