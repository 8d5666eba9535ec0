//! A node with little room and strict limits: whatever it is told, its stores stay within their caps, its answers within
//! its budget and each asker's share, and it names no peer that did not announce itself.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use samara_proto::bencode;
use samara_proto::dht::item::Item;
use samara_proto::dht::message::{Body, Message, Method, Query, Want};
use samara_proto::dht::node::{Config, Input, Node, Output};
use samara_proto::dht::server::{ItemLimits, PeerLimits, ServerConfig};
use samara_proto::ids::NodeId;
use samara_proto::time::Time;
use samara_proto::tracker::Family;

use super::{TIME, input, key, one_answer, response, secret};

const PEERS: PeerLimits = PeerLimits { torrents: 4, peers: 5, total: 12, site_peers: 2, site_total: 4 };
const ITEMS: ItemLimits = ItemLimits { items: 3, site_items: 2 };
/// Bytes a second of all answers, and questions a second of one address.
const RATE: u64 = 2000;
const QUERIES: u32 = 5;
/// Seconds of both that may have gathered.
const SAVED: u64 = 5;
/// IPv4 and UDP.
const HEADERS: u64 = 28;

struct World {
    node: Node,
    began: Time,
    now: Time,
    /// The latest token of each for each key.
    tokens: BTreeMap<(SocketAddr, NodeId), Vec<u8>>,
    /// When each announced last.
    peers: BTreeMap<(SocketAddr, NodeId), Time>,
    bytes: u64,
    answers: BTreeMap<SocketAddr, u64>,
}

/// Runs one input.
pub(super) fn run(mut input: input::Input<'_>) {
    let server = ServerConfig { peers: PEERS, items: ITEMS, queries: QUERIES, slots: 8, rate: Some(RATE) };
    let now = Time::from_micros(1_000_000);
    let mut world = World {
        node: Node::new(Config { server, ..Config::new(Family::V4) }, input.long(), now),
        began: now,
        now,
        tokens: BTreeMap::new(),
        peers: BTreeMap::new(),
        bytes: 0,
        answers: BTreeMap::new(),
    };
    for _ in 0..600 {
        if input.is_empty() || world.now.since(now) > TIME {
            break;
        }
        world.step(&mut input);
        world.check();
    }
}

/// Eight networks of eight hosts.
fn addr(n: u8) -> SocketAddr {
    ([60, 1, n >> 3 & 7, n & 7], 1000).into()
}

impl World {
    fn step(&mut self, input: &mut input::Input<'_>) {
        let (from, target) = (addr(input.byte()), key(input.byte()));
        let token = self.tokens.get(&(from, target)).cloned().unwrap_or_default();
        match input.byte() % 8 {
            0 => self.let_pass(Duration::from_millis(u64::from(input.short()))),
            1 => self.let_pass(Duration::from_secs(u64::from(input.byte()) * 16)),
            2 => {
                let bytes = input.bytes(200).to_vec();
                self.give(from, &bytes);
            }
            3 | 4 => self.learn(from, target),
            5 | 6 => self.announce(from, target, &token),
            _ => self.put(from, input.byte(), input.byte()),
        }
    }

    fn let_pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.node.deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.node.handle(self.now, Input::Timer);
            // It knows nobody, so it asks nobody but who asked.
            while self.node.poll().is_some() {}
        }
        self.now = end;
    }

    /// Gives it a datagram; what it answers, if it does, is counted.
    fn give(&mut self, from: SocketAddr, bytes: &[u8]) -> Option<Vec<u8>> {
        self.node.handle(self.now, Input::Datagram { from, bytes });
        let said = std::iter::from_fn(|| self.node.poll());
        let sent = said.filter_map(|output| match output {
            Output::Send { to, datagram } => Some((to, datagram)),
            _ => None,
        });
        let answer = one_answer(from, bytes, sent.collect())?;
        self.bytes += answer.len() as u64 + HEADERS;
        *self.answers.entry(from).or_default() += 1;
        Some(answer)
    }

    fn ask(&mut self, from: SocketAddr, method: Method<'_>) -> Option<Vec<u8>> {
        let body = Body::Query(Query { id: NodeId([9; 20]), want: Want::default(), method });
        let mut bytes = Vec::new();
        Message { transaction: b"ab", version: None, ip: None, read_only: true, body }.write(&mut bytes);
        self.give(from, &bytes)
    }

    fn learn(&mut self, from: SocketAddr, target: NodeId) {
        let method = Method::GetPeers { info_hash: target, noseed: false, scrape: false };
        let Some(answer) = self.ask(from, method) else { return };
        let response = response(&answer).expect("it is answered");
        let token = response.token.expect("with a token").to_vec();
        self.tokens.insert((from, target), token);
        let found: Vec<SocketAddr> = response.values.into_iter().flat_map(|values| values.iter()).collect();
        assert!(found.len() <= PEERS.peers);
        for peer in found {
            let at = self.peers.get(&(SocketAddr::new(peer.ip(), 1000), target));
            let at = at.unwrap_or_else(|| panic!("{peer} never announced {target}"));
            assert!(self.now.since(*at) <= Duration::from_secs(1800 + 120), "{peer} is a ghost");
        }
    }

    fn announce(&mut self, from: SocketAddr, target: NodeId, token: &[u8]) {
        let method =
            Method::AnnouncePeer { info_hash: target, port: 7, implied_port: false, seed: false, token };
        let taken = self.ask(from, method).is_some_and(|answer| response(&answer).is_some());
        if taken {
            assert!(!token.is_empty(), "without a token");
            self.peers.insert((from, target), self.now);
        }
    }

    fn put(&mut self, from: SocketAddr, who: u8, salt: u8) {
        let item = Item::sign(&secret(who), &[salt & 3], 1, b"i1e").expect("a good item");
        let Some(answer) = self.ask(from, Method::Get { target: item.target(), seq: None }) else { return };
        let token = response(&answer).and_then(|r| r.token).expect("with a token").to_vec();
        let signed = item.mutable().map(|mutable| mutable.signed());
        let value = bencode::parse(item.value(), bencode::Limits::MESSAGE).expect("it is bencoded");
        self.ask(from, Method::Put { token: &token, value, signed, cas: None });
    }

    fn check(&self) {
        let server = self.node.server();
        assert!(server.peers().len() <= PEERS.total && server.peers().torrents() <= PEERS.torrents);
        assert!(server.items().len() <= ITEMS.items);
        let secs = self.now.since(self.began).as_secs() + 1 + SAVED;
        assert!(self.bytes <= RATE * secs, "{} bytes in {secs} s", self.bytes);
        let most = u64::from(QUERIES) * secs;
        assert!(self.answers.values().all(|count| *count <= most), "{:?} in {secs} s", self.answers);
    }
}
