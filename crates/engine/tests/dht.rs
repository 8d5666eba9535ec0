//! The DHT over real sockets: nodes on loopback addresses that find each other, peers and items.
#![allow(clippy::unwrap_used, reason = "a failure is a failed test")]

mod common;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use common::{Temp, complete, eventually, random, torrent};
use samara_engine::dht::{Answer, Dht, DhtConfig};
use samara_engine::{AddSource, AddTorrent, Client, Config, Mode, Torrent};
use samara_proto::dht::item::Item;
use samara_proto::dht::node::{Announce, Ask};
use samara_proto::ids::NodeId;
use samara_proto::metainfo::Metainfo;

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

/// A torrent with its data in `dir`.
fn make(dir: &Path, seed: u64) -> Metainfo {
    let (name, data) = (format!("data{seed}.bin"), random(seed, 100_000));
    fs::write(dir.join(&name), &data).unwrap();
    torrent(&name, &data, 16_384)
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
    while dht.stats().await.nodes.iter().all(|node| !node.joined || node.contacts < others) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
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
        let metainfo = make(&temp.join("from"), 1);
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
    let [one, two, three] = [1, 2, 3].map(|seed| make(&from, seed));
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
