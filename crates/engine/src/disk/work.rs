//! The jobs of the disk's threads.

use std::sync::Arc;

use samara_proto::bitfield::Bitfield;
use samara_proto::ids::{Block, PieceIndex};
use samara_proto::torrent::Expected;
use tokio::sync::oneshot;

use super::Buf;
use super::event::{Events, StorageError};
use super::spec::{StorageSpec, StoreJob};
use super::storage::Storage;

/// Blocks with their data; `None` where it could not be read.
pub(super) type ReadBlocks = Vec<(Block, Option<Buf>)>;

/// For the worker that a piece belongs to, in order.
pub(super) enum Job {
    /// Hash a block, and write its piece once it is whole.
    Store(Arc<Storage>, StoreJob),
    /// Look whether a piece is in its files.
    Check { storage: Arc<Storage>, piece: PieceIndex, expected: Expected, reply: oneshot::Sender<bool> },
    /// Let go of blocks of a piece on its way.
    Discard { storage: Arc<Storage>, piece: PieceIndex, blocks: Option<Vec<u32>> },
    /// Hash the blocks of a piece that is had.
    Leaves { storage: Arc<Storage>, piece: PieceIndex },
    /// Write what had no room.
    Retry(Arc<Storage>),
    /// Let go of everything of this storage. The last worker to do so goes on with the ticket.
    Forget(Arc<Ticket>),
}

/// A storage that is being closed.
pub(super) struct Ticket {
    pub(super) storage: Arc<Storage>,
    /// Held until the end, so that the one who waits for it knows.
    pub(super) reply: Option<oneshot::Sender<()>>,
}

/// For any worker, before all else.
pub(super) enum Urgent {
    /// Read blocks for a peer.
    Read(ReadJob),
    /// Open a torrent.
    Open(OpenJob),
    /// Other files are wanted.
    Select(SelectJob),
}

/// Which files are wanted from now on.
pub(super) struct SelectJob {
    pub(super) storage: Arc<Storage>,
    pub(super) wanted: Vec<bool>,
    pub(super) reply: oneshot::Sender<Result<(), StorageError>>,
}

/// Blocks to read, with the buffers they go to.
pub(super) struct ReadJob {
    pub(super) storage: Arc<Storage>,
    pub(super) blocks: Vec<(Block, Buf)>,
    pub(super) reply: oneshot::Sender<ReadBlocks>,
}

/// What opening results in.
pub(super) type Opened = Result<(Arc<Storage>, Events), StorageError>;

/// A torrent to open.
pub(super) struct OpenJob {
    pub(super) id: u64,
    pub(super) spec: Arc<StorageSpec>,
    pub(super) have: Bitfield,
    pub(super) reply: oneshot::Sender<Opened>,
}
