//! What a torrent says about itself: `.torrent` files and info dictionaries, read, made and written.
//!
//! Specs: BEP 3 (v1), BEP 52 (v2 and hybrids), BEP 47 (pad files, attributes, symbolic links), BEP 12 (tiers of
//! trackers), BEP 19 (web seeds), BEP 5 (nodes), BEP 27 (private).
//!
//! [`Info`] is the info dictionary, checked once and never changed: it may come from a file or from a peer (BEP 9).
//! [`Metainfo`] is a whole `.torrent` file around it. [`InfoBuilder`] makes a new one of files that the caller walks and
//! hashes.
//!
//! Refused: whatever leaves open which bytes belong where. Sizes that do not match the hashes, a path twice, a file
//! that is a folder too, v1 and v2 halves of a hybrid that differ, piece layers that do not hash to their root, and
//! numbers that would cost memory out of proportion ([`MAX_PIECES`], [`MAX_PATH_LEN`], [`MAX_PATH_DEPTH`],
//! [`MAX_PATH_BYTES`]). Not refused: names that no file system would take, such as `..`. They are kept as they are,
//! and [`path`](crate::path) makes them harmless. Nor are wrong types in optional fields, which are as good as absent.
//!
//! Tested by files that other software made (`tests/fixtures`), by a refusal for each error, and by building random
//! torrents and reading them back.

mod create;
mod error;
mod file;
mod hybrid;
mod info;
mod torrent;
mod v1;
mod v2;

pub use create::{BuildError, FileHashes, InfoBuilder, NewFile, NewHashes, Plan, default_piece_length};
pub use error::{FileProblem, HybridMismatch, LayerProblem, MetainfoError};
pub use file::{Attr, FileEntry, FilePath};
pub use info::{Format, Info};
pub use torrent::{Metainfo, PieceLayers};

/// Most pieces in a torrent. The v2 format can claim any number in a few bytes, and every peer costs a bit for each.
/// Twice what the most common library allows.
pub const MAX_PIECES: u32 = 1 << 22;

/// Longest v1 piece in bytes. BEP 3 sets no bounds and odd lengths exist, so the least is 1; but a piece must be held
/// until it is whole, and the longest in the wild are a quarter of this.
pub const MAX_PIECE_LENGTH: u32 = 1 << 30;

/// Longest path of one file in bytes, separators included: the limit of Linux for a path.
pub const MAX_PATH_LEN: usize = 4096;

/// Most components in the path of one file.
pub const MAX_PATH_DEPTH: usize = 100;

/// Most bytes that the paths of all files may take together. A v2 file tree names a folder once however many files
/// are in it, so this is what keeps memory in proportion to the input.
pub const MAX_PATH_BYTES: usize = 512 << 20;

#[cfg(test)]
mod tests;
