//! What each command of the torrent leads to.

use super::connection::Connection;
use super::{Command, Departure, Event, Shape, Violation};
use crate::bitfield::Bitfield;
use crate::ids::{Block, PieceIndex};
use crate::merkle::HashRequest;
use crate::wire::Message;

impl<B> Connection<B> {
    /// Does what the torrent decided. Before the handshake is done only the shape, `upload_only`, whether peers may be
    /// exchanged and the end of the connection mean anything; a torrent has no reason to speak before `Event::Hello`.
    pub(super) fn obey(&mut self, command: Command) -> Result<(), Departure> {
        match command {
            Command::Close(departure) => return Err(departure),
            Command::Layout { layout, metadata_size } => self.learn(Shape { layout, metadata_size })?,
            Command::UploadOnly(upload_only) => self.set_upload_only(upload_only),
            Command::AllowPex(allowed) => self.allow_pex(allowed),
            _ if self.hello().is_none() => {}
            Command::Interested(interested) => self.set_interested(interested),
            Command::Choke(choke) => self.set_choking(choke),
            Command::Have(piece) => self.outbox.message(&Message::Have(piece)),
            Command::DontHave(piece) => self.send_dont_have(piece),
            Command::Pex(message) => self.send_pex(&message),
            Command::Bitfield(have) => self.send_bitfield(&have),
            Command::AllowFast(pieces) => self.allow_fast(&pieces),
            Command::Request(block) => self.request(block),
            Command::Cancel(block) => self.cancel(&block),
            Command::HashRequest(request) => self.request_hashes(request),
            Command::Hashes(request, hashes) => self.answer_hashes(&Message::Hashes(request, &hashes)),
            Command::HashReject(request) => self.answer_hashes(&Message::HashReject(request)),
            Command::MetadataRequest(piece) => self.request_metadata(piece),
            Command::MetadataData { piece, info } => self.send_metadata(piece, &info),
            Command::MetadataReject(piece) => self.reject_metadata(piece),
        }
        Ok(())
    }

    /// The shape of the torrent became known.
    fn learn(&mut self, shape: Shape) -> Result<(), Violation> {
        if self.config.shape.is_some() {
            return Ok(());
        }
        self.remote.check_past(&shape)?;
        self.measure(&shape);
        self.config.shape = Some(shape);
        // Now we can say how long the metadata is; handshakes may be repeated (BEP 10).
        if self.hello().is_some_and(|hello| hello.extended) {
            self.send_extension_handshake();
        }
        Ok(())
    }

    /// Sets the limits that follow from the shape.
    pub(super) fn measure(&mut self, shape: &Shape) {
        let pieces = shape.layout.num_pieces();
        self.decoder.set_num_pieces(pieces);
        self.budget.set_num_pieces(pieces);
    }

    /// Length of a bitfield in bytes, as far as it is known.
    pub(super) fn bitfield_len(&self) -> usize {
        self.config.shape.as_ref().map_or(0, |shape| shape.layout.num_pieces().div_ceil(8) as usize)
    }

    fn set_interested(&mut self, interested: bool) {
        if std::mem::replace(&mut self.interested, interested) != interested {
            self.outbox.message(if interested { &Message::Interested } else { &Message::NotInterested });
        }
    }

    fn set_choking(&mut self, choke: bool) {
        if std::mem::replace(&mut self.choking, choke) == choke {
            return;
        }
        if !choke {
            return self.outbox.message(&Message::Unchoke);
        }
        // First the choke, then the rejects, so that the remote does not ask again at once (BEP 6).
        self.outbox.message(&Message::Choke);
        // What it was granted it still gets (BEP 6).
        let grants = &mut self.grants;
        for block in self.uploads.drop_all(|block| grants.take(block)) {
            self.reject(block);
        }
    }

    fn allow_fast(&mut self, pieces: &[PieceIndex]) {
        let (true, Some(shape)) = (self.fast(), &self.config.shape) else { return };
        for piece in self.grants.set(pieces, shape) {
            self.outbox.message(&Message::AllowedFast(piece));
        }
    }

    fn send_bitfield(&mut self, have: &Bitfield) {
        let message = match (self.fast(), have.count()) {
            (true, 0) => Message::HaveNone,
            // A peer with nothing may keep silent (BEP 3).
            (false, 0) => return,
            (true, _) if have.is_full() => Message::HaveAll,
            _ => Message::Bitfield(have.as_bytes()),
        };
        self.outbox.message(&message);
    }

    /// Asks for a block, or says at once that it will not come: the remote choked us meanwhile, or too much is in
    /// flight.
    fn request(&mut self, block: Block) {
        if self.remote.serves(block.piece) && self.downloads.ask(block) {
            self.outbox.message(&Message::Request(block));
        } else {
            self.emit(Event::Rejected(block));
        }
    }

    /// Takes a request back, unless its answer has begun to come.
    fn cancel(&mut self, block: &Block) {
        if self.downloads.retract(block) {
            self.outbox.message(&Message::Cancel(*block));
        }
    }

    fn request_hashes(&mut self, request: HashRequest) {
        if self.v2() && self.extensions.hashes.ask(request) {
            self.outbox.message(&Message::HashRequest(request));
        } else {
            self.emit(Event::HashReject(request));
        }
    }

    fn answer_hashes(&mut self, answer: &Message<'_>) {
        self.extensions.hashes.answered_by_us();
        self.outbox.message(answer);
    }
}
