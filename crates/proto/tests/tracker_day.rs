//! A day in the life of a tracker, in virtual time: clients that come, announce again, lose datagrams, move to other ports,
//! leave with a word or without one, and come back. No answer names a peer that left more than one lifetime ago, and
//! nobody who is there and was heard is missing.
//!
//! `cargo test --release -p samara-proto --test tracker_day -- --ignored --nocapture` lives the whole day of 100,000
//! clients.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use samara_proto::ids::{PeerId, WireHash};
use samara_proto::rng::Rng;
use samara_proto::swarms::{Config, Cursor, Swarms};
use samara_proto::time::Time;
use samara_proto::tracker::udp::{Body, Options, Request, parse_response};
use samara_proto::tracker::udp_server::{Asks, ConnectionIds, MAX_ANSWER, PEERS_AT, Server, answer_announce};
use samara_proto::tracker::{AnnounceRequest, Event, Family};

/// Seconds for which a silent peer is known.
const LIFETIME: u64 = 1800;
/// Seconds after which BEP 15 sends again, each time twice as long.
const PATIENCE: u64 = 15;
/// Of a hundred datagrams so many are lost, each way.
const LOSS: u64 = 5;

#[derive(Debug, Default)]
struct Client {
    port: u16,
    /// Bytes left; 0 for a seed.
    left: u64,
    present: bool,
    event: Event,
    /// The connection id, and when it came.
    id: Option<(u64, u64)>,
    /// Datagrams sent in vain since the last answer.
    tries: u32,
    /// Counts what was planned; an event of an older plan is passed over.
    plan: u32,
}

struct Day {
    clients: Vec<Client>,
    torrents: u64,
    /// When what happens: second, client, its plan.
    events: BinaryHeap<Reverse<(u64, usize, u32)>>,
    server: Server,
    swarms: Swarms,
    /// When a peer left; who is here is not in it.
    left: HashMap<(WireHash, SocketAddr), u64>,
    /// When the tracker heard of a peer last.
    heard: HashMap<(WireHash, SocketAddr), u64>,
    rng: Rng,
    now: u64,
    answers: u64,
    told: u64,
}

impl Day {
    fn new(clients: usize, seed: u64) -> Self {
        let config = Config {
            lifetime: Duration::from_secs(LIFETIME),
            max_bytes: 256 << 20,
            per_host: 64,
            secret: [5; 16],
        };
        let mut day = Self {
            clients: (0..clients).map(|_| Client::default()).collect(),
            torrents: clients as u64 / 20,
            events: BinaryHeap::new(),
            server: Server { ids: ConnectionIds::new([6; 16]), default_want: 50, max_want: 200 },
            swarms: Swarms::new(&config, Time::ZERO),
            left: HashMap::new(),
            heard: HashMap::new(),
            rng: Rng::new(seed),
            now: 0,
            answers: 0,
            told: 0,
        };
        for client in 0..clients {
            let first = day.rng.below(7200);
            day.plan(client, first);
        }
        day
    }

    fn time(&self) -> Time {
        Time::ZERO + Duration::from_secs(self.now)
    }

    /// The torrent of a client: a few are large, most are small.
    fn hash(&self, client: usize) -> WireHash {
        let n = (client as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let torrent = (((n * n) >> 32) * self.torrents) >> 32;
        let mut bytes = [0; 20];
        Rng::new(torrent).fill(&mut bytes);
        WireHash(bytes)
    }

    fn addr(&self, client: usize) -> SocketAddr {
        // Two share an address, as behind one router.
        (Ipv4Addr::from_bits(0x0a00_0000 + client as u32 / 2), self.clients[client].port).into()
    }

    fn plan(&mut self, client: usize, after: u64) {
        self.clients[client].plan += 1;
        self.events.push(Reverse((self.now + after, client, self.clients[client].plan)));
    }

    fn run(&mut self, until: u64) {
        let mut next_look = 1800;
        while let Some(Reverse((when, client, plan))) = self.events.pop() {
            if when > until {
                break;
            }
            self.now = when;
            if self.now >= next_look {
                next_look = self.now + 1800;
                self.look();
            }
            // A hub sweeps every few seconds.
            if self.rng.below(50) == 0 {
                self.swarms.sweep(self.time(), 64);
            }
            if plan == self.clients[client].plan {
                self.live(client);
            }
        }
    }

    /// The next thing in a client's life.
    fn live(&mut self, client: usize) {
        if !self.clients[client].present {
            if self.clients[client].tries > 0 {
                // It is gone, and only its last word is still to be said again.
                return self.speak(client);
            }
            return self.come(client);
        }
        let fresh = self.clients[client].tries == 0;
        if fresh && self.rng.below(100) < 8 {
            return self.go(client);
        }
        if fresh && self.clients[client].left > 0 && self.rng.below(10) == 0 {
            (self.clients[client].left, self.clients[client].event) = (0, Event::Completed);
        }
        self.speak(client);
    }

    fn come(&mut self, client: usize) {
        let port = 1024 + (client % 2) as u16 * 20_000 + self.rng.below(20_000) as u16;
        let left = self.rng.below(3) * 1000;
        let id = self.clients[client].id;
        let plan = self.clients[client].plan;
        self.clients[client] =
            Client { port, left, present: true, event: Event::Started, id, tries: 0, plan };
        self.left.remove(&(self.hash(client), self.addr(client)));
        self.speak(client);
    }

    /// Leaves: most say so, some crash, and some of those are back at once, at another port.
    fn go(&mut self, client: usize) {
        self.left.insert((self.hash(client), self.addr(client)), self.now);
        self.clients[client].present = false;
        match self.rng.below(10) {
            0..=5 => {
                self.clients[client].event = Event::Stopped;
                self.speak(client);
            }
            6..=7 => self.plan(client, 5),
            _ => self.rest(client),
        }
    }

    fn rest(&mut self, client: usize) {
        self.clients[client].tries = 0;
        let pause = 60 + self.rng.below(4 * 3600);
        self.plan(client, pause);
    }

    /// Sends what is due, by BEP 15: a connect if the id is older than a minute, and twice the patience each time.
    fn speak(&mut self, client: usize) {
        let (now, tries) = (self.now, self.clients[client].tries);
        if tries >= 9 {
            // Given up until the next round.
            self.clients[client].tries = 0;
            return if self.clients[client].present { self.plan(client, 60) } else { self.rest(client) };
        }
        let id = self.clients[client].id.filter(|(_, came)| now < came + 60);
        self.clients[client].id = id;
        self.clients[client].tries += 1;
        let answer = match id {
            None => self.send(client, &Request::Connect { transaction: 1 }),
            Some((connection, _)) => {
                let request = self.request(client);
                let options = Options::default();
                self.send(client, &Request::Announce { connection, transaction: 1, request, options })
            }
        };
        match answer
            .as_deref()
            .map(|answer| parse_response(answer, Family::V4).expect("a tracker's answer").body)
        {
            None => self.plan(client, PATIENCE << tries.min(8)),
            Some(Body::Connect { connection }) => {
                (self.clients[client].id, self.clients[client].tries) = (Some((connection, now)), tries);
                self.speak(client);
            }
            Some(Body::Announce(answer)) => self.hear(client, &answer.peers, answer.interval),
            Some(other) => panic!("{other:?}"),
        }
    }

    fn request(&self, client: usize) -> AnnounceRequest {
        let Client { port, left, event, .. } = self.clients[client];
        AnnounceRequest {
            info_hash: self.hash(client),
            peer_id: PeerId([0; 20]),
            port,
            uploaded: 0,
            downloaded: 0,
            left,
            event,
            numwant: None,
            key: 0,
            ip: None,
        }
    }

    /// A datagram and its answer, unless one of them is lost. Some come twice.
    fn send(&mut self, client: usize, request: &Request<'_>) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        request.write(&mut bytes);
        let lost = |rng: &mut Rng| rng.below(100) < LOSS;
        if lost(&mut self.rng) {
            return None;
        }
        let twice = self.rng.below(100) == 0;
        let answer = self.receive(client, &bytes);
        if twice {
            self.receive(client, &bytes);
        }
        Some(answer).filter(|_| !lost(&mut self.rng))
    }

    /// The tracker.
    fn receive(&mut self, client: usize, datagram: &[u8]) -> Vec<u8> {
        let (now, addr) = (self.time(), self.addr(client));
        let mut out = [0; MAX_ANSWER];
        let len = match self.server.receive(now, addr, datagram, &mut out) {
            Asks::Connected(len) => len,
            Asks::Announce { transaction, announce, .. } => {
                self.heard.insert((announce.hash, announce.peer), self.now);
                let counts = self.swarms.announce(now, &announce, &mut out[PEERS_AT..]);
                // As the hub tells it: from 3/4 to 17/20 of the lifetime.
                let interval = LIFETIME * 3 / 4 + self.rng.below(LIFETIME / 10);
                answer_announce(&mut out, Family::V4, transaction, interval as u32, &counts)
            }
            other => panic!("{other:?}"),
        };
        out[..len].to_vec()
    }

    fn hear(&mut self, client: usize, peers: &[SocketAddr], interval: u32) {
        self.answers += 1;
        self.told += peers.len() as u64;
        let hash = self.hash(client);
        for peer in peers {
            assert_ne!(*peer, self.addr(client), "a client is told of itself");
            assert!(self.heard.contains_key(&(hash, *peer)), "{peer} was never here");
            if let Some(left) = self.left.get(&(hash, *peer)) {
                assert!(self.now - left < LIFETIME, "{peer} left {} s ago", self.now - left);
            }
        }
        if self.clients[client].event == Event::Stopped {
            return self.rest(client);
        }
        (self.clients[client].event, self.clients[client].tries) = (Event::None, 0);
        self.plan(client, interval.into());
    }

    /// Compares everybody who is there with everybody who is known.
    fn look(&mut self) {
        let (mut known, mut cursor) = (HashSet::new(), Some(Cursor::START));
        while let Some(from) = cursor {
            cursor = self.swarms.save(self.time(), from, 1000, |swarm| {
                known.extend(swarm.peers.iter().map(|peer| (swarm.hash, peer.addr)));
            });
        }
        let mut missing = 0;
        for client in 0..self.clients.len() {
            let key = (self.hash(client), self.addr(client));
            let Some(heard) = self.heard.get(&key).filter(|_| self.clients[client].present) else { continue };
            if !known.contains(&key) {
                // Only if all that it said for a quarter of its time was lost.
                assert!(self.now - heard > LIFETIME - LIFETIME / 32, "client {client} is forgotten");
                missing += 1;
            }
        }
        assert!(missing * 1000 <= self.clients.len(), "{missing} clients are forgotten");
        for key in &known {
            let left = self.left.get(key).map_or(0, |left| self.now - left);
            assert!(left < LIFETIME, "{} is known {left} s after it left", key.1);
        }
        let stats = self.swarms.stats().v4;
        let held = stats.leeches + stats.seeds;
        assert!(
            held >= known.len() && held <= known.len() + known.len() / 4 + 50,
            "{held} held, {} known",
            known.len()
        );
    }
}

#[test]
fn a_morning_of_two_thousand_clients() {
    let mut day = Day::new(2000, 1);
    day.run(4 * 3600);
    assert!(day.answers > 8000 && day.told > 100_000, "{} answers, {} peers", day.answers, day.told);
}

#[test]
#[ignore = "takes minutes in debug builds"]
fn a_day_of_a_hundred_thousand_clients() {
    let mut day = Day::new(100_000, 2);
    day.run(24 * 3600);
    let stats = day.swarms.stats().v4;
    println!("{} answers with {} peers; at the end {stats:?}", day.answers, day.told);
    assert!(day.answers > 3_000_000);
}
