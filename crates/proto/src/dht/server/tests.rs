use super::*;
use crate::bencode;
use crate::dht::Contact;
use crate::dht::contact::read_nodes;
use crate::dht::message::{MAX_READ, Signed, parse};

fn at(secs: u64) -> Time {
    Time::from_micros(secs * 1_000_000)
}

const TORRENT: NodeId = NodeId([0x33; 20]);

fn v4(n: u32) -> SocketAddr {
    (std::net::Ipv4Addr::from_bits(0x2000_0000 + n * 256), 1000).into()
}

fn v6(n: u16) -> SocketAddr {
    (std::net::Ipv6Addr::new(0x2600, n, 0, 0, 0, 0, 0, 1), 1000).into()
}

/// A node with full tables of both families.
struct World {
    server: Server,
    tables: [Table; 2],
}

impl World {
    fn new() -> Self {
        let mut rng = Rng::new(1);
        let own = NodeId::random(&mut rng);
        let mut tables = [Table::new(own), Table::new(own)];
        for n in 0..200 {
            for (table, addr) in tables.iter_mut().zip([v4(n), v6(n as u16)]) {
                let id = NodeId::random(&mut rng);
                table.answered(at(1), Contact { id, addr }, Duration::from_millis(50));
            }
        }
        Self { server: Server::new(&ServerConfig::default(), 7, at(0)), tables }
    }

    fn ask(&mut self, secs: u64, from: SocketAddr, want: Want, method: Method<'_>) -> Vec<u8> {
        let [a, b] = &self.tables;
        let (table, other) = if from.is_ipv4() { (a, b) } else { (b, a) };
        let query = Query { id: NodeId([1; 20]), want, method };
        let mut out = Vec::new();
        let asked = Asked { table, other: Some(other), from };
        self.server.answer(at(secs), &asked, &[b't'; 8], &query, &mut out);
        out
    }

    fn plain(&mut self, secs: u64, from: SocketAddr, method: Method<'_>) -> Vec<u8> {
        self.ask(secs, from, Want::default(), method)
    }

    fn token(&mut self, secs: u64, from: SocketAddr, target: NodeId) -> Vec<u8> {
        let answer = self.plain(secs, from, Method::Get { target, seq: None });
        read(&answer).token.unwrap().to_vec()
    }

    fn announce(&mut self, secs: u64, from: SocketAddr, token: &[u8], seed: bool) -> Vec<u8> {
        let port = 4000;
        let method = Method::AnnouncePeer { info_hash: TORRENT, port, implied_port: false, seed, token };
        self.plain(secs, from, method)
    }
}

fn read(answer: &[u8]) -> Response<'_> {
    match parse(answer).unwrap().body {
        Body::Response(response) => response,
        other => panic!("{other:?}"),
    }
}

fn code_of(answer: &[u8]) -> i64 {
    match parse(answer).unwrap().body {
        Body::Error { code, .. } => code,
        other => panic!("{other:?}"),
    }
}

const GET_PEERS: Method<'static> = Method::GetPeers { info_hash: TORRENT, noseed: false, scrape: false };

#[test]
fn everybody_is_told_where_we_see_him_and_who_is_close() {
    let mut world = World::new();
    let answer = world.plain(2, v4(9), Method::Ping);
    let message = parse(&answer).unwrap();
    assert_eq!(
        (message.ip, message.transaction, message.version),
        (Some(v4(9)), &[b't'; 8][..], Some(&b"SA01"[..]))
    );
    for method in
        [Method::FindNode { target: TORRENT }, Method::Unknown { name: b"dance", target: Some(TORRENT) }]
    {
        for (from, want, lens) in [
            (v4(9), Want::default(), (Some(208), None)),
            (v6(9), Want::default(), (None, Some(304))),
            (v4(9), Want { v4: true, v6: true }, (Some(208), Some(304))),
            (v4(9), Want { v4: false, v6: true }, (None, Some(304))),
        ] {
            let answer = world.ask(2, from, want, method);
            let response = read(&answer);
            assert_eq!((response.nodes.map(<[u8]>::len), response.nodes6.map(<[u8]>::len)), lens);
        }
    }
    assert_eq!(code_of(&world.plain(2, v4(9), Method::Unknown { name: b"x", target: None })), 204);
}

#[test]
fn a_peer_is_stored_with_a_token_only_and_found_by_its_family() {
    for (from, other) in [(v4(9), v4(1)), (v6(9), v6(1))] {
        let mut world = World::new();
        let answer = world.plain(2, from, GET_PEERS);
        assert!(read(&answer).values.is_none());
        let token = read(&answer).token.unwrap().to_vec();
        assert_eq!(code_of(&world.announce(3, from, b"wrong", false)), code::PROTOCOL);
        assert_eq!(code_of(&world.announce(1000, from, &token, false)), code::PROTOCOL);
        let token = world.token(1000, from, TORRENT);
        read(&world.announce(1001, from, &token, false));
        let answer = world.plain(1002, other, GET_PEERS);
        let found: Vec<_> = read(&answer).values.unwrap().iter().collect();
        assert_eq!(found, [SocketAddr::new(from.ip(), 4000)]);
    }
}

#[test]
fn no_answer_is_longer_than_it_may_be() {
    let mut world = World::new();
    for n in 0..400 {
        let token = world.token(2, v4(n), TORRENT);
        world.announce(2, v4(n), &token, n % 3 == 0);
    }
    let both = Want { v4: true, v6: true };
    for scrape in [false, true] {
        for want in [Want::default(), both] {
            let method = Method::GetPeers { info_hash: TORRENT, noseed: true, scrape };
            let answer = world.ask(3, v4(1), want, method);
            assert!(answer.len() <= MAX_SENT, "{} with {want:?}, scrape {scrape}", answer.len());
            assert!(scrape || answer.len() > MAX_SENT - 60, "{} wastes room", answer.len());
            assert_eq!(read(&answer).seeds.is_some(), scrape);
        }
    }
    let sample = world.ask(3, v4(1), both, Method::SampleInfohashes { target: TORRENT });
    assert!(sample.len() <= MAX_SENT);
    let big = format!("{}:{}", 996, "x".repeat(996));
    let item = Item::sign(&[1; 32], b"", 1, big.as_bytes()).unwrap();
    let target = item.target();
    world.server.items.put(at(3), &TORRENT, v4(1).ip(), item, None).unwrap();
    let answer = world.ask(3, v4(1), both, Method::Get { target, seq: None });
    assert!(answer.len() <= MAX_READ && read(&answer).value.is_some(), "{}", answer.len());
}

#[test]
fn items_are_checked_kept_and_given_out() {
    let mut world = World::new();
    let value = bencode::parse(b"12:Hello World!", bencode::Limits::MESSAGE).unwrap();
    let target = immutable_target(value.raw());
    let token = world.token(2, v4(1), target);
    read(&world.plain(2, v4(1), Method::Put { token: &token, value, signed: None, cas: None }));
    let answer = world.plain(2, v4(2), Method::Get { target, seq: None });
    assert_eq!(read(&answer).value, Some(value));

    let item = Item::sign(&[1; 32], b"s", 3, b"i1e").unwrap();
    let (signed, target) = (item.mutable().unwrap().signed(), item.target());
    let token = world.token(2, v4(1), target);
    let value = bencode::parse(b"i1e", bencode::Limits::MESSAGE).unwrap();
    let put = |signed, cas| Method::Put { token: &token, value, signed: Some(signed), cas };
    assert_eq!(code_of(&world.plain(2, v4(1), put(Signed { seq: 4, ..signed }, None))), code::BAD_SIGNATURE);
    read(&world.plain(2, v4(1), put(signed, None)));
    assert_eq!(code_of(&world.plain(2, v4(1), put(signed, Some(9)))), code::CAS_MISMATCH);
    let mut shown = |seq| {
        let answer = world.plain(2, v4(2), Method::Get { target, seq });
        (read(&answer).seq, read(&answer).value.is_some(), read(&answer).sig.is_some())
    };
    assert_eq!(shown(None), (Some(3), true, true));
    assert_eq!(shown(Some(2)), (Some(3), true, true));
    assert_eq!(shown(Some(3)), (Some(3), false, false));
}

#[test]
fn a_sample_says_how_many_there_are_and_when_it_changes() {
    let mut world = World::new();
    let answer = world.plain(2, v4(1), Method::SampleInfohashes { target: TORRENT });
    assert_eq!(read(&answer).sample, Some(Sample { hashes: &[], interval: 300, num: 0 }));
    let token = world.token(2, v4(1), TORRENT);
    world.announce(2, v4(1), &token, false);
    let answer = world.plain(102, v4(1), Method::SampleInfohashes { target: TORRENT });
    assert_eq!(read(&answer).sample, Some(Sample { hashes: &[], interval: 200, num: 1 }));
    let answer = world.plain(302, v4(1), Method::SampleInfohashes { target: TORRENT });
    assert_eq!(read(&answer).sample, Some(Sample { hashes: &TORRENT.0, interval: 300, num: 1 }));
}

#[test]
fn nobody_is_told_who_stands_further_in_than_he_does() {
    let mut world = World::new();
    let inner: [SocketAddr; 3] = [
        "10.1.2.3:1000".parse().unwrap(),
        "127.0.0.1:1000".parse().unwrap(),
        "127.0.0.1:1001".parse().unwrap(),
    ];
    for (n, addr) in inner.into_iter().enumerate() {
        let id = TORRENT.beside(150 + n as u32, &mut Rng::new(3));
        world.tables[0].answered(at(1), Contact { id, addr }, Duration::from_millis(1));
        let token = world.token(2, addr, TORRENT);
        world.announce(2, addr, &token, false);
    }
    let mut told = |from: &str| {
        let from = from.parse().unwrap();
        let find = world.plain(3, from, Method::FindNode { target: TORRENT });
        let nodes = read_nodes(read(&find).nodes.unwrap(), Family::V4);
        let nodes = nodes.filter(|node| inner.contains(&node.addr)).count();
        let found = world.plain(3, from, GET_PEERS);
        (nodes, read(&found).values.map_or(0, |values| values.iter().count()))
    };
    assert_eq!(told("8.8.8.8:1"), (0, 0));
    assert_eq!(told("192.168.1.1:1"), (1, 1));
    assert_eq!(told("127.0.0.1:2"), (3, 2), "of one address and port there is one peer");
}

#[test]
fn one_who_floods_leaves_others_most_of_the_answers() {
    let mut world = World::new();
    (0..200).for_each(|n| {
        let token = world.token(1, v4(n), TORRENT);
        world.announce(1, v4(n), &token, false);
    });
    let long = world.plain(2, v4(1), GET_PEERS).len();
    let mut given = 0;
    // A hundred questions a second for a minute.
    for n in 0..6000u64 {
        let now = at(10) + Duration::from_millis(10 * n);
        given += usize::from(world.server.admits(now, v4(7).ip()) && world.server.affords(now, long));
    }
    assert!((250..400).contains(&given), "{given}");
    let now = at(70);
    let others =
        (1000..1015).filter(|n| world.server.admits(now, v4(*n).ip()) && world.server.affords(now, long));
    assert_eq!(others.count(), 15);
}
