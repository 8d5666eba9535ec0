//! Transaction ids that nobody can guess who has not the seed.

use sha2::{Digest as _, Sha256};

#[derive(Debug)]
pub(super) struct Transactions {
    seed: u64,
    count: u64,
}

impl Transactions {
    pub(super) const fn new(seed: u64) -> Self {
        Self { seed, count: 0 }
    }

    pub(super) fn next(&mut self) -> u32 {
        self.count += 1;
        let digest =
            Sha256::new().chain_update(self.seed.to_be_bytes()).chain_update(self.count.to_be_bytes());
        let [a, b, c, d, ..] = <[u8; 32]>::from(digest.finalize());
        u32::from_be_bytes([a, b, c, d])
    }
}
