//! Who waits to ask which tracker, and whose turn it is.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::super::announcer::{LineId, Urgency};
use super::super::types::Family;
use super::{TorrentKey, TrackerUrl};
use crate::time::Time;

/// So many times in a row a tracker is silent before it counts as down.
const DOWN: u8 = 3;

/// Open questions to a tracker that has not answered since it was idle: lists are full of dead ones, and each question
/// to those takes a place for minutes.
const UNPROVEN: usize = 2;

/// How long nobody asks one that is down; it doubles with each look that finds it so.
const LOOK: Duration = Duration::from_secs(30);

/// Until it is this.
const MOST_LOOK: Duration = Duration::from_secs(600);

/// Trackers remembered to be down, beside those that are waited for; beyond, all of them get another chance.
const MOST_IDLE: usize = 4096;

/// A tracker's machine: `scheme://host:port`, in lower case, and the family.
pub(super) type HostKey = (Box<str>, Family);

/// What waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) torrent: TorrentKey,
    /// Which of those that bore this key, one after the other.
    pub(super) serial: u64,
    pub(super) line: LineId,
}

#[derive(Debug, Default)]
struct Host {
    open: usize,
    /// It answered, and was not idle since.
    proven: bool,
    /// Silent in a row.
    failures: u8,
    /// When somebody may look again whether it is back.
    look_at: Time,
    /// By urgency.
    waiting: [VecDeque<Waiting>; 3],
    /// Whether it stands in the ring of that urgency.
    in_ring: [bool; 3],
}

impl Host {
    fn cap(&self, per_host: usize) -> usize {
        match (self.is_down(), self.proven) {
            (true, _) => 1,
            (_, false) => per_host.clamp(1, UNPROVEN),
            _ => per_host.max(1),
        }
    }

    fn is_down(&self) -> bool {
        self.failures >= DOWN
    }

    fn is_idle(&self) -> bool {
        self.open == 0 && self.waiting.iter().all(VecDeque::is_empty)
    }
}

/// The queue.
#[derive(Debug)]
pub(super) struct Queue {
    per_host: usize,
    hosts: BTreeMap<HostKey, Host>,
    /// The trackers that may be asked and that somebody waits for, by urgency; the first is next.
    rings: [VecDeque<HostKey>; 3],
    len: usize,
}

impl Queue {
    pub(super) fn new(per_host: usize) -> Self {
        Self { per_host, hosts: BTreeMap::new(), rings: Default::default(), len: 0 }
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Takes one in; false if its tracker is down, and somebody is looking whether it is back or did so just now.
    pub(super) fn push(
        &mut self,
        now: Time,
        url: &TrackerUrl,
        family: Family,
        urgency: Urgency,
        waiting: Waiting,
    ) -> bool {
        let key = host_key(url, family);
        let host = self.hosts.entry(key.clone()).or_default();
        if host.is_down() && (now < host.look_at || !host.is_idle()) {
            return false;
        }
        host.waiting[urgency as usize].push_back(waiting);
        self.len += 1;
        self.enter_rings(&key);
        true
    }

    /// The next one, and whether it tells of an end; its tracker has one more question open from then on.
    pub(super) fn pop(&mut self, stops: bool, others: bool) -> Option<(HostKey, Waiting, bool)> {
        for (urgency, allowed) in [stops, others, others].into_iter().enumerate() {
            while let Some(key) = self.rings[urgency].pop_front_if(|_| allowed) {
                let Some(host) = self.hosts.get_mut(&key) else { continue };
                host.in_ring[urgency] = false;
                let has_room = host.open < host.cap(self.per_host);
                let Some(waiting) = has_room.then(|| host.waiting[urgency].pop_front()).flatten() else {
                    continue;
                };
                host.open += 1;
                self.len -= 1;
                self.enter_rings(&key);
                return Some((key, waiting, urgency == Urgency::Stop as usize));
            }
        }
        None
    }

    /// Whether ends, and others, wait that could be asked at once.
    pub(super) fn ready(&self) -> (bool, bool) {
        let [stop, start, regular] = &self.rings;
        (!stop.is_empty(), !start.is_empty() || !regular.is_empty())
    }

    /// A tracker answered, be it with a refusal. Says whether it was down.
    pub(super) fn answered(&mut self, key: &HostKey) -> bool {
        let Some(host) = self.hosts.get_mut(key) else { return false };
        host.proven = true;
        let was_down = std::mem::take(&mut host.failures) >= DOWN;
        self.close(key);
        was_down
    }

    /// A question ended otherwise. If the tracker `is_silent` once too often those that wait for it are given back.
    pub(super) fn failed(&mut self, now: Time, key: &HostKey, is_silent: bool) -> Vec<Waiting> {
        let mut lost = Vec::new();
        if let Some(host) = self.hosts.get_mut(key).filter(|_| is_silent) {
            host.failures = host.failures.saturating_add(1);
            host.proven = false;
            if host.is_down() {
                let doublings = u32::from(host.failures - DOWN).min(10);
                host.look_at = now + LOOK.saturating_mul(1 << doublings).min(MOST_LOOK);
                lost = host.waiting.iter_mut().flat_map(std::mem::take).collect();
                self.len -= lost.len();
            }
        }
        self.close(key);
        lost
    }

    /// Nobody counts as down any more.
    pub(super) fn all_up(&mut self) {
        self.hosts.retain(|_, host| !host.is_idle());
        self.hosts.values_mut().for_each(|host| host.failures = 0);
        let all: Vec<HostKey> = self.hosts.keys().cloned().collect();
        all.iter().for_each(|key| self.enter_rings(key));
    }

    fn close(&mut self, key: &HostKey) {
        let Some(host) = self.hosts.get_mut(key) else { return };
        host.open = host.open.saturating_sub(1);
        if host.is_idle() && host.failures == 0 {
            self.hosts.remove(key);
        } else {
            self.enter_rings(key);
        }
        if self.hosts.len() > MOST_IDLE {
            self.hosts.retain(|_, host| !host.is_idle());
        }
    }

    fn enter_rings(&mut self, key: &HostKey) {
        let Some(host) = self.hosts.get_mut(key) else { return };
        if host.open >= host.cap(self.per_host) {
            return;
        }
        for (urgency, ring) in self.rings.iter_mut().enumerate() {
            if !host.in_ring[urgency] && !host.waiting[urgency].is_empty() {
                host.in_ring[urgency] = true;
                ring.push_back(key.clone());
            }
        }
    }
}

fn host_key(url: &TrackerUrl, family: Family) -> HostKey {
    let name = format!("{}://{}:{}", url.scheme().name(), url.host().to_ascii_lowercase(), url.port());
    (name.into(), family)
}
