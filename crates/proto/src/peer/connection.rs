//! The connection itself: its life from the first byte to `Closed`, and its doors to the shell.

use std::collections::VecDeque;

use super::budget::Budget;
use super::config::{Config, MAX_CONTROL, REPORT_INTERVAL};
use super::downloads::Downloads;
use super::extensions::Extensions;
use super::grants::Grants;
use super::greeting::Greeting;
use super::outbox::Outbox;
use super::remote::Remote;
use super::timers::{Due, Timers};
use super::uploads::Uploads;
use super::{Command, Departure, Event, Hello, Output, TimeoutKind, Transmit, Violation, Want};
use crate::ids::{Block, InfoHashes};
use crate::time::Time;
use crate::wire::{Decoder, Message, Prefix};

/// One connection to one peer. `B` is the handle of a payload buffer; the connection never looks into it.
///
/// See the [module](super) for the order of calls.
#[derive(Debug)]
pub struct Connection<B> {
    pub(super) config: Config,
    pub(super) phase: Phase,
    pub(super) decoder: Decoder,
    /// The block whose payload comes now.
    pub(super) incoming: Option<Incoming>,
    pub(super) outputs: VecDeque<Output<B>>,
    pub(super) outbox: Outbox<B>,
    pub(super) downloads: Downloads,
    pub(super) uploads: Uploads<B>,
    pub(super) remote: Remote,
    /// What it may ask for while we choke it.
    pub(super) grants: Grants,
    pub(super) extensions: Extensions,
    pub(super) budget: Budget,
    pub(super) timers: Timers,
    /// Whether we told the remote that we are interested.
    pub(super) interested: bool,
    /// Whether the remote is choked by us.
    pub(super) choking: bool,
    /// Requests beyond what we announced that we keep.
    pub(super) excess_requests: u32,
    sent: Sent,
}

/// Where in its life a connection is.
#[derive(Debug)]
pub(super) enum Phase {
    Greeting(Greeting),
    Open(Hello),
    Closed,
}

/// A block whose header came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Incoming {
    block: Block,
    filled: u32,
    discard: bool,
}

impl Incoming {
    pub(super) const fn new(block: Block, discard: bool) -> Self {
        Self { block, filled: 0, discard }
    }

    const fn is_whole(&self) -> bool {
        self.filled == self.block.len
    }
}

/// Payload that left and was not reported.
#[derive(Debug)]
struct Sent {
    bytes: u32,
    reported: Time,
}

impl<B> Connection<B> {
    /// A connection that we made. Our handshake is ready to be sent.
    ///
    /// It begins with the v1 hash if there is one; to join by the v2 hash a peer that was found by it, leave the v1
    /// half out of `hashes`.
    pub fn outgoing(config: Config, hashes: InfoHashes, now: Time) -> Self {
        let greeting = Greeting::outgoing(&config, hashes);
        Self::greet(config, greeting, now)
    }

    /// A connection that was made to us, whose first 48 bytes the listener read to find the torrent. Our answer is
    /// ready to be sent; the remote's id is still to come.
    pub fn incoming(config: Config, hashes: InfoHashes, prefix: Prefix, now: Time) -> Self {
        match Greeting::incoming(&config, hashes, prefix) {
            Ok(greeting) => Self::greet(config, greeting, now),
            Err(violation) => {
                let mut connection = Self::new(config, Phase::Closed, now);
                connection.emit(Event::Closed(violation.into()));
                connection
            }
        }
    }

    fn greet(config: Config, greeting: Greeting, now: Time) -> Self {
        let ours = greeting.ours();
        let mut connection = Self::new(config, Phase::Greeting(greeting), now);
        connection.outbox.bytes(&ours);
        connection.settle(now);
        connection
    }

    fn new(config: Config, phase: Phase, now: Time) -> Self {
        let (shape, pex) = (config.shape.clone(), config.pex);
        let mut connection = Self {
            config,
            phase,
            decoder: Decoder::default(),
            incoming: None,
            outputs: VecDeque::new(),
            outbox: Outbox::default(),
            downloads: Downloads::default(),
            uploads: Uploads::new(now),
            remote: Remote::default(),
            grants: Grants::default(),
            extensions: Extensions::new(pex),
            budget: Budget::new(now),
            timers: Timers::new(now),
            interested: false,
            choking: true,
            excess_requests: 0,
            sent: Sent { bytes: 0, reported: now },
        };
        if let Some(shape) = shape {
            connection.measure(&shape);
        }
        connection
    }

    /// What the connection expects next from the transport.
    pub fn want(&self) -> Want {
        match (&self.phase, self.incoming) {
            (Phase::Closed, _) => Want::Closed,
            (_, Some(Incoming { block, filled, discard })) => Want::Payload { block, filled, discard },
            (_, None) => Want::Control,
        }
    }

    /// Control bytes came. Returns how many were taken: fewer than given only if payload comes next (see
    /// [`want`](Self::want)). After the end everything is taken, and ignored.
    pub fn handle_bytes(&mut self, now: Time, bytes: &[u8]) -> usize {
        if bytes.is_empty() || self.is_closed() {
            return bytes.len();
        }
        self.timers.heard(now);
        let mut input = bytes;
        let mut decoder = std::mem::take(&mut self.decoder);
        let result = self.read(now, &mut decoder, &mut input);
        self.decoder = decoder;
        if let Err(departure) = result {
            self.close(now, departure);
            return bytes.len();
        }
        self.settle(now);
        bytes.len() - input.len()
    }

    /// `n` bytes of payload came into the shell's buffer of the current block.
    pub fn handle_payload(&mut self, now: Time, n: u32) {
        let Some(incoming) = &mut self.incoming else { return };
        self.timers.heard(now);
        incoming.filled = incoming.filled.saturating_add(n).min(incoming.block.len);
        if incoming.discard && incoming.is_whole() {
            self.incoming = None;
        }
    }

    /// The remote has sent something that the shell may not read yet, for want of memory or because of a rate limit: so
    /// it is not silent, and not slow. To be told every second while it is so.
    pub fn handle_held(&mut self, now: Time) {
        if !self.is_closed() {
            self.timers.heard(now);
            self.emit(Event::Held);
        }
    }

    /// The shell may not send the payload that it has, because of a rate limit: so it is not the remote that does not
    /// read. To be told before [`handle_tick`](Self::handle_tick) while it is so.
    pub fn handle_unsent(&mut self, now: Time) {
        self.timers.progress(now);
    }

    /// The buffer of the current block, which is whole. Ignored if it is not, or if nobody wants it.
    pub fn handle_block(&mut self, now: Time, data: B) {
        let Some(Incoming { block, .. }) = self.incoming.take_if(|i| i.is_whole()) else { return };
        self.emit(Event::Block { block, data });
        self.settle(now);
    }

    /// The answer to [`Output::Read`]: the payload, or `None` if it cannot be had.
    pub fn handle_read(&mut self, now: Time, block: Block, data: Option<B>) {
        if self.is_closed() {
            return;
        }
        self.uploads.complete(&block, data);
        self.reject_failures();
        self.settle(now);
    }

    /// The torrent decided something.
    pub fn handle_command(&mut self, now: Time, command: Command) {
        if self.is_closed() {
            return;
        }
        match self.obey(command) {
            Ok(()) => self.settle(now),
            Err(departure) => self.close(now, departure),
        }
    }

    /// Bytes went into the transport, `payload` of them from blocks. To be called after every write, with 0 if it
    /// wrote nothing but control bytes.
    pub fn handle_sent(&mut self, now: Time, payload: u32) {
        if self.is_closed() {
            return;
        }
        self.uploads.sent(now, payload.into());
        self.sent.bytes = self.sent.bytes.saturating_add(payload);
        self.outbox.sent();
        self.timers.progress(now);
        self.settle(now);
    }

    /// Time passed. To be called at [`deadline`](Self::deadline), and harmless at any other time.
    pub fn handle_tick(&mut self, now: Time) {
        self.settle(now);
        while !self.is_closed()
            && let Some(due) = self.timers.due(now)
        {
            match due {
                Due::Close(departure) => self.close(now, departure),
                Due::KeepAlive => self.outbox.message(&Message::KeepAlive),
                Due::GiveUpStale => self.give_up_stale(now),
            }
            self.settle(now);
        }
    }

    /// The transport ended, or the shell ends it.
    pub fn handle_closed(&mut self, now: Time, departure: Departure) {
        self.close(now, departure);
    }

    /// The next thing for the torrent or the shell. To be called until `None` after every `handle_*`, and after birth.
    pub fn poll(&mut self) -> Option<Output<B>> {
        self.outputs.pop_front()
    }

    /// The next bytes to send: control messages first, then the next block. To be called only as fast as the transport
    /// takes them: what waits here is bounded and timed, what the shell has taken is not, and can't be taken back by a
    /// choke or a cancel.
    pub fn transmit(&mut self) -> Option<Transmit<B>> {
        if self.outbox.is_empty() {
            self.begin_answer();
        }
        self.outbox.transmit()
    }

    /// As [`transmit`](Self::transmit), but begins no block: for a shell that may not send payload now.
    pub fn transmit_control(&mut self) -> Option<Transmit<B>> {
        self.outbox.transmit()
    }

    /// Bytes of blocks that [`transmit`](Self::transmit) could begin now.
    pub fn due(&self) -> u64 {
        self.uploads.due()
    }

    /// Takes back the buffer of a [`Transmit::Bytes`] that was sent, so that the next one needs no allocation.
    /// A courtesy, not a duty.
    pub fn recycle(&mut self, buffer: Vec<u8>) {
        self.outbox.recycle(buffer);
    }

    /// Whether [`transmit`](Self::transmit) has something.
    pub fn wants_write(&self) -> bool {
        !self.outbox.is_empty() || self.uploads.due() > 0
    }

    /// Whether blocks that we asked for are still to come.
    pub fn awaits_blocks(&self) -> bool {
        !self.downloads.is_idle()
    }

    /// When to call [`handle_tick`](Self::handle_tick); `None` after the end.
    pub fn deadline(&self) -> Option<Time> {
        if self.is_closed() {
            return None;
        }
        let report = (self.sent.bytes > 0).then(|| self.sent.reported + REPORT_INTERVAL);
        [self.timers.next(), report].into_iter().flatten().min()
    }

    pub(super) const fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// What the handshake settled; `None` before and after.
    pub(super) const fn hello(&self) -> Option<&Hello> {
        match &self.phase {
            Phase::Open(hello) => Some(hello),
            _ => None,
        }
    }

    /// Moves the next block that is read into the outbox.
    fn begin_answer(&mut self) {
        if let Some((block, data)) = self.uploads.next_answer() {
            self.outbox.message(&Message::Piece(block));
            self.outbox.payload(data);
            self.reject_failures();
        }
    }

    /// Tells which blocks could not be read, each in its turn.
    fn reject_failures(&mut self) {
        while let Some(block) = self.uploads.next_failure() {
            self.reject(block);
        }
    }

    pub(super) fn emit(&mut self, event: Event<B>) {
        self.outputs.push_back(Output::Event(event));
    }

    /// Reads messages until the input is used up or payload comes.
    fn read(&mut self, now: Time, decoder: &mut Decoder, input: &mut &[u8]) -> Result<(), Departure> {
        while self.incoming.is_none() && !input.is_empty() {
            if let Phase::Greeting(greeting) = &mut self.phase {
                if let Some(hello) = greeting.read(input)? {
                    self.open(hello);
                }
            } else {
                let (taken, message) = decoder.decode(input).map_err(Violation::from)?;
                if let Some(message) = message {
                    self.receive(now, &message)?;
                }
                *input = &input[taken..];
            }
        }
        Ok(())
    }

    /// The handshake is done.
    fn open(&mut self, hello: Hello) {
        self.phase = Phase::Open(hello);
        self.timers.greeted();
        self.emit(Event::Hello(hello));
        if hello.extended {
            self.send_extension_handshake();
        }
        if let (true, Some(port)) = (hello.dht, self.config.dht_port) {
            self.outbox.message(&Message::Port(port));
        }
    }

    /// What every change may lead to: reads, reports, clocks, and the end of a peer that does not read.
    fn settle(&mut self, now: Time) {
        if self.is_closed() {
            return;
        }
        if self.outbox.control() > MAX_CONTROL + self.bitfield_len() {
            return self.close(now, Departure::Timeout(TimeoutKind::Stalled));
        }
        while let Some(block) = self.uploads.next_read() {
            self.outputs.push_back(Output::Read(block));
        }
        if now.since(self.sent.reported) >= REPORT_INTERVAL {
            self.report_sent(now);
        }
        if self.outbox.take_touched() {
            self.timers.spoke(now);
        }
        self.timers.waiting(now, self.outbox.waits() || self.uploads.waits());
    }

    fn report_sent(&mut self, now: Time) {
        if self.sent.bytes > 0 {
            let payload = std::mem::take(&mut self.sent.bytes);
            self.sent.reported = now;
            self.emit(Event::Sent { payload });
        }
    }

    /// Ends the connection: one `Closed`, nothing after it, and no payload held.
    fn close(&mut self, now: Time, departure: Departure) {
        if self.is_closed() {
            return;
        }
        self.outputs.retain(|output| !matches!(output, Output::Read(_)));
        self.report_sent(now);
        self.emit(Event::Closed(departure));
        self.phase = Phase::Closed;
        self.incoming = None;
        self.decoder = Decoder::default();
        self.outbox = Outbox::default();
        self.downloads = Downloads::default();
        self.uploads = Uploads::new(now);
    }
}
