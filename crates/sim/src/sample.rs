//! Torrents to play with: real info dictionaries over made-up content.

use std::sync::Arc;

use samara_proto::ids::{BLOCK_LEN, Block, PieceIndex, Sha256Hash};
use samara_proto::layout::Layout;
use samara_proto::merkle;
use samara_proto::metainfo::{
    Attr, FileHashes, FilePath, Format, Info, InfoBuilder, NewFile, NewHashes, PieceLayers,
};
use samara_proto::torrent::Expected;

/// A torrent and all that is true of it.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The info dictionary.
    pub info: Arc<Info>,
    /// Its piece layers (BEP 52).
    pub layers: PieceLayers,
    /// Its pieces and blocks.
    pub layout: Arc<Layout>,
}

/// A hash that stands for the `n`-th piece or block of a file.
fn made_up(file: usize, n: u64) -> Sha256Hash {
    merkle::leaf(format!("{file}/{n}").as_bytes())
}

fn file_hashes(file: usize, length: u64, piece_length: u32) -> FileHashes {
    let leaves: Vec<_> = (0..merkle::leaves_in(length)).map(|n| made_up(file, n)).collect();
    let pieces = leaves.chunks((piece_length / BLOCK_LEN) as usize);
    let layer = pieces.flat_map(|piece| merkle::piece_root(piece, piece_length, length).0).collect();
    FileHashes { pieces_root: merkle::root_of(&leaves, 0, merkle::tree_height(length)), layer }
}

impl Sample {
    /// A torrent of files with these lengths in bytes.
    ///
    /// # Panics
    /// If no such torrent can be made.
    pub fn new(format: Format, piece_length: u32, lengths: &[u64]) -> Self {
        let file = |(n, length): (usize, &u64)| NewFile {
            path: FilePath::new([format!("{n:04}")]),
            length: *length,
            attr: Attr::default(),
            symlink: None,
        };
        let files = lengths.iter().enumerate().map(file).collect();
        let name = "sample".to_owned();
        let plan = InfoBuilder {
            name,
            files,
            piece_length,
            format,
            private: false,
            source: None,
            single_file: false,
        };
        let plan = plan.plan().expect("a plan of plain files");
        let total: u64 = plan.files().iter().map(|f| f.length).sum();
        let v1 =
            (0..total.div_ceil(piece_length.into())).flat_map(|n| made_up(0, n).0[..20].to_vec()).collect();
        let real = plan.files().iter().filter(|f| f.length > 0 && !f.attr.pad).enumerate();
        let v2 = real.map(|(n, f)| file_hashes(n, f.length, piece_length)).collect();
        let hashes = NewHashes { v1: format.has_v1().then_some(v1), v2: format.has_v2().then_some(v2) };
        let (info, layers) = plan.finish(hashes).expect("hashes that fit the plan");
        let layout = Layout::of(&info).expect("a layout of a checked info");
        Self { info: Arc::new(info), layers, layout: Arc::new(layout) }
    }

    /// What a piece must be checked against, or `None` for the halves that the torrent has not.
    pub fn expected(&self, piece: PieceIndex) -> Expected {
        Expected { v1: self.info.piece_hash_v1(piece), v2: self.expected_v2(piece) }
    }

    /// The SHA-256 of a block's bytes, which for v2 is its leaf; of other bytes if it is not right.
    pub fn digest(&self, block: &Block, right: bool) -> Sha256Hash {
        match self.layout.file_piece(block.piece).filter(|_| right && self.info.format().has_v2()) {
            Some(at) => {
                let before = self.info.files().iter().take(at.file.0 as usize);
                let file = before.filter(|f| f.length > 0 && !f.attr.pad).count();
                let first = u64::from(at.index) * u64::from(self.layout.piece_length() / BLOCK_LEN);
                made_up(file, first + u64::from(block.index()))
            }
            None => merkle::leaf(format!("{block:?} {right}").as_bytes()),
        }
    }

    fn expected_v2(&self, piece: PieceIndex) -> Option<Sha256Hash> {
        let at = self.layout.file_piece(piece).filter(|_| self.info.format().has_v2())?;
        let root = self.info.files()[at.file.0 as usize].pieces_root?;
        match self.layers.get(&root) {
            Some(layer) => Sha256Hash::from_slice(&layer[at.index as usize * 32..][..32]),
            None => Some(root),
        }
    }
}
