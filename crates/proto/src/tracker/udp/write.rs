//! What a tracker says, as it writes it: into a buffer of the caller's, without an allocation.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::super::types::{Family, ScrapeStats};
use super::action;

/// The answer to a connect request; as long as the request was, so that a forged source gains nothing.
pub fn write_connect(transaction: u32, connection: u64) -> [u8; 16] {
    let mut out = [0; 16];
    out[..4].copy_from_slice(&action::CONNECT.to_be_bytes());
    out[4..8].copy_from_slice(&transaction.to_be_bytes());
    out[8..].copy_from_slice(&connection.to_be_bytes());
    out
}

/// Writes an error into `out` and returns its length: what does not fit is cut off, 0 if not even the head fits.
pub fn write_error(out: &mut [u8], transaction: u32, message: &str) -> usize {
    let mut buffer = Buffer { out, len: 0 };
    if buffer.put(&action::ERROR.to_be_bytes()) && buffer.put(&transaction.to_be_bytes()) {
        let room = buffer.out.len() - buffer.len;
        buffer.put(&message.as_bytes()[..message.floor_char_boundary(room)]);
        return buffer.len;
    }
    0
}

/// Writes the answer to an announce.
#[derive(Debug)]
pub struct AnnounceWriter<'a> {
    buffer: Buffer<'a>,
    family: Family,
}

impl<'a> AnnounceWriter<'a> {
    /// Begins the answer in `out`; `None` if it is shorter than the 20 bytes of the head. Peers will be of `family`,
    /// that of the socket. Counts are cut to 31 bits, for some clients read them as signed.
    pub fn new(out: &'a mut [u8], family: Family, transaction: u32, head: Head) -> Option<Self> {
        let mut buffer = Buffer { out, len: 0 };
        let fields = [
            action::ANNOUNCE,
            transaction,
            signed(head.interval),
            signed(head.incomplete),
            signed(head.complete),
        ];
        fields.iter().all(|field| buffer.put(&field.to_be_bytes())).then_some(Self { buffer, family })
    }

    /// Adds a peer; false, and nothing is added, if it does not fit or is of the other family.
    pub fn peer(&mut self, peer: SocketAddr) -> bool {
        match peer.ip() {
            IpAddr::V4(ip) => self.peer_v4(ip, peer.port()),
            IpAddr::V6(ip) => self.peer_v6(ip, peer.port()),
        }
    }

    /// As [`AnnounceWriter::peer`], for IPv4.
    pub fn peer_v4(&mut self, ip: Ipv4Addr, port: u16) -> bool {
        let mut packed = [0; 6];
        packed[..4].copy_from_slice(&ip.octets());
        packed[4..].copy_from_slice(&port.to_be_bytes());
        self.family == Family::V4 && self.buffer.put(&packed)
    }

    /// As [`AnnounceWriter::peer`], for IPv6.
    pub fn peer_v6(&mut self, ip: Ipv6Addr, port: u16) -> bool {
        let mut packed = [0; 18];
        packed[..16].copy_from_slice(&ip.octets());
        packed[16..].copy_from_slice(&port.to_be_bytes());
        self.family == Family::V6 && self.buffer.put(&packed)
    }

    /// Adds peers that are packed already, as many whole ones of the family as fit; returns how many bytes of `packed`
    /// were taken.
    pub fn packed(&mut self, packed: &[u8]) -> usize {
        let room = packed.len().min(self.buffer.out.len() - self.buffer.len);
        let whole = room - room % self.family.peer_len();
        self.buffer.put(&packed[..whole]);
        whole
    }

    /// The part of the buffer that is free, for a caller that packs peers there itself; tell
    /// [`AnnounceWriter::advance`] how much was used.
    pub fn free(&mut self) -> &mut [u8] {
        &mut self.buffer.out[self.buffer.len..]
    }

    /// Counts `len` bytes of [`AnnounceWriter::free`] as written; no more than it has.
    pub fn advance(&mut self, len: usize) {
        self.buffer.len += len.min(self.buffer.out.len() - self.buffer.len);
    }

    /// The length of the answer.
    pub const fn finish(self) -> usize {
        self.buffer.len
    }
}

/// What the answer to an announce says beside peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Seconds until the next announce.
    pub interval: u32,
    /// Seeds.
    pub complete: u32,
    /// Peers that are no seeds.
    pub incomplete: u32,
}

/// Writes the answer to a scrape.
#[derive(Debug)]
pub struct ScrapeWriter<'a>(Buffer<'a>);

impl<'a> ScrapeWriter<'a> {
    /// Begins the answer in `out`; `None` if it is shorter than the 8 bytes of the head.
    pub fn new(out: &'a mut [u8], transaction: u32) -> Option<Self> {
        let mut buffer = Buffer { out, len: 0 };
        let fields = [action::SCRAPE, transaction];
        fields.iter().all(|field| buffer.put(&field.to_be_bytes())).then_some(Self(buffer))
    }

    /// Adds the next torrent; false, and nothing is added, if it does not fit.
    pub fn stats(&mut self, stats: ScrapeStats) -> bool {
        let mut packed = [0; 12];
        let counts = [stats.complete, stats.downloaded, stats.incomplete];
        for (field, count) in packed.chunks_exact_mut(4).zip(counts) {
            field.copy_from_slice(&signed(count).to_be_bytes());
        }
        self.0.put(&packed)
    }

    /// The length of the answer.
    pub const fn finish(self) -> usize {
        self.0.len
    }
}

#[derive(Debug)]
struct Buffer<'a> {
    out: &'a mut [u8],
    len: usize,
}

impl Buffer<'_> {
    /// All of `bytes`, or nothing of them and false.
    fn put(&mut self, bytes: &[u8]) -> bool {
        let Some(room) = self.out.get_mut(self.len..self.len + bytes.len()) else { return false };
        room.copy_from_slice(bytes);
        self.len += bytes.len();
        true
    }
}

fn signed(count: u32) -> u32 {
    count.min(i32::MAX as u32)
}
