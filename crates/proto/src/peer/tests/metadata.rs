use super::*;
use crate::bitfield::Bitfield;
use crate::wire::MetadataMessage;

fn info() -> Arc<[u8]> {
    let mut bytes = vec![0; 40_000];
    Rng::new(4).fill(&mut bytes);
    bytes.into()
}

#[test]
fn a_magnet_link_fetches_its_metadata_and_then_checks() {
    for seed in 0..20 {
        let magnet = Config { shape: None, ..config(1) };
        let mut pair = Pair::connect(seed, Conn::outgoing(magnet, HYBRID, Time::ZERO), config(2), HYBRID);
        pair.tell_a(Command::Bitfield(Arc::new(Bitfield::new(0))));
        assert_eq!(pair.b.take_events().last(), Some(&Event::HaveNone));
        pair.tell_b(Command::Bitfield(Arc::new(Bitfield::full(11))));
        assert_eq!(pair.a.take_events().last(), Some(&Event::HaveAll));
        (0..3).for_each(|piece| pair.tell_a(Command::MetadataRequest(piece)));
        assert_eq!(pair.b.take_events(), [0, 1, 2].map(Event::MetadataRequest));
        (0..3).for_each(|piece| pair.tell_b(Command::MetadataData { piece, info: info() }));
        let mut got = Vec::new();
        for (n, event) in pair.a.take_events().into_iter().enumerate() {
            let Event::MetadataData { piece, total, data } = event else { panic!("{event:?}") };
            assert_eq!((piece as usize, total), (n, 40_000));
            got.extend(data);
        }
        assert_eq!(got, *info());
        pair.tell_a(Command::Layout { layout: layout(), metadata_size: 40_000 });
        // Now the other end may ask us.
        assert!(matches!(&pair.b.take_events()[..], [Event::Extended(e)] if e.metadata_size == Some(40_000)));
        pair.tell_b(Command::Choke(false));
        pair.tell_a(Command::Request(block(3, 0)));
        assert!(matches!(&pair.a.take_events()[..], [Event::Unchoke, Event::Block { .. }]));
    }
}

#[test]
fn without_metadata_requests_are_refused() {
    let mut pair = Pair::connect(
        1,
        Conn::outgoing(Config { shape: None, ..config(1) }, HYBRID, Time::ZERO),
        Config { shape: None, ..config(2) },
        HYBRID,
    );
    pair.a.take_events();
    pair.b.take_events();
    pair.tell_a(Command::MetadataRequest(0));
    assert_eq!(pair.a.take_events(), [Event::MetadataReject(0)]);
    assert_eq!(pair.b.take_events(), []);
}

#[test]
fn a_peer_that_has_no_metadata_extension_is_not_asked() {
    let mut side = EXTENDED.open(config(1));
    side.command(Time::ZERO, Command::MetadataRequest(0));
    assert_eq!(side.take_events(), [Event::MetadataReject(0)]);
    side.says(Time::ZERO, &[]);
}

fn metadata(message: &MetadataMessage<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    message.encode(&mut out);
    out
}

/// A remote that calls `ut_metadata` 7.
fn open() -> Side {
    let mut side = EXTENDED.open(config(1));
    side.hears(Time::ZERO, &[Message::Extended(0, b"d1:md11:ut_metadatai7ee13:metadata_sizei40000ee")]);
    side
}

#[test]
fn only_pieces_that_exist_are_passed_on_and_only_so_often() {
    let mut side = open();
    let request = |piece| metadata(&MetadataMessage::Request(piece));
    let reject = |piece| metadata(&MetadataMessage::Reject(piece));
    assert_eq!(side.hears(Time::ZERO, &[Message::Extended(1, &request(3))]), []);
    side.says(Time::ZERO, &[Message::Extended(7, &reject(3))]);
    for _ in 0..9 {
        let events = side.hears(Time::ZERO, &[Message::Extended(1, &request(2))]);
        assert_eq!(events, [Event::MetadataRequest(2)]);
        side.command(Time::ZERO, Command::MetadataData { piece: 2, info: info() });
        let expected =
            metadata(&MetadataMessage::Data { piece: 2, total: Some(40_000), data: &info()[32768..] });
        side.says(Time::ZERO, &[Message::Extended(7, &expected)]);
    }
    // Three pieces, three times each: that is enough.
    assert_eq!(side.hears(Time::ZERO, &[Message::Extended(1, &request(2))]), []);
    side.says(Time::ZERO, &[Message::Extended(7, &reject(2))]);
}

#[test]
fn data_is_taken_only_if_asked_for_and_of_the_right_length() {
    let mut side = open();
    let data =
        |piece, len| metadata(&MetadataMessage::Data { piece, total: Some(40_000), data: &info()[..len] });
    assert_eq!(side.hears(Time::ZERO, &[Message::Extended(1, &data(0, 16384))]), []);
    side.command(Time::ZERO, Command::MetadataRequest(2));
    let events =
        side.hears(Time::ZERO, &[Message::Extended(1, &data(2, 7232)), Message::Extended(1, &data(2, 7232))]);
    assert_eq!(events, [Event::MetadataData { piece: 2, total: 40_000, data: info()[..7232].to_vec() }]);
    side.command(Time::ZERO, Command::MetadataRequest(0));
    assert_violation(
        &side.hears(Time::ZERO, &[Message::Extended(1, &data(0, 16383))]),
        Violation::MalformedExtension,
    );
}

#[test]
fn a_total_that_is_missing_is_taken_from_the_handshake() {
    let mut side = open();
    side.command(Time::ZERO, Command::MetadataRequest(0));
    let data = metadata(&MetadataMessage::Data { piece: 0, total: None, data: &info()[..16384] });
    let events = side.hears(Time::ZERO, &[Message::Extended(1, &data)]);
    assert!(matches!(events[..], [Event::MetadataData { total: 40_000, .. }]));
}
