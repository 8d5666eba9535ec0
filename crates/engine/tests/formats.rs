//! v1, v2 and hybrid torrents, from a file and from each of their magnet links, into an empty folder and into one that
//! holds a part already.
#![allow(clippy::unwrap_used, reason = "a failure is a failed test")]

mod common;

use std::fs;

use common::{Temp, address, client, complete, make, seed, tree};
use samara_engine::{AddSource, AddTorrent, TorrentEvent};
use samara_proto::ids::InfoHashes;
use samara_proto::metainfo::{Format, Metainfo};

const PIECE: u32 = 65_536;

/// Lengths below, at and above a block and a piece; empty files; one of several thousand pieces would only take longer.
const TREE: &[(&str, usize)] = &[
    ("a/empty", 0),
    ("a/one", 1),
    ("b/block-less", 16_383),
    ("b/block", 16_384),
    ("b/block-more", 16_385),
    ("c/d/piece-less", 65_535),
    ("c/d/piece", 65_536),
    ("c/d/piece-more", 65_537),
    ("e", 700_001),
    ("z-empty", 0),
];

/// Both ways to name a torrent by a hash, as far as it has them.
fn magnets(metainfo: &Metainfo) -> Vec<InfoHashes> {
    let all = metainfo.info.hashes();
    let halves = [InfoHashes::new(all.v1(), None), InfoHashes::new(None, all.v2())];
    halves.into_iter().flatten().collect()
}

fn sources(metainfo: &Metainfo) -> Vec<AddSource> {
    let magnets = magnets(metainfo).into_iter().map(|hashes| AddSource::Magnet { hashes, name: None });
    magnets.chain([AddSource::Metainfo(Box::new(metainfo.clone()))]).collect()
}

/// Fetches `files` by every source into a folder each; `prepare` may put something there before.
async fn fetch_all(name: &str, format: Format, files: &[(&str, usize)], prepare: impl Fn(&std::path::Path)) {
    let temp = Temp::new(name);
    let from = temp.join("from");
    let metainfo = make(&from, format, files, PIECE);
    let (seeder, _shared) = seed(&metainfo, &from).await;
    for (n, source) in sources(&metainfo).into_iter().enumerate() {
        let to = temp.join(&format!("to{n}"));
        prepare(&to);
        let leech = client(None).await;
        let mut add = AddTorrent::new(source, &to);
        add.peers.push(address(&seeder));
        let mut fetched = leech.add(add).await.unwrap();
        complete(&mut fetched).await;
        assert!(tree(&to) == tree(&from), "{format} {n}");
        let now = fetched.snapshot().await.unwrap();
        let total = files.iter().map(|(_, len)| *len as u64).sum::<u64>();
        assert_eq!((now.done, now.total), (total, total), "{format} {n}");
        // Of padding comes at most what shares a block with a file.
        assert!(now.downloaded < total + 16_384 * files.len() as u64, "{format} {n}: {}", now.downloaded);
        leech.shutdown().await;
    }
    seeder.shutdown().await;
}

#[tokio::test]
async fn a_v1_folder_arrives_whole() {
    fetch_all("v1", Format::V1, TREE, |_| {}).await;
}

#[tokio::test]
async fn a_v2_folder_arrives_whole() {
    fetch_all("v2", Format::V2, TREE, |_| {}).await;
}

#[tokio::test]
async fn a_hybrid_folder_arrives_whole() {
    fetch_all("hybrid", Format::Hybrid, TREE, |_| {}).await;
}

#[tokio::test]
async fn a_single_file_of_any_format_and_length_arrives_whole() {
    for format in [Format::V1, Format::V2, Format::Hybrid] {
        for len in [1, 16_384, 65_536, 65_537, 200_000] {
            fetch_all("single", format, &[("f", len)], |_| {}).await;
        }
    }
}

#[tokio::test]
async fn a_v2_file_of_more_hashes_than_one_message_holds_arrives_whole() {
    let temp = Temp::new("layers");
    let from = temp.join("from");
    let metainfo = make(&from, Format::V2, &[("long", 1100 * 16_384 + 5)], 16_384);
    let (seeder, _shared) = seed(&metainfo, &from).await;
    let leech = client(None).await;
    let to = temp.join("to");
    let mut add = AddTorrent::new(AddSource::Magnet { hashes: metainfo.info.hashes(), name: None }, &to);
    add.peers.push(address(&seeder));
    let mut fetched = leech.add(add).await.unwrap();
    complete(&mut fetched).await;
    assert!(tree(&to) == tree(&from));
    assert_eq!(fetched.metainfo().await.unwrap().piece_layers, metainfo.piece_layers);
    leech.shutdown().await;
    seeder.shutdown().await;
}

#[tokio::test]
async fn what_is_there_already_is_adopted_whatever_named_the_torrent() {
    for format in [Format::V1, Format::V2, Format::Hybrid] {
        let temp = Temp::new("adopt");
        let (from, whole) = (temp.join("from"), 700_001);
        let metainfo = make(&from, format, &[("e", whole), ("f", 100_000)], PIECE);
        let (seeder, _shared) = seed(&metainfo, &from).await;
        for (n, source) in sources(&metainfo).into_iter().enumerate() {
            let to = temp.join(&format!("to{n}"));
            fs::create_dir(to.join("t")).unwrap();
            let data = fs::read(from.join("t/e")).unwrap();
            fs::write(to.join("t/e"), &data[..5 * PIECE as usize]).unwrap();
            let leech = client(None).await;
            let mut add = AddTorrent::new(source, &to);
            add.peers.push(address(&seeder));
            let mut fetched = leech.add(add).await.unwrap();
            complete(&mut fetched).await;
            assert!(tree(&to) == tree(&from), "{format} {n}");
            let now = fetched.snapshot().await.unwrap();
            assert!(
                now.downloaded <= (whole + 100_000) as u64 - 5 * u64::from(PIECE) + u64::from(PIECE),
                "{format} {n}: {}",
                now.downloaded
            );
            leech.shutdown().await;
        }
        seeder.shutdown().await;
    }
}

#[tokio::test]
async fn a_magnet_link_is_asked_about_once_and_remembered_with_its_hashes() {
    for format in [Format::V1, Format::V2, Format::Hybrid] {
        let temp = Temp::new("remember");
        let (from, to, state) = (temp.join("from"), temp.join("to"), temp.join("state"));
        let metainfo = make(&from, format, TREE, PIECE);
        let (seeder, _shared) = seed(&metainfo, &from).await;
        let source = AddSource::Magnet { hashes: metainfo.info.hashes(), name: None };
        let leech = client(Some(&state)).await;
        let mut add = AddTorrent::new(source.clone(), &to);
        add.peers.push(address(&seeder));
        let mut fetched = leech.add(add).await.unwrap();
        complete(&mut fetched).await;
        if format == Format::Hybrid {
            // The data may be complete before the layers, which only v2 peers need.
            common::eventually("the layers came", async || {
                fetched.metainfo().await.unwrap().piece_layers == metainfo.piece_layers
            })
            .await;
        }
        leech.shutdown().await;
        seeder.shutdown().await;

        let alone = client(Some(&state)).await;
        let mut again = alone.add(AddTorrent::new(source, &to)).await.unwrap();
        let mut hashed = false;
        common::until(&mut again, |e| {
            hashed |= matches!(e, TorrentEvent::Checking { .. });
            matches!(e, TorrentEvent::Complete { .. })
        })
        .await;
        assert!(!hashed, "{format}");
        let known = again.metainfo().await.unwrap();
        assert_eq!((known.info.raw(), &known.piece_layers), (metainfo.info.raw(), &metainfo.piece_layers));
        alone.shutdown().await;
    }
}

#[tokio::test]
async fn a_torrent_that_turns_out_to_be_another_one_ends_with_a_word() {
    let temp = Temp::new("halves");
    let from = temp.join("from");
    let metainfo = make(&from, Format::Hybrid, TREE, PIECE);
    let (seeder, _shared) = seed(&metainfo, &from).await;
    let leech = client(None).await;
    let [v1, v2] = <[_; 2]>::try_from(magnets(&metainfo)).unwrap();
    let magnet = |hashes| AddTorrent::new(AddSource::Magnet { hashes, name: None }, temp.join("to"));
    let _first = leech.add(magnet(v2)).await.unwrap();
    let mut add = magnet(v1);
    add.peers.push(address(&seeder));
    let mut second = leech.add(add).await.unwrap();
    let why = common::failure(&mut second).await;
    assert!(why.contains("already"), "{why}");
    leech.shutdown().await;
    seeder.shutdown().await;
}
