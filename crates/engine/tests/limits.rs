//! Rate limits over real sockets. How exact they are is proven in virtual time (`samara_proto::limit`); here, that they
//! hold at all, for whom, and from when: bytes at a rate can't take less than their time, whatever the machine does.
#![allow(clippy::unwrap_used, reason = "helpers of tests are not marked as tests")]

mod common;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use common::{Temp, address, complete, config, download, eventually, make, until};
use samara_engine::{AddSource, AddTorrent, Client, Config, Limits, Mode, Torrent, TorrentEvent};
use samara_proto::metainfo::{Format, Metainfo};

const RATE: u64 = 400_000;
const SIZE: usize = 800_000;

/// The least time that `SIZE` bytes take at `RATE`, with the burst of 150 ms and what the kernel may have taken over.
const LEAST: Duration = Duration::from_millis(1800);

const DOWN: Limits = Limits { down: Some(RATE), up: None };
const UP: Limits = Limits { down: None, up: Some(RATE) };
/// So low that nothing arrives within a test.
const NEXT_TO_NOTHING: Limits = Limits { down: Some(50), up: Some(50) };
const NONE: Limits = Limits { down: None, up: None };

struct World {
    temp: Temp,
    from: PathBuf,
    metainfo: Metainfo,
}

fn world(name: &str) -> World {
    let temp = Temp::new(name);
    let from = temp.join("from");
    let metainfo = make(&from, Format::V1, &[("data.bin", SIZE)], 65_536);
    World { temp, from, metainfo }
}

fn limited(limits: Limits) -> Config {
    Config { limits, ..config() }
}

async fn seed(world: &World, config: Config) -> (Client, Torrent) {
    let client = Client::start(config).await.unwrap();
    let mut add = AddTorrent::new(AddSource::Metainfo(Box::new(world.metainfo.clone())), &world.from);
    add.mode = Mode::Seed;
    let mut torrent = client.add(add).await.unwrap();
    until(&mut torrent, |e| matches!(e, TorrentEvent::Started)).await;
    (client, torrent)
}

async fn leech(world: &World, config: Config, own: Limits, from: &[&Client]) -> (Client, Torrent) {
    let client = Client::start(config).await.unwrap();
    let peers: Vec<_> = from.iter().map(|seed| address(seed)).collect();
    let mut add = download(&world.metainfo, &world.temp.join("to"), &peers);
    add.limits = own;
    let torrent = client.add(add).await.unwrap();
    (client, torrent)
}

fn arrived(world: &World) {
    let read = |dir: &str| fs::read(world.temp.join(dir).join("data.bin")).unwrap();
    assert!(read("from") == read("to"));
}

async fn end(clients: [Client; 2]) {
    for client in clients {
        client.shutdown().await;
    }
}

/// Seeds with one configuration, fetches with another; how long it took.
async fn transfer(name: &str, seed_config: Config, leech_config: Config, own: Limits) -> Duration {
    let world = world(name);
    let (seeder, _seeding) = seed(&world, seed_config).await;
    let began = Instant::now();
    let (leecher, mut fetched) = leech(&world, leech_config, own, &[&seeder]).await;
    complete(&mut fetched).await;
    let took = began.elapsed();
    arrived(&world);
    end([leecher, seeder]).await;
    took
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_receives_no_faster_than_it_may() {
    assert!(transfer("down", config(), limited(DOWN), NONE).await >= LEAST);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_sends_no_faster_than_it_may() {
    assert!(transfer("up", limited(UP), config(), NONE).await >= LEAST);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torrent_has_limits_of_its_own_within_those_of_the_client() {
    let wide = Limits { down: Some(RATE * 100), up: Some(RATE) };
    assert!(transfer("own", config(), limited(wide), DOWN).await >= LEAST);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_connections_together_keep_a_limit() {
    let world = world("together");
    let mut seeders = Vec::new();
    for _ in 0..4 {
        seeders.push(seed(&world, config()).await);
    }
    let began = Instant::now();
    let from: Vec<_> = seeders.iter().map(|(client, _)| client).collect();
    let (leecher, mut fetched) = leech(&world, limited(DOWN), NONE, &from).await;
    complete(&mut fetched).await;
    assert!(began.elapsed() >= LEAST);
    arrived(&world);
    leecher.shutdown().await;
    for (seeder, _) in seeders {
        seeder.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_local_network_is_exempt_only_if_that_is_wished() {
    // With the limit it would take hours.
    let exempt = Config { limit_lan: false, ..limited(NEXT_TO_NOTHING) };
    transfer("lan", exempt.clone(), exempt, NEXT_TO_NOTHING).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_change_while_data_waits_for_them() {
    let world = world("change");
    let (seeder, seeding) = seed(&world, limited(NEXT_TO_NOTHING)).await;
    let (leecher, mut fetched) = leech(&world, limited(NEXT_TO_NOTHING), NEXT_TO_NOTHING, &[&seeder]).await;
    let sent = async || seeding.snapshot().await.is_some_and(|now| now.uploaded > 0);
    eventually("something left", sent).await;
    // One after the other, each in the middle of a block that the others hold up.
    seeder.set_limits(NONE).await;
    fetched.set_limits(NONE).await;
    let began = Instant::now();
    leecher.set_limits(DOWN).await;
    complete(&mut fetched).await;
    assert!(began.elapsed() >= LEAST);
    arrived(&world);
    end([leecher, seeder]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torrent_that_rests_takes_a_limit_and_keeps_it() {
    let world = world("rest");
    let (seeder, seeding) = seed(&world, Config { rest_after: Duration::ZERO, ..config() }).await;
    let rests = async || !seeding.is_awake();
    eventually("it rests", rests).await;
    seeding.set_limits(UP).await;
    assert!(!seeding.is_awake());
    for _ in 0..2 {
        let began = Instant::now();
        let (leecher, mut fetched) = leech(&world, config(), NONE, &[&seeder]).await;
        complete(&mut fetched).await;
        assert!(began.elapsed() >= LEAST);
        arrived(&world);
        leecher.shutdown().await;
        fs::remove_dir_all(world.temp.join("to")).unwrap();
        eventually("it rests again", rests).await;
    }
    seeder.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_that_lets_nothing_pass_lets_metadata_pass() {
    let world = world("metadata");
    let (seeder, _seeding) = seed(&world, limited(NEXT_TO_NOTHING)).await;
    let leecher = Client::start(limited(NEXT_TO_NOTHING)).await.unwrap();
    let source = AddSource::Magnet { hashes: world.metainfo.info.hashes(), name: None };
    let mut add = AddTorrent::new(source, world.temp.join("to"));
    add.peers.push(address(&seeder));
    let mut fetched = leecher.add(add).await.unwrap();
    until(&mut fetched, |e| matches!(e, TorrentEvent::Metadata(_))).await;
    end([leecher, seeder]).await;
}
