//! Which addresses a tracker may make us reach.
//!
//! A torrent, a magnet link, a tracker's answer and a redirect are written by strangers, and we stand inside networks
//! that strangers cannot reach: a URL could drive a router's or a local program's HTTP interface, a list of peers could
//! probe ports (server-side request forgery). The rule, in one sentence: **nobody sends us further in than where he
//! stands himself**, where [`Scope`] orders addresses from outside to inside.
//!
//! - *Tracker named by the user* (`--tracker`): any address.
//! - *Tracker named by a torrent or magnet link*, at an inside address: only if its URL says so openly (an address, or
//!   a name for inside use, like `localhost` or `tracker.lan`; a public name that resolves inside is refused), and only
//!   what no other service takes for an order: UDP, or a path that ends in `/announce` without a query (libtorrent's
//!   `ssrf_mitigation` draws the line for loopback at the same place).
//! - *Redirect*: no further in than the tracker that sent it, and never from `https` to plain `http`, which would show a
//!   passkey to the line.
//! - *Peers* in an answer: no further in than the tracker. A tracker on loopback may give loopback peers, one in the
//!   local network peers of it, a public one public ones only.
//! - Addresses that name nobody (unspecified, multicast, broadcast, reserved) are never reached.
//!
//! [`Policy::inside`] switches all but the last off. Through a proxy that resolves names the caller knows no address,
//! so nothing of this applies: the proxy stands where it stands.
//!
//! Pure functions. Tested by a table of addresses and by the cases above.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::url::{Scheme, TrackerUrl};

/// Where an address lies, from outside to inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Anywhere in the internet; also the ranges for documentation, where nobody answers.
    Public,
    /// A site: RFC 1918, RFC 4193, and carriers' shared addresses (RFC 6598), which overlay networks use too.
    Private,
    /// The link (RFC 3927, RFC 4291): routers, and the metadata services of clouds.
    Link,
    /// This machine.
    Loopback,
}

/// The scope of an address; `None` if it names nobody: unspecified, multicast, broadcast or reserved. IPv6 addresses
/// that carry an IPv4 address are judged by it (mapped, NAT64 of RFC 6052, 6to4 of RFC 3056).
pub fn scope(ip: IpAddr) -> Option<Scope> {
    match ip.to_canonical() {
        IpAddr::V4(ip) => scope_v4(ip),
        IpAddr::V6(ip) => scope_v6(ip),
    }
}

fn scope_v4(ip: Ipv4Addr) -> Option<Scope> {
    match ip.octets() {
        [0 | 224..=255, ..] => None,
        [127, ..] => Some(Scope::Loopback),
        [169, 254, ..] => Some(Scope::Link),
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] => Some(Scope::Private),
        // Protocol assignments and benchmarks of a site: RFC 6890, RFC 2544.
        [192, 0, 0, _] | [198, 18..=19, ..] => Some(Scope::Private),
        _ => Some(Scope::Public),
    }
}

fn scope_v6(ip: Ipv6Addr) -> Option<Scope> {
    let carried = |high: u16, low: u16| scope_v4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)));
    match ip.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => Some(Scope::Loopback),
        // Unspecified, and IPv4-compatible addresses, which RFC 4291 gave up.
        [0, 0, 0, 0, 0, 0, _, _] | [0xff00..=0xffff, ..] => None,
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => carried(high, low),
        [0x64, 0xff9b, ..] | [0xfc00..=0xfdff | 0xfec0..=0xfeff, ..] => Some(Scope::Private),
        [0xfe80..=0xfebf, ..] => Some(Scope::Link),
        _ => Some(Scope::Public),
    }
}

/// Who named a tracker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// A torrent or a magnet link.
    Torrent,
    /// The user, or who else has a say over this machine.
    User,
}

/// The switch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Whether inside addresses may be reached whoever names them.
    pub inside: bool,
}

/// Why something is not reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// Unspecified, multicast, broadcast or reserved.
    #[error("{0} is the address of nobody")]
    Nobody(IpAddr),
    /// A public name that resolves inside.
    #[error(
        "the tracker's public name leads to {0}, inside this network; name it with --tracker if that is meant"
    )]
    Rebound(IpAddr),
    /// A request to an inside address that some other service could obey.
    #[error(
        "a torrent may ask at {0} only for `/announce` without a query; name the tracker with --tracker if it is yours"
    )]
    Inside(IpAddr),
    /// A redirect from further out.
    #[error("the tracker redirects to {0}, inside this network")]
    Inwards(IpAddr),
    /// A redirect from `https` to something else.
    #[error("the tracker redirects from https to a connection that is not encrypted")]
    Downgrade,
    /// A redirect to what is not HTTP.
    #[error("the tracker redirects to something that is not HTTP")]
    NotHttp,
}

/// Whether the tracker at `url`, named by `source`, may be asked at `ip`, to which its host resolved.
///
/// # Errors
/// Says why not.
pub fn may_ask(url: &TrackerUrl, source: Source, ip: IpAddr, policy: Policy) -> Result<(), Refused> {
    let scope = scope(ip).ok_or(Refused::Nobody(ip))?;
    if scope == Scope::Public || source == Source::User || policy.inside {
        return Ok(());
    }
    if url.ip().is_none() && !is_inside_name(url.host()) {
        return Err(Refused::Rebound(ip));
    }
    let harmless = url.scheme() == Scheme::Udp || is_announce(url.path_and_query());
    if harmless { Ok(()) } else { Err(Refused::Inside(ip)) }
}

/// Whether a tracker at `from`, reached by its address `origin`, may redirect us to `to`, whose host resolved to `ip`.
/// The caller bounds the number of redirects.
///
/// # Errors
/// Says why not.
pub fn may_redirect(
    from: &TrackerUrl,
    origin: IpAddr,
    to: &TrackerUrl,
    ip: IpAddr,
    policy: Policy,
) -> Result<(), Refused> {
    match (from.scheme(), to.scheme()) {
        (Scheme::Https, Scheme::Http) => return Err(Refused::Downgrade),
        (_, Scheme::Http | Scheme::Https) => {}
        _ => return Err(Refused::NotHttp),
    }
    scope(ip).ok_or(Refused::Nobody(ip))?;
    if reaches(origin, ip, policy) { Ok(()) } else { Err(Refused::Inwards(ip)) }
}

/// Takes out the peers that a tracker at `origin` may not give; returns how many that were.
pub fn keep_peers(peers: &mut Vec<SocketAddr>, origin: IpAddr, policy: Policy) -> usize {
    let before = peers.len();
    peers.retain(|peer| reaches(origin, peer.ip(), policy));
    before - peers.len()
}

/// Whether who stands at `origin` may name `ip` to us: it lies no further in.
pub fn may_name(origin: IpAddr, ip: IpAddr) -> bool {
    reaches(origin, ip, Policy::default())
}

/// Whether who stands at `origin` may send us to `ip`.
fn reaches(origin: IpAddr, ip: IpAddr, policy: Policy) -> bool {
    let origin = scope(origin).unwrap_or(Scope::Public);
    scope(ip).is_some_and(|scope| policy.inside || scope <= origin)
}

/// Names that public DNS does not give out: RFC 6761 and RFC 6762, RFC 8375, ICANN's `internal`, names without a dot,
/// and `lan`, which home routers use.
fn is_inside_name(host: &str) -> bool {
    const INSIDE: [&str; 5] = ["localhost", "local", "lan", "internal", "home.arpa"];
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let below =
        |name: &str| host.strip_suffix(name).is_some_and(|front| front.is_empty() || front.ends_with('.'));
    !host.contains('.') || INSIDE.into_iter().any(below)
}

fn is_announce(path_and_query: &str) -> bool {
    path_and_query.ends_with("/announce") && !path_and_query.contains('?')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn url(text: &str) -> TrackerUrl {
        TrackerUrl::parse(text).unwrap()
    }

    const DEFAULT: Policy = Policy { inside: false };
    const OPEN: Policy = Policy { inside: true };

    #[test]
    fn scopes_of_addresses() {
        let table = [
            (
                Some(Scope::Public),
                &["1.1.1.1", "172.32.0.1", "100.128.0.1", "203.0.113.1", "2606::1", "2001:db8::1"][..],
            ),
            (
                Some(Scope::Private),
                &["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1"],
            ),
            (Some(Scope::Private), &["198.18.0.1", "192.0.0.8", "fd00::1", "fec0::1", "64:ff9b:1::1"]),
            (Some(Scope::Private), &["::ffff:10.0.0.1", "64:ff9b::192.168.1.1", "2002:a00:1::"]),
            (Some(Scope::Link), &["169.254.169.254", "fe80::1", "febf::1", "::ffff:169.254.1.1"]),
            (Some(Scope::Loopback), &["127.0.0.1", "127.255.0.1", "::1", "64:ff9b::7f00:1", "2002:7f00:1::"]),
            (
                None,
                &[
                    "0.0.0.0",
                    "0.1.2.3",
                    "224.0.0.1",
                    "240.0.0.1",
                    "255.255.255.255",
                    "::",
                    "::7f00:1",
                    "ff02::1",
                ],
            ),
        ];
        for (expected, addresses) in table {
            for text in addresses {
                assert_eq!(scope(ip(text)), expected, "{text}");
            }
        }
    }

    #[test]
    fn a_torrent_names_an_inside_tracker_openly_and_for_announces_only() {
        let asks = |text: &str, addr: &str| may_ask(&url(text), Source::Torrent, ip(addr), DEFAULT);
        assert_eq!(asks("http://t.example.com/x?y", "93.184.216.34"), Ok(()));
        assert_eq!(asks("http://127.0.0.1:8080/announce", "127.0.0.1"), Ok(()));
        assert_eq!(asks("udp://10.0.0.1:80/?x", "10.0.0.1"), Ok(()));
        for name in ["localhost", "a.LOCALHOST.", "box", "t.lan", "t.local", "t.home.arpa"] {
            assert_eq!(asks(&format!("http://{name}/announce"), "192.168.1.2"), Ok(()), "{name}");
        }
        let at = ip("192.168.1.1");
        for path in ["/reboot", "/announce?x", "/announce/x", "?/announce", ""] {
            assert_eq!(
                asks(&format!("http://192.168.1.1{path}"), "192.168.1.1"),
                Err(Refused::Inside(at)),
                "{path}"
            );
        }
        for name in ["evil.example.com", "xlocalhost.com", "notlocal.net", "home.arpa.com"] {
            assert_eq!(
                asks(&format!("http://{name}/announce"), "192.168.1.1"),
                Err(Refused::Rebound(at)),
                "{name}"
            );
        }
        assert_eq!(asks("udp://evil.example.com:1", "192.168.1.1"), Err(Refused::Rebound(at)));
    }

    #[test]
    fn the_user_and_the_switch_may_name_anything_but_nobody() {
        let reboot = url("http://x.example.com/reboot?now");
        assert_eq!(may_ask(&reboot, Source::User, ip("127.0.0.1"), DEFAULT), Ok(()));
        assert_eq!(may_ask(&reboot, Source::Torrent, ip("127.0.0.1"), OPEN), Ok(()));
        let nobody = ip("224.0.0.1");
        assert_eq!(may_ask(&reboot, Source::User, nobody, OPEN), Err(Refused::Nobody(nobody)));
    }

    #[test]
    fn redirects_go_outwards_and_stay_encrypted() {
        let goes = |from: &str, origin: &str, to: &str, at: &str| {
            may_redirect(&url(from), ip(origin), &url(to), ip(at), DEFAULT)
        };
        assert_eq!(goes("http://a/", "1.1.1.1", "https://b/", "8.8.8.8"), Ok(()));
        assert_eq!(goes("http://a/", "10.0.0.1", "http://b/", "10.0.0.2"), Ok(()));
        assert_eq!(goes("http://a/", "127.0.0.1", "http://b/", "127.0.0.2"), Ok(()));
        let inwards = |addr| Err(Refused::Inwards(ip(addr)));
        assert_eq!(goes("http://a/", "1.1.1.1", "http://b/announce", "127.0.0.1"), inwards("127.0.0.1"));
        assert_eq!(goes("http://a/", "10.0.0.1", "http://b/", "127.0.0.1"), inwards("127.0.0.1"));
        assert_eq!(goes("http://a/", "10.0.0.1", "http://b/", "169.254.169.254"), inwards("169.254.169.254"));
        assert_eq!(goes("http://a/", "1.1.1.1", "http://b/", "0.0.0.0"), Err(Refused::Nobody(ip("0.0.0.0"))));
        assert_eq!(goes("https://a/", "1.1.1.1", "http://b/", "8.8.8.8"), Err(Refused::Downgrade));
        assert_eq!(goes("http://a/", "1.1.1.1", "udp://b:1/", "8.8.8.8"), Err(Refused::NotHttp));
        assert_eq!(
            may_redirect(&url("http://a/"), ip("1.1.1.1"), &url("http://b/"), ip("10.0.0.1"), OPEN),
            Ok(())
        );
    }

    #[test]
    fn peers_lie_no_further_in_than_their_tracker() {
        let all = [
            "8.8.8.8:1",
            "10.0.0.1:1",
            "169.254.1.1:1",
            "127.0.0.1:1",
            "224.0.0.1:1",
            "[::1]:1",
            "[fd00::1]:1",
        ];
        let kept = |origin: &str, policy| {
            let mut peers: Vec<SocketAddr> = all.iter().map(|peer| peer.parse().unwrap()).collect();
            let dropped = keep_peers(&mut peers, ip(origin), policy);
            assert_eq!(peers.len() + dropped, all.len());
            peers.len()
        };
        assert_eq!(kept("1.1.1.1", DEFAULT), 1);
        assert_eq!(kept("10.9.9.9", DEFAULT), 3);
        assert_eq!(kept("127.0.0.1", DEFAULT), 6);
        assert_eq!(kept("::1", DEFAULT), 6);
        assert_eq!(kept("1.1.1.1", OPEN), 6);
    }
}
