//! The Bloom filter that counts a swarm (BEP 33): two of 2,048 bits for each address, from its SHA-1.
//!
//! It refuses ports: only addresses are counted. Tested with the vector of the BEP.

use std::net::IpAddr;

use sha1::{Digest, Sha1};

use super::message::FILTER_LEN;

/// Bits.
const BITS: usize = FILTER_LEN * 8;

/// What no honest filter holds more than (BEP 33).
pub const MOST: f64 = 6000.0;

/// A set of addresses, of which only the size can be told, roughly, up to some 6,000.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter(pub [u8; FILTER_LEN]);

impl Default for Filter {
    fn default() -> Self {
        Self([0; FILTER_LEN])
    }
}

impl Filter {
    /// Puts in an address.
    pub fn insert(&mut self, ip: IpAddr) {
        bits(ip).into_iter().for_each(|bit| self.0[bit / 8] |= 1 << (bit % 8));
    }

    /// Whether an address was put in, or looks as if it were.
    pub fn contains(&self, ip: IpAddr) -> bool {
        bits(ip).into_iter().all(|bit| self.0[bit / 8] & (1 << (bit % 8)) != 0)
    }

    /// Puts in everything that is in another.
    pub fn unite(&mut self, other: &[u8; FILTER_LEN]) {
        self.0.iter_mut().zip(other).for_each(|(a, b)| *a |= b);
    }

    /// How many addresses are in it, by how many bits are still clear.
    pub fn estimate(&self) -> f64 {
        let zeros = self.0.iter().map(|byte| byte.count_zeros()).sum::<u32>();
        let (m, c) = (BITS as f64, f64::from(zeros.clamp(1, BITS as u32 - 1)));
        if zeros as usize == BITS { 0.0 } else { (c / m).ln() / (2.0 * (1.0 - 1.0 / m).ln()) }
    }
}

/// The bits of an address.
fn bits(ip: IpAddr) -> [usize; 2] {
    let hash = match ip {
        IpAddr::V4(ip) => Sha1::digest(ip.octets()),
        IpAddr::V6(ip) => Sha1::digest(ip.octets()),
    };
    [[hash[0], hash[1]], [hash[2], hash[3]]].map(|pair| usize::from(u16::from_le_bytes(pair)) % BITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const VECTOR: &str = "F6C3F5EAA07FFD91BDE89F777F26FB2BFF37BDB8FB2BBAA2FD3DDDE7BACFFF75EE7CCBAE\
        FE5EEDB1FBFAFF67F6ABFF5E43DDBCA3FD9B9FFDF4FFD3E9DFF12D1BDF59DB53DBE9FA5B\
        7FF3B8FDFCDE1AFB8BEDD7BE2F3EE71EBBBFE93BCDEEFE148246C2BC5DBFF7E7EFDCF24F\
        D8DC7ADFFD8FFFDFDDFFF7A4BBEEDF5CB95CE81FC7FCFF1FF4FFFFDFE5F7FDCBB7FD79B3\
        FA1FC77BFE07FFF905B7B7FFC7FEFEFFE0B8370BB0CD3F5B7F2BD93FEB4386CFDD6F7FD5\
        BFAF2E9EBFFFFEECD67ADBF7C67F17EFD5D75EBA6FFEBA7FFF47A91EB1BFBB53E8ABFB57\
        62ABE8FF237279BFEFBFEEF5FFC5FEBFDFE5ADFFADFEE1FB737FFFFBFD9F6AEFFEEE76B6\
        FD8F72EF";

    #[test]
    fn the_vector_of_bep_33() {
        let mut filter = Filter::default();
        assert_eq!(filter.estimate(), 0.0);
        (0..=255).for_each(|n| filter.insert([192, 0, 2, n].into()));
        let mut v6 = Filter::default();
        (0..=0x3e7).for_each(|n| v6.insert([0x2001, 0xdb8, 0, 0, 0, 0, 0, n].into()));
        filter.unite(&v6.0);
        let hex: String = filter.0.iter().map(|byte| format!("{byte:02X}")).collect();
        assert_eq!(hex, VECTOR);
        assert!((filter.estimate() - 1224.9308).abs() < 0.0001, "{}", filter.estimate());
        assert!(Filter([255; 256]).estimate().is_finite() && Filter([255; 256]).estimate() > MOST);
        assert!(filter.contains([192, 0, 2, 7].into()) && !Filter::default().contains([192, 0, 2, 7].into()));
    }
}
