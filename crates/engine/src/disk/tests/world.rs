//! A torrent to store: its bytes, hashes and folder, and a disk to store it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use samara_proto::bitfield::Bitfield;
use samara_proto::ids::{BLOCK_LEN, Block, FileIndex, PieceIndex, Sha1Hash};
use samara_proto::layout::Layout;
use samara_proto::merkle;
use samara_proto::rng::Rng;
use sha1::{Digest, Sha1};

use super::super::*;
use crate::disk::faults::Faults;
use crate::disk::io::Backend;

/// A folder of its own for each test, removed at the end.
pub(super) struct TempDir(PathBuf);

impl TempDir {
    pub(super) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        // In memory where there is such a place: syncing a busy disk takes its time.
        let memory = PathBuf::from("/dev/shm");
        let base = if memory.is_dir() { memory } else { std::env::temp_dir() };
        let path = base.join(format!("samara-disk-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What to check of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    V1,
    V2,
    Hybrid,
}

/// A file of the torrent: its length, whether it is a pad file, whether it is wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct TestFile {
    pub(super) len: u64,
    pub(super) pad: bool,
    pub(super) wanted: bool,
}

pub(super) const fn file(len: u64) -> TestFile {
    TestFile { len, pad: false, wanted: true }
}

/// A torrent.
pub(super) struct World {
    pub(super) dir: TempDir,
    pub(super) layout: Arc<Layout>,
    pub(super) files: Vec<TestFile>,
    pub(super) contents: Vec<Vec<u8>>,
    version: Version,
    known: RefCell<BTreeMap<PieceIndex, Expected>>,
}

/// With pad files put in so that each file starts at a piece boundary, for hybrids.
fn padded(files: &[TestFile], piece_length: u32) -> Vec<TestFile> {
    let mut out: Vec<TestFile> = Vec::new();
    let mut at = 0u64;
    for &f in files.iter().filter(|f| !f.pad) {
        let gap = at.next_multiple_of(piece_length.into()) - at;
        if gap > 0 && f.len > 0 {
            out.push(TestFile { len: gap, pad: true, wanted: true });
            at += gap;
        }
        out.push(f);
        at += f.len;
    }
    out
}

impl World {
    pub(super) fn new(version: Version, piece_length: u32, files: &[TestFile], seed: u64) -> Self {
        let files = if version == Version::V1 { files.to_vec() } else { padded(files, piece_length) };
        let files: Vec<_> = files.into_iter().filter(|f| version != Version::V2 || !f.pad).collect();
        let shape = files.iter().map(|f| (f.len, f.pad));
        let layout = Arc::new(Layout::new(piece_length, shape, version == Version::V2).unwrap());
        let mut rng = Rng::new(seed);
        let content = |f: &TestFile| if f.pad { vec![0; f.len as usize] } else { noise(&mut rng, f.len) };
        Self {
            dir: TempDir::new(),
            contents: files.iter().map(content).collect(),
            layout,
            files,
            version,
            known: RefCell::default(),
        }
    }

    pub(super) fn root(&self) -> PathBuf {
        self.dir.path().join("to")
    }

    pub(super) fn name(i: usize) -> PathBuf {
        PathBuf::from(format!("t/d{}/f{i}", i / 7))
    }

    pub(super) fn spec(&self) -> StorageSpec {
        let file = |(i, f): (usize, &TestFile)| FileSpec {
            path: if f.pad { PathBuf::new() } else { Self::name(i) },
            part: if f.pad { PathBuf::new() } else { Self::name(i).with_extension("part") },
            wanted: f.wanted,
            ..FileSpec::default()
        };
        StorageSpec {
            layout: Arc::clone(&self.layout),
            root: self.root(),
            files: self.files.iter().enumerate().map(file).collect(),
            parts: self.dir.path().join("state/x.parts"),
            access: Access::Write,
        }
    }

    pub(super) fn bytes(&self, block: &Block) -> Vec<u8> {
        let mut out = Vec::new();
        for span in self.layout.spans(block.piece, block.offset, block.len) {
            let content = &self.contents[span.file.0 as usize];
            out.extend_from_slice(&content[span.offset as usize..][..span.len as usize]);
        }
        out
    }

    pub(super) fn expected(&self, piece: PieceIndex) -> Expected {
        let all = self.bytes(&Block { piece, offset: 0, len: self.layout.piece_len(piece) });
        let v2 = || {
            let part = self.layout.file_piece(piece)?;
            let leaves: Vec<_> =
                all[..part.len as usize].chunks(BLOCK_LEN as usize).map(merkle::leaf).collect();
            Some(merkle::piece_root(&leaves, self.layout.piece_length(), self.layout.file_len(part.file)))
        };
        Expected {
            v1: (self.version != Version::V2).then(|| Sha1Hash(Sha1::digest(&all).into())),
            v2: if self.version == Version::V1 { None } else { v2() },
        }
    }

    pub(super) fn pieces(&self) -> impl Iterator<Item = PieceIndex> + use<> {
        (0..self.layout.num_pieces()).map(PieceIndex)
    }

    /// The pieces that hold bytes of wanted files.
    pub(super) fn wanted(&self) -> Vec<PieceIndex> {
        let wanted = |f: FileIndex| !self.files[f.0 as usize].pad && self.files[f.0 as usize].wanted;
        self.pieces().filter(|&p| self.layout.files_of(p).any(wanted)).collect()
    }

    pub(super) fn none(&self) -> Bitfield {
        Bitfield::new(self.layout.num_pieces())
    }

    /// All blocks of `pieces` that a peer would be asked for.
    pub(super) fn blocks(&self, pieces: &[PieceIndex]) -> Vec<Block> {
        let blocks = pieces.iter().flat_map(|&p| self.layout.blocks(p));
        blocks.filter(|b| !self.layout.is_pad(b)).collect()
    }

    /// What the disk says of these blocks, if all is right.
    pub(super) fn digests(&self, blocks: &[Block]) -> Digests {
        blocks.iter().map(|block| (block.index(), merkle::leaf(&self.bytes(block)))).collect()
    }

    pub(super) async fn job(&self, pool: &Pool, block: Block) -> StoreJob {
        let mut data = pool.take(block.len as usize).await;
        data.copy_from_slice(&self.bytes(&block));
        let expected =
            *self.known.borrow_mut().entry(block.piece).or_insert_with(|| self.expected(block.piece));
        StoreJob { block, data, expected, suspected: false }
    }

    /// Puts a file's content at `path` below the root, as another program would.
    pub(super) fn put(&self, path: &Path, content: &[u8]) {
        let path = self.root().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// All ordinary files below the root, with their content.
    pub(super) fn found(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut out = BTreeMap::new();
        walk(&self.root(), &mut |path| {
            let content = std::fs::read(path).unwrap();
            out.insert(path.strip_prefix(self.root()).unwrap().to_owned(), content);
        });
        out
    }

    /// What a naive program would have written for the wanted files.
    pub(super) fn model(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let files =
            self.files.iter().zip(&self.contents).enumerate().filter(|(_, (f, _))| !f.pad && f.wanted);
        files.map(|(i, (_, content))| (Self::name(i), content.clone())).collect()
    }
}

fn walk(folder: &Path, visit: &mut impl FnMut(&Path)) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.map(Result::unwrap) {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            walk(&entry.path(), visit);
        } else if kind.is_file() {
            visit(&entry.path());
        }
    }
}

fn noise(rng: &mut Rng, len: u64) -> Vec<u8> {
    let mut out = vec![0; len as usize];
    rng.fill(&mut out);
    out
}

pub(super) fn config() -> DiskConfig {
    // Nothing in the tests depends on time.
    DiskConfig { threads: 3, probe_interval: std::time::Duration::from_secs(3600), ..DiskConfig::default() }
}

pub(super) fn run<F: Future>(f: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(f)
}

pub(super) fn faulty(config: &DiskConfig) -> (Disk, Arc<Faults>) {
    let faults = Arc::new(Faults::default());
    (Disk::with_backend(config, Backend::Faulty(Arc::clone(&faults))).unwrap(), faults)
}

/// Stores blocks in the order given, while counting verdicts; returns all events up to the last verdict.
pub(super) async fn store_all(
    world: &World,
    disk: &Disk,
    handle: &StorageHandle,
    events: &mut Events,
    blocks: &[Block],
) -> Vec<DiskEvent> {
    let mut seen = Vec::new();
    for chunk in blocks.chunks(5) {
        let mut batch = Vec::new();
        for &block in chunk {
            batch.push(world.job(disk.pool(), block).await);
            // A batch that is being filled is memory that nobody else can give back.
            if disk.pool().gauge().down * 2 > disk.pool().gauge().down_budget {
                handle.store(&mut batch);
            }
        }
        handle.store(&mut batch);
        seen.extend(std::iter::from_fn(|| events.try_recv()));
    }
    let pieces: std::collections::BTreeSet<_> = blocks.iter().map(|b| b.piece).collect();
    while seen.iter().filter(|e| matches!(e, DiskEvent::Verified { .. } | DiskEvent::Lost { .. })).count()
        < pieces.len()
    {
        seen.push(events.recv().await.unwrap());
    }
    seen
}

/// The rest of the events, once the torrent was closed.
pub(super) async fn rest(events: &mut Events) -> Vec<DiskEvent> {
    let mut out = Vec::new();
    while let Some(event) = events.recv().await {
        out.push(event);
    }
    out
}

pub(super) fn good(events: &[DiskEvent]) -> Vec<PieceIndex> {
    let mut good: Vec<_> = events
        .iter()
        .filter_map(|e| if let DiskEvent::Verified { piece, ok: true, .. } = e { Some(*piece) } else { None })
        .collect();
    good.sort_unstable();
    good
}

/// Reads whole pieces, as a peer would, and compares.
pub(super) async fn read_and_compare(world: &World, handle: &StorageHandle, pieces: &[PieceIndex]) {
    let blocks: Vec<_> = pieces.iter().flat_map(|&p| world.layout.blocks(p)).collect();
    for chunk in blocks.chunks(40) {
        for (block, data) in handle.read(chunk.to_vec()).await {
            assert!(data.is_some_and(|d| *d == *world.bytes(&block)), "{block:?}");
        }
    }
}
