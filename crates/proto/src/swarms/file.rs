//! Swarms as a file: what a tracker saves when it stops and takes up when it starts. The format is our own.
//!
//! | bytes | what |
//! | --- | --- |
//! | 8 | `SAswarm` and the version, 1 |
//! | 8 | when it was saved, in seconds since 1970 |
//! | blocks | 4 bytes of length, 8 of SHA-256 of the content, the content |
//! | 12 | zeros: the end |
//!
//! The content of a block is swarms: the info-hash (20), downloads completed (4), the number of peers (4), and of each
//! peer: 1 if it is a seed, and 2 if it is of IPv6 (1 byte), its age in seconds (4), address (4 or 16) and port (2). All
//! numbers are big-endian. A large swarm comes in several parts.
//!
//! A block that is damaged ends the reading; what was read before it stands. A file of another version is refused, and so
//! is a block that is too long or whose content breaks off. Tested by round trips, by damaging every byte, and by the
//! fuzz target `swarms_file`.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::{Saved, SavedPeer};
use crate::ids::WireHash;

/// Length of what stands in front of the blocks.
pub const HEADER_LEN: usize = 16;

/// Length of what stands in front of a block's content, and of the end.
pub const FRAME_LEN: usize = 12;

/// Longest content of a block.
pub const MAX_BLOCK: usize = 1 << 20;

/// A block is closed once it is that long.
const FULL: usize = 256 << 10;

/// Most peers of one part of a swarm: with a full block in front they stay below [`MAX_BLOCK`].
const PART: usize = 16 * 1024;

const MAGIC: [u8; 8] = *b"SAswarm\x01";

const SEED: u8 = 1;
const IPV6: u8 = 2;

/// Why a file cannot be read, or not further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Broken {
    /// It does not begin as it should.
    #[error("it is no file of swarms, or one of another version")]
    Header,
    /// A checksum is wrong, or a length is.
    #[error("it is damaged, or breaks off")]
    Block,
}

/// Writes a file, block by block.
#[derive(Debug)]
pub struct Writer {
    block: Vec<u8>,
}

impl Writer {
    /// Begins a file, saved at `unix_seconds`.
    pub fn new(unix_seconds: u64, out: &mut Vec<u8>) -> Self {
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&unix_seconds.to_be_bytes());
        Self { block: Vec::new() }
    }

    /// Adds a swarm; now and then that appends a block to `out`.
    pub fn push(&mut self, swarm: &Saved, out: &mut Vec<u8>) {
        for part in swarm.peers.chunks(PART) {
            self.block.extend_from_slice(&swarm.hash.0);
            self.block.extend_from_slice(&swarm.downloaded.to_be_bytes());
            self.block.extend_from_slice(&(part.len() as u32).to_be_bytes());
            part.iter().for_each(|peer| put_peer(peer, &mut self.block));
            if self.block.len() >= FULL {
                self.close(out);
            }
        }
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        if !self.block.is_empty() {
            let frame = Frame::of(&self.block);
            out.extend_from_slice(&(frame.len as u32).to_be_bytes());
            out.extend_from_slice(&frame.checksum);
            out.append(&mut self.block);
        }
    }

    /// Appends what is left, and the end.
    pub fn finish(mut self, out: &mut Vec<u8>) {
        self.close(out);
        out.extend_from_slice(&[0; FRAME_LEN]);
    }
}

fn put_peer(peer: &SavedPeer, out: &mut Vec<u8>) {
    let seed = if peer.seed { SEED } else { 0 };
    let age = u32::try_from(peer.age.as_secs()).unwrap_or(u32::MAX).to_be_bytes();
    match peer.addr.ip() {
        IpAddr::V4(ip) => {
            out.push(seed);
            out.extend_from_slice(&age);
            out.extend_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            out.push(seed | IPV6);
            out.extend_from_slice(&age);
            out.extend_from_slice(&ip.octets());
        }
    }
    out.extend_from_slice(&peer.addr.port().to_be_bytes());
}

fn checksum(content: &[u8]) -> [u8; 8] {
    let mut sum = [0; 8];
    sum.copy_from_slice(&Sha256::digest(content)[..8]);
    sum
}

/// Reads the beginning of a file; returns when it was saved, in seconds since 1970.
///
/// # Errors
/// If it is something else.
pub fn read_header(header: &[u8; HEADER_LEN]) -> Result<u64, Broken> {
    match header.split_first_chunk::<8>() {
        Some((&MAGIC, time)) => Ok(take::<8>(&mut &*time).map_or(0, u64::from_be_bytes)),
        _ => Err(Broken::Header),
    }
}

/// What stands in front of a block's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Length of the content; at most [`MAX_BLOCK`].
    pub len: usize,
    checksum: [u8; 8],
}

impl Frame {
    /// For a content, which the caller keeps below [`MAX_BLOCK`].
    pub fn of(content: &[u8]) -> Self {
        Self { len: content.len(), checksum: checksum(content) }
    }

    /// Reads it; `None` is the end of the file.
    ///
    /// # Errors
    /// If the length is impossible.
    pub fn read(frame: &[u8; FRAME_LEN]) -> Result<Option<Self>, Broken> {
        let [a, b, c, d, checksum @ ..] = *frame;
        match u32::from_be_bytes([a, b, c, d]) as usize {
            0 if checksum == [0; 8] => Ok(None),
            len @ 1..=MAX_BLOCK => Ok(Some(Self { len, checksum })),
            _ => Err(Broken::Block),
        }
    }

    /// Gives the swarms of the block to `each`, `later` older than they say: as long as the tracker was away.
    ///
    /// # Errors
    /// If the block is damaged; then none is given, unless somebody computed a checksum for nonsense.
    pub fn swarms(
        &self,
        content: &[u8],
        later: Duration,
        mut each: impl FnMut(&Saved),
    ) -> Result<(), Broken> {
        if content.len() != self.len || checksum(content) != self.checksum {
            return Err(Broken::Block);
        }
        let mut rest = content;
        while !rest.is_empty() {
            each(&swarm(&mut rest, later).ok_or(Broken::Block)?);
        }
        Ok(())
    }
}

fn swarm(rest: &mut &[u8], later: Duration) -> Option<Saved> {
    let hash = WireHash(take(rest)?);
    let downloaded = u32::from_be_bytes(take(rest)?);
    let count = u32::from_be_bytes(take(rest)?);
    let peers = (0..count).map(|_| peer(rest, later)).collect::<Option<Vec<_>>>()?;
    Some(Saved { hash, downloaded, peers })
}

fn peer(rest: &mut &[u8], later: Duration) -> Option<SavedPeer> {
    let [flags] = take(rest)?;
    let age = Duration::from_secs(u32::from_be_bytes(take(rest)?).into());
    let ip = if flags & IPV6 == 0 { IpAddr::from(take::<4>(rest)?) } else { take::<16>(rest)?.into() };
    let addr = SocketAddr::new(ip.to_canonical(), u16::from_be_bytes(take(rest)?));
    Some(SavedPeer { addr, seed: flags & SEED != 0, age: age.saturating_add(later) })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (front, back) = rest.split_first_chunk()?;
    *rest = back;
    Some(*front)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything in a file, and whether its end was reached.
    fn read(mut file: &[u8], later: Duration) -> (Vec<Saved>, Result<(), Broken>) {
        let mut all = Vec::new();
        let done = (|| {
            read_header(&take(&mut file).ok_or(Broken::Header)?)?;
            while let Some(frame) = Frame::read(&take(&mut file).ok_or(Broken::Block)?)? {
                let (content, rest) = file.split_at_checked(frame.len).ok_or(Broken::Block)?;
                frame.swarms(content, later, |swarm| all.push(swarm.clone()))?;
                file = rest;
            }
            Ok(())
        })();
        (all, done)
    }

    fn write(swarms: &[Saved]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut writer = Writer::new(1_700_000_000, &mut out);
        swarms.iter().for_each(|swarm| writer.push(swarm, &mut out));
        writer.finish(&mut out);
        out
    }

    fn swarm(n: u8, peers: usize) -> Saved {
        let peer = |i: usize| {
            let ip: IpAddr = match i % 3 {
                0 => format!("2001:db8::{:x}:{:x}", i >> 8, i & 0xff).parse().unwrap(),
                _ => [10, n, (i >> 8) as u8, i as u8].into(),
            };
            let age = Duration::from_secs(i as u64 % 1800);
            SavedPeer { addr: SocketAddr::new(ip, 1 + (i % 60_000) as u16), seed: i.is_multiple_of(2), age }
        };
        Saved { hash: WireHash([n; 20]), downloaded: n.into(), peers: (0..peers).map(peer).collect() }
    }

    #[test]
    fn what_is_written_reads_back_older() {
        let swarms = [swarm(1, 3), swarm(2, 1), swarm(3, 7)];
        let file = write(&swarms);
        assert_eq!(read_header(file.first_chunk().unwrap()), Ok(1_700_000_000));
        assert_eq!(read(&file, Duration::ZERO), (swarms.to_vec(), Ok(())));
        let (older, _) = read(&file, Duration::from_secs(60));
        assert_eq!(older[0].peers[2].age, swarms[0].peers[2].age + Duration::from_secs(60));
        assert_eq!(read(&write(&[]), Duration::ZERO), (vec![], Ok(())));
    }

    #[test]
    fn a_large_swarm_comes_in_parts_and_no_block_is_too_long() {
        let large = swarm(9, 100_000);
        let (parts, end) = read(&write(&[swarm(1, 9000), large.clone()]), Duration::ZERO);
        assert_eq!(end, Ok(()));
        assert!(parts.len() > 3 && parts[1..].iter().all(|part| part.hash == large.hash));
        let peers: Vec<_> = parts[1..].iter().flat_map(|part| part.peers.clone()).collect();
        assert_eq!(peers, large.peers);
    }

    #[test]
    fn every_damage_is_found_and_what_stands_before_it_is_kept() {
        let swarms: Vec<_> = (0..3).map(|n| swarm(n, 20_000)).collect();
        let file = write(&swarms);
        let (whole, _) = read(&file, Duration::ZERO);
        for at in (0..60).chain((60..file.len()).step_by(49_999)).chain(file.len() - 12..file.len()) {
            let mut bad = file.clone();
            bad[at] ^= 0x10;
            let (kept, end) = read(&bad, Duration::ZERO);
            assert!(end.is_err() || (8..16).contains(&at), "byte {at}");
            assert!(whole.starts_with(&kept), "byte {at}");
        }
        let (kept, end) = read(&file[..file.len() / 2], Duration::ZERO);
        assert!(!kept.is_empty() && whole.starts_with(&kept) && end == Err(Broken::Block));
    }
}
