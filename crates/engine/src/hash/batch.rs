//! Hashing one run of pieces.
//!
//! A buffer holds the same part of all pieces of the run, for SHA-1 in lanes goes through sixteen pieces abreast. Where
//! pieces are short the parts are whole pieces, and the buffer is filled by few long reads.

use std::sync::OnceLock;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use samara_proto::ids::{BLOCK_LEN, FileIndex, PieceIndex, Sha1Hash, Sha256Hash};
use samara_proto::layout::Layout;
use samara_proto::merkle;
use samara_proto::torrent::Expected;
use sha1::{Digest, Sha1};

use super::digest::{self, Sha1Set};
use super::files::Files;
use super::lanes::LANES;
use super::{HashError, HashJob};

/// Bytes of buffer a thread: enough for long reads, few enough to stay in a processor's cache. Tests use few, so that
/// little data takes every path.
const BUFFER: usize = if cfg!(test) { 1 << 20 } else { 2 << 20 };

/// Sixteen pieces of this length fill the buffer.
pub(super) const SHORT: u32 = (BUFFER / LANES) as u32;

/// A block of zeros.
static ZEROS: [u8; BLOCK_LEN as usize] = [0; BLOCK_LEN as usize];

/// Bytes a second, for one thread, that no spinning disk gives; a busy machine's page cache still does.
const FED: f64 = 256.0 * 1024.0 * 1024.0;

/// What became of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Its hashes, as far as they were wanted; no v2 one for a piece that is nothing but padding.
    Hashed(Expected),
    /// This file is missing, or too short.
    Missing(FileIndex),
}

/// Reads and hashes for one thread.
pub(super) struct Hasher<'a> {
    job: &'a HashJob<'a>,
    files: Files<'a>,
    buf: Vec<u8>,
    /// Hashes of a whole piece of zeros, once they are needed; all threads share them.
    zeros: &'a OnceLock<Expected>,
    /// Bytes read in the last run, and how long that took.
    pace: (u64, Duration),
}

/// One piece of a run.
struct Lane {
    piece: PieceIndex,
    len: u32,
    /// Bytes of it that belong to a v2 file; the rest is padding.
    v2_len: u32,
    missing: Option<FileIndex>,
    leaves: Vec<Sha256Hash>,
}

/// A read to be done: from a file into the buffer.
struct Read {
    file: FileIndex,
    pad: bool,
    offset: u64,
    len: usize,
    /// Where in the buffer.
    at: usize,
}

impl<'a> Hasher<'a> {
    pub(super) fn new(job: &'a HashJob<'a>, zeros: &'a OnceLock<Expected>) -> Self {
        Self { job, files: Files::new(job.paths), buf: Vec::new(), zeros, pace: (0, Duration::ZERO) }
    }

    /// Whether the last run was read so fast that hashing is what takes time.
    pub(super) fn is_fed(&self) -> bool {
        let (bytes, time) = self.pace;
        bytes as f64 > time.as_secs_f64() * FED
    }

    /// Hashes at most [`LANES`] pieces. If SHA-1 is wanted they must be equally long.
    pub(super) fn run(&mut self, pieces: &[PieceIndex]) -> Result<Vec<(PieceIndex, Outcome)>, HashError> {
        debug_assert!(pieces.len() <= LANES);
        let mut done = Vec::with_capacity(pieces.len());
        let mut lanes = Vec::with_capacity(pieces.len());
        for &piece in pieces {
            if self.is_zero(piece)? {
                done.push((piece, Outcome::Hashed(*self.zeros.get_or_init(|| self.hash_zeros()))));
            } else {
                lanes.push(self.lane(piece));
            }
        }
        if !lanes.is_empty() {
            self.pace = (0, Duration::ZERO);
            self.hash(lanes, &mut done)?;
        }
        Ok(done)
    }

    fn layout(&self) -> &'a Layout {
        self.job.layout
    }

    fn lane(&self, piece: PieceIndex) -> Lane {
        let v2_len = if self.job.want.v2 { self.layout().file_piece(piece).map_or(0, |p| p.len) } else { 0 };
        Lane { piece, len: self.layout().piece_len(piece), v2_len, missing: None, leaves: Vec::new() }
    }

    /// Whether a piece of full length, of one file in v2, is known to be zeros without reading it.
    fn is_zero(&mut self, piece: PieceIndex) -> Result<bool, HashError> {
        let (layout, length) = (self.layout(), self.layout().piece_length());
        let lane = self.lane(piece);
        if lane.len < length || (self.job.want.v2 && lane.v2_len < length) {
            return Ok(false);
        }
        for span in layout.spans(piece, 0, length) {
            if !span.pad && !self.files.is_hole(span.file, span.offset, span.len)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn hash_zeros(&self) -> Expected {
        let (want, length) = (self.job.want, self.layout().piece_length());
        Expected { v1: want.v1.then(|| sha1_of_zeros(length)), v2: want.v2.then(|| root_of_zeros(length)) }
    }

    fn hash(&mut self, mut lanes: Vec<Lane>, done: &mut Vec<(PieceIndex, Outcome)>) -> Result<(), HashError> {
        let chunk = self.chunk(lanes.len());
        // No larger than is needed, for many a torrent is smaller than the buffer.
        self.buf.resize(self.buf.len().max(chunk * lanes.len()), 0);
        let longest = lanes.iter().map(|lane| lane.len).max().unwrap_or(0);
        let mut sha1 = self.job.want.v1.then(|| Sha1Set::new(lanes.len(), longest));
        for from in (0..longest).step_by(chunk) {
            if self.job.cancel.load(Ordering::Relaxed) {
                return Err(HashError::Cancelled);
            }
            self.fill(&mut lanes, from, chunk)?;
            if lanes.iter().all(|lane| lane.missing.is_some()) {
                break;
            }
            if let Some(sha1) = &mut sha1 {
                let len = chunk.min((longest - from) as usize);
                let parts: Vec<_> =
                    self.buf.chunks(chunk).take(lanes.len()).map(|part| &part[..len]).collect();
                sha1.update(&parts);
            }
            self.add_leaves(&mut lanes, from, chunk);
        }
        let mut sha1 = sha1.map(|sha1| sha1.finish().into_iter());
        done.extend(lanes.into_iter().map(|lane| {
            let v1 = sha1.as_mut().and_then(Iterator::next);
            (lane.piece, lane.outcome(v1, self.layout()))
        }));
        Ok(())
    }

    /// Bytes of each piece in the buffer at a time: the whole piece, or a multiple of 64 KiB.
    fn chunk(&self, lanes: usize) -> usize {
        let room = (BUFFER / lanes) & !0xffff;
        room.min(self.layout().piece_length() as usize)
    }

    /// Reads the part of each piece that begins at `from`.
    fn fill(&mut self, lanes: &mut [Lane], from: u32, chunk: usize) -> Result<(), HashError> {
        let started = Instant::now();
        for read in self.reads(lanes, from, chunk) {
            let into = &mut self.buf[read.at..read.at + read.len];
            let got = if read.pad { zero(into) } else { self.files.read(read.file, read.offset, into)? };
            self.pace.0 += got as u64;
            let missing = read.at + got..read.at + read.len;
            if !missing.is_empty() {
                let hit = missing.start / chunk..=(missing.end - 1) / chunk;
                lanes[hit].iter_mut().for_each(|lane| lane.missing = Some(read.file));
            }
        }
        self.pace.1 += started.elapsed();
        Ok(())
    }

    /// What to read: parts of one file that lie next to each other in the buffer too are one read.
    fn reads(&self, lanes: &[Lane], from: u32, chunk: usize) -> Vec<Read> {
        let mut reads: Vec<Read> = Vec::new();
        for (i, lane) in lanes.iter().enumerate().filter(|(_, lane)| lane.missing.is_none()) {
            let mut at = i * chunk;
            for span in self.layout().spans(lane.piece, from, chunk as u32) {
                let len = span.len as usize;
                match reads.last_mut().filter(|last| last.is_followed_by(span.file, span.offset, at)) {
                    Some(last) => last.len += len,
                    None => reads.push(Read { file: span.file, pad: span.pad, offset: span.offset, len, at }),
                }
                at += len;
            }
        }
        reads
    }

    /// Hashes the blocks of v2 files that are in the buffer.
    fn add_leaves(&self, lanes: &mut [Lane], from: u32, chunk: usize) {
        let (mut blocks, mut owners) = (Vec::new(), Vec::new());
        for (i, (lane, part)) in lanes.iter().zip(self.buf.chunks(chunk)).enumerate() {
            let len = (lane.v2_len.saturating_sub(from) as usize).min(chunk);
            let before = blocks.len();
            blocks.extend(part[..len].chunks(BLOCK_LEN as usize));
            owners.extend(std::iter::repeat_n(i, blocks.len() - before));
        }
        for (owner, leaf) in owners.into_iter().zip(digest::leaves(&blocks)) {
            lanes[owner].leaves.push(leaf);
        }
    }
}

impl Read {
    /// Whether this one goes on where `offset` in `file` is to be read to `at` in the buffer.
    fn is_followed_by(&self, file: FileIndex, offset: u64, at: usize) -> bool {
        self.file == file && self.offset + self.len as u64 == offset && self.at + self.len == at
    }
}

impl Lane {
    fn outcome(&self, v1: Option<Sha1Hash>, layout: &Layout) -> Outcome {
        if let Some(file) = self.missing {
            return Outcome::Missing(file);
        }
        let place = layout.file_piece(self.piece).filter(|_| self.v2_len > 0);
        let root = |file| merkle::piece_root(&self.leaves, layout.piece_length(), layout.file_len(file));
        Outcome::Hashed(Expected { v1, v2: place.map(|place| root(place.file)) })
    }
}

fn zero(buf: &mut [u8]) -> usize {
    buf.fill(0);
    buf.len()
}

fn sha1_of_zeros(len: u32) -> Sha1Hash {
    let mut sha1 = Sha1::new();
    for at in (0..len).step_by(ZEROS.len()) {
        sha1.update(&ZEROS[..ZEROS.len().min((len - at) as usize)]);
    }
    Sha1Hash(sha1.finalize().into())
}

/// Root of a piece of zeros; `len` is the piece length.
fn root_of_zeros(len: u32) -> Sha256Hash {
    let leaves = vec![merkle::leaf(&ZEROS); (len / BLOCK_LEN) as usize];
    merkle::piece_root(&leaves, len, len.into())
}
