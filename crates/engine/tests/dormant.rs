//! Torrents that rest while nothing goes on: what they cost, and that nobody notices.
#![allow(clippy::unwrap_used, reason = "a failure is a failed test")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use common::raw::{Raw, handshake};
use common::{Temp, address, client, complete, config, download, eventually, random, torrent, until};
use samara_engine::{
    AddError, AddSource, AddTorrent, Client, Config, Mode, PeerState, ShareEvent, State, Torrent,
    TorrentEvent,
};
use samara_proto::ids::{Block, PieceIndex};
use samara_proto::metainfo::Metainfo;
use samara_proto::wire::Message;

const PIECE: usize = 16_384;

/// So soon that a test need not wait, so late that the torrent does something first.
const REST: Duration = Duration::from_millis(20);

async fn resting(rest_after: Duration, state: Option<&Path>) -> Client {
    Client::start(Config { rest_after, state_dir: state.map(Path::to_owned), ..config() }).await.unwrap()
}

/// Torrents of one file each, with their data in `dir` and their `.torrent` files in `torrents`.
struct Library {
    temp: Temp,
    all: Vec<Metainfo>,
}

impl Library {
    fn new(name: &str, count: usize, len: usize) -> Self {
        let temp = Temp::new(name);
        let make = |n: usize| {
            let (name, data) = (format!("f{n:03}"), random(n as u64, len));
            fs::write(temp.join("data").join(&name), &data).unwrap();
            let metainfo = torrent(&name, &data, PIECE);
            fs::write(temp.join("torrents").join(format!("{name}.torrent")), metainfo.to_bytes()).unwrap();
            metainfo
        };
        let all = (0..count).map(make).collect();
        Self { temp, all }
    }

    fn data(&self, n: usize) -> PathBuf {
        self.temp.join("data").join(format!("f{n:03}"))
    }

    fn file(&self, n: usize) -> PathBuf {
        self.temp.join("torrents").join(format!("f{n:03}.torrent"))
    }

    fn add(&self, n: usize) -> AddTorrent {
        let mut add = AddTorrent::new(AddSource::File(self.file(n)), self.temp.join("data"));
        add.mode = Mode::Seed;
        add
    }

    fn adds(&self) -> Vec<AddTorrent> {
        (0..self.all.len()).map(|n| self.add(n)).collect()
    }

    fn handle(&self, client: &Client, n: usize) -> Torrent {
        client.torrent(&self.all[n].info.hashes()).unwrap()
    }

    /// Fetches a torrent from `seeder` into a new folder, and looks at what came.
    async fn fetch(&self, seeder: &Client, n: usize) {
        let to = Temp::new("to");
        let leech = client(None).await;
        let add = download(&self.all[n], &to.0, &[address(seeder)]);
        complete(&mut leech.add(add).await.unwrap()).await;
        assert!(fs::read(to.0.join(format!("f{n:03}"))).unwrap() == fs::read(self.data(n)).unwrap());
        leech.shutdown().await;
    }
}

/// Shares all, and waits until that is done. What was refused, and whether anything was hashed.
async fn share(client: &Client, adds: Vec<AddTorrent>) -> (Vec<(String, String)>, bool) {
    let mut sharing = client.share(adds);
    let (mut refused, mut hashed) = (Vec::new(), false);
    while let Some(event) = sharing.next().await {
        match event {
            ShareEvent::Refused { what, why } => refused.push((what, why)),
            ShareEvent::Checking { .. } => hashed = true,
            _ => {}
        }
    }
    (refused, hashed)
}

fn tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

/// Descriptors of this process that lead below a folder.
fn open_below(dir: &Path) -> usize {
    let open = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    open.filter(|fd| fs::read_link(fd.path()).is_ok_and(|path| path.starts_with(dir))).count()
}

/// Changes a file so that its time shows it, as any change after a while does.
fn rewrite(path: &Path, data: &[u8], seconds: u64) {
    fs::write(path, data).unwrap();
    let later = SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000 + seconds);
    fs::File::options().write(true).open(path).unwrap().set_modified(later).unwrap();
}

#[tokio::test]
async fn hundreds_of_torrents_need_no_task_and_no_descriptor_each_and_a_restart_hashes_nothing() {
    let library = Library::new("hundreds", 300, 20_000);
    let state = library.temp.join("state");
    for restart in [false, true] {
        let client = client(Some(&state)).await;
        let before = tasks();
        let (refused, hashed) = share(&client, library.adds()).await;
        assert!(refused.is_empty(), "{refused:?}");
        assert_eq!(hashed, !restart);
        eventually("what added them has ended", async || tasks() <= before).await;
        assert_eq!(open_below(&library.temp.0), 0);
        let overview = client.overview().await;
        assert_eq!((overview.torrents, overview.awake, overview.sum.done), (300, 0, 300 * 20_000));
        library.fetch(&client, 7).await;
        client.shutdown().await;
    }
    eventually("nothing is left", async || tasks() == 0).await;
    assert_eq!(open_below(&library.temp.0), 0);
}

#[tokio::test]
async fn it_wakes_for_who_connects_and_rests_again_when_they_are_gone() {
    let library = Library::new("wakes", 1, 100_000);
    let seeder = resting(REST, None).await;
    share(&seeder, library.adds()).await;
    eventually("what added it has ended", async || tasks() <= 2).await;
    let before = tasks();
    let torrent = library.handle(&seeder, 0);
    for run in 1..=3 {
        library.fetch(&seeder, 0).await;
        eventually("it rests again", async || !torrent.is_awake()).await;
        eventually("its task has ended", async || tasks() <= before).await;
        assert_eq!(open_below(&library.temp.0), 0);
        let snapshot = torrent.snapshot().await.unwrap();
        assert_eq!((snapshot.state, snapshot.done), (State::Seeding, 100_000));
        assert!(snapshot.uploaded >= run * 100_000, "what it did before is not forgotten");
    }
    seeder.shutdown().await;
}

#[tokio::test]
async fn who_comes_while_it_goes_to_rest_is_served() {
    let library = Library::new("restless", 1, 3 * PIECE);
    let seeder = resting(Duration::ZERO, None).await;
    share(&seeder, library.adds()).await;
    let data = fs::read(library.data(0)).unwrap();
    for n in 0..60 {
        let mut raw = Raw::greeted(address(&seeder), library.all[0].info.hashes().primary()).await;
        raw.send(Message::Interested).await;
        // All pieces at once, or, since nobody else has any, one by one.
        let (mut piece, mut unchoked) = (None, false);
        while piece.is_none() || !unchoked {
            match raw.message().await.expect("it is not cut off")[..] {
                [1] => unchoked = true,
                [5 | 14, ..] => piece = Some(n % 3),
                [4, a, b, c, d] => piece = Some(u32::from_be_bytes([a, b, c, d])),
                _ => {}
            }
        }
        let piece = PieceIndex(piece.unwrap());
        raw.send(Message::Request(Block { piece, offset: 0, len: PIECE as u32 })).await;
        let message = loop {
            let message = raw.message().await.expect("it is not cut off");
            if message[0] == 7 {
                break message;
            }
        };
        assert!(message[9..] == data[piece.0 as usize * PIECE..][..PIECE]);
    }
    seeder.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_lost_between_waking_and_resting() {
    let library = Library::new("races", 1, 3 * PIECE);
    let seeder = resting(Duration::ZERO, None).await;
    share(&seeder, library.adds()).await;
    let data = std::sync::Arc::new(fs::read(library.data(0)).unwrap());
    let torrent = library.handle(&seeder, 0);
    // Each read finds it dormant, awake, waking or going to rest.
    let ask = |first: u32| {
        let (torrent, data) = (torrent.clone(), std::sync::Arc::clone(&data));
        tokio::spawn(async move {
            for n in first..first + 100 {
                let piece = torrent.read_piece(PieceIndex(n % 3)).await.unwrap();
                assert!(piece == data[(n % 3) as usize * PIECE..][..PIECE]);
            }
        })
    };
    let (addr, hash) = (address(&seeder), library.all[0].info.hashes().primary());
    let strangers = tokio::spawn(async move {
        for _ in 0..100 {
            drop(Raw::greeted(addr, hash).await);
        }
    });
    for asking in [ask(0), ask(1), strangers] {
        asking.await.unwrap();
    }
    eventually("it rests", async || !torrent.is_awake()).await;
    seeder.shutdown().await;
}

#[tokio::test]
async fn data_that_changed_while_it_rested_is_not_served_until_it_is_right_again() {
    let library = Library::new("changed", 1, 50_000);
    let seeder = resting(REST, Some(&library.temp.join("state"))).await;
    share(&seeder, library.adds()).await;
    let mut torrent = library.handle(&seeder, 0);
    let (right, hash) = (fs::read(library.data(0)).unwrap(), library.all[0].info.hashes().primary());
    rewrite(&library.data(0), &random(99, 50_000), 1);

    let mut raw = Raw::connect(address(&seeder)).await;
    raw.write(&handshake(hash)).await;
    assert!(!raw.read_handshake().await, "nobody is greeted before the data is looked at");
    let told = until(&mut torrent, |e| matches!(e, TorrentEvent::Warning(_))).await;
    assert!(matches!(told, TorrentEvent::Warning(why) if why.contains("f000")));
    eventually("it rests", async || !torrent.is_awake()).await;
    let snapshot = torrent.snapshot().await.unwrap();
    assert_eq!((snapshot.state, snapshot.done), (State::Failed, 0));

    // Strangers do not wake it again so soon, or each of them would have it hash everything.
    let mut raw = Raw::connect(address(&seeder)).await;
    raw.write(&handshake(hash)).await;
    assert!(!raw.read_handshake().await);
    assert!(!torrent.is_awake());

    rewrite(&library.data(0), &right, 2);
    assert!(torrent.read_piece(PieceIndex(1)).await.unwrap() == right[PIECE..2 * PIECE]);
    library.fetch(&seeder, 0).await;
    eventually("it rests", async || !torrent.is_awake()).await;
    assert_eq!(torrent.snapshot().await.unwrap().state, State::Seeding);
    seeder.shutdown().await;
}

#[tokio::test]
async fn a_torrent_file_that_went_or_changed_wakes_nothing_else_and_may_come_back() {
    let library = Library::new("origin", 2, 50_000);
    let seeder = resting(REST, None).await;
    share(&seeder, library.adds()).await;
    let mut torrent = library.handle(&seeder, 0);
    let right = fs::read(library.file(0)).unwrap();
    for wrong in [None, Some(b"de".to_vec()), Some(fs::read(library.file(1)).unwrap())] {
        match wrong {
            None => fs::remove_file(library.file(0)).unwrap(),
            Some(bytes) => fs::write(library.file(0), bytes).unwrap(),
        }
        assert!(torrent.read_piece(PieceIndex(0)).await.is_err());
        let told = until(&mut torrent, |e| matches!(e, TorrentEvent::Warning(_))).await;
        assert!(matches!(told, TorrentEvent::Warning(why) if why.contains("f000.torrent")));
    }
    fs::write(library.file(0), right).unwrap();
    assert!(torrent.read_piece(PieceIndex(0)).await.is_ok());
    seeder.shutdown().await;
}

#[tokio::test]
async fn only_what_needs_the_data_wakes_it() {
    let library = Library::new("asks", 1, 50_000);
    let client = resting(Duration::from_secs(60), None).await;
    share(&client, library.adds()).await;
    let torrent = library.handle(&client, 0);
    assert_eq!(torrent.snapshot().await.unwrap().piece_map, [255; 4]);
    assert!(torrent.peers().await.is_empty());
    assert!(!torrent.is_awake() && client.torrents().len() == 1);
    assert_eq!(torrent.metainfo().await.unwrap().info.name(), "f000");
    assert!(torrent.is_awake());
    assert!(
        torrent.read_piece(PieceIndex(3)).await.unwrap() == fs::read(library.data(0)).unwrap()[3 * PIECE..]
    );
    client.shutdown().await;
    assert!(torrent.snapshot().await.is_none());
}

#[tokio::test]
async fn a_dormant_torrent_is_there_and_can_be_removed() {
    let library = Library::new("removed", 1, 50_000);
    let client = resting(REST, None).await;
    for _ in 0..2 {
        share(&client, library.adds()).await;
        let mut torrent = library.handle(&client, 0);
        assert!(matches!(client.add(library.add(0)).await, Err(AddError::Duplicate)));
        client.remove(torrent.hashes()).await;
        assert!(torrent.next_event().await.is_none() && torrent.snapshot().await.is_none());
        assert_eq!(client.overview().await.torrents, 0);
    }
    client.shutdown().await;
}

#[tokio::test]
async fn a_download_rests_when_it_is_done_and_hashes_nothing_when_it_wakes() {
    for with_state in [true, false] {
        let library = Library::new("done", 1, 200_000);
        let state = library.temp.join("state");
        let seeder = client(None).await;
        share(&seeder, library.adds()).await;
        let to = library.temp.join("to");
        let first = resting(REST, with_state.then_some(&*state)).await;
        let mut torrent = first.add(download(&library.all[0], &to, &[])).await.unwrap();
        let mut feed = library.add(0);
        feed.peers.push(address(&first));
        seeder.remove(library.all[0].info.hashes()).await;
        share(&seeder, vec![feed]).await;
        complete(&mut torrent).await;
        seeder.shutdown().await;
        eventually("it rests", async || !torrent.is_awake()).await;
        assert_eq!(open_below(&library.temp.0), 0);
        let mut news = torrent.clone();
        library.fetch(&first, 0).await;
        eventually("it rests again", async || !torrent.is_awake()).await;
        first.shutdown().await;
        while let Some(event) = news.next_event().await {
            assert!(matches!(event, TorrentEvent::Peer { .. }), "{event:?}");
        }
    }
}

#[tokio::test]
async fn one_with_peers_to_call_is_awake_and_calls_them() {
    let library = Library::new("calls", 1, 100_000);
    let to = library.temp.join("to");
    let leech = client(None).await;
    let mut fetched = leech.add(download(&library.all[0], &to, &[])).await.unwrap();
    let seeder = resting(REST, None).await;
    let mut add = library.add(0);
    add.peers.push(address(&leech));
    share(&seeder, vec![add]).await;
    complete(&mut fetched).await;
    leech.shutdown().await;
    let mut torrent = library.handle(&seeder, 0);
    let gone = |e: &TorrentEvent| matches!(e, TorrentEvent::Peer { state: PeerState::Gone, .. });
    if torrent.snapshot().await.unwrap().peers > 0 {
        until(&mut torrent, gone).await;
    }
    tokio::time::sleep(3 * REST).await;
    assert!(torrent.is_awake(), "it goes on calling them");
    seeder.shutdown().await;
}

#[tokio::test]
async fn strangers_at_every_hash_wake_no_more_than_there_may_be_connections() {
    let library = Library::new("flood", 40, 20_000);
    let max_peers = 8;
    let seeder = Client::start(Config { max_peers, rest_after: REST, ..config() }).await.unwrap();
    share(&seeder, library.adds()).await;
    let mut held = Vec::new();
    for metainfo in &library.all {
        let mut raw = Raw::connect(address(&seeder)).await;
        raw.write(&handshake(metainfo.info.hashes().primary())).await;
        held.push((raw.read_handshake().await, raw));
        assert!(seeder.overview().await.awake <= max_peers);
    }
    assert_eq!(held.iter().filter(|(answered, _)| *answered).count(), max_peers);
    drop(held);
    eventually("all rest", async || seeder.overview().await.awake == 0).await;
    library.fetch(&seeder, 39).await;
    seeder.shutdown().await;
}

#[tokio::test]
async fn what_cannot_be_shared_is_named_and_stops_nothing() {
    let library = Library::new("some", 8, 40_000);
    fs::write(library.file(1), "no torrent").unwrap();
    fs::remove_file(library.data(2)).unwrap();
    rewrite(&library.data(3), &random(77, 40_000), 1);
    rewrite(&library.data(4), &random(4, 39_999), 1);
    let client = client(Some(&library.temp.join("state"))).await;
    let mut adds = library.adds();
    adds.push(library.add(0));
    let mut gone = library.add(5);
    gone.source = AddSource::File(library.temp.join("torrents").join("gone.torrent"));
    adds.push(gone);
    let (mut refused, _) = share(&client, adds).await;
    refused.sort();
    let named: Vec<_> = refused.iter().map(|(what, _)| what.rsplit('/').next().unwrap()).collect();
    assert_eq!(named, ["f001.torrent", "gone.torrent", "f002", "f003", "f004"], "{refused:?}");
    assert!(refused.iter().all(|(_, why)| !why.is_empty()));
    assert_eq!(client.overview().await.torrents, 4);
    library.fetch(&client, 7).await;
    // What was found wrong is not remembered as right.
    client.shutdown().await;
    let client = self::client(Some(&library.temp.join("state"))).await;
    let (mut again, _) = share(&client, library.adds()).await;
    again.sort();
    refused.retain(|(what, _)| !what.ends_with("gone.torrent"));
    assert_eq!(again, refused);
    client.shutdown().await;
}

#[tokio::test]
async fn clients_that_share_a_state_folder_keep_what_each_other_noted() {
    let library = Library::new("both", 40, 20_000);
    let state = library.temp.join("state");
    let (one, two) = (client(Some(&state)).await, client(Some(&state)).await);
    let mut adds = library.adds();
    let rest = adds.split_off(20);
    let both = tokio::join!(share(&one, adds), share(&two, rest));
    assert!(both.0.1 && both.1.1);
    tokio::join!(one.shutdown(), two.shutdown());
    let third = client(Some(&state)).await;
    assert!(!share(&third, library.adds()).await.1, "nothing is hashed");
    third.shutdown().await;
}

#[tokio::test]
async fn only_what_changed_is_hashed_after_a_restart_and_a_single_seed_is_remembered_too() {
    let library = Library::new("again", 3, 20_000);
    let state = library.temp.join("state");
    let first = client(Some(&state)).await;
    for n in 0..3 {
        let mut torrent = first.add(library.add(n)).await.unwrap();
        until(&mut torrent, |e| matches!(e, TorrentEvent::Started)).await;
    }
    first.shutdown().await;
    let same = fs::read(library.data(1)).unwrap();
    rewrite(&library.data(1), &same, 1);
    let second = client(Some(&state)).await;
    let mut sharing = second.share(library.adds());
    let mut totals = Vec::new();
    while let Some(event) = sharing.next().await {
        if let ShareEvent::Checking { total, .. } = event {
            totals.push(total);
        }
    }
    assert_eq!(totals.first(), Some(&20_000), "one of three");
    second.shutdown().await;
}

#[tokio::test]
async fn it_ends_soon_while_much_is_hashed() {
    let temp = Temp::new("much");
    // Sixty-four gigabytes of zeros whose first block is none, so that hashing takes long.
    let (piece, pieces) = (16i64 << 20, 4096usize);
    let mut raw = Vec::new();
    samara_proto::bencode::write_dict(&mut raw, |d| {
        d.int("length", piece * pieces as i64);
        d.bytes("name", "large");
        d.int("piece length", piece);
        d.bytes("pieces", vec![0; 20 * pieces]);
    });
    let info = samara_proto::metainfo::Info::parse(raw.into()).unwrap();
    let metainfo = Metainfo::new(std::sync::Arc::new(info), Default::default());
    let path = temp.join("data").join("large");
    fs::write(&path, b"x").unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_len(piece as u64 * pieces as u64).unwrap();
    let client = client(Some(&temp.join("state"))).await;
    let mut add = download(&metainfo, &temp.join("data"), &[]);
    add.mode = Mode::Seed;
    let mut sharing = client.share(vec![add]);
    while !matches!(sharing.next().await, Some(ShareEvent::Checking { .. })) {}
    // The reader stops reading, and nobody waits for it.
    tokio::time::timeout(Duration::from_secs(5), client.shutdown()).await.expect("it ends soon");
    eventually("nothing is left", async || tasks() == 0).await;
}

#[tokio::test]
async fn a_client_that_is_dropped_takes_its_torrents_along() {
    let library = Library::new("dropped", 5, 20_000);
    let seeder = resting(Duration::from_secs(60), None).await;
    share(&seeder, library.adds()).await;
    let mut dormant = library.handle(&seeder, 0);
    let mut awake = library.handle(&seeder, 1);
    assert!(awake.metainfo().await.is_some());
    drop(seeder);
    assert!(dormant.next_event().await.is_none() && dormant.snapshot().await.is_none());
    while awake.next_event().await.is_some() {}
    assert!(awake.metainfo().await.is_none());
    eventually("nothing is left", async || tasks() == 0).await;
    assert_eq!(open_below(&library.temp.0), 0);
}

#[tokio::test]
async fn who_goes_through_all_hashes_keeps_few_awake() {
    let library = Library::new("scan", 40, 20_000);
    // Patient enough that what is awake without being connected stays so.
    let (max_peers, rest_after) = (4, Duration::from_secs(3600));
    let seeder = Client::start(Config { max_peers, rest_after, ..config() }).await.unwrap();
    share(&seeder, library.adds()).await;
    for metainfo in &library.all {
        let one = async || {
            let mut raw = Raw::connect(address(&seeder)).await;
            raw.write(&handshake(metainfo.info.hashes().primary())).await;
            raw.read_handshake().await
        };
        // The place of the one before may not be free yet, nor have enough gone to rest.
        eventually("there is a place", one).await;
        assert!(seeder.overview().await.awake <= 2 * max_peers);
    }
    eventually("the others rest", async || seeder.overview().await.awake <= max_peers).await;
    seeder.shutdown().await;
}
