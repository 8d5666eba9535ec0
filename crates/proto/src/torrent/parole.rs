//! Suspects: what they may still be asked for (libtorrent calls it parole).
//!
//! The rule. A suspect gets whole pieces of its own: it contributes to no other's, and nobody to its. So the first one
//! that it finishes clears it or convicts it, and meanwhile it can spoil nobody else's work. What it was asked for of
//! shared pieces is taken back; what comes of it all the same is taken. Whoever took part in a piece when it failed is
//! not the one to fetch it again, as long as somebody else can.
//!
//! Suspicion must not stop a download of which only suspects are left, so it gives way: a peer with nothing to do for
//! [`GRACE`] is asked like any other until it has, and 5 s after it was begun a piece is nobody's alone any more
//! (`partial.rs`). Either may spoil one more piece, of which there is evidence then, and which is fetched anew by one
//! that did not take part: each round convicts a liar or ends the matter.
//!
//! Decides nothing about guilt, see [`super::blame`]. Tested in the torrent's tests and by swarms with liars.

use std::time::Duration;

use super::Torrent;
use super::blame::Standing;
use super::peer::Peer;
use crate::bitfield::Bitfield;
use crate::ids::{PeerKey, PieceIndex};
use crate::peer::Command;

/// A peer that is to be asked for nothing but what others should rather bring waits so long for them. Two rounds of the
/// torrent's timer: whoever is there and free has been asked by then.
const GRACE: Duration = Duration::from_secs(2);

/// What a peer that is on record may be asked for.
#[derive(Debug)]
pub(super) struct Bounds {
    /// Pieces.
    pub(super) has: Bitfield,
    /// Only those that nobody else contributes to.
    pub(super) confined: bool,
}

impl<B> Torrent<B> {
    /// What limits the choice for this peer; mostly nothing does.
    pub(super) fn bounds(&self, key: PeerKey) -> Option<Bounds> {
        let peer = self.peers.get(&key).filter(|peer| peer.standing != Standing::Clear)?;
        let idle = peer.idle_for(self.now);
        if idle.is_some_and(|time| time >= GRACE) {
            return None;
        }
        let mut has = peer.has.clone();
        let left_to_others =
            |piece: &PieceIndex| Some(*piece) != peer.current && (idle.is_none() || self.others_can(*piece));
        for piece in self.blame.failures(peer.addr).filter(left_to_others) {
            has.remove(piece);
        }
        Some(Bounds { has, confined: peer.standing == Standing::Suspect })
    }

    /// Somebody can bring `piece` who did not take part when it failed.
    fn others_can(&self, piece: PieceIndex) -> bool {
        let can =
            |peer: &Peer| peer.serves() && peer.has.has(piece) && !self.blame.took_part(peer.addr, piece);
        self.peers.values().any(can)
    }

    /// Looks up anew what is known against everyone, after that changed.
    pub(super) fn review_all(&mut self) {
        let keys: Vec<_> = self.peers.keys().copied().collect();
        keys.into_iter().for_each(|key| self.review(key));
        self.kick_soon();
    }

    /// Looks up what is known against a peer.
    pub(super) fn review(&mut self, key: PeerKey) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        let standing = self.blame.standing(peer.addr);
        let before = std::mem::replace(&mut peer.standing, standing);
        if before != standing && standing == Standing::Suspect {
            self.confine(key);
        }
    }

    /// Takes back what a new suspect was asked for of pieces to which others contribute; the rest is its alone.
    fn confine(&mut self, key: PeerKey) {
        let (Some(picker), Some(peer)) = (&mut self.picker, self.peers.get(&key)) else { return };
        let pieces: Vec<_> = peer.asked_pieces().into_iter().collect();
        let shared = pieces.into_iter().filter(|piece| !picker.confine(*piece, key, self.now));
        for piece in shared.collect::<Vec<_>>() {
            self.withdraw(key, piece);
        }
    }

    /// Takes back what a peer was asked for of a piece.
    fn withdraw(&mut self, key: PeerKey, piece: PieceIndex) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        let (blocks, active) = (peer.forget_piece(piece), peer.is_active());
        for block in blocks {
            if let Some(picker) = &mut self.picker {
                picker.release(block, key);
            }
            if active {
                self.send(key, Command::Cancel(block));
            }
        }
    }
}
