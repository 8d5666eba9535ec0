//! After a shutdown nothing is left: no task, no disk thread, no descriptor, no buffer. Alone in its process, since it
//! counts what the process has.
#![allow(clippy::unwrap_used, reason = "a failure is a failed test")]

mod common;

use std::fs;
use std::path::Path;

use common::raw::Raw;
use common::{Temp, address, complete, config, random, seed, torrent};
use samara_engine::dht::DhtConfig;
use samara_engine::{AddSource, AddTorrent, Client, Config};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_leaves_nothing_behind() {
    let before = count("/proc/self/fd");
    let temp = Temp::new("leaks");
    let data = random(1, 3_000_001);
    let (from, to) = (temp.join("from"), temp.join("to"));
    fs::write(from.join("data.bin"), &data).unwrap();
    let metainfo = torrent("data.bin", &data, 65_536);
    for _ in 0..3 {
        let (seeder, _shared) = seed(&metainfo, &from).await;
        let stranger = Raw::connect(address(&seeder)).await;
        let leech = client(&temp.join("state")).await;
        let mut add = AddTorrent::new(AddSource::Metainfo(Box::new(metainfo.clone())), &to);
        add.peers.push(address(&seeder));
        let mut fetched = leech.add(add).await.unwrap();
        complete(&mut fetched).await;
        leech.shutdown().await;
        seeder.shutdown().await;
        drop(stranger);
    }
    assert_eq!(count("/proc/self/fd"), before, "every descriptor was closed");
    nothing_runs().await;

    // A client that is dropped leaves as little, a moment later.
    for _ in 0..3 {
        let hasty = client(&temp.join("state")).await;
        hasty.add(AddTorrent::new(AddSource::Metainfo(Box::new(metainfo.clone())), &from)).await.unwrap();
    }
    nothing_runs().await;
    common::eventually("every descriptor is closed", async || count("/proc/self/fd") == before).await;
}

/// One that has everything, in a DHT of its own.
async fn client(state: &Path) -> Client {
    let dht = Some(DhtConfig { bootstrap: Vec::new(), ..DhtConfig::default() });
    Client::start(Config { dht, state_dir: Some(state.to_owned()), ..config() }).await.unwrap()
}

/// The runtime counts a task, and the system a thread, a moment longer than they let others wait for it.
async fn nothing_runs() {
    let tasks = tokio::runtime::Handle::current().metrics();
    common::eventually("every task has ended", async || tasks.num_alive_tasks() == 0).await;
    common::eventually("every disk thread has ended", async || disk_threads() == 0).await;
}

fn count(path: &str) -> usize {
    fs::read_dir(path).map_or(0, Iterator::count)
}

/// Threads of this process that belong to the disk, by name.
fn disk_threads() -> usize {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let name = |task: fs::DirEntry| fs::read_to_string(task.path().join("comm")).unwrap_or_default();
    tasks.map(name).filter(|name| name.starts_with("samara-")).count()
}
