//! The announces of all torrents of a process, at a pace that trackers and networks can bear.
//!
//! Each torrent has an [`Announcer`], which knows nothing of the others. What they want asked waits here, by tracker (host,
//! port and family): announces leave at [`Config::rate`] a second, no more than [`Config::per_host`] at once to one tracker
//! and [`Config::at_once`] in all. Ends go first, then the first announces of downloads, then the rest; within each, trackers
//! take turns, so that one that is slow or that thousands of torrents name holds up no other.
//!
//! A tracker that fell silent several times in a row is *down*: one question at a time looks whether it is back, and all
//! others fail at once, so that their torrents turn to other trackers and back off. Otherwise ten thousand torrents
//! would each wait out the time that it takes to believe a dead tracker dead. When it is back, all who wait are told.
//!
//! A torrent costs bytes: no timer, task or queue of its own. Tested by each rule, by the
//! fuzz target `tracker_fleet`, and in virtual weeks by `crates/proto/tests/trackers.rs`.

mod api;
mod pace;
mod queue;
#[cfg(test)]
mod tests;
mod urls;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

pub use self::api::{Config, Input, Output, Ticket, TorrentKey};
use self::pace::Pace;
use self::queue::{HostKey, Queue, Waiting};
use self::urls::Urls;
use super::announcer::{self, Announcer, LineId, NewTorrent, Problem, TrackerStatus};
use super::reach;
use super::types::AnnounceResponse;
use super::url::TrackerUrl;
use crate::rng::Rng;
use crate::time::Time;

/// A torrent, and where its deadline stands in the list of all.
#[derive(Debug)]
struct Member {
    announcer: Announcer,
    serial: u64,
    deadline: Option<Time>,
}

/// A question on its way.
#[derive(Debug)]
struct Open {
    torrent: TorrentKey,
    line: LineId,
    url: Arc<TrackerUrl>,
    host: HostKey,
}

/// The machine.
#[derive(Debug)]
pub struct Fleet {
    config: Config,
    shared: Arc<announcer::Config>,
    rng: Rng,
    /// Boxed, as the nodes of a tree that grows at its end are half empty.
    members: BTreeMap<TorrentKey, Box<Member>>,
    deadlines: BTreeSet<(Time, TorrentKey)>,
    urls: Urls,
    queue: Queue,
    pace: Pace,
    stop_pace: Pace,
    tickets: BTreeMap<Ticket, Open>,
    /// When tickets run out; those that are gone are passed over.
    expiry: VecDeque<(Time, Ticket)>,
    next_ticket: u64,
    next_serial: u64,
    out: VecDeque<Output>,
}

impl Fleet {
    /// A machine without torrents; `seed` must be secret and different in each run, for trackers know us by numbers
    /// that follow from it.
    pub fn new(config: Config, seed: u64) -> Self {
        Self {
            shared: Arc::new(config.announcer.clone()),
            pace: Pace::new(config.rate),
            stop_pace: Pace::new(config.stop_rate),
            queue: Queue::new(config.per_host),
            config,
            rng: Rng::new(seed),
            members: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            urls: Urls::default(),
            tickets: BTreeMap::new(),
            expiry: VecDeque::new(),
            next_ticket: 0,
            next_serial: 0,
            out: VecDeque::new(),
        }
    }

    /// Takes in what happened; anything that does not fit is passed over.
    pub fn handle(&mut self, now: Time, input: Input) {
        match input {
            Input::Tick => {}
            Input::Added { torrent, new } => self.added(now, torrent, *new),
            Input::Torrent { torrent, input } => self.told(now, torrent, input),
            Input::Answered { ticket, from, response } => self.answered(now, ticket, from, response),
            Input::Failed { ticket, problem } => self.failed(now, ticket, problem),
            Input::Network(identity) => self.network(now, identity),
            Input::Stop => self.tell_all(now, &announcer::Input::Stop),
        }
        self.expire(now);
        self.wake(now);
        self.release(now);
    }

    /// What the machine wants next, until there is nothing.
    pub fn poll(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// When to come back with [`Input::Tick`].
    pub fn deadline(&self) -> Option<Time> {
        let torrent = self.deadlines.first().map(|(at, _)| *at);
        let expiry = self.expiry.front().map(|(at, _)| *at);
        [torrent, expiry, self.next_release()].into_iter().flatten().min()
    }

    /// How the trackers of a torrent go, in the order to try.
    pub fn status(&self, torrent: TorrentKey) -> Option<Vec<TrackerStatus>> {
        self.members.get(&torrent).map(|member| member.announcer.status())
    }

    /// How many torrents there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there is none, so that after [`Input::Stop`] all is said.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// How many questions are open, and how many wait.
    pub fn load(&self) -> (usize, usize) {
        (self.tickets.len(), self.queue.len())
    }

    fn added(&mut self, now: Time, torrent: TorrentKey, mut new: NewTorrent) {
        self.forget(now, torrent);
        new.tiers.iter_mut().chain([&mut new.user]).flatten().for_each(|url| self.urls.share(url));
        let announcer = Announcer::new(Arc::clone(&self.shared), self.rng.next_u64(), now, new);
        let member = Member { announcer, serial: self.next_serial, deadline: None };
        self.members.insert(torrent, Box::new(member));
        self.next_serial += 1;
        self.drain(now, torrent);
    }

    fn told(&mut self, now: Time, torrent: TorrentKey, mut input: announcer::Input) {
        use announcer::Input as In;
        match &mut input {
            // Told by ticket, or to all.
            In::Answered { .. } | In::Failed { .. } | In::Network(_) | In::Back { .. } => return,
            In::Trackers { urls, .. } => urls.iter_mut().for_each(|url| self.urls.share(url)),
            _ => {}
        }
        self.tell(now, torrent, input);
    }

    fn tell(&mut self, now: Time, torrent: TorrentKey, input: announcer::Input) {
        if let Some(member) = self.members.get_mut(&torrent) {
            member.announcer.handle(now, input);
            self.drain(now, torrent);
        }
    }

    fn tell_all(&mut self, now: Time, input: &announcer::Input) {
        let all: Vec<TorrentKey> = self.members.keys().copied().collect();
        all.into_iter().for_each(|torrent| self.tell(now, torrent, input.clone()));
    }

    fn network(&mut self, now: Time, identity: announcer::Identity) {
        self.config.announcer.identity = identity;
        self.shared = Arc::new(self.config.announcer.clone());
        self.queue.all_up();
        let input = announcer::Input::Network(Arc::clone(&self.shared));
        self.tell_all(now, &input);
    }

    fn answered(&mut self, now: Time, ticket: Ticket, from: Option<IpAddr>, mut response: AnnounceResponse) {
        let Some(open) = self.tickets.remove(&ticket) else { return };
        if let Some(from) = from {
            reach::keep_peers(&mut response.peers, from, self.config.policy);
        }
        self.host_answered(now, &open);
        let Open { torrent, line, .. } = open;
        self.tell(now, torrent, announcer::Input::Answered { line, response });
    }

    /// A tracker that was down and is back is told of to all torrents that wait for it.
    fn host_answered(&mut self, now: Time, open: &Open) {
        if self.queue.answered(&open.host) {
            let back = announcer::Input::Back { url: Arc::clone(&open.url), family: open.host.1 };
            self.tell_all(now, &back);
        }
    }

    fn failed(&mut self, now: Time, ticket: Ticket, problem: Problem) {
        let Some(open) = self.tickets.remove(&ticket) else { return };
        let mut lost = Vec::new();
        if let Problem::Refused(_) | Problem::Useless(_) = problem {
            self.host_answered(now, &open);
        } else {
            lost = self.queue.failed(now, &open.host, problem.is_transport());
        }
        let Open { torrent, line, .. } = open;
        self.tell(now, torrent, announcer::Input::Failed { line, problem });
        for Waiting { torrent, serial, line } in lost {
            if self.members.get(&torrent).is_some_and(|member| member.serial == serial) {
                self.tell(now, torrent, announcer::Input::Failed { line, problem: Problem::Silent });
            }
        }
    }

    /// Takes what a torrent's machine has to say, and notes when it wants to be called. What a tracker that is down would
    /// be asked fails at once, after which the machine has more to say: at most once for each of its lines.
    fn drain(&mut self, now: Time, torrent: TorrentKey) {
        let Some(member) = self.members.get_mut(&torrent) else { return };
        let mut stopped = false;
        while let Some(output) = member.announcer.poll() {
            match output {
                announcer::Output::Due { line, url, family, urgency } => {
                    let waiting = Waiting { torrent, serial: member.serial, line };
                    if !self.queue.push(now, &url, family, urgency, waiting) {
                        let problem = Problem::Silent;
                        member.announcer.handle(now, announcer::Input::Failed { line, problem });
                    }
                }
                announcer::Output::Peers(peers) => self.out.push_back(Output::Peers { torrent, peers }),
                announcer::Output::ExternalIp(ip) => self.out.push_back(Output::ExternalIp { torrent, ip }),
                announcer::Output::Report(report) => self.out.push_back(Output::Report { torrent, report }),
                announcer::Output::Stopped => stopped = true,
            }
        }
        self.note_deadline(torrent);
        if stopped {
            self.forget(now, torrent);
            self.out.push_back(Output::Stopped(torrent));
        }
    }

    fn note_deadline(&mut self, torrent: TorrentKey) {
        let Some(member) = self.members.get_mut(&torrent) else { return };
        let deadline = member.announcer.deadline();
        if deadline != member.deadline {
            member.deadline.map(|at| self.deadlines.remove(&(at, torrent)));
            deadline.map(|at| self.deadlines.insert((at, torrent)));
            member.deadline = deadline;
        }
    }

    /// Drops a torrent and its questions; what waits in the queue is passed over when its turn comes.
    fn forget(&mut self, now: Time, torrent: TorrentKey) {
        let Some(member) = self.members.remove(&torrent) else { return };
        member.deadline.map(|at| self.deadlines.remove(&(at, torrent)));
        let of = |(ticket, open): (&Ticket, &Open)| (open.torrent == torrent).then_some(*ticket);
        let open: Vec<Ticket> = self.tickets.iter().filter_map(of).collect();
        for ticket in open {
            if let Some(open) = self.tickets.remove(&ticket) {
                self.queue.failed(now, &open.host, false);
                self.out.push_back(Output::Cancel(ticket));
            }
        }
    }

    /// Wakes the torrents whose time has come.
    fn wake(&mut self, now: Time) {
        while let Some((_, torrent)) = self.deadlines.first().copied().filter(|(at, _)| *at <= now) {
            self.tell(now, torrent, announcer::Input::Tick);
        }
    }

    /// Gives up questions that the caller forgot, or slept over: no fault of their trackers.
    fn expire(&mut self, now: Time) {
        while let Some((_, ticket)) = self.expiry.front().copied().filter(|(at, _)| *at <= now) {
            self.expiry.pop_front();
            if let Some(Open { torrent, line, host, .. }) = self.tickets.remove(&ticket) {
                self.queue.failed(now, &host, false);
                self.out.push_back(Output::Cancel(ticket));
                self.tell(now, torrent, announcer::Input::Failed { line, problem: Problem::Silent });
            }
        }
        while self.expiry.front().is_some_and(|(_, ticket)| !self.tickets.contains_key(ticket)) {
            self.expiry.pop_front();
        }
    }

    /// Sends what may leave now.
    fn release(&mut self, now: Time) {
        while self.tickets.len() < self.config.at_once {
            let (stops, others) = (self.stop_pace.may(now), self.pace.may(now));
            let Some((host, waiting, stop)) = self.queue.pop(stops, others) else { return };
            let member = self.members.get_mut(&waiting.torrent);
            let member = member.filter(|member| member.serial == waiting.serial);
            let Some(ask) = member.and_then(|member| member.announcer.ask(now, waiting.line)) else {
                self.queue.failed(now, &host, false);
                continue;
            };
            let pace = if stop { &mut self.stop_pace } else { &mut self.pace };
            pace.take(now);
            self.note_deadline(waiting.torrent);
            let ticket = Ticket(self.next_ticket);
            self.next_ticket += 1;
            let until = now + self.config.patience;
            let Waiting { torrent, line, .. } = waiting;
            let open = Open { torrent, line, url: Arc::clone(&ask.url), host };
            self.tickets.insert(ticket, open);
            self.expiry.push_back((until, ticket));
            self.out.push_back(Output::Ask { ticket, torrent, ask: Box::new(ask) });
        }
    }

    /// When the pace lets the next one leave, if any may.
    fn next_release(&self) -> Option<Time> {
        if self.tickets.len() >= self.config.at_once {
            return None;
        }
        let (stops, others) = self.queue.ready();
        let stop = stops.then(|| self.stop_pace.next());
        let other = others.then(|| self.pace.next());
        stop.into_iter().chain(other).min()
    }
}
