//! A node of the DHT: whom it knows, whom it asks, whom it answers.
//!
//! One value for one address family on one socket. Call [`Node::handle`] with what happened, drain [`Node::poll`], and
//! come back at [`Node::deadline`]. Users start things ([`Node::start`], [`Node::announce`]) and get progress and an end
//! as outputs. `jobs` holds what users asked for, `calls` the questions on their way, `runs` takes lookups forward,
//! `upkeep` keeps the table alive.
//!
//! Answers are believed only from whom was asked, and nodes and peers only if who names them stands no further out than
//! they do ([`reach`](crate::tracker::reach)). Our place is put to the vote (BEP 42), and the id made to fit it.
//!
//! Bounds: lookups at once ([`Config::lookups`]), questions on their way ([`MAX_CALLS`]), peers of a run ([`MAX_PEERS`]);
//! what others store is bounded by the server. The queue of outputs grows by what one input leads to, so it must be
//! drained after each.
//!
//! Tested here two nodes and more at a time, by the fuzz target `dht_node`, and by the simulator.

mod api;
mod calls;
mod jobs;
mod runs;
#[cfg(test)]
mod tests;
mod timing;
mod upkeep;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

pub use self::api::{Announce, Ask, Config, Counts, Input, Op, Output, Summary};
pub use self::calls::MAX_CALLS;
use self::calls::{Call, Calls, Late};
pub use self::jobs::ANNOUNCE_INTERVAL;
use self::jobs::{Goal, Jobs};
pub use self::runs::MAX_PEERS;
use self::upkeep::Upkeep;
use super::Contact;
use super::census::Census;
use super::contact::{is_reachable, read_nodes};
use super::message::{Body, Message, Method, Query, Refused, Response, Want, parse};
use super::outside::{Outside, Votes};
use super::saved::{MAX_SAVED, Saved};
use super::server::{Asked, Server, VERSION, write_error};
use super::table::{K, Table};
use crate::ids::NodeId;
use crate::rng::Rng;
use crate::time::Time;
use crate::tracker::Family;
use crate::tracker::reach::may_name;

/// An id is made to fit another address no more often than this: who is voted to and fro keeps what he has.
const RENAME: Duration = Duration::from_secs(10 * 60);

/// Contacts of an earlier run that are tried: enough that some are still there, few enough to be through with soon.
const MAX_RECALLED: usize = 64;

/// What a question was asked for.
#[derive(Clone, Copy, Debug)]
enum Purpose {
    /// To get to know an address.
    Intro,
    /// To see whether a node is there.
    Check,
    /// For a user.
    Ping(Op),
    /// To go on with a lookup.
    Lookup(Op),
    /// To store at the storer of this number.
    Store { op: Op, storer: usize, again: bool },
}

/// The node.
#[derive(Debug)]
pub struct Node {
    config: Config,
    rng: Rng,
    table: Table,
    server: Server,
    votes: Votes,
    census: Census,
    calls: Calls<Purpose>,
    jobs: Jobs,
    upkeep: Upkeep,
    renamed: Option<Time>,
    counts: Counts,
    out: VecDeque<Output>,
}

impl Node {
    /// A node that knows nobody. `seed` must be secret and different in each run.
    pub fn new(config: Config, seed: u64, now: Time) -> Self {
        let mut rng = Rng::new(seed);
        let own = config.id.unwrap_or_else(|| NodeId::random(&mut rng));
        Self {
            server: Server::new(&config.server, rng.next_u64(), now),
            calls: Calls::new(rng.next_u64()),
            table: Table::new(own),
            votes: Votes::default(),
            census: Census::default(),
            jobs: Jobs::default(),
            upkeep: Upkeep::new(now),
            renamed: None,
            counts: Counts::default(),
            out: VecDeque::new(),
            config,
            rng,
        }
    }

    /// Addresses to begin with, and to come back to when nobody else answers. Replaces those given before.
    pub fn set_bootstrap(&mut self, now: Time, addrs: Vec<SocketAddr>) {
        let addrs = addrs.into_iter().filter(|addr| self.is_ours(*addr)).collect();
        self.upkeep.set_bootstrap(now, addrs);
    }

    /// An address where a node may be: from a peer's `port` message, a torrent, an earlier run, the other family.
    pub fn hint(&mut self, now: Time, addr: SocketAddr) {
        if self.is_ours(addr) {
            self.upkeep.hint(now, addr);
        }
    }

    /// Takes up what was known in an earlier run, apart from the id: some of the contacts are tried.
    pub fn recall(&mut self, now: Time, saved: &Saved) {
        let step = saved.contacts.len().div_ceil(MAX_RECALLED).max(1);
        saved.contacts.iter().step_by(step).for_each(|contact| self.hint(now, contact.addr));
    }

    /// Begins something. Exactly one [`Output::Done`] follows, unless it is cancelled.
    pub fn start(&mut self, now: Time, ask: Ask) -> Op {
        match ask {
            Ask::Ping { addr } => self.ping(now, addr),
            ask => self.jobs.add(now, Goal::Once(ask)),
        }
    }

    /// An address that no node of ours can have, and one too many, end at once.
    fn ping(&mut self, now: Time, addr: SocketAddr) -> Op {
        let op = self.jobs.name();
        if self.is_ours(addr) && !self.calls.is_full() {
            self.ask(now, addr, None, Purpose::Ping(op), Method::Ping);
        } else {
            self.end_ping(op, None, Duration::ZERO);
        }
        op
    }

    /// Tells about a torrent, and does so again and again until it is cancelled. Each time peers are found as well, and a
    /// [`Output::Done`] says how it went.
    pub fn announce(&mut self, now: Time, announce: Announce) -> Op {
        self.jobs.add(now, Goal::Announce(announce))
    }

    /// Nothing more is said of it.
    pub fn cancel(&mut self, op: Op) {
        if self.jobs.remove(op).is_none() {
            self.calls.drop_all(|purpose| matches!(purpose, Purpose::Ping(other) if *other == op));
        }
    }

    /// Takes what happened.
    pub fn handle(&mut self, now: Time, input: Input<'_>) {
        self.handle_beside(now, input, None);
    }

    /// Takes what happened, beside a node of the other family whose nodes may be asked for as well (BEP 32).
    pub fn handle_beside(&mut self, now: Time, input: Input<'_>, other: Option<&Table>) {
        match input {
            Input::Datagram { from, bytes } => self.on_datagram(now, from, bytes, other),
            Input::Unreachable(to) => {
                let gone = self.calls.close_all(to);
                gone.into_iter().for_each(|call| self.on_dead(now, call));
            }
            Input::NetworkChanged => self.on_network_changed(now),
            Input::Timer => {}
        }
        if self.deadline().is_some_and(|at| at <= now) {
            self.on_time(now);
        }
    }

    /// What it wants done; to be asked until there is nothing left.
    pub fn poll(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// When to come back, if nothing happens before.
    pub fn deadline(&self) -> Option<Time> {
        [self.calls.deadline(), self.jobs.deadline(self.room()), Some(self.upkeep.due())]
            .into_iter()
            .flatten()
            .min()
    }

    /// Its id.
    pub const fn id(&self) -> NodeId {
        self.table.own()
    }

    /// Whom it knows.
    pub const fn table(&self) -> &Table {
        &self.table
    }

    /// What it keeps for others.
    pub const fn server(&self) -> &Server {
        &self.server
    }

    /// What it did so far.
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// Its place as others see it.
    pub const fn outside(&self) -> Option<Outside> {
        self.votes.outside()
    }

    /// Nodes in the network that answer, roughly, once it has looked around; at first by its neighbours alone.
    pub fn network_size(&self) -> Option<f64> {
        let neighbours = || {
            let mut census = Census::default();
            let farthest = self.table.closest(&self.id(), K).get(K - 1)?.id.distance(&self.id());
            (0..3).for_each(|_| census.add(K, farthest));
            census.size()
        };
        self.census.size().or_else(neighbours)
    }

    /// Whether it has found its neighbours.
    pub fn is_joined(&self) -> bool {
        self.upkeep.is_joined()
    }

    /// What to keep for the next run: give the id to [`Config::id`], and the rest to [`Node::recall`].
    pub fn save(&self) -> Saved {
        let contacts = self.table.iter().filter(|entry| entry.fails == 0).map(|entry| entry.contact);
        Saved { id: self.id(), contacts: contacts.take(MAX_SAVED).collect() }
    }

    /// Lookups that may run: none while nobody is known.
    fn room(&self) -> usize {
        if self.table.is_empty() { 0 } else { self.config.lookups }
    }

    fn is_ours(&self, addr: SocketAddr) -> bool {
        Family::of(addr.ip()) == self.config.family && is_reachable(addr)
    }

    fn on_time(&mut self, now: Time) {
        while let Some(late) = self.calls.late(now) {
            match late {
                Late::Slow(call) => self.on_slow(now, call),
                Late::Dead(call) => self.on_dead(now, call),
            }
        }
        self.server.sweep(now);
        if self.upkeep.due() <= now {
            self.tick(now);
        }
        while let Some(op) = self.jobs.take_due(now, self.room()) {
            self.run(now, op);
        }
    }

    fn on_datagram(&mut self, now: Time, from: SocketAddr, bytes: &[u8], other: Option<&Table>) {
        let from = SocketAddr::new(from.ip().to_canonical(), from.port());
        if !self.is_ours(from) {
            return;
        }
        match parse(bytes) {
            Ok(message) => match message.body {
                Body::Query(query) => self.on_query(now, from, &message, &query, other),
                Body::Response(response) => self.on_response(now, from, &message, &response),
                Body::Error { code, text } => self.on_error(now, from, &message, code, text),
            },
            Err(Refused::Query { transaction, code, text }) => {
                if self.serves(now, from) {
                    let mut datagram = Vec::new();
                    write_error(from, transaction, code, text, &mut datagram);
                    self.send_answer(now, from, datagram);
                }
            }
            Err(Refused::Garbage) => {}
        }
    }

    fn serves(&mut self, now: Time, from: SocketAddr) -> bool {
        if self.config.read_only {
            return false;
        }
        let admitted = self.server.admits(now, from.ip());
        self.counts.questions += 1;
        self.counts.limited += u64::from(!admitted);
        admitted
    }

    fn on_query(
        &mut self,
        now: Time,
        from: SocketAddr,
        message: &Message<'_>,
        query: &Query<'_>,
        other: Option<&Table>,
    ) {
        if !self.serves(now, from) {
            return;
        }
        let mut datagram = Vec::with_capacity(512);
        let asked = Asked { table: &self.table, other, from };
        self.server.answer(now, &asked, message.transaction, query, &mut datagram);
        self.send_answer(now, from, datagram);
        let contact = Contact { id: query.id, addr: from };
        if !message.read_only && self.table.asked(now, &contact) {
            let urgent = self.table.is_thin_around(&contact.id);
            self.upkeep.called(now, contact, urgent);
        }
    }

    fn send_answer(&mut self, now: Time, to: SocketAddr, datagram: Vec<u8>) {
        if self.server.affords(now, datagram.len()) {
            self.out.push_back(Output::Send { to, datagram });
        } else {
            self.counts.unaffordable += 1;
        }
    }

    fn on_response(&mut self, now: Time, from: SocketAddr, message: &Message<'_>, response: &Response<'_>) {
        let Some(call) = self.calls.close(from, message.transaction) else { return };
        let rtt = now.since(call.sent);
        self.counts.answered += 1;
        self.calls.timing.sample(rtt);
        let contact = Contact { id: response.id, addr: from };
        // Whoever changed his id has given up the place that he had by the old one (BEP 45), whether he gets another or not.
        let old = call.id.filter(|id| *id != contact.id);
        old.into_iter().for_each(|id| self.table.remove(&Contact { id, addr: from }));
        self.table.answered(now, contact, rtt);
        if self.upkeep.heard(now) {
            self.jobs.hurry(now);
        }
        message.ip.into_iter().for_each(|us| self.on_vote(now, from, us));
        let named = self.named(from, response);
        match call.purpose {
            Purpose::Intro | Purpose::Check => {
                self.upkeep.answered(now, matches!(call.purpose, Purpose::Intro) && !call.slow);
                let wanted = named.into_iter().filter(|contact| self.table.wants(contact));
                wanted.for_each(|contact| self.upkeep.check(contact));
            }
            Purpose::Ping(op) => self.end_ping(op, Some(contact), rtt),
            Purpose::Lookup(op) => self.on_lookup_answer(now, op, &call, response, named),
            Purpose::Store { op, storer, .. } => self.on_stored(now, op, storer, Ok(())),
        }
    }

    fn on_error(&mut self, now: Time, from: SocketAddr, message: &Message<'_>, code: i64, text: &[u8]) {
        let Some(call) = self.calls.close(from, message.transaction) else { return };
        self.upkeep.heard(now);
        match call.purpose {
            Purpose::Store { op, storer, .. } => self.on_stored(now, op, storer, Err((code, text))),
            // It is alive, but of no use.
            _ => self.on_dead(now, call),
        }
    }

    /// The nodes in an answer that are to be believed; those of the other family go out.
    fn named(&mut self, from: SocketAddr, response: &Response<'_>) -> Vec<Contact> {
        let (family, own) = (self.config.family, self.id());
        let read = |family| {
            let nodes = read_nodes(response.nodes_of(family).unwrap_or_default(), family);
            nodes.filter(|node| may_name(from.ip(), node.addr.ip()) && node.id != own).take(2 * K)
        };
        let other: Vec<Contact> = match family {
            Family::V4 if self.wants_other() => read(Family::V6).collect(),
            Family::V6 if self.wants_other() => read(Family::V4).collect(),
            _ => Vec::new(),
        };
        let named = read(family).collect();
        if !other.is_empty() {
            self.out.push_back(Output::Other(other));
        }
        named
    }

    fn wants_other(&self) -> bool {
        self.config.dual && !self.upkeep.is_joined()
    }

    fn on_slow(&mut self, now: Time, call: Call<Purpose>) {
        match (call.purpose, call.id) {
            (Purpose::Lookup(op), Some(id)) => self.on_lookup_slow(now, op, &Contact { id, addr: call.to }),
            // Of an old table most are gone: the next one need not wait for them.
            (Purpose::Intro, _) => self.upkeep.answered(now, true),
            (Purpose::Store { op, storer, again: false }, _) => self.store(now, op, storer, true),
            (Purpose::Store { op, storer, again: true }, _) => self.on_stored(now, op, storer, Err((0, b""))),
            _ => {}
        }
    }

    fn on_dead(&mut self, now: Time, call: Call<Purpose>) {
        let contact = call.id.map(|id| Contact { id, addr: call.to });
        self.upkeep.unheard(now);
        if let Some(contact) = contact.filter(|_| !self.upkeep.is_offline()) {
            self.table.failed(&contact);
        }
        match (call.purpose, contact) {
            (Purpose::Intro, _) => self.upkeep.answered(now, !call.slow),
            (Purpose::Ping(op), _) => self.end_ping(op, None, now.since(call.sent)),
            (Purpose::Lookup(op), Some(contact)) => self.on_lookup_dead(now, op, &contact),
            (Purpose::Store { op, storer, .. }, _) => self.on_stored(now, op, storer, Err((0, b""))),
            _ => {}
        }
    }

    fn end_ping(&mut self, op: Op, who: Option<Contact>, took: Duration) {
        let answered = who.is_some().into();
        let summary =
            Summary { asked: 1, answered, took, closest: who.into_iter().collect(), ..Summary::default() };
        self.out.push_back(Output::Done { op, summary: Box::new(summary) });
    }

    fn on_vote(&mut self, now: Time, voter: SocketAddr, us: SocketAddr) {
        let Some(ip) = self.votes.vote(voter.ip(), us) else { return };
        self.votes.outside().into_iter().for_each(|outside| self.out.push_back(Output::Outside(outside)));
        let too_soon = self.renamed.is_some_and(|at| now.since(at) < RENAME);
        if !self.id().fits(ip) && !too_soon {
            self.renamed = Some(now);
            let id = NodeId::for_address(ip, &mut self.rng);
            self.table.set_own(id);
            self.upkeep.rejoin(now);
        }
    }

    fn on_network_changed(&mut self, now: Time) {
        self.votes.clear();
        self.upkeep.network_changed(now);
        self.jobs.hurry(now);
    }

    /// Sends a question.
    fn ask(&mut self, now: Time, to: SocketAddr, id: Option<NodeId>, purpose: Purpose, method: Method<'_>) {
        let contact = id.map(|id| Contact { id, addr: to });
        let rtt = contact.and_then(|contact| self.table.rtt(&contact));
        contact.into_iter().for_each(|contact| self.table.pinged(now, &contact));
        let transaction = self.calls.open(now, to, id, rtt, purpose);
        self.counts.asked += 1;
        let both = Want { v4: true, v6: true };
        let finds = matches!(method, Method::FindNode { .. });
        let want = if finds && self.wants_other() { both } else { Want::default() };
        let body = Body::Query(Query { id: self.id(), want, method });
        let read_only = self.config.read_only;
        let mut datagram = Vec::with_capacity(128);
        Message { transaction: &transaction, version: Some(VERSION), ip: None, read_only, body }
            .write(&mut datagram);
        self.out.push_back(Output::Send { to, datagram });
    }
}
