//! Serving others: who is unchoked, and answers to their questions (BEP 3, 9, 52).
//!
//! Blocks themselves are served by the connections.

use super::Torrent;
use super::choker::Contender;
use crate::ids::PeerKey;
use crate::merkle::HashRequest;
use crate::peer::Command;

impl<B> Torrent<B> {
    pub(super) fn on_sent(&mut self, key: PeerKey, payload: u32) {
        self.up.add(payload.into());
        if let Some(peer) = self.peers.get_mut(&key) {
            peer.up.add(payload.into());
        }
    }

    /// A peer that begins to want something is served at once if a slot is free; one that stops frees its slot.
    pub(super) fn on_interested(&mut self, key: PeerKey, interested: bool) {
        if let Some(peer) = self.peers.get_mut(&key) {
            peer.peer_interested = interested;
        }
        if interested {
            let free = self.served() < self.choker.slots();
            self.set_choked(key, !free);
        } else {
            self.set_choked(key, true);
            self.fill_slots();
            self.drop_if_useless(key);
        }
    }

    /// Peers that use a slot.
    fn served(&self) -> usize {
        self.peers.values().filter(|p| p.is_active() && p.peer_interested && !p.peer_choked).count()
    }

    fn set_choked(&mut self, key: PeerKey, choked: bool) {
        let Some(peer) = self.peers.get_mut(&key).filter(|p| p.is_active()) else { return };
        if std::mem::replace(&mut peer.peer_choked, choked) != choked {
            self.send(key, Command::Choke(choked));
        }
    }

    /// Gives free slots to those who wait, the longest since their last turn first.
    pub(super) fn fill_slots(&mut self) {
        let free = self.choker.slots().saturating_sub(self.served());
        let waiting = self.peers.values().filter(|p| p.is_active() && p.peer_interested && p.peer_choked);
        let mut waiting: Vec<_> = waiting.map(|p| (p.last_turn, p.key)).collect();
        waiting.sort_unstable();
        waiting.into_iter().take(free).for_each(|(_, key)| self.set_choked(key, false));
    }

    /// Gives the slots anew.
    pub(super) fn rechoke(&mut self) {
        let wanting = self.peers.values().filter(|p| p.is_active() && p.peer_interested);
        let contenders: Vec<_> = wanting
            .map(|p| {
                let rate = if self.complete { p.up.get() } else { p.down.get() };
                Contender { peer: p.key, rate, last_turn: p.last_turn }
            })
            .collect();
        let everyone: Vec<_> = contenders.iter().map(|c| c.peer).collect();
        let mut turns = Vec::new();
        let chosen = self.choker.choose(self.now, contenders, &mut turns);
        for key in turns {
            if let Some(peer) = self.peers.get_mut(&key) {
                peer.last_turn = Some(self.now);
            }
        }
        everyone.into_iter().for_each(|key| self.set_choked(key, !chosen.contains(&key)));
    }

    pub(super) fn on_metadata_request(&mut self, key: PeerKey, piece: u32) {
        let info = self.info().map(|info| info.raw().clone());
        let command = match info {
            Some(info) if u64::from(piece) * (16 * 1024) < info.len() as u64 => {
                Command::MetadataData { piece, info }
            }
            _ => Command::MetadataReject(piece),
        };
        self.send(key, command);
    }

    pub(super) fn on_hash_request(&mut self, key: PeerKey, request: HashRequest) {
        let answer = self.shape.as_ref().and_then(|shape| shape.hashes.answer(&request));
        let command = match answer {
            Some(hashes) => Command::Hashes(request, hashes),
            None => Command::HashReject(request),
        };
        self.send(key, command);
    }
}
