//! The swarms of one address family, and what they may cost.

use super::crowd::Crowd;
use super::members::Was;
use super::peer::Packed;
use super::pool::Pool;
use super::slab::{Id, NEW, NONE, Peers, Slab, Swarm};
use super::table::{MAX_RECORDS, Table};
use super::{Counts, Event, FamilyStats, Role};
use crate::ids::WireHash;
use crate::rng::Rng;
use crate::siphash::Key;

/// Swarms given up for one announce, at most.
const EVICTIONS: usize = 16;

/// Swarms among which the emptiest is looked for.
const CANDIDATES: usize = 16;

/// This part of the memory is not for swarms that were announced once. Giving those up makes room for others like them,
/// but seldom a whole page for one that grows.
const RESERVE: usize = 8;

/// Crowds by number.
#[derive(Debug, Default)]
pub(super) struct Crowds {
    crowds: Vec<Option<Crowd>>,
    free: Vec<u32>,
}

impl Crowds {
    pub(super) fn get(&self, at: u32) -> Option<&Crowd> {
        self.crowds.get(at as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, at: u32) -> Option<&mut Crowd> {
        self.crowds.get_mut(at as usize)?.as_mut()
    }

    pub(super) fn insert(&mut self, crowd: Crowd) -> u32 {
        let at = self.free.pop().unwrap_or(self.crowds.len() as u32);
        if at as usize == self.crowds.len() {
            self.crowds.push(None);
        }
        self.crowds[at as usize] = Some(crowd);
        at
    }

    pub(super) fn remove(&mut self, at: u32) -> Option<Crowd> {
        let crowd = self.crowds.get_mut(at as usize)?.take()?;
        self.free.push(at);
        Some(crowd)
    }

    /// Bytes of the places, and about what the crowds' lists of bags take: a bag holds at least eight peers of its
    /// crowd on average, so it is an eighth of the peers' own memory at most, which the pool counts.
    fn bytes(&self) -> usize {
        self.crowds.len() * size_of::<Option<Crowd>>() + self.free.len() * size_of::<u32>()
    }
}

/// What all halves are made with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// Most bytes.
    pub(super) limit: usize,
    /// Most peers of one host in a swarm.
    pub(super) per_host: usize,
    /// Of the table of swarms.
    pub(super) key: Key,
    /// Of the crowds' bags.
    pub(super) secret: u64,
    /// Of the draws.
    pub(super) seed: u64,
}

/// The swarms of one address family.
#[derive(Debug)]
pub(super) struct Half<P> {
    pub(super) pool: Pool<P>,
    pub(super) slab: Slab,
    table: Table,
    pub(super) crowds: Crowds,
    pub(super) stats: FamilyStats,
    pub(super) rng: Rng,
    /// The tick that it is.
    pub(super) now: u64,
    /// The last tick whose slot is empty.
    pub(super) done: u64,
    pub(super) limit: usize,
    pub(super) per_host: usize,
    pub(super) secret: u64,
    key: Key,
}

/// One announce, with the peer packed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet<'a, P> {
    pub(super) hash: &'a WireHash,
    pub(super) me: P,
    pub(super) event: Event,
    pub(super) role: Role,
    /// Whether it can be connected to.
    pub(super) listens: bool,
    pub(super) want: usize,
}

impl<P: Packed> Half<P> {
    pub(super) fn new(rules: &Rules) -> Self {
        Self {
            pool: Pool::new(),
            slab: Slab::new(),
            table: Table::new(),
            crowds: Crowds::default(),
            stats: FamilyStats::default(),
            rng: Rng::new(rules.seed),
            now: 0,
            done: 0,
            limit: rules.limit,
            per_host: rules.per_host,
            secret: rules.secret,
            key: rules.key,
        }
    }

    /// Bytes taken.
    pub(super) fn bytes(&self) -> usize {
        self.pool.bytes() + self.slab.bytes() + self.table.bytes() + self.crowds.bytes()
    }

    pub(super) fn stats(&self) -> FamilyStats {
        FamilyStats { swarms: self.slab.len(), bytes: self.bytes(), ..self.stats }
    }

    /// Whether the pool may take one more chunk.
    pub(super) fn may_grow(&self) -> bool {
        self.bytes() + Pool::<P>::chunk_bytes() <= self.limit
    }

    /// Enters, renews or removes the peer, and packs others into `out`.
    pub(super) fn announce(&mut self, packet: &Packet<'_, P>, out: &mut [u8]) -> Counts {
        let found = self.find(packet.hash);
        let id = match (packet.event, found) {
            (Event::Stopped, Some(id)) => {
                self.depart(id, packet.me);
                return self.counts(packet.hash);
            }
            (Event::Stopped, None) => return Counts::default(),
            (_, None) if packet.listens => self.create(packet.hash),
            (_, found) => found,
        };
        let Some(id) = id else { return Counts::default() };
        if packet.listens {
            self.admit(id, packet);
        }
        let leeches_only = packet.role != Role::Leech;
        let peers = self.choose(id, Some(packet.me), leeches_only, packet.want, out);
        Counts { peers, ..self.counts_of(id) }
    }

    /// Enters a peer, for whom other swarms may have to go.
    fn admit(&mut self, id: Id, packet: &Packet<'_, P>) {
        let (me, seed) = (packet.me, packet.role == Role::Seed);
        self.settle(id, me);
        let before = self.members(id);
        for _ in 0..EVICTIONS {
            match self.enter(id, me, seed) {
                Ok(was) => {
                    if packet.event == Event::Completed && seed && was != Was::Seed {
                        self.complete(id);
                    }
                    break;
                }
                Err(_) if self.evict(id) => {}
                Err(_) => break,
            }
        }
        let after = self.members(id);
        self.stats.leeches = self.stats.leeches + after.0 - before.0;
        self.stats.seeds = self.stats.seeds + after.1 - before.1;
    }

    fn complete(&mut self, id: Id) {
        if let Some(swarm) = self.slab.get_mut(id) {
            swarm.completed = swarm.completed.saturating_add(1);
        }
    }

    fn depart(&mut self, id: Id, me: P) {
        match self.leave(id, me) {
            Was::Unknown => return,
            Was::Leech => self.stats.leeches -= 1,
            Was::Seed => self.stats.seeds -= 1,
        }
        // One that had downloads is remembered until its turn on the wheel.
        let empty = self.members(id) == (0, 0);
        if empty && self.slab.get(id).is_some_and(|swarm| swarm.completed == 0) {
            self.drop_swarm(id);
        }
    }

    /// Takes a swarm out of the queue of those that were announced once, if this is a second announce: at another
    /// time, or by another host. One in which nobody is left is announced as for the first time.
    fn settle(&mut self, id: Id, me: P) {
        if !self.slab.is_in(id, NEW) {
            return;
        }
        let Some(Peers::Few { bag, .. }) = self.slab.get(id).map(|swarm| swarm.peers) else { return };
        match bag.peers(&self.pool).first().copied() {
            // The queue is by age.
            None => self.slab.move_to(id, NEW),
            Some(first) if first.heard() != me.heard() || !first.same_host(me) => {
                let slot = self.slot_for(self.age(first));
                self.slab.move_to(id, slot);
            }
            Some(_) => {}
        }
    }

    /// Leeches and seeds.
    pub(super) fn members(&self, id: Id) -> (usize, usize) {
        match self.slab.get(id).map(|swarm| swarm.peers) {
            Some(Peers::Few { bag, leeches }) => (leeches.into(), bag.len() - usize::from(leeches)),
            Some(Peers::Many(at)) => {
                self.crowds.get(at).map_or((0, 0), |crowd| (crowd.leeches.len(), crowd.seeds.len()))
            }
            None => (0, 0),
        }
    }

    fn counts_of(&self, id: Id) -> Counts {
        let (leeches, seeds) = self.members(id);
        let downloaded = self.slab.get(id).map_or(0, |swarm| swarm.completed);
        Counts { complete: seeds as u32, incomplete: leeches as u32, downloaded, peers: 0 }
    }

    /// The size of a swarm.
    pub(super) fn counts(&self, hash: &WireHash) -> Counts {
        self.find(hash).map(|id| self.counts_of(id)).unwrap_or_default()
    }

    pub(super) fn find(&self, hash: &WireHash) -> Option<Id> {
        let is = |id| self.slab.get(id).is_some_and(|swarm| swarm.hash == *hash);
        self.table.find(self.key.sip13(&hash.0), is)
    }

    /// A new swarm, for which others may have to go.
    pub(super) fn create(&mut self, hash: &WireHash) -> Option<Id> {
        let used = self.bytes() - self.pool.idle_bytes();
        if used > self.limit - self.limit / RESERVE && self.slab.first(NEW).is_some() {
            self.evict(NONE);
        }
        for _ in 0..EVICTIONS {
            let record = if self.slab.is_full() { size_of::<Swarm>() } else { 0 };
            let fits = self.bytes() + record + self.table.growth() <= self.limit;
            if fits && self.slab.len() < MAX_RECORDS {
                let id = self.slab.insert(*hash, NEW);
                let (slab, key) = (&self.slab, self.key);
                self.table.insert(key.sip13(&hash.0), id, |id| hash_of(slab, key, id));
                return Some(id);
            }
            if !self.evict(NONE) {
                break;
            }
        }
        None
    }

    /// Gives up the least worthy swarm but `keep`; false if there is none.
    fn evict(&mut self, keep: Id) -> bool {
        let oldest = self.slab.first(NEW).filter(|id| *id != keep);
        let Some(id) = oldest.or_else(|| self.emptiest(keep)) else { return false };
        self.stats.evicted += 1;
        self.drop_swarm(id);
        true
    }

    /// Of some swarms the one with the fewest peers, and of those the one that is silent longest.
    fn emptiest(&mut self, keep: Id) -> Option<Id> {
        let end = self.slab.end() as usize;
        let some: [Id; CANDIDATES] = std::array::from_fn(|_| self.rng.index(end) as Id);
        let alive = some.into_iter().filter(|id| *id != keep && self.slab.get(*id).is_some());
        alive.min_by_key(|id| {
            let (leeches, seeds) = self.members(*id);
            (leeches + seeds, u64::MAX - self.silence(*id))
        })
    }

    /// Ticks since a small swarm was heard of.
    fn silence(&self, id: Id) -> u64 {
        match self.slab.get(id).map(|swarm| swarm.peers) {
            Some(Peers::Few { bag, .. }) => {
                bag.peers(&self.pool).iter().map(|peer| self.age(*peer)).min().unwrap_or(u64::MAX)
            }
            _ => 0,
        }
    }

    /// Forgets a swarm; says how many peers it had.
    pub(super) fn drop_swarm(&mut self, id: Id) -> usize {
        let (leeches, seeds) = self.members(id);
        let Some(swarm) = self.slab.get(id).copied() else { return 0 };
        match swarm.peers {
            Peers::Few { mut bag, .. } => bag.clear(&mut self.pool),
            Peers::Many(at) => {
                if let Some(mut crowd) = self.crowds.remove(at) {
                    crowd.clear(&mut self.pool);
                }
            }
        }
        let (slab, key) = (&self.slab, self.key);
        self.table.remove(key.sip13(&swarm.hash.0), id, |id| hash_of(slab, key, id));
        self.slab.remove(id);
        self.stats.leeches -= leeches;
        self.stats.seeds -= seeds;
        leeches + seeds
    }

    /// Forgets everybody, at `tick`.
    pub(super) fn clear(&mut self, tick: u64) {
        self.pool = Pool::new();
        self.slab = Slab::new();
        self.table = Table::new();
        self.crowds = Crowds::default();
        self.stats.expired += (self.stats.leeches + self.stats.seeds) as u64;
        (self.stats.leeches, self.stats.seeds) = (0, 0);
        (self.now, self.done) = (tick, tick);
    }
}

fn hash_of(slab: &Slab, key: Key, id: Id) -> u64 {
    slab.get(id).map_or(0, |swarm| key.sip13(&swarm.hash.0))
}
