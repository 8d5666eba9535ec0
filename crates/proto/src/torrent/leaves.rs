//! Telling others the leaves of pieces that we have (BEP 52 `hash request` for layer 0), so that they can name a liar.
//!
//! Leaves are not kept: for each answer the storage reads a whole piece and hashes it. The rule bounds that work. Only
//! pieces that we have and of at most [`LONGEST`] bytes; each reading costs its length out of one budget of the torrent
//! ([`BURST`], [`RATE`]), of which one peer gets at most [`SHARE`] until it is refilled, so that one who asks without
//! end takes nothing from the rest; at most [`MOST_READING`] at a time, and one for a peer. What is beyond is refused
//! at once, for whoever asked can do without. An answer is at most 16 KiB of hashes. Whoever downloads a few wrong pieces
//! stays far below: 64 pieces of 1 MiB at once. It is independent of who is unchoked: what helps to find a liar helps us.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Torrent;
use super::api::Output;
use crate::ids::{PeerKey, PieceIndex, Sha256Hash};
use crate::layout::Layout;
use crate::merkle::{HashRequest, HashTree};
use crate::metainfo::Info;
use crate::peer::Command;
use crate::time::Time;

/// Bytes of the longest piece that is read for its leaves.
const LONGEST: u32 = 16 << 20;
/// Bytes that may be read at once after a rest, and a second: a thousandth of what a core hashes.
const BURST: u64 = 64 << 20;
const RATE: u64 = 1 << 20;
/// Bytes of it for one peer in [`TURN`].
const SHARE: u64 = 16 << 20;
const TURN: Duration = Duration::from_secs(60);
/// Pieces being read.
const MOST_READING: usize = 4;
/// What a request costs beside, so that looking for its file is paid for as well.
const FEE: u64 = 16 << 10;

/// What may be read.
#[derive(Debug)]
pub(super) struct Leaves {
    tokens: u64,
    filled: Time,
    /// When the shares were given.
    turn: Time,
    used: BTreeMap<PeerKey, u64>,
    reading: BTreeMap<PieceIndex, (PeerKey, HashRequest)>,
}

impl Leaves {
    pub(super) const fn new(now: Time) -> Self {
        Self { tokens: BURST, filled: now, turn: now, used: BTreeMap::new(), reading: BTreeMap::new() }
    }

    /// Pays for `bytes`, or does not.
    fn pay(&mut self, now: Time, peer: PeerKey, bytes: u64) -> bool {
        let passed = now.since(self.filled).min(TURN).as_micros() as u64;
        let earned = passed * RATE / 1_000_000;
        (self.tokens, self.filled) = (self.tokens.saturating_add(earned).min(BURST), now);
        if now.since(self.turn) >= TURN {
            (self.turn, self.used) = (now, BTreeMap::new());
        }
        let used = self.used.get(&peer).copied().unwrap_or(0) + bytes;
        if used > SHARE || bytes > self.tokens {
            return false;
        }
        self.tokens -= bytes;
        self.used.insert(peer, used);
        true
    }

    /// Whether another piece may be read for `peer`.
    fn has_room(&self, peer: PeerKey, piece: PieceIndex) -> bool {
        let free = self.reading.len() < MOST_READING && !self.reading.contains_key(&piece);
        free && self.reading.values().all(|(other, _)| *other != peer)
    }

    /// A peer left.
    pub(super) fn gone(&mut self, peer: PeerKey) {
        self.used.remove(&peer);
    }
}

/// The piece whose leaves answer `request`.
fn find(info: &Info, layout: &Layout, request: &HashRequest) -> Option<PieceIndex> {
    let named = |file: &(u32, &crate::metainfo::FileEntry)| file.1.pieces_root == Some(request.root);
    let (file, entry) = (0..).zip(info.files()).find(named)?;
    let tree = HashTree::new(request.root, entry.length, info.piece_length());
    let pieces = layout.pieces_of(crate::ids::FileIndex(file));
    let piece = pieces.start.checked_add(tree.leaf_piece(request)?).filter(|piece| *piece < pieces.end)?;
    Some(PieceIndex(piece))
}

impl<B> Torrent<B> {
    /// Has leaves read that a peer asked for. False if they are refused.
    pub(super) fn read_leaves(&mut self, key: PeerKey, request: &HashRequest) -> bool {
        let Some(shape) = self.shape.as_ref().filter(|s| request.base == 0 && s.info.format().has_v2())
        else {
            return false;
        };
        if !self.leaves.pay(self.now, key, FEE) {
            return false;
        }
        let Some(piece) = find(&shape.info, &shape.layout, request) else { return false };
        let len = shape.layout.piece_len(piece);
        let had = self.picker.as_ref().is_some_and(|picker| picker.have().has(piece));
        let may = had && len <= LONGEST && self.leaves.has_room(key, piece);
        if !may || !self.leaves.pay(self.now, key, len.into()) {
            return false;
        }
        self.leaves.reading.insert(piece, (key, *request));
        self.out.push_back(Output::ReadLeaves { piece });
        true
    }

    /// The storage read them, or could not.
    pub(super) fn on_leaves(&mut self, piece: PieceIndex, leaves: &[Sha256Hash]) {
        let Some((key, request)) = self.leaves.reading.remove(&piece) else { return };
        if !self.peers.get(&key).is_some_and(|peer| peer.is_active()) {
            return;
        }
        let answer = self.shape.as_ref().and_then(|shape| {
            let (tree, _) = shape.tree(piece)?;
            tree.answer_leaves(&request, leaves)
        });
        let command = match answer {
            Some(hashes) => Command::Hashes(request, hashes),
            None => Command::HashReject(request),
        };
        self.send(key, command);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_peer_gets_its_share_and_all_together_the_budget() {
        let (mut leaves, start) = (Leaves::new(Time::ZERO), Time::ZERO);
        let paid = |leaves: &mut Leaves, now, peer| {
            (0..100).filter(|_| leaves.pay(now, PeerKey(peer), 1 << 20)).count()
        };
        assert_eq!(paid(&mut leaves, start, 1), 16);
        assert_eq!((2..9).map(|peer| paid(&mut leaves, start, peer)).sum::<usize>(), 48);
        let later = start + TURN;
        assert_eq!(paid(&mut leaves, later, 1), 16);
        assert_eq!((2..9).map(|peer| paid(&mut leaves, later, peer)).sum::<usize>(), 44);
    }

    #[test]
    fn one_at_a_time_for_a_peer_and_four_for_all() {
        let mut leaves = Leaves::new(Time::ZERO);
        let request = HashRequest { root: Sha256Hash([0; 32]), base: 0, index: 0, count: 2, proof_layers: 0 };
        for n in 0..4 {
            assert!(leaves.has_room(PeerKey(n.into()), PieceIndex(n)));
            leaves.reading.insert(PieceIndex(n), (PeerKey(n.into()), request));
            assert!(!leaves.has_room(PeerKey(n.into()), PieceIndex(9)));
        }
        assert!(!leaves.has_room(PeerKey(9), PieceIndex(9)));
    }
}
