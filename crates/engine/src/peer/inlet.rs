//! The reading half of a connection: bytes from the socket go straight into the pooled buffer of the block they
//! belong to.
//!
//! While blocks stream in, the next messages are nearly always `piece` headers followed by whole blocks, so one
//! vectored read is laid out as *rest of this block, header, block, header, block ...*. Where the guess is wrong the
//! bytes take the general path, which copies. Payload is not copied where the guess holds.

use std::io::{self, IoSliceMut};

use samara_proto::ids::BLOCK_LEN;
use samara_proto::peer::{Connection, Want};
use samara_proto::time::Time;
use tokio::net::TcpStream;

use crate::disk::{Buf, Pool};
use crate::limit::Tap;

/// Control bytes read at once: a burst of some 240 requests.
const CONTROL_LEN: usize = 4096;

/// Length prefix, id, index and begin of a `piece` message (BEP 3).
const PIECE_HEADER_LEN: usize = 13;

/// Blocks guessed ahead in one read: 256 KiB with the current one.
const MAX_AHEAD: usize = 15;

/// A whole block, as nearly all are.
const BLOCK: usize = BLOCK_LEN as usize;

/// What a read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Bytes came; more may be there.
    Some,
    /// The socket has nothing now.
    Blocked,
    /// No memory for the next block: wait for the pool.
    Starved,
    /// The remote ended its side, or the machine wants no more.
    End,
}

/// What the rate limits allow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leave {
    /// Bytes to read at most.
    pub(super) most: usize,
    /// Bytes of payload that were granted; `None` if they are not counted.
    granted: Option<usize>,
}

impl Leave {
    const UNLIMITED: Self = Self { most: usize::MAX, granted: None };

    /// The remote owes no block: what comes is no payload. If it is, it counts afterwards.
    const CONTROL: Self = Self { most: CONTROL_LEN, granted: Some(0) };

    pub(super) const fn granted(bytes: usize) -> Self {
        Self { most: bytes, granted: Some(bytes) }
    }
}

/// Where incoming bytes go.
pub(super) struct Inlet {
    control: Box<[u8; CONTROL_LEN]>,
    filling: Filling,
    /// How many blocks the next read guesses ahead: grows while reads come back full, shrinks when they do not.
    ahead: usize,
}

/// The block that is being filled.
#[derive(Default)]
struct Filling {
    block: Option<Buf>,
    /// Bytes read for which there was no buffer yet: at most one read's worth.
    pending: Vec<u8>,
    /// Payload that came and was not settled.
    payload: usize,
}

impl Inlet {
    pub(super) fn new() -> Self {
        Self { control: Box::new([0; CONTROL_LEN]), filling: Filling::default(), ahead: 0 }
    }

    /// The buffer that a starved read waited for.
    pub(super) fn grant(&mut self, block: Buf) {
        self.filling.block = Some(block);
    }

    /// Leave to read; `None` while the limit allows nothing.
    pub(super) fn ask(&self, conn: &Connection<Buf>, tap: &mut Tap) -> Option<Leave> {
        if !tap.is_limited() {
            return Some(Leave::UNLIMITED);
        }
        let want = match conn.want() {
            Want::Closed => return Some(Leave::CONTROL),
            Want::Control if !conn.awaits_blocks() => return Some(Leave::CONTROL),
            Want::Control => CONTROL_LEN,
            Want::Payload { block, filled, .. } => (block.len - filled) as usize + self.ahead * BLOCK,
        };
        tap.ask(want).map(Leave::granted)
    }

    /// Settles what was read with leave.
    pub(super) fn settle(&mut self, tap: &mut Tap, leave: Leave) {
        let payload = std::mem::take(&mut self.filling.payload);
        if let Some(granted) = leave.granted {
            tap.settle(granted, payload);
        }
    }

    /// One read from the socket into the machine, of `most` bytes.
    pub(super) fn read(
        &mut self,
        stream: &TcpStream,
        conn: &mut Connection<Buf>,
        pool: &Pool,
        now: Time,
        most: usize,
    ) -> io::Result<Progress> {
        if !self.filling.pending.is_empty() {
            let bytes = std::mem::take(&mut self.filling.pending);
            if !self.filling.feed(conn, pool, now, &bytes) {
                return Ok(Progress::Starved);
            }
        }
        let read = match conn.want() {
            Want::Closed => Ok(Progress::End),
            Want::Control => self.read_control(stream, conn, pool, now, most),
            Want::Payload { discard: true, block, filled } => {
                self.discard(stream, conn, now, most.min((block.len - filled) as usize))
            }
            Want::Payload { block, filled, .. } => {
                self.read_payload(stream, conn, pool, now, filled as usize..block.len as usize, most)
            }
        };
        match read {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(Progress::Blocked),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(Progress::Some),
            other => other,
        }
    }

    fn read_control(
        &mut self,
        stream: &TcpStream,
        conn: &mut Connection<Buf>,
        pool: &Pool,
        now: Time,
        most: usize,
    ) -> io::Result<Progress> {
        let n = stream.try_read(&mut self.control[..most.min(CONTROL_LEN)])?;
        if n == 0 {
            return Ok(Progress::End);
        }
        let fed = self.filling.feed(conn, pool, now, &self.control[..n]);
        Ok(if fed { Progress::Some } else { Progress::Starved })
    }

    /// Reads a block that nobody wants any more past.
    fn discard(
        &mut self,
        stream: &TcpStream,
        conn: &mut Connection<Buf>,
        now: Time,
        left: usize,
    ) -> io::Result<Progress> {
        let n = stream.try_read(&mut self.control[..left.min(CONTROL_LEN)])?;
        self.filling.payload += n;
        conn.handle_payload(now, n as u32);
        Ok(if n == 0 { Progress::End } else { Progress::Some })
    }

    fn read_payload(
        &mut self,
        stream: &TcpStream,
        conn: &mut Connection<Buf>,
        pool: &Pool,
        now: Time,
        hole: std::ops::Range<usize>,
        most: usize,
    ) -> io::Result<Progress> {
        let Some(mut block) = self.filling.take_block(pool, hole.end) else { return Ok(Progress::Starved) };
        let mut spare: Vec<Buf> =
            std::iter::from_fn(|| pool.try_take(BLOCK)).take(self.ahead.min(most / BLOCK + 1)).collect();
        let mut headers = [[0; PIECE_HEADER_LEN]; MAX_AHEAD + 1];
        let (room, read) = {
            let mut parts = Vec::with_capacity(2 * spare.len() + 2);
            let (mut heads, mut left) = (headers.iter_mut(), most);
            parts.push(cut(&mut block[hole.clone()], &mut left));
            for (next, header) in spare.iter_mut().zip(heads.by_ref()) {
                parts.push(cut(header, &mut left));
                parts.push(cut(next, &mut left));
            }
            parts.extend(heads.next().map(|header| cut(header, &mut left)));
            (parts.iter().map(|p| p.len()).sum::<usize>(), stream.try_read_vectored(&mut parts))
        };
        let n = match read {
            Ok(n) => n,
            Err(e) => {
                self.filling.block = Some(block);
                return Err(e);
            }
        };
        self.ahead =
            if n == room { (self.ahead * 2 + 1).min(MAX_AHEAD) } else { n / (BLOCK + PIECE_HEADER_LEN) };
        self.ahead = self.ahead.min(MAX_AHEAD);
        let here = n.min(hole.len());
        self.filling.advance(conn, now, block, hole.start + here, hole.end, here);
        let fed = self.filling.follow(conn, pool, now, &headers, spare, n - here);
        Ok(match (n, fed) {
            (0, _) => Progress::End,
            (_, true) => Progress::Some,
            (_, false) => Progress::Starved,
        })
    }
}

impl Filling {
    fn take_block(&mut self, pool: &Pool, len: usize) -> Option<Buf> {
        self.block.take().or_else(|| pool.try_take(len))
    }

    /// `n` more bytes of the current block lie in `block`, which is now filled up to `filled` of `len`.
    fn advance(
        &mut self,
        conn: &mut Connection<Buf>,
        now: Time,
        block: Buf,
        filled: usize,
        len: usize,
        n: usize,
    ) {
        self.payload += n;
        conn.handle_payload(now, n as u32);
        if filled == len {
            conn.handle_block(now, block);
        } else {
            self.block = Some(block);
        }
    }

    /// Gives the machine what a guessing read put behind the current block: `left` bytes, laid out as header, block,
    /// header, block and so on. False if memory ran out; the rest is then kept.
    fn follow(
        &mut self,
        conn: &mut Connection<Buf>,
        pool: &Pool,
        now: Time,
        headers: &[[u8; PIECE_HEADER_LEN]],
        spare: Vec<Buf>,
        mut left: usize,
    ) -> bool {
        let mut spare = spare.into_iter();
        for (i, header) in headers.iter().enumerate() {
            if left == 0 {
                break;
            }
            let head = &header[..left.min(PIECE_HEADER_LEN)];
            left -= head.len();
            let used = conn.handle_bytes(now, head);
            let guessed = used == PIECE_HEADER_LEN && is_whole_block(conn.want());
            match spare.next() {
                Some(buf) if guessed => {
                    let here = left.min(BLOCK);
                    left -= here;
                    self.advance(conn, now, buf, here, BLOCK, here);
                }
                next => {
                    let rest = flatten(&head[used..], next.into_iter().chain(spare), &headers[i + 1..], left);
                    return self.feed(conn, pool, now, &rest);
                }
            }
        }
        true
    }

    /// The general path: any bytes, payload copied. False if memory ran out; the rest is then kept.
    fn feed(&mut self, conn: &mut Connection<Buf>, pool: &Pool, now: Time, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            match conn.want() {
                Want::Closed => return true,
                Want::Control => {
                    let used = conn.handle_bytes(now, bytes);
                    bytes = &bytes[used..];
                }
                Want::Payload { discard: true, block, filled } => {
                    let n = bytes.len().min((block.len - filled) as usize);
                    self.payload += n;
                    conn.handle_payload(now, n as u32);
                    bytes = &bytes[n..];
                }
                Want::Payload { block, filled, .. } => {
                    let Some(mut buf) = self.take_block(pool, block.len as usize) else {
                        self.pending = bytes.to_vec();
                        return false;
                    };
                    let (filled, len) = (filled as usize, block.len as usize);
                    let n = bytes.len().min(len - filled);
                    buf[filled..filled + n].copy_from_slice(&bytes[..n]);
                    self.advance(conn, now, buf, filled + n, len, n);
                    bytes = &bytes[n..];
                }
            }
        }
        true
    }
}

/// The first `left` bytes, which are fewer then.
fn cut<'a>(bytes: &'a mut [u8], left: &mut usize) -> IoSliceMut<'a> {
    let n = bytes.len().min(*left);
    *left -= n;
    IoSliceMut::new(&mut bytes[..n])
}

/// Whether the machine now expects the payload of a full-sized block that somebody wants.
fn is_whole_block(want: Want) -> bool {
    matches!(want, Want::Payload { block, filled: 0, discard: false } if block.len as usize == BLOCK)
}

/// Puts the stream together again where the guess was wrong: `head`, then `left` bytes of block, header, block ...
fn flatten(
    head: &[u8],
    blocks: impl Iterator<Item = Buf>,
    headers: &[[u8; PIECE_HEADER_LEN]],
    mut left: usize,
) -> Vec<u8> {
    let mut rest = head.to_vec();
    for (block, header) in blocks.zip(headers) {
        for part in [&block[..BLOCK], &header[..]] {
            let n = left.min(part.len());
            rest.extend_from_slice(&part[..n]);
            left -= n;
        }
    }
    rest
}
