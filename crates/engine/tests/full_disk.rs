//! A disk that is really full: a small file system of its own, which only root can mount.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a failure is a failed test")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Temp, address, client, complete, download, make, seed, until};
use samara_engine::{State, TorrentEvent};
use samara_proto::metainfo::Format;

/// A file system in memory of so many bytes, unmounted at the end.
struct Small(PathBuf);

impl Small {
    fn mount(at: PathBuf, bytes: u64) -> Self {
        let size = format!("size={bytes}");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&at).status();
        assert!(mount.unwrap().success(), "mounting needs root");
        Self(at)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn fill(path: &Path, bytes: usize) {
    fs::write(path, vec![1; bytes]).unwrap();
}

#[tokio::test]
#[ignore = "mounts a file system, which needs root: run by `cargo xtask test`"]
async fn a_full_disk_pauses_the_torrent_and_room_lets_it_go_on() {
    let temp = Temp::new("full");
    let from = temp.join("from");
    let metainfo = make(&from, Format::V1, &[("d", 6_000_000)], 65_536);
    let (seeder, _shared) = seed(&metainfo, &from).await;
    let small = Small::mount(temp.join("small"), 8 << 20);
    fill(&small.0.join("ballast"), 5 << 20);

    let leech = client(Some(&temp.join("state"))).await;
    let mut fetched = leech.add(download(&metainfo, &small.0, &[address(&seeder)])).await.unwrap();
    let paused = until(&mut fetched, |e| matches!(e, TorrentEvent::Paused(_))).await;
    let TorrentEvent::Paused(why) = paused else { unreachable!() };
    assert!(why.contains("full"), "{why}");
    let now = fetched.snapshot().await.unwrap();
    assert!(now.state == State::Paused && now.done < 6_000_000, "{now:?}");

    fs::remove_file(small.0.join("ballast")).unwrap();
    until(&mut fetched, |e| matches!(e, TorrentEvent::Resumed)).await;
    complete(&mut fetched).await;
    assert!(fs::read(small.0.join("d")).unwrap() == fs::read(from.join("d")).unwrap());
    assert_eq!(fetched.snapshot().await.unwrap().state, State::Seeding);
    leech.shutdown().await;
    seeder.shutdown().await;
}

#[tokio::test]
#[ignore = "mounts a file system, which needs root: run by `cargo xtask test`"]
async fn ending_on_a_full_disk_keeps_what_was_proven() {
    let temp = Temp::new("full-end");
    let from = temp.join("from");
    let metainfo = make(&from, Format::V1, &[("d", 6_000_000)], 65_536);
    let (seeder, _shared) = seed(&metainfo, &from).await;
    let small = Small::mount(temp.join("small"), 8 << 20);
    fill(&small.0.join("ballast"), 5 << 20);
    let state = temp.join("state");
    let leech = client(Some(&state)).await;
    let mut fetched = leech.add(download(&metainfo, &small.0, &[address(&seeder)])).await.unwrap();
    until(&mut fetched, |e| matches!(e, TorrentEvent::Paused(_))).await;
    let done = fetched.snapshot().await.unwrap().done;
    tokio::time::timeout(std::time::Duration::from_secs(5), leech.shutdown()).await.expect("it ends soon");

    fs::remove_file(small.0.join("ballast")).unwrap();
    let leech = client(Some(&state)).await;
    let mut fetched = leech.add(download(&metainfo, &small.0, &[address(&seeder)])).await.unwrap();
    complete(&mut fetched).await;
    assert!(fetched.snapshot().await.unwrap().downloaded <= 6_000_000 - done);
    leech.shutdown().await;
    seeder.shutdown().await;
}
