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
