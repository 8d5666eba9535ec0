//! One torrent on disk: spans of pieces become reads and writes of files, whole pieces become whole files.

use std::collections::BTreeSet;
use std::io::{self, IoSlice, IoSliceMut};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use samara_proto::bitfield::Bitfield;
use samara_proto::ids::{Block, FileIndex, PieceIndex};
use samara_proto::layout::Span;

use super::event::{Digests, DiskEvent, EventSender, Events, Op, StorageError};
use super::files::Files;
use super::handles::{Handle, Handles};
use super::have::Have;
use super::io::{Backend, is_hole};
use super::root::Meta;
use super::spec::{Access, StorageSpec};
use super::survey::{Place, Stamp};

/// Stands for the part store where an index of a file is due.
pub(super) const PARTS: u32 = u32::MAX;

/// More files than this are cheaper to sync all at once, with the rest of their file system.
#[cfg(target_os = "linux")]
const SYNC_ALL_ABOVE: usize = 32;

/// What all storages share.
#[derive(Debug)]
pub(super) struct Io {
    pub(super) backend: Backend,
    pub(super) handles: Handles,
}

impl Io {
    /// Writes all of `slices` at `offset`. Zeros where nothing was written yet stay a hole.
    fn write(&self, handle: &Handle, slices: &mut [IoSlice<'_>], offset: u64) -> Result<(), StorageError> {
        let _alone = handle.writing();
        let end = offset + slices.iter().map(|s| s.len() as u64).sum::<u64>();
        let stays_hole = slices.iter().all(|s| is_zero(s)) && is_hole(&handle.file, offset, end);
        let written = if stays_hole {
            self.reach(handle, end)
        } else {
            self.backend.write_all(&handle.file, slices, offset)
        };
        written.map_err(|e| StorageError::new(&handle.path, Op::Write, e))
    }

    /// Makes the file at least `end` bytes long by its last zero. Not by setting its length: that might cut off what
    /// somebody else writes behind it at this moment.
    fn reach(&self, handle: &Handle, end: u64) -> io::Result<()> {
        if handle.file.metadata()?.len() >= end {
            return Ok(());
        }
        self.backend.write_all(&handle.file, &mut [IoSlice::new(&[0])], end - 1)
    }
}

/// Looks at a page at a time, so that data is told from zeros at the first one.
fn is_zero(bytes: &[u8]) -> bool {
    bytes.chunks(4096).all(|page| page.iter().fold(0, |all, byte| all | byte) == 0)
}

/// What happened since the last sync.
#[derive(Debug, Default)]
struct Journal {
    /// Indices of files, or [`PARTS`].
    files: BTreeSet<u32>,
    pieces: Vec<PieceIndex>,
}

/// One torrent on disk. Shared by all threads.
pub(super) struct Storage {
    pub(super) id: u64,
    pub(super) spec: Arc<StorageSpec>,
    pub(super) events: EventSender,
    pub(super) have: Have,
    pub(super) files: Files,
    /// Files that were selected.
    pub(super) wanted: Vec<AtomicBool>,
    /// Held by whoever reads or writes pieces; alone by who changes what lies where.
    pub(super) places: RwLock<()>,
    /// Pieces that each file lacks.
    pub(super) lacking: Vec<AtomicU32>,
    /// Wanted files that lack pieces.
    pub(super) unfinished: AtomicU32,
    journal: Mutex<Journal>,
    unproven: Mutex<BTreeSet<PieceIndex>>,
    stamps: Mutex<Vec<Option<Stamp>>>,
    /// There was no room; somebody looks whether there is again.
    pub(super) full: AtomicBool,
    failed: AtomicBool,
    pub(super) sync_queued: AtomicBool,
}

impl Storage {
    /// Opens a torrent of which `have` is said to be there: pieces in files that do not exist are dropped from it.
    /// Creates empty files, and finishes what a crash left unfinished.
    pub(super) fn open(
        io: &Io,
        id: u64,
        spec: Arc<StorageSpec>,
        mut have: Bitfield,
    ) -> Result<(Self, Events), StorageError> {
        if spec.files.len() != spec.layout.num_files() as usize || have.len() != spec.layout.num_pieces() {
            return Err(StorageError::new(&spec.root, Op::Open, io::ErrorKind::InvalidInput));
        }
        let (found, has_parts) = spec.survey()?.into_found();
        let (places, metas): (Vec<_>, Vec<_>) = found.into_iter().unzip();
        let files = Files::new(Arc::clone(&spec), places.clone());
        drop_missing(&spec, &places, has_parts, &mut have);
        let lacking: Vec<_> =
            (0..spec.files.len() as u32).map(|i| lacking(&spec, FileIndex(i), &have)).collect();
        let (events, receiver) = EventSender::new();
        let storage = Self {
            id,
            wanted: spec.files.iter().map(|file| AtomicBool::new(file.wanted)).collect(),
            places: RwLock::default(),
            have: Have::new(&have),
            unfinished: AtomicU32::new(0),
            stamps: Mutex::new(
                metas.iter().zip(&lacking).map(|(meta, n)| meta.map(|m| stamp(m, *n))).collect(),
            ),
            lacking: lacking.into_iter().map(AtomicU32::new).collect(),
            journal: Mutex::default(),
            unproven: Mutex::default(),
            full: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            sync_queued: AtomicBool::new(false),
            files,
            events,
            spec,
        };
        storage.prepare(io, &places)?;
        Ok((storage, receiver))
    }

    /// Brings the files into the state that `have` stands for.
    fn prepare(&self, io: &Io, places: &[Place]) -> Result<(), StorageError> {
        for (i, place) in (0..).map(FileIndex).zip(places) {
            if *place == Place::Absent {
                let had =
                    self.spec.layout.pieces_of(i).map(PieceIndex).filter(|p| self.have.has(*p)).collect();
                self.unshelve(io, i, had)?;
            }
            self.settle_file(i)?;
        }
        self.recount();
        Ok(())
    }

    /// Gives a file its final name if it is whole, and creates it if it is to be there without a byte.
    pub(super) fn settle_file(&self, file: FileIndex) -> Result<(), StorageError> {
        let place = self.files.place(file);
        if matches!(place, Place::Part | Place::Found | Place::Absent) && self.lacks(file) == 0 {
            self.finish_file(file);
        }
        if self.spec.access == Access::Write { self.create_empty(file) } else { Ok(()) }
    }

    /// Counts the wanted files that lack something; if there are none, that is told.
    pub(super) fn recount(&self) {
        let files = (0..self.spec.files.len() as u32).map(FileIndex);
        let open = |f: &FileIndex| {
            self.lacks(*f) > 0 && self.is_wanted(*f) && self.files.place(*f) != Place::Nowhere
        };
        let unfinished = files.filter(open).count() as u32;
        self.unfinished.store(unfinished, Ordering::Release);
        if unfinished == 0 {
            self.conclude();
        }
        self.files.rest();
    }

    /// To be held while pieces are read, written or synced.
    pub(super) fn stay(&self) -> RwLockReadGuard<'_, ()> {
        self.places.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_wanted(&self, file: FileIndex) -> bool {
        self.wanted.get(file.0 as usize).is_some_and(|wanted| wanted.load(Ordering::Acquire))
    }

    pub(super) fn lacks(&self, file: FileIndex) -> u32 {
        self.lacking.get(file.0 as usize).map_or(0, |n| n.load(Ordering::Acquire))
    }

    /// Moves these pieces of a file that was not wanted before out of the part store. Of those that
    /// are not had, what is there of them.
    pub(super) fn unshelve(
        &self,
        io: &Io,
        file: FileIndex,
        pieces: Vec<PieceIndex>,
    ) -> Result<(), StorageError> {
        let layout = Arc::clone(&self.spec.layout);
        for piece in pieces {
            let mut at = 0;
            for span in layout.spans(piece, 0, layout.piece_length()) {
                if span.file == file {
                    self.unshelve_span(io, piece, at, &span)?;
                }
                at += span.len;
            }
        }
        Ok(())
    }

    fn unshelve_span(&self, io: &Io, piece: PieceIndex, at: u32, span: &Span) -> Result<(), StorageError> {
        let parts = match self.parts(io, false) {
            // What was written of it may all lie in other files.
            Err(_) if !self.have.has(piece) => return Ok(()),
            parts => parts?,
        };
        let from = self.shelf(piece, at);
        let failed = |e| StorageError::new(&parts.path, Op::Read, e);
        // Of a piece in the making the end may never have been written.
        let there = parts.file.metadata().map_err(failed)?.len().saturating_sub(from);
        let len = if self.have.has(piece) { span.len } else { there.min(span.len.into()) as u32 };
        if len == 0 {
            return Ok(());
        }
        let mut data = vec![0; len as usize];
        io.backend.read_all(&parts.file, &mut [IoSliceMut::new(&mut data)], from).map_err(failed)?;
        let handle = self.handle(io, span.file, true)?;
        self.journal().files.insert(span.file.0);
        io.write(&handle, &mut [IoSlice::new(&data)], span.offset)
    }

    fn create_empty(&self, index: FileIndex) -> Result<(), StorageError> {
        let layout = &self.spec.layout;
        let wanted = self.is_wanted(index);
        let Some(file) = self.spec.file(index).filter(|f| wanted && f.symlink.is_none()) else {
            return Ok(());
        };
        if layout.file_len(index) > 0 || layout.file_is_pad(index) || file.path.as_os_str().is_empty() {
            return Ok(());
        }
        self.displaced(self.files.create_empty(file)?);
        Ok(())
    }

    fn displaced(&self, moved: Option<(std::path::PathBuf, std::path::PathBuf)>) {
        if let Some((from, to)) = moved {
            self.events.send(DiskEvent::Displaced { from, to });
        }
    }

    /// Where a byte of a piece stands in the part store.
    pub(super) fn shelf(&self, piece: PieceIndex, offset: u32) -> u64 {
        u64::from(piece.0) * u64::from(self.spec.layout.piece_length()) + u64::from(offset)
    }

    pub(super) fn parts(&self, io: &Io, write: bool) -> Result<Arc<Handle>, StorageError> {
        let key = (self.id, PARTS);
        match io.handles.get(key, write) {
            Some(handle) => Ok(handle),
            None => Ok(io.handles.insert(key, self.files.open_parts(write)?)),
        }
    }

    fn handle(&self, io: &Io, file: FileIndex, write: bool) -> Result<Arc<Handle>, StorageError> {
        let key = (self.id, file.0);
        if let Some(handle) = io.handles.get(key, write) {
            return Ok(handle);
        }
        let proven = || self.spec.layout.pieces_of(file).any(|p| self.have.has(PieceIndex(p)));
        Ok(io.handles.insert(key, self.files.open(file, write, proven)?))
    }

    /// The file that holds `span`, which begins at `offset` in `piece`, and where it does.
    fn target(
        &self,
        io: &Io,
        piece: PieceIndex,
        offset: u32,
        span: &Span,
        write: bool,
    ) -> Result<(Arc<Handle>, u64), StorageError> {
        if self.files.place(span.file) == Place::Shelved {
            return Ok((self.parts(io, write)?, self.shelf(piece, offset)));
        }
        Ok((self.handle(io, span.file, write)?, span.offset))
    }

    /// Writes `data`, which begins at `offset` in `piece`: one vectored call for each file that it touches.
    pub(super) fn write(
        &self,
        io: &Io,
        piece: PieceIndex,
        offset: u32,
        data: &[&[u8]],
    ) -> Result<(), StorageError> {
        let len = data.iter().map(|d| d.len() as u32).sum();
        let (mut at, mut data) = (offset, Cut::new(data.iter().copied()));
        for span in self.spec.layout.spans(piece, offset, len) {
            let mut slices: Vec<_> =
                data.take(span.len as usize, <[u8]>::split_at).map(IoSlice::new).collect();
            if !span.pad {
                let (handle, pos) = self.target(io, piece, at, &span, true)?;
                io.write(&handle, &mut slices, pos)?;
            }
            at += span.len;
        }
        Ok(())
    }

    /// Fills `bufs` with what begins at `offset` in `piece`: one vectored call for each file that it touches.
    pub(super) fn read<'a>(
        &self,
        io: &Io,
        piece: PieceIndex,
        offset: u32,
        bufs: impl IntoIterator<Item = &'a mut [u8]>,
        len: u32,
    ) -> Result<(), StorageError> {
        let (mut at, mut bufs) = (offset, Cut::new(bufs.into_iter()));
        for span in self.spec.layout.spans(piece, offset, len) {
            let slices = bufs.take(span.len as usize, <[u8]>::split_at_mut);
            if span.pad {
                slices.for_each(|s| s.fill(0));
            } else {
                let mut slices: Vec<_> = slices.map(IoSliceMut::new).collect();
                let (handle, pos) = self.target(io, piece, at, &span, false)?;
                let read = io.backend.read_all(&handle.file, &mut slices, pos);
                read.map_err(|e| StorageError::new(&handle.path, Op::Read, e))?;
            }
            at += span.len;
        }
        // What lies beyond the last file in the piece reads as zeros, as a pad file would.
        bufs.take((offset + len - at) as usize, <[u8]>::split_at_mut).for_each(|s| s.fill(0));
        Ok(())
    }

    /// Whether a peer may have this block.
    pub(super) fn can_read(&self, block: &Block) -> bool {
        self.have.has(block.piece) && self.spec.layout.serves(block)
    }

    /// Bytes that must be free before writing makes sense again after the disk was full.
    pub(super) fn needed(&self) -> u64 {
        self.spec.layout.piece_length().into()
    }

    /// Whether writing makes sense just now.
    pub(super) fn can_write(&self) -> bool {
        !self.full.load(Ordering::Acquire) && !self.has_failed()
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// Tells the owner, once, that it cannot go on.
    pub(super) fn fail(&self, error: StorageError) {
        if !self.failed.swap(true, Ordering::AcqRel) {
            self.events.send(DiskEvent::Failed(error));
        }
    }

    /// A piece is good and its data is in the files. `tell` is what the owner is to hear of it, if anything.
    pub(super) fn commit(&self, piece: PieceIndex, tell: Option<Digests>) {
        if !self.have.insert(piece) {
            return;
        }
        let layout = &self.spec.layout;
        let files = || layout.files_of(piece).filter(|&f| !layout.file_is_pad(f));
        let mut journal = self.journal();
        journal.pieces.push(piece);
        if self.spec.access == Access::Write {
            journal.files.extend(files().map(|f| f.0));
        }
        drop(journal);
        if let Some(digests) = tell {
            self.events.send(DiskEvent::Verified { piece, ok: true, digests });
        }
        files().for_each(|file| self.commit_file(file));
    }

    fn commit_file(&self, file: FileIndex) {
        let Some(lacking) = self.lacking.get(file.0 as usize) else { return };
        if lacking.fetch_sub(1, Ordering::AcqRel) != 1 {
            return;
        }
        self.finish_file(file);
        if self.is_wanted(file) && self.unfinished.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.conclude();
        }
    }

    fn finish_file(&self, file: FileIndex) {
        if self.spec.access == Access::ReadOnly {
            return;
        }
        match self.files.finish(file) {
            Ok(moved) => self.displaced(moved),
            Err(e) => self.fail(e),
        }
    }

    /// Whether no wanted file lacks anything.
    pub(super) fn is_finished(&self) -> bool {
        self.unfinished.load(Ordering::Acquire) == 0
    }

    /// Pieces that are on the disk in part, not proven.
    pub(super) fn unproven(&self) -> MutexGuard<'_, BTreeSet<PieceIndex>> {
        self.unproven.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every wanted file is whole.
    fn conclude(&self) {
        if self.spec.access == Access::Write {
            let wanted = (0..).map(FileIndex).zip(&self.spec.files).filter(|(i, _)| self.is_wanted(*i));
            for (_, file) in wanted.filter(|(_, file)| file.symlink.is_some()) {
                match self.files.create_link(file) {
                    Ok(moved) => self.displaced(moved),
                    // Not a reason to withhold the files; the owner hears of it.
                    Err(e) => self.events.send(DiskEvent::LinkSkipped(e)),
                }
            }
        }
        self.files.rest();
        if !self.has_failed() {
            self.events.send(DiskEvent::Finished);
        }
    }

    /// A piece is not to be told as synced.
    pub(super) fn forget_unsynced(&self, piece: PieceIndex) {
        self.journal().pieces.retain(|p| *p != piece);
    }

    fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stamps_mut(&self) -> MutexGuard<'_, Vec<Option<Stamp>>> {
        self.stamps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What each file looked like when it was last synced.
    pub(super) fn stamps(&self) -> Vec<Option<Stamp>> {
        self.stamps_mut().clone()
    }

    /// Makes all that was committed survive a crash, and tells the owner.
    pub(super) fn sync(&self, io: &Io) {
        // Lest bytes move between part store and file while it is judged where they are.
        let _stay = self.stay();
        self.sync_queued.store(false, Ordering::Release);
        let Journal { files, pieces } = std::mem::take(&mut *self.journal());
        match self.sync_files(io, &files) {
            Ok(()) => {
                self.stamp(&files);
                self.events.send(DiskEvent::Synced { pieces });
            }
            Err(e) => {
                let mut journal = self.journal();
                journal.files.extend(files);
                journal.pieces.extend(pieces);
                drop(journal);
                self.fail(e);
            }
        }
    }

    fn sync_files(&self, io: &Io, files: &BTreeSet<u32>) -> Result<(), StorageError> {
        let shelved = |&f: &u32| self.files.place(FileIndex(f)) == Place::Shelved;
        // It may be gone by now, when what was in it lies elsewhere.
        if files.iter().any(shelved)
            && let Ok(parts) = self.parts(io, false)
        {
            io.backend.sync(&parts.file).map_err(|e| StorageError::new(&parts.path, Op::Sync, e))?;
        }
        #[cfg(target_os = "linux")]
        if files.len() > SYNC_ALL_ABOVE {
            let root = self.files.root();
            return root.sync_all().map_err(|e| StorageError::new(root.path(), Op::Sync, e));
        }
        files.iter().filter(|f| !shelved(f)).try_for_each(|&f| {
            let handle = self.handle(io, FileIndex(f), false)?;
            io.backend.sync(&handle.file).map_err(|e| StorageError::new(&handle.path, Op::Sync, e))
        })
    }

    fn stamp(&self, files: &BTreeSet<u32>) {
        for &f in files {
            let now = self.files.stat(FileIndex(f)).map(|meta| stamp(meta, self.lacks(FileIndex(f))));
            if let Some(slot) = self.stamps_mut().get_mut(f as usize) {
                *slot = now;
            }
        }
        self.files.rest();
    }
}

const fn stamp(meta: Meta, lacking: u32) -> Stamp {
    Stamp { len: meta.len, mtime: meta.mtime, whole: lacking == 0 }
}

fn lacking(spec: &StorageSpec, file: FileIndex, have: &Bitfield) -> u32 {
    spec.layout.pieces_of(file).filter(|&p| !have.has(PieceIndex(p))).count() as u32
}

/// Drops from `have` what cannot be there, since its file is not.
fn drop_missing(spec: &StorageSpec, places: &[Place], has_parts: bool, have: &mut Bitfield) {
    for (i, place) in (0..).map(FileIndex).zip(places) {
        if matches!(place, Place::Absent | Place::Shelved) && !has_parts {
            spec.layout.pieces_of(i).for_each(|p| {
                have.remove(PieceIndex(p));
            });
        }
    }
}

/// A sequence of slices, from which a number of bytes is taken at a time.
struct Cut<S, I> {
    rest: I,
    head: Option<S>,
}

impl<S: std::ops::Deref<Target = [u8]> + Default, I: Iterator<Item = S>> Cut<S, I> {
    const fn new(rest: I) -> Self {
        Self { rest, head: None }
    }

    /// The next `n` bytes, or what is left.
    fn take(&mut self, mut n: usize, split: impl Fn(S, usize) -> (S, S)) -> impl Iterator<Item = S> {
        std::iter::from_fn(move || {
            if n == 0 {
                return None;
            }
            let head = self.head.take().or_else(|| self.rest.next())?;
            let (taken, rest) = if head.len() > n { split(head, n) } else { (head, S::default()) };
            n -= taken.len();
            self.head = (!rest.is_empty()).then_some(rest);
            Some(taken)
        })
    }
}
