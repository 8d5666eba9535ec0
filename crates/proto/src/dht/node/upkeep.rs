//! Keeping the table alive: getting to know somebody, finding the neighbours, looking after everybody.
//!
//! *Joining.* Hints and the bootstrap list are asked for our own id. As soon as somebody is known, a lookup of our id finds
//! the neighbours; then the buckets are refreshed one after the other. While fewer than [`FEW`] are known the bootstrap list is tried
//! and the buckets are refreshed again, at growing intervals: others may have begun at the same time.
//!
//! *Afterwards*, at most one question a second: a node that was silent for a quarter of an hour is asked whether it is
//! there, and, if its bucket has room, for its neighbours; nodes that asked us or were named are tried if there is room; a
//! bucket with room is refreshed every quarter of an hour. This bounds the traffic of an idle node.
//!
//! *Offline.* When [`SILENCE`] questions in a row got no answer for a minute, the network is gone, not the nodes: nobody
//! is given up, and someone is tried every ten seconds until an answer comes. Then announces that failed are made at once.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use super::jobs::Goal;
use super::{Node, Output, Purpose};
use crate::dht::Contact;
use crate::dht::message::Method;
use crate::dht::table::K;
use crate::time::Time;

/// Between two questions of upkeep.
const TICK: Duration = Duration::from_secs(1);
/// Between two looks when nothing is due.
const IDLE: Duration = Duration::from_secs(30);
/// Between two tries while offline.
const PROBE: Duration = Duration::from_secs(10);
/// Addresses to get to know that are kept.
const MAX_HINTS: usize = 256;
/// Addresses that are being got to know at once.
const MAX_INTROS: usize = 8;
/// NATs have forgotten by then to whom a node sent something (RFC 4787: mostly two minutes).
const SHUT: Duration = Duration::from_secs(150);
/// Nodes to try that are kept.
const MAX_CHECKS: usize = 64;
/// Who knows so many has neighbours enough to learn the rest by and by.
const FEW: usize = 2 * K;
/// The first and the last wait before the bootstrap list is tried again.
const BOOT: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));
/// Questions without an answer that make the network suspect.
const SILENCE: u32 = 12;
/// How long without an answer makes it gone.
const GONE: Duration = Duration::from_secs(60);
/// A job that found nobody to ask for so long is given up.
const PATIENCE: Duration = Duration::from_secs(20);

/// How far the node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It knows nobody, or does not know its neighbours.
    Alone,
    /// The lookup of its own id is under way.
    Joining,
    /// It knows its neighbours.
    Joined,
}

/// State of the upkeep.
#[derive(Clone, Debug)]
pub(super) struct Upkeep {
    stage: Stage,
    bootstrap: Vec<SocketAddr>,
    hints: VecDeque<SocketAddr>,
    intros: usize,
    checks: VecDeque<Contact>,
    /// Who asked us, and when to try them.
    callers: VecDeque<(Time, Contact)>,
    next: Time,
    boot_at: Time,
    boot_wait: Duration,
    heard: Time,
    unheard: u32,
    offline: bool,
}

impl Upkeep {
    pub(super) const fn new(now: Time) -> Self {
        Self {
            stage: Stage::Alone,
            bootstrap: Vec::new(),
            hints: VecDeque::new(),
            intros: 0,
            checks: VecDeque::new(),
            callers: VecDeque::new(),
            next: now,
            boot_at: now,
            boot_wait: BOOT.0,
            heard: now,
            unheard: 0,
            offline: false,
        }
    }

    pub(super) fn set_bootstrap(&mut self, now: Time, addrs: Vec<SocketAddr>) {
        self.bootstrap = addrs;
        self.bootstrap.truncate(MAX_HINTS);
        self.boot_soon(now);
    }

    pub(super) fn hint(&mut self, now: Time, addr: SocketAddr) {
        if self.hints.len() < MAX_HINTS && !self.hints.contains(&addr) {
            self.hints.push_back(addr);
            self.next = self.next.min(now);
        }
    }

    /// Notes a node that asked us, and might enter the table. Asking made a hole in its NAT: it is tried when that is shut,
    /// unless nobody else is known there.
    pub(super) fn called(&mut self, now: Time, contact: Contact, urgent: bool) {
        if urgent {
            self.check(contact);
            self.next = self.next.min(now + TICK);
        } else if self.callers.len() < MAX_CHECKS {
            self.callers.push_back((now + SHUT, contact));
        }
    }

    /// Takes a node that is to be tried.
    fn next_check(&mut self, now: Time) -> Option<Contact> {
        if self.callers.front().is_some_and(|(at, _)| *at <= now) {
            let caller = self.callers.pop_front().map(|(_, contact)| contact);
            caller.into_iter().for_each(|contact| self.check(contact));
        }
        self.checks.pop_front()
    }

    /// Notes a node that might enter the table.
    pub(super) fn check(&mut self, contact: Contact) {
        if self.checks.len() < MAX_CHECKS && !self.checks.iter().any(|c| c.addr == contact.addr) {
            self.checks.push_back(contact);
        }
    }

    pub(super) const fn due(&self) -> Time {
        self.next
    }

    pub(super) fn is_joined(&self) -> bool {
        self.stage == Stage::Joined
    }

    pub(super) const fn is_offline(&self) -> bool {
        self.offline
    }

    /// An answer came. Whether that ends a time without network.
    pub(super) fn heard(&mut self, now: Time) -> bool {
        (self.heard, self.unheard) = (now, 0);
        let back = std::mem::take(&mut self.offline);
        if back {
            self.rejoin(now);
        }
        back
    }

    /// A question got no answer.
    pub(super) fn unheard(&mut self, now: Time) {
        self.unheard = self.unheard.saturating_add(1);
        self.offline |= self.unheard >= SILENCE && now.since(self.heard) >= GONE;
    }

    /// An answer to upkeep came, or none will.
    pub(super) fn answered(&mut self, now: Time, intro: bool) {
        if intro {
            self.intros = self.intros.saturating_sub(1);
            self.next = self.next.min(now);
        }
    }

    /// The neighbours are to be found anew.
    pub(super) fn rejoin(&mut self, now: Time) {
        self.stage = Stage::Alone;
        self.next = self.next.min(now);
    }

    pub(super) fn network_changed(&mut self, now: Time) {
        (self.heard, self.unheard, self.offline) = (now, 0, false);
        self.boot_soon(now);
        self.rejoin(now);
    }

    fn boot_soon(&mut self, now: Time) {
        (self.boot_at, self.boot_wait) = (now, BOOT.0);
        self.next = self.next.min(now);
    }

    /// Tries the bootstrap list if it is time. Whether it was.
    fn boot(&mut self, now: Time) -> bool {
        let due = self.hints.is_empty() && self.intros == 0 && self.boot_at <= now;
        if due {
            self.hints.extend(&self.bootstrap);
            self.boot_at = now + self.boot_wait;
            self.boot_wait = (self.boot_wait * 2).min(BOOT.1);
        }
        due
    }
}

impl Node {
    /// Does what is due, and sets when to look again.
    pub(super) fn tick(&mut self, now: Time) {
        if (self.table.len() < FEW || self.upkeep.offline) && self.upkeep.boot(now) {
            // Those who are known have got to know others too.
            self.table.age(now);
        }
        self.introduce(now);
        if self.upkeep.stage == Stage::Alone && !self.table.is_empty() && !self.upkeep.offline {
            self.upkeep.stage = Stage::Joining;
            let target = self.id();
            self.jobs.add(now, Goal::Upkeep { target, join: true });
        }
        let busy = self.look_after(now);
        self.refresh(now);
        if self.table.is_empty() {
            let given_up = self.jobs.waiting_for(now, PATIENCE);
            given_up.into_iter().for_each(|op| self.end(now, op));
        }
        self.upkeep.next = self.next_tick(now, busy);
    }

    fn next_tick(&mut self, now: Time, busy: bool) -> Time {
        // Spread, so that nodes which started together do not stay together.
        let jitter = Duration::from_millis(self.rng.below(200));
        if self.upkeep.offline {
            return now + PROBE + jitter;
        }
        if busy || !self.upkeep.checks.is_empty() || self.table.is_empty() {
            return now + TICK + jitter;
        }
        let stale = Some(self.table.quiet_until());
        let refresh = self.table.refresh_due();
        let caller = self.upkeep.callers.front().map(|(at, _)| *at);
        let boot = (self.table.len() < FEW).then_some(self.upkeep.boot_at);
        let first = [stale, refresh, caller, boot].into_iter().flatten().min().unwrap_or(now + IDLE);
        first.clamp(now + TICK, now + IDLE) + jitter
    }

    fn introduce(&mut self, now: Time) {
        while self.upkeep.intros < MAX_INTROS && !self.calls.is_full() {
            let Some(addr) = self.upkeep.hints.pop_front() else { return };
            self.upkeep.intros += 1;
            let method = Method::FindNode { target: self.id() };
            self.ask(now, addr, None, Purpose::Intro, method);
        }
    }

    /// Asks one node whether it is there. Whether there was one to ask.
    fn look_after(&mut self, now: Time) -> bool {
        if self.calls.is_full() {
            return false;
        }
        let stale = if self.upkeep.offline {
            self.table.stalest().map(|(_, contact)| contact)
        } else {
            self.table.due(now)
        };
        if let Some(contact) = stale {
            let method = if self.table.is_open_around(&contact.id) {
                Method::FindNode { target: self.table.place_around(&contact.id, &mut self.rng) }
            } else {
                Method::Ping
            };
            self.ask(now, contact.addr, Some(contact.id), Purpose::Check, method);
            return true;
        }
        while let Some(contact) = self.upkeep.next_check(now) {
            if self.table.wants(&contact) {
                self.ask(now, contact.addr, Some(contact.id), Purpose::Check, Method::Ping);
                return true;
            }
        }
        false
    }

    /// Refreshes one bucket at a time.
    fn refresh(&mut self, now: Time) {
        if !self.upkeep.is_joined() || self.upkeep.offline || self.jobs.has_upkeep() {
            return;
        }
        if let Some(target) = self.table.to_refresh(now, &mut self.rng) {
            self.table.refreshed(now, &target);
            self.jobs.add(now, Goal::Upkeep { target, join: false });
        }
    }

    /// A lookup for the table has ended.
    pub(super) fn upkeep_ended(&mut self, now: Time, join: bool, answered: bool) {
        self.upkeep.next = self.upkeep.next.min(now + TICK);
        if !join || self.upkeep.stage != Stage::Joining {
            return;
        }
        if answered {
            self.upkeep.stage = Stage::Joined;
            self.table.age(now);
            self.out.push_back(Output::Joined);
        } else {
            self.upkeep.stage = Stage::Alone;
        }
    }
}
