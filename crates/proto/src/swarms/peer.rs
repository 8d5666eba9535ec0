//! One peer, packed: address, port, when it was heard, and nothing else.

use std::fmt::Debug;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A peer of one address family as it lies in memory.
pub(super) trait Packed: Copy + Eq + Debug {
    /// Fills memory that no peer is in.
    const ZERO: Self;
    /// Bytes in an answer (BEP 23, BEP 7).
    const WIRE_LEN: usize;

    /// `None` if the address is of the other family.
    fn new(addr: SocketAddr, heard: u8) -> Option<Self>;
    /// Whether both are the same address and port.
    fn same(self, other: Self) -> bool;
    /// Whether both are of the same host: an IPv4 address, or the /64 that one IPv6 subscriber has at the least.
    fn same_host(self, other: Self) -> bool;
    /// What [`Packed::same_host`] compares, mixed with a secret.
    fn host_hash(self, secret: u64) -> u64;
    /// The tick at which it announced last, modulo 256.
    fn heard(self) -> u8;
    /// Writes it as it goes into answers; `out` has [`Packed::WIRE_LEN`] bytes.
    fn write(self, out: &mut [u8]);
    /// Its address.
    fn addr(self) -> SocketAddr;
    /// A free block's pointer to the next.
    fn link(next: u16) -> Self;
    /// Reads [`Packed::link`].
    fn next(self) -> u16;
}

/// From the top: 32 bits of address, 16 of port, 8 unused, 8 of tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct V4(u64);

/// Four words of address; then 16 bits of port, 8 unused, 8 of tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct V6([u32; 5]);

/// A product whose halves are folded: each bit of the result depends on all of the input.
const fn fold(a: u64, b: u64) -> u64 {
    let product = (a as u128).wrapping_mul(b as u128);
    (product as u64) ^ (product >> 64) as u64
}

/// Odd, from the golden ratio; not a secret.
const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

impl Packed for V4 {
    const ZERO: Self = Self(0);
    const WIRE_LEN: usize = 6;

    fn new(addr: SocketAddr, heard: u8) -> Option<Self> {
        let IpAddr::V4(ip) = addr.ip() else { return None };
        Some(Self(u64::from(ip.to_bits()) << 32 | u64::from(addr.port()) << 16 | u64::from(heard)))
    }

    fn same(self, other: Self) -> bool {
        (self.0 ^ other.0) >> 16 == 0
    }

    fn same_host(self, other: Self) -> bool {
        (self.0 ^ other.0) >> 32 == 0
    }

    fn host_hash(self, secret: u64) -> u64 {
        fold(fold((self.0 >> 32) ^ secret, MIX) ^ secret.rotate_left(32), MIX)
    }

    fn heard(self) -> u8 {
        self.0 as u8
    }

    fn write(self, out: &mut [u8]) {
        out.copy_from_slice(&self.0.to_be_bytes()[..6]);
    }

    fn addr(self) -> SocketAddr {
        (Ipv4Addr::from_bits((self.0 >> 32) as u32), (self.0 >> 16) as u16).into()
    }

    fn link(next: u16) -> Self {
        Self(next.into())
    }

    fn next(self) -> u16 {
        self.0 as u16
    }
}

impl Packed for V6 {
    const ZERO: Self = Self([0; 5]);
    const WIRE_LEN: usize = 18;

    fn new(addr: SocketAddr, heard: u8) -> Option<Self> {
        let IpAddr::V6(ip) = addr.ip() else { return None };
        let ip = ip.to_bits();
        let words = [(ip >> 96) as u32, (ip >> 64) as u32, (ip >> 32) as u32, ip as u32];
        let last = u32::from(addr.port()) << 16 | u32::from(heard);
        Some(Self([words[0], words[1], words[2], words[3], last]))
    }

    fn same(self, other: Self) -> bool {
        self.0[..4] == other.0[..4] && (self.0[4] ^ other.0[4]) >> 16 == 0
    }

    fn same_host(self, other: Self) -> bool {
        self.0[..2] == other.0[..2]
    }

    fn host_hash(self, secret: u64) -> u64 {
        let net = u64::from(self.0[0]) << 32 | u64::from(self.0[1]);
        fold(fold(net ^ secret, MIX) ^ secret.rotate_left(32), MIX)
    }

    fn heard(self) -> u8 {
        self.0[4] as u8
    }

    fn write(self, out: &mut [u8]) {
        for (field, word) in out[..16].chunks_exact_mut(4).zip(self.0) {
            field.copy_from_slice(&word.to_be_bytes());
        }
        out[16..].copy_from_slice(&self.0[4].to_be_bytes()[..2]);
    }

    fn addr(self) -> SocketAddr {
        let bits = self.0[..4].iter().fold(0u128, |bits, word| bits << 32 | u128::from(*word));
        (Ipv6Addr::from_bits(bits), (self.0[4] >> 16) as u16).into()
    }

    fn link(next: u16) -> Self {
        Self([next.into(), 0, 0, 0, 0])
    }

    fn next(self) -> u16 {
        self.0[0] as u16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip<P: Packed>(text: &str, wire: &[u8]) {
        let addr: SocketAddr = text.parse().unwrap();
        let peer = P::new(addr, 200).unwrap();
        assert_eq!((peer.addr(), peer.heard()), (addr, 200));
        assert!(peer.same(P::new(addr, 7).unwrap()));
        let mut out = vec![0; P::WIRE_LEN];
        peer.write(&mut out);
        assert_eq!(out, wire);
        assert_eq!(P::link(0xabcd).next(), 0xabcd);
    }

    #[test]
    fn packed_and_back() {
        round_trip::<V4>("255.2.3.4:65534", &[255, 2, 3, 4, 255, 254]);
        round_trip::<V6>(
            "[fe80::1:ffff]:258",
            &[0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 255, 255, 1, 2],
        );
        assert_eq!((size_of::<V4>(), size_of::<V6>()), (8, 20));
        assert!(V4::new("[::1]:1".parse().unwrap(), 0).is_none());
        assert!(V6::new("1.2.3.4:1".parse().unwrap(), 0).is_none());
    }

    fn hosts<P: Packed>(a: &str, b: &str) -> (bool, bool) {
        let [a, b] = [a, b].map(|text| P::new(text.parse().unwrap(), 0).unwrap());
        assert_eq!(a.same_host(b), a.host_hash(1) == b.host_hash(1));
        (a.same(b), a.same_host(b))
    }

    #[test]
    fn ports_and_networks() {
        assert_eq!(hosts::<V4>("1.2.3.4:5", "1.2.3.4:6"), (false, true));
        assert_eq!(hosts::<V4>("1.2.3.4:5", "1.2.3.5:5"), (false, false));
        assert_eq!(hosts::<V6>("[2001:db8:0:1::1]:5", "[2001:db8:0:1::2]:5"), (false, true));
        assert_eq!(hosts::<V6>("[2001:db8:0:1::1]:5", "[2001:db8:0:2::1]:5"), (false, false));
    }
}
