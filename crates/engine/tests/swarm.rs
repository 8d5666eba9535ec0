//! More than two: several sources, sources that come and go, and too little memory for all of them.
#![allow(clippy::unwrap_used, reason = "a failure is a failed test")]

mod common;

use std::fs;

use common::{Temp, address, client, complete, config, download, make, random, seed, torrent, tree, until};
use samara_engine::{Client, Config, TorrentEvent};
use samara_proto::metainfo::Format;
use samara_proto::peer::Departure;

const PIECE: usize = 65_536;

#[tokio::test]
async fn two_halves_make_a_whole() {
    let temp = Temp::new("halves");
    let data = random(1, 40 * PIECE + 17);
    let metainfo = torrent("d", &data, PIECE);
    let mut holders = Vec::new();
    for half in 0..2 {
        let dir = temp.join(&format!("half{half}"));
        let mut mine = data.clone();
        let other = mine.chunks_mut(PIECE).enumerate().filter(|(n, _)| n % 2 != half);
        other.for_each(|(_, piece)| piece.fill(0));
        fs::write(dir.join("d.part"), mine).unwrap();
        let holder = client(None).await;
        let mut added = holder.add(download(&metainfo, &dir, &[])).await.unwrap();
        until(&mut added, |e| matches!(e, TorrentEvent::Started)).await;
        holders.push((holder, added));
    }
    let leech = client(None).await;
    let peers: Vec<_> = holders.iter().map(|(holder, _)| address(holder)).collect();
    let mut fetched = leech.add(download(&metainfo, &temp.join("to"), &peers)).await.unwrap();
    complete(&mut fetched).await;
    assert!(fs::read(temp.join("to").join("d")).unwrap() == data);
    // And by what the middle one has, both halves become whole.
    for (holder, mut added) in holders {
        if added.snapshot().await.unwrap().done < data.len() as u64 {
            complete(&mut added).await;
        }
        holder.shutdown().await;
    }
    leech.shutdown().await;
}

#[tokio::test]
async fn a_seed_that_comes_back_on_its_port_is_found_again() {
    let temp = Temp::new("back");
    let from = temp.join("from");
    let metainfo = make(&from, Format::V1, &[("d", 24_000_000)], 65_536);
    let (seeder, _) = seed(&metainfo, &from).await;
    let addr = address(&seeder);
    let leech = client(None).await;
    let mut fetched = leech.add(download(&metainfo, &temp.join("to"), &[addr])).await.unwrap();
    common::eventually("it begins", async || fetched.snapshot().await.unwrap().done > 0).await;
    drop(seeder);
    let gone = until(&mut fetched, |e| matches!(e, TorrentEvent::Peer { reason: Some(_), .. })).await;
    assert!(matches!(gone, TorrentEvent::Peer { reason: Some(Departure::Remote), .. }), "{gone:?}");
    assert!(fetched.snapshot().await.unwrap().done < 24_000_000, "it died in the middle");
    let seeder = loop {
        match Client::start(Config { listen: vec![addr], ..config() }).await {
            Ok(client) => break client,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    let mut add = download(&metainfo, &from, &[]);
    add.mode = samara_engine::Mode::Seed;
    seeder.add(add).await.unwrap();
    complete(&mut fetched).await;
    assert!(tree(&temp.join("to")) == tree(&from));
    leech.shutdown().await;
    seeder.shutdown().await;
}

#[tokio::test]
async fn a_megabyte_of_memory_is_enough_for_pieces_of_four_and_several_peers() {
    let temp = Temp::new("little");
    let from = temp.join("from");
    let metainfo = make(&from, Format::V1, &[("d", 18_000_001)], 4 << 20);
    let mut seeders = Vec::new();
    for _ in 0..4 {
        seeders.push(seed(&metainfo, &from).await.0);
    }
    let peers: Vec<_> = seeders.iter().map(address).collect();
    let leech = Client::start(Config { disk_budget: 1 << 20, ..config() }).await.unwrap();
    let mut fetched = leech.add(download(&metainfo, &temp.join("to"), &peers)).await.unwrap();
    complete(&mut fetched).await;
    assert!(tree(&temp.join("to")) == tree(&from));
    common::eventually("all memory is given back", async || leech.memory().down == 0).await;
    leech.shutdown().await;
    for seeder in seeders {
        seeder.shutdown().await;
    }
}

#[tokio::test]
async fn a_block_of_memory_is_enough_for_two_torrents_at_once() {
    let temp = Temp::new("least");
    let from = temp.join("from");
    let all = [("a", 600_000), ("b", 700_000)].map(|file| make(&from, Format::V2, &[file], 65_536));
    let leech = Client::start(Config { disk_budget: 1, disk_threads: 1, ..config() }).await.unwrap();
    let mut fetched = Vec::new();
    let mut seeders = Vec::new();
    for metainfo in &all {
        let (seeder, _) = seed(metainfo, &from).await;
        fetched.push(leech.add(download(metainfo, &temp.join("to"), &[address(&seeder)])).await.unwrap());
        seeders.push(seeder);
    }
    for torrent in &mut fetched {
        complete(torrent).await;
    }
    assert!(tree(&temp.join("to")) == tree(&from));
    leech.shutdown().await;
    for seeder in seeders {
        seeder.shutdown().await;
    }
}
