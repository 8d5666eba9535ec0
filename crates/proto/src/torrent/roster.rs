//! The addresses we know: which to try next, which to leave alone.
//!
//! What is due is tried in the order of [`Rank`]: who gave us data before a loss, then better sources, then what peers
//! told whose word held so far, then who failed less often, then the higher canonical priority (BEP 40). After a
//! failure an address waits longer each time ([`backoff`]); those the user gave are tried for ever, others are
//! forgotten. At most [`MOST_ENTRIES`] are known, of one public host [`MOST_PER_HOST`], and by word of one peer
//! [`tellers::MOST_PER_TELLER`]; when full, worse sources make room for better ones. Who left is remembered by host
//! ([`past`]), and so is who is banned ([`bans`]).
//!
//! It refuses to know connections, ids and limits: those are the torrent's business. Tested by examples of each rule.

mod backoff;
mod bans;
mod past;
mod tellers;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::api::Source;
use super::hosts::{self, host};
use super::sources::Sources;
use super::standpoint::Standpoint;
use crate::ids::PeerKey;
use crate::peer::Departure;
use crate::rng::Rng;
use crate::time::Time;
use crate::torrent::hosts::Reach;
use backoff::{MOST_FAILURES, REST};
use bans::Bans;
use past::Memory;
pub(super) use past::{Past, Who, who};
use tellers::Tellers;

/// Addresses known at once.
const MOST_ENTRIES: usize = 2000;
/// Addresses known of one public host, the user's not counted: who can invent ports must not fill the roster.
const MOST_PER_HOST: u16 = 4;
/// For so long after it left a peer that gave us data comes before all others.
const GRATITUDE: Duration = Duration::from_secs(600);

/// The place of an address among those that are due: the least is tried first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    gave: Reverse<bool>,
    source: Source,
    /// About who told it.
    doubt: u32,
    failures: u32,
    priority: Reverse<u32>,
    addr: SocketAddr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Falls due at this time.
    Waiting(Time),
    /// To be tried.
    Due(Rank),
    Connecting,
    Connected(PeerKey),
}

#[derive(Debug)]
struct Entry {
    source: Source,
    state: State,
    /// In a row.
    failures: u32,
    /// When it left, having given us data.
    gave: Option<Time>,
    /// The host on whose word alone we know of it (BEP 11).
    teller: Option<SocketAddr>,
}

impl Entry {
    const fn is_idle(&self) -> bool {
        matches!(self.state, State::Waiting(_) | State::Due(_))
    }

    /// Tried for ever, and soon.
    fn is_dear(&self, now: Time) -> bool {
        self.source == Source::User || self.gave_lately(now)
    }

    fn gave_lately(&self, now: Time) -> bool {
        self.gave.is_some_and(|at| now.since(at) < GRATITUDE)
    }
}

/// How a connection ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ending {
    /// It came to something: payload passed, or it lasted.
    pub(super) worked: bool,
    /// Payload passed, either way.
    pub(super) moved: bool,
    /// The peer gave us data.
    pub(super) gave: bool,
    pub(super) why: Departure,
}

/// Known addresses.
#[derive(Debug)]
pub(super) struct Roster {
    entries: BTreeMap<SocketAddr, Entry>,
    /// How many entries each host has.
    hosts: BTreeMap<SocketAddr, u16>,
    waiting: BTreeSet<(Time, SocketAddr)>,
    due: BTreeSet<Rank>,
    connecting: usize,
    sources: Sources,
    tellers: Tellers,
    standpoint: Standpoint,
    bans: Bans,
    memory: Memory,
    rng: Rng,
}

impl Roster {
    /// An empty one, of a torrent that listens on `port`, or on none if it is 0.
    pub(super) fn new(seed: u64, port: u16) -> Self {
        let mut rng = Rng::new(seed);
        Self {
            entries: BTreeMap::new(),
            hosts: BTreeMap::new(),
            waiting: BTreeSet::new(),
            due: BTreeSet::new(),
            connecting: 0,
            sources: Sources::default(),
            tellers: Tellers::default(),
            standpoint: Standpoint::new(rng.next_u64(), port),
            bans: Bans::default(),
            memory: Memory::default(),
            rng,
        }
    }

    /// Number of addresses known.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Who told us of them.
    pub(super) const fn sources(&self) -> Sources {
        self.sources
    }

    /// Connections being opened.
    pub(super) const fn connecting(&self) -> usize {
        self.connecting
    }

    /// Whether there is anybody whom we could call, now or later.
    pub(super) fn has_idle(&self) -> bool {
        !self.waiting.is_empty() || !self.due.is_empty()
    }

    /// Whether there is anybody to call now.
    pub(super) fn has_due(&self, now: Time) -> bool {
        !self.due.is_empty() || self.waiting.first().is_some_and(|(at, _)| *at <= now)
    }

    /// The user gave this address.
    pub(super) fn is_users(&self, addr: SocketAddr) -> bool {
        self.entries.get(&addr).is_some_and(|e| e.source == Source::User)
    }

    /// The canonical priority of a connection to `addr` (BEP 40).
    pub(super) fn priority(&self, addr: SocketAddr) -> u32 {
        self.standpoint.priority(addr)
    }

    /// Our end of a connection has this address.
    pub(super) fn at(&mut self, ip: IpAddr) {
        if self.standpoint.at(ip) {
            self.rank_again();
        }
    }

    /// A peer that we called sees us at `ip`.
    pub(super) fn vote(&mut self, voter: IpAddr, ip: IpAddr) {
        if self.standpoint.vote(voter, ip) {
            self.rank_again();
        }
    }

    /// Priorities changed: whoever is due gets its place anew, when somebody asks.
    fn rank_again(&mut self) {
        while let Some(rank) = self.due.first().copied() {
            self.set_state(rank.addr, State::Waiting(Time::ZERO));
        }
    }

    /// Learns of an address.
    pub(super) fn add(&mut self, now: Time, addr: SocketAddr, source: Source) {
        if self.is_welcome(addr, source) && self.make_room(source) {
            self.insert(now, addr, source, None);
        }
    }

    /// Whether an address is not known, and may be.
    fn is_welcome(&mut self, addr: SocketAddr, source: Source) -> bool {
        let refused = !hosts::is_usable(&addr) || self.is_banned(addr);
        !refused && !self.upgrade(addr, source) && !self.is_crowded(addr, source)
    }

    fn insert(&mut self, now: Time, addr: SocketAddr, source: Source, teller: Option<SocketAddr>) {
        let state = State::Connecting;
        self.entries.insert(addr, Entry { source, state, failures: 0, gave: None, teller });
        *self.hosts.entry(host(addr)).or_default() += 1;
        self.sources.add(source);
        self.connecting += 1;
        self.set_state(addr, State::Waiting(now));
    }

    /// Forgets those of some sources that are not connected, nor being called.
    pub(super) fn forget_idle(&mut self, which: impl Fn(Source) -> bool) {
        let idle = self.entries.iter().filter(|(_, e)| e.is_idle() && which(e.source));
        let idle: Vec<_> = idle.map(|(addr, _)| *addr).collect();
        idle.into_iter().for_each(|addr| self.forget(addr));
    }

    /// Whether too many addresses of the same host are known.
    fn is_crowded(&self, addr: SocketAddr, source: Source) -> bool {
        let full = self.hosts.get(&host(addr)).is_some_and(|n| *n >= MOST_PER_HOST);
        full && source != Source::User && Reach::of(addr.ip()) == Reach::Public
    }

    /// Learns where a connected peer listens.
    pub(super) fn add_connected(&mut self, now: Time, addr: SocketAddr, peer: PeerKey) {
        self.add(now, addr, Source::Incoming);
        if self.entries.get(&addr).is_some_and(Entry::is_idle) {
            self.connected(addr, peer);
        }
    }

    /// Notes a better source of a known address. True if it is known.
    fn upgrade(&mut self, addr: SocketAddr, source: Source) -> bool {
        let Some(entry) = self.entries.get_mut(&addr) else { return false };
        let before = entry.source;
        entry.source = before.min(source);
        if let State::Due(_) = entry.state {
            self.set_state(addr, State::Waiting(Time::ZERO));
        }
        if source < before {
            self.sources.remove(before);
            self.sources.add(source);
            self.settle(addr, false);
        }
        true
    }

    fn make_room(&mut self, source: Source) -> bool {
        if self.entries.len() < MOST_ENTRIES {
            return true;
        }
        let idle = self.entries.iter().filter(|(_, e)| e.is_idle() && e.source > source);
        let worst = idle.max_by_key(|(_, e)| (e.source, e.failures)).map(|(addr, _)| *addr);
        worst.inspect(|addr| self.forget(*addr)).is_some()
    }

    fn forget(&mut self, addr: SocketAddr) {
        self.set_state(addr, State::Connected(PeerKey(0)));
        self.settle(addr, false);
        let Some(entry) = self.entries.remove(&addr) else { return };
        self.sources.remove(entry.source);
        if let Some(n) = self.hosts.get_mut(&host(addr)) {
            *n -= 1;
            if *n == 0 {
                self.hosts.remove(&host(addr));
            }
        }
    }

    fn set_state(&mut self, addr: SocketAddr, state: State) {
        let Some(entry) = self.entries.get_mut(&addr) else { return };
        match std::mem::replace(&mut entry.state, state) {
            State::Waiting(at) => _ = self.waiting.remove(&(at, addr)),
            State::Due(rank) => _ = self.due.remove(&rank),
            State::Connecting => self.connecting -= 1,
            State::Connected(_) => {}
        }
        match state {
            State::Waiting(at) => _ = self.waiting.insert((at, addr)),
            State::Due(rank) => _ = self.due.insert(rank),
            State::Connecting => self.connecting += 1,
            State::Connected(_) => {}
        }
    }

    /// When the next address falls due; in the past if one is.
    pub(super) fn deadline(&self) -> Option<Time> {
        let due = (!self.due.is_empty()).then_some(Time::ZERO);
        due.or_else(|| self.waiting.first().map(|(at, _)| *at))
    }

    /// The next address to connect to, which then counts as being connected to.
    pub(super) fn next(&mut self, now: Time) -> Option<SocketAddr> {
        while let Some(&(_, addr)) = self.waiting.first().filter(|(at, _)| *at <= now) {
            let rank = self.rank(now, addr)?;
            self.set_state(addr, State::Due(rank));
        }
        let addr = self.due.first()?.addr;
        self.set_state(addr, State::Connecting);
        Some(addr)
    }

    fn rank(&self, now: Time, addr: SocketAddr) -> Option<Rank> {
        let entry = self.entries.get(&addr)?;
        let priority = Reverse(self.standpoint.priority(addr));
        let (gave, source, failures) = (Reverse(entry.gave_lately(now)), entry.source, entry.failures);
        let doubt = entry.teller.map_or(0, |teller| self.tellers.doubt(teller));
        Some(Rank { gave, source, doubt, failures, priority, addr })
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

    /// A connection was not tried.
    pub(super) fn deferred(&mut self, now: Time, addr: SocketAddr) {
        if self.entries.get(&addr).is_some_and(|e| e.state == State::Connecting) {
            let wait = backoff::deferred(&mut self.rng);
            self.set_state(addr, State::Waiting(now + wait));
        }
    }

    /// A connection ended.
    pub(super) fn closed(&mut self, now: Time, addr: SocketAddr, peer: PeerKey, ending: Ending) {
        let Some(entry) = self.entries.get_mut(&addr) else { return };
        if entry.state != State::Connected(peer) {
            return;
        }
        if ending.worked {
            entry.failures = 0;
        }
        entry.gave = if ending.gave { Some(now) } else { entry.gave };
        if entry.source == Source::Incoming && !ending.moved && entry.gave.is_none() {
            // We know it only because it called, and it was good for nothing: a flood must not be called back.
            return self.forget(addr);
        }
        match ending.why {
            Departure::SelfConnection => {
                self.forget(addr);
                self.bans.ban_exactly(addr);
            }
            Departure::Useless => self.set_state(addr, State::Waiting(now + REST)),
            _ => self.punish(now, addr),
        }
    }

    /// Waits longer after each failure; forgets the hopeless.
    fn punish(&mut self, now: Time, addr: SocketAddr) {
        let Some(entry) = self.entries.get_mut(&addr) else { return };
        let (before, dear) = (entry.failures, entry.is_dear(now));
        entry.failures = before.saturating_add(1);
        let teller = entry.teller;
        let most = if teller.is_some() { tellers::MOST_FAILURES } else { MOST_FAILURES };
        let hopeless = !dear && entry.failures > most;
        if let Some(teller) = teller.filter(|_| before == 0) {
            self.doubt(teller);
        }
        if hopeless {
            return self.forget(addr);
        }
        let wait = backoff::wait(before, dear, &mut self.rng);
        self.set_state(addr, State::Waiting(now + wait));
    }

    /// Things have changed: those who rested because they were useless may be tried.
    pub(super) fn wake(&mut self, now: Time) {
        let resting: Vec<_> =
            self.waiting.iter().filter(|(at, _)| *at > now).map(|(_, addr)| *addr).collect();
        resting.into_iter().for_each(|addr| self.set_state(addr, State::Waiting(now)));
    }

    /// Whether nobody from there is welcome.
    pub(super) fn is_banned(&self, addr: SocketAddr) -> bool {
        self.bans.has(addr)
    }

    /// Bans a host. False if it was banned before.
    pub(super) fn ban(&mut self, addr: SocketAddr) -> bool {
        let new = !self.is_banned(addr);
        self.bans.ban(addr);
        self.forget(addr);
        new
    }

    /// Notes a suspicion. True if it is one too many.
    pub(super) fn strike(&mut self, addr: SocketAddr) -> bool {
        self.bans.strike(addr)
    }

    /// What became of somebody before.
    pub(super) fn past(&self, who: &Who) -> Past {
        self.memory.of(who)
    }

    /// Remembers what somebody did in one connection.
    pub(super) fn remember(&mut self, now: Time, who: Who, did: Past) {
        self.memory.add(now, who, did);
    }
}
