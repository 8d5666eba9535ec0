//! Hubs that share a store, as processes: what one is told the other tells, and what is left when somebody dies.
//!
//! Marked as ignored, since it starts `redis-server`; `cargo xtask test --only interop` runs it.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "helpers of tests are not marked as tests")]

mod common;
#[path = "../crates/hub/src/remote/tests/servers.rs"]
#[allow(dead_code, reason = "the hub's own tests use the rest")]
mod servers;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use common::{Running, Scratch};
use servers::{Redis, wait};

/// A hub that answers over HTTP and UDP.
struct Hub {
    process: Running,
    http: SocketAddr,
    udp: SocketAddr,
}

/// What an announce was answered with: the peers' ports, or a refusal.
type Answer = Result<Vec<u16>, String>;

impl Hub {
    fn start(scratch: &Scratch, store: &str) -> Self {
        let args = ["hub", "--http", "127.0.0.1:0", "--udp", "127.0.0.1:0", "--store", store];
        let process = Running::start(scratch, &args);
        let (mut http, mut udp) = (None, None);
        while http.is_none() || udp.is_none() {
            let event = process.event("listening");
            let addr = event["addr"].as_str().unwrap().parse().unwrap();
            match event["transports"][0].as_str().unwrap() {
                "http" => http = Some(addr),
                "udp" => udp = Some(addr),
                other => panic!("{other}"),
            }
        }
        Self { process, http: http.unwrap(), udp: udp.unwrap() }
    }

    fn get(&self, target: &str) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.http).unwrap();
        stream.write_all(format!("GET {target} HTTP/1.1\r\nConnection: close\r\n\r\n").as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        answer
    }

    fn is_healthy(&self) -> bool {
        self.get("/health").starts_with(b"HTTP/1.1 200 ")
    }

    /// Announces a leech by HTTP.
    fn by_http(&self, torrent: char, port: u16) -> Answer {
        let (hash, id) = (torrent.to_string().repeat(20), "p".repeat(20));
        let answer =
            self.get(&format!("/announce?info_hash={hash}&peer_id={id}&port={port}&left=1&compact=1"));
        let end = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
        match samara_proto::tracker::http::parse_announce(&answer[end..]).unwrap() {
            Ok(answer) => Ok(sorted(answer.peers.iter().map(SocketAddr::port))),
            Err(failure) => {
                assert!(failure.retry.is_some(), "a refusal that does not say when to come back");
                Err(failure.reason)
            }
        }
    }

    /// The same by UDP (BEP 15).
    fn by_udp(&self, torrent: char, port: u16) -> Answer {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        socket.connect(self.udp).unwrap();
        let ask = |request: &[u8]| {
            socket.send(request).unwrap();
            let mut answer = vec![0; 2048];
            let len = socket.recv(&mut answer).unwrap();
            answer.truncate(len);
            answer
        };
        let mut connect = 0x417_2710_1980_u64.to_be_bytes().to_vec();
        connect.extend([0, 0, 0, 0, 0, 0, 0, 7]);
        let connected = ask(&connect);
        let mut announce = connected[8..16].to_vec();
        announce.extend([0, 0, 0, 1, 0, 0, 0, 8]);
        announce.extend(torrent.to_string().repeat(20).bytes().chain(*b"pppppppppppppppppppp"));
        // Downloaded, left, uploaded, event, address, key, and as many peers as there are.
        announce.extend([0, 1, 0].map(u64::to_be_bytes).concat());
        announce.extend([0, 0, 0, u32::MAX].map(u32::to_be_bytes).concat());
        announce.extend(port.to_be_bytes());
        let answer = ask(&announce);
        assert_eq!(answer[4..8], [0, 0, 0, 8]);
        match answer[3] {
            1 => Ok(sorted(answer[20..].chunks_exact(6).map(|peer| u16::from_be_bytes([peer[4], peer[5]])))),
            _ => Err(String::from_utf8_lossy(&answer[8..]).into_owned()),
        }
    }
}

fn sorted(ports: impl Iterator<Item = u16>) -> Vec<u16> {
    let mut ports: Vec<_> = ports.collect();
    ports.sort_unstable();
    ports
}

#[test]
#[ignore = "starts redis-server"]
fn hubs_that_share_a_store_are_one_tracker_whoever_dies() {
    let mut redis = Redis::start(&[]);
    let (s, t) = (Scratch::new(), Scratch::new());
    let (a, b) = (Hub::start(&s, &redis.place()), Hub::start(&t, &redis.place()));
    wait("both hubs are healthy", || a.is_healthy() && b.is_healthy());
    assert_eq!(a.by_http('x', 1), Ok(vec![]));
    assert_eq!(b.by_udp('x', 2), Ok(vec![1]));
    assert_eq!(b.by_http('x', 3), Ok(vec![1, 2]));
    assert_eq!(a.by_udp('x', 4), Ok(vec![1, 2, 3]));
    // One hub dies.
    a.process.kill();
    assert_eq!(b.by_http('x', 5), Ok(vec![1, 2, 3, 4]));
    // The store freezes: clients hear so, and soon.
    redis.signal("STOP");
    let start = Instant::now();
    let (http, udp) = (b.by_http('x', 6).unwrap_err(), b.by_udp('x', 6).unwrap_err());
    assert!(http.contains("try again later") && udp.contains("try again later"), "{http} {udp}");
    assert!(start.elapsed() < Duration::from_secs(10) && !b.is_healthy());
    redis.signal("CONT");
    wait("the hub recovers", || b.by_udp('x', 6) == Ok(vec![1, 2, 3, 4, 5]));
    // It is killed: a hub starts without it, and both recover.
    redis.kill();
    wait("the hub knows", || !b.is_healthy());
    let c = Hub::start(&s, &redis.place());
    assert!(b.by_http('y', 1).is_err() && c.by_http('y', 1).is_err() && c.by_udp('y', 1).is_err());
    redis.restart();
    wait("both hubs are healthy", || b.is_healthy() && c.is_healthy());
    assert_eq!(b.by_http('y', 1), Ok(vec![]));
    assert_eq!(c.by_udp('y', 2), Ok(vec![1]));
}
