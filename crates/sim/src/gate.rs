//! A line that many connections share: it lets one packet through at a time.
//!
//! The connections that wait take turns, as many TCP flows over one line roughly do. One that begins with little, a
//! request or a `have`, goes before those that have blocks to send, as with fair queueing in routers (RFC 8290): with
//! 16 KiB at a time a message of a few bytes would else wait for a round of blocks, where real packets are a tenth
//! as long.

use std::collections::VecDeque;
use std::time::Duration;

use crate::net::Hop;

/// What is little: one packet of Ethernet.
const LITTLE: u32 = 1500;

/// One shared line, one direction.
#[derive(Debug)]
pub struct Gate {
    /// Bytes a second.
    rate: u64,
    /// Who has little to send.
    fresh: VecDeque<Hop>,
    /// The others.
    ring: VecDeque<Hop>,
    /// Whose packet is being let through.
    pub(crate) serving: Option<Hop>,
}

impl Gate {
    /// A line of `rate` bytes a second.
    pub const fn new(rate: u64) -> Self {
        Self { rate, fresh: VecDeque::new(), ring: VecDeque::new(), serving: None }
    }

    /// Bytes a second.
    pub const fn rate(&self) -> u64 {
        self.rate
    }

    /// How long `len` bytes take.
    pub(crate) fn time(&self, len: u32) -> Duration {
        Duration::from_micros(u64::from(len) * 1_000_000 / self.rate.max(1))
    }

    /// A connection that had nothing here has a packet of `len` bytes now.
    pub(crate) fn list(&mut self, hop: Hop, len: u32) {
        if len <= LITTLE { self.fresh.push_back(hop) } else { self.ring.push_back(hop) }
    }

    /// A connection that had its turn has more.
    pub(crate) fn list_again(&mut self, hop: Hop) {
        self.ring.push_back(hop);
    }

    /// Whose turn it is.
    pub(crate) fn next(&mut self) -> Option<Hop> {
        self.fresh.pop_front().or_else(|| self.ring.pop_front())
    }
}
