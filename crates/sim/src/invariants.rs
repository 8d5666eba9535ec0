//! What must be true after every step.

use samara_proto::bitfield::Bitfield;

use crate::World;
use crate::node::Node;

/// Most requests under way with one peer, whatever it announces.
const MOST_REQUESTS: u32 = 2000;

/// One write may exceed a link's buffer by this much: all the control messages that wait.
const MOST_EXCESS: u32 = 256 << 10;

/// Checks them all.
///
/// # Panics
/// If one is broken.
pub fn check(world: &World) {
    world.nodes.iter().for_each(check_node);
    for link in world.links() {
        assert!(link.excess(0).max(link.excess(1)) < MOST_EXCESS, "a link holds more than its buffer");
    }
}

fn check_node(node: &Node) {
    nothing_claimed_without_proof(node);
    bytes_are_conserved(node);
    for peer in node.torrent.peers() {
        assert!(peer.requests <= MOST_REQUESTS, "too many requests to {}", peer.addr);
    }
    assert_eq!(
        node.torrent.is_complete(),
        node.torrent.have().is_some() && node.torrent.stats().done == node.torrent.stats().wanted,
        "complete exactly if all that is wanted is done"
    );
}

fn nothing_claimed_without_proof(node: &Node) {
    let claimed = node.torrent.have().map_or(0, Bitfield::count);
    assert!(claimed <= node.disk.truth().count(), "more is claimed than was verified");
    if let Some(have) = node.torrent.have().filter(|have| have.count() < 64) {
        assert!(have.iter().all(|piece| node.disk.truth().has(piece)), "a claimed piece is not there");
    }
}

fn bytes_are_conserved(node: &Node) {
    let stats = node.torrent.stats();
    assert_eq!(stats.downloaded, node.disk.kept() + stats.wasted, "every byte that came is kept or wasted");
}
