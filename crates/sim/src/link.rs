//! A transport connection: two pipes with a rate, a delay and a bounded buffer, which split what goes through them.

use std::collections::VecDeque;
use std::time::Duration;

use samara_proto::ids::PeerKey;
use samara_proto::peer::Transmit;
use samara_proto::rng::Rng;
use samara_proto::time::Time;

use crate::Payload;

/// Bytes under way in one direction before the sender must wait; more if the path holds more.
const BUFFER: u32 = 128 * 1024;

/// What comes out of a pipe at once.
#[derive(Clone, Debug)]
pub enum Chunk {
    /// Control bytes.
    Bytes(Vec<u8>),
    /// A part of a block's payload.
    Part {
        /// Of which block.
        payload: Payload,
        /// Bytes.
        len: u32,
        /// The block ends here.
        last: bool,
    },
}

impl Chunk {
    /// Bytes.
    pub const fn len(&self) -> u32 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u32,
            Self::Part { len, .. } => *len,
        }
    }

    /// Whether there is nothing in it.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Properties of a path.
#[derive(Clone, Copy, Debug)]
pub struct Path {
    /// One way.
    pub latency: Duration,
    /// Bytes a second.
    pub rate: u64,
}

/// One direction of a connection.
#[derive(Debug)]
struct Pipe {
    path: Path,
    free_at: Time,
    under_way: u32,
    queue: VecDeque<(Time, Chunk)>,
}

impl Pipe {
    const fn new(path: Path, now: Time) -> Self {
        Self { path, free_at: now, under_way: 0, queue: VecDeque::new() }
    }

    /// Bytes under way before the sender must wait.
    fn capacity(&self) -> u32 {
        let holds = u128::from(self.path.rate) * self.path.latency.as_micros() / 500_000;
        BUFFER.saturating_add(u32::try_from(holds).unwrap_or(u32::MAX))
    }

    fn push(&mut self, now: Time, chunk: Chunk) {
        let time = Duration::from_micros(u64::from(chunk.len()) * 1_000_000 / self.path.rate.max(1));
        self.free_at = self.free_at.max(now) + time;
        self.under_way += chunk.len();
        self.queue.push_back((self.free_at + self.path.latency, chunk));
    }

    fn pop(&mut self, now: Time) -> Option<Chunk> {
        let (_, chunk) = self.queue.pop_front_if(|(at, _)| *at <= now)?;
        self.under_way -= chunk.len();
        Some(chunk)
    }
}

/// One end of a link: which node, and what that node calls the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// Index of the node.
    pub node: usize,
    /// Its name for the peer.
    pub peer: PeerKey,
}

/// A connection between two nodes. Side 0 opened it.
#[derive(Debug)]
pub struct Link {
    /// Both ends.
    pub ends: [End; 2],
    /// What side `n` sends.
    pipes: [Pipe; 2],
    rng: Rng,
}

impl Link {
    /// A link over `path`, the same both ways.
    pub const fn new(ends: [End; 2], path: Path, now: Time, seed: u64) -> Self {
        Self { ends, pipes: [Pipe::new(path, now), Pipe::new(path, now)], rng: Rng::new(seed) }
    }

    /// Whether `side` may send more.
    pub fn has_room(&self, side: usize) -> bool {
        self.pipes[side].under_way < self.pipes[side].capacity()
    }

    /// Bytes under way that `side` sent, beyond what the path holds.
    pub fn excess(&self, side: usize) -> u32 {
        self.pipes[side].under_way.saturating_sub(self.pipes[side].capacity())
    }

    /// `side` sends.
    pub fn send(&mut self, now: Time, side: usize, what: Transmit<Payload>) {
        match what {
            Transmit::Bytes(bytes) => self.send_bytes(now, side, bytes),
            Transmit::Payload(payload) => self.send_payload(now, side, payload),
        }
    }

    fn send_bytes(&mut self, now: Time, side: usize, mut bytes: Vec<u8>) {
        while !bytes.is_empty() {
            let len = self.some_of(bytes.len());
            let rest = bytes.split_off(len);
            self.pipes[side].push(now, Chunk::Bytes(std::mem::replace(&mut bytes, rest)));
        }
    }

    fn send_payload(&mut self, now: Time, side: usize, payload: Payload) {
        let mut left = payload.block.len;
        while left > 0 {
            let len = self.some_of(left as usize) as u32;
            left -= len;
            self.pipes[side].push(now, Chunk::Part { payload, len, last: left == 0 });
        }
    }

    /// Mostly all of `len`, at times only some of it.
    fn some_of(&mut self, len: usize) -> usize {
        if self.rng.below(4) == 0 { 1 + self.rng.index(len) } else { len }
    }

    /// When the next chunk comes out at either side.
    pub fn deadline(&self) -> Option<Time> {
        self.pipes.iter().filter_map(|pipe| pipe.queue.front()).map(|(at, _)| *at).min()
    }

    /// The next chunk for `side` that is due.
    pub fn receive(&mut self, now: Time, side: usize) -> Option<Chunk> {
        self.pipes[1 - side].pop(now)
    }
}
