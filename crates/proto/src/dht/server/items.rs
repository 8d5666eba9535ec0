//! Items that others store with us (BEP 44).
//!
//! An item is forgotten two hours after it was last put. A mutable one is replaced only by a higher sequence number, and
//! only if `cas` names the one that is stored. Caps hold for the whole and for one network; a full store drops the item
//! farthest from our id.
//!
//! It does not look at signatures: an [`Item`] has been checked. Tested by rules, and against a naive model by the fuzz
//! target `dht_node`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::dht::id::{farthest, is_local};
use crate::dht::item::Item;
use crate::dht::message::code;
use crate::dht::range::Range;
use crate::ids::NodeId;
use crate::time::Time;

/// How long an item is kept (BEP 44).
pub const ITEM_LIFE: Duration = Duration::from_secs(2 * 3600);

/// What the store may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ItemLimits {
    /// Items; each takes some 1.2 KiB at most.
    pub items: usize,
    /// Items of one network.
    pub site_items: usize,
}

impl Default for ItemLimits {
    fn default() -> Self {
        Self { items: 2000, site_items: 100 }
    }
}

#[derive(Clone, Debug)]
struct Stored {
    item: Item,
    at: Time,
    /// Who put it first.
    site: Range,
}

/// The store.
#[derive(Clone, Debug)]
pub struct ItemStore {
    limits: ItemLimits,
    items: BTreeMap<NodeId, Stored>,
    sites: BTreeMap<Range, usize>,
}

impl ItemStore {
    /// An empty store.
    pub const fn new(limits: ItemLimits) -> Self {
        Self { limits, items: BTreeMap::new(), sites: BTreeMap::new() }
    }

    /// Items in it.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// What is kept under a key.
    pub fn get(&self, target: &NodeId) -> Option<&Item> {
        self.items.get(target).map(|stored| &stored.item)
    }

    /// Keeps an item that somebody at `ip` sent.
    ///
    /// # Errors
    /// Gives code and words of the refusal.
    pub fn put(
        &mut self,
        now: Time,
        own: &NodeId,
        ip: IpAddr,
        item: Item,
        cas: Option<i64>,
    ) -> Result<(), (i64, &'static str)> {
        let target = item.target();
        if let Some(stored) = self.items.get_mut(&target) {
            may_replace(&stored.item, &item, cas)?;
            (stored.item, stored.at) = (item, now);
            return Ok(());
        }
        let site = Range::site(ip);
        let share = self.sites.get(&site).copied().unwrap_or(0);
        if !is_local(ip) && share >= self.limits.site_items {
            return Err((code::SERVER, "your network has its share"));
        }
        if self.items.len() >= self.limits.items && !self.drop_farther(own, &target) {
            return Err((code::SERVER, "the store is full"));
        }
        *self.sites.entry(site).or_default() += 1;
        self.items.insert(target, Stored { item, at: now, site });
        Ok(())
    }

    /// Forgets items whose time is over.
    pub fn expire(&mut self, now: Time) {
        let gone: Vec<NodeId> =
            self.items.iter().filter(|(_, s)| now.since(s.at) >= ITEM_LIFE).map(|(key, _)| *key).collect();
        gone.iter().for_each(|key| self.remove(key));
    }

    fn drop_farther(&mut self, own: &NodeId, target: &NodeId) -> bool {
        let farther = farthest(&self.items, own).filter(|key| key.distance(own) > target.distance(own));
        farther.inspect(|key| self.remove(key)).is_some()
    }

    fn remove(&mut self, key: &NodeId) {
        let Some(stored) = self.items.remove(key) else { return };
        if let Some(count) = self.sites.get_mut(&stored.site) {
            *count -= 1;
            if *count == 0 {
                self.sites.remove(&stored.site);
            }
        }
    }
}

/// An immutable item is replaced by itself.
fn may_replace(old: &Item, new: &Item, cas: Option<i64>) -> Result<(), (i64, &'static str)> {
    let (Some(before), Some(after)) = (old.seq(), new.seq()) else { return Ok(()) };
    if cas.is_some_and(|cas| cas != before) {
        return Err((code::CAS_MISMATCH, "what is stored has another sequence number"));
    }
    if after < before || (after == before && old.value() != new.value()) {
        return Err((code::SEQ_TOO_OLD, "what is stored is newer"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: NodeId = NodeId([0; 20]);
    const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(8, 8, 8, 8));

    fn at(secs: u64) -> Time {
        Time::from_micros(secs * 1_000_000)
    }

    fn number(n: usize) -> Item {
        Item::immutable(format!("i{n}e").as_bytes()).unwrap()
    }

    #[test]
    fn a_mutable_item_only_rises_and_cas_must_name_what_is_there() {
        let mut store = ItemStore::new(ItemLimits::default());
        let signed = |seq, value: &[u8]| Item::sign(&[1; 32], b"", seq, value).unwrap();
        let mut put = |secs, item, cas| store.put(at(secs), &OWN, HOME, item, cas).map_err(|(code, _)| code);
        assert_eq!(put(0, signed(5, b"1:a"), Some(99)), Ok(()), "cas is nothing where nothing is");
        assert_eq!(put(1, signed(4, b"1:b"), None), Err(code::SEQ_TOO_OLD));
        assert_eq!(put(1, signed(5, b"1:b"), None), Err(code::SEQ_TOO_OLD));
        assert_eq!(put(1, signed(6, b"1:b"), Some(4)), Err(code::CAS_MISMATCH));
        assert_eq!(put(7000, signed(5, b"1:a"), Some(5)), Ok(()), "the same again");
        assert_eq!(put(7001, signed(6, b"1:b"), Some(5)), Ok(()));
        store.expire(at(14_200));
        assert_eq!(store.get(&signed(0, b"1:x").target()).and_then(Item::seq), Some(6));
        store.expire(at(14_201));
        assert!(store.is_empty() && store.sites.is_empty());
    }

    #[test]
    fn a_full_store_keeps_what_is_near_and_a_network_has_a_share() {
        let mut store = ItemStore::new(ItemLimits { items: 10, site_items: 4 });
        let mut put =
            |n: usize, third: u8| store.put(at(0), &OWN, [9, 9, third, 1].into(), number(n), None).is_ok();
        assert_eq!((0..6).filter(|n| put(*n, 0)).count(), 4);
        (0..200).for_each(|n| _ = put(n, n as u8));
        let mut targets: Vec<_> = (0..200).map(|n| number(n).target()).collect();
        targets.sort();
        assert_eq!(store.len(), 10);
        assert!(store.items.keys().all(|key| *key <= targets[12]), "bar what the share kept out");
    }
}
