//! How often a remote's peer exchange is read (BEP 11).
//!
//! The BEP has a message a minute. Clients are late and then early, and some send what changed at once; so
//! [`AT_ONCE`] are read, and one more for each [`EACH`] that passes. That is what one teller can make us look at:
//! no more than 400 addresses a minute. Tested by an example.

use std::time::Duration;

use crate::time::Time;

/// Messages read one after the other.
const AT_ONCE: u32 = 4;
/// After so long one more is read.
const EACH: Duration = Duration::from_secs(30);

/// A count of messages that fades.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Frequency {
    /// When all that was heard will be forgotten.
    until: Time,
}

impl Frequency {
    /// Whether a message that comes now is read.
    pub(super) fn admits(&mut self, now: Time) -> bool {
        let until = self.until.max(now) + EACH;
        let admitted = until.since(now) <= EACH * AT_ONCE;
        if admitted {
            self.until = until;
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_at_once_and_then_one_each_half_minute() {
        let (mut frequency, at) = (Frequency::default(), |secs| Time::ZERO + Duration::from_secs(secs));
        let admitted =
            |frequency: &mut Frequency, secs| (0..9).filter(|_| frequency.admits(at(secs))).count();
        assert_eq!([0, 29, 30, 31, 90, 9000].map(|secs| admitted(&mut frequency, secs)), [4, 0, 1, 0, 2, 4]);
    }
}
