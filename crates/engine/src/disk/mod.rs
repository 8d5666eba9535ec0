//! The disk: hashes what comes, writes what is proven, reads what peers ask for, on threads of its own.
//!
//! - Files are read and written with positioned, vectored calls through the page cache, never mapped.
//! - A block is hashed from its buffer and stays there; when its piece is whole and good, the piece is written
//!   in one call per file. So normally nothing unverified reaches the disk and nothing is read back. Only when the
//!   memory budget is short are blocks written before their piece is proven, to the file's `.part`.
//! - A piece belongs to one worker thread by its number, so that its state needs no lock. Reads for peers go first, to
//!   whichever worker is free. A further thread, the keeper, waits for the medium (`fdatasync`).
//! - Submitting work never waits and takes no permit: every job carries its pooled buffers, and the pool's budgets
//!   bound them. Waiting for a buffer is where a fast peer is slowed down.
//! - A piece counts as had across a crash only after [`DiskEvent::Synced`] named it.
//! - Nothing outside the torrent's root is touched, no link is followed, nothing is overwritten or deleted but our own
//!   part store (see [`FileSpec`], [`DiskEvent::Displaced`], [`StorageSpec::parts`]).
//!
//! It refuses to serve a piece that was not verified, and to hash or write anything on a runtime thread.
//!
//! Tested against naive models (random layouts, orders, budgets), with faults put under it (a disk that fills up, short
//! writes, errors), with links placed in the way, and by dropping it in the middle.

mod buf;
mod event;
#[cfg(test)]
mod faults;
mod files;
mod handle;
mod handles;
mod have;
mod io;
mod keeper;
mod lose;
mod piece;
mod queue;
mod root;
mod select;
mod spec;
mod storage;
mod survey;
#[cfg(test)]
mod tests;
mod work;
mod worker;

use std::sync::atomic::Ordering;

pub use buf::{Buf, Gauge, Pool};
pub use event::{Digests, DiskEvent, Events, Op, StorageError};
pub use handle::{Disk, DiskConfig, StorageHandle};
pub use samara_proto::torrent::Expected;
pub use spec::{Access, FileSpec, StorageSpec, StoreJob};
pub use survey::{Stamp, Survey};

/// What all threads share.
struct Shared {
    queues: queue::Queues,
    keeper: keeper::Queue,
    io: storage::Io,
    pool: Pool,
}

impl Shared {
    /// A write found no room.
    fn note_full(&self, storage: &storage::Storage) {
        if !storage.full.swap(true, Ordering::AcqRel) {
            storage.events.send(DiskEvent::Full { needed: storage.needed() });
        }
    }
}

/// The worker that a piece belongs to, before reduction to the number of workers: neighbours go to different ones.
const fn lane(storage: u64, piece: samara_proto::ids::PieceIndex) -> u64 {
    storage.wrapping_add(piece.0 as u64)
}

/// A name for threads, so that they can be told apart in a debugger.
fn spawn<F: FnOnce() + Send + 'static>(name: String, run: F) -> Result<handle::Thread, StorageError> {
    let (done, ended) = tokio::sync::oneshot::channel::<()>();
    let body = move || {
        let _done = done;
        run();
    };
    let spawned = std::thread::Builder::new().name(name.clone()).spawn(body);
    let join = spawned.map_err(|e| StorageError::new(name, Op::Start, e))?;
    Ok(handle::Thread { ended, join })
}
