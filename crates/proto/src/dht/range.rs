//! Whom an address belongs to: ranges that count as one holder where holders get a share.
//!
//! An IPv6 customer has a /64 at least and a /48 at most (RFC 6177); a /24 is the smallest IPv4 network that is routed
//! by itself. One node deals with one family, so keys of different families never meet.
//!
//! It refuses to tell local addresses apart from others: that is for the caller. Tested by examples.

use std::net::IpAddr;

/// A range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Range(u64);

impl Range {
    /// One machine, or one line: an IPv4 address, or an IPv6 /64.
    pub fn host(ip: IpAddr) -> Self {
        Self(high(ip))
    }

    /// One network: an IPv4 /24, or an IPv6 /48.
    pub fn site(ip: IpAddr) -> Self {
        let cut = if ip.to_canonical().is_ipv4() { 8 } else { 16 };
        Self(high(ip) >> cut)
    }

    /// As a number.
    pub const fn key(self) -> u64 {
        self.0
    }
}

fn high(ip: IpAddr) -> u64 {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.to_bits().into(),
        IpAddr::V6(ip) => (ip.to_bits() >> 64) as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_share_what_they_should() {
        let same =
            |of: fn(IpAddr) -> Range, a: &str, b: &str| of(a.parse().unwrap()) == of(b.parse().unwrap());
        assert!(same(Range::site, "1.2.3.4", "1.2.3.200") && !same(Range::host, "1.2.3.4", "1.2.3.200"));
        assert!(!same(Range::site, "1.2.3.4", "1.2.4.4") && same(Range::host, "1.2.3.4", "::ffff:1.2.3.4"));
        assert!(same(Range::host, "2001:db8:1:2::1", "2001:db8:1:2:ffff::1"));
        assert!(!same(Range::host, "2001:db8:1:2::1", "2001:db8:1:3::1"));
        assert!(same(Range::site, "2001:db8:1:2::1", "2001:db8:1:3::1"));
        assert!(!same(Range::site, "2001:db8:1::1", "2001:db8:2::1"));
    }
}
