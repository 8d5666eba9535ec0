//! Bytes within a sliding window of time, for tit for tat: what was given long ago buys nothing.

use std::time::Duration;

use crate::time::Time;

/// Length of the window: two rounds of the choker, so that one pause does not cost the slot.
pub(super) const SPAN: Duration = Duration::from_secs(20);
/// Parts in which it slides.
const PARTS: usize = 5;

/// A sum that forgets.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct WindowSum {
    parts: [u64; PARTS],
    /// Number of the part that is being filled, counted from time zero.
    at: u64,
}

impl WindowSum {
    pub(super) fn add(&mut self, now: Time, bytes: u64) {
        self.slide(now);
        self.parts[(self.at % PARTS as u64) as usize] += bytes;
    }

    /// Bytes in the last [`SPAN`], or up to a part less.
    pub(super) fn get(&mut self, now: Time) -> u64 {
        self.slide(now);
        self.parts.iter().sum()
    }

    fn slide(&mut self, now: Time) {
        let at = now.as_micros() / (SPAN.as_micros() as u64 / PARTS as u64);
        let passed = at.saturating_sub(self.at).min(PARTS as u64);
        (0..passed).for_each(|n| self.parts[((self.at + 1 + n) % PARTS as u64) as usize] = 0);
        self.at = self.at.max(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Time {
        Time::from_micros(secs * 1_000_000)
    }

    #[test]
    fn keeps_what_is_young_and_forgets_what_is_old() {
        let mut sum = WindowSum::default();
        (0..100).for_each(|second| sum.add(at(second), 1000));
        assert_eq!(sum.get(at(99)), 20_000);
        assert_eq!(sum.get(at(104)), 12_000);
        assert_eq!(sum.get(at(500)), 0);
        sum.add(at(500), 7);
        assert_eq!(sum.get(at(519)), 7);
        assert_eq!(sum.get(at(520)), 0);
    }
}
