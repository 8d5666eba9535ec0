//! The payload of `ut_pex`: peers that the sender has come to know, and such as it has lost (BEP 11).
//!
//! Leniently read: a list that ends in part of a peer is cut, flags that lack are 0, port 0 and what is beyond
//! [`MOST_READ`] are passed over. What addresses may be believed is for [`crate::torrent`].
//!
//! Tested by round trips, by examples of clipped lists, and by the fuzz target `ut_pex`.

use std::net::{IpAddr, SocketAddr};

use super::ExtensionError;
use crate::bencode::{self, Limits, Value};

/// Peers read of each list. BEP 11 allows 50 but for the first message, in which clients have sent 100 and more.
const MOST_READ: usize = 100;

/// Six lists; room for what may be added.
const LIMITS: Limits = Limits { depth: 4, items: 64, ..Limits::MESSAGE };

const V4_LEN: usize = 6;
const V6_LEN: usize = 18;

/// What the sender says of a peer (BEP 11 `added.f`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PexFlags(pub u8);

impl PexFlags {
    /// It wants nothing more: a seed, or "upload only" (BEP 21).
    pub const SEED: u8 = 0x02;
    /// The sender could connect to it.
    pub const REACHABLE: u8 = 0x10;

    /// Whether it wants nothing more.
    pub const fn is_seed(self) -> bool {
        self.0 & Self::SEED != 0
    }

    /// Whether the sender could connect to it.
    pub const fn is_reachable(self) -> bool {
        self.0 & Self::REACHABLE != 0
    }
}

/// A peer exchange message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PexMessage {
    /// Peers that the sender is connected to. Read: at most 100 of a family.
    pub added: Vec<(SocketAddr, PexFlags)>,
    /// Those of them that it is not connected to any more. Read: at most 100 of a family.
    pub dropped: Vec<SocketAddr>,
}

impl PexMessage {
    /// Whether it says nothing.
    pub const fn is_empty(&self) -> bool {
        self.added.is_empty() && self.dropped.is_empty()
    }

    /// Reads the payload of a `ut_pex` message. Lists of a wrong type count as absent.
    ///
    /// # Errors
    /// If it does not start with a bencoded dictionary.
    pub fn parse(payload: &[u8]) -> Result<Self, ExtensionError> {
        let (value, _) = bencode::parse_prefix(payload, LIMITS).map_err(|_| ExtensionError)?;
        let dict = value.as_dict().ok_or(ExtensionError)?;
        let list = |key: &str| dict.get(key).and_then(Value::as_bytes).unwrap_or_default();
        let added = |key, flags, len| flagged(list(key), list(flags), len);
        let dropped = |key, len| peers(list(key), len).map(|(_, addr)| addr);
        Ok(Self {
            added: added("added", "added.f", V4_LEN).chain(added("added6", "added6.f", V6_LEN)).collect(),
            dropped: dropped("dropped", V4_LEN).chain(dropped("dropped6", V6_LEN)).collect(),
        })
    }

    /// Appends the payload of a `ut_pex` message to `out`. Both of its authors' clients want `added` to be there even
    /// if it is empty; the lists of IPv6 are left out then.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let [added, added6] = [true, false].map(|v4| self.added.iter().filter(move |(a, _)| is_v4(a) == v4));
        let [dropped, dropped6] = [true, false].map(|v4| self.dropped.iter().filter(move |a| is_v4(a) == v4));
        let packed = |peers: &mut dyn Iterator<Item = SocketAddr>| {
            let mut bytes = Vec::new();
            peers.for_each(|addr| pack(addr, &mut bytes));
            bytes
        };
        let flags = |peers: &mut dyn Iterator<Item = PexFlags>| peers.map(|f| f.0).collect::<Vec<u8>>();
        let lists = [
            ("added", packed(&mut added.clone().map(|(addr, _)| *addr)), true),
            ("added.f", flags(&mut added.map(|(_, f)| *f)), true),
            ("added6", packed(&mut added6.clone().map(|(addr, _)| *addr)), false),
            ("added6.f", flags(&mut added6.map(|(_, f)| *f)), false),
            ("dropped", packed(&mut dropped.copied()), true),
            ("dropped6", packed(&mut dropped6.copied()), false),
        ];
        bencode::write_dict(out, |d| {
            let said = lists.iter().filter(|(_, bytes, always)| *always || !bytes.is_empty());
            said.for_each(|(key, bytes, _)| d.bytes(key, bytes));
        });
    }
}

fn is_v4(addr: &SocketAddr) -> bool {
    addr.ip().to_canonical().is_ipv4()
}

fn pack(addr: SocketAddr, out: &mut Vec<u8>) {
    match addr.ip().to_canonical() {
        IpAddr::V4(ip) => out.extend(ip.octets()),
        IpAddr::V6(ip) => out.extend(ip.octets()),
    }
    out.extend(addr.port().to_be_bytes());
}

/// The peers of a list of entries of `len` bytes, each with its place there.
fn peers(bytes: &[u8], len: usize) -> impl Iterator<Item = (usize, SocketAddr)> {
    let packed = bytes.chunks_exact(len).take(MOST_READ).enumerate();
    packed.filter_map(|(place, peer)| Some((place, unpack(peer)?)))
}

fn flagged<'a>(
    bytes: &'a [u8],
    flags: &'a [u8],
    len: usize,
) -> impl Iterator<Item = (SocketAddr, PexFlags)> + 'a {
    peers(bytes, len).map(|(place, addr)| (addr, PexFlags(flags.get(place).copied().unwrap_or_default())))
}

fn unpack(bytes: &[u8]) -> Option<SocketAddr> {
    let (ip, port) = bytes.split_last_chunk::<2>()?;
    let v4 = <[u8; 4]>::try_from(ip).map(IpAddr::from);
    let ip = v4.or_else(|_| <[u8; 16]>::try_from(ip).map(IpAddr::from)).ok()?;
    let port = u16::from_be_bytes(*port);
    (port != 0).then(|| SocketAddr::new(ip.to_canonical(), port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn addr() -> impl Strategy<Value = SocketAddr> {
        let v4 = (any::<[u8; 4]>(), 1u16..).prop_map(SocketAddr::from);
        let v6 = (any::<[u8; 16]>(), 1u16..).prop_map(SocketAddr::from);
        prop_oneof![v4, v6].prop_map(|a| SocketAddr::new(a.ip().to_canonical(), a.port()))
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            mut added in prop::collection::vec((addr(), any::<u8>().prop_map(PexFlags)), 0..MOST_READ),
            mut dropped in prop::collection::vec(addr(), 0..MOST_READ),
        ) {
            added.sort_by_key(|(addr, _)| !is_v4(addr));
            dropped.sort_by_key(|addr| !is_v4(addr));
            let message = PexMessage { added, dropped };
            let mut out = Vec::new();
            message.encode(&mut out);
            prop_assert_eq!(PexMessage::parse(&out), Ok(message));
        }

        #[test]
        fn any_list_is_read_as_far_as_it_goes(v4: Vec<u8>, v6: Vec<u8>, flags: Vec<u8>) {
            let mut out = Vec::new();
            bencode::write_dict(&mut out, |d| {
                d.bytes("added", &v4);
                d.bytes("added.f", &flags);
                d.bytes("dropped6", &v6);
            });
            let message = PexMessage::parse(&out).unwrap();
            prop_assert!(message.added.len() <= v4.len() / V4_LEN && message.dropped.len() <= v6.len() / V6_LEN);
        }
    }

    #[test]
    fn flags_stay_with_their_peers() {
        let payload =
            b"d5:added20:\x01\x02\x03\x04\x00\x00\x01\x02\x03\x05\x1a\xe1\x01\x02\x03\x06\x1a\xe2xx7:added.f2:\x01\x12e";
        let message = PexMessage::parse(payload).unwrap();
        let expected = [(at("1.2.3.5:6881"), PexFlags(0x12)), (at("1.2.3.6:6882"), PexFlags(0))];
        assert_eq!(message.added, expected, "port 0 is nobody, and what lacks is nothing");
        assert!(message.added[0].1.is_seed() && message.added[0].1.is_reachable());
    }

    #[test]
    fn no_list_is_read_beyond_its_cap() {
        let mut out = Vec::new();
        bencode::write_dict(&mut out, |d| d.bytes("added", [9; 300_000]));
        assert_eq!(PexMessage::parse(&out).unwrap().added.len(), MOST_READ);
    }

    #[test]
    fn what_is_no_dictionary_is_refused_and_what_is_no_list_passed_over() {
        for bad in [&b""[..], b"i1e", b"le", b"d", b"x"] {
            assert_eq!(PexMessage::parse(bad), Err(ExtensionError));
        }
        assert!(PexMessage::parse(b"d5:addedi7e7:droppedlee").unwrap().is_empty());
        assert!(PexMessage::parse(b"de and more").unwrap().is_empty());
    }

    #[test]
    fn a_mapped_address_is_the_one_that_it_carries() {
        let mut out = Vec::new();
        let message = PexMessage { added: Vec::new(), dropped: vec![at("[::ffff:1.2.3.4]:5")] };
        message.encode(&mut out);
        assert_eq!(out, b"d5:added0:7:added.f0:7:dropped6:\x01\x02\x03\x04\x00\x05e");
        assert_eq!(PexMessage::parse(&out).unwrap().dropped, [at("1.2.3.4:5")]);
    }
}
