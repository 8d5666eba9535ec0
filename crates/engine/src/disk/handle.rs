//! What the rest of the engine holds of the disk.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use samara_proto::bitfield::Bitfield;
use samara_proto::ids::{Block, PieceIndex};
use samara_proto::torrent::Expected;
use tokio::sync::oneshot;

use super::event::{Events, Op, StorageError};
use super::handles::Handles;
use super::io::Backend;
use super::keeper::{self, Keeper};
use super::queue::{Queues, Stop};
use super::spec::{StorageSpec, StoreJob};
use super::storage::{Io, Storage};
use super::survey::Stamp;
use super::work::{Job, OpenJob, ReadJob, SelectJob, Ticket, Urgent};
use super::worker::Worker;
use super::{Buf, Pool, Shared, lane, spawn};

/// How the disk works.
#[derive(Clone, Debug)]
pub struct DiskConfig {
    /// Worker threads, at least one. Default: one per core, 2 to 4.
    pub threads: usize,
    /// Bytes for blocks on their way to the disk. Default 64 MiB. A quarter of it more is for blocks on their way to
    /// peers, at least 4 MiB.
    pub budget: usize,
    /// Files kept open, at least one. Default 128.
    pub max_open_files: usize,
    /// How often to look whether a full disk has room again. Default 3 s.
    pub probe_interval: Duration,
}

impl Default for DiskConfig {
    fn default() -> Self {
        Self {
            threads: std::thread::available_parallelism().map_or(2, |n| n.get().clamp(2, 4)),
            budget: 64 << 20,
            max_open_files: 128,
            probe_interval: Duration::from_secs(3),
        }
    }
}

/// A thread of the disk's.
pub(super) struct Thread {
    /// Resolves when it ends.
    pub(super) ended: oneshot::Receiver<()>,
    pub(super) join: JoinHandle<()>,
}

/// Ends the threads when the last handle goes.
struct Owner {
    shared: Arc<Shared>,
    /// The workers, then the keeper.
    threads: Mutex<Vec<Thread>>,
    next_id: AtomicU64,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.queues.stop(Stop::Now);
        self.shared.keeper.stop(Stop::Now);
    }
}

/// The disk's threads. A cheap handle.
///
/// Dropping the last handle without [`Self::shutdown`] ends the threads soon, as a crash would: what was not synced may
/// be lost.
#[derive(Clone)]
pub struct Disk {
    owner: Arc<Owner>,
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Disk({:?})", self.owner.shared.pool)
    }
}

impl Disk {
    /// Starts the threads.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(config: &DiskConfig) -> Result<Self, StorageError> {
        Self::with_backend(config, Backend::Pread)
    }

    pub(super) fn with_backend(config: &DiskConfig, backend: Backend) -> Result<Self, StorageError> {
        let workers = config.threads.max(1);
        let shared = Arc::new(Shared {
            queues: Queues::new(workers),
            keeper: keeper::Queue::default(),
            io: Io { backend, handles: Handles::new(config.max_open_files) },
            pool: Pool::new(config.budget, (config.budget / 4).max(4 << 20)),
        });
        let weak = Arc::downgrade(&shared);
        shared.pool.on_pressure(move || {
            if let Some(shared) = weak.upgrade() {
                shared.queues.relieve();
            }
        });
        let owner = Owner { shared, threads: Mutex::default(), next_id: AtomicU64::new(0) };
        owner.spawn(workers, config.probe_interval)?;
        Ok(Self { owner: Arc::new(owner) })
    }

    /// Where payload buffers come from.
    pub fn pool(&self) -> &Pool {
        &self.owner.shared.pool
    }

    /// Opens a torrent, of which `have` is there, verified. Pieces whose files do not exist are dropped from it: ask
    /// [`StorageHandle::have`] afterwards. For a download empty files are created, and files that are whole get their
    /// final names; folders are created when they are needed.
    ///
    /// # Errors
    /// If files and layout do not fit together, or the system refuses something.
    pub async fn open(
        &self,
        spec: Arc<StorageSpec>,
        have: Bitfield,
    ) -> Result<(StorageHandle, Events), StorageError> {
        let (reply, opened) = oneshot::channel();
        let id = self.owner.next_id.fetch_add(1, Ordering::Relaxed);
        let root = spec.root.clone();
        self.owner.shared.queues.push_urgent(Urgent::Open(OpenJob { id, spec, have, reply }));
        let stopped = |_| StorageError::new(root, Op::Open, std::io::Error::other("the disk was shut down"));
        let (storage, events) = opened.await.map_err(stopped)??;
        let inner = Inner { shared: Arc::clone(&self.owner.shared), storage };
        Ok((StorageHandle { inner: Arc::new(inner) }, events))
    }

    /// Does what was submitted, syncs every torrent that is open (their events still come), and joins all threads.
    pub async fn shutdown(&self) {
        let threads = std::mem::take(&mut *self.owner.threads.lock().unwrap_or_else(PoisonError::into_inner));
        let last = threads.len().saturating_sub(1);
        self.owner.shared.queues.stop(Stop::Drained);
        for (i, thread) in threads.into_iter().enumerate() {
            if i == last {
                self.owner.shared.keeper.stop(Stop::Drained);
            }
            // Its end drops the sender, which shows as an error. After that, joining does not wait.
            let _ = thread.ended.await;
            let _ = thread.join.join();
        }
    }

    #[cfg(test)]
    pub(super) fn shared(&self) -> &Shared {
        &self.owner.shared
    }

    #[cfg(test)]
    pub(super) fn downgrade(&self) -> std::sync::Weak<Shared> {
        Arc::downgrade(&self.owner.shared)
    }

    /// Ends as a crash would: at once, nothing synced. Joins the threads.
    #[cfg(test)]
    pub(super) fn crash(self) {
        self.owner.shared.queues.stop(Stop::Now);
        self.owner.shared.keeper.stop(Stop::Now);
        let threads = std::mem::take(&mut *self.owner.threads.lock().unwrap());
        threads.into_iter().for_each(|thread| thread.join.join().unwrap());
    }
}

impl Owner {
    fn spawn(&self, workers: usize, tick: Duration) -> Result<(), StorageError> {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        for n in 0..workers {
            let worker = Worker::new(n, Arc::clone(&self.shared));
            threads.push(spawn(format!("samara-disk-{n}"), move || worker.run())?);
        }
        let keeper = Keeper::new(Arc::clone(&self.shared), tick);
        threads.push(spawn("samara-keeper".into(), move || keeper.run())?);
        Ok(())
    }
}

struct Inner {
    shared: Arc<Shared>,
    storage: Arc<Storage>,
}

impl Inner {
    fn close(&self, reply: Option<oneshot::Sender<()>>) {
        let ticket = Arc::new(Ticket { storage: Arc::clone(&self.storage), reply });
        let jobs: Vec<_> =
            (0..self.shared.queues.workers()).map(|_| Job::Forget(Arc::clone(&ticket))).collect();
        drop(ticket);
        self.shared.queues.push((0..).zip(jobs));
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close(None);
    }
}

/// One torrent that is open. A cheap handle; when the last one goes, the torrent is closed: what was committed is
/// synced, pieces on their way are given up.
#[derive(Clone)]
pub struct StorageHandle {
    inner: Arc<Inner>,
}

impl std::fmt::Debug for StorageHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StorageHandle({})", self.inner.storage.spec.root.display())
    }
}

impl StorageHandle {
    /// What it was opened with.
    pub fn spec(&self) -> &Arc<StorageSpec> {
        &self.inner.storage.spec
    }

    /// Hands over blocks that came, and empties `batch`. Never waits. What comes of it is told by events: `Verified` once
    /// a piece is whole, or `Lost`. Blocks that came already, or whose piece is had, are dropped.
    pub fn store(&self, batch: &mut Vec<StoreJob>) {
        let storage = &self.inner.storage;
        let jobs = batch
            .drain(..)
            .map(|job| (lane(storage.id, job.block.piece), Job::Store(Arc::clone(storage), job)));
        self.inner.shared.queues.push(jobs);
    }

    /// Lets go of blocks of a piece that is not had, which were stored before: of these, or of all. They may be stored
    /// again. Never waits, and no event comes.
    pub fn discard(&self, piece: PieceIndex, blocks: Option<Vec<u32>>) {
        let storage = &self.inner.storage;
        let job = Job::Discard { storage: Arc::clone(storage), piece, blocks };
        self.inner.shared.queues.push([(lane(storage.id, piece), job)]);
    }

    /// Reads and hashes a piece that is had, for its leaves (BEP 52); the event `Leaves` tells them. Never waits, so
    /// ask for a few at a time.
    pub fn leaves(&self, piece: PieceIndex) {
        let storage = &self.inner.storage;
        let job = Job::Leaves { storage: Arc::clone(storage), piece };
        self.inner.shared.queues.push([(lane(storage.id, piece), job)]);
    }

    /// Reads blocks for a peer: answers all of them, in order, `None` where the piece is not had, the block is not
    /// legal, or reading failed. Blocks that follow each other in one piece are read in one call, so hand over what
    /// there is. Waits for upload memory before anything is read. Dropping the future takes the request back.
    pub fn read(&self, blocks: Vec<Block>) -> impl Future<Output = Vec<(Block, Option<Buf>)>> + Send + use<> {
        let (shared, storage) = (Arc::clone(&self.inner.shared), Arc::clone(&self.inner.storage));
        async move {
            let lens: Vec<u32> = blocks.iter().map(|b| if storage.can_read(b) { b.len } else { 0 }).collect();
            let bufs = shared.pool.take_for_upload(&lens).await;
            let (reply, done) = oneshot::channel();
            let pairs = blocks.iter().copied().zip(bufs).collect();
            shared.queues.push_urgent(Urgent::Read(ReadJob { storage, blocks: pairs, reply }));
            done.await.unwrap_or_else(|_| blocks.into_iter().map(|b| (b, None)).collect())
        }
    }

    /// Looks whether a piece is in its files already; then it is had, and the answer is true. No `Verified` event comes,
    /// but a file may become whole by it. Runs beside other work on the piece's worker; ask for some at a time.
    pub fn check(&self, piece: PieceIndex, expected: Expected) -> impl Future<Output = bool> + Send + use<> {
        let (reply, done) = oneshot::channel();
        let storage = Arc::clone(&self.inner.storage);
        let lane = lane(storage.id, piece);
        self.inner.shared.queues.push([(lane, Job::Check { storage, piece, expected, reply })]);
        async move { done.await.unwrap_or(false) }
    }

    /// From now on these files are wanted, by index; files beyond its end are not. What the part store holds of a newly
    /// wanted one moves to its file; what is there of others stays. [`Finished`](super::DiskEvent::Finished) comes (again)
    /// once the wanted ones are whole. Done when the future resolves; of several calls the order is that of their ends.
    ///
    /// # Errors
    /// If bytes cannot be moved; then some of the files are wanted as before.
    pub fn select(&self, wanted: Vec<bool>) -> impl Future<Output = Result<(), StorageError>> + Send + use<> {
        let (reply, done) = oneshot::channel();
        let storage = Arc::clone(&self.inner.storage);
        let root = storage.spec.root.clone();
        self.inner.shared.queues.push_urgent(Urgent::Select(SelectJob { storage, wanted, reply }));
        let stopped =
            move || StorageError::new(root, Op::Write, std::io::Error::other("the disk was shut down"));
        async move { done.await.unwrap_or_else(|_| Err(stopped())) }
    }

    /// Asks for all that was verified so far to be put on the medium; `Synced` tells when it is. Never waits; asking
    /// again before it began changes nothing.
    pub fn sync(&self) {
        let storage = &self.inner.storage;
        if !storage.sync_queued.swap(true, Ordering::AcqRel) {
            self.inner.shared.keeper.push(keeper::Job::Sync(Arc::clone(storage)));
        }
    }

    /// Whether a piece is had: verified, written and readable.
    pub fn has(&self, piece: PieceIndex) -> bool {
        self.inner.storage.have.has(piece)
    }

    /// The pieces that are had.
    pub fn have(&self) -> Bitfield {
        self.inner.storage.have.to_bitfield()
    }

    /// What each file looked like when it was last synced or opened, for the resume data; `None` for what has no file of
    /// its own.
    pub fn stamps(&self) -> Vec<Option<Stamp>> {
        self.inner.storage.stamps()
    }

    /// Does what was submitted, syncs, and closes the torrent for all handles. Its events end after that.
    pub async fn close(&self) {
        let (reply, closed) = oneshot::channel();
        self.inner.close(Some(reply));
        // The sender is dropped when it is done, also if the disk was shut down before.
        let _ = closed.await;
    }
}
