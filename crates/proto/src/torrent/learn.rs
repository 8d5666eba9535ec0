//! Getting to know the torrent itself: the info dictionary (BEP 9), then the piece layers of v2 files (BEP 52).

use super::api::{Known, TorrentEvent};
use super::hashes::{Hashes, Refused};
use super::metadata::Outcome;
use super::picker::Picker;
use super::{Shape, Torrent};
use crate::bitfield::Bitfield;
use crate::ids::{PeerKey, PieceIndex};
use crate::layout::{Layout, LayoutError};
use crate::merkle::HashRequest;
use crate::metainfo::{Info, PieceLayers};
use crate::peer::{Command, Departure, Violation};
use std::sync::Arc;

impl<B> Torrent<B> {
    /// The info dictionary is known.
    pub(super) fn set_shape(&mut self, known: Known) -> Result<(), LayoutError> {
        let Known { info, piece_layers } = known;
        let layout = Arc::new(Layout::of(&info)?);
        let hashes = Hashes::new(&info, &piece_layers, |file| self.wants_file(file));
        self.hashes = info.hashes();
        self.shape = Some(Shape { info, layout, hashes });
        self.metadata = None;
        Ok(())
    }

    pub(super) fn on_metadata_offer(&mut self, key: PeerKey) {
        let (Some(metadata), Some(peer)) = (&mut self.metadata, self.peers.get(&key)) else { return };
        if let Some(size) = peer.extended.metadata_size.filter(|_| peer.extended.ut_metadata) {
            metadata.offer(self.now, key, size);
            self.ask_metadata(key);
        }
    }

    fn ask_metadata(&mut self, key: PeerKey) {
        while let Some(piece) = self.metadata.as_mut().and_then(|m| m.next(self.now, key)) {
            self.send(key, Command::MetadataRequest(piece));
        }
    }

    pub(super) fn on_metadata(&mut self, key: PeerKey, piece: u32, data: Vec<u8>) {
        let Some(metadata) = &mut self.metadata else { return };
        match metadata.data(self.now, key, piece, data) {
            Outcome::More => self.ask_metadata(key),
            Outcome::Done(raw, liars) => {
                self.on_info(raw.into());
                liars.into_iter().for_each(|liar| self.ban(liar, Violation::BadMetadata));
            }
            Outcome::Liar(liar) => self.ban(liar, Violation::BadMetadata),
        }
    }

    pub(super) fn on_metadata_reject(&mut self, key: PeerKey, piece: u32) {
        if let Some(metadata) = &mut self.metadata {
            metadata.rejected(self.now, key, piece);
            self.ask_everyone();
        }
    }

    /// The info dictionary came, and hashes to what it should.
    fn on_info(&mut self, raw: Arc<[u8]>) {
        self.metadata = None;
        let info = match Info::parse(raw) {
            Ok(info) => Arc::new(info),
            Err(error) => return self.tell(TorrentEvent::BadInfo(error)),
        };
        if self.set_shape(Known { info: info.clone(), piece_layers: PieceLayers::new() }).is_err() {
            return;
        }
        self.heed_private();
        let pieces = info.num_pieces();
        self.tell(TorrentEvent::Metadata(info));
        let keys: Vec<_> = self.peers.keys().copied().collect();
        keys.into_iter().for_each(|key| self.resolve_early(key, pieces));
        self.ask_everyone();
    }

    /// Tells a peer's connection the shape, and reads what the peer said before it was known.
    fn resolve_early(&mut self, key: PeerKey, pieces: u32) {
        let Some(peer) = self.peers.get_mut(&key).filter(|p| p.closing.is_none()) else { return };
        match std::mem::take(&mut peer.early).resolve(pieces) {
            Some(has) => peer.has = has,
            None => return self.disconnect(key, Departure::Violation(Violation::MalformedMessage)),
        }
        if let Some(command) = self.layout_command() {
            self.send(key, command);
        }
    }

    /// The storage is open: now pieces can be asked for.
    pub(super) fn on_ready(&mut self, have: Bitfield) {
        let (Some(shape), None) = (&self.shape, &self.picker) else { return };
        let layout = shape.layout.clone();
        let pieces = layout.num_pieces();
        let have = if have.len() == pieces { have } else { Bitfield::new(pieces) };
        let mut provable = Bitfield::new(pieces);
        for piece in (0..pieces).map(PieceIndex).filter(|piece| shape.is_provable(*piece)) {
            provable.insert(piece);
        }
        let wanted = self.wishes.resolve(&layout);
        let (sequential, seed) = (self.config.sequential, self.rng.next_u64());
        let picker = Picker::new(layout, have, wanted, provable, sequential, seed);
        let had: Vec<_> = picker.have().iter().collect();
        self.picker = Some(picker);
        self.recount_bytes();
        self.initial_seed = self.have().is_some_and(Bitfield::is_full);
        for key in self.active() {
            had.iter().for_each(|piece| self.send(key, Command::Have(*piece)));
            self.recount(key);
        }
        self.check_complete();
    }

    /// Asks a peer for hashes, as long as there are unknown ones.
    pub(super) fn ask_hashes(&mut self, key: PeerKey) {
        let speaks = self.peers.get(&key).is_some_and(|p| p.is_active() && p.hello.is_some_and(|h| h.v2));
        let Some(shape) = self.shape.as_mut().filter(|_| speaks) else { return };
        let requests: Vec<_> = std::iter::from_fn(|| shape.hashes.next(self.now, key)).collect();
        requests.into_iter().for_each(|request| self.send(key, Command::HashRequest(request)));
    }

    pub(super) fn on_hashes(&mut self, key: PeerKey, request: &HashRequest, hashes: &[u8]) {
        if self.on_leaf_hashes(key, request, hashes) {
            return;
        }
        let Some(shape) = &mut self.shape else { return };
        let layout = shape.layout.clone();
        match shape.hashes.accept(&layout, key, request, hashes) {
            Ok(pieces) => self.on_provable(&pieces),
            Err(Refused::Wrong) => self.ban(key, Violation::BadHashes),
            Err(Refused::Unasked) => {}
        }
        self.ask_hashes(key);
    }

    /// The hashes of these pieces became known.
    fn on_provable(&mut self, pieces: &[PieceIndex]) {
        if let Some(picker) = &mut self.picker {
            pieces.iter().for_each(|piece| picker.set_provable(*piece));
        }
        self.kick_soon();
        if let Some(shape) = self.shape.as_ref().filter(|s| s.hashes.is_complete()) {
            let layers = shape.hashes.layers();
            self.tell(TorrentEvent::Layers(layers));
        }
    }

    pub(super) fn on_hash_reject(&mut self, key: PeerKey, request: &HashRequest) {
        self.on_no_leaves(key, Some(request));
        if let Some(shape) = &mut self.shape {
            shape.hashes.rejected(self.now, key, request);
            self.ask_everyone();
        }
    }

    pub(super) fn expire_questions(&mut self) {
        self.expire_leaves();
        if let Some(metadata) = &mut self.metadata {
            metadata.expire(self.now);
        }
        if let Some(shape) = &mut self.shape {
            shape.hashes.expire(self.now);
        }
        self.ask_everyone();
    }

    /// Asks everyone for what is not known of the torrent itself.
    pub(super) fn ask_everyone(&mut self) {
        let complete = self.shape.as_ref().is_some_and(|s| s.hashes.is_complete());
        if self.metadata.is_none() && (complete || self.stopped) {
            return;
        }
        for key in self.active() {
            self.ask_metadata(key);
            self.ask_hashes(key);
        }
    }
}
