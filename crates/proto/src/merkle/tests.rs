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

/// One whole file's tree, layer by layer from the leaves, padded.
struct Model {
    layers: Vec<Vec<Sha256Hash>>,
    num_leaves: usize,
    piece_length: u32,
}

impl Model {
    fn new(num_leaves: usize, log: u32) -> Self {
        let mut layer = leaves(num_leaves);
        layer.resize(num_leaves.next_power_of_two(), ZERO_LEAF);
        let mut layers = vec![layer];
        while let Some(below) = layers.last().filter(|l| l.len() > 1) {
            layers.push(below.chunks(2).map(|pair| parent(&pair[0], &pair[1])).collect());
        }
        Self { layers, num_leaves, piece_length: BLOCK_LEN << log }
    }

    fn root(&self) -> Sha256Hash {
        self.layers.last().unwrap()[0]
    }

    fn file_len(&self) -> u64 {
        self.num_leaves as u64 * u64::from(BLOCK_LEN)
    }

    fn tree(&self) -> HashTree {
        HashTree::new(self.root(), self.file_len(), self.piece_length)
    }

    fn piece_layer(&self) -> Vec<u8> {
        let log = piece_layer(self.piece_length);
        let pieces = self.num_leaves.div_ceil(1 << log);
        self.layers.get(log as usize).map_or(vec![], |l| l[..pieces].iter().flat_map(|h| h.0).collect())
    }

    fn full(&self) -> HashTree {
        let mut tree = self.tree();
        if self.layers.len() > piece_layer(self.piece_length) as usize + 1 {
            tree.set_layer(&self.piece_layer()).unwrap();
        }
        tree
    }

    /// The answer as BEP 52 words it; `None` if the request names something that does not exist.
    fn answer(&self, r: &HashRequest) -> Option<Vec<u8>> {
        let top = self.layers.len() as u32 - 1;
        let end = r.index.checked_add(r.count)?;
        if r.base + r.proof_layers >= top || !r.index.is_multiple_of(r.count) {
            return None;
        }
        let run = self.layers[r.base as usize].get(r.index as usize..end as usize)?;
        let uncles = (0..=r.proof_layers).filter(|up| 1 << up >= r.count).map(|up| {
            let index = (r.index >> up) ^ 1;
            self.layers[(r.base + up) as usize][index as usize]
        });
        Some(run.iter().copied().chain(uncles).flat_map(|h| h.0).collect())
    }

    fn leaves_of(&self, piece: u32) -> &[Sha256Hash] {
        let per_piece = (self.piece_length / BLOCK_LEN) as usize;
        let first = piece as usize * per_piece;
        &self.layers[0][first..self.num_leaves.min(first + per_piece)]
    }
}

fn requests(root: Sha256Hash) -> impl Strategy<Value = HashRequest> {
    let count = (0..11u32).prop_map(|log| 1 << log);
    (0..8u32, 0..20u32, count, 0..12u32).prop_map(move |(base, at, count, proof_layers)| {
        let index = at * count;
        HashRequest { root, base, index, count, proof_layers }
    })
}

/// A tree and a request for it, which may or may not be legal.
fn exchanges() -> impl Strategy<Value = (usize, u32, HashRequest)> {
    let size = prop_oneof![1..40usize, 500..530usize, 1020..1100usize];
    (size, 0..4u32).prop_flat_map(|(n, log)| (Just(n), Just(log), requests(Model::new(n, log).root())))
}

fn flipped(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let at = at % (bytes.len() * 8);
    bytes[at / 8] ^= 1 << (at % 8);
    bytes
}

proptest! {
    #[test]
    fn answers_agree_with_the_model((n, log, request) in exchanges()) {
        let model = Model::new(n, log);
        let tree = model.full();
        let expected = model.answer(&request).filter(|_| request.count <= 512);
        if request.base >= log {
            prop_assert_eq!(tree.answer(&request), expected);
            prop_assert_eq!(tree.leaf_piece(&request), None);
        } else {
            prop_assert_eq!(tree.answer(&request), None);
            let expected = expected.filter(|_| request.base == 0 && request.count.trailing_zeros() <= log);
            prop_assert_eq!(tree.leaf_piece(&request).is_some(), expected.is_some());
            let leaves = tree.leaf_piece(&request).map_or(&[][..], |piece| {
                // A request may ask for padding beyond the last piece.
                if piece as usize * (1 << log) < n { model.leaves_of(piece) } else { &[] }
            });
            prop_assert_eq!(tree.answer_leaves(&request, leaves), expected);
        }
    }

    #[test]
    fn what_one_tree_answers_the_other_accepts((n, log, request) in exchanges(), bit: usize) {
        let model = Model::new(n, log);
        let Some(answer) = model.answer(&request).filter(|_| request.count <= 512) else { return Ok(()) };
        let tree = model.full();
        let run = tree.verify(&request, &answer);
        let (base, first) = (request.base as usize, request.index as usize);
        match run {
            Ok(run) => prop_assert_eq!(&run, &model.layers[base][first..first + request.count as usize]),
            // A proof that ends below the piece layer.
            Err(err) => prop_assert!(err == ProofError::Unanchored && request.base < log),
        }
        prop_assert!(tree.verify(&request, &flipped(&answer, bit)).is_err());
        prop_assert!(tree.verify(&request, &answer[1..]).is_err());
    }

    #[test]
    fn a_layer_is_learnt_from_the_root_alone(
        n in prop_oneof![1..50usize, 510..520usize, 1020..1030usize, 2000..2600usize],
        log in 0..3u32, order: u64, bit: usize,
    ) {
        let model = Model::new(n, log);
        let (server, mut client) = (model.full(), model.tree());
        let mut missing: Vec<_> = client.missing_requests().collect();
        prop_assert_eq!(missing.first().copied(), client.missing_request());
        crate::rng::Rng::new(order).shuffle(&mut missing);
        for request in missing {
            prop_assert!(!client.has_layer() && client.layer().is_none());
            let answer = server.answer(&request).unwrap();
            prop_assert_eq!(Some(answer.clone()), model.answer(&request));
            prop_assert!(client.accept(&request, &flipped(&answer, bit)).is_err());
            prop_assert_eq!(client.accept(&request, &answer), Ok(()));
            prop_assert_eq!(client.answer(&request), Some(answer));
        }
        prop_assert!(client.has_layer() && client.missing_request().is_none());
        for piece in 0..n.div_ceil(1 << log) as u32 {
            let expected = piece_root(model.leaves_of(piece), model.piece_length, model.file_len());
            prop_assert_eq!(client.piece_hash(piece), Some(expected));
        }
        prop_assert_eq!(client.piece_hash(n.div_ceil(1 << log) as u32), None);
        prop_assert_eq!(client.layer(), Some(model.piece_layer()).filter(|_| n > 1 << log));
    }

    #[test]
    fn leaves_of_a_piece_are_proven_by_its_hash(n in 2..70usize, log in 1..4u32, piece: u32, bit: usize) {
        let model = Model::new(n, log);
        let tree = model.full();
        let piece = piece % n.div_ceil(1 << log) as u32;
        let request = tree.leaf_request(piece).unwrap();
        prop_assert_eq!(tree.leaf_piece(&request), Some(piece));
        let leaves = model.leaves_of(piece);
        let answer = tree.answer_leaves(&request, leaves).unwrap();
        prop_assert_eq!(&tree.verify(&request, &answer).unwrap()[..leaves.len()], leaves);
        prop_assert!(tree.verify(&request, &flipped(&answer, bit)).is_err());
        prop_assert_eq!(tree.answer_leaves(&request, &leaves[1..]), None);
    }
}

#[test]
fn requests_are_those_that_libtorrent_answers() {
    // libtorrent's `validate_hash_request` (RC_2_0): the uncle of the root does not exist, so that the most proof
    // layers are one less than there are layers from the base to the root.
    let ask = |n, log| {
        let tree = Model::new(n, log).tree();
        let key = |r: HashRequest| (r.base, r.index, r.count, r.proof_layers);
        tree.missing_requests().map(key).collect::<Vec<_>>()
    };
    assert_eq!(ask(1, 0), []);
    assert_eq!(ask(2, 0), [(0, 0, 2, 0)]);
    assert_eq!(ask(2, 1), []);
    assert_eq!(ask(3, 1), [(1, 0, 2, 0)]);
    assert_eq!(ask(511, 0), [(0, 0, 512, 8)]);
    assert_eq!(ask(1024, 1), [(1, 0, 512, 8)]);
    assert_eq!(ask(513, 0), [(0, 0, 512, 9), (0, 512, 2, 9)]);
    assert_eq!(ask(1030, 0), [(0, 0, 512, 10), (0, 512, 512, 10), (0, 1024, 8, 10)]);
}

#[test]
fn the_513th_piece_may_be_asked_for_alone() {
    // libtorrent asks for a single hash there, and waits for the uncles from that hash's own layer on.
    let model = Model::new(513, 0);
    let request = HashRequest { root: model.root(), base: 0, index: 512, count: 1, proof_layers: 9 };
    let answer = model.full().answer(&request).unwrap();
    assert_eq!(answer.len(), (1 + 10) * 32);
    let mut client = model.tree();
    assert_eq!(client.accept(&request, &answer), Ok(()));
    assert_eq!(client.piece_hash(512), Some(model.layers[0][512]));
}

#[test]
fn layers_that_do_not_fit_are_refused() {
    let model = Model::new(5, 1);
    let (mut tree, layer) = (model.tree(), model.piece_layer());
    assert_eq!(tree.set_layer(&layer[..64]), Err(ProofError::WrongLength));
    assert_eq!(tree.set_layer(&[&layer[..], &[0]].concat()), Err(ProofError::WrongLength));
    assert_eq!(tree.set_layer(&flipped(&layer, 77)), Err(ProofError::Mismatch));
    assert!(!tree.has_layer() && tree.piece_hash(0).is_none());
    assert_eq!(Model::new(2, 1).tree().set_layer(&[0; 32]), Err(ProofError::NoSuchHashes));
}

#[test]
fn runs_that_were_not_asked_for_are_refused() {
    let model = Model::new(1030, 0);
    let mut tree = model.tree();
    let request = |index, count| HashRequest { root: model.root(), base: 0, index, count, proof_layers: 10 };
    for odd in [request(256, 256), request(0, 256), request(1024, 4), request(1536, 512)] {
        let answer = model.answer(&odd).unwrap();
        assert_eq!(tree.accept(&odd, &answer), Err(ProofError::NoSuchHashes), "{odd:?}");
    }
    let other = HashRequest { root: leaf(b""), ..request(0, 512) };
    assert_eq!(tree.accept(&other, &model.answer(&other).unwrap()), Err(ProofError::NoSuchHashes));
    assert_eq!(tree.missing_requests().count(), 3);
    // The layer above the leaves, asked as if it were the piece layer.
    let above = HashRequest { base: 1, proof_layers: 9, ..request(0, 512) };
    assert_eq!(tree.accept(&above, &model.answer(&above).unwrap()), Err(ProofError::NoSuchHashes));
}

#[test]
fn sizes_around_a_block_and_a_piece() {
    let (block, piece) = (u64::from(BLOCK_LEN), u64::from(4 * BLOCK_LEN));
    let cases =
        [(1, 1, 0), (block - 1, 1, 0), (block, 1, 0), (block + 1, 1, 0), (piece - 1, 1, 0), (piece, 1, 0)];
    for (len, pieces, requests) in cases.into_iter().chain([(piece + 1, 2, 1), (0, 0, 0)]) {
        let tree = HashTree::new(leaf(b"x"), len, 4 * BLOCK_LEN);
        assert_eq!((tree.num_pieces(), tree.missing_requests().count()), (pieces, requests), "{len}");
        assert_eq!(tree.piece_hash(0), (pieces == 1).then(|| leaf(b"x")));
    }
}

#[test]
fn absurd_sizes_cost_nothing() {
    let mut tree = HashTree::new(leaf(b"x"), u64::MAX, BLOCK_LEN);
    let request = tree.missing_request().unwrap();
    assert_eq!((request.count, request.proof_layers), (512, 49));
    assert_eq!(tree.answer(&request), None);
    assert_eq!(tree.accept(&request, &vec![0; (512 + 41) * 32]), Err(ProofError::Mismatch));
    for (index, count, base) in [(u32::MAX, 1, 0), (0, 512, u32::MAX), (0, 0, 0), (0, u32::MAX, 0)] {
        let hostile = HashRequest { index, count, base, proof_layers: u32::MAX, ..request };
        assert_eq!((tree.answer(&hostile), tree.leaf_piece(&hostile)), (None, None));
        assert_eq!(tree.verify(&hostile, &[]), Err(ProofError::NoSuchHashes));
    }
}
