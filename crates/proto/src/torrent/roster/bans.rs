//! Who is not welcome any more: hosts ([`host`]), for the rest of the run.
//!
//! At most [`MOST`] bans and as many strikes are kept; the oldest bans are forgiven. Tested with the roster.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use crate::torrent::hosts::host;

/// Bans, and hosts with strikes, at once.
const MOST: usize = 4096;
/// Strikes that ban.
const MOST_STRIKES: u8 = 3;

/// Bans and what leads to them.
#[derive(Debug, Default)]
pub(super) struct Bans {
    banned: VecDeque<SocketAddr>,
    strikes: BTreeMap<SocketAddr, u8>,
}

impl Bans {
    pub(super) fn has(&self, addr: SocketAddr) -> bool {
        self.banned.contains(&host(addr)) || self.banned.contains(&addr)
    }

    /// Bans a host, whatever its port.
    pub(super) fn ban(&mut self, addr: SocketAddr) {
        self.ban_exactly(host(addr));
    }

    /// Bans one address, but not its host.
    pub(super) fn ban_exactly(&mut self, addr: SocketAddr) {
        self.strikes.remove(&addr);
        if self.banned.len() == MOST {
            self.banned.pop_front();
        }
        if !self.banned.contains(&addr) {
            self.banned.push_back(addr);
        }
    }

    /// Notes a suspicion. True if it is one too many.
    pub(super) fn strike(&mut self, addr: SocketAddr) -> bool {
        if self.strikes.len() >= MOST {
            self.strikes.clear();
        }
        let strikes = self.strikes.entry(host(addr)).or_default();
        *strikes = strikes.saturating_add(1);
        *strikes >= MOST_STRIKES
    }
}
