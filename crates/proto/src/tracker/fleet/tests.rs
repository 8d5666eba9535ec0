use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::super::announcer::{Ask, Need, Report, ReportKind, tests as one};
use super::*;
use crate::ids::{InfoHashV1, InfoHashes};
use crate::tracker::Event;

fn config() -> Config {
    Config::new(one::config().identity)
}

fn torrent(n: u64, tiers: &[&[&str]]) -> Box<NewTorrent> {
    let mut hash = [0; 20];
    hash[..8].copy_from_slice(&n.to_be_bytes());
    Box::new(NewTorrent { hashes: InfoHashes::V1(InfoHashV1(hash)), ..one::torrent(tiers) })
}

fn every(interval: u32) -> AnnounceResponse {
    AnnounceResponse { interval, ..AnnounceResponse::default() }
}

/// A fleet and a clock.
struct Rig {
    it: Fleet,
    now: Time,
    asks: VecDeque<(Ticket, TorrentKey, Box<Ask>)>,
    out: Vec<Output>,
}

impl Rig {
    fn new(config: Config) -> Self {
        let now = Time::from_micros(9_000_000);
        Self { it: Fleet::new(config, 1), now, asks: VecDeque::new(), out: Vec::new() }
    }

    fn tell(&mut self, input: Input) {
        self.it.handle(self.now, input);
        while let Some(output) = self.it.poll() {
            match output {
                Output::Ask { ticket, torrent, ask } => self.asks.push_back((ticket, torrent, ask)),
                other => self.out.push(other),
            }
        }
        assert!(self.it.deadline().is_none_or(|at| at > self.now));
    }

    fn add(&mut self, n: u64, tiers: &[&[&str]]) {
        self.tell(Input::Added { torrent: TorrentKey(n), new: torrent(n, tiers) });
    }

    fn stop(&mut self, n: u64) {
        self.tell(Input::Torrent { torrent: TorrentKey(n), input: announcer::Input::Stop });
    }

    /// Goes on to the next deadline, at most to `until`; false if that is reached.
    fn step(&mut self, until: Time) -> bool {
        self.now = self.it.deadline().unwrap_or(until).min(until);
        self.tell(Input::Tick);
        self.now < until
    }

    fn pass(&mut self, seconds: u64) {
        let until = self.now + Duration::from_secs(seconds);
        while self.step(until) {}
    }

    fn answer(&mut self, ticket: Ticket, response: AnnounceResponse) {
        self.tell(Input::Answered { ticket, from: None, response });
    }

    fn silent(&mut self, ticket: Ticket) {
        self.tell(Input::Failed { ticket, problem: Problem::Silent });
    }

    fn hosts(&mut self) -> Vec<String> {
        self.asks.drain(..).map(|(_, _, ask)| ask.url.host().to_owned()).collect()
    }
}

#[test]
fn a_burst_leaves_at_the_rate() {
    let mut rig = Rig::new(Config { at_once: usize::MAX, per_host: usize::MAX, ..config() });
    let urls: Vec<String> = (0..250).map(|n| format!("http://h{n}/announce")).collect();
    for n in 0..500 {
        rig.add(n, &[&[&urls[n as usize / 2]]]);
    }
    assert_eq!(rig.asks.len(), 10);
    let start = rig.now;
    while rig.asks.len() < 500 {
        rig.step(start + Duration::from_secs(1000));
    }
    assert_eq!(rig.now.since(start), Duration::from_millis(490 * 20));
}

#[test]
fn places_at_one_tracker_and_in_all() {
    let mut rig = Rig::new(Config { per_host: 2, at_once: 3, ..config() });
    for n in 0..3 {
        rig.add(n, &[&["http://a/announce"]]);
    }
    for n in 3..6 {
        rig.add(n, &[&["http://b/announce"]]);
    }
    rig.pass(10);
    assert_eq!(rig.hosts(), ["a", "a", "b"]);
    rig.answer(Ticket(2), every(1800));
    assert_eq!(rig.hosts(), ["b"]);
    rig.answer(Ticket(0), every(1800));
    assert_eq!(rig.it.load(), (3, 1));
}

#[test]
fn trackers_take_turns_and_downloads_go_first() {
    let mut rig = Rig::new(Config { rate: 1, ..config() });
    let mut seed = torrent(100, &[&["http://seed/announce"]]);
    seed.totals.left = 0;
    rig.add(99, &[&["http://first/announce"]]);
    rig.tell(Input::Added { torrent: TorrentKey(100), new: seed });
    for n in 0..2 {
        rig.add(n, &[&["http://a/announce"]]);
    }
    rig.add(3, &[&["http://b/announce"]]);
    rig.pass(30);
    assert_eq!(rig.hosts(), ["first", "a", "b", "a", "seed"]);
}

#[test]
fn ends_are_told_beside_the_queue() {
    let mut rig = Rig::new(Config { rate: 1, ..config() });
    rig.add(0, &[&["http://a/announce"]]);
    let (ticket, ..) = rig.asks.pop_front().unwrap();
    rig.answer(ticket, every(1800));
    for n in 1..100 {
        rig.add(n, &[&["http://a/announce"]]);
    }
    rig.stop(0);
    let (ticket, torrent, ask) = rig.asks.pop_front().unwrap();
    assert_eq!((torrent, ask.request.event), (TorrentKey(0), Event::Stopped));
    rig.answer(ticket, every(1800));
    assert!(rig.out.contains(&Output::Stopped(TorrentKey(0))));
    assert_eq!(rig.it.len(), 99);
}

#[test]
fn the_whole_fleet_stops() {
    let mut rig = Rig::new(config());
    for n in 0..200 {
        rig.add(n, &[&["udp://a:1"]]);
    }
    for _ in 0..300 {
        while let Some((ticket, ..)) = rig.asks.pop_front() {
            rig.answer(ticket, every(1800));
        }
        rig.pass(1);
    }
    rig.tell(Input::Stop);
    let (start, mut took) = (rig.now, Duration::ZERO);
    while !rig.it.is_empty() {
        while let Some((ticket, _, ask)) = rig.asks.pop_front() {
            assert_eq!(ask.request.event, Event::Stopped);
            rig.answer(ticket, every(1800));
            took = rig.now.since(start);
        }
        rig.step(start + Duration::from_secs(100));
    }
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert_eq!(rig.it.deadline(), None);
}

#[test]
fn a_tracker_that_is_down_costs_one_question_at_a_time() {
    let mut rig = Rig::new(config());
    for n in 0..1000 {
        rig.add(n, &[&["udp://dead:1", "udp://alive:1"]]);
    }
    let mut asked: BTreeMap<String, usize> = BTreeMap::new();
    let (start, mut dead) = (rig.now, VecDeque::new());
    while rig.now.since(start) < Duration::from_secs(1800) {
        for (ticket, _, ask) in std::mem::take(&mut rig.asks) {
            *asked.entry(ask.url.host().to_owned()).or_default() += 1;
            match ask.url.host() {
                "alive" => rig.answer(ticket, every(3600)),
                _ => dead.push_back((rig.now + Duration::from_secs(120), ticket)),
            }
        }
        while let Some((_, ticket)) = dead.pop_front_if(|(at, _)| *at <= rig.now) {
            rig.silent(ticket);
        }
        let next = rig.now + Duration::from_secs(1);
        while rig.step(next) {}
    }
    assert_eq!(asked["alive"], 1000);
    assert!(asked["dead"] < 40, "{asked:?}");
}

#[test]
fn a_tracker_that_is_back_is_used_again() {
    let mut rig = Rig::new(config());
    for n in 0..5 {
        rig.add(n, &[&["udp://t:1"]]);
    }
    for _ in 0..3 {
        let (ticket, ..) = rig.asks.pop_front().unwrap();
        rig.silent(ticket);
    }
    let mut answered = BTreeSet::new();
    for _ in 0..7200 {
        while let Some((ticket, torrent, _)) = rig.asks.pop_front() {
            rig.answer(ticket, every(1800));
            answered.insert(torrent);
        }
        rig.pass(1);
    }
    assert_eq!(answered.len(), 5);
}

#[test]
fn a_question_that_the_caller_forgot_ends() {
    let mut rig = Rig::new(Config { at_once: 1, ..config() });
    rig.add(0, &[&["http://a/announce"]]);
    rig.add(1, &[&["http://b/announce"]]);
    assert_eq!(rig.hosts(), ["a"]);
    rig.pass(601);
    assert_eq!(rig.hosts(), ["b"]);
    assert!(rig.out.contains(&Output::Cancel(Ticket(0))));
}

#[test]
fn who_is_added_again_begins_anew() {
    let mut rig = Rig::new(config());
    rig.add(0, &[&["http://a/announce"]]);
    rig.add(0, &[&["http://b/announce"]]);
    assert!(rig.out.contains(&Output::Cancel(Ticket(0))));
    rig.answer(Ticket(0), every(60));
    assert_eq!(rig.hosts(), ["a", "b"]);
    assert_eq!(rig.it.load(), (1, 0));
}

#[test]
fn peers_from_further_in_are_left_out() {
    let mut rig = Rig::new(config());
    rig.add(0, &[&["http://a/announce"]]);
    let peers: Vec<SocketAddr> = ["8.8.8.8:1", "10.0.0.1:1"].map(|peer| peer.parse().unwrap()).into();
    let response = AnnounceResponse { peers, ..every(1800) };
    rig.tell(Input::Answered { ticket: Ticket(0), from: Some("1.1.1.1".parse().unwrap()), response });
    let public = vec!["8.8.8.8:1".parse().unwrap()];
    assert!(rig.out.contains(&Output::Peers { torrent: TorrentKey(0), peers: public }));
    let told = |out: &Output| {
        matches!(
            out,
            Output::Report { report: Report { what: ReportKind::Answered { peers: 1, .. }, .. }, .. }
        )
    };
    assert!(rig.out.iter().any(told));
}

#[test]
fn a_need_and_a_new_network_reach_the_torrents() {
    let mut rig = Rig::new(config());
    rig.add(0, &[&["http://a/announce"]]);
    rig.answer(Ticket(0), every(1800));
    rig.tell(Input::Torrent { torrent: TorrentKey(0), input: announcer::Input::Need(Need::Starved) });
    rig.asks.clear();
    rig.pass(300);
    let (ticket, _, ask) = rig.asks.pop_front().unwrap();
    assert_eq!(ask.request.numwant, Some(200));
    rig.answer(ticket, every(1800));
    rig.tell(Input::Network(announcer::Identity { v4: Some(77), ..config().announcer.identity }));
    rig.pass(300);
    assert_eq!(rig.asks.pop_front().unwrap().2.request.port, 77);
}

#[test]
fn what_waited_for_a_torrent_that_is_gone_is_not_its_successors() {
    let mut rig = Rig::new(Config { per_host: 1, ..config() });
    rig.add(0, &[&["http://a/announce"]]);
    rig.add(1, &[&["http://a/announce"]]);
    rig.add(1, &[&["http://b/announce"]]);
    rig.add(2, &[&["http://b/announce"]]);
    assert_eq!(rig.hosts(), ["a", "b"]);
    rig.answer(Ticket(0), every(1800));
    assert_eq!(rig.hosts().len(), 0);
}

#[test]
fn who_waits_for_a_tracker_that_is_back_waits_no_longer() {
    let mut rig = Rig::new(Config { per_host: 4, ..config() });
    for n in 0..50 {
        rig.add(n, &[&["udp://t:1"]]);
    }
    rig.pass(1);
    while let Some((ticket, ..)) = rig.asks.pop_front() {
        rig.silent(ticket);
    }
    assert_eq!(rig.it.load(), (0, 0), "all have failed");
    while rig.asks.is_empty() {
        rig.step(rig.now + Duration::from_secs(100));
    }
    let back = rig.now;
    let mut answered = 0;
    while answered < 50 && rig.now.since(back) < Duration::from_secs(60) {
        while let Some((ticket, ..)) = rig.asks.pop_front() {
            rig.answer(ticket, every(1800));
            answered += 1;
        }
        rig.step(rig.now + Duration::from_secs(1));
    }
    assert_eq!(answered, 50);
    assert!(rig.now.since(back) < Duration::from_secs(4));
}

#[test]
fn a_long_sleep_is_no_fault_of_the_tracker() {
    let mut rig = Rig::new(config());
    for n in 0..6 {
        rig.add(n, &[&["udp://t:1"]]);
    }
    rig.answer(Ticket(0), every(86400));
    assert_eq!(rig.it.load(), (5, 0));
    rig.now = rig.now + Duration::from_secs(3600);
    rig.tell(Input::Tick);
    rig.pass(60);
    assert_eq!(rig.it.load(), (2, 3), "nobody failed because others did");
}

#[test]
fn a_tracker_has_few_places_until_it_answers() {
    let mut rig = Rig::new(config());
    for n in 0..100 {
        rig.add(n, &[&["udp://t:1"]]);
    }
    rig.pass(10);
    assert_eq!(rig.asks.len(), 2);
    rig.answer(Ticket(0), every(1800));
    rig.pass(10);
    assert_eq!(rig.it.load().0, 16);
}

#[test]
fn a_status_for_some_torrents_does_not_keep_others_away() {
    let mut rig = Rig::new(config());
    for n in 0..8 {
        rig.add(n, &[&["http://t/announce"]]);
    }
    for _ in 0..7 {
        let (ticket, ..) = rig.asks.pop_front().unwrap();
        rig.tell(Input::Failed { ticket, problem: Problem::Useless("status 404".into()) });
    }
    assert_eq!(rig.it.load(), (1, 0));
}
