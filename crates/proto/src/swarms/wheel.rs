//! Forgetting who is silent, by a wheel.
//!
//! A swarm lies in the slot of the tick at which its oldest peer may have become too old. When that tick comes the swarm
//! is looked at, and put where its now oldest peer belongs; never sooner than four ticks, so that a peer is looked at
//! at most sixteen times in its life. A crowd is looked at every four ticks, some bags at a time. Work is done in steps
//! of bounded size: each announce does two, the front ends' timers do the rest. That a step is late does not matter to
//! anybody: whoever is too old is not handed out whether he was swept or not.
//!
//! Every step ends: what is looked at moves to a slot ahead, which is never the slot being emptied, because neither lag
//! nor look-ahead reaches half the wheel ([`LIFE`] and [`SLOTS`]).

use super::half::Half;
use super::peer::Packed;
use super::slab::{Id, List, NEW, Peers, SLOTS};

/// Ticks for which a peer lives after an announce.
pub(super) const LIFE: u64 = 64;

/// Ticks until a swarm is looked at again, at least.
const GAP: u64 = 4;

/// Bags of a crowd for one step.
const BAGS: usize = 8;

const _: () = assert!(2 * LIFE <= SLOTS as u64 && SLOTS < 256 - LIFE as usize);

impl<P: Packed> Half<P> {
    /// Lets time pass. Costs something only if nothing else was called for very long.
    pub(super) fn advance(&mut self, tick: u64) {
        if tick <= self.now {
            return;
        }
        if tick - self.now >= LIFE {
            // Whoever is there was heard at `now` at the latest.
            self.clear(tick);
            return;
        }
        if tick - self.done >= LIFE {
            self.sweep(usize::MAX);
        }
        self.now = tick;
    }

    /// Takes up to `steps` steps; whether there is more to do.
    pub(super) fn sweep(&mut self, steps: usize) -> bool {
        let mut left = steps;
        while self.done < self.now {
            if left == 0 {
                return true;
            }
            left -= 1;
            let tick = self.done + 1;
            if let Some(id) = self.slab.first(List::slot(tick)) {
                self.look_at(id);
            } else if let Some(id) = self.slab.first(NEW).filter(|id| self.is_forgotten(*id)) {
                self.stats.expired += self.drop_swarm(id) as u64;
            } else {
                self.done = tick;
            }
        }
        false
    }

    /// Where a swarm goes whose oldest peer has the age `age`.
    pub(super) fn slot_for(&self, age: u64) -> List {
        List::slot(self.now + LIFE.saturating_sub(age).clamp(GAP, LIFE))
    }

    /// Ticks since a peer was heard.
    pub(super) fn age(&self, peer: P) -> u64 {
        u64::from((self.now as u8).wrapping_sub(peer.heard()))
    }

    /// Whether nobody of a small swarm is alive.
    fn is_forgotten(&self, id: Id) -> bool {
        match self.slab.get(id).map(|swarm| swarm.peers) {
            Some(Peers::Few { bag, .. }) => bag.peers(&self.pool).iter().all(|peer| self.age(*peer) >= LIFE),
            _ => false,
        }
    }

    fn look_at(&mut self, id: Id) {
        match self.slab.get(id).map(|swarm| swarm.peers) {
            Some(Peers::Few { .. }) => self.look_at_few(id),
            Some(Peers::Many(at)) => self.look_at_many(id, at),
            None => {}
        }
    }

    fn look_at_few(&mut self, id: Id) {
        let Some(Peers::Few { mut bag, leeches }) = self.slab.get(id).map(|swarm| swarm.peers) else {
            return;
        };
        let peers = bag.peers(&self.pool);
        let alive = |peer: &&P| self.age(**peer) < LIFE;
        let (before, left) = (peers.len(), peers[..leeches.into()].iter().filter(alive).count());
        let oldest = peers.iter().filter(alive).map(|peer| self.age(*peer)).max();
        let Some(oldest) = oldest else {
            self.stats.expired += self.drop_swarm(id) as u64;
            return;
        };
        let (now, slot) = (self.now as u8, self.slot_for(oldest));
        bag.retain(&mut self.pool, |peer| u64::from(now.wrapping_sub(peer.heard())) < LIFE);
        if bag.len() < before {
            let gone = (usize::from(leeches) - left, before - bag.len() - (usize::from(leeches) - left));
            self.count_gone(gone);
            self.keep(id, bag, left);
        }
        self.slab.move_to(id, slot);
    }

    fn look_at_many(&mut self, id: Id, at: u32) {
        let now = self.now as u8;
        let Some(crowd) = self.crowds.get_mut(at) else { return };
        let before = (crowd.leeches.len(), crowd.seeds.len());
        if crowd.left == 0 {
            crowd.left = crowd.bags();
        }
        // From the last to the first, since merging moves peers of the last to earlier ones.
        for _ in 0..BAGS.min(crowd.left) {
            crowd.left -= 1;
            let split = crowd.leeches.bags().len();
            let (seed, bag) =
                if crowd.left < split { (false, crowd.left) } else { (true, crowd.left - split) };
            let role = crowd.role_mut(seed);
            role.retain(&mut self.pool, bag, |peer: P| u64::from(now.wrapping_sub(peer.heard())) < LIFE);
            role.merge(&mut self.pool);
        }
        let is_over = crowd.left == 0;
        let gone = (before.0 - crowd.leeches.len(), before.1 - crowd.seeds.len());
        let empty = crowd.len() == 0;
        self.count_gone(gone);
        if empty {
            self.drop_swarm(id);
        } else if is_over {
            self.scatter(id, at);
            self.slab.move_to(id, List::slot(self.now + GAP));
        }
    }

    fn count_gone(&mut self, (leeches, seeds): (usize, usize)) {
        self.stats.leeches -= leeches;
        self.stats.seeds -= seeds;
        self.stats.expired += (leeches + seeds) as u64;
    }
}
