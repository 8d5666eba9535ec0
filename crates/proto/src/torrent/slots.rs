//! How many peers to serve at once.
//!
//! Too many and each gets a trickle, pieces take long to become whole, and the choice between those who give and those
//! who only take means nothing; too few and the line is not full. So the number follows the measured capacity: the
//! square root of the highest upload rate of late in units of [`UNIT`] (4 up to 256 KiB/s, 8 at 1 MiB/s, 16 at 4 MiB/s, 80
//! at 100 MiB/s). The field's fixed numbers (libtorrent and Transmission 8, old mainline 4 to 7) lie where lines were when
//! they were chosen.
//!
//! The peers may be slower than that assumes. So when more want something than are served, one slot more is tried for a
//! while: it stays if more leaves than before. libtorrent's rate-based choker climbs likewise, by a threshold for each
//! slot.

use std::time::Duration;

use crate::time::Time;

/// Slots grow with the root of the capacity in these units, in bytes a second.
const UNIT: u64 = 16 * 1024;
/// Fewest and most slots.
const LEAST: usize = 4;
const MOST: usize = 256;
/// Slots before anything was measured.
const INITIAL: usize = 8;
/// How long a slot more is tried, and how long after a failure before the next attempt.
const TRIAL: Duration = Duration::from_secs(20);
const REST: Duration = Duration::from_secs(60);
/// The highest rate falls by this part in every round in which it is not reached, so that it follows a line that
/// became slower.
const FADE: u64 = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Climb {
    /// Nothing is tried until then.
    Rest(Time),
    /// One slot more is tried until then; so much left before, in bytes a second.
    Trial(Time, u64),
}

/// The number of upload slots of one torrent.
#[derive(Clone, Debug)]
pub(super) struct Slots {
    fixed: Option<usize>,
    best: u64,
    /// Slots beyond what the capacity says.
    extra: usize,
    climb: Climb,
}

impl Slots {
    /// Always `fixed` slots, or as the capacity says.
    pub(super) const fn new(fixed: Option<usize>, now: Time) -> Self {
        Self { fixed, best: 0, extra: 0, climb: Climb::Rest(now) }
    }

    /// Peers to serve at once, at least 1.
    pub(super) fn count(&self) -> usize {
        match self.fixed {
            Some(fixed) => fixed.max(1),
            None if self.best == 0 => INITIAL,
            None => (self.base() + self.extra).min(MOST),
        }
    }

    fn base(&self) -> usize {
        (usize::try_from((self.best / UNIT).isqrt()).unwrap_or(MOST)).clamp(LEAST, MOST)
    }

    /// Once a round: `rate` bytes a second leave, and more peers want something than are served, or not.
    pub(super) fn observe(&mut self, now: Time, rate: u64, contended: bool) {
        self.best = rate.max(self.best - self.best / FADE);
        if !contended {
            return;
        }
        self.climb = match self.climb {
            Climb::Rest(until) if now >= until => {
                self.extra += 1;
                Climb::Trial(now + TRIAL, rate)
            }
            Climb::Trial(until, before) if now >= until => self.judge(now, rate, before),
            climb => climb,
        };
    }

    /// A slot more pays if it brings half of what a slot brought before.
    fn judge(&mut self, now: Time, rate: u64, before: u64) -> Climb {
        let share = before / (2 * self.count() as u64);
        if rate > before.saturating_add(share) && self.count() < MOST {
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
            slots.observe(at(round * 10), rate, true);
        }
        slots.count()
    }

    #[test]
    fn follows_the_capacity() {
        assert_eq!(Slots::new(None, at(0)).count(), INITIAL);
        for (capacity, least, most) in
            [(1 << 16, 4, 5), (1 << 20, 8, 9), (1 << 22, 16, 17), (100 << 20, 80, 81)]
        {
            let count = run(capacity, u64::MAX / 1000);
            assert!((least..=most).contains(&count), "{capacity}: {count}");
        }
    }

    #[test]
    fn climbs_while_slow_peers_leave_the_line_idle() {
        // A line for 100 peers, whose rate alone would say 8 slots for what the first ones take.
        let count = run(10 << 20, 100 << 10);
        assert!(count >= 60, "{count}");
    }

    #[test]
    fn stands_still_without_contention_and_where_it_is_fixed() {
        let mut slots = Slots::new(None, at(0));
        (1..100).for_each(|round| slots.observe(at(round * 10), 1 << 20, false));
        assert_eq!(slots.count(), 8);
        let mut fixed = Slots::new(Some(3), at(0));
        (1..100).for_each(|round| fixed.observe(at(round * 10), 1 << 30, true));
        assert_eq!(fixed.count(), 3);
    }

    #[test]
    fn follows_a_line_that_became_slower() {
        let mut slots = Slots::new(None, at(0));
        slots.observe(at(10), 64 << 20, false);
        (2..400).for_each(|round| slots.observe(at(round * 10), 1 << 20, false));
        assert_eq!(slots.count(), 8);
    }
}
