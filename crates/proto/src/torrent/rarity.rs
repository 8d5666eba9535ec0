//! Which piece comes next: priority and availability of every piece, and the pieces that may be started, sorted by both.
//!
//! One bucket per priority and availability holds its pieces in random order, and every piece knows its place, so that
//! a `have` message costs O(1) and not O(pieces). Peers that have everything are not counted here: they change no order.
//!
//! Choosing for a peer walks the buckets of the highest priority first, rarest first. A peer that has few of the rare
//! ones would make that walk long, so after [`WALK`] steps a sample of what it does have decides: the rarest of
//! [`SAMPLE`]. Looking for the sample is bounded too, by [`SCAN`] words of 64 pieces: it is exact up to 131,072 pieces, and
//! beyond that it goes on the next time where it ended. So no choice costs more the more pieces there are.
//!
//! Memory is 8 bytes a piece, and none as long as no piece is open and no peer has some but not all. Tested against a
//! naive model, and by counting steps.

use crate::bitfield::Bitfield;
use crate::ids::PieceIndex;
use crate::rng::Rng;

use super::priority::{Levels, Priority};

/// Steps of the walk from the rarest piece up.
const WALK: usize = 256;
/// Pieces among which the rarest is taken when the walk found none.
const SAMPLE: usize = 64;
/// Words looked at to find these.
const SCAN: usize = 2048;
/// Place of a piece that may not be started.
const NOWHERE: u32 = u32::MAX;

/// The open pieces of one priority.
#[derive(Debug, Default)]
struct Class {
    /// Empty until there was one.
    open: Bitfield,
    /// By availability.
    buckets: Vec<Vec<u32>>,
    /// No word before this one has an open piece.
    first: usize,
    /// Where the next scan begins.
    cursor: usize,
}

/// Availability of every piece, and order among those that may be started ("open").
#[derive(Debug)]
pub(super) struct Rarity {
    pieces: u32,
    /// Empty while it is zero for all.
    availability: Vec<u32>,
    /// Empty while no piece is open.
    place: Vec<u32>,
    levels: Levels,
    /// Low, normal, high.
    classes: [Class; 3],
    rng: Rng,
    /// What choosing did, to show that it is bounded.
    #[cfg(test)]
    pub(super) steps: std::cell::Cell<u64>,
}

/// Orders pieces: the higher priority first, then the rarer. The smaller comes first.
pub(super) type Rank = (std::cmp::Reverse<Priority>, u32);

impl Rarity {
    /// Over `pieces` pieces, none of them open.
    pub(super) fn new(pieces: u32, levels: Levels, seed: u64) -> Self {
        Self {
            pieces,
            availability: Vec::new(),
            place: Vec::new(),
            levels,
            classes: Default::default(),
            rng: Rng::new(seed),
            #[cfg(test)]
            steps: std::cell::Cell::default(),
        }
    }

    /// Number of pieces that may be started.
    pub(super) fn open_count(&self) -> u32 {
        self.classes.iter().map(|class| class.open.count()).sum()
    }

    /// The highest priority of which a piece may be started.
    pub(super) fn highest_open(&self) -> Option<Priority> {
        let by_class = [Priority::Low, Priority::Normal, Priority::High].into_iter().zip(&self.classes);
        by_class.filter(|(_, class)| class.open.count() > 0).map(|(priority, _)| priority).next_back()
    }

    /// Whether `piece` may be started.
    pub(super) fn is_open(&self, piece: PieceIndex) -> bool {
        self.place.get(piece.0 as usize).is_some_and(|place| *place != NOWHERE)
    }

    /// Peers known to have `piece`, those that have everything not counted; 0 beyond the end.
    pub(super) fn availability(&self, piece: PieceIndex) -> u32 {
        self.availability.get(piece.0 as usize).copied().unwrap_or(0)
    }

    /// Whether pieces are wanted more and less.
    pub(super) const fn has_levels(&self) -> bool {
        self.levels.is_some()
    }

    /// How much a piece is wanted if it is wanted.
    pub(super) fn priority(&self, piece: PieceIndex) -> Priority {
        let level = self.levels.as_ref().and_then(|levels| levels.get(piece.0 as usize));
        level.copied().unwrap_or_default()
    }

    /// Where a piece stands in the order.
    pub(super) fn rank(&self, piece: PieceIndex) -> Rank {
        (std::cmp::Reverse(self.priority(piece)), self.availability(piece))
    }

    /// Changes all priorities, and closes everything.
    pub(super) fn set_levels(&mut self, levels: Levels) {
        self.classes = Default::default();
        self.place = Vec::new();
        self.levels = levels;
    }

    /// Changes one priority; the piece must be closed.
    pub(super) fn set_level(&mut self, piece: PieceIndex, priority: Priority) {
        debug_assert!(!self.is_open(piece));
        if priority == self.priority(piece) {
            return;
        }
        let pieces = self.pieces as usize;
        let levels = self.levels.get_or_insert_with(|| vec![Priority::Normal; pieces].into());
        levels.get_mut(piece.0 as usize).into_iter().for_each(|level| *level = priority);
    }

    /// Gives back what only a download needs. No piece may be open.
    pub(super) fn rest(&mut self) {
        if self.open_count() == 0 {
            self.place = Vec::new();
            self.classes = Default::default();
        }
    }

    fn class(&self, piece: PieceIndex) -> usize {
        match self.priority(piece) {
            Priority::Skip | Priority::Low => 0,
            Priority::Normal => 1,
            Priority::High => 2,
        }
    }

    /// Lets `piece` be started.
    pub(super) fn open(&mut self, piece: PieceIndex) {
        if piece.0 >= self.pieces || self.is_open(piece) {
            return;
        }
        if self.place.is_empty() {
            self.place = vec![NOWHERE; self.pieces as usize];
        }
        let class = self.class(piece);
        self.classes[class].open(piece, self.pieces);
        self.enter(piece);
    }

    /// Lets `piece` not be started any more.
    pub(super) fn close(&mut self, piece: PieceIndex) {
        if self.is_open(piece) {
            let class = self.class(piece);
            self.classes[class].open.remove(piece);
            self.leave(piece);
        }
    }

    /// One peer more has `piece`.
    pub(super) fn gained(&mut self, piece: PieceIndex) {
        if self.availability.is_empty() {
            self.availability = vec![0; self.pieces as usize];
        }
        self.change(piece, |n| n.saturating_add(1));
    }

    /// One peer less has `piece`.
    pub(super) fn lost(&mut self, piece: PieceIndex) {
        self.change(piece, |n| n.saturating_sub(1));
    }

    fn change(&mut self, piece: PieceIndex, to: impl Fn(u32) -> u32) {
        let Some(&old) = self.availability.get(piece.0 as usize) else { return };
        let listed = self.is_open(piece);
        if listed {
            self.leave(piece);
        }
        self.availability[piece.0 as usize] = to(old);
        if listed {
            self.enter(piece);
        }
    }

    /// Puts a piece at a random place of its bucket.
    fn enter(&mut self, piece: PieceIndex) {
        let level = self.availability(piece) as usize;
        let class = self.class(piece);
        let buckets = &mut self.classes[class].buckets;
        if buckets.len() <= level {
            buckets.resize_with(level + 1, Vec::new);
        }
        let bucket = &mut buckets[level];
        bucket.push(piece.0);
        let (last, at) = (bucket.len() - 1, self.rng.index(bucket.len()));
        bucket.swap(last, at);
        self.place[bucket[last] as usize] = last as u32;
        self.place[piece.0 as usize] = at as u32;
    }

    fn leave(&mut self, piece: PieceIndex) {
        let at = self.place[piece.0 as usize] as usize;
        let (class, level) = (self.class(piece), self.availability(piece) as usize);
        let bucket = &mut self.classes[class].buckets[level];
        bucket.swap_remove(at);
        if let Some(&moved) = bucket.get(at) {
            self.place[moved as usize] = at as u32;
        }
        self.place[piece.0 as usize] = NOWHERE;
    }

    /// An open piece of `has`, of the highest priority, the rarest or nearly so; equal ones are chosen at random.
    pub(super) fn rarest(&mut self, has: &Bitfield) -> Option<PieceIndex> {
        (0..self.classes.len()).rev().find_map(|class| self.choose(class, has, false))
    }

    /// The same from the other end: what most peers have.
    pub(super) fn commonest(&mut self, has: &Bitfield) -> Option<PieceIndex> {
        (0..self.classes.len()).rev().find_map(|class| self.choose(class, has, true))
    }

    fn choose(&mut self, at: usize, has: &Bitfield, backwards: bool) -> Option<PieceIndex> {
        let class = &self.classes[at];
        let last = class.buckets.len().saturating_sub(1);
        let order = (0..class.buckets.len()).map(|i| if backwards { last - i } else { i });
        let mut walk = order.flat_map(|i| class.buckets[i].iter().rev()).take(WALK).zip(1..);
        let found = walk.find(|(p, _)| has.has(PieceIndex(**p))).map(|(p, steps)| (PieceIndex(*p), steps));
        let all_seen = class.open.count() as usize <= WALK;
        self.count(found.map_or(WALK, |(_, steps)| steps));
        match found {
            Some((piece, _)) => Some(piece),
            None if all_seen => None,
            None => self.sample(at, has, backwards),
        }
    }

    /// The open piece of `has` with the highest priority, and of these with the lowest index.
    pub(super) fn first(&mut self, has: &Bitfield) -> Option<PieceIndex> {
        (0..self.classes.len()).rev().find_map(|class| self.first_of(class, has))
    }

    fn first_of(&mut self, at: usize, has: &Bitfield) -> Option<PieceIndex> {
        let class = &mut self.classes[at];
        class.skip_closed();
        let found = common(&class.open, has, class.first, SCAN).next();
        let more = words(&class.open) > class.first + SCAN;
        self.count(SCAN);
        found.or_else(|| if more { self.sample(at, has, false) } else { None })
    }

    /// The best of some open pieces of `has`, from where the last scan ended.
    fn sample(&mut self, at: usize, has: &Bitfield, backwards: bool) -> Option<PieceIndex> {
        let class = &mut self.classes[at];
        let all = words(&class.open);
        let from = if all <= SCAN { self.rng.index(all) } else { class.cursor % all };
        class.cursor = from + SCAN;
        let ahead = common(&class.open, has, from, SCAN);
        let around = common(&class.open, has, 0, (from + SCAN).saturating_sub(all).min(from));
        let few: Vec<_> = ahead.chain(around).take(SAMPLE).collect();
        self.count(SCAN + few.len());
        let rank = |p: &PieceIndex| if backwards { !self.availability(*p) } else { self.availability(*p) };
        few.into_iter().min_by_key(rank)
    }

    #[cfg_attr(not(test), expect(clippy::unused_self, reason = "it counts in tests"))]
    fn count(&self, _steps: usize) {
        #[cfg(test)]
        self.steps.set(self.steps.get() + _steps as u64);
    }
}

impl Class {
    fn open(&mut self, piece: PieceIndex, pieces: u32) {
        if self.open.is_empty() {
            self.open = Bitfield::new(pieces);
        }
        self.open.insert(piece);
        self.first = self.first.min(piece.0 as usize / 64);
    }

    /// Moves on to the first word with an open piece: each step is paid for by the pieces that were closed there.
    fn skip_closed(&mut self) {
        let is_closed = |at: usize| self.open.as_bytes()[at * 8..].iter().take(8).all(|byte| *byte == 0);
        while self.first < words(&self.open) && is_closed(self.first) {
            self.first += 1;
        }
    }
}

/// Words of 64 pieces.
fn words(set: &Bitfield) -> usize {
    set.as_bytes().len().div_ceil(8)
}

/// Pieces in both sets, in order, among `count` words from the `from`-th on.
fn common<'a>(
    a: &'a Bitfield,
    b: &'a Bitfield,
    from: usize,
    count: usize,
) -> impl Iterator<Item = PieceIndex> + 'a {
    let words = move |set: &'a Bitfield| {
        set.as_bytes().get(from * 8..).unwrap_or(&[]).chunks(8).take(count).map(word)
    };
    words(a).zip(words(b)).enumerate().filter(|(_, (a, b))| a & b != 0).flat_map(move |(i, (a, b))| {
        let base = (from + i) as u32 * 64;
        (0..64).filter(move |bit| (a & b) << bit >> 63 == 1).map(move |bit| PieceIndex(base + bit))
    })
}

fn word(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    u64::from_be_bytes(word)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn set(len: u32, pieces: impl IntoIterator<Item = u32>) -> Bitfield {
        let mut set = Bitfield::new(len);
        for piece in pieces {
            set.insert(PieceIndex(piece));
        }
        set
    }

    #[derive(Clone, Debug)]
    enum Op {
        Open(u32),
        Close(u32),
        Gained(u32),
        Lost(u32),
        Level(u32, Priority),
    }

    fn level() -> impl Strategy<Value = Priority> {
        prop::sample::select(vec![Priority::Low, Priority::Normal, Priority::High])
    }

    fn op(pieces: u32) -> impl Strategy<Value = Op> {
        let p = 0..pieces + 2;
        prop_oneof![
            p.clone().prop_map(Op::Open),
            p.clone().prop_map(Op::Close),
            p.clone().prop_map(Op::Gained),
            p.clone().prop_map(Op::Lost),
            (p, level()).prop_map(|(p, level)| Op::Level(p, level)),
        ]
    }

    proptest! {
        #[test]
        fn the_most_wanted_and_of_these_the_rarest(
            pieces in 1u32..150,
            ops in prop::collection::vec(op(150), 0..300),
            has in prop::collection::btree_set(0u32..150, 0..150),
        ) {
            let mut rarity = Rarity::new(pieces, None, 1);
            let mut model = vec![(0u32, false, Priority::Normal); pieces as usize];
            for op in ops {
                let (Op::Open(p) | Op::Close(p) | Op::Gained(p) | Op::Lost(p) | Op::Level(p, _)) = op;
                let piece = PieceIndex(p);
                match op {
                    Op::Open(_) => rarity.open(piece),
                    Op::Close(_) => rarity.close(piece),
                    Op::Gained(_) => rarity.gained(piece),
                    Op::Lost(_) => rarity.lost(piece),
                    Op::Level(_, level) => {
                        rarity.close(piece);
                        rarity.set_level(piece, level);
                    }
                }
                let Some((n, open, level)) = model.get_mut(p as usize) else { continue };
                match op {
                    Op::Open(_) => *open = true,
                    Op::Close(_) => *open = false,
                    Op::Gained(_) => *n += 1,
                    Op::Lost(_) => *n = n.saturating_sub(1),
                    Op::Level(_, to) => (*open, *level) = (false, to),
                }
            }
            let has = set(pieces, has);
            let candidates = || (0..pieces).filter(|&p| model[p as usize].1 && has.has(PieceIndex(p)));
            let rank = |p: u32| (std::cmp::Reverse(model[p as usize].2), model[p as usize].0);
            let rarest = rarity.rarest(&has);
            prop_assert_eq!(rarest.map(|p| rank(p.0)), candidates().map(rank).min());
            prop_assert!(rarest.is_none_or(|p| has.has(p) && rarity.is_open(p)));
            let back = |p: u32| (rank(p).0, std::cmp::Reverse(rank(p).1));
            prop_assert_eq!(rarity.commonest(&has).map(|p| back(p.0)), candidates().map(back).min());
            let first = candidates().min_by_key(|&p| (rank(p).0, p));
            prop_assert_eq!(rarity.first(&has), first.map(PieceIndex));
            prop_assert_eq!(rarity.open_count() as usize, model.iter().filter(|m| m.1).count());
            let highest = model.iter().filter(|m| m.1).map(|m| m.2).max();
            prop_assert_eq!(rarity.highest_open(), highest);
        }
    }

    #[test]
    fn equal_pieces_come_in_random_order() {
        let order = |seed| {
            let mut rarity = Rarity::new(64, None, seed);
            (0..64).for_each(|p| rarity.open(PieceIndex(p)));
            let all = Bitfield::full(64);
            std::iter::from_fn(|| {
                let piece = rarity.rarest(&all)?;
                rarity.close(piece);
                Some(piece.0)
            })
            .collect::<Vec<_>>()
        };
        assert_eq!(order(1), order(1));
        assert_ne!(order(1), order(2));
        assert_ne!(order(1), (0..64).collect::<Vec<_>>());
    }

    #[test]
    fn a_peer_that_has_only_common_pieces_still_gets_one() {
        let pieces = 100_000;
        let mut rarity = Rarity::new(pieces, None, 1);
        (0..pieces).for_each(|p| rarity.open(PieceIndex(p)));
        for p in [3, 70_000, 99_999] {
            rarity.gained(PieceIndex(p));
            let has = set(pieces, [p]);
            assert_eq!(rarity.rarest(&has), Some(PieceIndex(p)));
        }
        assert_eq!(rarity.rarest(&set(pieces, [])), None);
    }

    #[test]
    fn no_choice_costs_more_the_more_pieces_there_are() {
        let dearest = |pieces: u32| {
            let mut rarity = Rarity::new(pieces, None, 1);
            (0..pieces).for_each(|p| rarity.open(PieceIndex(p)));
            // The worst there is: all the rare ones are elsewhere, and what it has is as common as can be.
            let lone = pieces - 7;
            (0..9).for_each(|_| rarity.gained(PieceIndex(lone)));
            let has = set(pieces, [lone]);
            let mut dearest = 0;
            let mut found = None;
            for _ in 0..2 + pieces / 131_072 {
                let before = rarity.steps.get();
                found = rarity.rarest(&has).or(found);
                dearest = dearest.max(rarity.steps.get() - before);
                let before = rarity.steps.get();
                found = rarity.first(&has).or(rarity.commonest(&has)).or(found);
                dearest = dearest.max((rarity.steps.get() - before) / 2);
            }
            assert_eq!(found, Some(PieceIndex(lone)), "{pieces}");
            dearest
        };
        let bound = (WALK + SCAN + SAMPLE) as u64 + SCAN as u64;
        assert!(dearest(1 << 10) <= bound);
        assert!(dearest(1 << 16) <= bound);
        assert!(dearest(1 << 20) <= bound, "{}", dearest(1 << 20));
    }

    #[test]
    fn what_nothing_is_fetched_of_takes_no_memory() {
        let mut rarity = Rarity::new(1 << 20, None, 1);
        assert_eq!(rarity.place.capacity() + rarity.availability.capacity(), 0);
        rarity.open(PieceIndex(5));
        rarity.close(PieceIndex(5));
        rarity.rest();
        assert_eq!(rarity.place.capacity() + rarity.classes[1].open.as_bytes().len(), 0);
    }
}
