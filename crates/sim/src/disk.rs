//! A disk without bytes: it knows which blocks are there and whether they would be right.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use samara_proto::bitfield::Bitfield;
use samara_proto::ids::{BLOCK_LEN, Block, PieceIndex, Sha256Hash};
use samara_proto::layout::Layout;
use samara_proto::time::Time;
use samara_proto::torrent::Expected;

use crate::Sample;

/// How long a piece takes to be hashed and written.
const VERIFY: Duration = Duration::from_millis(3);

/// Stands for the bytes of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload {
    /// Which block they are of.
    pub block: Block,
    /// They are what they should be.
    pub right: bool,
}

/// What the disk found about a piece that is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Which.
    pub piece: PieceIndex,
    /// It is right.
    pub ok: bool,
    /// What its blocks hash to, if it is wrong or under suspicion.
    pub digests: Vec<(u32, Sha256Hash)>,
}

/// When a disk serves wrong bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lies {
    /// Never.
    #[default]
    Never,
    /// Always.
    Always,
    /// One block in eight, always the same, so that others have a part in most of the pieces that it spoils.
    Now,
    /// One block in forty: most of the pieces that it sends alone are right.
    Seldom,
}

impl Lies {
    fn about(self, block: Block) -> bool {
        match self {
            Self::Never => false,
            Self::Always => true,
            Self::Now => (block.piece.0 + block.index()).is_multiple_of(8),
            Self::Seldom => (block.piece.0 * 7 + block.index()).is_multiple_of(40),
        }
    }
}

/// The storage of one node.
#[derive(Debug)]
pub struct Disk {
    sample: Sample,
    /// Pieces that are here and right.
    truth: Bitfield,
    pending: BTreeMap<PieceIndex, BTreeMap<u32, Payload>>,
    verdicts: VecDeque<(Time, Verdict)>,
    /// When it serves wrong bytes.
    lies: Lies,
    /// It never answers a read.
    mute: bool,
    stored: u64,
    rejected: u64,
}

impl Disk {
    /// With these pieces on it.
    pub const fn new(sample: Sample, have: Bitfield, lies: Lies, mute: bool) -> Self {
        Self {
            sample,
            truth: have,
            pending: BTreeMap::new(),
            verdicts: VecDeque::new(),
            lies,
            mute,
            stored: 0,
            rejected: 0,
        }
    }

    /// Pieces that are here and right.
    pub const fn truth(&self) -> &Bitfield {
        &self.truth
    }

    /// Bytes that were stored, those that turned out wrong not counted.
    pub const fn kept(&self) -> u64 {
        self.stored - self.rejected
    }

    /// Keeps a block.
    ///
    /// # Panics
    /// If it is here already, is not what its name says, or cannot be checked.
    pub fn store(&mut self, now: Time, block: Block, data: Payload, expected: &Expected, suspected: bool) {
        assert_eq!(data.block, block, "payload of another block");
        assert!(!self.truth.has(block.piece), "{block:?} is here and proven");
        self.check_expected(block.piece, expected);
        let blocks = self.pending.entry(block.piece).or_default();
        assert!(blocks.insert(block.index(), data).is_none(), "{block:?} stored twice");
        self.stored += u64::from(block.len);
        if blocks.len() == real_blocks(&self.sample.layout, block.piece) {
            let verdict = self.judge(block.piece, suspected);
            self.verdicts.push_back((now + VERIFY, verdict));
        }
    }

    fn check_expected(&self, piece: PieceIndex, expected: &Expected) {
        let truth = self.sample.expected(piece);
        assert!(expected.v1.is_some() || expected.v2.is_some(), "piece {piece} cannot be checked");
        assert!(expected.v1 == truth.v1, "wrong v1 hash for piece {piece}");
        assert!(expected.v2.is_none() || expected.v2 == truth.v2, "wrong v2 hash for piece {piece}");
    }

    /// What a real disk can tell: whether the piece is right, and what its blocks hash to.
    fn judge(&self, piece: PieceIndex, suspected: bool) -> Verdict {
        let blocks = || self.pending.get(&piece).into_iter().flatten();
        let ok = blocks().all(|(_, data)| data.right);
        let digest = |(n, data): (&u32, &Payload)| (*n, self.sample.digest(&data.block, data.right));
        let digests = if !ok || suspected { blocks().map(digest).collect() } else { Vec::new() };
        Verdict { piece, ok, digests }
    }

    /// When the next verdict is due.
    pub fn deadline(&self) -> Option<Time> {
        self.verdicts.front().map(|(at, _)| *at)
    }

    /// The next verdict that is due.
    pub fn verdict(&mut self, now: Time) -> Option<Verdict> {
        let (_, verdict) = self.verdicts.pop_front_if(|(at, _)| *at <= now)?;
        if verdict.ok {
            self.pending.remove(&verdict.piece);
            self.truth.insert(verdict.piece);
        }
        Some(verdict)
    }

    /// Lets go of blocks of a piece that is not right: of all, or of these.
    pub fn discard(&mut self, piece: PieceIndex, which: Option<&[u32]>) {
        let Some(blocks) = self.pending.get_mut(&piece) else { return };
        let gone = blocks.extract_if(.., |n, _| which.is_none_or(|which| which.contains(n)));
        self.rejected += gone.map(|(_, data)| u64::from(data.block.len)).sum::<u64>();
        if blocks.is_empty() {
            self.pending.remove(&piece);
        }
    }

    /// The leaves of a piece of a v2 file that is here. Who lies tells nothing.
    pub fn leaves(&self, piece: PieceIndex) -> Vec<Sha256Hash> {
        let layout = &self.sample.layout;
        let Some(part) = layout.file_piece(piece).filter(|_| self.lies == Lies::Never) else {
            return Vec::new();
        };
        let blocks = (0..part.len.div_ceil(BLOCK_LEN)).map(|n| layout.block(piece, n));
        blocks.map(|block| self.sample.digest(&block, true)).collect()
    }

    /// The bytes of a block: `None` if it never answers, `Some(None)` if it has not got them.
    pub fn read(&self, block: Block) -> Option<Option<Payload>> {
        if self.mute {
            return None;
        }
        Some(self.truth.has(block.piece).then_some(Payload { block, right: !self.lies.about(block) }))
    }
}

/// Blocks of a piece that have to come: all but those in pad files, which are zeros, yet at least one.
fn real_blocks(layout: &Layout, piece: PieceIndex) -> usize {
    layout.blocks(piece).filter(|block| !layout.is_pad(block)).count().max(1)
}
