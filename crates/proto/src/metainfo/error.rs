//! Why a torrent is refused.

use super::{MAX_PATH_BYTES, MAX_PATH_DEPTH, MAX_PATH_LEN, MAX_PIECE_LENGTH, MAX_PIECES};
use crate::bencode;
use crate::ids::{BLOCK_LEN, Sha256Hash};

/// Why a torrent, or an info dictionary, is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MetainfoError {
    /// Not bencoding at all, or too big.
    #[error(transparent)]
    Bencode(#[from] bencode::Error),
    /// A field that has to be there is not.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// A field that has to be there has another type.
    #[error("`{key}` is not {expected}")]
    WrongType {
        /// The field.
        key: &'static str,
        /// What it should be, with its article.
        expected: &'static str,
    },
    /// A format newer than this one; nothing else was looked at, as BEP 52 asks.
    #[error("the torrent has meta version {0}; only version 2, or none, is supported")]
    UnsupportedVersion(i64),
    /// Two ways to say the size in one torrent.
    #[error("there are both `length` and `files`: which of them counts is not defined")]
    LengthAndFiles,
    /// A v1 piece length out of bounds.
    #[error("a piece length of {0} bytes is not between 1 and {MAX_PIECE_LENGTH}")]
    PieceLength(i64),
    /// A v2 piece length out of bounds.
    #[error(
        "a piece length of {0} bytes is not a power of two between {BLOCK_LEN} and {MAX_PIECE_LENGTH}, as v2 demands"
    )]
    PieceLengthV2(i64),
    /// `pieces` is no whole number of hashes.
    #[error("`pieces` has {0} bytes, which is not a multiple of 20")]
    PiecesLength(usize),
    /// The size asks for another number of pieces than there are hashes.
    #[error("{hashes} piece hashes do not match a size of {size} bytes, which is {pieces} pieces")]
    PieceCount {
        /// Hashes in `pieces`.
        hashes: u64,
        /// Size of all files, pad files included.
        size: u64,
        /// Pieces that this takes.
        pieces: u64,
    },
    /// More than [`MAX_PIECES`].
    #[error("{0} pieces are more than the {MAX_PIECES} allowed")]
    TooManyPieces(u64),
    /// The sizes do not fit 64 bits together.
    #[error("the files together are too large")]
    TotalSize,
    /// More than [`MAX_PATH_BYTES`].
    #[error("the paths of all files together take more than the {MAX_PATH_BYTES} bytes allowed")]
    PathBytes,
    /// A torrent of nothing.
    #[error("the torrent has no files")]
    NoFiles,
    /// One file is at fault.
    #[error("file {path:?}: {problem}")]
    File {
        /// Its path as far as known, cut to a readable length.
        path: String,
        /// What is wrong with it.
        problem: FileProblem,
    },
    /// The halves of a hybrid describe different torrents.
    #[error("the v1 and v2 halves of this hybrid torrent differ: {0}")]
    Hybrid(#[from] HybridMismatch),
    /// `piece layers` is not what the info dictionary asks for.
    #[error("the piece layer of root {root} {problem}")]
    Layer {
        /// The `pieces root` of the file.
        root: Sha256Hash,
        /// What is wrong with its layer.
        problem: LayerProblem,
    },
}

impl MetainfoError {
    /// `problem` in the file at `path`.
    pub(super) fn file(path: &(impl ToString + ?Sized), problem: FileProblem) -> Self {
        const SHOWN: usize = 200;
        let mut path = path.to_string();
        if path.len() > SHOWN {
            path.truncate(path.floor_char_boundary(SHOWN));
            path.push('…');
        }
        Self::File { path, problem }
    }
}

/// What is wrong with one file of a torrent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FileProblem {
    /// Not described by a dictionary.
    #[error("it is not described by a dictionary")]
    NotADict,
    /// No `length`, or it is not an integer.
    #[error("it has no length")]
    NoLength,
    /// `length` below zero.
    #[error("its length of {0} is negative")]
    NegativeLength(i64),
    /// No path where one is needed, or one that is not a list of strings.
    #[error("its path is missing or is not a list of strings")]
    NoPath,
    /// A component of no bytes.
    #[error("its path has an empty component")]
    EmptyComponent,
    /// Longer than [`MAX_PATH_LEN`].
    #[error("its path is longer than the {MAX_PATH_LEN} bytes allowed")]
    PathTooLong,
    /// Deeper than [`MAX_PATH_DEPTH`].
    #[error("its path has more than the {MAX_PATH_DEPTH} components allowed")]
    PathTooDeep,
    /// Two files of one path.
    #[error("its path occurs twice")]
    DuplicatePath,
    /// Another file lies below it.
    #[error("it is a file and a folder at once")]
    FileAndFolder,
    /// A symbolic link without target.
    #[error("it is a symbolic link without a valid target")]
    NoTarget,
    /// A symbolic link with content.
    #[error("it is a symbolic link and yet has a length")]
    LinkWithLength,
    /// A pad file in a v2 tree, where files are aligned without.
    #[error("it is a pad file, which a v2 file tree cannot have")]
    PadInTree,
    /// A v2 file with content but no root of 32 bytes.
    #[error("its `pieces root` is missing or is not 32 bytes")]
    NoPiecesRoot,
}

/// Where the halves of a hybrid torrent differ.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HybridMismatch {
    /// One half is a single file, the other a folder.
    #[error("one is a single file and the other is a folder")]
    Shape,
    /// Not the same number of files, pad files left out.
    #[error("v1 has {v1} files and v2 has {v2}")]
    FileCount {
        /// Files of the v1 half.
        v1: usize,
        /// Files of the v2 half.
        v2: usize,
    },
    /// Names, or order.
    #[error("v1 has {v1:?} where v2 has {v2:?}")]
    Path {
        /// Path in the v1 half.
        v1: String,
        /// Path in the v2 half.
        v2: String,
    },
    /// Size of one file.
    #[error("file {path:?} has {v1} bytes in v1 and {v2} in v2")]
    Length {
        /// The file.
        path: String,
        /// Bytes in the v1 half.
        v1: u64,
        /// Bytes in the v2 half.
        v2: u64,
    },
    /// Attributes or link target of one file.
    #[error("file {0:?} has other attributes, or another link target, in v1 than in v2")]
    Attributes(String),
    /// A file that does not begin where v2 puts it.
    #[error("file {0:?} does not begin at its piece boundary in v1: pad files are missing or wrong")]
    Alignment(String),
    /// Padding after the last file that makes more pieces.
    #[error("v1 has {v1} pieces and v2 has {v2}")]
    PieceCount {
        /// Pieces of the v1 half.
        v1: u64,
        /// Pieces of the v2 half.
        v2: u64,
    },
}

/// What is wrong with a piece layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LayerProblem {
    /// The file is larger than a piece, so that BEP 52 demands a layer.
    #[error("is missing")]
    Missing,
    /// Another number of hashes than the file has pieces.
    #[error("has {got} bytes instead of {expected}")]
    Length {
        /// Bytes that the file's pieces take.
        expected: u64,
        /// Bytes found.
        got: usize,
    },
    /// The hashes do not combine to the root.
    #[error("does not hash to that root")]
    Root,
}
