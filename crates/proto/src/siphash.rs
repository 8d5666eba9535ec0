//! SipHash (Aumasson, Bernstein 2012): a short keyed hash, so that who does not know the key can neither choose inputs
//! that collide in a table nor forge a connection id.
//!
//! 1-3 is for tables, 2-4 for what goes out to others. Our own sixty lines, because the standard library keeps its
//! version behind a type without keys. Tested against the vectors of the reference implementation.

/// A key of 128 bits, of which an attacker must know nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Key {
    k0: u64,
    k1: u64,
}

impl std::fmt::Debug for Key {
    /// Says nothing of the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

impl Key {
    /// From 16 secret bytes.
    pub fn new(bytes: [u8; 16]) -> Self {
        let bits = u128::from_le_bytes(bytes);
        Self { k0: bits as u64, k1: (bits >> 64) as u64 }
    }

    /// SipHash-1-3 of `data`: fast, for tables.
    pub fn sip13(self, data: &[u8]) -> u64 {
        hash::<1, 3>(self, data)
    }

    /// SipHash-2-4 of `data`: for what an attacker sees.
    pub fn sip24(self, data: &[u8]) -> u64 {
        hash::<2, 4>(self, data)
    }
}

fn hash<const C: usize, const D: usize>(key: Key, data: &[u8]) -> u64 {
    let mut v = [
        key.k0 ^ 0x736f_6d65_7073_6575,
        key.k1 ^ 0x646f_7261_6e64_6f6d,
        key.k0 ^ 0x6c79_6765_6e65_7261,
        key.k1 ^ 0x7465_6462_7974_6573,
    ];
    let (words, rest) = data.as_chunks::<8>();
    for word in words {
        absorb::<C>(&mut v, u64::from_le_bytes(*word));
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    last[7] = data.len() as u8;
    absorb::<C>(&mut v, u64::from_le_bytes(last));
    v[2] ^= 0xff;
    (0..D).for_each(|_| round(&mut v));
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

fn absorb<const C: usize>(v: &mut [u64; 4], word: u64) {
    v[3] ^= word;
    (0..C).for_each(|_| round(v));
    v[0] ^= word;
}

const fn round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[2] = v[2].rotate_left(32);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs() -> (Key, Vec<u8>) {
        (Key::new(std::array::from_fn(|i| i as u8)), (0..64).collect())
    }

    #[test]
    fn vectors_of_the_reference() {
        // `vectors_sip64` of the reference implementation: key 00..0f, inputs of 0, 1, 2, … bytes 00, 01, …
        let (key, data) = inputs();
        let of = |n: usize| key.sip24(&data[..n]).to_le_bytes();
        assert_eq!(of(0), [0x31, 0x0e, 0x0e, 0xdd, 0x47, 0xdb, 0x6f, 0x72]);
        assert_eq!(of(1), [0xfd, 0x67, 0xdc, 0x93, 0xc5, 0x39, 0xf8, 0x74]);
        assert_eq!(of(8), [0x62, 0x24, 0x93, 0x9a, 0x79, 0xf5, 0xf5, 0x93]);
        // The example of the paper, appendix A.
        assert_eq!(key.sip24(&data[..15]), 0xa129_ca61_49be_45e5);
    }

    #[test]
    fn the_fast_one_agrees_with_the_standard_library() {
        use std::hash::{DefaultHasher, Hasher};
        // `DefaultHasher::new()` is SipHash-1-3 with an all-zero key.
        let data = inputs().1;
        for len in 0..data.len() {
            let mut std = DefaultHasher::new();
            std.write(&data[..len]);
            assert_eq!(Key::new([0; 16]).sip13(&data[..len]), std.finish(), "{len} bytes");
        }
    }
}
