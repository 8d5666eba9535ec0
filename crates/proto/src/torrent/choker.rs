//! Whom to serve (BEP 3 "choking").
//!
//! While there are slots for all who want something, all are served, and at once. Else every [`ROUND`]:
//!
//! *While we download*, tit for tat: the slots go to those who gave us most in the last [`super::window_sum::SPAN`]. A
//! fifth of the slots, at least one, is optimistic: it goes for [`TURN`] to who has had the fewest turns without giving
//! anything back, then to who waited longest; so a newcomer comes first, and who only takes comes last. (The field: 10 s
//! rounds, optimistic for 30 s, a fifth of the slots in libtorrent; but all of them give free riders the same turns as
//! others.)
//!
//! *As a seed* nobody gives, and rates would favour who is near, or who takes and passes nothing on. The slots go round:
//! who is served keeps its slot for [`TURN`], then who waited longest is next (libtorrent's round robin). Peers that were
//! seen to keep to themselves what only they were given (see `superseed`) come after all others, so that a seed's bytes go
//! where they multiply. What a peer says of itself counts for nothing: lying about its progress gains nothing.
//!
//! Decisions only; the torrent sends them. Deterministic: equal claims are ordered by key. How many slots: `slots`.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::ids::PeerKey;
use crate::time::Time;

const ROUND: Duration = Duration::from_secs(10);
/// Length of a turn, optimistic or of a seed's.
const TURN: Duration = Duration::from_secs(30);

/// A peer that wants something of ours.
#[derive(Clone, Copy, Debug)]
pub(super) struct Contender {
    pub(super) peer: PeerKey,
    /// Bytes it gave us of late.
    pub(super) gave: u64,
    /// Optimistic turns after which it had given nothing.
    pub(super) unrequited: u32,
    /// It keeps to itself what a seed gives it.
    pub(super) selfish: bool,
    /// When its last turn began; `None` if it never had one.
    pub(super) last_turn: Option<Time>,
    /// It is served now.
    pub(super) served: bool,
}

/// Who is served from now on.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Chosen {
    pub(super) served: BTreeSet<PeerKey>,
    /// Those whose turn begins.
    pub(super) turns: Vec<PeerKey>,
    /// Those whose optimistic turn is over.
    pub(super) ended: Vec<PeerKey>,
}

/// When the next decisions are due, and who has an optimistic slot.
#[derive(Debug)]
pub(super) struct Choker {
    next_round: Time,
    next_turn: Time,
    optimistic: BTreeSet<PeerKey>,
}

impl Choker {
    pub(super) fn new(now: Time) -> Self {
        Self { next_round: now + ROUND, next_turn: now, optimistic: BTreeSet::new() }
    }

    /// Whether the slots are to be given anew; if so, until the next round is over.
    pub(super) fn round_is_due(&mut self, now: Time) -> bool {
        let due = now >= self.next_round;
        if due {
            self.next_round = now + ROUND;
        }
        due
    }

    /// Who is to be served, of all that want something, with so many `slots`.
    pub(super) fn choose(
        &mut self,
        now: Time,
        contenders: Vec<Contender>,
        slots: usize,
        seeding: bool,
    ) -> Chosen {
        if contenders.len() <= slots {
            return Chosen { served: contenders.iter().map(|c| c.peer).collect(), ..Chosen::default() };
        }
        if seeding { take_turns(now, contenders, slots) } else { self.tit_for_tat(now, contenders, slots) }
    }

    fn tit_for_tat(&mut self, now: Time, mut contenders: Vec<Contender>, slots: usize) -> Chosen {
        contenders.sort_by_key(|c| (std::cmp::Reverse(c.gave), c.peer));
        let optimistic = (slots / 5).max(1);
        let rest = contenders.split_off(slots - optimistic);
        let mut chosen = Chosen::default();
        self.optimistic.retain(|peer| rest.iter().any(|c| c.peer == *peer));
        if now >= self.next_turn {
            chosen.ended.extend(std::mem::take(&mut self.optimistic));
            self.next_turn = now + TURN;
        }
        self.fill_optimistic(rest, optimistic, &mut chosen);
        chosen.served.extend(contenders.iter().map(|c| c.peer).chain(self.optimistic.iter().copied()));
        chosen
    }

    fn fill_optimistic(&mut self, mut rest: Vec<Contender>, slots: usize, chosen: &mut Chosen) {
        rest.sort_by_key(|c| (c.unrequited, c.last_turn, c.peer));
        for contender in rest {
            if self.optimistic.len() < slots && self.optimistic.insert(contender.peer) {
                chosen.turns.push(contender.peer);
            }
        }
    }
}

/// A seed's slots go round.
fn take_turns(now: Time, mut contenders: Vec<Contender>, slots: usize) -> Chosen {
    let over = |c: &Contender| !c.served || c.last_turn.is_none_or(|began| now.since(began) >= TURN);
    contenders.sort_by_key(|c| (c.selfish, over(c), c.last_turn, c.peer));
    contenders.truncate(slots);
    let turns = contenders.iter().filter(|c| over(c)).map(|c| c.peer).collect();
    Chosen { served: contenders.iter().map(|c| c.peer).collect(), turns, ended: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contender(peer: u64, gave: u64) -> Contender {
        let peer = PeerKey(peer);
        Contender { peer, gave, unrequited: 0, selfish: false, last_turn: None, served: false }
    }

    fn keys(set: &BTreeSet<PeerKey>) -> Vec<u64> {
        set.iter().map(|p| p.0).collect()
    }

    /// Applies a choice as the torrent does.
    fn apply(now: Time, peers: &mut [Contender], chosen: &Chosen) {
        for c in peers {
            c.served = chosen.served.contains(&c.peer);
            c.last_turn = if chosen.turns.contains(&c.peer) { Some(now) } else { c.last_turn };
            c.unrequited += u32::from(chosen.ended.contains(&c.peer) && c.gave == 0);
        }
    }

    #[test]
    fn everyone_while_there_are_slots() {
        for seeding in [false, true] {
            let all = (0..3).map(|i| contender(i, 0)).collect();
            let chosen = Choker::new(Time::ZERO).choose(Time::ZERO, all, 3, seeding);
            assert_eq!(keys(&chosen.served), [0, 1, 2]);
        }
    }

    #[test]
    fn who_gives_most_and_one_in_turn() {
        let mut choker = Choker::new(Time::ZERO);
        let mut peers: Vec<_> = (0..6).map(|i| contender(i, i * 100)).collect();
        let mut served = BTreeSet::new();
        for turn in 0..4 {
            let now = Time::ZERO + TURN * turn;
            let chosen = choker.choose(now, peers.clone(), 3, false);
            assert!(chosen.served.is_superset(&BTreeSet::from([PeerKey(5), PeerKey(4)])));
            assert_eq!(chosen.served.len(), 3);
            apply(now, &mut peers, &chosen);
            let same = choker.choose(now + ROUND, peers.clone(), 3, false);
            assert_eq!(chosen.served, same.served, "a turn lasts longer than a round");
            served.extend(chosen.turns);
        }
        assert_eq!(keys(&served), [0, 1, 2, 3]);
    }

    #[test]
    fn who_never_gives_back_has_its_turn_after_all_others() {
        let mut choker = Choker::new(Time::ZERO);
        // 0 and 1 never give; 2 and 3 give a little; 4 and 5 hold the other slots.
        let mut peers: Vec<_> = (0..6).map(|i| contender(i, if i < 2 { 0 } else { i })).collect();
        let mut turns = [0; 6];
        for turn in 0..40 {
            let now = Time::ZERO + TURN * turn;
            let chosen = choker.choose(now, peers.clone(), 3, false);
            chosen.turns.iter().for_each(|peer| turns[peer.0 as usize] += 1);
            apply(now, &mut peers, &chosen);
        }
        assert_eq!((turns[0], turns[1]), (1, 1), "one to show what they are");
        assert!(turns[2] > 15 && turns[3] > 15, "{turns:?}");
    }

    #[test]
    fn a_seed_serves_all_in_turn_whatever_they_take() {
        let mut choker = Choker::new(Time::ZERO);
        let mut peers: Vec<_> = (0..6).map(|i| contender(i, 0)).collect();
        let mut rounds = [0; 6];
        for round in 0..18 {
            let now = Time::ZERO + ROUND * round;
            let chosen = choker.choose(now, peers.clone(), 2, true);
            chosen.served.iter().for_each(|peer| rounds[peer.0 as usize] += 1);
            apply(now, &mut peers, &chosen);
        }
        assert_eq!(rounds, [6; 6]);
    }

    #[test]
    fn a_seed_serves_the_selfish_with_what_is_left() {
        let mut choker = Choker::new(Time::ZERO);
        let mut peers: Vec<_> = (0..5).map(|i| Contender { selfish: i < 3, ..contender(i, 0) }).collect();
        for round in 0..9 {
            let now = Time::ZERO + ROUND * round;
            let chosen = choker.choose(now, peers.clone(), 2, true);
            assert_eq!(keys(&chosen.served), [3, 4]);
            apply(now, &mut peers, &chosen);
        }
    }

    #[test]
    fn rounds() {
        let mut choker = Choker::new(Time::ZERO);
        assert!(!choker.round_is_due(Time::ZERO));
        assert!(choker.round_is_due(Time::ZERO + ROUND));
        assert!(!choker.round_is_due(Time::ZERO + ROUND));
    }
}
