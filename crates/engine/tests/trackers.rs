//! Torrents and their trackers: peers find each other, what is announced when, and who is woken for it.

#![allow(clippy::unwrap_used, reason = "helpers of tests are not marked as tests")]

mod common;

use std::fs;
use std::path::Path;

use common::tracker::{Mood, Tracker};
use common::{LIMIT, Temp, address, complete, config, eventually, random, torrent, until};
use samara_engine::{AddSource, AddTorrent, Client, Config, Mode, Torrent, TorrentEvent};
use samara_proto::ids::WireHash;
use samara_proto::metainfo::Metainfo;
use samara_proto::tracker::announcer::ReportKind;
use samara_proto::tracker::{Event, TrackerUrl};

async fn start() -> Client {
    Client::start(config()).await.unwrap()
}

/// A torrent that names these trackers, each in a tier, with its data in `dir`.
fn make(dir: &Path, seed: u64, trackers: &[String]) -> Metainfo {
    let (name, data) = (format!("data{seed}.bin"), random(seed, 300_000));
    fs::write(dir.join(&name), &data).unwrap();
    let mut metainfo = torrent(&name, &data, 16_384);
    metainfo.trackers = trackers.iter().map(|url| vec![url.clone()]).collect();
    metainfo
}

fn hash(metainfo: &Metainfo) -> WireHash {
    metainfo.info.hashes().primary()
}

fn add(metainfo: &Metainfo, dir: &Path, mode: Mode) -> AddTorrent {
    AddTorrent { mode, ..AddTorrent::new(AddSource::Metainfo(Box::new(metainfo.clone())), dir) }
}

async fn seed(client: &Client, metainfo: &Metainfo, dir: &Path) -> Torrent {
    let mut torrent = client.add(add(metainfo, dir, Mode::Seed)).await.unwrap();
    until(&mut torrent, |event| matches!(event, TorrentEvent::Tracker(_))).await;
    torrent
}

async fn share(client: &Client, torrents: Vec<AddTorrent>) {
    let mut sharing = client.share(torrents);
    while sharing.next().await.is_some() {}
}

#[tokio::test]
async fn seed_and_leech_find_each_other_and_say_how_far_they_are() {
    let tracker = Tracker::start().await;
    for url in [tracker.http(), tracker.udp()] {
        let temp = Temp::new("find");
        let (from, to) = (temp.join("from"), temp.join("to"));
        let metainfo = make(&from, url.len() as u64, &[url]);
        let (seeder, leecher) = (start().await, start().await);
        let _shared = seed(&seeder, &metainfo, &from).await;
        let mut fetched = leecher.add(add(&metainfo, &to, Mode::Download)).await.unwrap();
        complete(&mut fetched).await;
        let told = async || tracker.events(hash(&metainfo)).contains(&Event::Completed);
        eventually("the end is told", told).await;
        leecher.shutdown().await;
        seeder.shutdown().await;
        let said: Vec<_> = tracker.heard().into_iter().map(|heard| heard.request).collect();
        let said: Vec<_> = said.into_iter().filter(|said| said.info_hash == hash(&metainfo)).collect();
        let (whole, events) = (300_000, said.iter().map(|said| (said.event, said.left)).collect::<Vec<_>>());
        let expected = [
            (Event::Started, 0),
            (Event::Started, whole),
            (Event::Completed, 0),
            (Event::Stopped, 0),
            (Event::Stopped, 0),
        ];
        assert_eq!(events, expected);
        let moved: Vec<_> = said.iter().map(|said| (said.downloaded, said.uploaded)).collect();
        assert_eq!(moved, [(0, 0), (0, 0), (whole, 0), (whole, 0), (0, whole)]);
    }
}

#[tokio::test]
async fn a_link_and_a_user_name_trackers() {
    let tracker = Tracker::start().await;
    let temp = Temp::new("link");
    let (from, one, two) = (temp.join("from"), temp.join("one"), temp.join("two"));
    let metainfo = make(&from, 1, &[]);
    let seeder = start().await;
    let mut own = add(&metainfo, &from, Mode::Seed);
    own.trackers.push(TrackerUrl::parse(&tracker.udp()).unwrap());
    let mut shared = seeder.add(own).await.unwrap();
    until(&mut shared, |event| matches!(event, TorrentEvent::Tracker(_))).await;
    let status = shared.trackers().await;
    assert_eq!((status.len(), status[0].url.as_str()), (1, tracker.udp().as_str()));
    let leecher = start().await;
    let link = AddSource::Magnet { hashes: metainfo.info.hashes(), name: None };
    let mut by_link = AddTorrent::new(link.clone(), &one);
    by_link.linked_trackers = vec!["no url".into(), tracker.http()];
    let mut fetched = leecher.add(by_link).await.unwrap();
    complete(&mut fetched).await;
    leecher.shutdown().await;
    // Without trackers nobody is asked.
    let silent = Client::start(Config { trackers: false, ..config() }).await.unwrap();
    let mut nobody = AddTorrent::new(link, &two);
    nobody.linked_trackers = vec![tracker.http()];
    let before = tracker.heard().len();
    let torrent = silent.add(nobody).await.unwrap();
    assert!(torrent.trackers().await.is_empty());
    silent.shutdown().await;
    assert_eq!(tracker.heard().len(), before);
    seeder.shutdown().await;
}

#[tokio::test]
async fn what_rests_is_announced_and_answers_whoever_comes() {
    let tracker = Tracker::start().await;
    let temp = Temp::new("rest");
    let (from, to) = (temp.join("from"), temp.join("to"));
    let all: Vec<_> = (0..20).map(|n| make(&from, n, &[tracker.http()])).collect();
    let seeder = start().await;
    share(&seeder, all.iter().map(|metainfo| add(metainfo, &from, Mode::Seed)).collect()).await;
    eventually("all are announced", async || tracker.heard().len() == 20).await;
    assert_eq!(seeder.overview().await.awake, 0);
    let leecher = start().await;
    let mut fetched = leecher.add(add(&all[7], &to, Mode::Download)).await.unwrap();
    complete(&mut fetched).await;
    leecher.shutdown().await;
    let port = address(&seeder).port();
    seeder.shutdown().await;
    for metainfo in &all {
        let said = tracker.heard().into_iter().map(|heard| heard.request);
        let said = said.filter(|said| (said.info_hash, said.port) == (hash(metainfo), port));
        let said: Vec<_> = said.map(|said| (said.event, said.left)).collect();
        assert_eq!(said, [(Event::Started, 0), (Event::Stopped, 0)]);
    }
    let last = tracker.heard().into_iter().rfind(|heard| heard.request.info_hash == hash(&all[7]));
    assert_eq!(last.unwrap().request.uploaded, 300_000);
}

#[tokio::test]
async fn what_is_there_already_was_not_downloaded() {
    let tracker = Tracker::start().await;
    let temp = Temp::new("there");
    let (from, to) = (temp.join("from"), temp.join("to"));
    let metainfo = make(&from, 1, &[]);
    fs::create_dir_all(&to).unwrap();
    fs::copy(from.join("data1.bin"), to.join("data1.bin")).unwrap();
    let (seeder, leecher) = (start().await, start().await);
    seeder.add(add(&metainfo, &from, Mode::Seed)).await.unwrap();
    let mut link = AddTorrent::new(AddSource::Magnet { hashes: metainfo.info.hashes(), name: None }, &to);
    link.linked_trackers = vec![tracker.http()];
    link.peers = vec![address(&seeder)];
    let mut fetched = leecher.add(link).await.unwrap();
    let (mut announced, mut whole) = (false, false);
    let both = |event: &TorrentEvent| {
        announced |= matches!(event, TorrentEvent::Tracker(_));
        whole |= matches!(event, TorrentEvent::Complete { .. });
        announced && whole
    };
    until(&mut fetched, both).await;
    leecher.shutdown().await;
    seeder.shutdown().await;
    assert_eq!(tracker.events(hash(&metainfo)), [Event::Started, Event::Stopped]);
}

#[tokio::test]
async fn what_cannot_be_woken_goes_on_as_it_was() {
    let tracker = Tracker::start().await;
    let temp = Temp::new("gone");
    let from = temp.join("from");
    let metainfo = make(&from, 1, &[tracker.http()]);
    let seeder = start().await;
    share(&seeder, vec![add(&metainfo, &from, Mode::Seed)]).await;
    let mut shared = seeder.torrent(&metainfo.info.hashes()).unwrap();
    let seeds =
        async || shared.trackers().await.iter().any(|it| it.lines.iter().any(|line| line.answered.is_some()));
    eventually("it is announced", seeds).await;
    fs::remove_file(from.join("data1.bin")).unwrap();
    assert!(shared.metainfo().await.is_some());
    until(&mut shared, |event| matches!(event, TorrentEvent::Warning(_))).await;
    eventually("it rests again", async || seeder.overview().await.awake == 0).await;
    seeder.shutdown().await;
    let said: Vec<_> = tracker.heard().into_iter().map(|heard| heard.request).collect();
    let said: Vec<_> = said.iter().map(|said| (said.event, said.left)).collect();
    assert_eq!(said, [(Event::Started, 0), (Event::Stopped, 0)]);
}

#[tokio::test]
async fn what_rests_is_woken_for_those_who_may_not_reach_it_but_not_for_seeds() {
    let tracker = Tracker::start().await;
    let temp = Temp::new("wake");
    let (from, to) = (temp.join("from"), temp.join("to"));
    let (wanted, other) = (make(&from, 1, &[tracker.udp()]), make(&from, 2, &[tracker.udp()]));
    // It asks no tracker: only the seed can call.
    let leecher = Client::start(Config { trackers: false, ..config() }).await.unwrap();
    let mut fetched = leecher.add(add(&wanted, &to, Mode::Download)).await.unwrap();
    tracker.plant(hash(&wanted), address(&leecher), false);
    tracker.plant(hash(&other), address(&leecher), true);
    let seeder = start().await;
    let mut news = seeder.events();
    share(&seeder, vec![add(&other, &from, Mode::Seed)]).await;
    let heard = async { while !matches!(news.next().await, Some((_, TorrentEvent::Tracker(_)))) {} };
    tokio::time::timeout(LIMIT, heard).await.unwrap();
    assert_eq!(seeder.overview().await.awake, 0, "it was woken for a seed");
    share(&seeder, vec![add(&wanted, &from, Mode::Seed)]).await;
    complete(&mut fetched).await;
    leecher.shutdown().await;
    seeder.shutdown().await;
    let said: Vec<_> = tracker.heard().into_iter().map(|heard| heard.request).collect();
    let said = said.iter().filter(|said| said.info_hash == hash(&wanted));
    assert_eq!(
        said.map(|said| (said.event, said.left)).collect::<Vec<_>>(),
        [(Event::Started, 0), (Event::Stopped, 0)]
    );
}

#[tokio::test]
async fn a_refusal_is_told_and_a_silent_tracker_holds_up_no_end() {
    let tracker = Tracker::start().await;
    let temp = Temp::new("refused");
    let from = temp.join("from");
    let metainfo = make(&from, 1, &[tracker.http()]);
    let client = start().await;
    tracker.set(Mood::Refuse("not registered".into()));
    let mut torrent = client.add(add(&metainfo, &from, Mode::Seed)).await.unwrap();
    let event = until(&mut torrent, |event| matches!(event, TorrentEvent::Tracker(_))).await;
    let TorrentEvent::Tracker(report) = event else { panic!("waited for another") };
    assert!(matches!(&report.what, ReportKind::Failed(problem) if problem.to_string() == "not registered"));
    client.remove(metainfo.info.hashes()).await;
    tracker.set(Mood::Kind { interval: 1800, min_interval: None });
    seed(&client, &metainfo, &from).await;
    tracker.set(Mood::Silent);
    client.shutdown().await;
    assert!(!tracker.events(hash(&metainfo)).contains(&Event::Stopped));
}
