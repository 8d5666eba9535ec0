//! Which piece is the rarest: availability of every piece, and the pieces that may be started, sorted by it.
//!
//! One bucket per availability holds its pieces in random order, and every piece knows its place, so that a `have`
//! message costs O(1) and not O(pieces). Peers that have everything are not counted here: they change no order.
//!
//! Choosing for a peer walks the buckets, rarest first. A peer that has few of the rare ones would make that walk
//! long, so after [`WALK`] steps a sample of what it does have decides. Tested against a naive model.

use crate::bitfield::Bitfield;
use crate::ids::PieceIndex;
use crate::rng::Rng;

/// Steps of the walk from the rarest piece up.
const WALK: usize = 256;
/// Pieces among which the rarest is taken when the walk found none.
const SAMPLE: usize = 64;
/// Place of a piece that may not be started.
const NOWHERE: u32 = u32::MAX;

/// Availability of every piece, and order among those that may be started ("open").
#[derive(Debug)]
pub(super) struct Rarity {
    availability: Vec<u32>,
    place: Vec<u32>,
    buckets: Vec<Vec<u32>>,
    open: Bitfield,
    rng: Rng,
}

impl Rarity {
    /// Over `pieces` pieces, none of them open.
    pub(super) fn new(pieces: u32, seed: u64) -> Self {
        let n = pieces as usize;
        Self {
            availability: vec![0; n],
            place: vec![NOWHERE; n],
            buckets: vec![Vec::new()],
            open: Bitfield::new(pieces),
            rng: Rng::new(seed),
        }
    }

    /// Number of pieces that may be started.
    pub(super) const fn open_count(&self) -> u32 {
        self.open.count()
    }

    /// Whether `piece` may be started.
    pub(super) fn is_open(&self, piece: PieceIndex) -> bool {
        self.open.has(piece)
    }

    /// Peers known to have `piece`, those that have everything not counted; 0 beyond the end.
    pub(super) fn availability(&self, piece: PieceIndex) -> u32 {
        self.availability.get(piece.0 as usize).copied().unwrap_or(0)
    }

    /// Lets `piece` be started.
    pub(super) fn open(&mut self, piece: PieceIndex) {
        if self.open.insert(piece) {
            self.enter(piece);
        }
    }

    /// Lets `piece` not be started any more.
    pub(super) fn close(&mut self, piece: PieceIndex) {
        if self.open.remove(piece) {
            self.leave(piece);
        }
    }

    /// One peer more has `piece`.
    pub(super) fn gained(&mut self, piece: PieceIndex) {
        self.change(piece, |n| n.saturating_add(1));
    }

    /// One peer less has `piece`.
    pub(super) fn lost(&mut self, piece: PieceIndex) {
        self.change(piece, |n| n.saturating_sub(1));
    }

    fn change(&mut self, piece: PieceIndex, to: impl Fn(u32) -> u32) {
        let Some(&old) = self.availability.get(piece.0 as usize) else { return };
        let listed = self.open.has(piece);
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
        if self.buckets.len() <= level {
            self.buckets.resize_with(level + 1, Vec::new);
        }
        let bucket = &mut self.buckets[level];
        bucket.push(piece.0);
        let (last, at) = (bucket.len() - 1, self.rng.index(bucket.len()));
        bucket.swap(last, at);
        self.place[bucket[last] as usize] = last as u32;
        self.place[piece.0 as usize] = at as u32;
    }

    fn leave(&mut self, piece: PieceIndex) {
        let at = self.place[piece.0 as usize] as usize;
        let bucket = &mut self.buckets[self.availability[piece.0 as usize] as usize];
        bucket.swap_remove(at);
        if let Some(&moved) = bucket.get(at) {
            self.place[moved as usize] = at as u32;
        }
        self.place[piece.0 as usize] = NOWHERE;
    }

    /// An open piece of `has`, the rarest or nearly so; equal ones are chosen at random.
    pub(super) fn rarest(&mut self, has: &Bitfield) -> Option<PieceIndex> {
        let mut walk = self.buckets.iter().flat_map(|bucket| bucket.iter().rev()).take(WALK);
        let found = walk.find(|&&p| has.has(PieceIndex(p))).map(|&p| PieceIndex(p));
        found.or_else(|| (self.open.count() as usize > WALK).then(|| self.sample(has)).flatten())
    }

    /// The open piece of `has` with the lowest index.
    pub(super) fn first(&self, has: &Bitfield) -> Option<PieceIndex> {
        common(&self.open, has, 0).next()
    }

    fn sample(&mut self, has: &Bitfield) -> Option<PieceIndex> {
        let from = self.rng.index(self.open.as_bytes().len());
        let ahead = common(&self.open, has, from).take(SAMPLE);
        let best = ahead.min_by_key(|p| self.availability(*p));
        best.or_else(|| common(&self.open, has, 0).take(SAMPLE).min_by_key(|p| self.availability(*p)))
    }
}

/// Pieces in both sets, in order, from byte `from` of the sets on. Eight bytes a step.
fn common<'a>(a: &'a Bitfield, b: &'a Bitfield, from: usize) -> impl Iterator<Item = PieceIndex> + 'a {
    let words = |set: &'a Bitfield| set.as_bytes().get(from..).unwrap_or(&[]).chunks(8).map(word);
    words(a).zip(words(b)).enumerate().filter(|(_, (a, b))| a & b != 0).flat_map(move |(i, (a, b))| {
        let base = (from + i * 8) as u32 * 8;
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
    }

    fn op(pieces: u32) -> impl Strategy<Value = Op> {
        let p = 0..pieces + 2;
        prop_oneof![
            p.clone().prop_map(Op::Open),
            p.clone().prop_map(Op::Close),
            p.clone().prop_map(Op::Gained),
            p.prop_map(Op::Lost),
        ]
    }

    proptest! {
        #[test]
        fn the_rarest_is_the_rarest(
            pieces in 1u32..150,
            ops in prop::collection::vec(op(150), 0..300),
            has in prop::collection::btree_set(0u32..150, 0..150),
        ) {
            let mut rarity = Rarity::new(pieces, 1);
            let mut model = vec![(0u32, false); pieces as usize];
            for op in ops {
                let index = match op { Op::Open(p) | Op::Close(p) | Op::Gained(p) | Op::Lost(p) => p };
                match op {
                    Op::Open(p) => rarity.open(PieceIndex(p)),
                    Op::Close(p) => rarity.close(PieceIndex(p)),
                    Op::Gained(p) => rarity.gained(PieceIndex(p)),
                    Op::Lost(p) => rarity.lost(PieceIndex(p)),
                }
                let Some((n, open)) = model.get_mut(index as usize) else { continue };
                match op {
                    Op::Open(_) => *open = true,
                    Op::Close(_) => *open = false,
                    Op::Gained(_) => *n += 1,
                    Op::Lost(_) => *n = n.saturating_sub(1),
                }
            }
            let has = set(pieces, has);
            let candidates = || (0..pieces).filter(|&p| model[p as usize].1 && has.has(PieceIndex(p)));
            let least = candidates().map(|p| model[p as usize].0).min();
            let rarest = rarity.rarest(&has);
            prop_assert_eq!(rarest.map(|p| model[p.0 as usize].0), least);
            prop_assert!(rarest.is_none_or(|p| has.has(p) && rarity.is_open(p)));
            prop_assert_eq!(rarity.first(&has), candidates().next().map(PieceIndex));
            prop_assert_eq!(rarity.open_count() as usize, model.iter().filter(|m| m.1).count());
        }
    }

    #[test]
    fn equal_pieces_come_in_random_order() {
        let order = |seed| {
            let mut rarity = Rarity::new(64, seed);
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
        let mut rarity = Rarity::new(pieces, 1);
        (0..pieces).for_each(|p| rarity.open(PieceIndex(p)));
        for p in [3, 70_000, 99_999] {
            rarity.gained(PieceIndex(p));
            let has = set(pieces, [p]);
            assert_eq!(rarity.rarest(&has), Some(PieceIndex(p)));
        }
        assert_eq!(rarity.rarest(&set(pieces, [])), None);
    }
}
