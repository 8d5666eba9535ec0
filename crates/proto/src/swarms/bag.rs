//! A few peers in one block of the pool, in any order.

use super::peer::Packed;
use super::pool::{Block, Class, PAGE, Pool};

/// No memory may be taken for one more peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

/// Up to [`PAGE`] peers. Without a block while it is empty.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bag {
    block: Block,
    len: u16,
    class: Class,
}

impl Bag {
    pub(super) const fn len(self) -> usize {
        self.len as usize
    }

    pub(super) fn peers<P: Packed>(self, pool: &Pool<P>) -> &[P] {
        pool.peers(self.block, self.len())
    }

    pub(super) fn peers_mut<P: Packed>(self, pool: &mut Pool<P>) -> &mut [P] {
        pool.peers_mut(self.block, self.len())
    }

    /// Adds a peer at the end.
    pub(super) fn push<P: Packed>(
        &mut self,
        pool: &mut Pool<P>,
        peer: P,
        may_grow: bool,
    ) -> Result<(), Full> {
        self.reserve(pool, self.len() + 1, may_grow)?;
        self.len += 1;
        if let Some(last) = self.peers_mut(pool).last_mut() {
            *last = peer;
        }
        Ok(())
    }

    /// Makes room for `len` peers in all.
    pub(super) fn reserve<P: Packed>(
        &mut self,
        pool: &mut Pool<P>,
        len: usize,
        may_grow: bool,
    ) -> Result<(), Full> {
        match len {
            _ if len <= self.class.room() => Ok(()),
            _ if len <= PAGE => self.refit(pool, Class::of(len), may_grow),
            _ => Err(Full),
        }
    }

    /// Takes out the peer at `at`, whose place the last one takes.
    pub(super) fn swap_remove<P: Packed>(&mut self, pool: &mut Pool<P>, at: usize) {
        let peers = self.peers_mut(pool);
        let Some(last) = peers.len().checked_sub(1).filter(|last| at <= *last) else { return };
        peers.swap(at, last);
        self.len -= 1;
        self.shrink(pool);
    }

    /// Removes the peers of whom `keep` says no; the others stay in order.
    pub(super) fn retain<P: Packed>(&mut self, pool: &mut Pool<P>, keep: impl Fn(P) -> bool) {
        let peers = self.peers_mut(pool);
        let mut kept = 0;
        for at in 0..peers.len() {
            if keep(peers[at]) {
                peers.swap(kept, at);
                kept += 1;
            }
        }
        self.len = kept as u16;
        self.shrink(pool);
    }

    /// Gives the block back when it is empty, and takes one that fits when two thirds of it are.
    fn shrink<P: Packed>(&mut self, pool: &mut Pool<P>) {
        if self.len == 0 {
            self.clear(pool);
        } else if self.len() * 3 <= self.class.room() && self.class.room() > 3 {
            // A little room, lest the next peer make it grow again. Without memory it just stays as large.
            let _ = self.refit(pool, Class::of(self.len() + 1), false);
        }
    }

    /// Lets go of all peers.
    pub(super) fn clear<P: Packed>(&mut self, pool: &mut Pool<P>) {
        if self.class != Class::default() {
            pool.free(self.block, self.class);
        }
        *self = Self::default();
    }

    fn refit<P: Packed>(&mut self, pool: &mut Pool<P>, class: Class, may_grow: bool) -> Result<(), Full> {
        let block = pool.alloc(class, may_grow).ok_or(Full)?;
        pool.copy(self.block, block, self.len());
        if self.class != Class::default() {
            pool.free(self.block, self.class);
        }
        (self.block, self.class) = (block, class);
        Ok(())
    }
}
