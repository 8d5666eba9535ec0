//! The announce, to and from bytes.
//!
//! Spec: BEP 14. A request line and headers as in HTTP, ended by an empty line, of which writers send two.
//!
//! Read: names in any case, values with or without space around, ends of lines with or without carriage return, in any
//! order; what is not known is passed over, as the BEP asks, and so is a hash that is none. Refused: what is longer than
//! a datagram may be ([`MAX_LEN`]), does not end, or gives no port.
//!
//! Written: as libtorrent, Transmission and aria2 do, to the letter, because some look for `\r\nPort: ` and three ends of
//! line at the very end. Transmission before 4.0 and aria2 look at 200 bytes and one hash: two hashes, those of a hybrid
//! torrent, keep below that with any port and over either family.
//!
//! Tested by tables, by messages in the form of other clients, and by the fuzz target `lsd`.

use std::fmt::{self, Write as _};
use std::net::SocketAddr;

use crate::ids::WireHash;

/// Longest announce, in bytes (BEP 14).
pub const MAX_LEN: usize = 1400;

/// Most hashes in an announce of ours: with a line for each it is as long as [`MAX_LEN`] allows.
pub const MAX_HASHES: usize = 25;

/// What is opaque to others, by which a sender knows what it hears from itself. Eight hexadecimal digits: libtorrent reads
/// a cookie as such a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cookie(pub u32);

impl fmt::Display for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl Cookie {
    /// `None` for what is not of our making.
    fn parse(text: &str) -> Option<Self> {
        let ours = text.len() == 8 && text.bytes().all(|c| c.is_ascii_hexdigit());
        ours.then(|| u32::from_str_radix(text, 16).ok()).flatten().map(Self)
    }
}

/// An announce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Where the sender listens for peers; never 0.
    pub port: u16,
    /// What the sender has, in order; at least one.
    pub hashes: Vec<WireHash>,
    /// If it has the form of ours.
    pub cookie: Option<Cookie>,
}

/// Why something is no announce.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// Longer than [`MAX_LEN`].
    #[error("an announce of {0} bytes, which is too long")]
    TooLong(usize),
    /// The first line is another.
    #[error("not a BT-SEARCH request")]
    NotASearch,
    /// No empty line comes.
    #[error("an announce that does not end")]
    Unfinished,
    /// No port, 0, or not a number.
    #[error("an announce without a port")]
    NoPort,
    /// No hash that is one.
    #[error("an announce of nothing")]
    NoHash,
}

impl Message {
    /// Reads a datagram.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn parse(data: &[u8]) -> Result<Self, MessageError> {
        if data.len() > MAX_LEN {
            return Err(MessageError::TooLong(data.len()));
        }
        let mut lines = data.split_inclusive(|byte| *byte == b'\n').map_while(whole);
        if !lines.next().is_some_and(is_search) {
            return Err(MessageError::NotASearch);
        }
        let (mut port, mut hashes, mut cookie) = (None, Vec::new(), None);
        loop {
            let line = lines.next().ok_or(MessageError::Unfinished)?;
            if line.is_empty() {
                break;
            }
            match header(line) {
                Some((name, value)) if name.eq_ignore_ascii_case("port") => port = port.or(Some(value)),
                Some((name, value)) if name.eq_ignore_ascii_case("infohash") => hashes.extend(hash(value)),
                Some((name, value)) if name.eq_ignore_ascii_case("cookie") => cookie = Cookie::parse(value),
                _ => {}
            }
        }
        let port = port.and_then(number).ok_or(MessageError::NoPort)?;
        if hashes.is_empty() { Err(MessageError::NoHash) } else { Ok(Self { port, hashes, cookie }) }
    }
}

/// Writes an announce to `group`. At most [`MAX_HASHES`] hashes are told of.
pub fn write(group: SocketAddr, port: u16, hashes: &[WireHash], cookie: Cookie) -> Vec<u8> {
    let mut text = format!("BT-SEARCH * HTTP/1.1\r\nHost: {group}\r\nPort: {port}\r\n");
    for hash in hashes.iter().take(MAX_HASHES) {
        // Upper case as Transmission, aria2 and the first of all, µTorrent, have it.
        text.push_str("Infohash: ");
        for byte in hash.0 {
            let _ = write!(text, "{byte:02X}");
        }
        text.push_str("\r\n");
    }
    let _ = write!(text, "cookie: {cookie}\r\n\r\n\r\n");
    text.into_bytes()
}

/// A line without its end; `None` if it has none.
fn whole(line: &[u8]) -> Option<&[u8]> {
    let line = line.strip_suffix(b"\n")?;
    Some(line.strip_suffix(b"\r").unwrap_or(line))
}

/// `BT-SEARCH * HTTP/1.x`: another major version could mean anything.
fn is_search(line: &[u8]) -> bool {
    const START: &[u8] = b"BT-SEARCH * HTTP/1.";
    line.len() > START.len() && line[..START.len()].eq_ignore_ascii_case(START)
}

fn header(line: &[u8]) -> Option<(&str, &str)> {
    let (name, value) = str::from_utf8(line).ok()?.split_once(':')?;
    Some((name.trim(), value.trim()))
}

fn number(text: &str) -> Option<u16> {
    let digits = !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten().filter(|port| *port != 0)
}

fn hash(text: &str) -> Option<WireHash> {
    WireHash::from_hex(text).filter(|hash| hash.0 != [0; 20])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lsd::{GROUP_V4, GROUP_V6};

    const HASH: &str = "000102030405060708090a0B0c0d0e0f10111213";

    fn parse(text: &str) -> Result<Message, MessageError> {
        Message::parse(text.as_bytes())
    }

    fn wire(n: u8) -> WireHash {
        WireHash([n; 20])
    }

    #[test]
    fn what_other_clients_send_is_read() {
        let of = |port, cookie| Message { port, hashes: vec![WireHash::from_hex(HASH).unwrap()], cookie };
        let host = "Host: 239.192.152.143:6771";
        let libtorrent = format!(
            "BT-SEARCH * HTTP/1.1\r\n{host}\r\nPort: 6881\r\nInfohash: {HASH}\r\ncookie: 5c0ffee\r\n\r\n\r\n"
        );
        assert_eq!(parse(&libtorrent), Ok(of(6881, None)));
        let transmission =
            format!("BT-SEARCH * HTTP/1.1\r\n{host}\r\nPort: 51413\r\nInfohash: {HASH}\r\n\r\n\r\n");
        assert_eq!(parse(&transmission), Ok(of(51413, None)));
        let another =
            format!("bt-search * http/1.0\nINFOHASH:{HASH} \nX\nfoo: bar\nport:\t9\nCookie: DEADBEEF\n\n");
        assert_eq!(parse(&another), Ok(of(9, Some(Cookie(0xdead_beef)))));
        let two = format!("BT-SEARCH * HTTP/1.1\r\nInfohash: {HASH}\r\nInfohash: {HASH}\r\nPort: 7\r\n\r\n");
        assert_eq!(parse(&two).unwrap().hashes.len(), 2);
    }

    #[test]
    fn what_is_no_announce_is_refused() {
        let with = |headers: &str| parse(&format!("BT-SEARCH * HTTP/1.1\r\n{headers}\r\n\r\n"));
        for port in ["0", "65536", "-1", "+1", "", "1x", "0x10"] {
            assert_eq!(
                with(&format!("Infohash: {HASH}\r\nPort: {port}")),
                Err(MessageError::NoPort),
                "{port}"
            );
        }
        assert_eq!(with(&format!("Infohash: {HASH}")), Err(MessageError::NoPort));
        let zeros = "0".repeat(40);
        for hash in ["", "00", &HASH[1..], &zeros, &format!("{HASH}00"), &"z".repeat(40)] {
            assert_eq!(with(&format!("Port: 1\r\nInfohash: {hash}")), Err(MessageError::NoHash), "{hash}");
        }
        let text = format!("BT-SEARCH * HTTP/1.1\r\nPort: 1\r\nInfohash: {HASH}\r\n");
        assert_eq!(parse(&text), Err(MessageError::Unfinished));
        for first in ["", "GET * HTTP/1.1", "BT-SEARCH * HTTP/2.0", "BT-SEARCH * HTTP/1.", "BT-SEARCH"] {
            assert_eq!(parse(&format!("{first}\r\n\r\n")), Err(MessageError::NotASearch), "{first}");
        }
        assert_eq!(parse(&" ".repeat(1401)), Err(MessageError::TooLong(1401)));
    }

    #[test]
    fn what_is_written_is_read() {
        let hashes: Vec<_> = (1..=60).map(wire).collect();
        for group in [GROUP_V4.into(), GROUP_V6.into()] {
            let data = write(group, 65535, &hashes, Cookie(7));
            assert!(data.len() <= MAX_LEN && data.len() + 52 > MAX_LEN, "{}", data.len());
            let cookie = Some(Cookie(7));
            let expected = Message { port: 65535, hashes: hashes[..MAX_HASHES].to_vec(), cookie };
            assert_eq!(Message::parse(&data), Ok(expected));
        }
    }

    #[test]
    fn a_hybrid_torrent_is_told_of_to_clients_with_a_short_memory() {
        let data = write(GROUP_V6.into(), 65535, &[wire(0xab), wire(2)], Cookie(u32::MAX));
        assert!(data.len() <= 200, "{}", data.len());
        let text = String::from_utf8(data).unwrap();
        let start = "BT-SEARCH * HTTP/1.1\r\nHost: [ff15::efc0:988f]:6771\r\nPort: 65535\r\nInfohash: ABABAB";
        assert!(text.starts_with(start) && text.ends_with("\r\ncookie: ffffffff\r\n\r\n\r\n"), "{text}");
    }
}
