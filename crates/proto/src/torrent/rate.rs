//! Bytes a second, smoothed.
//!
//! Counting is one addition; the division happens when somebody looks at the clock, at most every half second.

use std::time::Duration;

use crate::time::Time;

/// Time constant of the smoothing: a rate that stopped falls to a third within it.
const SMOOTHING: Duration = Duration::from_secs(4);

/// Samples shorter than this say too little.
const SAMPLE: Duration = Duration::from_millis(500);

/// A meter. Exponentially weighted, in whole bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    since: Time,
    pending: u64,
    total: u64,
    per_second: Option<u64>,
}

impl Rate {
    pub(super) const fn new(now: Time) -> Self {
        Self { since: now, pending: 0, total: 0, per_second: None }
    }

    /// Counts bytes.
    pub(super) const fn add(&mut self, bytes: u64) {
        self.pending += bytes;
        self.total += bytes;
    }

    /// Folds what was counted into the rate.
    pub(super) fn update(&mut self, now: Time) {
        let elapsed = now.since(self.since);
        if elapsed < SAMPLE {
            return;
        }
        let sample = per_second(self.pending, elapsed);
        let weight = elapsed.min(SMOOTHING).as_millis() as u64;
        let scale = SMOOTHING.as_millis() as u64;
        self.per_second = Some(match self.per_second {
            None => sample,
            Some(old) => (sample.saturating_mul(weight) + old.saturating_mul(scale - weight)) / scale,
        });
        (self.pending, self.since) = (0, now);
    }

    /// Bytes a second; 0 until half a second has been seen.
    pub(super) fn get(&self) -> u64 {
        self.per_second.unwrap_or(0)
    }

    /// Bytes counted in all.
    pub(super) const fn total(&self) -> u64 {
        self.total
    }
}

/// Bytes a second; an instant counts as a microsecond.
pub(super) fn per_second(bytes: u64, elapsed: Duration) -> u64 {
    let micros = elapsed.as_micros().max(1);
    u64::try_from(u128::from(bytes) * 1_000_000 / micros).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Time {
        Time::from_micros(ms * 1000)
    }

    #[test]
    fn steady_stream_is_measured_exactly_and_fades_when_it_stops() {
        let mut rate = Rate::new(at(0));
        for second in 1..=10 {
            rate.add(1000);
            rate.update(at(second * 1000));
            assert_eq!(rate.get(), 1000);
        }
        assert_eq!(rate.total(), 10_000);
        for second in 11..=40 {
            rate.update(at(second * 1000));
        }
        assert!(rate.get() < 10);
    }

    #[test]
    fn too_short_a_sample_changes_nothing() {
        let mut rate = Rate::new(at(0));
        rate.add(1 << 40);
        rate.update(at(100));
        assert_eq!(rate.get(), 0);
        rate.update(at(1000));
        assert_eq!(rate.get(), 1 << 40);
    }
}
