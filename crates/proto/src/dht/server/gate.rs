//! Limits on questions, by who asks, and on answers, by their bytes.
//!
//! Questions are counted in a fixed number of slots; an address falls into one of them by a secret hash. So memory does
//! not grow with the number of askers, real or forged, and one who floods takes its questions from himself and from one
//! in a thousand others. Answers share one budget, so that the whole node's traffic has a bound.
//!
//! Tested for rates, bursts and for addresses that share a slot.

use std::net::IpAddr;
use std::time::Duration;

use sha1::{Digest, Sha1};

use crate::dht::range::Range;
use crate::time::Time;

/// What has gathered and when it was counted.
#[derive(Clone, Copy, Debug)]
struct Level {
    /// In millionths.
    tokens: u64,
    at: Time,
}

impl Level {
    /// Takes `amount`, of what grows by `rate` a second up to `burst`. Whether it was there.
    fn take(&mut self, now: Time, amount: u64, rate: u64, burst: u64) -> bool {
        let grown = u64::try_from(now.since(self.at).as_micros()).unwrap_or(u64::MAX).saturating_mul(rate);
        self.tokens = self.tokens.saturating_add(grown).min(burst.saturating_mul(1_000_000));
        self.at = self.at.max(now);
        let left = self.tokens.checked_sub(amount.saturating_mul(1_000_000));
        self.tokens = left.unwrap_or(self.tokens);
        left.is_some()
    }
}

/// Limits what each address may ask.
#[derive(Clone, Debug)]
pub struct Gate {
    seed: u64,
    rate: u64,
    slots: Box<[Level]>,
}

/// What may come at once, as seconds of the rate.
const BURST: u64 = 4;

impl Gate {
    /// Lets through `rate` questions a second from each address, in `slots` slots (at least one).
    pub fn new(seed: u64, rate: u32, slots: usize, now: Time) -> Self {
        let rate = u64::from(rate);
        let full = Level { tokens: BURST * rate * 1_000_000, at: now };
        Self { seed, rate, slots: vec![full; slots.max(1)].into() }
    }

    /// Whether a question from `ip` is to be looked at.
    pub fn admits(&mut self, now: Time, ip: IpAddr) -> bool {
        let n = self.slot(ip);
        self.slots[n].take(now, 1, self.rate, BURST * self.rate)
    }

    fn slot(&self, ip: IpAddr) -> usize {
        let hash = Sha1::new().chain_update(self.seed.to_le_bytes());
        let hash = hash.chain_update(Range::host(ip).key().to_le_bytes()).finalize();
        let number = u64::from_le_bytes([hash[0], hash[1], hash[2], hash[3], hash[4], hash[5], hash[6], 0]);
        (number % self.slots.len() as u64) as usize
    }
}

/// Limits the bytes of all answers together.
#[derive(Clone, Debug)]
pub struct Budget {
    rate: Option<u64>,
    level: Level,
}

impl Budget {
    /// What is taken up by a packet beside the datagram: IPv4 and UDP headers.
    const HEADERS: usize = 28;
    /// How long nothing may be said to say it all at once.
    const SAVED: Duration = Duration::from_secs(5);

    /// `rate` bytes a second; `None` lets everything pass.
    pub fn new(rate: Option<u64>, now: Time) -> Self {
        let saved = rate.unwrap_or(0).saturating_mul(Self::SAVED.as_secs());
        Self { rate, level: Level { tokens: saved.saturating_mul(1_000_000), at: now } }
    }

    /// Whether a datagram may go out.
    pub fn take(&mut self, now: Time, datagram: usize) -> bool {
        let Some(rate) = self.rate else { return true };
        let burst = rate.saturating_mul(Self::SAVED.as_secs());
        self.level.take(now, (datagram + Self::HEADERS) as u64, rate, burst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Time {
        Time::from_micros(ms * 1000)
    }

    #[test]
    fn an_address_gets_its_rate_and_others_are_not_touched() {
        let (a, b) = ([1, 2, 3, 4].into(), [4, 3, 2, 1].into());
        let mut gate = Gate::new(1, 10, 4096, at(0));
        assert_eq!((0..1000).filter(|_| gate.admits(at(0), a)).count(), 40);
        assert_eq!((0..1000).filter(|n| gate.admits(at(10 * n), a)).count(), 99);
        assert!(gate.admits(at(0), b));
        let mut one = Gate::new(1, 10, 0, at(0));
        assert_eq!((0..100).filter(|n| one.admits(at(0), [1, 1, 1, *n].into())).count(), 40);
    }

    #[test]
    fn answers_keep_to_their_rate() {
        let mut budget = Budget::new(Some(1000), at(0));
        let sent = (0..100_000u64).filter(|ms| budget.take(at(*ms), 72)).count();
        assert!((1040..=1060).contains(&sent), "{sent}");
        assert!((0..1000).all(|_| Budget::new(None, at(0)).take(at(0), 9999)));
    }
}
