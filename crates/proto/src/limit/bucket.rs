//! One token bucket: how much may pass now, and when more may.

use std::time::Duration;

use crate::time::Time;

/// Microseconds of a second: what one byte of a remainder counts.
const SECOND: u64 = 1_000_000;

/// Most that idle time saves up, as a part of a second: 150 ms.
const BURST: (u64, u64) = (3, 20);

/// How much is collected before it is handed out, as a part of a second: 20 ms.
const TURN: u64 = 50;

/// A TCP segment on an Ethernet line (1500 bytes less IPv4, TCP and timestamps): less is not worth a packet.
const SEGMENT: u64 = 1448;

/// Tokens, in bytes.
#[derive(Clone, Debug)]
pub(super) struct Bucket {
    /// Bytes a second; `None` lets everything pass.
    rate: Option<u64>,
    /// Below zero if more passed than was granted.
    level: i64,
    /// What was gained beyond whole bytes, in millionths of a byte.
    rest: u64,
    /// When `level` was true.
    at: Time,
}

impl Bucket {
    /// An empty bucket. A rate of 0 counts as 1.
    pub(super) fn new(rate: Option<u64>, now: Time) -> Self {
        Self { rate: rate.map(|r| r.max(1)), level: 0, rest: 0, at: now }
    }

    /// Changes the rate from now on. What was saved up under the old one stays within the new burst.
    pub(super) fn set_rate(&mut self, rate: Option<u64>, now: Time) {
        self.refill(now);
        if self.rate.is_none() {
            *self = Self::new(rate, now);
        }
        self.rate = rate.map(|r| r.max(1));
        self.level = self.level.min(self.burst());
    }

    /// Gains what is due.
    pub(super) fn refill(&mut self, now: Time) {
        let elapsed = now.since(self.at).as_micros();
        self.at = self.at.max(now);
        let Some(rate) = self.rate else { return };
        let gained = u128::from(rate) * elapsed + u128::from(self.rest);
        let whole = i64::try_from(gained / u128::from(SECOND)).unwrap_or(i64::MAX);
        self.rest = (gained % u128::from(SECOND)) as u64;
        self.add(whole);
    }

    /// Puts tokens in; what is beyond the burst is lost.
    pub(super) fn add(&mut self, bytes: i64) {
        self.level = self.level.saturating_add(bytes);
        if self.level >= self.burst() {
            (self.level, self.rest) = (self.burst(), 0);
        }
    }

    /// Takes tokens out. What passes a bucket without a rate is not counted.
    pub(super) fn take(&mut self, bytes: u64) {
        if self.rate.is_some() {
            self.level = self.level.saturating_sub(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
    }

    /// Bytes that may pass now.
    pub(super) fn level(&self) -> u64 {
        if self.rate.is_some() { self.level.max(0) as u64 } else { u64::MAX }
    }

    /// Whether there is enough to be worth handing out to one who wants so many bytes.
    pub(super) fn is_open(&self, want: u64) -> bool {
        self.level() >= want.min(SEGMENT).min(self.turn())
    }

    /// Whether a turn's worth has been gained.
    pub(super) fn is_ripe(&self) -> bool {
        self.level() >= self.turn()
    }

    /// When it is ripe; `at`, if it is already.
    pub(super) fn ripe_at(&self) -> Time {
        let (Some(rate), false) = (self.rate, self.is_ripe()) else { return self.at };
        let missing = u128::from(self.turn().saturating_add_signed(self.level.saturating_neg()));
        let wait = (missing * u128::from(SECOND) - u128::from(self.rest)).div_ceil(u128::from(rate));
        self.at + Duration::from_micros(u64::try_from(wait).unwrap_or(u64::MAX))
    }

    pub(super) const fn is_limited(&self) -> bool {
        self.rate.is_some()
    }

    fn burst(&self) -> i64 {
        let rate = u128::from(self.rate.unwrap_or(0));
        let burst = (rate * u128::from(BURST.0) / u128::from(BURST.1)).max(1);
        i64::try_from(burst).unwrap_or(i64::MAX)
    }

    fn turn(&self) -> u64 {
        let rate = self.rate.unwrap_or(0);
        (rate / TURN).max(SEGMENT.min(self.burst() as u64 / 2)).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(us: u64) -> Time {
        Time::from_micros(us)
    }

    #[test]
    fn nothing_is_lost_to_rounding() {
        // 73 bytes a second, looked at every 0.1 s: never whole bytes.
        let mut bucket = Bucket::new(Some(73), at(0));
        let mut passed = 0;
        for step in 1..=1000 {
            bucket.refill(at(step * 100_000));
            let level = bucket.level();
            bucket.take(level);
            passed += level;
        }
        assert_eq!(passed, 7300);
    }

    #[test]
    fn a_day_saves_up_no_more_than_the_burst() {
        let mut bucket = Bucket::new(Some(1 << 20), at(0));
        bucket.refill(at(86_400_000_000));
        assert_eq!(bucket.level(), (1 << 20) * 3 / 20);
        bucket.add(1 << 30);
        assert_eq!(bucket.level(), (1 << 20) * 3 / 20);
    }

    #[test]
    fn a_debt_is_paid_first() {
        let mut bucket = Bucket::new(Some(1000), at(0));
        bucket.take(500);
        assert_eq!(bucket.level(), 0);
        assert_eq!(bucket.ripe_at(), at(575_000));
        bucket.refill(at(575_000));
        assert!(bucket.is_ripe() && bucket.level() == 75);
    }

    #[test]
    fn a_lower_rate_holds_at_once_and_none_lets_everything_pass() {
        let mut bucket = Bucket::new(Some(1_000_000), at(0));
        bucket.refill(at(1_000_000));
        bucket.set_rate(Some(100), at(1_000_000));
        assert_eq!(bucket.level(), 15);
        bucket.set_rate(None, at(1_000_000));
        bucket.take(u64::MAX);
        assert!(bucket.is_open(u64::MAX) && bucket.ripe_at() == at(1_000_000));
        bucket.set_rate(Some(100), at(2_000_000));
        assert_eq!(bucket.level(), 0, "what passed freely is no debt, and idle time no credit");
    }

    proptest! {
        /// A bucket that is asked at any times agrees with one that counts in millionths of a byte.
        #[test]
        fn agrees_with_a_naive_one(
            rate in prop_oneof![1u64..5000, 1u64 << 10..1 << 31],
            steps in prop::collection::vec((0u64..300_000, 0u64..1 << 28), 1..200),
        ) {
            let mut bucket = Bucket::new(Some(rate), at(0));
            let most = i128::from((rate * 3 / 20).max(1)) * 1_000_000;
            let (mut now, mut exact) = (0, 0i128);
            for (wait, want) in steps {
                now += wait;
                exact = (exact + i128::from(rate) * i128::from(wait)).min(most);
                bucket.refill(at(now));
                prop_assert_eq!(i128::from(bucket.level()), exact / 1_000_000);
                let take = want.min(bucket.level());
                bucket.take(take);
                exact -= i128::from(take) * 1_000_000;
            }
        }

        /// It is ripe when it says, and not a microsecond before.
        #[test]
        fn ripe_when_it_says(rate in 1u64..1 << 40, passed in 0u64..1 << 20) {
            let mut bucket = Bucket::new(Some(rate), at(0));
            bucket.take(passed);
            let when = bucket.ripe_at();
            let mut early = bucket.clone();
            early.refill(when - Duration::from_micros(1));
            prop_assert!(!early.is_ripe());
            bucket.refill(when);
            prop_assert!(bucket.is_ripe());
        }

        #[test]
        fn extremes_do_not_overflow(rate in any::<Option<u64>>(), times in prop::collection::vec(any::<u64>(), 0..8)) {
            let mut bucket = Bucket::new(rate, at(0));
            for us in times {
                bucket.refill(at(us));
                bucket.take(us);
                bucket.add(i64::MAX);
                bucket.take(u64::MAX);
                let _ = (bucket.ripe_at(), bucket.is_open(us), bucket.level());
            }
        }
    }
}
