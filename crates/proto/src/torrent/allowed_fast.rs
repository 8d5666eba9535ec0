//! Which pieces a newcomer may have of us although we choke it (BEP 6 "allowed fast"), so that it has something to trade.
//!
//! The set is canonical: it follows from the peer's network and the info-hash, so that everybody grants the same few
//! pieces to the same peer and the choice of whom to ask gains nothing. To be useful the pieces must be few and come
//! soon, and what is given for nothing must not pay: [`MOST`] pieces as libtorrent has it (the BEP says 10, "to suit
//! load"), no more than a twentieth of the torrent, and no more than [`MOST_BYTES`], for one piece of a torrent with
//! large ones is as much as five of another. Each block once, only while the peer has fewer pieces than were granted
//! (BEP 6: "rejects requests … whenever the requesting peer has more than k").
//!
//! Only public IPv4 addresses get a set. The BEP has no provision for IPv6, and no other one is agreed on; and within
//! one private network all would get the same pieces, which then leave a seed many times while others leave it never.
//!
//! Tested with the vectors of the BEP, and by examples of who gets one.

use std::net::{IpAddr, Ipv4Addr};

use sha1::{Digest, Sha1};

use super::Torrent;
use crate::ids::{PeerKey, PieceIndex, WireHash};
use crate::peer::Command;
use crate::torrent::hosts::Reach;

/// Pieces granted to one peer.
const MOST: u32 = 5;
/// One piece in so many at most.
const PART: u32 = 20;
/// Bytes granted to one peer, unless one piece is longer.
const MOST_BYTES: u32 = 8 << 20;

/// The first `k` pieces of the allowed-fast set of a peer (BEP 6, "Allowed Fast Set Generation"), or all there are.
pub fn allowed_fast_set(k: u32, pieces: u32, hash: WireHash, ip: Ipv4Addr) -> Vec<PieceIndex> {
    let mut set = Vec::new();
    let [a, b, c, _] = ip.octets();
    let mut x = [&[a, b, c, 0][..], &hash.0].concat();
    while set.len() < k.min(pieces) as usize {
        x = Sha1::digest(&x).to_vec();
        let (words, _) = x.as_chunks::<4>();
        for piece in words.iter().map(|word| PieceIndex(u32::from_be_bytes(*word) % pieces)) {
            if set.len() < k as usize && !set.contains(&piece) {
                set.push(piece);
            }
        }
    }
    set
}

/// How many pieces are granted to a peer of a torrent with so many pieces of so many bytes.
fn size(pieces: u32, piece_length: u32) -> u32 {
    MOST.min(pieces / PART).min((MOST_BYTES / piece_length.max(1)).max(1))
}

impl<B> Torrent<B> {
    /// Whether newcomers are granted pieces at all. Not by a seed that tells each peer what to fetch: what it must not
    /// send twice it must not give away.
    pub(super) fn offers_allowed_fast(&self) -> bool {
        self.config.allowed_fast && self.picker.as_ref().is_some_and(|picker| picker.spread.is_none())
    }

    /// A peer wants something: grants it its set, if it is a newcomer that we do not serve.
    pub(super) fn grant_fast(&mut self, key: PeerKey) {
        let (true, Some(shape)) = (self.offers_allowed_fast(), &self.shape) else { return };
        let pieces = shape.layout.num_pieces();
        let k = size(pieces, shape.layout.piece_length());
        let hash = self.hashes.primary();
        let Some(peer) = self.peers.get_mut(&key).filter(|p| p.is_active() && p.granted == 0) else { return };
        let speaks = peer.hello.is_some_and(|h| h.fast) && peer.peer_interested && peer.peer_choked;
        let IpAddr::V4(ip) = peer.addr.ip().to_canonical() else { return };
        if !speaks || peer.has.count() >= k || Reach::of(ip.into()) != Reach::Public {
            return;
        }
        peer.granted = k;
        let set = allowed_fast_set(k, pieces, hash, ip);
        self.send(key, Command::AllowFast(set));
    }

    /// A peer has more than it had: once it can trade, it is no newcomer.
    pub(super) fn end_grants(&mut self, key: PeerKey) {
        let Some(peer) = self.peers.get_mut(&key).filter(|p| p.granted > 0 && p.is_active()) else { return };
        if peer.has.count() >= peer.granted && !std::mem::replace(&mut peer.grants_over, true) {
            self.send(key, Command::AllowFast(Vec::new()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(k: u32, pieces: u32) -> Vec<u32> {
        let set = allowed_fast_set(k, pieces, WireHash([0xaa; 20]), [80, 4, 4, 200].into());
        set.iter().map(|piece| piece.0).collect()
    }

    #[test]
    fn the_examples_of_the_bep() {
        assert_eq!(set(7, 1313), [1059, 431, 808, 1217, 287, 376, 1188]);
        assert_eq!(set(9, 1313), [1059, 431, 808, 1217, 287, 376, 1188, 353, 508]);
    }

    #[test]
    fn no_more_than_there_are() {
        assert!(set(10, 0).is_empty());
        assert_eq!(set(10, 1), [0]);
        let mut all = set(10, 6);
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_small_part_of_the_torrent() {
        assert_eq!(size(10, 1 << 18), 0);
        assert_eq!(size(40, 1 << 18), 2);
        assert_eq!(size(1000, 1 << 18), 5);
        assert_eq!(size(1000, 4 << 20), 2);
        assert_eq!(size(1000, 64 << 20), 1);
    }
}
