//! Who gives way when connections are scarce.
//!
//! - *To a newcomer that calls us* while we are full: the one with the lowest canonical priority (BEP 40) among those
//!   that are not useful, if the newcomer's is higher. Nobody can choose to have a high priority with everyone, so a
//!   flood gets no more than its share of addresses; and because both ends rank their connection alike, what remains
//!   is a random graph. Only strictly higher ones get in, so it comes to rest. To a seed a peer that says nothing of
//!   interest for [`PATIENCE`] is worth less than any newcomer. (Not to a leech: in a young crowd nobody has anything
//!   for anybody, and all would turn over without end.)
//! - *Idle ones* go at once near the limit, when for [`IDLE`] neither side wanted anything; and while we only upload,
//!   those that want something and are served, but take nothing for [`SILENT`], if others need the place.
//! - *The worst* go every [`PERIOD`] while we are full and know whom else to try: one in [`PART`], first those that never
//!   gave nor took, then those of whom nobody wants anything, then the longest silent, then the lowest priority. So a
//!   crowd that fits nobody's limit is mixed, and pieces leave their corner of it.
//!
//! *Useful* is a peer with which payload passed within [`USEFUL`], either way. The numbers are libtorrent's (4 % each
//! 5 min above 90 % of the limit; 10 min idle; 60 s without a request).
//!
//! Decisions only. It refuses to know what peers have: the torrent leaves out who must stay. Tested by examples.

use std::time::Duration;

use crate::ids::PeerKey;
use crate::time::Time;

/// For so long after payload passed a peer is useful.
pub(super) const USEFUL: Duration = Duration::from_secs(60);
/// Neither side wanted anything for so long.
pub(super) const IDLE: Duration = Duration::from_secs(600);
/// A seed waits so long for a caller to be interested. Honest ones are after two round trips.
const PATIENCE: Duration = Duration::from_secs(10);
/// A peer that could take payload took none for so long.
pub(super) const SILENT: Duration = Duration::from_secs(60);
/// How often the worst go.
pub(super) const PERIOD: Duration = Duration::from_secs(300);
/// One in so many of the limit goes then.
const PART: usize = 25;
/// Connections younger than this had no time to be of use.
const YOUNG: Duration = Duration::from_secs(120);

/// Who might give way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sitter {
    pub(super) peer: PeerKey,
    /// Its canonical priority.
    pub(super) priority: u32,
    pub(super) since: Time,
    /// When payload last passed; `None` if none ever did.
    pub(super) moved: Option<Time>,
    /// One of us wants something of the other.
    pub(super) wanted: bool,
}

impl Sitter {
    fn is_useful(&self, now: Time) -> bool {
        self.moved.is_some_and(|at| now.since(at) < USEFUL)
    }

    fn wants_nothing(&self, now: Time) -> bool {
        !self.wanted && now.since(self.since) >= PATIENCE
    }
}

/// Whether so many of `limit` connections are near it.
pub(super) const fn is_near(limit: usize, taken: usize) -> bool {
    taken * 10 >= limit * 9
}

/// Who would give way to a newcomer of this priority, the first one first; to one that calls a seed, or a leech.
pub(super) fn below(mut sitters: Vec<Sitter>, priority: u32, seeding: bool, now: Time) -> Vec<PeerKey> {
    let worthless = |s: &Sitter| seeding && s.wants_nothing(now);
    sitters.retain(|s| !s.is_useful(now) && (s.priority < priority || worthless(s)));
    sitters.sort_by_key(|s| (!worthless(s), s.priority, s.peer));
    sitters.iter().map(|s| s.peer).collect()
}

/// Who would go for the sake of the untried, the worst first.
pub(super) fn worst(mut sitters: Vec<Sitter>, now: Time) -> Vec<PeerKey> {
    sitters.retain(|s| !s.is_useful(now) && now.since(s.since) >= YOUNG);
    sitters.sort_by_key(|s| (s.moved.is_some(), s.wanted, s.moved, s.priority, s.peer));
    sitters.iter().map(|s| s.peer).collect()
}

/// How many of `limit` go at once.
pub(super) fn share(limit: usize) -> usize {
    limit.div_ceil(PART)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time::from_micros(1_000_000_000);

    fn sitter(peer: u64, priority: u32) -> Sitter {
        Sitter { peer: PeerKey(peer), priority, since: Time::ZERO, moved: None, wanted: false }
    }

    fn keys(peers: &[PeerKey]) -> Vec<u64> {
        peers.iter().map(|p| p.0).collect()
    }

    #[test]
    fn only_the_useless_below_the_newcomer_give_way_the_lowest_first() {
        let useful = Sitter { moved: Some(NOW - Duration::from_secs(59)), ..sitter(1, 0) };
        let past = Sitter { moved: Some(NOW - USEFUL), ..sitter(2, 3) };
        let young = Sitter { since: NOW, ..sitter(3, 2) };
        let all = vec![useful, past, young, sitter(4, 9), sitter(5, 4)];
        assert_eq!(keys(&below(all.clone(), 9, false, NOW)), [3, 2, 5]);
        assert!(below(all, 2, false, NOW).is_empty(), "not of equals");
    }

    #[test]
    fn to_a_seed_who_wants_nothing_is_worth_less_than_any_newcomer() {
        let wants = Sitter { wanted: true, ..sitter(1, 1) };
        let young = Sitter { since: NOW - Duration::from_secs(9), ..sitter(2, 2) };
        let took = Sitter { moved: Some(NOW - Duration::from_secs(59)), ..sitter(3, 0) };
        let all = vec![wants, young, took, sitter(4, 9), sitter(5, 8)];
        assert_eq!(keys(&below(all.clone(), 2, true, NOW)), [5, 4, 1]);
        assert_eq!(keys(&below(all, 2, false, NOW)), [1]);
    }

    #[test]
    fn the_worst_never_passed_anything_are_unwanted_and_silent() {
        let moved = |ago| Some(NOW - Duration::from_secs(ago));
        let young = Sitter { since: NOW - Duration::from_secs(119), ..sitter(6, 0) };
        let all = vec![
            Sitter { moved: moved(61), ..sitter(1, 0) },
            Sitter { moved: moved(500), ..sitter(2, 9) },
            Sitter { moved: moved(900), wanted: true, ..sitter(3, 0) },
            Sitter { wanted: true, ..sitter(4, 0) },
            sitter(5, 7),
            young,
            sitter(7, 3),
            Sitter { moved: moved(1), ..sitter(8, 0) },
        ];
        assert_eq!(keys(&worst(all, NOW)), [7, 5, 4, 2, 1, 3]);
    }

    #[test]
    fn four_in_a_hundred_and_one_at_least() {
        assert_eq!([1, 25, 80, 200].map(share), [1, 1, 4, 8]);
        assert!(is_near(80, 72) && !is_near(80, 71));
    }
}
