//! Conversations, with the client's codec at the other end.

use std::time::Duration;

use super::super::types::{AnnounceRequest, Event};
use super::super::udp::{Body, parse_response};
use super::*;
use crate::ids::{PeerId, WireHash};
use crate::rng::Rng;
use crate::swarms::{Config, Swarms};

const SERVER: fn() -> Server =
    || Server { ids: ConnectionIds::new([1; 16]), default_want: 50, max_want: 200 };

fn at(seconds: u64) -> Time {
    Time::ZERO + Duration::from_secs(seconds)
}

fn client(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn request(port: u16, left: u64) -> AnnounceRequest {
    AnnounceRequest {
        info_hash: WireHash([9; 20]),
        peer_id: PeerId([7; 20]),
        port,
        uploaded: 0,
        downloaded: 0,
        left,
        event: Event::Started,
        numwant: None,
        key: 3,
        // Not to be believed.
        ip: Some("203.0.113.9".parse().unwrap()),
    }
}

fn bytes(request: &Request<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    request.write(&mut out);
    out
}

fn announce(connection: u64, request: AnnounceRequest) -> Vec<u8> {
    bytes(&Request::Announce { connection, transaction: 5, request, options: Options::default() })
}

/// A whole tracker.
struct Tracker {
    server: Server,
    swarms: Swarms,
}

impl Tracker {
    fn new() -> Self {
        let config =
            Config { max_bytes: 0, per_host: 64, lifetime: Duration::from_secs(1800), secret: [2; 16] };
        Self { server: SERVER(), swarms: Swarms::new(&config, at(0)) }
    }

    fn say(&mut self, now: Time, from: SocketAddr, datagram: &[u8]) -> Vec<u8> {
        let mut out = [0; MAX_ANSWER];
        let family = Family::of(from.ip());
        let len = match self.server.receive(now, from, datagram, &mut out) {
            Asks::Nothing(_) => 0,
            Asks::Connected(len) | Asks::Refused(len) => len,
            Asks::Announce { transaction, announce, .. } => {
                let counts = self.swarms.announce(now, &announce, &mut out[PEERS_AT..]);
                answer_announce(&mut out, family, transaction, 1500, &counts)
            }
            Asks::Scrape { transaction, hashes } => {
                let sizes = hashes.iter().map(|hash| self.swarms.scrape(&hash, family));
                answer_scrape(&mut out, transaction, sizes)
            }
        };
        out[..len].to_vec()
    }

    fn connect(&mut self, now: Time, from: SocketAddr) -> u64 {
        let answer = self.say(now, from, &bytes(&Request::Connect { transaction: 4 }));
        assert_eq!(answer.len(), 16);
        match parse_response(&answer, Family::V4).unwrap().body {
            Body::Connect { connection } => connection,
            other => panic!("{other:?}"),
        }
    }
}

fn peers(answer: &[u8], family: Family) -> Vec<SocketAddr> {
    let answer = parse_response(answer, family).unwrap();
    assert_eq!(answer.transaction, 5);
    let Body::Announce(answer) = answer.body else { panic!("{answer:?}") };
    assert_eq!(answer.interval, 1500);
    answer.peers
}

#[test]
fn peers_of_either_family_find_each_other() {
    for (a, b, family) in [
        ("192.0.2.1:1000", "192.0.2.2:1000", Family::V4),
        ("[2001:db8::1]:1000", "[2001:db8:1::2]:1000", Family::V6),
    ] {
        let (a, b, mut tracker) = (client(a), client(b), Tracker::new());
        let id = tracker.connect(at(0), a);
        assert!(peers(&tracker.say(at(1), a, &announce(id, request(6881, 0))), family).is_empty());
        let id = tracker.connect(at(1), b);
        let told = peers(&tracker.say(at(2), b, &announce(id, request(6882, 5))), family);
        assert_eq!(told, [SocketAddr::new(a.ip(), 6881)], "an address that was only claimed is handed out");
        let hashes = [[9; 20], [8; 20]].concat();
        let scrape =
            Request::Scrape { connection: id, transaction: 6, hashes: Hashes::new(&hashes).unwrap() };
        let answer = tracker.say(at(3), b, &bytes(&scrape));
        let Body::Scrape(stats) = parse_response(&answer, family).unwrap().body else { panic!("{answer:?}") };
        let stats: Vec<_> = stats.iter().map(|s| (s.complete, s.incomplete)).collect();
        assert_eq!(stats, [(1, 1), (0, 0)]);
    }
}

#[test]
fn who_has_no_id_hears_nothing() {
    let mut tracker = Tracker::new();
    let (a, b) = (client("192.0.2.1:1000"), client("192.0.2.2:1000"));
    let id = tracker.connect(at(0), a);
    for (now, from, id) in [(at(1), b, id), (at(500), a, id), (at(1), a, id ^ 2), (at(1), a, 0)] {
        assert!(tracker.say(now, from, &announce(id, request(1, 1))).is_empty());
        assert!(tracker.say(now, from, &announce(id, request(1, 1))[..50]).is_empty());
    }
    assert_eq!(tracker.swarms.stats().v4.swarms, 0, "a forged announce is taken note of");
    assert!(
        tracker.say(at(1), client("192.0.2.1:0"), &bytes(&Request::Connect { transaction: 1 })).is_empty()
    );
}

#[test]
fn who_has_one_is_told_what_is_wrong() {
    let mut tracker = Tracker::new();
    let a = client("192.0.2.1:1000");
    let id = tracker.connect(at(0), a);
    let mut unknown = announce(id, request(1, 1));
    unknown[11] = 9;
    for wrong in [&announce(id, request(1, 1))[..97], &unknown, &unknown[..16]] {
        let answer = tracker.say(at(1), a, wrong);
        let answer = parse_response(&answer, Family::V4).unwrap();
        assert_eq!((answer.transaction, answer.body), (5, Body::Error("malformed request".into())));
    }
    assert!(tracker.say(at(1), a, &unknown[..15]).is_empty());
}

#[test]
fn numbers_of_peers_are_bounded() {
    let want = |numwant| {
        SERVER().announce(client("192.0.2.1:1"), &AnnounceRequest { numwant, ..request(1, 1) }).want
    };
    assert_eq!([None, Some(0), Some(30), Some(u32::MAX)].map(want), [50, 0, 30, 200]);
}

#[test]
fn an_unverified_source_is_never_sent_more_than_it_sent() {
    let (server, mut rng) = (SERVER(), Rng::new(1));
    let a = client("192.0.2.1:1000");
    for round in 0..20_000 {
        let mut datagram = vec![0; rng.index(120)];
        rng.fill(&mut datagram);
        if round % 2 == 0 && datagram.len() >= 16 {
            datagram[..8].copy_from_slice(&0x0417_2710_1980u64.to_be_bytes());
            datagram[8..12].fill(0);
        }
        let mut out = [0; MAX_ANSWER];
        match server.receive(at(1), a, &datagram, &mut out) {
            Asks::Nothing(_) => {}
            Asks::Connected(len) | Asks::Refused(len) => assert!(len <= datagram.len()),
            other => panic!("{other:?} without an id"),
        }
    }
}

#[test]
fn an_answer_fits_a_datagram() {
    for (family, most) in [("10.0.{}.{}", 200), ("2001:db8:{}:{}::1", 67)] {
        let mut tracker = Tracker::new();
        for n in 0..300u16 {
            let ip =
                family.replacen("{}", &(n / 100).to_string(), 1).replacen("{}", &(n % 100).to_string(), 1);
            let from = SocketAddr::new(ip.parse().unwrap(), 1);
            let id = tracker.connect(at(0), from);
            let all = AnnounceRequest { numwant: Some(1000), ..request(1, 1) };
            let answer = tracker.say(at(0), from, &announce(id, all));
            assert!(answer.len() <= MAX_ANSWER);
            assert_eq!(peers(&answer, Family::of(from.ip())).len(), usize::from(n).min(most));
        }
    }
}
