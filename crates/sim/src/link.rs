//! A transport connection: two pipes with a delay and a bounded buffer, which split what goes through them.
//!
//! A pipe is what TCP is to its user: bytes in order, and back-pressure. What it holds is bounded by its capacity,
//! counted from the write to the read, as with a window that the reader opens.

use std::collections::VecDeque;
use std::time::Duration;

use samara_proto::ids::PeerKey;
use samara_proto::time::Time;

use crate::Payload;

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

    /// Bytes of payload.
    pub const fn payload(&self) -> u32 {
        match self {
            Self::Bytes(_) => 0,
            Self::Part { len, .. } => *len,
        }
    }
}

/// What travels together.
#[derive(Debug, Default)]
pub struct Packet {
    /// In order.
    pub chunks: Vec<Chunk>,
    /// Bytes.
    pub len: u32,
}

impl Packet {
    pub(crate) fn push(&mut self, chunk: Chunk) {
        self.len += chunk.len();
        self.chunks.push(chunk);
    }

    /// Bytes of payload.
    pub fn payload(&self) -> u64 {
        self.chunks.iter().map(|chunk| u64::from(chunk.payload())).sum()
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

/// Gates on the way: the sender's uplink, a bridge, the receiver's downlink.
pub const HOPS: usize = 3;

/// One direction of a connection.
#[derive(Debug)]
pub(crate) struct Pipe {
    pub(crate) path: Path,
    /// The gates on its way.
    pub(crate) gates: [Option<u32>; HOPS],
    /// Bytes under way before the sender must wait.
    capacity: u32,
    pub(crate) under_way: u32,
    /// What was written and not yet sent off.
    pub(crate) building: Packet,
    /// What waits at each gate.
    pub(crate) waiting: [VecDeque<Packet>; HOPS],
    /// Whether each gate knows that something waits.
    pub(crate) listed: [bool; HOPS],
    /// What travels to each hop.
    pub(crate) travelling: [VecDeque<Packet>; HOPS],
    /// When the path itself can take more.
    pub(crate) free_at: Time,
}

impl Pipe {
    /// A pipe over `path` and `gates` that holds `buffer` bytes, and what a path with `rate` holds.
    pub(crate) fn new(path: Path, gates: [Option<u32>; HOPS], rate: u64, buffer: u32, now: Time) -> Self {
        let holds = u128::from(rate) * path.latency.as_micros() / 500_000;
        Self {
            path,
            gates,
            capacity: buffer.saturating_add(u32::try_from(holds).unwrap_or(u32::MAX)),
            under_way: 0,
            building: Packet::default(),
            waiting: Default::default(),
            listed: [false; HOPS],
            travelling: Default::default(),
            free_at: now,
        }
    }

    /// Payload that is under way.
    fn payload(&self) -> u64 {
        let packets = self.waiting.iter().chain(&self.travelling).flatten();
        packets.chain([&self.building]).map(Packet::payload).sum()
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
    pub(crate) pipes: [Pipe; 2],
}

impl Link {
    /// Whether `side` may send more.
    pub const fn has_room(&self, side: usize) -> bool {
        self.pipes[side].under_way < self.pipes[side].capacity
    }

    /// Bytes under way that `side` sent, beyond what the path holds.
    pub const fn excess(&self, side: usize) -> u32 {
        self.pipes[side].under_way.saturating_sub(self.pipes[side].capacity)
    }

    /// Payload that is under way, both directions.
    pub fn payload(&self) -> u64 {
        self.pipes.iter().map(Pipe::payload).sum()
    }
}
