//! One piece on its way: which blocks came, how far they are hashed, which are still in memory.
//!
//! SHA-1 (v1, BEP 3) needs blocks in order: a cursor advances over what is there as it arrives, while it is hot in the
//! cache. SHA-256 leaves (v2, BEP 52) can be hashed in any order, and sixteen side by side in the time of a few: they wait
//! until the piece is whole, or until memory is short, since what is hashed need not be read back. A hybrid's piece
//! does both. Pad files count as zeros and are there from the start; in the v2 tree they do not appear at all.
//!
//! This is state only: it reads no file itself. Blocks that were written before SHA-1 got to them are asked back from
//! the caller. Tested through the disk's model test, and below for the order of blocks.

use samara_proto::ids::{BLOCK_LEN, Block, PieceIndex, Sha1Hash, Sha256Hash};
use samara_proto::layout::Layout;
use samara_proto::merkle;
use samara_proto::torrent::Expected;
use sha1::{Digest, Sha1};

use super::Buf;
use super::event::Digests;
use crate::hash;

/// What blocks in pad files hold.
static ZEROS: [u8; BLOCK_LEN as usize] = [0; BLOCK_LEN as usize];

/// Where a block's bytes are.
#[derive(Debug)]
enum Slot {
    /// With a peer.
    Missing,
    /// In memory.
    Held(Buf),
    /// In its file.
    Written,
    /// Nowhere: it lies in pad files.
    Pad,
}

impl Slot {
    /// What is in memory.
    fn bytes(&self) -> Option<&[u8]> {
        if let Self::Held(data) = self { Some(data) } else { None }
    }
}

/// The v2 half of a piece.
#[derive(Debug)]
struct Leaves {
    /// Per block of the file; what is past the file's end has no leaf.
    hashes: Vec<Option<Sha256Hash>>,
    /// Bytes of the piece that belong to the file.
    file_part: u32,
    /// Bytes of the whole file.
    file_len: u64,
}

impl Leaves {
    /// Of a piece that starts at the start of a file or of a later piece of it; else `None`, and it is never good.
    fn new(layout: &Layout, piece: PieceIndex) -> Option<Self> {
        let part = layout.file_piece(piece)?;
        let hashes = vec![None; part.len.div_ceil(BLOCK_LEN) as usize];
        Some(Self { hashes, file_part: part.len, file_len: layout.file_len(part.file) })
    }

    /// What of a block's bytes its leaf is hashed over.
    fn part<'a>(&self, block: u32, data: &'a [u8]) -> &'a [u8] {
        let left = self.file_part.saturating_sub(block * BLOCK_LEN) as usize;
        &data[..data.len().min(left)]
    }

    fn hash(&mut self, block: u32, data: &[u8]) {
        let leaf = merkle::leaf(self.part(block, data));
        if let Some(slot) = self.hashes.get_mut(block as usize) {
            *slot = Some(leaf);
        }
    }

    /// The leaves that are missing and whose blocks are in memory.
    fn hash_held(&mut self, slots: &[Slot]) {
        let missing = (0..).zip(slots).zip(&self.hashes).filter(|(_, hash)| hash.is_none());
        let held = missing.filter_map(|((n, slot), _)| Some((n, self.part(n, slot.bytes()?))));
        let (numbers, parts): (Vec<u32>, Vec<&[u8]>) = held.unzip();
        for (n, leaf) in numbers.into_iter().zip(hash::leaves(&parts)) {
            self.hashes[n as usize] = Some(leaf);
        }
    }

    fn root(&self, piece_length: u32) -> Option<Sha256Hash> {
        let leaves: Option<Vec<_>> = self.hashes.iter().copied().collect();
        Some(merkle::piece_root(&leaves?, piece_length, self.file_len))
    }
}

/// One piece on its way.
pub(super) struct Piece {
    index: PieceIndex,
    len: u32,
    /// Bytes before the pad file that ends the piece. What follows is zeros, which come from nobody.
    content: u32,
    piece_length: u32,
    expected: Expected,
    slots: Vec<Slot>,
    missing: u32,
    /// Blocks in memory.
    held: u32,
    /// Those among them that SHA-1 has passed.
    passed: u32,
    sha1: Option<Sha1>,
    /// The next block for SHA-1; the number of blocks if there is no v1 half.
    cursor: u32,
    leaves: Option<Leaves>,
}

/// Reads one block back from its file, into a slice of its length.
pub(super) type ReadBack<'a, E> = &'a mut dyn FnMut(u32, &mut [u8]) -> Result<(), E>;

impl Piece {
    /// A piece of which nothing is there but what lies in pad files.
    pub(super) fn new(layout: &Layout, index: PieceIndex, expected: Expected) -> Self {
        let slot = |block| if layout.is_pad(&block) { Slot::Pad } else { Slot::Missing };
        Self::with_slots(layout, index, expected, layout.blocks(index).map(slot).collect())
    }

    /// A piece that is said to be in its files already.
    pub(super) fn on_disk(layout: &Layout, index: PieceIndex, expected: Expected) -> Self {
        Self::with_slots(layout, index, expected, layout.blocks(index).map(|_| Slot::Written).collect())
    }

    fn with_slots(layout: &Layout, index: PieceIndex, expected: Expected, slots: Vec<Slot>) -> Self {
        let missing = slots.iter().filter(|s| matches!(s, Slot::Missing)).count() as u32;
        let sha1 = expected.v1.map(|_| Sha1::new());
        let mut piece = Self {
            index,
            len: layout.piece_len(index),
            content: layout.content_len(index),
            piece_length: layout.piece_length(),
            expected,
            cursor: if sha1.is_some() { 0 } else { slots.len() as u32 },
            missing,
            held: 0,
            passed: 0,
            sha1,
            leaves: expected.v2.and_then(|_| Leaves::new(layout, index)),
            slots,
        };
        piece.advance();
        piece
    }

    pub(super) const fn index(&self) -> PieceIndex {
        self.index
    }

    /// Whether no block is with a peer any more.
    pub(super) const fn is_whole(&self) -> bool {
        self.missing == 0
    }

    /// Bytes of a block, zeros at its end counted.
    fn block_len(&self, block: u32) -> u32 {
        BLOCK_LEN.min(self.len - block * BLOCK_LEN)
    }

    /// Bytes of a block that come from a peer.
    fn sent_len(&self, block: u32) -> u32 {
        let (start, whole) = (block * BLOCK_LEN, self.block_len(block));
        if start < self.content { whole.min(self.content - start) } else { whole }
    }

    /// Takes a block and advances SHA-1. A block that is there already, or is none of this piece's, is dropped.
    pub(super) fn insert(&mut self, block: Block, data: Buf) {
        let n = block.index();
        if !matches!(self.slots.get(n as usize), Some(Slot::Missing)) {
            return;
        }
        let whole = block.offset.is_multiple_of(BLOCK_LEN) && data.len() == block.len as usize;
        if !whole || block.len != self.sent_len(n) {
            return;
        }
        self.slots[n as usize] = Slot::Held(data);
        self.missing -= 1;
        self.held += 1;
        self.advance();
    }

    /// Hashes the leaves of what is in memory, so that it need not be read back once it is written.
    pub(super) fn hash_leaves(&mut self) {
        if let Some(leaves) = &mut self.leaves {
            leaves.hash_held(&self.slots);
        }
    }

    /// SHA-1 over the blocks that are in memory, from the cursor on.
    fn advance(&mut self) {
        let Some(sha1) = &mut self.sha1 else { return };
        while let Some(slot) = self.slots.get(self.cursor as usize) {
            let block_len = BLOCK_LEN.min(self.len - self.cursor * BLOCK_LEN) as usize;
            match slot {
                Slot::Held(data) => {
                    sha1.update(data);
                    sha1.update(&ZEROS[..block_len.saturating_sub(data.len())]);
                    self.passed += 1;
                }
                Slot::Pad => sha1.update(&ZEROS[..block_len]),
                Slot::Missing | Slot::Written => return,
            }
            self.cursor += 1;
        }
    }

    /// Hashes what was written before it could be hashed.
    fn catch_up<E>(&mut self, read: ReadBack<'_, E>) -> Result<(), E> {
        let mut scratch = Vec::new();
        for n in 0..self.slots.len() as u32 {
            let leafless = self.leaves.as_ref().is_some_and(|l| l.hashes.get(n as usize) == Some(&None));
            if !matches!(self.slots[n as usize], Slot::Written) || !(leafless || n >= self.cursor) {
                continue;
            }
            scratch.resize(BLOCK_LEN as usize, 0);
            let data = &mut scratch[..self.block_len(n) as usize];
            read(n, data)?;
            if let (Some(leaves), true) = (&mut self.leaves, leafless) {
                leaves.hash(n, data);
            }
            if let (Some(sha1), true) = (&mut self.sha1, n == self.cursor) {
                sha1.update(&*data);
                self.cursor += 1;
                self.advance();
            }
        }
        Ok(())
    }

    /// Whether the hashes agree; for a whole piece.
    ///
    /// # Errors
    /// What `read` returns.
    pub(super) fn verify<E>(&mut self, read: ReadBack<'_, E>) -> Result<bool, E> {
        self.hash_leaves();
        self.catch_up(read)?;
        let v1 = self.sha1.take().map(|sha1| Sha1Hash(sha1.finalize().into()));
        let v2 = self.leaves.as_ref().and_then(|leaves| leaves.root(self.piece_length));
        let Expected { v1: want_v1, v2: want_v2 } = self.expected;
        Ok(v1 == want_v1 && v2 == want_v2 && (want_v1.is_some() || want_v2.is_some()))
    }

    /// The SHA-256 of each block that came from a peer, by its index, once the piece was verified: to find out who sent
    /// a wrong one. For v2 these are the leaves, which are known by then.
    ///
    /// # Errors
    /// What `read` returns.
    pub(super) fn digests<E>(&self, read: ReadBack<'_, E>) -> Result<Digests, E> {
        if let Some(leaves) = &self.leaves {
            let known = (0..).zip(&leaves.hashes).zip(&self.slots);
            let sent = known.filter(|(_, slot)| !matches!(slot, Slot::Pad));
            return Ok(sent.filter_map(|((n, hash), _)| Some((n, (*hash)?))).collect());
        }
        let held = (0..).zip(&self.slots).filter_map(|(n, slot)| Some((n, slot.bytes()?)));
        let (numbers, parts): (Vec<u32>, Vec<&[u8]>) = held.unzip();
        let mut digests: Digests = numbers.into_iter().zip(hash::leaves(&parts)).collect();
        let mut scratch = vec![0; BLOCK_LEN as usize];
        for (n, _) in (0..).zip(&self.slots).filter(|(_, slot)| matches!(slot, Slot::Written)) {
            read(n, &mut scratch[..self.block_len(n) as usize])?;
            digests.push((n, merkle::leaf(&scratch[..self.sent_len(n) as usize])));
        }
        digests.sort_unstable();
        Ok(digests)
    }

    /// Lets go of these blocks of a whole piece that was verified, as if they had not come. SHA-1 begins anew; the
    /// leaves of what stays are kept.
    pub(super) fn discard(&mut self, blocks: &[u32]) {
        for &n in blocks {
            let Some(slot @ (Slot::Held(_) | Slot::Written)) = self.slots.get_mut(n as usize) else {
                continue;
            };
            self.held -= u32::from(matches!(slot, Slot::Held(_)));
            *slot = Slot::Missing;
            self.missing += 1;
            if let Some(leaf) = self.leaves.as_mut().and_then(|leaves| leaves.hashes.get_mut(n as usize)) {
                *leaf = None;
            }
        }
        self.passed = 0;
        self.sha1 = self.expected.v1.map(|_| Sha1::new());
        self.cursor = if self.sha1.is_some() { 0 } else { self.slots.len() as u32 };
        self.advance();
    }

    /// Number of blocks in memory: all of them, or only those that will not have to be read back once they are
    /// written.
    pub(super) const fn held(&self, hashed_only: bool) -> u32 {
        if hashed_only && self.expected.v1.is_some() { self.passed } else { self.held }
    }

    fn flushable(&self, hashed_only: bool) -> usize {
        if hashed_only && self.expected.v1.is_some() { self.cursor as usize } else { self.slots.len() }
    }

    /// The next run of blocks in memory, from block `from` on, `hashed_only` as in [`Self::held`]: number of the first
    /// one, and their bytes.
    pub(super) fn next_run(&self, from: u32, hashed_only: bool) -> Option<(u32, Vec<&[u8]>)> {
        let slots = &self.slots[..self.flushable(hashed_only)];
        let start =
            from as usize + slots.get(from as usize..)?.iter().position(|s| matches!(s, Slot::Held(_)))?;
        Some((start as u32, slots[start..].iter().map_while(Slot::bytes).collect()))
    }

    /// Lets go of `count` blocks from `from` on, which were written.
    pub(super) fn written(&mut self, from: u32, count: u32) {
        for (n, slot) in (0..).zip(&mut self.slots).skip(from as usize).take(count as usize) {
            if matches!(std::mem::replace(slot, Slot::Written), Slot::Held(_)) {
                self.held -= 1;
                self.passed -= u32::from(n < self.cursor && self.expected.v1.is_some());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Pool;
    use super::*;

    const LEN: u32 = 5 * BLOCK_LEN + 100;

    /// A hybrid piece: a file, a small pad file behind it.
    fn layout() -> Layout {
        let pad = 8 * BLOCK_LEN - LEN;
        Layout::new(8 * BLOCK_LEN, [(LEN.into(), false), (pad.into(), true)], false).unwrap()
    }

    fn data() -> Vec<u8> {
        let mut data: Vec<u8> = (0..LEN).map(|n| (n / 7 % 251) as u8).collect();
        data.resize(8 * BLOCK_LEN as usize, 0);
        data
    }

    fn expected() -> Expected {
        let leaves: Vec<_> = data()[..LEN as usize].chunks(BLOCK_LEN as usize).map(merkle::leaf).collect();
        let v2 = merkle::piece_root(&leaves, 8 * BLOCK_LEN, LEN.into());
        Expected { v1: Some(Sha1Hash(Sha1::digest(data()).into())), v2: Some(v2) }
    }

    fn feed(order: &[u32], flush_after: usize) -> bool {
        let (layout, pool, data) = (layout(), Pool::new(1 << 20, 1), data());
        let mut piece = Piece::new(&layout, PieceIndex(0), expected());
        for (i, &n) in order.iter().enumerate() {
            let block = layout.block(PieceIndex(0), n);
            let mut buf = pool.try_take(block.len as usize).unwrap();
            buf.copy_from_slice(&data[block.offset as usize..][..block.len as usize]);
            piece.insert(block, buf);
            if i == flush_after {
                piece.written(n, 1);
            }
        }
        assert!(piece.is_whole());
        let mut read = |n: u32, out: &mut [u8]| {
            out.copy_from_slice(&data[(n * BLOCK_LEN) as usize..][..out.len()]);
            Ok::<_, ()>(())
        };
        piece.verify(&mut read).unwrap()
    }

    #[test]
    fn any_order_verifies_also_with_a_block_flushed_early() {
        for order in [[0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0], [2, 0, 5, 1, 4, 3]] {
            (0..=6).for_each(|flush| assert!(feed(&order, flush), "{order:?}, {flush}"));
        }
    }

    #[test]
    fn no_expectation_is_never_good() {
        let layout = layout();
        let mut piece = Piece::on_disk(&layout, PieceIndex(0), Expected::default());
        assert_eq!(piece.verify(&mut |_, _| Ok::<_, ()>(())), Ok(false));
        let v2_only = Expected { v1: None, ..expected() };
        let mut wrong = Piece::on_disk(&layout, PieceIndex(0), v2_only);
        assert_eq!(wrong.verify(&mut |_, _| Ok::<_, ()>(())), Ok(false));
    }
}
