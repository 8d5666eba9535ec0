//! Adding many torrents at once that are whole on the disk, to be shared.
//!
//! None of them gets a task. In a first round all are looked at, on every core: those that resume data vouches for are
//! in the table a few dozen microseconds later, dormant. What is left is hashed in a second round: small torrents
//! beside each other, one a core, then large ones ([`LARGE`]) one by one, each on all cores. So ten thousand torrents
//! cost no more threads, buffers and open files than one, and no torrent's `.torrent` is held longer than it takes.
//!
//! It refuses to stop for one that is missing or wrong: that one is told of. Tested in `tests/many.rs`.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use samara_proto::ids::WireHash;
use samara_proto::metainfo::{Info, Metainfo};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::api::{AddSource, AddTorrent};
use crate::client::Shared;
use crate::entry::{Caller, Entry};
use crate::store::Seeds;
use crate::torrent::{
    Basis, Dormant, Looked, OpenError, Opening, Origin, OriginError, REPORT_EVERY, all_cores, look, read,
};
use crate::trackers::List;

/// From so many bytes on, a torrent is hashed on all cores.
const LARGE: u64 = 64 << 20;

/// Threads that look at files: each mostly waits for the system.
const MAX_LOOKERS: usize = 8;

/// Events that may wait for the reader, who holds everything up beyond that.
const EVENTS: usize = 1024;

/// How often what was hashed is saved meanwhile.
const SAVE_EVERY: Duration = Duration::from_secs(5);

/// How often a thread that waits for the reader looks whether all is over.
const LOOK_UP: Duration = Duration::from_millis(100);

/// What comes of adding many torrents.
#[derive(Debug)]
pub struct Sharing {
    events: mpsc::Receiver<ShareEvent>,
}

impl Sharing {
    /// What happened next; `None` once every torrent is there or refused.
    pub async fn next(&mut self) -> Option<ShareEvent> {
        self.events.recv().await
    }
}

/// What happened while many torrents are added.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ShareEvent {
    /// The `.torrent` of one was read. Comes once a torrent, even if it is named twice.
    Known(Arc<Info>),
    /// Data is being hashed.
    Checking {
        /// Bytes looked at.
        done: u64,
        /// Bytes to look at.
        total: u64,
    },
    /// One cannot be shared.
    Refused {
        /// Its name, or that of its file.
        what: String,
        /// Why.
        why: String,
    },
}

/// Why a torrent cannot be shared.
#[derive(Debug, thiserror::Error)]
enum ShareError {
    #[error(transparent)]
    File(#[from] OriginError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("a link is no torrent that could be shared")]
    Magnet,
}

type Source = Box<dyn Iterator<Item = AddTorrent> + Send>;

/// A torrent that has to be hashed.
struct Doubtful {
    name: String,
    basis: Basis,
    trackers: List,
    size: u64,
}

/// What the threads share.
struct Work {
    shared: Arc<Shared>,
    tell: mpsc::Sender<ShareEvent>,
    runtime: Handle,
    source: Mutex<Source>,
    seen: Mutex<HashSet<WireHash>>,
    small: Mutex<Vec<Doubtful>>,
    large: Mutex<Vec<Doubtful>>,
    /// Bytes hashed, and to be hashed.
    done: AtomicU64,
    total: AtomicU64,
    saved: Mutex<Instant>,
}

/// Begins to add `torrents`.
pub(crate) fn start(shared: &Arc<Shared>, torrents: Source) -> Sharing {
    let (tell, events) = mpsc::channel(EVENTS);
    let work = Work {
        shared: Arc::clone(shared),
        tell,
        runtime: Handle::current(),
        source: Mutex::new(torrents),
        seen: Mutex::default(),
        small: Mutex::default(),
        large: Mutex::default(),
        done: AtomicU64::new(0),
        total: AtomicU64::new(0),
        saved: Mutex::new(Instant::now()),
    };
    shared.spawn(run(Arc::new(work)));
    Sharing { events }
}

async fn run(work: Arc<Work>) {
    on_threads(&work, all_cores().clamp(2, MAX_LOOKERS), Work::look_at_all).await;
    work.begin_hashing();
    on_threads(&work, all_cores(), Work::hash_small).await;
    on_threads(&work, 1, Work::hash_large).await;
    on_threads(&work, 1, |work| work.shared.seeds.iter().for_each(Seeds::save)).await;
}

/// Has so many threads do something, and waits for all of them.
async fn on_threads(work: &Arc<Work>, threads: usize, what: fn(&Work)) {
    let spawn = |_| {
        let work = Arc::clone(work);
        tokio::task::spawn_blocking(move || what(&work))
    };
    let threads: Vec<_> = (0..threads).map(spawn).collect();
    for thread in threads {
        let _ = thread.await;
    }
}

/// A poisoned lock is of no consequence: every change is a single call.
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The next of those that wait; the lock is not held while it is dealt with.
fn next(waiting: &Mutex<Vec<Doubtful>>) -> Option<Doubtful> {
    lock(waiting).pop()
}

impl Work {
    fn is_over(&self) -> bool {
        self.shared.ending.load(Ordering::Relaxed)
    }

    fn next_of_source(&self) -> Option<AddTorrent> {
        lock(&self.source).next()
    }

    fn look_at_all(&self) {
        while let Some(add) = self.next_of_source().filter(|_| !self.is_over()) {
            let mut what = name(&add);
            if let Err(error) = self.look_at(add, &mut what) {
                self.refuse(what, &error);
            }
        }
    }

    /// Looks at one, which is called `name` until its own is known.
    fn look_at(&self, add: AddTorrent, name: &mut String) -> Result<(), ShareError> {
        let (metainfo, origin) = load(add.source)?;
        let info = &metainfo.info;
        info.name().clone_into(name);
        let known = self.shared.torrents.find(&info.hashes().primary()).is_some();
        if known || !lock(&self.seen).insert(info.hashes().primary()) {
            return Ok(());
        }
        let (size, metainfo) = (info.total_size(), Arc::new(metainfo));
        let trackers = List::new(&add.linked_trackers, add.trackers);
        let basis =
            Basis::new(Some(origin), add.dir, add.mode, add.paths, add.sequential, add.limits, &add.peers);
        self.tell(ShareEvent::Known(Arc::clone(&metainfo.info)));
        let looked = look(Opening::new(&basis, None), metainfo, &self.shared)?;
        if looked.is_settled() {
            self.enter(basis, trackers, looked)?;
        } else {
            self.total.fetch_add(size, Ordering::Relaxed);
            let waiting = if size < LARGE { &self.small } else { &self.large };
            lock(waiting).push(Doubtful { name: std::mem::take(name), basis, trackers, size });
        }
        Ok(())
    }

    /// What comes first is hashed first.
    fn begin_hashing(&self) {
        lock(&self.small).reverse();
        lock(&self.large).reverse();
        self.tell_progress(0);
    }

    fn hash_small(&self) {
        while let Some(doubtful) = next(&self.small).filter(|_| !self.is_over()) {
            self.hash(doubtful, 1);
        }
    }

    fn hash_large(&self) {
        while let Some(doubtful) = next(&self.large).filter(|_| !self.is_over()) {
            self.hash(doubtful, all_cores());
        }
    }

    fn hash(&self, doubtful: Doubtful, threads: usize) {
        let Doubtful { name, basis, trackers, size } = doubtful;
        if let Err(error) = self.try_hash(basis, trackers, threads)
            && !self.is_over()
        {
            self.refuse(name, &error);
        }
        self.advance(size);
        self.save_if_due();
    }

    fn try_hash(&self, basis: Basis, trackers: List, threads: usize) -> Result<(), ShareError> {
        let origin = basis.origin.clone().ok_or(OriginError::Gone)?;
        let metainfo = Arc::new(origin.read()?);
        let mut looked = look(Opening::new(&basis, None), metainfo, &self.shared)?;
        let progress = |done| self.tell_progress(done);
        looked.hash(threads, &progress, &self.shared.ending)?;
        self.enter(basis, trackers, looked)
    }

    /// A torrent whose data is proven goes into the table.
    fn enter(&self, basis: Basis, trackers: List, looked: Looked) -> Result<(), ShareError> {
        let looked = looked.prove(&self.shared)?;
        let metainfo = looked.metainfo();
        let (new, calls) = (trackers.with(metainfo).seed(&metainfo.info), !basis.peers.is_empty());
        let entry = Entry::dormant(metainfo.info.hashes(), Dormant::proven(basis, &looked));
        if !self.shared.torrents.insert(&entry) {
            return Ok(());
        }
        entry.tally.set(new.totals);
        if let Some(dht) = self.shared.dht.as_ref().filter(|_| !new.private) {
            dht.named(&metainfo.nodes);
        }
        self.shared.desk.add(&entry, new);
        if calls {
            entry.reach(&self.shared, Caller::User);
        }
        Ok(())
    }

    fn refuse(&self, what: String, error: &ShareError) {
        self.tell(ShareEvent::Refused { what, why: error.to_string() });
    }

    fn advance(&self, bytes: u64) {
        let before = self.done.fetch_add(bytes, Ordering::Relaxed);
        if before / REPORT_EVERY != (before + bytes) / REPORT_EVERY {
            self.tell_progress(0);
        }
    }

    /// A reader who is busy misses this one and gets a later one.
    fn tell_progress(&self, more: u64) {
        let total = self.total.load(Ordering::Relaxed);
        let done = (self.done.load(Ordering::Relaxed) + more).min(total);
        if total > 0 {
            let _ = self.tell.try_send(ShareEvent::Checking { done, total });
        }
    }

    /// Waits for the reader, but not beyond the end. Without a reader nobody needs to know.
    fn tell(&self, event: ShareEvent) {
        let Err(mpsc::error::TrySendError::Full(mut event)) = self.tell.try_send(event) else { return };
        while !self.is_over() {
            let waited = self.tell.send_timeout(event, LOOK_UP);
            match self.runtime.block_on(waited) {
                Err(mpsc::error::SendTimeoutError::Timeout(again)) => event = again,
                _ => return,
            }
        }
    }

    fn save_if_due(&self) {
        let mut saved = lock(&self.saved);
        if saved.elapsed() >= SAVE_EVERY {
            *saved = Instant::now();
            drop(saved);
            self.shared.seeds.iter().for_each(Seeds::save);
        }
    }
}

/// What the torrent says, and where that can be read again.
fn load(source: AddSource) -> Result<(Metainfo, Origin), ShareError> {
    match source {
        AddSource::File(path) => {
            let path = std::path::absolute(&path).unwrap_or(path);
            Ok((read(&path)?, Origin::File(path.into())))
        }
        AddSource::Metainfo(metainfo) => {
            let held = Origin::Held(metainfo.to_bytes().into());
            Ok((*metainfo, held))
        }
        AddSource::Magnet { .. } => Err(ShareError::Magnet),
    }
}

/// For messages.
fn name(add: &AddTorrent) -> String {
    match &add.source {
        AddSource::File(path) => path.display().to_string(),
        AddSource::Metainfo(metainfo) => metainfo.info.name().to_owned(),
        AddSource::Magnet { hashes, .. } => hashes.primary().to_string(),
    }
}
