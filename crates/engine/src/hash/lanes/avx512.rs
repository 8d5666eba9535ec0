//! The compression functions of SHA-1 and SHA-256 (FIPS 180-4, sections 6.1.2 and 6.2.2) over sixteen lanes.
//!
//! The rounds are written out by macros, so that all indices are constants and the message schedule stays in registers.

use std::arch::x86_64::*;

use super::{Data, LANES, STEP, State};

/// A word of every lane.
type V = __m512i;

/// Adds `data` to the sixteen states.
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn sha1(state: &mut State<5>, data: &Data<'_>) {
    let mut v = vectors(state);
    for at in (0..data[0].len()).step_by(STEP) {
        v = sha1_step(v, words(data, at));
    }
    *state = v.map(|v| lanes(v));
}

/// Adds `data` to the sixteen states.
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn sha256(state: &mut State<8>, data: &Data<'_>) {
    let mut v = vectors(state);
    for at in (0..data[0].len()).step_by(STEP) {
        v = sha256_step(v, words(data, at));
    }
    *state = v.map(|v| lanes(v));
}

/// Truth tables for `_mm512_ternarylogic_epi32`.
const PARITY: i32 = 0x96;
const CHOOSE: i32 = 0xca;
const MAJORITY: i32 = 0xe8;

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn sha1_step(state: [V; 5], mut w: [V; 16]) -> [V; 5] {
    let [mut a, mut b, mut c, mut d, mut e] = state;
    macro_rules! rounds {
        ($f:ident, $k:literal: $($i:literal)*) => { $(
            if $i >= 16 {
                let next = xor3(w[($i + 13) & 15], w[($i + 8) & 15], w[($i + 2) & 15]);
                w[$i & 15] = _mm512_rol_epi32::<1>(_mm512_xor_si512(next, w[$i & 15]));
            }
            let f = _mm512_ternarylogic_epi32::<$f>(b, c, d);
            let sum = add(add(e, _mm512_set1_epi32(u32::cast_signed($k))), add(w[$i & 15], f));
            (e, d, c, b, a) = (d, c, _mm512_rol_epi32::<30>(b), a, add(sum, _mm512_rol_epi32::<5>(a)));
        )* };
    }
    rounds!(CHOOSE, 0x5a82_7999: 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19);
    rounds!(PARITY, 0x6ed9_eba1: 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39);
    rounds!(MAJORITY, 0x8f1b_bcdc: 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59);
    rounds!(PARITY, 0xca62_c1d6: 60 61 62 63 64 65 66 67 68 69 70 71 72 73 74 75 76 77 78 79);
    [add(state[0], a), add(state[1], b), add(state[2], c), add(state[3], d), add(state[4], e)]
}

#[rustfmt::skip]
const K: [u32; 64] = [
    0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5, 0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5,
    0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3, 0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174,
    0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc, 0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da,
    0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7, 0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967,
    0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13, 0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85,
    0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3, 0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070,
    0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5, 0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3,
    0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208, 0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2,
];

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn sha256_step(state: [V; 8], mut w: [V; 16]) -> [V; 8] {
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = state;
    macro_rules! rounds {
        ($($i:literal)*) => { $(
            if $i >= 16 {
                let (x, y) = (w[($i + 1) & 15], w[($i + 14) & 15]);
                let s0 = xor3(_mm512_ror_epi32::<7>(x), _mm512_ror_epi32::<18>(x), _mm512_srli_epi32::<3>(x));
                let s1 = xor3(_mm512_ror_epi32::<17>(y), _mm512_ror_epi32::<19>(y), _mm512_srli_epi32::<10>(y));
                w[$i & 15] = add(add(w[$i & 15], w[($i + 9) & 15]), add(s0, s1));
            }
            let s1 = xor3(_mm512_ror_epi32::<6>(e), _mm512_ror_epi32::<11>(e), _mm512_ror_epi32::<25>(e));
            let choice = _mm512_ternarylogic_epi32::<CHOOSE>(e, f, g);
            let t1 = add(add(add(h, s1), choice), add(w[$i & 15], _mm512_set1_epi32(K[$i].cast_signed())));
            let s0 = xor3(_mm512_ror_epi32::<2>(a), _mm512_ror_epi32::<13>(a), _mm512_ror_epi32::<22>(a));
            let t2 = add(s0, _mm512_ternarylogic_epi32::<MAJORITY>(a, b, c));
            (h, g, f, e, d, c, b, a) = (g, f, e, add(d, t1), c, b, a, add(t1, t2));
        )* };
    }
    rounds!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31);
    rounds!(32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63);
    let [s0, s1, s2, s3, s4, s5, s6, s7] = state;
    [add(s0, a), add(s1, b), add(s2, c), add(s3, d), add(s4, e), add(s5, f), add(s6, g), add(s7, h)]
}

#[inline]
#[target_feature(enable = "avx512f")]
fn add(a: V, b: V) -> V {
    _mm512_add_epi32(a, b)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn xor3(a: V, b: V, c: V) -> V {
    _mm512_ternarylogic_epi32::<PARITY>(a, b, c)
}

/// The sixteen words at byte `at` of every lane, big-endian: one row of 64 bytes a lane, transposed.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn words(data: &Data<'_>, at: usize) -> [V; 16] {
    let row = |lane: usize| {
        vector(std::array::from_fn(|i| {
            let (words, _) = data[lane][at..at + STEP].as_chunks::<4>();
            u32::from_le_bytes(words[i])
        }))
    };
    let mut rows = [_mm512_setzero_si512(); 16];
    for (lane, out) in rows.iter_mut().enumerate() {
        *out = _mm512_shuffle_epi8(row(lane), swap_bytes());
    }
    transpose(rows)
}

/// For `_mm512_shuffle_epi8`: turns the bytes of every word around.
#[inline]
#[target_feature(enable = "avx512f")]
fn swap_bytes() -> V {
    _mm512_set4_epi32(0x0c0d_0e0f, 0x0809_0a0b, 0x0405_0607, 0x0001_0203)
}

/// Rows to columns of a 16 × 16 matrix of words: first within each quarter of 4 × 4, then the quarters.
#[inline]
#[target_feature(enable = "avx512f")]
fn transpose(mut r: [V; 16]) -> [V; 16] {
    let mut t = r;
    for i in (0..16).step_by(2) {
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    for i in (0..16).step_by(4) {
        r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    for i in 0..4 {
        let a = _mm512_shuffle_i32x4::<0x88>(r[i], r[i + 4]);
        let b = _mm512_shuffle_i32x4::<0x88>(r[i + 8], r[i + 12]);
        let c = _mm512_shuffle_i32x4::<0xdd>(r[i], r[i + 4]);
        let d = _mm512_shuffle_i32x4::<0xdd>(r[i + 8], r[i + 12]);
        t[i] = _mm512_shuffle_i32x4::<0x88>(a, b);
        t[i + 4] = _mm512_shuffle_i32x4::<0x88>(c, d);
        t[i + 8] = _mm512_shuffle_i32x4::<0xdd>(a, b);
        t[i + 12] = _mm512_shuffle_i32x4::<0xdd>(c, d);
    }
    t
}

#[inline]
#[target_feature(enable = "avx512f")]
fn vectors<const WORDS: usize>(state: &State<WORDS>) -> [V; WORDS] {
    state.map(|words| vector(words))
}

/// Loads a register; the compiler makes one load of it.
#[inline]
#[target_feature(enable = "avx512f")]
fn vector(words: [u32; LANES]) -> V {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = words.map(u32::cast_signed);
    _mm512_setr_epi32(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p)
}

/// Stores a register.
#[inline]
#[target_feature(enable = "avx512f")]
fn lanes(v: V) -> [u32; LANES] {
    let quarter = |q: __m128i| {
        let (low, high) = (_mm_cvtsi128_si64(q), _mm_cvtsi128_si64(_mm_unpackhi_epi64(q, q)));
        [low as u32, (low >> 32) as u32, high as u32, (high >> 32) as u32]
    };
    let quarters = [
        quarter(_mm512_extracti32x4_epi32::<0>(v)),
        quarter(_mm512_extracti32x4_epi32::<1>(v)),
        quarter(_mm512_extracti32x4_epi32::<2>(v)),
        quarter(_mm512_extracti32x4_epi32::<3>(v)),
    ];
    std::array::from_fn(|i| quarters[i / 4][i % 4])
}
