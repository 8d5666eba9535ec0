//! What will happen, in the order of time, and a quick way to find machines.
//!
//! The heap sorts keys of 32 bytes; what they stand for lies still beside it, since packets are long and move often in a
//! heap of ten thousand machines. Equal times keep the order in which they were entered.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hash::Hasher;

use samara_proto::time::Time;

/// What is due.
#[derive(Debug)]
pub struct Queue<T> {
    heap: BinaryHeap<Reverse<(Time, u64, usize)>>,
    things: Vec<Option<T>>,
    free: Vec<usize>,
    entered: u64,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), things: Vec::new(), free: Vec::new(), entered: 0 }
    }
}

impl<T> Queue<T> {
    /// Enters something.
    pub fn push(&mut self, at: Time, thing: T) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.things.push(None);
            self.things.len() - 1
        });
        self.things[slot] = Some(thing);
        self.entered += 1;
        self.heap.push(Reverse((at, self.entered, slot)));
    }

    /// Takes out what is due first, if it is due by `end`.
    pub fn pop(&mut self, end: Time) -> Option<(Time, T)> {
        let Reverse((at, _, slot)) = self.heap.peek().copied().filter(|Reverse((at, ..))| *at <= end)?;
        self.heap.pop();
        self.free.push(slot);
        self.things[slot].take().map(|thing| (at, thing))
    }
}

/// Hashes addresses that the simulator made up: nobody attacks it, and it looks up two for each packet.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quick(u64);

impl Hasher for Quick {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64((*byte).into()));
    }

    fn write_u8(&mut self, n: u8) {
        self.write_u64(n.into());
    }

    fn write_u16(&mut self, n: u16) {
        self.write_u64(n.into());
    }

    fn write_u32(&mut self, n: u32) {
        self.write_u64(n.into());
    }

    fn write_u64(&mut self, n: u64) {
        self.0 = (self.0.rotate_left(5) ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn write_usize(&mut self, n: usize) {
        self.write_u64(n as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_order_of_time_then_of_entry_and_not_too_soon() {
        let mut queue = Queue::default();
        for (time, name) in [(5, 'a'), (3, 'b'), (5, 'c'), (3, 'd'), (9, 'e')] {
            queue.push(Time::from_micros(time), name);
        }
        let mut take = |end| {
            std::iter::from_fn(|| queue.pop(Time::from_micros(end))).map(|(_, c)| c).collect::<String>()
        };
        assert_eq!((take(2), take(7), take(9)), (String::new(), "bdac".into(), "e".into()));
        assert!(queue.things.iter().all(Option::is_none) && queue.free.len() == queue.things.len());
    }
}
