//! Hash trees of v2 torrents (BEP 52 "pieces root", "piece layers", "hash request").
//!
//! Each non-empty file has a binary tree of SHA-256 hashes. Its leaves (layer 0) are the hashes of the file's 16 KiB
//! blocks, as many as the next power of two; leaves beyond the end of the file are 32 zero bytes. The piece layer is
//! the one in which a hash covers a piece.
//!
//! Nothing here hashes a whole file: leaves come from whoever reads the data. Nothing trusts its input either: hashes
//! from a peer or a file are kept only once they are proven by the root.

use sha2::{Digest, Sha256};

use crate::ids::{BLOCK_LEN, Sha256Hash};

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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The tree as BEP 52 words it: all leaves, padded with zeros to a power of two, hashed layer by layer.
    fn naive_root(leaves: &[Sha256Hash], width: usize) -> Sha256Hash {
        let mut layer = leaves.to_vec();
        layer.resize(width, Sha256Hash([0; 32]));
        while layer.len() > 1 {
            layer = layer.chunks(2).map(|pair| parent(&pair[0], &pair[1])).collect();
        }
        layer[0]
    }

    fn leaves(n: usize) -> Vec<Sha256Hash> {
        (0..n).map(|i| leaf(&i.to_le_bytes())).collect()
    }

    #[test]
    fn known_values() {
        let hex = |s| Sha256Hash::from_hex(s).unwrap();
        assert_eq!(leaf(b"abc"), hex("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"));
        // SHA-256 of 64 zero bytes.
        let zero = hex("f5a5fd42d16a20302798ef6ed309979b43003d2320d9f0e8ea9831a92759fb4b");
        assert_eq!((zero_root(0), zero_root(1)), (ZERO_LEAF, zero));
        assert_eq!(zero_root(2), parent(&zero, &zero));
    }

    #[test]
    fn heights() {
        let block = u64::from(BLOCK_LEN);
        let cases =
            [(0, 0), (1, 0), (block, 0), (block + 1, 1), (2 * block, 1), (2 * block + 1, 2), (5 * block, 3)];
        for (len, height) in cases {
            assert_eq!(tree_height(len), height, "{len}");
        }
        assert_eq!((piece_layer(BLOCK_LEN), piece_layer(8 * BLOCK_LEN)), (0, 3));
    }

    #[test]
    fn a_small_file_is_not_padded_to_a_piece() {
        let one = leaves(1);
        assert_eq!(piece_root(&one, 1 << 20, 5), one[0]);
        assert_eq!(piece_root(&leaves(3), 1 << 20, 40_000), naive_root(&leaves(3), 4));
        assert_eq!(piece_root(&one, 1 << 16, 1 << 20), naive_root(&one, 4));
    }

    #[test]
    fn layers_that_are_none() {
        assert!(layer_root(&[], 1 << 14).is_none());
        assert!(layer_root(&[0; 33], 1 << 14).is_none());
        assert_eq!(layer_root(&[7; 32], 1 << 14), Some(Sha256Hash([7; 32])));
    }

    proptest! {
        #[test]
        fn folding_is_the_naive_tree(n in 0..70usize, more in 0..3u32) {
            let width = n.max(1).next_power_of_two() << more;
            let height = width.trailing_zeros();
            prop_assert_eq!(root_of(&leaves(n), 0, height), naive_root(&leaves(n), width));
        }

        #[test]
        fn a_piece_layer_folds_to_the_root_of_the_leaves(n in 1..300usize, log in 0..4u32) {
            let (piece_length, per_piece) = (BLOCK_LEN << log, 1 << log);
            let (leaves, file_len) = (leaves(n), n as u64 * u64::from(BLOCK_LEN));
            let whole = naive_root(&leaves, n.next_power_of_two());
            let pieces = leaves.chunks(per_piece).map(|piece| piece_root(piece, piece_length, file_len));
            let layer: Vec<u8> = pieces.flat_map(|hash| hash.0).collect();
            if n > per_piece {
                prop_assert_eq!(layer_root(&layer, piece_length), Some(whole));
            } else {
                prop_assert_eq!(layer, whole.0);
            }
        }
    }
}
