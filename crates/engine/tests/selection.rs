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
        // What the pieces at the edges hold of others is gone: it would lie in the user's folder.
        let least = if round == 0 { 300_000 } else { 1 };
        let most = if round == 0 { 500_000 } else { 2 * u64::from(PIECE) };
        assert!((least..=most).contains(&downloaded), "round {round}: {downloaded}");
        leech.shutdown().await;
        assert_eq!(names(&to), ["t/b/long"].map(PathBuf::from));
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

fn priorities(metainfo: &Metainfo, names: &[&str], priority: Priority) -> Vec<Priority> {
    let name = |f: &samara_proto::metainfo::FileEntry| f.path.components().collect::<Vec<_>>().join("/");
    let files = metainfo.info.files().iter().map(|f| names.contains(&name(f).as_str()));
    files.map(|chosen| if chosen { priority } else { Priority::Skip }).collect()
}

/// All names in the folder, hidden ones too.
fn all_names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = entries.collect();
    names.sort();
    names
}

#[tokio::test]
async fn files_that_become_wanted_while_it_runs_appear_whole_and_no_byte_comes_twice() {
    for (format, with_state) in
        [(Format::V1, true), (Format::V1, false), (Format::V2, true), (Format::Hybrid, false)]
    {
        let temp = Temp::new("more");
        let (from, to, state) = (temp.join("from"), temp.join("to"), temp.join("state"));
        let metainfo = make(&from, format, FILES, PIECE);
        let (seeder, _shared) = seed(&metainfo, &from).await;
        let leech = client(with_state.then_some(&*state)).await;
        let add = only(&metainfo, &to, &[address(&seeder)], &["b/long"]);
        let mut fetched = leech.add(add).await.unwrap();
        complete(&mut fetched).await;
        assert_eq!(names(&to).iter().filter(|n| n.starts_with("t")).count(), 1, "{format}");
        let more = ["b/long", "c", "d/empty"];
        fetched.select(priorities(&metainfo, &more, Priority::High)).await.unwrap();
        complete(&mut fetched).await;
        for name in more {
            assert!(
                fs::read(to.join("t").join(name)).unwrap() == fs::read(from.join("t").join(name)).unwrap()
            );
        }
        let now = fetched.snapshot().await.unwrap();
        assert_eq!((now.state, now.done, now.total), (State::Seeding, 300_010, 300_010), "{format}");
        // All of it: the part store has nothing to hold any more, and is gone at once.
        let all = vec![Priority::Normal; metainfo.info.files().len()];
        fetched.select(all).await.unwrap();
        complete(&mut fetched).await;
        assert!(tree(&to) == tree(&from), "{format}");
        assert_eq!(all_names(&to), ["t"], "{format}");
        let downloaded = fetched.snapshot().await.unwrap().downloaded;
        assert!(downloaded < 600_010 + 16_384, "{format}: {downloaded}");
        leech.shutdown().await;
        let left = |dir: &Path| all_names(dir).iter().filter(|n| n.ends_with("parts")).count();
        assert_eq!(left(&state), 0, "{format}");
        seeder.shutdown().await;
    }
}

#[tokio::test]
async fn what_is_not_wanted_any_more_is_not_fetched_and_the_folder_is_clean_in_the_end() {
    for with_state in [true, false] {
        let temp = Temp::new("less");
        let (from, to, state) = (temp.join("from"), temp.join("to"), temp.join("state"));
        let metainfo = make(&from, Format::V1, FILES, PIECE);
        // It has nothing to give until the selection is made.
        let seeder = client(None).await;
        let leech = client(with_state.then_some(&*state)).await;
        let mut fetched = leech.add(download(&metainfo, &to, &[address(&seeder)])).await.unwrap();
        common::until(&mut fetched, |e| matches!(e, TorrentEvent::Started)).await;
        fetched.select(priorities(&metainfo, &["a", "c"], Priority::Low)).await.unwrap();
        let shared = AddTorrent { mode: samara_engine::Mode::Seed, ..download(&metainfo, &from, &[]) };
        let _shared = seeder.add(shared).await.unwrap();
        complete(&mut fetched).await;
        let now = fetched.snapshot().await.unwrap();
        assert_eq!((now.done, now.total), (100_010, 100_010));
        // Two pieces of a, and the one that holds c.
        assert!(now.downloaded <= 3 * u64::from(PIECE), "{}", now.downloaded);
        leech.shutdown().await;
        // The empty ones were there when all was wanted.
        let there = ["t/a", "t/b/empty", "t/c", "t/d/empty"].map(PathBuf::from);
        assert_eq!(names(&to), there, "{with_state}");
        assert_eq!(all_names(&to), ["t"]);
        for name in ["a", "c"] {
            assert!(
                fs::read(to.join("t").join(name)).unwrap() == fs::read(from.join("t").join(name)).unwrap()
            );
        }
        seeder.shutdown().await;
    }
}

#[tokio::test]
async fn a_selection_made_before_the_data_is_open_waits_and_a_shared_torrent_refuses() {
    let temp = Temp::new("early");
    let (from, to) = (temp.join("from"), temp.join("to"));
    let metainfo = make(&from, Format::V1, FILES, PIECE);
    let (seeder, shared) = seed(&metainfo, &from).await;
    let leech = client(None).await;
    let mut fetched = leech.add(download(&metainfo, &to, &[])).await.unwrap();
    fetched.select(priorities(&metainfo, &[], Priority::Normal)).await.unwrap();
    complete(&mut fetched).await;
    assert_eq!(fetched.snapshot().await.unwrap().total, 0);
    let refused = shared.select(vec![Priority::High]).await;
    assert_eq!(refused, Err(samara_engine::SelectError::ReadOnly));
    leech.shutdown().await;
    assert_eq!(fetched.select(Vec::new()).await, Err(samara_engine::SelectError::Ended));
    seeder.shutdown().await;
}
