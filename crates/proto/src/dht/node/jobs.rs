//! What a node was asked to do: the queue, and the runs.
//!
//! A job waits until it is due, there is room for another lookup and somebody is known to ask. Its run is one lookup,
//! then perhaps a round of stores. Announces are jobs that come due again.
//!
//! Who waits for an answer goes first, then announces that never ran, then those that come due again; a quarter of the
//! room is kept for the first, three eighths are the most for the last. So ten thousand torrents hold up nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
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
/// One that fewer than [`ENOUGH`] took: who has just begun knows few, and those may go.
const RETRY_WEAK: Duration = Duration::from_secs(15);
/// Half of those who shall keep an announce.
const ENOUGH: u32 = 4;
/// For so many announces there is room for one lookup more: ten thousand, each a quarter of an hour apart, are eleven a
/// second, and a lookup with its stores takes a second or two.
const CROWD: usize = 256;
/// Most such lookups.
const MAX_EXTRA: usize = 64;

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
    rank: Rank,
    pub(super) run: Option<Box<Run>>,
}

/// Who goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rank {
    /// Somebody waits, or the node's own upkeep.
    Wait = 0,
    /// An announce that never ran.
    First = 1,
    /// An announce that ran before.
    Again = 2,
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
    /// Peers of nodes that have no filters, to be counted with them; at most [`super::MAX_PEERS`].
    pub(super) unfiltered: Vec<IpAddr>,
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
            unfiltered: Vec::new(),
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
        let scrape = self.count();
        Summary {
            hops: self.lookup.hops(),
            took: now.since(self.started),
            closest: self.lookup.closest().collect(),
            scrape,
            ..self.summary
        }
    }

    /// Seeds and other peers (BEP 33). Who is in nobody's filters and no seed counts as a peer.
    fn count(&self) -> Option<(u32, u32)> {
        let (seeds, mut peers) = match self.filters.as_deref() {
            None if self.unfiltered.is_empty() => return None,
            filters => filters.cloned().unwrap_or_default(),
        };
        self.unfiltered.iter().filter(|ip| !seeds.contains(**ip)).for_each(|ip| peers.insert(*ip));
        let round = |filter: Filter| filter.estimate().round() as u32;
        Some((round(seeds), round(peers)))
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

    const fn is_announce(&self) -> bool {
        matches!(self, Self::Announce(_))
    }
}

/// All jobs.
#[derive(Clone, Debug, Default)]
pub(super) struct Jobs {
    jobs: BTreeMap<Op, Job>,
    /// Those that wait, by rank.
    queues: [BTreeSet<(Time, Op)>; 3],
    /// How many run, by rank.
    running: [usize; 3],
    next: u64,
    announces: usize,
    upkeep: usize,
}

impl Jobs {
    /// A name that was not used before.
    pub(super) fn name(&mut self) -> Op {
        self.next += 1;
        Op(self.next - 1)
    }

    pub(super) fn add(&mut self, now: Time, goal: Goal) -> Op {
        let op = self.name();
        let rank = if goal.is_announce() { Rank::First } else { Rank::Wait };
        self.count(&goal);
        let job = Job { goal, since: now, due: None, failed: 0, rank, run: None };
        self.put(op, job, now);
        op
    }

    pub(super) fn get_mut(&mut self, op: Op) -> Option<&mut Job> {
        self.jobs.get_mut(&op)
    }

    pub(super) fn remove(&mut self, op: Op) -> Option<Job> {
        let job = self.take(op)?;
        self.announces -= usize::from(job.goal.is_announce());
        self.upkeep -= usize::from(job.goal.is_upkeep());
        Some(job)
    }

    pub(super) const fn has_upkeep(&self) -> bool {
        self.upkeep > 0
    }

    /// When the next job is due, if there is room for it.
    pub(super) fn deadline(&self, room: usize) -> Option<Time> {
        self.ready(room).map(|(_, (at, _))| at).min()
    }

    /// Takes the next job that is due, to be run.
    pub(super) fn take_due(&mut self, now: Time, room: usize) -> Option<Op> {
        let (rank, (at, op)) = self.ready(room).find(|(_, (at, _))| *at <= now)?;
        self.queues[rank].remove(&(at, op));
        self.running[rank] += 1;
        self.jobs.get_mut(&op)?.due = None;
        Some(op)
    }

    /// The first of each rank that has room, by rank.
    fn ready(&self, room: usize) -> impl Iterator<Item = (usize, (Time, Op))> {
        let extra = (self.announces / CROWD).min(MAX_EXTRA);
        let room = if room == 0 { 0 } else { room + extra };
        let [waiting, first, again] = self.running;
        let has_room = waiting + first + again < room;
        let for_announces = has_room && first + again < (room * 3).div_ceil(4);
        let open = [has_room, for_announces, for_announces && again < (room * 3).div_ceil(8)];
        let first =
            move |rank: usize| self.queues[rank].first().filter(|_| open[rank]).map(|job| (rank, *job));
        (0..3).filter_map(first)
    }

    /// Ends a run. Returns when the job runs again, if it does; else it is gone.
    pub(super) fn finish(&mut self, now: Time, op: Op, stored: u32, jitter: Duration) -> Option<Time> {
        let mut job = self.remove(op)?;
        if !job.goal.is_announce() {
            return None;
        }
        job.failed = if stored >= ENOUGH { 0 } else { job.failed.saturating_add(1) };
        let retry = if stored == 0 { RETRY } else { RETRY_WEAK };
        let wait = match job.failed {
            0 => ANNOUNCE_INTERVAL - jitter,
            n => (retry * 2u32.pow(n.min(7) - 1)).min(ANNOUNCE_INTERVAL),
        };
        let due = now + wait;
        job.rank = Rank::Again;
        self.count(&job.goal);
        self.put(op, job, due);
        Some(due)
    }

    /// Makes announces due that nobody took, for there is a network again.
    pub(super) fn hurry(&mut self, now: Time) {
        let late = |job: &Job| job.failed > 0 && job.due.is_some_and(|due| due > now);
        let late: Vec<Op> = self.jobs.iter().filter(|(_, job)| late(job)).map(|(op, _)| *op).collect();
        for op in late {
            if let Some(job) = self.take(op) {
                self.put(op, job, now);
            }
        }
    }

    /// Jobs that have waited to run for so long, bar announces, which wait on.
    pub(super) fn waiting_for(&self, now: Time, time: Duration) -> Vec<Op> {
        let waits = |job: &Job| job.due.is_some() && now.since(job.since) >= time && !job.goal.is_announce();
        self.jobs.iter().filter(|(_, job)| waits(job)).map(|(op, _)| *op).collect()
    }

    fn count(&mut self, goal: &Goal) {
        self.announces += usize::from(goal.is_announce());
        self.upkeep += usize::from(goal.is_upkeep());
    }

    /// Puts a job in its queue.
    fn put(&mut self, op: Op, mut job: Job, due: Time) {
        job.due = Some(due);
        self.queues[job.rank as usize].insert((due, op));
        self.jobs.insert(op, job);
    }

    /// Takes a job out, whether it waits or runs.
    fn take(&mut self, op: Op) -> Option<Job> {
        let mut job = self.jobs.remove(&op)?;
        let rank = job.rank as usize;
        match job.due.take() {
            Some(due) => drop(self.queues[rank].remove(&(due, op))),
            None => self.running[rank] -= 1,
        }
        job.run = None;
        Some(job)
    }
}
