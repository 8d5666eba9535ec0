//! `samara announce` as a user sees it, against a tracker on loopback.

#![allow(clippy::unwrap_used, reason = "helpers of tests are not marked as tests")]

mod common;
#[path = "../crates/engine/tests/common/tracker.rs"]
#[allow(dead_code, reason = "the engine's tests use more of it")]
mod tracker;

use common::{Ran, Scratch};
use samara_proto::ids::WireHash;
use samara_proto::tracker::Event;
use serde_json::Value;
use tracker::{Mood, Tracker};

const HASH: &str = "abababababababababababababababababababab";

async fn run(args: &[&str]) -> Ran {
    let s = Scratch::new();
    let args: Vec<String> = args.iter().map(ToString::to_string).collect();
    let ran = tokio::task::spawn_blocking(move || {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        s.run(&args)
    });
    ran.await.unwrap()
}

fn lines(ran: &Ran) -> Vec<Value> {
    ran.stdout().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_tracker_is_asked_and_left_again() {
    let (one, two) = (Tracker::start().await, Tracker::start().await);
    let hash = WireHash([0xab; 20]);
    one.plant(hash, "127.0.0.9:9".parse().unwrap(), true);
    two.set(Mood::Refuse("not \u{202e}here".into()));
    let magnet = format!("magnet:?xt=urn:btih:{HASH}&tr={}&tr={}", one.http(), two.udp());
    let ran = run(&["announce", &magnet, "--tracker", &one.udp(), "--json"]).await.expect(0);
    let [udp, http, refused] = lines(&ran).try_into().unwrap();
    for said in [&udp, &http] {
        assert_eq!((&said["event"], &said["ok"]), (&"announce".into(), &true.into()), "{said}");
        let [v4, v6] = said["answers"].as_array().unwrap().as_slice() else { panic!("{said}") };
        assert_eq!((&v4["family"], &v4["from"]), (&"ipv4".into(), &"127.0.0.1".into()));
        assert_eq!((&v4["interval"], &v4["seeds"]), (&1800.into(), &1.into()));
        assert!(v4["peers"].as_array().unwrap().contains(&"127.0.0.9:9".into()), "{said}");
        assert_eq!(v6["error"], "it has no IPv6 address");
    }
    assert_eq!((&udp["url"], &http["url"]), (&one.udp().into(), &one.http().into()));
    assert_eq!(http["answers"][0]["external_ip"], "127.0.0.1");
    assert_eq!((&refused["ok"], &refused["answers"][0]["error"]), (&false.into(), &"not  here".into()));
    let mut events = one.events(hash);
    events.sort_by_key(|event| event.number());
    assert_eq!(events, [Event::Started, Event::Started, Event::Stopped, Event::Stopped]);
    let returned = one.heard().iter().any(|heard| heard.extra == b"id & more");
    assert!(returned, "what the tracker gave was not sent back");
}

#[tokio::test(flavor = "multi_thread")]
async fn people_read_numbers_and_the_tracker_s_words() {
    let tracker = Tracker::start().await;
    tracker.plant(WireHash([0xab; 20]), "127.0.0.9:9".parse().unwrap(), false);
    tracker.set(Mood::Kind { interval: 900, min_interval: Some(60) });
    let ran = run(&["announce", HASH, "--tracker", &tracker.http(), "-v"]).await.expect(0);
    let text = ran.stdout();
    for part in ["0 seeds, 2 leeches", "gives 1 peer", "interval 15:00", "at least 1:00", "\n    127.0.0.9:9"]
    {
        assert!(text.contains(part), "{part} is missing from {text}");
    }
    let scraped = run(&["announce", HASH, "--tracker", &tracker.udp(), "--scrape"]).await.expect(0).stdout();
    assert!(scraped.contains("0 seeds, 1 leech, 7 downloads completed"), "{scraped}");
    assert_eq!(tracker.heard().len(), 2, "a scrape announced");
    tracker.set(Mood::Refuse("closed".into()));
    let refused = run(&["announce", HASH, "--tracker", &tracker.http()]).await.expect(1).stdout();
    assert!(refused.contains("IPv4: closed") && !refused.contains("IPv6"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torrent_leads_nowhere_inside_unless_the_user_says_so() {
    let tracker = Tracker::start().await;
    let magnet = format!("magnet:?xt=urn:btih:{HASH}&tr={}?reboot=1", tracker.http());
    let refused = run(&["announce", &magnet, "--json"]).await.expect(1);
    let error = lines(&refused)[0]["answers"][0]["error"].as_str().unwrap().to_owned();
    assert!(error.contains("--tracker"), "{error}");
    assert!(tracker.heard().is_empty());
    let _ = run(&["announce", &magnet, "--allow-inside-trackers"]).await.expect(0);
    let none = run(&["announce", HASH]).await.expect(2).stderr();
    assert!(none.contains("--tracker URL"), "{none}");
}
