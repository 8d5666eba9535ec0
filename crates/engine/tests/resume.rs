//! What a restart believes, what it looks at again, and what it says when it cannot.
#![allow(clippy::unwrap_used, reason = "a failure is a failed test")]

mod common;

use std::fs;
use std::path::Path;

use common::{Temp, address, client, complete, download, failure, make, seed, tree, until};
use samara_engine::{Mode, TorrentEvent};
use samara_proto::metainfo::{Format, Metainfo};

const LEN: usize = 1_000_000;

/// Downloads what is missing; says how much that was, and whether anything was hashed before.
async fn fetch(metainfo: &Metainfo, temp: &Temp, peer: std::net::SocketAddr) -> (u64, bool) {
    let leech = client(Some(&temp.join("state"))).await;
    let mut fetched = leech.add(download(metainfo, &temp.join("to"), &[peer])).await.unwrap();
    let mut hashed = false;
    until(&mut fetched, |e| {
        hashed |= matches!(e, TorrentEvent::Checking { .. });
        matches!(e, TorrentEvent::Complete { .. })
    })
    .await;
    let downloaded = fetched.snapshot().await.unwrap().downloaded;
    leech.shutdown().await;
    (downloaded, hashed)
}

#[tokio::test]
async fn a_file_that_changed_after_it_was_complete_is_hashed_again_and_mended() {
    let temp = Temp::new("changed");
    let from = temp.join("from");
    let metainfo = make(&from, Format::V1, &[("a", LEN), ("b", LEN)], 65_536);
    let (seeder, _shared) = seed(&metainfo, &from).await;
    let peer = address(&seeder);
    assert_eq!(fetch(&metainfo, &temp, peer).await.0, 2 * LEN as u64);
    assert_eq!(fetch(&metainfo, &temp, peer).await, (0, false));

    let path = temp.join("to").join("t/b");
    let mut bytes = fs::read(&path).unwrap();
    bytes[LEN / 2] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let (downloaded, hashed) = fetch(&metainfo, &temp, peer).await;
    assert_eq!((downloaded, hashed), (65_536, true));
    assert!(tree(&temp.join("to")) == tree(&from));
    assert_eq!(fetch(&metainfo, &temp, peer).await, (0, false), "and is believed from then on");
    seeder.shutdown().await;
}

#[tokio::test]
async fn a_file_that_was_removed_is_fetched_again() {
    let temp = Temp::new("removed");
    let from = temp.join("from");
    let metainfo = make(&from, Format::Hybrid, &[("a", LEN), ("b", LEN)], 65_536);
    let (seeder, _shared) = seed(&metainfo, &from).await;
    fetch(&metainfo, &temp, address(&seeder)).await;
    fs::remove_file(temp.join("to").join("t/a")).unwrap();
    let (downloaded, _) = fetch(&metainfo, &temp, address(&seeder)).await;
    assert!((LEN as u64..LEN as u64 + 65_536).contains(&downloaded), "{downloaded}");
    assert!(tree(&temp.join("to")) == tree(&from));
    seeder.shutdown().await;
}

#[tokio::test]
async fn damaged_resume_data_costs_a_check_and_no_more() {
    let temp = Temp::new("damaged");
    let from = temp.join("from");
    let metainfo = make(&from, Format::V1, &[("a", LEN)], 65_536);
    let (seeder, _shared) = seed(&metainfo, &from).await;
    fetch(&metainfo, &temp, address(&seeder)).await;
    for file in fs::read_dir(temp.join("state").join("resume")).unwrap().flatten() {
        if file.path().extension().is_some_and(|e| e == "resume") {
            let bytes = fs::read(file.path()).unwrap();
            fs::write(file.path(), &bytes[..bytes.len() / 2]).unwrap();
        }
    }
    assert_eq!(fetch(&metainfo, &temp, address(&seeder)).await, (0, true));
    seeder.shutdown().await;
}

#[tokio::test]
async fn a_state_folder_that_cannot_be_made_is_an_error_that_names_it() {
    let temp = Temp::new("state");
    let metainfo = make(&temp.join("from"), Format::V1, &[("a", LEN)], 65_536);
    // Not even root can make a folder below a file.
    let state = temp.join("x").join("file");
    fs::write(&state, b"").unwrap();
    let client = client(Some(&state)).await;
    for mode in [Mode::Download, Mode::Seed] {
        let mut add = download(&metainfo, &temp.join("from"), &[]);
        add.mode = mode;
        let mut torrent = client.add(add).await.unwrap();
        let why = failure(&mut torrent).await;
        assert!(why.contains(&state.display().to_string()), "{why}");
    }
    client.shutdown().await;
}

#[tokio::test]
async fn a_target_that_cannot_be_made_is_an_error_that_names_it() {
    let temp = Temp::new("target");
    let from = temp.join("from");
    let metainfo = make(&from, Format::V1, &[("a", LEN)], 65_536);
    let (seeder, _shared) = seed(&metainfo, &from).await;
    let to = temp.join("x").join("file");
    fs::write(&to, b"").unwrap();
    let client = client(None).await;
    let mut torrent = client.add(download(&metainfo, &to, &[address(&seeder)])).await.unwrap();
    let why = failure(&mut torrent).await;
    assert!(why.contains(&to.display().to_string()), "{why}");
    client.shutdown().await;
    seeder.shutdown().await;
}

#[tokio::test]
async fn a_second_client_on_the_same_download_is_told_so() {
    let temp = Temp::new("second");
    let metainfo = make(&temp.join("from"), Format::V1, &[("a", LEN)], 65_536);
    let state = temp.join("state");
    let (first, second) = (client(Some(&state)).await, client(Some(&state)).await);
    let to = temp.join("to");
    let mut one = first.add(download(&metainfo, &to, &[])).await.unwrap();
    until(&mut one, |e| matches!(e, TorrentEvent::Started)).await;
    let mut two = second.add(download(&metainfo, &to, &[])).await.unwrap();
    let why = failure(&mut two).await;
    assert!(why.contains("another process"), "{why}");
    // Into another folder it may go.
    let mut two = second.add(download(&metainfo, &temp.join("other"), &[])).await.unwrap();
    until(&mut two, |e| matches!(e, TorrentEvent::Started)).await;
    first.shutdown().await;
    second.shutdown().await;
}

#[tokio::test]
async fn of_a_part_file_and_a_short_file_of_the_name_the_part_is_gone_on_with() {
    let temp = Temp::new("both");
    let from = temp.join("from");
    let metainfo = make(&from, Format::V1, &[("a", LEN)], 65_536);
    let (seeder, _shared) = seed(&metainfo, &from).await;
    let data = fs::read(from.join("a")).unwrap();
    let to = temp.join("to");
    fs::write(to.join("a.part"), &data[..10 * 65_536]).unwrap();
    fs::write(to.join("a"), b"something else").unwrap();
    let (downloaded, _) = fetch(&metainfo, &temp, address(&seeder)).await;
    assert_eq!(downloaded, (LEN - 10 * 65_536) as u64);
    assert!(fs::read(to.join("a")).unwrap() == data);
    assert!(tree(&to).values().any(|bytes| bytes == b"something else"), "nothing is overwritten");
    seeder.shutdown().await;
}

#[tokio::test]
async fn what_was_synced_before_a_crash_is_neither_fetched_nor_hashed_again() {
    let temp = Temp::new("crash");
    let from = temp.join("from");
    let metainfo = make(&from, Format::V1, &[("a", LEN)], 65_536);
    let (seeder, _shared) = seed(&metainfo, &from).await;
    let state = temp.join("state");
    let leech = client(Some(&state)).await;
    let mut fetched = leech.add(download(&metainfo, &temp.join("to"), &[address(&seeder)])).await.unwrap();
    complete(&mut fetched).await;
    let saved = || saved_pieces(&state) == LEN.div_ceil(65_536);
    common::eventually("the resume data is saved while it goes on seeding", async || saved()).await;
    drop((leech, fetched));
    let store = || {
        let hashes = metainfo.info.hashes();
        samara_engine::store::Store::open(&state, &hashes, &temp.join("to")).unwrap().lock().is_ok()
    };
    common::eventually("the lock is free", async || store()).await;
    assert_eq!(fetch(&metainfo, &temp, address(&seeder)).await, (0, false));
    seeder.shutdown().await;
}

/// Pieces that the resume data vouches for.
fn saved_pieces(state: &Path) -> usize {
    let files = fs::read_dir(state.join("resume")).into_iter().flatten().flatten();
    let record = files.map(|f| f.path()).find(|p| p.extension().is_some_and(|e| e == "resume"));
    let record = record.and_then(|path| samara_engine::store::Record::parse(&fs::read(path).unwrap()));
    record.map_or(0, |record| record.have.count() as usize)
}
