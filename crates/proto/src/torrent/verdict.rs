//! What the storage says of whole pieces: done, or wrong, and then whose fault it was.
//!
//! A piece that is wrong is fetched again, by one peer alone. Who sent all of a wrong piece, or a block that a v2 tree
//! proves wrong, is banned at once. Of several senders none can be told from the others: each gets a strike, and
//! three strikes ban.

use std::collections::BTreeSet;

use super::Torrent;
use super::api::TorrentEvent;
use crate::ids::{PeerKey, PieceIndex};
use crate::peer::{Command, Violation};

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

    /// The storage lost a piece that was not verified: it is fetched anew.
    pub(super) fn on_lost(&mut self, piece: PieceIndex) {
        let (Some(picker), Some(shape)) = (&mut self.picker, &self.shape) else { return };
        let Some(partial) = picker.reject(piece) else { return };
        let layout = shape.layout.clone();
        for (index, peer) in partial.asked() {
            self.take_back(peer, layout.block(piece, index));
        }
        self.kick_soon();
    }

    pub(super) fn on_select(&mut self, wanted: Vec<bool>) {
        self.config.wanted = Some(wanted);
        let Some(layout) = self.layout().cloned() else { return };
        let pieces = self.wanted_pieces(&layout);
        let mut shape = self.shape.take();
        if let Some(shape) = &mut shape {
            shape.hashes.set_wanted(|file| self.wants_file(file));
        }
        self.shape = shape;
        if let Some(picker) = &mut self.picker {
            picker.set_wanted(pieces);
        }
        self.recount_bytes();
        self.update_all_interest();
        self.complete = false;
        self.roster.wake(self.now);
        self.check_complete();
        self.feed_starved();
    }

    /// Counts the bytes that are wanted, and had of these.
    pub(super) fn recount_bytes(&mut self) {
        let Some(picker) = &self.picker else { return };
        let wanted = picker.wanted().iter().map(|piece| (self.wanted_bytes(piece), picker.have().has(piece)));
        let sum = |(done, all), (bytes, had)| (done + if had { bytes } else { 0 }, all + bytes);
        (self.done, self.wanted) = wanted.fold((0, 0), sum);
    }

    /// Bytes of wanted files in a piece.
    fn wanted_bytes(&self, piece: PieceIndex) -> u64 {
        let Some(layout) = self.layout() else { return 0 };
        let spans = layout.spans(piece, 0, layout.piece_length());
        spans.filter(|span| !span.pad && self.wants_file(span.file)).map(|span| u64::from(span.len)).sum()
    }

    /// Says so, once, if all that is wanted is there; from then on peers that have everything are of no use.
    pub(super) fn check_complete(&mut self) {
        let complete = self.picker.as_ref().is_some_and(|picker| picker.missing() == 0);
        if std::mem::replace(&mut self.complete, complete) || !complete {
            return;
        }
        self.tell(TorrentEvent::Complete);
        for key in self.active() {
            self.send(key, Command::UploadOnly(true));
            self.drop_if_useless(key);
        }
    }
}
