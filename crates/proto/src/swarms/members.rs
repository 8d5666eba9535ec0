//! Who is in a swarm: entering, renewing, leaving.

use super::bag::{Bag, Full};
use super::crowd::Crowd;
use super::half::Half;
use super::peer::Packed;
use super::pool::PAGE;
use super::slab::{Id, Peers};
use super::wheel::LIFE;

/// Peers above which a swarm becomes a crowd: 512 bytes of IPv4 peers are looked through in some 30 ns.
const FEW: usize = 64;

/// Peers below which a crowd becomes small again.
const FEW_AGAIN: usize = 32;

/// What a peer was before it announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Was {
    Unknown,
    Leech,
    Seed,
}

/// A crowd that takes more than this part of the memory pays for its growth itself.
const GREEDY: usize = 16;

impl<P: Packed> Half<P> {
    /// Enters a peer, or renews it.
    pub(super) fn enter(&mut self, id: Id, me: P, seed: bool) -> Result<Was, Full> {
        match self.slab.get(id).ok_or(Full)?.peers {
            Peers::Few { bag, leeches } => self.enter_few(id, bag, usize::from(leeches), me, seed),
            Peers::Many(at) => self.enter_many(at, me, seed),
        }
    }

    fn enter_few(
        &mut self,
        id: Id,
        mut bag: Bag,
        mut leeches: usize,
        me: P,
        seed: bool,
    ) -> Result<Was, Full> {
        let peers = bag.peers_mut(&mut self.pool);
        if let Some(at) = peers.iter().position(|peer| peer.same(me)) {
            let was = if at < leeches { Was::Leech } else { Was::Seed };
            peers[at] = me;
            if (was == Was::Seed) != seed {
                leeches -= usize::from(seed);
                peers.swap(at, leeches);
                leeches += usize::from(!seed);
                self.keep(id, bag, leeches);
            }
            return Ok(was);
        }
        if let Some(at) = self.surplus(&[bag], me) {
            leeches = self.leave_few(&mut bag, leeches, at.1);
            self.keep(id, bag, leeches);
        }
        if bag.len() >= FEW {
            let at = self.gather(bag, leeches)?;
            bag.clear(&mut self.pool);
            self.set_peers(id, Peers::Many(at));
            // Also if it is in the queue of those that were announced once, which is not for crowds.
            let slot = self.slot_for(LIFE);
            self.slab.move_to(id, slot);
            return self.enter_many(at, me, seed);
        }
        let may_grow = self.may_grow();
        bag.push(&mut self.pool, me, may_grow)?;
        if !seed {
            let last = bag.len() - 1;
            bag.peers_mut(&mut self.pool).swap(leeches, last);
            leeches += 1;
        }
        self.keep(id, bag, leeches);
        Ok(Was::Unknown)
    }

    fn enter_many(&mut self, at: u32, me: P, seed: bool) -> Result<Was, Full> {
        let hash = me.host_hash(self.secret);
        let crowd = self.crowds.get(at).ok_or(Full)?;
        let bags = [crowd.leeches.bag_of(hash), crowd.seeds.bag_of(hash)];
        let both = [crowd.leeches.bags()[bags[0]], crowd.seeds.bags()[bags[1]]];
        for (role, bag) in both.into_iter().enumerate() {
            let peers = bag.peers_mut(&mut self.pool);
            let Some(found) = peers.iter().position(|peer| peer.same(me)) else { continue };
            let was = if role == 0 { Was::Leech } else { Was::Seed };
            if (was == Was::Seed) == seed {
                peers[found] = me;
            } else {
                self.add_many(at, me, seed)?;
                self.leave_many(at, role == 1, bags[role], found);
            }
            return Ok(was);
        }
        if let Some((role, found)) = self.surplus(&both, me) {
            self.leave_many(at, role == 1, bags[role], found);
        }
        self.add_many(at, me, seed).map(|()| Was::Unknown)
    }

    /// Adds a peer that is not there to a crowd, if need be in the place of another one of its bag.
    fn add_many(&mut self, at: u32, me: P, seed: bool) -> Result<(), Full> {
        let (may_grow, limit) = (self.may_grow(), self.limit);
        let crowd = self.crowds.get_mut(at).ok_or(Full)?;
        let greedy = crowd.len() * size_of::<P>() > limit / GREEDY;
        let role = crowd.role_mut(seed);
        let added = role.insert(&mut self.pool, me, self.secret, may_grow);
        let bag = role.bags()[role.bag_of(me.host_hash(self.secret))];
        // No memory of others makes a bag hold more.
        if added == Ok(()) || !greedy && bag.len() < PAGE {
            return added;
        }
        let now = self.now as u8;
        let oldest =
            bag.peers_mut(&mut self.pool).iter_mut().max_by_key(|peer| now.wrapping_sub(peer.heard()));
        oldest.map(|peer| *peer = me).ok_or(Full)
    }

    /// If a host has as many peers as it may, the one that it announced longest ago: which bag, and where.
    fn surplus(&self, bags: &[Bag], me: P) -> Option<(usize, usize)> {
        let all = bags.iter().enumerate().flat_map(|(i, bag)| {
            bag.peers(&self.pool).iter().enumerate().map(move |(at, peer)| (*peer, i, at))
        });
        let now = self.now as u8;
        let mut count = 0;
        let mut oldest: Option<(u8, usize, usize)> = None;
        for (peer, bag, at) in all.filter(|(peer, ..)| peer.same_host(me)) {
            let age = now.wrapping_sub(peer.heard());
            count += 1;
            if oldest.is_none_or(|(most, ..)| age > most) {
                oldest = Some((age, bag, at));
            }
        }
        oldest.filter(|_| count >= self.per_host).map(|(_, bag, at)| (bag, at))
    }

    /// Removes a peer, and says what it was.
    pub(super) fn leave(&mut self, id: Id, me: P) -> Was {
        let Some(swarm) = self.slab.get(id) else { return Was::Unknown };
        match swarm.peers {
            Peers::Few { mut bag, leeches } => {
                let found = bag.peers(&self.pool).iter().position(|peer| peer.same(me));
                let Some(at) = found else { return Was::Unknown };
                let left = self.leave_few(&mut bag, leeches.into(), at);
                self.keep(id, bag, left);
                if left < usize::from(leeches) { Was::Leech } else { Was::Seed }
            }
            Peers::Many(at) => {
                let was = self.leave_crowd(at, me);
                self.scatter(id, at);
                was
            }
        }
    }

    /// Removes the peer at `at`; returns how many leeches are left.
    fn leave_few(&mut self, bag: &mut Bag, mut leeches: usize, mut at: usize) -> usize {
        if at < leeches {
            leeches -= 1;
            bag.peers_mut(&mut self.pool).swap(at, leeches);
            at = leeches;
        }
        bag.swap_remove(&mut self.pool, at);
        leeches
    }

    fn leave_crowd(&mut self, at: u32, me: P) -> Was {
        let hash = me.host_hash(self.secret);
        for seed in [false, true] {
            let Some(crowd) = self.crowds.get_mut(at) else { break };
            let role = crowd.role_mut(seed);
            let bag = role.bag_of(hash);
            let found = role.bags()[bag].peers(&self.pool).iter().position(|peer| peer.same(me));
            if let Some(found) = found {
                self.leave_many(at, seed, bag, found);
                return if seed { Was::Seed } else { Was::Leech };
            }
        }
        Was::Unknown
    }

    fn leave_many(&mut self, at: u32, seed: bool, bag: usize, found: usize) {
        if let Some(crowd) = self.crowds.get_mut(at) {
            crowd.role_mut(seed).remove(&mut self.pool, bag, found);
        }
    }

    /// Enters a peer, unless it is there or no memory is left.
    pub(super) fn enter_if_new(&mut self, id: Id, me: P, seed: bool) -> bool {
        let hash = me.host_hash(self.secret);
        let bags = match self.slab.get(id).map(|swarm| swarm.peers) {
            Some(Peers::Few { bag, .. }) => [bag, Bag::default()],
            Some(Peers::Many(at)) => match self.crowds.get(at) {
                Some(crowd) => [&crowd.leeches, &crowd.seeds].map(|role| role.bags()[role.bag_of(hash)]),
                None => return false,
            },
            None => return false,
        };
        let known = bags.iter().any(|bag| bag.peers(&self.pool).iter().any(|peer| peer.same(me)));
        !known && self.enter(id, me, seed).is_ok()
    }

    /// Makes a crowd of a bag's peers.
    fn gather(&mut self, bag: Bag, leeches: usize) -> Result<u32, Full> {
        let may_grow = self.may_grow();
        let mut crowd = Crowd::default();
        for at in 0..bag.len() {
            let peer = bag.peers(&self.pool)[at];
            let role = crowd.role_mut(at >= leeches);
            if role.insert(&mut self.pool, peer, self.secret, may_grow).is_err() {
                crowd.clear(&mut self.pool);
                return Err(Full);
            }
        }
        Ok(self.crowds.insert(crowd))
    }

    /// Makes a crowd that became small a bag again.
    pub(super) fn scatter(&mut self, id: Id, at: u32) {
        let Some(crowd) = self.crowds.get(at).filter(|crowd| crowd.len() < FEW_AGAIN) else { return };
        let leeches = crowd.leeches.len();
        let all = crowd.leeches.bags().iter().chain(crowd.seeds.bags());
        let peers: Vec<P> = all.flat_map(|bag| bag.peers(&self.pool)).copied().collect();
        let mut bag = Bag::default();
        if bag.reserve(&mut self.pool, peers.len(), false).is_err() {
            return;
        }
        for peer in peers {
            // There is room for all.
            let _ = bag.push(&mut self.pool, peer, false);
        }
        if let Some(mut crowd) = self.crowds.remove(at) {
            crowd.clear(&mut self.pool);
        }
        self.keep(id, bag, leeches);
    }

    pub(super) fn keep(&mut self, id: Id, bag: Bag, leeches: usize) {
        self.set_peers(id, Peers::Few { bag, leeches: leeches as u16 });
    }

    fn set_peers(&mut self, id: Id, peers: Peers) {
        if let Some(swarm) = self.slab.get_mut(id) {
            swarm.peers = peers;
        }
    }
}
