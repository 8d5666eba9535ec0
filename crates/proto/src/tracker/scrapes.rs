//! Sizes of many swarms, asked for together.
//!
//! Specs: BEP 48, and BEP 15 for UDP. What is wanted of one tracker is gathered for a second and then asked in runs, one
//! after the other: 74 hashes over UDP, which is what BEP 15 has room for, and 50 over HTTP, whose URL then stays below
//! 4 KiB. A tracker is not asked about the same swarm twice within five minutes, nor while it is backing off after a
//! failure, which starts at a minute and doubles up to an hour.
//!
//! It refuses to choose trackers ([`Fleet::scrape_targets`](super::fleet::Fleet::scrape_targets) names those of a torrent),
//! and to want more than [`MOST_WANTED`] swarms at one tracker. Tested beside the code.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::reach::Source;
use super::types::{Family, ScrapeStats};
use super::udp;
use super::url::{Scheme, TrackerUrl};
use crate::ids::WireHash;
use crate::time::Time;

/// Most swarms that wait to be asked about at one tracker; further ones are passed over.
pub const MOST_WANTED: usize = 100_000;

/// Hashes in one HTTP request: 71 bytes each at the most.
const MOST_HTTP: usize = 50;

/// How long is gathered, and the gap between runs.
const GATHER: Duration = Duration::from_secs(1);

/// No second question about a swarm within.
const FRESH: Duration = Duration::from_secs(300);

/// After a first failure.
const BACK_OFF: Duration = Duration::from_secs(60);

/// After many.
const MOST_BACK_OFF: Duration = Duration::from_secs(3600);

/// Trackers remembered; beyond, those that nothing is wanted of are forgotten.
const MOST_TRACKERS: usize = 4096;

/// Whom to ask about a swarm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The tracker's announce URL.
    pub url: Arc<TrackerUrl>,
    /// Who named it.
    pub source: Source,
    /// The family to reach it over.
    pub family: Family,
    /// The swarm.
    pub hash: WireHash,
}

/// A question to send; [`Scrapes::answered`] or [`Scrapes::failed`] is to follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scrape {
    /// The tracker's announce URL.
    pub url: Arc<TrackerUrl>,
    /// Who named it.
    pub source: Source,
    /// The family to reach it over.
    pub family: Family,
    /// About which swarms; not empty.
    pub hashes: Vec<WireHash>,
}

type Key = (Arc<TrackerUrl>, Family);

/// One tracker.
#[derive(Debug)]
struct Group {
    source: Source,
    wanted: BTreeSet<WireHash>,
    /// A question is on its way.
    open: bool,
    /// The next run is not before.
    next: Time,
    failures: u8,
    /// Asked about lately.
    fresh: BTreeSet<WireHash>,
    /// Until when that counts.
    fresh_until: Time,
}

impl Group {
    const fn new(source: Source) -> Self {
        Self {
            source,
            wanted: BTreeSet::new(),
            open: false,
            next: Time::ZERO,
            failures: 0,
            fresh: BTreeSet::new(),
            fresh_until: Time::ZERO,
        }
    }

    fn want(&mut self, now: Time, hash: WireHash) {
        if now >= self.fresh_until {
            self.fresh.clear();
        }
        if self.wanted.is_empty() {
            self.next = self.next.max(now + GATHER);
        }
        if self.wanted.len() < MOST_WANTED && !self.fresh.contains(&hash) {
            self.wanted.insert(hash);
        }
    }

    fn take(&mut self, now: Time, most: usize) -> Vec<WireHash> {
        let hashes: Vec<WireHash> = std::iter::from_fn(|| self.wanted.pop_first()).take(most).collect();
        if self.fresh.is_empty() {
            self.fresh_until = now + FRESH;
        }
        self.fresh.extend(&hashes);
        self.open = true;
        hashes
    }

    fn close(&mut self, now: Time, answered: bool) {
        self.open = false;
        self.next = now + GATHER;
        self.failures = if answered { 0 } else { self.failures.saturating_add(1) };
        if !answered {
            let doublings = self.failures.saturating_sub(1).min(10);
            self.next = now + BACK_OFF.saturating_mul(1 << doublings).min(MOST_BACK_OFF);
            self.wanted.clear();
            self.fresh.clear();
        }
    }

    fn deadline(&self) -> Option<Time> {
        (!self.open && !self.wanted.is_empty()).then_some(self.next)
    }
}

/// The machine.
#[derive(Debug, Default)]
pub struct Scrapes {
    groups: BTreeMap<Key, Group>,
    /// The trackers that are to be asked, by time.
    due: BTreeSet<(Time, Key)>,
}

impl Scrapes {
    /// A machine of which nothing is wanted yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A size is wanted; passed over if it was asked for lately.
    pub fn want(&mut self, now: Time, target: Target) {
        let Target { url, source, family, hash } = target;
        if self.groups.len() >= MOST_TRACKERS {
            self.groups.retain(|_, group| group.open || !group.wanted.is_empty());
        }
        let key = (url, family);
        if self.groups.len() < MOST_TRACKERS || self.groups.contains_key(&key) {
            self.groups.entry(key.clone()).or_insert_with(|| Group::new(source));
            self.change(&key, |group| group.want(now, hash));
        }
    }

    /// The next question that may leave now, until there is none.
    pub fn poll(&mut self, now: Time) -> Option<Scrape> {
        let (_, key) = self.due.first().filter(|(at, _)| *at <= now)?.clone();
        let most = if key.0.scheme() == Scheme::Udp { udp::MAX_SCRAPE } else { MOST_HTTP };
        let (source, hashes) = self.change(&key, |group| (group.source, group.take(now, most)))?;
        Some(Scrape { url: key.0, source, family: key.1, hashes })
    }

    /// When to poll again.
    pub fn deadline(&self) -> Option<Time> {
        self.due.first().map(|(at, _)| *at)
    }

    /// A question was answered: gives the sizes of the swarms that were asked about, each once. Trackers leave out swarms
    /// that they do not have, and some answer about one only.
    pub fn answered(
        &mut self,
        now: Time,
        asked: &Scrape,
        sizes: &[(WireHash, ScrapeStats)],
    ) -> Vec<(WireHash, ScrapeStats)> {
        self.change(&(Arc::clone(&asked.url), asked.family), |group| group.close(now, true));
        let asked: BTreeSet<&WireHash> = asked.hashes.iter().collect();
        let believed = sizes.iter().filter(|(hash, _)| asked.contains(hash)).copied();
        believed.collect::<BTreeMap<WireHash, ScrapeStats>>().into_iter().collect()
    }

    /// A question was not answered, or refused: what else was wanted of the tracker is dropped.
    pub fn failed(&mut self, now: Time, asked: &Scrape) {
        self.change(&(Arc::clone(&asked.url), asked.family), |group| group.close(now, false));
    }

    fn change<R>(&mut self, key: &Key, with: impl FnOnce(&mut Group) -> R) -> Option<R> {
        let group = self.groups.get_mut(key)?;
        let before = group.deadline();
        let result = with(group);
        let after = group.deadline();
        if before != after {
            before.map(|at| self.due.remove(&(at, key.clone())));
            after.map(|at| self.due.insert((at, key.clone())));
        }
        Some(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str, n: u64) -> Target {
        let mut hash = [0; 20];
        hash[..8].copy_from_slice(&n.to_be_bytes());
        let url = Arc::new(TrackerUrl::parse(url).unwrap());
        Target { url, source: Source::Torrent, family: Family::V4, hash: WireHash(hash) }
    }

    fn seconds(n: u64) -> Time {
        Time::from_micros(n * 1_000_000)
    }

    /// The runs that leave until nothing is wanted, each answered at once; when, and of how many.
    fn runs(scrapes: &mut Scrapes) -> Vec<(u64, usize)> {
        let mut runs = Vec::new();
        while let Some(at) = scrapes.deadline() {
            while let Some(scrape) = scrapes.poll(at) {
                runs.push((at.as_micros() / 1_000_000, scrape.hashes.len()));
                assert_eq!(scrapes.answered(at, &scrape, &[]), []);
            }
            assert!(scrapes.deadline().is_none_or(|next| next > at));
        }
        runs
    }

    #[test]
    fn gathered_and_asked_in_runs() {
        let mut scrapes = Scrapes::new();
        (0..200).for_each(|n| scrapes.want(seconds(10), target("udp://t:1", n % 180)));
        (0..60).for_each(|n| scrapes.want(seconds(10), target("http://t/announce", n)));
        assert_eq!(scrapes.poll(seconds(10)), None);
        assert_eq!(runs(&mut scrapes), [(11, 50), (11, 74), (12, 10), (12, 74), (13, 32)]);
    }

    #[test]
    fn nothing_is_asked_again_within_five_minutes() {
        let mut scrapes = Scrapes::new();
        let mut want = |at, n| {
            scrapes.want(seconds(at), target("udp://t:1", n));
            runs(&mut scrapes).len()
        };
        assert_eq!([want(10, 1), want(20, 1), want(30, 2), want(300, 1), want(311, 1)], [1, 0, 1, 0, 1]);
    }

    #[test]
    fn one_question_at_a_time_and_only_what_was_asked_is_believed() {
        let mut scrapes = Scrapes::new();
        (0..100).for_each(|n| scrapes.want(seconds(0), target("udp://t:1", n)));
        let first = scrapes.poll(seconds(1)).unwrap();
        assert_eq!((scrapes.poll(seconds(9)), scrapes.deadline()), (None, None));
        let size = ScrapeStats { complete: 3, downloaded: 2, incomplete: 1 };
        let told = [first.hashes[5], WireHash([9; 20]), first.hashes[5]].map(|hash| (hash, size));
        assert_eq!(scrapes.answered(seconds(9), &first, &told), [(first.hashes[5], size)]);
        assert_eq!(scrapes.deadline(), Some(seconds(10)));
    }

    #[test]
    fn who_fails_is_left_alone_ever_longer() {
        let mut scrapes = Scrapes::new();
        let (mut now, mut waits) = (seconds(0), Vec::new());
        for n in 0..9 {
            (0..100).for_each(|k| scrapes.want(now, target("http://t/announce", n + k)));
            let at = scrapes.deadline().unwrap();
            waits.push(at.since(now).as_secs());
            let asked = scrapes.poll(at).unwrap();
            scrapes.failed(at, &asked);
            assert_eq!(scrapes.deadline(), None);
            now = at;
        }
        assert_eq!(waits, [1, 60, 120, 240, 480, 960, 1920, 3600, 3600]);
    }

    #[test]
    fn bounded() {
        let mut scrapes = Scrapes::new();
        for n in 0..MOST_TRACKERS as u64 + 100 {
            scrapes.want(seconds(0), target(&format!("udp://t{n}:1"), n));
        }
        assert_eq!(scrapes.groups.len(), MOST_TRACKERS);
        runs(&mut scrapes);
        scrapes.want(seconds(100), target("udp://more:1", 1));
        assert_eq!(scrapes.groups.len(), 1);
    }
}
