//! Who is told of whom, and who is believed.

use super::*;

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A public address of a host of its own.
fn public(n: u64) -> SocketAddr {
    SocketAddr::from(([80, (n >> 8) as u8, n as u8, 7], 6881))
}

fn told(out: &[Out], to: u64) -> Vec<&PexMessage> {
    let told = commands(out, to).into_iter().filter_map(|c| match c {
        Command::Pex(message) => Some(message),
        _ => None,
    });
    told.collect()
}

fn added(out: &[Out], to: u64) -> Vec<SocketAddr> {
    told(out, to).iter().flat_map(|message| message.added.iter().map(|(addr, _)| *addr)).collect()
}

fn allowed(out: &[Out], peer: u64) -> Vec<bool> {
    let allowed = commands(out, peer).into_iter().filter_map(|c| match c {
        Command::AllowPex(allowed) => Some(*allowed),
        _ => None,
    });
    allowed.collect()
}

fn speaks() -> Extended {
    Extended { ut_pex: true, ..Extended::default() }
}

fn says(peers: &[SocketAddr], flags: u8) -> Event<u32> {
    let added = peers.iter().map(|addr| (*addr, PexFlags(flags))).collect();
    Event::Pex(PexMessage { added, dropped: Vec::new() })
}

impl Driver {
    /// We call somebody who speaks peer exchange.
    fn call(&mut self, peer: u64, addr: SocketAddr) -> Vec<Out> {
        self.give(Input::Candidates { source: Source::Tracker, addrs: vec![addr] });
        let mut out = self.join_at(peer, addr, 100 + peer as u8, true);
        out.extend(self.event(peer, Event::Extended(speaks())));
        out
    }

    /// A place for everybody.
    fn large() -> Self {
        let mut driver = Self::new(4, 1);
        driver.torrent.config.max_peers = 1000;
        driver
    }

    fn known(&self) -> u32 {
        self.torrent.stats().candidates
    }
}

#[test]
fn the_first_message_comes_at_once_and_then_one_a_minute_with_what_changed() {
    let mut driver = Driver::large();
    assert_eq!(allowed(&driver.call(1, public(1)), 1), [true]);
    assert!(told(&driver.wait(Duration::from_secs(5)), 1).is_empty(), "there is nobody to tell of");
    assert_eq!(added(&driver.call(2, public(2)), 2), [public(1)]);
    assert_eq!(added(&driver.wait(Duration::from_secs(10)), 1), [public(2)]);
    driver.call(3, public(3));
    driver.event(2, Event::Closed(Departure::Remote));
    assert!(told(&driver.wait(Duration::from_secs(48)), 1).is_empty());
    let out = driver.wait(Duration::from_secs(12));
    let expected =
        PexMessage { added: vec![(public(3), PexFlags(PexFlags::REACHABLE))], dropped: vec![public(2)] };
    assert_eq!(told(&out, 1), [&expected]);
    assert!(told(&driver.wait(Duration::from_secs(600)), 1).is_empty(), "nothing changed");
}

#[test]
fn no_message_is_longer_than_allowed_and_nobody_is_told_of_all() {
    let mut driver = Driver::large();
    for n in 1..=400u64 {
        driver.give(Input::Connected { peer: PeerKey(n), addr: public(n), outgoing: true });
        let mut id = [9; 20];
        id[..8].copy_from_slice(&n.to_be_bytes());
        let hash = WireHash([0; 20]);
        let hello = Hello { peer_id: PeerId(id), hash, v2: false, fast: true, extended: true, dht: false };
        driver.event(n, Event::Hello(hello));
    }
    let mut out = driver.event(1, Event::Extended(speaks()));
    for minute in 1..10 {
        let messages = told(&out, 1);
        let expected = if minute <= 4 { vec![50] } else { vec![] };
        assert_eq!(messages.iter().map(|m| m.added.len()).collect::<Vec<_>>(), expected, "minute {minute}");
        out = driver.wait(Duration::from_secs(60));
    }
    (100..=400).for_each(|n| _ = driver.event(n, Event::Closed(Departure::Remote)));
    let out = driver.wait(Duration::from_secs(11));
    assert!(told(&out, 1).iter().all(|m| m.dropped.len() == 50 && m.added.len() <= 50));
    assert_eq!(told(&out, 1).len(), 1);
}

#[test]
fn nobody_is_told_of_what_lies_further_in_than_it_stands_nor_of_itself() {
    let mut driver = Driver::large();
    driver.call(1, at("127.0.0.1:1"));
    driver.call(2, at("192.168.1.2:2"));
    driver.call(3, at("[fe80::3]:3"));
    driver.call(4, at("[2001:db8::4]:4"));
    let out = driver.call(5, public(5));
    assert_eq!(added(&out, 5), [at("[2001:db8::4]:4")]);
    let mut out = added(&driver.call(6, at("10.0.0.6:6")), 6);
    out.sort();
    assert_eq!(out, [public(5), at("192.168.1.2:2"), at("[2001:db8::4]:4")]);
    let out = added(&driver.call(7, at("127.0.0.1:7")), 7);
    assert!(out.len() == 5 && !out.contains(&at("[fe80::3]:3")), "{out:?}");
}

#[test]
fn callers_are_told_of_where_they_listen_if_they_say_so() {
    let mut driver = Driver::large();
    driver.join_at(1, public(1), 1, false);
    driver.join_at(2, at("80.9.9.9:50000"), 2, false);
    let extended = Extended { listen_port: Some(7000), upload_only: true, ..speaks() };
    driver.event(2, Event::Extended(extended));
    let out = driver.call(3, public(3));
    let expected = [(at("80.9.9.9:7000"), PexFlags(PexFlags::SEED))];
    assert_eq!(told(&out, 3)[0].added, expected);
    driver.join_at(4, public(4), 4, true);
    let out = driver.event(4, Event::Extended(Extended { upload_only: true, ..speaks() }));
    assert_eq!(added(&out, 4), [public(3)], "seeds are not told of seeds");
}

#[test]
fn a_teller_is_believed_as_far_out_as_it_stands_and_so_often() {
    let mut driver = Driver::large();
    driver.torrent.config.max_half_open = 0;
    driver.join_at(1, public(1), 1, false);
    driver.join_at(2, at("192.168.1.2:2"), 2, false);
    let all =
        [public(50), at("192.168.1.50:1"), at("127.0.0.1:50"), at("224.0.0.1:1"), at("[2001:db8::50]:1")];
    driver.event(1, says(&all, 0));
    assert_eq!(driver.known(), 2);
    driver.event(2, says(&all, 0));
    assert_eq!(driver.known(), 3);
    for n in 0..20 {
        driver.event(1, says(&(n * 100..n * 100 + 100).map(|n| public(1000 + n)).collect::<Vec<_>>(), 0));
    }
    assert_eq!(driver.known(), 101);
}

#[test]
fn who_has_everything_does_not_want_seeds() {
    let mut driver = Driver::unready(4, 1);
    driver.give(Input::Ready { have: Bitfield::full(4) });
    driver.join_at(1, public(1), 1, false);
    driver.event(1, says(&[public(2)], PexFlags::SEED));
    assert_eq!(driver.known(), 0);
    driver.event(1, says(&[public(2)], 0));
    assert_eq!(driver.known(), 1);
}

fn private_info() -> Vec<u8> {
    let mut raw = bencoded_info(3, 1);
    raw.pop();
    raw.extend(b"7:privatei1ee");
    raw
}

fn is_silent(out: &[Out], peer: u64) -> bool {
    told(out, peer).is_empty() && !allowed(out, peer).contains(&true)
}

#[test]
fn private_torrents_and_who_switched_it_off_say_and_hear_nothing() {
    let new = |raw: Vec<u8>, pex| {
        let known =
            Known { info: Arc::new(Info::parse(raw.into()).unwrap()), piece_layers: PieceLayers::new() };
        let (now, config) = (Time::ZERO, Config { pex, ..Config::new(ME) });
        let mut driver = Driver { torrent: Torrent::with_info(config, known, 1, now).unwrap(), now };
        driver.give(Input::Ready { have: Bitfield::new(3) });
        driver
    };
    for mut driver in [new(private_info(), true), new(bencoded_info(3, 1), false)] {
        let mut out = driver.call(1, public(1));
        out.extend(driver.event(1, says(&[public(9)], 0)));
        assert_eq!(driver.known(), 1);
        let more = [driver.call(2, public(2)), driver.wait(Duration::from_secs(100))];
        out.extend(more.into_iter().flatten());
        assert!(is_silent(&out, 1) && is_silent(&out, 2));
    }
    let mut driver = new(private_info(), true);
    for source in [Source::Lsd, Source::Pex, Source::Dht] {
        driver.give(Input::Candidates { source, addrs: vec![public(5)] });
    }
    assert_eq!(driver.known(), 0);
}

#[test]
fn a_magnet_link_that_turns_out_private_ends_what_it_began() {
    let raw = private_info();
    let info = Info::parse(raw.clone().into()).unwrap();
    let now = Time::ZERO;
    let mut driver = Driver { torrent: Torrent::new(Config::new(ME), info.hashes(), 1, now), now };
    driver.torrent.config.max_half_open = 0;
    assert_eq!(allowed(&driver.call(1, public(1)), 1), [true]);
    driver.event(1, says(&[public(8), public(9)], 0));
    driver.give(Input::Candidates { source: Source::Dht, addrs: vec![public(10)] });
    assert_eq!(driver.known(), 4);
    let total = raw.len() as u32;
    driver.event(1, Event::Extended(Extended { ut_metadata: true, metadata_size: Some(total), ..speaks() }));
    let out = driver.event(1, Event::MetadataData { piece: 0, total, data: raw });
    assert_eq!(allowed(&out, 1), [false]);
    assert_eq!(driver.known(), 1, "what only others than trackers named is forgotten");
    driver.give(Input::Ready { have: Bitfield::new(3) });
    driver.event(1, says(&[public(8), public(9)], 0));
    assert_eq!(driver.known(), 1);
    assert!(is_silent(&driver.call(2, public(2)), 2));
}
