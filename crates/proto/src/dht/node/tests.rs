use std::collections::BTreeMap;

use super::jobs::Jobs;
use super::*;
use crate::dht::dual::Dht;
use crate::dht::item::{Item, immutable_target};
use crate::dht::server::ServerConfig;

const TORRENT: NodeId = NodeId([0x5a; 20]);

fn v4(n: u16) -> SocketAddr {
    (std::net::Ipv4Addr::new(50, (n >> 8) as u8, n as u8, 1), 6881).into()
}

fn v6(n: u16) -> SocketAddr {
    (std::net::Ipv6Addr::new(0x2600, n, 0, 0, 0, 0, 0, 1), 6881).into()
}

/// Nodes that are joined by a network where a packet takes 50 ms.
#[derive(Default)]
struct Net {
    now: Time,
    nodes: BTreeMap<SocketAddr, Node>,
    /// What is on its way: when it comes, in which order, where from, where to.
    wire: BTreeMap<(Time, u64), (SocketAddr, SocketAddr, Vec<u8>)>,
    sent: u64,
    told: Vec<(SocketAddr, Output)>,
    /// Cut off from everybody.
    dark: Vec<SocketAddr>,
}

impl Net {
    /// So many nodes that all begin with the first.
    fn new(count: u16, addr: fn(u16) -> SocketAddr) -> Self {
        let mut net = Self::default();
        (0..count).for_each(|n| net.add(addr(n), addr(0), Config::new(Family::of(addr(n).ip()))));
        net
    }

    fn add(&mut self, addr: SocketAddr, first: SocketAddr, config: Config) {
        let mut node = Node::new(config, u64::from(addr.port()) + self.nodes.len() as u64 * 7919, self.now);
        node.set_bootstrap(self.now, vec![first]);
        self.nodes.insert(addr, node);
    }

    fn node(&mut self, n: u16) -> &mut Node {
        self.nodes.get_mut(&v4(n)).unwrap()
    }

    fn run(&mut self, secs: u64) {
        let end = self.now + Duration::from_secs(secs);
        loop {
            self.collect();
            let timer = self.nodes.iter().filter_map(|(a, n)| n.deadline().map(|at| (at, *a))).min();
            let packet = self.wire.first_key_value().map(|(key, _)| *key);
            let next = timer.map(|(at, _)| at).into_iter().chain(packet.map(|(at, _)| at)).min();
            let Some(next) = next.filter(|at| *at <= end) else { break };
            self.now = self.now.max(next);
            match packet.filter(|(at, _)| *at <= self.now) {
                Some(key) => self.deliver(key),
                None => {
                    let (_, addr) = timer.unwrap();
                    self.nodes.get_mut(&addr).unwrap().handle(self.now, Input::Timer);
                }
            }
        }
        self.now = end;
    }

    fn deliver(&mut self, key: (Time, u64)) {
        let (from, to, bytes) = self.wire.remove(&key).unwrap();
        if let Some(node) =
            self.nodes.get_mut(&to).filter(|_| ![from, to].iter().any(|a| self.dark.contains(a)))
        {
            node.handle(self.now, Input::Datagram { from, bytes: &bytes });
        }
    }

    fn collect(&mut self) {
        for (addr, node) in &mut self.nodes {
            while let Some(output) = node.poll() {
                match output {
                    Output::Send { to, datagram } => {
                        self.sent += 1;
                        let at = self.now + Duration::from_millis(50);
                        self.wire.insert((at, self.sent), (*addr, to, datagram));
                    }
                    other => self.told.push((*addr, other)),
                }
            }
        }
    }

    fn done(&mut self, n: u16, op: Op) -> Summary {
        self.collect();
        let told = self.told.iter().rev().filter(|(addr, _)| *addr == v4(n));
        let mut done = told.filter_map(|(_, output)| match output {
            Output::Done { op: other, summary } if *other == op => Some((**summary).clone()),
            _ => None,
        });
        done.next().expect("it has ended")
    }

    fn peers(&self, n: u16, op: Op) -> Vec<SocketAddr> {
        let told = self.told.iter().filter_map(|(addr, output)| match output {
            Output::Peers { op: other, peers } if *other == op && *addr == v4(n) => Some(peers.clone()),
            _ => None,
        });
        told.flatten().collect()
    }
}

fn announce(port: u16) -> Announce {
    Announce { info_hash: TORRENT, port, implied_port: false, seed: false }
}

fn find_peers() -> Ask {
    Ask::Peers { info_hash: TORRENT, noseed: false, scrape: true }
}

#[test]
fn who_all_begin_at_once_with_one_that_knows_nobody_soon_know_each_other() {
    let mut net = Net::new(10, v4);
    net.run(20);
    let known: Vec<_> = net.nodes.values().map(|node| node.table().len()).collect();
    assert!(known.iter().all(|n| *n >= 7), "{known:?}");
}

#[test]
fn who_announces_is_found_as_long_as_it_does() {
    let mut net = Net::new(40, v4);
    net.run(120);
    let least = net.nodes.values().map(|node| node.table().len()).min();
    assert!(net.nodes.values().all(|node| node.is_joined()) && least >= Some(16), "{least:?}");
    let now = net.now;
    let announced = net.node(7).announce(now, announce(4000));
    net.run(5);
    let summary = net.done(7, announced);
    assert!(summary.stored >= 8 && summary.next.is_some(), "{summary:?}");
    for later in [1, 1700, 1700] {
        net.run(later);
        let now = net.now;
        let op = net.node(23).start(now, find_peers());
        net.run(5);
        assert_eq!(net.peers(23, op), [SocketAddr::new(v4(7).ip(), 4000)], "each peer once");
        let summary = net.done(23, op);
        assert_eq!((summary.found, summary.scrape), (1, Some((0, 1))));
        assert!(summary.took < Duration::from_secs(1) && summary.closest.len() == 8);
    }
    net.node(7).cancel(announced);
    net.run(1900);
    let now = net.now;
    let op = net.node(23).start(now, find_peers());
    net.run(5);
    assert_eq!((net.peers(23, op), net.done(23, op).found), (vec![], 0));
}

#[test]
fn of_two_nodes_each_finds_what_the_other_left_with_it() {
    let mut net = Net::new(2, v4);
    net.run(30);
    let (now, item) = (net.now, Item::immutable(b"2:hi").unwrap());
    net.node(0).announce(now, announce(4000));
    net.node(0).start(now, Ask::Put { item: item.clone(), cas: None });
    net.run(5);
    let (now, target) = (net.now, item.target());
    let peers = net.node(1).start(now, find_peers());
    let got = net.node(1).start(now, Ask::Get { target, salt: Box::default() });
    net.run(10);
    assert_eq!(net.peers(1, peers), [SocketAddr::new(v4(0).ip(), 4000)]);
    assert_eq!((net.done(1, peers).found, net.done(1, got).found), (1, 1));
    assert!(net.told.contains(&(v4(1), Output::Item { op: got, item })));
}

#[test]
fn an_announce_outlives_the_node_that_everybody_began_with() {
    let mut net = Net::new(30, v4);
    let announced = net.node(7).announce(Time::ZERO, announce(4000));
    net.run(40);
    assert!(net.done(7, announced).stored >= 4, "told again once others are known");
    net.nodes.remove(&v4(0));
    let now = net.now;
    let op = net.node(23).start(now, find_peers());
    net.run(5);
    assert_eq!(net.peers(23, op), [SocketAddr::new(v4(7).ip(), 4000)]);
}

#[test]
fn everybody_learns_where_it_stands_and_takes_an_id_that_fits() {
    let mut net = Net::new(30, v4);
    net.run(300);
    for (addr, node) in &net.nodes {
        assert_eq!(node.outside().map(|o| (o.ip, o.port)), Some((addr.ip(), Some(6881))), "{addr}");
        assert!(node.id().fits(addr.ip()));
        assert!(node.table().iter().all(|entry| entry.fits), "old ids are gone");
    }
    let size = net.node(3).network_size().unwrap();
    assert!((15.0..60.0).contains(&size), "{size}");
}

#[test]
fn items_are_put_found_and_renewed() {
    let mut net = Net::new(30, v4);
    net.run(60);
    let now = net.now;
    let value = b"12:Hello World!";
    let op = net.node(1).start(now, Ask::Put { item: Item::immutable(value).unwrap(), cas: None });
    net.run(5);
    assert!(net.done(1, op).stored >= 8);
    let (key, now) = ([9; 32], net.now);
    let found = |net: &mut Net, target, salt: &[u8]| {
        let now = net.now;
        let op = net.node(20).start(now, Ask::Get { target, salt: salt.into() });
        net.run(10);
        net.done(20, op);
        let mut items = net.told.iter().rev().filter_map(|(addr, output)| match output {
            Output::Item { op: other, item } if *other == op && *addr == v4(20) => Some(item.clone()),
            _ => None,
        });
        items.next()
    };
    assert_eq!(found(&mut net, immutable_target(value), b"").unwrap().value(), value);
    let first = Item::sign(&key, b"s", 1, b"1:a").unwrap();
    let target = first.target();
    net.node(2).start(now, Ask::Put { item: first.clone(), cas: None });
    net.run(10);
    assert_eq!(found(&mut net, target, b"s"), Some(first));
    assert_eq!(found(&mut net, target, b"x"), None, "another salt proves nothing");
    let second = Item::sign(&key, b"s", 2, b"1:b").unwrap();
    let now = net.now;
    let wrong = net.node(2).start(now, Ask::Put { item: second.clone(), cas: Some(7) });
    net.run(10);
    let refused = net.done(2, wrong);
    // Who has nothing yet is not told to compare (BEP 44).
    assert!(refused.stored <= 3 && refused.refusal.map(|(code, _)| code) == Some(301));
    let now = net.now;
    net.node(2).start(now, Ask::Put { item: second.clone(), cas: Some(1) });
    net.run(10);
    assert_eq!(found(&mut net, target, b"s"), Some(second));
}

#[test]
fn a_ping_a_sample_and_what_nobody_answers() {
    let mut net = Net::new(20, v4);
    net.run(60);
    let now = net.now;
    let ids = [2, 3].map(|n| net.node(n).id());
    let alive = net.node(1).start(now, Ask::Ping { addr: v4(2) });
    let dead = net.node(1).start(now, Ask::Ping { addr: v4(999) });
    net.node(4).announce(now, announce(1));
    net.run(10);
    assert_eq!(net.done(1, alive).closest, [Contact { id: ids[0], addr: v4(2) }]);
    assert_eq!(net.done(1, alive).took, Duration::from_millis(100));
    assert_eq!(net.done(1, dead).answered, 0);
    let now = net.now;
    let op = net.node(1).start(now, Ask::Sample { target: TORRENT });
    net.run(10);
    net.done(1, op);
    assert!(
        net.told
            .iter()
            .any(|(_, output)| matches!(output, Output::Sample { hashes, .. } if *hashes == [TORRENT]))
    );
}

#[test]
fn without_anybody_to_ask_everything_ends() {
    let mut node = Node::new(Config::new(Family::V4), 1, Time::ZERO);
    let op = node.start(Time::ZERO, find_peers());
    let mut now = Time::ZERO;
    let ended = loop {
        now = now.max(node.deadline().unwrap());
        node.handle(now, Input::Timer);
        if let Some(output) = node.poll() {
            break output;
        }
    };
    assert!(matches!(ended, Output::Done { op: other, .. } if other == op));
    assert!(
        (19..25).contains(&now.since(Time::ZERO).as_secs()),
        "it waits a while, at the start of time too: {now:?}"
    );
}

#[test]
fn a_network_that_goes_dark_is_found_again_with_its_table() {
    let mut net = Net::new(30, v4);
    net.run(300);
    let known = net.node(5).table().len();
    let now = net.now;
    let op = net.node(5).announce(now, announce(1));
    net.run(60);
    net.dark.push(v4(5));
    net.run(3600);
    assert!(net.node(5).table().len() * 2 > known, "{} of {known}", net.node(5).table().len());
    net.dark.clear();
    net.run(60);
    assert!(net.node(5).is_joined());
    let recent = net.done(5, op);
    assert!(recent.stored >= 8, "it announces at once: {recent:?}");
    // A bootstrap node that comes late is found too.
    let mut net = Net::default();
    net.add(v4(1), v4(0), Config::new(Family::V4));
    net.run(1200);
    net.add(v4(0), v4(0), Config::new(Family::V4));
    net.run(310);
    assert!(net.node(1).is_joined());
}

#[test]
fn read_only_nodes_ask_and_are_in_nobodys_table() {
    let mut net = Net::new(10, v4);
    net.add(v4(50), v4(0), Config { read_only: true, ..Config::new(Family::V4) });
    net.run(200);
    assert!(net.node(50).is_joined());
    let knows = |node: &Node| node.table().iter().any(|entry| entry.contact.addr == v4(50));
    assert!(!net.nodes.values().any(knows));
    let query = b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe";
    let now = net.now;
    net.node(50).handle(now, Input::Datagram { from: v4(1), bytes: query });
    while let Some(output) = net.node(50).poll() {
        let Output::Send { datagram, .. } = output else { continue };
        let message = parse(&datagram).unwrap();
        assert!(message.read_only && matches!(message.body, Body::Query(_)));
    }
}

#[test]
fn both_families_help_each_other_to_join() {
    let mut net = Net::new(20, v6);
    (0..20).for_each(|n| net.add(v4(n), v4(0), Config::new(Family::V4)));
    net.run(100);
    // The first of both families is one program.
    let now = net.now;
    let hub = |net: &mut Net, addr| net.nodes.remove(&addr);
    let mut dht = Dht::new(hub(&mut net, v4(0)), hub(&mut net, v6(0)));
    let query = b"d1:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz1234564:wantl2:n42:n6ee1:q9:find_node1:t2:aa1:y1:qe";
    dht.handle(now, Input::Datagram { from: v4(77), bytes: query });
    let answer = loop {
        match dht.poll(now) {
            Some((Family::V4, Output::Send { to, datagram })) if to == v4(77) => break datagram,
            Some(_) => {}
            None => panic!("no answer"),
        }
    };
    let Body::Response(response) = parse(&answer).unwrap().body else { panic!("no response") };
    assert!(response.nodes.unwrap().len() == 208 && response.nodes6.unwrap().len() == 304);
    assert!(dht.deadline().is_some());
}

#[test]
fn strangers_answers_and_forged_ones_are_nothing() {
    let mut net = Net::new(10, v4);
    net.run(60);
    let before = net.node(1).table().len();
    let mut bytes = b"d2:ip6:aaaaaa1:rd2:id20:abcdefghij01234567895:nodes26:".to_vec();
    bytes.extend([7; 26]);
    bytes.extend(b"e1:t4:....1:y1:re");
    let now = net.now;
    for n in 0..1000u32 {
        let at = bytes.len() - 12;
        bytes[at..at + 4].copy_from_slice(&n.to_be_bytes());
        net.node(1).handle(now, Input::Datagram { from: v4(2), bytes: &bytes });
        net.node(1).handle(now, Input::Datagram { from: v4(800 + n as u16), bytes: &bytes });
    }
    assert_eq!(net.node(1).table().len(), before);
}

#[test]
fn whoever_asks_too_often_gets_no_answer_and_that_is_counted() {
    let far = |n: u16| SocketAddr::new([8, 8, (n >> 8) as u8, n as u8].into(), 6881);
    let query =
        b"d1:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz123456e1:q9:find_node1:t2:aa1:y1:qe";
    let server = ServerConfig { rate: Some(1000), ..ServerConfig::public(0) };
    let mut node = Node::new(Config { server, ..Config::new(Family::V4) }, 1, Time::ZERO);
    let ask = |node: &mut Node, from| {
        node.handle(Time::ZERO, Input::Datagram { from, bytes: query });
        let out = std::iter::from_fn(|| node.poll());
        out.filter(|out| matches!(out, Output::Send { datagram, .. } if datagram.ends_with(b"1:y1:re")))
            .count()
    };
    let answers: usize = (0..100).map(|_| ask(&mut node, far(1))).sum();
    assert_eq!(answers as u64, node.counts().answers());
    assert_eq!(node.counts().limited, 80);
    (0..1000).for_each(|n| _ = ask(&mut node, far(n)));
    let counts = node.counts();
    assert_eq!((counts.questions, counts.limited), (1100, 81));
    // Answers without nodes have some 70 bytes, and headers.
    assert!((40..60).contains(&counts.answers()), "{counts:?}");
}

#[test]
fn a_ping_that_was_cancelled_or_cannot_be_sent_is_bounded() {
    let mut node = Node::new(Config::new(Family::V4), 1, Time::ZERO);
    let cancelled = node.start(Time::ZERO, Ask::Ping { addr: v4(1) });
    node.cancel(cancelled);
    let foreign = node.start(Time::ZERO, Ask::Ping { addr: v6(1) });
    (0..5000).for_each(|n| _ = node.start(Time::ZERO, Ask::Ping { addr: v4(n) }));
    let mut said = Vec::new();
    for secs in 0..30 {
        node.handle(Time::ZERO + Duration::from_secs(secs), Input::Timer);
        said.extend(std::iter::from_fn(|| node.poll()));
    }
    let ended = said.iter().filter_map(|o| if let Output::Done { op, .. } = o { Some(*op) } else { None });
    let mut ended: Vec<Op> = ended.collect();
    ended.sort();
    assert_eq!(
        ended,
        (0..=5000).map(|n| Op(foreign.0 + n)).collect::<Vec<_>>(),
        "each once, but not the cancelled"
    );
    let sent = |o: &Output| matches!(o, Output::Send { to, .. } if to.is_ipv4());
    assert!(said.iter().filter(|o| sent(o)).count() <= MAX_CALLS + 1);
    assert!(!said.iter().any(|o| matches!(o, Output::Send { to, .. } if to.is_ipv6())));
}

/// Ends whatever asks, as somebody who answers under such an id.
fn answer_as(node: &mut Node, now: Time, id: impl Fn(SocketAddr) -> Option<NodeId>) -> Vec<SocketAddr> {
    let mut asked = Vec::new();
    while let Some(output) = node.poll() {
        let Output::Send { to, datagram } = output else { continue };
        asked.push(to);
        let Some(id) = id(to) else { continue };
        let transaction = parse(&datagram).unwrap().transaction;
        let body = Body::Response(Response::new(id));
        let mut bytes = Vec::new();
        Message { transaction, version: None, ip: None, read_only: false, body }.write(&mut bytes);
        node.handle(now + Duration::from_millis(20), Input::Datagram { from: to, bytes: &bytes });
    }
    asked
}

#[test]
fn who_answers_under_an_id_that_is_taken_loses_his_place() {
    let mut node = Node::new(Config::new(Family::V4), 1, Time::ZERO);
    let own = node.id();
    (1..4).for_each(|n| node.hint(Time::ZERO, v4(n)));
    let id = |n: u8| NodeId([n * 60; 20]);
    let mut now = Time::ZERO;
    // The second takes our id later, the third that of the first.
    let honest =
        |to: SocketAddr| [(v4(1), id(1)), (v4(2), id(2)), (v4(3), id(3))].into_iter().find(|(a, _)| *a == to);
    let thieves =
        |to: SocketAddr| [(v4(1), id(1)), (v4(2), own), (v4(3), id(1))].into_iter().find(|(a, _)| *a == to);
    let mut asked = Vec::new();
    for secs in 0..3600 {
        now = Time::ZERO + Duration::from_secs(secs);
        node.handle(now, Input::Timer);
        let who = answer_as(&mut node, now, |to| {
            if secs < 10 { honest(to) } else { thieves(to) }.map(|(_, id)| id)
        });
        if secs == 9 {
            assert_eq!(node.table().len(), 3);
        } else if secs > 1800 {
            asked.extend(who);
        }
    }
    let known: Vec<_> = node.table().iter().map(|entry| entry.contact).collect();
    assert_eq!(known, [Contact { id: id(1), addr: v4(1) }], "at {now:?}");
    assert!(!asked.contains(&v4(3)), "and is asked no more");
}

#[test]
fn peers_of_nodes_without_filters_are_counted_and_overfull_filters_are_not() {
    use crate::dht::message::Peers;
    let peers: Vec<u8> = (1..6).flat_map(|n| [9, 9, n, 9, 1, 1]).collect();
    for (full, counted) in [(None, Some((0, 5))), (Some(&[255; 256]), Some((0, 5)))] {
        let mut node = Node::new(Config::new(Family::V4), 1, Time::ZERO);
        node.hint(Time::ZERO, v4(1));
        let op = node.start(Time::ZERO, find_peers());
        let mut done = None;
        for secs in 0..20 {
            let now = Time::ZERO + Duration::from_secs(secs);
            node.handle(now, Input::Timer);
            while let Some(output) = node.poll() {
                match output {
                    Output::Send { to, datagram } => {
                        let transaction = parse(&datagram).unwrap().transaction;
                        let values = Some(Peers::Compact(&peers, Family::V4));
                        let response =
                            Response { values, seeds: full, peers: full, ..Response::new(TORRENT) };
                        let body = Body::Response(response);
                        let mut bytes = Vec::new();
                        Message { transaction, version: None, ip: None, read_only: false, body }
                            .write(&mut bytes);
                        node.handle(now, Input::Datagram { from: to, bytes: &bytes });
                    }
                    Output::Done { op: other, summary } if other == op => done = Some(summary),
                    _ => {}
                }
            }
        }
        assert_eq!(done.as_ref().map(|s| (s.found, s.scrape)), Some((5, counted)), "{done:?}");
    }
}

#[test]
fn who_waits_is_not_held_up_by_announces() {
    let (mut jobs, room) = (Jobs::default(), 16);
    let at = |secs| Time::ZERO + Duration::from_secs(secs);
    let added: Vec<Op> = (0..10_000).map(|n| jobs.add(at(0), Goal::Announce(announce(n)))).collect();
    let wait = |jobs: &mut Jobs, secs| {
        while jobs.take_due(at(secs), room).is_some() {}
        let op = jobs.add(at(secs), Goal::Once(find_peers()));
        assert_eq!(jobs.take_due(at(secs), room), Some(op));
        assert!(jobs.finish(at(secs), op, 0, Duration::ZERO).is_none());
    };
    wait(&mut jobs, 1);
    // All have run once, and come due again together.
    for op in added {
        jobs.finish(at(1), op, 8, Duration::ZERO);
        jobs.take_due(at(1), room);
    }
    wait(&mut jobs, 5000);
    // Each takes two seconds: all are made again within their half hour.
    let mut secs = 5000;
    let mut running = Vec::new();
    while jobs.deadline(room).is_some_and(|due| due <= at(secs)) || !running.is_empty() {
        running.extend(std::iter::from_fn(|| jobs.take_due(at(secs), room)));
        secs += 2;
        running.drain(..).for_each(|op| _ = jobs.finish(at(secs), op, 8, Duration::ZERO));
        assert!(secs < 5000 + 1200, "too slow");
    }
    assert!(jobs.waiting_for(at(9999), Duration::ZERO).is_empty());
}
