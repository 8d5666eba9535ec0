//! What a node was asked to do: the queue, and the runs.
//!
//! A job waits until it is due, there is room for another lookup and somebody is known to ask. Its run is one lookup,
//! then perhaps a round of stores. Announces are jobs that come due again.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use super::api::{Announce, Ask, Op, Summary};
use crate::dht::bloom::Filter;
use crate::dht::item::Item;
use crate::dht::lookup::{Lookup, Storer};
use crate::dht::message::Method;
use crate::ids::NodeId;
use crate::time::Time;

/// A quarter of an hour: half of what others remember a peer for.
pub const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(15 * 60);
/// An announce that nobody took is made again after so long, and twice as long each time.
const RETRY: Duration = Duration::from_secs(60);
/// Announces that come due again and run at once; the rest of the room is for people who wait.
const MAX_REPEATS: usize = 6;

/// What a job is for.
#[derive(Clone, Debug)]
pub(super) enum Goal {
    /// Somebody asked.
    Once(Ask),
    /// Somebody is to be found.
    Announce(Announce),
    /// The node's own: its neighbours, or a bucket.
    Upkeep {
        target: NodeId,
        /// Whether it is for our own id.
        join: bool,
    },
}

/// One job.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) goal: Goal,
    pub(super) since: Time,
    /// When it runs next; `None` while it runs.
    due: Option<Time>,
    /// Runs that came to nothing, in a row.
    failed: u32,
    /// Whether it ran before.
    repeat: bool,
    pub(super) run: Option<Box<Run>>,
}

/// A run of a job.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) lookup: Lookup,
    pub(super) started: Time,
    pub(super) summary: Summary,
    /// Peers that were told of.
    pub(super) peers: BTreeSet<SocketAddr>,
    pub(super) filters: Option<Box<(Filter, Filter)>>,
    /// The newest item.
    pub(super) best: Option<Item>,
    /// Where to store, once the lookup is over.
    pub(super) storers: Vec<StoreAt>,
    /// Stores on their way; `None` while the lookup goes on.
    pub(super) storing: Option<usize>,
}

/// One store.
#[derive(Clone, Debug)]
pub(super) struct StoreAt {
    pub(super) storer: Storer,
    /// Whether it was taken, refused, or is given up.
    pub(super) ended: bool,
}

impl Run {
    pub(super) fn new(now: Time, lookup: Lookup) -> Self {
        Self {
            lookup,
            started: now,
            summary: Summary::default(),
            peers: BTreeSet::new(),
            filters: None,
            best: None,
            storers: Vec::new(),
            storing: None,
        }
    }

    /// Fixes where to store.
    pub(super) fn begin_storing(&mut self) {
        let at = |storer| StoreAt { storer, ended: false };
        self.storers = self.lookup.storers().into_iter().map(at).collect();
        self.storing = Some(self.storers.len());
    }

    /// A store has ended.
    pub(super) fn count_store(&mut self, result: Result<(), (i64, &[u8])>) {
        self.storing = self.storing.map(|pending| pending.saturating_sub(1));
        match result {
            Ok(()) => self.summary.stored += 1,
            Err((0, _)) => {}
            Err((code, text)) => {
                self.summary.refusal.get_or_insert_with(|| (code, one_line(text)));
            }
        }
    }

    /// How it went.
    pub(super) fn finish(self, now: Time) -> Summary {
        let count = |filter: &Filter| filter.estimate().round() as u32;
        Summary {
            hops: self.lookup.hops(),
            took: now.since(self.started),
            closest: self.lookup.closest().collect(),
            scrape: self.filters.map(|filters| (count(&filters.0), count(&filters.1))),
            ..self.summary
        }
    }
}

/// Somebody's words, fit to be shown.
fn one_line(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect()
}

impl Goal {
    /// What the lookup goes to; a ping goes to nobody's.
    pub(super) fn target(&self) -> Option<NodeId> {
        Some(match self {
            Self::Once(Ask::Find { target } | Ask::Get { target, .. } | Ask::Sample { target })
            | Self::Upkeep { target, .. } => *target,
            Self::Once(Ask::Peers { info_hash, .. }) => *info_hash,
            Self::Announce(announce) => announce.info_hash,
            Self::Once(Ask::Put { item, .. }) => item.target(),
            Self::Once(Ask::Ping { .. }) => return None,
        })
    }

    /// What the nodes on the way are asked.
    pub(super) fn method(&self) -> Method<'static> {
        match self {
            Self::Once(Ask::Find { target }) | Self::Upkeep { target, .. } => {
                Method::FindNode { target: *target }
            }
            Self::Once(Ask::Peers { info_hash, noseed, scrape }) => {
                Method::GetPeers { info_hash: *info_hash, noseed: *noseed, scrape: *scrape }
            }
            Self::Announce(Announce { info_hash, .. }) => {
                Method::GetPeers { info_hash: *info_hash, noseed: false, scrape: false }
            }
            Self::Once(Ask::Get { target, .. }) => Method::Get { target: *target, seq: None },
            // What is stored need not come whole: its number tells enough.
            Self::Once(Ask::Put { item, .. }) => {
                Method::Get { target: item.target(), seq: item.seq().map(|_| i64::MAX) }
            }
            Self::Once(Ask::Sample { target }) => Method::SampleInfohashes { target: *target },
            Self::Once(Ask::Ping { .. }) => Method::Ping,
        }
    }

    /// Whether something is stored at the end.
    pub(super) const fn stores(&self) -> bool {
        matches!(self, Self::Announce(_) | Self::Once(Ask::Put { .. }))
    }

    const fn is_upkeep(&self) -> bool {
        matches!(self, Self::Upkeep { .. })
    }
}

/// All jobs.
#[derive(Clone, Debug, Default)]
pub(super) struct Jobs {
    jobs: BTreeMap<Op, Job>,
    queue: BTreeSet<(Time, Op)>,
    next: u64,
    running: usize,
    repeating: usize,
    upkeep: usize,
}

impl Jobs {
    pub(super) fn add(&mut self, now: Time, goal: Goal) -> Op {
        let op = Op(self.next);
        self.next += 1;
        self.queue.insert((now, op));
        self.upkeep += usize::from(goal.is_upkeep());
        let job = Job { goal, since: now, due: Some(now), failed: 0, repeat: false, run: None };
        self.jobs.insert(op, job);
        op
    }

    pub(super) fn get_mut(&mut self, op: Op) -> Option<&mut Job> {
        self.jobs.get_mut(&op)
    }

    pub(super) fn remove(&mut self, op: Op) -> Option<Job> {
        let mut job = self.jobs.remove(&op)?;
        self.upkeep -= usize::from(job.goal.is_upkeep());
        self.stop(op, &mut job);
        Some(job)
    }

    pub(super) const fn has_upkeep(&self) -> bool {
        self.upkeep > 0
    }

    /// When the next job is due, if there is room for it.
    pub(super) fn deadline(&self, room: usize) -> Option<Time> {
        self.ready(room).map(|(at, _)| at)
    }

    /// Takes the next job that is due, to be run.
    pub(super) fn take_due(&mut self, now: Time, room: usize) -> Option<Op> {
        let (at, op) = self.ready(room).filter(|(at, _)| *at <= now)?;
        self.queue.remove(&(at, op));
        let job = self.jobs.get_mut(&op)?;
        job.due = None;
        self.running += 1;
        self.repeating += usize::from(job.repeat);
        Some(op)
    }

    /// The first in the queue that may run: what people wait for is not held up by what comes due again.
    fn ready(&self, room: usize) -> Option<(Time, Op)> {
        if self.running >= room {
            return None;
        }
        let repeats = self.repeating < MAX_REPEATS.min(room);
        let may = |op: &Op| repeats || self.jobs.get(op).is_some_and(|job| !job.repeat);
        // New jobs are due at once, and repeats stand behind one another: look no further than some of them.
        self.queue.iter().take(64).find(|(_, op)| may(op)).copied()
    }

    /// Ends a run. Returns when the job runs again, if it does; else it is gone.
    pub(super) fn finish(&mut self, now: Time, op: Op, stored: bool, jitter: Duration) -> Option<Time> {
        let mut job = self.remove(op)?;
        if !matches!(job.goal, Goal::Announce(_)) {
            return None;
        }
        job.failed = if stored { 0 } else { job.failed.saturating_add(1) };
        let wait = match job.failed {
            0 => ANNOUNCE_INTERVAL - jitter,
            n => (RETRY * 2u32.pow(n.min(5) - 1)).min(ANNOUNCE_INTERVAL),
        };
        let due = now + wait;
        job.repeat = true;
        self.put(op, job, due);
        Some(due)
    }

    /// Makes announces due that nobody took, for there is a network again.
    pub(super) fn hurry(&mut self, now: Time) {
        let late: Vec<(Time, Op)> = self
            .queue
            .iter()
            .filter(|(at, op)| *at > now && self.jobs.get(op).is_some_and(|job| job.failed > 0))
            .copied()
            .collect();
        for (at, op) in late {
            self.queue.remove(&(at, op));
            self.queue.insert((now, op));
            if let Some(job) = self.jobs.get_mut(&op) {
                job.due = Some(now);
            }
        }
    }

    /// Jobs that have waited to run since before `before`, bar announces, which wait on.
    pub(super) fn waiting_since(&self, before: Time) -> Vec<Op> {
        let waits =
            |job: &Job| job.due.is_some() && job.since <= before && !matches!(job.goal, Goal::Announce(_));
        self.jobs.iter().filter(|(_, job)| waits(job)).map(|(op, _)| *op).collect()
    }

    fn put(&mut self, op: Op, mut job: Job, due: Time) {
        job.due = Some(due);
        self.queue.insert((due, op));
        self.jobs.insert(op, job);
    }

    fn stop(&mut self, op: Op, job: &mut Job) {
        match job.due.take() {
            Some(due) => drop(self.queue.remove(&(due, op))),
            None => {
                self.running -= 1;
                self.repeating -= usize::from(job.repeat);
            }
        }
        job.run = None;
    }
}
