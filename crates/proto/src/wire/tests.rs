//! Properties of the whole codec.

use proptest::prelude::*;

use super::*;
use crate::ids::{Block, PieceIndex, Sha256Hash};
use crate::merkle::HashRequest;

/// A message that owns its bytes, with the payload that follows it on the wire.
type Owned = (Message<'static>, Vec<u8>);

fn block() -> impl Strategy<Value = Block> {
    (any::<u32>(), any::<u32>(), any::<u32>()).prop_map(|(p, offset, len)| Block {
        piece: PieceIndex(p),
        offset,
        len,
    })
}

fn hash_request() -> impl Strategy<Value = HashRequest> {
    (any::<[u8; 32]>(), any::<[u32; 4]>()).prop_map(|(root, [base, index, count, proof_layers])| {
        HashRequest { root: Sha256Hash(root), base, index, count, proof_layers }
    })
}

fn bytes(max: usize) -> impl Strategy<Value = &'static [u8]> {
    // Leaked on purpose: a test may, and it keeps the strategies of borrowed messages simple.
    prop::collection::vec(any::<u8>(), 0..max).prop_map(|v| &*v.leak())
}

fn plain() -> impl Strategy<Value = Message<'static>> {
    let piece = || any::<u32>().prop_map(PieceIndex);
    prop_oneof![
        Just(Message::KeepAlive),
        Just(Message::Choke),
        Just(Message::Unchoke),
        Just(Message::Interested),
        Just(Message::NotInterested),
        Just(Message::HaveAll),
        Just(Message::HaveNone),
        piece().prop_map(Message::Have),
        piece().prop_map(Message::Suggest),
        piece().prop_map(Message::AllowedFast),
        block().prop_map(Message::Request),
        block().prop_map(Message::Cancel),
        block().prop_map(Message::Reject),
        any::<u16>().prop_map(Message::Port),
        bytes(300).prop_map(Message::Bitfield),
        (any::<u8>(), bytes(300))
            .prop_map(|(id, b)| Message::Extended(id, if b.is_empty() { b"x" } else { b })),
        hash_request().prop_map(Message::HashRequest),
        hash_request().prop_map(Message::HashReject),
        (hash_request(), bytes(200)).prop_map(|(r, b)| Message::Hashes(r, &b[..b.len() / 32 * 32])),
        (24u8..).prop_map(Message::Unknown),
    ]
}

fn message() -> impl Strategy<Value = Owned> {
    let piece = (block(), prop::collection::vec(any::<u8>(), 1..300))
        .prop_map(|(block, payload)| (Message::Piece(Block { len: payload.len() as u32, ..block }), payload));
    prop_oneof![9 => plain().prop_map(|m| (m, Vec::new())), 1 => piece]
}

fn encode(messages: &[Owned]) -> Vec<u8> {
    let mut out = Vec::new();
    for (message, payload) in messages {
        message.encode(&mut out);
        out.extend_from_slice(payload);
    }
    out
}

/// Decodes a stream given in parts, and shows every message and every payload.
fn decode(parts: &[&[u8]]) -> Result<Vec<String>, DecodeError> {
    let (mut decoder, mut seen) = (Decoder::default(), Vec::new());
    let (mut payload, mut due) = (Vec::new(), 0);
    for part in parts {
        let mut rest = *part;
        while !rest.is_empty() {
            if due > 0 {
                let (taken, after) = rest.split_at(rest.len().min(due));
                payload.extend_from_slice(taken);
                (rest, due) = (after, due - taken.len());
                if due == 0 {
                    seen.push(format!("{:?}", std::mem::take(&mut payload)));
                }
                continue;
            }
            let (taken, message) = decoder.decode(rest)?;
            if let Some(Message::Piece(block)) = message {
                due = block.len as usize;
            }
            seen.extend(message.map(|m| format!("{m:?}")));
            rest = &rest[taken..];
        }
    }
    Ok(seen)
}

fn show(messages: &[Owned]) -> Vec<String> {
    let payload = |p: &Vec<u8>| (!p.is_empty()).then(|| format!("{p:?}"));
    messages.iter().flat_map(|(m, p)| [Some(format!("{m:?}")), payload(p)]).flatten().collect()
}

proptest! {
    #[test]
    fn round_trip_in_any_split(
        messages in prop::collection::vec(message(), 0..12),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let stream = encode(&messages);
        prop_assert_eq!(decode(&[&stream]).unwrap(), show(&messages));
        prop_assert_eq!(decode(&stream.chunks(1).collect::<Vec<_>>()).unwrap(), show(&messages));
        let mut cuts: Vec<_> = cuts.iter().map(|i| i.index(stream.len() + 1)).chain([0, stream.len()]).collect();
        cuts.sort_unstable();
        let parts: Vec<_> = cuts.windows(2).map(|w| &stream[w[0]..w[1]]).collect();
        prop_assert_eq!(decode(&parts).unwrap(), show(&messages));
    }

    #[test]
    fn arbitrary_bytes_are_read_alike_in_any_split(
        stream in prop::collection::vec(prop_oneof![3 => 0u8..24, 1 => any::<u8>()], 0..200), at in any::<prop::sample::Index>(),
    ) {
        let (a, b) = stream.split_at(at.index(stream.len() + 1));
        prop_assert_eq!(decode(&[a, b]), decode(&[&stream]));
    }

    #[test]
    fn handshakes_of_extensions_round_trip(
        ut_metadata in any::<Option<u8>>(), lt_donthave in any::<Option<u8>>(), ut_pex in any::<Option<u8>>(), client in prop::option::of("[a-zA-Z0-9 .µ]{1,64}"),
        listen_port in prop::option::of(1u16..), reqq in any::<Option<u32>>(), metadata_size in prop::option::of(1u32..),
        yourip in any::<Option<std::net::IpAddr>>(), upload_only in any::<Option<bool>>(),
    ) {
        let handshake = ExtensionHandshake {
            ut_metadata, lt_donthave, ut_pex, client, listen_port, reqq, metadata_size, yourip, upload_only,
        };
        let mut out = Vec::new();
        handshake.encode(&mut out);
        prop_assert_eq!(ExtensionHandshake::parse(&out), Ok(handshake));
    }

    #[test]
    fn metadata_messages_round_trip(kind in 0..3, piece: u32, total: Option<u32>, data in bytes(100)) {
        let message = match kind {
            0 => MetadataMessage::Request(piece),
            1 => MetadataMessage::Data { piece, total, data },
            _ => MetadataMessage::Reject(piece),
        };
        let mut out = Vec::new();
        message.encode(&mut out);
        prop_assert_eq!(MetadataMessage::parse(&out), Ok(message));
    }

    #[test]
    fn arbitrary_extension_payloads_do_not_panic(payload in prop::collection::vec(any::<u8>(), 0..100)) {
        let _ = (ExtensionHandshake::parse(&payload), MetadataMessage::parse(&payload), parse_dont_have(&payload));
    }
}

fn error(prefix: &[u8]) -> Option<DecodeError> {
    let whole = decode(&[prefix]).err();
    assert_eq!(decode(&prefix.chunks(1).collect::<Vec<_>>()).err(), whole);
    whole
}

fn head(len: u32, id: u8) -> Vec<u8> {
    [&len.to_be_bytes()[..], &[id]].concat()
}

#[test]
fn limits_hold_before_anything_is_buffered() {
    let oversized = |len, id| assert_eq!(error(&head(len, id)), Some(DecodeError::Oversized { id, len }));
    let malformed = |len, id| assert_eq!(error(&head(len, id)), Some(DecodeError::Malformed { id, len }));
    let fine = |len, id| assert_eq!(error(&head(len, id)), None);
    for (id, len) in
        [(0, 1), (1, 1), (2, 1), (3, 1), (4, 5), (6, 13), (8, 13), (9, 3), (13, 5), (14, 1), (15, 1)]
    {
        fine(len, id);
        malformed(len + 1, id);
    }
    for (id, len) in [(16, 13), (17, 5), (21, 49), (23, 49)] {
        fine(len, id);
        malformed(len - 1, id);
        malformed(u32::MAX, id);
    }
    fine(1 + 1024 * 1024, 5);
    oversized(2 + 1024 * 1024, 5);
    malformed(9, 7);
    fine(9 + MAX_BLOCK_LEN, 7);
    oversized(10 + MAX_BLOCK_LEN, 7);
    malformed(1, 20);
    fine(512 * 1024, 20);
    oversized(512 * 1024 + 1, 20);
    malformed(50, 22);
    fine(49 + 32 * 576, 22);
    oversized(49 + 32 * 577, 22);
    fine(1024 * 1024, 99);
    oversized(1024 * 1024 + 1, 99);
    oversized(u32::MAX, 255);
}

#[test]
fn known_number_of_pieces_bounds_the_bitfield() {
    let mut decoder = Decoder::default();
    decoder.set_num_pieces(17);
    assert_eq!(decoder.decode(&head(5, 5)), Err(DecodeError::Oversized { id: 5, len: 5 }));
    let mut decoder = Decoder::default();
    decoder.set_num_pieces(17);
    assert_eq!(decoder.decode(&[0, 0, 0, 4, 5, 1, 2, 3]), Ok((8, Some(Message::Bitfield(&[1, 2, 3])))));
}

#[test]
fn unknown_messages_are_skipped_without_being_kept() {
    let mut decoder = Decoder::default();
    let len = 1_000_000u32;
    assert_eq!(decoder.decode(&head(len, 200)), Ok((5, Some(Message::Unknown(200)))));
    for _ in 0..(len - 1) / 999 {
        assert_eq!(decoder.decode(&[7; 999]), Ok((999, None)));
    }
    assert_eq!(decoder.buffered(), 0);
    assert_eq!(decoder.decode(&[0, 0, 0, 1, 1]), Ok((5, Some(Message::Unchoke))));
}

#[test]
fn a_long_message_is_let_go_of() {
    let mut decoder = Decoder::default();
    let mut stream = head(100_001, 20);
    stream.resize(100_005, 1);
    for part in stream.chunks(1000) {
        decoder.decode(part).unwrap();
    }
    assert!((100_005..=200_010).contains(&decoder.buffered()));
    decoder.decode(&[0]).unwrap();
    assert!(decoder.buffered() < 100);
}

#[test]
fn extension_handshake_of_bep_10_and_hostile_values() {
    let parsed = ExtensionHandshake::parse(
        b"d1:md11:LT_metadatai1e6:\xb5T_PEXi2ee1:pi6881e1:v13:\xc2\xb5Torrent 1.2e",
    );
    let parsed = parsed.unwrap();
    assert_eq!((parsed.listen_port, parsed.client.as_deref()), (Some(6881), Some("µTorrent 1.2")));
    assert_eq!(parsed.ut_metadata, None);
    let hostile = b"d1:md11:ut_metadatai300ee1:pi-1e4:reqqi99999999999e1:v5:\x1b[1mA6:yourip3:abce";
    let expected = ExtensionHandshake { client: Some("[1mA".into()), ..Default::default() };
    assert_eq!(ExtensionHandshake::parse(hostile), Ok(expected));
    assert_eq!(ExtensionHandshake::parse(b"i1e"), Err(ExtensionError));
    let long = format!("d1:v100000:{}e", "x".repeat(100_000));
    assert_eq!(ExtensionHandshake::parse(long.as_bytes()).unwrap().client.unwrap().len(), 64);
}

#[test]
fn metadata_examples_of_bep_9() {
    assert_eq!(MetadataMessage::parse(b"d8:msg_typei0e5:piecei0ee"), Ok(MetadataMessage::Request(0)));
    assert_eq!(
        MetadataMessage::parse(b"d8:msg_typei1e5:piecei0e10:total_sizei34256eexxx"),
        Ok(MetadataMessage::Data { piece: 0, total: Some(34256), data: b"xxx" })
    );
    assert_eq!(MetadataMessage::parse(b"d8:msg_typei2e5:piecei7ee"), Ok(MetadataMessage::Reject(7)));
    assert_eq!(MetadataMessage::parse(b"d8:msg_typei9ee"), Ok(MetadataMessage::Unknown));
    assert_eq!(MetadataMessage::parse(b"d8:msg_typei0ee"), Err(ExtensionError));
    assert_eq!(MetadataMessage::parse(b"d8:msg_typei0e5:piecei-1ee"), Err(ExtensionError));
}
