//! Finds the record of an info-hash: open addressing, four bytes a place.
//!
//! A place holds eight bits of the keyed hash and 24 of the record's number, so that other records are hardly ever
//! looked at in vain. Removing moves later entries back; there are no tombstones that a flood could leave behind.

use super::slab::Id;

/// An empty place; also why the last record's number is not used.
const EMPTY: u32 = u32::MAX;

/// Most records: their numbers have 24 bits.
pub(super) const MAX_RECORDS: usize = (1 << ID_BITS) - 1;

const ID_BITS: u32 = 24;
const ID_MASK: u32 = (1 << ID_BITS) - 1;

/// Places of the first table.
const FIRST: usize = 16;

#[derive(Debug)]
pub(super) struct Table {
    /// A power of two of places, or none.
    places: Vec<u32>,
    len: usize,
}

impl Table {
    pub(super) const fn new() -> Self {
        Self { places: Vec::new(), len: 0 }
    }

    pub(super) fn bytes(&self) -> usize {
        self.places.len() * size_of::<u32>()
    }

    /// Bytes that one more entry may add.
    pub(super) fn growth(&self) -> usize {
        if self.is_full() { self.places.len().max(FIRST) * size_of::<u32>() } else { 0 }
    }

    /// At most seven eighths are taken.
    fn is_full(&self) -> bool {
        (self.len + 1) * 8 > self.places.len() * 7
    }

    /// The record with this hash of which `is` says yes.
    pub(super) fn find(&self, hash: u64, is: impl Fn(Id) -> bool) -> Option<Id> {
        self.probe(hash).map(|(_, id)| id).find(|id| is(*id))
    }

    /// Places and records that may be the one looked for, in order.
    fn probe(&self, hash: u64) -> impl Iterator<Item = (usize, Id)> + '_ {
        let mask = self.places.len().wrapping_sub(1);
        let places = (0..self.places.len()).map(move |i| (hash as usize).wrapping_add(i) & mask);
        let taken = places.map(|at| (at, self.places[at])).take_while(|(_, entry)| *entry != EMPTY);
        taken.filter(move |(_, entry)| entry >> ID_BITS == tag(hash)).map(|(at, entry)| (at, entry & ID_MASK))
    }

    /// Enters a record that is not there. `hash_of` gives the hash of any other.
    pub(super) fn insert(&mut self, hash: u64, id: Id, hash_of: impl Fn(Id) -> u64) {
        if self.is_full() {
            let size = (self.places.len() * 2).max(FIRST);
            for entry in std::mem::replace(&mut self.places, vec![EMPTY; size]) {
                if entry != EMPTY {
                    self.put(hash_of(entry & ID_MASK), entry);
                }
            }
        }
        self.put(hash, tag(hash) << ID_BITS | id & ID_MASK);
        self.len += 1;
    }

    fn put(&mut self, hash: u64, entry: u32) {
        let mask = self.places.len() - 1;
        let mut at = hash as usize & mask;
        // Ends, because an eighth of the places is empty.
        while self.places[at] != EMPTY {
            at = (at + 1) & mask;
        }
        self.places[at] = entry;
    }

    /// Takes a record out.
    pub(super) fn remove(&mut self, hash: u64, id: Id, hash_of: impl Fn(Id) -> u64) {
        let Some(mut hole) = self.probe(hash).find(|(_, found)| *found == id).map(|(at, _)| at) else {
            return;
        };
        let mask = self.places.len() - 1;
        let mut at = hole;
        loop {
            at = (at + 1) & mask;
            let entry = self.places[at];
            if entry == EMPTY {
                break;
            }
            let home = hash_of(entry & ID_MASK) as usize & mask;
            // It may go to the hole if that is not before its home, seen around the ring.
            if at.wrapping_sub(home) & mask >= at.wrapping_sub(hole) & mask {
                self.places[hole] = entry;
                hole = at;
            }
        }
        self.places[hole] = EMPTY;
        self.len -= 1;
    }
}

const fn tag(hash: u64) -> u32 {
    (hash >> 56) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn agrees_with_a_plain_list() {
        // Few bits of hash, so that entries collide and wrap around.
        let mut rng = Rng::new(3);
        let hashes: Vec<u64> = (0..400).map(|_| rng.below(40) << 56 | rng.below(64)).collect();
        let hash_of = |id: Id| hashes[id as usize];
        let (mut table, mut held) = (Table::new(), vec![false; hashes.len()]);
        for _ in 0..20_000 {
            let id = rng.index(hashes.len()) as Id;
            let hash = hash_of(id);
            assert_eq!(table.find(hash, |found| found == id).is_some(), held[id as usize]);
            if held[id as usize] {
                table.remove(hash, id, hash_of);
            } else {
                table.insert(hash, id, hash_of);
            }
            held[id as usize] ^= true;
        }
        let taken = table.places.iter().filter(|entry| **entry != EMPTY).count();
        assert_eq!(taken, held.iter().filter(|held| **held).count());
        assert_eq!(taken, table.len);
    }
}
