//! The small languages of the settings: periods of time, sizes and networks, the same in file, flag and environment.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::time::Duration;

use samara_proto::magnet::Host;
use samara_proto::redis::{BadServers, Servers};
use serde::{Deserialize, Deserializer, de};

/// A period of whole seconds: `90s`, `15m`, `2h`, `1d`, or a bare number of seconds; at most ten years.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(u64);

/// Longer is a slip of the keyboard, and sums of periods must not overflow.
const LONGEST: u64 = 10 * 365 * 86_400;

impl Period {
    /// So many seconds; more than ten years is ten years.
    pub const fn of_secs(seconds: u64) -> Self {
        Self(if seconds < LONGEST { seconds } else { LONGEST })
    }

    /// In whole seconds.
    pub const fn as_secs(self) -> u64 {
        self.0
    }

    /// As the type of the standard library.
    pub const fn duration(self) -> Duration {
        Duration::from_secs(self.0)
    }
}

impl FromStr for Period {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
        let scale = match unit.trim_start() {
            "" | "s" => 1,
            "m" | "min" => 60,
            "h" => 3600,
            "d" => 86_400,
            _ => return Err(format!("{text:?} is not a period such as 90s, 15m, 2h or 1d")),
        };
        let number = digits.parse::<u64>().map_err(|_| format!("{text:?} is not a period such as 15m"))?;
        let seconds = number.checked_mul(scale).filter(|s| *s <= LONGEST);
        seconds.map(Self).ok_or_else(|| format!("{text} is longer than ten years"))
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(86_400, "d"), (3600, "h"), (60, "m")];
        match units.iter().find(|(scale, _)| self.0 > 0 && self.0.is_multiple_of(*scale)) {
            Some((scale, unit)) => write!(f, "{}{unit}", self.0 / scale),
            None => write!(f, "{}s", self.0),
        }
    }
}

/// A value with a unit may be written as text or as a bare number.
#[derive(Deserialize)]
#[serde(untagged, expecting = "a text such as \"15m\" or \"2GiB\", or a bare number")]
enum TextOrNumber {
    Number(u64),
    Text(String),
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = match TextOrNumber::deserialize(from)? {
            TextOrNumber::Number(seconds) => seconds.to_string(),
            TextOrNumber::Text(text) => text,
        };
        text.parse().map_err(de::Error::custom)
    }
}

/// An amount of memory: `512MiB`, `2GiB`, or a bare number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(u64);

impl Size {
    /// So many bytes.
    pub const fn of_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// In bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
        let shift = match unit.trim_start() {
            "" | "B" => 0,
            "KiB" => 10,
            "MiB" => 20,
            "GiB" => 30,
            "TiB" => 40,
            _ => return Err(format!("{text:?} is not a size such as 512MiB or 2GiB")),
        };
        let number = digits.parse::<u64>().map_err(|_| format!("{text:?} is not a size such as 2GiB"))?;
        number.checked_mul(1 << shift).map(Self).ok_or_else(|| format!("{text} is more than there is"))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
        match units.iter().find(|(shift, _)| self.0 > 0 && self.0.is_multiple_of(1 << shift)) {
            Some((shift, unit)) => write!(f, "{}{unit}", self.0 >> shift),
            None => write!(f, "{}B", self.0),
        }
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = match TextOrNumber::deserialize(from)? {
            TextOrNumber::Number(bytes) => bytes.to_string(),
            TextOrNumber::Text(text) => text,
        };
        text.parse().map_err(de::Error::custom)
    }
}

/// A network in CIDR notation (RFC 4632, RFC 4291 §2.3), or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    /// With the host's bits cleared; IPv4 in its mapped form.
    network: u128,
    /// Ones where the network's bits are.
    mask: u128,
    v4: bool,
}

impl Cidr {
    /// Whether the address lies in the network. An IPv4-mapped address counts as IPv4.
    pub fn contains(&self, addr: IpAddr) -> bool {
        let addr = addr.to_canonical();
        self.v4 == addr.is_ipv4() && bits(addr) & self.mask == self.network
    }
}

/// 128 bits for either family.
fn bits(addr: IpAddr) -> u128 {
    match addr {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

impl FromStr for Cidr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a network such as 10.0.0.0/8, nor an address");
        let (addr, len) = match text.trim().split_once('/') {
            Some((addr, len)) => (addr, Some(len)),
            None => (text.trim(), None),
        };
        let addr: IpAddr = addr.parse().map_err(|_| wrong())?;
        let all = if addr.is_ipv4() { 32 } else { 128 };
        let len = len.map_or(Ok(all), str::parse::<u32>).map_err(|_| wrong())?;
        let host_bits = all.checked_sub(len).ok_or_else(wrong)?;
        let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
        if bits(addr) & !mask != 0 {
            return Err(format!(
                "{text:?} has bits set beyond its /{len}: did you mean {}?",
                first(addr, mask, len)
            ));
        }
        Ok(Self { network: bits(addr) & mask, mask, v4: addr.is_ipv4() })
    }
}

/// The network that an address with stray bits lies in, for the message.
fn first(addr: IpAddr, mask: u128, len: u32) -> String {
    let network = Ipv6Addr::from_bits(bits(addr) & mask);
    match addr {
        IpAddr::V4(_) => {
            format!("{}/{len}", Ipv4Addr::from_bits((network.to_bits() & u128::from(u32::MAX)) as u32))
        }
        IpAddr::V6(_) => format!("{network}/{len}"),
    }
}

impl<'de> Deserialize<'de> for Cidr {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

/// Where the swarms are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In this process.
    Memory,
    /// In Redis or Valkey.
    Redis(Servers),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim() {
            "memory" => Ok(Self::Memory),
            other if !other.contains("://") => {
                // Not shown, since it may be a password that lost its address.
                Err("this is neither memory nor an address such as redis://localhost:6379/0".into())
            }
            other => other.parse().map(Self::Redis).map_err(|bad: BadServers| bad.to_string()),
        }
    }
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

/// Where a node of the DHT begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lead {
    /// Nowhere: others come to it. So that a flag can name an empty list.
    Nowhere,
    /// With this node.
    At(Host),
}

impl FromStr for Lead {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim() {
            "none" => Ok(Self::Nowhere),
            text => text.parse().map(Self::At).map_err(|_| {
                format!("{text:?} is not a host with a port, such as dht.example:6969, nor none")
            }),
        }
    }
}

impl<'de> Deserialize<'de> for Lead {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods() {
        for (text, seconds) in [("90s", 90), ("15m", 900), ("2 h", 7200), ("1d", 86_400), ("7", 7)] {
            assert_eq!(text.parse(), Ok(Period(seconds)), "{text}");
        }
        for bad in ["", "m", "-1s", "1w", "99999999999999999999", "4000d", "9999999999999999d"] {
            assert!(bad.parse::<Period>().is_err(), "{bad:?} was taken");
        }
        for text in ["90s", "15m", "2h", "1d", "0s"] {
            assert_eq!(text.parse::<Period>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in
            [("0", 0), ("512MiB", 512 << 20), ("2 GiB", 2 << 30), ("1023B", 1023), ("1TiB", 1 << 40)]
        {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for bad in ["", "MiB", "-1", "1MB", "99999999999TiB", "99999999999999999999"] {
            assert!(bad.parse::<Size>().is_err(), "{bad:?} was taken");
        }
        for text in ["512MiB", "2GiB", "1023B", "0B"] {
            assert_eq!(text.parse::<Size>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn places() {
        assert_eq!("memory".parse(), Ok(Place::Memory));
        assert!(matches!("redis://localhost/1".parse(), Ok(Place::Redis(servers)) if servers.db == 1));
        for bad in ["", "disk", "secret@host", "http://localhost", "rediss://h"] {
            let refusal = bad.parse::<Place>().unwrap_err();
            assert!(!refusal.contains("secret"), "{refusal}");
        }
    }

    #[test]
    fn leads() {
        assert_eq!("none".parse(), Ok(Lead::Nowhere));
        assert!(matches!("[::1]:6969".parse(), Ok(Lead::At(host)) if host.port() == 6969));
        for bad in ["", "host", "host:0", "1.2.3.4:99999", "None:"] {
            assert!(bad.parse::<Lead>().is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn networks_hold_their_addresses_and_no_others() {
        let holds = |net: &str, addr: &str| net.parse::<Cidr>().unwrap().contains(addr.parse().unwrap());
        assert!(holds("10.0.0.0/8", "10.255.0.1") && !holds("10.0.0.0/8", "11.0.0.0"));
        assert!(holds("192.0.2.7", "192.0.2.7") && !holds("192.0.2.7", "192.0.2.6"));
        assert!(holds("0.0.0.0/0", "255.1.2.3") && !holds("0.0.0.0/0", "::1"));
        assert!(holds("::/0", "2001:db8::1") && !holds("::/0", "1.2.3.4"));
        assert!(holds("10.0.0.0/8", "::ffff:10.1.1.1"));
        assert!(holds("fc00::/7", "fd12::1") && !holds("fc00::/7", "fe80::1"));
        for bad in ["", "10.0.0.0/33", "::/129", "10.0.0.0/-1", "10.0.0/8", "host/8", "1.2.3.4/"] {
            assert!(bad.parse::<Cidr>().is_err(), "{bad:?} was taken");
        }
        assert!("10.1.2.3/8".parse::<Cidr>().unwrap_err().ends_with("did you mean 10.0.0.0/8?"));
    }
}
