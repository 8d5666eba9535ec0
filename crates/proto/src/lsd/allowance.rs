//! How often something may happen: so often at once, and then once a while.

use std::time::Duration;

use crate::time::Time;

/// A rate. Idle time saves up to `burst`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    /// One comes back after so long.
    pub(super) every: Duration,
    /// So many at once; at least 1.
    pub(super) burst: u32,
}

/// What is left of a rate. At first all is there.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Allowance {
    /// When all will be there again (the generic cell rate algorithm: nothing is to be refilled).
    full: Time,
}

impl Allowance {
    pub(super) const NONE_TAKEN: Self = Self { full: Time::ZERO };

    /// How many may happen now.
    pub(super) fn left(self, now: Time, rate: Rate) -> u32 {
        let missing = self.full.since(now).as_micros().div_ceil(rate.every.as_micros().max(1));
        rate.burst.saturating_sub(u32::try_from(missing).unwrap_or(u32::MAX))
    }

    /// When so many may happen.
    pub(super) fn ready(self, count: u32, rate: Rate) -> Time {
        self.full - rate.every * rate.burst.saturating_sub(count)
    }

    /// Lets one happen; false if none is left.
    pub(super) fn take(&mut self, now: Time, rate: Rate) -> bool {
        let may = self.left(now, rate) > 0;
        if may {
            self.full = self.full.max(now) + rate.every;
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { every: Duration::from_secs(60), burst: 3 };

    fn at(seconds: u64) -> Time {
        Time::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn a_burst_and_then_one_a_minute() {
        let mut allowance = Allowance::default();
        let taken = |allowance: &mut Allowance, from, to| {
            (from..to).filter(|second| allowance.take(at(*second), RATE)).collect::<Vec<_>>()
        };
        assert_eq!(taken(&mut allowance, 10, 200), [10, 11, 12, 70, 130, 190]);
        assert_eq!(allowance.left(at(200), RATE), 0);
        assert_eq!(allowance.ready(1, RATE), at(250));
        assert_eq!((allowance.left(at(249), RATE), allowance.left(at(250), RATE)), (0, 1));
        assert_eq!((allowance.ready(3, RATE), allowance.left(at(370), RATE)), (at(370), 3));
        assert_eq!(taken(&mut allowance, 100_000, 100_010).len(), 3);
    }
}
