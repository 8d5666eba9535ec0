//! Hash trees of v2 torrents (BEP 52 "pieces root", "piece layers", "hash request").
//!
//! Each non-empty file has a binary tree of SHA-256 hashes. Its leaves (layer 0) are the hashes of the file's 16 KiB
//! blocks, as many as the next power of two; leaves beyond the end of the file are 32 zero bytes. The piece layer is
//! the one in which a hash covers a piece.
//!
//! This file has the arithmetic; `proof` has the requests by which peers exchange hashes, and `tree` what is known of
//! one file's tree. Nothing here hashes a whole file: leaves come from whoever reads the data. Nothing trusts its
//! input either: hashes from a peer or a file are kept only once they are proven by the root.
//!
//! Tested against the tree as BEP 52 words it: all leaves, padded, hashed layer by layer.

mod proof;
#[cfg(test)]
mod tests;
mod tree;

use sha2::{Digest, Sha256};

use crate::ids::{BLOCK_LEN, Sha256Hash};

pub use proof::{HashRequest, ProofError};
pub use tree::HashTree;

/// A leaf beyond the end of the file (BEP 52).
const ZERO_LEAF: Sha256Hash = Sha256Hash([0; 32]);

/// The leaf of one block: its SHA-256. The last block of a file is hashed at the length it has.
pub fn leaf(block: &[u8]) -> Sha256Hash {
    Sha256Hash(Sha256::digest(block).into())
}

/// The node above two nodes.
pub fn parent(left: &Sha256Hash, right: &Sha256Hash) -> Sha256Hash {
    let mut both = [0; 64];
    both[..32].copy_from_slice(&left.0);
    both[32..].copy_from_slice(&right.0);
    leaf(&both)
}

/// The root of a subtree, `height` layers above its leaves, that lies wholly beyond the end of the file.
pub fn zero_root(height: u32) -> Sha256Hash {
    (0..height).fold(ZERO_LEAF, |node, _| parent(&node, &node))
}

/// Number of 16 KiB blocks, and so of leaves that are not padding, in a file of `file_len` bytes.
pub const fn leaves_in(file_len: u64) -> u64 {
    file_len.div_ceil(BLOCK_LEN as u64)
}

/// Layers above the leaves at which the root of a file's tree stands; 0 for a file of at most one block.
pub fn tree_height(file_len: u64) -> u32 {
    leaves_in(file_len).max(1).next_power_of_two().trailing_zeros()
}

/// The layer in which one hash covers a piece; `piece_length` is a power of two from 16 KiB up (BEP 52).
pub const fn piece_layer(piece_length: u32) -> u32 {
    (piece_length / BLOCK_LEN).trailing_zeros()
}

/// Folds the nodes of one layer, given in order, into the root of the subtree above them. It holds one hash a layer.
#[derive(Clone, Debug)]
pub struct Fold {
    base: u32,
    /// Roots of whole subtrees, each with its layer; the layers strictly fall.
    subtrees: Vec<(u32, Sha256Hash)>,
}

impl Fold {
    /// To be fed with nodes of layer `base`.
    pub const fn new(base: u32) -> Self {
        Self { base, subtrees: Vec::new() }
    }

    /// Adds the next node.
    pub fn push(&mut self, node: Sha256Hash) {
        self.add(self.base, node);
    }

    fn add(&mut self, mut layer: u32, mut node: Sha256Hash) {
        while let Some((_, left)) = self.subtrees.pop_if(|(other, _)| *other == layer) {
            node = parent(&left, &node);
            layer += 1;
        }
        self.subtrees.push((layer, node));
    }

    /// The node at layer `height` above all that was added; what is missing there counts as padding. If more was
    /// added than that node covers, the result is the lowest node that covers it all.
    pub fn finish(mut self, height: u32) -> Sha256Hash {
        loop {
            let layer = match self.subtrees.as_slice() {
                [(layer, node)] if *layer >= height => return *node,
                subtrees => subtrees.last().map_or(self.base, |(layer, _)| *layer),
            };
            self.add(layer, zero_root(layer));
        }
    }
}

/// The node at layer `height` above `nodes`, which are the first ones below it in layer `base`; the rest is padding.
pub fn root_of(nodes: &[Sha256Hash], base: u32, height: u32) -> Sha256Hash {
    let mut fold = Fold::new(base);
    nodes.iter().for_each(|node| fold.push(*node));
    fold.finish(height)
}

/// The hash that proves one piece, from the leaves of its blocks: in a file larger than a piece its node in the piece
/// layer, else the file's root. `file_len` and `piece_length` in bytes.
pub fn piece_root(leaves: &[Sha256Hash], piece_length: u32, file_len: u64) -> Sha256Hash {
    root_of(leaves, 0, piece_layer(piece_length).min(tree_height(file_len)))
}

/// The root above a whole piece layer, given as concatenated hashes (the value in `piece layers`). `None` if it is
/// empty or not a whole number of hashes. Whether it has as many hashes as the file has pieces is for the caller.
pub fn layer_root(layer: &[u8], piece_length: u32) -> Option<Sha256Hash> {
    let (nodes, rest) = layer.as_chunks::<32>();
    if nodes.is_empty() || !rest.is_empty() {
        return None;
    }
    let mut fold = Fold::new(piece_layer(piece_length));
    nodes.iter().for_each(|node| fold.push(Sha256Hash(*node)));
    Some(fold.finish(0))
}
