//! What a stock peer fetches next: started pieces first, then the rarest, equal ones at random; when all is asked for,
//! the same again of others.

use std::collections::BTreeMap;
use std::sync::Arc;

use samara_proto::bitfield::Bitfield;
use samara_proto::ids::{Block, PeerKey, PieceIndex};
use samara_proto::layout::Layout;
use samara_proto::rng::Rng;

/// Peers asked for one block at a time, when nothing else is left.
const MOST_ASKED: usize = 2;

#[derive(Clone, Debug, Default)]
struct Slot {
    asked: Vec<PeerKey>,
    from: Option<PeerKey>,
}

/// Progress of a stock peer.
#[derive(Debug)]
pub(super) struct Pieces {
    pub(super) layout: Arc<Layout>,
    pub(super) have: Bitfield,
    availability: Vec<u32>,
    started: BTreeMap<PieceIndex, Vec<Slot>>,
    rng: Rng,
}

impl Pieces {
    pub(super) fn new(layout: Arc<Layout>, have: Bitfield, seed: u64) -> Self {
        let availability = vec![0; layout.num_pieces() as usize];
        Self { layout, have, availability, started: BTreeMap::new(), rng: Rng::new(seed) }
    }

    pub(super) fn gained(&mut self, piece: PieceIndex) {
        self.availability[piece.0 as usize] += 1;
    }

    pub(super) fn lost(&mut self, has: &Bitfield) {
        has.iter().for_each(|piece| self.availability[piece.0 as usize] -= 1);
    }

    pub(super) fn lacks_any_of(&self, has: &Bitfield) -> bool {
        has.as_bytes().iter().zip(self.have.as_bytes()).any(|(has, have)| has & !have != 0)
    }

    /// The next block to ask of a peer, noted as asked.
    pub(super) fn next(&mut self, peer: PeerKey, has: &Bitfield) -> Option<Block> {
        let (piece, index) = self
            .free_block(has)
            .or_else(|| self.start(has).map(|piece| (piece, 0)))
            .or_else(|| self.busy_block(peer, has))?;
        self.started.get_mut(&piece)?[index].asked.push(peer);
        Some(self.layout.block(piece, index as u32))
    }

    fn free_block(&self, has: &Bitfield) -> Option<(PieceIndex, usize)> {
        let free = |slot: &Slot| slot.asked.is_empty() && slot.from.is_none();
        let mut mine = self.started.iter().filter(|(piece, _)| has.has(**piece));
        mine.find_map(|(piece, slots)| Some((*piece, slots.iter().position(free)?)))
    }

    fn start(&mut self, has: &Bitfield) -> Option<PieceIndex> {
        let fresh = |piece: &PieceIndex| !self.have.has(*piece) && !self.started.contains_key(piece);
        let rarest = has.iter().filter(fresh).map(|piece| self.availability[piece.0 as usize]).min()?;
        let all = has.iter().filter(fresh).filter(|piece| self.availability[piece.0 as usize] == rarest);
        let all: Vec<_> = all.collect();
        let piece = all[self.rng.index(all.len())];
        self.started.insert(piece, vec![Slot::default(); self.layout.blocks_in(piece) as usize]);
        Some(piece)
    }

    /// One that others were asked for, and only if nothing at all is free.
    fn busy_block(&self, peer: PeerKey, has: &Bitfield) -> Option<(PieceIndex, usize)> {
        let all_asked = self.started.len() as u32 + self.have.count() == self.have.len();
        let busy =
            |slot: &Slot| slot.from.is_none() && slot.asked.len() < MOST_ASKED && !slot.asked.contains(&peer);
        let mut mine = self.started.iter().filter(|(piece, _)| all_asked && has.has(**piece));
        mine.find_map(|(piece, slots)| Some((*piece, slots.iter().position(busy)?)))
    }

    fn slot(&mut self, block: &Block) -> Option<&mut Slot> {
        self.started.get_mut(&block.piece)?.get_mut(block.index() as usize)
    }

    /// A peer will not bring a block.
    pub(super) fn release(&mut self, peer: PeerKey, block: &Block) {
        if let Some(slot) = self.slot(block) {
            slot.asked.retain(|other| *other != peer);
        }
    }

    /// A block came. `None` if nobody needs it, else who else was asked.
    pub(super) fn receive(&mut self, peer: PeerKey, block: &Block) -> Option<Vec<PeerKey>> {
        let slot = self.slot(block).filter(|slot| slot.from.is_none())?;
        slot.from = Some(peer);
        let asked = std::mem::take(&mut slot.asked);
        Some(asked.into_iter().filter(|other| *other != peer).collect())
    }

    /// A whole piece was checked. Returns who sent it, without doubles.
    pub(super) fn settle(&mut self, piece: PieceIndex, ok: bool) -> Vec<PeerKey> {
        let slots = self.started.remove(&piece).unwrap_or_default();
        let mut senders: Vec<_> = slots.iter().filter_map(|slot| slot.from).collect();
        senders.sort_unstable();
        senders.dedup();
        if ok {
            self.have.insert(piece);
        }
        senders
    }
}
