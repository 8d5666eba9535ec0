//! Hashing files, to create a torrent or to check what is there (BEP 3 `pieces`, BEP 52 hash trees).
//!
//! Threads take runs of pieces off one counter; each reads into a buffer of its own and hashes what it read for v1, v2
//! or both, so that each byte is read once. `lanes` hashes sixteen messages at once where the processor can, `digest`
//! decides when that pays, `files` reads, `batch` does one run, `run` keeps the threads.
//!
//! Nothing is written. Files are not locked: one that changes meanwhile gives hashes of something that never was, as
//! with any other program. Memory is bounded: 2 MiB of buffer and 32 open files a thread, and some hundred bytes a piece.
//!
//! Tested against hashing all bytes in one go.

mod batch;
mod digest;
mod files;
mod lanes;
mod run;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use samara_proto::bitfield::Bitfield;
use samara_proto::ids::{FileIndex, PieceIndex, Sha1Hash, Sha256Hash};
use samara_proto::layout::Layout;
use samara_proto::merkle;
use samara_proto::metainfo::{FileHashes, Format, Info, NewHashes, PieceLayers};
use samara_proto::torrent::Expected;

use batch::Outcome;
pub(crate) use digest::leaves;

/// Which hashes to compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Want {
    /// SHA-1 of pieces (BEP 3).
    pub v1: bool,
    /// Hash trees (BEP 52). Every file must start at a piece boundary, as in v2 and hybrid torrents.
    pub v2: bool,
}

impl Want {
    /// Those that a torrent of this format has.
    pub const fn of(format: Format) -> Self {
        Self { v1: !matches!(format, Format::V2), v2: !matches!(format, Format::V1) }
    }
}

/// What to hash, and how.
#[derive(Clone, Copy)]
pub struct HashJob<'a> {
    /// Absolute path of each file of the layout; `None` for pad files, which read as zeros.
    pub paths: &'a [Option<PathBuf>],
    /// Where the files lie in the pieces.
    pub layout: &'a Layout,
    /// Which hashes.
    pub want: Want,
    /// Threads to use, the caller's counted; at least one.
    pub threads: usize,
    /// Is told, now and then and from any thread, how many bytes of [`Layout::total_len`] are done. Never decreases.
    pub progress: &'a (dyn Fn(u64) + Sync),
    /// When it becomes true, everything stops soon.
    pub cancel: &'a AtomicBool,
}

/// Why hashing stopped.
#[derive(Debug, thiserror::Error)]
pub enum HashError {
    /// A file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The caller cancelled.
    #[error("cancelled")]
    Cancelled,
}

impl HashError {
    fn read(path: Option<&Path>, source: io::Error) -> Self {
        Self::Read { path: path.map(Path::to_owned).unwrap_or_default(), source }
    }
}

/// What is there of a torrent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckResult {
    /// Pieces whose data is right.
    pub have: Bitfield,
    /// Pieces of which some byte is not there at all: the file is missing or too short.
    pub missing: Bitfield,
}

/// Hashes all files, for a new torrent.
///
/// # Errors
/// If a file is missing, shorter than the layout says or cannot be read; or if cancelled.
pub fn hash_files(job: &HashJob<'_>) -> Result<NewHashes, HashError> {
    let pieces = job.layout.num_pieces() as usize;
    let mut v1 = vec![0; if job.want.v1 { pieces * Sha1Hash::LEN } else { 0 }];
    let mut v2 = vec![Sha256Hash([0; 32]); if job.want.v2 { pieces } else { 0 }];
    run::run(job, &|_| true, |piece, outcome| {
        let hashes = match outcome {
            Outcome::Hashed(hashes) => hashes,
            Outcome::Missing(file) => return Err(too_short(job, file)),
        };
        let at = piece.0 as usize;
        if let Some(hash) = hashes.v1 {
            v1[at * Sha1Hash::LEN..][..Sha1Hash::LEN].copy_from_slice(&hash.0);
        }
        if let Some(hash) = hashes.v2 {
            v2[at] = hash;
        }
        Ok(())
    })?;
    Ok(NewHashes { v1: job.want.v1.then_some(v1), v2: job.want.v2.then(|| file_hashes(job.layout, &v2)) })
}

fn too_short(job: &HashJob<'_>, file: FileIndex) -> HashError {
    let path = job.paths.get(file.0 as usize).and_then(Option::as_deref);
    let missing = path.is_none_or(|path| !path.exists());
    let kind = if missing { io::ErrorKind::NotFound } else { io::ErrorKind::UnexpectedEof };
    HashError::read(path, kind.into())
}

/// Gathers the hashes of pieces into those of files.
fn file_hashes(layout: &Layout, pieces: &[Sha256Hash]) -> Vec<FileHashes> {
    let content = |file: &FileIndex| layout.file_len(*file) > 0 && !layout.file_is_pad(*file);
    let hashes = |file: FileIndex| {
        let range = layout.pieces_of(file);
        let layer: Vec<u8> =
            pieces[range.start as usize..range.end as usize].iter().flat_map(|hash| hash.0).collect();
        let root = merkle::layer_root(&layer, layout.piece_length());
        FileHashes { pieces_root: root.unwrap_or(Sha256Hash([0; 32])), layer }
    };
    (0..layout.num_files()).map(FileIndex).filter(content).map(hashes).collect()
}

/// Checks what is there: the pieces for which `expected` has hashes; the others count as neither had nor missing.
///
/// # Errors
/// If a file is there but cannot be read, or if cancelled.
pub fn check(
    job: &HashJob<'_>,
    expected: &(dyn Fn(PieceIndex) -> Option<Expected> + Sync),
) -> Result<CheckResult, HashError> {
    let pieces = job.layout.num_pieces();
    let mut result = CheckResult { have: Bitfield::new(pieces), missing: Bitfield::new(pieces) };
    run::run(job, &|piece| expected(piece).is_some(), |piece, outcome| {
        match outcome {
            Outcome::Missing(_) => result.missing.insert(piece),
            Outcome::Hashed(hashes) => {
                expected(piece).is_some_and(|e| e == hashes) && result.have.insert(piece)
            }
        };
        Ok(())
    })?;
    Ok(result)
}

/// The hashes that a torrent has for its pieces.
#[derive(Clone, Copy, Debug)]
pub struct PieceHashes<'a> {
    /// The torrent.
    pub info: &'a Info,
    /// Its piece layers, proven.
    pub layers: &'a PieceLayers,
    /// Its layout.
    pub layout: &'a Layout,
}

impl PieceHashes<'_> {
    /// The hashes of one piece: both halves of a hybrid. `None` if a piece layer that it needs is not known, and beyond
    /// the last piece.
    pub fn get(&self, piece: PieceIndex) -> Option<Expected> {
        let want = Want::of(self.info.format());
        let v1 = if want.v1 { Some(self.info.piece_hash_v1(piece)?) } else { None };
        let v2 = if want.v2 && !self.is_padding(piece) { Some(self.v2(piece)?) } else { None };
        Some(Expected { v1, v2 })
    }

    /// Whether a piece has no v2 hash because it belongs to no file.
    fn is_padding(&self, piece: PieceIndex) -> bool {
        piece.0 < self.layout.num_pieces() && self.layout.file_piece(piece).is_none()
    }

    fn v2(&self, piece: PieceIndex) -> Option<Sha256Hash> {
        let place = self.layout.file_piece(piece)?;
        let root = self.info.files().get(place.file.0 as usize)?.pieces_root?;
        if self.layout.file_len(place.file) <= self.layout.piece_length().into() {
            return Some(root);
        }
        let (hashes, _) = self.layers.get(&root)?.as_chunks::<32>();
        hashes.get(place.index as usize).map(|hash| Sha256Hash(*hash))
    }
}
