//! A line that many connections share: it lets one packet through at a time.
//!
//! The connections that wait take turns, as many TCP flows over one line roughly do. What is little, a request or a
//! `have`, does not wait if its connection has nothing else waiting, as with fair queueing in routers (RFC 8290): with
//! 16 KiB at a time a message of a few bytes would else wait ten times as long as behind a real packet. The line is
//! busy for it all the same: what follows waits the longer.

use std::collections::VecDeque;
use std::time::Duration;

use samara_proto::time::Time;

use crate::net::Hop;

/// What is little: one packet of Ethernet.
const LITTLE: u32 = 1500;

/// How far a line may get behind by letting pass what is little, in bytes: one packet of ours.
const BEHIND: u32 = 16 * 1024;

/// One shared line, one direction.
#[derive(Debug)]
pub struct Gate {
    /// Bytes a second.
    rate: u64,
    /// Who waits, in turn.
    ring: VecDeque<Hop>,
    /// Whose packet is being let through.
    pub(crate) serving: Option<Hop>,
    /// When all that was let through has passed.
    free_at: Time,
}

impl Gate {
    /// A line of `rate` bytes a second.
    pub const fn new(rate: u64) -> Self {
        Self { rate, ring: VecDeque::new(), serving: None, free_at: Time::ZERO }
    }

    /// Bytes a second.
    pub const fn rate(&self) -> u64 {
        self.rate
    }

    fn time(&self, len: u32) -> Duration {
        Duration::from_micros(u64::from(len) * 1_000_000 / self.rate.max(1))
    }

    /// Lets a packet of `len` bytes through; returns when it has passed.
    pub(crate) fn carry(&mut self, now: Time, len: u32) -> Time {
        self.free_at = self.free_at.max(now) + self.time(len);
        self.free_at
    }

    /// Whether a packet of `len` bytes went past the others.
    pub(crate) fn slip(&mut self, now: Time, len: u32) -> bool {
        // One packet may be on the line already.
        let slips = len <= LITTLE && self.free_at.since(now) <= self.time(2 * BEHIND);
        if slips {
            self.carry(now, len);
        }
        slips
    }

    /// A connection has something waiting.
    pub(crate) fn list(&mut self, hop: Hop) {
        self.ring.push_back(hop);
    }

    /// Whose turn it is.
    pub(crate) fn next(&mut self) -> Option<Hop> {
        self.ring.pop_front()
    }
}
