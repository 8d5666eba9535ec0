//! What became of those who were here before: a peer that reconnects is no newcomer, and loses no credit.
//!
//! Kept by host ([`hosts::host`]), so that another port or peer id changes nothing; on this machine, where the port of
//! one who calls us says nothing, by peer id. Peers behind one public address share a past, which is the lesser evil:
//! the other is a second turn for everyone who hangs up. Only what cost us or gave us something is remembered, so
//! that [`MOST`] entries cannot be flushed by idle connections; the longest unseen give way.
//!
//! Tested by examples and for its bound.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use crate::ids::PeerId;
use crate::time::Time;
use crate::torrent::hosts;
use crate::torrent::hosts::Reach;

/// Hosts remembered at once: about 200 KiB.
const MOST: usize = 2000;

/// What a host did before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::torrent) struct Past {
    /// When its last optimistic turn began, or it was served last; `None` if it never was.
    pub(in crate::torrent) last_turn: Option<Time>,
    /// Rounds in a row in which it gave nothing back, when it was last here.
    pub(in crate::torrent) dodged: u32,
    /// Bytes that came from it.
    pub(in crate::torrent) gave: u64,
    /// Bytes that went to it.
    pub(in crate::torrent) took: u64,
    /// How often it fell silent with our requests.
    pub(in crate::torrent) snubs: u32,
}

impl Past {
    /// With what came after it.
    pub(in crate::torrent) fn and(self, later: Self) -> Self {
        Self {
            last_turn: self.last_turn.max(later.last_turn),
            dodged: later.dodged,
            gave: self.gave.saturating_add(later.gave),
            took: self.took.saturating_add(later.took),
            snubs: self.snubs.saturating_add(later.snubs),
        }
    }
}

/// Whose past it is.
pub(in crate::torrent) type Who = (SocketAddr, Option<PeerId>);

/// Who it is that has this address and id.
pub(in crate::torrent) fn who(addr: SocketAddr, id: PeerId) -> Who {
    match Reach::of(addr.ip()) {
        Reach::Loopback => (SocketAddr::new(addr.ip().to_canonical(), 0), Some(id)),
        _ => (hosts::host(addr), None),
    }
}

/// Everybody's past.
#[derive(Debug, Default)]
pub(super) struct Memory {
    hosts: BTreeMap<Who, (Time, Past)>,
    by_time: BTreeSet<(Time, Who)>,
}

impl Memory {
    pub(super) fn of(&self, who: &Who) -> Past {
        self.hosts.get(who).map_or_else(Past::default, |(_, past)| *past)
    }

    /// Adds what a host did in one connection.
    pub(super) fn add(&mut self, now: Time, who: Who, did: Past) {
        if did == Past::default() {
            return;
        }
        let (seen, past) = self.hosts.remove(&who).unwrap_or_default();
        self.by_time.remove(&(seen, who));
        if self.hosts.len() == MOST
            && let Some((_, oldest)) = self.by_time.pop_first()
        {
            self.hosts.remove(&oldest);
        }
        self.hosts.insert(who, (now, past.and(did)));
        self.by_time.insert((now, who));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Time {
        Time::from_micros(secs * 1_000_000)
    }

    fn of(addr: &str, id: u8) -> Who {
        who(addr.parse().unwrap(), PeerId([id; 20]))
    }

    #[test]
    fn neither_port_nor_id_makes_a_newcomer_but_here() {
        let mut memory = Memory::default();
        let did = Past { last_turn: Some(at(5)), dodged: 2, gave: 10, took: 3, snubs: 1 };
        memory.add(at(6), of("1.2.3.4:5", 1), did);
        memory.add(at(7), of("127.0.0.1:5", 1), did);
        assert_eq!(memory.of(&of("1.2.3.4:77", 2)), did);
        assert_eq!(memory.of(&of("127.0.0.1:77", 1)), did);
        assert_eq!(memory.of(&of("127.0.0.1:5", 2)), Past::default());
        memory.add(at(9), of("1.2.3.4:5", 3), Past { gave: 1, ..Past::default() });
        assert_eq!(memory.of(&of("1.2.3.4:5", 1)), Past { gave: 11, dodged: 0, ..did });
    }

    #[test]
    fn the_longest_unseen_are_forgotten_and_who_did_nothing_is_not_remembered() {
        let mut memory = Memory::default();
        let host = |n: u64| (SocketAddr::from(([1, 2, (n >> 8) as u8, n as u8], 0)), None);
        let did = Past { took: 1, ..Past::default() };
        (0..3000).for_each(|n| memory.add(at(n), host(n), Past::default()));
        assert!(memory.hosts.is_empty());
        (0..3000).for_each(|n| memory.add(at(n), host(n), did));
        assert_eq!((memory.hosts.len(), memory.by_time.len()), (MOST, MOST));
        assert_eq!((memory.of(&host(999)).took, memory.of(&host(1000)).took), (0, 1));
    }
}
