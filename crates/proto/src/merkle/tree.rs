//! What is known of one file's hash tree: its root, and as much of the piece layer as was proven.
//!
//! The piece layer is kept in runs of 512 hashes, the most that one request brings, and of the layers above only what
//! leads from a run to the root. Memory is thus bounded by what was proven, whatever length the metainfo claims; one
//! answer costs at most some thousand hashes. Leaves are never kept.
//!
//! Tested by trees that exchange hashes: each legal answer is accepted, each flipped bit refused.

use std::collections::BTreeMap;

use super::proof::{HashRequest, MAX_COUNT, NodeId, Proof, ProofError, Shape};
use super::{parent, root_of, zero_root};
use crate::ids::Sha256Hash;

/// Layers from the piece layer up to the roots of its runs.
const RUN_HEIGHT: u32 = MAX_COUNT.trailing_zeros();

/// Most hashes to be computed for the run of one answer.
const MAX_WORK: u64 = 8 * MAX_COUNT as u64;

/// What is known of one file's tree. Everything in it is proven by the root.
#[derive(Clone, Debug)]
pub struct HashTree {
    root: Sha256Hash,
    shape: Shape,
    /// The piece layer: runs of [`MAX_COUNT`] hashes, the last one shorter. Padding is left out.
    runs: BTreeMap<u64, Box<[Sha256Hash]>>,
    /// All runs below this one are known.
    first_missing: u64,
    /// Nodes from the roots of runs up to below the root. Padding may be left out.
    upper: BTreeMap<NodeId, Sha256Hash>,
}

impl HashTree {
    /// The tree of a file of `file_len` > 0 bytes, of which only the root is known. `piece_length` is a power of two
    /// from 16 KiB up, as in every valid metainfo.
    pub fn new(root: Sha256Hash, file_len: u64, piece_length: u32) -> Self {
        let shape = Shape::new(file_len, piece_length);
        Self { root, shape, runs: BTreeMap::new(), first_missing: 0, upper: BTreeMap::new() }
    }

    /// The file's `pieces root`.
    pub const fn root(&self) -> &Sha256Hash {
        &self.root
    }

    /// Number of pieces that the file has.
    pub const fn num_pieces(&self) -> u64 {
        self.shape.width(self.shape.piece_layer())
    }

    /// Whether the hash of every piece is known; at once so for a file no larger than a piece.
    pub const fn has_layer(&self) -> bool {
        !self.is_layered() || self.first_missing == self.num_runs()
    }

    /// The hash of the file's `n`-th piece, if it is known: a node of the piece layer or, in a file no larger than a
    /// piece, the root.
    pub fn piece_hash(&self, n: u32) -> Option<Sha256Hash> {
        let index = u64::from(n);
        (index < self.num_pieces()).then(|| self.node(NodeId { layer: self.shape.piece_layer(), index }))?
    }

    /// The whole piece layer, as `piece layers` in a metainfo file has it. `None` if it is not all known, or if the
    /// file is no larger than a piece and so has none.
    pub fn layer(&self) -> Option<Vec<u8>> {
        let whole = self.is_layered() && self.has_layer();
        whole.then(|| self.runs.values().flatten().flat_map(|hash| hash.0).collect())
    }

    /// Takes the whole piece layer, as `piece layers` in a metainfo file has it: one hash for each piece.
    ///
    /// # Errors
    /// If the file has no piece layer, the number of hashes is wrong or they do not lead to the root; then nothing
    /// changes.
    pub fn set_layer(&mut self, layer: &[u8]) -> Result<(), ProofError> {
        let (hashes, rest) = layer.as_chunks::<32>();
        if !self.is_layered() {
            return Err(ProofError::NoSuchHashes);
        }
        if hashes.len() as u64 != self.num_pieces() || !rest.is_empty() {
            return Err(ProofError::WrongLength);
        }
        let runs: Vec<Box<[_]>> = hashes
            .chunks(MAX_COUNT as usize)
            .map(|run| run.iter().copied().map(Sha256Hash).collect())
            .collect();
        let upper = self.upper_layers(&runs)?;
        self.first_missing = runs.len() as u64;
        self.runs = (0..).zip(runs).collect();
        self.upper = upper;
        Ok(())
    }

    /// All nodes from the roots of `runs` up to below the root.
    fn upper_layers(&self, runs: &[Box<[Sha256Hash]>]) -> Result<BTreeMap<NodeId, Sha256Hash>, ProofError> {
        let (base, mut layer) = (self.shape.piece_layer(), self.run_layer());
        let mut nodes: Vec<_> = runs.iter().map(|run| root_of(run, base, layer)).collect();
        let mut upper = BTreeMap::new();
        while layer < self.shape.height() {
            upper.extend((0..).zip(&nodes).map(|(index, hash)| (NodeId { layer, index }, *hash)));
            let zero = zero_root(layer);
            nodes = nodes.chunks(2).map(|pair| parent(&pair[0], pair.get(1).unwrap_or(&zero))).collect();
            layer += 1;
        }
        if nodes == [self.root] { Ok(upper) } else { Err(ProofError::Mismatch) }
    }

    /// What to ask for next: the first run of the piece layer that is not known.
    pub fn missing_request(&self) -> Option<HashRequest> {
        self.missing_requests().next()
    }

    /// All that is to be asked for, in order: each request is for up to 512 hashes of the piece layer, with all the
    /// uncles that prove them by the root alone, so that answers may come in any order. Empty if the layer is known.
    pub fn missing_requests(&self) -> impl Iterator<Item = HashRequest> + '_ {
        let end = if self.has_layer() { 0 } else { self.num_runs() };
        (self.first_missing..end)
            .filter(|run| !self.runs.contains_key(run))
            .filter_map(|run| self.run_request(run))
    }

    fn run_request(&self, run: u64) -> Option<HashRequest> {
        let first = run * u64::from(MAX_COUNT);
        // Two is the least that BEP 52 lets one ask for.
        let pieces = (self.num_pieces() - first).clamp(2, MAX_COUNT.into());
        Some(HashRequest {
            root: self.root,
            base: self.shape.piece_layer(),
            index: u32::try_from(first).ok()?,
            count: pieces.next_power_of_two() as u32,
            proof_layers: self.shape.height() - self.shape.piece_layer() - 1,
        })
    }

    /// Takes the answer to a request for a run of the piece layer: the hashes, then the uncles.
    ///
    /// # Errors
    /// If it is not a whole run, as [`missing_requests`](Self::missing_requests) asks for them, or the root does not
    /// prove it; then nothing changes.
    pub fn accept(&mut self, request: &HashRequest, answer: &[u8]) -> Result<(), ProofError> {
        if !self.is_layered() || request.base != self.shape.piece_layer() {
            return Err(ProofError::NoSuchHashes);
        }
        let run = u64::from(request.index / MAX_COUNT);
        let wanted = self.num_pieces().saturating_sub(request.index.into()).min(MAX_COUNT.into());
        if !request.index.is_multiple_of(MAX_COUNT) || wanted == 0 || u64::from(request.count) < wanted {
            return Err(ProofError::NoSuchHashes);
        }
        let mut proof = self.prove(request, answer)?;
        proof.run.truncate(wanted as usize);
        self.runs.insert(run, proof.run.into());
        let (from, to) = (self.run_layer(), self.shape.height());
        self.upper.extend(proof.nodes.into_iter().filter(|(at, _)| (from..to).contains(&at.layer)));
        while self.runs.contains_key(&self.first_missing) {
            self.first_missing += 1;
        }
        Ok(())
    }

    /// What to ask for to learn the leaves of the file's `n`-th piece, so as to tell which of its blocks are bad: no
    /// uncles, for the piece's own hash proves them. `None` if that hash is not known, if the piece has but one block,
    /// or if it has more than one request may ask for (a piece larger than 8 MiB).
    pub fn leaf_request(&self, n: u32) -> Option<HashRequest> {
        self.piece_hash(n)?;
        let height = self.leaf_height();
        let count = 1u32.checked_shl(height).filter(|count| (2..=MAX_COUNT).contains(count))?;
        let (index, proof_layers) = (n.checked_mul(count)?, height - 1);
        Some(HashRequest { root: self.root, base: 0, index, count, proof_layers })
    }

    /// The hashes in the answer to any legal request, proven by what is known; padding among them.
    ///
    /// # Errors
    /// If the request is not legal or the answer is not proven.
    pub fn verify(&self, request: &HashRequest, answer: &[u8]) -> Result<Vec<Sha256Hash>, ProofError> {
        self.prove(request, answer).map(|proof| proof.run)
    }

    fn prove(&self, request: &HashRequest, answer: &[u8]) -> Result<Proof, ProofError> {
        if request.root != self.root || !self.shape.allows(request) {
            return Err(ProofError::NoSuchHashes);
        }
        let proof = Proof::read(request, answer)?;
        let (at, hash) = proof.top();
        match self.node(at) {
            Some(known) if known == hash => Ok(proof),
            Some(_) => Err(ProofError::Mismatch),
            None => Err(ProofError::Unanchored),
        }
    }

    /// The answer to a peer's request: the hashes, then the uncles. `None` (send a `hash reject`) if the request is
    /// not legal, asks for leaves (see [`leaf_piece`](Self::leaf_piece)), costs too much, or too little is known.
    pub fn answer(&self, request: &HashRequest) -> Option<Vec<u8>> {
        let above = request.base.checked_sub(self.shape.piece_layer())?;
        let work = u64::from(request.count).checked_shl(above).unwrap_or(u64::MAX);
        (above >= RUN_HEIGHT || work <= MAX_WORK).then(|| self.collect(request, |at| self.node(at)))?
    }

    /// The piece of the file whose leaves are needed to answer `request`, a legal one for hashes below the piece
    /// layer. `None` for any other request.
    pub fn leaf_piece(&self, request: &HashRequest) -> Option<u32> {
        let height = self.leaf_height();
        let below =
            request.base == 0 && self.shape.allows(request) && request.count.trailing_zeros() <= height;
        (below && self.shape.piece_layer() > 0).then(|| request.index.checked_shr(height).unwrap_or(0))
    }

    /// The answer to a peer's request for leaves, given all the leaves of the piece that
    /// [`leaf_piece`](Self::leaf_piece) names. `None` (send a `hash reject`) if the request is not legal, or too
    /// little is known. The leaves must be those of the verified piece; they are not checked again.
    pub fn answer_leaves(&self, request: &HashRequest, leaves: &[Sha256Hash]) -> Option<Vec<u8>> {
        let height = self.leaf_height();
        let start = u64::from(self.leaf_piece(request)?) << height;
        if leaves.len() as u64 != self.shape.width(0).saturating_sub(start).min(1 << height) {
            return None;
        }
        self.collect(request, |at| {
            let below = |at: NodeId| slice(leaves, (at.index << at.layer) - start, 1 << at.layer);
            if at.layer < height { Some(root_of(below(at), 0, at.layer)) } else { self.node(at) }
        })
    }

    /// The hashes and uncles that `request` names, each looked up by `node`.
    fn collect(&self, request: &HashRequest, node: impl Fn(NodeId) -> Option<Sha256Hash>) -> Option<Vec<u8>> {
        if request.root != self.root || !self.shape.allows(request) {
            return None;
        }
        let layer = request.base;
        let first = u64::from(request.index);
        let end = first + u64::from(request.count);
        let real = self.shape.width(layer).clamp(first, end);
        let mut answer = Vec::with_capacity((request.count + request.proof_layers + 1) as usize * 32);
        for index in first..real {
            answer.extend(node(NodeId { layer, index })?.0);
        }
        let zero = if real < end { zero_root(layer) } else { self.root };
        (real..end).for_each(|_| answer.extend(zero.0));
        for uncle in request.uncles() {
            answer.extend(node(uncle)?.0);
        }
        Some(answer)
    }

    /// A node of the piece layer or above, if it is known.
    fn node(&self, at: NodeId) -> Option<Sha256Hash> {
        if at.layer >= self.shape.height() {
            return (at.index == 0).then_some(self.root);
        }
        if at.index >= self.shape.width(at.layer) {
            return Some(zero_root(at.layer));
        }
        if at.layer >= self.run_layer() {
            return self.upper.get(&at).copied();
        }
        let above = at.layer.checked_sub(self.shape.piece_layer())?;
        let first = at.index << above;
        let run = self.runs.get(&(first / u64::from(MAX_COUNT)))?;
        let below = slice(run, first % u64::from(MAX_COUNT), 1 << above);
        Some(root_of(below, self.shape.piece_layer(), at.layer))
    }

    /// Whether the file is larger than a piece, so that it has a piece layer.
    const fn is_layered(&self) -> bool {
        self.shape.height() > self.shape.piece_layer()
    }

    const fn num_runs(&self) -> u64 {
        self.num_pieces().div_ceil(MAX_COUNT as u64)
    }

    /// The layer of the roots of runs: the root itself if there is but one run.
    fn run_layer(&self) -> u32 {
        self.shape.height().min(self.shape.piece_layer() + RUN_HEIGHT)
    }

    /// Layers from the leaves of a piece up to its hash.
    fn leaf_height(&self) -> u32 {
        self.shape.piece_layer().min(self.shape.height())
    }
}

/// The part of `nodes` that lies in `first..first + len`.
fn slice(nodes: &[Sha256Hash], first: u64, len: u64) -> &[Sha256Hash] {
    let from = (first as usize).min(nodes.len());
    &nodes[from..nodes.len().min(from + len as usize)]
}
