//! Asking for blocks and taking them: the hot path.
//!
//! Per block: the request is found (mostly the first), the picker marks it, the handle goes on, and when a quarter of
//! the peer's window is free the next blocks are asked for at once. Nothing here looks at all peers or pieces, but
//! the end game and the timers.

use super::api::{Expected, Output};
use super::peer::Overdue;
use super::picker::{Asker, Received};
use super::{KICK, Shape, Torrent};
use crate::ids::{Block, PeerKey, PieceIndex};
use crate::peer::Command;
use std::time::Duration;

/// A peer that refuses without choking is not asked for so long.
const HOLD: Duration = Duration::from_secs(1);
/// A peer from which everything was taken back is not asked for so long.
const LONG_HOLD: Duration = Duration::from_secs(30);
/// So long after a peer's bytes waited for us there is no end game: it is we who are late, and twice is later still. Three
/// times as long as between two reports of it.
const HELD: Duration = Duration::from_secs(3);

impl Shape {
    /// What a piece must hash to.
    pub(super) fn expected(&self, piece: PieceIndex) -> Expected {
        Expected { v1: self.info.piece_hash_v1(piece), v2: self.expected_v2(piece) }
    }

    fn expected_v2(&self, piece: PieceIndex) -> Option<crate::ids::Sha256Hash> {
        if !self.info.format().has_v2() {
            return None;
        }
        let at = self.layout.file_piece(piece)?;
        let entry = self.info.files().get(at.file.0 as usize)?;
        if entry.length <= u64::from(self.info.piece_length()) {
            return entry.pieces_root;
        }
        self.hashes.piece_hash(at.file, at.index)
    }

    /// Whether a piece can be checked.
    pub(super) fn is_provable(&self, piece: PieceIndex) -> bool {
        self.info.format().has_v1() || self.expected_v2(piece).is_some()
    }
}

impl<B> Torrent<B> {
    pub(super) fn on_choke(&mut self, key: PeerKey, choked: bool) {
        if let Some(peer) = self.peers.get_mut(&key) {
            peer.choked = choked;
            peer.starved = false;
        }
        self.refill(key);
    }

    pub(super) fn on_block(&mut self, key: PeerKey, block: Block, data: B) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        self.down.add(block.len.into());
        peer.brought(self.now, block);
        let mut others = Vec::new();
        let received = match &mut self.picker {
            Some(picker) => picker.receive(block, key, &mut others),
            None => Received::Wasted,
        };
        match (received, &self.shape) {
            (Received::New | Received::Whole, Some(shape)) => {
                let expected = shape.expected(block.piece);
                let suspected = self.blame.awaits(block.piece);
                self.out.push_back(Output::Store { peer: key, block, data, expected, suspected });
            }
            _ => self.wasted += u64::from(block.len),
        }
        others.into_iter().for_each(|other| self.take_back(other, block));
        self.refill(key);
    }

    /// What a peer sent waits for us: it is not silent, and nobody else would bring it sooner.
    pub(super) fn on_held(&mut self, key: PeerKey) {
        self.held = Some(self.now);
        if let Some(peer) = self.peers.get_mut(&key) {
            peer.held(self.now);
        }
    }

    /// A block that another peer brought need not come any more.
    pub(super) fn take_back(&mut self, key: PeerKey, block: Block) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        if peer.forget(&block).is_some() && peer.is_active() {
            self.send(key, Command::Cancel(block));
            self.refill(key);
        }
    }

    /// For how many blocks a peer may be asked now; `None` if for none.
    fn room(&self, key: PeerKey) -> Option<usize> {
        let room = self.peers.get(&key)?.room(self.now);
        (room > 0 && !self.paused).then_some(room)
    }

    /// Asks a peer for more, if a good part of its window is free.
    pub(super) fn refill(&mut self, key: PeerKey) {
        let Some(room) = self.room(key) else { return };
        let bounds = self.bounds(key);
        let (Some(picker), Some(shape)) = (&mut self.picker, &self.shape) else { return };
        let Some(peer) = self.peers.get_mut(&key) else { return };
        let mut blocks = Vec::with_capacity(room);
        let late = self.held.is_some_and(|at| self.now.since(at) < HELD);
        let (fast, idle) = (peer.is_fast(shape.info.piece_length()), peer.is_idle() && !late);
        let (now, pace, snubbed) = (self.now, peer.pace(), peer.window.is_snubbed());
        let (has, confined) = bounds.as_ref().map_or((&peer.has, false), |b| (&b.has, b.confined));
        let current = &mut peer.current;
        let mut asker = Asker { peer: key, has, fast, snubbed, idle, confined, pace, now, current };
        if peer.choked {
            picker.pick_of(&peer.allowed, &asker, room, &mut blocks);
        } else {
            picker.pick(&mut asker, room, &mut blocks);
        }
        peer.starved = blocks.len() < room;
        peer.asked(self.now, &blocks);
        let requests = blocks.into_iter().map(Command::Request);
        self.out.extend(requests.map(|command| Output::Send { peer: key, command }));
    }

    pub(super) fn on_rejected(&mut self, key: PeerKey, block: Block) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        if peer.forget(&block).is_none() {
            return;
        }
        peer.allowed.remove(&block.piece);
        if !peer.choked {
            peer.held_until = self.now + HOLD;
            peer.starved = true;
        }
        self.free(key, block);
    }

    /// Gives back a block that a peer will not bring.
    fn free(&mut self, key: PeerKey, block: Block) {
        if self.picker.as_mut().is_some_and(|picker| picker.release(block, key)) {
            self.kick_soon();
        }
    }

    /// Gives back what a peer was asked for, but the first `keep` blocks. Returns it.
    pub(super) fn release_requests(&mut self, key: PeerKey, keep: usize) -> Vec<Block> {
        let Some(peer) = self.peers.get_mut(&key) else { return Vec::new() };
        let blocks = peer.forget_after(keep);
        let current = peer.current.take();
        blocks.iter().for_each(|block| self.free(key, *block));
        if let (Some(picker), Some(piece)) = (&mut self.picker, current) {
            picker.disown(piece, key);
            self.kick_soon();
        }
        blocks
    }

    /// As [`Self::release_requests`], and tells the peer.
    pub(super) fn cancel_requests(&mut self, key: PeerKey, keep: usize) {
        for block in self.release_requests(key, keep) {
            self.send(key, Command::Cancel(block));
        }
    }

    pub(super) fn kick_soon(&mut self) {
        self.kick = self.kick.or(Some(self.now + KICK));
    }

    /// Asks those for more that had too little to do.
    pub(super) fn feed_starved(&mut self) {
        for key in self.active() {
            if let Some(peer) = self.peers.get_mut(&key) {
                peer.starved = false;
            }
            self.refill(key);
        }
    }

    /// Takes blocks away from peers that do not bring them.
    pub(super) fn chase_silent(&mut self) {
        let end_game = self.picker.as_ref().is_some_and(|picker| picker.all_asked(self.now));
        let serving = self.peers.values().filter(|p| p.serves()).count();
        for key in self.active() {
            let Some(peer) = self.peers.get_mut(&key) else { continue };
            let others = serving > usize::from(peer.serves());
            match peer.overdue(self.now, end_game && others) {
                Overdue::Nothing => {}
                Overdue::Snub => {
                    peer.window.snub();
                    self.cancel_requests(key, 1);
                }
                Overdue::GiveUp => {
                    peer.window.snub();
                    peer.held_until = self.now + LONG_HOLD;
                    self.cancel_requests(key, 0);
                }
            }
        }
    }

    pub(super) fn on_pause(&mut self) {
        self.paused = true;
        self.active().into_iter().for_each(|key| self.cancel_requests(key, 0));
    }

    pub(super) fn on_resume(&mut self) {
        self.paused = false;
        self.feed_starved();
    }
}
