//! How long an address rests before it is tried again.
//!
//! Twice as long after each failure in a row, up to a limit, and up to a quarter longer at random, so that those who
//! lost each other at one moment do not meet again at one moment. What the user gave is worth trying sooner and for
//! ever, and so is for a while who gave us data; of the others [`MOST_FAILURES`] are enough: by then they were out of
//! reach for more than five minutes.
//!
//! It refuses to read a clock: the caller adds the wait to its time. Tested over all counts of failures.

use std::time::Duration;

use crate::rng::Rng;

/// Failures in a row after which an address that is not dear to us is forgotten.
pub(super) const MOST_FAILURES: u32 = 6;
/// First and longest wait, for who is dear to us and for the rest.
const DEAR: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
const OTHER: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(600));
/// How long a peer rests that had nothing for us and wanted nothing.
pub(super) const REST: Duration = Duration::from_secs(600);
/// How long an address waits that could not be tried, through no fault of its own.
const DEFERRED: Duration = Duration::from_secs(1);

/// The wait after this many failures in a row before the last one.
pub(super) fn wait(failures: u32, dear: bool, rng: &mut Rng) -> Duration {
    let (first, longest) = if dear { DEAR } else { OTHER };
    with_jitter((first * 2u32.pow(failures.min(16))).min(longest), 4, rng)
}

/// The wait of an address that could not be tried.
pub(super) fn deferred(rng: &mut Rng) -> Duration {
    with_jitter(DEFERRED, 1, rng)
}

fn with_jitter(wait: Duration, part: u64, rng: &mut Rng) -> Duration {
    wait + Duration::from_micros(rng.below(wait.as_micros() as u64 / part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_their_limit_and_scatter() {
        let mut rng = Rng::new(1);
        for (dear, first, longest) in [(true, 1, 60), (false, 5, 600)] {
            for failures in 0..40 {
                let expected = first * 2u64.saturating_pow(failures).min(longest);
                let expected = expected.min(longest);
                let waits: Vec<_> = (0..8).map(|_| wait(failures, dear, &mut rng)).collect();
                let range = Duration::from_secs(expected)..Duration::from_millis(expected * 1250);
                assert!(waits.iter().all(|w| range.contains(w)), "{failures}: {waits:?}");
                assert_ne!(waits[0], waits[1]);
            }
        }
    }
}
