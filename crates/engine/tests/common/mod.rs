//! What the engine's tests share: folders that go away, torrents, clients on loopback, and peers made by hand.
#![allow(dead_code, clippy::unwrap_used, reason = "each test uses its own part; a failure is a failed test")]

pub(crate) mod raw;
pub(crate) mod stage;
pub(crate) mod tracker;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use samara_engine::hash::{HashJob, Want, hash_files};
use samara_engine::{AddSource, AddTorrent, Client, Config, Mode, Torrent, TorrentEvent};
use samara_proto::bencode::write_dict;
use samara_proto::layout::Layout;
use samara_proto::metainfo::{Attr, FilePath, Format, Info, InfoBuilder, Metainfo, NewFile};
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
    written(name, data, piece_length, false)
}

/// A torrent of some bytes, which are in `dir`.
pub(crate) fn shared(dir: &Path, seed: u64) -> Metainfo {
    put(dir, seed, false)
}

/// The same, private (BEP 27).
pub(crate) fn shared_privately(dir: &Path, seed: u64) -> Metainfo {
    put(dir, seed, true)
}

fn put(dir: &Path, seed: u64, private: bool) -> Metainfo {
    let (name, data) = (format!("data{seed}.bin"), random(seed, 100_000));
    fs::write(dir.join(&name), &data).unwrap();
    written(&name, &data, 16_384, private)
}

fn written(name: &str, data: &[u8], piece_length: usize, private: bool) -> Metainfo {
    let pieces: Vec<u8> = data.chunks(piece_length).flat_map(|p| Sha1::digest(p).to_vec()).collect();
    let mut raw = Vec::new();
    write_dict(&mut raw, |d| {
        d.int("length", data.len() as i64);
        d.bytes("name", name);
        d.int("piece length", piece_length as i64);
        d.bytes("pieces", &pieces);
        if private {
            d.int("private", 1);
        }
    });
    Metainfo::new(Arc::new(Info::parse(raw.into()).unwrap()), Default::default())
}

/// Writes files of random bytes below `dir`, `t/` first if there is more than one, and makes a torrent of them.
pub(crate) fn make(dir: &Path, format: Format, files: &[(&str, usize)], piece_length: u32) -> Metainfo {
    let single_file = files.len() == 1;
    let name = if single_file { files[0].0 } else { "t" };
    let root = if single_file { dir.to_owned() } else { dir.join(name) };
    for (seed, (path, len)) in (100..).zip(files) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, random(seed, *len)).unwrap();
    }
    let new = |(path, len): &(&str, usize)| NewFile {
        path: FilePath::new(path.split('/')),
        length: *len as u64,
        attr: Attr::default(),
        symlink: None,
    };
    let files = files.iter().map(new).collect();
    let (name, private, source) = (name.to_owned(), false, None);
    let plan = InfoBuilder { name, files, piece_length, format, private, source, single_file };
    let plan = plan.plan().unwrap();
    let lens = plan.files().iter().map(|file| (file.length, file.attr.pad));
    let layout = Layout::new(piece_length, lens, format == Format::V2).unwrap();
    let path = |file: &FilePath| root.join(file.components().collect::<PathBuf>());
    let paths: Vec<_> = plan.files().iter().map(|f| (!f.attr.pad).then(|| path(&f.path))).collect();
    let (want, cancel) = (Want::of(format), AtomicBool::new(false));
    let job =
        HashJob { paths: &paths, layout: &layout, want, threads: 1, progress: &|_| {}, cancel: &cancel };
    let hashes = hash_files(&job).unwrap();
    let (info, layers) = plan.finish(hashes).unwrap();
    Metainfo::new(Arc::new(info), layers)
}

/// All files below `dir` with their bytes, by path relative to it.
pub(crate) fn tree(dir: &Path) -> std::collections::BTreeMap<PathBuf, Vec<u8>> {
    let mut found = std::collections::BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            match entry.file_type().unwrap().is_dir() {
                true => folders.push(entry.path()),
                false => {
                    let path = entry.path().strip_prefix(dir).unwrap().to_owned();
                    found.insert(path, fs::read(entry.path()).unwrap());
                }
            }
        }
    }
    found
}

/// What to add to download `metainfo` into `dir` from these peers.
pub(crate) fn download(metainfo: &Metainfo, dir: &Path, peers: &[SocketAddr]) -> AddTorrent {
    let mut add = AddTorrent::new(AddSource::Metainfo(Box::new(metainfo.clone())), dir);
    add.peers = peers.to_vec();
    add
}

pub(crate) fn config() -> Config {
    Config { listen: vec!["127.0.0.1:0".parse().unwrap()], ..Config::default() }
}

pub(crate) async fn client(state: Option<&Path>) -> Client {
    Client::start(Config { state_dir: state.map(Path::to_owned), ..config() }).await.unwrap()
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

/// Looks again and again until something is so.
pub(crate) async fn eventually(what: &str, holds: impl AsyncFn() -> bool) {
    let look = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(LIMIT, look).await.unwrap_or_else(|_| panic!("in time: {what}"));
}

/// The reason for which the torrent fails, which it does, and then ends.
pub(crate) async fn failure(torrent: &mut Torrent) -> String {
    let wait = async {
        let mut why = None;
        while let Some(event) = torrent.next_event().await {
            match event {
                TorrentEvent::Failed(text) => why = Some(text),
                TorrentEvent::Complete { .. } => panic!("it completed"),
                _ => {}
            }
        }
        why.expect("it fails before it ends")
    };
    tokio::time::timeout(LIMIT, wait).await.expect("it ends in time")
}
