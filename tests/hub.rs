//! `samara hub` as an operator meets it: settings, answers, and a clean end.

#![allow(clippy::unwrap_used, reason = "helpers of tests are not marked as tests")]

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use common::{Running, Scratch};

/// Where a hub that was started listens.
fn addr(hub: &Running) -> SocketAddr {
    hub.event("listening")["addr"].as_str().unwrap().parse().unwrap()
}

/// Asks once; the whole answer.
fn ask(addr: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn settings_are_checked_without_starting_anything() {
    let s = Scratch::new();
    s.write("hub.toml", "http = [\"0.0.0.0:80\"]\ninterval = \"20m\"\n");
    s.run(&["hub", "--config", "hub.toml", "--check-config"]).expect(0);
    s.write("hub.toml", "http = [\"0.0.0.0:80\"]\nintervall = \"20m\"\n");
    let refused = s.run(&["hub", "--config", "hub.toml", "--check-config"]).expect(2);
    assert!(refused.stderr().contains("hub.toml:2: there is no setting `intervall`"), "{}", refused.stderr());
    let refused = s.run(&["hub", "--interval", "2d", "--check-config"]).expect(2);
    assert!(refused.stderr().contains("SAMARA_HUB_INTERVAL"), "{}", refused.stderr());
    s.run(&["hub", "--config", "nowhere.toml", "--check-config"]).expect(2);
    s.write("deny.txt", "# none\nxyz\n");
    let refused = s.run(&["hub", "--deny-list", "deny.txt", "--check-config"]).expect(2);
    assert!(refused.stderr().contains("deny.txt: line 2 is no info-hash"), "{}", refused.stderr());
}

#[test]
fn settings_come_from_the_environment_too() {
    let s = Scratch::new();
    let run = |value: &str| {
        s.samara(["hub", "--check-config"]).env("SAMARA_HUB_WORKERS", value).output().unwrap().status.code()
    };
    assert_eq!((run("3"), run("0"), run("x")), (Some(0), Some(2), Some(2)));
}

#[test]
#[cfg(unix)]
fn it_answers_and_ends_when_asked_to() {
    let s = Scratch::new();
    let hub = Running::start(&s, &["hub", "--http", "127.0.0.1:0"]);
    let answer = ask(addr(&hub), "GET /health HTTP/1.1\r\nConnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nok\n"), "{answer}");
    hub.signal("TERM");
    assert_eq!(hub.finish().0, Some(0));
}

#[test]
#[cfg(unix)]
fn two_hubs_cannot_share_an_address_by_accident() {
    let s = Scratch::new();
    let hub = Running::start(&s, &["hub", "--http", "127.0.0.1:0"]);
    let addr = addr(&hub).to_string();
    let refused = s.run(&["hub", "--http", &addr]).expect(1);
    assert!(refused.stderr().contains(&format!("cannot answer HTTP at {addr}")), "{}", refused.stderr());
}

/// The `failure reason` or the peers of an announce from this machine.
fn announce(addr: SocketAddr, torrent: char, port: u16) -> String {
    let (hash, id) = (torrent.to_string().repeat(20), "p".repeat(20));
    let query = format!("info_hash={hash}&peer_id={id}&port={port}&left=1");
    let answer = ask(addr, &format!("GET /announce?{query} HTTP/1.1\r\nConnection: close\r\n\r\n"));
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

#[test]
#[cfg(unix)]
fn a_list_is_read_again_and_a_bad_one_is_not() {
    let s = Scratch::new();
    let (a, b) = ("61".repeat(20), "62".repeat(20));
    s.write("allow.txt", &a);
    let hub = Running::start(&s, &["hub", "--http", "127.0.0.1:0", "--allow-list", "allow.txt"]);
    let addr = addr(&hub);
    assert!(announce(addr, 'a', 1).contains("8:interval"));
    assert!(announce(addr, 'b', 1).contains("does not serve this torrent"));
    let failures = || {
        let text = ask(addr, "GET /metrics HTTP/1.0\r\n\r\n");
        text.lines().find_map(|l| l.strip_prefix("samara_hub_reload_failures_total ")).unwrap().to_owned()
    };
    assert_eq!(failures(), "0");
    s.write("allow.txt", "not a hash");
    hub.signal("HUP");
    until(|| failures() == "1");
    assert!(announce(addr, 'a', 1).contains("8:interval"), "the old list stays in force");
    s.write("allow.txt", format!("{a}\n{b}\n"));
    until(|| announce(addr, 'b', 1).contains("8:interval"));
    hub.signal("TERM");
    assert_eq!(hub.finish().0, Some(0));
}

#[test]
#[cfg(unix)]
fn a_restart_empties_no_swarm() {
    let s = Scratch::new();
    let args = ["hub", "--http", "127.0.0.1:0", "--state", "swarms"];
    for port in 1..4 {
        let hub = Running::start(&s, &args);
        let known = announce(addr(&hub), 'a', port);
        assert!(known.contains(&format!("10:incompletei{port}e")), "{known}");
        hub.signal("TERM");
        assert_eq!(hub.finish().0, Some(0));
    }
    let refused = s.run(&["hub", "--state", "no/such/folder/swarms", "--check-config"]).expect(2);
    assert!(refused.stderr().contains("where swarms are to be saved"), "{}", refused.stderr());
}

/// Asks until it is so.
fn until(mut is_so: impl FnMut() -> bool) {
    let patience = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while !is_so() {
        assert!(std::time::Instant::now() < patience, "it does not happen");
        std::thread::yield_now();
    }
}
