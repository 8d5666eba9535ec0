//! How many peers to serve at once.
//!
//! Too many and each gets a trickle, pieces take long to become whole, and the choice between those who give and those
//! who only take means nothing; too few and the line is not full. So the number follows the measured capacity: the
//! square root of the highest upload rate of late in units of [`UNIT`] (3 up to 512 KiB/s, 5 at 1 MiB/s, 11 at 4 MiB/s, 56
//! at 100 MiB/s). The field's fixed numbers (libtorrent and Transmission 8, old mainline 4 to 7) lie where lines were when
//! they were chosen.
//!
//! Torrents of one program share the line, and so the slots: of those that the capacity of all together says, a torrent
//! has the part that it carries of it, but no less than [`FEWEST`].
//!
//! The peers may be slower than that assumes. So when more want something than are served, one slot more is tried for a
//! while: it stays if more leaves than ever before. And while far less leaves than did before, since those who are served
//! have become slow, one slot more is opened every round. libtorrent's rate-based choker climbs likewise, by a threshold for each
//! slot.

use std::time::Duration;

use crate::ids::BLOCK_LEN;
use crate::time::Time;

/// Slots grow with the root of the capacity in these units, in bytes a second.
const UNIT: u64 = 32 * 1024;
/// Fewest slots of all torrents together, and of one: with less than one for who gives and one for who waits there is
/// no choice.
const LEAST: u64 = 3;
const FEWEST: usize = 2;
/// Most slots of one.
const MOST: usize = 256;
/// Slots before anything was measured.
const INITIAL: usize = 3;
/// How long a slot more is tried, and how long after a failure before the next attempt.
const TRIAL: Duration = Duration::from_secs(20);
const REST: Duration = Duration::from_secs(60);
/// The highest rate falls by this part in every second in which it is not reached, so that it follows a line that
/// became slower.
const FADE: u64 = 512;
/// Seconds of a turn.
const TURN: u64 = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Climb {
    /// Nothing is tried until then.
    Rest(Time),
    /// One slot more is tried until then; so much left before at best, in bytes a second.
    Trial(Time, u64),
}

/// The number of upload slots of one torrent.
#[derive(Clone, Debug)]
pub(super) struct Slots {
    fixed: Option<usize>,
    best: u64,
    /// What other torrents carry at present, in bytes a second.
    others: u64,
    /// Slots beyond what the capacity says.
    extra: usize,
    climb: Climb,
}

impl Slots {
    /// Always `fixed` slots, or as the capacity says.
    pub(super) const fn new(fixed: Option<usize>, now: Time) -> Self {
        Self { fixed, best: 0, others: 0, extra: 0, climb: Climb::Rest(now) }
    }

    /// Peers to serve at once, at least 1.
    pub(super) fn count(&self) -> usize {
        match self.fixed {
            Some(fixed) => fixed.max(1),
            None if self.best == 0 => INITIAL,
            None => (self.base() + self.extra).min(MOST),
        }
    }

    /// Our part of the slots of all: √(all / UNIT) · best / all.
    fn base(&self) -> usize {
        let all = self.best.saturating_add(self.others).max(1);
        let part = |slots: u64| usize::try_from(slots).unwrap_or(MOST);
        let least = part(LEAST.saturating_mul(self.best).div_ceil(all)).max(FEWEST);
        part(self.best / (all.saturating_mul(UNIT)).isqrt().max(1)).clamp(least, MOST)
    }

    /// All other torrents send so many bytes a second.
    pub(super) const fn share(&mut self, others: u64) {
        self.others = others;
    }

    /// Bytes that one slot carries in a turn of half a minute.
    pub(super) fn turn(&self) -> u64 {
        (self.best * TURN / self.count() as u64).max(BLOCK_LEN.into())
    }

    /// Once a second: `rate` bytes a second leave, and no more may than `limit`.
    pub(super) fn measure(&mut self, rate: u64, limit: Option<u64>) {
        self.best = rate.max(self.best - self.best / FADE).min(limit.unwrap_or(u64::MAX));
    }

    /// Far less leaves than could: `rate` bytes a second of what left at best.
    pub(super) const fn is_slack(&self, rate: u64) -> bool {
        rate < self.best / 4 * 3
    }

    /// Once a round: `rate` bytes a second leave, and more peers want something than are served, or not.
    pub(super) fn climb(&mut self, now: Time, rate: u64, contended: bool) {
        if !contended {
            return;
        }
        if self.is_slack(rate) {
            // Slow peers hold the slots. Not without end: where the path is what is slow, more only crowd it.
            self.extra = (self.extra + 1).min(self.base());
            self.climb = Climb::Rest(now + REST);
            return;
        }
        self.climb = match self.climb {
            Climb::Rest(until) if now >= until => {
                self.extra += 1;
                Climb::Trial(now + TRIAL, self.best)
            }
            Climb::Trial(until, before) if now >= until => self.judge(now, before),
            climb => climb,
        };
    }

    /// A slot more pays if it brings half of what a slot brought before, when most left.
    fn judge(&mut self, now: Time, before: u64) -> Climb {
        let share = before / (2 * self.count() as u64);
        if self.best > before.saturating_add(share) && self.count() < MOST {
            return Climb::Rest(now);
        }
        self.extra = self.extra.saturating_sub(1);
        Climb::Rest(now + REST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Time {
        Time::from_micros(secs * 1_000_000)
    }

    /// Runs ten minutes with a line of `capacity` bytes a second and peers that take `each`. Returns the slots.
    fn run(capacity: u64, each: u64) -> usize {
        let mut slots = Slots::new(None, at(0));
        for round in 1..=180 {
            let rate = capacity.min(slots.count() as u64 * each);
            (0..10).for_each(|_| slots.measure(rate, None));
            slots.climb(at(round * 10), rate, true);
        }
        slots.count()
    }

    #[test]
    fn follows_the_capacity() {
        assert_eq!(Slots::new(None, at(0)).count(), INITIAL);
        for (capacity, least, most) in
            [(1 << 16, 3, 4), (1 << 20, 5, 6), (1 << 22, 11, 12), (100 << 20, 56, 57)]
        {
            let count = run(capacity, u64::MAX / 1000);
            assert!((least..=most).contains(&count), "{capacity}: {count}");
        }
    }

    #[test]
    fn climbs_while_slow_peers_leave_the_line_idle() {
        // A line for 100 peers; what the first three take would say three slots.
        let count = run(10 << 20, 100 << 10);
        assert!(count >= 60, "{count}");
    }

    #[test]
    fn opens_more_while_slow_peers_hold_the_slots() {
        let mut slots = Slots::new(None, at(0));
        slots.measure(1 << 20, None);
        (1..=10).for_each(|round| slots.climb(at(round * 10), 1 << 16, true));
        assert_eq!(slots.count(), 10);
    }

    #[test]
    fn stands_still_without_contention_and_where_it_is_fixed() {
        let mut slots = Slots::new(None, at(0));
        slots.measure(1 << 20, None);
        (1..100).for_each(|round| slots.climb(at(round * 10), 1 << 20, false));
        assert_eq!(slots.count(), 5);
        let mut fixed = Slots::new(Some(3), at(0));
        fixed.measure(1 << 30, None);
        (1..100).for_each(|round| fixed.climb(at(round * 10), 1 << 30, true));
        assert_eq!(fixed.count(), 3);
    }

    #[test]
    fn torrents_that_share_a_line_share_its_slots() {
        let mut slots = Slots::new(None, at(0));
        slots.measure(4 << 20, None);
        let mut with = |others: u64| {
            slots.share(others);
            slots.count()
        };
        assert_eq!([0, 4 << 20, 12 << 20].map(&mut with), [11, 8, 5], "of 11, 16 and 22");
        assert_eq!(with(u64::MAX), 2, "nobody is left without a choice");
        let mut slow = Slots::new(None, at(0));
        slow.measure(64 << 10, None);
        slow.share(64 << 10);
        assert_eq!(slow.count(), 2);
        slow.share(1 << 10);
        assert_eq!(slow.count(), 3, "hardly anything leaves beside it");
    }

    #[test]
    fn follows_a_line_that_became_slower() {
        let mut slots = Slots::new(None, at(0));
        slots.measure(64 << 20, None);
        (0..4000).for_each(|_| slots.measure(1 << 20, None));
        assert_eq!(slots.count(), 5);
        slots.measure(1 << 20, Some(1 << 18));
        assert_eq!(slots.count(), 3, "a limit holds at once");
    }
}
