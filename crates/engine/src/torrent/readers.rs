//! Users who read pieces, and wait for those that are not there yet.

use std::collections::BTreeMap;

use samara_proto::ids::{Block, PieceIndex};
use samara_proto::layout::Layout;
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
}

/// More than any program has pieces to look at.
const MAX_READERS: usize = 1024;

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
