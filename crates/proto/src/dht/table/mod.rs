//! The routing table: who is where in the key space, and alive.
//!
//! Spec: BEP 5, with BEP 42 (ids that fit are preferred) and BEP 45 (a node whose id changes is evicted). Buckets split
//! only where our own id is. The first four hold 128, 64, 32 and 16 nodes in place of K, which saves lookups three to
//! four of their first bits for about 200 pings in a quarter of an hour (libtorrent does the same).
//!
//! Only nodes that answered are in it. One address has one node, a network (/24, /48) one node in a bucket and
//! four in all, so that nobody fills it from one place; local addresses are exempt. Nodes that answered and found
//! no room wait as spares and take the place of the first that dies. Long-lived nodes stay (Kademlia: they live on
//! longest); among spares the fastest is taken.
//!
//! It refuses to send anything: whom to ping and which bucket to refresh it only says. Tested by rules and against
//! invariants under random events.

mod bucket;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::time::Duration;

use self::bucket::Bucket;
pub use self::bucket::Entry;
use super::Contact;
use super::id::is_local;
use super::range::Range;
use crate::ids::NodeId;
use crate::rng::Rng;
use crate::time::Time;
use crate::tracker::reach::Scope;

/// Nodes in a bucket, nodes in an answer, nodes that store a thing (BEP 5).
pub const K: usize = 8;
/// Capacities of the buckets next to the root.
const WIDE: [usize; 4] = [16 * K, 8 * K, 4 * K, 2 * K];
/// Most nodes of one network in the table.
const MAX_SITE: usize = 4;
/// A node is good for so long after a sign of life (BEP 5).
pub const FRESH: Duration = Duration::from_secs(15 * 60);
/// A bucket with room is refreshed so often (BEP 5).
const REFRESH: Duration = Duration::from_secs(15 * 60);

/// The table of one node.
#[derive(Clone, Debug)]
pub struct Table {
    own: NodeId,
    /// Bucket n holds those who share n bits with us, the last one also those who share more.
    buckets: Vec<Bucket>,
}

impl Table {
    /// An empty table around `own`.
    pub fn new(own: NodeId) -> Self {
        Self { own, buckets: vec![Bucket::default()] }
    }

    /// Our id.
    pub const fn own(&self) -> NodeId {
        self.own
    }

    /// How many nodes are in it; spares do not count.
    pub fn len(&self) -> usize {
        self.buckets.iter().map(|bucket| bucket.live.len()).sum()
    }

    /// Whether nobody is in it.
    pub fn is_empty(&self) -> bool {
        self.buckets.iter().all(|bucket| bucket.live.is_empty())
    }

    /// Everybody in it, those who share least with us first.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.buckets.iter().flat_map(|bucket| &bucket.live)
    }

    /// Moves the table around another id.
    pub fn set_own(&mut self, own: NodeId) {
        let old = std::mem::replace(self, Self::new(own));
        for entry in old.buckets.into_iter().flat_map(|bucket| bucket.live) {
            self.enter(entry);
        }
    }

    /// A node answered after `rtt`.
    pub fn answered(&mut self, now: Time, contact: Contact, rtt: Duration) {
        if contact.id == self.own {
            return;
        }
        let n = self.index(&contact.id);
        if let Some(entry) = self.buckets[n].find(&contact.id) {
            if entry.contact.addr == contact.addr {
                entry.answered(now, rtt);
                return;
            }
            if entry.fails == 0 {
                return;
            }
            self.buckets[n].remove(&contact.id);
        }
        if self.make_way(n, &contact) {
            self.enter(Entry::new(now, contact, rtt));
        }
    }

    /// A node asked us something: it is alive, if it has ever answered. Whether a ping could make it part of the table.
    pub fn asked(&mut self, now: Time, contact: &Contact) -> bool {
        let n = self.index(&contact.id);
        match self.buckets[n].find(&contact.id) {
            Some(entry) => {
                if entry.contact.addr == contact.addr {
                    entry.seen = now;
                }
                false
            }
            None => self.wants(contact),
        }
    }

    /// Whether there is room for a node that is not in it.
    pub fn wants(&self, contact: &Contact) -> bool {
        let n = self.index(&contact.id);
        let bucket = &self.buckets[n];
        let fits = contact.id.fits(contact.addr.ip());
        contact.id != self.own
            && !bucket.live.iter().any(|entry| entry.contact.id == contact.id)
            && (bucket.live.len() < capacity(n) || self.may_split(n) || bucket.has_worse(fits))
            && self.allows(n, contact)
    }

    /// A node is no longer who it was.
    pub fn remove(&mut self, contact: &Contact) {
        let n = self.index(&contact.id);
        if self.buckets[n].find(&contact.id).is_some_and(|entry| entry.contact.addr == contact.addr) {
            self.buckets[n].remove(&contact.id);
            self.promote(n);
        }
    }

    /// A node was asked and did not answer.
    pub fn failed(&mut self, contact: &Contact) {
        let n = self.index(&contact.id);
        let bucket = &mut self.buckets[n];
        let Some(entry) = bucket.find(&contact.id).filter(|entry| entry.contact.addr == contact.addr) else {
            return;
        };
        entry.fails = entry.fails.saturating_add(1);
        let (due, is_bad) = (entry.due(), entry.is_bad());
        bucket.quiet = bucket.quiet.min(due);
        if is_bad {
            bucket.remove(&contact.id);
            self.promote(n);
        }
    }

    /// The round trip to a node, if it is known.
    pub fn rtt(&self, contact: &Contact) -> Option<Duration> {
        let bucket = &self.buckets[self.index(&contact.id)];
        let entry = bucket.live.iter().find(|entry| entry.contact == *contact)?;
        Some(entry.rtt())
    }

    /// The `count` nodes closest to `target` among those who did not fail lately, closest first.
    pub fn closest(&self, target: &NodeId, count: usize) -> Vec<Contact> {
        self.closest_within(target, count, Scope::Loopback)
    }

    /// The same, to tell one who stands there: nodes further in than he does are none of his business.
    pub fn closest_within(&self, target: &NodeId, count: usize, most: Scope) -> Vec<Contact> {
        let shared = self.index(target);
        // Groups, each wholly closer than the next: who shares more with the target than we do; all that are deeper;
        // then outwards.
        let deeper = shared + 1..self.buckets.len();
        let outer = (0..shared).rev().map(|n| n..n + 1);
        let mut out = Vec::with_capacity(count);
        for group in [shared..shared + 1, deeper].into_iter().chain(outer) {
            if out.len() >= count {
                break;
            }
            self.closest_of(group, target, count, most, &mut out);
        }
        out
    }

    fn closest_of(
        &self,
        group: std::ops::Range<usize>,
        target: &NodeId,
        count: usize,
        most: Scope,
        out: &mut Vec<Contact>,
    ) {
        let all = self.buckets[group].iter().flat_map(|bucket| &bucket.live);
        let good = all.filter(|entry| entry.fails == 0 && entry.scope <= most);
        let mut found: Vec<_> = good.map(|e| (e.contact.id.distance(target), e.contact)).collect();
        let missing = count - out.len();
        if found.len() > missing {
            found.select_nth_unstable(missing);
            found.truncate(missing);
        }
        found.sort_unstable();
        out.extend(found.into_iter().map(|(_, contact)| contact));
    }

    /// The node that is longest due for a ping, and when it is or was due.
    pub fn stalest(&self) -> Option<(Time, Contact)> {
        self.iter()
            .map(|entry| (entry.due(), entry))
            .min_by_key(|(due, _)| *due)
            .map(|(due, e)| (due, e.contact))
    }

    /// The node that is longest due for a ping, if anybody is; it is to be asked. Looks only into buckets where somebody
    /// may be due.
    pub fn due(&mut self, now: Time) -> Option<Contact> {
        while let Some(bucket) = self.buckets.iter_mut().min_by_key(|b| b.quiet).filter(|b| b.quiet <= now) {
            if let Some(contact) = bucket.due(now) {
                return Some(contact);
            }
        }
        None
    }

    /// When somebody may be due for a ping: not sooner, perhaps later.
    pub fn quiet_until(&self) -> Time {
        self.buckets.iter().map(|bucket| bucket.quiet).min().unwrap_or(Time::ZERO)
    }

    /// Notes that a node is being asked, so that it is not due again at once.
    pub fn pinged(&mut self, now: Time, contact: &Contact) {
        let n = self.index(&contact.id);
        if let Some(entry) = self.buckets[n].find(&contact.id) {
            entry.pinged = now;
        }
    }

    /// A place in the bucket that is longest due for a refresh, if one is. Full buckets need none.
    pub fn to_refresh(&self, now: Time, rng: &mut Rng) -> Option<NodeId> {
        let (_, n) = self.least_refreshed().filter(|(due, _)| *due <= now)?;
        Some(self.place_in(n, rng))
    }

    /// When a bucket is or was due for a refresh.
    pub fn refresh_due(&self) -> Option<Time> {
        self.least_refreshed().map(|(due, _)| due)
    }

    fn least_refreshed(&self) -> Option<(Time, usize)> {
        let open = self.buckets.iter().enumerate().filter(|(n, bucket)| bucket.live.len() < capacity(*n));
        open.map(|(n, bucket)| (bucket.refresh, n)).min()
    }

    /// Notes that the bucket around `place` is being refreshed.
    pub fn refreshed(&mut self, now: Time, place: &NodeId) {
        let n = self.index(place);
        self.buckets[n].refresh = now + REFRESH;
    }

    /// Makes a refresh of all buckets due: the node has just found its place.
    pub fn age(&mut self, now: Time) {
        self.buckets.iter_mut().for_each(|bucket| bucket.refresh = now);
    }

    /// Whether the bucket of a node has room, so that asking it for neighbours is worth more than a ping.
    pub fn is_open_around(&self, id: &NodeId) -> bool {
        let n = self.index(id);
        self.buckets[n].live.len() < capacity(n)
    }

    /// Whether the bucket of a node has fewer than K.
    pub fn is_thin_around(&self, id: &NodeId) -> bool {
        self.buckets[self.index(id)].live.len() < K
    }

    /// A random place in the bucket of `id`.
    pub fn place_around(&self, id: &NodeId, rng: &mut Rng) -> NodeId {
        self.place_in(self.index(id), rng)
    }

    fn place_in(&self, n: usize, rng: &mut Rng) -> NodeId {
        let last = n + 1 == self.buckets.len();
        if last { self.own.within(n as u32, rng) } else { self.own.beside(n as u32, rng) }
    }

    fn index(&self, id: &NodeId) -> usize {
        (id.shared_bits(&self.own) as usize).min(self.buckets.len() - 1)
    }

    fn may_split(&self, n: usize) -> bool {
        n + 1 == self.buckets.len() && self.buckets.len() < NodeId::BITS as usize
    }

    /// Puts in a node that is not there, if there is room or somebody worse.
    fn enter(&mut self, entry: Entry) {
        let n = self.index(&entry.contact.id);
        let is_full = self.buckets[n].live.len() >= capacity(n);
        if is_full && self.may_split(n) {
            self.split();
            return self.enter(entry);
        }
        let bucket = &mut self.buckets[n];
        if is_full && !bucket.drop_worse(entry.fits) {
            return bucket.spare(entry);
        }
        bucket.join(entry);
    }

    fn split(&mut self) {
        let n = self.buckets.len() - 1;
        let own = self.own;
        let deeper = |entry: &Entry| entry.contact.id.shared_bits(&own) as usize > n;
        let last = &mut self.buckets[n];
        let new = Bucket {
            live: last.live.extract_if(.., |entry| deeper(entry)).collect(),
            spares: last.spares.extract_if(.., |entry| deeper(entry)).collect(),
            ..*last
        };
        self.buckets.push(new);
        self.buckets[n].trim(capacity(n));
        self.promote(n);
    }

    /// Fills a bucket from its spares.
    fn promote(&mut self, n: usize) {
        while self.buckets[n].live.len() < capacity(n) {
            let Some(entry) = self.buckets[n].take_spare() else { return };
            if self.allows(n, &entry.contact) {
                self.buckets[n].join(entry);
            }
        }
    }

    /// Whether the rules on addresses let a node in, and nobody would have to go for it but who fails.
    fn allows(&self, n: usize, contact: &Contact) -> bool {
        let ip = contact.addr.ip();
        if is_local(ip) {
            return !self.iter().any(|entry| entry.fails == 0 && entry.contact.addr == contact.addr);
        }
        let (host, site) = (Range::host(ip), Range::site(ip));
        let mut neighbours = 0;
        for (m, entry) in
            self.buckets.iter().enumerate().flat_map(|(m, b)| b.live.iter().map(move |e| (m, e)))
        {
            // Who shares the host shares the site.
            if entry.site == site {
                if m == n || (entry.fails == 0 && entry.host == host) {
                    return false;
                }
                neighbours += 1;
            }
        }
        neighbours < MAX_SITE
    }

    /// Evicts who stands in the way of a node that answered: the same socket address under another id (BEP 45), or
    /// a failing node at the same address. Whether it may come in.
    fn make_way(&mut self, n: usize, contact: &Contact) -> bool {
        let same = same_holder(contact.addr);
        let evict: Vec<NodeId> = self
            .iter()
            .filter(|e| e.contact.addr == contact.addr || (e.fails > 0 && same(e)))
            .map(|e| e.contact.id)
            .collect();
        for id in evict {
            let n = self.index(&id);
            self.buckets[n].remove(&id);
            self.promote(n);
        }
        self.allows(n, contact)
    }
}

/// Tells who stands at the same address: one node each; of local ones, one a port.
fn same_holder(addr: SocketAddr) -> impl Fn(&Entry) -> bool {
    let (local, host) = (is_local(addr.ip()), Range::host(addr.ip()));
    move |entry| if local { entry.contact.addr == addr } else { entry.host == host }
}

/// Nodes that bucket `n` holds.
fn capacity(n: usize) -> usize {
    WIDE.get(n).copied().unwrap_or(K)
}
