//! Requests for hashes, and the proofs in their answers (BEP 52 "hash request", "hashes").
//!
//! An answer is a run of nodes of one layer, then the uncles on the way to the root: the siblings of the subtree
//! above the run, of its parent, and so on. What is below that subtree follows from the run itself and is left out.

use super::{Fold, leaves_in, parent, piece_layer, tree_height};
use crate::ids::Sha256Hash;

/// Most hashes in one request (BEP 52 "length SHOULD NOT be greater than 512").
pub(super) const MAX_COUNT: u32 = 512;

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
    /// Number of layers above `base` for which uncle hashes are wanted; those that follow from the hashes themselves
    /// are counted but not sent.
    pub proof_layers: u32,
}

impl HashRequest {
    /// Layers from the hashes asked for up to the node that covers exactly them.
    const fn run_height(&self) -> u32 {
        self.count.trailing_zeros()
    }

    /// The node that covers exactly the hashes asked for.
    const fn run_root(&self) -> NodeId {
        NodeId { layer: self.base + self.run_height(), index: self.index as u64 >> self.run_height() }
    }

    /// Number of uncle hashes in the answer: the sibling of [`run_root`](Self::run_root) is the first of them.
    const fn num_uncles(&self) -> u32 {
        (self.proof_layers + 1).saturating_sub(self.run_height())
    }

    /// The uncles in the answer, in order.
    pub(super) fn uncles(&self) -> impl Iterator<Item = NodeId> + use<> {
        std::iter::successors(Some(self.run_root()), |node| Some(node.parent()))
            .map(|node| node.sibling())
            .take(self.num_uncles() as usize)
    }
}

/// Why hashes from a peer or a file are not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The request they answer is none that this tree can have been asked.
    #[error("no such hashes in this file")]
    NoSuchHashes,
    /// Not as many hashes as were asked for.
    #[error("wrong number of hashes")]
    WrongLength,
    /// They do not lead to the root.
    #[error("the hashes do not lead to the root of the file")]
    Mismatch,
    /// They lead to a node that is not known itself.
    #[error("the hashes lead to a node that is not proven")]
    Unanchored,
}

/// A place in a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NodeId {
    /// Layers above the leaves.
    pub(super) layer: u32,
    /// From the left.
    pub(super) index: u64,
}

impl NodeId {
    pub(super) const fn parent(self) -> Self {
        Self { layer: self.layer + 1, index: self.index / 2 }
    }

    pub(super) const fn sibling(self) -> Self {
        Self { layer: self.layer, index: self.index ^ 1 }
    }

    const fn is_left(self) -> bool {
        self.index.is_multiple_of(2)
    }
}

/// The shape of one file's tree.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// Leaves that are not padding.
    leaves: u64,
    piece_layer: u32,
    height: u32,
}

impl Shape {
    pub(super) fn new(file_len: u64, piece_length: u32) -> Self {
        let (leaves, height) = (leaves_in(file_len), tree_height(file_len));
        Self { leaves, piece_layer: piece_layer(piece_length), height }
    }

    /// The layer in which a node covers a piece; above the root if the file is smaller than a piece.
    pub(super) const fn piece_layer(&self) -> u32 {
        self.piece_layer
    }

    /// The layer of the root.
    pub(super) const fn height(&self) -> u32 {
        self.height
    }

    /// Number of nodes in `layer` that are not padding.
    pub(super) const fn width(&self, layer: u32) -> u64 {
        self.leaves.div_ceil(1 << layer)
    }

    /// Whether `request` names hashes and uncles that exist. Runs of one hash are let through although BEP 52 has
    /// them start at two: libtorrent asks so for the 513th piece (`hash_picker::pick_hashes`, RC_2_0).
    pub(super) fn allows(&self, request: &HashRequest) -> bool {
        let layers = self.height.saturating_sub(request.base);
        request.count.is_power_of_two()
            && request.count <= MAX_COUNT
            && request.index.is_multiple_of(request.count)
            && request.proof_layers < layers
            && u64::from(request.index) + u64::from(request.count) <= 1 << layers
    }
}

/// Hashes that came as the answer to a request, and what follows from them.
pub(super) struct Proof {
    /// The hashes asked for, padding among them.
    pub(super) run: Vec<Sha256Hash>,
    /// Every node that the proof passes or brings along, above the run; all true if the last one is.
    pub(super) nodes: Vec<(NodeId, Sha256Hash)>,
}

impl Proof {
    /// Reads the answer to `request`, which [`Shape::allows`], and climbs as far as it leads.
    pub(super) fn read(request: &HashRequest, answer: &[u8]) -> Result<Self, ProofError> {
        let (hashes, rest) = answer.as_chunks::<32>();
        let (count, uncles) = (request.count as usize, request.num_uncles() as usize);
        if hashes.len() != count + uncles || !rest.is_empty() {
            return Err(ProofError::WrongLength);
        }
        let (run, uncles) = hashes.split_at(count);
        let run: Vec<_> = run.iter().copied().map(Sha256Hash).collect();
        let nodes = climb(request, &run, uncles);
        Ok(Self { run, nodes })
    }

    /// The highest node that was reached.
    pub(super) fn top(&self) -> (NodeId, Sha256Hash) {
        self.nodes[self.nodes.len() - 1]
    }
}

/// The nodes on the way from the root of `run` up through `uncles`, each uncle before the parent it leads to.
fn climb(request: &HashRequest, run: &[Sha256Hash], uncles: &[[u8; 32]]) -> Vec<(NodeId, Sha256Hash)> {
    let mut at = request.run_root();
    let mut fold = Fold::new(request.base);
    run.iter().for_each(|hash| fold.push(*hash));
    let mut hash = fold.finish(at.layer);
    let mut nodes = vec![(at, hash)];
    for uncle in uncles.iter().copied().map(Sha256Hash) {
        hash = if at.is_left() { parent(&hash, &uncle) } else { parent(&uncle, &hash) };
        nodes.push((at.sibling(), uncle));
        at = at.parent();
        nodes.push((at, hash));
    }
    nodes
}
