//! One message: its id, its shape, its length (BEP 3, 5, 6, 10, 52).

use super::DecodeError;
use crate::ids::{Block, PieceIndex, Sha256Hash};
use crate::merkle::HashRequest;

/// The longest block that may be asked for or sent. We ask for 16 KiB; deployed clients accept requests of up to
/// 128 KiB, the limit of the mainline client, so that is what we answer.
pub const MAX_BLOCK_LEN: u32 = 128 * 1024;

/// The longest `extended` message. The longest that we know of are first peer-exchange messages, which libtorrent
/// takes up to 500 KiB; metadata pieces are 16 KiB and a little.
const MAX_EXTENDED: u32 = 512 * 1024;

/// Hashes in one `hashes` message: 512 asked for at most (BEP 52), and no tree of 2^64 bytes has more proof layers.
const MAX_HASHES: u32 = 512 + 64;

/// A message that we do not know is skipped, not kept; this only bounds how long we stay deaf.
const MAX_UNKNOWN: u32 = 1024 * 1024;

/// Length of the fields of the three hash messages.
const HASH_FIELDS: u32 = 48;

mod id {
    pub(super) const CHOKE: u8 = 0;
    pub(super) const UNCHOKE: u8 = 1;
    pub(super) const INTERESTED: u8 = 2;
    pub(super) const NOT_INTERESTED: u8 = 3;
    pub(super) const HAVE: u8 = 4;
    pub(super) const BITFIELD: u8 = 5;
    pub(super) const REQUEST: u8 = 6;
    pub(super) const PIECE: u8 = 7;
    pub(super) const CANCEL: u8 = 8;
    pub(super) const PORT: u8 = 9;
    pub(super) const SUGGEST: u8 = 13;
    pub(super) const HAVE_ALL: u8 = 14;
    pub(super) const HAVE_NONE: u8 = 15;
    pub(super) const REJECT: u8 = 16;
    pub(super) const ALLOWED_FAST: u8 = 17;
    pub(super) const EXTENDED: u8 = 20;
    pub(super) const HASH_REQUEST: u8 = 21;
    pub(super) const HASHES: u8 = 22;
    pub(super) const HASH_REJECT: u8 = 23;
}

/// A message. Byte strings are borrowed from where it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// Nothing, to keep the connection open (BEP 3).
    KeepAlive,
    /// No requests, please (BEP 3).
    Choke,
    /// Requests may come (BEP 3).
    Unchoke,
    /// The sender wants something (BEP 3).
    Interested,
    /// The sender wants nothing (BEP 3).
    NotInterested,
    /// The sender has one piece more (BEP 3).
    Have(PieceIndex),
    /// What the sender has, high bit first (BEP 3).
    Bitfield(&'a [u8]),
    /// Ask for a block (BEP 3).
    Request(Block),
    /// Header of a block; `len` bytes of payload follow, and are not part of this value (BEP 3).
    Piece(Block),
    /// Take a request back (BEP 3).
    Cancel(Block),
    /// UDP port of the sender's DHT node (BEP 5).
    Port(u16),
    /// This piece comes cheap (BEP 6).
    Suggest(PieceIndex),
    /// The sender has every piece (BEP 6).
    HaveAll,
    /// The sender has no piece (BEP 6).
    HaveNone,
    /// This request will not be served (BEP 6, 52).
    Reject(Block),
    /// This piece is served even to the choked (BEP 6).
    AllowedFast(PieceIndex),
    /// An extension message: its id, as the receiver chose it, and its payload (BEP 10).
    Extended(u8, &'a [u8]),
    /// Ask for hashes (BEP 52).
    HashRequest(HashRequest),
    /// Hashes, then uncle hashes, 32 bytes each (BEP 52).
    Hashes(HashRequest, &'a [u8]),
    /// These hashes will not be sent (BEP 52).
    HashReject(HashRequest),
    /// A message with this id, which we do not know; its body is skipped.
    Unknown(u8),
}

/// How much of a message must be there to make a [`Message`] of it, counted from its length prefix.
pub(super) struct Extent {
    /// Bytes to have.
    pub(super) buffered: usize,
    /// Bytes that follow, which nobody wants.
    pub(super) skipped: u32,
}

/// The extent of a message from its length prefix and its id. `max_bitfield` is in bytes.
pub(super) fn extent(id: u8, len: u32, max_bitfield: u32) -> Result<Extent, DecodeError> {
    let (shortest, longest) = bounds(id, max_bitfield);
    if len < shortest {
        return Err(DecodeError::Malformed { id, len });
    }
    if len > longest {
        // A message of one fixed length is broken, not too big.
        let fixed = shortest == longest;
        return Err(if fixed {
            DecodeError::Malformed { id, len }
        } else {
            DecodeError::Oversized { id, len }
        });
    }
    if id == id::HASHES && !(len - 1 - HASH_FIELDS).is_multiple_of(Sha256Hash::LEN as u32) {
        return Err(DecodeError::Malformed { id, len });
    }
    Ok(match id {
        id::PIECE => Extent { buffered: 13, skipped: 0 },
        _ if is_known(id) => Extent { buffered: 4 + len as usize, skipped: 0 },
        _ => Extent { buffered: 5, skipped: len - 1 },
    })
}

/// Least and greatest value of the length prefix.
fn bounds(id: u8, max_bitfield: u32) -> (u32, u32) {
    let fixed = |len| (len, len);
    match id {
        id::CHOKE..=id::NOT_INTERESTED | id::HAVE_ALL | id::HAVE_NONE => fixed(1),
        id::PORT => fixed(3),
        id::HAVE | id::SUGGEST | id::ALLOWED_FAST => fixed(5),
        id::REQUEST | id::CANCEL | id::REJECT => fixed(13),
        id::HASH_REQUEST | id::HASH_REJECT => fixed(1 + HASH_FIELDS),
        id::BITFIELD => (1, 1 + max_bitfield),
        // A block of no bytes answers no request that anybody could have made.
        id::PIECE => (10, 9 + MAX_BLOCK_LEN),
        id::EXTENDED => (2, MAX_EXTENDED),
        id::HASHES => (1 + HASH_FIELDS, 1 + HASH_FIELDS + MAX_HASHES * Sha256Hash::LEN as u32),
        _ => (1, MAX_UNKNOWN),
    }
}

const fn is_known(id: u8) -> bool {
    matches!(id, id::CHOKE..=id::PORT | id::SUGGEST..=id::ALLOWED_FAST | id::EXTENDED..=id::HASH_REJECT)
}

/// Takes big-endian fields off the front of a body. Reads zeros past its end, which [`extent`] rules out.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn array<const N: usize>(&mut self) -> [u8; N] {
        let Some((head, rest)) = self.0.split_first_chunk::<N>() else { return [0; N] };
        self.0 = rest;
        *head
    }

    fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.array())
    }

    fn piece(&mut self) -> PieceIndex {
        PieceIndex(self.u32())
    }

    fn block(&mut self) -> Block {
        Block { piece: self.piece(), offset: self.u32(), len: self.u32() }
    }

    fn hash_request(&mut self) -> HashRequest {
        HashRequest {
            root: Sha256Hash(self.array()),
            base: self.u32(),
            index: self.u32(),
            count: self.u32(),
            proof_layers: self.u32(),
        }
    }
}

impl<'a> Message<'a> {
    /// From the `buffered` bytes of a message whose [`Extent`] was accepted.
    pub(super) fn parse(frame: &'a [u8]) -> Self {
        let mut f = Fields(frame);
        let len = f.u32();
        if len == 0 {
            return Self::KeepAlive;
        }
        let [id] = f.array();
        match id {
            id::CHOKE => Self::Choke,
            id::UNCHOKE => Self::Unchoke,
            id::INTERESTED => Self::Interested,
            id::NOT_INTERESTED => Self::NotInterested,
            id::HAVE => Self::Have(f.piece()),
            id::BITFIELD => Self::Bitfield(f.0),
            id::REQUEST => Self::Request(f.block()),
            id::PIECE => Self::Piece(Block { piece: f.piece(), offset: f.u32(), len: len.saturating_sub(9) }),
            id::CANCEL => Self::Cancel(f.block()),
            id::PORT => Self::Port(u16::from_be_bytes(f.array())),
            id::SUGGEST => Self::Suggest(f.piece()),
            id::HAVE_ALL => Self::HaveAll,
            id::HAVE_NONE => Self::HaveNone,
            id::REJECT => Self::Reject(f.block()),
            id::ALLOWED_FAST => Self::AllowedFast(f.piece()),
            id::EXTENDED => Self::Extended(f.array::<1>()[0], f.0),
            id::HASH_REQUEST => Self::HashRequest(f.hash_request()),
            id::HASHES => Self::Hashes(f.hash_request(), f.0),
            id::HASH_REJECT => Self::HashReject(f.hash_request()),
            unknown => Self::Unknown(unknown),
        }
    }

    /// Appends the message to `out`; of a `piece`, the 13 bytes before its payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Self::KeepAlive => out.extend_from_slice(&[0; 4]),
            Self::Choke => head(out, id::CHOKE, 0),
            Self::Unchoke => head(out, id::UNCHOKE, 0),
            Self::Interested => head(out, id::INTERESTED, 0),
            Self::NotInterested => head(out, id::NOT_INTERESTED, 0),
            Self::HaveAll => head(out, id::HAVE_ALL, 0),
            Self::HaveNone => head(out, id::HAVE_NONE, 0),
            Self::Have(piece) => words(out, id::HAVE, &[piece.0]),
            Self::Suggest(piece) => words(out, id::SUGGEST, &[piece.0]),
            Self::AllowedFast(piece) => words(out, id::ALLOWED_FAST, &[piece.0]),
            Self::Request(b) => words(out, id::REQUEST, &[b.piece.0, b.offset, b.len]),
            Self::Cancel(b) => words(out, id::CANCEL, &[b.piece.0, b.offset, b.len]),
            Self::Reject(b) => words(out, id::REJECT, &[b.piece.0, b.offset, b.len]),
            Self::Piece(b) => {
                head(out, id::PIECE, 8 + b.len as usize);
                put_words(out, &[b.piece.0, b.offset]);
            }
            Self::Port(port) => bytes(out, id::PORT, &port.to_be_bytes()),
            Self::Bitfield(bits) => bytes(out, id::BITFIELD, bits),
            Self::Extended(ext, payload) => {
                head(out, id::EXTENDED, 1 + payload.len());
                out.push(ext);
                out.extend_from_slice(payload);
            }
            Self::HashRequest(r) => hash_message(out, id::HASH_REQUEST, &r, &[]),
            Self::Hashes(r, hashes) => hash_message(out, id::HASHES, &r, hashes),
            Self::HashReject(r) => hash_message(out, id::HASH_REJECT, &r, &[]),
            Self::Unknown(id) => head(out, id, 0),
        }
    }
}

/// Length prefix and id of a message with `body` bytes after the id. No body that we write comes near 4 GiB.
fn head(out: &mut Vec<u8>, id: u8, body: usize) {
    out.extend_from_slice(&(body as u32).saturating_add(1).to_be_bytes());
    out.push(id);
}

fn put_words(out: &mut Vec<u8>, words: &[u32]) {
    words.iter().for_each(|word| out.extend_from_slice(&word.to_be_bytes()));
}

fn words(out: &mut Vec<u8>, id: u8, words: &[u32]) {
    head(out, id, 4 * words.len());
    put_words(out, words);
}

fn bytes(out: &mut Vec<u8>, id: u8, body: &[u8]) {
    head(out, id, body.len());
    out.extend_from_slice(body);
}

fn hash_message(out: &mut Vec<u8>, id: u8, r: &HashRequest, hashes: &[u8]) {
    head(out, id, HASH_FIELDS as usize + hashes.len());
    out.extend_from_slice(r.root.as_bytes());
    put_words(out, &[r.base, r.index, r.count, r.proof_layers]);
    out.extend_from_slice(hashes);
}
