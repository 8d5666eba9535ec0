use super::*;
use crate::bitfield::Bitfield;

fn judge(script: Script, messages: &[Message<'_>]) -> Vec<Ev> {
    script.open(config(1)).hears(Time::ZERO, messages)
}

#[track_caller]
fn guilty(script: Script, messages: &[Message<'_>], violation: Violation) {
    let events = judge(script, messages);
    assert_violation(&events, violation);
    assert_eq!(events.iter().filter(|e| matches!(e, Event::Closed(_))).count(), 1);
}

const OUT: PieceIndex = PieceIndex(11);

#[test]
fn states_are_reported_when_they_change() {
    use Message::{Choke, Interested, NotInterested, Unchoke};
    let events =
        judge(PLAIN, &[Choke, Unchoke, Unchoke, Choke, NotInterested, Interested, Interested, NotInterested]);
    assert_eq!(events, [Event::Unchoke, Event::Choke, Event::Interested, Event::NotInterested]);
}

#[test]
fn our_states_are_told_when_they_change() {
    let mut side = PLAIN.open(config(1));
    for command in [true, true, false].map(Command::Interested) {
        side.command(Time::ZERO, command);
    }
    for command in [true, false, false, true].map(Command::Choke) {
        side.command(Time::ZERO, command);
    }
    side.says(Time::ZERO, &[Message::Interested, Message::NotInterested, Message::Unchoke, Message::Choke]);
}

#[test]
fn bitfields_come_first() {
    let bits = Message::Bitfield(&[0xff, 0xe0]);
    assert_eq!(judge(PLAIN, &[bits]), [Event::Bitfield(vec![0xff, 0xe0])]);
    assert_eq!(judge(FAST, &[Message::HaveAll]), [Event::HaveAll]);
    assert_eq!(judge(FAST, &[Message::HaveNone]), [Event::HaveNone]);
    // What deployed clients send before it.
    judge(
        FAST,
        &[Message::Extended(0, b"de"), Message::Port(1), Message::Unchoke, Message::Interested, bits],
    )
    .iter()
    .for_each(|e| assert!(!matches!(e, Event::Closed(_))));
    guilty(FAST, &[Message::HaveAll, Message::HaveNone], Violation::MisplacedBitfield);
    guilty(FAST, &[Message::Have(PieceIndex(0)), Message::HaveNone], Violation::MisplacedBitfield);
}

#[test]
fn later_bitfields_replace_the_first_at_a_price() {
    let bits = Message::Bitfield(&[0xff, 0xe0]);
    let event = Event::Bitfield(vec![0xff, 0xe0]);
    assert_eq!(judge(PLAIN, &[bits, Message::Have(PieceIndex(0)), bits]).last(), Some(&event));
    assert_eq!(judge(FAST, &[bits, Message::HaveAll]).last(), Some(&Event::HaveAll));
    guilty(PLAIN, &[bits; 2000], Violation::MessageFlood);
    guilty(FAST, &[Message::HaveAll; 2000], Violation::MessageFlood);
}

#[test]
fn bitfields_fit_the_torrent() {
    guilty(PLAIN, &[Message::Bitfield(&[0xff])], Violation::MalformedMessage);
    guilty(PLAIN, &[Message::Bitfield(&[0xff; 3])], Violation::OversizedMessage);
    guilty(PLAIN, &[Message::Bitfield(&[0xff, 0xf0])], Violation::OutOfRange);
}

#[test]
fn our_bitfield_takes_the_shortest_form() {
    let some = Bitfield::from_bytes(&[0x80, 0], 11).unwrap();
    for (script, have, expected) in [
        (FAST, Bitfield::new(11), Some(Message::HaveNone)),
        (FAST, Bitfield::full(11), Some(Message::HaveAll)),
        (FAST, some.clone(), Some(Message::Bitfield(&[0x80, 0]))),
        (PLAIN, Bitfield::new(11), None),
        (PLAIN, Bitfield::full(11), Some(Message::Bitfield(&[0xff, 0xe0]))),
        (PLAIN, some, Some(Message::Bitfield(&[0x80, 0]))),
        (FAST, Bitfield::new(0), Some(Message::HaveNone)),
    ] {
        let mut side = script.open(config(1));
        side.command(Time::ZERO, Command::Bitfield(Arc::new(have)));
        side.says(Time::ZERO, expected.as_slice());
    }
}

#[test]
fn indices_are_within_the_torrent() {
    guilty(PLAIN, &[Message::Have(OUT)], Violation::OutOfRange);
    guilty(FAST, &[Message::Suggest(OUT)], Violation::OutOfRange);
    guilty(FAST, &[Message::AllowedFast(OUT)], Violation::OutOfRange);
    guilty(EXTENDED, &[Message::Extended(2, &[0, 0, 0, 11])], Violation::OutOfRange);
    let last = PieceIndex(10);
    let events = judge(FAST, &[Message::Have(last), Message::Suggest(last), Message::AllowedFast(last)]);
    assert_eq!(events, [Event::Have(last), Event::Suggest(last), Event::AllowedFast(last)]);
}

#[test]
fn what_came_before_the_metadata_is_judged_by_it() {
    let learn = || Command::Layout { layout: layout(), metadata_size: 40_000 };
    let judge = |messages: &[Message<'_>]| {
        let mut side = FAST.open(Config { shape: None, ..config(1) });
        side.hears(Time::ZERO, messages);
        side.command(Time::ZERO, learn());
        side.take_events()
    };
    assert_eq!(judge(&[Message::Bitfield(&[0xff, 0xe0]), Message::Have(PieceIndex(10))]), []);
    assert_violation(&judge(&[Message::Have(OUT)]), Violation::OutOfRange);
    assert_violation(&judge(&[Message::AllowedFast(PieceIndex(u32::MAX))]), Violation::OutOfRange);
    assert_violation(&judge(&[Message::Bitfield(&[0xff, 0xe0, 0])]), Violation::MalformedMessage);
    assert_violation(&judge(&[Message::Bitfield(&[0xff, 0xf0])]), Violation::OutOfRange);
    // And from then on what comes is judged at once.
    let mut side = FAST.open(Config { shape: None, ..config(1) });
    side.command(Time::ZERO, learn());
    assert_violation(&side.hears(Time::ZERO, &[Message::Have(OUT)]), Violation::OutOfRange);
}

#[test]
fn before_the_metadata_requests_are_refused() {
    let mut side = FAST.open(Config { shape: None, ..config(1) });
    side.command(Time::ZERO, Command::Choke(false));
    side.take_sent(Time::ZERO);
    side.hears(Time::ZERO, &[Message::Request(block(0, 0))]);
    side.says(Time::ZERO, &[Message::Reject(block(0, 0))]);
}

#[test]
fn fast_messages_need_the_fast_extension() {
    let piece = PieceIndex(0);
    for message in [
        Message::HaveAll,
        Message::HaveNone,
        Message::Suggest(piece),
        Message::AllowedFast(piece),
        Message::Reject(block(0, 0)),
    ] {
        guilty(PLAIN, &[message], Violation::FastNotNegotiated);
    }
    // BEP 52 has rejects of its own.
    assert_eq!(judge(Script { fast: false, ..V2_PEER }, &[Message::Reject(block(0, 0))]), []);
}

#[test]
fn requests_are_within_the_torrent_and_not_too_long() {
    let at = |piece, offset, len| Message::Request(Block { piece: PieceIndex(piece), offset, len });
    for request in
        [at(11, 0, 1), at(0, 65536, 1), at(0, 65535, 2), at(0, 0, 0), at(0, u32::MAX, 2), at(10, 19_999, 2)]
    {
        guilty(PLAIN, &[request], Violation::OutOfRange);
    }
    assert_eq!(judge(PLAIN, &[at(10, 19_999, 1), at(0, 0, 65536)]), []);
    // The last block of a v2 file may be asked for whole.
    let v2 =
        Shape { layout: Arc::new(Layout::new(65536, [(20_000, false)], true).unwrap()), metadata_size: 1 };
    let judge_v2 =
        |request| PLAIN.open(Config { shape: Some(v2.clone()), ..config(1) }).hears(Time::ZERO, &[request]);
    assert_eq!(judge_v2(at(0, 16384, 16384)), []);
    assert_violation(&judge_v2(at(0, 32768, 16384)), Violation::OutOfRange);
    let big = Arc::new(Layout::new(1 << 20, [(1 << 20, false)], false).unwrap());
    let shape = Shape { layout: big, metadata_size: 1 };
    let judge = |len| {
        PLAIN.open(Config { shape: Some(shape.clone()), ..config(1) }).hears(Time::ZERO, &[at(0, 0, len)])
    };
    assert_eq!(judge(128 * 1024), []);
    assert_violation(&judge(128 * 1024 + 1), Violation::OutOfRange);
}

#[test]
fn requests_beyond_what_we_keep_are_rejected_and_then_too_many() {
    let mut side = FAST.open(config(1));
    side.serve = false;
    side.command(Time::ZERO, Command::Choke(false));
    side.take_sent(Time::ZERO);
    let request = Message::Request(block(0, 0));
    assert_eq!(side.hears(Time::ZERO, &[request; 2000]), []);
    side.says(Time::ZERO, &[]);
    assert_eq!(side.hears(Time::ZERO, &[request; 2000]), []);
    side.says(Time::ZERO, &[Message::Reject(block(0, 0)); 2000]);
    assert_violation(&side.hears(Time::ZERO, &[request]), Violation::RequestFlood);
}

#[test]
fn blocks_that_nobody_asked_for_are_counted() {
    let mut side = FAST.open(config(1));
    for _ in 0..32 {
        assert_eq!(side.hears_block(Time::ZERO, block(0, 0)), []);
    }
    assert_violation(&side.hears(Time::ZERO, &[Message::Piece(block(0, 0))]), Violation::UnrequestedBlocks);
}

#[test]
fn a_block_must_be_exactly_the_one_asked_for() {
    let mut side = FAST.open(config(1));
    side.hears(Time::ZERO, &[Message::Unchoke]);
    side.command(Time::ZERO, Command::Request(block(0, 0)));
    assert_eq!(side.hears_block(Time::ZERO, Block { len: 16383, ..block(0, 0) }), []);
    assert_eq!(side.hears_block(Time::ZERO, block(0, 0)).len(), 1);
    assert_eq!(side.hears_block(Time::ZERO, block(0, 0)), []);
}

#[test]
fn floods_end_the_connection() {
    let flood = |script: Script, message: Message<'_>| {
        let mut side = script.open(config(1));
        side.command(Time::ZERO, Command::Choke(true));
        (1..200_000).find(|_| {
            side.hears(Time::ZERO, &[message]).last().is_some_and(|e| matches!(e, Event::Closed(_)))
        })
    };
    let flips = flood(FAST, Message::Interested).unwrap();
    assert!((900..1100).contains(&flips), "{flips}");
    assert!((40_000..60_000).contains(&flood(FAST, Message::KeepAlive).unwrap()));
    assert!((4_000..6_000).contains(&flood(FAST, Message::Unknown(100)).unwrap()));
    assert!((2_000..6_000).contains(&flood(EXTENDED, Message::Extended(77, b"x")).unwrap()));
    assert!((2_000..6_000).contains(&flood(FAST, Message::Reject(block(0, 0))).unwrap()));
    assert!((40_000..60_000).contains(&flood(FAST, Message::Request(block(0, 0))).unwrap()));
    assert!((2_000..6_000).contains(&flood(V2_PEER, Message::HashRequest(hash_request())).unwrap()));
}

#[test]
fn malformed_bytes_end_the_connection() {
    let judge = |bytes: &[u8]| {
        let mut side = EXTENDED.open(config(1));
        side.inbox.extend(bytes);
        side.read_all(Time::ZERO);
        side.take_events()
    };
    assert_violation(&judge(&[0, 0, 0, 2, 0, 0]), Violation::MalformedMessage);
    assert_violation(&judge(&[0xff, 0, 0, 0, 20]), Violation::OversizedMessage);
    guilty(EXTENDED, &[Message::Extended(0, b"not bencoding")], Violation::MalformedExtension);
    guilty(EXTENDED, &[Message::Extended(1, b"de")], Violation::MalformedExtension);
    guilty(EXTENDED, &[Message::Extended(2, b"abc")], Violation::MalformedExtension);
}

#[test]
fn reads_that_nobody_took_end_with_the_connection() {
    let mut side = FAST.open(config(1));
    side.command(Time::ZERO, Command::Choke(false));
    side.conn.handle_bytes(Time::ZERO, &encode(&[Message::Request(block(0, 0)), Message::Interested]));
    side.conn.handle_closed(Time::ZERO, Departure::Io);
    let outputs: Vec<_> = std::iter::from_fn(|| side.conn.poll()).collect();
    assert_eq!(outputs, [Event::Interested, Event::Closed(Departure::Io)].map(Output::Event));
}

#[test]
fn after_the_end_there_is_nothing() {
    let mut side = FAST.open(config(1));
    side.command(Time::ZERO, Command::Choke(false));
    side.command(Time::ZERO, Command::Close(Departure::Useless));
    assert_eq!(side.take_events(), [Event::Closed(Departure::Useless)]);
    assert_eq!(
        (side.conn.want(), side.conn.deadline(), side.conn.wants_write()),
        (Want::Closed, None, false)
    );
    assert_eq!(side.conn.handle_bytes(Time::ZERO, &[1, 2, 3]), 3);
    side.conn.handle_payload(Time::ZERO, 7);
    side.conn.handle_block(Time::ZERO, vec![]);
    side.conn.handle_read(Time::ZERO, block(0, 0), Some(vec![]));
    side.conn.handle_sent(Time::ZERO, 7);
    side.conn.handle_tick(secs(1000));
    side.conn.handle_closed(Time::ZERO, Departure::Io);
    side.command(Time::ZERO, Command::Request(block(0, 0)));
    assert_eq!((side.conn.poll(), side.conn.transmit()), (None, None));
}

#[test]
fn granted_pieces_are_served_in_spite_of_the_choke_each_block_once() {
    let mut side = FAST.open(config(1));
    side.command(Time::ZERO, Command::AllowFast(vec![PieceIndex(3), OUT]));
    side.says(Time::ZERO, &[Message::AllowedFast(PieceIndex(3))]);
    side.serve = false;
    let odd = Block { offset: 1, ..block(3, 1) };
    let asked = [block(3, 0), block(3, 0), odd, block(4, 0)];
    side.hears(Time::ZERO, &asked.map(Message::Request));
    assert_eq!(side.reads, [block(3, 0)]);
    side.says(Time::ZERO, &asked[1..].iter().map(|b| Message::Reject(*b)).collect::<Vec<_>>());
    side.command(Time::ZERO, Command::AllowFast(vec![PieceIndex(4), PieceIndex(3)]));
    side.says(Time::ZERO, &[Message::AllowedFast(PieceIndex(4))]);
    side.hears(Time::ZERO, &[Message::Request(block(3, 0))]);
    side.says(Time::ZERO, &[Message::Reject(block(3, 0))]);
    side.command(Time::ZERO, Command::AllowFast(Vec::new()));
    side.hears(Time::ZERO, &[Message::Request(block(3, 1))]);
    side.says(Time::ZERO, &[Message::Reject(block(3, 1))]);
}

#[test]
fn a_choke_leaves_what_is_granted_in_the_queue() {
    let mut side = FAST.open(config(1));
    side.serve = false;
    side.command(Time::ZERO, Command::AllowFast(vec![PieceIndex(3)]));
    side.command(Time::ZERO, Command::Choke(false));
    side.hears(Time::ZERO, &[block(3, 0), block(4, 0), block(4, 1)].map(Message::Request));
    side.take_sent(Time::ZERO);
    side.command(Time::ZERO, Command::Choke(true));
    side.says(Time::ZERO, &[Message::Choke, Message::Reject(block(4, 0)), Message::Reject(block(4, 1))]);
    let sent = |side: &mut Side, n| {
        side.conn.handle_read(Time::ZERO, block(n, 0), Some(content(&block(n, 0))));
        !side.take_sent(Time::ZERO).is_empty()
    };
    assert_eq!([3, 4].map(|n| sent(&mut side, n)), [true, false]);
}

#[test]
fn nothing_is_granted_without_the_fast_extension() {
    let mut side = PLAIN.open(config(1));
    side.command(Time::ZERO, Command::AllowFast(vec![PieceIndex(3)]));
    side.hears(Time::ZERO, &[Message::Request(block(3, 0))]);
    assert!(side.reads.is_empty() && side.take_sent(Time::ZERO).is_empty());
}
