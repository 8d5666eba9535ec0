//! Hashing several messages: in lanes where the processor has them and there are enough, else one by one.

use samara_proto::ids::{BLOCK_LEN, Sha1Hash, Sha256Hash};
use samara_proto::merkle;
use sha1::{Digest, Sha1};

use super::lanes::{self, Data, LANES, Sha1x16};

/// Fewest messages for which a run over all lanes, some of them idle, takes less time than one message after another.
const ENOUGH: usize = 6;

/// SHA-1 of several equally long messages, fed part by part.
pub(super) enum Sha1Set {
    Lanes(Box<Sha1x16>),
    Each(Vec<Sha1>),
}

impl Sha1Set {
    /// For `count` messages of `len` bytes.
    pub(super) fn new(count: usize, len: u32) -> Self {
        let in_lanes = (ENOUGH..=LANES).contains(&count) && len.is_multiple_of(64) && lanes::available();
        if in_lanes { Self::Lanes(Box::new(Sha1x16::new())) } else { Self::Each(vec![Sha1::new(); count]) }
    }

    /// Adds the next part of each message; all parts are equally long, and a multiple of 64 bytes if the messages are.
    pub(super) fn update(&mut self, parts: &[&[u8]]) {
        match self {
            Self::Lanes(lanes) => lanes.update(&spread(parts)),
            Self::Each(each) => each.iter_mut().zip(parts).for_each(|(sha1, part)| sha1.update(part)),
        }
    }

    /// The digests, in order.
    pub(super) fn finish(self) -> Vec<Sha1Hash> {
        match self {
            Self::Lanes(lanes) => lanes.finish().map(Sha1Hash).into(),
            Self::Each(each) => each.into_iter().map(|sha1| Sha1Hash(sha1.finalize().into())).collect(),
        }
    }
}

/// The leaves (BEP 52) of blocks, in order. Blocks at the end of a file may be short.
pub(crate) fn leaves(blocks: &[&[u8]]) -> Vec<Sha256Hash> {
    let mut leaves = vec![Sha256Hash([0; 32]); blocks.len()];
    let (whole, short): (Vec<_>, Vec<_>) = leaves
        .iter_mut()
        .zip(blocks.iter().copied())
        .partition(|(_, block)| block.len() == BLOCK_LEN as usize);
    short.into_iter().for_each(|(leaf, block)| *leaf = merkle::leaf(block));
    let mut whole = whole.into_iter();
    while whole.len() > 0 {
        equal_leaves(whole.by_ref().take(LANES).unzip());
    }
    leaves
}

/// At most [`LANES`] leaves of equally long blocks.
fn equal_leaves((leaves, blocks): (Vec<&mut Sha256Hash>, Vec<&[u8]>)) {
    if blocks.len() >= ENOUGH && lanes::available() {
        let digests = lanes::sha256(&spread(&blocks));
        leaves.into_iter().zip(digests).for_each(|(leaf, digest)| *leaf = Sha256Hash(digest));
    } else {
        leaves.into_iter().zip(blocks).for_each(|(leaf, block)| *leaf = merkle::leaf(block));
    }
}

/// One message for each lane; idle lanes repeat the first.
fn spread<'a>(messages: &[&'a [u8]]) -> Data<'a> {
    std::array::from_fn(|lane| messages.get(lane).copied().unwrap_or(messages[0]))
}
