//! What will happen, in the order of time.
//!
//! One heap for everything. Deadlines of machines move all the time, mostly away: an entry is not taken out then but
//! found stale when its time comes ([`Alarm`]), so that a deadline that moves costs nothing. Equal times keep the order
//! in which they were entered, so that equal seeds give equal runs.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::net::SocketAddr;

use samara_proto::ids::PeerKey;
use samara_proto::time::Time;

use crate::net::Hop;

/// Something that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// A packet comes to a hop.
    Arrive(Hop),
    /// A gate has let a packet through.
    Gate(u32),
    /// A node's torrent wants to be ticked.
    Torrent(usize),
    /// A node's connection wants to be ticked.
    Conn(usize, PeerKey),
    /// A node's disk has a verdict.
    Disk(usize),
    /// A connection of the first to the second is made, or fails.
    Dial(usize, SocketAddr),
    /// Some link is cut.
    Cut,
    /// A node joins.
    Join(usize),
    /// A node leaves.
    Leave(usize),
    /// A node may ask the tracker.
    Ask(usize),
}

/// An entry. The earliest is the greatest, for the heap.
#[derive(Debug)]
struct Entry {
    /// Time, then number of the entry.
    key: u128,
    what: What,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        other.key.cmp(&self.key)
    }
}

/// All that is due.
#[derive(Debug, Default)]
pub struct Queue {
    heap: BinaryHeap<Entry>,
    entered: u64,
}

impl Queue {
    /// Enters something.
    pub fn push(&mut self, at: Time, what: What) {
        self.entered += 1;
        let key = u128::from(at.as_micros()) << 64 | u128::from(self.entered);
        self.heap.push(Entry { key, what });
    }

    /// Takes out what is due next.
    pub fn pop(&mut self) -> Option<(Time, What)> {
        self.heap.pop().map(|Entry { key, what }| (Time::from_micros((key >> 64) as u64), what))
    }
}

/// The one entry of a machine that is not stale.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alarm(pub(crate) Option<Time>);

impl Alarm {
    /// Sees to it that there is an entry no later than `deadline`.
    pub fn set(&mut self, queue: &mut Queue, now: Time, deadline: Option<Time>, what: What) {
        let Some(at) = deadline.map(|at| at.max(now)) else { return };
        if self.0.is_none_or(|set| at < set) {
            self.0 = Some(at);
            queue.push(at, what);
        }
    }

    /// Whether an entry for `now` is the one that counts. If so, it is used up.
    pub fn rings(&mut self, now: Time) -> bool {
        self.0.take_if(|at| *at == now).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(n: u64) -> Time {
        Time::from_micros(n)
    }

    #[test]
    fn in_order_of_time_then_of_entry() {
        let mut queue = Queue::default();
        for (time, node) in [(5, 0), (3, 1), (5, 2), (3, 3)] {
            queue.push(at(time), What::Torrent(node));
        }
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).map(|(_, what)| what).collect();
        assert_eq!(order, [1, 3, 0, 2].map(What::Torrent));
    }

    #[test]
    fn an_alarm_that_moved_rings_once_and_at_its_time() {
        let (mut queue, mut alarm) = (Queue::default(), Alarm::default());
        for deadline in [9, 5, 7] {
            alarm.set(&mut queue, at(1), Some(at(deadline)), What::Torrent(0));
        }
        let rings: Vec<_> = std::iter::from_fn(|| queue.pop()).map(|(t, _)| (t, alarm.rings(t))).collect();
        assert_eq!(rings, [(at(5), true), (at(9), false)]);
        alarm.set(&mut queue, at(9), Some(at(2)), What::Torrent(0));
        assert_eq!(queue.pop().map(|(t, _)| t), Some(at(9)), "never in the past");
    }
}
