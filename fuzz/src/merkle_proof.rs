//! Hashes served from a whole tree agree with all its nodes written down, and prove the piece layer to one who knows
//! the root; a changed bit never does.

use samara_proto::ids::Sha256Hash;
use samara_proto::merkle::{HashRequest, HashTree, parent, piece_layer, zero_root};

use super::input::Input;

/// Runs one input.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let piece_length = (16 * 1024) << (input.byte() % 5);
    let pieces = 2 + u64::from(input.short() % 1200);
    let len = pieces * u64::from(piece_length) - u64::from(input.word() % piece_length);
    let model = Model::new(pieces, piece_layer(piece_length), input.long());
    let mut server = HashTree::new(model.root(), len, piece_length);
    let mut learner = server.clone();
    server.set_layer(&model.piece_layer()).expect("the layer leads to the root");
    while !input.is_empty() {
        match input.byte() % 3 {
            0 => learn(&mut input, &model, &server, &mut learner),
            1 => ask_anything(&mut input, &model, &server, &learner),
            _ => lie(&mut input, &server, &mut learner),
        }
    }
    while let Some(request) = learner.missing_request() {
        let answer = server.answer(&request).expect("a whole tree answers what a learner asks");
        learner.accept(&request, &answer).expect("an honest answer is accepted");
    }
    assert_eq!(learner.layer(), Some(model.piece_layer()));
}

fn learn(input: &mut Input<'_>, model: &Model, server: &HashTree, learner: &mut HashTree) {
    let nth = input.below(8);
    let Some(request) = learner.missing_requests().nth(nth) else { return };
    let answer = server.answer(&request).expect("a whole tree answers what a learner asks");
    learner.accept(&request, &answer).expect("an honest answer is accepted");
    for n in 0..model.pieces as u32 {
        assert!(learner.piece_hash(n).is_none_or(|hash| hash == model.layers[0][n as usize]));
    }
}

fn ask_anything(input: &mut Input<'_>, model: &Model, server: &HashTree, learner: &HashTree) {
    let root = if input.byte() == 0 { Sha256Hash([0; 32]) } else { model.root() };
    let base = u32::from(input.byte() % 24);
    let index = if input.flag() { input.word() } else { input.short().into() };
    let count = if input.flag() { input.word() } else { 1 << (input.byte() % 12) };
    let proof_layers = if input.flag() { input.word() } else { (input.byte() % 24).into() };
    let request = HashRequest { root, base, index, count, proof_layers };
    if let Some(answer) = server.answer(&request) {
        assert_eq!(answer, model.answer(&request));
        server.verify(&request, &answer).expect("what is served is proven");
    }
    let _ = learner.answer(&request);
    let _ = learner.leaf_piece(&request);
    assert!(learner.verify(&request, input.bytes(64)).is_err(), "noise proves nothing");
}

fn lie(input: &mut Input<'_>, server: &HashTree, learner: &mut HashTree) {
    let Some(request) = learner.missing_request() else { return };
    let mut answer = server.answer(&request).expect("a whole tree answers what a learner asks");
    let at = input.below(answer.len());
    answer[at] ^= input.byte().max(1);
    learner.accept(&request, &answer).expect_err("a changed bit is refused");
    answer.truncate(at);
    learner.accept(&request, &answer).expect_err("a short answer is refused");
}

/// Every node from the piece layer to the root.
struct Model {
    pieces: u64,
    /// The layer of the tree that `layers[0]` is.
    base: u32,
    /// Padded to whole powers of two.
    layers: Vec<Vec<Sha256Hash>>,
}

impl Model {
    fn new(pieces: u64, base: u32, seed: u64) -> Self {
        let mut rng = samara_proto::rng::Rng::new(seed);
        let mut nodes = vec![zero_root(base); pieces.next_power_of_two() as usize];
        nodes.iter_mut().take(pieces as usize).for_each(|node| rng.fill(&mut node.0));
        let mut layers = vec![nodes];
        while let Some(below) = layers.last().filter(|l| l.len() > 1) {
            layers.push(below.chunks(2).map(|pair| parent(&pair[0], &pair[1])).collect());
        }
        Self { pieces, base, layers }
    }

    fn root(&self) -> Sha256Hash {
        self.layers[self.layers.len() - 1][0]
    }

    fn piece_layer(&self) -> Vec<u8> {
        self.layers[0][..self.pieces as usize].iter().flat_map(|hash| hash.0).collect()
    }

    /// What BEP 52 says the answer is: the hashes, then the siblings above the subtree that they span.
    fn answer(&self, request: &HashRequest) -> Vec<u8> {
        let first = (request.base - self.base) as usize;
        let (from, count) = (request.index as usize, request.count as usize);
        let mut nodes = self.layers[first][from..from + count].to_vec();
        let spanned = count.ilog2();
        for above in spanned..(request.proof_layers + 1).max(spanned) {
            nodes.push(self.layers[first + above as usize][(from >> above) ^ 1]);
        }
        nodes.iter().flat_map(|hash| hash.0).collect()
    }
}
