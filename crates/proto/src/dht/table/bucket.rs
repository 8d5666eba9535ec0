//! One bucket, and one node in it.

use std::time::Duration;

use super::{FRESH, K};
use crate::dht::Contact;
use crate::dht::range::Range;
use crate::ids::NodeId;
use crate::time::Time;
use crate::tracker::reach::{Scope, scope};

/// A new node is asked again after so long, and later the more seldom the longer it has been there: what has lived long
/// lives on long (Kademlia, 4.1), and who answered through the hole that its NAT made to ask us is shut by then.
pub(super) const YOUNG: Duration = Duration::from_secs(4 * 60);
/// A node that fails so often in a row is bad (BEP 5: tried once more before it is given up).
const BAD: u8 = 2;
/// A node that failed is asked again after so long.
const RETRY: Duration = Duration::from_secs(20);
/// Questions of a node prove life only for so long after its last answer: their sender may be forged.
const TRUST: Duration = Duration::from_secs(45 * 60);

/// A node that answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Who and where.
    pub contact: Contact,
    /// Whether its id fits its address (BEP 42).
    pub fits: bool,
    /// Times in a row that it did not answer.
    pub fails: u8,
    /// The smoothed round trip, in microseconds.
    rtt: u32,
    pub(super) scope: Scope,
    pub(super) host: Range,
    pub(super) site: Range,
    /// When it first answered.
    since: Time,
    /// When it last answered.
    pub(super) heard: Time,
    /// When it last asked us something.
    pub(super) seen: Time,
    /// When it was last asked.
    pub(super) pinged: Time,
}

impl Entry {
    pub(super) fn new(now: Time, contact: Contact, rtt: Duration) -> Self {
        let ip = contact.addr.ip();
        Self {
            contact,
            fits: contact.id.fits(ip),
            fails: 0,
            rtt: micros(rtt),
            scope: scope(ip).unwrap_or(Scope::Public),
            host: Range::host(ip),
            site: Range::site(ip),
            since: now,
            heard: now,
            seen: Time::ZERO,
            pinged: Time::ZERO,
        }
    }

    /// The smoothed round trip.
    pub const fn rtt(&self) -> Duration {
        Duration::from_micros(self.rtt as u64)
    }

    pub(super) fn answered(&mut self, now: Time, rtt: Duration) {
        self.fails = 0;
        self.heard = now;
        self.rtt = self.rtt - self.rtt / 4 + micros(rtt) / 4;
    }

    pub(super) const fn is_bad(&self) -> bool {
        self.fails >= BAD
    }

    /// When it is to be asked whether it is still there.
    pub(super) fn due(&self) -> Time {
        if self.fails > 0 {
            return self.pinged.max(self.heard) + RETRY;
        }
        let alive = self.heard.max(self.seen.min(self.heard + TRUST));
        let trust = self.heard.since(self.since).clamp(YOUNG, FRESH);
        (alive + trust).max(self.pinged + RETRY)
    }
}

fn micros(rtt: Duration) -> u32 {
    u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX)
}

/// One bucket.
#[derive(Clone, Debug, Default)]
pub(super) struct Bucket {
    /// Nobody is due for a ping before this.
    pub(super) quiet: Time,
    pub(super) live: Vec<Entry>,
    /// At most K.
    pub(super) spares: Vec<Entry>,
    /// When it is to be refreshed, if it has room.
    pub(super) refresh: Time,
}

impl Bucket {
    pub(super) fn find(&mut self, id: &NodeId) -> Option<&mut Entry> {
        self.live.iter_mut().find(|entry| entry.contact.id == *id)
    }

    pub(super) fn join(&mut self, entry: Entry) {
        self.quiet = self.quiet.min(entry.due());
        self.live.push(entry);
    }

    /// Who is longest due for a ping, if anybody is; it is to be asked, and then is not due again for a while.
    pub(super) fn due(&mut self, now: Time) -> Option<Contact> {
        // An empty bucket is quiet until somebody joins.
        let (mut first, mut second) = (None, now + FRESH);
        for (due, entry) in self.live.iter().map(|entry| (entry.due(), entry)) {
            match first {
                Some((least, _)) if due >= least => second = second.min(due),
                _ => second = first.replace((due, entry)).map_or(second, |(before, _)| before),
            }
        }
        let due = first.filter(|(due, _)| *due <= now);
        self.quiet =
            if due.is_some() { second.min(now + RETRY) } else { first.map_or(second, |(due, _)| due) };
        due.map(|(_, entry)| entry.contact)
    }

    pub(super) fn remove(&mut self, id: &NodeId) {
        self.live.retain(|entry| entry.contact.id != *id);
    }

    /// Whether somebody would go for a node whose id fits, or does not.
    pub(super) fn has_worse(&self, fits: bool) -> bool {
        self.live.iter().any(|entry| entry.fails > 0 || (fits && !entry.fits))
    }

    /// Drops who fails, else one whose id does not fit, in favour of one that fits.
    pub(super) fn drop_worse(&mut self, fits: bool) -> bool {
        let worse = self.live.iter().enumerate().filter(|(_, e)| e.fails > 0 || (fits && !e.fits));
        let worst = worse.max_by_key(|(_, e)| (e.fails, !e.fits, std::cmp::Reverse(e.heard))).map(|(n, _)| n);
        worst.map(|n| self.live.swap_remove(n)).is_some()
    }

    /// Puts those that came last in reserve, beyond what the bucket holds.
    pub(super) fn trim(&mut self, capacity: usize) {
        while self.live.len() > capacity {
            let last = self.live.pop();
            last.into_iter().for_each(|entry| self.spare(entry));
        }
    }

    /// Keeps a node in reserve, in place of itself or of whom was not heard of for longest.
    pub(super) fn spare(&mut self, entry: Entry) {
        let same = |e: &Entry| e.contact.id == entry.contact.id || e.contact.addr == entry.contact.addr;
        self.spares.retain(|e| !same(e));
        if self.spares.len() >= K {
            let oldest = self.spares.iter().enumerate().min_by_key(|(_, e)| e.heard).map(|(n, _)| n);
            oldest.map(|n| self.spares.swap_remove(n));
        }
        self.spares.push(entry);
    }

    /// The best in reserve: one whose id fits, and then the fastest.
    pub(super) fn take_spare(&mut self) -> Option<Entry> {
        let best = self.spares.iter().enumerate().min_by_key(|(_, e)| (!e.fits, e.rtt)).map(|(n, _)| n)?;
        Some(self.spares.swap_remove(best))
    }
}
