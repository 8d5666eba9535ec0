//! The peers of one torrent: who is there, who wants what, and whom to pass an offer on to.

use std::collections::HashMap;
use std::time::Duration;

use super::ConnId;
use super::binary::Binary;
use super::reply::Counts;
use crate::rng::Rng;
use crate::time::Time;

/// A peer: its connection, and the id that it goes by there. A page may run several peers over one connection, and two
/// connections that use one id are two peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Seat {
    pub(super) conn: ConnId,
    pub(super) peer: Binary,
}

/// How much of the torrent a peer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It wants more.
    Leech,
    /// All it wants (BEP 21).
    Partial,
    /// All.
    Seed,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    stage: Stage,
    /// Index in its row.
    at: usize,
    heard: Time,
    /// When it will be looked whether it is silent.
    timer: Time,
}

/// A swarm.
#[derive(Debug, Default)]
pub(super) struct Swarm {
    /// Peers that want pieces.
    wanting: Vec<Seat>,
    /// Peers that want none.
    sated: Vec<Seat>,
    places: HashMap<Seat, Place>,
    seeds: u32,
    downloaded: u32,
}

impl Swarm {
    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    pub(super) fn contains(&self, seat: Seat) -> bool {
        self.places.contains_key(&seat)
    }

    /// Sets a member's timer to so long after it was last heard of; `None` if it is no member.
    pub(super) fn set_timer(&mut self, seat: Seat, patience: Duration) -> Option<Time> {
        let place = self.places.get_mut(&seat)?;
        place.timer = place.heard + patience;
        Some(place.timer)
    }

    /// Notes that a member is alive.
    pub(super) fn touch(&mut self, seat: Seat, now: Time) {
        if let Some(place) = self.places.get_mut(&seat) {
            place.heard = now;
        }
    }

    /// What a member is, if it is one.
    pub(super) fn stage(&self, seat: Seat) -> Option<Stage> {
        self.places.get(&seat).map(|place| place.stage)
    }

    /// Adds a member, or notes what became of it.
    pub(super) fn put(&mut self, seat: Seat, stage: Stage, now: Time) {
        let timer = self.remove(seat).unwrap_or(now);
        let row = self.row(stage);
        let at = row.len();
        row.push(seat);
        self.seeds += u32::from(stage == Stage::Seed);
        self.places.insert(seat, Place { stage, at, heard: now, timer });
    }

    /// One more download was completed.
    pub(super) fn completed(&mut self) {
        self.downloaded = self.downloaded.saturating_add(1);
    }

    /// Takes a member out, if it is one, and gives its timer.
    pub(super) fn remove(&mut self, seat: Seat) -> Option<Time> {
        let Place { stage, at, timer, .. } = self.places.remove(&seat)?;
        self.seeds -= u32::from(stage == Stage::Seed);
        let row = self.row(stage);
        row.swap_remove(at);
        if let Some(moved) = row.get(at).copied()
            && let Some(place) = self.places.get_mut(&moved)
        {
            place.at = at;
        }
        Some(timer)
    }

    fn row(&mut self, stage: Stage) -> &mut Vec<Seat> {
        if stage == Stage::Leech { &mut self.wanting } else { &mut self.sated }
    }

    pub(super) fn counts(&self) -> Counts {
        let all = u32::try_from(self.places.len()).unwrap_or(u32::MAX);
        Counts { complete: self.seeds, incomplete: all - self.seeds, downloaded: self.downloaded }
    }

    /// Up to `n` different members at random and in any order, of whom a connection with `from` makes sense: never itself, and for one that
    /// wants nothing only those that do.
    pub(super) fn choose(&self, from: Seat, n: usize, rng: &mut Rng) -> Vec<Seat> {
        let Some(place) = self.places.get(&from) else { return Vec::new() };
        let wants = place.stage == Stage::Leech;
        let (sated, own): (&[Seat], _) = if wants { (&self.sated, place.at) } else { (&[], usize::MAX) };
        let others = self.wanting.len() + sated.len() - usize::from(wants);
        let picks = distinct(others, n, rng).into_iter();
        // The member itself is stepped over; behind it everything is one further.
        let seats = picks
            .map(|i| i + usize::from(i >= own))
            .filter_map(|i| self.wanting.get(i).or_else(|| sated.get(i - self.wanting.len())).copied());
        // The same id over another connection is mostly what is left of one that broke.
        seats.filter(|seat| seat.peer != from.peer).collect()
    }
}

/// Up to `n` different numbers below `len`, every set alike likely (Floyd's method, Bentley 1987), and every order, since
/// callers may need the first few only: drawn so, the last numbers never come first.
fn distinct(len: usize, n: usize, rng: &mut Rng) -> Vec<usize> {
    let mut chosen = Vec::with_capacity(n.min(len));
    for top in len.saturating_sub(n)..len {
        let pick = rng.index(top + 1);
        chosen.push(if chosen.contains(&pick) { top } else { pick });
    }
    rng.shuffle(&mut chosen);
    chosen
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn seat(n: u8) -> Seat {
        Seat { conn: ConnId(n.into()), peer: Binary([n; 20]) }
    }

    fn swarm(stages: &[Stage]) -> Swarm {
        let mut swarm = Swarm::default();
        for (i, stage) in stages.iter().enumerate() {
            swarm.put(seat(i as u8), *stage, Time::ZERO);
        }
        swarm
    }

    /// How often each member is chosen in so many draws.
    fn draws(swarm: &Swarm, from: u8, n: usize, times: u32) -> BTreeMap<u64, u32> {
        let mut rng = Rng::new(1);
        let mut seen = BTreeMap::new();
        for _ in 0..times {
            let mut chosen = swarm.choose(seat(from), n, &mut rng);
            assert!(chosen.len() <= n);
            chosen.sort_unstable();
            let len = chosen.len();
            chosen.dedup();
            assert_eq!(chosen.len(), len, "each offer goes to another");
            chosen.iter().for_each(|seat| *seen.entry(seat.conn.0).or_default() += 1);
        }
        seen
    }

    #[test]
    fn everybody_else_is_chosen_alike_wherever_one_stands() {
        use Stage::{Leech, Partial, Seed};
        let swarm = swarm(&[Leech, Seed, Leech, Leech, Partial, Leech, Leech]);
        for own in [0, 2, 3, 5, 6] {
            let seen = draws(&swarm, own, 3, 6000);
            assert_eq!(seen.len(), 6, "all others, and only they: {seen:?}");
            assert!(!seen.contains_key(&own.into()));
            assert!(seen.values().all(|n| (2800..3200).contains(n)), "half of the draws each: {seen:?}");
        }
    }

    #[test]
    fn everybody_is_first_alike() {
        use Stage::{Leech, Seed};
        let swarm = swarm(&[Leech, Leech, Leech, Leech, Leech, Seed, Seed]);
        let mut rng = Rng::new(1);
        let mut seen = BTreeMap::<u64, u32>::new();
        for _ in 0..6000 {
            let chosen = swarm.choose(seat(0), 6, &mut rng);
            chosen.iter().take(3).for_each(|seat| *seen.entry(seat.conn.0).or_default() += 1);
        }
        assert!(seen.len() == 6 && seen.values().all(|n| (2800..3200).contains(n)), "{seen:?}");
    }

    #[test]
    fn who_wants_nothing_is_led_to_those_who_do() {
        use Stage::{Leech, Partial, Seed};
        let swarm = swarm(&[Seed, Leech, Seed, Leech, Partial]);
        for own in [0, 2, 4] {
            assert_eq!(draws(&swarm, own, 4, 50).keys().copied().collect::<Vec<_>>(), [1, 3]);
        }
        assert_eq!(draws(&swarm, 1, 9, 1), BTreeMap::from([(0, 1), (2, 1), (3, 1), (4, 1)]));
    }

    #[test]
    fn one_who_came_back_is_not_led_to_its_old_self() {
        let mut swarm = swarm(&[Stage::Leech, Stage::Leech]);
        let ghost = Seat { conn: ConnId(9), ..seat(0) };
        swarm.put(ghost, Stage::Leech, Time::ZERO);
        assert_eq!(draws(&swarm, 0, 5, 20), BTreeMap::from([(1, 20)]));
    }

    #[test]
    fn places_stay_true_whatever_comes_and_goes() {
        let mut rng = Rng::new(3);
        let (mut swarm, mut model) = (Swarm::default(), BTreeMap::new());
        for _ in 0..5000 {
            let who = rng.below(20) as u8;
            let stage = [Stage::Leech, Stage::Partial, Stage::Seed][rng.index(3)];
            if rng.below(3) == 0 {
                assert_eq!(swarm.remove(seat(who)).is_some(), model.remove(&who).is_some());
            } else {
                swarm.put(seat(who), stage, Time::ZERO);
                model.insert(who, stage);
            }
            assert_eq!(swarm.places.len(), model.len());
            assert_eq!(swarm.wanting.len() + swarm.sated.len(), model.len());
            for (seat, place) in &swarm.places {
                let row = if place.stage == Stage::Leech { &swarm.wanting } else { &swarm.sated };
                assert_eq!(row[place.at], *seat);
            }
            let seeds = model.values().filter(|stage| **stage == Stage::Seed).count();
            assert_eq!(swarm.counts().complete as usize, seeds);
            assert_eq!(swarm.counts().incomplete as usize, model.len() - seeds);
        }
    }
}
