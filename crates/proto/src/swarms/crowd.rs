//! A swarm with too many peers to look through: leeches and seeds apart, each spread over bags by their host.
//!
//! Linear hashing (Litwin 1980): one bag is split for some peers that come, and one merged for some that go, so that no
//! single announce pays for all. All peers of a host are in one bag, so that they can be counted there. The spread
//! depends on a secret; else somebody could choose addresses that all fall into one bag.

use super::bag::{Bag, Full};
use super::peer::Packed;
use super::pool::Pool;

/// Peers a bag holds on average, at most: with 8 bytes each, four lines of the processor's cache.
const FILL: usize = 32;

/// Peers of one role, spread over bags.
#[derive(Debug)]
pub(super) struct Spread {
    /// At least one.
    bags: Vec<Bag>,
    len: usize,
}

/// Leeches and seeds of a large swarm.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    pub(super) leeches: Spread,
    pub(super) seeds: Spread,
    /// Bags that the search for silent peers has yet to visit, seeds' first; 0 before a new round.
    pub(super) left: usize,
}

impl Default for Spread {
    fn default() -> Self {
        Self { bags: vec![Bag::default()], len: 0 }
    }
}

impl Crowd {
    pub(super) const fn len(&self) -> usize {
        self.leeches.len + self.seeds.len
    }

    /// Bags of both roles.
    pub(super) const fn bags(&self) -> usize {
        self.leeches.bags.len() + self.seeds.bags.len()
    }

    pub(super) const fn role_mut(&mut self, seed: bool) -> &mut Spread {
        if seed { &mut self.seeds } else { &mut self.leeches }
    }

    pub(super) fn clear<P: Packed>(&mut self, pool: &mut Pool<P>) {
        let all = self.leeches.bags.iter_mut().chain(&mut self.seeds.bags);
        all.for_each(|bag| bag.clear(pool));
        (self.leeches.len, self.seeds.len) = (0, 0);
    }
}

impl Spread {
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) fn bags(&self) -> &[Bag] {
        &self.bags
    }

    /// The bag in which a host's peers are.
    pub(super) fn bag_of(&self, hash: u64) -> usize {
        let size = self.bags.len().next_power_of_two();
        let at = hash as usize & (size - 1);
        if at < self.bags.len() { at } else { at & (size / 2 - 1) }
    }

    /// Adds a peer that is not there.
    pub(super) fn insert<P: Packed>(
        &mut self,
        pool: &mut Pool<P>,
        peer: P,
        secret: u64,
        may_grow: bool,
    ) -> Result<(), Full> {
        let at = self.bag_of(peer.host_hash(secret));
        self.bags[at].push(pool, peer, may_grow)?;
        self.len += 1;
        if self.len > self.bags.len() * FILL {
            self.split(pool, secret, may_grow);
        }
        Ok(())
    }

    /// Removes the peer at `at` of the bag `bag`.
    pub(super) fn remove<P: Packed>(&mut self, pool: &mut Pool<P>, bag: usize, at: usize) {
        let before = self.bags[bag].len();
        self.bags[bag].swap_remove(pool, at);
        self.len -= before - self.bags[bag].len();
        self.merge(pool);
    }

    /// Removes those peers of one bag of whom `keep` says no.
    pub(super) fn retain<P: Packed>(&mut self, pool: &mut Pool<P>, bag: usize, keep: impl Fn(P) -> bool) {
        let Some(bag) = self.bags.get_mut(bag) else { return };
        let before = bag.len();
        bag.retain(pool, keep);
        self.len -= before - bag.len();
    }

    /// Merges two bags if so few peers are left. Without memory for that they stay two.
    pub(super) fn merge<P: Packed>(&mut self, pool: &mut Pool<P>) {
        let last = self.bags.len() - 1;
        if last == 0 || self.len * 2 > last * FILL {
            return;
        }
        let twin = last & (self.bags.len().next_power_of_two() / 2 - 1);
        let both = self.bags[twin].len() + self.bags[last].len();
        if self.bags[twin].reserve(pool, both, false).is_err() {
            return;
        }
        let Some(mut emptied) = self.bags.pop() else { return };
        for at in 0..emptied.len() {
            let peer = emptied.peers(pool)[at];
            // There is room for all.
            let _ = self.bags[twin].push(pool, peer, false);
        }
        emptied.clear(pool);
    }

    /// Adds a bag, to which part of another's peers go. Without memory for that they stay where they are.
    fn split<P: Packed>(&mut self, pool: &mut Pool<P>, secret: u64, may_grow: bool) {
        let new = self.bags.len();
        let mask = (new + 1).next_power_of_two() - 1;
        let twin = new & (mask >> 1);
        let moves = |peer: P| peer.host_hash(secret) as usize & mask == new;
        let count = self.bags[twin].peers(pool).iter().filter(|peer| moves(**peer)).count();
        let mut bag = Bag::default();
        if bag.reserve(pool, count, may_grow).is_err() {
            return;
        }
        for at in 0..self.bags[twin].len() {
            let peer = self.bags[twin].peers(pool)[at];
            if moves(peer) {
                // There is room for all.
                let _ = bag.push(pool, peer, false);
            }
        }
        self.bags[twin].retain(pool, |peer| !moves(peer));
        self.bags.push(bag);
    }
}
