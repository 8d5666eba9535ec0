//! A token bucket over control messages: far above what any honest peer sends, and an end to those who flood.

use std::time::Duration;

use super::Violation;
use crate::time::Time;
use crate::wire::Message;

/// Tokens a second. A message that makes work costs more than one; handling 10 000 plain ones takes about a
/// hundredth of a core, and no swarm announces that many pieces a second to one peer for long.
const RATE: u64 = 10_000;

/// Time to earn one token.
const TOKEN_MICROS: u64 = 1_000_000 / RATE;

/// Tokens at the start, and at most. To it comes one for each piece, for some peers announce all they have one by one.
const BURST: u64 = 50_000;

/// Cost of messages that change a state which choking, interest or routing depends on.
const FLIP: u64 = 50;

/// Cost of questions whose answers are long.
pub(super) const QUESTION: u64 = 20;

/// Cost of peer exchange that comes too often: 20 a second, and 100 at once, for they can be long.
pub(super) const EXCESS: u64 = 500;

/// Cost of messages that make no sense where they come.
pub(super) const NONSENSE: u64 = 10;

/// Cost of a bitfield that is not the first: every piece is counted anew, which is a fraction of a have for each.
pub(super) fn late_bitfield(pieces: u32) -> u64 {
    FLIP + u64::from(pieces / 32)
}

#[derive(Debug)]
pub(super) struct Budget {
    tokens: u64,
    burst: u64,
    filled: Time,
}

impl Budget {
    pub(super) const fn new(now: Time) -> Self {
        Self { tokens: BURST, burst: BURST, filled: now }
    }

    /// The torrent has this many pieces: so many haves are in order.
    pub(super) fn set_num_pieces(&mut self, pieces: u32) {
        self.burst += u64::from(pieces);
        self.tokens += u64::from(pieces);
    }

    /// Pays, or finds the peer to flood us.
    pub(super) fn pay(&mut self, now: Time, cost: u64) -> Result<(), Violation> {
        if self.tokens < cost {
            self.refill(now);
        }
        self.tokens = self.tokens.checked_sub(cost).ok_or(Violation::MessageFlood)?;
        Ok(())
    }

    fn refill(&mut self, now: Time) {
        let earned = u64::try_from(now.since(self.filled).as_micros()).unwrap_or(u64::MAX) / TOKEN_MICROS;
        self.tokens = self.tokens.saturating_add(earned).min(self.burst);
        // Only by what was earned, so that no fraction is lost.
        self.filled = self.filled + Duration::from_micros(earned * TOKEN_MICROS);
    }
}

/// What a message costs before it is looked at. Requests and blocks cost nothing here: their number is bounded by what
/// we serve and by what we asked for, which at 1 GiB/s is 65 000 a second.
pub(super) const fn cost(message: &Message<'_>) -> u64 {
    match message {
        Message::Request(_) | Message::Piece(_) | Message::Reject(_) => 0,
        Message::Choke
        | Message::Unchoke
        | Message::Interested
        | Message::NotInterested
        | Message::Port(_) => FLIP,
        Message::HashRequest(_) => QUESTION,
        Message::Unknown(_) => NONSENSE,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refills_at_its_rate_and_no_further_than_the_burst() {
        let mut budget = Budget::new(Time::ZERO);
        assert!(budget.pay(Time::ZERO, BURST).is_ok());
        assert_eq!(budget.pay(Time::ZERO, 1), Err(Violation::MessageFlood));
        let later = Time::ZERO + Duration::from_secs(1);
        assert!(budget.pay(later, RATE).is_ok());
        assert!(budget.pay(later, 1).is_err());
        let much_later = Time::ZERO + Duration::from_secs(1_000_000);
        assert!(budget.pay(much_later, BURST).is_ok());
        assert!(budget.pay(much_later, 1).is_err());
    }

    #[test]
    fn many_small_steps_earn_as_much_as_a_big_one() {
        let mut budget = Budget::new(Time::ZERO);
        budget.pay(Time::ZERO, BURST).unwrap();
        let paid =
            (1..=1_000_000u64).step_by(70).filter(|&us| budget.pay(Time::from_micros(us), 1).is_ok()).count();
        assert!((9_999..=10_000).contains(&paid), "{paid}");
    }
}
