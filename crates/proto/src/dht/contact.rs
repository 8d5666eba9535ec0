//! Compact nodes and peers (BEP 5, BEP 32): ids and addresses packed into strings.
//!
//! Part of a node at the end of a string is passed over, for the examples of BEP 5 have such; so are addresses that
//! nobody can be reached at: port 0, unspecified, multicast, broadcast.

use std::net::{IpAddr, SocketAddr};

use crate::ids::NodeId;
use crate::tracker::Family;
use crate::tracker::reach::scope;

/// A node and where it listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Contact {
    /// Its id, as somebody says.
    pub id: NodeId,
    /// Where it listens.
    pub addr: SocketAddr,
}

/// Bytes of a compact node: 26 or 38.
pub const fn node_len(family: Family) -> usize {
    NodeId::LEN + family.peer_len()
}

/// Whether a datagram can be sent there.
pub fn is_reachable(addr: SocketAddr) -> bool {
    addr.port() != 0 && scope(addr.ip()).is_some()
}

/// The nodes of a `nodes` or `nodes6` string, in order.
pub fn read_nodes(bytes: &[u8], family: Family) -> impl Iterator<Item = Contact> {
    bytes.chunks_exact(node_len(family)).filter_map(|node| {
        let (id, addr) = node.split_first_chunk()?;
        Some(Contact { id: NodeId(*id), addr: read_addr(addr).filter(|addr| is_reachable(*addr))? })
    })
}

/// One address with its port: 6 or 18 bytes. IPv4 mapped into IPv6 stays what it is, and nobody is there.
pub fn read_addr(bytes: &[u8]) -> Option<SocketAddr> {
    let (ip, port) = bytes.split_last_chunk::<2>()?;
    let v4 = || <[u8; 4]>::try_from(ip).ok().map(IpAddr::from);
    let ip = v4().or_else(|| <[u8; 16]>::try_from(ip).ok().map(IpAddr::from))?;
    Some(SocketAddr::new(ip, u16::from_be_bytes(*port)))
}

/// Appends a compact node.
pub fn push_node(out: &mut Vec<u8>, node: &Contact) {
    out.extend_from_slice(&node.id.0);
    push_addr(out, node.addr);
}

/// Appends a compact address.
pub fn push_addr(out: &mut Vec<u8>, addr: SocketAddr) {
    match addr.ip() {
        IpAddr::V4(ip) => out.extend_from_slice(&ip.octets()),
        IpAddr::V6(ip) => out.extend_from_slice(&ip.octets()),
    }
    out.extend_from_slice(&addr.port().to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contact(n: u8, addr: &str) -> Contact {
        Contact { id: NodeId([n; 20]), addr: addr.parse().unwrap() }
    }

    #[test]
    fn nodes_come_back_the_same_and_what_nobody_can_reach_is_passed_over() {
        for (family, good, bad) in [
            (Family::V4, ["1.2.3.4:5", "127.0.0.1:6881"], ["1.2.3.4:0", "224.0.0.1:1"]),
            (Family::V6, ["[2001:db8::1]:5", "[::1]:6881"], ["[::]:1", "[ff02::1]:1"]),
        ] {
            let mut bytes = Vec::new();
            let nodes = good.map(|addr| contact(7, addr));
            nodes.iter().for_each(|node| push_node(&mut bytes, node));
            assert_eq!(bytes.len(), 2 * node_len(family));
            bad.iter().for_each(|addr| push_node(&mut bytes, &contact(8, addr)));
            bytes.extend_from_slice(b"def456...");
            assert_eq!(read_nodes(&bytes, family).collect::<Vec<_>>(), nodes);
        }
        assert_eq!(read_addr(b"axje.u"), Some("97.120.106.101:11893".parse().unwrap()));
        assert_eq!(read_addr(b"12345"), None);
    }
}
