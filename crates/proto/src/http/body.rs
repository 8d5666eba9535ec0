//! The body of an answer: how its end is told, and what it is once unpacked.

use std::io::Read;

use flate2::read::MultiGzDecoder;

use super::chunks::Chunks;
use super::reader::AnswerError;

/// How the end of a body is told.
#[derive(Debug)]
pub(super) enum Framing {
    /// So many bytes are to come.
    Length(u64),
    Chunked(Chunks),
    /// When the connection ends.
    Close,
}

/// A body on its way.
#[derive(Debug)]
pub(super) struct Body {
    framing: Framing,
    packed: bool,
    bytes: Vec<u8>,
    max: usize,
}

impl Body {
    /// One of at most `max` bytes, packed and unpacked.
    ///
    /// # Errors
    /// If it says that it is larger.
    pub(super) fn new(framing: Framing, packed: bool, max: usize) -> Result<Self, AnswerError> {
        match framing {
            Framing::Length(length) if length > max as u64 => Err(AnswerError::TooLarge),
            framing => Ok(Self { framing, packed, bytes: Vec::new(), max }),
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), AnswerError> {
        let (held, max) = (&mut self.bytes, self.max);
        let mut take = |part: &[u8]| {
            if held.len() + part.len() > max {
                return Err(AnswerError::TooLarge);
            }
            held.extend_from_slice(part);
            Ok(())
        };
        match &mut self.framing {
            Framing::Length(left) => {
                let taken = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= taken as u64;
                take(&bytes[..taken])
            }
            Framing::Chunked(chunks) => chunks.push(bytes, take),
            Framing::Close => take(bytes),
        }
    }

    /// Whether all of it is there, whatever else comes.
    pub(super) fn is_whole(&self) -> bool {
        match &self.framing {
            Framing::Length(left) => *left == 0,
            Framing::Chunked(chunks) => chunks.is_done(),
            Framing::Close => false,
        }
    }

    /// What it holds, unpacked. The connection ended, or it is whole.
    pub(super) fn finish(self) -> Result<Vec<u8>, AnswerError> {
        if !self.is_whole() && !matches!(self.framing, Framing::Close) {
            return Err(AnswerError::Broken);
        }
        // Servers that pack nothing say so with nothing.
        if self.packed && !self.bytes.is_empty() { unpack(&self.bytes, self.max) } else { Ok(self.bytes) }
    }
}

fn unpack(packed: &[u8], max: usize) -> Result<Vec<u8>, AnswerError> {
    let mut bytes = Vec::new();
    let mut limited = MultiGzDecoder::new(packed).take(max as u64 + 1);
    limited.read_to_end(&mut bytes).map_err(|_| AnswerError::Gzip)?;
    if bytes.len() > max { Err(AnswerError::TooLarge) } else { Ok(bytes) }
}
