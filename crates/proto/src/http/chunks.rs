//! The chunked coding (RFC 9112, section 7.1), undone as bytes come.

use super::reader::AnswerError;

/// Longest line of a chunk's size with its extensions, and longest trailer line.
const MAX_LINE: usize = 1024;
/// Most trailer lines.
const MAX_TRAILERS: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In the line that says how long the chunk is.
    Size,
    /// In the chunk, with so many bytes to come.
    Data(u64),
    /// In the line end after a chunk.
    End,
    /// In the lines after the last chunk, so many of which came.
    Trailer(usize),
    Done,
}

/// Undoes the coding.
#[derive(Debug)]
pub(super) struct Chunks {
    state: State,
    line: Vec<u8>,
}

impl Chunks {
    pub(super) const fn new() -> Self {
        Self { state: State::Size, line: Vec::new() }
    }

    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Takes bytes, and hands those of the body on. What follows the end is passed over.
    pub(super) fn push(
        &mut self,
        mut bytes: &[u8],
        mut body: impl FnMut(&[u8]) -> Result<(), AnswerError>,
    ) -> Result<(), AnswerError> {
        while !bytes.is_empty() && !self.is_done() {
            if let State::Data(left) = self.state {
                let taken = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                body(&bytes[..taken])?;
                bytes = &bytes[taken..];
                let left = left - taken as u64;
                self.state = if left == 0 { State::End } else { State::Data(left) };
            } else {
                bytes = self.line(bytes)?;
            }
        }
        Ok(())
    }

    /// Takes what belongs to the line; deals with it once it is whole.
    fn line<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], AnswerError> {
        let end = bytes.iter().position(|b| *b == b'\n');
        let (part, rest) =
            end.map_or((bytes, &bytes[bytes.len()..]), |end| (&bytes[..end], &bytes[end + 1..]));
        if self.line.len() + part.len() > MAX_LINE {
            return Err(AnswerError::Chunk);
        }
        self.line.extend_from_slice(part);
        if end.is_some() {
            let line = std::mem::take(&mut self.line);
            self.state = self.after(line.strip_suffix(b"\r").unwrap_or(&line))?;
        }
        Ok(rest)
    }

    fn after(&self, line: &[u8]) -> Result<State, AnswerError> {
        match self.state {
            State::Size => match size(line).ok_or(AnswerError::Chunk)? {
                0 => Ok(State::Trailer(0)),
                size => Ok(State::Data(size)),
            },
            State::End if line.is_empty() => Ok(State::Size),
            State::Trailer(_) if line.is_empty() => Ok(State::Done),
            State::Trailer(lines) if lines < MAX_TRAILERS => Ok(State::Trailer(lines + 1)),
            State::End | State::Trailer(_) | State::Data(_) | State::Done => Err(AnswerError::Chunk),
        }
    }
}

/// The hex number at the beginning; extensions are passed over.
fn size(line: &[u8]) -> Option<u64> {
    let digits = line.split(|b| matches!(b, b';' | b' ' | b'\t')).next()?;
    let text = std::str::from_utf8(digits).ok().filter(|t| t.bytes().all(|b| b.is_ascii_hexdigit()))?;
    u64::from_str_radix(text, 16).ok()
}
