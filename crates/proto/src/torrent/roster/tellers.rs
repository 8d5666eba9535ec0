//! How many addresses are known by the word of each host alone (BEP 11).
//!
//! Who tells us of addresses that nobody else does may have made them up. An address is on the account of who told it
//! first, until a better source names it, a peer says hello from it, or it is forgotten.
//!
//! Tested with the roster.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::{Roster, Source, host};
use crate::time::Time;

/// Addresses known by the word of one host alone: a whole first message of peer exchange, a twentieth of all.
pub(super) const MOST_PER_TELLER: usize = 100;

/// The accounts. Each has something on it, so there are no more than entries in the roster.
#[derive(Debug, Default)]
pub(super) struct Tellers(BTreeMap<SocketAddr, usize>);

impl Tellers {
    pub(super) fn count(&self, teller: SocketAddr) -> usize {
        self.0.get(&teller).copied().unwrap_or_default()
    }

    pub(super) fn add(&mut self, teller: SocketAddr) {
        *self.0.entry(teller).or_default() += 1;
    }

    pub(super) fn remove(&mut self, teller: SocketAddr) {
        if let Some(n) = self.0.get_mut(&teller) {
            *n -= 1;
            if *n == 0 {
                self.0.remove(&teller);
            }
        }
    }

    /// Who told most, if that is more than `teller` would have with one more.
    pub(super) fn louder_than(&self, teller: SocketAddr) -> Option<SocketAddr> {
        let (loudest, n) = self.0.iter().max_by_key(|(_, n)| **n)?;
        (*n > self.count(teller) + 1).then_some(*loudest)
    }
}

impl Roster {
    /// Learns of an address from a peer (BEP 11).
    pub(in crate::torrent) fn add_told(&mut self, now: Time, addr: SocketAddr, teller: SocketAddr) {
        let teller = host(teller);
        let believed = self.tellers.count(teller) < MOST_PER_TELLER && self.is_welcome(addr, Source::Pex);
        if believed && (self.make_room(Source::Pex) || self.take_from_the_loudest(teller)) {
            self.tellers.add(teller);
            self.insert(now, addr, Source::Pex, Some(teller));
        }
    }

    /// There is a peer at this address: it is known by more than somebody's word.
    pub(in crate::torrent) fn proved(&mut self, addr: SocketAddr) {
        if let Some(teller) = self.entries.get_mut(&addr).and_then(|entry| entry.teller.take()) {
            self.tellers.remove(teller);
        }
    }

    /// Makes room for one more of this teller, at the cost of the one who told most, if that is another.
    fn take_from_the_loudest(&mut self, teller: SocketAddr) -> bool {
        let Some(loudest) = self.tellers.louder_than(teller) else { return false };
        let told = self.entries.iter().filter(|(_, e)| e.is_idle() && e.teller == Some(loudest));
        let worst = told.max_by_key(|(_, e)| e.failures).map(|(addr, _)| *addr);
        worst.inspect(|addr| self.forget(*addr)).is_some()
    }
}
