//! The records of all swarms, and the lists they are in.
//!
//! A record is in exactly one list: a slot of the wheel, or the queue of those that were announced once.

use super::bag::Bag;
use crate::ids::WireHash;

/// Names a record.
pub(super) type Id = u32;

/// No record.
pub(super) const NONE: Id = u32::MAX;

/// Slots of the wheel, one a tick.
pub(super) const SLOTS: usize = 128;

/// The queue of swarms that were announced once, oldest first.
pub(super) const NEW: List = List(SLOTS as u8);

/// A list of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct List(u8);

/// The list of records that hold no swarm.
const FREE: List = List(u8::MAX);

impl List {
    /// The slot of a tick.
    pub(super) const fn slot(tick: u64) -> Self {
        Self((tick % SLOTS as u64) as u8)
    }
}

/// The peers of a swarm.
#[derive(Clone, Copy, Debug)]
pub(super) enum Peers {
    /// So few that looking through them is fastest.
    Few {
        /// Leeches first.
        bag: Bag,
        leeches: u16,
    },
    /// The crowd of this number.
    Many(u32),
}

/// A swarm of one address family.
#[derive(Clone, Copy, Debug)]
pub(super) struct Swarm {
    pub(super) hash: WireHash,
    /// Downloads completed since it is known.
    pub(super) completed: u32,
    pub(super) peers: Peers,
    next: Id,
    prev: Id,
    list: List,
}

/// Records, some of them free.
#[derive(Debug)]
pub(super) struct Slab {
    records: Vec<Swarm>,
    /// First free one; the next of each follows.
    free: Id,
    /// First and last of each list.
    ends: [(Id, Id); SLOTS + 1],
    len: usize,
}

impl Slab {
    pub(super) const fn new() -> Self {
        Self { records: Vec::new(), free: NONE, ends: [(NONE, NONE); SLOTS + 1], len: 0 }
    }

    /// Swarms.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// One more than the largest id there ever was.
    pub(super) fn end(&self) -> Id {
        self.records.len() as Id
    }

    pub(super) fn bytes(&self) -> usize {
        self.records.len() * size_of::<Swarm>()
    }

    /// Whether a new swarm takes new memory.
    pub(super) const fn is_full(&self) -> bool {
        self.free == NONE
    }

    pub(super) fn get(&self, id: Id) -> Option<&Swarm> {
        self.records.get(id as usize).filter(|swarm| swarm.list != FREE)
    }

    pub(super) fn get_mut(&mut self, id: Id) -> Option<&mut Swarm> {
        self.records.get_mut(id as usize).filter(|swarm| swarm.list != FREE)
    }

    /// A new swarm without peers, at the end of `list`.
    pub(super) fn insert(&mut self, hash: WireHash, list: List) -> Id {
        let peers = Peers::Few { bag: Bag::default(), leeches: 0 };
        let swarm = Swarm { hash, completed: 0, peers, next: NONE, prev: NONE, list: FREE };
        let id = self.free;
        let id = if let Some(record) = self.records.get_mut(id as usize) {
            self.free = record.next;
            *record = swarm;
            id
        } else {
            self.records.push(swarm);
            self.end() - 1
        };
        self.len += 1;
        self.append(id, list);
        id
    }

    /// Frees a record. Its peers must be gone.
    pub(super) fn remove(&mut self, id: Id) {
        self.detach(id);
        if let Some(record) = self.records.get_mut(id as usize) {
            (record.next, record.list) = (self.free, FREE);
            self.free = id;
            self.len -= 1;
        }
    }

    /// The first of a list.
    pub(super) fn first(&self, list: List) -> Option<Id> {
        let first = self.ends[usize::from(list.0)].0;
        (first != NONE).then_some(first)
    }

    /// Whether a swarm is in `list`.
    pub(super) fn is_in(&self, id: Id, list: List) -> bool {
        self.records.get(id as usize).is_some_and(|swarm| swarm.list == list)
    }

    /// Puts a swarm to the end of another list, or of the same.
    pub(super) fn move_to(&mut self, id: Id, list: List) {
        self.detach(id);
        self.append(id, list);
    }

    fn append(&mut self, id: Id, list: List) {
        let (first, last) = &mut self.ends[usize::from(list.0)];
        let prev = std::mem::replace(last, id);
        if *first == NONE {
            *first = id;
        }
        if let Some(before) = self.records.get_mut(prev as usize) {
            before.next = id;
        }
        if let Some(record) = self.records.get_mut(id as usize) {
            (record.prev, record.next, record.list) = (prev, NONE, list);
        }
    }

    fn detach(&mut self, id: Id) {
        let Some(Swarm { next, prev, list, .. }) = self.get(id).copied() else { return };
        match self.records.get_mut(prev as usize) {
            Some(before) => before.next = next,
            None => self.ends[usize::from(list.0)].0 = next,
        }
        match self.records.get_mut(next as usize) {
            Some(after) => after.prev = prev,
            None => self.ends[usize::from(list.0)].1 = prev,
        }
    }
}
