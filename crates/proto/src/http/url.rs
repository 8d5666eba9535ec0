//! Addresses of the web, as far as they can be fetched.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// Longest address in bytes: more than servers take.
pub const MAX_URL_LEN: usize = 8192;

/// Longest name of a host (RFC 1035, section 2.3.4).
const MAX_HOST_LEN: usize = 253;

/// What may not stand in a request line as it is; what is escaped already stays so.
const ESCAPED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'\\').add(b'^').add(b'`');

/// An `http` or `https` address that can be fetched: everything in it may stand in a request.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Url {
    secure: bool,
    /// A name, or an IPv6 address without brackets; lower case.
    host: Box<str>,
    port: u16,
    /// Path and query, from the slash on.
    target: Box<str>,
}

/// Why an address cannot be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadUrl {
    /// It begins with neither.
    #[error("it begins with neither http:// nor https://")]
    Scheme,
    /// Longer than [`MAX_URL_LEN`].
    #[error("it is longer than the {MAX_URL_LEN} bytes allowed")]
    TooLong,
    /// `user:password@`, which is sent to nobody.
    #[error("it holds a user's name, which is not supported")]
    UserInfo,
    /// None, or neither a plain name nor an IP address.
    #[error("its host is neither a name of letters, digits, dots and hyphens nor an IP address")]
    Host,
    /// No number from 1 to 65535.
    #[error("its port is no number from 1 to 65535")]
    Port,
}

impl Url {
    /// Reads an absolute address. A fragment is dropped.
    ///
    /// # Errors
    /// If it cannot be fetched.
    pub fn parse(text: &str) -> Result<Self, BadUrl> {
        let text = text.trim_matches(|c: char| c.is_ascii_whitespace());
        if text.len() > MAX_URL_LEN {
            return Err(BadUrl::TooLong);
        }
        let (secure, rest) = scheme(text).ok_or(BadUrl::Scheme)?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        let (host, port) = split_authority(authority)?;
        let port = port.unwrap_or(if secure { 443 } else { 80 });
        Ok(Self { secure, host, port, target: clean_target(target) })
    }

    /// Where a redirect from here leads (RFC 3986, section 5.2, without folding `..`).
    ///
    /// # Errors
    /// If that cannot be fetched.
    pub fn join(&self, location: &str) -> Result<Self, BadUrl> {
        let location = location.trim_matches(|c: char| c.is_ascii_whitespace());
        if location.len() > MAX_URL_LEN {
            return Err(BadUrl::TooLong);
        }
        if has_scheme(location) {
            return Self::parse(location);
        }
        if location.starts_with("//") {
            return Self::parse(&format!("{}:{location}", self.scheme()));
        }
        let path = self.target.split('?').next().unwrap_or("/");
        let target = match location.as_bytes().first() {
            None | Some(b'#') => self.target.to_string(),
            Some(b'/') => location.to_owned(),
            Some(b'?') => format!("{path}{location}"),
            Some(_) => format!("{}/{location}", path.rsplit_once('/').map_or("", |(folder, _)| folder)),
        };
        Ok(Self { target: clean_target(&target), ..self.clone() })
    }

    /// Whether it is `https`.
    pub const fn is_secure(&self) -> bool {
        self.secure
    }

    /// The name to look up, or an IP address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The address of the host, if it is named by one.
    pub fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// The port to connect to, never 0.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Path and query, fit for a request line.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Host and port as the `Host` field has them: without the port where it is the usual one.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.to_string() };
        let usual = if self.secure { 443 } else { 80 };
        if self.port == usual { host } else { format!("{host}:{}", self.port) }
    }

    const fn scheme(&self) -> &'static str {
        if self.secure { "https" } else { "http" }
    }
}

impl FromStr for Url {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<Self, BadUrl> {
        Self::parse(text)
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme(), self.authority(), self.target)
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Whether it is secure, and what follows the scheme.
fn scheme(text: &str) -> Option<(bool, &str)> {
    let strip = |scheme: &str| {
        let start = text.get(..scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then(|| &text[scheme.len()..])
    };
    strip("https://").map(|rest| (true, rest)).or_else(|| strip("http://").map(|rest| (false, rest)))
}

/// Whether it begins as an absolute address does (RFC 3986, section 3.1).
fn has_scheme(text: &str) -> bool {
    let Some((scheme, _)) = text.split_once(':') else { return false };
    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
}

fn split_authority(authority: &str) -> Result<(Box<str>, Option<u16>), BadUrl> {
    if authority.contains('@') {
        return Err(BadUrl::UserInfo);
    }
    if let Some(rest) = authority.strip_prefix('[') {
        let (ip, rest) = rest.split_once(']').ok_or(BadUrl::Host)?;
        let ip: Ipv6Addr = ip.parse().map_err(|_| BadUrl::Host)?;
        let port = match rest.strip_prefix(':') {
            None if rest.is_empty() => None,
            None => return Err(BadUrl::Host),
            Some(port) => port_of(port)?,
        };
        return Ok((ip.to_string().into(), port));
    }
    let (host, port) = match authority.split_once(':') {
        None => (authority, None),
        Some((host, port)) => (host, port_of(port)?),
    };
    if is_name(host) { Ok((host.to_ascii_lowercase().into(), port)) } else { Err(BadUrl::Host) }
}

fn port_of(text: &str) -> Result<Option<u16>, BadUrl> {
    if text.is_empty() {
        return Ok(None);
    }
    let number = Some(text).filter(|t| t.bytes().all(|b| b.is_ascii_digit()));
    number.and_then(|t| t.parse().ok()).filter(|port| *port != 0).map(Some).ok_or(BadUrl::Port)
}

/// A name or an IPv4 address. What the system's resolver would read as an address in another spelling (`127.1`,
/// `0x7f000001`) is no name: it ends in a label that begins with a digit (RFC 1123, section 2.1) and is refused.
fn is_name(host: &str) -> bool {
    if host.parse::<Ipv4Addr>().is_ok() {
        return true;
    }
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let last = host.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    (1..=MAX_HOST_LEN).contains(&host.len())
        && host.bytes().all(plain)
        && last.starts_with(|c: char| !c.is_ascii_digit())
}

/// Path and query with a slash in front, without fragment, escaped where a request could not hold them.
fn clean_target(target: &str) -> Box<str> {
    let target = target.split('#').next().unwrap_or_default();
    let escaped = utf8_percent_encode(target, ESCAPED).to_string();
    if escaped.starts_with('/') { escaped.into() } else { format!("/{escaped}").into() }
}
