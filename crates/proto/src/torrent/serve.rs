//! Serving others: who is unchoked, and answers to their questions (BEP 3, 9, 52).
//!
//! Blocks themselves are served by the connections.

use super::Torrent;
use super::choker::{Chosen, Contender, next_in_line};
use super::peer::Peer;
use super::seeding::Offers;
use crate::ids::PeerKey;
use crate::merkle::HashRequest;
use crate::peer::Command;
use crate::time::Time;

/// While we have fewer pieces, no more than this many peers are served at once.
const YOUNG: (u32, usize) = (4, 2);

/// Those who are told piece by piece what to fetch keep their turns: who loses a slot leaves a piece half sent, which
/// then leaves a second time for somebody else.
fn contender(now: Time, peer: &mut Peer) -> Contender {
    let told = peer.offers.is_some();
    Contender {
        peer: peer.key,
        gave: peer.gave.get(now),
        ever_gave: told || peer.ever_gave(),
        credit: peer.credit(),
        dodged: peer.dodged,
        sluggish: peer.sluggish,
        selfish: peer.offers.as_ref().is_some_and(Offers::keeps_to_itself),
        pieces: if told { 0 } else { peer.has.count() },
        slot_since: peer.slot_since,
        last_turn: peer.last_turn,
        served: !peer.peer_choked,
    }
}

impl<B> Torrent<B> {
    pub(super) fn on_sent(&mut self, key: PeerKey, payload: u32) {
        self.up.add(payload.into());
        if let Some(peer) = self.peers.get_mut(&key) {
            peer.up.add(payload.into());
            peer.seat.took(self.now);
        }
        self.on_offers_sent(key, payload);
    }

    pub(super) fn on_interested(&mut self, key: PeerKey, interested: bool) {
        if let Some(peer) = self.peers.get_mut(&key) {
            peer.peer_interested = interested;
        }
        self.consider(key);
        self.grant_fast(key);
        if !interested {
            self.drop_if_useless(key);
        }
    }

    /// A peer that begins to want something is served at once if a slot is free; one that stops frees its slot.
    pub(super) fn consider(&mut self, key: PeerKey) {
        let Some(peer) = self.peers.get(&key) else { return };
        match (peer.wants(), peer.peer_choked) {
            (true, true) if self.served() < self.slot_count() => self.set_choked(key, false),
            (false, false) => {
                self.set_choked(key, true);
                self.fill_slots();
            }
            _ => {}
        }
    }

    /// How many to serve at once. Few as long as we have little: a crowd in which nobody has anything yet grows by whole
    /// pieces, which leave the sooner the fewer share the line.
    fn slot_count(&self) -> usize {
        let slots = self.slots.count();
        let (pieces, most) = YOUNG;
        let young = self.config.upload_slots.is_none()
            && !self.complete
            && self.have().is_some_and(|have| have.count() < pieces);
        if young { slots.min(most) } else { slots }
    }

    /// Peers that use a slot.
    fn served(&self) -> usize {
        self.peers.values().filter(|p| p.wants() && !p.peer_choked).count()
    }

    fn set_choked(&mut self, key: PeerKey, choked: bool) {
        let Some(peer) = self.peers.get_mut(&key).filter(|p| p.is_active()) else { return };
        if std::mem::replace(&mut peer.peer_choked, choked) == choked {
            return;
        }
        peer.slot_since = self.now;
        self.send(key, Command::Choke(choked));
        self.count_offers(key, !choked);
        self.offer_more(key);
    }

    /// Gives free slots to those who wait.
    pub(super) fn fill_slots(&mut self) {
        let free = self.slot_count().saturating_sub(self.served());
        if free == 0 {
            return;
        }
        let now = self.now;
        let waiting = self.peers.values_mut().filter(|p| p.wants() && p.peer_choked);
        let waiting = waiting.map(|p| contender(now, p)).collect();
        let next = next_in_line(waiting, free, self.slots.turn());
        next.into_iter().for_each(|key| self.set_choked(key, false));
    }

    /// Gives the slots anew.
    pub(super) fn rechoke(&mut self) {
        let now = self.now;
        let turn = self.slots.turn();
        self.peers.values_mut().for_each(|peer| peer.review(now, turn));
        let wanting = self.peers.values_mut().filter(|p| p.wants());
        let contenders: Vec<_> = wanting.map(|p| contender(now, p)).collect();
        self.slots.climb(now, self.up.get(), contenders.len() > self.slot_count());
        let everyone: Vec<_> = contenders.iter().map(|c| c.peer).collect();
        let slots = self.slot_count();
        let chosen = self.choker.choose(now, contenders, slots, turn, self.complete);
        self.note_turns(&chosen);
        let (served, choked): (Vec<PeerKey>, Vec<PeerKey>) =
            everyone.into_iter().partition(|key| chosen.served.contains(key));
        choked.into_iter().for_each(|key| self.set_choked(key, true));
        served.into_iter().for_each(|key| self.set_choked(key, false));
    }

    fn note_turns(&mut self, chosen: &Chosen) {
        for key in &chosen.turns {
            if let Some(peer) = self.peers.get_mut(key) {
                peer.last_turn = Some(self.now);
            }
        }
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
        if self.read_leaves(key, &request) {
            return;
        }
        let answer = self.shape.as_ref().and_then(|shape| shape.hashes.answer(&request));
        let command = match answer {
            Some(hashes) => Command::Hashes(request, hashes),
            None => Command::HashReject(request),
        };
        self.send(key, command);
    }
}
