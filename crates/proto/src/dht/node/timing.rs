//! How long to wait for an answer.
//!
//! Two times count from a question: after the *short* one the node is slow and nobody waits for it any more, after
//! [`DEAD`] it has not answered. The short time follows the node's own round trip where it is known, and the mean and
//! deviation of all round trips where it is not, as TCP does (RFC 6298), within bounds.
//!
//! Tested by examples.

use std::time::Duration;

/// After this a question is over. Answers in mainline that come at all come sooner (Jimenez et al. 2011).
pub(super) const DEAD: Duration = Duration::from_secs(6);
/// The least short time: less would take jitter for silence.
const MIN: Duration = Duration::from_millis(150);
/// The most, and the first.
const MAX: Duration = Duration::from_millis(1500);
/// What a node's own round trip may vary by beside being doubled.
const SLACK: Duration = Duration::from_millis(100);

/// Mean and deviation of all round trips, in microseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Timing {
    mean: u64,
    deviation: u64,
}

impl Timing {
    /// A question was answered after `rtt`.
    pub(super) fn sample(&mut self, rtt: Duration) {
        let rtt = rtt.as_micros().min(DEAD.as_micros()) as u64;
        if self.mean == 0 {
            *self = Self { mean: rtt.max(1), deviation: rtt / 2 };
            return;
        }
        let off = self.mean.abs_diff(rtt);
        self.deviation = self.deviation - self.deviation / 16 + off / 16;
        self.mean = (self.mean - self.mean / 16 + rtt / 16).max(1);
    }

    /// The short time for a node whose round trip is or is not known.
    pub(super) fn short(&self, known: Option<Duration>) -> Duration {
        let all = match self.mean {
            0 => MAX,
            mean => Duration::from_micros(mean + 4 * self.deviation).clamp(MIN, MAX),
        };
        known.map_or(all, |rtt| (2 * rtt + SLACK).clamp(MIN, all.max(2 * MIN)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_follow_what_was_measured() {
        let mut timing = Timing::default();
        assert_eq!(timing.short(None), MAX);
        (0..200).for_each(|_| timing.sample(Duration::from_millis(100)));
        let short = timing.short(None);
        assert!((MIN..Duration::from_millis(250)).contains(&short), "{short:?}");
        assert_eq!(timing.short(Some(Duration::from_millis(30))), Duration::from_millis(160));
        (0..200).for_each(|n| timing.sample(Duration::from_millis(50 + 900 * (n % 2))));
        assert_eq!(timing.short(None), MAX);
        timing.sample(Duration::MAX);
    }
}
