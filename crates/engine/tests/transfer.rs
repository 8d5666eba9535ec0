//! Whole transfers over real sockets and real files, on loopback.

mod common;

use std::fs;

use common::{Temp, address, client, complete, random, seed, torrent};
use samara_engine::{AddSource, AddTorrent, TorrentEvent};
use samara_proto::ids::PieceIndex;

const PIECE: usize = 64 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_arrives_whole() {
    let temp = Temp::new("whole");
    let data = random(1, 3_000_001);
    let (from, to) = (temp.join("from"), temp.join("to"));
    fs::write(from.join("data.bin"), &data).unwrap();
    let metainfo = torrent("data.bin", &data, PIECE);
    let (seeder, _shared) = seed(&metainfo, &from).await;

    let leech = client(Some(&temp.join("state"))).await;
    let mut add = AddTorrent::new(AddSource::Metainfo(Box::new(metainfo)), &to);
    add.peers.push(address(&seeder));
    let mut fetched = leech.add(add).await.unwrap();
    complete(&mut fetched).await;
    assert!(fs::read(to.join("data.bin")).unwrap() == data);
    let now = fetched.snapshot().await.unwrap();
    assert_eq!((now.done, now.total, now.downloaded), (3_000_001, 3_000_001, 3_000_001));
    let last = fetched.read_piece(PieceIndex(45)).await.unwrap();
    assert!(last == data[45 * PIECE..]);

    leech.shutdown().await;
    seeder.shutdown().await;
    assert_eq!(fs::read_dir(&to).unwrap().count(), 1, "no .part file is left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_magnet_link_needs_nothing_but_a_peer() {
    let temp = Temp::new("magnet");
    let data = random(2, 500_000);
    let (from, to) = (temp.join("from"), temp.join("to"));
    fs::write(from.join("m.bin"), &data).unwrap();
    let metainfo = torrent("m.bin", &data, 16384);
    let (seeder, _shared) = seed(&metainfo, &from).await;

    let leech = client(None).await;
    let source = AddSource::Magnet { hashes: metainfo.info.hashes(), name: None };
    let mut add = AddTorrent::new(source, &to);
    add.peers.push(address(&seeder));
    let mut fetched = leech.add(add).await.unwrap();
    complete(&mut fetched).await;
    assert!(fs::read(to.join("m.bin")).unwrap() == data);
    assert_eq!(fetched.metainfo().await.unwrap().info.raw(), metainfo.info.raw());
    leech.shutdown().await;
    seeder.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_there_is_adopted_and_what_was_saved_is_not_hashed_again() {
    let temp = Temp::new("resume");
    let data = random(3, 2_000_000);
    let (from, to, state) = (temp.join("from"), temp.join("to"), temp.join("state"));
    fs::write(from.join("r.bin"), &data).unwrap();
    let metainfo = torrent("r.bin", &data, PIECE);
    let (seeder, _shared) = seed(&metainfo, &from).await;

    // Half a file from another program, with a wrong byte in it.
    let mut half = data[..1_000_000].to_vec();
    half[70_000] ^= 1;
    fs::write(to.join("r.bin.part"), &half).unwrap();
    let fetch = async |checked: &mut bool| {
        let leech = client(Some(&state)).await;
        let mut add = AddTorrent::new(AddSource::Metainfo(Box::new(metainfo.clone())), &to);
        add.peers.push(address(&seeder));
        let mut fetched = leech.add(add).await.unwrap();
        common::until(&mut fetched, |e| {
            *checked |= matches!(e, TorrentEvent::Checking { .. });
            matches!(e, TorrentEvent::Complete { .. })
        })
        .await;
        let downloaded = fetched.snapshot().await.unwrap().downloaded;
        leech.shutdown().await;
        downloaded
    };
    let mut checked = false;
    let whole_pieces = 1_000_000 / PIECE - 1;
    assert_eq!(fetch(&mut checked).await, (data.len() - whole_pieces * PIECE) as u64);
    assert!(checked && fs::read(to.join("r.bin")).unwrap() == data);

    let mut again = false;
    assert_eq!(fetch(&mut again).await, 0);
    assert!(!again, "the resume data was believed");
    seeder.shutdown().await;
}
