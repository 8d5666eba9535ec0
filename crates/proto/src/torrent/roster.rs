//! The addresses we know: which to try next, which to leave alone.
//!
//! Tried in the order they fall due, better sources first. After a failure an address waits longer each time, with
//! jitter; those the user gave are tried for ever, others are forgotten after [`MOST_FAILURES`]. At most
//! [`MOST_ENTRIES`] are known; when full, worse sources make room for better ones. Addresses only: connections, ids
//! and limits are the torrent's business.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::api::Source;
use crate::ids::PeerKey;
use crate::peer::Departure;
use crate::rng::Rng;
use crate::time::Time;

/// Addresses known at once.
const MOST_ENTRIES: usize = 2000;
/// Addresses banned at once; the oldest are forgiven.
const MOST_BANNED: usize = 4096;
/// Failures in a row after which an address that the user did not give is forgotten.
const MOST_FAILURES: u32 = 6;
/// First and longest wait after a failure, for what the user gave and for the rest.
const USER_WAIT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
const OTHER_WAIT: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(600));
/// How long a peer rests that had nothing for us and wanted nothing.
const REST: Duration = Duration::from_secs(600);
/// Strikes that ban an address.
const MOST_STRIKES: u8 = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// To be tried at this time.
    Idle(Time),
    Connecting,
    Connected(PeerKey),
}

#[derive(Debug)]
struct Entry {
    source: Source,
    state: State,
    failures: u32,
}

/// Known addresses.
#[derive(Debug)]
pub(super) struct Roster {
    entries: BTreeMap<SocketAddr, Entry>,
    /// Idle entries by time.
    due: BTreeSet<(Time, Source, SocketAddr)>,
    connecting: usize,
    banned: VecDeque<SocketAddr>,
    strikes: BTreeMap<SocketAddr, u8>,
    rng: Rng,
}

/// What a ban falls on: the host, whatever its port; but on this machine each port is another peer.
pub(super) fn host(addr: SocketAddr) -> SocketAddr {
    let ip = addr.ip().to_canonical();
    SocketAddr::new(ip, if ip.is_loopback() { addr.port() } else { 0 })
}

fn is_usable(addr: &SocketAddr) -> bool {
    let broadcast = matches!(addr.ip(), IpAddr::V4(ip) if ip.is_broadcast());
    addr.port() != 0 && !addr.ip().is_unspecified() && !addr.ip().is_multicast() && !broadcast
}

impl Roster {
    pub(super) const fn new(seed: u64) -> Self {
        Self {
            entries: BTreeMap::new(),
            due: BTreeSet::new(),
            connecting: 0,
            banned: VecDeque::new(),
            strikes: BTreeMap::new(),
            rng: Rng::new(seed),
        }
    }

    /// Number of addresses known.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Connections being opened.
    pub(super) const fn connecting(&self) -> usize {
        self.connecting
    }

    /// Learns of an address.
    pub(super) fn add(&mut self, now: Time, addr: SocketAddr, source: Source) {
        if !is_usable(&addr) || self.is_banned(addr) || self.upgrade(addr, source) || !self.make_room(source)
        {
            return;
        }
        self.entries.insert(addr, Entry { source, state: State::Connecting, failures: 0 });
        self.connecting += 1;
        self.set_state(addr, State::Idle(now));
    }

    /// Learns where a connected peer listens.
    pub(super) fn add_connected(&mut self, now: Time, addr: SocketAddr, peer: PeerKey) {
        self.add(now, addr, Source::Incoming);
        if self.entries.get(&addr).is_some_and(|e| matches!(e.state, State::Idle(_))) {
            self.connected(addr, peer);
        }
    }

    /// Notes a better source of a known address. True if it is known.
    fn upgrade(&mut self, addr: SocketAddr, source: Source) -> bool {
        let Some(entry) = self.entries.get_mut(&addr) else { return false };
        let old = entry.source;
        entry.source = old.min(source);
        if let State::Idle(at) = entry.state {
            self.due.remove(&(at, old, addr));
            self.due.insert((at, entry.source, addr));
        }
        true
    }

    fn make_room(&mut self, source: Source) -> bool {
        if self.entries.len() < MOST_ENTRIES {
            return true;
        }
        let idle =
            self.entries.iter().filter(|(_, e)| matches!(e.state, State::Idle(_)) && e.source > source);
        let worst = idle.max_by_key(|(_, e)| (e.source, e.failures)).map(|(addr, _)| *addr);
        worst.inspect(|addr| self.forget(*addr)).is_some()
    }

    fn forget(&mut self, addr: SocketAddr) {
        self.set_state(addr, State::Idle(Time::ZERO));
        if let Some(entry) = self.entries.remove(&addr) {
            self.due.remove(&(Time::ZERO, entry.source, addr));
        }
    }

    fn set_state(&mut self, addr: SocketAddr, state: State) {
        let Some(entry) = self.entries.get_mut(&addr) else { return };
        match std::mem::replace(&mut entry.state, state) {
            State::Idle(at) => drop(self.due.remove(&(at, entry.source, addr))),
            State::Connecting => self.connecting -= 1,
            State::Connected(_) => {}
        }
        match state {
            State::Idle(at) => drop(self.due.insert((at, entry.source, addr))),
            State::Connecting => self.connecting += 1,
            State::Connected(_) => {}
        }
    }

    /// When the next address falls due.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.due.first().map(|(at, _, _)| *at)
    }

    /// The next address to connect to, which then counts as being connected to.
    pub(super) fn next(&mut self, now: Time) -> Option<SocketAddr> {
        let &(_, _, addr) = self.due.first().filter(|(at, _, _)| *at <= now)?;
        self.set_state(addr, State::Connecting);
        Some(addr)
    }

    /// A connection to `addr` exists.
    pub(super) fn connected(&mut self, addr: SocketAddr, peer: PeerKey) {
        self.set_state(addr, State::Connected(peer));
    }

    /// A connection could not be made.
    pub(super) fn failed(&mut self, now: Time, addr: SocketAddr) {
        if self.entries.get(&addr).is_some_and(|e| e.state == State::Connecting) {
            self.punish(now, addr);
        }
    }

    /// A connection ended. `greeted`: its handshake was done.
    pub(super) fn closed(
        &mut self,
        now: Time,
        addr: SocketAddr,
        peer: PeerKey,
        greeted: bool,
        why: Departure,
    ) {
        let Some(entry) = self.entries.get_mut(&addr) else { return };
        if entry.state != State::Connected(peer) {
            return;
        }
        if greeted && why != Departure::Duplicate {
            entry.failures = 0;
        }
        match why {
            Departure::SelfConnection => self.ban_exactly(addr),
            Departure::Useless => self.set_state(addr, State::Idle(now + REST)),
            _ => self.punish(now, addr),
        }
    }

    /// Waits longer after each failure; forgets the hopeless.
    fn punish(&mut self, now: Time, addr: SocketAddr) {
        let Some(entry) = self.entries.get_mut(&addr) else { return };
        let doublings = entry.failures.min(16);
        entry.failures = entry.failures.saturating_add(1);
        let user = entry.source == Source::User;
        if !user && entry.failures > MOST_FAILURES {
            return self.forget(addr);
        }
        let (first, longest) = if user { USER_WAIT } else { OTHER_WAIT };
        let wait = (first * 2u32.pow(doublings)).min(longest);
        let jitter = self.rng.below(wait.as_micros() as u64 / 4);
        self.set_state(addr, State::Idle(now + wait + Duration::from_micros(jitter)));
    }

    /// Things have changed: those who rested because they were useless may be tried.
    pub(super) fn wake(&mut self, now: Time) {
        let resting: Vec<_> =
            self.due.iter().filter(|(at, _, _)| *at > now).map(|(_, _, addr)| *addr).collect();
        resting.into_iter().for_each(|addr| self.set_state(addr, State::Idle(now)));
    }

    /// Whether nobody from there is welcome.
    pub(super) fn is_banned(&self, addr: SocketAddr) -> bool {
        self.banned.contains(&host(addr)) || self.banned.contains(&addr)
    }

    /// Bans a host. False if it was banned before.
    pub(super) fn ban(&mut self, addr: SocketAddr) -> bool {
        let new = !self.is_banned(addr);
        self.ban_exactly(host(addr));
        self.forget(addr);
        new
    }

    fn ban_exactly(&mut self, addr: SocketAddr) {
        self.forget(addr);
        self.strikes.remove(&addr);
        if self.banned.len() == MOST_BANNED {
            self.banned.pop_front();
        }
        if !self.banned.contains(&addr) {
            self.banned.push_back(addr);
        }
    }

    /// Notes a suspicion. True if it is one too many.
    pub(super) fn strike(&mut self, addr: SocketAddr) -> bool {
        if self.strikes.len() >= MOST_BANNED {
            self.strikes.clear();
        }
        let strikes = self.strikes.entry(host(addr)).or_default();
        *strikes = strikes.saturating_add(1);
        *strikes >= MOST_STRIKES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Time {
        Time::from_micros(secs * 1_000_000)
    }

    fn addr(n: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, (n >> 8) as u8, n as u8], 6881))
    }

    #[test]
    fn better_sources_first_and_each_once() {
        let mut roster = Roster::new(1);
        roster.add(at(0), addr(1), Source::Dht);
        roster.add(at(0), addr(2), Source::User);
        roster.add(at(0), addr(2), Source::Pex);
        assert_eq!(roster.next(at(0)), Some(addr(2)));
        assert_eq!(roster.next(at(0)), Some(addr(1)));
        assert_eq!((roster.next(at(0)), roster.connecting(), roster.deadline()), (None, 2, None));
    }

    #[test]
    fn a_users_peer_is_tried_for_ever_with_growing_waits() {
        let mut roster = Roster::new(1);
        roster.add(at(0), addr(1), Source::User);
        let mut now = at(0);
        for round in 0..40 {
            assert_eq!(roster.next(now), Some(addr(1)));
            roster.failed(now, addr(1));
            let due = roster.deadline().unwrap();
            let wait = due.since(now).as_secs();
            let expected = if round < 6 { 1 << round } else { 60 };
            assert!((expected..=expected * 5 / 4).contains(&wait), "round {round}: {wait}");
            now = due;
        }
    }

    #[test]
    fn others_are_forgotten_and_bad_addresses_never_known() {
        let mut roster = Roster::new(1);
        roster.add(at(0), addr(1), Source::Tracker);
        for bad in ["0.0.0.0:1", "224.0.0.1:1", "1.2.3.4:0", "255.255.255.255:9"] {
            roster.add(at(0), bad.parse().unwrap(), Source::Tracker);
        }
        assert_eq!(roster.len(), 1);
        let mut now = at(0);
        while let Some(due) = roster.deadline() {
            now = due;
            roster.next(now);
            roster.failed(now, addr(1));
        }
        assert!(now > at(60) && roster.len() == 0 && roster.connecting() == 0);
    }

    #[test]
    fn a_lost_connection_is_tried_again_and_a_useless_one_rests() {
        let mut roster = Roster::new(1);
        roster.add(at(0), addr(1), Source::User);
        roster.next(at(0));
        roster.connected(addr(1), PeerKey(1));
        roster.closed(at(9), addr(1), PeerKey(2), true, Departure::Io);
        assert_eq!(roster.deadline(), None, "that was another connection");
        roster.closed(at(9), addr(1), PeerKey(1), true, Departure::Io);
        assert!(roster.deadline().unwrap() < at(11));
        roster.next(at(11));
        roster.connected(addr(1), PeerKey(3));
        roster.closed(at(12), addr(1), PeerKey(3), true, Departure::Useless);
        assert!(roster.deadline().unwrap() > at(600));
        roster.wake(at(13));
        assert_eq!(roster.next(at(13)), Some(addr(1)));
    }

    #[test]
    fn bans_hosts_but_on_loopback_ports() {
        let mut roster = Roster::new(1);
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        assert!(roster.ban(addr(1)) && roster.ban(local(5)));
        assert!(!roster.ban(addr(1)), "known");
        assert!(roster.is_banned(SocketAddr::new(addr(1).ip(), 99)));
        assert!(roster.is_banned(local(5)) && !roster.is_banned(local(6)));
        assert_eq!([1, 2, 3].map(|_| roster.strike(addr(9))), [false, false, true]);
    }

    #[test]
    fn when_full_worse_sources_make_room() {
        let mut roster = Roster::new(1);
        (0..3000).for_each(|n| roster.add(at(0), addr(n), Source::Pex));
        assert_eq!(roster.len(), MOST_ENTRIES);
        roster.add(at(0), addr(9999), Source::User);
        assert_eq!((roster.len(), roster.next(at(0))), (MOST_ENTRIES, Some(addr(9999))));
    }
}
