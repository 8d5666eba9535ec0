//! One client among trackers: the fleet and the UDP machine, a network that loses, doubles and reorders, and trackers
//! that note who announced to them. Everything follows from a seed.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use samara_proto::ids::{InfoHashV1, InfoHashes, PeerId, WireHash};
use samara_proto::rng::Rng;
use samara_proto::time::Time;
use samara_proto::tracker::announcer::{self, Ask, Identity, Need, NewTorrent, Problem, Totals};
use samara_proto::tracker::fleet::{Config, Fleet, Input, Output, Ticket, TorrentKey};
use samara_proto::tracker::udp::{AnnounceWriter, Head, Request, parse_request, write_connect, write_error};
use samara_proto::tracker::udp_client::{self, Answer, AskError, UdpClient};
use samara_proto::tracker::{
    AnnounceRequest, AnnounceResponse, Event, Failure, Family, Retry, Scheme, TrackerUrl,
};

use super::judge::Judge;

/// How bad the network is; chances in a thousand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Net {
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    /// Late by up to a minute.
    pub(crate) late: u64,
}

/// What a tracker is like.
#[derive(Clone, Debug)]
pub(crate) struct Nature {
    pub(crate) interval: u32,
    pub(crate) min_interval: Option<u32>,
    pub(crate) refuses: Option<Failure>,
    /// Which families it has addresses of.
    pub(crate) v4: bool,
    pub(crate) v6: bool,
}

impl Nature {
    pub(crate) const fn every(interval: u32) -> Self {
        Self { interval, min_interval: None, refuses: None, v4: true, v6: true }
    }
}

/// A tracker, and what it knows of the client.
#[derive(Debug)]
pub(crate) struct Tracker {
    url: TrackerUrl,
    nature: Nature,
    pub(crate) up: bool,
    /// Changes with each restart.
    secret: u64,
    pub(crate) entries: BTreeMap<(WireHash, Family), Entry>,
}

/// One torrent, as a tracker knows it.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    /// When it was heard of last.
    pub(crate) heard: Time,
    /// Longest silence so far, while the tracker was up and the client awake.
    pub(crate) gap: Duration,
    pub(crate) announces: usize,
    pub(crate) completed: usize,
    pub(crate) stopped: bool,
    /// The request that was heard last: the same again is no other announce.
    last: Option<(Option<u32>, Event)>,
}

#[derive(Debug)]
enum Delivery {
    ToTracker { to: SocketAddr, family: Family, datagram: Vec<u8> },
    ToClient { from: SocketAddr, datagram: Vec<u8> },
    Http { ticket: Ticket, result: Result<AnnounceResponse, Problem> },
}

pub(crate) struct World {
    pub(crate) fleet: Fleet,
    pub(crate) judge: Judge,
    pub(crate) now: Time,
    pub(crate) trackers: BTreeMap<String, Tracker>,
    udp: UdpClient<Ticket>,
    net: Net,
    rng: Rng,
    way: BTreeMap<(Time, u64), Delivery>,
    sent: u64,
    pub(crate) ended: usize,
}

impl World {
    pub(crate) fn new(seed: u64, net: Net, shape: impl FnOnce(&mut Config)) -> Self {
        let identity = Identity { peer_id: PeerId(*b"-SA0100-in-the-world"), v4: Some(6881), v6: Some(6881) };
        let mut config = Config::new(identity);
        shape(&mut config);
        Self {
            judge: Judge::new(config.clone()),
            fleet: Fleet::new(config, seed),
            now: Time::from_micros(1_000_000),
            trackers: BTreeMap::new(),
            udp: UdpClient::new(udp_client::Config::default(), seed ^ 1),
            net,
            rng: Rng::new(seed ^ 2),
            way: BTreeMap::new(),
            sent: 0,
            ended: 0,
        }
    }

    pub(crate) fn tracker(&mut self, url: &str, nature: Nature) {
        let parsed = TrackerUrl::parse(url).expect("a URL");
        let tracker = Tracker { url: parsed, nature, up: true, secret: 1, entries: BTreeMap::new() };
        self.trackers.insert(url.to_owned(), tracker);
    }

    pub(crate) fn restart(&mut self, url: &str) {
        let tracker = self.trackers.get_mut(url).expect("it is there");
        tracker.up = !tracker.up;
        tracker.secret += 1;
    }

    pub(crate) fn add(&mut self, n: u64, tiers: &[&[&str]]) {
        let parse = |url: &&str| std::sync::Arc::new(TrackerUrl::parse(url).expect("a URL"));
        let new = NewTorrent {
            hashes: InfoHashes::V1(InfoHashV1(hash(n).0)),
            private: false,
            tiers: tiers.iter().map(|tier| tier.iter().map(parse).collect()).collect(),
            user: Vec::new(),
            totals: Totals { left: 1, ..Totals::default() },
            need: Need::Many,
            partial_seed: false,
        };
        self.tell(Input::Added { torrent: TorrentKey(n), new: Box::new(new) });
    }

    pub(crate) fn about(&mut self, n: u64, input: announcer::Input) {
        self.tell(Input::Torrent { torrent: TorrentKey(n), input });
    }

    /// Lets time pass, one event after the other.
    pub(crate) fn run(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            let arrival = self.way.first_key_value().map(|((at, _), _)| *at);
            let next = [arrival, self.udp.deadline(), self.fleet.deadline()].into_iter().flatten().min();
            self.now = next.unwrap_or(until).max(self.now).min(until);
            self.arrivals();
            self.udp.tick(self.now);
            self.drain_udp();
            self.tell(Input::Tick);
            if self.now >= until {
                return;
            }
        }
    }

    /// The machine sleeps: nothing is done meanwhile, and what was on its way arrives afterwards.
    pub(crate) fn sleep(&mut self, time: Duration) {
        self.now = self.now + time;
        self.trackers.values_mut().flat_map(|it| it.entries.values_mut()).for_each(|it| it.heard = self.now);
    }

    pub(crate) fn tell(&mut self, input: Input) {
        self.judge.told(self.now, &input);
        self.fleet.handle(self.now, input);
        while let Some(output) = self.fleet.poll() {
            self.judge.said(self.now, &output);
            match output {
                Output::Ask { ticket, ask, .. } => self.ask(ticket, *ask),
                Output::Cancel(ticket) => self.udp.cancel(ticket),
                Output::Stopped(_) => self.ended += 1,
                _ => {}
            }
        }
        self.judge.drained(self.now, &self.fleet);
        self.drain_udp();
    }

    fn ask(&mut self, ticket: Ticket, ask: Ask) {
        let Some(tracker) = self.trackers.get(ask.url.as_str()) else {
            return self.later(
                Duration::from_millis(200),
                http(ticket, Err(Problem::Failed("no such name".into()))),
            );
        };
        let has = if ask.family == Family::V4 { tracker.nature.v4 } else { tracker.nature.v6 };
        if !has {
            return self.later(Duration::from_millis(20), http(ticket, Err(Problem::NoAddress)));
        }
        if ask.url.scheme() == Scheme::Udp {
            let to = address(&ask.url, ask.family);
            let url_data = ask.url.path_and_query().into();
            let question = udp_client::Ask::Announce { request: Box::new(ask.request), url_data };
            return self.udp.ask(self.now, ticket, to, question);
        }
        self.ask_http(ticket, &ask);
    }

    /// TCP repeats what is lost; so a request is late, or it fails before or after it came to the tracker.
    fn ask_http(&mut self, ticket: Ticket, ask: &Ask) {
        let time = Duration::from_millis(50 + self.rng.below(3000));
        let tracker = self.trackers.get_mut(ask.url.as_str()).expect("looked up before");
        if !tracker.up {
            return self.later(Duration::from_secs(30), http(ticket, Err(Problem::Silent)));
        }
        let result = match tracker.nature.refuses.clone() {
            Some(failure) => Err(Problem::Refused(failure)),
            None => {
                tracker.hear(self.now, ask.family, None, &ask.request);
                Ok(tracker.answer())
            }
        };
        let cut = self.rng.below(1000) < self.net.lost / 4;
        let result = if cut { Err(Problem::Failed("the connection was reset".into())) } else { result };
        self.later(time, http(ticket, result));
    }

    fn drain_udp(&mut self) {
        while let Some(output) = self.udp.poll() {
            match output {
                udp_client::Output::Send { to, datagram } => {
                    let family = Family::of(to.ip());
                    self.send(|datagram| Delivery::ToTracker { to, family, datagram }, datagram);
                }
                udp_client::Output::Done { key, result } => self.done(key, result),
            }
        }
    }

    fn done(&mut self, ticket: Ticket, result: Result<Answer, AskError>) {
        let input = match result {
            Ok(Answer::Announce(response)) => Input::Answered { ticket, from: None, response },
            Ok(Answer::Scrape(_)) => unreachable!("nobody asked for one"),
            Err(AskError::Refused(reason)) => {
                Input::Failed { ticket, problem: Problem::Refused(Failure { reason, retry: None }) }
            }
            Err(_) => Input::Failed { ticket, problem: Problem::Silent },
        };
        self.tell(input);
    }

    fn send(&mut self, wrap: impl Fn(Vec<u8>) -> Delivery, datagram: Vec<u8>) {
        let copies = if self.rng.below(1000) < self.net.doubled { 2 } else { 1 };
        for _ in 0..copies {
            if self.rng.below(1000) < self.net.lost {
                continue;
            }
            let late = self.rng.below(1000) < self.net.late;
            let most = if late { 60_000 } else { 300 };
            let time = Duration::from_millis(10 + self.rng.below(most));
            self.later(time, wrap(datagram.clone()));
        }
    }

    fn later(&mut self, time: Duration, delivery: Delivery) {
        self.sent += 1;
        self.way.insert((self.now + time, self.sent), delivery);
    }

    fn arrivals(&mut self) {
        while self.way.first_key_value().is_some_and(|((at, _), _)| *at <= self.now) {
            let Some((_, delivery)) = self.way.pop_first() else { return };
            match delivery {
                Delivery::ToTracker { to, family, datagram } => self.serve(to, family, &datagram),
                Delivery::ToClient { from, datagram } => self.udp.handle(self.now, from, &datagram),
                Delivery::Http { ticket, result } => self.tell(match result {
                    Ok(response) => Input::Answered { ticket, from: None, response },
                    Err(problem) => Input::Failed { ticket, problem },
                }),
            }
            self.drain_udp();
        }
    }

    fn serve(&mut self, to: SocketAddr, family: Family, datagram: &[u8]) {
        let now = self.now;
        let tracker = self.trackers.values_mut().find(|it| address(&it.url, family) == to && it.up);
        let answer = tracker.and_then(|tracker| tracker.serve(now, family, datagram));
        if let Some(answer) = answer {
            self.send(|datagram| Delivery::ToClient { from: to, datagram }, answer);
        }
    }
}

impl Tracker {
    fn serve(&mut self, now: Time, family: Family, datagram: &[u8]) -> Option<Vec<u8>> {
        match parse_request(datagram).ok()? {
            Request::Connect { transaction } => Some(write_connect(transaction, self.secret).into()),
            Request::Announce { connection, transaction, .. } if connection != self.secret => {
                Some(error(transaction, "connection id unknown"))
            }
            Request::Announce { transaction, request, .. } => {
                if let Some(failure) = &self.nature.refuses {
                    return Some(error(transaction, &failure.reason));
                }
                self.hear(now, family, Some(transaction), &request);
                let head = Head { interval: self.nature.interval, complete: 1, incomplete: 1 };
                let mut out = vec![0; 200];
                let len = AnnounceWriter::new(&mut out, family, transaction, head)?.finish();
                out.truncate(len);
                Some(out)
            }
            Request::Scrape { .. } => None,
        }
    }

    fn answer(&self) -> AnnounceResponse {
        let Nature { interval, min_interval, .. } = self.nature;
        AnnounceResponse { interval, min_interval, ..AnnounceResponse::default() }
    }

    fn hear(&mut self, now: Time, family: Family, transaction: Option<u32>, request: &AnnounceRequest) {
        let entry = self
            .entries
            .entry((request.info_hash, family))
            .or_insert_with(|| Entry { heard: now, ..Entry::default() });
        let this = Some((transaction, request.event));
        if transaction.is_some() && entry.last == this {
            return;
        }
        entry.last = this;
        entry.announces += 1;
        entry.gap = entry.gap.max(now.since(entry.heard));
        entry.heard = now;
        entry.completed += usize::from(request.event == Event::Completed);
        assert!(!entry.stopped || request.event == Event::Stopped, "an announce after the end");
        entry.stopped = request.event == Event::Stopped;
    }
}

fn http(ticket: Ticket, result: Result<AnnounceResponse, Problem>) -> Delivery {
    Delivery::Http { ticket, result }
}

fn error(transaction: u32, text: &str) -> Vec<u8> {
    let mut out = vec![0; 100];
    let len = write_error(&mut out, transaction, text);
    out.truncate(len);
    out
}

/// The hash of the `n`th torrent.
pub(crate) fn hash(n: u64) -> WireHash {
    let mut bytes = [0; 20];
    bytes[..8].copy_from_slice(&n.to_be_bytes());
    WireHash(bytes)
}

/// An address that follows from the URL.
fn address(url: &TrackerUrl, family: Family) -> SocketAddr {
    let sum = url.host().bytes().fold(7_u16, |sum, byte| sum.wrapping_mul(31).wrapping_add(u16::from(byte)));
    let ip: IpAddr = match family {
        Family::V4 => Ipv4Addr::new(93, 0, (sum >> 8) as u8, sum as u8).into(),
        Family::V6 => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, sum).into(),
    };
    SocketAddr::new(ip, url.port())
}

/// A refusal.
pub(crate) fn refusal(retry: Option<Retry>) -> Option<Failure> {
    Some(Failure { reason: "unregistered torrent".to_owned(), retry })
}
