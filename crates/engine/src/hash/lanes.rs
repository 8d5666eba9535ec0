//! Sixteen messages hashed at once: SHA-1 and SHA-256 (FIPS 180-4), one message in each 32-bit lane of a 512-bit
//! register.
//!
//! A hash cannot be sped up within one message, for each round waits for the one before; but pieces and leaves come
//! by the thousand. On one core with AVX-512 this does three times what the SHA instructions do for SHA-1, and twice
//! for SHA-256. Elsewhere [`available`] says no, and callers hash one message at a time.
//!
//! All messages of a call are equally long. Tested against the one-message implementation.

#[cfg(target_arch = "x86_64")]
mod avx512;

/// Messages hashed at once.
pub(super) const LANES: usize = 16;

/// Bytes that the compression functions take in one step.
const STEP: usize = 64;

/// A hash state: for each word, that of every lane.
type State<const WORDS: usize> = [[u32; LANES]; WORDS];

/// One message part for each lane, all equally long.
pub(super) type Data<'a> = [&'a [u8]; LANES];

/// Whether this processor can do it.
#[cfg(target_arch = "x86_64")]
pub(super) fn available() -> bool {
    is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw")
}

/// Whether this processor can do it.
#[cfg(not(target_arch = "x86_64"))]
pub(super) const fn available() -> bool {
    false
}

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "functions for certain processors may only be called on these")]
mod dispatch {
    use super::{Data, State, available, avx512};

    pub(super) fn sha1(state: &mut State<5>, data: &Data<'_>) {
        assert!(available(), "lanes on a processor without them");
        // SAFETY: the processor has all features that the function is compiled for, as was just checked. The function
        // has no other condition: it is safe code throughout.
        unsafe { avx512::sha1(state, data) }
    }

    pub(super) fn sha256(state: &mut State<8>, data: &Data<'_>) {
        assert!(available(), "lanes on a processor without them");
        // SAFETY: as in `sha1`.
        unsafe { avx512::sha256(state, data) }
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod dispatch {
    use super::{Data, State};

    pub(super) fn sha1(_: &mut State<5>, _: &Data<'_>) {
        unreachable!("there are no lanes on this processor");
    }

    pub(super) fn sha256(_: &mut State<8>, _: &Data<'_>) {
        unreachable!("there are no lanes on this processor");
    }
}

/// The same start for every lane.
fn start<const WORDS: usize>(words: [u32; WORDS]) -> State<WORDS> {
    words.map(|word| [word; LANES])
}

/// The digest in each lane.
fn digests<const WORDS: usize, const LEN: usize>(state: &State<WORDS>) -> [[u8; LEN]; LANES] {
    std::array::from_fn(|lane| {
        let mut digest = [0; LEN];
        for (bytes, word) in digest.chunks_exact_mut(4).zip(state) {
            bytes.copy_from_slice(&word[lane].to_be_bytes());
        }
        digest
    })
}

/// The padding after a message of `len` bytes, a multiple of [`STEP`].
fn padding(len: u64) -> [u8; STEP] {
    let mut block = [0; STEP];
    block[0] = 0x80;
    block[STEP - 8..].copy_from_slice(&(8 * len).to_be_bytes());
    block
}

/// SHA-1 of sixteen messages that come in parts.
#[derive(Clone, Debug)]
pub(super) struct Sha1x16 {
    state: State<5>,
    len: u64,
}

impl Sha1x16 {
    /// Of no bytes yet.
    pub(super) fn new() -> Self {
        Self { state: start([0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0]), len: 0 }
    }

    /// Adds the next part of each message: equally long, a multiple of 64 bytes. Panics without [`available`].
    pub(super) fn update(&mut self, data: &Data<'_>) {
        dispatch::sha1(&mut self.state, data);
        self.len += data[0].len() as u64;
    }

    /// The digests.
    pub(super) fn finish(mut self) -> [[u8; 20]; LANES] {
        dispatch::sha1(&mut self.state, &[&padding(self.len); LANES]);
        digests(&self.state)
    }
}

/// SHA-256 of sixteen messages, equally long, a multiple of 64 bytes. Panics without [`available`].
pub(super) fn sha256(messages: &Data<'_>) -> [[u8; 32]; LANES] {
    let mut state = start([
        0x6a09_e667,
        0xbb67_ae85,
        0x3c6e_f372,
        0xa54f_f53a,
        0x510e_527f,
        0x9b05_688c,
        0x1f83_d9ab,
        0x5be0_cd19,
    ]);
    dispatch::sha256(&mut state, messages);
    dispatch::sha256(&mut state, &[&padding(messages[0].len() as u64); LANES]);
    digests(&state)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sha1::{Digest, Sha1};
    use sha2::Sha256;

    use super::*;

    fn messages(seed: u64, len: usize) -> Vec<Vec<u8>> {
        let mut rng = samara_proto::rng::Rng::new(seed);
        let message = |_| {
            let mut bytes = vec![0; len];
            rng.fill(&mut bytes);
            bytes
        };
        (0..LANES).map(message).collect()
    }

    proptest! {
        #[test]
        fn agrees_with_one_at_a_time(seed: u64, steps in 0..40usize, cut in 0..40usize) {
            if !available() {
                eprintln!("not run: this processor has no lanes");
                return Ok(());
            }
            let messages = messages(seed, steps * STEP);
            let cut = cut.min(steps) * STEP;
            let part = |range: std::ops::Range<usize>| std::array::from_fn(|lane| &messages[lane][range.clone()]);
            let mut sha1 = Sha1x16::new();
            sha1.update(&part(0..cut));
            sha1.update(&part(cut..steps * STEP));
            let (sha1, sha256) = (sha1.finish(), sha256(&part(0..steps * STEP)));
            for (lane, message) in messages.iter().enumerate() {
                prop_assert_eq!(sha1[lane], <[u8; 20]>::from(Sha1::digest(message)));
                prop_assert_eq!(sha256[lane], <[u8; 32]>::from(Sha256::digest(message)));
            }
        }
    }
}
