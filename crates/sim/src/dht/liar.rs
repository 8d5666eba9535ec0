//! What malicious nodes say.
//!
//! A liar answers who looks for something with the names of other liars and of nodes that do not exist, close to what is
//! looked for, gives tokens that store nothing, and knows no peers. All of them know each other and each Sybil's place.

use std::net::SocketAddr;

use samara_proto::dht::Contact;
use samara_proto::dht::contact::push_node;
use samara_proto::dht::message::{Body, Message, Method, Response, parse};
use samara_proto::ids::NodeId;
use samara_proto::rng::Rng;

use super::host::some_address;

/// What a malicious node at `me` answers to a datagram from `from`; `None` if it leaves that to the honest machine in it.
/// `crowd` gives accomplices near a place.
pub fn lie(
    me: NodeId,
    from: SocketAddr,
    datagram: &[u8],
    always: bool,
    crowd: impl FnOnce(&NodeId) -> Vec<Contact>,
    rng: &mut Rng,
) -> Option<Vec<u8>> {
    let message = parse(datagram).ok()?;
    let Body::Query(query) = message.body else { return None };
    let mut nodes = Vec::new();
    let mut response = Response::new(me);
    match query.method {
        Method::GetPeers { info_hash: target, .. } | Method::Get { target, .. } => {
            false_nodes(&target, crowd(&target), &mut nodes, rng);
            response = Response { nodes: Some(&nodes), token: Some(b"nothing"), ..response };
        }
        Method::FindNode { target } if always => {
            false_nodes(&target, crowd(&target), &mut nodes, rng);
            response = Response { nodes: Some(&nodes), ..response };
        }
        Method::AnnouncePeer { .. } | Method::Put { .. } => {}
        _ if always => {}
        _ => return None,
    }
    let mut out = Vec::new();
    let body = Body::Response(response);
    Message { transaction: message.transaction, version: None, ip: Some(from), read_only: false, body }
        .write(&mut out);
    Some(out)
}

/// Half of them accomplices, half of them nobody; the ids of those fit their addresses.
fn false_nodes(target: &NodeId, crowd: Vec<Contact>, out: &mut Vec<u8>, rng: &mut Rng) {
    crowd.iter().take(4).for_each(|node| push_node(out, node));
    for _ in 0..4 {
        let addr = some_address(rng);
        // Of a few addresses the one whose id is closest.
        let near = (0..64).map(|_| {
            let addr = SocketAddr::new(some_address(rng).ip(), addr.port());
            Contact { id: NodeId::for_address(addr.ip(), rng), addr }
        });
        let best = near.min_by_key(|contact| contact.id.distance(target));
        best.into_iter().for_each(|node| push_node(out, &node));
    }
}
