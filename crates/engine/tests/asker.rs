//! Single questions to trackers that behave and that do not.

#![allow(clippy::unwrap_used, reason = "helpers of tests are not marked as tests")]

mod common;

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use common::tracker::{Mood, Tracker};
use flate2::Compression;
use flate2::write::GzEncoder;
use samara_engine::trackers::{Answer, AskError, Asker, Question, Told, What};
use samara_proto::ids::{PeerId, WireHash};
use samara_proto::tracker::reach::{Policy, Refused, Source};
use samara_proto::tracker::udp_client;
use samara_proto::tracker::{AnnounceRequest, AnnounceResponse, Event, Family, ScrapeStats, TrackerUrl};

const HASH: WireHash = WireHash([0xab; 20]);

/// Patient enough for a busy machine, where an answer comes at all.
const UDP: udp_client::Config = udp_client::Config { timeout: Duration::from_secs(10), tries: 2, asks: 64 };

fn asker() -> Asker {
    Asker::new(&[], Policy::default(), UDP)
}

fn request() -> AnnounceRequest {
    AnnounceRequest {
        info_hash: HASH,
        peer_id: PeerId([b'x'; 20]),
        port: 6881,
        uploaded: 1,
        downloaded: 2,
        left: 3,
        event: Event::Started,
        numwant: Some(30),
        key: 0xdead_beef,
        ip: None,
    }
}

fn announce(url: &str) -> Question {
    let what = What::Announce { request: Box::new(request()), tracker_id: Some((*b"a&b").into()) };
    question(url, what)
}

fn question(url: &str, what: What) -> Question {
    Question {
        url: TrackerUrl::parse(url).unwrap().into(),
        source: Source::Torrent,
        family: Family::V4,
        what,
    }
}

fn response(told: Told) -> AnnounceResponse {
    match told.answer {
        Answer::Announce(answer) => *answer,
        Answer::Scrape(_) => panic!("a scrape was not asked for"),
    }
}

fn peer(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[tokio::test]
async fn announces_say_everything_and_bring_peers_over_http_and_udp() {
    let tracker = Tracker::start().await;
    tracker.plant(HASH, peer("127.0.0.9:9"), true);
    tracker.plant(HASH, peer("198.51.100.1:1"), false);
    let asker = asker();
    let told = response(asker.ask(&announce(&tracker.http())).await.unwrap());
    assert_eq!(told.peers, [peer("127.0.0.9:9"), peer("198.51.100.1:1")]);
    assert_eq!((told.interval, told.complete, told.incomplete), (1800, Some(1), Some(2)));
    assert_eq!(told.external_ip, Some([127, 0, 0, 1].into()));
    assert_eq!(told.tracker_id.as_deref(), Some(&b"id & more"[..]));
    let udp = format!("{}/announce?key=1", tracker.udp());
    let told = response(asker.ask(&announce(&udp)).await.unwrap());
    assert_eq!(told.peers, [peer("127.0.0.9:9"), peer("198.51.100.1:1")]);
    let [http, udp] = tracker.heard().try_into().unwrap();
    assert_eq!((http.request, udp.request), (request(), request()));
    assert_eq!((&http.extra[..], &udp.extra[..]), (&b"a&b"[..], &b"/announce?key=1"[..]));
}

#[tokio::test]
async fn we_call_from_the_address_that_we_listen_on() {
    let tracker = Tracker::start().await;
    let asker = Asker::new(&[peer("127.0.0.7:1")], Policy::default(), UDP);
    for url in [tracker.http(), tracker.udp()] {
        asker.ask(&announce(&url)).await.unwrap();
    }
    assert!(tracker.heard().iter().all(|heard| heard.from.ip() == peer("127.0.0.7:1").ip()));
}

#[tokio::test]
async fn sizes_of_swarms_are_told_over_http_and_udp() {
    let tracker = Tracker::start().await;
    tracker.plant(HASH, peer("127.0.0.9:9"), true);
    let other = WireHash([1; 20]);
    for url in [tracker.http(), tracker.udp()] {
        let what = What::Scrape([other, HASH].into());
        let told = asker().ask(&question(&url, what)).await.unwrap();
        let Answer::Scrape(mut files) = told.answer else { panic!("an announce was not asked for") };
        files.sort_by_key(|(hash, _)| hash.0);
        let stats = |complete| ScrapeStats { complete, downloaded: 7, incomplete: 0 };
        assert_eq!(files, [(other, stats(0)), (HASH, stats(1))], "{url}");
    }
}

#[tokio::test]
async fn refusals_come_in_the_trackers_words() {
    let tracker = Tracker::start().await;
    tracker.set(Mood::Refuse("not \x1b[31mregistered".into()));
    for url in [tracker.http(), tracker.udp()] {
        let error = asker().ask(&announce(&url)).await.unwrap_err();
        assert!(matches!(&error, AskError::Refused(why) if why.reason == "not  [31mregistered"), "{error:?}");
    }
    let refusal = b"HTTP/1.1 403 No\r\n\r\nd14:failure reason2:soe".to_vec();
    tracker.set(Mood::Raw(refusal));
    let error = asker().ask(&announce(&tracker.http())).await.unwrap_err();
    assert_eq!(error.to_string(), "so");
}

#[tokio::test]
async fn answers_may_be_packed() {
    let tracker = Tracker::start().await;
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(b"d8:intervali60e5:peers6:\x7f\x00\x00\x02\x00\x05e").unwrap();
    let mut answer = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n".to_vec();
    answer.extend(packed.finish().unwrap());
    tracker.set(Mood::Raw(answer));
    let told = response(asker().ask(&announce(&tracker.http())).await.unwrap());
    assert_eq!((told.interval, told.peers), (60, vec![peer("127.0.0.2:5")]));
}

#[tokio::test]
async fn what_is_no_answer_is_said_to_be_none() {
    let tracker = Tracker::start().await;
    let ok = |body: &str| format!("HTTP/1.1 200 OK\r\n\r\n{body}").into_bytes();
    let huge = ok(&format!("d5:peers{}:{}e", 2 << 20, "x".repeat(2 << 20)));
    for (raw, expected) in [
        (huge, "too large"),
        (ok("<html>"), "no tracker's"),
        (ok("le"), "no dictionary"),
        (b"HTTP/1.1 503 Busy\r\n\r\n".to_vec(), "status 503"),
        (b"220 mail.example ESMTP\r\n".to_vec(), "not HTTP"),
        (b"HTTP/1.1 302 x\r\nLocation: udp://127.0.0.1:1/\r\n\r\n".to_vec(), "cannot be used"),
        (b"HTTP/1.1 302 x\r\nLocation: http://224.0.0.1/\r\n\r\n".to_vec(), "nobody"),
    ] {
        tracker.set(Mood::Raw(raw));
        let error = asker().ask(&announce(&tracker.http())).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn only_the_tracker_itself_is_believed_over_udp() {
    let tracker = Tracker::start().await;
    tracker.set(Mood::Forged);
    assert!(asker().ask(&announce(&tracker.udp())).await.is_ok());
}

#[tokio::test]
async fn who_is_silent_is_given_up() {
    let tracker = Tracker::start().await;
    tracker.set(Mood::Silent);
    let soon = udp_client::Config { timeout: Duration::from_millis(5), ..UDP };
    let asker = Asker::new(&[], Policy::default(), soon);
    assert_eq!(asker.ask(&announce(&tracker.udp())).await, Err(AskError::Silent));
}

#[tokio::test]
async fn a_torrent_leads_nowhere_inside() {
    let asker = asker();
    let asks = async |url: &str| asker.ask(&announce(url)).await.unwrap_err();
    let tracker = Tracker::start().await;
    let unclear = tracker.http().replace("/announce", "/reboot");
    assert!(matches!(asks(&unclear).await, AskError::Forbidden(Refused::Inside(_))));
    assert!(matches!(asks("udp://255.255.255.255:9").await, AskError::Forbidden(Refused::Nobody(_))));
    assert!(tracker.heard().is_empty());
    // The user may.
    let named = Question { source: Source::User, ..announce(&unclear) };
    assert!(asker.ask(&named).await.is_ok());
}

#[tokio::test]
async fn families_are_asked_apart() {
    let tracker = Tracker::start().await;
    for url in [tracker.http(), tracker.udp()] {
        let v6 = Question { family: Family::V6, ..announce(&url) };
        assert_eq!(asker().ask(&v6).await, Err(AskError::NoAddress("IPv6")), "{url}");
    }
    let v6 = Tracker::start_on("[::1]:0").await;
    v6.plant(HASH, peer("[::1]:7"), false);
    for url in [v6.http(), v6.udp()] {
        let asked = Question { family: Family::V6, ..announce(&url) };
        assert_eq!(response(asker().ask(&asked).await.unwrap()).peers, [peer("[::1]:7")], "{url}");
        assert_eq!(asker().ask(&announce(&url)).await, Err(AskError::NoAddress("IPv4")), "{url}");
    }
}
