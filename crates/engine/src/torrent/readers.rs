//! Users who read pieces, and wait for those that are not there yet.
//!
//! The piece that somebody waits for is due at once, and those that follow it, up to [`AHEAD`] bytes, one after the other
//! at the rate at which everything comes just now: sooner they cannot all be there, and a reader that is slower finds
//! them waiting. Each reader is known by the piece it is at: one that asks for a piece within that stretch has moved on;
//! other pieces are another reader, or one that jumped. At most [`MAX_PLACES`] are known, each for [`PLACE_LIFE`] after
//! it last read, so that one that jumped away does not hold up what it reads now for long.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use samara_proto::bitfield::Bitfield;
use samara_proto::ids::{Block, PieceIndex};
use samara_proto::layout::Layout;
use samara_proto::time::Time;
use tokio::sync::oneshot;

use crate::disk::{Buf, StorageHandle};
use crate::handle::ReadError;

/// Where the bytes of a piece go.
pub(super) type Reply = oneshot::Sender<Result<Vec<u8>, ReadError>>;

/// Readers that wait, by piece. At most [`MAX_READERS`] in all.
#[derive(Default)]
pub(super) struct Readers {
    waiting: BTreeMap<PieceIndex, Vec<Reply>>,
    count: usize,
    /// Where readers are, the one that read last at the end.
    places: Vec<Place>,
}

/// Where a reader is.
#[derive(Clone, Copy, Debug)]
struct Place {
    piece: PieceIndex,
    since: Time,
}

/// More than any program has pieces to look at.
const MAX_READERS: usize = 1024;
/// Bytes that a reader looks ahead; at least two pieces and at most sixteen.
const AHEAD: u64 = 8 << 20;
/// Readers for which one looks ahead.
const MAX_PLACES: usize = 4;
/// A reader that reads nothing for so long is gone.
const PLACE_LIFE: Duration = Duration::from_secs(10);
/// The least rate that is reckoned with, bytes a second.
const LEAST_RATE: u64 = 16 << 10;

impl Readers {
    /// Keeps a reader until its piece is there. One too many is refused by dropping its reply.
    pub(super) fn wait(&mut self, piece: PieceIndex, reply: Reply) {
        if self.count >= MAX_READERS {
            self.forget_the_gone();
        }
        if self.count < MAX_READERS {
            self.count += 1;
            self.waiting.entry(piece).or_default().push(reply);
        }
    }

    /// Those who do not wait any more make room for others.
    fn forget_the_gone(&mut self) {
        self.waiting.values_mut().for_each(|replies| replies.retain(|reply| !reply.is_closed()));
        self.waiting.retain(|_, replies| !replies.is_empty());
        self.count = self.waiting.values().map(Vec::len).sum();
    }

    /// Notes that somebody reads `piece`.
    pub(super) fn note(&mut self, now: Time, piece: PieceIndex, layout: &Layout) {
        self.places.retain(|place| !stretch(place.piece, layout).contains(&piece.0));
        if self.places.len() == MAX_PLACES {
            self.places.remove(0);
        }
        self.places.push(Place { piece, since: now });
    }

    /// Forgets who is gone. True if somebody was.
    pub(super) fn expire(&mut self, now: Time) -> bool {
        let before = self.places.len();
        let waiting = &self.waiting;
        let waits = |piece| waiting.get(&piece).is_some_and(|replies| replies.iter().any(|r| !r.is_closed()));
        self.places.retain(|place| now.since(place.since) < PLACE_LIFE || waits(place.piece));
        self.places.len() != before
    }

    /// By when pieces should be there, if `rate` bytes come a second.
    pub(super) fn deadlines(
        &self,
        now: Time,
        layout: &Layout,
        have: &Bitfield,
        rate: u64,
    ) -> Vec<(PieceIndex, Time)> {
        let each = u64::from(layout.piece_length()) * 1_000_000 / rate.max(LEAST_RATE);
        let places = self.places.iter().flat_map(|place| {
            let missing = stretch(place.piece, layout).map(PieceIndex).filter(|piece| !have.has(*piece));
            missing.zip(0u32..).map(|(piece, n)| (piece, now + Duration::from_micros(each) * n))
        });
        places.collect()
    }

    /// Those who waited for `piece`.
    pub(super) fn take(&mut self, piece: PieceIndex) -> Vec<Reply> {
        let ready = self.waiting.remove(&piece).unwrap_or_default();
        self.count -= ready.len();
        ready
    }

    /// Whether nobody waits.
    pub(super) fn is_empty(&mut self) -> bool {
        self.forget_the_gone();
        self.count == 0
    }

    /// Everybody who waits.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = (PieceIndex, Reply)> + use<> {
        self.count = 0;
        let waiting = std::mem::take(&mut self.waiting);
        waiting.into_iter().flat_map(|(piece, replies)| replies.into_iter().map(move |reply| (piece, reply)))
    }
}

/// The pieces that a reader needs next.
fn stretch(piece: PieceIndex, layout: &Layout) -> Range<u32> {
    let pieces = (AHEAD / u64::from(layout.piece_length())).clamp(2, 16) as u32;
    piece.0..piece.0.saturating_add(pieces).min(layout.num_pieces())
}

/// Reads a verified piece.
pub(super) fn serve(
    storage: &StorageHandle,
    layout: &Layout,
    piece: PieceIndex,
    reply: Reply,
) -> impl Future<Output = ()> + Send + use<> {
    let len = layout.piece_len(piece) as usize;
    let blocks = storage.read(layout.blocks(piece).collect());
    async move {
        // What no block brings lies in a pad file and is zero.
        let mut bytes = vec![0; len];
        let mut copy = |(block, data): (Block, Option<Buf>)| {
            let target = &mut bytes[block.offset as usize..][..block.len as usize];
            data.map(|data| target.copy_from_slice(&data))
        };
        let all = blocks.await.into_iter().all(|read| copy(read).is_some());
        let _ = reply.send(if all { Ok(bytes) } else { Err(ReadError::Disk) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(secs: u64) -> Time {
        Time::from_micros(secs * 1_000_000)
    }

    #[test]
    fn a_reader_that_moves_on_is_the_same_and_one_that_jumps_is_forgotten() {
        // 64 pieces of 1 MiB, of which 8 are looked ahead.
        let layout = Layout::new(1 << 20, [(64 << 20, false)], false).unwrap();
        let (mut readers, mut have) = (Readers::default(), Bitfield::new(64));
        have.insert(PieceIndex(4));
        readers.note(at(0), PieceIndex(0), &layout);
        readers.note(at(1), PieceIndex(3), &layout);
        let due = |readers: &Readers, now| {
            let deadlines = readers.deadlines(now, &layout, &have, 1 << 20);
            deadlines
                .into_iter()
                .map(|(piece, time)| (piece.0, time.since(now).as_secs()))
                .collect::<Vec<_>>()
        };
        assert_eq!(due(&readers, at(1)), [(3, 0), (5, 1), (6, 2), (7, 3), (8, 4), (9, 5), (10, 6)]);
        readers.note(at(5), PieceIndex(62), &layout);
        assert_eq!(due(&readers, at(5)).len(), 9);
        assert!(readers.expire(at(11)) && !readers.expire(at(11)));
        assert_eq!(due(&readers, at(11)), [(62, 0), (63, 1)]);
    }

    #[test]
    fn one_who_waits_is_not_forgotten() {
        let layout = Layout::new(1 << 20, [(64 << 20, false)], false).unwrap();
        let mut readers = Readers::default();
        let (reply, waits) = oneshot::channel();
        readers.wait(PieceIndex(1), reply);
        readers.note(at(0), PieceIndex(1), &layout);
        assert!(!readers.expire(at(100)));
        drop(waits);
        assert!(readers.expire(at(100)));
    }
}
