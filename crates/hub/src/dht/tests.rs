//! Nodes over real sockets, on this machine.

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use samara_proto::bencode::{self, Limits};
use samara_proto::ids::NodeId;
use samara_proto::tracker::Family;
use samara_proto::tracker::udp::{Body, Request, parse_response};

use crate::Hub;
use crate::config::{Config, Lead, Options, Part};
use crate::metrics::{Count, Transport};

/// A hub at `udp` that begins with the nodes at `leads`.
fn hub(udp: &[SocketAddr], leads: &[SocketAddr], set: Options) -> Hub {
    let leads = leads.iter().map(|addr| Lead::At((*addr).into())).collect();
    let set = Options { udp: Some(udp.into()), dht_bootstrap: Some(leads), workers: Some(2), ..set };
    Hub::start(&Config::new(set).unwrap()).unwrap()
}

fn both_parts() -> Options {
    Options { dht: Some(true), ..Options::default() }
}

fn local(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn client(hub: &Hub) -> UdpSocket {
    let at = hub.udp()[0];
    let client = UdpSocket::bind((at.ip(), 0)).unwrap();
    client.connect(at).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    client
}

/// What a node says to find_node: its id, and how many nodes it names.
fn find(client: &UdpSocket) -> (NodeId, usize) {
    let question = b"d1:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz123456e1:q9:find_node2:roi1e1:t2:ab1:y1:qe";
    client.send(question).unwrap();
    let mut buffer = [0; 2000];
    let len = client.recv(&mut buffer).unwrap();
    let answer = bencode::parse(&buffer[..len], Limits::MESSAGE).unwrap().as_dict().unwrap();
    let body = answer.get("r").unwrap().as_dict().unwrap();
    let of =
        |key, each| body.get(key).and_then(|nodes| nodes.as_bytes()).map_or(0, |nodes| nodes.len() / each);
    (
        NodeId::from_slice(body.get("id").unwrap().as_bytes().unwrap()).unwrap(),
        of("nodes", 26) + of("nodes6", 38),
    )
}

/// Asks until the node knows somebody.
fn wait(hub: &Hub) -> NodeId {
    let (client, start) = (client(hub), Instant::now());
    loop {
        let (id, nodes) = find(&client);
        if nodes > 0 {
            return id;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "it finds nobody");
    }
}

#[test]
fn hubs_that_begin_with_each_other_know_each_other_over_either_family() {
    for ip in ["127.0.0.1:0", "[::1]:0"] {
        let first = hub(&[local(ip)], &[], both_parts());
        let second = hub(&[local(ip)], first.udp(), both_parts());
        assert_ne!(wait(&first), wait(&second));
        let site = Arc::clone(second.site());
        let text = site.metrics();
        let family = if ip.starts_with('[') { "ipv6" } else { "ipv4" };
        assert!(text.contains(&format!("samara_hub_dht_nodes{{family=\"{family}\"}} 1\n")), "{text}");
        first.stop();
        second.stop();
        let standing = site.dht.as_ref().unwrap().standing();
        assert_eq!(standing.len(), 1);
        let counts = standing[0].counts;
        assert!(counts.answered > 0 && counts.answers() > 0 && counts.limited == 0, "{counts:?}");
    }
}

#[test]
fn a_node_of_both_families_is_two() {
    let addrs = [local("127.0.0.1:0"), local("[::1]:0")];
    let first = hub(&addrs, &[], both_parts());
    let second = hub(&addrs, &first.udp()[..1], both_parts());
    let (v4, client6) = (wait(&second), UdpSocket::bind("[::1]:0").unwrap());
    client6.connect(second.udp()[1]).unwrap();
    assert_ne!(v4, find(&client6).0);
    first.stop();
    second.stop();
}

#[test]
fn the_tracker_beside_it_is_not_disturbed() {
    let hub = hub(&[local("127.0.0.1:0")], &[], both_parts());
    let client = client(&hub);
    for transaction in 0..50 {
        let mut out = Vec::new();
        Request::Connect { transaction }.write(&mut out);
        client.send(&out).unwrap();
        let mut buffer = [0; 100];
        let len = client.recv(&mut buffer).unwrap();
        let answer = parse_response(&buffer[..len], Family::V4).unwrap();
        assert_eq!(answer.transaction, transaction);
        let Body::Connect { connection } = answer.body else { panic!() };
        assert!(connection >> 63 == 1, "what carries it may begin with d");
        find(&client);
    }
    let site = Arc::clone(hub.site());
    hub.stop();
    let counted = |what| site.books.sum(Transport::Udp, what);
    assert_eq!((counted(Count::Connects), counted(Count::Malformed)), (50, 0));
    assert_eq!(site.dht.as_ref().unwrap().standing()[0].counts.answers(), 50);
}

#[test]
fn alone_it_is_no_tracker() {
    let set =
        Options { only: Some(vec![Part::Dht]), http: Some(vec![local("127.0.0.1:0")]), ..Options::default() };
    let hub = hub(&[local("127.0.0.1:0")], &[], set);
    let client = client(&hub);
    let mut out = Vec::new();
    Request::Connect { transaction: 1 }.write(&mut out);
    client.send(&out).unwrap();
    // The only answer is that to the second question.
    find(&client);
    let text = hub.site().metrics();
    assert!(!text.contains("samara_hub_torrents") && text.contains("samara_hub_dht_torrents"));
    hub.stop();
    assert!(
        Config::new(Options { only: Some(vec![Part::Dht]), ..Options::default() }).unwrap().http.is_empty()
    );
}

#[test]
fn other_networks_are_not_answered() {
    let set = Options { clients: Some(vec!["127.0.0.2".parse().unwrap()]), ..both_parts() };
    let hub = hub(&[local("127.0.0.1:0")], &[], set);
    let stranger = client(&hub);
    stranger.send(b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe").unwrap();
    let friend = UdpSocket::bind("127.0.0.2:0").unwrap();
    friend.connect(hub.udp()[0]).unwrap();
    (0..100).for_each(|_| _ = find(&friend));
    stranger.set_nonblocking(true).unwrap();
    assert!(stranger.recv(&mut [0; 100]).is_err());
    hub.stop();
}

#[test]
fn a_restart_keeps_its_place_and_its_neighbours() {
    let dir = std::env::temp_dir().join(format!("samara-hub-dht-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    let file: PathBuf = dir.join("dht");
    let saved = || Options { dht_state: Some(file.clone()), ..both_parts() };
    let first = hub(&[local("127.0.0.1:0")], &[], both_parts());
    let second = hub(&[local("127.0.0.1:0")], first.udp(), saved());
    let id = wait(&second);
    second.stop();
    let again = hub(&[local("127.0.0.1:0")], &[], saved());
    assert_eq!(wait(&again), id);
    again.stop();
    first.stop();
    // Somebody else's file is no reason not to start; who knows nobody forgets nobody.
    fs::write(&file, "i5e").unwrap();
    let damaged = hub(&[local("127.0.0.1:0")], &[], saved());
    assert_ne!(find(&client(&damaged)).0, id);
    damaged.stop();
    assert_eq!(fs::read(&file).unwrap(), b"i5e");
    fs::remove_dir_all(&dir).unwrap();
    let nowhere = Config::new(saved()).unwrap();
    assert!(Hub::check(&nowhere).unwrap_err().to_string().contains("DHT node"));
}

#[test]
fn peers_of_denied_torrents_are_not_kept() {
    let list = std::env::temp_dir().join(format!("samara-hub-denied-{}", std::process::id()));
    fs::write(&list, format!("{}\n", "61".repeat(20))).unwrap();
    let hub = hub(&[local("127.0.0.1:0")], &[], Options { deny_list: Some(list.clone()), ..both_parts() });
    let client = client(&hub);
    let ask = |question: &[u8]| {
        client.send(question).unwrap();
        let mut buffer = [0; 2000];
        let len = client.recv(&mut buffer).unwrap();
        buffer[..len].to_vec()
    };
    // A denied torrent, and another one; a ping tells that the announce before it was looked at.
    for (torrent, kept) in [("a".repeat(20), 0), ("b".repeat(20), 1)] {
        let id = "2:id20:abcdefghij0123456789";
        let got =
            ask(format!("d1:ad{id}9:info_hash20:{torrent}e1:q9:get_peers2:roi1e1:t2:aa1:y1:qe").as_bytes());
        let token = got.windows(17).find_map(|part| part.strip_prefix(b"5:token8:")).unwrap();
        let mut announce = format!("d1:ad{id}9:info_hash20:{torrent}4:porti7e5:token8:").into_bytes();
        announce.extend_from_slice(token);
        announce.extend_from_slice(b"e1:q13:announce_peer2:roi1e1:t2:ab1:y1:qe");
        client.send(&announce).unwrap();
        ask(format!("d1:ad{id}e1:q4:ping2:roi1e1:t2:ac1:y1:qe").as_bytes());
        assert_eq!(hub.site().dht.as_ref().unwrap().standing()[0].torrents, kept);
    }
    hub.stop();
    fs::remove_file(list).unwrap();
}
