//! Whole transfers over loopback, by the binary alone.
#![allow(clippy::unwrap_used, reason = "helpers of tests are not marked as tests")]

mod common;

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use common::{Running, Scratch, noise};
use serde_json::Value;

/// Loopback, on whatever port is free.
const LOOPBACK: [&str; 2] = ["--listen", "127.0.0.1:0"];

/// Makes `t.torrent` of `what` and shares it from the scratch folder.
fn seed(s: &Scratch, what: &str, format: &str) -> (Running, String) {
    s.run(&["create", what, "-o", "t.torrent", "--format", format, "--piece-length", "16KiB", "--force"])
        .expect(0);
    let seed = Running::start(s, &[&["seed", "t.torrent", "."], &LOOPBACK[..]].concat());
    let addr = seed.event("listening")["addr"].as_str().unwrap().to_owned();
    seed.event("seeding");
    (seed, addr)
}

/// Fetches `source` from `peer` into `out`; the last event of each name.
fn get(s: &Scratch, source: &str, peer: &str, more: &[&str]) -> std::collections::BTreeMap<String, Value> {
    let args = [&["get", source, "-o", "out", "--peer", peer], &LOOPBACK[..], more].concat();
    let (code, events) = Running::start(s, &args).finish();
    assert_eq!(code, Some(0), "{events:?}");
    events
}

#[track_caller]
fn assert_same(a: &Path, b: &Path) {
    assert!(fs::read(a).unwrap() == fs::read(b).unwrap(), "{} is not {}", a.display(), b.display());
}

/// A folder with everything that a torrent can express.
fn album(s: &Scratch) {
    s.write("album/1.bin", noise(1, 300_000));
    s.write("album/b/ünï 日本.txt", "hello");
    s.write("album/b/empty", "");
    s.write("album/run.sh", "#!/bin/sh\n");
    #[cfg(unix)]
    {
        use std::os::unix::fs::{PermissionsExt, symlink};
        fs::set_permissions(s.join("album/run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
        symlink("../run.sh", s.join("album/b/link")).unwrap();
    }
}

#[test]
fn what_is_sent_arrives() {
    let s = Scratch::new();
    s.write("film.bin", noise(7, 1_000_001));
    let sender = Running::start(&s, &[&["send", "film.bin"], &LOOPBACK[..]].concat());
    let told = sender.event("metadata");
    let link = sender.event("link")["magnet"].as_str().unwrap().to_owned();
    sender.event("seeding");
    let (code, events) = Running::start(&s, &[&["get", &link, "-o", "out"], &LOOPBACK[..]].concat()).finish();
    assert_eq!(code, Some(0), "{events:?}");
    assert_same(&s.join("film.bin"), &s.join("out/film.bin"));
    assert_eq!(events["metadata"], told);
    let complete = &events["complete"];
    assert_eq!(complete["size"], 1_000_001);
    assert!(complete["path"].as_str().unwrap().ends_with("film.bin"), "{complete}");
    assert_eq!(events["progress"]["done"], events["progress"]["total"]);
}

#[test]
fn a_tree_arrives_as_it_was() {
    for format in ["v1", "v2", "hybrid"] {
        let s = Scratch::new();
        album(&s);
        let (_seed, addr) = seed(&s, "album", format);
        get(&s, "t.torrent", &addr, &[]);
        for file in ["1.bin", "b/ünï 日本.txt", "b/empty", "run.sh"] {
            assert_same(&s.join("album").join(file), &s.join("out/album").join(file));
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(s.join("out/album/run.sh")).unwrap().permissions().mode();
            assert_eq!(mode & 0o100, 0o100, "{format}");
            assert_eq!(
                fs::read_link(s.join("out/album/b/link")).unwrap(),
                Path::new("../run.sh"),
                "{format}"
            );
        }
        s.run(&["check", "t.torrent", "out"]).expect(0);
    }
}

#[test]
fn several_paths_are_sent_as_one_folder() {
    let s = Scratch::new();
    album(&s);
    s.write("notes.txt", "n");
    let sender = Running::start(&s, &[&["send", "notes.txt", "album"], &LOOPBACK[..]].concat());
    let link = sender.event("link")["magnet"].as_str().unwrap().to_owned();
    let (code, _) = Running::start(&s, &[&["get", &link, "-o", "out"], &LOOPBACK[..]].concat()).finish();
    assert_eq!(code, Some(0));
    assert_same(&s.join("notes.txt"), &s.join("out/notes.txt and 1 more/notes.txt"));
    assert_same(&s.join("album/1.bin"), &s.join("out/notes.txt and 1 more/album/1.bin"));
}

#[test]
fn only_what_is_selected_arrives() {
    let s = Scratch::new();
    s.write("d/a.bin", noise(1, 100_000));
    s.write("d/b.bin", noise(2, 100_000));
    s.write("d/c.txt", noise(3, 100_000));
    let (_seed, addr) = seed(&s, "d", "hybrid");
    get(&s, "t.torrent", &addr, &["--select", "*.bin", "--exclude", "b*"]);
    assert_same(&s.join("d/a.bin"), &s.join("out/d/a.bin"));
    assert!(!s.join("out/d/b.bin").exists() && !s.join("out/d/c.txt").exists());
    // Going on with another selection keeps what is there.
    let events = get(&s, "t.torrent", &addr, &["--select", "a.bin", "--select", "c.txt"]);
    assert_same(&s.join("d/c.txt"), &s.join("out/d/c.txt"));
    assert!(events["progress"]["downloaded"].as_u64().unwrap() < 150_000, "{events:?}");
    s.run(&["get", "t.torrent", "--select", "*.mp3", "--listen", "127.0.0.1:0"]).expect(2);
}

#[test]
fn a_bare_hash_and_a_peer_are_enough() {
    let s = Scratch::new();
    s.write("x", noise(1, 50_000));
    for format in ["v1", "v2"] {
        let (_seed, addr) = seed(&s, "x", format);
        let shown = s.run(&["show", "t.torrent", "--json"]).expect(0).json();
        let hash = shown[format!("info_hash_{format}")].as_str().unwrap().to_owned();
        get(&s, &hash, &addr, &[]);
        assert_same(&s.join("x"), &s.join("out/x"));
        fs::remove_dir_all(s.join("out")).unwrap();
    }
}

/// Serves one answer after the other on a port of its own; the address.
fn web(answers: Vec<Vec<u8>>) -> std::net::SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.push(byte[0]);
            }
            stream.write_all(&answer).unwrap();
        }
    });
    addr
}

#[test]
fn a_torrent_file_is_fetched_from_the_web() {
    let s = Scratch::new();
    s.write("film.bin", noise(3, 100_000));
    let (_seed, addr) = seed(&s, "film.bin", "v1");
    let torrent = fs::read(s.join("t.torrent")).unwrap();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", torrent.len());
    let server = web(vec![
        b"HTTP/1.1 301 Moved\r\nLocation: /t.torrent\r\n\r\n".to_vec(),
        [head.as_bytes(), &torrent].concat(),
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec(),
        b"HTTP/1.1 200 OK\r\n\r\n<html>".to_vec(),
    ]);
    get(&s, &format!("http://{server}/old.torrent"), &addr, &[]);
    assert_same(&s.join("film.bin"), &s.join("out/film.bin"));
    let url = format!("http://{server}/x");
    for why in ["cannot be fetched: the server answers with status 404", "is no .torrent file"] {
        let ran = s.run(&["get", &url]).expect(1);
        assert!(ran.stderr().contains(why), "{}", ran.stderr());
    }
}

#[test]
fn a_file_can_be_piped() {
    let s = Scratch::new();
    s.write("d/a", noise(1, 200_001));
    s.write("d/b", noise(2, 100_003));
    let (_seed, addr) = seed(&s, "d", "v1");
    let args = [
        "get",
        "t.torrent",
        "-o",
        "out",
        "--stdout",
        "--select",
        "b",
        "--peer",
        &addr,
        "--listen",
        "127.0.0.1:0",
    ];
    let output = s.samara(args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout == fs::read(s.join("d/b")).unwrap());
    // Again, with nobody to ask: it is all there.
    let args = ["get", "t.torrent", "-o", "out", "--stdout", "--select", "b", "--listen", "127.0.0.1:0"];
    assert!(s.samara(args).output().unwrap().stdout == output.stdout);
    let both = ["get", "t.torrent", "--stdout", "--peer", &addr, "--listen", "127.0.0.1:0"];
    assert!(s.run(&both).expect(2).stderr().contains("--select"));
}

#[test]
fn a_pipe_that_closes_early_ends_the_fetch_quietly() {
    let s = Scratch::new();
    s.write("x", noise(1, 2_000_000));
    let (_seed, addr) = seed(&s, "x", "v2");
    let args =
        ["-q", "get", "t.torrent", "-o", "out", "--stdout", "--peer", &addr, "--listen", "127.0.0.1:0"];
    let mut child = s.samara(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), &*output.stderr), (Some(0), &b""[..]));
}

#[test]
fn data_that_is_there_is_adopted() {
    let s = Scratch::new();
    let whole = noise(4, 400_000);
    s.write("x", &whole);
    let (_seed, addr) = seed(&s, "x", "hybrid");
    s.write("out/x.part", &whole[..200_000]);
    let events = get(&s, "t.torrent", &addr, &[]);
    assert_same(&s.join("x"), &s.join("out/x"));
    let downloaded = events["progress"]["downloaded"].as_u64().unwrap();
    assert!((200_000..240_000).contains(&downloaded), "{downloaded}");
    let again = get(&s, "t.torrent", &addr, &[]);
    assert_eq!(again["progress"]["downloaded"], 0);
}

#[test]
fn a_killed_download_goes_on() {
    let s = Scratch::new();
    s.write("x", noise(5, 8_000_000));
    let (_seed, addr) = seed(&s, "x", "hybrid");
    let args = [&["get", "t.torrent", "-o", "out", "--peer", &addr], &LOOPBACK[..]].concat();
    let first = Running::start(&s, &args);
    while first.event("progress")["done"] == 0 {}
    first.kill();
    get(&s, "t.torrent", &addr, &[]);
    assert_same(&s.join("x"), &s.join("out/x"));
}

#[test]
fn whoever_has_fetched_can_share_on() {
    let s = Scratch::new();
    s.write("x", noise(6, 300_000));
    let (first, addr) = seed(&s, "x", "hybrid");
    let args = ["get", "t.torrent", "-o", "middle", "--seed", "--peer", &addr, "--listen", "127.0.0.1:0"];
    let middle = Running::start(&s, &args);
    let middle_addr = middle.event("listening")["addr"].as_str().unwrap().to_owned();
    middle.event("complete");
    middle.event("seeding");
    first.kill();
    get(&s, "t.torrent", &middle_addr, &[]);
    assert_same(&s.join("x"), &s.join("out/x"));
}

#[test]
fn limits_hold_for_both_ends_unless_the_local_network_is_exempt() {
    let s = Scratch::new();
    s.write("x", noise(6, 900_000));
    s.run(&["create", "x", "-o", "t.torrent"]).expect(0);
    // The time of it all but 150 ms, which may have been saved up, and a little.
    let least = Duration::from_millis(1300);
    for (up, down, limited) in [
        (&["--limit-up", "600000"][..], &[][..], true),
        (&[], &["--limit-down", "585KiB/s"], true),
        (&["--limit-up", "1KiB/s", "--no-limit-lan"], &["--limit-down", "1", "--no-limit-lan"], false),
    ] {
        let seed = Running::start(&s, &[&["seed", "t.torrent", "."], &LOOPBACK[..], up].concat());
        let addr = seed.event("listening")["addr"].as_str().unwrap().to_owned();
        seed.event("seeding");
        let began = Instant::now();
        let events = get(&s, "t.torrent", &addr, down);
        // With 1 byte a second it would take days.
        assert!(!limited || began.elapsed() >= least, "{events:?}");
        assert_same(&s.join("x"), &s.join("out/x"));
        fs::remove_dir_all(s.join("out")).unwrap();
    }
}

#[test]
fn a_seed_ratio_is_an_end() {
    let s = Scratch::new();
    s.write("x", noise(6, 300_000));
    let (_seed, addr) = seed(&s, "x", "hybrid");
    let events = get(&s, "t.torrent", &addr, &["--seed", "--seed-time", "0s"]);
    assert!(events.contains_key("seeding"));
}

#[test]
fn what_is_not_whole_is_not_seeded() {
    let s = Scratch::new();
    s.write("good", noise(1, 50_000));
    let bad = s.write("bad", noise(2, 50_000));
    fs::create_dir(s.join("torrents")).unwrap();
    for name in ["good", "bad"] {
        s.run(&["create", name, "-o", &format!("torrents/{name}.torrent")]).expect(0);
    }
    fs::write(&bad, noise(3, 50_000)).unwrap();
    let alone = s.run(&["seed", "torrents/bad.torrent", ".", "--listen", "127.0.0.1:0"]).expect(1);
    assert!(alone.stderr().contains("bad cannot be shared"), "{}", alone.stderr());
    // In company, it is only left out.
    let both = Running::start(&s, &["seed", "torrents", ".", "--listen", "127.0.0.1:0"]);
    assert!(both.event("warning")["message"].as_str().unwrap().contains("bad"));
    both.event("seeding");
}

/// Torrents of one small file each in `torrents`, their data in `data`.
fn library(s: &Scratch, count: usize) {
    fs::create_dir_all(s.join("torrents")).unwrap();
    for n in 0..count {
        s.write(&format!("data/f{n:03}"), noise(n as u64, 20_000));
        let (data, torrent) = (format!("data/f{n:03}"), format!("torrents/f{n:03}.torrent"));
        s.run(&["create", &data, "-o", &torrent, "--format", "v1", "--piece-length", "16KiB"]).expect(0);
    }
}

#[test]
fn a_folder_of_torrents_is_shared_but_for_what_is_wrong_in_it() {
    let s = Scratch::new();
    library(&s, 6);
    s.write("torrents/f001.torrent", "no torrent");
    fs::remove_file(s.join("data/f002")).unwrap();
    let args = [&["seed", "torrents", "data"], &LOOPBACK[..]].concat();
    for restart in [false, true] {
        let seed = Running::start(&s, &args);
        let addr = seed.event("listening")["addr"].as_str().unwrap().to_owned();
        let (mut known, mut warned, mut hashed) = (0, Vec::new(), 0);
        loop {
            let event = seed.next().unwrap();
            match event["event"].as_str().unwrap() {
                "metadata" => known += 1,
                "checking" => hashed = event["total"].as_u64().unwrap(),
                "warning" => warned.push(event["message"].as_str().unwrap().to_owned()),
                "seeding" => break,
                other => panic!("{other}"),
            }
        }
        warned.sort_unstable();
        assert!(known == 5 && warned.len() == 2, "{known} {warned:?}");
        assert!(warned[0].contains("f002 is not shared") && warned[1].contains("f001.torrent"), "{warned:?}");
        // Data that is gone is not hashed either.
        assert_eq!(hashed, if restart { 0 } else { 4 * 20_000 });
        fs::remove_dir_all(s.join("out")).ok();
        get(&s, "torrents/f005.torrent", &addr, &[]);
        assert_same(&s.join("out/f005"), &s.join("data/f005"));
    }
}

#[test]
fn two_seeds_at_once_share_one_state_folder() {
    let s = Scratch::new();
    library(&s, 4);
    let seed = |these: [&str; 2]| {
        let files = these.map(|n| format!("torrents/f00{n}.torrent"));
        Running::start(&s, &[&["seed", &files[0], &files[1], "data"], &LOOPBACK[..]].concat())
    };
    let both = [seed(["0", "1"]), seed(["2", "3"])];
    both.iter().for_each(|seed| drop(seed.event("seeding")));
    #[cfg(unix)]
    for running in both {
        running.signal("INT");
        assert_eq!(running.finish().0, Some(130));
    }
    let again = Running::start(&s, &[&["seed", "torrents", "data"], &LOOPBACK[..]].concat());
    loop {
        let event = again.next().unwrap();
        assert_ne!(event["event"], "checking", "nothing is hashed again");
        if event["event"] == "seeding" {
            break;
        }
    }
}

#[test]
fn a_person_gets_a_summary_of_many_torrents() {
    let s = Scratch::new();
    library(&s, 24);
    let args = [&["seed", "torrents", "data"], &LOOPBACK[..]].concat();
    let mut child = s.samara(&args).stderr(Stdio::piped()).spawn().unwrap();
    let lines = std::io::BufRead::lines(std::io::BufReader::new(child.stderr.take().unwrap()));
    let said: Vec<_> =
        lines.map_while(Result::ok).take_while(|line| !line.contains("Sharing. Press")).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(said.len(), 2, "where it listens, and what is shared: {said:?}");
    assert!(said[1].contains("24 torrents: 469 KiB"), "{said:?}");
}

#[test]
fn an_address_that_is_taken_is_a_matter_of_configuration() {
    let s = Scratch::new();
    s.write("x", "1");
    let (_seed, addr) = seed(&s, "x", "v1");
    let refused = s.run(&["send", "x", "--listen", &addr]).expect(2);
    assert!(refused.stderr().contains("--listen"), "{}", refused.stderr());
}

#[cfg(unix)]
#[test]
fn an_interrupt_ends_everything_with_130() {
    let s = Scratch::new();
    s.write("x", noise(1, 50_000));
    let (seed, _) = seed(&s, "x", "v1");
    let get = Running::start(&s, &["get", "t.torrent", "-o", "out", "--listen", "127.0.0.1:0"]);
    get.event("listening");
    for (running, signal) in [(seed, "INT"), (get, "TERM")] {
        running.signal(signal);
        assert_eq!(running.finish().0, Some(130));
    }
}
