//! Files that are cut short or go away under a running torrent.
#![allow(clippy::unwrap_used, reason = "a failure is a failed test")]

mod common;

use std::fs;

use common::{Temp, address, client, complete, download, eventually, make, seed, tree, until};
use samara_engine::{ReadError, State, TorrentEvent};
use samara_proto::ids::PieceIndex;
use samara_proto::metainfo::Format;

const PIECE: u32 = 65_536;
const FILES: &[(&str, usize)] = &[("a", 300_000), ("b", 200_000)];

fn truncate(path: &std::path::Path, len: u64) {
    fs::OpenOptions::new().write(true).open(path).unwrap().set_len(len).unwrap();
}

#[tokio::test]
async fn a_seed_goes_on_with_what_is_left_of_a_file_that_was_cut_short() {
    let temp = Temp::new("cut");
    let (from, to) = (temp.join("from"), temp.join("to"));
    let metainfo = make(&from, Format::V1, FILES, PIECE);
    let (seeder, mut shared) = seed(&metainfo, &from).await;
    truncate(&from.join("t/a"), 150_000);
    assert_eq!(shared.read_piece(PieceIndex(3)).await, Err(ReadError::Disk));
    let warned = until(&mut shared, |e| matches!(e, TorrentEvent::Warning(_))).await;
    assert!(format!("{warned:?}").contains("not shared any more"), "{warned:?}");
    let now = shared.snapshot().await.unwrap();
    // Two pieces of a are left, and those of b but for the one that b shares with a.
    let lost = 3 * u64::from(PIECE);
    assert_eq!((now.state, now.done, now.total), (State::Seeding, 500_000 - lost, 500_000 - lost));
    let leech = client(None).await;
    let fetched = leech.add(download(&metainfo, &to, &[address(&seeder)])).await.unwrap();
    eventually("what is left comes", async || fetched.snapshot().await.unwrap().done == 500_000 - lost).await;
    leech.shutdown().await;
    seeder.shutdown().await;
}

#[tokio::test]
async fn a_download_fetches_again_what_was_cut_off_and_tells_its_peers() {
    for gone in [false, true] {
        let temp = Temp::new("again");
        let (from, to, third) = (temp.join("from"), temp.join("to"), temp.join("third"));
        let metainfo = make(&from, Format::V1, FILES, PIECE);
        let (seeder, _shared) = seed(&metainfo, &from).await;
        let leech = client(Some(&temp.join("state"))).await;
        let mut fetched = leech.add(download(&metainfo, &to, &[address(&seeder)])).await.unwrap();
        complete(&mut fetched).await;
        truncate(&to.join("t/a"), 100_000);
        if gone {
            // What is open is cut off too, so that reading fails also there.
            fs::remove_file(to.join("t/a")).unwrap();
        }
        assert_eq!(fetched.read_piece(PieceIndex(2)).await, Err(ReadError::Disk));
        complete(&mut fetched).await;
        assert!(tree(&to) == tree(&from), "{gone}");
        // It serves what came anew.
        seeder.shutdown().await;
        let other = client(None).await;
        let mut copied = other.add(download(&metainfo, &third, &[address(&leech)])).await.unwrap();
        complete(&mut copied).await;
        assert!(tree(&third) == tree(&from), "{gone}");
        other.shutdown().await;
        leech.shutdown().await;
    }
}
