//! What the storage says of whole pieces: done, or wrong, and then whose fault it was.
//!
//! Who alone sent a wrong piece is banned at once. Of several senders none can be told from the others yet: what each
//! sent goes on record ([`super::blame`]), they are suspects ([`super::parole`]), and the piece is fetched again by one
//! peer alone. When it is right, the liars are banned.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::Torrent;
use super::api::TorrentEvent;
use super::blame::Sent;
use super::partial::Partial;
use super::roster::host;
use crate::ids::{PeerKey, PieceIndex, Sha256Hash};
use crate::peer::{Command, Departure, Violation};

/// SHA-256 of blocks, by their index in the piece.
type Digests = [(u32, Sha256Hash)];

impl<B> Torrent<B> {
    pub(super) fn on_verified(&mut self, piece: PieceIndex, ok: bool, digests: &Digests) {
        if !self.picker.as_ref().is_some_and(|picker| picker.is_whole(piece)) {
            return;
        }
        if ok {
            self.on_right(piece, digests);
        } else {
            self.on_wrong(piece, digests);
        }
    }

    fn on_right(&mut self, piece: PieceIndex, digests: &Digests) {
        self.acquit(piece, digests);
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

    /// A right piece clears whoever alone sent it, and shows who lied before.
    fn acquit(&mut self, piece: PieceIndex, digests: &Digests) {
        let Some(picker) = self.picker.as_ref().filter(|_| !self.blame.is_empty()) else { return };
        let senders: BTreeSet<_> = picker.senders(piece).map(|(_, peer)| self.addr_of(peer)).collect();
        if let Some(Some(addr)) = sole(senders) {
            self.blame.redeemed(addr);
        }
        let liars = self.blame.proven(piece, digests);
        self.convict(&liars);
    }

    fn on_wrong(&mut self, piece: PieceIndex, digests: &Digests) {
        let (Some(picker), Some(shape)) = (&mut self.picker, &self.shape) else { return };
        let Some(partial) = picker.reject(piece) else { return };
        let came = partial.senders().map(|(index, _)| u64::from(shape.layout.block(piece, index).len));
        self.wasted += came.sum::<u64>();
        self.accuse(piece, &partial, digests);
        self.kick_soon();
    }

    /// A wrong piece convicts whoever alone sent it, and goes on record against several.
    fn accuse(&mut self, piece: PieceIndex, partial: &Partial, digests: &Digests) {
        let senders: BTreeSet<_> = partial.senders().map(|(_, peer)| self.addr_of(peer)).collect();
        let liars = match sole(senders) {
            Some(Some(addr)) => vec![addr],
            // Somebody who left long ago: nobody knows from where it came.
            Some(None) => Vec::new(),
            None => self.blame.failed(piece, &self.sent(partial, digests)),
        };
        self.convict(&liars);
    }

    /// Who sent what, as far as one knows.
    fn sent(&self, partial: &Partial, digests: &Digests) -> Vec<Sent> {
        let digest = |block| digests.binary_search_by_key(&block, |(n, _)| *n).ok().map(|at| digests[at].1);
        let of = |(block, peer)| Some(Sent { block, addr: self.addr_of(peer)?, digest: digest(block) });
        partial.senders().filter_map(of).collect()
    }

    /// Bans the hosts of these addresses, and sends everyone away who comes from there.
    fn convict(&mut self, liars: &[SocketAddr]) {
        for addr in liars {
            self.ban_addr(*addr, Violation::BadPieces);
            let of_host = self.peers.values().filter(|peer| host(peer.addr) == host(*addr));
            let keys: Vec<PeerKey> = of_host.map(|peer| peer.key).collect();
            let reason = Departure::Violation(Violation::BadPieces);
            keys.into_iter().for_each(|key| self.disconnect(key, reason));
        }
        self.review_all();
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

/// The host from which all of these come, if it is but one.
fn sole(senders: BTreeSet<Option<SocketAddr>>) -> Option<Option<SocketAddr>> {
    let hosts: BTreeSet<_> = senders.iter().map(|addr| addr.map(host)).collect();
    if hosts.len() == 1 { senders.into_iter().next() } else { None }
}
