use super::*;
use crate::bencode;

const ID: NodeId = NodeId(*b"abcdefghij0123456789");
const OTHER: NodeId = NodeId(*b"mnopqrstuvwxyz123456");

/// Every example of BEP 5 in which the content is whole, as it stands there.
fn examples() -> Vec<(&'static [u8], Body<'static>)> {
    let query = |method| Body::Query(Query { id: ID, want: Want::default(), method });
    let response = Response::new;
    vec![
        (
            b"d1:eli201e23:A Generic Error Ocurrede1:t2:aa1:y1:ee",
            Body::Error { code: 201, text: b"A Generic Error Ocurred" },
        ),
        (b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe", query(Method::Ping)),
        (b"d1:rd2:id20:mnopqrstuvwxyz123456e1:t2:aa1:y1:re", Body::Response(response(OTHER))),
        (
            b"d1:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz123456e1:q9:find_node1:t2:aa1:y1:qe",
            query(Method::FindNode { target: OTHER }),
        ),
        (
            b"d1:rd2:id20:0123456789abcdefghij5:nodes9:def456...e1:t2:aa1:y1:re",
            Body::Response(Response {
                nodes: Some(b"def456..."),
                ..response(NodeId(*b"0123456789abcdefghij"))
            }),
        ),
        (
            b"d1:ad2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz123456e1:q9:get_peers1:t2:aa1:y1:qe",
            query(Method::GetPeers { info_hash: OTHER, noseed: false, scrape: false }),
        ),
        (
            b"d1:rd2:id20:abcdefghij01234567895:token8:aoeusnth6:valuesl6:axje.u6:idhtnmee1:t2:aa1:y1:re",
            Body::Response(Response {
                token: Some(b"aoeusnth"),
                values: Some(Peers::Compact(b"axje.uidhtnm", Family::V4)),
                ..response(ID)
            }),
        ),
        (
            b"d1:rd2:id20:abcdefghij01234567895:nodes9:def456...5:token8:aoeusnthe1:t2:aa1:y1:re",
            Body::Response(Response { nodes: Some(b"def456..."), token: Some(b"aoeusnth"), ..response(ID) }),
        ),
        (
            b"d1:ad2:id20:abcdefghij012345678912:implied_porti1e9:info_hash20:mnopqrstuvwxyz1234564:porti6881e5:token8:aoeusnthe1:q13:announce_peer1:t2:aa1:y1:qe",
            query(Method::AnnouncePeer {
                info_hash: OTHER,
                port: 6881,
                implied_port: true,
                seed: false,
                token: b"aoeusnth",
            }),
        ),
    ]
}

fn written(message: &Message<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    message.write(&mut out);
    out
}

#[test]
fn the_examples_of_bep_5_are_read_and_written_to_the_byte() {
    for (bytes, body) in examples() {
        let message = parse(bytes).unwrap();
        assert_eq!((message.transaction, message.body), (&b"aa"[..], body), "{}", bytes.escape_ascii());
        assert_eq!(written(&message), bytes, "{}", bytes.escape_ascii());
    }
}

#[test]
fn what_later_beps_added_comes_back_the_same() {
    let value = bencode::parse(b"12:Hello World!", LIMITS).unwrap();
    let signed = Signed { key: &[1; 32], salt: b"foobar", seq: 4, sig: &[2; 64] };
    let methods = [
        Method::GetPeers { info_hash: OTHER, noseed: true, scrape: true },
        Method::AnnouncePeer { info_hash: OTHER, port: 0, implied_port: true, seed: true, token: b"x" },
        Method::Get { target: OTHER, seq: Some(-3) },
        Method::Get { target: OTHER, seq: None },
        Method::Put { token: b"t", value, signed: None, cas: None },
        Method::Put { token: b"t", value, signed: Some(signed), cas: Some(3) },
        Method::Put { token: b"t", value, signed: Some(Signed { salt: b"", ..signed }), cas: None },
        Method::SampleInfohashes { target: OTHER },
        Method::Unknown { name: b"dance", target: Some(OTHER) },
        Method::Unknown { name: b"dance", target: None },
    ];
    let wants = [Want::default(), Want { v4: true, v6: false }, Want { v4: true, v6: true }];
    for (n, method) in methods.into_iter().enumerate() {
        round_trip(Body::Query(Query { id: ID, want: wants[n % 3], method }));
    }
    round_trip(Body::Response(Response {
        nodes: Some(&[3; 26]),
        nodes6: Some(&[4; 38]),
        token: Some(b"t"),
        values: Some(Peers::Compact(&[5; 36], Family::V6)),
        seeds: Some(&[6; 256]),
        peers: Some(&[7; 256]),
        value: Some(value),
        key: Some(&[8; 32]),
        sig: Some(&[9; 64]),
        seq: Some(i64::MAX),
        sample: Some(Sample { hashes: &[1; 40], interval: 21_600, num: 9 }),
        ..Response::new(ID)
    }));
}

fn round_trip(body: Body<'_>) {
    for (ip, read_only) in [(None, true), (Some("1.2.3.4:5".parse().unwrap()), false)] {
        let message = Message { transaction: b"\0\xff", version: Some(b"SA01"), ip, read_only, body };
        assert_eq!(parse(&written(&message)), Ok(message));
    }
}

fn refusal(bytes: &[u8]) -> Option<(i64, &'static str)> {
    match parse(bytes).expect_err("should be refused") {
        Refused::Garbage => None,
        Refused::Query { transaction, code, text } => {
            assert_eq!(transaction, b"aa");
            Some((code, text))
        }
    }
}

#[test]
fn a_question_that_is_not_understood_gets_an_error_and_other_garbage_nothing() {
    for garbage in [
        &b""[..],
        b"le",
        b"d1:y1:qe",
        b"d1:t2:aa1:y1:xe",
        b"d1:t2:aae",
        b"d1:rd2:id3:abce1:t2:aa1:y1:re",
        b"d1:t2:aa1:y1:re",
        b"d1:t33:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa1:y1:qe",
    ] {
        assert_eq!(refusal(garbage), None, "{}", garbage.escape_ascii());
    }
    assert_eq!(refusal(&[b'l'; 5000]), None);
    for (question, text) in [
        (&b"d1:t2:aa1:y1:qe"[..], "no method"),
        (b"d1:q4:ping1:t2:aa1:y1:qe", "no arguments"),
        (b"d1:ad2:id3:abce1:q4:ping1:t2:aa1:y1:qe", "no id of 20 bytes"),
        (b"d1:ad2:id20:abcdefghij0123456789e1:q9:find_node1:t2:aa1:y1:qe", "no target of 20 bytes"),
        (b"d1:ad2:id20:abcdefghij0123456789e1:q9:get_peers1:t2:aa1:y1:qe", "no info_hash of 20 bytes"),
        (b"d1:ad2:id20:abcdefghij0123456789e1:q3:put1:t2:aa1:y1:qe", "no token"),
        (b"d1:ad2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz1234564:porti65536e5:token1:xe1:q13:announce_peer1:t2:aa1:y1:qe", "no port"),
        (b"d1:ad2:id20:abcdefghij01234567893:seqi1e5:token1:x1:v1:xe1:q3:put1:t2:aa1:y1:qe", "a mutable item needs k of 32 bytes, sig of 64 and seq"),
    ] {
        assert_eq!(refusal(question), Some((code::PROTOCOL, text)), "{}", question.escape_ascii());
    }
}

#[test]
fn what_an_answer_does_not_need_may_be_malformed() {
    let bytes = b"d2:ip3:abc1:rd2:id20:abcdefghij01234567895:nodesi1e5:token65:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa6:valuesl3:abci1e6:idhtnmee1:t2:aa1:y1:re";
    let Body::Response(response) = parse(bytes).unwrap().body else { panic!("no answer") };
    assert_eq!((response.nodes, response.token), (None, None));
    assert_eq!(response.values.unwrap().iter().count(), 1);
}
