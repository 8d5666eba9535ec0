//! Peers that find each other by peer exchange alone, over real sockets; and such as must not.
#![allow(clippy::unwrap_used, reason = "a failure is a failed test")]

mod common;

use std::fs;
use std::sync::Arc;

use common::{Temp, address, config, download, eventually, random};
use samara_engine::{AddTorrent, Client, Config, Limits, Mode, Source, Torrent, TorrentEvent};
use samara_proto::bencode::write_dict;
use samara_proto::metainfo::{Info, Metainfo};
use sha1::{Digest, Sha1};

const PIECE: usize = 16 * 1024;

fn torrent(data: &[u8], private: bool) -> Metainfo {
    let pieces: Vec<u8> = data.chunks(PIECE).flat_map(|p| Sha1::digest(p).to_vec()).collect();
    let mut raw = Vec::new();
    write_dict(&mut raw, |d| {
        d.int("length", data.len() as i64);
        d.bytes("name", "x");
        d.int("piece length", PIECE as i64);
        d.bytes("pieces", &pieces);
        if private {
            d.int("private", 1);
        }
    });
    Metainfo::new(Arc::new(Info::parse(raw.into()).unwrap()), Default::default())
}

/// A seed that takes its time, and two who know only it.
struct Three {
    clients: Vec<Client>,
    torrents: Vec<Torrent>,
    /// Kept so that the files stay.
    _temp: Temp,
}

impl Three {
    async fn start(listen: &str, rate: u64, private: bool, pex: bool) -> Self {
        let temp = Temp::new("pex");
        let data = random(1, 40 * PIECE);
        fs::write(temp.join("from").join("x"), &data).unwrap();
        let metainfo = torrent(&data, private);
        let mut three = Self { clients: Vec::new(), torrents: Vec::new(), _temp: temp };
        let mut seed = download(&metainfo, &three._temp.join("from"), &[]);
        (seed.mode, seed.limits) = (Mode::Seed, Limits { up: Some(rate), down: None });
        three.add(listen, pex, seed).await;
        let known = address(&three.clients[0]);
        for n in 0..2 {
            let add = download(&metainfo, &three._temp.join(&format!("to{n}")), &[known]);
            three.add(listen, pex, add).await;
        }
        three
    }

    async fn add(&mut self, listen: &str, pex: bool, add: AddTorrent) {
        let listen = vec![listen.parse().unwrap()];
        let client = Client::start(Config { listen, pex, ..config() }).await.unwrap();
        self.torrents.push(client.add(add).await.unwrap());
        self.clients.push(client);
    }

    /// Which of the two called the other.
    async fn caller(&self) -> Option<&Torrent> {
        for (caller, called) in [(1, 2), (2, 1)] {
            let called = address(&self.clients[called]);
            if self.torrents[caller].peers().await.iter().any(|peer| peer.addr == called) {
                return Some(&self.torrents[caller]);
            }
        }
        None
    }

    async fn end(self) {
        for client in self.clients {
            client.shutdown().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_who_know_one_third_find_each_other() {
    for listen in ["127.0.0.1:0", "[::1]:0"] {
        let three = Three::start(listen, 20_000, false, true).await;
        eventually("they meet", async || three.caller().await.is_some()).await;
        let sources = three.caller().await.unwrap().snapshot().await.unwrap().sources;
        assert!(sources.of(Source::Pex) == 1, "{sources:?}");
        three.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn not_if_the_torrent_is_private_or_it_is_switched_off() {
    for (private, pex) in [(true, true), (false, false)] {
        let mut three = Three::start("127.0.0.1:0", 800_000, private, pex).await;
        let seed = address(&three.clients[0]);
        let mut met = Vec::new();
        common::until(&mut three.torrents[2], |event| {
            if let TorrentEvent::Peer { addr, .. } = event {
                met.push(*addr);
            }
            matches!(event, TorrentEvent::Complete { .. })
        })
        .await;
        assert!(!met.is_empty() && met.iter().all(|addr| *addr == seed), "{met:?}");
        three.end().await;
    }
}
