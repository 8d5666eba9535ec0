//! Peers that announced themselves, by torrent (BEP 5, BEP 33).
//!
//! A peer is forgotten after [`PEER_LIFE`] unless it announces again; clients do so every quarter of an hour. Of each
//! address there is one peer a torrent (BEP 33); of local addresses, one a port. Caps hold for one torrent, for one
//! network in a torrent and in all, for torrents and for the sum of peers. A torrent that is full drops its oldest peer;
//! the store drops the torrent farthest from our id, because nobody who follows the protocol looks for it here.
//!
//! Tested by rules, and against a naive model by the fuzz target `dht_node`.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::dht::bloom::Filter;
use crate::dht::id::{farthest, is_local};
use crate::dht::range::Range;
use crate::ids::NodeId;
use crate::rng::Rng;
use crate::time::Time;
use crate::tracker::reach::may_name;

/// How long a peer is kept: twice what clients leave between two announces.
pub const PEER_LIFE: Duration = Duration::from_secs(30 * 60);
/// How long filters are handed out before they are counted anew.
const FILTER_LIFE: Duration = Duration::from_secs(60);

/// What the store may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerLimits {
    /// Torrents.
    pub torrents: usize,
    /// Peers of one torrent; below the 6,000 of BEP 33.
    pub peers: usize,
    /// Peers of all torrents.
    pub total: usize,
    /// Peers of one network in one torrent.
    pub site_peers: usize,
    /// Peers of one network in all torrents.
    pub site_total: usize,
}

impl Default for PeerLimits {
    fn default() -> Self {
        Self { torrents: 4000, peers: 500, total: 40_000, site_peers: 16, site_total: 1000 }
    }
}

#[derive(Clone, Copy, Debug)]
struct Peer {
    addr: SocketAddr,
    seed: bool,
    at: Time,
}

/// The peers of one torrent, in no order.
#[derive(Clone, Debug, Default)]
struct Swarm {
    peers: Vec<Peer>,
    filters: Option<Box<(Time, Filter, Filter)>>,
}

/// The store.
#[derive(Clone, Debug)]
pub struct PeerStore {
    limits: PeerLimits,
    swarms: BTreeMap<NodeId, Swarm>,
    /// Peers of each network; those of local addresses do not count.
    sites: BTreeMap<Range, usize>,
    total: usize,
}

impl PeerStore {
    /// An empty store.
    pub const fn new(limits: PeerLimits) -> Self {
        Self { limits, swarms: BTreeMap::new(), sites: BTreeMap::new(), total: 0 }
    }

    /// Torrents in it.
    pub fn torrents(&self) -> usize {
        self.swarms.len()
    }

    /// Peers in it.
    pub const fn len(&self) -> usize {
        self.total
    }

    /// Whether there is nobody.
    pub const fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// Notes a peer of a torrent. Whether there was room.
    pub fn announce(
        &mut self,
        now: Time,
        own: &NodeId,
        torrent: NodeId,
        addr: SocketAddr,
        seed: bool,
    ) -> bool {
        let peer = Peer { addr, seed, at: now };
        if let Some(known) = self.swarms.get_mut(&torrent).and_then(|swarm| swarm.find(addr)) {
            *known = peer;
            return true;
        }
        if !self.may_enter(own, torrent, addr) {
            return false;
        }
        let gone = self.swarms.entry(torrent).or_default().make_room(addr, &self.limits);
        gone.into_iter().for_each(|gone| self.uncount(gone.addr));
        self.count(addr);
        if let Some(swarm) = self.swarms.get_mut(&torrent) {
            swarm.peers.push(peer);
        }
        true
    }

    /// At most `count` peers of a torrent that one at `asker` may be told of, from a random place on; rather no seeds, if
    /// so wanted (BEP 33).
    pub fn sample(
        &self,
        torrent: &NodeId,
        asker: IpAddr,
        count: usize,
        noseed: bool,
        rng: &mut Rng,
    ) -> Vec<SocketAddr> {
        let Some(swarm) = self.swarms.get(torrent) else { return Vec::new() };
        let (early, late) = swarm.peers.split_at(rng.index(swarm.peers.len()));
        let turned = || late.iter().chain(early).filter(|peer| may_name(asker, peer.addr.ip()));
        let first = turned().filter(|peer| !(noseed && peer.seed));
        let second = turned().filter(|peer| noseed && peer.seed);
        first.chain(second).take(count).map(|peer| peer.addr).collect()
    }

    /// Filters of all seeds and of all other peers of a torrent; `None` if there is nobody.
    pub fn filters(&mut self, now: Time, torrent: &NodeId) -> Option<(&Filter, &Filter)> {
        let swarm = self.swarms.get_mut(torrent)?;
        if swarm.filters.as_ref().is_none_or(|filters| now.since(filters.0) >= FILTER_LIFE) {
            swarm.filters = Some(Box::new(swarm.count(now)));
        }
        swarm.filters.as_ref().map(|filters| (&filters.1, &filters.2))
    }

    /// At most `count` torrents, at random.
    pub fn torrents_sample(&self, count: usize, rng: &mut Rng) -> Vec<NodeId> {
        let mut all: Vec<NodeId> = self.swarms.keys().copied().collect();
        for n in 0..count.min(all.len()) {
            let other = n + rng.index(all.len() - n);
            all.swap(n, other);
        }
        all.truncate(count);
        all
    }

    /// Forgets peers whose time is over.
    pub fn expire(&mut self, now: Time) {
        let mut gone = Vec::new();
        self.swarms.retain(|_, swarm| {
            gone.extend(swarm.peers.extract_if(.., |peer| now.since(peer.at) >= PEER_LIFE));
            !swarm.peers.is_empty()
        });
        gone.into_iter().for_each(|peer| self.uncount(peer.addr));
    }

    /// Whether the caps let a new peer in, after dropping the farthest torrent if need be.
    fn may_enter(&mut self, own: &NodeId, torrent: NodeId, addr: SocketAddr) -> bool {
        let site = self.sites.get(&Range::site(addr.ip())).copied().unwrap_or(0);
        if !is_local(addr.ip()) && site >= self.limits.site_total {
            return false;
        }
        let new = !self.swarms.contains_key(&torrent);
        let full = self.total >= self.limits.total || (new && self.swarms.len() >= self.limits.torrents);
        !full || self.drop_farther(own, &torrent)
    }

    /// Drops the torrent farthest from us, if it is farther than this one.
    fn drop_farther(&mut self, own: &NodeId, torrent: &NodeId) -> bool {
        let Some(farthest) = farthest(&self.swarms, own) else { return false };
        if farthest.distance(own) <= torrent.distance(own) {
            return false;
        }
        let swarm = self.swarms.remove(&farthest).unwrap_or_default();
        swarm.peers.iter().for_each(|peer| self.uncount(peer.addr));
        true
    }

    fn count(&mut self, addr: SocketAddr) {
        self.total += 1;
        if !is_local(addr.ip()) {
            *self.sites.entry(Range::site(addr.ip())).or_default() += 1;
        }
    }

    fn uncount(&mut self, addr: SocketAddr) {
        self.total -= 1;
        let site = Range::site(addr.ip());
        if let Some(count) = self.sites.get_mut(&site).filter(|_| !is_local(addr.ip())) {
            *count -= 1;
            if *count == 0 {
                self.sites.remove(&site);
            }
        }
    }
}

impl Swarm {
    fn find(&mut self, addr: SocketAddr) -> Option<&mut Peer> {
        let local = is_local(addr.ip());
        self.peers.iter_mut().find(|peer| peer.addr == addr || (!local && peer.addr.ip() == addr.ip()))
    }

    /// Drops the oldest peer of a network that has its share, or of a torrent that is full.
    fn make_room(&mut self, addr: SocketAddr, limits: &PeerLimits) -> Option<Peer> {
        let site = Range::site(addr.ip());
        let neighbour = |peer: &&Peer| !is_local(addr.ip()) && Range::site(peer.addr.ip()) == site;
        let crowded = self.peers.iter().filter(neighbour).count() >= limits.site_peers;
        if !crowded && self.peers.len() < limits.peers {
            return None;
        }
        let all = self.peers.iter().enumerate().filter(|(_, peer)| !crowded || neighbour(peer));
        let oldest = all.min_by_key(|(_, peer)| peer.at).map(|(n, _)| n)?;
        Some(self.peers.swap_remove(oldest))
    }

    fn count(&self, now: Time) -> (Time, Filter, Filter) {
        let mut filters = (now, Filter::default(), Filter::default());
        for peer in &self.peers {
            let filter = if peer.seed { &mut filters.1 } else { &mut filters.2 };
            filter.insert(peer.addr.ip());
        }
        filters
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: NodeId = NodeId([0; 20]);

    fn at(secs: u64) -> Time {
        Time::from_micros(secs * 1_000_000)
    }

    fn addr(n: u32) -> SocketAddr {
        (std::net::Ipv4Addr::from_bits(0x2000_0000 + n), 6881).into()
    }

    fn small() -> PeerStore {
        PeerStore::new(PeerLimits { torrents: 3, peers: 4, total: 6, site_peers: 2, site_total: 3 })
    }

    fn all(store: &PeerStore, torrent: u8) -> Vec<SocketAddr> {
        let mut all = store.sample(&NodeId([torrent; 20]), addr(0).ip(), 100, false, &mut Rng::new(1));
        all.sort();
        all
    }

    #[test]
    fn a_peer_is_known_for_half_an_hour_after_its_last_announce() {
        let (mut store, key) = (small(), NodeId([1; 20]));
        assert!(store.announce(at(0), &OWN, key, addr(1), false));
        let moved = SocketAddr::new(addr(1).ip(), 7000);
        assert!(store.announce(at(900), &OWN, key, moved, true));
        assert_eq!(all(&store, 1), [moved], "one peer an address, at its latest port");
        store.expire(at(2699));
        assert_eq!(store.len(), 1);
        store.expire(at(2700));
        assert!(store.is_empty() && store.torrents() == 0 && store.sites.is_empty());
    }

    #[test]
    fn caps_of_networks_torrents_and_the_whole() {
        let mut store = small();
        let mut announce =
            |t: u8, n: u32| store.announce(at(n.into()), &OWN, NodeId([t; 20]), addr(n), false);
        assert!(announce(1, 1) && announce(1, 2) && announce(1, 3), "the third pushes out its neighbour");
        assert!(announce(2, 4) && !announce(3, 5), "a network has its share");
        assert!((0..3).all(|n| announce(1, 256 * (n + 1))));
        assert_eq!(all(&store, 1).len(), 4);
        let mut announce =
            |t: u8, n: u32| store.announce(at(n.into()), &OWN, NodeId([t; 20]), addr(n), false);
        assert!(announce(9, 0x10000), "there is room for one");
        assert!(!announce(9, 0x20000), "but not for two, and nothing is farther away");
        assert!(announce(3, 0x30000), "except for what is nearer");
        assert_eq!(all(&store, 9), []);
        assert_eq!(store.len(), 6);
    }

    #[test]
    fn seeds_come_last_when_they_are_not_wanted_and_filters_tell_them_apart() {
        let (mut store, key) = (PeerStore::new(PeerLimits::default()), NodeId([1; 20]));
        (0..20).for_each(|n| _ = store.announce(at(0), &OWN, key, addr(n * 256), n % 2 == 0));
        let mut rng = Rng::new(3);
        let sample = store.sample(&key, addr(0).ip(), 10, true, &mut rng);
        assert!(sample.len() == 10 && sample.iter().all(|a| a.ip() != addr(0).ip()));
        assert_eq!(store.sample(&key, addr(0).ip(), 100, true, &mut rng).len(), 20);
        let (seeds, peers) = store.filters(at(1), &key).unwrap();
        assert!((seeds.estimate() - 10.0).abs() < 1.0 && (peers.estimate() - 10.0).abs() < 1.0);
        assert!(store.filters(at(1), &OWN).is_none());
    }

    #[test]
    fn samples_of_torrents_hold_each_once() {
        let mut store = PeerStore::new(PeerLimits::default());
        (0..50).for_each(|n| {
            _ = store.announce(at(0), &OWN, NodeId([n; 20]), addr(256 * u32::from(n)), false);
        });
        let mut sample = store.torrents_sample(35, &mut Rng::new(1));
        sample.sort();
        sample.dedup();
        assert_eq!(sample.len(), 35);
        assert_eq!(store.torrents_sample(99, &mut Rng::new(1)).len(), 50);
    }
}
