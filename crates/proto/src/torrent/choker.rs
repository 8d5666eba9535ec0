//! Whom to serve (BEP 3 "choking").
//!
//! While there are slots for all who want something, all are served, and at once. Else every [`ROUND`]:
//!
//! *While we download*, tit for tat: first come those who gave us something in the last 20 s (`window_sum`), of these
//! those who gave more than we gave them, by whole turns, then those who gave most. Paying debts first makes what one
//! gets follow what one gives, where rates alone let an unlucky peer give to partners who are content without it (a swarm
//! of equals then ends a tenth later, in the simulator). A fifth of the slots, at least one, is optimistic: it goes for
//! [`TURN`] to who waited longest, a newcomer first. Who was served, has what we want and gave nothing waits a turn longer for
//! each round of that. Who has nothing that we want is not blamed for giving nothing, so that the poor get on.
//!
//! *As a seed* nobody gives, and rates would favour who is near, or who takes and passes nothing on. Debts from the time of
//! the download are paid, and who took a turn more than others comes after them; of those who stand alike the poorest is
//! next, who has the fewest pieces, so that all are done together (the last of a crowd decides when it is over). Who lies
//! about that gains the bytes of one turn, and who never gave anything owes for the first byte. Who had no slot for
//! [`PATIENCE`] goes first, however many newcomers there are.
//! Who takes far less than a slot carries, as over a slow path, makes room for others. Those who gave nothing back, or were
//! seen to keep to themselves what only they were given (`superseed`), come after all others, so that a seed's bytes go
//! where they multiply.
//!
//! *A slot that becomes free* between rounds goes to who owes nothing, and of these to the poorest.
//!
//! The field: 10 s rounds, optimistic for 30 s, a fifth of the slots in libtorrent. Decisions only; the torrent sends them.
//! Deterministic: equal claims are ordered by key. How many slots: `slots`.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::ids::PeerKey;
use crate::time::Time;

const ROUND: Duration = Duration::from_secs(10);
/// Length of a turn, optimistic or of a seed's.
const TURN: Duration = Duration::from_secs(30);
/// Who wants something of a seed and had no slot for so long is not kept waiting by newcomers.
const PATIENCE: Duration = Duration::from_secs(300);
/// Rounds without return after which a peer comes after all others with a seed: a whole turn.
const DODGER: u32 = 3;
/// Rounds without return that are counted.
const MOST_DODGED: u32 = 60;

/// A peer that wants something of ours.
#[derive(Clone, Copy, Debug)]
pub(super) struct Contender {
    pub(super) peer: PeerKey,
    /// Bytes it gave us of late.
    pub(super) gave: u64,
    /// It gave us something, however long ago.
    pub(super) ever_gave: bool,
    /// Bytes it gave us beyond those that we gave it; negative if it owes us.
    pub(super) credit: i64,
    /// Rounds in a row in which it was served, had what we want, and gave nothing.
    pub(super) dodged: u32,
    /// When last served it took far less than a slot carries.
    pub(super) sluggish: bool,
    /// It keeps to itself what a seed gives it.
    pub(super) selfish: bool,
    /// Pieces it says it has.
    pub(super) pieces: u32,
    /// When it last got or lost a slot; at first when it connected.
    pub(super) slot_since: Time,
    /// When its last turn began; `None` if it never had one.
    pub(super) last_turn: Option<Time>,
    /// It is served now.
    pub(super) served: bool,
}

impl Contender {
    /// How many turns we owe it; negative if it owes them. Less than a whole one counts for nothing, but with those who
    /// never gave.
    fn turns_owed(&self, turn: u64) -> i64 {
        let turn = i64::try_from(turn).unwrap_or(i64::MAX).max(1);
        if self.ever_gave { self.credit / turn } else { self.credit.div_euclid(turn) }
    }

    /// Since when it waits for an optimistic turn: later by a turn for each round in which it did not give back.
    fn waits_since(&self) -> Time {
        self.last_turn.unwrap_or(Time::ZERO) + TURN.saturating_mul(self.dodged.min(MOST_DODGED))
    }

    /// It takes and does not give, as far as one can see.
    const fn takes_only(&self) -> bool {
        self.selfish || self.dodged >= DODGER
    }
}

/// Who is served from now on.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Chosen {
    pub(super) served: BTreeSet<PeerKey>,
    /// Those whose turn begins.
    pub(super) turns: Vec<PeerKey>,
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
        turn: u64,
        seeding: bool,
    ) -> Chosen {
        if contenders.len() <= slots {
            return Chosen { served: contenders.iter().map(|c| c.peer).collect(), ..Chosen::default() };
        }
        if seeding {
            return take_turns(now, contenders, slots, turn);
        }
        self.tit_for_tat(now, contenders, slots, turn)
    }

    fn tit_for_tat(&mut self, now: Time, mut contenders: Vec<Contender>, slots: usize, turn: u64) -> Chosen {
        contenders.sort_by_key(|c| (std::cmp::Reverse((c.gave > 0, c.turns_owed(turn), c.gave)), c.peer));
        let optimistic = (slots / 5).max(1);
        let rest = contenders.split_off(slots - optimistic);
        let mut chosen = Chosen::default();
        self.optimistic.retain(|peer| rest.iter().any(|c| c.peer == *peer));
        if now >= self.next_turn {
            self.optimistic.clear();
            self.next_turn = now + TURN;
        }
        self.fill_optimistic(rest, optimistic, &mut chosen);
        chosen.served.extend(contenders.iter().map(|c| c.peer).chain(self.optimistic.iter().copied()));
        chosen
    }

    fn fill_optimistic(&mut self, mut rest: Vec<Contender>, slots: usize, chosen: &mut Chosen) {
        rest.sort_by_key(|c| (c.waits_since(), c.peer));
        for contender in rest {
            if self.optimistic.len() < slots && self.optimistic.insert(contender.peer) {
                chosen.turns.push(contender.peer);
            }
        }
    }
}

/// Those of `waiting` who get so many slots that are free before the next round.
pub(super) fn next_in_line(mut waiting: Vec<Contender>, slots: usize, turn: u64) -> Vec<PeerKey> {
    let owes = |c: &Contender| std::cmp::Reverse(c.turns_owed(turn).min(0));
    waiting.sort_by_key(|c| (c.takes_only(), owes(c), c.pieces, c.last_turn, c.peer));
    waiting.truncate(slots);
    waiting.iter().map(|c| c.peer).collect()
}

/// A seed's slots go round.
fn take_turns(now: Time, mut contenders: Vec<Contender>, slots: usize, turn: u64) -> Chosen {
    let over = |c: &Contender| !c.served || c.last_turn.is_none_or(|began| now.since(began) >= TURN);
    let owed = |c: &Contender| std::cmp::Reverse(c.turns_owed(turn));
    let patient = |c: &Contender| c.served || now.since(c.slot_since) < PATIENCE;
    contenders.sort_by_key(|c| {
        (c.takes_only(), c.sluggish, patient(c), owed(c), c.pieces, over(c), c.last_turn, c.peer)
    });
    contenders.truncate(slots);
    let turns = contenders.iter().filter(|c| over(c)).map(|c| c.peer).collect();
    Chosen { served: contenders.iter().map(|c| c.peer).collect(), turns }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of a turn in these tests.
    const UNIT: u64 = 1000;

    fn contender(peer: u64, gave: u64) -> Contender {
        let peer = PeerKey(peer);
        Contender {
            peer,
            gave,
            ever_gave: true,
            credit: 0,
            dodged: 0,
            sluggish: false,
            selfish: false,
            pieces: 0,
            slot_since: Time::ZERO,
            last_turn: None,
            served: false,
        }
    }

    fn keys(set: &BTreeSet<PeerKey>) -> Vec<u64> {
        set.iter().map(|p| p.0).collect()
    }

    /// Applies a choice as the torrent does.
    fn apply(now: Time, peers: &mut [Contender], chosen: &Chosen) {
        for c in peers {
            c.served = chosen.served.contains(&c.peer);
            c.last_turn = if chosen.turns.contains(&c.peer) { Some(now) } else { c.last_turn };
            c.dodged = if c.gave > 0 { 0 } else { c.dodged + u32::from(c.served) };
        }
    }

    #[test]
    fn everyone_while_there_are_slots() {
        for seeding in [false, true] {
            let all = (0..3).map(|i| contender(i, 0)).collect();
            let chosen = Choker::new(Time::ZERO).choose(Time::ZERO, all, 3, UNIT, seeding);
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
            let chosen = choker.choose(now, peers.clone(), 3, UNIT, false);
            assert!(chosen.served.is_superset(&BTreeSet::from([PeerKey(5), PeerKey(4)])));
            assert_eq!(chosen.served.len(), 3);
            apply(now, &mut peers, &chosen);
            let same = choker.choose(now + ROUND, peers.clone(), 3, UNIT, false);
            assert_eq!(chosen.served, same.served, "a turn lasts longer than a round");
            served.extend(chosen.turns);
        }
        assert_eq!(keys(&served), [0, 1, 2, 3]);
    }

    #[test]
    fn a_debt_comes_before_a_rate_and_a_gift_before_a_debt() {
        let mut choker = Choker::new(Time::ZERO);
        let peers = [
            Contender { credit: 3000, ..contender(0, 10) },
            contender(1, 500),
            contender(2, 400),
            Contender { credit: 9000, ..contender(3, 0) },
        ];
        let chosen = choker.choose(Time::ZERO, peers.to_vec(), 3, UNIT, false);
        assert_eq!(chosen.turns, [PeerKey(2)], "0 is owed, 1 gave most; 3 gives nothing any more");
        let less = Contender { credit: 999, ..peers[0] };
        let chosen = choker.choose(Time::ZERO, vec![less, peers[1], peers[2]], 2, UNIT, false);
        assert!(chosen.served.contains(&PeerKey(1)), "less than a turn is no debt");
    }

    #[test]
    fn who_never_gives_back_waits_longer_and_is_not_forgotten() {
        let mut choker = Choker::new(Time::ZERO);
        // 0 and 1 never give; 2 and 3 give a little; 4 and 5 hold the other slots.
        let mut peers: Vec<_> = (0..6).map(|i| contender(i, if i < 2 { 0 } else { i })).collect();
        let mut turns = [0; 6];
        for round in 0..360 {
            let now = Time::ZERO + ROUND * round;
            let chosen = choker.choose(now, peers.clone(), 3, UNIT, false);
            chosen.turns.iter().for_each(|peer| turns[peer.0 as usize] += 1);
            apply(now, &mut peers, &chosen);
        }
        assert!((2..15).contains(&turns[0]) && (2..15).contains(&turns[1]), "{turns:?}");
        assert!(turns[2] > 45 && turns[3] > 45, "{turns:?}");
    }

    #[test]
    fn a_seed_serves_all_in_turn_whatever_they_take() {
        let mut choker = Choker::new(Time::ZERO);
        let mut peers: Vec<_> = (0..6).map(|i| contender(i, 1)).collect();
        let mut rounds = [0; 6];
        for round in 0..18 {
            let now = Time::ZERO + ROUND * round;
            let chosen = choker.choose(now, peers.clone(), 2, UNIT, true);
            chosen.served.iter().for_each(|peer| rounds[peer.0 as usize] += 1);
            apply(now, &mut peers, &chosen);
        }
        assert_eq!(rounds, [6; 6]);
    }

    #[test]
    fn a_seed_pays_its_debts_first_and_serves_takers_with_what_is_left() {
        let choose = |peers: Vec<Contender>| {
            keys(&Choker::new(Time::ZERO).choose(Time::ZERO, peers, 2, UNIT, true).served)
        };
        let selfish = Contender { selfish: true, ..contender(0, 0) };
        let dodger = Contender { dodged: DODGER, ..contender(1, 0) };
        let owed = Contender { credit: 5000, ..contender(4, 0) };
        assert_eq!(choose(vec![selfish, dodger, contender(2, 0), contender(3, 0)]), [2, 3]);
        assert_eq!(choose(vec![selfish, dodger, contender(2, 0), contender(3, 0), owed]), [2, 4]);
        assert_eq!(choose(vec![selfish, dodger]), [0, 1], "there is room");
        let slow = Contender { sluggish: true, ..contender(5, 0) };
        assert_eq!(choose(vec![selfish, slow, contender(6, 0)]), [5, 6]);
    }

    #[test]
    fn of_those_who_stand_alike_a_seed_serves_the_poorest() {
        let choose = |now: Time, peers: &[Contender]| {
            keys(&Choker::new(Time::ZERO).choose(now, peers.to_vec(), 1, UNIT, true).served)
        };
        let with = |peer, pieces| Contender { pieces, slot_since: Time::ZERO + TURN, ..contender(peer, 0) };
        let now = Time::ZERO + TURN;
        assert_eq!(choose(now, &[with(0, 5), with(1, 3), with(2, 4)]), [1]);
        let took = Contender { credit: -1000, ..with(1, 3) };
        assert_eq!(choose(now, &[with(0, 5), took, with(2, 4)]), [2], "it had a turn");
        let forgotten = Contender { slot_since: Time::ZERO, ..with(0, 5) };
        assert_eq!(choose(Time::ZERO + PATIENCE, &[forgotten, with(1, 0)]), [0]);
    }

    #[test]
    fn a_free_slot_goes_to_the_poorest_who_owes_nothing() {
        let with = |peer, pieces, credit| Contender { pieces, credit, ..contender(peer, 0) };
        let dodger = Contender { dodged: DODGER, ..contender(0, 0) };
        let waiting = vec![dodger, with(1, 0, -5000), with(2, 1, -999), with(3, 9, 8000), with(4, 2, 0)];
        let order = |waiting| next_in_line(waiting, 9, UNIT).into_iter().map(|p| p.0).collect::<Vec<_>>();
        assert_eq!(order(waiting.clone()), [2, 4, 3, 1, 0]);
        let never_gave = Contender { ever_gave: false, ..with(2, 1, -1) };
        assert_eq!(order(vec![never_gave, with(3, 9, -999)]), [3, 2]);
        assert_eq!(next_in_line(waiting, 1, UNIT), [PeerKey(2)]);
    }

    #[test]
    fn rounds() {
        let mut choker = Choker::new(Time::ZERO);
        assert!(!choker.round_is_due(Time::ZERO));
        assert!(choker.round_is_due(Time::ZERO + ROUND));
        assert!(!choker.round_is_due(Time::ZERO + ROUND));
    }
}
