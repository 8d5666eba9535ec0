//! The address of a tracker.
//!
//! No general URL parser: scheme, host, port, and what follows. It is as strict as it has to be for another parser (the
//! HTTP library's) to see the same host: what could be read in two ways (control characters, blanks, backslashes) is
//! refused. Names stay names; resolving them is the caller's matter.
//!
//! Tested by shapes seen in torrents and by a refusal for each error.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// Longest URL taken, in bytes. Passkeys take some hundred; HTTP servers commonly stop at 8 KiB.
pub const MAX_LEN: usize = 2048;

/// How a tracker is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// `http://` (BEP 3)
    Http,
    /// `https://`
    Https,
    /// `udp://` (BEP 15)
    Udp,
    /// `ws://`, for peers in browsers
    Ws,
    /// `wss://`
    Wss,
}

impl Scheme {
    const ALL: [Self; 5] = [Self::Http, Self::Https, Self::Udp, Self::Ws, Self::Wss];

    /// As it stands in front of `://`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Udp => "udp",
            Self::Ws => "ws",
            Self::Wss => "wss",
        }
    }

    /// The port where the URL names none; UDP has no such port.
    const fn default_port(self) -> Option<u16> {
        match self {
            Self::Http | Self::Ws => Some(80),
            Self::Https | Self::Wss => Some(443),
            Self::Udp => None,
        }
    }
}

/// Why something is no tracker's URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadUrl {
    /// Longer than [`MAX_LEN`].
    #[error("the tracker's URL is longer than the {MAX_LEN} bytes allowed")]
    TooLong,
    /// Another scheme, or none.
    #[error("a tracker's URL begins with http://, https://, udp://, ws:// or wss://")]
    Scheme,
    /// No host, or characters that no host has.
    #[error("the tracker's URL names no valid host")]
    Host,
    /// No port where one is needed, or no valid one.
    #[error("the tracker's URL names no valid port, and udp:// needs one")]
    Port,
    /// A blank, a backslash, or a control character.
    #[error("the tracker's URL has a character that must be percent-encoded")]
    Character,
}

/// A tracker's URL that was checked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrackerUrl {
    text: Box<str>,
    scheme: Scheme,
    port: u16,
    host: (u16, u16),
    /// Where path, query and fragment begin.
    tail: u16,
}

impl TrackerUrl {
    /// Reads a URL; blanks around it are ignored.
    ///
    /// # Errors
    /// As the [module](self) says.
    pub fn parse(text: &str) -> Result<Self, BadUrl> {
        let text = text.trim();
        if text.len() > MAX_LEN {
            return Err(BadUrl::TooLong);
        }
        if text.chars().any(|c| c.is_control() || c.is_whitespace() || c == '\\') {
            return Err(BadUrl::Character);
        }
        let (scheme, start) = split_scheme(text).ok_or(BadUrl::Scheme)?;
        let tail = text[start..].find(['/', '?', '#']).map_or(text.len(), |at| start + at);
        // A user and password may stand in front of the host; they are for HTTP.
        let host_at = text[start..tail].rfind('@').map_or(start, |at| start + at + 1);
        let (host, port) = split_host(&text[host_at..tail])?;
        let port = port.or(scheme.default_port()).filter(|port| *port != 0).ok_or(BadUrl::Port)?;
        // MAX_LEN fits 16 bits.
        let host_start = (host_at + usize::from(text[host_at..].starts_with('['))) as u16;
        let host = (host_start, host_start + host.len() as u16);
        Ok(Self { text: text.into(), scheme, port, host, tail: tail as u16 })
    }

    /// All of it, as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// How it is spoken to.
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// A name, or an address without brackets; case as it was written.
    pub fn host(&self) -> &str {
        &self.text[usize::from(self.host.0)..usize::from(self.host.1)]
    }

    /// The port; never 0.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The address, if the host is one and no name.
    pub fn ip(&self) -> Option<IpAddr> {
        self.host().parse().ok()
    }

    /// Path and query, without the fragment: what BEP 41 sends to a UDP tracker.
    pub fn path_and_query(&self) -> &str {
        let tail = &self.text[usize::from(self.tail)..];
        tail.split_once('#').map_or(tail, |(front, _)| front)
    }

    /// All but the fragment.
    pub(super) fn without_fragment(&self) -> &str {
        &self.text[..usize::from(self.tail) + self.path_and_query().len()]
    }

    /// Whether both lead to the same tracker: scheme and host count without their case, a port that is left out is the
    /// scheme's, `/` behind the host may be missing, and a fragment means nothing.
    pub fn is_same(&self, other: &Self) -> bool {
        let root = |url: &Self| matches!(url.path_and_query(), "" | "/");
        self.is_same_host(other)
            && self.login() == other.login()
            && (self.path_and_query() == other.path_and_query() || root(self) && root(other))
    }

    /// Whether both lead to the same server: scheme, host and port.
    pub fn is_same_host(&self, other: &Self) -> bool {
        (self.scheme, self.port) == (other.scheme, other.port)
            && self.host().eq_ignore_ascii_case(other.host())
    }

    /// User and password, or nothing.
    fn login(&self) -> &str {
        let front = &self.text[..usize::from(self.host.0)];
        front.rsplit_once('@').map_or("", |(login, _)| login.split_once("://").map_or("", |(_, login)| login))
    }

    /// Where the path begins.
    pub(super) fn path_at(&self) -> usize {
        usize::from(self.tail)
    }
}

impl fmt::Display for TrackerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The scheme, in any case, and where the rest begins.
fn split_scheme(text: &str) -> Option<(Scheme, usize)> {
    let (name, _) = text.split_once("://")?;
    let scheme = Scheme::ALL.into_iter().find(|scheme| scheme.name().eq_ignore_ascii_case(name))?;
    Some((scheme, name.len() + 3))
}

fn split_host(authority: &str) -> Result<(&str, Option<u16>), BadUrl> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (v6, after) = rest.split_once(']').ok_or(BadUrl::Host)?;
            v6.parse::<Ipv6Addr>().map_err(|_| BadUrl::Host)?;
            (v6, after)
        }
        None => {
            let end = authority.find(':').unwrap_or(authority.len());
            (name(&authority[..end])?, &authority[end..])
        }
    };
    match port.strip_prefix(':') {
        Some("") => Ok((host, None)),
        Some(digits) => Ok((host, Some(digits.parse().map_err(|_| BadUrl::Port)?))),
        None if port.is_empty() => Ok((host, None)),
        None => Err(BadUrl::Host),
    }
}

/// A DNS name or an IPv4 address. A number in other shapes than four decimals (`0x7f.1`, `2130706433`), which some
/// resolvers take for an address, is refused: the last label of a name is never a number.
fn name(host: &str) -> Result<&str, BadUrl> {
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    let last = host.trim_end_matches('.').rsplit('.').next().unwrap_or("");
    let number = last.starts_with(|c: char| c.is_ascii_digit())
        && (last.bytes().all(|b| b.is_ascii_digit())
            || last.get(..2).is_some_and(|x| x.eq_ignore_ascii_case("0x")));
    let shape = (1..=253).contains(&host.len()) && host.bytes().all(legal);
    let address = host.parse::<std::net::Ipv4Addr>().is_ok();
    if shape && !last.is_empty() && (!number || address) { Ok(host) } else { Err(BadUrl::Host) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> (Scheme, String, u16, String) {
        let url = TrackerUrl::parse(text).unwrap();
        (url.scheme(), url.host().to_owned(), url.port(), url.path_and_query().to_owned())
    }

    #[test]
    fn shapes_in_torrents() {
        let own = |s: &str| s.to_owned();
        assert_eq!(
            parts("udp://tracker.example.com:80/dir?a=b&c=d"),
            (Scheme::Udp, own("tracker.example.com"), 80, own("/dir?a=b&c=d"))
        );
        assert_eq!(parts(" HTTP://h/announce#top\n"), (Scheme::Http, own("h"), 80, own("/announce")));
        assert_eq!(
            parts("https://u:p@[2001:db8::1]:8443?x"),
            (Scheme::Https, own("2001:db8::1"), 8443, own("?x"))
        );
        assert_eq!(parts("udp://10.0.0.1:1"), (Scheme::Udp, own("10.0.0.1"), 1, own("")));
        assert_eq!(parts("wss://h:/"), (Scheme::Wss, own("h"), 443, own("/")));
        assert_eq!(TrackerUrl::parse("udp://[::1]:1").unwrap().ip(), Some("::1".parse().unwrap()));
        assert_eq!(
            TrackerUrl::parse("http://a@127.0.0.1/").unwrap().ip(),
            Some("127.0.0.1".parse().unwrap())
        );
        assert_eq!(TrackerUrl::parse("http://h/a#b").unwrap().without_fragment(), "http://h/a");
    }

    #[test]
    fn refusals() {
        let refused = |text: &str| TrackerUrl::parse(text).unwrap_err();
        assert_eq!(refused("dht://x"), BadUrl::Scheme);
        assert_eq!(refused("tracker.example.com:80"), BadUrl::Scheme);
        assert_eq!(refused("udp://h/announce"), BadUrl::Port);
        assert_eq!(refused("http://h:0/"), BadUrl::Port);
        assert_eq!(refused("http://h:66000/"), BadUrl::Port);
        assert_eq!(refused(&format!("http://h/{}", "a".repeat(MAX_LEN))), BadUrl::TooLong);
        for host in ["", "[::1", "[::g]", "[::1]x", "a%b", "2130706433", "0x7f.1", "127.1", "1.2.3.0x4", "."]
        {
            assert_eq!(refused(&format!("http://{host}/")), BadUrl::Host, "{host}");
        }
        for text in ["http://h\\@x/", "http://h/a b", "http://h/\u{7f}"] {
            assert_eq!(refused(text), BadUrl::Character);
        }
    }
}
