//! A connection under any script of bytes, commands, reads and time: it says hello first and goodbye once and last,
//! delivers only blocks that were asked for, reads only blocks that exist, and does not care how bytes were split.

use std::sync::Arc;
use std::time::Duration;

use samara_proto::bitfield::Bitfield;
use samara_proto::ids::{
    BLOCK_LEN, Block, InfoHashV1, InfoHashV2, InfoHashes, PeerId, PieceIndex, Sha256Hash,
};
use samara_proto::layout::Layout;
use samara_proto::merkle::HashRequest;
use samara_proto::peer::{Command, Config, Connection, Departure, Event, Output, Shape, Transmit, Want};
use samara_proto::time::Time;
use samara_proto::wire::{
    ExtensionHandshake, Handshake, Message, MetadataMessage, PexFlags, PexMessage, Prefix, Reserved,
};

use super::input::Input;

const PIECES: u32 = 5;
const PIECE_LEN: u32 = 3 * BLOCK_LEN;
const METADATA_SIZE: u32 = 20_000;
/// Control bytes that may wait, and some for the answers to one step.
const MAX_TRANSMIT: usize = 4 * 1024 * 1024;

/// Runs one input.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let mut whole = Subject::new(&mut input.clone(), usize::MAX);
    let mut split = Subject::new(&mut input, 1 + usize::from(data.len() as u8 % 23));
    while !input.is_empty() && !whole.closed {
        let step = Step::read(&mut input, &whole);
        whole.take(&step);
        split.take(&step);
        assert_eq!(whole.events, split.events, "after {step:?}");
        assert_eq!(whole.sent, split.sent, "after {step:?}");
    }
    whole.end();
    split.end();
}

/// One thing that happens to a connection.
#[derive(Debug)]
enum Step {
    Bytes(Vec<u8>),
    Command(Command),
    Read(Block, bool),
    Write,
    Tick,
    Wait(Duration),
    Close,
}

impl Step {
    fn read(input: &mut Input<'_>, subject: &Subject) -> Self {
        match input.byte() % 16 {
            0 => Self::Bytes(handshake(input)),
            1 => {
                let len = input.byte().into();
                Self::Bytes(input.bytes(len).to_vec())
            }
            2..=8 => Self::Bytes(message(input)),
            9..=11 => Self::Command(command(input)),
            12 => match subject.reads.first() {
                Some(block) => Self::Read(*block, input.flag()),
                None => Self::Read(block(input), input.flag()),
            },
            13 => Self::Write,
            14 if input.byte() == 0 => Self::Close,
            14 => Self::Tick,
            _ => Self::Wait(Duration::from_millis(u64::from(input.short()) * 4)),
        }
    }
}

fn hashes(kind: u8) -> InfoHashes {
    let (v1, v2) = (InfoHashV1([1; 20]), InfoHashV2([2; 32]));
    match kind % 3 {
        0 => InfoHashes::V1(v1),
        1 => InfoHashes::V2(v2),
        _ => InfoHashes::Hybrid(v1, v2),
    }
}

fn layout() -> Arc<Layout> {
    let total = u64::from(PIECES * PIECE_LEN - BLOCK_LEN - 100);
    Arc::new(Layout::new(PIECE_LEN, [(total, false)], false).expect("one small file"))
}

fn handshake(input: &mut Input<'_>) -> Vec<u8> {
    let hash = hashes(input.byte());
    let hash =
        if input.flag() { hash.primary() } else { hash.v2().map_or(hash.primary(), |h| h.truncated()) };
    let reserved =
        if input.flag() { Reserved::ours(true, true) } else { Reserved(input.long().to_be_bytes()) };
    Handshake { prefix: Prefix { reserved, hash }, peer_id: PeerId([input.byte(); 20]) }.to_bytes().to_vec()
}

fn piece(input: &mut Input<'_>) -> PieceIndex {
    PieceIndex(if input.byte() == 255 { input.word() } else { u32::from(input.byte()) % PIECES })
}

fn block(input: &mut Input<'_>) -> Block {
    let piece = piece(input);
    if input.byte() == 255 {
        return Block { piece, offset: input.word(), len: input.word() };
    }
    layout().block(piece, u32::from(input.byte() % 3))
}

fn hash_request(input: &mut Input<'_>) -> HashRequest {
    HashRequest {
        root: Sha256Hash([input.byte() % 2; 32]),
        base: u32::from(input.byte() % 4),
        index: u32::from(input.byte()),
        count: 1 << (input.byte() % 10),
        proof_layers: u32::from(input.byte() % 8),
    }
}

/// A well-formed message, with payload if it is a block.
fn message(input: &mut Input<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    let message = match input.byte() % 24 {
        0 => Message::Choke,
        1 | 2 => Message::Unchoke,
        3 => Message::Interested,
        4 => Message::NotInterested,
        5 => Message::Have(piece(input)),
        6 => Message::Bitfield(input.bytes(1)),
        7 => Message::HaveAll,
        8 => Message::HaveNone,
        9 | 10 => Message::Request(block(input)),
        11..=13 => {
            let block = block(input);
            Message::Piece(Block { len: block.len.clamp(1, BLOCK_LEN), ..block }).encode(&mut out);
            out.resize(out.len() + block.len.clamp(1, BLOCK_LEN) as usize, 0);
            return out;
        }
        14 => Message::Cancel(block(input)),
        15 => Message::Port(input.short()),
        16 => Message::Suggest(piece(input)),
        17 => Message::Reject(block(input)),
        18 => Message::AllowedFast(piece(input)),
        19 => Message::HashRequest(hash_request(input)),
        20 => Message::Hashes(hash_request(input), input.bytes(64)),
        21 => Message::HashReject(hash_request(input)),
        22 => return extended(input),
        _ => Message::KeepAlive,
    };
    message.encode(&mut out);
    out
}

fn extended(input: &mut Input<'_>) -> Vec<u8> {
    let (id, mut payload, mut out) = (input.byte() % 4, Vec::new(), Vec::new());
    if id == 0 {
        let ids = ExtensionHandshake {
            ut_metadata: Some(input.byte()),
            lt_donthave: Some(input.byte()),
            ut_pex: Some(input.byte()),
            metadata_size: Some(input.word()),
            reqq: Some(input.word()),
            ..ExtensionHandshake::default()
        };
        ids.encode(&mut payload);
    } else {
        match input.byte() % 4 {
            0 => MetadataMessage::Request(input.byte().into()).encode(&mut payload),
            1 => {
                let (piece, total) = (input.byte().into(), Some(METADATA_SIZE));
                MetadataMessage::Data { piece, total, data: input.bytes(200) }.encode(&mut payload);
            }
            2 if input.flag() => pex(input).encode(&mut payload),
            2 => MetadataMessage::Reject(input.byte().into()).encode(&mut payload),
            _ => payload.extend_from_slice(input.bytes(4)),
        }
    }
    Message::Extended(id, &payload).encode(&mut out);
    out
}

fn pex(input: &mut Input<'_>) -> PexMessage {
    let added = (0..input.byte() % 4).map(|n| ([10, 0, 0, n], 6881).into());
    PexMessage { added: added.map(|addr| (addr, PexFlags(0x10))).collect(), dropped: Vec::new() }
}

fn command(input: &mut Input<'_>) -> Command {
    match input.byte() % 16 {
        0 => Command::Interested(input.flag()),
        1 | 2 => Command::Choke(input.flag()),
        3 => Command::Have(PieceIndex(u32::from(input.byte()) % PIECES)),
        4 => {
            Command::Bitfield(Arc::new(Bitfield::from_bytes(&[input.byte() & 0xf8], PIECES).expect("5 bits")))
        }
        5..=7 => Command::Request(layout().block(PieceIndex(u32::from(input.byte()) % PIECES), 0)),
        8 => Command::Cancel(layout().block(PieceIndex(u32::from(input.byte()) % PIECES), 0)),
        9 => Command::HashRequest(hash_request(input)),
        10 => Command::MetadataRequest(u32::from(input.byte() % 2)),
        11 => Command::MetadataData {
            piece: u32::from(input.byte() % 2),
            info: vec![0; METADATA_SIZE as usize].into(),
        },
        12 => Command::Layout { layout: layout(), metadata_size: METADATA_SIZE },
        13 => match input.byte() % 4 {
            0 => Command::AllowPex(input.flag()),
            1 => Command::Pex(pex(input)),
            _ => Command::UploadOnly(input.flag()),
        },
        14 if input.flag() => Command::AllowFast((0..u32::from(input.byte() % 8)).map(PieceIndex).collect()),
        14 => Command::DontHave(PieceIndex(u32::from(input.byte()) % PIECES)),
        _ => Command::HashReject(hash_request(input)),
    }
}

/// A connection and everything that it said.
struct Subject {
    connection: Connection<u32>,
    now: Time,
    chunk: usize,
    events: Vec<Event<u32>>,
    /// Bytes given to the transport, payload left out.
    sent: Vec<u8>,
    reads: Vec<Block>,
    asked: Vec<Block>,
    closed: bool,
}

impl Subject {
    fn new(input: &mut Input<'_>, chunk: usize) -> Self {
        let mut config = Config::new(PeerId(*b"-SA0000-0123456789ab"));
        if input.flag() {
            config.shape = Some(Shape { layout: layout(), metadata_size: METADATA_SIZE });
        }
        let hashes = hashes(input.byte());
        let now = Time::from_micros(1_000_000);
        let connection = if input.flag() {
            Connection::outgoing(config, hashes, now)
        } else {
            let prefix = Prefix { reserved: Reserved(input.long().to_be_bytes()), hash: hashes.primary() };
            Connection::incoming(config, hashes, prefix, now)
        };
        let (events, sent, reads, asked) = Default::default();
        let mut subject = Self { connection, now, chunk, events, sent, reads, asked, closed: false };
        subject.drain();
        subject
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Bytes(bytes) => bytes.chunks(self.chunk).for_each(|part| self.feed(part)),
            Step::Command(command) => {
                if let Command::Request(block) = command {
                    self.asked.push(*block);
                }
                self.connection.handle_command(self.now, command.clone());
            }
            Step::Read(block, found) => {
                self.reads.retain(|b| b != block);
                self.connection.handle_read(self.now, *block, found.then_some(7));
            }
            Step::Write => self.write(),
            Step::Tick => {
                self.now = self.connection.deadline().map_or(self.now, |at| at.max(self.now));
                self.connection.handle_tick(self.now);
            }
            Step::Wait(time) => self.wait(self.now + *time),
            Step::Close => self.connection.handle_closed(self.now, Departure::Remote),
        }
        self.drain();
    }

    /// As a shell does: every deadline on the way is kept.
    fn wait(&mut self, until: Time) {
        while let Some(at) = self.connection.deadline().filter(|at| *at <= until) {
            self.now = at.max(self.now);
            self.connection.handle_tick(self.now);
            assert!(self.connection.deadline().is_none_or(|next| next > at), "due again at once");
        }
        self.now = until;
    }

    /// As a shell does: control bytes to the machine, payload into a buffer.
    fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let taken = match self.connection.want() {
                Want::Closed => return,
                Want::Control => self.connection.handle_bytes(self.now, bytes),
                Want::Payload { block, filled, discard } => self.payload(block, filled, discard, bytes.len()),
            };
            assert!(taken > 0, "no progress");
            bytes = &bytes[taken..];
        }
    }

    fn payload(&mut self, block: Block, filled: u32, discard: bool, available: usize) -> usize {
        assert!(filled < block.len, "a whole block is still wanted");
        let n = (block.len - filled).min(available as u32);
        self.connection.handle_payload(self.now, n);
        if filled + n == block.len && !discard {
            self.connection.handle_block(self.now, 1);
        }
        n as usize
    }

    fn drain(&mut self) {
        while let Some(output) = self.connection.poll() {
            match output {
                Output::Read(block) => self.read(block),
                Output::Event(event) => self.event(event),
            }
        }
    }

    /// The transport takes everything that waits. Until this step it is stuck.
    fn write(&mut self) {
        let (before, mut payload) = (self.sent.len(), 0);
        while let Some(transmit) = self.connection.transmit() {
            match transmit {
                Transmit::Bytes(bytes) => self.sent.extend(bytes),
                Transmit::Payload(_) => payload += BLOCK_LEN,
            }
        }
        assert!(self.sent.len() - before < MAX_TRANSMIT);
        self.connection.handle_sent(self.now, payload);
    }

    fn read(&mut self, block: Block) {
        assert!(!self.closed, "a read after the end");
        assert!(layout().serves(&block), "{block:?} does not exist");
        self.reads.push(block);
    }

    fn event(&mut self, event: Event<u32>) {
        assert!(!self.closed, "{event:?} after the end");
        let hello = matches!(event, Event::Hello(_));
        let goodbye = matches!(event, Event::Closed(_));
        assert!(goodbye || hello == self.events.is_empty(), "{event:?} is event {}", self.events.len());
        if let Event::Block { block, .. } = &event {
            assert!(self.asked.contains(block), "nobody asked for {block:?}");
        }
        self.closed = goodbye;
        self.events.push(event);
    }

    /// Whatever happened, it can be ended, and then it is silent.
    fn end(mut self) {
        self.connection.handle_closed(self.now, Departure::Shutdown);
        self.drain();
        assert!(self.closed, "no goodbye");
        assert_eq!(self.connection.want(), Want::Closed);
        assert_eq!(self.connection.deadline(), None);
        assert!(self.connection.transmit().is_none() && self.connection.poll().is_none());
    }
}
