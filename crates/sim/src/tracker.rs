//! A source of addresses as a tracker is one, and how long nodes stay.
//!
//! Whoever joins is given so many random addresses of those who are here, and asks again while it has few connections,
//! as a client asks its tracker ("numwant") and not more often than trackers like.

use std::time::Duration;

use samara_proto::rng::Rng;

/// What the tracker hands out.
#[derive(Clone, Copy, Debug)]
pub struct Tracker {
    /// Addresses at a time.
    pub hand: usize,
    /// A node asks at most so often.
    pub every: Duration,
    /// With so many connections a node does not ask.
    pub enough: usize,
}

impl Tracker {
    /// 20 addresses at a time, every 30 s while there are fewer than 15 connections: with those who call, a node has
    /// about 40 neighbours.
    pub const USUAL: Self = Self { hand: 20, every: Duration::from_secs(30), enough: 15 };
}

/// When a node leaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Leave {
    /// Never.
    #[default]
    Never,
    /// So long after it joined.
    After(Duration),
    /// So long after it was complete.
    Done(Duration),
    /// As soon as the others have one copy of everything between them.
    Spread,
}

/// Nodes that are here. Joining, leaving and choosing cost the same however many there are.
#[derive(Debug, Default)]
pub(crate) struct Present {
    nodes: Vec<usize>,
    /// Place of each node in `nodes`.
    place: Vec<Option<usize>>,
}

impl Present {
    pub(crate) fn join(&mut self, node: usize) {
        if self.place.len() <= node {
            self.place.resize(node + 1, None);
        }
        if self.place[node].is_none() {
            self.place[node] = Some(self.nodes.len());
            self.nodes.push(node);
        }
    }

    pub(crate) fn leave(&mut self, node: usize) {
        let Some(at) = self.place.get_mut(node).and_then(Option::take) else { return };
        self.nodes.swap_remove(at);
        if let Some(moved) = self.nodes.get(at) {
            self.place[*moved] = Some(at);
        }
    }

    pub(crate) fn has(&self, node: usize) -> bool {
        self.place.get(node).is_some_and(Option::is_some)
    }

    /// At most `n` different nodes but `node`, in a random order.
    pub(crate) fn some(&self, node: usize, n: usize, rng: &mut Rng) -> Vec<usize> {
        let mut all: Vec<usize> = self.nodes.iter().copied().filter(|other| *other != node).collect();
        let n = n.min(all.len());
        for i in 0..n {
            let other = i + rng.index(all.len() - i);
            all.swap(i, other);
        }
        all.truncate(n);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_left_are_not_handed_out_and_nobody_gets_itself() {
        let (mut present, mut rng) = (Present::default(), Rng::new(1));
        (0..10).for_each(|node| present.join(node));
        [0, 9, 4, 4].into_iter().for_each(|node| present.leave(node));
        assert!(!present.has(4) && present.has(5));
        let mut some = present.some(5, 99, &mut rng);
        some.sort_unstable();
        assert_eq!(some, [1, 2, 3, 6, 7, 8]);
        assert_eq!(present.some(5, 2, &mut rng).len(), 2);
    }
}
