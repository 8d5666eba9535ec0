//! What the storage says of whole pieces: done, or wrong, and then whose fault it was.
//!
//! Who alone sent a wrong piece is banned at once. Of several senders none can be told from the others yet: what each
//! sent goes on record ([`super::blame`]), and they are suspects ([`super::parole`]). If the piece's hash tree tells the
//! wrong blocks from the right ones ([`super::naming`]), the liars are banned and only the wrong ones come again. Else
//! the piece is fetched again by one peer alone; when it is right, the liars are banned.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::Torrent;
use super::api::{Output, TorrentEvent};
use super::blame::Sent;
use super::hosts::host;
use crate::ids::{PeerKey, PieceIndex, Sha256Hash};
use crate::peer::{Departure, Violation};

/// SHA-256 of blocks, by their index in the piece.
pub(super) type Digests = [(u32, Sha256Hash)];

impl<B> Torrent<B> {
    pub(super) fn on_verified(&mut self, piece: PieceIndex, ok: bool, digests: &Digests) {
        let due = self.picker.as_ref().is_some_and(|picker| picker.is_whole(piece));
        if !due || self.naming.is_open(piece) {
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
        self.naming.close(piece);
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
        let liars = self.accuse(piece, digests);
        self.convict(&liars);
        if self.naming.known(piece).is_some() {
            self.mend(piece, digests);
        } else if !self.ask_leaves(piece, digests) {
            self.refetch(piece);
        }
    }

    /// A wrong piece convicts whoever alone sent it, and goes on record against several.
    fn accuse(&mut self, piece: PieceIndex, digests: &Digests) -> Vec<SocketAddr> {
        let Some(picker) = &self.picker else { return Vec::new() };
        let sent: Vec<_> = picker.senders(piece).collect();
        let senders: BTreeSet<_> = sent.iter().map(|(_, peer)| self.addr_of(*peer)).collect();
        match sole(senders) {
            Some(Some(addr)) => vec![addr],
            // Somebody who left long ago: nobody knows from where it came.
            Some(None) => Vec::new(),
            None => self.blame.failed(piece, &self.testimony(sent, digests)),
        }
    }

    /// Who sent what, as far as one knows.
    fn testimony(&self, sent: Vec<(u32, PeerKey)>, digests: &Digests) -> Vec<Sent> {
        let digest = |block| digests.binary_search_by_key(&block, |(n, _)| *n).ok().map(|at| digests[at].1);
        let of = |(block, peer)| Some(Sent { block, addr: self.addr_of(peer)?, digest: digest(block) });
        sent.into_iter().filter_map(of).collect()
    }

    /// All of a wrong piece is fetched anew.
    pub(super) fn refetch(&mut self, piece: PieceIndex) {
        self.naming.close(piece);
        let (Some(picker), Some(shape)) = (&mut self.picker, &self.shape) else { return };
        let Some(partial) = picker.reject(piece) else { return };
        let came = partial.senders().map(|(index, _)| u64::from(shape.layout.block(piece, index).len));
        self.wasted += came.sum::<u64>();
        self.out.push_back(Output::Discard { piece, blocks: None });
        self.kick_soon();
    }

    /// Some blocks of a wrong piece are fetched anew; the others are proven right. If it is none of them, something else
    /// is wrong: the halves of a hybrid disagree, or a block could not be read back.
    pub(super) fn refetch_blocks(&mut self, piece: PieceIndex, wrong: &[u32]) {
        let (Some(picker), Some(shape)) = (&mut self.picker, &self.shape) else { return };
        let blocks: Vec<_> = picker.senders(piece).map(|(n, _)| n).filter(|n| wrong.contains(n)).collect();
        if blocks.is_empty() {
            return self.refetch(piece);
        }
        picker.spoil(piece, &blocks);
        self.wasted += blocks.iter().map(|n| u64::from(shape.layout.block(piece, *n).len)).sum::<u64>();
        self.out.push_back(Output::Discard { piece, blocks: Some(blocks) });
        self.kick_soon();
    }

    /// Bans the hosts of these addresses, and sends everyone away who comes from there.
    pub(super) fn convict(&mut self, liars: &[SocketAddr]) {
        for addr in liars {
            self.ban_addr(*addr, Violation::BadPieces);
            let of_host = self.peers.values().filter(|peer| host(peer.addr) == host(*addr));
            let keys: Vec<PeerKey> = of_host.map(|peer| peer.key).collect();
            let reason = Departure::Violation(Violation::BadPieces);
            keys.into_iter().for_each(|key| self.disconnect(key, reason));
        }
        self.review_all();
    }
}

/// The host from which all of these come, if it is but one.
fn sole(senders: BTreeSet<Option<SocketAddr>>) -> Option<Option<SocketAddr>> {
    let hosts: BTreeSet<_> = senders.iter().map(|addr| addr.map(host)).collect();
    if hosts.len() == 1 { senders.into_iter().next() } else { None }
}
