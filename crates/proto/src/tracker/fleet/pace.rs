//! So many a second, evenly.

use std::time::Duration;

use crate::time::Time;

/// What may leave at once after a rest, as a part of a second.
const BURST: u64 = 5;

const SECOND: u64 = 1_000_000;

/// The generic cell rate algorithm (ITU-T I.371): one number says when the line of those that left so far would be
/// worked off.
#[derive(Debug)]
pub(super) struct Pace {
    gap: Duration,
    /// How far ahead of an even pace it may be.
    ahead: Duration,
    busy_until: Time,
}

impl Pace {
    /// `rate` a second; 0 counts as 1.
    pub(super) fn new(rate: u32) -> Self {
        let rate = u64::from(rate.max(1));
        let gap = SECOND.div_ceil(rate);
        let burst = (rate / BURST).max(1);
        Self {
            gap: Duration::from_micros(gap),
            ahead: Duration::from_micros(gap * (burst - 1)),
            busy_until: Time::ZERO,
        }
    }

    pub(super) fn may(&self, now: Time) -> bool {
        self.next() <= now
    }

    pub(super) fn take(&mut self, now: Time) {
        self.busy_until = self.busy_until.max(now) + self.gap;
    }

    /// When the next one may leave; perhaps in the past.
    pub(super) fn next(&self) -> Time {
        self.busy_until - self.ahead
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_after_a_burst() {
        let mut pace = Pace::new(50);
        let mut now = Time::from_micros(1000 * SECOND);
        let mut left = Vec::new();
        while left.len() < 200 {
            if pace.may(now) {
                pace.take(now);
                left.push(now);
            } else {
                assert!(pace.next() > now);
                now = pace.next();
            }
        }
        assert_eq!(left.iter().filter(|at| **at == left[0]).count(), 10);
        assert!(left.windows(61).all(|span| span[60].since(span[0]) >= Duration::from_secs(1)));
        assert_eq!(left[199].since(left[0]), Duration::from_millis(190 * 20));
        let mut slow = Pace::new(0);
        slow.take(now);
        assert_eq!(slow.next(), now + Duration::from_secs(1));
    }
}
