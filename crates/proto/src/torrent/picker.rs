//! Which blocks to ask of whom (BEP 3: rarest first, strict priority, end game).
//!
//! A peer goes on with the piece it is at; then with one that others left; then begins the rarest it has (or the
//! first, in sequential mode); then helps out with pieces others are at; and when nothing wanted is left that nobody
//! was asked for, it is asked for blocks that others are slow to bring.
//!
//! A fast peer fetches pieces alone, and neighbours in a row, up to [`RUN`] bytes: the hash and write cursors of the
//! disk like that, and one sender of a bad piece is known at once. A piece that failed is fetched alone whoever asks, and
//! a suspect gets no others; such pieces are closed to everyone else for a while ([`Partial::is_closed_to`]).
//!
//! The cost is O(1) a block, and per piece O(started pieces) at worst or what [`Rarity`] says. At most
//! [`MOST_STARTED`] pieces are under way. Availability, the wanted set and the started pieces meet only here, so that
//! a piece is "open" (may be started) exactly if it is wanted, provable, missing and not started. Tested with random
//! operations against invariants.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::partial::{Arrival, Partial};
use super::rarity::Rarity;
use super::superseed::SuperSeed;
use crate::bitfield::Bitfield;
use crate::ids::{BLOCK_LEN, Block, PeerKey, PieceIndex};
use crate::layout::Layout;
use crate::rng::Rng;
use crate::time::Time;

/// Pieces under way at once, and blocks in them (but for one piece a peer, however large).
const MOST_STARTED: usize = 4096;
const MOST_STARTED_BLOCKS: usize = 1 << 20;
/// Bytes that a fast peer fetches in a row.
const RUN: u64 = 8 << 20;
/// Blocks asked for a second time at once, for a peer with nothing else to do.
const END_GAME: usize = 16;
/// Pieces that failed and are remembered as such.
const MOST_FAILED: usize = 1024;

/// For whom blocks are sought.
#[derive(Debug)]
pub(super) struct Asker<'a> {
    pub(super) peer: PeerKey,
    /// What it has.
    pub(super) has: &'a Bitfield,
    /// It can bring a piece in reasonable time alone.
    pub(super) fast: bool,
    /// It has no request under way.
    pub(super) idle: bool,
    /// It gets only pieces that nobody else contributes to.
    pub(super) confined: bool,
    /// The present.
    pub(super) now: Time,
    /// The piece it is at, updated here.
    pub(super) current: &'a mut Option<PieceIndex>,
}

/// What became of a block that came.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// Nobody needs it.
    Wasted,
    /// It is new.
    New,
    /// It is new, and its piece is whole: a verdict is due.
    Whole,
}

/// Progress of one torrent, and choice of what comes next.
#[derive(Debug)]
pub(super) struct Picker {
    layout: Arc<Layout>,
    have: Bitfield,
    wanted: Bitfield,
    /// The hash to check a piece against is known.
    provable: Bitfield,
    rarity: Rarity,
    /// What each peer is told of, while pieces are hidden.
    pub(super) spread: Option<SuperSeed>,
    started: BTreeMap<PieceIndex, Partial>,
    /// Started, wanted, with free blocks, and nobody's.
    shared: BTreeSet<PieceIndex>,
    /// The same, but somebody fetches them alone.
    owned: BTreeSet<PieceIndex>,
    failed: BTreeSet<PieceIndex>,
    sequential: bool,
    rng: Rng,
    missing_wanted: u32,
}

impl Picker {
    /// With what is had, wanted and provable at the start; all three as long as the torrent has pieces.
    pub(super) fn new(
        layout: Arc<Layout>,
        have: Bitfield,
        wanted: Bitfield,
        provable: Bitfield,
        sequential: bool,
        seed: u64,
    ) -> Self {
        let rarity = Rarity::new(layout.num_pieces(), seed);
        let mut picker = Self {
            layout,
            have,
            wanted,
            provable,
            rarity,
            spread: None,
            started: BTreeMap::new(),
            shared: BTreeSet::new(),
            owned: BTreeSet::new(),
            failed: BTreeSet::new(),
            sequential,
            rng: Rng::new(seed ^ 1),
            missing_wanted: 0,
        };
        picker.refresh_all();
        picker
    }

    /// What is proven and stored.
    pub(super) const fn have(&self) -> &Bitfield {
        &self.have
    }

    /// What is to be had in the end.
    pub(super) const fn wanted(&self) -> &Bitfield {
        &self.wanted
    }

    /// Whether `piece` is wanted and not had.
    pub(super) fn needs(&self, piece: PieceIndex) -> bool {
        self.wanted.has(piece) && !self.have.has(piece)
    }

    /// Number of pieces wanted and not had.
    pub(super) const fn missing(&self) -> u32 {
        self.missing_wanted
    }

    /// Number of pieces in `has` that are wanted and not had.
    pub(super) fn missing_in(&self, has: &Bitfield) -> u32 {
        if has.is_full() {
            return self.missing_wanted;
        }
        let words = has.as_bytes().iter().zip(self.wanted.as_bytes()).zip(self.have.as_bytes());
        words.map(|((has, wanted), have)| (has & wanted & !have).count_ones()).sum()
    }

    /// Peers that have `piece`, but for those that had everything from the start.
    pub(super) fn availability(&self, piece: PieceIndex) -> u32 {
        self.rarity.availability(piece)
    }

    /// Availability: one peer more has `piece`.
    pub(super) fn gained(&mut self, piece: PieceIndex) {
        self.rarity.gained(piece);
        if let Some(spread) = &mut self.spread {
            spread.gained(piece);
        }
    }

    /// Availability: one peer less has `piece`.
    pub(super) fn lost(&mut self, piece: PieceIndex) {
        self.rarity.lost(piece);
        if let Some(spread) = &mut self.spread {
            spread.lost(piece);
        }
    }

    /// The hash of `piece` became known.
    pub(super) fn set_provable(&mut self, piece: PieceIndex) {
        if self.provable.insert(piece) {
            self.refresh(piece);
        }
    }

    /// Other pieces are wanted now. Those that were started stay so, but are not asked for.
    pub(super) fn set_wanted(&mut self, wanted: Bitfield) {
        self.wanted = wanted;
        self.refresh_all();
    }

    /// Adds at most `n` blocks to ask of a peer.
    pub(super) fn pick(&mut self, asker: &mut Asker<'_>, n: usize, out: &mut Vec<Block>) {
        let goal = out.len() + n;
        while out.len() < goal {
            // A peer may lose a piece (BEP 54) that it was asked for in part.
            let going_on =
                asker.current.filter(|p| asker.has.has(*p) && self.has_free(*p) && self.may_have(*p, asker));
            let Some(piece) = going_on.or_else(|| self.next_piece(asker)) else { break };
            *asker.current = Some(piece);
            self.take_from(piece, asker.peer, goal, out);
        }
        if out.is_empty() && asker.idle && !asker.confined && self.all_asked(asker.now) {
            self.pick_busy(asker, n.min(END_GAME), out);
        }
    }

    /// Adds at most `n` blocks of pieces in `allowed`, which the peer serves although it chokes us (BEP 6).
    pub(super) fn pick_of(
        &mut self,
        allowed: &BTreeSet<PieceIndex>,
        asker: &Asker<'_>,
        n: usize,
        out: &mut Vec<Block>,
    ) {
        let goal = out.len() + n;
        for &piece in allowed.iter().filter(|p| asker.has.has(**p)) {
            if out.len() < goal && self.may_take(piece, asker) {
                self.take_from(piece, asker.peer, goal, out);
            }
        }
    }

    fn take_from(&mut self, piece: PieceIndex, peer: PeerKey, goal: usize, out: &mut Vec<Block>) {
        let Some(partial) = self.started.get_mut(&piece) else { return };
        while out.len() < goal
            && let Some(index) = partial.take(peer)
        {
            out.push(self.layout.block(piece, index));
        }
        self.index(piece);
    }

    fn has_free(&self, piece: PieceIndex) -> bool {
        self.wanted.has(piece) && self.started.get(&piece).is_some_and(|p| p.free() > 0)
    }

    /// Whether `asker` may contribute to a piece, if it is started.
    fn may_have(&self, piece: PieceIndex, asker: &Asker<'_>) -> bool {
        let Some(partial) = self.started.get(&piece) else { return true };
        let own = partial.owner == Some(asker.peer) && partial.closed.is_some();
        if asker.confined { own } else { !partial.is_closed_to(asker.peer, asker.now) }
    }

    /// Whether a piece that `asker` is to have at any price has blocks for it; starts it if need be.
    fn may_take(&mut self, piece: PieceIndex, asker: &Asker<'_>) -> bool {
        if self.start(piece) && (asker.confined || self.failed.contains(&piece)) {
            self.claim(piece, asker);
        }
        self.has_free(piece) && self.may_have(piece, asker)
    }

    /// The first of `set` that `asker` has and may contribute to.
    fn first_of(&self, set: &BTreeSet<PieceIndex>, asker: &Asker<'_>) -> Option<PieceIndex> {
        set.iter().copied().find(|piece| asker.has.has(*piece) && self.may_have(*piece, asker))
    }

    /// Nothing is left of which nobody was asked, but for what is somebody's alone.
    pub(super) fn all_asked(&self, now: Time) -> bool {
        let closed = |p: &PieceIndex| self.started.get(p).is_some_and(|part| part.is_closed(now));
        self.rarity.open_count() == 0 && self.shared.is_empty() && self.owned.iter().all(closed)
    }

    /// The piece to go on with when the current one has no free block.
    fn next_piece(&mut self, asker: &Asker<'_>) -> Option<PieceIndex> {
        if let Some(piece) = self.first_of(&self.shared, asker) {
            self.claim(piece, asker);
            return Some(piece);
        }
        if let Some(piece) = self.fresh_piece(asker) {
            self.start(piece);
            self.claim(piece, asker);
            return Some(piece);
        }
        self.first_of(&self.owned, asker)
    }

    fn fresh_piece(&mut self, asker: &Asker<'_>) -> Option<PieceIndex> {
        if self.started.len() >= self.most_started() {
            return None;
        }
        if self.sequential {
            return self.rarity.first(asker.has);
        }
        let rarest = self.rarity.rarest(asker.has)?;
        let neighbour = asker.current.filter(|_| asker.fast).and_then(|p| self.neighbour(p, asker.has));
        let as_rare = |p: &PieceIndex| self.rarity.availability(*p) <= self.rarity.availability(rarest);
        Some(neighbour.filter(as_rare).unwrap_or(rarest))
    }

    /// The piece after `piece`, if it may be started and lies in the same run.
    fn neighbour(&self, piece: PieceIndex, has: &Bitfield) -> Option<PieceIndex> {
        let run = (RUN / u64::from(self.layout.piece_length())).max(1) as u32;
        let next = PieceIndex(piece.0.checked_add(1)?);
        (!next.0.is_multiple_of(run) && has.has(next) && self.rarity.is_open(next)).then_some(next)
    }

    /// Makes a fast peer fetch the piece alone; and a suspect, or whoever takes a piece that failed before, so that who
    /// lied is found out: then nobody may help.
    fn claim(&mut self, piece: PieceIndex, asker: &Asker<'_>) {
        let closed = asker.confined || self.failed.contains(&piece);
        let alone = (asker.fast && !self.sequential) || closed;
        let Some(partial) = self.started.get_mut(&piece).filter(|_| alone) else { return };
        partial.owner = Some(asker.peer);
        partial.closed = closed.then_some(asker.now);
        self.index(piece);
    }

    /// Fewer pieces the larger they are.
    fn most_started(&self) -> usize {
        let blocks = (self.layout.piece_length() / BLOCK_LEN).max(1) as usize;
        (MOST_STARTED_BLOCKS / blocks).clamp(64, MOST_STARTED)
    }

    fn start(&mut self, piece: PieceIndex) -> bool {
        let open = self.rarity.is_open(piece) && self.started.len() < self.most_started();
        if open {
            let pads = self.layout.blocks(piece).map(|block| self.layout.is_pad(&block));
            self.started.insert(piece, Partial::new(pads));
            self.refresh(piece);
        }
        open
    }

    fn pick_busy(&mut self, asker: &Asker<'_>, n: usize, out: &mut Vec<Block>) {
        let from = PieceIndex(self.rng.below(u64::from(self.layout.num_pieces())) as u32);
        let around = self.started.range(from..).chain(self.started.range(..from));
        let pieces = around
            .filter(|(p, part)| asker.has.has(**p) && self.wanted.has(**p) && !part.is_whole())
            .filter(|(_, part)| !part.is_closed_to(asker.peer, asker.now));
        let first = self.rng.below(u64::from(u32::MAX)) as u32;
        let blocks = pieces.flat_map(|(p, part)| part.busy(asker.peer, first).map(|i| (*p, i)));
        let chosen: Vec<_> = blocks.take(n).collect();
        for (piece, index) in chosen {
            if let Some(partial) = self.started.get_mut(&piece) {
                partial.ask_also(index, asker.peer);
                out.push(self.layout.block(piece, index));
            }
        }
    }

    /// `peer` will not bring `block`. True if that left it free.
    pub(super) fn release(&mut self, block: Block, peer: PeerKey) -> bool {
        let Some(partial) = self.started.get_mut(&block.piece) else { return false };
        let freed = partial.release(block.index(), peer);
        if freed {
            self.abandon(block.piece, peer);
        }
        freed
    }

    /// A peer that gave a block back fetches the piece no more alone; and an untouched piece is not started.
    fn abandon(&mut self, piece: PieceIndex, peer: PeerKey) {
        let Some(partial) = self.started.get_mut(&piece) else { return };
        partial.owner = partial.owner.filter(|owner| *owner != peer);
        if partial.is_untouched() {
            self.started.remove(&piece);
        }
        self.refresh(piece);
    }

    /// Makes `piece` the business of `peer` alone, if nobody else contributed to it. True if so.
    pub(super) fn confine(&mut self, piece: PieceIndex, peer: PeerKey, now: Time) -> bool {
        let Some(partial) = self.started.get_mut(&piece).filter(|part| part.is_only(peer)) else {
            return false;
        };
        partial.owner = Some(peer);
        partial.closed = Some(now);
        self.index(piece);
        true
    }

    /// Who sent the blocks that are here of a started piece.
    pub(super) fn senders(&self, piece: PieceIndex) -> impl Iterator<Item = (u32, PeerKey)> + '_ {
        self.started.get(&piece).into_iter().flat_map(Partial::senders)
    }

    /// Takes away the sole right of `peer` to `piece`, because it left or fell silent.
    pub(super) fn disown(&mut self, piece: PieceIndex, peer: PeerKey) {
        self.abandon(piece, peer);
    }

    /// `peer` brought `block`. Adds to `others` who else was asked for it, to be told.
    pub(super) fn receive(&mut self, block: Block, peer: PeerKey, others: &mut Vec<PeerKey>) -> Received {
        let Some(partial) = self.started.get_mut(&block.piece) else { return Received::Wasted };
        let was_free = partial.free();
        let arrival = partial.receive(block.index(), peer, others);
        if partial.free() != was_free {
            self.index(block.piece);
        }
        match arrival {
            Arrival::Again => Received::Wasted,
            Arrival::New => Received::New,
            Arrival::Whole => Received::Whole,
        }
    }

    /// Whether a verdict on `piece` is due.
    pub(super) fn is_whole(&self, piece: PieceIndex) -> bool {
        self.started.get(&piece).is_some_and(Partial::is_whole)
    }

    /// `piece` is right. False if it was had before or no verdict was due.
    pub(super) fn accept(&mut self, piece: PieceIndex) -> bool {
        if !self.is_whole(piece) {
            return false;
        }
        self.started.remove(&piece);
        self.failed.remove(&piece);
        let new = self.have.insert(piece);
        self.missing_wanted -= u32::from(new && self.wanted.has(piece));
        self.refresh(piece);
        new
    }

    /// What was fetched of `piece` is void. Returns it: who sent what, and who was asked.
    pub(super) fn reject(&mut self, piece: PieceIndex) -> Option<Partial> {
        let partial = self.started.remove(&piece)?;
        if partial.is_whole() && self.failed.len() < MOST_FAILED {
            self.failed.insert(piece);
        }
        self.refresh(piece);
        Some(partial)
    }

    /// These blocks of a whole piece are wrong; the rest is proven right, and stays. Anybody may bring them.
    pub(super) fn spoil(&mut self, piece: PieceIndex, blocks: &[u32]) {
        let Some(partial) = self.started.get_mut(&piece) else { return };
        blocks.iter().for_each(|index| partial.spoil(*index));
        (partial.owner, partial.closed) = (None, None);
        self.index(piece);
    }

    fn refresh_all(&mut self) {
        for piece in (0..self.layout.num_pieces()).map(PieceIndex) {
            self.refresh(piece);
        }
        self.missing_wanted = self.missing_in_all();
    }

    fn missing_in_all(&self) -> u32 {
        let both = self.wanted.as_bytes().iter().zip(self.have.as_bytes());
        both.map(|(wanted, have)| (wanted & !have).count_ones()).sum()
    }

    /// Opens or closes `piece`, and lists it among the started, as its state demands.
    fn refresh(&mut self, piece: PieceIndex) {
        let may_start = self.needs(piece) && self.provable.has(piece) && !self.started.contains_key(&piece);
        if may_start {
            self.rarity.open(piece);
        } else {
            self.rarity.close(piece);
        }
        self.index(piece);
    }

    /// Lists a started piece where its free blocks and owner say.
    fn index(&mut self, piece: PieceIndex) {
        let free = self.has_free(piece);
        let owned = free && self.started.get(&piece).is_some_and(|p| p.owner.is_some());
        set(&mut self.shared, piece, free && !owned);
        set(&mut self.owned, piece, owned);
    }
}

fn set(pieces: &mut BTreeSet<PieceIndex>, piece: PieceIndex, member: bool) {
    if member {
        pieces.insert(piece);
    } else {
        pieces.remove(&piece);
    }
}

#[cfg(test)]
mod tests;
