//! Taking swarms out to save them, and putting them back.

use std::time::Duration;

use super::half::Half;
use super::peer::Packed;
use super::slab::{Id, Peers};
use super::wheel::LIFE;
use super::{Cursor, Saved, SavedPeer, Swarms};
use crate::time::Time;
use crate::tracker::types::Family;

impl Swarms {
    /// Gives up to about `peers` peers, whole swarms at a time, to `each`; returns where to go on, or `None` after the
    /// last. What changes in between is seen or not; no swarm is seen twice unless it was forgotten in between.
    pub fn save(
        &mut self,
        now: Time,
        from: Cursor,
        peers: usize,
        mut each: impl FnMut(&Saved),
    ) -> Option<Cursor> {
        self.advance(now);
        let Cursor { family, next } = from;
        let next = match family {
            Family::V4 => self.v4.save(next, peers, self.tick, &mut each),
            Family::V6 => self.v6.save(next, peers, self.tick, &mut each),
        };
        match (family, next) {
            (_, Some(next)) => Some(Cursor { family, next }),
            (Family::V4, None) => Some(Cursor { family: Family::V6, next: 0 }),
            (Family::V6, None) => None,
        }
    }

    /// Puts a swarm back, with peers as old as they say; those that are too old, or known already, are passed over.
    /// Peers of both families may be given.
    pub fn restore(&mut self, now: Time, saved: &Saved) {
        self.advance(now);
        self.v4.restore(saved, self.tick);
        self.v6.restore(saved, self.tick);
    }
}

impl<P: Packed> Half<P> {
    fn save(&self, from: Id, peers: usize, tick: u64, each: &mut impl FnMut(&Saved)) -> Option<Id> {
        let mut left = peers.max(1);
        for id in from..self.slab.end() {
            if left == 0 {
                return Some(id);
            }
            left = left.saturating_sub(1);
            let Some(swarm) = self.slab.get(id) else { continue };
            let peers = self.saved_peers(swarm.peers, tick);
            left = left.saturating_sub(peers.len());
            each(&Saved { hash: swarm.hash, downloaded: swarm.completed, peers });
        }
        None
    }

    /// Those who are alive.
    fn saved_peers(&self, peers: Peers, tick: u64) -> Vec<SavedPeer> {
        let peer = |seed: bool, peer: &P| {
            let age = Duration::from_micros(self.age(*peer) * tick);
            (self.age(*peer) < LIFE).then_some(SavedPeer { addr: peer.addr(), seed, age })
        };
        match peers {
            Peers::Few { bag, leeches } => {
                let peers = bag.peers(&self.pool).iter().enumerate();
                peers.filter_map(|(at, p)| peer(at >= leeches.into(), p)).collect()
            }
            Peers::Many(at) => {
                let Some(crowd) = self.crowds.get(at) else { return Vec::new() };
                let roles = [(false, &crowd.leeches), (true, &crowd.seeds)];
                let bags =
                    roles.iter().flat_map(|(seed, role)| role.bags().iter().map(move |bag| (*seed, bag)));
                bags.flat_map(|(seed, bag)| bag.peers(&self.pool).iter().map(move |p| (seed, p)))
                    .filter_map(|(seed, p)| peer(seed, p))
                    .collect()
            }
        }
    }

    fn restore(&mut self, saved: &Saved, tick: u64) {
        let ticks = |age: Duration| u64::try_from(age.as_micros()).unwrap_or(u64::MAX).div_ceil(tick);
        for peer in &saved.peers {
            let age = ticks(peer.age);
            let heard = (self.now as u8).wrapping_sub(age.min(LIFE) as u8);
            let Some(packed) = P::new(peer.addr, heard).filter(|_| age < LIFE && peer.addr.port() != 0)
            else {
                continue;
            };
            let Some(id) = self.find(&saved.hash).or_else(|| self.create(&saved.hash)) else { continue };
            self.put_back(id, packed, peer.seed);
            self.remember(id, saved.downloaded);
        }
    }

    /// Enters a peer that is not known, and has its swarm looked at soon.
    fn put_back(&mut self, id: Id, peer: P, seed: bool) {
        let before = self.members(id);
        if self.enter_if_new(id, peer, seed) {
            let after = self.members(id);
            self.stats.leeches = self.stats.leeches + after.0 - before.0;
            self.stats.seeds = self.stats.seeds + after.1 - before.1;
            let slot = self.slot_for(LIFE);
            self.slab.move_to(id, slot);
        }
    }

    fn remember(&mut self, id: Id, downloaded: u32) {
        if let Some(swarm) = self.slab.get_mut(id) {
            swarm.completed = swarm.completed.max(downloaded);
        }
    }
}
