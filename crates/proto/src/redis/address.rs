//! Where the servers are: `redis://[USER:PASSWORD@]HOST[:PORT][/DB]`, or the nodes of a cluster.

use std::fmt;
use std::str::FromStr;

use percent_encoding::percent_decode_str;

use super::slots::Host;

/// Where a server listens unless told otherwise.
const DEFAULT_PORT: u16 = 6379;

/// Most nodes that are named; any one of them knows the others.
const MAX_HOSTS: usize = 64;

/// How the servers are reached.
#[derive(Clone, PartialEq, Eq)]
pub struct Servers {
    /// One server; or some nodes of a cluster, from which the others are learnt. Never empty.
    pub hosts: Vec<Host>,
    /// Who we are, if not the default user.
    pub user: Option<Box<str>>,
    /// With what we prove it.
    pub password: Option<Box<str>>,
    /// The database by number; clusters have only 0.
    pub db: u32,
    /// Whether keys are spread over nodes.
    pub cluster: bool,
}

/// Why something does not name servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadServers {
    /// Another scheme, or none.
    #[error("the address of a Redis server begins with redis:// or redis-cluster://")]
    Scheme,
    /// `rediss://`
    #[error(
        "rediss:// is not spoken here: reach a server over TLS through a tunnel on this machine, and name that"
    )]
    Tls,
    /// No host, or characters that no host has.
    #[error("the address of a Redis server names no valid host")]
    Host,
    /// 0, or no number.
    #[error("the address of a Redis server names no valid port")]
    Port,
    /// No number, or not 0 in a cluster.
    #[error("the database of a Redis server is a number, and 0 in a cluster")]
    Db,
    /// Not UTF-8 once decoded.
    #[error("user or password of a Redis server is not text")]
    Login,
    /// More than anybody needs.
    #[error("more than {MAX_HOSTS} Redis servers are named")]
    TooMany,
}

impl FromStr for Servers {
    type Err = BadServers;

    /// Reads one address, or several with commas between; those after the first are nodes of the same cluster, and need
    /// no scheme. User, password and database stand in the first. Characters with a meaning are percent-encoded.
    fn from_str(text: &str) -> Result<Self, BadServers> {
        let mut parts = text.split(',').map(str::trim);
        let first = parts.next().unwrap_or_default();
        let (scheme, rest) = first.split_once("://").ok_or(BadServers::Scheme)?;
        let (place, db) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, place) = place.rsplit_once('@').map_or((None, place), |(l, p)| (Some(l), p));
        let (user, password) = login.map_or(Ok((None, None)), read_login)?;
        let mut hosts = vec![read_host(place)?];
        for part in parts {
            hosts.push(read_host(
                part.split_once("://").map_or(part, |(_, host)| host).trim_end_matches('/'),
            )?);
        }
        let cluster = is_cluster(scheme)? || hosts.len() > 1;
        let db = if db.is_empty() { 0 } else { db.parse().map_err(|_| BadServers::Db)? };
        if hosts.len() > MAX_HOSTS {
            return Err(BadServers::TooMany);
        }
        if cluster && db != 0 {
            return Err(BadServers::Db);
        }
        Ok(Self { hosts, user, password, db, cluster })
    }
}

fn is_cluster(scheme: &str) -> Result<bool, BadServers> {
    match scheme {
        "redis" | "valkey" => Ok(false),
        "redis-cluster" | "valkey-cluster" => Ok(true),
        "rediss" | "valkeys" => Err(BadServers::Tls),
        _ => Err(BadServers::Scheme),
    }
}

type Login = (Option<Box<str>>, Option<Box<str>>);

/// `user:password`, `:password` or, as some write it, `password`.
fn read_login(text: &str) -> Result<Login, BadServers> {
    let decode = |part: &str| match percent_decode_str(part).decode_utf8() {
        Ok(text) if text.is_empty() => Ok(None),
        Ok(text) => Ok(Some(text.into())),
        Err(_) => Err(BadServers::Login),
    };
    let (user, password) = text.split_once(':').unwrap_or(("", text));
    Ok((decode(user)?, decode(password)?))
}

fn read_host(text: &str) -> Result<Host, BadServers> {
    let (name, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((name, "")) => (name, None),
        Some((name, rest)) => (name, Some(rest.strip_prefix(':').ok_or(BadServers::Host)?)),
        None => text.split_once(':').map_or((text, None), |(name, port)| (name, Some(port))),
    };
    let odd = |c: char| c.is_control() || c.is_whitespace() || "/\\@?#[]".contains(c);
    if name.is_empty() || name.len() > 255 || name.chars().any(odd) {
        return Err(BadServers::Host);
    }
    let port = port.map_or(Ok(DEFAULT_PORT), str::parse).ok().filter(|port| *port != 0);
    Ok(Host { name: name.into(), port: port.ok_or(BadServers::Port)? })
}

impl fmt::Display for Servers {
    /// Without user and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.cluster { "redis-cluster://" } else { "redis://" })?;
        for (i, host) in self.hosts.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            let (open, close) = if host.name.contains(':') { ("[", "]") } else { ("", "") };
            write!(f, "{comma}{open}{}{close}:{}", host.name, host.port)?;
        }
        if self.db == 0 { Ok(()) } else { write!(f, "/{}", self.db) }
    }
}

impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Servers({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        text.parse::<Servers>().map_or_else(|e| format!("{e:?}"), |servers| servers.to_string())
    }

    #[test]
    fn addresses() {
        for (text, expected) in [
            ("redis://localhost", "redis://localhost:6379"),
            ("redis://h:7/", "redis://h:7"),
            ("valkey://h:7/3", "redis://h:7/3"),
            ("redis://[::1]:7", "redis://[::1]:7"),
            ("redis://[::1]", "redis://[::1]:6379"),
            ("redis-cluster://a:1", "redis-cluster://a:1"),
            ("redis://a:1,b:2, redis://c:3/", "redis-cluster://a:1,b:2,c:3"),
            ("redis://u:secret@h/1", "redis://h:6379/1"),
            ("localhost:6379", "Scheme"),
            ("http://h", "Scheme"),
            ("rediss://h", "Tls"),
            ("redis://", "Host"),
            ("redis://a b", "Host"),
            ("redis://[::1]x", "Host"),
            ("redis://h:0", "Port"),
            ("redis://h:x", "Port"),
            ("redis://h/x", "Db"),
            ("redis-cluster://h/1", "Db"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn logins_are_decoded_and_not_shown() {
        let servers: Servers = "redis://me:p%40ss%3a@h".parse().unwrap();
        assert_eq!((servers.user.as_deref(), servers.password.as_deref()), (Some("me"), Some("p@ss:")));
        let servers: Servers = "redis://:word@h".parse().unwrap();
        assert_eq!((servers.user.as_deref(), servers.password.as_deref()), (None, Some("word")));
        assert!(!format!("{servers:?}{servers}").contains("word"));
    }
}
