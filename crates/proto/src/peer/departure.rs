//! Why a peer left: one closed type, logged, counted and shown alike.

use std::fmt;

use crate::wire::{DecodeError, ExtensionError};

/// What a peer did against the protocol. Each has a short stable name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Violation {
    /// The first bytes are not a BitTorrent handshake.
    BadHandshake,
    /// The info-hash in the handshake is not the one we asked for.
    WrongInfoHash,
    /// A length prefix over the limit for its message.
    OversizedMessage,
    /// A message whose length does not fit its kind.
    MalformedMessage,
    /// A bencoded extension message that does not parse.
    MalformedExtension,
    /// A piece index, offset or length outside the torrent.
    OutOfRange,
    /// A have-none that is not the first to say what the peer has.
    MisplacedBitfield,
    /// A BEP 6 message without the fast extension.
    FastNotNegotiated,
    /// Blocks that nobody asked for.
    UnrequestedBlocks,
    /// More queued requests than we allow.
    RequestFlood,
    /// More control messages than any honest peer needs.
    MessageFlood,
    /// Hash proofs that do not lead to the root.
    BadHashes,
    /// Metadata that does not hash to the info-hash.
    BadMetadata,
    /// Pieces that do not hash to what the torrent says.
    BadPieces,
}

impl Violation {
    /// A short stable name, for logs and counters.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BadHandshake => "bad-handshake",
            Self::WrongInfoHash => "wrong-info-hash",
            Self::OversizedMessage => "oversized-message",
            Self::MalformedMessage => "malformed-message",
            Self::MalformedExtension => "malformed-extension",
            Self::OutOfRange => "out-of-range",
            Self::MisplacedBitfield => "misplaced-bitfield",
            Self::FastNotNegotiated => "fast-not-negotiated",
            Self::UnrequestedBlocks => "unrequested-blocks",
            Self::RequestFlood => "request-flood",
            Self::MessageFlood => "message-flood",
            Self::BadHashes => "bad-hashes",
            Self::BadMetadata => "bad-metadata",
            Self::BadPieces => "bad-pieces",
        }
    }
}

/// What took too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TimeoutKind {
    /// The transport connection was not made.
    Connect,
    /// The handshake did not arrive.
    Handshake,
    /// No byte for longer than two keep-alives.
    Silence,
    /// The peer reads nothing of what we send.
    Stalled,
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Departure {
    /// The other side closed it.
    Remote,
    /// It broke the protocol.
    Violation(Violation),
    /// Neither side has anything for the other.
    Useless,
    /// A second connection to the same peer.
    Duplicate,
    /// It was ourselves.
    SelfConnection,
    /// Something took too long.
    Timeout(TimeoutKind),
    /// The transport failed.
    Io,
    /// It was banned before, or its address was.
    Banned,
    /// No room among the connections.
    Full,
    /// We are ending or pausing.
    Shutdown,
}

impl Departure {
    /// A short stable name, for logs and counters.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Remote => "remote",
            Self::Violation(v) => v.name(),
            Self::Useless => "useless",
            Self::Duplicate => "duplicate",
            Self::SelfConnection => "self-connection",
            Self::Timeout(TimeoutKind::Connect) => "connect-timeout",
            Self::Timeout(TimeoutKind::Handshake) => "handshake-timeout",
            Self::Timeout(TimeoutKind::Silence) => "silence-timeout",
            Self::Timeout(TimeoutKind::Stalled) => "stalled-timeout",
            Self::Io => "io",
            Self::Banned => "banned",
            Self::Full => "full",
            Self::Shutdown => "shutdown",
        }
    }
}

impl fmt::Display for Departure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl From<Violation> for Departure {
    fn from(violation: Violation) -> Self {
        Self::Violation(violation)
    }
}

impl From<DecodeError> for Violation {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::Oversized { .. } => Self::OversizedMessage,
            DecodeError::Malformed { .. } => Self::MalformedMessage,
        }
    }
}

impl From<ExtensionError> for Violation {
    fn from(_: ExtensionError) -> Self {
        Self::MalformedExtension
    }
}
