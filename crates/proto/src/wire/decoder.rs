//! Bytes in any split to messages.

use thiserror::Error;

use super::Message;
use super::message::{Extent, extent};

/// The longest bitfield before the number of pieces is known: 8 Mi pieces. As v1 that is 160 MiB of piece hashes, and
/// as v2 128 GiB in the smallest pieces there are, beyond what anybody fetches from a magnet link.
const MAX_BITFIELD: u32 = 1024 * 1024;

/// What stays allocated between messages.
const KEPT_CAPACITY: usize = 4 * 1024;

/// Bytes that are no message. The stream cannot be read any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// Longer than such a message may be.
    #[error("message {id} of {len} bytes is too long")]
    Oversized {
        /// Message id.
        id: u8,
        /// Length prefix.
        len: u32,
    },
    /// A length that such a message cannot have.
    #[error("message {id} cannot be {len} bytes long")]
    Malformed {
        /// Message id.
        id: u8,
        /// Length prefix.
        len: u32,
    },
}

/// An incremental decoder. A message that lies whole in the input is borrowed from there; one that came in parts is
/// put together in a buffer that never grows beyond the longest message of its kind.
#[derive(Debug)]
pub struct Decoder {
    /// Start of a message whose rest has not come.
    partial: Vec<u8>,
    /// `partial` was handed out as a message.
    spent: bool,
    /// Bytes of an unknown message still to come.
    skip: u32,
    max_bitfield: u32,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { partial: Vec::new(), spent: false, skip: 0, max_bitfield: MAX_BITFIELD }
    }
}

/// How far the bytes at hand reach.
enum Frame {
    /// At least this many in all are needed to go on.
    Short(usize),
    Whole(Extent),
}

impl Decoder {
    /// From now on a bitfield speaks of at most `pieces` pieces.
    pub fn set_num_pieces(&mut self, pieces: u32) {
        self.max_bitfield = pieces.div_ceil(8);
    }

    /// Reads one message from the front of `input`, or takes all of it if it ends within a message. Says how many bytes
    /// were taken. After a [`Message::Piece`] the caller takes the payload itself before it calls again.
    ///
    /// # Errors
    /// If the next bytes cannot start a message.
    pub fn decode<'a>(&'a mut self, input: &'a [u8]) -> Result<(usize, Option<Message<'a>>), DecodeError> {
        self.forget_spent();
        let skipped = input.len().min(self.skip as usize);
        self.skip -= skipped as u32;
        let rest = &input[skipped..];
        if rest.is_empty() {
            return Ok((skipped, None));
        }
        if self.partial.is_empty()
            && let Frame::Whole(extent) = self.frame(rest)?
        {
            self.skip = extent.skipped;
            return Ok((skipped + extent.buffered, Some(Message::parse(&rest[..extent.buffered]))));
        }
        let (taken, message) = self.assemble(rest)?;
        Ok((skipped + taken, message))
    }

    /// Bytes held, which is what a hostile peer can make us hold.
    pub fn buffered(&self) -> usize {
        self.partial.capacity()
    }

    fn forget_spent(&mut self) {
        if !std::mem::take(&mut self.spent) {
            return;
        }
        self.partial.clear();
        if self.partial.capacity() > KEPT_CAPACITY {
            self.partial = Vec::new();
        }
    }

    /// Moves bytes from `input` to `partial` until that holds a message.
    fn assemble(&mut self, input: &[u8]) -> Result<(usize, Option<Message<'_>>), DecodeError> {
        let mut rest = input;
        loop {
            match self.frame(&self.partial)? {
                Frame::Whole(extent) => {
                    self.spent = true;
                    self.skip = extent.skipped;
                    return Ok((input.len() - rest.len(), Some(Message::parse(&self.partial))));
                }
                Frame::Short(_) if rest.is_empty() => return Ok((input.len(), None)),
                Frame::Short(needed) => {
                    let taken = rest.len().min(needed - self.partial.len());
                    self.partial.extend_from_slice(&rest[..taken]);
                    rest = &rest[taken..];
                }
            }
        }
    }

    fn frame(&self, bytes: &[u8]) -> Result<Frame, DecodeError> {
        let Some((len, rest)) = bytes.split_first_chunk::<4>() else { return Ok(Frame::Short(4)) };
        let len = u32::from_be_bytes(*len);
        if len == 0 {
            return Ok(Frame::Whole(Extent { buffered: 4, skipped: 0 }));
        }
        let Some(&id) = rest.first() else { return Ok(Frame::Short(5)) };
        let extent = extent(id, len, self.max_bitfield)?;
        Ok(if bytes.len() < extent.buffered { Frame::Short(extent.buffered) } else { Frame::Whole(extent) })
    }
}
