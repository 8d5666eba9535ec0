//! The bytes between two peers: handshake, length-prefixed messages and extension messages, to and from values.
//!
//! Specs: BEP 3 (handshake and messages 0–8), 5 (`port`), 6 (fast extension), 9 (`ut_metadata`), 10 (extension
//! protocol), 11 (`ut_pex`), 21 (`upload_only`), 52 (hash messages and the v2 bit), 54 (`lt_donthave`).
//!
//! It knows how long a message may be and what shape it has, and nothing else: what a message means, and when it may
//! come, is for [`crate::peer`]. It never holds the payload of a `piece`: the [`Decoder`] stops in front of it, so that
//! the payload can go straight from the transport into the buffer that it will stay in.
//!
//! Tested by round trips of arbitrary values, by *fed in any split = fed whole*, and by arbitrary bytes, which must
//! neither panic nor make the decoder hold more than its limits say.

mod decoder;
mod extension;
mod handshake;
mod message;
mod pex;

pub use decoder::{DecodeError, Decoder};
pub use extension::{
    ExtensionError, ExtensionHandshake, METADATA_PIECE_LEN, MetadataMessage, parse_dont_have,
};
pub use handshake::{Handshake, Prefix, Reserved};
pub use message::{MAX_BLOCK_LEN, Message};
pub use pex::{PexFlags, PexMessage};

#[cfg(test)]
mod tests;
