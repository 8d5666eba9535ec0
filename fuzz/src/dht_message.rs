//! KRPC: what is read is written back and reads the same; what is refused is answered within bounds.

use samara_proto::dht::contact::{push_node, read_nodes};
use samara_proto::dht::message::{Body, MAX_READ, MAX_TRANSACTION, Message, Method, Refused, parse};
use samara_proto::dht::saved::{Both, MAX_SAVED};
use samara_proto::tracker::Family;

/// Runs one input as a datagram, and as what a node keeps between runs.
pub fn run(data: &[u8]) {
    if let Some(both) = Both::read(data) {
        assert!([&both.v4, &both.v6].into_iter().flatten().all(|saved| saved.contacts.len() <= MAX_SAVED));
        assert_eq!(Both::read(&both.write()), Some(both));
    }
    match parse(data) {
        Ok(message) => {
            assert!(data.len() <= MAX_READ && message.transaction.len() <= MAX_TRANSACTION);
            again(&message, data.len());
            body(&message.body);
        }
        Err(Refused::Query { transaction, code, text }) => {
            let body = Body::Error { code, text: text.as_bytes() };
            again(
                &Message { transaction, version: None, ip: None, read_only: false, body },
                data.len() + 100,
            );
        }
        Err(Refused::Garbage) => {}
    }
}

fn again(message: &Message<'_>, bound: usize) {
    let mut out = Vec::new();
    message.write(&mut out);
    // A port or error text that was absent is written.
    assert!(out.len() <= bound + 32, "{} grew to {}", bound, out.len());
    if out.len() <= MAX_READ {
        assert_eq!(parse(&out), Ok(*message));
    }
}

fn body(body: &Body<'_>) {
    match body {
        Body::Response(response) => {
            for (family, bytes) in [(Family::V4, response.nodes), (Family::V6, response.nodes6)] {
                let mut out = Vec::new();
                read_nodes(bytes.unwrap_or_default(), family).for_each(|node| push_node(&mut out, &node));
                assert!(out.len() <= bytes.map_or(0, <[u8]>::len));
            }
            assert!(response.values.is_none_or(|values| values.iter().count() <= MAX_READ));
        }
        Body::Query(query) => {
            if let Method::AnnouncePeer { port, implied_port, .. } = query.method {
                assert!(port != 0 || implied_port);
            }
        }
        Body::Error { .. } => {}
    }
}
