//! What a connection has been worth so far, and what its peer did before: grounds for [`turnover`](super::turnover).

use std::net::SocketAddr;

use super::roster::{Past, Who};
use crate::time::Time;

/// Addresses that turned out to be those of a connected peer, remembered of each.
const MOST_ALIASES: usize = 4;

/// The grounds.
#[derive(Debug)]
pub(super) struct Seat {
    /// When it connected.
    pub(super) since: Time,
    /// When payload last passed, either way; at first when it connected.
    pub(super) moved: Time,
    /// When it last took payload, or had no reason to.
    pub(super) took: Time,
    /// When one of us last wanted something of the other; at first when it connected.
    pub(super) wanted: Time,
    /// It said how it sees us.
    pub(super) voted: bool,
    /// Who it is to our memory, once it said hello.
    pub(super) who: Option<Who>,
    /// What it did before this connection.
    pub(super) past: Past,
    /// Other addresses at which we found it.
    aliases: Vec<SocketAddr>,
}

impl Seat {
    pub(super) fn new(now: Time) -> Self {
        let (who, past, aliases) = (None, Past::default(), Vec::new());
        Self { since: now, moved: now, took: now, wanted: now, voted: false, who, past, aliases }
    }

    /// The peer brought a block.
    pub(super) const fn gave(&mut self, now: Time) {
        self.moved = now;
    }

    /// The peer took payload.
    pub(super) const fn took(&mut self, now: Time) {
        self.moved = now;
        self.took = now;
    }

    pub(super) fn add_alias(&mut self, addr: SocketAddr) {
        if self.aliases.len() < MOST_ALIASES && !self.aliases.contains(&addr) {
            self.aliases.push(addr);
        }
    }

    pub(super) fn aliases(&self) -> &[SocketAddr] {
        &self.aliases
    }
}
