//! Clients over real sockets.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use samara_proto::ids::{PeerId, WireHash};
use samara_proto::tracker::udp::{Body, Hashes, Options, Request, parse_response};
use samara_proto::tracker::{AnnounceRequest, Event, Family};

use crate::Hub;
use crate::config::{self, Config};
use crate::metrics::{Count, Transport};
use crate::site::Site;

fn hub(addrs: &[&str], set: config::Options) -> Hub {
    let udp = Some(addrs.iter().map(|addr| addr.parse().unwrap()).collect());
    let config = Config::new(config::Options { udp, ..set }).unwrap();
    Hub::start(&config).unwrap()
}

fn counted(site: &Site, what: Count) -> u64 {
    site.books.sum(Transport::Udp, what)
}

fn client(hub: &Hub) -> UdpSocket {
    let at = hub.udp()[0];
    let client = UdpSocket::bind((at.ip(), 0)).unwrap();
    client.connect(at).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    client
}

/// The answers' bodies, in the order of the transactions.
fn ask(client: &UdpSocket, requests: &[Request<'_>]) -> Vec<String> {
    for request in requests {
        let mut out = Vec::new();
        request.write(&mut out);
        client.send(&out).unwrap();
    }
    let family = Family::of(client.local_addr().unwrap().ip());
    let mut answers = vec![String::new(); requests.len()];
    for _ in requests {
        let mut buffer = [0; 2000];
        let len = client.recv(&mut buffer).unwrap();
        let answer = parse_response(&buffer[..len], family).unwrap();
        answers[answer.transaction as usize] = match answer.body {
            Body::Connect { connection } => connection.to_string(),
            Body::Announce(answer) => format!("{:?}", answer.peers),
            Body::Scrape(stats) => {
                format!("{:?}", stats.iter().map(|s| (s.complete, s.incomplete)).collect::<Vec<_>>())
            }
            Body::Error(text) => text.to_string(),
        };
    }
    answers
}

fn connect(client: &UdpSocket) -> u64 {
    ask(client, &[Request::Connect { transaction: 0 }])[0].parse().unwrap()
}

fn announce(connection: u64, transaction: u32, port: u16) -> Request<'static> {
    let request = AnnounceRequest {
        info_hash: WireHash([9; 20]),
        peer_id: PeerId([7; 20]),
        port,
        uploaded: 0,
        downloaded: 0,
        left: 1,
        event: Event::Started,
        numwant: None,
        key: 3,
        ip: None,
    };
    Request::Announce { connection, transaction, request, options: Options::default() }
}

fn converse(at: &str) {
    let hub = hub(&[at], config::Options { workers: Some(2), ..Default::default() });
    let (a, b) = (client(&hub), client(&hub));
    let ids = (connect(&a), connect(&b));
    // The system gives sockets of one address to different workers; the id is good with all of them.
    let ip = a.local_addr().unwrap().ip();
    assert_eq!(ask(&a, &[announce(ids.0, 0, 1000)]), ["[]"]);
    assert_eq!(ask(&b, &[announce(ids.1, 0, 2000)]), [format!("[{}]", SocketAddr::new(ip, 1000))]);
    let hashes = [[9; 20], [8; 20]].concat();
    let hashes = Hashes::new(&hashes).unwrap();
    let scrape = Request::Scrape { connection: ids.0, transaction: 0, hashes };
    assert_eq!(ask(&a, &[scrape]), ["[(0, 2), (0, 0)]"]);
    // Silence for what is forged, and then an answer to what is not.
    let mut forged = [0; 98];
    forged[11] = 1;
    a.send(&forged).unwrap();
    assert_eq!(connect(&a), ids.0);
    let site = Arc::clone(hub.site());
    hub.stop();
    let stats = site.store.stats();
    assert_eq!((stats.v4 + stats.v6).leeches, 2);
    let seen = [Count::Announces, Count::Scrapes, Count::Connects, Count::Forged, Count::Unsent];
    assert_eq!(seen.map(|what| counted(&site, what)), [2, 1, 3, 1, 0]);
    assert_eq!(counted(&site, Count::Received), 3 * 16 + 3 * 98 + 56);
}

#[test]
fn clients_find_each_other_over_ipv4() {
    converse("127.0.0.1:0");
}

#[test]
fn clients_find_each_other_over_ipv6() {
    if UdpSocket::bind("[::1]:0").is_ok() {
        converse("[::1]:0");
    }
}

#[test]
fn more_than_a_batch_at_once_over_either_socket() {
    let hub =
        hub(&["127.0.0.1:0", "127.0.0.1:0"], config::Options { workers: Some(1), ..Default::default() });
    assert_eq!(hub.udp().len(), 2);
    let a = client(&hub);
    let id = connect(&a);
    // So few that the smallest queue of a socket holds them.
    let answers = ask(&a, &(0..150).map(|n| announce(id, n, 1)).collect::<Vec<_>>());
    assert!(answers.iter().all(|answer| answer == "[]"));
    assert_eq!(hub.site().store.stats().v4.leeches, 1);
    hub.stop();
}

#[test]
fn who_is_not_wanted_is_told_why() {
    let clients = Some(vec!["192.0.2.0/24".parse().unwrap()]);
    let hub = hub(&["127.0.0.1:0"], config::Options { clients, ..Default::default() });
    let a = client(&hub);
    let id = connect(&a);
    let hashes = Hashes::new(&[9; 20]).unwrap();
    let scrape = Request::Scrape { connection: id, transaction: 1, hashes };
    let answers = ask(&a, &[announce(id, 0, 1), scrape]);
    assert!(answers.iter().all(|answer| answer == "this tracker is for other networks"), "{answers:?}");
    let site = Arc::clone(hub.site());
    hub.stop();
    assert_eq!(site.store.stats().v4.leeches, 0);
    assert_eq!(counted(&site, Count::Refused(crate::access::Refusal::Stranger)), 2);
}
