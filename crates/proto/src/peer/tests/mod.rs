//! Two connections back to back through a pipe that splits bytes at random, and one connection against a script.

mod handshake;
mod hostile;
mod metadata;
mod models;
mod pex;
mod rules;
mod timeouts;
mod transfer;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::ids::{BLOCK_LEN, Block, InfoHashV1, InfoHashV2, InfoHashes, PeerId, PieceIndex, Sha256Hash};
use crate::layout::Layout;
use crate::merkle::HashRequest;
use crate::rng::Rng;
use crate::time::Time;
use crate::wire::{Handshake, Message, Reserved};

type Conn = Connection<Vec<u8>>;
type Ev = Event<Vec<u8>>;

const V1: InfoHashV1 = InfoHashV1([1; 20]);
const V2: InfoHashV2 = InfoHashV2([2; 32]);
const HYBRID: InfoHashes = InfoHashes::Hybrid(V1, V2);

fn secs(s: u64) -> Time {
    Time::ZERO + Duration::from_secs(s)
}

/// Ten pieces of 64 KiB and one of 20 000 bytes.
fn layout() -> Arc<Layout> {
    Arc::new(Layout::new(64 * 1024, [(10 * 64 * 1024 + 20_000, false)], false).unwrap())
}

fn shape() -> Shape {
    Shape { layout: layout(), metadata_size: 40_000 }
}

fn block(piece: u32, n: u32) -> Block {
    layout().block(PieceIndex(piece), n)
}

/// What a block consists of in these tests.
fn content(block: &Block) -> Vec<u8> {
    let mut bytes = vec![0; block.len as usize];
    Rng::new(u64::from(block.piece.0) << 32 | u64::from(block.offset)).fill(&mut bytes);
    bytes
}

fn config(id: u8) -> Config {
    Config { shape: Some(shape()), ..Config::new(PeerId([id; 20])) }
}

fn hash_request() -> HashRequest {
    HashRequest { root: Sha256Hash([5; 32]), base: 2, index: 512, count: 512, proof_layers: 3 }
}

/// One end: a connection with its shell.
struct Side {
    conn: Conn,
    /// What came from the other end and was not read.
    inbox: VecDeque<u8>,
    buffer: Vec<u8>,
    events: Vec<Ev>,
    reads: Vec<Block>,
    /// Whether reads are answered at once.
    serve: bool,
}

impl Side {
    fn new(conn: Conn) -> Self {
        let mut side = Self {
            conn,
            inbox: VecDeque::new(),
            buffer: Vec::new(),
            events: Vec::new(),
            reads: Vec::new(),
            serve: true,
        };
        side.drain(Time::ZERO);
        side
    }

    /// Takes outputs, and answers reads.
    fn drain(&mut self, now: Time) {
        while let Some(output) = self.conn.poll() {
            match output {
                Output::Event(event) => self.events.push(event),
                Output::Read(block) => self.reads.push(block),
            }
        }
        while self.serve && !self.reads.is_empty() {
            let block = self.reads.remove(0);
            self.conn.handle_read(now, block, Some(content(&block)));
            self.drain(now);
        }
    }

    fn command(&mut self, now: Time, command: Command) {
        self.conn.handle_command(now, command);
        self.drain(now);
    }

    /// Everything that waits to be sent.
    fn take_sent(&mut self, now: Time) -> Vec<u8> {
        let (mut sent, mut payload) = (Vec::new(), 0);
        while let Some(chunk) = self.conn.transmit() {
            match chunk {
                Transmit::Bytes(bytes) => {
                    assert!(!bytes.is_empty());
                    sent.extend_from_slice(&bytes);
                    self.conn.recycle(bytes);
                }
                Transmit::Payload(data) => {
                    payload += data.len() as u32;
                    sent.extend(data);
                }
            }
        }
        assert!(!self.conn.wants_write());
        if !sent.is_empty() {
            self.conn.handle_sent(now, payload);
        }
        self.drain(now);
        sent
    }

    /// Gives up to `n` bytes of the inbox to the connection, as it wants them.
    fn read(&mut self, now: Time, n: usize) {
        let n = n.min(self.inbox.len());
        match self.conn.want() {
            Want::Closed => self.inbox.clear(),
            Want::Control => {
                let bytes: Vec<u8> = self.inbox.iter().take(n).copied().collect();
                let taken = self.conn.handle_bytes(now, &bytes);
                assert!(taken == n || matches!(self.conn.want(), Want::Payload { .. }));
                self.inbox.drain(..taken);
            }
            Want::Payload { block, filled, discard } => {
                let n = n.min((block.len - filled) as usize);
                self.buffer.extend(self.inbox.drain(..n));
                self.conn.handle_payload(now, n as u32);
                if filled as usize + n == block.len as usize {
                    let data = std::mem::take(&mut self.buffer);
                    if !discard {
                        self.conn.handle_block(now, data);
                    }
                }
            }
        }
        self.drain(now);
    }

    fn read_all(&mut self, now: Time) {
        while !self.inbox.is_empty() {
            self.read(now, usize::MAX);
        }
    }

    fn take_events(&mut self) -> Vec<Ev> {
        std::mem::take(&mut self.events)
    }
}

/// Two ends and the pipe between them.
struct Pair {
    a: Side,
    b: Side,
    now: Time,
    rng: Rng,
}

impl Pair {
    /// `a` connects to `b`, and both say hello.
    fn open(seed: u64) -> Self {
        Self::connect(seed, Conn::outgoing(config(1), HYBRID, Time::ZERO), config(2), HYBRID)
    }

    fn connect(seed: u64, a: Conn, b_config: Config, b_hashes: InfoHashes) -> Self {
        let mut a = Side::new(a);
        let sent = a.take_sent(Time::ZERO);
        let (prefix, rest) = sent.split_first_chunk().unwrap();
        let prefix = Prefix::parse(prefix).unwrap();
        let mut b = Side::new(Conn::incoming(b_config, b_hashes, prefix, Time::ZERO));
        b.inbox.extend(rest);
        let mut pair = Self { a, b, now: Time::ZERO, rng: Rng::new(seed) };
        pair.run();
        pair
    }

    /// Carries bytes in random pieces until nothing moves.
    fn run(&mut self) {
        loop {
            let (to_b, to_a) = (self.a.take_sent(self.now), self.b.take_sent(self.now));
            self.b.inbox.extend(to_b);
            self.a.inbox.extend(to_a);
            if self.a.inbox.is_empty() && self.b.inbox.is_empty() {
                return;
            }
            let most = [1, 20, 2000, 70_000][self.rng.index(4)];
            self.a.read(self.now, 1 + self.rng.index(most));
            self.b.read(self.now, 1 + self.rng.index(most));
        }
    }

    fn tell_a(&mut self, command: Command) {
        self.a.command(self.now, command);
        self.run();
    }

    fn tell_b(&mut self, command: Command) {
        self.b.command(self.now, command);
        self.run();
    }
}

/// How the scripted remote introduces itself.
#[derive(Clone, Copy, Debug)]
struct Script {
    fast: bool,
    extended: bool,
    v2: bool,
}

const FAST: Script = Script { fast: true, extended: false, v2: false };
const PLAIN: Script = Script { fast: false, extended: false, v2: false };
const EXTENDED: Script = Script { fast: true, extended: true, v2: false };
const V2_PEER: Script = Script { fast: true, extended: false, v2: true };

impl Script {
    fn handshake(&self) -> [u8; Handshake::LEN] {
        let mut reserved = [0; 8];
        reserved[5] |= u8::from(self.extended) * 0x10;
        reserved[7] |= u8::from(self.fast) * 0x04;
        let hash = if self.v2 { V2.truncated() } else { InfoHashes::V1(V1).primary() };
        Handshake { prefix: Prefix { reserved: Reserved(reserved), hash }, peer_id: PeerId([9; 20]) }
            .to_bytes()
    }

    /// A connection of ours that has said hello to this remote, and whose first events and bytes are taken.
    fn open(&self, config: Config) -> Side {
        let mut side = Side::new(Conn::outgoing(config, HYBRID, Time::ZERO));
        side.inbox.extend(self.handshake());
        side.read_all(Time::ZERO);
        assert!(matches!(side.take_events()[..], [Event::Hello(_)]));
        side.take_sent(Time::ZERO);
        side
    }
}

fn encode(messages: &[Message<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    messages.iter().for_each(|message| message.encode(&mut out));
    out
}

impl Side {
    /// The scripted remote says something; what comes of it.
    fn hears(&mut self, now: Time, messages: &[Message<'_>]) -> Vec<Ev> {
        self.inbox.extend(encode(messages));
        self.read_all(now);
        self.take_events()
    }

    /// Whether exactly these messages wait to be sent.
    #[track_caller]
    fn says(&mut self, now: Time, messages: &[Message<'_>]) {
        assert_eq!(self.take_sent(now), encode(messages));
    }

    /// The remote sends a block.
    fn hears_block(&mut self, now: Time, block: Block) -> Vec<Ev> {
        self.inbox.extend(encode(&[Message::Piece(block)]));
        self.inbox.extend(content(&block));
        self.read_all(now);
        self.take_events()
    }
}

#[track_caller]
fn assert_violation(events: &[Ev], violation: Violation) {
    assert_eq!(events.last(), Some(&Event::Closed(Departure::Violation(violation))));
}
