//! What peers have, and whether we want it (BEP 3 `have`, `bitfield`, `interested`; BEP 6; BEP 54).
//!
//! For each peer the number of its pieces that we need is kept, so that a `have` costs O(1), and a piece of ours
//! that is done costs O(peers).

use super::Torrent;
use super::peer::{Counted, Peer};
use super::picker::Picker;
use crate::bitfield::Bitfield;
use crate::ids::{PeerKey, PieceIndex};
use crate::peer::{Command, Departure, Violation};

/// Enters what a peer has into the availability.
fn count(picker: &mut Picker, peer: &mut Peer) {
    if peer.is_seed() {
        peer.counted = Counted::Seed;
    } else {
        peer.has.iter().for_each(|piece| picker.gained(piece));
        peer.counted = Counted::Pieces;
    }
    peer.useful = picker.missing_in(&peer.has);
}

impl<B> Torrent<B> {
    pub(super) fn on_bitfield(&mut self, key: PeerKey, bytes: Vec<u8>) {
        let pieces = self.shape.as_ref().map(|s| s.layout.num_pieces());
        let Some(peer) = self.peers.get_mut(&key) else { return };
        let Some(pieces) = pieces else {
            return peer.early.bitfield(bytes);
        };
        match Bitfield::from_bytes(&bytes, pieces) {
            Some(has) => self.set_has(key, has),
            None => self.disconnect(key, Departure::Violation(Violation::MalformedMessage)),
        }
    }

    pub(super) fn on_have_all(&mut self, key: PeerKey) {
        let pieces = self.shape.as_ref().map(|s| s.layout.num_pieces());
        let Some(peer) = self.peers.get_mut(&key) else { return };
        match pieces {
            Some(pieces) => self.set_has(key, Bitfield::full(pieces)),
            None => peer.early.all(),
        }
    }

    /// All that a peer has became known.
    pub(super) fn set_has(&mut self, key: PeerKey, has: Bitfield) {
        self.uncount(key);
        if let Some(peer) = self.peers.get_mut(&key) {
            peer.has = has;
        }
        self.recount(key);
    }

    /// Enters a peer's pieces into the books, as far as there are any.
    pub(super) fn recount(&mut self, key: PeerKey) {
        let (Some(picker), Some(peer)) = (&mut self.picker, self.peers.get_mut(&key)) else { return };
        if peer.is_active() && peer.counted == Counted::No {
            count(picker, peer);
        }
        self.update_interest(key);
        self.consider(key);
        self.drop_if_useless(key);
        self.refill(key);
    }

    pub(super) fn uncount(&mut self, key: PeerKey) {
        let (Some(picker), Some(peer)) = (&mut self.picker, self.peers.get_mut(&key)) else { return };
        if peer.counted == Counted::Pieces {
            peer.has.iter().for_each(|piece| picker.lost(piece));
        }
        peer.counted = Counted::No;
        peer.useful = 0;
    }

    pub(super) fn on_have(&mut self, key: PeerKey, piece: PieceIndex) {
        let known = self.shape.is_some();
        let Some(peer) = self.peers.get_mut(&key) else { return };
        if !known {
            return peer.early.change(piece, true);
        }
        if !peer.has.insert(piece) {
            return;
        }
        let Some(picker) = &mut self.picker else { return };
        if peer.counted == Counted::No {
            peer.counted = Counted::Pieces;
        }
        picker.gained(piece);
        let hides = picker.spread.is_some();
        if picker.needs(piece) {
            peer.useful += 1;
            peer.starved = false;
            self.update_interest(key);
            self.refill(key);
        }
        if hides {
            self.note_spread(key, piece);
        }
        self.end_grants(key);
        self.drop_if_useless(key);
    }

    pub(super) fn on_dont_have(&mut self, key: PeerKey, piece: PieceIndex) {
        let known = self.shape.is_some();
        let Some(peer) = self.peers.get_mut(&key) else { return };
        if !known {
            return peer.early.change(piece, false);
        }
        if !peer.has.has(piece) {
            return;
        }
        let mut has = std::mem::replace(&mut peer.has, Bitfield::new(0));
        if peer.counted == Counted::Pieces
            && let Some(picker) = &mut self.picker
        {
            has.remove(piece);
            picker.lost(piece);
            peer.useful = peer.useful.saturating_sub(picker.needs(piece).into());
            peer.has = has;
            return self.update_interest(key);
        }
        // It was a seed: from now on it is counted piece by piece.
        has.remove(piece);
        self.set_has(key, has);
    }

    pub(super) fn on_allowed(&mut self, key: PeerKey, piece: PieceIndex) {
        if let Some(peer) = self.peers.get_mut(&key) {
            peer.allow(piece);
        }
        self.refill(key);
    }

    /// Says whether we want something of a peer, if that changed.
    pub(super) fn update_interest(&mut self, key: PeerKey) {
        let Some(peer) = self.peers.get_mut(&key).filter(|p| p.is_active()) else { return };
        let interested = peer.useful > 0;
        if std::mem::replace(&mut peer.interested, interested) != interested {
            self.send(key, Command::Interested(interested));
        }
    }

    /// Counts anew what everyone has that we need, after the selection changed.
    pub(super) fn update_all_interest(&mut self) {
        let Some(picker) = &self.picker else { return };
        for peer in self.peers.values_mut().filter(|p| p.is_active()) {
            peer.useful = picker.missing_in(&peer.has);
            peer.starved = false;
        }
        self.active().into_iter().for_each(|key| self.update_interest(key));
    }

    /// One piece more is here: everyone hears of it who lacks it, and whoever has it is worth less. A super seed hears of
    /// it too, for it waits to hear that what it told us of has come.
    pub(super) fn announce(&mut self, piece: PieceIndex, was_wanted: bool) {
        for key in self.active() {
            let Some(peer) = self.peers.get_mut(&key) else { continue };
            let (has, tells_little) = (peer.has.has(piece), peer.may_hide_pieces());
            if has && was_wanted {
                peer.useful = peer.useful.saturating_sub(1);
                self.update_interest(key);
            }
            if !has || tells_little {
                self.send(key, Command::Have(piece));
            }
        }
    }
}
