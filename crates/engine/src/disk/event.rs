//! What the disk tells the owner of a torrent, and the queue on which it does.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use samara_proto::ids::{PieceIndex, Sha256Hash};
use tokio::sync::Notify;

/// What was tried when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Opening or creating a file.
    Open,
    /// Creating a folder.
    CreateFolder,
    /// Creating a symbolic link.
    Link,
    /// Reading.
    Read,
    /// Writing.
    Write,
    /// Waiting until data is on the medium.
    Sync,
    /// Giving a finished file its name.
    Rename,
    /// Looking at what is there.
    Inspect,
    /// Starting a thread.
    Start,
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::CreateFolder => "create the folder",
            Self::Link => "create the link",
            Self::Read => "read",
            Self::Write => "write",
            Self::Sync => "sync",
            Self::Rename => "rename",
            Self::Inspect => "look at",
            Self::Start => "start a thread for",
        })
    }
}

/// An operation on a file that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {op} {}: {source}", path.display())]
pub struct StorageError {
    /// The file or folder.
    pub path: PathBuf,
    /// What was tried.
    pub op: Op,
    /// Why it failed.
    pub source: io::Error,
}

impl StorageError {
    pub(crate) fn new(path: impl Into<PathBuf>, op: Op, source: impl Into<io::Error>) -> Self {
        Self { path: path.into(), op, source: source.into() }
    }

    /// Whether the system is only out of something for a while: file handles, or memory.
    pub(super) fn is_transient(&self) -> bool {
        const ENOMEM: i32 = 12;
        const ENFILE: i32 = 23;
        const EMFILE: i32 = 24;
        matches!(self.source.kind(), io::ErrorKind::OutOfMemory | io::ErrorKind::Interrupted)
            || matches!(self.source.raw_os_error(), Some(ENOMEM | ENFILE | EMFILE))
    }

    /// Whether it is for want of room: the disk is full, or a quota is used up.
    pub fn is_full(&self) -> bool {
        matches!(self.source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }
}

/// The SHA-256 of blocks, by their index in the piece.
pub type Digests = Vec<(u32, Sha256Hash)>;

/// The disk → the owner of one torrent.
#[derive(Debug)]
pub enum DiskEvent {
    /// All blocks of a piece came and were hashed.
    Verified {
        /// The piece.
        piece: PieceIndex,
        /// The hashes agree and the data is written (to the page cache): it may be announced and is served. If not,
        /// its blocks are kept until they are discarded.
        ok: bool,
        /// The SHA-256 of each block that came, by its index: if the piece is wrong, or its blocks were stored as
        /// suspected. Empty if they could not be read back.
        digests: Digests,
    },
    /// The blocks of this piece that had come are gone through no fault of a peer's (no room, or an error told
    /// otherwise): all of them are needed again.
    Lost {
        /// The piece.
        piece: PieceIndex,
    },
    /// These pieces were had, and cannot be read any more: they are needed again.
    Gone {
        /// In order.
        pieces: Vec<PieceIndex>,
        /// What told so.
        error: StorageError,
    },
    /// The leaves of a piece that is had, as was asked.
    Leaves {
        /// The piece.
        piece: PieceIndex,
        /// The SHA-256 of each block, as far as it belongs to the piece's file; empty if it cannot be read.
        leaves: Vec<Sha256Hash>,
    },
    /// Every wanted file is whole and has its final name; links are made. Comes once for each
    /// selection; also right after opening, if there was nothing left to do.
    Finished,
    /// A different file stood where a finished one belongs; it was renamed, not overwritten.
    Displaced {
        /// Where it stood.
        from: PathBuf,
        /// Where it is now.
        to: PathBuf,
    },
    /// A symbolic link could not be made; the rest is not affected.
    LinkSkipped(StorageError),
    /// These pieces survive a crash from now on.
    Synced {
        /// In no order. Empty if nothing had been written since the last time.
        pieces: Vec<PieceIndex>,
    },
    /// No room on the disk: request nothing until [`Self::Room`]. What is in memory stays there as long as the budget
    /// allows; the rest is given up with [`Self::Lost`].
    Full {
        /// Bytes that must become free before it goes on.
        needed: u64,
    },
    /// There is room again.
    Room,
    /// The torrent cannot go on. Comes at most once; stores and reads fail from then on as they must, and opening the
    /// torrent anew is the way to try again.
    Failed(StorageError),
}

struct Shared {
    queue: Mutex<VecDeque<DiskEvent>>,
    arrived: Notify,
    /// No event comes any more.
    closed: AtomicBool,
}

impl Shared {
    fn queue(&self) -> std::sync::MutexGuard<'_, VecDeque<DiskEvent>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The events of one torrent's storage. Dropping it drops the events.
///
/// The queue needs no cap of its own, and so the disk never waits for the owner: an event answers work that the owner
/// itself submitted (a piece stored, a sync asked for) or comes once.
pub struct Events {
    shared: Arc<Shared>,
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Events({} waiting)", self.shared.queue().len())
    }
}

impl Events {
    /// The next event; `None` once the storage was closed and all was told. Cancel safe.
    pub async fn recv(&mut self) -> Option<DiskEvent> {
        loop {
            let arrived = self.shared.arrived.notified();
            // In this order: what was sent before the end is seen.
            let closed = self.shared.closed.load(Ordering::Acquire);
            if let Some(event) = self.shared.queue().pop_front() {
                return Some(event);
            }
            if closed {
                return None;
            }
            arrived.await;
        }
    }

    /// The next event, if one is there.
    pub fn try_recv(&mut self) -> Option<DiskEvent> {
        self.shared.queue().pop_front()
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
        self.shared.queue().clear();
    }
}

/// The disk's end of [`Events`].
pub(super) struct EventSender {
    shared: Arc<Shared>,
}

impl EventSender {
    /// A queue, both ends.
    pub(super) fn new() -> (Self, Events) {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            arrived: Notify::new(),
            closed: AtomicBool::new(false),
        });
        (Self { shared: Arc::clone(&shared) }, Events { shared })
    }

    /// Tells the owner; if there is none any more, nothing happens.
    pub(super) fn send(&self, event: DiskEvent) {
        let mut queue = self.shared.queue();
        if self.shared.closed.load(Ordering::Acquire) {
            return;
        }
        queue.push_back(event);
        let first = queue.len() == 1;
        drop(queue);
        if first {
            self.shared.arrived.notify_one();
        }
    }

    /// Ends the stream of events.
    pub(super) fn close(&self) {
        self.shared.closed.store(true, Ordering::Release);
        self.shared.arrived.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn poll(events: &mut Events) -> Poll<Option<DiskEvent>> {
        pin!(events.recv()).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn events_come_in_order_and_end() {
        let (sender, mut events) = EventSender::new();
        assert!(poll(&mut events).is_pending());
        sender.send(DiskEvent::Finished);
        sender.send(DiskEvent::Room);
        sender.close();
        assert!(matches!(poll(&mut events), Poll::Ready(Some(DiskEvent::Finished))));
        assert!(matches!(poll(&mut events), Poll::Ready(Some(DiskEvent::Room))));
        assert!(matches!(poll(&mut events), Poll::Ready(None)));
        sender.send(DiskEvent::Room);
        assert!(events.try_recv().is_none());
    }
}
