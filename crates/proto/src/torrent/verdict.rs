//! What the storage says of whole pieces: done, or wrong, and then whose fault it was.
//!
//! A piece that is wrong is fetched again, by one peer alone. Who sent all of a wrong piece, or a block that a v2 tree
//! proves wrong, is banned at once. Of several senders none can be told from the others: each gets a strike, and
//! three strikes ban.

use std::collections::BTreeSet;

use super::Torrent;
use super::api::TorrentEvent;
use crate::ids::{PeerKey, PieceIndex};
use crate::peer::Violation;

impl<B> Torrent<B> {
    pub(super) fn on_verified(&mut self, piece: PieceIndex, ok: bool, bad: &[u32]) {
        if !self.picker.as_ref().is_some_and(|picker| picker.is_whole(piece)) {
            return;
        }
        if ok {
            self.on_right(piece);
        } else {
            self.on_wrong(piece, bad);
        }
    }

    fn on_right(&mut self, piece: PieceIndex) {
        let Some(picker) = &mut self.picker else { return };
        let wanted = picker.wanted().has(piece);
        if !picker.accept(piece) {
            return;
        }
        self.done += self.wanted_bytes(piece);
        self.tell(TorrentEvent::PieceDone(piece));
        self.announce(piece, wanted);
        self.check_complete();
    }

    fn on_wrong(&mut self, piece: PieceIndex, bad: &[u32]) {
        let (Some(picker), Some(shape)) = (&mut self.picker, &self.shape) else { return };
        let Some(partial) = picker.reject(piece) else { return };
        let came = partial.senders().map(|(index, _)| u64::from(shape.layout.block(piece, index).len));
        self.wasted += came.sum::<u64>();
        let senders: BTreeSet<_> = partial.senders().map(|(_, peer)| peer).collect();
        let liars: BTreeSet<_> =
            partial.senders().filter(|(index, _)| bad.contains(index)).map(|(_, peer)| peer).collect();
        if !liars.is_empty() {
            self.punish(&liars);
        } else if senders.len() == 1 {
            self.punish(&senders);
        } else {
            self.suspect(&senders);
        }
        self.kick_soon();
    }

    fn punish(&mut self, liars: &BTreeSet<PeerKey>) {
        liars.iter().for_each(|key| self.ban(*key, Violation::BadPieces));
    }

    fn suspect(&mut self, senders: &BTreeSet<PeerKey>) {
        for key in senders {
            if self.addr_of(*key).is_some_and(|addr| self.roster.strike(addr)) {
                self.ban(*key, Violation::BadPieces);
            }
        }
    }
}
