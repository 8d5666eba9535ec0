//! Canonical peer priority (BEP 40): a number that both ends of a connection compute alike.
//!
//! `crc32-c(sort(masked address, masked address))`. Every pair of peers has one, as good as random, so that peers who
//! prefer high ones make a random graph, and nobody can choose to be preferred by everyone. The mask leaves out bits
//! that one who holds a network chooses freely; the nearer two addresses are to each other, the fewer it leaves out.
//!
//! It refuses to know who we are: that is for `standpoint`. Tested with the vectors of the BEP, with
//! the check value of CRC-32C, and for symmetry.

use std::net::{IpAddr, SocketAddr};

/// The bits that count in the bytes that the mask thins out.
const THIN: u8 = 0x55;
/// Bytes of an IPv4 and an IPv6 address that always count whole: a /16, a /48.
const WHOLE: (usize, usize) = (2, 6);
/// The polynomial of Castagnoli, bits reversed (RFC 3720, 12.1).
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// The priority of a connection between `a` and `b`, whichever of them is asked. Two on one address are told apart by
/// their ports; two of different families have none in common, and get 0.
pub fn priority(a: SocketAddr, b: SocketAddr) -> u32 {
    let of = |addr: SocketAddr| addr.ip().to_canonical();
    match (of(a), of(b)) {
        (x, y) if x == y => of_pair(&a.port().to_be_bytes(), &b.port().to_be_bytes()),
        (IpAddr::V4(x), IpAddr::V4(y)) => of_masked(x.octets(), y.octets(), WHOLE.0),
        (IpAddr::V6(x), IpAddr::V6(y)) => of_masked(x.octets(), y.octets(), WHOLE.1),
        _ => 0,
    }
}

/// A priority for who does not know its own address: as random, but nobody else comes to the same.
pub(super) fn salted(salt: u64, addr: SocketAddr) -> u32 {
    let (ip, port) = (addr.ip().to_canonical(), addr.port().to_be_bytes());
    let ip = match ip {
        IpAddr::V4(ip) => mask(ip.octets(), WHOLE.0).to_vec(),
        IpAddr::V6(ip) => mask(ip.octets(), WHOLE.1).to_vec(),
    };
    crc32c(&[&salt.to_be_bytes()[..], &ip, &port].concat())
}

fn of_masked<const N: usize>(a: [u8; N], b: [u8; N], whole: usize) -> u32 {
    let common = a.iter().zip(&b).take_while(|(x, y)| x == y).count();
    let whole = if common < whole { whole } else { common + 1 };
    of_pair(&mask(a, whole), &mask(b, whole))
}

fn mask<const N: usize>(mut addr: [u8; N], whole: usize) -> [u8; N] {
    addr.iter_mut().skip(whole).for_each(|byte| *byte &= THIN);
    addr
}

fn of_pair(a: &[u8], b: &[u8]) -> u32 {
    crc32c(&[a.min(b), a.max(b)].concat())
}

/// CRC-32C, bit by bit: it is asked for a few dozen bytes once an address.
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    let shift = |crc: u32| if crc & 1 == 1 { (crc >> 1) ^ POLYNOMIAL } else { crc >> 1 };
    let feed = |crc: u32, byte: &u8| (0..8).fold(crc ^ u32::from(*byte), |crc, _| shift(crc));
    !bytes.iter().fold(u32::MAX, feed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(a: &str, b: &str) -> u32 {
        let addr = |ip: &str| SocketAddr::new(ip.parse().unwrap(), 6881);
        assert_eq!(priority(addr(a), addr(b)), priority(addr(b), addr(a)));
        priority(addr(a), addr(b))
    }

    #[test]
    fn the_examples_of_the_bep() {
        assert_eq!(of("123.213.32.10", "98.76.54.32"), 0xec2d_7224);
        assert_eq!(of("123.213.32.10", "123.213.32.234"), 0x9956_8189);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283, "the check value of CRC-32C");
    }

    #[test]
    fn the_mask_leaves_out_less_the_nearer_the_other_is() {
        // FF.FF.55.55: 0xaa is left out; FF.FF.FF.55 within a /16; all of it within a /24.
        assert_eq!(of("1.2.3.4", "9.9.0.0"), of("1.2.169.174", "9.9.170.170"));
        assert_ne!(of("1.2.3.4", "9.9.0.0"), of("1.2.3.5", "9.9.0.0"));
        assert_eq!(of("1.2.3.4", "1.2.9.0"), of("1.2.3.174", "1.2.9.170"));
        assert_ne!(of("1.2.3.4", "1.2.9.0"), of("1.2.169.4", "1.2.9.0"));
        assert_ne!(of("1.2.3.4", "1.2.3.0"), of("1.2.3.174", "1.2.3.0"));
    }

    #[test]
    fn the_same_for_ipv6_from_a_48_on() {
        let (far, near, nearer) = ("2001:db8:1::", "2001:db8::9900", "2001:db8:0:77::");
        assert_eq!(of("2001:db8::1", far), of("2001:db8:0:aaaa::ab", far));
        assert_ne!(of("2001:db8::1", far), of("2001:db8:2::1", far));
        assert_eq!(of("2001:db8:0:100::1", nearer), of("2001:db8:0:1aa::ab", nearer), "FF55 within a /48");
        assert_ne!(of("2001:db8:0:100::1", nearer), of("2001:db8:0:2aa::ab", nearer));
        assert_ne!(of("2001:db8::1", near), of("2001:db8::ab:1", near), "all of what they share, and a byte");
        assert_eq!(of("::ffff:1.2.3.4", "5.6.7.8"), of("1.2.3.4", "5.6.7.8"), "mapped is IPv4");
    }

    #[test]
    fn on_one_address_ports_tell_apart() {
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        assert_eq!(priority(at(1), at(0x1234)), crc32c(&[0, 1, 0x12, 0x34]));
        assert_eq!(priority(at(0x1234), at(1)), crc32c(&[0, 1, 0x12, 0x34]));
        assert_eq!(priority(at(1), "[::1]:1".parse().unwrap()), 0, "nothing in common");
    }

    proptest! {
        #[test]
        fn both_ends_agree(a: [u8; 16], b: [u8; 16], prefix in 0usize..16, ports: [u16; 2]) {
            let mut b = b;
            b[..prefix].copy_from_slice(&a[..prefix]);
            let (x, y) = (SocketAddr::from((a, ports[0])), SocketAddr::from((b, ports[1])));
            prop_assert_eq!(priority(x, y), priority(y, x));
        }
    }
}
