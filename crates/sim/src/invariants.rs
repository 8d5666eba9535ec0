//! What must be true after every step.
//!
//! In a small world everything is looked at after each; in a large one what was touched, as far as that is cheap, one
//! node in turn every few steps, and everything at the end.

use samara_proto::bitfield::Bitfield;

use crate::World;
use crate::link::Link;
use crate::node::Node;

/// Most requests under way with one peer, whatever it announces.
const MOST_REQUESTS: u32 = 2000;

/// One write may exceed a link's buffer by this much: all the control messages that wait.
const MOST_EXCESS: u32 = 256 << 10;

/// Nodes up to which everything is checked after every step.
const FEW: usize = 16;

/// Steps after which a node in turn is checked in full, and its links, however many there are.
const NOW_AND_THEN: u64 = 64;

/// Checks a node that was touched, as far as that is cheap; in a small world in full.
///
/// # Panics
/// If an invariant is broken.
pub(crate) fn check_touched(world: &mut World, index: usize) {
    let few = world.nodes.len() <= FEW;
    let node = &mut world.nodes[index];
    if few {
        return check_node(node);
    }
    assert!(claimed(node) <= node.disk.truth().count(), "more is claimed than was verified");
    if std::mem::take(&mut node.moved) {
        bytes_are_conserved(node);
    }
}

/// Checks what must be looked at in turn: all of it in a small world.
///
/// # Panics
/// If an invariant is broken.
pub(crate) fn check_in_turn(world: &World, step: u64) {
    if world.nodes.len() <= FEW {
        return check_links(world);
    }
    if step.is_multiple_of(NOW_AND_THEN) {
        check_node(&world.nodes[(step / NOW_AND_THEN) as usize % world.nodes.len()]);
    }
}

/// Checks everything.
///
/// # Panics
/// If an invariant is broken.
pub fn check(world: &World) {
    world.nodes.iter().for_each(check_node);
    check_links(world);
    let totals = world.net.totals;
    let under_way: u64 = world.links().map(Link::payload).sum();
    assert_eq!(totals.payload, totals.delivered + totals.dropped + under_way, "no byte gets lost on the way");
}

fn check_links(world: &World) {
    for link in world.links() {
        assert!(link.excess(0).max(link.excess(1)) < MOST_EXCESS, "a link holds more than its buffer");
    }
}

fn check_node(node: &Node) {
    nothing_claimed_without_proof(node);
    bytes_are_conserved(node);
    let addr = node.addr;
    assert!(node.torrent.most_requests() <= MOST_REQUESTS, "{addr}: too many requests to one peer");
    let stats = node.torrent.stats();
    assert!(stats.connections as usize <= node.max_peers, "more connections than allowed");
    assert_eq!(
        node.torrent.is_complete(),
        node.torrent.have().is_some() && stats.done == stats.wanted,
        "complete exactly if all that is wanted is done"
    );
}

fn claimed(node: &Node) -> u32 {
    node.torrent.have().map_or(0, Bitfield::count)
}

fn nothing_claimed_without_proof(node: &Node) {
    assert!(claimed(node) <= node.disk.truth().count(), "more is claimed than was verified");
    if let Some(have) = node.torrent.have().filter(|have| have.count() < 64) {
        assert!(have.iter().all(|piece| node.disk.truth().has(piece)), "a claimed piece is not there");
    }
}

fn bytes_are_conserved(node: &Node) {
    let stats = node.torrent.stats();
    assert_eq!(stats.downloaded, node.disk.kept() + stats.wasted, "every byte that came is kept or wasted");
}
