//! A download with nobody to fetch from yet: for tests in which somebody bad comes first and somebody good later.
#![allow(dead_code, clippy::unwrap_used, reason = "each test uses its own part; a failure is a failed test")]

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use samara_engine::{Client, Config, PeerState, Torrent, TorrentEvent};
use samara_proto::ids::WireHash;
use samara_proto::metainfo::{Format, Metainfo};
use samara_proto::peer::Departure;

use super::raw::Raw;
use super::{Temp, address, client, config, download, random, torrent, until};

pub(crate) const PIECE: usize = 64 * 1024;

/// A client that downloads, and what a good peer needs to feed it.
pub(crate) struct Stage {
    pub(crate) temp: Temp,
    pub(crate) data: Vec<u8>,
    pub(crate) metainfo: Metainfo,
    pub(crate) leech: Client,
    pub(crate) fetched: Torrent,
    from: PathBuf,
    to: PathBuf,
    seeders: Vec<Client>,
}

impl Stage {
    pub(crate) async fn new(name: &str) -> Self {
        Self::with(name, 2_000_001, config(), &[]).await
    }

    /// `len` bytes to be fetched by a client with `config` that knows `peers`.
    pub(crate) async fn with(name: &str, len: usize, config: Config, peers: &[SocketAddr]) -> Self {
        let temp = Temp::new(name);
        let data = random(1, len);
        fs::write(temp.join("from").join("data.bin"), &data).unwrap();
        let metainfo = torrent("data.bin", &data, PIECE);
        Self::set(temp, data, metainfo, config, peers).await
    }

    /// A torrent of this format.
    pub(crate) async fn of(name: &str, format: Format) -> Self {
        let temp = Temp::new(name);
        let from = temp.join("from");
        let metainfo = super::make(&from, format, &[("data.bin", 2_000_001)], PIECE as u32);
        let data = fs::read(from.join("data.bin")).unwrap();
        Self::set(temp, data, metainfo, config(), &[]).await
    }

    async fn set(
        temp: Temp,
        data: Vec<u8>,
        metainfo: Metainfo,
        config: Config,
        peers: &[SocketAddr],
    ) -> Self {
        let (from, to) = (temp.join("from"), temp.join("to"));
        let leech = Client::start(config).await.unwrap();
        let mut fetched = leech.add(download(&metainfo, &to, peers)).await.unwrap();
        until(&mut fetched, |e| matches!(e, TorrentEvent::Started)).await;
        Self { temp, data, metainfo, leech, fetched, from, to, seeders: Vec::new() }
    }

    pub(crate) fn hash(&self) -> WireHash {
        self.metainfo.info.hashes().primary()
    }

    /// A peer made by hand that connected to the download, whom the download knows.
    pub(crate) async fn raw(&mut self) -> Raw {
        let raw = Raw::greeted(address(&self.leech), self.hash()).await;
        let addr = raw.addr();
        let joined = |e: &TorrentEvent| matches!(e, TorrentEvent::Peer { addr: a, state: PeerState::Connected, .. } if *a == addr);
        until(&mut self.fetched, joined).await;
        raw
    }

    /// A good peer connects to the download.
    pub(crate) async fn help(&mut self) {
        let seeder = client(None).await;
        let mut add = download(&self.metainfo, &self.from, &[address(&self.leech)]);
        add.mode = samara_engine::Mode::Seed;
        seeder.add(add).await.unwrap();
        self.seeders.push(seeder);
    }

    /// Why the peer at `addr` went, which it does sooner or later.
    pub(crate) async fn departure(&mut self, addr: SocketAddr) -> Departure {
        let mut why = None;
        until(&mut self.fetched, |e| {
            if let TorrentEvent::Peer { addr: a, state: PeerState::Gone, reason, .. } = e
                && *a == addr
            {
                why = *reason;
            }
            why.is_some()
        })
        .await;
        why.unwrap()
    }

    /// Waits for the download, and looks whether everything is there and nothing is left behind.
    pub(crate) async fn finish(mut self) {
        let whole = async || self.fetched.snapshot().await.unwrap().done == self.data.len() as u64;
        if !whole().await {
            super::complete(&mut self.fetched).await;
        }
        super::eventually("the data is in its file", async || self.to.join("data.bin").exists()).await;
        assert!(fs::read(self.to.join("data.bin")).unwrap() == self.data);
        super::eventually("all memory is given back", async || self.leech.memory().down == 0).await;
        self.leech.shutdown().await;
        for seeder in self.seeders {
            seeder.shutdown().await;
        }
    }
}
