//! What an address says of who is behind it.
//!
//! One who holds a machine can have as many ports as it likes, and one who has IPv6 at all a whole /64: what is to be
//! limited or remembered of a peer is limited and remembered of its *host*. On this machine each port is another peer.
//!
//! It refuses to resolve or reach anything. Tested by examples of each kind of network.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::tracker::reach::{Scope, scope};

/// From where an address can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reach {
    /// From this machine.
    Loopback,
    /// From a network that is somebody's own.
    Private,
    /// From everywhere.
    Public,
}

impl Reach {
    /// How far an address reaches.
    pub(super) fn of(ip: IpAddr) -> Self {
        match scope(ip) {
            Some(Scope::Loopback) => Self::Loopback,
            Some(Scope::Link | Scope::Private) => Self::Private,
            Some(Scope::Public) | None => Self::Public,
        }
    }
}

/// Who is behind an address: the address without its port, of IPv6 the /64; but on this machine each port is another.
pub(super) fn host(addr: SocketAddr) -> SocketAddr {
    let ip = addr.ip().to_canonical();
    match (ip, Reach::of(ip)) {
        (_, Reach::Loopback) => SocketAddr::new(ip, addr.port()),
        (IpAddr::V6(v6), Reach::Public) => SocketAddr::new(first_bits(v6, 64), 0),
        _ => SocketAddr::new(ip, 0),
    }
}

/// What one holder of addresses mostly has no more than one of: a /16 of IPv4, a /32 of IPv6.
pub(super) fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => IpAddr::from([ip.octets()[0], ip.octets()[1], 0, 0]),
        IpAddr::V6(ip) => first_bits(ip, 32),
    }
}

fn first_bits(ip: Ipv6Addr, bits: u32) -> IpAddr {
    Ipv6Addr::from_bits(ip.to_bits() >> (128 - bits) << (128 - bits)).into()
}

/// Whether there can be a peer.
pub(super) fn is_usable(addr: &SocketAddr) -> bool {
    let broadcast = matches!(addr.ip(), IpAddr::V4(ip) if ip.is_broadcast());
    addr.port() != 0 && !addr.ip().is_unspecified() && !addr.ip().is_multicast() && !broadcast
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(addr: &str) -> SocketAddr {
        addr.parse().unwrap()
    }

    #[test]
    fn who_is_one_host() {
        let same = |a, b| host(at(a)) == host(at(b));
        assert!(same("1.2.3.4:1", "1.2.3.4:2") && same("1.2.3.4:1", "[::ffff:1.2.3.4]:9"));
        assert!(same("[2001:db8::1]:1", "[2001:db8::ffff:2]:2"));
        assert!(!same("[2001:db8::1]:1", "[2001:db8:0:1::1]:1"));
        assert!(!same("[fd00::1]:1", "[fd00::2]:1") && same("[fd00::1]:1", "[fd00::1]:2"));
        assert!(!same("127.0.0.1:1", "127.0.0.1:2"));
        assert_eq!(network(at("1.2.3.4:1").ip()), network(at("1.2.9.9:1").ip()));
        assert_ne!(network(at("[2001:db8::]:1").ip()), network(at("[2001:db9::]:1").ip()));
    }

    #[test]
    fn where_nobody_is() {
        for bad in ["0.0.0.0:1", "224.0.0.1:1", "1.2.3.4:0", "255.255.255.255:9", "[ff02::1]:1", "[::]:1"] {
            assert!(!is_usable(&at(bad)), "{bad}");
        }
        assert!(is_usable(&at("1.2.3.4:1")));
    }
}
