//! Which addresses are on the local network.
//!
//! Loopback; private (RFC 1918) and link-local (RFC 3927) IPv4; unique local (RFC 4193) and link-local (RFC 4291 §2.5.6)
//! IPv6; and IPv4 addresses of these kinds in IPv6's clothes (RFC 4291 §2.5.5.2). Shared addresses of carriers
//! (RFC 6598) are not: behind them is somebody else's line.

use std::net::IpAddr;

pub(super) fn is_local(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_and_not() {
        let local = |ip: &&str| is_local(ip.parse().unwrap());
        let here = [
            "127.0.0.1",
            "127.9.9.9",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.0.1",
            "169.254.7.7",
            "::1",
            "fc00::1",
            "fdff::1",
            "fe80::1",
            "febf::1",
            "::ffff:10.0.0.1",
        ];
        let elsewhere = [
            "1.1.1.1",
            "172.32.0.1",
            "192.169.0.1",
            "100.64.0.1",
            "169.253.0.1",
            "2001:db8::1",
            "fec0::1",
            "fe00::1",
            "::ffff:8.8.8.8",
            "0.0.0.0",
            "::",
        ];
        assert!(here.iter().all(local));
        assert!(!elsewhere.iter().any(local));
    }
}
