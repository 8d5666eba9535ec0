use super::*;
use crate::ids::WireHash;

fn hello(side: &Side) -> Hello {
    match side.events.first() {
        Some(Event::Hello(hello)) => *hello,
        other => panic!("no hello but {other:?}"),
    }
}

fn meet(a: InfoHashes, b: InfoHashes) -> (Hello, Hello) {
    let dht = |id| Config { dht_port: Some(7000 + u16::from(id)), ..config(id) };
    let pair = Pair::connect(7, Conn::outgoing(dht(1), a, Time::ZERO), dht(2), b);
    (hello(&pair.a), hello(&pair.b))
}

#[test]
fn both_sides_agree_on_hash_and_extensions() {
    let v1_only = InfoHashes::V1(V1);
    let v2_only = InfoHashes::V2(V2);
    let wire_v1 = WireHash(V1.0);
    for (a, b, hash, v2) in [
        (v1_only, v1_only, wire_v1, false),
        (v2_only, v2_only, V2.truncated(), true),
        (HYBRID, HYBRID, V2.truncated(), true),
        (HYBRID, v1_only, wire_v1, false),
        (v1_only, HYBRID, wire_v1, false),
        (v2_only, HYBRID, V2.truncated(), true),
    ] {
        let (at_a, at_b) = meet(a, b);
        assert_eq!((at_a.hash, at_a.v2), (hash, v2), "{a:?} to {b:?}");
        assert_eq!((at_b.hash, at_b.v2), (hash, v2), "{a:?} to {b:?}");
        assert_eq!((at_a.peer_id, at_b.peer_id), (PeerId([2; 20]), PeerId([1; 20])));
        assert!(at_a.fast && at_a.extended && at_a.dht && at_b.fast && at_b.extended && at_b.dht);
    }
}

#[test]
fn the_upgrade_is_offered_only_with_the_v1_hash_of_a_hybrid() {
    for (hashes, offer) in [(HYBRID, 0x10), (InfoHashes::V1(V1), 0), (InfoHashes::V2(V2), 0)] {
        let mut side = Side::new(Conn::outgoing(config(1), hashes, Time::ZERO));
        assert_eq!(side.take_sent(Time::ZERO)[27], 0x04 | offer);
    }
    // The answer that upgrades does not offer again.
    let prefix = Prefix { reserved: Reserved([0, 0, 0, 0, 0, 0, 0, 0x10]), hash: WireHash(V1.0) };
    let mut side = Side::new(Conn::incoming(config(2), HYBRID, prefix, Time::ZERO));
    let sent = side.take_sent(Time::ZERO);
    assert_eq!((sent[27], &sent[28..48]), (0x04, &V2.0[..20]));
}

#[test]
fn we_answer_before_the_remote_tells_its_id() {
    let prefix = Prefix { reserved: Reserved::default(), hash: WireHash(V1.0) };
    let mut side = Side::new(Conn::incoming(config(2), HYBRID, prefix, Time::ZERO));
    assert_eq!(side.take_sent(Time::ZERO).len(), Handshake::LEN);
    side.inbox.extend([9; 20]);
    side.read_all(Time::ZERO);
    let hello = hello(&side);
    assert_eq!(hello.peer_id, PeerId([9; 20]));
    assert!(!hello.fast && !hello.extended && !hello.dht && !hello.v2);
    // No extension protocol, so no extension handshake.
    side.says(Time::ZERO, &[]);
}

#[test]
fn extension_handshakes_tell_about_each_other() {
    let us = Config {
        listen_port: Some(6881),
        dht_port: Some(6882),
        remote_ip: Some([10, 0, 0, 2].into()),
        client: "Samara 0.1".into(),
        ..config(1)
    };
    let theirs = Config { dht_port: Some(99), ..config(2) };
    let pair = Pair::connect(3, Conn::outgoing(us, HYBRID, Time::ZERO), theirs, HYBRID);
    let expected = Extended {
        client: Some("Samara 0.1".into()),
        reqq: Some(2000),
        listen_port: Some(6881),
        metadata_size: Some(40_000),
        ut_metadata: true,
        ut_pex: false,
        upload_only: false,
        yourip: Some([10, 0, 0, 2].into()),
    };
    assert_eq!(pair.b.events[1..], [Event::Extended(expected), Event::Port(6882)]);
    assert_eq!(pair.a.events[2], Event::Port(99));
}

#[test]
fn a_later_handshake_changes_only_what_it_names() {
    let mut side = EXTENDED.open(config(1));
    let events = side.hears(
        Time::ZERO,
        &[
            Message::Extended(0, b"d1:md11:ut_metadatai3ee4:reqqi77e1:v4:oneYe"),
            Message::Extended(0, b"d1:md11:ut_metadatai0ee11:upload_onlyi1ee"),
        ],
    );
    let first =
        Extended { client: Some("oneY".into()), reqq: Some(77), ut_metadata: true, ..Extended::default() };
    let second = Extended { ut_metadata: false, upload_only: true, ..first.clone() };
    assert_eq!(events, [Event::Extended(first), Event::Extended(second)]);
}

#[test]
fn upload_only_is_told_when_it_changes() {
    let mut pair = Pair::open(5);
    pair.b.take_events();
    pair.tell_a(Command::UploadOnly(false));
    assert_eq!(pair.b.take_events(), []);
    pair.tell_a(Command::UploadOnly(true));
    assert!(matches!(&pair.b.take_events()[..], [Event::Extended(e)] if e.upload_only));
}

#[test]
fn strangers_are_refused_at_the_first_wrong_byte() {
    let mut side = Side::new(Conn::outgoing(config(1), HYBRID, Time::ZERO));
    side.inbox.extend(b"\x13BitTorrent pr");
    side.read_all(Time::ZERO);
    assert_eq!(side.events, []);
    side.inbox.extend(b"X");
    side.read_all(Time::ZERO);
    assert_violation(&side.events, Violation::BadHandshake);
    assert_eq!(side.conn.want(), Want::Closed);
}

#[test]
fn other_torrents_are_refused() {
    let other = WireHash([8; 20]);
    let prefix = Prefix { reserved: Reserved::default(), hash: other };
    let mut side = Side::new(Conn::incoming(config(2), HYBRID, prefix, Time::ZERO));
    assert_violation(&side.events, Violation::WrongInfoHash);
    assert!(side.take_sent(Time::ZERO).is_empty());
    // An initiator that knows only the v1 hash cannot be upgraded to something it does not know.
    let mut side = Side::new(Conn::outgoing(config(1), InfoHashes::V1(V1), Time::ZERO));
    side.inbox.extend(&V2_PEER.handshake()[..48]);
    side.read_all(Time::ZERO);
    assert_violation(&side.events, Violation::WrongInfoHash);
}

#[test]
fn we_do_not_talk_to_ourselves() {
    let pair = Pair::connect(1, Conn::outgoing(config(1), HYBRID, Time::ZERO), config(1), HYBRID);
    assert_eq!(pair.b.events, [Event::Closed(Departure::SelfConnection)]);
}

#[test]
fn a_torrent_that_speaks_too_early_is_not_heard() {
    let mut side = Side::new(Conn::outgoing(config(1), HYBRID, Time::ZERO));
    side.take_sent(Time::ZERO);
    side.command(Time::ZERO, Command::Interested(true));
    assert!(!side.conn.wants_write());
}
