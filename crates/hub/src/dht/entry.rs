//! Where the node enters the DHT: the addresses and names that the operator set.
//!
//! Names are looked up only while a node has not found its neighbours, at growing intervals, by a thread that nobody
//! waits for.

use std::net::{SocketAddr, ToSocketAddrs};
use std::thread;
use std::time::Duration;

use samara_proto::magnet::Host;
use samara_proto::time::Time;

/// How long contacts of the last run are tried alone.
const PATIENCE: Duration = Duration::from_secs(5);

/// The first and the last wait before the next turn.
const WAIT: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(600));

/// Most addresses that are kept.
const MAX_KNOWN: usize = 256;

/// The list, and what became of it.
#[derive(Debug)]
pub(super) struct Entry {
    names: Vec<Host>,
    known: Vec<SocketAddr>,
    next: Time,
    wait: Duration,
}

impl Entry {
    /// `experienced`: the node has contacts of the last run.
    pub(super) fn new(list: Vec<Host>, now: Time, experienced: bool) -> Self {
        let known = list.iter().filter_map(Host::addr).collect();
        let names = list.into_iter().filter(|host| host.addr().is_none()).collect();
        let next = if experienced { now + PATIENCE } else { now };
        Self { names, known, next, wait: WAIT.0 }
    }

    /// When to come back.
    pub(super) const fn due(&self) -> Time {
        self.next
    }

    /// The addresses that are known.
    pub(super) fn known(&self) -> Vec<SocketAddr> {
        self.known.clone()
    }

    /// If it is time, and the node is `alone`, the names to look up; the addresses are to be tried.
    pub(super) fn turn(&mut self, now: Time, alone: bool) -> Option<Vec<Host>> {
        if now < self.next {
            return None;
        }
        self.next = now + self.wait;
        self.wait = if alone { (self.wait * 2).min(WAIT.1) } else { WAIT.0 };
        alone.then(|| self.names.clone())
    }

    /// A name leads to these. Whether any is new.
    pub(super) fn found(&mut self, addrs: Vec<SocketAddr>) -> bool {
        let before = self.known.len();
        let new = addrs.into_iter().filter(|addr| !self.known.contains(addr)).collect::<Vec<_>>();
        self.known.extend(new);
        self.known.truncate(MAX_KNOWN);
        self.known.len() > before
    }
}

/// Looks names up, one after the other, in a thread of its own.
pub(super) fn look_up(names: Vec<Host>, found: impl Fn(Vec<SocketAddr>) + Send + 'static) {
    if names.is_empty() {
        return;
    }
    let work = move || {
        for host in names {
            match (host.name(), host.port()).to_socket_addrs() {
                Ok(addrs) => found(addrs.collect()),
                Err(error) => tracing::warn!(%host, %error, "cannot find a node of the DHT to begin with"),
            }
        }
    };
    if let Err(error) = thread::Builder::new().name("dht-names".into()).spawn(work) {
        tracing::warn!(%error, "no thread to look up nodes of the DHT");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn the_list_is_tried_while_nobody_is_known_and_ever_more_seldom() {
        let list = || ["192.0.2.1:1", "name.example:2"].map(|text| text.parse().unwrap()).to_vec();
        let mut entry = Entry::new(list(), at(0), true);
        assert_eq!((entry.turn(at(4), true), entry.due()), (None, at(5)));
        assert_eq!(entry.turn(at(5), true).unwrap().len(), 1);
        assert_eq!(entry.turn(at(24), true), None);
        assert!(entry.turn(at(25), true).is_some() && entry.due() == at(65));
        assert!(entry.turn(at(65), false).is_none() && entry.due() > at(65));
        assert_eq!(Entry::new(list(), at(0), false).due(), at(0));
    }

    #[test]
    fn what_names_lead_to_is_kept_once() {
        let mut entry = Entry::new(Vec::new(), at(0), false);
        let addr = |port: u16| SocketAddr::from(([192, 0, 2, 1], port));
        assert!(entry.found(vec![addr(1), addr(2)]) && !entry.found(vec![addr(2)]));
        assert!(entry.found((0..999).map(addr).collect()));
        assert!(entry.known().len() == MAX_KNOWN && !entry.found(vec![addr(5000)]));
    }
}
