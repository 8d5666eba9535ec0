//! Runs of jobs: from the first question of a lookup to the last store.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::api::{Ask, Op, Output};
use super::calls::Call;
use super::jobs::{Goal, Job, Run, StoreAt};
use super::{Announce, Node, Purpose};
use crate::dht::Contact;
use crate::dht::bloom::{Filter, MOST};
use crate::dht::contact::is_reachable;
use crate::dht::item::Item;
use crate::dht::lookup::Lookup;
use crate::dht::message::FILTER_LEN;
use crate::dht::message::{Method, Response, Signed};
use crate::dht::table::K;
use crate::ids::NodeId;
use crate::time::Time;
use crate::tracker::reach::{Policy, keep_peers};

/// Most peers that one run tells of.
pub const MAX_PEERS: usize = 2000;
/// Announces come that much before their time at most, so that they do not all come at once.
const JITTER: u64 = 120;
/// We stand as far in as there is.
const HOME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Most peers taken from our own store.
const MAX_OWN: usize = 100;
/// Nodes of our table that a lookup begins with.
const SEEDS: usize = 2 * K;

impl Node {
    /// Begins the run of a job.
    pub(super) fn run(&mut self, now: Time, op: Op) {
        let Some(job) = self.jobs.get_mut(op) else { return };
        let Some(target) = job.goal.target() else { return };
        let mut lookup = Lookup::new(target, self.census.size());
        let mut known = self.table.closest(&target, SEEDS);
        if known.is_empty() {
            // Nobody answered lately; somebody may now.
            known.extend(self.table.iter().take(SEEDS).map(|entry| entry.contact));
        }
        lookup.seed(known);
        job.run = Some(Box::new(Run::new(now, lookup)));
        self.look_at_home(op);
        self.advance(now, op);
    }

    /// What others left with us need not be asked for, and in a small network nobody else may have it.
    fn look_at_home(&mut self, op: Op) {
        let Some(job) = self.jobs.get_mut(op) else { return };
        let Job { goal, run: Some(run), .. } = job else { return };
        let found = match &*goal {
            Goal::Once(Ask::Peers { info_hash, noseed, .. }) => {
                let own = self.server.peers().sample(info_hash, HOME, MAX_OWN, *noseed, &mut self.rng);
                run.keep(own).map(|peers| Output::Peers { op, peers })
            }
            Goal::Announce(Announce { info_hash, .. }) => {
                let own = self.server.peers().sample(info_hash, HOME, MAX_OWN, false, &mut self.rng);
                run.keep(own).map(|peers| Output::Peers { op, peers })
            }
            Goal::Once(Ask::Get { target, salt }) => {
                let fits = |item: &&Item| item.mutable().is_none_or(|mutable| mutable.salt == *salt);
                let own = self.server.items().get(target).filter(fits).cloned();
                own.map(|item| Output::Item { op, item: run.prefer(item) })
            }
            _ => None,
        };
        self.out.extend(found);
    }

    /// Asks whom a lookup has to ask, and ends it when it is done.
    fn advance(&mut self, now: Time, op: Op) {
        while let Some((contact, method)) = self.next_question(op) {
            self.ask(now, contact.addr, Some(contact.id), Purpose::Lookup(op), method);
        }
        let is_done = self.looking(op).is_some_and(|run| run.lookup.is_done());
        if is_done {
            self.end_lookup(now, op);
        }
    }

    fn next_question(&mut self, op: Op) -> Option<(Contact, Method<'static>)> {
        let is_full = self.calls.is_full();
        let job = self.jobs.get_mut(op)?;
        let run = job.run.as_deref_mut().filter(|run| run.storing.is_none())?;
        loop {
            let contact = run.lookup.next_to_ask()?;
            if is_full {
                run.lookup.failed(&contact);
                continue;
            }
            run.summary.asked += 1;
            return Some((contact, job.goal.method()));
        }
    }

    /// The run of a job whose lookup goes on.
    fn looking(&mut self, op: Op) -> Option<&mut Run> {
        self.jobs.get_mut(op)?.run.as_deref_mut().filter(|run| run.storing.is_none())
    }

    pub(super) fn on_lookup_slow(&mut self, now: Time, op: Op, contact: &Contact) {
        if let Some(run) = self.looking(op) {
            run.lookup.slow(contact);
            self.advance(now, op);
        }
    }

    pub(super) fn on_lookup_dead(&mut self, now: Time, op: Op, contact: &Contact) {
        if let Some(run) = self.looking(op) {
            run.lookup.failed(contact);
            self.advance(now, op);
        }
    }

    pub(super) fn on_lookup_answer(
        &mut self,
        now: Time,
        op: Op,
        call: &Call<Purpose>,
        response: &Response<'_>,
        named: Vec<Contact>,
    ) {
        let Some(job) = self.jobs.get_mut(op) else { return };
        let Job { goal, run: Some(run), .. } = job else { return };
        if run.storing.is_some() {
            return;
        }
        run.summary.answered += 1;
        let asked = Contact { id: call.id.unwrap_or(response.id), addr: call.to };
        let holds = response.value.is_some() || response.seq.is_some();
        run.lookup.answered(&asked, response.id, named, response.token, holds);
        let found = run.take(op, goal, call.to, response);
        let enough = found.is_some() && matches!(goal, Goal::Once(Ask::Get { .. })) && run.has_immutable();
        self.out.extend(found);
        if enough { self.end_lookup(now, op) } else { self.advance(now, op) }
    }

    fn end_lookup(&mut self, now: Time, op: Op) {
        let Some(job) = self.jobs.get_mut(op) else { return };
        let Job { goal, run: Some(run), .. } = job else { return };
        if let (Goal::Upkeep { join: false, .. }, Some(reach)) = (&*goal, run.lookup.reach()) {
            self.census.add(K, reach);
        }
        if !goal.stores() {
            return self.end(now, op);
        }
        run.begin_storing();
        for storer in 0..run.storers.len() {
            self.store(now, op, storer, false);
        }
        self.end_if_stored(now, op);
    }

    /// Sends what is to be stored, perhaps a second time.
    pub(super) fn store(&mut self, now: Time, op: Op, storer: usize, again: bool) {
        let Some(job) = self.jobs.get_mut(op) else { return };
        let Job { goal, run: Some(run), .. } = job else { return };
        let Some(StoreAt { storer: at, ended: false }) = run.storers.get(storer) else { return };
        let at = at.clone();
        // What is said is copied, for it may outlive the job.
        let goal = goal.clone();
        let method = match &goal {
            Goal::Announce(Announce { info_hash, port, implied_port, seed }) => Method::AnnouncePeer {
                info_hash: *info_hash,
                port: *port,
                implied_port: *implied_port,
                seed: *seed,
                token: &at.token,
            },
            Goal::Once(Ask::Put { item, cas }) => {
                let Some(value) = crate::dht::item::view(item.value()) else { return };
                let signed = item.mutable().map(|mutable| mutable.signed());
                Method::Put { token: &at.token, value, signed, cas: cas.filter(|_| at.holds) }
            }
            _ => return,
        };
        self.ask(now, at.contact.addr, Some(at.contact.id), Purpose::Store { op, storer, again }, method);
    }

    pub(super) fn on_stored(&mut self, now: Time, op: Op, storer: usize, result: Result<(), (i64, &[u8])>) {
        let Some(run) = self.jobs.get_mut(op).and_then(|job| job.run.as_deref_mut()) else { return };
        if let Some(at) = run.storers.get_mut(storer).filter(|at| !at.ended) {
            at.ended = true;
            run.count_store(result);
            self.end_if_stored(now, op);
        }
    }

    fn end_if_stored(&mut self, now: Time, op: Op) {
        let run = self.jobs.get_mut(op).and_then(|job| job.run.as_deref());
        if run.is_some_and(|run| run.storing == Some(0)) {
            self.end(now, op);
        }
    }

    /// Ends a run, or a job that never ran.
    pub(super) fn end(&mut self, now: Time, op: Op) {
        let Some(job) = self.jobs.get_mut(op) else { return };
        let goal = job.goal.clone();
        let mut summary = job.run.take().map(|run| run.finish(now)).unwrap_or_default();
        let jitter = Duration::from_secs(self.rng.below(JITTER));
        summary.next = self.jobs.finish(now, op, summary.stored, jitter);
        match goal {
            Goal::Upkeep { join, .. } => self.upkeep_ended(now, join, summary.answered > 0),
            _ => self.out.push_back(Output::Done { op, summary: Box::new(summary) }),
        }
    }
}

impl Run {
    /// Takes from an answer what is looked for.
    fn take(&mut self, op: Op, goal: &Goal, from: SocketAddr, response: &Response<'_>) -> Option<Output> {
        match goal {
            Goal::Once(Ask::Peers { .. }) | Goal::Announce(_) => {
                let has_filters = self.take_filters(response);
                let peers = self.take_peers(from, response)?;
                if !has_filters && matches!(goal, Goal::Once(Ask::Peers { scrape: true, .. })) {
                    self.unfiltered.extend(peers.iter().map(|peer| peer.ip()));
                }
                Some(Output::Peers { op, peers })
            }
            Goal::Once(Ask::Get { target, salt }) => {
                let item = self.take_item(target, salt, response)?;
                Some(Output::Item { op, item })
            }
            Goal::Once(Ask::Sample { .. }) => {
                let sample = response.sample?;
                let hashes = sample.hashes.chunks_exact(NodeId::LEN).filter_map(NodeId::from_slice);
                Some(Output::Sample {
                    op,
                    from: Contact { id: response.id, addr: from },
                    hashes: hashes.collect(),
                    num: sample.num,
                    interval: Duration::from_secs(sample.interval.into()),
                })
            }
            _ => None,
        }
    }

    fn take_peers(&mut self, from: SocketAddr, response: &Response<'_>) -> Option<Vec<SocketAddr>> {
        let mut peers: Vec<SocketAddr> = response.values?.iter().filter(|peer| is_reachable(*peer)).collect();
        keep_peers(&mut peers, from.ip(), Policy::default());
        self.keep(peers)
    }

    /// Those that were not told of; `None` if there are none.
    fn keep(&mut self, mut peers: Vec<SocketAddr>) -> Option<Vec<SocketAddr>> {
        peers.retain(|peer| self.peers.len() < MAX_PEERS && self.peers.insert(*peer));
        self.summary.found += peers.len() as u32;
        (!peers.is_empty()).then_some(peers)
    }

    /// Takes in both filters, if there are any; fuller ones than anybody honest has count as none.
    fn take_filters(&mut self, response: &Response<'_>) -> bool {
        let own = |bytes: Option<&[u8; FILTER_LEN]>| {
            bytes.map(|bytes| Filter(*bytes)).filter(|filter| filter.estimate() <= MOST)
        };
        let (Some(seeds), Some(peers)) = (own(response.seeds), own(response.peers)) else { return false };
        let (all_seeds, all_peers) = &mut **self.filters.get_or_insert_default();
        all_seeds.unite(&seeds.0);
        all_peers.unite(&peers.0);
        true
    }

    /// An item that fits the target, and is newer than the last.
    fn take_item(&mut self, target: &NodeId, salt: &[u8], response: &Response<'_>) -> Option<Item> {
        let value = response.value?;
        let signed = match (response.key, response.sig, response.seq) {
            (Some(key), Some(sig), Some(seq)) => Some(Signed { key, sig, seq, salt }),
            _ => None,
        };
        let newer = |best: &Item| signed.is_some_and(|signed| best.seq() < Some(signed.seq));
        if !self.best.as_ref().is_none_or(newer) {
            return None;
        }
        let item = Item::read(value, signed).ok().filter(|item| item.target() == *target)?;
        Some(self.prefer(item))
    }

    /// It is the best so far.
    fn prefer(&mut self, item: Item) -> Item {
        self.summary.found += 1;
        self.best = Some(item.clone());
        item
    }

    /// Whether there can be no better one.
    fn has_immutable(&self) -> bool {
        self.best.as_ref().is_some_and(|item| item.mutable().is_none())
    }
}
