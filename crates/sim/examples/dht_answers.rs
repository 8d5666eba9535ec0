//! How many questions a DHT node answers in a second of one core: a mix as in mainline, parsed, answered and written.
//!
//! `cargo run --release -p samara-sim --example dht_answers`

use std::hint::black_box;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use samara_proto::dht::message::{Body, Message, Method, Query, Want, parse};
use samara_proto::dht::node::{Config, Input, Node, Output};
use samara_proto::dht::server::ServerConfig;
use samara_proto::ids::NodeId;
use samara_proto::rng::Rng;
use samara_proto::time::Time;
use samara_proto::tracker::Family;

/// Askers; each gets the node's usual rate.
const ASKERS: u32 = 20_000;
const TORRENTS: u64 = 2000;

fn main() {
    let mut rng = Rng::new(1);
    let server = ServerConfig { rate: None, queries: 1_000_000, ..ServerConfig::default() };
    let mut node = Node::new(Config { server, ..Config::new(Family::V4) }, 1, Time::ZERO);
    let torrents: Vec<NodeId> = (0..TORRENTS).map(|_| NodeId::random(&mut rng)).collect();
    fill_table(&mut node);
    fill_store(&mut node, &torrents);
    println!(
        "{} nodes known, {} peers of {} torrents kept",
        node.table().len(),
        node.server().peers().len(),
        node.server().peers().torrents()
    );
    for (name, find, get) in [("mixed", 30, 60), ("find_node", 100, 0), ("get_peers", 0, 100)] {
        let questions: Vec<_> = (0..50_000).map(|_| question(&mut rng, &torrents, find, get)).collect();
        let began = Instant::now();
        let mut answered = 0u32;
        for (n, (from, bytes)) in questions.iter().enumerate() {
            let now = Time::from_micros(60_000_000 + n as u64);
            node.handle(now, Input::Datagram { from: *from, bytes });
            while let Some(output) = node.poll() {
                answered += u32::from(matches!(output, Output::Send { to, .. } if to == *from));
                black_box(&output);
            }
        }
        let took = began.elapsed();
        println!("{name}: {answered} answers, {:.0} a second", f64::from(answered) / took.as_secs_f64());
    }
}

fn asker(n: u32) -> SocketAddr {
    (std::net::Ipv4Addr::from_bits(0x2000_0000 + n * 300), 1000 + (n % 1000) as u16).into()
}

/// Lets the node find a few hundred others, by answering whatever it asks.
fn fill_table(node: &mut Node) {
    let mut now = Time::ZERO;
    (0..250).for_each(|n| node.hint(now, asker(100_000 + n)));
    for _ in 0..2000 {
        now = now.max(node.deadline().unwrap_or(now));
        node.handle(now, Input::Timer);
        while let Some(output) = node.poll() {
            let Output::Send { to, datagram } = output else { continue };
            let transaction = parse(&datagram).map(|m| m.transaction.to_vec()).unwrap_or_default();
            let id = NodeId::for_address(to.ip(), &mut Rng::new(u64::from(to.port())));
            let body = Body::Response(samara_proto::dht::message::Response::new(id));
            let mut bytes = Vec::new();
            Message { transaction: &transaction, version: None, ip: None, read_only: false, body }
                .write(&mut bytes);
            node.handle(now + Duration::from_millis(20), Input::Datagram { from: to, bytes: &bytes });
        }
    }
}

fn fill_store(node: &mut Node, torrents: &[NodeId]) {
    let now = Time::from_micros(50_000_000);
    for n in 0..ASKERS {
        let (from, info_hash) = (asker(n), torrents[n as usize % torrents.len()]);
        let mut ask = |method| {
            let (_, bytes) = encode(from, method);
            node.handle(now, Input::Datagram { from, bytes: &bytes });
            let mut answer = Vec::new();
            while let Some(output) = node.poll() {
                if let Output::Send { to, datagram } = output
                    && to == from
                {
                    answer = datagram;
                }
            }
            answer
        };
        let answer = ask(Method::GetPeers { info_hash, noseed: false, scrape: false });
        let Ok(Message { body: Body::Response(response), .. }) = parse(&answer) else { continue };
        let token = response.token.unwrap_or_default();
        ask(Method::AnnouncePeer { info_hash, port: 1, implied_port: true, seed: false, token });
    }
}

fn question(rng: &mut Rng, torrents: &[NodeId], find: u64, get: u64) -> (SocketAddr, Vec<u8>) {
    let from = asker(rng.below(u64::from(ASKERS)) as u32);
    let torrent = torrents[rng.index(torrents.len())];
    let target = if rng.below(2) == 0 { torrent } else { NodeId::random(rng) };
    match rng.below(100) {
        n if n < find => encode(from, Method::FindNode { target }),
        n if n < find + get => {
            encode(from, Method::GetPeers { info_hash: target, noseed: false, scrape: false })
        }
        _ => encode(from, Method::Ping),
    }
}

fn encode(from: SocketAddr, method: Method<'_>) -> (SocketAddr, Vec<u8>) {
    let id = NodeId::for_address(from.ip(), &mut Rng::new(7));
    let body = Body::Query(Query { id, want: Want::default(), method });
    let mut bytes = Vec::new();
    Message { transaction: b"aaaa", version: Some(b"SA01"), ip: None, read_only: false, body }
        .write(&mut bytes);
    (from, bytes)
}
