//! Which piece a lone seed tells of next (BEP 16 "super seeding", without its waiting).
//!
//! A seed that holds the only copy of some pieces must not send one of them twice: the upload is what the whole crowd
//! waits for. Peers that see everything choose by themselves, on news that is a round trip old, and several take the
//! same rare piece: seeds of other clients send 1.3 to 2.9 copies where one would do. So it tells each peer only of
//! the pieces that this peer is to fetch from it, each peer of others, in the order of the torrent (which disks like, and
//! whoever plays the file in order).
//!
//! The rule: the piece with the fewest copies, those seen at peers and those on offer, goes next. Once every piece was
//! offered and some are still seen nowhere, second copies would only slow down the first: they are offered to peers
//! that have been idle for a while alone. BEP 16 waits with the next piece until the last one was seen elsewhere; that
//! starves fast peers, so here the amount on offer follows the rate (see `seeding`).
//!
//! It also keeps account of who passes on: a piece that was given to one peer alone and then is seen at another one was
//! passed on by the first. Nobody can claim that for himself; and who hides what he has gets no more offers.
//!
//! O(log pieces) an event. Tested against its rule.

use std::collections::{BTreeMap, BTreeSet};

use crate::bitfield::Bitfield;
use crate::ids::{PeerKey, PieceIndex};

/// Steps from the rarest piece up to one that the peer lacks. Those it has are common, so that few are enough.
const WALK: usize = 512;

#[derive(Clone, Copy, Debug, Default)]
struct Copies {
    /// Peers that have it.
    seen: u32,
    /// Peers it was offered to that may fetch it now.
    offered: u32,
}

/// Copies of every piece, and who was given what.
#[derive(Debug)]
pub(super) struct SuperSeed {
    copies: Vec<Copies>,
    /// Pieces by copies, seen and offered.
    ranks: BTreeSet<(u32, u32)>,
    /// Pieces seen at nobody, and at one peer at most.
    unseen: u32,
    rare: u32,
    /// Pieces seen at one peer at most that were given to this one alone.
    sole: BTreeMap<PieceIndex, PeerKey>,
}

impl SuperSeed {
    /// Over `pieces` pieces, none of them seen anywhere.
    pub(super) fn new(pieces: u32) -> Self {
        Self {
            copies: vec![Copies::default(); pieces as usize],
            ranks: (0..pieces).map(|piece| (0, piece)).collect(),
            unseen: pieces,
            rare: pieces,
            sole: BTreeMap::new(),
        }
    }

    /// Every piece is at two peers at least: they can do without us.
    pub(super) const fn is_spread(&self) -> bool {
        self.rare == 0
    }

    fn change(&mut self, piece: PieceIndex, change: impl FnOnce(&mut Copies)) {
        let Some(copies) = self.copies.get_mut(piece.0 as usize) else { return };
        let before = *copies;
        change(copies);
        let after = *copies;
        self.ranks.remove(&(before.seen + before.offered, piece.0));
        self.ranks.insert((after.seen + after.offered, piece.0));
        self.unseen = self.unseen + u32::from(after.seen == 0) - u32::from(before.seen == 0);
        self.rare = self.rare + u32::from(after.seen < 2) - u32::from(before.seen < 2);
    }

    /// One peer more has `piece`.
    pub(super) fn gained(&mut self, piece: PieceIndex) {
        self.change(piece, |copies| copies.seen += 1);
    }

    /// One peer less has `piece`.
    pub(super) fn lost(&mut self, piece: PieceIndex) {
        self.change(piece, |copies| copies.seen = copies.seen.saturating_sub(1));
    }

    /// `piece` is on offer to one peer more.
    pub(super) fn offered(&mut self, piece: PieceIndex) {
        self.change(piece, |copies| copies.offered += 1);
    }

    /// `piece` is on offer to one peer less.
    pub(super) fn withdrawn(&mut self, piece: PieceIndex) {
        self.change(piece, |copies| copies.offered = copies.offered.saturating_sub(1));
    }

    /// What to tell a peer of that has `has` and was told of `told`; `idle` if it has had nothing to fetch for long.
    pub(super) fn next(&self, has: &Bitfield, told: &BTreeSet<PieceIndex>, idle: bool) -> Option<PieceIndex> {
        let lacks = |piece: &PieceIndex| !has.has(*piece) && !told.contains(piece);
        let walk = self.ranks.iter().take(WALK).map(|(copies, piece)| (*copies, PieceIndex(*piece)));
        let (copies, piece) = walk.into_iter().find(|(_, piece)| lacks(piece))?;
        (copies == 0 || self.unseen == 0 || idle).then_some(piece)
    }

    /// `piece` is offered to `peer`: if nobody else has it, it is this peer's to pass on, and the answer true.
    pub(super) fn entrust(&mut self, piece: PieceIndex, peer: PeerKey) -> bool {
        let alone = self.copies.get(piece.0 as usize).is_some_and(|c| c.seen + c.offered <= 1);
        if alone {
            self.sole.insert(piece, peer);
        } else {
            self.sole.remove(&piece);
        }
        alone
    }

    /// `piece` was seen at `peer`. Returns who passed it on, if that is known.
    pub(super) fn passed_on(&mut self, piece: PieceIndex, peer: PeerKey) -> Option<PeerKey> {
        let giver = self.sole.get(&piece).copied().filter(|giver| *giver != peer)?;
        self.sole.remove(&piece);
        Some(giver)
    }

    /// A peer left.
    pub(super) fn forget(&mut self, peer: PeerKey) {
        self.sole.retain(|_, giver| *giver != peer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOBODY: BTreeSet<PieceIndex> = BTreeSet::new();

    fn none() -> Bitfield {
        Bitfield::new(4)
    }

    fn p(n: u32) -> PieceIndex {
        PieceIndex(n)
    }

    #[test]
    fn each_is_offered_once_in_order_and_a_second_time_only_to_the_idle() {
        let mut seed = SuperSeed::new(4);
        for n in 0..4 {
            assert_eq!(seed.next(&none(), &NOBODY, false), Some(p(n)));
            seed.offered(p(n));
        }
        assert_eq!(seed.next(&none(), &NOBODY, false), None, "the first copies are under way");
        assert_eq!(seed.next(&none(), &NOBODY, true), Some(p(0)));
        for n in 0..4 {
            seed.withdrawn(p(n));
            seed.gained(p(n));
        }
        assert_eq!(seed.next(&none(), &NOBODY, false), Some(p(0)), "all were seen");
        assert!(!seed.is_spread());
        (0..4).for_each(|n| seed.gained(p(n)));
        assert!(seed.is_spread());
    }

    #[test]
    fn what_nobody_has_any_more_comes_first() {
        let mut seed = SuperSeed::new(4);
        (0..4).for_each(|n| seed.gained(p(n)));
        seed.lost(p(2));
        assert_eq!(seed.next(&none(), &NOBODY, false), Some(p(2)));
        seed.offered(p(2));
        seed.withdrawn(p(2));
        assert_eq!(seed.next(&none(), &NOBODY, false), Some(p(2)), "the peer was choked or left");
    }

    #[test]
    fn nobody_is_told_what_it_has_or_was_told() {
        let mut seed = SuperSeed::new(4);
        let mut has = none();
        has.insert(p(0));
        let told = BTreeSet::from([p(1)]);
        assert_eq!(seed.next(&has, &told, false), Some(p(2)));
        (0..4).for_each(|n| seed.gained(p(n)));
        assert_eq!(seed.next(&Bitfield::full(4), &NOBODY, true), None);
    }

    #[test]
    fn who_passes_on_is_known_and_cannot_claim_it() {
        let mut seed = SuperSeed::new(4);
        let (giver, other) = (PeerKey(1), PeerKey(2));
        seed.offered(p(0));
        seed.entrust(p(0), giver);
        assert_eq!(seed.passed_on(p(0), giver), None, "it has it itself");
        assert_eq!(seed.passed_on(p(0), other), Some(giver));
        assert_eq!(seed.passed_on(p(0), PeerKey(3)), None, "once");
        seed.gained(p(1));
        seed.offered(p(1));
        seed.entrust(p(1), giver);
        assert_eq!(seed.passed_on(p(1), other), None, "others had it before");
    }
}
