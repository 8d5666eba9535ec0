//! How long to wait: what trackers say, within bounds, and after failures.

use std::time::Duration;

use super::super::types::{AnnounceResponse, DEFAULT_INTERVAL, Retry};
use super::api::{Config, Problem};
use crate::rng::Rng;
use crate::time::Time;

/// A moment that never comes.
pub(super) const NEVER: Time = Time::from_micros(u64::MAX);

/// How long a family without an address is left alone, if the tracker can be reached over the other: names change, but
/// rarely. If it cannot, the cause may be that the whole network is away, and the usual back-off holds.
pub(super) const NO_ADDRESS: Duration = Duration::from_secs(3600);

/// Longest `retry in` that is followed (BEP 31).
const MOST_RETRY: Duration = Duration::from_secs(24 * 3600);

/// After an answer: until the next announce, and until the first that may be.
///
/// An interval of 0 is none. One below the `min interval` is that (as in libtorrent). Without a `min interval` the first
/// announce that may be is [`Config::early`] away.
pub(super) fn after_answer(config: &Config, answer: &AnnounceResponse) -> (Duration, Duration) {
    let seconds = |n: u32| Duration::from_secs(u64::from(n));
    let least = answer.min_interval.map(seconds);
    let interval = if answer.interval == 0 { DEFAULT_INTERVAL } else { answer.interval };
    let interval = seconds(interval).max(least.unwrap_or_default());
    let interval = interval.min(config.most_interval).max(config.least_interval);
    (interval, least.unwrap_or(config.early).max(config.least_interval).min(interval))
}

/// After the `failures`th failure in a row: until the next try. `None` is never.
pub(super) fn after_failure(
    config: &Config,
    rng: &mut Rng,
    failures: u8,
    problem: &Problem,
) -> Option<Duration> {
    let wait = back_off(config, failures);
    let least = match problem {
        Problem::Forbidden(_) => return None,
        Problem::Refused(failure) => match failure.retry {
            Some(Retry::Never) => return None,
            Some(Retry::Minutes(n)) => Duration::from_secs(60 * u64::from(n)).min(MOST_RETRY),
            None => Duration::ZERO,
        },
        Problem::NoAddress | Problem::Silent | Problem::Failed(_) | Problem::Useless(_) => Duration::ZERO,
    };
    Some(least.max(jitter(rng, wait)))
}

fn back_off(config: &Config, failures: u8) -> Duration {
    let doublings = u32::from(failures.saturating_sub(1)).min(20);
    config.back_off.saturating_mul(1 << doublings).min(config.most_back_off)
}

/// A quarter more or less, so that those who failed together do not come back together.
fn jitter(rng: &mut Rng, wait: Duration) -> Duration {
    let us = u64::try_from(wait.as_micros()).unwrap_or(u64::MAX / 2);
    Duration::from_micros(us - us / 4 + rng.below(us / 2 + 1))
}

#[cfg(test)]
mod tests {
    use super::super::super::types::Failure;
    use super::super::tests::config;
    use super::*;

    fn waits(interval: u32, min_interval: Option<u32>) -> (u64, u64) {
        let answer = AnnounceResponse { interval, min_interval, ..AnnounceResponse::default() };
        let (next, least) = after_answer(&config(), &answer);
        (next.as_secs(), least.as_secs())
    }

    #[test]
    fn what_trackers_say_is_bounded() {
        assert_eq!(waits(1800, None), (1800, 300));
        assert_eq!(waits(1800, Some(900)), (1800, 900));
        assert_eq!(waits(900, Some(1800)), (1800, 1800));
        assert_eq!(waits(120, None), (120, 120));
        assert_eq!(waits(0, None), (1800, 300));
        assert_eq!(waits(0, Some(0)), (1800, 60));
        assert_eq!(waits(1, Some(1)), (60, 60));
        assert_eq!(waits(u32::MAX, None), (21600, 300));
        assert_eq!(waits(u32::MAX, Some(u32::MAX)), (21600, 21600));
    }

    #[test]
    fn failures_wait_longer_each_time_up_to_an_hour() {
        let mut rng = Rng::new(1);
        for (failures, seconds) in [(1, 30), (2, 60), (3, 120), (8, 3600), (255, 3600)] {
            let all: Vec<Duration> = (0..100)
                .map(|_| after_failure(&config(), &mut rng, failures, &Problem::Silent).unwrap())
                .collect();
            let (least, most) = (all.iter().min().unwrap(), all.iter().max().unwrap());
            let expected = Duration::from_secs(seconds);
            assert!(*least >= expected * 3 / 4 && *most <= expected * 5 / 4 && *most > *least * 5 / 4);
        }
    }

    #[test]
    fn a_tracker_says_when_to_come_back() {
        let after = |retry| {
            let problem = Problem::Refused(Failure { reason: String::new(), retry });
            after_failure(&config(), &mut Rng::new(1), 1, &problem).map(|wait| wait.as_secs())
        };
        assert_eq!(after(Some(Retry::Minutes(5))), Some(300));
        assert!(after(Some(Retry::Minutes(0))).unwrap() < 40);
        assert_eq!(after(Some(Retry::Minutes(u32::MAX))), Some(86400));
        assert_eq!(after(Some(Retry::Never)), None);
    }
}
