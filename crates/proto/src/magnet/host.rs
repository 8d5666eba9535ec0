//! A host and port, as `x.pe` has them.

use std::fmt;
use std::net::{Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// Where a peer is: an address, or a name yet to be resolved (BEP 9: `name:port`, `v4:port`, `[v6]:port`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Host {
    name: String,
    port: u16,
}

/// Not a host and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a `host:port`; an IPv6 address stands in brackets, and the port is not 0")]
pub struct BadHost;

impl Host {
    /// A name, or an address without brackets.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The port; never 0 in one that was read from text.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The address, unless it is a name.
    pub fn addr(&self) -> Option<SocketAddr> {
        self.name.parse().ok().map(|ip| SocketAddr::new(ip, self.port))
    }
}

impl FromStr for Host {
    type Err = BadHost;

    fn from_str(text: &str) -> Result<Self, BadHost> {
        let (host, port) = text.rsplit_once(':').ok_or(BadHost)?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or(BadHost)?;
        let name = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(v6) => v6.parse::<Ipv6Addr>().map_err(|_| BadHost)?.to_string(),
            None if is_name(host) => host.to_owned(),
            None => return Err(BadHost),
        };
        Ok(Self { name, port })
    }
}

/// Whether it could be a DNS name or an IPv4 address: the characters and the length of those.
fn is_name(host: &str) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    (1..=253).contains(&host.len()) && host.bytes().all(legal)
}

impl From<SocketAddr> for Host {
    /// Flow and scope of an IPv6 address are left out, for they mean nothing elsewhere.
    fn from(addr: SocketAddr) -> Self {
        Self { name: addr.ip().to_string(), port: addr.port() }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.contains(':') {
            write!(f, "[{}]:{}", self.name, self.port)
        } else {
            write!(f, "{}:{}", self.name, self.port)
        }
    }
}
