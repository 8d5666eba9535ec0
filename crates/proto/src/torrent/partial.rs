//! One piece in the making: which of its blocks are free, asked for, or here, and whose they are.
//!
//! Bookkeeping only: who gets which piece is the picker's choice. Memory is 16 bytes a block, and only pieces that
//! were started have a partial. Tested through the picker and against a model.

use std::time::Duration;

use crate::ids::PeerKey;
use crate::time::Time;

/// Peers that may be asked for one block at a time, in the end game.
const MOST_ASKED: usize = 3;
/// A piece that is one peer's alone is open to others after so long: they come only when nothing else is left, and a slow or
/// silent peer shall not keep them from the last piece.
const MOST_ALONE: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    Free,
    Asked(PeerKey),
    Here(PeerKey),
    /// It lies in pad files: everybody knows its zeros, nobody is asked for them (BEP 47).
    Pad,
}

/// A started piece. Blocks are named by their index in it.
#[derive(Debug)]
pub(super) struct Partial {
    slots: Vec<Slot>,
    /// No block before this one is free.
    next: u32,
    free: u32,
    missing: u32,
    /// Blocks that somebody has to be asked for.
    real: u32,
    /// Second and third peers asked for a block that is `Asked`.
    also: Vec<(u32, PeerKey)>,
    /// The peer that fetches this piece alone, if one does.
    pub(super) owner: Option<PeerKey>,
    /// Since when nobody may help the owner.
    pub(super) closed: Option<Time>,
}

/// What became of a block that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// It was here already.
    Again,
    /// It is new, and others are missing.
    New,
    /// It is new, and with it the piece is whole.
    Whole,
}

impl Partial {
    /// A piece of which nothing was asked for, given which of its blocks lie in pad files. If all of them do, the first
    /// is fetched all the same, so that the storage hears of the piece.
    pub(super) fn new(pads: impl Iterator<Item = bool>) -> Self {
        let mut slots: Vec<_> = pads.map(|pad| if pad { Slot::Pad } else { Slot::Free }).collect();
        if slots.iter().all(|slot| *slot == Slot::Pad) {
            slots.iter_mut().take(1).for_each(|slot| *slot = Slot::Free);
        }
        let real = slots.iter().filter(|s| **s == Slot::Free).count() as u32;
        Self { slots, next: 0, free: real, missing: real, real, also: Vec::new(), owner: None, closed: None }
    }

    /// Blocks nobody was asked for.
    pub(super) const fn free(&self) -> u32 {
        self.free
    }

    /// Every block is here.
    pub(super) const fn is_whole(&self) -> bool {
        self.missing == 0
    }

    /// No block is here, and none was asked for.
    pub(super) fn is_untouched(&self) -> bool {
        self.free == self.real
    }

    /// Whether it is another's alone.
    pub(super) fn is_closed_to(&self, peer: PeerKey, now: Time) -> bool {
        self.owner != Some(peer) && self.is_closed(now)
    }

    /// Whether it is somebody's alone.
    pub(super) fn is_closed(&self, now: Time) -> bool {
        self.owner.is_some() && self.closed.is_some_and(|at| now.since(at) < MOST_ALONE)
    }

    /// Nobody else brought or was asked for any of it.
    pub(super) fn is_only(&self, peer: PeerKey) -> bool {
        self.senders().chain(self.asked()).all(|(_, other)| other == peer)
    }

    /// Takes the first free block for `peer`.
    pub(super) fn take(&mut self, peer: PeerKey) -> Option<u32> {
        let ahead = self.slots.get(self.next as usize..)?;
        let index = self.next + ahead.iter().position(|s| *s == Slot::Free)? as u32;
        self.slots[index as usize] = Slot::Asked(peer);
        (self.next, self.free) = (index + 1, self.free - 1);
        Some(index)
    }

    /// Looks at every block, from the one at `from` on, around the end: names those that others were asked for and that
    /// `peer` may be asked for too.
    pub(super) fn busy(&self, peer: PeerKey, from: u32) -> impl Iterator<Item = Option<u32>> + '_ {
        let n = self.slots.len() as u32;
        let order = (0..n).map(move |i| ((u64::from(from) + u64::from(i)) % u64::from(n)) as u32);
        order.map(move |index| self.is_busy(index, peer).then_some(index))
    }

    /// The blocks that others were asked for and that `peer` may be asked for too.
    pub(super) fn asked_of_others(&self, peer: PeerKey) -> impl Iterator<Item = u32> + '_ {
        self.busy(peer, 0).flatten()
    }

    fn is_busy(&self, index: u32, peer: PeerKey) -> bool {
        match self.slots[index as usize] {
            Slot::Asked(first) => first != peer && self.may_ask_also(index, peer),
            Slot::Free | Slot::Here(_) | Slot::Pad => false,
        }
    }

    fn may_ask_also(&self, index: u32, peer: PeerKey) -> bool {
        let others = self.also.iter().filter(|(i, _)| *i == index);
        others.clone().count() + 1 < MOST_ASKED && others.clone().all(|(_, p)| *p != peer)
    }

    /// Asks `peer` too for the first block that is late at others.
    pub(super) fn ask_late(&mut self, peer: PeerKey, is_late: impl Fn(&u32) -> bool) -> Option<u32> {
        let late = self.asked_of_others(peer).find(is_late)?;
        self.ask_also(late, peer);
        Some(late)
    }

    /// Notes that `peer` was asked for a busy block too.
    pub(super) fn ask_also(&mut self, index: u32, peer: PeerKey) {
        self.also.push((index, peer));
    }

    /// `peer` will not bring this block. True if that made it free.
    pub(super) fn release(&mut self, index: u32, peer: PeerKey) -> bool {
        let Some(slot) = self.slots.get_mut(index as usize) else { return false };
        if *slot != Slot::Asked(peer) {
            self.also.retain(|entry| *entry != (index, peer));
            return false;
        }
        if let Some(at) = self.also.iter().position(|(i, _)| *i == index) {
            *slot = Slot::Asked(self.also.swap_remove(at).1);
            return false;
        }
        *slot = Slot::Free;
        (self.next, self.free) = (self.next.min(index), self.free + 1);
        true
    }

    /// A block came from `peer`. Adds to `others` who else was asked for it.
    pub(super) fn receive(&mut self, index: u32, peer: PeerKey, others: &mut Vec<PeerKey>) -> Arrival {
        let Some(slot) = self.slots.get_mut(index as usize) else { return Arrival::Again };
        match *slot {
            Slot::Here(_) | Slot::Pad => return Arrival::Again,
            Slot::Free => self.free -= 1,
            Slot::Asked(first) => others.extend((first != peer).then_some(first)),
        }
        *slot = Slot::Here(peer);
        self.missing -= 1;
        if !self.also.is_empty() {
            others.extend(
                self.also.extract_if(.., |(i, _)| *i == index).map(|(_, p)| p).filter(|p| *p != peer),
            );
        }
        if self.missing == 0 { Arrival::Whole } else { Arrival::New }
    }

    /// A block that is here is wrong, and is needed again.
    pub(super) fn spoil(&mut self, index: u32) {
        let Some(slot @ Slot::Here(_)) = self.slots.get_mut(index as usize) else { return };
        *slot = Slot::Free;
        (self.next, self.free, self.missing) = (self.next.min(index), self.free + 1, self.missing + 1);
    }

    /// Who sent the blocks that are here, by block.
    pub(super) fn senders(&self) -> impl Iterator<Item = (u32, PeerKey)> + '_ {
        self.slots.iter().zip(0..).filter_map(|(slot, index)| match slot {
            Slot::Here(peer) => Some((index, *peer)),
            Slot::Free | Slot::Asked(_) | Slot::Pad => None,
        })
    }

    /// Who else was asked, by block.
    pub(super) fn asked(&self) -> impl Iterator<Item = (u32, PeerKey)> + '_ {
        let first = self.slots.iter().zip(0..).filter_map(|(slot, index)| match slot {
            Slot::Asked(peer) => Some((index, *peer)),
            Slot::Free | Slot::Here(_) | Slot::Pad => None,
        });
        first.chain(self.also.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: PeerKey = PeerKey(1);
    const B: PeerKey = PeerKey(2);
    const C: PeerKey = PeerKey(3);
    const D: PeerKey = PeerKey(4);

    #[test]
    fn nobody_is_asked_for_pads_but_for_one_block_of_nothing_else() {
        let peer = PeerKey(1);
        let mut partial = Partial::new([false, true, true].into_iter());
        assert_eq!((partial.free(), partial.take(peer), partial.take(peer)), (1, Some(0), None));
        assert_eq!(partial.receive(1, peer, &mut Vec::new()), Arrival::Again);
        assert_eq!(partial.receive(0, peer, &mut Vec::new()), Arrival::Whole);
        let mut pads = Partial::new([true; 3].into_iter());
        assert!(pads.is_untouched());
        assert_eq!((pads.take(peer), pads.take(peer)), (Some(0), None));
        assert_eq!(pads.receive(0, peer, &mut Vec::new()), Arrival::Whole);
    }

    #[test]
    fn blocks_are_taken_in_order_and_taken_again_when_released() {
        let mut partial = Partial::new([false; 3].into_iter());
        assert_eq!([partial.take(A), partial.take(B), partial.take(A)], [Some(0), Some(1), Some(2)]);
        assert_eq!(partial.take(A), None);
        assert!(!partial.release(0, B), "B was not asked for it");
        assert!(partial.release(0, A));
        assert_eq!(partial.free(), 1);
        assert_eq!(partial.take(B), Some(0));
    }

    #[test]
    fn the_last_block_makes_it_whole_and_names_its_senders() {
        let (mut partial, mut others) = (Partial::new([false; 2].into_iter()), Vec::new());
        partial.take(A);
        assert_eq!(partial.receive(0, A, &mut others), Arrival::New);
        assert_eq!(partial.receive(0, A, &mut others), Arrival::Again);
        assert_eq!(partial.receive(1, B, &mut others), Arrival::Whole, "unasked, but welcome");
        assert!(partial.is_whole() && others.is_empty() && partial.free() == 0);
        assert_eq!(partial.senders().collect::<Vec<_>>(), [(0, A), (1, B)]);
    }

    #[test]
    fn in_the_end_game_the_first_to_come_frees_the_others() {
        let (mut partial, mut others) = (Partial::new([false; 1].into_iter()), Vec::new());
        partial.take(A);
        assert_eq!(partial.asked_of_others(A).count(), 0);
        for peer in [B, C] {
            assert_eq!(partial.asked_of_others(peer).collect::<Vec<_>>(), [0]);
            partial.ask_also(0, peer);
            assert_eq!(partial.asked_of_others(peer).count(), 0);
        }
        assert_eq!(partial.asked_of_others(D).count(), 0, "three are enough");
        assert!(!partial.release(0, A), "the others were asked too");
        assert_eq!(partial.receive(0, C, &mut others), Arrival::Whole);
        assert_eq!(others, [B]);
    }
}
