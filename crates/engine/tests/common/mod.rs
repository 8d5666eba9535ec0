//! What the engine's tests share: folders that go away, torrents, and clients on loopback.
#![allow(dead_code, clippy::unwrap_used, reason = "each test uses its own part; a failure is a failed test")]

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use samara_engine::{AddSource, AddTorrent, Client, Config, Mode, Torrent, TorrentEvent};
use samara_proto::bencode::write_dict;
use samara_proto::metainfo::{Info, Metainfo};
use samara_proto::rng::Rng;
use sha1::{Digest, Sha1};

/// Nothing on loopback takes longer, even on a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// A folder that goes away with the test.
pub(crate) struct Temp(pub(crate) PathBuf);

impl Temp {
    pub(crate) fn new(name: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("samara-engine-{}-{n}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(&path).unwrap();
        path
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn random(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    Rng::new(seed).fill(&mut bytes);
    bytes
}

/// A v1 torrent of one file, written by hand so that the tests stand on nothing they test.
pub(crate) fn torrent(name: &str, data: &[u8], piece_length: usize) -> Metainfo {
    let pieces: Vec<u8> = data.chunks(piece_length).flat_map(|p| Sha1::digest(p).to_vec()).collect();
    let mut raw = Vec::new();
    write_dict(&mut raw, |d| {
        d.int("length", data.len() as i64);
        d.bytes("name", name);
        d.int("piece length", piece_length as i64);
        d.bytes("pieces", &pieces);
    });
    Metainfo::new(Arc::new(Info::parse(raw.into()).unwrap()), Default::default())
}

pub(crate) async fn client(state: Option<&Path>) -> Client {
    let config = Config {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        state_dir: state.map(Path::to_owned),
        ..Config::default()
    };
    Client::start(config).await.unwrap()
}

pub(crate) fn address(client: &Client) -> SocketAddr {
    client.listening()[0]
}

/// A client that seeds `metainfo` from `dir`, started.
pub(crate) async fn seed(metainfo: &Metainfo, dir: &Path) -> (Client, Torrent) {
    let client = client(None).await;
    let mut add = AddTorrent::new(AddSource::Metainfo(Box::new(metainfo.clone())), dir);
    add.mode = Mode::Seed;
    let mut torrent = client.add(add).await.unwrap();
    until(&mut torrent, |e| matches!(e, TorrentEvent::Started)).await;
    (client, torrent)
}

/// Waits for an event; an error of the torrent fails the test.
pub(crate) async fn until(
    torrent: &mut Torrent,
    mut wanted: impl FnMut(&TorrentEvent) -> bool,
) -> TorrentEvent {
    let wait = async {
        loop {
            match torrent.next_event().await {
                Some(event) if wanted(&event) => return event,
                Some(TorrentEvent::Failed(why)) => panic!("the torrent failed: {why}"),
                Some(_) => {}
                None => panic!("the torrent ended"),
            }
        }
    };
    tokio::time::timeout(LIMIT, wait).await.expect("the event comes in time")
}

pub(crate) async fn complete(torrent: &mut Torrent) {
    until(torrent, |e| matches!(e, TorrentEvent::Complete { .. })).await;
}
