//! Tokens: who announces must have asked from the same address before (BEP 5).
//!
//! SHA-1 of a secret, the address and the key; the secret changes every five minutes, and the one before still counts, so
//! that a token is good for five to ten minutes. It refuses tokens for other keys, which BEP 44 allows: who collects
//! them cannot fill a store with what it never asked for. Tested for rotation and binding.

use std::net::IpAddr;
use std::time::Duration;

use sha1::{Digest, Sha1};

use crate::ids::NodeId;
use crate::time::Time;

/// Bytes of a token.
pub const TOKEN_LEN: usize = 8;
/// How long a secret is given out (BEP 5).
const ROTATE: Duration = Duration::from_secs(5 * 60);

/// The secrets.
#[derive(Clone, Debug)]
pub struct Tokens {
    seed: u64,
    /// Counts rotations.
    epoch: u64,
    rotated: Time,
}

impl Tokens {
    /// Secrets that follow from a secret seed.
    pub const fn new(seed: u64, now: Time) -> Self {
        Self { seed, epoch: 1, rotated: now }
    }

    /// A token for who asks from `ip` about `target`.
    pub fn issue(&mut self, now: Time, ip: IpAddr, target: &NodeId) -> [u8; TOKEN_LEN] {
        self.rotate(now);
        self.of(self.epoch, ip, target)
    }

    /// Whether a token was given out to `ip` for `target`, lately.
    pub fn accepts(&mut self, now: Time, ip: IpAddr, target: &NodeId, token: &[u8]) -> bool {
        self.rotate(now);
        [self.epoch, self.epoch - 1].into_iter().any(|epoch| self.of(epoch, ip, target) == token)
    }

    fn rotate(&mut self, now: Time) {
        let periods = (now.since(self.rotated).as_secs() / ROTATE.as_secs()).min(u64::from(u32::MAX));
        self.epoch += periods;
        self.rotated = self.rotated + ROTATE * periods as u32;
    }

    fn of(&self, epoch: u64, ip: IpAddr, target: &NodeId) -> [u8; TOKEN_LEN] {
        let hash = Sha1::new().chain_update(self.seed.to_le_bytes()).chain_update(epoch.to_le_bytes());
        let hash = match ip {
            IpAddr::V4(ip) => hash.chain_update(ip.octets()),
            IpAddr::V6(ip) => hash.chain_update(ip.octets()),
        };
        let hash = hash.chain_update(target.0).finalize();
        std::array::from_fn(|n| hash[n])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_for_one_address_and_key_for_five_to_ten_minutes() {
        let at = |secs: u64| Time::from_micros(secs * 1_000_000);
        let (a, b) = ([1, 2, 3, 4].into(), [1, 2, 3, 5].into());
        let (x, y) = (NodeId([1; 20]), NodeId([2; 20]));
        let mut tokens = Tokens::new(9, at(1000));
        let token = tokens.issue(at(1299), a, &x);
        assert!(tokens.accepts(at(1299), a, &x, &token) && tokens.accepts(at(1599), a, &x, &token));
        for (time, ip, key) in [(1600, a, &x), (1300, b, &x), (1300, a, &y)] {
            assert!(!tokens.clone().accepts(at(time), ip, key, &token));
        }
        assert!(!tokens.accepts(at(1300), a, &x, b"") && !tokens.accepts(at(1300), a, &x, &token[..7]));
        assert_eq!(Tokens::new(9, at(0)).issue(at(1), a, &x), Tokens::new(9, at(0)).issue(at(2), a, &x));
        assert_ne!(Tokens::new(9, at(0)).issue(at(1), a, &x), Tokens::new(8, at(0)).issue(at(1), a, &x));
    }
}
