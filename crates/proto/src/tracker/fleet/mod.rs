//! The announces of all torrents of a process, at a pace that trackers and networks can bear.
//!
//! Each torrent has an [`Announcer`], which knows nothing of the others. What they want asked waits here, by tracker (host,
//! port and family): announces leave at [`Config::rate`] a second, no more than [`Config::per_host`] at once to one tracker
//! and [`Config::at_once`] in all. Ends go first, then the first announces of downloads, then the rest; within each, trackers
//! take turns, so that one that is slow or that thousands of torrents name holds up no other.
//!
//! A tracker that fell silent several times in a row is *down*: one question at a time looks whether it is back, and all
//! others fail at once, so that their torrents turn to other trackers and back off. Otherwise ten thousand torrents
//! would each wait out the time that it takes to believe a dead tracker dead.
//!
//! A torrent costs bytes: no timer, task or queue of its own. Tested by each rule, and
//! by the fuzz target `tracker_fleet`.

mod pace;
mod queue;
#[cfg(test)]
mod tests;
mod urls;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use self::pace::Pace;
use self::queue::{HostKey, Queue, Waiting};
use self::urls::Urls;
use super::announcer::{self, Announcer, Ask, LineId, NewTorrent, Problem, Report, TrackerStatus};
use super::reach::{self, Policy};
use super::types::AnnounceResponse;
use super::url::TrackerUrl;
use crate::rng::Rng;
use crate::time::Time;

/// Numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Of each torrent, and who we are.
    pub announcer: announcer::Config,
    /// Announces a second, over all torrents; at most a fifth of a second's worth at once. At least 1 counts. 50 take ten
    /// thousand torrents around in a bit over three minutes.
    pub rate: u32,
    /// The same for telling of ends, which nobody waits for and which are to be out before the process is gone.
    pub stop_rate: u32,
    /// Open questions to one tracker over one family.
    pub per_host: usize,
    /// Open questions in all.
    pub at_once: usize,
    /// After this without a word from the caller a question counts as unanswered.
    pub patience: Duration,
    /// Which peers a tracker may give.
    pub policy: Policy,
}

impl Config {
    /// The defaults, for who we are.
    pub const fn new(identity: announcer::Identity) -> Self {
        Self {
            announcer: announcer::Config::new(identity),
            rate: 50,
            stop_rate: 200,
            per_host: 16,
            at_once: 128,
            patience: Duration::from_secs(300),
            policy: Policy { inside: false },
        }
    }
}

/// Names a torrent; the caller chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TorrentKey(pub u64);

/// Names an open question; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Time passed.
    Tick,
    /// A torrent is to be announced. One of the same key goes, without a word to its trackers.
    Added {
        /// Its name from now on.
        torrent: TorrentKey,
        /// What there is to know.
        new: Box<NewTorrent>,
    },
    /// Something about a torrent; unknown ones are passed over. After [`announcer::Input::Stop`] comes
    /// [`Output::Stopped`]. Lines are not known here: answers are told as below, and a new network to all.
    Torrent {
        /// Which.
        torrent: TorrentKey,
        /// What.
        input: announcer::Input,
    },
    /// A tracker answered.
    Answered {
        /// The question.
        ticket: Ticket,
        /// The address that answered, before any redirect; `None` if a proxy hides it, and then every peer is believed.
        from: Option<IpAddr>,
        /// The answer.
        response: AnnounceResponse,
    },
    /// A tracker did not answer, or refused.
    Failed {
        /// The question.
        ticket: Ticket,
        /// Why.
        problem: Problem,
    },
    /// Our addresses or ports changed, or the network is back.
    Network(announcer::Identity),
    /// The process ends: all torrents stop.
    Stop,
}

/// What the machine wants, and what it has to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Ask a tracker, and tell [`Input::Answered`] or [`Input::Failed`].
    Ask {
        /// To be given back with the answer.
        ticket: Ticket,
        /// Whose announce it is.
        torrent: TorrentKey,
        /// Whom to ask what.
        ask: Box<Ask>,
    },
    /// Nobody waits for the answer any more.
    Cancel(Ticket),
    /// Peers for a torrent; not empty.
    Peers {
        /// Which.
        torrent: TorrentKey,
        /// Where.
        peers: Vec<SocketAddr>,
    },
    /// Our address as a tracker sees it (BEP 24). A tracker may lie.
    ExternalIp {
        /// Whose announce told.
        torrent: TorrentKey,
        /// Our address.
        ip: IpAddr,
    },
    /// For the user.
    Report {
        /// Which torrent's announce.
        torrent: TorrentKey,
        /// What became of it.
        report: Report,
    },
    /// The trackers of a torrent were told of its end, as far as they could be in time; it is forgotten.
    Stopped(TorrentKey),
}

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
    host: HostKey,
}

/// The machine.
#[derive(Debug)]
pub struct Fleet {
    config: Config,
    shared: Arc<announcer::Config>,
    rng: Rng,
    members: BTreeMap<TorrentKey, Member>,
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
        self.members.insert(torrent, Member { announcer, serial: self.next_serial, deadline: None });
        self.next_serial += 1;
        self.drain(now, torrent);
    }

    fn told(&mut self, now: Time, torrent: TorrentKey, mut input: announcer::Input) {
        use announcer::Input as In;
        match &mut input {
            // Told by ticket, or to all.
            In::Answered { .. } | In::Failed { .. } | In::Network(_) => return,
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
        let Some(Open { torrent, line, host, .. }) = self.tickets.remove(&ticket) else { return };
        self.queue.answered(&host);
        if let Some(from) = from {
            reach::keep_peers(&mut response.peers, from, self.config.policy);
        }
        self.tell(now, torrent, announcer::Input::Answered { line, response });
    }

    fn failed(&mut self, now: Time, ticket: Ticket, problem: Problem) {
        let Some(Open { torrent, line, host, .. }) = self.tickets.remove(&ticket) else { return };
        let lost = self.queue.failed(now, &host, problem.is_transport());
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

    /// Gives up questions that the caller forgot.
    fn expire(&mut self, now: Time) {
        while let Some((_, ticket)) = self.expiry.front().copied().filter(|(at, _)| *at <= now) {
            self.expiry.pop_front();
            if self.tickets.contains_key(&ticket) {
                self.out.push_back(Output::Cancel(ticket));
                self.failed(now, ticket, Problem::Silent);
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
            self.tickets.insert(ticket, Open { torrent: waiting.torrent, line: waiting.line, host });
            self.expiry.push_back((until, ticket));
            self.out.push_back(Output::Ask { ticket, torrent: waiting.torrent, ask: Box::new(ask) });
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
