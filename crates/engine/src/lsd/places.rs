//! Where we are at home: the interfaces by which neighbours can call us.
//!
//! Pure but for the one call that lists interfaces. Tested by tables.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use if_addrs::{IfAddr, Interface};
use samara_proto::lsd::near::Network;

/// Most places; each costs three sockets. A host of containers has hundreds of interfaces, nearly all of them with a
/// link-local address alone, and those come last.
const MAX_PLACES: usize = 32;

/// An interface, in one family, on which we listen for peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The system's number of the interface.
    pub(super) index: u32,
    /// From where we speak: with the address that we listen on, if it is a certain one, or one of the interface.
    pub(super) from: SocketAddr,
    /// Whether we listen on that address alone.
    pub(super) certain: bool,
    /// Where peers reach us.
    pub(super) port: u16,
    /// Whether there is somebody at the other end of the line, as far as the system knows.
    pub(super) up: bool,
    pub(super) network: Network,
}

/// The places of this machine now; none if the system does not say.
pub(super) fn look(listening: &[SocketAddr]) -> Vec<Place> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let usable = interfaces.into_iter().filter(|interface| !interface.is_p2p());
    places(usable.filter_map(address), listening)
}

/// An address of an interface: its number and whether it is up, the address, the bits of its prefix.
type Address = (u32, bool, IpAddr, u8);

fn address(interface: Interface) -> Option<Address> {
    let prefix = match &interface.addr {
        IfAddr::V4(addr) => addr.prefixlen,
        IfAddr::V6(addr) => addr.prefixlen,
    };
    Some((interface.index?, interface.is_oper_up(), interface.ip(), prefix))
}

fn places(addresses: impl IntoIterator<Item = Address>, listening: &[SocketAddr]) -> Vec<Place> {
    let mut interfaces: BTreeMap<_, Vec<(IpAddr, u8)>> = BTreeMap::new();
    for (index, up, ip, prefix) in addresses {
        let key = (ip.is_ipv6(), ip.is_loopback(), index, up);
        interfaces.entry(key).or_default().push((ip, prefix));
    }
    let of = |index, up, addresses: Vec<(IpAddr, u8)>| {
        let network = Network::new(addresses.iter().copied());
        let at = |listener: &SocketAddr| place(&addresses, *listener);
        let (from, certain, port) = listening.iter().find_map(at)?;
        Some(Place { index, from, certain, port, up, network })
    };
    let interfaces = interfaces.into_iter();
    interfaces
        .filter_map(|((_, _, index, up), addresses)| of(index, up, addresses))
        .take(MAX_PLACES)
        .collect()
}

/// How a listener is reached on an interface, if it is: from where we speak, whether there alone, and the port.
fn place(addresses: &[(IpAddr, u8)], listener: SocketAddr) -> Option<(SocketAddr, bool, u16)> {
    let (first, _) = *addresses.first()?;
    let ip = listener.ip();
    let certain = !ip.is_unspecified();
    // All of 127.0.0.0/8 is this machine, whatever addresses its interface lists.
    let has = |own: &IpAddr| *own == ip || (own.is_loopback() && ip.is_loopback() && ip.is_ipv4());
    let fits = ip.is_ipv4() == first.is_ipv4() && (!certain || addresses.iter().any(|(own, _)| has(own)));
    // A link-local address keeps its scope.
    let mut from = if certain { listener } else { SocketAddr::new(first, 0) };
    from.set_port(0);
    fits.then_some((from, certain, listener.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// Index, address and port of each place.
    fn at(listening: &[&str]) -> Vec<(u32, String, u16)> {
        let addresses = [
            (1, true, ip("127.0.0.1"), 8),
            (2, true, ip("192.168.1.7"), 24),
            (2, true, ip("192.168.2.7"), 24),
            (3, false, ip("10.0.0.7"), 8),
            (1, true, ip("::1"), 128),
            (2, true, ip("fe80::7"), 64),
            (2, true, ip("2001:db8::7"), 64),
            (4, true, ip("fe80::8"), 64),
        ];
        let listening: Vec<SocketAddr> = listening.iter().map(|addr| addr.parse().unwrap()).collect();
        let found = places(addresses, &listening);
        found.into_iter().map(|place| (place.index, place.from.ip().to_string(), place.port)).collect()
    }

    #[test]
    fn who_listens_everywhere_is_at_home_on_every_interface() {
        let v4 = [(2, "192.168.1.7"), (3, "10.0.0.7"), (1, "127.0.0.1")];
        let v6 = [(2, "fe80::7"), (4, "fe80::8"), (1, "::1")];
        let with = |port, places: [(u32, &str); 3]| places.map(|(index, ip)| (index, ip.to_owned(), port));
        assert_eq!(at(&["0.0.0.0:6881"]), with(6881, v4));
        assert_eq!(at(&["[::]:6882", "0.0.0.0:6881"]), [with(6881, v4), with(6882, v6)].concat());
    }

    #[test]
    fn who_listens_on_one_address_shows_there_alone() {
        assert_eq!(at(&["192.168.2.7:1"]), [(2, "192.168.2.7".into(), 1)]);
        assert_eq!(at(&["[2001:db8::7]:1"]), [(2, "2001:db8::7".into(), 1)]);
        assert_eq!(at(&["127.0.0.5:1"]), [(1, "127.0.0.5".into(), 1)]);
        assert_eq!(at(&["203.0.113.1:1"]), []);
        assert_eq!(at(&[]), []);
    }

    #[test]
    fn there_are_no_more_places_than_sockets_can_be_had_for() {
        let many = (1..1000).map(|n| (n, true, ip("fe80::1"), 64)).chain([(1000, true, ip("10.0.0.1"), 8)]);
        let found = places(many, &["[::]:1".parse().unwrap(), "0.0.0.0:1".parse().unwrap()]);
        assert_eq!((found.len(), found[0].index), (MAX_PLACES, 1000));
    }
}
