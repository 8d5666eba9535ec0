//! After a shutdown nothing is left: no task, no disk thread, no descriptor, no buffer. Alone in its process, since it
//! counts what the process has.

mod common;

use std::fs;

use common::{LIMIT, Temp, address, client, complete, random, seed, torrent};
use samara_engine::{AddSource, AddTorrent};

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
        let leech = client(Some(&temp.join("state"))).await;
        let mut add = AddTorrent::new(AddSource::Metainfo(Box::new(metainfo.clone())), &to);
        add.peers.push(address(&seeder));
        let mut fetched = leech.add(add).await.unwrap();
        complete(&mut fetched).await;
        leech.shutdown().await;
        seeder.shutdown().await;
    }
    // A task that was joined is counted until its worker has put it away, a moment later.
    let metrics = tokio::runtime::Handle::current().metrics();
    let none_left = async {
        while metrics.num_alive_tasks() > 0 {
            tokio::task::yield_now().await
        }
    };
    tokio::time::timeout(LIMIT, none_left).await.expect("every task was joined");
    assert_eq!(disk_threads(), 0, "every disk thread was joined");
    assert_eq!(count("/proc/self/fd"), before, "every descriptor was closed");
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
