//! Places in the key space, their distance, and ids that fit the address of a node (BEP 42).
//!
//! The distance of two places is their bitwise difference as a number (Kademlia). An id shall be one of few that follow
//! from its node's address, so that nobody places a node where he likes; addresses of local networks are exempt.
//!
//! It does not enforce anything: the table and lookups prefer ids that fit. Tested with the vectors of the BEP.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::ids::NodeId;
use crate::rng::Rng;
use crate::torrent::canonical::crc32c;
use crate::tracker::reach::{Scope, scope};

/// Which bits of an address count (BEP 42).
const MASK_V4: [u8; 4] = [0x03, 0x0f, 0x3f, 0xff];
/// The same for the upper half of an IPv6 address.
const MASK_V6: [u8; 8] = [0x01, 0x03, 0x07, 0x0f, 0x1f, 0x3f, 0x7f, 0xff];

impl NodeId {
    /// Bits in an id.
    pub const BITS: u32 = 160;

    /// How far apart they are.
    pub fn distance(&self, other: &Self) -> Distance {
        let mut out = self.0;
        out.iter_mut().zip(&other.0).for_each(|(a, b)| *a ^= b);
        Distance(out)
    }

    /// How many leading bits they share.
    pub fn shared_bits(&self, other: &Self) -> u32 {
        self.distance(other).leading_zeros()
    }

    /// One of the places that differ from this in bit `bit` (0 is the first) and share what stands before it; the rest is
    /// random. With `bit` at 160 or above, this place itself.
    pub fn beside(&self, bit: u32, rng: &mut Rng) -> Self {
        let mut out = self.within(bit.saturating_add(1), rng);
        if bit < Self::BITS {
            let at = 0x80 >> (bit % 8);
            let byte = &mut out.0[(bit / 8) as usize];
            *byte = (*byte & !at) | (!self.0[(bit / 8) as usize] & at);
        }
        out
    }

    /// A random place that shares the first `bits` with this one.
    pub fn within(&self, bits: u32, rng: &mut Rng) -> Self {
        let mut out = Self::random(rng);
        for (n, byte) in out.0.iter_mut().enumerate() {
            let kept = bits.saturating_sub(8 * n as u32).min(8);
            let mask = 0xff00u16.wrapping_shr(kept) as u8;
            *byte = (self.0[n] & mask) | (*byte & !mask);
        }
        out
    }

    /// A random place.
    pub fn random(rng: &mut Rng) -> Self {
        let mut out = Self([0; Self::LEN]);
        rng.fill(&mut out.0);
        out
    }

    /// An id for the node at `ip` (BEP 42); one of 8 prefixes of 21 bits, the rest random.
    pub fn for_address(ip: IpAddr, rng: &mut Rng) -> Self {
        let mut id = Self::random(rng);
        let prefix = prefix(ip, id.0[19]);
        id.0[..2].copy_from_slice(&prefix[..2]);
        id.0[2] = (prefix[2] & 0xf8) | (id.0[2] & 0x07);
        id
    }

    /// Whether a node at `ip` may have this id (BEP 42): it follows from the address, or the address is local.
    pub fn fits(&self, ip: IpAddr) -> bool {
        let prefix = prefix(ip, self.0[19]);
        (self.0[..2] == prefix[..2] && (self.0[2] ^ prefix[2]) & 0xf8 == 0) || is_local(ip)
    }
}

/// Whether an address lies in a local network, or on this machine: exempt from checks (BEP 42).
pub fn is_local(ip: IpAddr) -> bool {
    scope(ip) != Some(Scope::Public)
}

/// The first 32 bits of the hash, of which 21 count.
fn prefix(ip: IpAddr, random: u8) -> [u8; 4] {
    match ip.to_canonical() {
        IpAddr::V4(ip) => masked_hash(ip.octets(), MASK_V4, random),
        IpAddr::V6(ip) => {
            let [high @ .., _, _, _, _, _, _, _, _] = ip.octets();
            masked_hash(high, MASK_V6, random)
        }
    }
}

fn masked_hash<const N: usize>(mut ip: [u8; N], mask: [u8; N], random: u8) -> [u8; 4] {
    ip.iter_mut().zip(mask).for_each(|(byte, mask)| *byte &= mask);
    ip[0] |= random << 5;
    crc32c(&ip).to_be_bytes()
}

/// The key farthest from a place, bit by bit, without a look at all of them: who fills a store shall not make each entry
/// cost its size.
pub fn farthest<V>(map: &BTreeMap<NodeId, V>, from: &NodeId) -> Option<NodeId> {
    let (mut low, mut high) = (NodeId([0; NodeId::LEN]), NodeId([0xff; NodeId::LEN]));
    for bit in 0..NodeId::BITS as usize {
        let (first, _) = map.range(low..=high).next()?;
        if map.range(low..=high).next_back().is_some_and(|(last, _)| last == first) {
            return Some(*first);
        }
        let (byte, mask) = (bit / 8, 0x80 >> (bit % 8));
        // The half that differs from the place, if anybody is in it.
        let far = |set: bool| {
            let (mut low, mut high) = (low, high);
            if set {
                low.0[byte] |= mask
            } else {
                high.0[byte] &= !mask
            }
            (low, high)
        };
        let differs = from.0[byte] & mask == 0;
        let half = far(differs);
        let is_empty = map.range(half.0..=half.1).next().is_none();
        (low, high) = if is_empty { far(!differs) } else { half };
    }
    Some(low)
}

/// How far apart two places are; the smaller, the closer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Distance([u8; 20]);

impl Distance {
    /// The first 128 bits, as a number.
    pub fn high(self) -> u128 {
        self.0.first_chunk().map_or(0, |high| u128::from_be_bytes(*high))
    }

    /// How many leading bits are the same; 160 for the same place.
    pub fn leading_zeros(self) -> u32 {
        let low = u32::from_be_bytes([self.0[16], self.0[17], self.0[18], self.0[19]]);
        match self.high() {
            0 => 128 + low.leading_zeros(),
            high => high.leading_zeros(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use proptest::prelude::*;

    fn hex(id: &str) -> NodeId {
        NodeId::from_hex(id).unwrap()
    }

    #[test]
    fn the_vectors_of_bep_42_fit_and_flipped_ones_do_not() {
        for (ip, id) in [
            ("124.31.75.21", "5fbfbff10c5d6a4ec8a88e4c6ab4c28b95eee401"),
            ("21.75.31.124", "5a3ce9c14e7a08645677bbd1cfe7d8f956d53256"),
            ("65.23.51.170", "a5d43220bc8f112a3d426c84764f8c2a1150e616"),
            ("84.124.73.14", "1b0321dd1bb1fe518101ceef99462b947a01ff41"),
            ("43.213.53.83", "e56f6cbf5b7c4be0237986d5243b87aa6d51305a"),
        ] {
            let (ip, id) = (ip.parse().unwrap(), hex(id));
            assert!(id.fits(ip), "{id}");
            for bit in 0..21 {
                let mut wrong = id;
                wrong.0[bit / 8] ^= 0x80 >> (bit % 8);
                assert!(!wrong.fits(ip), "{wrong}");
            }
            assert!(!id.fits("8.8.8.8".parse().unwrap()));
        }
    }

    #[test]
    fn local_addresses_are_exempt() {
        for ip in ["10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.1.1", "127.0.0.1", "::1", "fe80::1"] {
            assert!(hex("0000000000000000000000000000000000000000").fits(ip.parse().unwrap()), "{ip}");
        }
    }

    #[test]
    fn ids_for_an_address_fit_it_whatever_its_free_bits() {
        let mut rng = Rng::new(1);
        for ip in ["1.2.3.4", "200.1.2.3", "2001:db8:1:2:3:4:5:6", "2606:4700::1"] {
            let ip = ip.parse().unwrap();
            assert!((0..100).all(|_| NodeId::for_address(ip, &mut rng).fits(ip)));
        }
        let low_half = NodeId::for_address("2606:4700::1".parse().unwrap(), &mut rng);
        assert!(low_half.fits("2606:4700::ffff".parse().unwrap()));
    }

    proptest! {
        #[test]
        fn places_beside_and_within_share_what_they_should(a: [u8; 20], bit in 0u32..165, seed: u64) {
            let (a, mut rng) = (NodeId(a), Rng::new(seed));
            prop_assert_eq!(a.beside(bit, &mut rng).shared_bits(&a), bit.min(160));
            prop_assert!(a.within(bit, &mut rng).shared_bits(&a) >= bit.min(160));
        }

        #[test]
        fn the_farthest_is_found_as_by_looking_at_all(keys: Vec<[u8; 20]>, from: [u8; 20]) {
            let map: BTreeMap<_, _> = keys.into_iter().map(|key| (NodeId(key), ())).collect();
            let expected = map.keys().max_by_key(|key| key.distance(&NodeId(from))).copied();
            prop_assert_eq!(farthest(&map, &NodeId(from)), expected);
            prop_assert_eq!(farthest(&map, &NodeId([0; 20])), map.keys().last().copied());
        }

        #[test]
        fn distance_is_a_metric(a: [u8; 20], b: [u8; 20], c: [u8; 20]) {
            let (a, b, c) = (NodeId(a), NodeId(b), NodeId(c));
            prop_assert_eq!(a.distance(&b), b.distance(&a));
            prop_assert_eq!(a.distance(&a).leading_zeros(), 160);
            let sum = a.distance(&b).high().saturating_add(b.distance(&c).high()).saturating_add(1);
            prop_assert!(a.distance(&c).high() <= sum);
        }
    }
}
