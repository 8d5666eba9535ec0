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
use tokio::sync::mpsc;

use super::ToTorrent;
use crate::api::{Mode, SelectFn};
use crate::client::Shared;
use crate::disk::{Events, StorageError, StorageHandle, StorageSpec, Survey};
use crate::hash::{self, HashError, HashJob, PieceHashes, Want};
use crate::store::{Store, StoreError};

/// Progress is told each time this many bytes more were looked at.
const REPORT_EVERY: u64 = 16 << 20;

/// What was asked for when the torrent was added.
pub(super) struct Opening {
    pub(super) dir: PathBuf,
    pub(super) mode: Mode,
    pub(super) select: Option<SelectFn>,
    pub(super) paths: Option<Vec<Option<PathBuf>>>,
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
}

impl Opened {
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
    cancel: Arc<AtomicBool>,
) {
    let opened = open(opening, metainfo, &shared, &owner, cancel).await;
    let _ = owner.send(ToTorrent::Opened(Box::new(opened))).await;
}

async fn open(
    opening: Opening,
    metainfo: Arc<Metainfo>,
    shared: &Arc<Shared>,
    owner: &mpsc::Sender<ToTorrent>,
    cancel: Arc<AtomicBool>,
) -> Result<Opened, OpenError> {
    let (state, tell) = (Arc::clone(shared), owner.clone());
    let prepared = tokio::task::spawn_blocking(move || prepare(opening, metainfo, &state, &tell, &cancel));
    let Prepared { metainfo, spec, store, wanted, have, shelved, path } =
        prepared.await.map_err(|_| OpenError::Broken)??;
    let layout = Arc::clone(&spec.layout);
    let (storage, events) = shared.disk.open(spec, have).await?;
    for (piece, expected) in shelved {
        storage.check(piece, expected).await;
    }
    let have = storage.have();
    Ok(Opened { layout, storage, events, have, wanted, path, store: store.map(Arc::new), metainfo })
}

/// What is known before the storage opens.
struct Prepared {
    metainfo: Arc<Metainfo>,
    spec: Arc<StorageSpec>,
    store: Option<Store>,
    wanted: Option<Vec<Priority>>,
    have: Bitfield,
    /// Pieces that lie in the part store, at least in part, and so are for the disk to check.
    shelved: Vec<(PieceIndex, Expected)>,
    path: PathBuf,
}

fn prepare(
    opening: Opening,
    metainfo: Arc<Metainfo>,
    shared: &Shared,
    owner: &mpsc::Sender<ToTorrent>,
    cancel: &AtomicBool,
) -> Result<Prepared, OpenError> {
    let Opening { dir, mode, select, paths } = opening;
    let info = &metainfo.info;
    let mut wanted = select.map(|f| f(info)).transpose().map_err(OpenError::Selection)?;
    // What is not mentioned is not wanted: said once, so that all who look agree.
    wanted.iter_mut().for_each(|wanted| wanted.resize(info.files().len(), Priority::Skip));
    let dir = std::path::absolute(&dir).unwrap_or(dir);
    let store = open_store(shared, &info.hashes(), &dir, mode)?;
    let safe = sanitise(info);
    let path = top(&dir, &safe, info);
    let layout = Arc::new(Layout::of(info)?);
    let spec = Arc::new(match (paths, mode) {
        (Some(paths), _) => StorageSpec::existing(layout, paths),
        (None, Mode::Download) => {
            let beside = || dir.join(format!(".{}.parts", info.hashes().primary()));
            let parts = store.as_ref().map_or_else(beside, Store::parts_path);
            let flags: Vec<_> = wanted.iter().flatten().map(|priority| priority.is_wanted()).collect();
            StorageSpec::download(info, layout, dir, &flags, parts)
        }
        (None, Mode::Seed | Mode::Trusted) => StorageSpec::existing(layout, below(&safe, &dir)),
    });
    let survey = spec.survey()?;
    let trusted = match mode {
        Mode::Trusted => Bitfield::full(spec.layout.num_pieces()),
        Mode::Download | Mode::Seed => trusted(store.as_ref(), &spec.layout, &survey),
    };
    let mut doubtful = survey.present();
    for piece in trusted.iter() {
        doubtful.remove(piece);
    }
    let check = Check { metainfo: &metainfo, layout: &spec.layout, paths: survey.paths(), doubtful };
    let shelved = check.shelved();
    let mut have = trusted;
    if check.doubtful.count() > 0 {
        have.extend(check.run(owner, cancel)?.iter());
    }
    drop(survey);
    if mode == Mode::Seed && !have.is_full() {
        return Err(OpenError::Incomplete { missing: have.len() - have.count(), pieces: have.len(), path });
    }
    Ok(Prepared { metainfo, spec, store, wanted, have, shelved, path })
}

/// Opens the resume data, if there is a place for it. Only who writes needs to be alone.
fn open_store(
    shared: &Shared,
    hashes: &InfoHashes,
    dir: &Path,
    mode: Mode,
) -> Result<Option<Store>, OpenError> {
    let (Some(state_dir), Mode::Download | Mode::Seed) = (&shared.config.state_dir, mode) else {
        return Ok(None);
    };
    let mut store = Store::open(state_dir, hashes, dir)?;
    if mode == Mode::Download {
        store.lock()?;
    }
    Ok(Some(store))
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

/// The pieces that the resume data vouches for.
fn trusted(store: Option<&Store>, layout: &Layout, survey: &Survey<'_>) -> Bitfield {
    let record = store.and_then(Store::load);
    record.map_or_else(|| Bitfield::new(layout.num_pieces()), |r| r.trusted(layout, &survey.stamps()))
}

/// What is there and not trusted, to be hashed.
struct Check<'a> {
    metainfo: &'a Metainfo,
    layout: &'a Layout,
    /// Where each file is, if it is anywhere.
    paths: Vec<Option<PathBuf>>,
    doubtful: Bitfield,
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

    /// Hashes on all cores.
    fn run(&self, owner: &mpsc::Sender<ToTorrent>, cancel: &AtomicBool) -> Result<Bitfield, HashError> {
        let told = AtomicU64::new(0);
        let total = self.layout.total_len();
        let _ = owner.blocking_send(ToTorrent::Checking { done: 0, total });
        let progress = |done: u64| {
            let last = told.fetch_max(done, Ordering::Relaxed);
            if last / REPORT_EVERY != done / REPORT_EVERY {
                // An owner that is busy misses this one and gets a later one.
                let _ = owner.try_send(ToTorrent::Checking { done, total });
            }
        };
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let format = self.metainfo.info.format();
        let want = if self.is_v1_only() { Want { v1: true, v2: false } } else { Want::of(format) };
        let job =
            HashJob { paths: &self.paths, layout: self.layout, want, threads, progress: &progress, cancel };
        let expected = |piece| self.doubtful.has(piece).then(|| self.expected(piece)).flatten();
        Ok(hash::check(&job, &expected)?.have)
    }
}
