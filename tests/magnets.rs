//! Fetching by a link: what is told while only the hash is known, and the .torrent that is saved.
#![allow(clippy::unwrap_used, reason = "helpers of tests are not marked as tests")]

mod common;

use std::fs;

use common::{Running, Scratch, noise};
use samara_proto::metainfo::Metainfo;

const TRACKERS: [&str; 2] = ["http://127.0.0.1:9/announce", "udp://127.0.0.1:9"];

/// Shares an album of which the link names two trackers and a peer.
fn share(s: &Scratch, format: &str) -> (Running, String) {
    s.write("album/1.bin", noise(1, 300_000));
    s.write("album/b/2.bin", noise(2, 70_000));
    let [one, two] = TRACKERS;
    let piece = ["--format", format, "--piece-length", "16KiB", "--web-seed", "http://127.0.0.1:9/w/"];
    let create = ["create", "album", "-o", "t.torrent", "--tracker", one, "--tracker", two, "--json"];
    let magnet =
        s.run(&[&create[..], &piece].concat()).expect(0).json()["magnet"].as_str().unwrap().to_owned();
    let seed = Running::start(s, &["seed", "t.torrent", ".", "--listen", "127.0.0.1:0", "--no-trackers"]);
    let addr = seed.event("listening")["addr"].as_str().unwrap().to_owned();
    seed.event("seeding");
    (seed, format!("{magnet}&x.pe={addr}"))
}

fn get<'a>(link: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["get", link, "-o", "out", "--listen", "127.0.0.1:0", "--no-trackers", "--save-torrent"], more].concat()
}

#[test]
fn the_torrent_of_a_link_is_saved_with_all_that_belongs_to_it() {
    for format in ["v1", "v2", "hybrid"] {
        let s = Scratch::new();
        let (_seed, link) = share(&s, format);
        let (code, events) = Running::start(&s, &get(&link, &[])).finish();
        assert_eq!(code, Some(0), "{events:?}");
        assert!(events["saved"]["path"].as_str().unwrap().ends_with("album.torrent"), "{events:?}");
        let read = |path| Metainfo::parse(&fs::read(s.join(path)).unwrap()).unwrap();
        let (made, saved) = (read("t.torrent"), read("out/album.torrent"));
        assert_eq!(saved.info.raw(), made.info.raw(), "{format}");
        assert_eq!(saved.piece_layers, made.piece_layers);
        assert_eq!(saved.trackers, TRACKERS.map(|url| vec![url.to_owned()]));
        assert_eq!(saved.web_seeds, made.web_seeds);
        let checked = s.run(&["check", "out/album.torrent", "out", "--json"]).expect(0).json();
        assert_eq!(checked["complete"], true);
        let left = fs::read_dir(s.join("out")).unwrap().count();
        assert_eq!(left, 2, "no temporary file stays");
    }
}

/// Peers give no piece layers where they are asked for the v1 half.
#[test]
fn the_torrent_of_a_hybrid_is_saved_by_its_v1_hash_too() {
    let s = Scratch::new();
    let (_seed, link) = share(&s, "hybrid");
    let v1: Vec<_> = link.split('&').filter(|part| !part.contains("urn:btmh:")).collect();
    let v1 = &v1.join("&");
    let _ = s.run(&get(v1, &[])).expect(0);
    let read = |path| Metainfo::parse(&fs::read(s.join(path)).unwrap()).unwrap();
    assert_eq!(read("out/album.torrent").piece_layers, read("t.torrent").piece_layers);
    // Without the other file its layer cannot be made.
    let some = [
        "get",
        v1,
        "-o",
        "some",
        "--listen",
        "127.0.0.1:0",
        "--no-trackers",
        "--select",
        "0",
        "--save-torrent",
    ];
    let refused = s.run(&some).expect(1);
    assert!(refused.stderr().contains("could not be saved"), "{}", refused.stderr());
}

#[test]
fn a_torrent_that_is_there_is_left_alone() {
    let s = Scratch::new();
    let (_seed, link) = share(&s, "hybrid");
    s.write("saved/album.torrent", "something else");
    let refused = s.run(&get(&link, &["saved"])).expect(1);
    assert!(refused.stderr().contains("saved/album.torrent: another file is there"), "{}", refused.stderr());
    assert_eq!(fs::read(s.join("saved/album.torrent")).unwrap(), b"something else");
    let _ = s.run(&get(&link, &["mine.torrent"])).expect(0);
    let saved = fs::read(s.join("mine.torrent")).unwrap();
    let _ = s.run(&get(&link, &["mine.torrent"])).expect(0);
    assert_eq!(fs::read(s.join("mine.torrent")).unwrap(), saved, "the same may be there");
}

#[test]
fn while_only_the_hash_is_known_it_is_told_who_is_asked_and_who_is_known() {
    let s = Scratch::new();
    let nobody = "magnet:?xt=urn:btih:0123456789abcdef0123456789abcdef01234567&x.pe=127.0.0.1:9";
    let get = Running::start(&s, &["get", nobody, "-o", "out", "--listen", "127.0.0.1:0"]);
    let progress = loop {
        let progress = get.event("progress");
        if progress["search"]["known"] != 0 {
            break progress;
        }
    };
    assert_eq!(progress["search"]["asked"], serde_json::json!(["peers"]));
    assert_eq!(progress["search"]["from"], serde_json::json!({"user": 1}));
    assert_eq!(progress["total"], 0);
}
