//! Which node of a cluster has which key (Redis Cluster specification).

use super::resp::Reply;

/// Slots of a cluster.
pub const SLOTS: u16 = 16384;

/// Longest name of a host.
const MAX_HOST: usize = 255;

/// Most parts of a map that are looked at; a sound one has fewer than slots.
const MAX_RANGES: usize = SLOTS as usize;

/// The slot of a key: of the part between its first `{` and the `}` behind it, if there is one.
pub fn slot_of(key: &[u8]) -> u16 {
    let tag = || {
        let open = key.iter().position(|b| *b == b'{')? + 1;
        let len = key.get(open..)?.iter().position(|b| *b == b'}')?;
        key.get(open..open + len).filter(|tag| !tag.is_empty())
    };
    crc16(tag().unwrap_or(key)) % SLOTS
}

/// CRC-16/XMODEM: polynomial 0x1021, from 0.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        let at = (crc >> 8) ^ u16::from(*byte);
        (crc << 8) ^ TABLE[usize::from(at)]
    })
}

const TABLE: [u16; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let mut crc = (i as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
            bit += 1;
        }
        table[i] = crc;
        i += 1;
    }
    table
};

/// Where a node listens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Host {
    /// A name or an address.
    pub name: Box<str>,
    /// Never 0.
    pub port: u16,
}

impl Host {
    fn new(name: &[u8], port: i64, default: &str) -> Option<Self> {
        let name = std::str::from_utf8(name).ok()?;
        let name = if name.is_empty() || name == "?" { default } else { name };
        let fit = name.len() <= MAX_HOST && !name.chars().any(|c| c.is_control() || c.is_whitespace());
        let port = u16::try_from(port).ok().filter(|port| *port != 0 && fit)?;
        Some(Self { name: name.into(), port })
    }
}

/// Slots from `first` to `last` and who has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) first: u16,
    pub(crate) last: u16,
    pub(crate) master: Host,
}

/// Reads the answer to `CLUSTER SLOTS`. A master that gives no name is at `asked`. What makes no sense is passed over;
/// `None` if it is no map at all.
pub(crate) fn parse_map(reply: &Reply<'_>, asked: &str) -> Option<Vec<Range>> {
    let Reply::Array(ranges) = reply else { return None };
    Some(ranges.iter().take(MAX_RANGES).filter_map(|range| parse_range(range, asked)).collect())
}

fn parse_range(reply: &Reply<'_>, asked: &str) -> Option<Range> {
    let Reply::Array(fields) = reply else { return None };
    let [Reply::Int(first), Reply::Int(last), Reply::Array(master), ..] = fields.as_slice() else {
        return None;
    };
    let (first, last) = (u16::try_from(*first).ok()?, u16::try_from(*last).ok()?);
    let master = match master.as_slice() {
        [Reply::Bulk(name), Reply::Int(port), ..] => Host::new(name, *port, asked)?,
        [Reply::Nil, Reply::Int(port), ..] => Host::new(b"", *port, asked)?,
        _ => return None,
    };
    (first <= last && last < SLOTS).then_some(Range { first, last, master })
}

/// A node that sends us elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Redirect {
    /// From now on, or for this command alone.
    pub(crate) lasting: bool,
    pub(crate) slot: u16,
    pub(crate) host: Host,
}

impl Redirect {
    /// Reads `MOVED slot host:port` or `ASK slot host:port`; `asked` is who says so.
    pub(crate) fn parse(error: &[u8], asked: &str) -> Option<Self> {
        let text = std::str::from_utf8(error).ok()?;
        let mut words = text.split(' ');
        let lasting = match words.next()? {
            "MOVED" => true,
            "ASK" => false,
            _ => return None,
        };
        let slot = words.next()?.parse().ok().filter(|slot| *slot < SLOTS)?;
        let (name, port) = words.next()?.rsplit_once(':')?;
        let name = name.trim_start_matches('[').trim_end_matches(']');
        let host = Host::new(name.as_bytes(), port.parse().ok()?, asked)?;
        Some(Self { lasting, slot, host })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(slot_of(b"foo"), 12182);
        assert_eq!(slot_of(b"{user1000}.following"), slot_of(b"user1000"));
        assert_eq!(slot_of(b"foo{{bar}}zap"), slot_of(b"{bar"));
        assert_eq!(slot_of(b"foo{}{bar}"), crc16(b"foo{}{bar}") % SLOTS);
        assert_eq!(slot_of(b"foo{bar"), crc16(b"foo{bar") % SLOTS);
    }

    #[test]
    fn redirects() {
        let parsed = |text: &str| Redirect::parse(text.as_bytes(), "asked");
        let host = |name: &str, port| Host { name: name.into(), port };
        let moved = Redirect { lasting: true, slot: 3999, host: host("127.0.0.1", 6381) };
        assert_eq!(parsed("MOVED 3999 127.0.0.1:6381"), Some(moved));
        let asks = Redirect { lasting: false, slot: 1, host: host("::1", 7) };
        assert_eq!(parsed("ASK 1 ::1:7"), Some(asks));
        assert_eq!(parsed("MOVED 1 :7").unwrap().host, host("asked", 7));
        for bad in [
            "MOVED",
            "MOVED x h:1",
            "MOVED 16384 h:1",
            "MOVED 1 h:0",
            "MOVED 1 h",
            "ERR 1 h:1",
            "MOVED 1 h:99999",
        ] {
            assert_eq!(parsed(bad), None, "{bad}");
        }
    }

    #[test]
    fn maps_pass_over_what_makes_no_sense() {
        let node = |name| Reply::Array(vec![Reply::Bulk(name), Reply::Int(6379), Reply::Bulk(b"id")]);
        let range = |first, last, node| Reply::Array(vec![Reply::Int(first), Reply::Int(last), node]);
        let map = Reply::Array(vec![
            range(0, 9, node(b"a")),
            range(10, 10, node(b"")),
            range(9, 1, node(b"a")),
            range(0, 16384, node(b"a")),
            range(-1, 3, node(b"a")),
            range(1, 3, Reply::Int(3)),
            range(1, 3, node(b"a b")),
            Reply::Nil,
        ]);
        let read = parse_map(&map, "asked").unwrap();
        let brief: Vec<_> = read.iter().map(|r| (r.first, r.last, &*r.master.name)).collect();
        assert_eq!(brief, [(0, 9, "a"), (10, 10, "asked")]);
        assert_eq!(parse_map(&Reply::Nil, "asked"), None);
    }
}
