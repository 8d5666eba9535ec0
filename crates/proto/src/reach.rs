//! From where an address can be reached, and who may be led where.
//!
//! Specs: RFC 6890 and the registries of special addresses that it founds; RFC 6052 (IPv4 within IPv6).
//!
//! The rule against being led inside (server-side request forgery): what one address says leads no further inside than
//! that address is itself. A public tracker cannot send us to a router's page by a redirect, nor have us open connections
//! to this machine by a list of peers; one in the local network can name others there, and one on this machine anybody.
//! Who a torrent of a stranger names at first is under no such rule, so that trackers at home work; but over HTTP only
//! what looks like an announce is asked there ([`looks_like_announce`]), as libtorrent has it for this machine.
//!
//! It refuses to resolve names: the rule is for addresses, at the moment when they are connected to. Tested by examples of
//! each kind of network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// From where an address can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// From this machine.
    Loopback,
    /// From a network that is somebody's own (RFC 1918, 2544, 3927, 4193, 4291, 6598, 8215).
    Private,
    /// From everywhere.
    Public,
}

impl Reach {
    /// How far `ip` reaches. An IPv4 address within an IPv6 one counts as what it is.
    pub fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => of_v4(ip),
            IpAddr::V6(ip) => embedded(ip).map_or_else(|| of_v6(ip), of_v4),
        }
    }
}

/// Whether what `from` said may lead to `to`.
pub fn may_lead(from: IpAddr, to: IpAddr) -> bool {
    Reach::of(to) >= Reach::of(from)
}

/// Whether path and query of an HTTP address look like a tracker's: the last segment of the path begins with `announce`
/// or `scrape`, or the one before, with a key behind it.
pub fn looks_like_announce(target: &str) -> bool {
    let path = target.split(['?', '#']).next().unwrap_or_default();
    let known = |segment: &str| ["announce", "scrape"].iter().any(|name| segment.starts_with(name));
    path.rsplit('/').take(2).any(known)
}

/// `0.0.0.0/8` is this machine to most systems.
const fn of_v4(ip: Ipv4Addr) -> Reach {
    let [first, second, ..] = ip.octets();
    let shared = first == 100 && second & 0xc0 == 64;
    let benchmark = first == 198 && second & 0xfe == 18;
    if ip.is_loopback() || first == 0 {
        Reach::Loopback
    } else if ip.is_private() || ip.is_link_local() || shared || benchmark {
        Reach::Private
    } else {
        Reach::Public
    }
}

fn of_v6(ip: Ipv6Addr) -> Reach {
    let segments = ip.segments();
    let site_local = segments[0] & 0xffc0 == 0xfec0;
    let local_translation = segments[..3] == [0x64, 0xff9b, 1];
    if ip.is_loopback() || ip.is_unspecified() {
        Reach::Loopback
    } else if ip.is_unique_local() || ip.is_unicast_link_local() || site_local || local_translation {
        Reach::Private
    } else {
        Reach::Public
    }
}

/// The IPv4 address that a translator on the way would connect to: NAT64 (RFC 6052), 6to4 (RFC 3056), and the old
/// "compatible" form (RFC 4291, section 2.5.5.1).
fn embedded(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let v4 = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match ip.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(v4(high, low)),
        [0x2002, high, low, ..] => Some(v4(high, low)),
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => Some(v4(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn kinds_of_networks() {
        for (text, expected) in [
            ("127.0.0.1", Reach::Loopback),
            ("127.9.9.9", Reach::Loopback),
            ("0.0.0.0", Reach::Loopback),
            ("::1", Reach::Loopback),
            ("::", Reach::Loopback),
            ("::ffff:127.0.0.1", Reach::Loopback),
            ("::127.0.0.1", Reach::Loopback),
            ("64:ff9b::127.0.0.1", Reach::Loopback),
            ("2002:7f00:1::1", Reach::Loopback),
            ("10.1.2.3", Reach::Private),
            ("172.16.0.1", Reach::Private),
            ("192.168.0.1", Reach::Private),
            ("169.254.169.254", Reach::Private),
            ("100.64.0.1", Reach::Private),
            ("198.18.0.1", Reach::Private),
            ("64:ff9b::10.0.0.1", Reach::Private),
            ("fd00::1", Reach::Private),
            ("fe80::1", Reach::Private),
            ("fec0::1", Reach::Private),
            ("64:ff9b:1::1", Reach::Private),
            ("100.128.0.1", Reach::Public),
            ("172.32.0.1", Reach::Public),
            ("8.8.8.8", Reach::Public),
            ("64:ff9b::8.8.8.8", Reach::Public),
            ("2001:db8::1", Reach::Public),
        ] {
            assert_eq!(Reach::of(ip(text)), expected, "{text}");
        }
    }

    #[test]
    fn nobody_is_led_further_inside() {
        let (public, private, here) = (ip("8.8.8.8"), ip("192.168.1.1"), ip("127.0.0.1"));
        for (from, to) in [(public, private), (public, here), (private, here)] {
            assert!(!may_lead(from, to) && may_lead(to, from), "{from} {to}");
        }
        assert!([public, private, here].iter().all(|ip| may_lead(*ip, *ip)));
    }

    #[test]
    fn announces_are_known_by_their_paths() {
        for target in
            ["/announce", "/announce?a=b", "/x/announce.php?k", "/announce/KEY", "/KEY/announce", "/scrape?x"]
        {
            assert!(looks_like_announce(target), "{target}");
        }
        for target in ["/", "", "/reboot?announce", "/apply.cgi#announce", "/announce/a/b", "/pronounce"] {
            assert!(!looks_like_announce(target), "{target}");
        }
    }
}
