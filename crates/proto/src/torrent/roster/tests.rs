use super::tellers::MOST_PER_TELLER;
use super::*;

fn at(secs: u64) -> Time {
    Time::from_micros(secs * 1_000_000)
}

fn addr(n: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, (n >> 8) as u8, n as u8], 6881))
}

fn ending(why: Departure) -> Ending {
    Ending { worked: true, moved: false, gave: false, why }
}

#[test]
fn better_sources_first_and_each_once() {
    let mut roster = Roster::new(1, 6881);
    roster.add(at(0), addr(1), Source::Dht);
    roster.add(at(0), addr(2), Source::User);
    roster.add(at(0), addr(2), Source::Pex);
    assert_eq!(roster.next(at(0)), Some(addr(2)));
    assert_eq!(roster.next(at(0)), Some(addr(1)));
    assert_eq!((roster.next(at(0)), roster.connecting(), roster.deadline()), (None, 2, None));
}

#[test]
fn a_users_peer_is_tried_for_ever_with_growing_waits() {
    let mut roster = Roster::new(1, 6881);
    roster.add(at(0), addr(1), Source::User);
    let mut now = at(0);
    for round in 0..40 {
        assert_eq!(roster.next(now), Some(addr(1)));
        roster.failed(now, addr(1));
        let due = roster.deadline().unwrap();
        let wait = due.since(now).as_secs();
        let expected = if round < 6 { 1 << round } else { 60 };
        assert!((expected..=expected * 5 / 4).contains(&wait), "round {round}: {wait}");
        now = due;
    }
}

#[test]
fn others_are_forgotten_and_bad_addresses_never_known() {
    let mut roster = Roster::new(1, 6881);
    roster.add(at(0), addr(1), Source::Tracker);
    for bad in ["0.0.0.0:1", "224.0.0.1:1", "1.2.3.4:0", "255.255.255.255:9"] {
        roster.add(at(0), bad.parse().unwrap(), Source::Tracker);
    }
    assert_eq!(roster.len(), 1);
    let mut now = at(0);
    while let Some(due) = roster.deadline() {
        now = due;
        roster.next(now);
        roster.failed(now, addr(1));
    }
    assert!(now > at(60) && roster.len() == 0 && roster.connecting() == 0);
}

#[test]
fn a_lost_connection_is_tried_again_and_a_useless_one_rests() {
    let mut roster = Roster::new(1, 6881);
    roster.add(at(0), addr(1), Source::User);
    roster.next(at(0));
    roster.connected(addr(1), PeerKey(1));
    roster.closed(at(9), addr(1), PeerKey(2), ending(Departure::Io));
    assert_eq!(roster.deadline(), None, "that was another connection");
    roster.closed(at(9), addr(1), PeerKey(1), ending(Departure::Io));
    assert!(roster.deadline().unwrap() < at(11));
    roster.next(at(11));
    roster.connected(addr(1), PeerKey(3));
    roster.closed(at(12), addr(1), PeerKey(3), ending(Departure::Useless));
    assert!(roster.deadline().unwrap() > at(600));
    roster.wake(at(13));
    assert_eq!(roster.next(at(13)), Some(addr(1)));
}

#[test]
fn bans_hosts_but_on_loopback_ports() {
    let mut roster = Roster::new(1, 6881);
    let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
    assert!(roster.ban(addr(1)) && roster.ban(local(5)));
    assert!(!roster.ban(addr(1)), "known");
    assert!(roster.is_banned(SocketAddr::new(addr(1).ip(), 99)));
    assert!(roster.is_banned(local(5)) && !roster.is_banned(local(6)));
    assert_eq!([1, 2, 3].map(|_| roster.strike(addr(9))), [false, false, true]);
}

#[test]
fn when_full_worse_sources_make_room() {
    let mut roster = Roster::new(1, 6881);
    (0..3000).for_each(|n| roster.add(at(0), addr(n), Source::Pex));
    assert_eq!(roster.len(), MOST_ENTRIES);
    roster.add(at(0), addr(9999), Source::User);
    assert_eq!((roster.len(), roster.next(at(0))), (MOST_ENTRIES, Some(addr(9999))));
}

#[test]
fn of_equal_trust_the_higher_priority_first_once_we_know_ourselves() {
    let mut roster = Roster::new(1, 6881);
    let us = IpAddr::from([10, 0, 9, 9]);
    (0..40).for_each(|n| roster.add(at(0), addr(n), Source::Pex));
    roster.next(at(0));
    roster.at(us);
    roster.add(at(1), addr(99), Source::Tracker);
    let order: Vec<_> = std::iter::from_fn(|| roster.next(at(1))).collect();
    assert_eq!((order.len(), order[0]), (40, addr(99)), "trust comes first");
    let of = |addr| crate::torrent::canonical::priority(SocketAddr::new(us, 6881), addr);
    assert!(order[1..].is_sorted_by_key(|a| Reverse(of(*a))));
}

#[test]
fn who_gave_comes_first_and_soon_after_a_loss_but_not_for_ever() {
    let mut roster = Roster::new(1, 6881);
    roster.add(at(0), addr(1), Source::Dht);
    roster.next(at(0));
    roster.connected(addr(1), PeerKey(1));
    roster.closed(
        at(1),
        addr(1),
        PeerKey(1),
        Ending { worked: true, moved: true, gave: true, why: Departure::Io },
    );
    roster.add(at(1), addr(2), Source::User);
    assert!(roster.has_due(at(3)));
    assert_eq!(roster.next(at(3)), Some(addr(1)), "within two seconds, before the user's");
    roster.failed(at(3), addr(1));
    let (mut now, mut tries) = (at(3), 0);
    while roster.len() == 2 {
        now = roster.deadline().unwrap();
        let next = roster.next(now).unwrap();
        tries += usize::from(next == addr(1));
        roster.failed(now, next);
    }
    assert!(now >= at(600) && now < at(700) && tries >= 13, "{tries} tries until {now:?}");
}

#[test]
fn who_says_hello_and_hangs_up_at_once_waits_longer_each_time() {
    let mut roster = Roster::new(1, 6881);
    roster.add(at(0), addr(1), Source::User);
    let mut waits = Vec::new();
    for key in 0..4 {
        let now = roster.deadline().unwrap();
        roster.next(now);
        roster.connected(addr(1), PeerKey(key));
        let ending = Ending { worked: key == 3, moved: false, gave: false, why: Departure::Remote };
        roster.closed(now, addr(1), PeerKey(key), ending);
        waits.push(roster.deadline().unwrap().since(now).as_secs());
    }
    assert!(waits[..3].is_sorted_by(|a, b| a < b) && waits[3] == 1, "{waits:?}");
}

#[test]
fn what_was_not_tried_is_no_failure() {
    let mut roster = Roster::new(1, 6881);
    roster.add(at(0), addr(1), Source::Dht);
    for _ in 0..100 {
        let now = roster.deadline().unwrap();
        assert_eq!(roster.next(now), Some(addr(1)));
        roster.deferred(now, addr(1));
        assert!((1..=2).contains(&roster.deadline().unwrap().since(now).as_secs()));
    }
}

#[test]
fn ports_of_one_host_do_not_fill_it() {
    let mut roster = Roster::new(1, 6881);
    let public = |port| SocketAddr::from(([9, 9, 9, 9], port));
    (1..100).for_each(|port| roster.add(at(0), public(port), Source::Incoming));
    assert_eq!(roster.len(), usize::from(MOST_PER_HOST));
    roster.add(at(0), public(999), Source::User);
    assert_eq!(roster.next(at(0)), Some(public(999)));
    (1..100).for_each(|port| roster.add(at(0), SocketAddr::from(([127, 0, 0, 1], port)), Source::Pex));
    assert_eq!(roster.len(), usize::from(MOST_PER_HOST) + 1 + 99);
    (1..=999).for_each(|port| roster.forget(public(port)));
    assert!(!roster.hosts.contains_key(&host(public(1))), "counted down");
}

#[test]
fn who_called_for_nothing_is_not_called_back() {
    for (moved, known) in [(false, 0), (true, 1)] {
        let mut roster = Roster::new(1, 6881);
        roster.add_connected(at(0), addr(1), PeerKey(1));
        let ending = Ending { worked: true, moved, gave: false, why: Departure::Full };
        roster.closed(at(99), addr(1), PeerKey(1), ending);
        assert_eq!(roster.len(), known);
    }
}

#[test]
fn one_tellers_word_counts_for_so_many_until_others_or_a_greeting_confirm_it() {
    let mut roster = Roster::new(1, 6881);
    let (liar, honest) = (addr(60_000), addr(60_001));
    (0..3000).for_each(|n| roster.add_told(at(0), addr(n), liar));
    assert_eq!(roster.len(), MOST_PER_TELLER);
    roster.add_told(at(0), addr(5000), SocketAddr::new(liar.ip(), 1));
    assert_eq!(roster.len(), MOST_PER_TELLER, "another port is no other teller");
    roster.add_told(at(0), addr(5000), honest);
    roster.add(at(0), addr(1), Source::Tracker);
    roster.proved(addr(2));
    roster.ban(addr(3));
    (3000..3009).for_each(|n| roster.add_told(at(0), addr(n), liar));
    assert_eq!(roster.len(), MOST_PER_TELLER + 3, "three are off its account, of which one is banned");
}

#[test]
fn whose_word_did_not_hold_is_tried_later_and_heard_less() {
    let mut roster = Roster::new(1, 6881);
    let (liar, honest) = (addr(60_000), addr(60_001));
    (0..100).for_each(|n| roster.add_told(at(0), addr(n), liar));
    for _ in 0..7 {
        let lie = roster.next(at(0)).unwrap();
        roster.failed(at(0), lie);
    }
    (200..220).for_each(|n| roster.add_told(at(0), addr(n), honest));
    let order: Vec<_> = (0..20).map(|_| roster.next(at(0)).unwrap()).collect();
    assert!(order.iter().all(|tried| *tried >= addr(200)), "those of the other come first: {order:?}");
    let before = roster.len();
    for n in 0..93 {
        let lie = roster.next(at(10 + n)).unwrap();
        roster.failed(at(10 + n), lie);
    }
    let mut now = at(200);
    while let Some(lie) = roster.next(now) {
        roster.failed(now, lie);
        now = now + Duration::from_secs(20);
    }
    assert_eq!(roster.len(), before - 100, "hearsay is forgotten soon");
    (300..400).for_each(|n| roster.add_told(now, addr(n), liar));
    assert_eq!(roster.len(), before - 100, "a hundred failures are too much");
}

#[test]
fn when_all_is_hearsay_the_loudest_makes_room() {
    let mut roster = Roster::new(1, 6881);
    let tellers = (MOST_ENTRIES / MOST_PER_TELLER) as u16;
    for n in 0..MOST_ENTRIES as u16 {
        roster.add_told(at(0), addr(n), addr(60_000 + n % tellers));
    }
    (0..200).for_each(|n| roster.add_told(at(0), addr(10_000 + n), addr(61_000)));
    let known = |n: u16| roster.entries.contains_key(&addr(10_000 + n));
    let of_the_newcomer = (0..200u16).filter(|n| known(*n)).count();
    assert_eq!((roster.len(), of_the_newcomer), (MOST_ENTRIES, MOST_ENTRIES / (usize::from(tellers) + 1)));
}

#[test]
fn idle_addresses_of_a_source_can_be_forgotten() {
    let mut roster = Roster::new(1, 6881);
    roster.add_told(at(0), addr(1), addr(9));
    roster.add(at(0), addr(2), Source::Dht);
    roster.add(at(0), addr(3), Source::Tracker);
    roster.next(at(0));
    roster.add(at(0), addr(4), Source::Pex);
    roster.forget_idle(|source| source > Source::Tracker);
    assert_eq!((roster.len(), roster.next(at(0))), (1, None));
}
