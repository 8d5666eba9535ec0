//! Opening a torrent's data: where its files lie, which of its pieces are already there, and proof of that.
//!
//! Runs on a thread that may block. The owner gets progress on the way, and the result.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use samara_proto::bitfield::Bitfield;
use samara_proto::ids::{FileIndex, InfoHashes, PieceIndex};
use samara_proto::layout::{Layout, LayoutError};
use samara_proto::metainfo::{Format, Info, Metainfo};
use samara_proto::path::{SafePath, sanitise};
use samara_proto::peer::Shape;
use samara_proto::torrent::{Expected, Priority};
use tokio::sync::{Semaphore, SemaphorePermit, mpsc};

use super::rest::Basis;
use super::{Cancelled, ToTorrent};
use crate::api::{Mode, SelectFn};
use crate::client::Shared;
use crate::disk::{Events, Stamp, StorageError, StorageHandle, StorageSpec};
use crate::hash::{self, HashError, HashJob, PieceHashes, Want};
use crate::store::{Fingerprint, Record, SeedKey, Seeds, Store, StoreError};

/// Progress is told each time this many bytes more were looked at.
pub(crate) const REPORT_EVERY: u64 = 16 << 20;

/// What was asked for when the torrent was added.
pub(crate) struct Opening {
    dir: Arc<Path>,
    mode: Mode,
    select: Option<SelectFn>,
    paths: Option<Arc<[Option<PathBuf>]>>,
    /// How the files looked when all of it was proven.
    pub(super) proof: Option<Fingerprint>,
}

impl Opening {
    pub(crate) fn new(basis: &Basis, select: Option<SelectFn>) -> Self {
        let (dir, paths) = (Arc::clone(&basis.dir), basis.paths.clone());
        Self { dir, mode: basis.mode, select, paths, proof: None }
    }
}

/// A torrent's data, open.
pub(crate) struct Opened {
    pub(super) layout: Arc<Layout>,
    pub(super) storage: StorageHandle,
    pub(super) events: Events,
    /// Pieces that are proven.
    pub(super) have: Bitfield,
    /// How much files are wanted; `None` for all alike.
    pub(super) wanted: Option<Vec<Priority>>,
    /// The file, or the folder.
    pub(super) path: PathBuf,
    /// Where resume data goes.
    pub(super) store: Option<Arc<Store>>,
    pub(super) metainfo: Arc<Metainfo>,
    /// How the files looked before they were proven, if they are only shared.
    print: Option<Fingerprint>,
}

impl Opened {
    /// How the files look now that all of them are proven.
    pub(super) fn proof(&self) -> Fingerprint {
        self.print.unwrap_or_else(|| Fingerprint::of(&self.storage.stamps()))
    }

    /// What connections need to know.
    pub(super) fn shape(&self) -> Shape {
        let metadata_size = u32::try_from(self.metainfo.info.raw().len()).unwrap_or(u32::MAX);
        Shape { layout: Arc::clone(&self.layout), metadata_size }
    }
}

/// Why the data could not be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error("{0}")]
    Selection(String),
    #[error("the torrent's files cannot be laid out: {0}")]
    Layout(#[from] LayoutError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Hash(#[from] HashError),
    #[error("{missing} of {pieces} pieces in {} are missing or wrong; fetch them with `samara get`", path.display())]
    Incomplete { missing: u32, pieces: u32, path: PathBuf },
    #[error("the check of the data on disk broke off")]
    Broken,
}

/// Opens in the background; the owner hears `Checking` and then `Opened`.
pub(super) async fn start(
    opening: Opening,
    metainfo: Arc<Metainfo>,
    shared: Arc<Shared>,
    owner: mpsc::Sender<ToTorrent>,
    cancel: Arc<Cancelled>,
) {
    let opened = open(opening, metainfo, &shared, &owner, cancel).await;
    let _ = owner.send(ToTorrent::Opened(Box::new(opened))).await;
}

async fn open(
    opening: Opening,
    metainfo: Arc<Metainfo>,
    shared: &Arc<Shared>,
    owner: &mpsc::Sender<ToTorrent>,
    cancel: Arc<Cancelled>,
) -> Result<Opened, OpenError> {
    let turn = turn(&shared.looking, &cancel).await?;
    let state = Arc::clone(shared);
    let looked = tokio::task::spawn_blocking(move || look(opening, metainfo, &state)).await;
    drop(turn);
    let mut looked = looked.map_err(|_| OpenError::Broken)??;
    if !looked.is_settled() {
        let _turn = self::turn(&shared.hashing, &cancel).await?;
        let _ = owner.send(ToTorrent::Checking { done: 0, total: looked.spec.layout.total_len() }).await;
        let tell = owner.clone();
        let cancel = Arc::clone(&cancel);
        let hash = move || looked.hash_for(&tell, &cancel.flag).map(|()| looked);
        looked = tokio::task::spawn_blocking(hash).await.map_err(|_| OpenError::Broken)??;
    }
    let state = Arc::clone(shared);
    let prove = move || looked.prove(&state).inspect(|_| state.seeds.iter().for_each(Seeds::save));
    let looked = tokio::task::spawn_blocking(prove).await.map_err(|_| OpenError::Broken)??;
    looked.open(shared).await
}

/// Waits for a turn, or for the end.
async fn turn<'a>(turns: &'a Semaphore, cancel: &Cancelled) -> Result<SemaphorePermit<'a>, OpenError> {
    tokio::select! {
        Ok(turn) = turns.acquire() => Ok(turn),
        () = cancel.told.notified() => Err(HashError::Cancelled.into()),
    }
}

/// What is on the disk, before the storage opens.
pub(crate) struct Looked {
    metainfo: Arc<Metainfo>,
    spec: Arc<StorageSpec>,
    store: Option<Store>,
    wanted: Option<Vec<Priority>>,
    mode: Mode,
    /// What is proven.
    have: Bitfield,
    /// What is there and not proven.
    doubtful: Bitfield,
    /// Pieces that lie in the part store, at least in part, and so are for the disk to check.
    shelved: Vec<(PieceIndex, Expected)>,
    /// Where each file is, if it is anywhere.
    paths: Vec<Option<PathBuf>>,
    /// What the files looked like, before anything was hashed.
    stamps: Vec<Option<Stamp>>,
    /// Under which all of it will be remembered, if it is not yet.
    key: Option<SeedKey>,
    path: PathBuf,
}

/// Looks where the files are and what vouches for them. Blocks, but reads no data.
pub(crate) fn look(opening: Opening, metainfo: Arc<Metainfo>, shared: &Shared) -> Result<Looked, OpenError> {
    let Opening { dir, mode, select, paths, proof } = opening;
    let info = &metainfo.info;
    let mut wanted = select.map(|f| f(info)).transpose().map_err(OpenError::Selection)?;
    // What is not mentioned is not wanted: said once, so that all who look agree.
    wanted.iter_mut().for_each(|wanted| wanted.resize(info.files().len(), Priority::Skip));
    let dir = std::path::absolute(&dir).unwrap_or_else(|_| dir.to_path_buf());
    let store = if mode == Mode::Download { open_store(shared, &info.hashes(), &dir)? } else { None };
    let key = paths.is_none().then(|| SeedKey::new(&info.hashes(), &dir));
    let safe = sanitise(info);
    let path = top(&dir, &safe, info);
    let layout = Arc::new(Layout::of(info)?);
    let top_dir = dir.clone();
    let spec = Arc::new(match (paths, mode) {
        (Some(paths), _) => StorageSpec::existing(layout, paths.to_vec()),
        (None, Mode::Download) => {
            let beside = || dir.join(format!(".{}.parts", info.hashes().primary()));
            let parts = store.as_ref().map_or_else(beside, Store::parts_path);
            let flags: Vec<_> = wanted.iter().flatten().map(|priority| priority.is_wanted()).collect();
            StorageSpec::download(info, layout, dir, &flags, parts)
        }
        (None, Mode::Seed | Mode::Trusted) => StorageSpec::existing(layout, below(&safe, &dir)),
    });
    let survey = spec.survey()?;
    let stamps = survey.stamps();
    let trust = Trust { layout: &spec.layout, stamps: &stamps, seeds: shared.seeds.as_ref(), key };
    let proven = mode == Mode::Trusted || proof == Some(Fingerprint::of(&stamps));
    let (have, remembered) = match &store {
        _ if proven => (Bitfield::full(spec.layout.num_pieces()), true),
        Some(store) => trust.of(|| Ok(store.load()))?,
        None => trust.of(|| left_by_download(shared, &info.hashes(), &top_dir))?,
    };
    let key = key.filter(|_| mode == Mode::Seed && !remembered);
    let mut doubtful = if have.is_full() { Bitfield::new(have.len()) } else { survey.present() };
    for piece in have.iter() {
        doubtful.remove(piece);
    }
    let paths = survey.paths();
    drop(survey);
    let check = Check { metainfo: &metainfo, layout: &spec.layout, paths: &paths, doubtful: &doubtful };
    let shelved = check.shelved();
    Ok(Looked { metainfo, spec, store, wanted, mode, have, doubtful, shelved, paths, stamps, key, path })
}

/// What may vouch for pieces of these files.
struct Trust<'a> {
    layout: &'a Layout,
    stamps: &'a [Option<Stamp>],
    seeds: Option<&'a Seeds>,
    key: Option<SeedKey>,
}

impl Trust<'_> {
    /// The pieces that need not be hashed, and whether all are remembered as a seed's. The record is asked for only
    /// if they are not.
    fn of(
        &self,
        record: impl FnOnce() -> Result<Option<Record>, StoreError>,
    ) -> Result<(Bitfield, bool), StoreError> {
        let seeds = self.key.zip(self.seeds);
        let known = seeds.and_then(|(key, seeds)| seeds.trusted(&key, self.layout, self.stamps));
        let mut have = known.unwrap_or_else(|| Bitfield::new(self.layout.num_pieces()));
        if have.is_full() {
            return Ok((have, true));
        }
        let recorded = record()?.map(|record| record.trusted(self.layout, self.stamps));
        recorded.iter().for_each(|recorded| have.extend(recorded.iter()));
        Ok((have, false))
    }
}

impl Looked {
    /// Whether nothing is to be hashed.
    pub(crate) fn is_settled(&self) -> bool {
        self.doubtful.count() == 0
    }

    /// How the files looked.
    pub(crate) fn print(&self) -> Fingerprint {
        Fingerprint::of(&self.stamps)
    }

    pub(crate) const fn metainfo(&self) -> &Arc<Metainfo> {
        &self.metainfo
    }

    /// Hashes what is in doubt, on so many threads.
    pub(crate) fn hash(
        &mut self,
        threads: usize,
        progress: &(dyn Fn(u64) + Sync),
        cancel: &AtomicBool,
    ) -> Result<(), OpenError> {
        let (metainfo, layout) = (&*self.metainfo, &*self.spec.layout);
        let check = Check { metainfo, layout, paths: &self.paths, doubtful: &self.doubtful };
        let found = check.run(threads, progress, cancel)?;
        self.have.extend(found.iter());
        Ok(())
    }

    /// Hashes on all cores, and tells the owner how far it is.
    fn hash_for(&mut self, owner: &mpsc::Sender<ToTorrent>, cancel: &AtomicBool) -> Result<(), OpenError> {
        let told = AtomicU64::new(0);
        let total = self.spec.layout.total_len();
        let progress = |done: u64| {
            let last = told.fetch_max(done, Ordering::Relaxed);
            if last / REPORT_EVERY != done / REPORT_EVERY {
                // An owner that is busy misses this one and gets a later one.
                let _ = owner.try_send(ToTorrent::Checking { done, total });
            }
        };
        self.hash(all_cores(), &progress, cancel)
    }

    /// What is to be shared must be there. If it is, that is noted, to be saved with [`Seeds::save`].
    pub(crate) fn prove(self, shared: &Shared) -> Result<Self, OpenError> {
        let (have, pieces) = (self.have.count(), self.have.len());
        if self.mode == Mode::Seed && !self.have.is_full() {
            return Err(OpenError::Incomplete { missing: pieces - have, pieces, path: self.path });
        }
        if let (Some(key), Some(seeds)) = (self.key, &shared.seeds) {
            seeds.note(key, &self.stamps);
        }
        Ok(self)
    }

    async fn open(self, shared: &Shared) -> Result<Opened, OpenError> {
        let Self { metainfo, spec, store, wanted, mode, have, shelved, stamps, path, .. } = self;
        let layout = Arc::clone(&spec.layout);
        let (storage, events) = shared.disk.open(spec, have).await?;
        for (piece, expected) in shelved {
            storage.check(piece, expected).await;
        }
        let have = storage.have();
        let print = (mode != Mode::Download).then(|| Fingerprint::of(&stamps));
        // What is only shared is remembered elsewhere.
        let store = store.filter(|_| mode == Mode::Download).map(Arc::new);
        Ok(Opened { layout, storage, events, have, wanted, path, store, metainfo, print })
    }
}

/// As many threads as the machine runs at once.
pub(crate) fn all_cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Opens the resume data of a download, if there is a place for it. Who writes needs to be alone.
fn open_store(shared: &Shared, hashes: &InfoHashes, dir: &Path) -> Result<Option<Store>, StoreError> {
    let Some(state_dir) = shared.state_dir() else { return Ok(None) };
    let mut store = Store::open(state_dir, hashes, dir)?;
    store.lock()?;
    Ok(Some(store))
}

/// What an earlier download into this folder left.
fn left_by_download(shared: &Shared, hashes: &InfoHashes, dir: &Path) -> Result<Option<Record>, StoreError> {
    let Some(state_dir) = shared.state_dir() else { return Ok(None) };
    Ok(Store::open(state_dir, hashes, dir)?.load())
}

/// Where the torrent as a whole lies: its only file, or its folder.
fn top(dir: &Path, safe: &[Option<SafePath>], info: &Info) -> PathBuf {
    let first = safe.iter().flatten().next();
    match first {
        Some(file) if info.is_single_file() => dir.join(file.as_path()),
        Some(file) => file.components().next().map_or_else(|| dir.to_owned(), |name| dir.join(name)),
        None => dir.to_owned(),
    }
}

/// The absolute path of each file, `None` for pad files.
fn below(safe: &[Option<SafePath>], dir: &Path) -> Vec<Option<PathBuf>> {
    safe.iter().map(|path| path.as_ref().map(|p| dir.join(p.as_path()))).collect()
}

/// What is there and not trusted, to be hashed.
struct Check<'a> {
    metainfo: &'a Metainfo,
    layout: &'a Layout,
    /// Where each file is, if it is anywhere.
    paths: &'a [Option<PathBuf>],
    doubtful: &'a Bitfield,
}

impl Check<'_> {
    /// A hybrid from a magnet link is checked by its v1 half until peers tell the layers of the other.
    fn is_v1_only(&self) -> bool {
        self.metainfo.info.format() == Format::Hybrid && self.metainfo.piece_layers.is_empty()
    }

    fn expected(&self, piece: PieceIndex) -> Option<Expected> {
        let info = &*self.metainfo.info;
        if self.is_v1_only() {
            return info.piece_hash_v1(piece).map(|v1| Expected { v1: Some(v1), v2: None });
        }
        PieceHashes { info, layers: &self.metainfo.piece_layers, layout: self.layout }.get(piece)
    }

    /// Those of the doubtful pieces that no file holds whole.
    fn shelved(&self) -> Vec<(PieceIndex, Expected)> {
        let nowhere = |file: FileIndex| {
            !self.layout.file_is_pad(file) && self.paths.get(file.0 as usize).is_none_or(Option::is_none)
        };
        let shelved = self.doubtful.iter().filter(|piece| self.layout.files_of(*piece).any(nowhere));
        shelved.filter_map(|piece| Some((piece, self.expected(piece)?))).collect()
    }

    fn run(
        &self,
        threads: usize,
        progress: &(dyn Fn(u64) + Sync),
        cancel: &AtomicBool,
    ) -> Result<Bitfield, HashError> {
        let format = self.metainfo.info.format();
        let want = if self.is_v1_only() { Want { v1: true, v2: false } } else { Want::of(format) };
        let job = HashJob { paths: self.paths, layout: self.layout, want, threads, progress, cancel };
        let expected = |piece| self.doubtful.has(piece).then(|| self.expected(piece)).flatten();
        Ok(hash::check(&job, &expected)?.have)
    }
}
