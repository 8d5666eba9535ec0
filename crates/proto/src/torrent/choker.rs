//! Whom to serve (BEP 3 "choking").
//!
//! Every 10 s the slots go to the interested peers with the highest rate: what they send us while we download, what
//! they take from us once we have everything. A fifth of the slots, at least one, is optimistic: every 30 s those go to
//! the peers that waited longest for a turn. As long as there are slots for all, all are served, and at once.
//!
//! Decisions only; the torrent sends them. Deterministic: equal rates are ordered by key.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::ids::PeerKey;
use crate::time::Time;

const ROUND: Duration = Duration::from_secs(10);
const OPTIMISTIC: Duration = Duration::from_secs(30);

/// A peer that wants something of ours.
#[derive(Clone, Copy, Debug)]
pub(super) struct Contender {
    pub(super) peer: PeerKey,
    /// Bytes a second, in the direction that counts.
    pub(super) rate: u64,
    /// When its last optimistic turn began; `None` if it never had one.
    pub(super) last_turn: Option<Time>,
}

/// When the next decisions are due, and who has an optimistic slot.
#[derive(Debug)]
pub(super) struct Choker {
    slots: usize,
    next_round: Time,
    next_turn: Time,
    optimistic: BTreeSet<PeerKey>,
}

impl Choker {
    pub(super) fn new(slots: usize, now: Time) -> Self {
        let optimistic = BTreeSet::new();
        Self { slots: slots.max(1), next_round: now + ROUND, next_turn: now, optimistic }
    }

    /// Peers served at once.
    pub(super) const fn slots(&self) -> usize {
        self.slots
    }

    /// Whether the slots are to be given anew; if so, until the next round is over.
    pub(super) fn round_is_due(&mut self, now: Time) -> bool {
        let due = now >= self.next_round;
        if due {
            self.next_round = now + ROUND;
        }
        due
    }

    /// Who is to be served, of all that are interested. Adds to `turns` whose optimistic turn begins.
    pub(super) fn choose(
        &mut self,
        now: Time,
        mut contenders: Vec<Contender>,
        turns: &mut Vec<PeerKey>,
    ) -> BTreeSet<PeerKey> {
        if contenders.len() <= self.slots {
            return contenders.iter().map(|c| c.peer).collect();
        }
        contenders.sort_by_key(|c| (std::cmp::Reverse(c.rate), c.peer));
        let optimistic = (self.slots / 5).max(1);
        let regular = self.slots - optimistic;
        let mut rest = contenders.split_off(regular);
        self.optimistic.retain(|peer| rest.iter().any(|c| c.peer == *peer));
        if now >= self.next_turn {
            self.optimistic.clear();
            self.next_turn = now + OPTIMISTIC;
        }
        rest.sort_by_key(|c| (c.last_turn, c.peer));
        for contender in rest {
            if self.optimistic.len() < optimistic && self.optimistic.insert(contender.peer) {
                turns.push(contender.peer);
            }
        }
        contenders.iter().map(|c| c.peer).chain(self.optimistic.iter().copied()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contender(peer: u64, rate: u64) -> Contender {
        Contender { peer: PeerKey(peer), rate, last_turn: None }
    }

    fn keys(set: &BTreeSet<PeerKey>) -> Vec<u64> {
        set.iter().map(|p| p.0).collect()
    }

    #[test]
    fn everyone_while_there_are_slots() {
        let mut choker = Choker::new(3, Time::ZERO);
        let all = (0..3).map(|i| contender(i, 0)).collect();
        assert_eq!(keys(&choker.choose(Time::ZERO, all, &mut Vec::new())), [0, 1, 2]);
    }

    #[test]
    fn the_fastest_and_one_in_turn() {
        let mut choker = Choker::new(3, Time::ZERO);
        let mut peers: Vec<_> = (0..6).map(|i| contender(i, i * 100)).collect();
        let mut served = BTreeSet::new();
        for turn in 0..4 {
            let now = Time::ZERO + OPTIMISTIC * turn;
            let mut turns = Vec::new();
            let chosen = choker.choose(now, peers.clone(), &mut turns);
            assert!(chosen.contains(&PeerKey(5)) && chosen.contains(&PeerKey(4)) && chosen.len() == 3);
            let same = choker.choose(now + ROUND, peers.clone(), &mut Vec::new());
            assert_eq!(chosen, same, "a turn lasts longer than a round");
            turns.iter().for_each(|t| peers[t.0 as usize].last_turn = Some(now));
            served.extend(turns);
        }
        assert_eq!(keys(&served), [0, 1, 2, 3]);
    }

    #[test]
    fn rounds() {
        let mut choker = Choker::new(1, Time::ZERO);
        assert!(!choker.round_is_due(Time::ZERO));
        assert!(choker.round_is_due(Time::ZERO + ROUND));
        assert!(!choker.round_is_due(Time::ZERO + ROUND));
    }
}
