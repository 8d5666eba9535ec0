//! Questions that are answered one by one, in both directions: for hashes, and for pieces of the metadata.

use super::config::{MAX_QUESTIONS, MAX_UNANSWERED};

/// What was asked and not answered. The number of both is capped.
#[derive(Debug)]
pub(super) struct Questions<Q> {
    ours: Vec<Q>,
    theirs: u32,
}

impl<Q> Default for Questions<Q> {
    fn default() -> Self {
        Self { ours: Vec::new(), theirs: 0 }
    }
}

impl<Q: PartialEq> Questions<Q> {
    /// Notes a question of ours; false if there are too many.
    pub(super) fn ask(&mut self, question: Q) -> bool {
        let room = self.ours.len() < MAX_QUESTIONS;
        if room {
            self.ours.push(question);
        }
        room
    }

    /// The remote answered one way or the other; false if we had not asked.
    pub(super) fn answered(&mut self, question: &Q) -> bool {
        let at = self.ours.iter().position(|q| q == question);
        at.map(|at| self.ours.swap_remove(at)).is_some()
    }

    /// The remote asked; false if it must wait for answers first.
    pub(super) const fn put_to_us(&mut self) -> bool {
        let room = self.theirs < MAX_UNANSWERED;
        if room {
            self.theirs += 1;
        }
        room
    }

    /// The torrent answered.
    pub(super) const fn answered_by_us(&mut self) {
        self.theirs = self.theirs.saturating_sub(1);
    }
}
