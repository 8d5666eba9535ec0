//! How often one address may ask.
//!
//! Each address has a level that empties at a steady rate; a request adds one, and none is let through that would lift it
//! above the burst. An IPv6 address counts as its /64, for that is what one customer has at the least (RFC 6177).
//! The table has a fixed size: where it is full, the address that owes least is forgotten, so that a flood of addresses
//! costs no memory and forgives nobody who floods alone.

use std::net::IpAddr;
use std::time::Duration;

use crate::time::Time;

/// So many in a period, evenly; after a rest as many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Requests; at least 1.
    pub requests: u32,
    /// In which they are let through.
    pub period: Duration,
}

/// Addresses that share a place in the table.
const WAYS: usize = 8;

/// Who asked, and when all that he asked for will have been paid, in microseconds. 16 bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Debt {
    who: u64,
    paid_at: u64,
}

/// The table. It is fixed for its life: the size, and 16 bytes an address.
#[derive(Debug)]
pub struct Throttle {
    sets: Box<[[Debt; WAYS]]>,
    seed: u64,
    /// Microseconds for one request.
    price: u64,
    /// Microseconds that one may owe.
    credit: u64,
}

impl Throttle {
    /// Room for about `addresses` of them; `seed` is what nobody outside knows.
    pub fn new(rate: Rate, addresses: usize, seed: u64) -> Self {
        let sets = addresses.div_ceil(WAYS).next_power_of_two();
        let credit = u64::try_from(rate.period.as_micros()).unwrap_or(u64::MAX / 4).min(u64::MAX / 4);
        let price = credit / u64::from(rate.requests.max(1));
        Self { sets: vec![[Debt::default(); WAYS]; sets].into(), seed, price, credit }
    }

    /// Whether a request from `addr` may pass, which then counts.
    pub fn admit(&mut self, now: Time, addr: IpAddr) -> bool {
        let now = now.as_micros();
        let who = name(addr);
        let set = mix(who ^ self.seed) as usize & (self.sets.len() - 1);
        let debt = place(&mut self.sets[set], who);
        let paid_at = debt.paid_at.max(now) + self.price;
        let admitted = paid_at <= now + self.credit;
        if admitted {
            debt.paid_at = paid_at;
        }
        admitted
    }
}

/// Where `who` stands; if nowhere, in place of him who owes least.
fn place(set: &mut [Debt; WAYS], who: u64) -> &mut Debt {
    let known = set.iter().position(|debt| debt.who == who && debt.paid_at > 0);
    let at = known.unwrap_or_else(|| {
        let least = (0..WAYS).min_by_key(|i| set[*i].paid_at).unwrap_or(0);
        set[least] = Debt { who, paid_at: 0 };
        least
    });
    &mut set[at]
}

/// IPv4 addresses lie where the prefixes of no IPv6 host do.
fn name(addr: IpAddr) -> u64 {
    match addr.to_canonical() {
        IpAddr::V4(v4) => v4.to_bits().into(),
        IpAddr::V6(v6) => (v6.to_bits() >> 64) as u64,
    }
}

/// The finalizer of SplitMix64.
const fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn at(seconds: u64) -> Time {
        Time::ZERO + Duration::from_secs(seconds)
    }

    fn ten_a_minute(addresses: usize) -> Throttle {
        Throttle::new(Rate { requests: 10, period: Duration::from_secs(60) }, addresses, 3)
    }

    #[test]
    fn a_burst_then_the_steady_rate() {
        let mut throttle = ten_a_minute(100);
        let one = ip("192.0.2.1");
        let burst = (0..100).filter(|_| throttle.admit(at(100), one)).count();
        assert_eq!(burst, 10);
        assert!(
            !throttle.admit(at(105), one) && throttle.admit(at(106), one) && !throttle.admit(at(106), one)
        );
        assert!(throttle.admit(at(106), ip("192.0.2.2")));
        let hour = (200..3800).filter(|s| throttle.admit(at(*s), one)).count();
        assert!((600..=610).contains(&hour), "{hour}");
    }

    #[test]
    fn a_64_is_one_address() {
        let mut throttle = ten_a_minute(100);
        let passed = (0..100).filter(|n| throttle.admit(at(0), ip(&format!("2001:db8:0:1::{n:x}")))).count();
        assert_eq!(passed, 10);
        assert!(throttle.admit(at(0), ip("2001:db8:0:2::1")));
        assert!(throttle.admit(at(0), ip("::ffff:192.0.2.1")));
    }

    #[test]
    fn a_flood_of_addresses_forgives_nobody_who_floods() {
        let mut throttle = ten_a_minute(1024);
        let bad = ip("192.0.2.1");
        let mut passed = 0;
        for n in 0..100_000u32 {
            passed += usize::from(throttle.admit(at(1), bad));
            throttle.admit(at(1), IpAddr::from(n.to_be_bytes().map(|b| b ^ 0x5a)));
        }
        assert_eq!(passed, 10);
        assert_eq!(throttle.sets.len() * WAYS, 1024);
    }

    #[test]
    fn a_clock_that_starts_at_nought_and_rates_without_sense() {
        let mut throttle = Throttle::new(Rate { requests: 0, period: Duration::MAX }, 0, 0);
        assert!(throttle.admit(Time::ZERO, ip("::1")));
        assert!(!throttle.admit(Time::ZERO, ip("::1")));
        let mut free = Throttle::new(Rate { requests: 5, period: Duration::ZERO }, 9, 0);
        assert!((0..50).all(|_| free.admit(Time::ZERO, ip("::1"))));
    }
}
