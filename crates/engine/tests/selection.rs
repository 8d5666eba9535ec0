//! Fetching some of a torrent's files.
#![allow(clippy::unwrap_used, reason = "a failure is a failed test")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{Temp, address, client, complete, download, make, seed, tree};
use samara_engine::{AddTorrent, Priority, State, TorrentEvent};
use samara_proto::metainfo::{Format, Metainfo};

const PIECE: u32 = 65_536;

/// Pieces reach over the ends of all files.
const FILES: &[(&str, usize)] =
    &[("a", 100_000), ("b/empty", 0), ("b/long", 300_000), ("c", 10), ("d/e/f", 200_000), ("d/empty", 0)];

/// Wants the files with these names, `t/` left out.
fn only(
    metainfo: &Metainfo,
    dir: &Path,
    peers: &[std::net::SocketAddr],
    names: &'static [&str],
) -> AddTorrent {
    let mut add = download(metainfo, dir, peers);
    add.select = Some(Box::new(|info| {
        let wanted = |path: String| Priority::from(names.contains(&path.as_str()));
        Ok(info.files().iter().map(|f| wanted(f.path.components().collect::<Vec<_>>().join("/"))).collect())
    }));
    add
}

fn names(dir: &Path) -> Vec<PathBuf> {
    tree(dir).into_keys().collect()
}

#[tokio::test]
async fn only_what_is_wanted_is_there_and_counted() {
    for format in [Format::V1, Format::V2, Format::Hybrid] {
        let temp = Temp::new("some");
        let (from, to, state) = (temp.join("from"), temp.join("to"), temp.join("state"));
        let metainfo = make(&from, format, FILES, PIECE);
        let (seeder, _shared) = seed(&metainfo, &from).await;
        let leech = client(Some(&state)).await;
        let add = only(&metainfo, &to, &[address(&seeder)], &["b/long", "d/empty"]);
        let mut fetched = leech.add(add).await.unwrap();
        complete(&mut fetched).await;
        assert_eq!(names(&to), ["t/b/long", "t/d/empty"].map(PathBuf::from), "{format}");
        assert!(fs::read(to.join("t/b/long")).unwrap() == fs::read(from.join("t/b/long")).unwrap());
        let now = fetched.snapshot().await.unwrap();
        assert_eq!((now.state, now.done, now.total), (State::Seeding, 300_000, 300_000), "{format}");
        leech.shutdown().await;

        // Wanting the rest later fetches no byte twice: what lay in the part store is moved over.
        let leech = client(Some(&state)).await;
        let mut fetched = leech.add(download(&metainfo, &to, &[address(&seeder)])).await.unwrap();
        complete(&mut fetched).await;
        assert!(tree(&to) == tree(&from), "{format}");
        let before = u64::from(300_000u32.div_ceil(PIECE) - 1) * u64::from(PIECE);
        let after = fetched.snapshot().await.unwrap().downloaded;
        assert!(after < 600_010 - before + 16_384 * FILES.len() as u64, "{format}: {after}");
        leech.shutdown().await;
        seeder.shutdown().await;
    }
}

#[tokio::test]
async fn a_selection_is_taken_up_again_without_resume_data() {
    let temp = Temp::new("again");
    let (from, to) = (temp.join("from"), temp.join("to"));
    let metainfo = make(&from, Format::V1, FILES, PIECE);
    let (seeder, _shared) = seed(&metainfo, &from).await;
    for round in 0..2 {
        let leech = client(None).await;
        let mut fetched = leech.add(only(&metainfo, &to, &[address(&seeder)], &["b/long"])).await.unwrap();
        complete(&mut fetched).await;
        let downloaded = fetched.snapshot().await.unwrap().downloaded;
        assert_eq!(downloaded > 0, round == 0, "round {round}: {downloaded}");
        leech.shutdown().await;
    }
    seeder.shutdown().await;
}

#[tokio::test]
async fn wanting_nothing_is_complete_at_once_and_leaves_nothing() {
    let temp = Temp::new("none");
    let metainfo = make(&temp.join("from"), Format::V1, FILES, PIECE);
    let client = client(None).await;
    let mut torrent = client.add(only(&metainfo, &temp.join("to"), &[], &[])).await.unwrap();
    complete(&mut torrent).await;
    let now = torrent.snapshot().await.unwrap();
    assert_eq!((now.done, now.total), (0, 0));
    client.shutdown().await;
    assert_eq!(fs::read_dir(temp.join("to")).unwrap().count(), 0);
}

#[tokio::test]
async fn files_that_a_selection_does_not_mention_are_not_wanted() {
    let temp = Temp::new("short");
    let (from, to) = (temp.join("from"), temp.join("to"));
    let metainfo = make(&from, Format::V1, FILES, PIECE);
    let (seeder, _shared) = seed(&metainfo, &from).await;
    let leech = client(None).await;
    let mut add = download(&metainfo, &to, &[address(&seeder)]);
    add.select = Some(Box::new(|_| Ok(vec![Priority::Normal])));
    let mut fetched = leech.add(add).await.unwrap();
    complete(&mut fetched).await;
    assert!(to.join("t/a").exists() && !to.join("t/b").exists());
    leech.shutdown().await;
    seeder.shutdown().await;
}

#[tokio::test]
async fn a_selection_that_fails_ends_the_torrent_with_its_words() {
    let temp = Temp::new("refused");
    let metainfo = make(&temp.join("from"), Format::V1, FILES, PIECE);
    let client = client(None).await;
    let mut add = download(&metainfo, &temp.join("to"), &[]);
    add.select = Some(Box::new(|_| Err("no file matches *.iso".into())));
    let mut torrent = client.add(add).await.unwrap();
    assert_eq!(common::failure(&mut torrent).await, "no file matches *.iso");
    client.shutdown().await;
}

#[tokio::test]
async fn a_torrent_without_a_byte_is_complete_at_once() {
    for format in [Format::V1, Format::V2, Format::Hybrid] {
        for files in [&[("empty", 0)][..], &[("a", 0), ("b/c", 0)]] {
            let temp = Temp::new("zero");
            let from = temp.join("from");
            let metainfo = make(&from, format, files, PIECE);
            let client = client(Some(&temp.join("state"))).await;
            let mut torrent = client.add(download(&metainfo, &temp.join("to"), &[])).await.unwrap();
            let event = common::until(&mut torrent, |e| matches!(e, TorrentEvent::Complete { .. })).await;
            let TorrentEvent::Complete { path } = event else { unreachable!() };
            assert!(path.exists());
            let now = torrent.snapshot().await.unwrap();
            assert_eq!((now.state, now.done, now.total), (State::Seeding, 0, 0), "{format}");
            assert!(tree(&temp.join("to")) == tree(&from), "{format}");
            client.shutdown().await;
        }
    }
}
