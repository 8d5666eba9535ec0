use proptest::prelude::*;

use super::*;
use crate::rng::Rng;

/// Bytes that look like messages often enough to get somewhere.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let number = || prop_oneof![0u32..12, Just(16384), Just(65536), any::<u32>()];
    let messages =
        (0u8..26, prop::collection::vec(number(), 0..14), any::<bool>()).prop_map(|(id, words, honest)| {
            let body: Vec<u8> = words.iter().flat_map(|w| w.to_be_bytes()).collect();
            let fixed = match id {
                0..=3 | 14 | 15 => 0,
                4 | 13 | 17 => 4,
                6 | 8 | 16 => 12,
                9 | 5 => 2,
                21 | 23 => 48,
                _ => body.len(),
            };
            let len = if honest { fixed.min(body.len()) } else { body.len() };
            [&(len as u32 + 1).to_be_bytes()[..], &[id], &body[..len]].concat()
        });
    let extended = (0u8..5, prop::sample::select(EXTENSIONS))
        .prop_map(|(id, payload)| encode(&[Message::Extended(id, payload)]));
    let noise = prop::collection::vec(any::<u8>(), 0..20);
    let part = prop_oneof![12 => messages, 3 => extended, 1 => noise];
    prop::collection::vec(part, 0..40).prop_map(|parts| parts.concat())
}

const EXTENSIONS: &[&[u8]] = &[
    b"d1:md11:ut_metadatai7e11:lt_donthavei3ee1:v3:abc4:reqqi5ee",
    b"d8:msg_typei0e5:piecei0ee",
    b"d8:msg_typei1e5:piecei1e10:total_sizei16385eex",
    b"d8:msg_typei2e5:piecei1ee",
    b"d5:added6:abcdefe",
    b"\0\0\0\x03",
    b"d",
];

/// Feeds `stream` in parts of the given sizes, over and over, to a connection that is in the midst of things.
fn replay(script: Script, shape: Option<Shape>, stream: &[u8], sizes: &[usize]) -> (Vec<Ev>, Vec<u8>) {
    let mut side = script.open(Config { shape, ..config(1) });
    // Whether a cancel comes too late depends on the disk, so that is left out.
    side.serve = false;
    side.hears(Time::ZERO, &[Message::Unchoke]);
    side.command(Time::ZERO, Command::Choke(false));
    for n in 0..8 {
        side.command(Time::ZERO, Command::Request(Block { piece: PieceIndex(n), offset: 0, len: 11 - n }));
    }
    side.command(Time::ZERO, Command::Cancel(Block { piece: PieceIndex(2), offset: 0, len: 9 }));
    side.command(Time::ZERO, Command::MetadataRequest(1));
    side.take_events();
    side.inbox.extend(stream);
    for &size in sizes.iter().cycle() {
        if side.inbox.is_empty() {
            break;
        }
        side.read(Time::ZERO, size);
        assert!(side.conn.decoder.buffered() <= 2 * stream.len().max(4096), "no more is kept than came");
        assert!(side.conn.outputs.is_empty());
    }
    // Sent at the end only, so that the split cannot change how much waited when.
    let sent = side.take_sent(Time::ZERO);
    (side.take_events(), sent)
}

fn script() -> impl Strategy<Value = Script> {
    any::<[bool; 3]>().prop_map(|[fast, extended, v2]| Script { fast, extended, v2 })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_split_of_any_bytes_gives_the_same(
        script in script(), known: bool, stream in stream(), sizes in prop::collection::vec(1usize..60, 1..6),
    ) {
        let shape = known.then(shape);
        let whole = replay(script, shape.clone(), &stream, &[usize::MAX]);
        let closed = whole.0.iter().filter(|e| matches!(e, Event::Closed(_))).count();
        prop_assert!(closed <= 1);
        prop_assert!(closed == 0 || matches!(whole.0.last(), Some(Event::Closed(_))));
        prop_assert_eq!(&replay(script, shape.clone(), &stream, &[1]), &whole);
        prop_assert_eq!(&replay(script, shape, &stream, &sizes), &whole);
    }

    #[test]
    fn any_handshake_is_read_alike_in_any_split(
        mut bytes in Just(FAST.handshake().to_vec()), at in 0usize..68, byte: u8, cut in 0usize..=68,
    ) {
        bytes[at] = byte;
        let run = |parts: &[&[u8]]| {
            let mut side = Side::new(Conn::outgoing(config(1), HYBRID, Time::ZERO));
            parts.iter().for_each(|part| { side.conn.handle_bytes(Time::ZERO, part); });
            side.drain(Time::ZERO);
            side.take_events()
        };
        let (a, b) = bytes.split_at(cut);
        prop_assert_eq!(run(&[a, b]), run(&[&bytes]));
    }
}

#[test]
fn a_conversation_is_heard_alike_in_any_split() {
    let blocks = [block(0, 0), block(10, 1), block(10, 0), block(5, 3)];
    let mut greeting = V2_PEER.handshake().to_vec();
    greeting.extend(encode(&[Message::Extended(0, EXTENSIONS[0]), Message::HaveAll, Message::Unchoke]));
    let mut answers = Vec::new();
    for block in blocks {
        answers.extend(encode(&[Message::Have(block.piece), Message::Piece(block)]));
        answers.extend(content(&block));
    }
    answers.extend(encode(&[Message::Choke, Message::Reject(block(1, 1))]));
    let run = |mut size: Box<dyn FnMut() -> usize>| {
        let mut side = Side::new(Conn::outgoing(config(1), HYBRID, Time::ZERO));
        let mut hear = |side: &mut Side, bytes: &[u8]| {
            side.inbox.extend(bytes);
            while !side.inbox.is_empty() {
                side.read(Time::ZERO, size());
            }
        };
        hear(&mut side, &greeting);
        blocks.iter().chain([&block(1, 1)]).for_each(|&b| side.command(Time::ZERO, Command::Request(b)));
        hear(&mut side, &answers);
        side.take_events()
    };
    let whole = run(Box::new(|| usize::MAX));
    assert_eq!(whole.len(), 4 + 2 * blocks.len() + 2);
    for seed in 0..60 {
        let mut rng = Rng::new(seed);
        assert_eq!(
            run(Box::new(move || 1 + rng.index([1, 7, 300, 40_000][seed as usize % 4]))),
            whole,
            "seed {seed}"
        );
    }
}
