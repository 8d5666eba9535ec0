//! Who gets a place, who loses it, and who is who.

use std::net::IpAddr;

use super::*;
use crate::torrent::canonical;

/// A public address of a host of its own.
fn host(n: u64) -> SocketAddr {
    SocketAddr::from(([80, (n >> 8) as u8, n as u8, 7], 50_000))
}

const US: [u8; 4] = [90, 1, 2, 3];

fn priority(addr: SocketAddr) -> u32 {
    canonical::priority(SocketAddr::from((US, 0)), addr)
}

fn connects(out: &[Out]) -> Vec<SocketAddr> {
    let connects = out.iter().filter_map(|o| match o {
        Output::Connect { addr } => Some(*addr),
        _ => None,
    });
    connects.collect()
}

impl Driver {
    /// One with at most `max` connections, which knows its own address.
    fn with_limit(pieces: u32, max: usize) -> Self {
        let mut driver = Self::unready(pieces, 1);
        driver.torrent.config.max_peers = max;
        driver.give(Input::Local { ip: US.into() });
        driver
    }

    fn ready(&mut self, have: Bitfield) {
        self.give(Input::Ready { have });
    }

    /// Peers that came and left at once count as gone: the shell is told so.
    fn close_all(&mut self, out: &[Out]) -> Vec<(u64, Departure)> {
        let gone = disconnected(out);
        for (peer, why) in &gone {
            self.event(*peer, Event::Closed(*why));
        }
        gone
    }

    fn call_in(&mut self, peer: u64, addr: SocketAddr) -> Vec<(u64, Departure)> {
        let out = self.give(Input::Connected { peer: PeerKey(peer), addr, outgoing: false });
        self.close_all(&out)
    }
}

#[test]
fn of_a_flood_those_with_the_highest_priority_stay_and_who_gives_stays_anyway() {
    let mut driver = Driver::with_limit(4, 8);
    driver.ready(Bitfield::new(4));
    let useful = (0..200).min_by_key(|n| priority(host(*n))).unwrap();
    driver.join_at(1000, host(useful), 77, false);
    driver.event(1000, Event::HaveAll);
    let block = requests(&driver.event(1000, Event::Unchoke), 1000)[0];
    driver.bring(1000, block);
    for n in (0..200).filter(|n| *n != useful) {
        driver.call_in(n, host(n));
        assert!(driver.torrent.peers.len() <= 8);
    }
    let mut others: Vec<_> = (0..200).filter(|n| *n != useful).collect();
    others.sort_by_key(|n| std::cmp::Reverse(priority(host(*n))));
    let best: std::collections::BTreeSet<_> = others[..7].iter().copied().chain([1000]).collect();
    assert_eq!(driver.torrent.peers.keys().map(|k| k.0).collect::<std::collections::BTreeSet<_>>(), best);
}

#[test]
fn a_flood_leaves_a_quarter_to_those_whom_we_call() {
    let mut driver = Driver::with_limit(4, 8);
    let addrs: Vec<_> = (300..310).map(host).collect();
    driver.give(Input::Candidates { source: Source::Tracker, addrs });
    for n in 0..100 {
        driver.call_in(n, host(n));
    }
    assert_eq!(driver.torrent.peers.len(), 6);
    driver.give(Input::Ready { have: Bitfield::new(4) });
    assert_eq!(driver.torrent.stats().connections, 8, "two are being called");
}

#[test]
fn one_public_host_gets_three_places_and_one_here_as_many_as_it_has_ports() {
    let mut driver = Driver::new(4, 1);
    let gone: Vec<_> =
        (0..6).flat_map(|n| driver.call_in(n, SocketAddr::new(host(1).ip(), 1000 + n as u16))).collect();
    assert_eq!(gone, [3, 4, 5].map(|n| (n, Departure::Full)));
    for (net, n) in [([127, 0, 0, 1], 100), ([192, 168, 0, 1], 200)] {
        for port in 0..6 {
            assert!(driver.call_in(n + port, SocketAddr::from((net, 1000 + port as u16))).is_empty());
        }
    }
}

#[test]
fn near_the_limit_the_idle_go_after_ten_minutes() {
    for (peers, near) in [(8, false), (9, true)] {
        let mut driver = Driver::with_limit(4, 10);
        driver.ready(Bitfield::new(4));
        (0..peers).for_each(|n| drop(driver.join_at(n, host(n), 10 + n as u8, false)));
        driver.event(0, Event::Interested);
        let out = driver.wait(Duration::from_secs(599));
        assert!(disconnected(&out).is_empty());
        let gone = disconnected(&driver.wait(Duration::from_secs(3)));
        let expected: Vec<_> = if near { (1..9).collect() } else { Vec::new() };
        assert_eq!(gone, expected.iter().map(|n| (*n, Departure::Useless)).collect::<Vec<_>>());
    }
}

#[test]
fn a_seeds_place_is_lost_by_who_takes_nothing_while_others_wait() {
    for (waiting, gone) in [(0, vec![]), (1, vec![1])] {
        let mut driver = Driver::with_limit(1, 80);
        driver.torrent.config.super_seeding = false;
        driver.torrent.slots = Slots::new(Some(2), driver.now);
        driver.ready(Bitfield::full(1));
        for n in 0..2 + waiting {
            driver.join_at(n, host(n), n as u8, false);
            driver.event(n, Event::Interested);
        }
        let mut out = Vec::new();
        for _ in 0..61 {
            driver.event(0, Event::Sent { payload: 16384 });
            // The turns of the choker are not what is tested.
            driver.torrent.choker = Choker::new(driver.now);
            out.extend(driver.wait(Duration::from_secs(1)));
        }
        assert_eq!(disconnected(&out).iter().map(|(n, _)| *n).collect::<Vec<_>>(), gone);
    }
}

#[test]
fn when_full_the_worst_make_room_for_the_untried_but_not_who_has_the_only_copy() {
    for untried in [vec![], vec![host(99)]] {
        let mut driver = Driver::with_limit(8, 8);
        driver.ready(Bitfield::new(8));
        driver.give(Input::Candidates { source: Source::User, addrs: vec![host(0)] });
        driver.join_at(0, host(0), 10, true);
        (1..8).for_each(|n| drop(driver.join_at(n, host(n), 10 + n as u8, false)));
        // 1 has the only copy of a piece; others want something; 5 and 6 are good for nothing.
        driver.event(1, Event::Have(PieceIndex(3)));
        [2, 3, 4, 7].iter().for_each(|n| drop(driver.event(*n, Event::Interested)));
        driver.give(Input::Candidates { source: Source::Dht, addrs: untried.clone() });
        let out = driver.wait(Duration::from_secs(301));
        let lowest = [5, 6].into_iter().min_by_key(|n| priority(host(*n))).unwrap();
        let expected: Vec<_> = untried.iter().map(|_| (lowest, Departure::Useless)).collect();
        assert_eq!((disconnected(&out), connects(&out)), (expected, untried));
    }
}

#[test]
fn without_room_in_the_program_each_newcomer_costs_a_place() {
    let mut driver = Driver::with_limit(4, 80);
    let mut hosts = [0, 1, 4].map(host);
    hosts.sort_by_key(|addr| priority(*addr));
    assert!(driver.call_in(1, hosts[1]).is_empty());
    driver.give(Input::Room(false));
    assert_eq!(driver.call_in(0, hosts[0]), [(0, Departure::Full)]);
    assert_eq!(driver.call_in(2, hosts[2]), [(1, Departure::Full)]);
}

#[test]
fn an_impostor_displaces_nobody_and_a_squatter_must_work() {
    let mut driver = Driver::new(4, 1);
    driver.join_at(1, host(1), 50, true);
    for (key, id_is_ours) in [(2, false), (3, true)] {
        // Whoever has the smaller id.
        driver.torrent.config.peer_id = PeerId([if id_is_ours { 1 } else { 99 }; 20]);
        assert_eq!(disconnected(&driver.join_at(key, host(2), 50, false)), [(key, Departure::Duplicate)]);
    }
    driver.event(1, Event::HaveAll);
    let block = requests(&driver.event(1, Event::Unchoke), 1)[0];
    driver.wait(Duration::from_secs(15));
    driver.bring(1, block);
    driver.wait(Duration::from_secs(59));
    assert_eq!(disconnected(&driver.join_at(4, host(2), 50, false)), [(4, Departure::Duplicate)]);
    driver.wait(Duration::from_secs(1));
    assert_eq!(disconnected(&driver.join_at(5, host(2), 50, false)), [(1, Departure::Duplicate)]);
}

#[test]
fn our_own_id_is_never_a_peer() {
    for outgoing in [false, true] {
        let mut driver = Driver::new(4, 1);
        let add = |driver: &mut Driver, n| {
            driver.give(Input::Candidates { source: Source::User, addrs: vec![host(n)] })
        };
        assert_eq!(connects(&add(&mut driver, 1)), [host(1)]);
        let out = driver.join_at(1, host(1), ME.0[0], outgoing);
        assert_eq!(driver.close_all(&out), [(1, Departure::SelfConnection)]);
        driver.give(Input::ConnectFailed { addr: host(1) });
        let again = connects(&driver.wait(Duration::from_secs(700)));
        assert_eq!(again.is_empty(), outgoing, "only an address that we called is known to be ours");
    }
}

#[test]
fn a_second_address_of_a_peer_is_not_tried_while_the_first_lasts() {
    let mut driver = Driver::new(4, 1);
    driver.join_at(1, host(1), 50, false);
    assert_eq!(
        connects(&driver.give(Input::Candidates { source: Source::Tracker, addrs: vec![host(2)] })),
        [host(2)]
    );
    let out = driver.join_at(2, host(2), 50, true);
    assert_eq!(driver.close_all(&out), [(2, Departure::Duplicate)]);
    assert!(connects(&driver.wait(Duration::from_secs(3000))).is_empty());
    driver.event(1, Event::Closed(Departure::Remote));
    assert_eq!(connects(&driver.wait(Duration::from_secs(8))), [host(2)]);
}

#[test]
fn who_reconnects_is_no_newcomer_and_who_changed_its_id_neither() {
    let mut driver = Driver::with_limit(1, 80);
    driver.torrent.config.super_seeding = false;
    driver.ready(Bitfield::full(1));
    driver.join_at(1, host(1), 50, false);
    driver.event(1, Event::Interested);
    driver.event(1, Event::Sent { payload: 5 });
    driver.torrent.peers.get_mut(&PeerKey(1)).unwrap().dodged = 3;
    let twin = SocketAddr::new(host(1).ip(), 9);
    driver.join_at(2, twin, 51, false);
    let turn = |driver: &Driver, key| {
        let peer = &driver.torrent.peers[&PeerKey(key)];
        (peer.last_turn, peer.dodged, peer.seat.past.took)
    };
    assert_eq!(turn(&driver, 2), (Some(driver.now), 3, 0), "while the first is still here");
    let left = driver.now;
    [1, 2].iter().for_each(|n| drop(driver.event(*n, Event::Closed(Departure::Remote))));
    driver.wait(Duration::from_secs(5));
    driver.join_at(3, twin, 52, false);
    driver.join_at(4, host(2), 53, false);
    assert_eq!((turn(&driver, 3), turn(&driver, 4)), ((Some(left), 3, 5), (None, 0, 0)));
}

#[test]
fn what_was_deferred_is_tried_again_and_meanwhile_nobody_else() {
    let mut driver = Driver::new(4, 1);
    let addrs: Vec<_> = (0..21).map(host).collect();
    let out = driver.give(Input::Candidates { source: Source::Dht, addrs });
    assert_eq!(connects(&out).len(), 20, "half-open");
    let first = connects(&out)[0];
    assert!(connects(&driver.give(Input::ConnectDeferred { addr: first })).is_empty());
    assert!(connects(&driver.wait(Duration::from_millis(999))).is_empty());
    assert_eq!(connects(&driver.wait(Duration::from_millis(1))).len(), 1);
    assert!(driver.torrent.deadline().is_none_or(|at| at > driver.now), "no busy loop");
}

#[test]
fn a_choked_newcomer_is_granted_its_set_until_it_can_trade() {
    let grants = |out: &[Out], to| {
        let sent = commands(out, to).into_iter().filter_map(|c| match c {
            Command::AllowFast(pieces) => Some(pieces.clone()),
            _ => None,
        });
        sent.collect::<Vec<_>>()
    };
    let mut driver = Driver::with_limit(60, 80);
    driver.torrent.slots = Slots::new(Some(1), driver.now);
    driver.ready(Bitfield::new(60));
    let private = SocketAddr::from(([10, 0, 0, 1], 1));
    for (n, addr) in [host(0), host(1), private, "[2001:db8::1]:1".parse().unwrap()].into_iter().enumerate() {
        driver.join_at(n as u64, addr, 20 + n as u8, false);
    }
    driver.join_at(4, host(4), 30, false);
    (0..3).for_each(|n| drop(driver.event(4, Event::Have(PieceIndex(n)))));
    let out: Vec<_> = (0..5).map(|n| grants(&driver.event(n, Event::Interested), n)).collect();
    let IpAddr::V4(ip) = host(1).ip() else { panic!("IPv4") };
    let set = allowed_fast_set(3, 60, driver.torrent.hashes().primary(), ip);
    assert_eq!(out, [vec![], vec![set], vec![], vec![], vec![]], "served, granted, unfit, unfit, rich");
    driver.event(1, Event::NotInterested);
    assert!(grants(&driver.event(1, Event::Interested), 1).is_empty(), "once");
    let ends: Vec<_> =
        (0..4).map(|n| grants(&driver.event(1, Event::Have(PieceIndex(n))), 1).len()).collect();
    assert_eq!(ends, [0, 0, 1, 0]);
}

#[test]
fn a_seed_that_tells_each_of_other_pieces_grants_none() {
    let mut driver = Driver::with_limit(60, 80);
    driver.ready(Bitfield::full(60));
    driver.join_at(1, host(1), 20, false);
    assert!(!driver.torrent.offers_allowed_fast());
    driver.torrent.config.super_seeding = false;
    driver.torrent.picker.as_mut().unwrap().spread = None;
    assert!(driver.torrent.offers_allowed_fast());
    driver.torrent.config.allowed_fast = false;
    assert!(!driver.torrent.offers_allowed_fast());
}

/// Hosts by priority, the lowest first.
fn ranked() -> Vec<SocketAddr> {
    let mut hosts: Vec<_> = (0..200).map(host).collect();
    hosts.sort_by_key(|addr| priority(*addr));
    hosts.dedup_by_key(|addr| priority(*addr));
    hosts
}

#[test]
fn a_caller_takes_no_place_from_who_has_the_only_copy_or_from_the_last_that_we_called() {
    let hosts = ranked();
    let best = hosts[hosts.len() - 1];
    for (called, only_copy) in [(0, false), (0, true), (2, false), (3, false)] {
        let mut driver = Driver::with_limit(4, 8);
        driver.ready(Bitfield::new(4));
        for n in 0..8 {
            driver.join_at(n, hosts[n as usize], 20 + n as u8, n < called);
        }
        if only_copy {
            driver.event(0, Event::Have(PieceIndex(1)));
        }
        let gone = match (called, only_copy) {
            (2, _) => 2,
            (_, true) => 1,
            _ => 0,
        };
        assert_eq!(driver.call_in(100, best), [(gone, Departure::Full)], "{called} {only_copy}");
    }
}
