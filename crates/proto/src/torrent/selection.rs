//! What is to be had, how soon, and how much of it is there: priorities, deadlines, completion, and losing what was had
//! (BEP 21, 54).
//!
//! A selection may change at any time. Pieces that were begun stay so, but nothing is asked for that is not wanted; what
//! was asked for already still comes. Complete means that every wanted piece is there: then peers hear that we only
//! upload (BEP 21), and when more is wanted, or something is lost, that this is over. Costs O(pieces) for a selection,
//! O(peers) for the priority or the loss of one piece, and O(peers) for each deadline once a second.

use super::api::{Output, Priority, TorrentEvent};
use super::{Shape, Torrent};
use crate::ids::PieceIndex;
use crate::peer::Command;
use crate::time::Time;

impl<B> Torrent<B> {
    pub(super) fn on_select(&mut self, wanted: Vec<Priority>) {
        self.wishes.set_files(wanted);
        let Some(Shape { layout, hashes, .. }) = &mut self.shape else { return };
        hashes.set_wanted(|file| self.wishes.file(file).is_wanted());
        if let Some(picker) = &mut self.picker {
            picker.set_wanted(self.wishes.resolve(layout));
        }
        self.selected();
    }

    pub(super) fn on_prioritise(&mut self, piece: PieceIndex, priority: Option<Priority>) {
        let Some(layout) = self.layout().filter(|layout| piece.0 < layout.num_pieces()).cloned() else {
            return;
        };
        let before = self.worth(piece);
        self.wishes.set_piece(piece, priority);
        let priority = self.wishes.piece(&layout, piece);
        if let Some(picker) = &mut self.picker {
            picker.prioritise(piece, priority);
        }
        self.revalue(piece, before);
    }

    /// Other files are wanted.
    fn selected(&mut self) {
        self.recount_bytes();
        self.update_all_interest();
        self.roster.wake(self.now);
        self.check_complete();
        self.feed_starved();
    }

    /// What a piece counts for: needed from peers, bytes wanted, bytes had of these.
    fn worth(&self, piece: PieceIndex) -> (bool, u64, u64) {
        let Some(picker) = self.picker.as_ref().filter(|p| p.wanted().has(piece)) else {
            return (false, 0, 0);
        };
        let bytes = self.wanted_bytes(piece);
        (picker.needs(piece), bytes, if picker.have().has(piece) { bytes } else { 0 })
    }

    /// Takes the change of one piece into the books.
    fn revalue(&mut self, piece: PieceIndex, before: (bool, u64, u64)) {
        let now = self.worth(piece);
        self.wanted = self.wanted + now.1 - before.1;
        self.done = self.done + now.2 - before.2;
        for key in self.active() {
            let Some(peer) = self.peers.get_mut(&key).filter(|p| p.has.has(piece)) else { continue };
            peer.useful = (peer.useful + u32::from(now.0)).saturating_sub(before.0.into());
            self.update_interest(key);
        }
        if now.0 && !before.0 {
            self.roster.wake(self.now);
            self.kick_soon();
        }
        self.check_complete();
    }

    pub(super) fn on_deadlines(&mut self, deadlines: &[(PieceIndex, Time)]) {
        let Some(picker) = &mut self.picker else { return };
        if deadlines.is_empty() && !picker.has_deadlines() {
            return;
        }
        picker.set_deadlines(self.now, deadlines);
        self.survey();
        self.feed_starved();
    }

    /// Looks how soon peers could bring what has a deadline. Suspects do not count, nor who is not to bring a piece: others
    /// shall not wait for them.
    pub(super) fn survey(&mut self) {
        if self.picker.as_ref().is_none_or(|picker| !picker.has_deadlines()) {
            return;
        }
        let serving = self.peers.values().filter(|p| p.serves());
        let bounds: Vec<_> = serving.map(|p| (p.key, self.bounds(p.key))).collect();
        let peers = &self.peers;
        let sights = bounds.iter().filter_map(|(key, bounds)| {
            let peer = peers.get(key).filter(|_| bounds.as_ref().is_none_or(|b| !b.confined))?;
            Some((*key, bounds.as_ref().map_or(&peer.has, |b| &b.has), peer.pace().nth(0)))
        });
        if let Some(picker) = &mut self.picker {
            picker.survey(sights);
        }
    }

    /// The storage lost a piece, whole or in the making.
    pub(super) fn on_lost(&mut self, piece: PieceIndex) {
        if self.picker.as_ref().is_some_and(|picker| picker.have().has(piece)) {
            return self.forget(piece);
        }
        let (Some(picker), Some(shape)) = (&mut self.picker, &self.shape) else { return };
        let Some(partial) = picker.reject(piece) else { return };
        let layout = shape.layout.clone();
        self.naming.close(piece);
        // What is stored and not looked at yet would mix with what comes now.
        self.out.push_back(Output::Discard { piece, blocks: None });
        for (index, peer) in partial.asked() {
            self.take_back(peer, layout.block(piece, index));
        }
        self.kick_soon();
    }

    /// A piece that was had is gone: everyone hears of it, and it is fetched again if it is wanted.
    fn forget(&mut self, piece: PieceIndex) {
        let before = self.worth(piece);
        if let Some(picker) = &mut self.picker {
            picker.forget(piece);
        }
        self.active().into_iter().for_each(|key| self.send(key, Command::DontHave(piece)));
        self.stop_hiding();
        self.revalue(piece, before);
    }

    /// A seed that is none any more hides nothing.
    fn stop_hiding(&mut self) {
        self.initial_seed = false;
        let hidden = self.peers.values().filter(|p| p.is_active() && p.offers.is_some());
        let keys: Vec<_> = hidden.map(|p| p.key).collect();
        keys.into_iter().for_each(|key| self.show_all(key));
    }

    /// Counts the bytes that are wanted, and had of these.
    pub(super) fn recount_bytes(&mut self) {
        let Some(picker) = &self.picker else { return };
        let wanted = picker.wanted().iter().map(|piece| (self.wanted_bytes(piece), picker.have().has(piece)));
        let sum = |(done, all), (bytes, had)| (done + if had { bytes } else { 0 }, all + bytes);
        (self.done, self.wanted) = wanted.fold((0, 0), sum);
    }

    /// Bytes of wanted files in a piece; of all its files if the piece was asked for by itself.
    pub(super) fn wanted_bytes(&self, piece: PieceIndex) -> u64 {
        let Some(layout) = self.layout() else { return 0 };
        let whole = self.wishes.own(piece).is_some();
        let spans = layout.spans(piece, 0, layout.piece_length());
        let counts = spans.filter(|span| !span.pad && (whole || self.wants_file(span.file)));
        counts.map(|span| u64::from(span.len)).sum()
    }

    /// Says so if all that is wanted is there, or is not any more. While it is, peers that have everything are of no use.
    pub(super) fn check_complete(&mut self) {
        let complete = self.picker.as_ref().is_some_and(|picker| picker.missing() == 0);
        if std::mem::replace(&mut self.complete, complete) == complete {
            return;
        }
        if complete {
            self.tell(TorrentEvent::Complete);
        }
        for key in self.active() {
            self.send(key, Command::UploadOnly(complete));
            self.drop_if_useless(key);
        }
    }
}
