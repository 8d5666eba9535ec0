//! Memory for peers: blocks of some size classes, cut from pages of 512 peers that go back when they are empty.
//!
//! Swarms grow and shrink all the time. A page holds blocks of one class only, so a block is found and freed in constant
//! time; a page whose last block is freed serves any class again, so what grew from one peer to ten leaves nothing
//! behind. Above 256 peers nothing divides a page well, and few bags are so large. Pages come in chunks from the
//! allocator and stay: the cap on memory counts chunks.

use super::peer::Packed;

/// Peers of a page, and the most that one block holds.
pub(super) const PAGE: usize = 512;

/// Pages of a chunk: 128 KiB for IPv4.
const CHUNK_PAGES: usize = 32;

const PAGE_BITS: u32 = PAGE.trailing_zeros();
const CHUNK_BITS: u32 = (PAGE * CHUNK_PAGES).trailing_zeros();

/// Block sizes, in peers: four steps for each doubling, so that on average a tenth of a block is empty.
const CLASSES: [u16; 30] = [
    0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 112, 128, 168, 204,
    256, 340, 512,
];

/// No page, no block.
const NONE: u32 = u32::MAX;
const NO_BLOCK: u16 = u16::MAX;

/// A place for up to [`Class::room`] peers.
pub(super) type Block = u32;

/// The size of a block; the smallest holds none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Class(u8);

impl Class {
    /// The largest.
    pub(super) const MAX: Self = Self(CLASSES.len() as u8 - 1);

    /// The smallest that holds `len` peers; the largest if none does.
    pub(super) fn of(len: usize) -> Self {
        let fits = CLASSES.partition_point(|room| usize::from(*room) < len);
        Self(fits as u8).min(Self::MAX)
    }

    /// How many peers fit.
    pub(super) const fn room(self) -> usize {
        CLASSES[self.0 as usize] as usize
    }
}

#[derive(Clone, Copy, Debug)]
struct Page {
    /// Neighbours in the list of its class's pages that have room, or in the list of empty pages.
    next: u32,
    prev: u32,
    /// The first free block, counted in peers from the page's start.
    free: u16,
    /// From here on nothing was ever handed out.
    fresh: u16,
    /// Blocks in use.
    used: u16,
    class: Class,
}

/// Blocks of peers.
#[derive(Debug)]
pub(super) struct Pool<P> {
    chunks: Vec<Box<[P]>>,
    pages: Vec<Page>,
    /// For each class the first page that has room.
    roomy: [u32; CLASSES.len()],
    /// The first page that is empty.
    empty: u32,
    /// How many pages are empty.
    idle: usize,
}

impl<P: Packed> Pool<P> {
    pub(super) const fn new() -> Self {
        Self { chunks: Vec::new(), pages: Vec::new(), roomy: [NONE; CLASSES.len()], empty: NONE, idle: 0 }
    }

    /// Bytes taken from the allocator.
    pub(super) fn bytes(&self) -> usize {
        self.chunks.len() * Self::chunk_bytes() + self.pages.len() * size_of::<Page>()
    }

    /// Bytes of the pages that are empty.
    pub(super) const fn idle_bytes(&self) -> usize {
        self.idle * PAGE * size_of::<P>()
    }

    /// By how much the pool grows at once.
    pub(super) const fn chunk_bytes() -> usize {
        PAGE * CHUNK_PAGES * size_of::<P>()
    }

    /// The peers of a block; `len` is at most the block's room.
    pub(super) fn peers(&self, block: Block, len: usize) -> &[P] {
        let at = offset(block);
        self.chunks.get(chunk(block)).and_then(|chunk| chunk.get(at..at + len)).unwrap_or_default()
    }

    /// As [`Pool::peers`], to change them.
    pub(super) fn peers_mut(&mut self, block: Block, len: usize) -> &mut [P] {
        let at = offset(block);
        self.chunks.get_mut(chunk(block)).and_then(|chunk| chunk.get_mut(at..at + len)).unwrap_or_default()
    }

    /// Copies the first `len` peers of one block to another.
    pub(super) fn copy(&mut self, from: Block, to: Block, len: usize) {
        let (source, target) = (offset(from)..offset(from) + len, offset(to)..offset(to) + len);
        if chunk(from) == chunk(to) {
            self.chunks[chunk(to)].copy_within(source, target.start);
        } else if let Ok([a, b]) = self.chunks.get_disjoint_mut([chunk(from), chunk(to)]) {
            b[target].copy_from_slice(&a[source]);
        }
    }

    /// A block of `class`, which is not the smallest. `None` if that takes a new chunk and `may_grow` says no.
    pub(super) fn alloc(&mut self, class: Class, may_grow: bool) -> Option<Block> {
        let mut page = self.roomy[usize::from(class.0)];
        if page == NONE {
            page = self.fresh_page(class, may_grow)?;
        }
        let start = page << PAGE_BITS;
        let free = self.pages[page as usize].free;
        let after = (free != NO_BLOCK).then(|| self.peers(start + u32::from(free), 1)[0].next());
        let entry = &mut self.pages[page as usize];
        let at = if let Some(after) = after {
            entry.free = after;
            free
        } else {
            entry.fresh += class.room() as u16;
            entry.fresh - class.room() as u16
        };
        entry.used += 1;
        if entry.is_full() {
            self.unlink(page);
        }
        Some(start + u32::from(at))
    }

    /// Takes a block of `class` back.
    pub(super) fn free(&mut self, block: Block, class: Class) {
        let page = block >> PAGE_BITS;
        let entry = &mut self.pages[page as usize];
        let was_full = entry.is_full();
        let next = std::mem::replace(&mut entry.free, (block & (PAGE as u32 - 1)) as u16);
        entry.used -= 1;
        let is_empty = entry.used == 0;
        if is_empty && !was_full {
            self.unlink(page);
        }
        if is_empty {
            self.pages[page as usize].next = self.empty;
            self.empty = page;
            self.idle += 1;
            return;
        }
        if let Some(first) = self.peers_mut(block, 1).first_mut() {
            *first = P::link(next);
        }
        if was_full {
            self.link(page, class);
        }
    }

    /// An empty page, made ready for blocks of `class`.
    fn fresh_page(&mut self, class: Class, may_grow: bool) -> Option<u32> {
        if self.empty == NONE {
            if !may_grow {
                return None;
            }
            self.grow()?;
        }
        let page = self.empty;
        self.empty = self.pages[page as usize].next;
        self.idle -= 1;
        self.pages[page as usize] = Page { next: NONE, prev: NONE, free: NO_BLOCK, fresh: 0, used: 0, class };
        self.link(page, class);
        Some(page)
    }

    fn grow(&mut self) -> Option<()> {
        let first = self.pages.len();
        let end = u32::try_from(first + CHUNK_PAGES).ok().filter(|end| *end <= NONE >> PAGE_BITS)?;
        self.chunks.push(vec![P::ZERO; PAGE * CHUNK_PAGES].into_boxed_slice());
        for page in first as u32..end {
            let next = if page + 1 < end { page + 1 } else { self.empty };
            self.pages.push(Page { next, prev: NONE, free: NO_BLOCK, fresh: 0, used: 0, class: Class(0) });
        }
        self.empty = first as u32;
        self.idle += CHUNK_PAGES;
        Some(())
    }

    fn link(&mut self, page: u32, class: Class) {
        let head = std::mem::replace(&mut self.roomy[usize::from(class.0)], page);
        self.pages[page as usize].next = head;
        self.pages[page as usize].prev = NONE;
        if let Some(second) = self.pages.get_mut(head as usize) {
            second.prev = page;
        }
    }

    fn unlink(&mut self, page: u32) {
        let Page { next, prev, class, .. } = self.pages[page as usize];
        if let Some(after) = self.pages.get_mut(next as usize) {
            after.prev = prev;
        }
        match self.pages.get_mut(prev as usize) {
            Some(before) => before.next = next,
            None => self.roomy[usize::from(class.0)] = next,
        }
    }
}

impl Page {
    const fn is_full(&self) -> bool {
        self.free == NO_BLOCK && self.fresh as usize + self.class.room() > PAGE
    }
}

const fn chunk(block: Block) -> usize {
    (block >> CHUNK_BITS) as usize
}

const fn offset(block: Block) -> usize {
    (block & ((1 << CHUNK_BITS) - 1)) as usize
}

#[cfg(test)]
mod tests {
    use super::super::peer::V4;
    use super::*;
    use crate::rng::Rng;

    fn peer(n: u32) -> V4 {
        V4::new((std::net::Ipv4Addr::from_bits(n), 1).into(), 0).unwrap()
    }

    #[test]
    fn classes_hold_what_they_are_asked_for() {
        for len in 0..=PAGE {
            assert!(Class::of(len).room() >= len);
            let waste = Class::of(len).room() - len;
            assert!(!(9..=256).contains(&len) || waste * 3 <= len, "a quarter of {len} is lost");
        }
        assert_eq!(Class::of(PAGE + 1), Class::MAX);
        assert!(CLASSES.is_sorted() && Class::MAX.room() == PAGE);
    }

    #[test]
    fn blocks_never_overlap_and_pages_serve_again() {
        let mut pool: Pool<V4> = Pool::new();
        let mut rng = Rng::new(1);
        let mut held: Vec<(Block, Class, u32)> = Vec::new();
        for round in 0..20_000u32 {
            // Waves, so that pages fill and empty again.
            let grow = (round / 2000).is_multiple_of(2);
            if held.is_empty() || rng.below(10) < if grow { 8 } else { 2 } {
                let class = Class::of(1 + rng.index(if round % 7 == 0 { PAGE } else { 12 }));
                let block = pool.alloc(class, true).unwrap();
                pool.peers_mut(block, class.room()).fill(peer(round));
                held.push((block, class, round));
            } else {
                let (block, class, mark) = held.swap_remove(rng.index(held.len()));
                assert!(pool.peers(block, class.room()).iter().all(|p| *p == peer(mark)));
                pool.free(block, class);
            }
        }
        held.drain(..).for_each(|(block, class, _)| pool.free(block, class));
        let before = pool.bytes();
        let pages = pool.pages.len();
        assert_eq!(pool.idle, pages);
        let all: Vec<_> = (0..pages).map(|_| pool.alloc(Class::MAX, false)).collect();
        assert!(all.iter().all(Option::is_some), "an empty page is not handed out");
        assert!(pool.alloc(Class::of(1), false).is_none());
        assert_eq!((pool.bytes(), pool.idle), (before, 0));
    }
}
