//! The DHT over real sockets: nodes on loopback addresses that find each other, peers and items.
#![allow(clippy::unwrap_used, reason = "a failure is a failed test")]

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use samara_engine::dht::{Answer, Dht, DhtConfig};
use samara_proto::dht::item::Item;
use samara_proto::dht::node::{Announce, Ask};
use samara_proto::ids::NodeId;

/// A node at `ip` that knows `others`.
async fn node(ip: &str, others: &[&Dht]) -> Dht {
    let listen: SocketAddr = format!("{ip}:0").parse().unwrap();
    Dht::start(&[listen], None, config(others)).await.unwrap()
}

fn config(others: &[&Dht]) -> DhtConfig {
    let bootstrap = others.iter().flat_map(|dht| dht.listening());
    DhtConfig {
        bootstrap: bootstrap.map(|addr| addr.to_string().parse().unwrap()).collect(),
        ..DhtConfig::default()
    }
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
