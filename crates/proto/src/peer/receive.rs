//! What each message of the remote leads to.

use super::budget::{NONSENSE, cost, late_bitfield};
use super::config::{BUSY_CONTROL, MAX_QUEUED_REQUESTS, MAX_UNREQUESTED};
use super::connection::{Connection, Incoming};
use super::downloads::Match;
use super::{Event, Violation};
use crate::ids::{Block, PieceIndex};
use crate::merkle::HashRequest;
use crate::time::Time;
use crate::wire::{MAX_BLOCK_LEN, Message};

impl<B> Connection<B> {
    /// Judges one message and passes on what it means.
    pub(super) fn receive(&mut self, now: Time, message: &Message<'_>) -> Result<(), Violation> {
        self.budget.pay(now, cost(message))?;
        match *message {
            Message::KeepAlive | Message::Unknown(_) | Message::Port(0) => {}
            Message::Choke => self.on_choke(now),
            Message::Unchoke => self.on_unchoke(),
            Message::Interested => self.on_interested(true),
            Message::NotInterested => self.on_interested(false),
            Message::Have(piece) => self.on_have(piece)?,
            Message::Bitfield(bits) => self.on_bitfield(now, bits)?,
            Message::Request(block) => self.on_request(now, block)?,
            Message::Piece(block) => self.on_piece(block)?,
            Message::Cancel(block) => self.on_cancel(block)?,
            Message::Port(port) => self.emit(Event::Port(port)),
            Message::Extended(id, payload) => self.on_extended(now, id, payload)?,
            Message::HashRequest(request) => self.on_hash_request(now, request)?,
            Message::Hashes(request, hashes) => self.on_hashes(now, request, hashes)?,
            Message::HashReject(request) => self.on_hash_reject(now, request)?,
            Message::Reject(block) => self.on_reject(now, &block)?,
            Message::Suggest(_) | Message::HaveAll | Message::HaveNone | Message::AllowedFast(_) => {
                self.on_fast(now, message)?;
            }
        }
        Ok(())
    }

    /// The messages that only exist with the fast extension (BEP 6).
    fn on_fast(&mut self, now: Time, message: &Message<'_>) -> Result<(), Violation> {
        if !self.fast() {
            return Err(Violation::FastNotNegotiated);
        }
        match *message {
            Message::HaveAll => {
                self.take_bitfield_turn(now)?;
                self.emit(Event::HaveAll);
            }
            Message::HaveNone => {
                if !std::mem::take(&mut self.remote.bitfield_due) {
                    return Err(Violation::MisplacedBitfield);
                }
                self.emit(Event::HaveNone);
            }
            Message::Suggest(piece) => {
                self.check_piece(piece)?;
                self.emit(Event::Suggest(piece));
            }
            Message::AllowedFast(piece) => {
                self.check_piece(piece)?;
                self.remote.allow_fast(piece);
                self.emit(Event::AllowedFast(piece));
            }
            _ => {}
        }
        Ok(())
    }

    fn on_choke(&mut self, now: Time) {
        if std::mem::replace(&mut self.remote.choking, true) {
            return;
        }
        self.emit(Event::Choke);
        let hanging = self.downloads.mark_stale();
        if self.fast() {
            self.timers.await_rejects(now, hanging);
        } else {
            // Without the fast extension the choke itself rejects everything (BEP 3).
            self.give_up_stale(now);
        }
    }

    fn on_unchoke(&mut self) {
        if std::mem::replace(&mut self.remote.choking, false) {
            self.emit(Event::Unchoke);
        }
    }

    /// Nothing more will come of what we asked before the choke.
    pub(super) fn give_up_stale(&mut self, now: Time) {
        self.timers.await_rejects(now, false);
        while let Some(block) = self.downloads.give_up_stale() {
            self.emit(Event::Rejected(block));
        }
    }

    fn on_interested(&mut self, interested: bool) {
        if std::mem::replace(&mut self.remote.interested, interested) != interested {
            self.emit(if interested { Event::Interested } else { Event::NotInterested });
        }
    }

    fn on_have(&mut self, piece: PieceIndex) -> Result<(), Violation> {
        self.check_piece(piece)?;
        self.remote.bitfield_due = false;
        self.emit(Event::Have(piece));
        Ok(())
    }

    fn on_bitfield(&mut self, now: Time, bits: &[u8]) -> Result<(), Violation> {
        self.take_bitfield_turn(now)?;
        self.remote.check_bitfield(bits, self.config.shape.as_ref())?;
        self.emit(Event::Bitfield(bits.to_vec()));
        Ok(())
    }

    /// A bitfield or have-all is in order before the messages that build on it. Not only "directly after the
    /// handshake", as BEP 3 and 6 have it: libtorrent puts its extension handshake first, and sends the bitfield of a
    /// magnet link only when the metadata has come. Later ones replace the first, at the price of the work they make:
    /// aria2 sends one in place of many haves (`DefaultBtInteractive::checkHave`).
    fn take_bitfield_turn(&mut self, now: Time) -> Result<(), Violation> {
        if std::mem::take(&mut self.remote.bitfield_due) {
            return Ok(());
        }
        let pieces = self.config.shape.as_ref().map_or(0, |shape| shape.layout.num_pieces());
        self.budget.pay(now, late_bitfield(pieces))
    }

    fn on_request(&mut self, now: Time, block: Block) -> Result<(), Violation> {
        self.remote.bitfield_due = false;
        let Some(shape) = &self.config.shape else {
            // We have nothing yet, and cannot say whether the request is legal.
            return self.refuse(now, block);
        };
        if block.len > MAX_BLOCK_LEN || !shape.layout.serves(&block) {
            return Err(Violation::OutOfRange);
        }
        if self.choking && !self.grants.take(&block) {
            // Perhaps it was under way when we choked.
            return self.refuse(now, block);
        }
        if !self.uploads.push(block) {
            self.excess_requests += 1;
            if self.excess_requests > MAX_QUEUED_REQUESTS {
                return Err(Violation::RequestFlood);
            }
            return self.refuse(now, block);
        }
        Ok(())
    }

    /// Refuses a request at a price: unlike a request that is served, nothing else bounds the number of these.
    fn refuse(&mut self, now: Time, block: Block) -> Result<(), Violation> {
        self.budget.pay(now, 1)?;
        self.reject(block);
        Ok(())
    }

    /// Says that a request will not be served, if there is a way to say it.
    pub(super) fn reject(&mut self, block: Block) {
        if self.fast() {
            self.outbox.message(&Message::Reject(block));
        }
    }

    fn on_cancel(&mut self, block: Block) -> Result<(), Violation> {
        if self.uploads.cancel(&block) {
            // Every request gets one answer, even one that was taken back (BEP 6, 52).
            self.reject(block);
        }
        Ok(())
    }

    fn on_piece(&mut self, block: Block) -> Result<(), Violation> {
        self.remote.bitfield_due = false;
        let answer = self.downloads.answer(&block);
        if answer == Match::Unknown && self.downloads.count_unrequested() > MAX_UNREQUESTED {
            return Err(Violation::UnrequestedBlocks);
        }
        self.incoming = Some(Incoming::new(block, answer != Match::Asked));
        Ok(())
    }

    /// Rejects belong to the fast extension (BEP 6), and to every v2 connection (BEP 52).
    fn on_reject(&mut self, now: Time, block: &Block) -> Result<(), Violation> {
        if !self.fast() && !self.v2() {
            return Err(Violation::FastNotNegotiated);
        }
        match self.downloads.answer(block) {
            Match::Asked => self.emit(Event::Rejected(*block)),
            Match::Retracted => {}
            Match::Unknown => self.budget.pay(now, NONSENSE)?,
        }
        Ok(())
    }

    fn on_hash_request(&mut self, now: Time, request: HashRequest) -> Result<(), Violation> {
        if !self.v2() {
            return self.budget.pay(now, NONSENSE);
        }
        let busy = self.outbox.control() > BUSY_CONTROL;
        if busy || !is_legal(&request) || !self.extensions.hashes.put_to_us() {
            self.outbox.message(&Message::HashReject(request));
        } else {
            self.emit(Event::HashRequest(request));
        }
        Ok(())
    }

    fn on_hashes(&mut self, now: Time, request: HashRequest, hashes: &[u8]) -> Result<(), Violation> {
        if !self.extensions.hashes.answered(&request) {
            return self.budget.pay(now, NONSENSE);
        }
        self.emit(Event::Hashes(request, hashes.to_vec()));
        Ok(())
    }

    fn on_hash_reject(&mut self, now: Time, request: HashRequest) -> Result<(), Violation> {
        if !self.extensions.hashes.answered(&request) {
            return self.budget.pay(now, NONSENSE);
        }
        self.emit(Event::HashReject(request));
        Ok(())
    }

    pub(super) fn check_piece(&mut self, piece: PieceIndex) -> Result<(), Violation> {
        self.remote.check_piece(piece, self.config.shape.as_ref())
    }

    pub(super) fn fast(&self) -> bool {
        self.hello().is_some_and(|hello| hello.fast)
    }

    pub(super) fn v2(&self) -> bool {
        self.hello().is_some_and(|hello| hello.v2)
    }
}

/// The form that BEP 52 demands, but that one hash may be asked for alone: libtorrent does so where a run of two would
/// reach past the last (`merkle`, `Shape::allows`). Whether such hashes exist is for the torrent to say.
fn is_legal(request: &HashRequest) -> bool {
    let HashRequest { index, count, base, proof_layers, .. } = *request;
    // No tree has more than 64 layers.
    (1..=512).contains(&count)
        && count.is_power_of_two()
        && index.is_multiple_of(count)
        && base < 64
        && proof_layers < 64
}
