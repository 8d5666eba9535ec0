//! Which blocks to ask of whom (BEP 3: rarest first, strict priority, end game).
//!
//! What has a deadline comes first (see [`urgent`]). Otherwise a peer goes on with the piece it is at; then with one
//! that others left; then begins the rarest it has (or the first, in sequential mode); then helps out with pieces others
//! are at; and when nothing wanted is left that nobody was asked for, it is asked for blocks that others are slow to
//! bring. A higher priority goes before all of this but the piece a peer is at.
//!
//! A fast peer fetches pieces alone, and neighbours in a row, up to [`RUN`] bytes: the hash and write cursors of the
//! disk like that, and one sender of a bad piece is known at once. Slow peers share pieces, so that few are begun and
//! not done. One that fell silent, if there is nothing to share, begins what most peers have, and not the rarest, which
//! others wait for. A piece that failed is fetched alone whoever asks, and a suspect gets no others; such pieces are
//! closed to everyone else for a while ([`Partial::is_closed_to`]), if they have a deadline no longer than
//! [`ALONE_AFTER`] beyond it.
//!
//! The cost is O(1) a block, and per piece O(started pieces) at worst or what [`Rarity`] says. At most
//! [`MOST_STARTED`] pieces are under way. Availability, the wanted set and the started pieces meet only here, so that
//! a piece is "open" (may be started) exactly if it is wanted, provable, missing, not urgent and not started. Tested with
//! random operations against invariants, among them that outside the end game no block is under way twice.

mod urgent;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use self::urgent::{Deadline, Urgent};
pub(super) use self::urgent::{Pace, Sight};
use super::partial::{Arrival, Partial};
use super::priority::{Levels, Priority};
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
/// Blocks looked at to find these.
const END_GAME_SCAN: usize = 4096;
/// Late blocks of one urgent piece asked of another peer at once.
const MOST_LATE: usize = 16;
/// A piece that failed, or that a suspect fetches, is for one peer alone at most until so long after its deadline.
const ALONE_AFTER: Duration = Duration::from_secs(2);
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
    /// It fell silent, and has one request to show that it is back.
    pub(super) snubbed: bool,
    /// It has no request under way.
    pub(super) idle: bool,
    /// It gets only pieces that nobody else contributes to.
    pub(super) confined: bool,
    /// How soon it brings what it is asked for.
    pub(super) pace: Pace,
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
    urgent: Urgent,
    sequential: bool,
    rng: Rng,
    missing_wanted: u32,
}

impl Picker {
    /// With what is had, wanted and provable at the start; all three as long as the torrent has pieces.
    pub(super) fn new(
        layout: Arc<Layout>,
        have: Bitfield,
        (wanted, levels): (Bitfield, Levels),
        provable: Bitfield,
        sequential: bool,
        seed: u64,
    ) -> Self {
        let rarity = Rarity::new(layout.num_pieces(), levels, seed);
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
            urgent: Urgent::default(),
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
    pub(super) fn set_wanted(&mut self, (wanted, levels): (Bitfield, Levels)) {
        self.rarity.set_levels(levels);
        self.wanted = wanted;
        self.refresh_all();
    }

    /// One piece is wanted more or less than before.
    pub(super) fn prioritise(&mut self, piece: PieceIndex, priority: Priority) {
        let before = self.needs(piece);
        self.rarity.close(piece);
        if priority.is_wanted() {
            self.wanted.insert(piece);
            self.rarity.set_level(piece, priority);
        } else {
            self.wanted.remove(piece);
        }
        self.missing_wanted = self.missing_wanted + u32::from(self.needs(piece)) - u32::from(before);
        self.refresh(piece);
    }

    /// From now on these pieces have deadlines, and only these: the nearest [`urgent::MOST_DEADLINES`] that are missing.
    pub(super) fn set_deadlines(&mut self, now: Time, deadlines: &[(PieceIndex, Time)]) {
        let missing =
            deadlines.iter().filter(|(piece, _)| self.needs(*piece)).map(|(piece, at)| (*at, *piece));
        let missing = missing.collect();
        let mut touched: Vec<_> = self.urgent.pieces().collect();
        self.urgent.set(now, missing);
        touched.extend(self.urgent.pieces());
        touched.into_iter().for_each(|piece| self.refresh(piece));
    }

    /// Whether there are deadlines, so that [`Self::survey`] makes sense.
    pub(super) const fn has_deadlines(&self) -> bool {
        !self.urgent.is_empty()
    }

    /// Notes how soon urgent pieces could come, given what peers have and how long they take for a block.
    pub(super) fn survey<'a>(&mut self, peers: impl Iterator<Item = Sight<'a>> + Clone) {
        self.urgent.survey(peers);
    }

    /// Adds at most `n` blocks to ask of a peer.
    pub(super) fn pick(&mut self, asker: &mut Asker<'_>, n: usize, out: &mut Vec<Block>) {
        let (before, goal) = (out.len(), out.len() + n);
        self.pick_urgent(asker, goal, out);
        while out.len() < goal {
            // A peer may lose a piece (BEP 54) that it was asked for in part.
            let may_go_on = |p: &PieceIndex| self.is_free_for_all(*p) && self.may_have(*p, asker);
            let going_on = asker.current.filter(|p| asker.has.has(*p) && may_go_on(p));
            let Some(piece) = going_on.or_else(|| self.next_piece(asker)) else { break };
            *asker.current = Some(piece);
            self.take_from(piece, asker.peer, goal, out);
        }
        if out.len() == before && asker.idle && !asker.confined && self.all_asked(asker.now) {
            self.pick_busy(asker, n.min(END_GAME), out);
        }
    }

    /// Blocks of urgent pieces, as far as the peer is quick enough for them.
    fn pick_urgent(&mut self, asker: &Asker<'_>, goal: usize, out: &mut Vec<Block>) {
        let before = out.len();
        for index in 0..self.urgent.len() {
            if out.len() == goal {
                return;
            }
            let Some(piece) = self.urgent_piece(index, asker, out.len() - before) else { continue };
            while out.len() < goal
                && let Some(block) = self.urgent_block(index, asker, out.len() - before)
            {
                out.push(block);
            }
            self.index(piece);
        }
    }

    /// The urgent piece at `index`, begun, if the peer may bring some of it.
    fn urgent_piece(&mut self, index: usize, asker: &Asker<'_>, n: usize) -> Option<PieceIndex> {
        let suits =
            |d: &&Deadline| asker.has.has(d.piece) && d.suits(asker.now, asker.peer, asker.pace.nth(n));
        let (piece, at) = self.urgent.get(index).filter(suits).map(|d| (d.piece, d.at))?;
        self.begin_urgent(piece, asker);
        // What is one peer's alone is so not for long.
        let late = !asker.confined && asker.now >= at + ALONE_AFTER;
        (self.started.contains_key(&piece) && (late || self.may_have(piece, asker))).then_some(piece)
    }

    /// Starts a piece, if it is not, and makes it the peer's alone if it failed or the peer is a suspect.
    fn begin_urgent(&mut self, piece: PieceIndex, asker: &Asker<'_>) {
        let fresh = self.start(piece);
        let nobodys = |part: &Partial| part.owner.is_none() && part.free() > 0;
        let alone = if asker.confined { fresh } else { self.failed.contains(&piece) };
        if alone && self.started.get(&piece).is_some_and(nobodys) {
            self.claim(piece, asker);
        }
    }

    /// A free block of the urgent piece at `index`, or one that is late, for a peer that was given `n` blocks just now.
    fn urgent_block(&mut self, index: usize, asker: &Asker<'_>, n: usize) -> Option<Block> {
        let takes = asker.pace.nth(n);
        let deadline = self.urgent.get_mut(index).filter(|d| d.suits(asker.now, asker.peer, takes))?;
        let partial = self.started.get_mut(&deadline.piece)?;
        let is_late = |i: &u32| n < MOST_LATE && deadline.is_late(asker.now, *i);
        let block = match partial.take(asker.peer) {
            Some(free) => free,
            None => partial.ask_late(asker.peer, is_late)?,
        };
        deadline.asked(block, asker.now + asker.pace.late(n));
        Some(self.layout.block(deadline.piece, block))
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

    /// It has free blocks, and not only for peers that are quick enough.
    fn is_free_for_all(&self, piece: PieceIndex) -> bool {
        self.has_free(piece) && !self.urgent.contains(piece)
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

    /// Nothing is left of which nobody was asked, but for what is somebody's alone.
    pub(super) fn all_asked(&self, now: Time) -> bool {
        let closed = |p: &PieceIndex| self.started.get(p).is_some_and(|part| part.is_closed(now));
        let asked = |piece| {
            let begun = self.started.contains_key(&piece);
            if begun { !self.has_free(piece) || closed(&piece) } else { !self.may_start(piece) }
        };
        let nothing_open = self.rarity.open_count() == 0 && self.shared.is_empty();
        nothing_open && self.owned.iter().all(closed) && self.urgent.pieces().all(asked)
    }

    /// The piece to go on with when the current one has no free block.
    fn next_piece(&mut self, asker: &Asker<'_>) -> Option<PieceIndex> {
        let shared = self.best_of(&self.shared, asker);
        // The order is that of priorities first.
        let outranked =
            |p: PieceIndex| self.rarity.highest_open().is_some_and(|open| open > self.rarity.priority(p));
        let begins = shared.is_none_or(outranked);
        let fresh = if begins { self.fresh_piece(asker, shared) } else { None };
        if let Some(piece) = fresh {
            self.start(piece);
        }
        let Some(piece) = fresh.or(shared) else { return self.best_of(&self.owned, asker) };
        self.claim(piece, asker);
        Some(piece)
    }

    /// The first of `pieces` that `asker` has and may contribute to, and that is wanted most.
    fn best_of(&self, pieces: &BTreeSet<PieceIndex>, asker: &Asker<'_>) -> Option<PieceIndex> {
        let may = |p: &PieceIndex| asker.has.has(*p) && self.may_have(*p, asker);
        let mut of_peer = pieces.iter().copied().filter(may);
        if !self.rarity.has_levels() {
            return of_peer.next();
        }
        of_peer.min_by_key(|p| std::cmp::Reverse(self.rarity.priority(*p)))
    }

    /// A piece to begin; if there is an `instead`, only one that is wanted more.
    fn fresh_piece(&mut self, asker: &Asker<'_>, instead: Option<PieceIndex>) -> Option<PieceIndex> {
        if self.started.len() >= self.most_started() {
            return None;
        }
        let fresh = match (self.sequential, asker.snubbed) {
            (true, _) => self.rarity.first(asker.has),
            (false, true) => self.rarity.commonest(asker.has),
            (false, false) => self.rarest_or_neighbour(asker),
        };
        let more =
            |p: &PieceIndex| instead.is_none_or(|i| self.rarity.priority(*p) > self.rarity.priority(i));
        fresh.filter(more)
    }

    fn rarest_or_neighbour(&mut self, asker: &Asker<'_>) -> Option<PieceIndex> {
        let rarest = self.rarity.rarest(asker.has)?;
        let neighbour = asker.current.filter(|_| asker.fast).and_then(|p| self.neighbour(p, asker.has));
        let as_rare = |p: &PieceIndex| self.rarity.rank(*p) <= self.rarity.rank(rarest);
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
        let may = self.may_start(piece) && self.started.len() < self.most_started();
        if may {
            let pads = self.layout.blocks(piece).map(|block| self.layout.is_pad(&block));
            self.started.insert(piece, Partial::new(pads));
            self.refresh(piece);
        }
        may
    }

    fn may_start(&self, piece: PieceIndex) -> bool {
        self.needs(piece) && self.provable.has(piece) && !self.started.contains_key(&piece)
    }

    fn pick_busy(&mut self, asker: &Asker<'_>, n: usize, out: &mut Vec<Block>) {
        let from = PieceIndex(self.rng.below(u64::from(self.layout.num_pieces())) as u32);
        let around = self.started.range(from..).chain(self.started.range(..from));
        let pieces = around
            .filter(|(p, part)| asker.has.has(**p) && self.wanted.has(**p) && !part.is_whole())
            .filter(|(_, part)| !part.is_closed_to(asker.peer, asker.now));
        let first = self.rng.below(u64::from(u32::MAX)) as u32;
        let blocks = pieces.flat_map(|(p, part)| part.busy(asker.peer, first).map(|i| i.map(|i| (*p, i))));
        let chosen: Vec<_> = blocks.take(END_GAME_SCAN).flatten().take(n).collect();
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
        self.urgent.remove(piece);
        let new = self.have.insert(piece);
        self.missing_wanted -= u32::from(new && self.wanted.has(piece));
        self.refresh(piece);
        if self.missing_wanted == 0 {
            self.rarity.rest();
        }
        new
    }

    /// A piece that was had is there no more. False if it was not had.
    pub(super) fn forget(&mut self, piece: PieceIndex) -> bool {
        let had = self.have.remove(piece);
        self.missing_wanted += u32::from(had && self.wanted.has(piece));
        self.refresh(piece);
        had
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
        if self.may_start(piece) && !self.urgent.contains(piece) {
            self.rarity.open(piece);
        } else {
            self.rarity.close(piece);
        }
        self.index(piece);
    }

    /// Lists a started piece where its free blocks and owner say.
    fn index(&mut self, piece: PieceIndex) {
        let free = self.is_free_for_all(piece);
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
