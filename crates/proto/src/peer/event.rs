//! What passes between a connection, the torrent it belongs to, and the shell that owns its socket.

use std::net::IpAddr;
use std::sync::Arc;

use super::Departure;
use crate::bitfield::Bitfield;
use crate::ids::{Block, PeerId, PieceIndex, WireHash};
use crate::layout::Layout;
use crate::merkle::HashRequest;
use crate::wire::PexMessage;

/// What the handshake settled (BEP 3, 6, 10, 52).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The remote's id.
    pub peer_id: PeerId,
    /// The hash both sides agreed on.
    pub hash: WireHash,
    /// Whether that is the v2 hash, so that hash requests may be sent.
    pub v2: bool,
    /// Both sides have the fast extension (BEP 6).
    pub fast: bool,
    /// Both sides have the extension protocol (BEP 10).
    pub extended: bool,
    /// Both sides have a DHT node (BEP 5).
    pub dht: bool,
}

/// What the remote's extension handshake says (BEP 10).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extended {
    /// Client name and version, control characters removed, at most 64 characters.
    pub client: Option<String>,
    /// How many requests it keeps.
    pub reqq: Option<u32>,
    /// The port it listens on.
    pub listen_port: Option<u16>,
    /// Size of the info dictionary in bytes (BEP 9).
    pub metadata_size: Option<u32>,
    /// It answers `ut_metadata` (BEP 9).
    pub ut_metadata: bool,
    /// It takes `ut_pex` (BEP 11).
    pub ut_pex: bool,
    /// It wants nothing more (BEP 21).
    pub upload_only: bool,
    /// Our address as it sees it.
    pub yourip: Option<IpAddr>,
}

/// Connection → torrent. `B` is the handle of a payload buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<B> {
    /// The handshake is done. Always the first event, unless it is `Closed`.
    Hello(Hello),
    /// The extension handshake came; may come again with changes.
    Extended(Extended),
    /// We may not request.
    Choke,
    /// We may request.
    Unchoke,
    /// The remote wants something of ours.
    Interested,
    /// The remote wants nothing of ours.
    NotInterested,
    /// It has one piece more.
    Have(PieceIndex),
    /// It lost a piece (BEP 54).
    DontHave(PieceIndex),
    /// Raw bitfield: its length could be checked only if the number of pieces was known.
    Bitfield(Vec<u8>),
    /// It has every piece (BEP 6).
    HaveAll,
    /// It has no piece (BEP 6).
    HaveNone,
    /// It would serve this piece cheaply (BEP 6).
    Suggest(PieceIndex),
    /// It serves this piece even while we are choked (BEP 6).
    AllowedFast(PieceIndex),
    /// It will not serve this request (BEP 6), or a choke without the fast extension dropped it.
    Rejected(Block),
    /// Port of its DHT node (BEP 5).
    Port(u16),
    /// A block that we asked for, whole.
    Block {
        /// Which.
        block: Block,
        /// Handle of its bytes.
        data: B,
    },
    /// It asks for hashes (BEP 52).
    HashRequest(HashRequest),
    /// Hashes that we asked for, unverified (BEP 52): hashes, then uncle proofs.
    Hashes(HashRequest, Vec<u8>),
    /// It does not give these hashes (BEP 52).
    HashReject(HashRequest),
    /// It asks for a 16 KiB piece of the info dictionary (BEP 9).
    MetadataRequest(u32),
    /// A piece of the info dictionary that we asked for, unverified (BEP 9).
    MetadataData {
        /// 0-based index of the 16 KiB piece.
        piece: u32,
        /// Size of the whole dictionary in bytes, as it claims.
        total: u32,
        /// At most 16 KiB.
        data: Vec<u8>,
    },
    /// It does not give this piece of the info dictionary (BEP 9).
    MetadataReject(u32),
    /// Peers that it knows of (BEP 11), if it was allowed to say so and does not say so too often.
    Pex(PexMessage),
    /// What it sends waits for us, by want of memory or by a rate limit: it brings less than it could.
    Held,
    /// Payload bytes that left since the last such event.
    Sent {
        /// Bytes.
        payload: u32,
    },
    /// The end. Always the last event.
    Closed(Departure),
}

/// Torrent → connection.
#[derive(Clone, Debug)]
pub enum Command {
    /// Whether we want something of it.
    Interested(bool),
    /// Whether we serve it.
    Choke(bool),
    /// We have one piece more.
    Have(PieceIndex),
    /// We lost a piece (BEP 54); told only to peers that understand it.
    DontHave(PieceIndex),
    /// Whether we want nothing more (BEP 21).
    UploadOnly(bool),
    /// Whether peers may be exchanged (BEP 11), as they may not at first: it is then named in the extension handshake.
    AllowPex(bool),
    /// Tell of peers that came and went (BEP 11); told only to peers that understand it. To be given at most once a
    /// minute, with at most 50 each.
    Pex(PexMessage),
    /// What we have at the start; sent as have-all or have-none where that says it.
    Bitfield(Arc<Bitfield>),
    /// Serve these pieces even while we choke it, each block once, and no other ones any more (BEP 6); told only to peers
    /// that understand it. At most 16.
    AllowFast(Vec<PieceIndex>),
    /// Ask for a block.
    Request(Block),
    /// Take a request back.
    Cancel(Block),
    /// Ask for hashes (BEP 52).
    HashRequest(HashRequest),
    /// Answer with hashes (BEP 52).
    Hashes(HashRequest, Vec<u8>),
    /// Refuse hashes (BEP 52).
    HashReject(HashRequest),
    /// Ask for a piece of the info dictionary (BEP 9).
    MetadataRequest(u32),
    /// Answer with a piece of the info dictionary (BEP 9).
    MetadataData {
        /// 0-based index of the 16 KiB piece.
        piece: u32,
        /// The whole info dictionary; the connection cuts the piece out of it.
        info: Arc<[u8]>,
    },
    /// Refuse a piece of the info dictionary (BEP 9).
    MetadataReject(u32),
    /// The torrent's shape became known: from now on indices are checked against it.
    Layout {
        /// Pieces and blocks.
        layout: Arc<Layout>,
        /// Size of the info dictionary in bytes, for the extension handshake.
        metadata_size: u32,
    },
    /// End the connection.
    Close(Departure),
}

/// Connection → shell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output<B> {
    /// For the torrent.
    Event(Event<B>),
    /// Read this block; the shell must answer with `handle_read`. Only pieces whose data was verified may be read.
    Read(Block),
}

/// What the connection expects next from the transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Control bytes: give them to `handle_bytes`.
    Control,
    /// Payload of `block`, of which `filled` bytes came already: read the rest into a buffer of the shell's.
    Payload {
        /// Which.
        block: Block,
        /// Bytes that came already, 0..=`block.len`.
        filled: u32,
        /// Nobody wants it: read it into a scratch buffer.
        discard: bool,
    },
    /// Nothing any more.
    Closed,
}

/// The next bytes for the transport, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transmit<B> {
    /// Control messages and piece headers, coalesced.
    Bytes(Vec<u8>),
    /// The payload of a block, whole.
    Payload(B),
}
