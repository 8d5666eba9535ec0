//! How torrents and clients begin and end: in every state, soon, with nothing left behind.
#![allow(clippy::unwrap_used, reason = "a failure is a failed test")]

mod common;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use common::raw::{Raw, handshake};
use common::{Temp, address, client, complete, config, download, make, random, seed, torrent, until};
use samara_engine::store::Store;
use samara_engine::{AddError, AddSource, AddTorrent, Client, Config, Mode, ReadError, State, TorrentEvent};
use samara_proto::ids::{InfoHashV1, InfoHashes, PieceIndex, WireHash};
use samara_proto::metainfo::{Format, Info, Metainfo};
use samara_proto::wire::Message;
use tokio::net::TcpListener;

/// Ending takes no longer, whatever goes on.
const SOON: Duration = Duration::from_secs(3);

const PIECE: usize = 65_536;

/// A hash that nobody knows.
fn unknown() -> AddSource {
    AddSource::Magnet { hashes: InfoHashes::new(Some(InfoHashV1([7; 20])), None).unwrap(), name: None }
}

async fn soon(what: impl Future<Output = ()>) {
    tokio::time::timeout(SOON, what).await.expect("it ends soon");
}

#[tokio::test]
async fn a_second_torrent_of_the_same_hash_is_refused_until_the_first_is_removed() {
    let temp = Temp::new("twice");
    let data = random(1, 300_000);
    fs::write(temp.join("to").join("d"), &data).unwrap();
    let metainfo = torrent("d", &data, PIECE);
    let client = client(Some(&temp.join("state"))).await;
    for _ in 0..3 {
        let mut first = client.add(download(&metainfo, &temp.join("to"), &[])).await.unwrap();
        let second = client.add(download(&metainfo, &temp.join("to"), &[])).await;
        assert!(matches!(second, Err(AddError::Duplicate)));
        complete(&mut first).await;
        client.remove(metainfo.info.hashes()).await;
        assert!(first.snapshot().await.is_none());
        assert_eq!(first.read_piece(PieceIndex(0)).await, Err(ReadError::Ended));
    }
    client.shutdown().await;
}

#[tokio::test]
async fn two_torrents_share_one_client() {
    let temp = Temp::new("two");
    let from = temp.join("from");
    let all = [("a", 700_000), ("b", 900_000)].map(|file| make(&from, Format::V1, &[file], 65_536));
    let (seeder, _first) = seed(&all[0], &from).await;
    let mut add = download(&all[1], &from, &[]);
    add.mode = Mode::Seed;
    seeder.add(add).await.unwrap();
    let leech = client(None).await;
    let peers = [address(&seeder)];
    let to = temp.join("to");
    let mut one = leech.add(download(&all[0], &to, &peers)).await.unwrap();
    let mut two = leech.add(download(&all[1], &to, &peers)).await.unwrap();
    complete(&mut one).await;
    complete(&mut two).await;
    assert!(common::tree(&to) == common::tree(&from));
    leech.shutdown().await;
    seeder.shutdown().await;
}

#[tokio::test]
async fn it_ends_soon_while_it_knows_nothing_but_a_hash() {
    let temp = Temp::new("metadata");
    let client = client(Some(&temp.join("state"))).await;
    let torrent = client.add(AddTorrent::new(unknown(), temp.join("to"))).await.unwrap();
    assert_eq!(torrent.snapshot().await.unwrap().state, State::Metadata);
    soon(client.shutdown()).await;
    assert!(torrent.metainfo().await.is_none());
}

#[tokio::test]
async fn it_ends_soon_while_strangers_and_black_holes_keep_it_waiting() {
    let temp = Temp::new("holes");
    // A listener that never accepts, and one whose connections say nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    // TEST-NET-1 (RFC 5737): either unreachable or never answered.
    let nowhere: SocketAddr = "192.0.2.1:6881".parse().unwrap();
    let client = client(None).await;
    let mut add = AddTorrent::new(unknown(), temp.join("to"));
    add.peers = vec![silent.local_addr().unwrap(), nowhere];
    client.add(add).await.unwrap();
    let mut stranger = Raw::connect(address(&client)).await;
    stranger.write(&handshake(WireHash([7; 20]))[..20]).await;
    let _held = silent.accept().await.unwrap();
    soon(client.shutdown()).await;
    stranger.hung_up().await;
}

/// A sparse file of this many bytes takes minutes to hash, were it not for its first block.
fn large(temp: &Temp) -> Metainfo {
    let piece_length = 16 << 20;
    let pieces = 4096;
    let mut raw = Vec::new();
    samara_proto::bencode::write_dict(&mut raw, |d| {
        d.int("length", i64::from(piece_length) * i64::from(pieces));
        d.bytes("name", "large");
        d.int("piece length", piece_length.into());
        d.bytes("pieces", vec![0; 20 * pieces as usize]);
    });
    let file = fs::File::create(temp.join("to").join("large")).unwrap();
    file.set_len(u64::from(piece_length as u32) * u64::from(pieces as u32)).unwrap();
    let info = Info::parse(raw.into()).unwrap();
    Metainfo::new(std::sync::Arc::new(info), Default::default())
}

#[tokio::test]
async fn it_ends_soon_while_it_checks_and_may_be_added_again() {
    let temp = Temp::new("checking");
    let metainfo = large(&temp);
    let client = client(Some(&temp.join("state"))).await;
    for _ in 0..2 {
        let mut torrent = client.add(download(&metainfo, &temp.join("to"), &[])).await.unwrap();
        until(&mut torrent, |e| matches!(e, TorrentEvent::Checking { .. })).await;
        assert_eq!(torrent.snapshot().await.unwrap().state, State::Checking);
        soon(client.remove(metainfo.info.hashes())).await;
    }
    soon(client.shutdown()).await;
}

#[tokio::test]
async fn a_client_that_is_dropped_while_it_checks_lets_go_of_the_download() {
    let temp = Temp::new("dropped");
    let metainfo = large(&temp);
    let state = temp.join("state");
    let first = client(Some(&state)).await;
    let mut torrent = first.add(download(&metainfo, &temp.join("to"), &[])).await.unwrap();
    until(&mut torrent, |e| matches!(e, TorrentEvent::Checking { .. })).await;
    drop(first);
    let free = async || is_free(&state, &metainfo, &temp.join("to"));
    soon(common::eventually("the lock is free", free)).await;
}

/// Whether nobody has the download open.
fn is_free(state: &Path, metainfo: &Metainfo, dir: &Path) -> bool {
    Store::open(state, &metainfo.info.hashes(), dir).unwrap().lock().is_ok()
}

#[tokio::test]
async fn it_ends_soon_in_the_middle_of_a_download_and_goes_on_from_there() {
    let temp = Temp::new("half");
    let data = random(5, 8_000_000);
    let (from, to, state) = (temp.join("from"), temp.join("to"), temp.join("state"));
    fs::write(from.join("d"), &data).unwrap();
    let metainfo = torrent("d", &data, PIECE);
    let (seeder, mut shared) = seed(&metainfo, &from).await;
    let peers = [address(&seeder)];
    let (mut fetched, mut runs) = (0, 0);
    loop {
        let leech = client(Some(&state)).await;
        let mut torrent = leech.add(download(&metainfo, &to, &peers)).await.unwrap();
        let whole = |e: &TorrentEvent| matches!(e, TorrentEvent::Complete { .. });
        let step = async {
            let had = torrent.snapshot().await.unwrap().done;
            common::eventually("some pieces more", async || {
                let now = torrent.snapshot().await.unwrap();
                now.done >= had + 1_000_000 || now.state == State::Seeding
            })
            .await;
        };
        step.await;
        let now = torrent.snapshot().await.unwrap();
        if now.state == State::Seeding {
            until(&mut torrent, whole).await;
        }
        // Dropped like a crash the first times, with a goodbye later on.
        if runs < 2 {
            drop(leech);
        } else {
            soon(leech.shutdown()).await;
        }
        common::eventually("the download is let go", async || is_free(&state, &metainfo, &to)).await;
        fetched += now.done;
        runs += 1;
        if now.state == State::Seeding {
            break;
        }
    }
    assert!(fs::read(to.join("d")).unwrap() == data, "after {runs} runs and {fetched} bytes");
    let _ = shared.next_event().await;
    soon(seeder.shutdown()).await;
}

#[tokio::test]
async fn who_connects_while_data_is_checked_is_served_when_that_is_done() {
    let temp = Temp::new("early");
    let metainfo = make(&temp.join("from"), Format::V1, &[("d", 3_000_000)], 65_536);
    let seeder = client(None).await;
    let mut add = download(&metainfo, &temp.join("from"), &[]);
    add.mode = Mode::Seed;
    // No await between: the check has hardly begun.
    seeder.add(add).await.unwrap();
    let mut raw = Raw::greeted(address(&seeder), metainfo.info.hashes().primary()).await;
    raw.send(Message::Interested).await;
    let (mut served, mut told) = (false, false);
    while !served || !told {
        let message = raw.message().await.unwrap();
        served |= message[0] == 1;
        // One by one if the check ended after the handshake, or all at once.
        told |= message == [4, 0, 0, 0, 0] || [5, 14].contains(&message[0]);
    }
    raw.send(Message::Request(samara_proto::ids::Block { piece: PieceIndex(0), offset: 0, len: 16_384 }))
        .await;
    raw.wait_for(7).await;
    soon(seeder.shutdown()).await;
}

#[tokio::test]
async fn a_piece_may_be_asked_for_before_the_data_is_open() {
    let temp = Temp::new("readers");
    let data = random(3, 500_000);
    fs::write(temp.join("to").join("d"), &data).unwrap();
    let metainfo = torrent("d", &data, PIECE);
    let client = client(None).await;
    let torrent = client.add(download(&metainfo, &temp.join("to"), &[])).await.unwrap();
    let read = tokio::join!(torrent.read_piece(PieceIndex(1)), torrent.read_piece(PieceIndex(99)));
    assert!(read.0.unwrap() == data[PIECE..2 * PIECE]);
    assert_eq!(read.1, Err(ReadError::OutOfRange));
    client.shutdown().await;
}

#[tokio::test]
async fn a_reader_waits_for_its_piece_and_hears_of_the_end() {
    let temp = Temp::new("waits");
    let metainfo = make(&temp.join("from"), Format::V1, &[("d", 500_000)], 65_536);
    let leech = client(None).await;
    let torrent = leech.add(download(&metainfo, &temp.join("to"), &[])).await.unwrap();
    let end = async {
        common::eventually("it is open", async || {
            torrent.snapshot().await.unwrap().state == State::Downloading
        })
        .await;
        leech.shutdown().await;
    };
    let (read, ()) = tokio::join!(torrent.read_piece(PieceIndex(1)), end);
    assert_eq!(read, Err(ReadError::Ended));
}

#[tokio::test]
async fn a_seed_whose_data_is_gone_says_how_much_and_ends() {
    let temp = Temp::new("gone");
    let metainfo = make(&temp.join("from"), Format::V1, &[("d", 500_000)], 65_536);
    let client = client(None).await;
    let mut add = download(&metainfo, &temp.join("empty"), &[]);
    add.mode = Mode::Seed;
    let mut torrent = client.add(add).await.unwrap();
    let why = common::failure(&mut torrent).await;
    assert!(why.contains("8 of 8 pieces"), "{why}");
    // It is gone by itself, so there is room for another try.
    fs::copy(temp.join("from").join("d"), temp.join("empty").join("d")).unwrap();
    let mut torrent = client.add(download(&metainfo, &temp.join("empty"), &[])).await.unwrap();
    complete(&mut torrent).await;
    client.shutdown().await;
}

#[tokio::test]
async fn paths_that_do_not_fit_the_torrent_are_an_error_and_no_panic() {
    let temp = Temp::new("paths");
    let metainfo = make(&temp.join("from"), Format::V1, &[("a", 100_000), ("b", 100_000)], 65_536);
    let client = client(None).await;
    for paths in [vec![], vec![None; 5]] {
        let mut add = download(&metainfo, &temp.join("to"), &[]);
        (add.mode, add.paths) = (Mode::Seed, Some(paths));
        let mut torrent = client.add(add).await.unwrap();
        let why = common::failure(&mut torrent).await;
        assert!(!why.contains("broke off"), "{why}");
    }
    client.shutdown().await;
}

#[tokio::test]
async fn a_taken_port_is_an_error_that_names_it() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap();
    let error = Client::start(Config { listen: vec![addr], ..config() }).await.unwrap_err();
    assert!(error.to_string().contains(&addr.to_string()), "{error}");
}
