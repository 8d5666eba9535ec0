//! Hash trees of v2 torrents (BEP 52).

use crate::ids::Sha256Hash;

/// Names a span of hashes of one file's tree, as `hash request` does (BEP 52).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HashRequest {
    /// The file's `pieces root`.
    pub root: Sha256Hash,
    /// Layer of the hashes asked for; 0 is the leaves.
    pub base: u32,
    /// First hash within that layer; a multiple of `count`.
    pub index: u32,
    /// Number of hashes, a power of two from 2 up to 512.
    pub count: u32,
    /// Number of layers above `base` for which uncle hashes are wanted.
    pub proof_layers: u32,
}
