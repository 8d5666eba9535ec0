//! Transfers in which nobody is named: a tracker on loopback brings both sides together.
#![allow(clippy::unwrap_used, reason = "helpers of tests are not marked as tests")]

mod common;
#[path = "../crates/engine/tests/common/tracker.rs"]
#[allow(dead_code, reason = "the engine's tests use more of it")]
mod tracker;

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use common::{Running, Scratch, noise};
use samara_proto::tracker::Event;
use tracker::{Mood, Tracker};

#[tokio::test(flavor = "multi_thread")]
async fn a_tracker_brings_sender_and_receiver_together() {
    let tracker = Tracker::start().await;
    for url in [tracker.http(), tracker.udp()] {
        let (from, to) = (Scratch::new(), Scratch::new());
        let data = noise(url.len() as u64, 200_000);
        from.write("a.bin", &data);
        let sender = Running::start(&from, &["send", "a.bin", "--listen", "127.0.0.1:0", "--tracker", &url]);
        let magnet = sender.event("link")["magnet"].as_str().unwrap().to_owned();
        let heard = sender.event("tracker");
        assert_eq!((&heard["url"], &heard["state"]), (&url.as_str().into(), &"working".into()));
        // The link without addresses: only the tracker knows who has it.
        let bare = magnet.split('&').filter(|part| !part.starts_with("x.pe="));
        let bare = bare.collect::<Vec<_>>().join("&");
        let ran = tokio::task::spawn_blocking(move || {
            let ran = to.run(&["get", &bare, "--listen", "127.0.0.1:0"]).expect(0);
            (fs::read(to.join("a.bin")).unwrap(), ran.stderr())
        });
        let (got, stderr) = ran.await.unwrap();
        assert!(got == data, "{stderr}");
        assert!(!stderr.contains("warning"), "{stderr}");
        let (code, _) = tokio::task::spawn_blocking(move || {
            sender.signal("INT");
            sender.finish()
        })
        .await
        .unwrap();
        assert_eq!(code, Some(130));
    }
    let events: Vec<_> = tracker.heard().iter().map(|heard| heard.request.event).collect();
    assert_eq!(events.iter().filter(|event| **event == Event::Stopped).count(), events.len() * 2 / 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_a_warning_and_who_has_nobody_to_ask_is_told_how() {
    let tracker = Tracker::start().await;
    tracker.set(Mood::Refuse("not registered".into()));
    let s = Scratch::new();
    s.write("a.bin", noise(1, 50_000));
    s.run(&["create", "a.bin", "--tracker", &tracker.http()]).expect(0);
    let said = tokio::task::spawn_blocking(move || {
        let mut seed = s.samara(["seed", "a.bin.torrent", ".", "--listen", "127.0.0.1:0"]);
        let mut seed = seed.stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(seed.stderr.take().unwrap()).lines();
        let said = lines.map_while(Result::ok).find(|line| line.contains("not registered"));
        seed.kill().unwrap();
        seed.wait().unwrap();
        let none = s.run(&["get", &"ab".repeat(20)]).expect(2).stderr();
        assert!(none.contains("--peer") && none.contains("--tracker"), "{none}");
        let both = s.run(&["get", "x", "--no-trackers", "--tracker", "udp://t:1"]).expect(2).stderr();
        assert!(both.contains("--no-trackers"), "{both}");
        said
    });
    let said = said.await.unwrap().unwrap();
    assert!(said.starts_with("warning: the tracker http://127.0.0.1"), "{said}");
}
