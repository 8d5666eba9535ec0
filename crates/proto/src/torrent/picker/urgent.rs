//! Pieces that somebody waits for, as a player waits for the next second of a film.
//!
//! The picker is asked per peer, so the rule is about one peer: it gets the blocks of urgent pieces, the nearest deadline
//! first, as long as it would bring them in time, or not much later than the quickest peer that has the piece would bring
//! one ([`Deadline::suits`]); the quickest itself always does. A peer that is too slow for the first piece is in time for a later one, or goes on with what
//! is not urgent. libtorrent does the same from the other side: once a second it deals blocks to the quickest peers,
//! leaves out the slowest tenth, and fills no queue beyond two seconds.
//!
//! A block that is [late](Deadline::is_late) may be asked of another peer, and each time it is late again of a third:
//! the only blocks that are under way twice outside the end game. libtorrent asks again after the mean time and half
//! the deviation, and once more for each further period.
//!
//! At most [`MOST_DEADLINES`] pieces are urgent; costs O(that) a piece and O(1) a block. Times and sizes only.

use std::time::Duration;

use crate::bitfield::Bitfield;
use crate::ids::{PeerKey, PieceIndex};
use crate::time::Time;

/// Pieces with a deadline at once: more than a reader looks ahead.
pub(super) const MOST_DEADLINES: usize = 64;
/// A peer this much slower than the quickest still helps.
const GRACE: Duration = Duration::from_millis(500);
/// One that was not measured yet is waited for no longer.
const TRIAL: Duration = Duration::from_secs(1);

/// A peer that serves us, as one who surveys sees it: who, what it has, and how long it takes for a block.
pub(in super::super) type Sight<'a> = (PeerKey, &'a Bitfield, Duration);

/// How soon a peer brings what it is asked for now, as far as one knows.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Pace {
    /// Until all that it was asked for before is here, and a round trip.
    pub(in super::super) wait: Duration,
    /// For each further block.
    pub(in super::super) block: Duration,
    /// It is known, not guessed.
    pub(in super::super) measured: bool,
}

impl Pace {
    /// When the `n`-th further block comes, counted from 0.
    pub(in super::super) fn nth(&self, n: usize) -> Duration {
        self.wait + self.block.saturating_mul(u32::try_from(n + 1).unwrap_or(u32::MAX))
    }

    /// After how long the `n`-th further block is late: half as much again as it should take.
    pub(super) fn late(&self, n: usize) -> Duration {
        let late = self.nth(n) * 3 / 2;
        if self.measured { late } else { late.min(TRIAL) }
    }
}

/// One urgent piece.
#[derive(Clone, Debug)]
pub(super) struct Deadline {
    pub(super) piece: PieceIndex,
    pub(super) at: Time,
    /// How soon the quickest peer that has it would bring a block, and which that is; `None` if nobody has it.
    quickest: Option<(Duration, PeerKey)>,
    /// When each block is late; empty until one was asked for.
    late: Vec<Time>,
    /// When it became urgent.
    since: Time,
}

impl Deadline {
    /// Whether a peer that needs `takes` for a block is quick enough.
    pub(super) fn suits(&self, now: Time, peer: PeerKey, takes: Duration) -> bool {
        let quick = |(quickest, who)| who == peer || takes <= quickest * 2 + GRACE;
        now + takes <= self.at || self.quickest.is_none_or(quick)
    }

    /// A block was asked of a peer, and is late from `late` on.
    pub(super) fn asked(&mut self, block: u32, late: Time) {
        let (index, unknown) = (block as usize, self.since + GRACE);
        if self.late.len() <= index {
            self.late.resize(index + 1, unknown);
        }
        self.late[index] = late;
    }

    /// Whether a block that was asked for should be here. What was asked for before the piece became urgent is given a
    /// moment.
    pub(super) fn is_late(&self, now: Time, block: u32) -> bool {
        now > self.late.get(block as usize).copied().unwrap_or(self.since + GRACE)
    }
}

/// All urgent pieces, by deadline.
#[derive(Debug, Default)]
pub(super) struct Urgent {
    deadlines: Vec<Deadline>,
}

impl Urgent {
    pub(super) const fn is_empty(&self) -> bool {
        self.deadlines.is_empty()
    }

    pub(super) const fn len(&self) -> usize {
        self.deadlines.len()
    }

    pub(super) fn contains(&self, piece: PieceIndex) -> bool {
        self.deadlines.iter().any(|d| d.piece == piece)
    }

    pub(super) fn get(&self, index: usize) -> Option<&Deadline> {
        self.deadlines.get(index)
    }

    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut Deadline> {
        self.deadlines.get_mut(index)
    }

    pub(super) fn pieces(&self) -> impl Iterator<Item = PieceIndex> + '_ {
        self.deadlines.iter().map(|d| d.piece)
    }

    /// Replaces all: the nearest [`MOST_DEADLINES`] of `wanted`, of each piece its nearest. What was known of those that
    /// stay is kept.
    pub(super) fn set(&mut self, now: Time, mut wanted: Vec<(Time, PieceIndex)>) {
        wanted.sort_unstable();
        let mut old = std::mem::take(&mut self.deadlines);
        for (at, piece) in wanted {
            if self.deadlines.len() == MOST_DEADLINES {
                return;
            }
            if self.contains(piece) {
                continue;
            }
            let known = old.iter().position(|d| d.piece == piece).map(|i| old.swap_remove(i));
            let new = || Deadline { piece, at, quickest: None, late: Vec::new(), since: now };
            self.deadlines.push(Deadline { at, ..known.unwrap_or_else(new) });
        }
    }

    /// The piece is there.
    pub(super) fn remove(&mut self, piece: PieceIndex) {
        self.deadlines.retain(|d| d.piece != piece);
    }

    /// Notes how soon each piece could come, given what peers have and how long they take for a block.
    pub(super) fn survey<'a>(&mut self, peers: impl Iterator<Item = Sight<'a>> + Clone) {
        for deadline in &mut self.deadlines {
            let having = peers.clone().filter(|(_, has, _)| has.has(deadline.piece));
            deadline.quickest = having.map(|(peer, _, takes)| (takes, peer)).min();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(ms: u64) -> Time {
        Time::from_micros(ms * 1000)
    }

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_nearest_come_first_once_each_and_bounded() {
        let mut urgent = Urgent::default();
        urgent.set(at(0), (0..100).map(|n| (at(1000 - n % 90), PieceIndex(n as u32 % 90))).collect());
        assert_eq!(urgent.len(), MOST_DEADLINES);
        assert!(urgent.deadlines.windows(2).all(|w| w[0].at < w[1].at));
        urgent.deadlines[0].asked(3, at(20));
        let first = urgent.deadlines[0].piece;
        urgent.set(at(9), vec![(at(50), PieceIndex(77)), (at(40), first)]);
        assert_eq!(urgent.pieces().collect::<Vec<_>>(), [first, PieceIndex(77)]);
        assert!(urgent.deadlines[0].is_late(at(21), 3) && !urgent.deadlines[0].is_late(at(19), 3));
        urgent.remove(first);
        assert!(!urgent.contains(first) && urgent.contains(PieceIndex(77)));
    }

    #[test]
    fn slow_peers_suit_far_deadlines_and_near_ones_only_if_nobody_is_quicker() {
        let (quick, slow) = (Bitfield::full(2), Bitfield::full(1));
        let mut urgent = Urgent::default();
        urgent.set(at(0), vec![(at(1000), PieceIndex(0)), (at(9000), PieceIndex(1))]);
        let suits = |urgent: &Urgent, i: usize, takes| urgent.deadlines[i].suits(at(0), PeerKey(9), takes);
        assert!(suits(&urgent, 0, ms(60_000)), "better than nobody");
        urgent.survey([(PeerKey(1), &quick, ms(100)), (PeerKey(2), &slow, ms(5000))].into_iter());
        assert_eq!([700, 1000, 1001, 5000].map(|t| suits(&urgent, 0, ms(t))), [true, true, false, false]);
        assert!(suits(&urgent, 1, ms(5000)));
        urgent.survey([(PeerKey(2), &slow, ms(5000))].into_iter());
        assert!(suits(&urgent, 0, ms(9000)), "twice the quickest");
        assert!(!suits(&urgent, 0, ms(11_000)));
        assert!(urgent.deadlines[0].suits(at(0), PeerKey(2), ms(11_000)), "nobody is quicker");
    }
}
