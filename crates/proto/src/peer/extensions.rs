//! Extension messages, in both directions (BEP 9, 10, 11, 21, 54).

use super::budget::{EXCESS, NONSENSE, QUESTION};
use super::config::{BUSY_CONTROL, MAX_QUEUED_REQUESTS};
use super::connection::Connection;
use super::frequency::Frequency;
use super::questions::Questions;
use super::{Event, Extended, Violation};
use crate::ids::PieceIndex;
use crate::merkle::HashRequest;
use crate::time::Time;
use crate::wire::{
    ExtensionHandshake, METADATA_PIECE_LEN, Message, MetadataMessage, PexMessage, parse_dont_have,
};

/// The message ids that we chose: what the remote puts on messages to us.
mod local {
    pub(super) const HANDSHAKE: u8 = 0;
    pub(super) const UT_METADATA: u8 = 1;
    pub(super) const LT_DONTHAVE: u8 = 2;
    pub(super) const UT_PEX: u8 = 3;
}

/// How many times over we send the metadata to one peer (BEP 9 suggests such a factor).
const METADATA_FACTOR: u32 = 3;

/// What the extension protocol settled, and what was asked by it.
#[derive(Debug, Default)]
pub(super) struct Extensions {
    /// Everything that the remote's handshakes said, the latest word counting.
    theirs: Extended,
    /// The remote's id for `ut_metadata`; 0 if it has none.
    ut_metadata: u8,
    /// The remote's id for `lt_donthave`; 0 if it has none.
    lt_donthave: u8,
    /// The remote's id for `ut_pex`; 0 if it has none.
    ut_pex: u8,
    /// Whether peers may be exchanged: not in private torrents (BEP 27).
    pex_allowed: bool,
    /// We named it in a handshake.
    pex_named: bool,
    pex_heard: Frequency,
    /// Whether we want nothing more (BEP 21).
    upload_only: bool,
    pub(super) hashes: Questions<HashRequest>,
    metadata: Questions<u32>,
    /// Pieces of metadata that we passed the remote's requests for to the torrent.
    metadata_granted: u32,
}

impl Extensions {
    /// `pex`: whether peers may be exchanged, until a command says otherwise.
    pub(super) fn new(pex: bool) -> Self {
        Self { pex_allowed: pex, ..Self::default() }
    }

    /// The latest word on each thing counts; what a handshake does not name stays (BEP 10).
    fn merge(&mut self, new: ExtensionHandshake) {
        self.ut_metadata = new.ut_metadata.unwrap_or(self.ut_metadata);
        self.lt_donthave = new.lt_donthave.unwrap_or(self.lt_donthave);
        self.ut_pex = new.ut_pex.unwrap_or(self.ut_pex);
        let old = std::mem::take(&mut self.theirs);
        self.theirs = Extended {
            client: new.client.or(old.client),
            reqq: new.reqq.or(old.reqq),
            listen_port: new.listen_port.or(old.listen_port),
            metadata_size: new.metadata_size.or(old.metadata_size),
            ut_metadata: self.ut_metadata != 0,
            ut_pex: self.ut_pex != 0,
            upload_only: new.upload_only.unwrap_or(old.upload_only),
            yourip: new.yourip.or(old.yourip),
        };
    }
}

impl<B> Connection<B> {
    pub(super) fn send_extension_handshake(&mut self) {
        let named = std::mem::replace(&mut self.extensions.pex_named, self.extensions.pex_allowed);
        let handshake = ExtensionHandshake {
            ut_metadata: Some(local::UT_METADATA),
            lt_donthave: Some(local::LT_DONTHAVE),
            // What was never named need not be taken back.
            ut_pex: if self.extensions.pex_allowed { Some(local::UT_PEX) } else { named.then_some(0) },
            client: Some(self.config.client.to_string()),
            listen_port: self.config.listen_port,
            reqq: Some(MAX_QUEUED_REQUESTS),
            metadata_size: self.config.shape.as_ref().map(|shape| shape.metadata_size),
            yourip: self.config.remote_ip,
            upload_only: self.extensions.upload_only.then_some(true),
        };
        self.send_extended(local::HANDSHAKE, |out| handshake.encode(out));
    }

    pub(super) fn set_upload_only(&mut self, upload_only: bool) {
        let changed = std::mem::replace(&mut self.extensions.upload_only, upload_only) != upload_only;
        if changed && self.hello().is_some_and(|hello| hello.extended) {
            self.send_extension_handshake();
        }
    }

    pub(super) fn allow_pex(&mut self, allowed: bool) {
        let changed = std::mem::replace(&mut self.extensions.pex_allowed, allowed) != allowed;
        if changed && self.hello().is_some_and(|hello| hello.extended) {
            self.send_extension_handshake();
        }
    }

    fn send_extended(&mut self, id: u8, encode: impl FnOnce(&mut Vec<u8>)) {
        let mut payload = Vec::new();
        encode(&mut payload);
        self.outbox.message(&Message::Extended(id, &payload));
    }

    pub(super) fn on_extended(&mut self, now: Time, id: u8, payload: &[u8]) -> Result<(), Violation> {
        match id {
            local::HANDSHAKE => self.on_extension_handshake(now, payload),
            local::UT_METADATA => self.on_metadata(now, payload),
            local::LT_DONTHAVE => self.on_dont_have(payload),
            local::UT_PEX => self.on_pex(now, payload),
            // Ids that we never gave out; clients send such by mistake.
            _ => self.budget.pay(now, NONSENSE),
        }
    }

    fn on_extension_handshake(&mut self, now: Time, payload: &[u8]) -> Result<(), Violation> {
        self.budget.pay(now, QUESTION)?;
        let handshake = ExtensionHandshake::parse(payload)?;
        self.extensions.merge(handshake);
        self.emit(Event::Extended(self.extensions.theirs.clone()));
        Ok(())
    }

    fn on_dont_have(&mut self, payload: &[u8]) -> Result<(), Violation> {
        let piece = parse_dont_have(payload)?;
        self.check_piece(piece)?;
        self.emit(Event::DontHave(piece));
        if !self.fast() {
            // As with a choke, nothing but this says that the requests are dropped (BEP 54).
            while let Some(block) = self.downloads.give_up_piece(piece) {
                self.emit(Event::Rejected(block));
            }
        }
        Ok(())
    }

    /// What comes too often, or although it was not wanted, is not even read.
    fn on_pex(&mut self, now: Time, payload: &[u8]) -> Result<(), Violation> {
        if !self.extensions.pex_allowed || !self.extensions.pex_heard.admits(now) {
            return self.budget.pay(now, EXCESS);
        }
        let message = PexMessage::parse(payload)?;
        if !message.is_empty() {
            self.emit(Event::Pex(message));
        }
        Ok(())
    }

    pub(super) fn send_pex(&mut self, message: &PexMessage) {
        let (id, allowed) = (self.extensions.ut_pex, self.extensions.pex_allowed);
        if id != 0 && allowed {
            self.send_extended(id, |out| message.encode(out));
        }
    }

    pub(super) fn send_dont_have(&mut self, piece: PieceIndex) {
        if self.extensions.lt_donthave != 0 {
            let id = self.extensions.lt_donthave;
            self.send_extended(id, |out| out.extend_from_slice(&piece.0.to_be_bytes()));
        }
    }

    fn on_metadata(&mut self, now: Time, payload: &[u8]) -> Result<(), Violation> {
        match MetadataMessage::parse(payload)? {
            MetadataMessage::Request(piece) => self.on_metadata_request(now, piece),
            MetadataMessage::Data { piece, total, data } => self.on_metadata_data(now, piece, total, data),
            MetadataMessage::Reject(piece) => self.on_metadata_reject(now, piece),
            // To be ignored, so that kinds can be added (BEP 9).
            MetadataMessage::Unknown => Ok(()),
        }
    }

    fn on_metadata_request(&mut self, now: Time, piece: u32) -> Result<(), Violation> {
        self.budget.pay(now, QUESTION)?;
        let size = self.config.shape.as_ref().map_or(0, |shape| shape.metadata_size);
        let pieces = size.div_ceil(METADATA_PIECE_LEN);
        let greedy = self.extensions.metadata_granted >= pieces.saturating_mul(METADATA_FACTOR);
        let busy = self.outbox.control() > BUSY_CONTROL;
        if piece >= pieces || greedy || busy || !self.extensions.metadata.put_to_us() {
            self.write_metadata(&MetadataMessage::Reject(piece));
        } else {
            self.extensions.metadata_granted += 1;
            self.emit(Event::MetadataRequest(piece));
        }
        Ok(())
    }

    fn on_metadata_data(
        &mut self,
        now: Time,
        piece: u32,
        total: Option<u32>,
        data: &[u8],
    ) -> Result<(), Violation> {
        if !self.extensions.metadata.answered(&piece) {
            return self.budget.pay(now, NONSENSE);
        }
        let total = total.or(self.extensions.theirs.metadata_size).ok_or(Violation::MalformedExtension)?;
        if metadata_piece(piece, total).map(|range| range.len()) != Some(data.len()) {
            return Err(Violation::MalformedExtension);
        }
        self.emit(Event::MetadataData { piece, total, data: data.to_vec() });
        Ok(())
    }

    fn on_metadata_reject(&mut self, now: Time, piece: u32) -> Result<(), Violation> {
        if !self.extensions.metadata.answered(&piece) {
            return self.budget.pay(now, NONSENSE);
        }
        self.emit(Event::MetadataReject(piece));
        Ok(())
    }

    /// Asks for a piece of the metadata, or says at once that it will not come.
    pub(super) fn request_metadata(&mut self, piece: u32) {
        if self.extensions.ut_metadata != 0 && self.extensions.metadata.ask(piece) {
            self.write_metadata(&MetadataMessage::Request(piece));
        } else {
            self.emit(Event::MetadataReject(piece));
        }
    }

    pub(super) fn send_metadata(&mut self, piece: u32, info: &[u8]) {
        self.extensions.metadata.answered_by_us();
        let total = u32::try_from(info.len()).ok();
        let data = total.and_then(|total| info.get(metadata_piece(piece, total)?));
        self.write_metadata(&match data {
            Some(data) => MetadataMessage::Data { piece, total, data },
            None => MetadataMessage::Reject(piece),
        });
    }

    pub(super) fn reject_metadata(&mut self, piece: u32) {
        self.extensions.metadata.answered_by_us();
        self.write_metadata(&MetadataMessage::Reject(piece));
    }

    /// Sends a `ut_metadata` message, if the remote said how to call it.
    fn write_metadata(&mut self, message: &MetadataMessage<'_>) {
        if self.extensions.ut_metadata != 0 {
            self.send_extended(self.extensions.ut_metadata, |out| message.encode(out));
        }
    }
}

/// The bytes of a piece of the metadata; `None` if there is no such piece.
fn metadata_piece(piece: u32, total: u32) -> Option<std::ops::Range<usize>> {
    let start = piece.checked_mul(METADATA_PIECE_LEN).filter(|&start| start < total)?;
    Some(start as usize..start.saturating_add(METADATA_PIECE_LEN).min(total) as usize)
}
