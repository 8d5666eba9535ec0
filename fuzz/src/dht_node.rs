//! A whole DHT node against a naive model of what it stores, whatever it is told.
//!
//! Held: tokens are good for five minutes at least and ten at most, for their address and key alone; peers are given out
//! for half an hour after their announce and not a sweep longer; items only rise; answers stay within their bounds; a
//! question gets one answer, to where it came from, and nothing else leads to one; it asks only addresses that it was
//! told of; jobs end. An input that begins with an odd byte plays with a node that has little room (`narrow`).

mod narrow;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use samara_proto::bencode;
use samara_proto::dht::item::Item;
use samara_proto::dht::message::{Body, Message, Method, Query, Response, Want, parse};
use samara_proto::dht::node::{Announce, Ask, Config, Input, Node, Op, Output};
use samara_proto::dht::server::ServerConfig;
use samara_proto::ids::NodeId;
use samara_proto::time::Time;
use samara_proto::tracker::Family;

use super::input;

/// Most bytes of any datagram: the longest item with its signature, and some.
const LONGEST: usize = 1300;
/// Most bytes of an answer without an item (BEP 32), and of an error beside what it echoes.
const MOST: (usize, usize) = (1024, 150);

/// Most time that passes in one run: items live for two hours. A node that knows nobody looks around every second.
const TIME: Duration = Duration::from_secs(3 * 3600);

type Key = (SocketAddr, NodeId);

struct Model {
    node: Node,
    now: Time,
    /// Latest tokens, and when they were given.
    tokens: BTreeMap<Key, Vec<(Time, Vec<u8>)>>,
    /// When each announced last.
    peers: BTreeMap<Key, Time>,
    /// Highest number of each item, and when it was put.
    items: BTreeMap<NodeId, (i64, Time)>,
    open: BTreeSet<Op>,
    /// Questions that the node asked.
    asked: Vec<(SocketAddr, Vec<u8>)>,
    /// Whoever asked it something, and whom it was told of.
    heard_of: BTreeSet<SocketAddr>,
}

/// Runs one input.
pub fn run(data: &[u8]) {
    let mut input = input::Input(data);
    if data.first().is_some_and(|first| first & 1 == 1) {
        return narrow::run(input);
    }
    let server = ServerConfig { queries: 1 << 30, slots: 4, rate: None, ..ServerConfig::default() };
    let config = Config { server, ..Config::new(Family::V4) };
    let now = Time::from_micros(1_000_000);
    let mut model = Model {
        node: Node::new(config, input.long(), now),
        now,
        tokens: BTreeMap::new(),
        peers: BTreeMap::new(),
        items: BTreeMap::new(),
        open: BTreeSet::new(),
        asked: Vec::new(),
        heard_of: BTreeSet::from([addr(200)]),
    };
    model.node.set_bootstrap(now, vec![addr(200)]);
    for _ in 0..300 {
        if input.is_empty() || model.now.since(now) > TIME {
            break;
        }
        model.step(&mut input);
    }
    // Whatever is open ends when nothing more comes.
    model.let_pass(Duration::from_secs(400));
    assert!(model.open.is_empty(), "{:?} never end", model.open);
}

fn addr(n: u8) -> SocketAddr {
    ([40 + (n & 7), 1, n, 1], 1000).into()
}

fn key(n: u8) -> NodeId {
    NodeId([n & 7; 20])
}

fn secret(n: u8) -> [u8; 32] {
    [n & 3; 32]
}

impl Model {
    fn step(&mut self, input: &mut input::Input<'_>) {
        let from = addr(input.byte() & 15);
        match input.byte() % 12 {
            0 => self.let_pass(Duration::from_millis(u64::from(input.short()))),
            1 => self.let_pass(Duration::from_secs(u64::from(input.byte()) * 8)),
            2 => {
                let bytes = input.bytes(usize::from(input.0.first().copied().unwrap_or(0)) * 4);
                self.give(from, bytes);
                one_answer(from, bytes, self.drain());
            }
            3 | 4 => self.get_peers(from, key(input.byte())),
            5 | 6 => self.announce(from, key(input.byte()), input.byte()),
            7 => self.put(from, input.byte(), i64::from(input.byte() & 7)),
            8 => self.start(input),
            9 | 10 => self.answer(input),
            _ => {
                let method = Method::FindNode { target: key(input.byte()) };
                self.ask(from, method);
            }
        }
        let tables = self.node.table();
        assert!(tables.len() <= 16 * 8 * 2 + 160 * 8);
    }

    fn let_pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.node.deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.node.handle(self.now, Input::Timer);
            assert!(self.node.deadline().is_none_or(|next| next > self.now), "time does not pass");
            self.drain();
        }
        self.now = end;
    }

    fn give(&mut self, from: SocketAddr, bytes: &[u8]) {
        self.heard_of.insert(from);
        self.node.handle(self.now, Input::Datagram { from, bytes });
    }

    /// Takes what the node says; returns datagrams that are answers.
    fn drain(&mut self) -> Vec<(SocketAddr, Vec<u8>)> {
        let mut answers = Vec::new();
        while let Some(output) = self.node.poll() {
            match output {
                Output::Send { to, datagram } => {
                    assert!(datagram.len() <= LONGEST, "{} bytes", datagram.len());
                    let message = parse(&datagram).expect("what it says can be read");
                    if matches!(message.body, Body::Query(_)) {
                        assert!(self.heard_of.contains(&to), "nobody named {to}");
                        self.asked.push((to, datagram));
                    } else {
                        answers.push((to, datagram));
                    }
                }
                Output::Done { op, summary } if summary.next.is_none() => {
                    assert!(self.open.remove(&op), "it ends once");
                }
                _ => {}
            }
        }
        let kept = self.asked.len().saturating_sub(64);
        self.asked.drain(..kept);
        answers
    }

    fn ask(&mut self, from: SocketAddr, method: Method<'_>) -> Vec<u8> {
        let query = Query { id: NodeId([9; 20]), want: Want::default(), method };
        let mut bytes = Vec::new();
        let body = Body::Query(query);
        Message { transaction: b"ab", version: None, ip: None, read_only: false, body }.write(&mut bytes);
        self.drain();
        self.give(from, &bytes);
        let answers = self.drain();
        one_answer(from, &bytes, answers).expect("it is answered")
    }

    fn get_peers(&mut self, from: SocketAddr, target: NodeId) {
        let answer = self.ask(from, Method::GetPeers { info_hash: target, noseed: false, scrape: true });
        let response = response(&answer).expect("it is answered");
        let token = response.token.expect("with a token").to_vec();
        self.tokens.entry((from, target)).or_default().push((self.now, token));
        let found: BTreeSet<_> = response.values.into_iter().flat_map(|values| values.iter()).collect();
        let age = |at: &Time| self.now.since(*at);
        for ((peer, torrent), at) in self.peers.iter().filter(|((_, torrent), _)| *torrent == target) {
            let listed = found.contains(&SocketAddr::new(peer.ip(), 7));
            assert!(listed || age(at) >= Duration::from_secs(1800), "{peer} of {torrent} is forgotten");
            assert!(!listed || age(at) <= Duration::from_secs(1800 + 120), "{peer} of {torrent} is a ghost");
        }
        assert!(found.len() <= self.peers.len());
    }

    fn announce(&mut self, from: SocketAddr, target: NodeId, choice: u8) {
        // Its own latest token, an older one, somebody else's, or none that exists.
        let own = self.tokens.get(&(from, target)).cloned().unwrap_or_default();
        let other = self.tokens.values().flatten().nth(usize::from(choice));
        let token = match choice & 3 {
            0 | 1 => own.last().map(|(_, token)| token.clone()),
            2 => own.first().map(|(_, token)| token.clone()),
            _ => other.map(|(_, token)| token.clone()),
        };
        let token = token.unwrap_or_else(|| vec![choice; 8]);
        let good = |(at, t): &&(Time, Vec<u8>), most: u64| {
            *t == token && self.now.since(*at) < Duration::from_secs(most)
        };
        let must = own.iter().any(|t| good(&t, 300));
        let may = own.iter().any(|t| good(&t, 600));
        let method = Method::AnnouncePeer {
            info_hash: target,
            port: 7,
            implied_port: false,
            seed: choice & 8 > 0,
            token: &token,
        };
        let answer = self.ask(from, method);
        let taken = response(&answer).is_some();
        assert!(taken || !must, "a good token is refused");
        assert!(!taken || may, "a bad token is taken");
        if taken {
            self.peers.insert((from, target), self.now);
        }
    }

    fn put(&mut self, from: SocketAddr, who: u8, seq: i64) {
        let value = format!("i{seq}e");
        let item = Item::sign(&secret(who), b"", seq, value.as_bytes()).expect("a good item");
        let target = item.target();
        let answer = self.ask(from, Method::Get { target, seq: None });
        let token = response(&answer).and_then(|r| r.token).expect("with a token").to_vec();
        let before = response(&answer).and_then(|r| r.seq);
        let fresh = |(_, at): &&(i64, Time)| self.now.since(*at) < Duration::from_secs(7200);
        if let Some((known, _)) = self.items.get(&target).filter(fresh) {
            assert_eq!(before, Some(*known), "an item is kept for two hours");
        }
        let mutable = item.mutable().expect("it is signed");
        let value = bencode::parse(item.value(), bencode::Limits::MESSAGE).expect("it is bencoded");
        let answer =
            self.ask(from, Method::Put { token: &token, value, signed: Some(mutable.signed()), cas: None });
        let taken = response(&answer).is_some();
        assert_eq!(taken, before.is_none_or(|before| before <= seq), "only what rises is taken");
        if taken {
            self.items.insert(target, (seq, self.now));
        }
    }

    fn start(&mut self, input: &mut input::Input<'_>) {
        let target = key(input.byte());
        let ask = match input.byte() % 6 {
            0 => Ask::Find { target },
            1 => Ask::Peers { info_hash: target, noseed: false, scrape: true },
            2 => Ask::Get { target, salt: Box::default() },
            3 => Ask::Sample { target },
            4 => {
                let addr = addr(input.byte());
                self.heard_of.insert(addr);
                Ask::Ping { addr }
            }
            _ => {
                let announce = Announce { info_hash: target, port: 1, implied_port: true, seed: false };
                let op = self.node.announce(self.now, announce);
                self.let_pass(Duration::from_secs(1));
                return self.node.cancel(op);
            }
        };
        let op = self.node.start(self.now, ask);
        self.open.insert(op);
        self.let_pass(Duration::ZERO);
    }

    /// Answers one of the node's questions, with whatever the input says.
    fn answer(&mut self, input: &mut input::Input<'_>) {
        if self.asked.is_empty() {
            return;
        }
        let (to, question) = self.asked.swap_remove(input.below(self.asked.len()));
        let transaction = parse(&question).expect("it was read before").transaction.to_vec();
        let mut nodes = Vec::new();
        for _ in 0..input.byte() % 12 {
            let named = [40 + (input.byte() & 7), 1, input.byte(), 1];
            nodes.extend([input.byte(); 20]);
            nodes.extend(named);
            nodes.extend([3, 232]);
            self.heard_of.insert((named, 1000).into());
        }
        let values = [input.byte(); 12];
        let peers = samara_proto::dht::message::Peers::Compact(&values, Family::V4);
        let id = NodeId([input.byte(); 20]);
        let value = bencode::parse(b"i1e", bencode::Limits::MESSAGE).ok();
        let response = Response {
            nodes: Some(&nodes),
            token: Some(b"t"),
            values: Some(peers),
            value,
            ..Response::new(id)
        };
        let us = ([8, 8, 8, input.byte() & 1], 5).into();
        let body =
            if input.byte() > 20 { Body::Response(response) } else { Body::Error { code: 202, text: b"no" } };
        let mut bytes = Vec::new();
        let message =
            Message { transaction: &transaction, version: None, ip: Some(us), read_only: false, body };
        message.write(&mut bytes);
        self.give(to, &bytes);
        self.drain();
    }
}

/// What a datagram was answered with: one datagram at most, to where it came from, that is no longer than it may be.
fn one_answer(from: SocketAddr, question: &[u8], said: Vec<(SocketAddr, Vec<u8>)>) -> Option<Vec<u8>> {
    assert!(said.len() <= 1, "{} answers", said.len());
    let (to, answer) = said.into_iter().next()?;
    assert_eq!(to, from);
    let most = match parse(&answer).expect("an answer can be read").body {
        Body::Query(_) => panic!("it asks back at once"),
        Body::Response(response) if response.value.is_some() => LONGEST,
        Body::Response(_) => MOST.0,
        Body::Error { .. } => MOST.1 + question.len().min(32),
    };
    assert!(answer.len() <= most, "{} bytes for {}", answer.len(), question.len());
    Some(answer)
}

fn response(answer: &[u8]) -> Option<Response<'_>> {
    match parse(answer).expect("an answer can be read").body {
        Body::Response(response) => Some(response),
        _ => None,
    }
}
