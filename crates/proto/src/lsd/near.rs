//! Who is a neighbour: whose announces are believed, coming in by which interface.
//!
//! An announce makes us call its sender, whose address anybody on the network can forge, so an address is taken for a
//! neighbour's only if one of the network could be there, and is not further in than the network is
//! ([`reach`](crate::tracker::reach)): within a prefix of the interface's own addresses, or private on an interface that
//! is itself private, since the groups are meant for a site of several networks. An address of this machine comes from
//! this machine alone; a link-local one is within the prefix or nobody's, which keeps forgers away from the services that
//! clouds have there.
//!
//! libtorrent asks for the prefix alone. Pure functions, tested by a table.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::tracker::reach::{Scope, scope};

/// Most addresses of an interface that are looked at.
const MAX_ADDRESSES: usize = 32;

/// An interface's addresses, each with the length of its network's prefix in bits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network(Vec<(IpAddr, u8)>);

impl Network {
    /// Of an interface with these addresses; what is beyond 32 of them is left out.
    pub fn new(addresses: impl IntoIterator<Item = (IpAddr, u8)>) -> Self {
        Self(addresses.into_iter().take(MAX_ADDRESSES).collect())
    }

    /// Whether an announce that came in by this interface may be from `from`.
    pub fn is_near(&self, from: IpAddr) -> bool {
        match scope(from) {
            None => false,
            Some(Scope::Loopback) => self.has(from, Scope::Loopback),
            Some(Scope::Private) => self.is_on_link(from) || self.has(from, Scope::Private),
            Some(Scope::Link | Scope::Public) => self.is_on_link(from),
        }
    }

    /// Whether the interface has an address of that scope, in the family of `from`.
    fn has(&self, from: IpAddr, wanted: Scope) -> bool {
        self.0.iter().any(|(own, _)| own.is_ipv4() == from.is_ipv4() && scope(*own) == Some(wanted))
    }

    fn is_on_link(&self, from: IpAddr) -> bool {
        self.0.iter().any(|&(own, prefix)| from == own || shares(own, prefix, from))
    }
}

/// Whether `from` lies in the network of `own`. A prefix so short that it is no network's, as tunnels have, names nobody.
fn shares(own: IpAddr, prefix: u8, from: IpAddr) -> bool {
    match (own, from) {
        (IpAddr::V4(own), IpAddr::V4(from)) => {
            (8..=32).contains(&prefix) && mask4(own, prefix) == mask4(from, prefix)
        }
        (IpAddr::V6(own), IpAddr::V6(from)) => {
            (10..=128).contains(&prefix) && mask6(own, prefix) == mask6(from, prefix)
        }
        _ => false,
    }
}

fn mask4(ip: Ipv4Addr, prefix: u8) -> u32 {
    ip.to_bits().checked_shr(32 - u32::from(prefix)).unwrap_or(0)
}

fn mask6(ip: Ipv6Addr, prefix: u8) -> u128 {
    ip.to_bits().checked_shr(128 - u32::from(prefix)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_and_others() {
        const HOME: &[(&str, u8)] =
            &[("192.168.1.7", 24), ("fe80::1", 64), ("2001:db8:1:2::7", 64), ("fd00::7", 64)];
        const OFFICE: &[(&str, u8)] = &[("203.0.113.9", 25), ("fe80::2", 64)];
        const MACHINE: &[(&str, u8)] = &[("127.0.0.1", 8), ("::1", 128)];
        const TUNNEL: &[(&str, u8)] = &[("10.9.0.2", 32), ("198.51.100.1", 0), ("2001:db8::1", 0)];
        const LINK: &[(&str, u8)] = &[("169.254.3.4", 16)];
        type Row = (&'static [(&'static str, u8)], &'static [&'static str], &'static [&'static str]);
        let table: [Row; 5] = [
            (
                HOME,
                &["192.168.1.9", "10.0.0.1", "172.16.3.3", "fe80::99", "2001:db8:1:2::99", "fd12::1"],
                &[
                    "169.254.169.254",
                    "127.0.0.1",
                    "::1",
                    "8.8.8.8",
                    "2001:db8:1:3::1",
                    "0.0.0.0",
                    "239.192.152.143",
                ],
            ),
            (OFFICE, &["203.0.113.1", "fe80::3"], &["203.0.113.200", "10.0.0.1", "fd00::1", "127.0.0.1"]),
            (MACHINE, &["127.0.0.1", "127.9.9.9", "::1"], &["10.0.0.1", "192.168.1.1", "1.1.1.1", "fe80::1"]),
            (TUNNEL, &["10.9.0.2", "10.77.0.1", "198.51.100.1"], &["1.1.1.1", "198.51.100.2", "2001:db8::2"]),
            (LINK, &["169.254.169.254"], &["10.0.0.1", "1.1.1.1"]),
        ];
        for (own, near, far) in table {
            let network = Network::new(own.iter().map(|(ip, prefix)| (ip.parse().unwrap(), *prefix)));
            let is_near = |ip: &str| network.is_near(ip.parse().unwrap());
            near.iter().for_each(|ip| assert!(is_near(ip), "{ip} at {own:?}"));
            far.iter().for_each(|ip| assert!(!is_near(ip), "{ip} at {own:?}"));
        }
        assert!(!Network::default().is_near("10.0.0.1".parse().unwrap()));
    }
}
