//! The DHT over real sockets: nodes on loopback addresses that find each other, peers and items.
#![allow(clippy::unwrap_used, reason = "a failure is a failed test")]

mod common;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::raw::{Raw, handshake};
use common::{LIMIT, Temp, address, complete, eventually, shared, shared_privately};
use samara_engine::dht::{Answer, Dht, DhtConfig};
use samara_engine::{AddSource, AddTorrent, Client, Config, Mode, Torrent, TorrentEvent};
use samara_proto::bencode::write_dict;
use samara_proto::dht::item::Item;
use samara_proto::dht::message::{Body, parse};
use samara_proto::dht::node::{Announce, Ask};
use samara_proto::ids::{NodeId, WireHash};
use samara_proto::metainfo::Metainfo;
use samara_proto::wire::Message;
use tokio::io::AsyncReadExt;
use tokio::net::UdpSocket;

/// A node at `ip` that knows `others`.
async fn node(ip: &str, others: &[&Dht]) -> Dht {
    Dht::start(&[at(ip)], None, config(others)).await.unwrap()
}

fn config(others: &[&Dht]) -> DhtConfig {
    let all = others.iter().flat_map(|dht| dht.listening());
    enter(&all.copied().collect::<Vec<_>>())
}

fn enter(at: &[SocketAddr]) -> DhtConfig {
    let bootstrap = at.iter().map(|addr| addr.to_string().parse().unwrap()).collect();
    DhtConfig { bootstrap, ..DhtConfig::default() }
}

/// A port of `ip` that the system picks.
fn at(ip: &str) -> SocketAddr {
    format!("{ip}:0").parse().unwrap()
}

/// A client that finds peers by the DHT alone.
async fn client(at: SocketAddr, dht: DhtConfig, state: Option<&Path>) -> Client {
    let listen = vec![at];
    let state_dir = state.map(Path::to_owned);
    let client =
        Client::start(Config { listen, state_dir, dht: Some(dht), ..Config::default() }).await.unwrap();
    assert!(client.dht_problems().is_empty());
    client
}

async fn seed(client: &Client, metainfo: &Metainfo, dir: &Path) -> Torrent {
    let add = AddTorrent::new(AddSource::Metainfo(Box::new(metainfo.clone())), dir);
    client.add(AddTorrent { mode: Mode::Seed, ..add }).await.unwrap()
}

/// Fetches a torrent of which nothing but its hash is known.
async fn fetch(client: &Client, metainfo: &Metainfo, dir: &Path) {
    let source = AddSource::Magnet { hashes: metainfo.info.hashes(), name: None };
    let mut torrent = client.add(AddTorrent::new(source, dir)).await.unwrap();
    complete(&mut torrent).await;
    let name = metainfo.info.name();
    assert_eq!(fs::read(dir.join(name)).unwrap().len() as u64, metainfo.info.total_size());
}

/// Waits until a node keeps peers of so many torrents.
async fn holds(dht: &Dht, torrents: usize) {
    let enough = async || dht.stats().await.nodes.iter().any(|node| node.torrents >= torrents);
    eventually("torrents are announced", enough).await;
}

/// Waits until a node knows so many others.
async fn knows(dht: &Dht, others: usize) {
    let enough = async || dht.stats().await.nodes.iter().any(|node| node.joined && node.contacts >= others);
    eventually("others are known", enough).await;
}

fn announce(port: u16) -> Announce {
    Announce { info_hash: NodeId([7; 20]), port, implied_port: false, seed: true }
}

#[tokio::test]
async fn nodes_answer_pings_and_nobody_else_does() {
    let a = node("127.0.0.1", &[]).await;
    let b = Dht::start(&[], None, config(&[])).await.unwrap();
    let at = a.listening()[0];
    let (contact, took) = b.ping(at).await.unwrap();
    assert_eq!((contact.addr, contact.id), (at, a.stats().await.nodes[0].id));
    assert!(took > Duration::ZERO);
    a.shutdown().await;
    assert_eq!(b.ping(at).await, None);
    assert!(b.stats().await.nodes.iter().all(|node| node.read_only));
}

#[tokio::test]
async fn peers_and_items_are_found_by_those_who_know_one_node() {
    for ips in [["127.0.0.1", "127.1.0.2", "127.2.0.3", "127.3.0.4"], ["[::1]"; 4]] {
        let first = node(ips[0], &[]).await;
        let (a, b, c) =
            (node(ips[1], &[&first]).await, node(ips[2], &[&first]).await, node(ips[3], &[&first]).await);
        knows(&first, 3).await;
        let mut announced = a.announce(announce(4321)).await;
        let Some(Answer::Done { summary, .. }) = announced.next().await else { panic!() };
        assert!(summary.stored > 0 && summary.next.is_some(), "{summary:?}");
        let found = b.ask(Ask::Peers { info_hash: NodeId([7; 20]), noseed: false, scrape: true }).await;
        let found = found.finish().await;
        let ip = a.listening()[0].ip();
        assert_eq!(found.peers, [SocketAddr::new(ip, 4321)]);
        assert_eq!(found.runs[0].1.scrape, Some((1, 0)));

        let item = Item::immutable(b"5:hello").unwrap();
        let put = c.ask(Ask::Put { item: item.clone(), cas: None }).await.finish().await;
        assert!(put.runs[0].1.stored > 0);
        let target = item.target();
        let got = a.ask(Ask::Get { target, salt: Box::default() }).await.finish().await;
        assert_eq!(got.item, Some(item));
        let found = a.ask(Ask::Find { target }).await.finish().await;
        assert!(found.runs[0].1.closest.len() >= 3);
        let sampled = c.ask(Ask::Sample { target }).await.finish().await;
        assert!(sampled.samples.iter().any(|(_, hashes)| hashes.contains(&NodeId([7; 20]))));
    }
}

#[tokio::test]
async fn who_knows_a_hash_and_one_node_gets_the_torrent() {
    for [first, from, to] in [["127.0.0.9", "127.1.0.1", "127.2.0.2"], ["[::1]"; 3]] {
        let temp = Temp::new("hash");
        let metainfo = shared(&temp.join("from"), 1);
        let first = node(first, &[]).await;
        let (seeder, leecher) =
            (client(at(from), config(&[&first]), None).await, client(at(to), config(&[&first]), None).await);
        let _shared = seed(&seeder, &metainfo, &temp.join("from")).await;
        holds(&first, 1).await;
        fetch(&leecher, &metainfo, &temp.join("to")).await;
        leecher.shutdown().await;
        seeder.shutdown().await;
    }
}

#[tokio::test]
async fn the_network_outlives_the_node_it_was_entered_at() {
    let temp = Temp::new("outlives");
    let (from, state) = (temp.join("from"), temp.join("state"));
    let [one, two, three] = [1, 2, 3].map(|seed| shared(&from, seed));
    let first = node("127.0.0.9", &[]).await;
    let seeder = client(at("127.1.0.1"), config(&[&first]), None).await;
    let _shared = seed(&seeder, &one, &from).await;
    holds(&first, 1).await;
    let leecher = client(at("127.2.0.2"), config(&[&first]), Some(&state)).await;
    for client in [&seeder, &leecher] {
        let known = async || client.dht().unwrap().stats().await.nodes[0].contacts == 2;
        eventually("the others are known", known).await;
    }
    first.shutdown().await;
    let _shared = seed(&seeder, &two, &from).await;
    holds(leecher.dht().unwrap(), 1).await;
    fetch(&leecher, &two, &temp.join("to")).await;

    // What it knows is kept, and is enough to come back without help.
    let (at, id) = (leecher.listening()[0], leecher.dht().unwrap().stats().await.nodes[0].id);
    leecher.shutdown().await;
    let leecher = client(at, config(&[]), Some(&state)).await;
    let joined = async || leecher.dht().unwrap().stats().await.nodes[0].joined;
    eventually("it is back", joined).await;
    let _shared = seed(&seeder, &three, &from).await;
    holds(leecher.dht().unwrap(), 1).await;
    fetch(&leecher, &three, &temp.join("again")).await;
    assert_eq!(leecher.dht().unwrap().stats().await.nodes[0].id, id);
    leecher.shutdown().await;
    seeder.shutdown().await;
}

/// A node that keeps every datagram, and says that it knows nobody.
struct Spy {
    at: SocketAddr,
    seen: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Spy {
    async fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.9:0").await.unwrap();
        let (at, seen) = (socket.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
        tokio::spawn(Self::run(socket, Arc::clone(&seen)));
        Self { at, seen }
    }

    async fn run(socket: UdpSocket, seen: Arc<Mutex<Vec<Vec<u8>>>>) {
        let mut buffer = [0; 2048];
        while let Ok((len, from)) = socket.recv_from(&mut buffer).await {
            let bytes = &buffer[..len];
            seen.lock().unwrap().push(bytes.to_vec());
            let Ok(message) = parse(bytes) else { continue };
            if matches!(message.body, Body::Query(_)) {
                let _ = socket.send_to(&answer(message.transaction), from).await;
            }
        }
    }

    /// Whether something came in which all of these stand.
    fn saw(&self, parts: &[&[u8]]) -> bool {
        let has = |bytes: &Vec<u8>, part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
        self.seen.lock().unwrap().iter().any(|bytes| parts.iter().all(|part| has(bytes, part)))
    }
}

fn answer(transaction: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_dict(&mut bytes, |d| {
        d.dict("r", |r| {
            r.bytes("id", [9; 20]);
            r.bytes("token", b"tk");
        });
        d.bytes("t", transaction);
        d.bytes("y", b"r");
    });
    bytes
}

/// Says that we have a DHT node; whether the other side says so too.
async fn offers_dht(client: &Client, hash: WireHash) -> (Raw, bool) {
    let (mut raw, mut ours, mut theirs) = (Raw::connect(address(client)).await, handshake(hash), [0; 68]);
    ours[27] |= 1;
    raw.write(&ours).await;
    tokio::time::timeout(LIMIT, raw.stream.read_exact(&mut theirs)).await.unwrap().unwrap();
    (raw, theirs[27] & 1 == 1)
}

#[tokio::test]
async fn nothing_of_a_private_torrent_is_said_to_the_dht_nor_of_the_dht_to_its_peers() {
    let temp = Temp::new("private");
    let dir = temp.join("from");
    let (mut private, public) = (shared_privately(&dir, 9), shared(&dir, 1));
    private.nodes = vec![("127.0.0.9".into(), 9)];
    let spy = Spy::start().await;
    let client = client(at("127.1.0.1"), enter(&[spy.at]), None).await;
    let hash = |metainfo: &Metainfo| metainfo.info.hashes().primary();
    let (of_private, of_public) = (hash(&private), hash(&public));
    let mut kept = vec![seed(&client, &private, &dir).await];
    for torrent in &mut kept {
        common::until(torrent, |event| matches!(event, TorrentEvent::Started)).await;
    }
    kept.push(seed(&client, &public, &dir).await);
    let announced = async || spy.saw(&[b"13:announce_peer", &of_public.0]);
    eventually("the public one is announced", announced).await;
    assert!(!spy.saw(&[&of_private.0]));

    let (_raw, offered) = offers_dht(&client, of_private).await;
    assert!(!offered);
    let (mut raw, offered) = offers_dht(&client, of_public).await;
    assert!(offered);
    let port = loop {
        let message = raw.message().await.unwrap();
        if let [9, high, low] = message[..] {
            break u16::from_be_bytes([high, low]);
        }
    };
    assert_eq!(port, address(&client).port());
    client.shutdown().await;
    assert!(!spy.saw(&[&of_private.0]));
}

#[tokio::test]
async fn a_peer_is_a_way_into_the_dht() {
    let temp = Temp::new("port");
    let dir = temp.join("from");
    let (metainfo, spy) = (shared(&dir, 1), Spy::start().await);
    // It calls the spy, who is at the same address as the peer that says so.
    let client = client(at("127.0.0.9"), enter(&[]), None).await;
    let _kept = seed(&client, &metainfo, &dir).await;
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(spy.at.ip(), 0)).unwrap();
    let stream = socket.connect(address(&client)).await.unwrap();
    let mut raw = Raw { stream };
    let hash = metainfo.info.hashes().primary();
    raw.write(&handshake(hash)).await;
    assert!(raw.read_handshake().await);
    raw.send(Message::Port(spy.at.port())).await;
    eventually("the torrent is announced", async || spy.saw(&[b"13:announce_peer", &hash.0])).await;
    client.shutdown().await;
}
