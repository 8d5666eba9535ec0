//! RESP2: commands to bytes, bytes to replies.

use std::io::Write;

/// Longest reply, in bytes. The map of a cluster of a thousand nodes takes half a megabyte.
pub const MAX_REPLY: usize = 4 << 20;

/// Most values in one reply: lists, and what is in them.
pub const MAX_VALUES: usize = 1 << 16;

/// Longest line, in bytes: a number, or the text of an error.
const MAX_LINE: usize = 4096;

/// Deepest list within a list; the map of a cluster has four.
const MAX_DEPTH: usize = 8;

/// One reply. Text is as it came: not checked, not cleaned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// A short text, such as `OK`.
    Simple(&'a [u8]),
    /// A refusal: a word that names its kind, and more.
    Error(&'a [u8]),
    /// A number.
    Int(i64),
    /// Bytes.
    Bulk(&'a [u8]),
    /// Nothing.
    Nil,
    /// A list.
    Array(Vec<Self>),
}

/// What came is not RESP2, or more than is taken: the connection is of no use any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer is not what a Redis server says")]
pub struct Malformed;

/// Appends a command: a list of strings.
pub fn write_command(out: &mut Vec<u8>, args: &[&[u8]]) {
    number(out, b'*', args.len());
    for arg in args {
        number(out, b'$', arg.len());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
}

fn number(out: &mut Vec<u8>, kind: u8, n: usize) {
    out.push(kind);
    // A `Vec` takes every write.
    let _ = write!(out, "{n}\r\n");
}

/// Finds replies in what was received, in whatever pieces. Each byte is looked at a bounded number of times.
#[derive(Debug, Default)]
pub struct Reader {
    buffer: Vec<u8>,
    /// Where the reply begins that is looked for.
    start: usize,
    scan: Scan,
}

/// A line: its first byte, the rest, and its length with the line end.
type Line<'a> = (u8, &'a [u8], usize);

/// How far the end of the reply has been looked for.
#[derive(Clone, Copy, Debug)]
struct Scan {
    /// Where the next value begins, from the start of the reply.
    at: usize,
    /// Values that are yet to come.
    missing: usize,
    /// Values so far.
    values: usize,
    /// Bytes of the line at `at` that hold no line feed.
    searched: usize,
}

impl Default for Scan {
    fn default() -> Self {
        Self { at: 0, missing: 1, values: 0, searched: 0 }
    }
}

impl Reader {
    /// Takes bytes as they came.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            // What is left is less than a reply, and mostly nothing.
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// Forgets everything, for a new connection.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// The next whole reply, if it is there.
    ///
    /// # Errors
    /// If no reply can come of it any more.
    pub fn next_reply(&mut self) -> Result<Option<Reply<'_>>, Malformed> {
        let bytes = self.buffer.get(self.start..).unwrap_or_default();
        if !self.scan.run(bytes)? {
            return Ok(None);
        }
        let start = self.start;
        self.start += self.scan.at;
        self.scan = Scan::default();
        let reply = self.buffer.get(start..self.start).and_then(|bytes| parse(bytes, MAX_DEPTH));
        reply.map(|(reply, _)| Some(reply)).ok_or(Malformed)
    }
}

impl Scan {
    /// Goes on; true once the reply is whole.
    fn run(&mut self, bytes: &[u8]) -> Result<bool, Malformed> {
        while self.missing > 0 {
            let Some((kind, line, len)) = self.line(bytes)? else { return Ok(false) };
            let (body, inside) = match kind {
                b'+' | b'-' | b':' => (0, 0),
                b'$' => (length(line)?.map_or(0, |n| n.saturating_add(2)), 0),
                b'*' => (0, length(line)?.unwrap_or(0)),
                _ => return Err(Malformed),
            };
            let end = self.at.saturating_add(len).saturating_add(body);
            if end > MAX_REPLY || self.values.saturating_add(inside) > MAX_VALUES {
                return Err(Malformed);
            }
            if end > bytes.len() {
                return Ok(false);
            }
            (self.at, self.searched) = (end, 0);
            self.values += inside;
            self.missing = self.missing - 1 + inside;
        }
        Ok(true)
    }

    /// The line at hand, if its end is there.
    fn line<'a>(&mut self, bytes: &'a [u8]) -> Result<Option<Line<'a>>, Malformed> {
        let line = bytes.get(self.at..).unwrap_or_default();
        let fresh = line.get(self.searched..).unwrap_or_default();
        let Some(end) = fresh.iter().position(|b| *b == b'\n') else {
            self.searched = line.len();
            return if line.len() > MAX_LINE { Err(Malformed) } else { Ok(None) };
        };
        // Until the body is there too the line is looked for again, but not searched.
        self.searched += end;
        let len = self.searched + 1;
        let (kind, text) = split(line.get(..len).unwrap_or_default()).ok_or(Malformed)?;
        if len > MAX_LINE { Err(Malformed) } else { Ok(Some((kind, text, len))) }
    }
}

/// A line without its end: the first byte and the rest.
fn split(line: &[u8]) -> Option<(u8, &[u8])> {
    let (kind, text) = line.strip_suffix(b"\r\n")?.split_first()?;
    Some((*kind, text))
}

/// A length; `None` for -1, which stands for nothing.
fn length(digits: &[u8]) -> Result<Option<usize>, Malformed> {
    match int(digits).ok_or(Malformed)? {
        -1 => Ok(None),
        n => usize::try_from(n).map(Some).map_err(|_| Malformed),
    }
}

fn int(digits: &[u8]) -> Option<i64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Reads one value off the front.
fn parse(bytes: &[u8], depth: usize) -> Option<(Reply<'_>, &[u8])> {
    let end = bytes.iter().position(|b| *b == b'\n')? + 1;
    let (line, rest) = bytes.split_at_checked(end)?;
    let (kind, text) = split(line)?;
    let reply = match kind {
        b'+' => Reply::Simple(text),
        b'-' => Reply::Error(text),
        b':' => Reply::Int(int(text)?),
        b'$' => return bulk(length(text).ok()?, rest),
        b'*' => return array(length(text).ok()?, rest, depth),
        _ => return None,
    };
    Some((reply, rest))
}

fn bulk(len: Option<usize>, rest: &[u8]) -> Option<(Reply<'_>, &[u8])> {
    let Some(len) = len else { return Some((Reply::Nil, rest)) };
    let (bytes, rest) = rest.split_at_checked(len)?;
    Some((Reply::Bulk(bytes), rest.strip_prefix(b"\r\n")?))
}

fn array(len: Option<usize>, mut rest: &[u8], depth: usize) -> Option<(Reply<'_>, &[u8])> {
    let Some(len) = len else { return Some((Reply::Nil, rest)) };
    let depth = depth.checked_sub(1)?;
    // Bounded by MAX_VALUES, and all of them are there.
    let mut values = Vec::with_capacity(len);
    for _ in 0..len {
        let (value, after) = parse(rest, depth)?;
        values.push(value);
        rest = after;
    }
    Some((Reply::Array(values), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(pieces: &[&[u8]]) -> Result<Vec<String>, Malformed> {
        let (mut reader, mut out) = (Reader::default(), Vec::new());
        for piece in pieces {
            reader.push(piece);
            while let Some(reply) = reader.next_reply()? {
                out.push(format!("{reply:?}"));
            }
        }
        Ok(out)
    }

    const STREAM: &[u8] =
        b"+OK\r\n:-7\r\n$3\r\na\r\n\r\n$-1\r\n-ERR no\r\n*2\r\n*1\r\n$0\r\n\r\n:1\r\n*0\r\n*-1\r\n";

    #[test]
    fn every_kind_in_any_split() {
        let whole = all(&[STREAM]).unwrap();
        assert_eq!(whole.len(), 8);
        assert!(whole[2].contains("Bulk([97, 13, 10])") && whole[3] == "Nil" && whole[7] == "Nil");
        for cut in 0..STREAM.len() {
            assert_eq!(all(&[&STREAM[..cut], &STREAM[cut..]]).unwrap(), whole, "cut at {cut}");
        }
        let bytes: Vec<&[u8]> = STREAM.chunks(1).collect();
        assert_eq!(all(&bytes).unwrap(), whole);
    }

    #[test]
    fn refuses_what_is_not_resp_or_too_much() {
        let long = [b"+".as_slice(), &[b'a'; MAX_LINE + 1]].concat();
        let deep = b"*1\r\n".repeat(MAX_DEPTH + 1);
        let deep = [deep.as_slice(), b":1\r\n"].concat();
        let bad: [&[u8]; 12] = [
            b"hello\r\n",
            b"$x\r\n",
            b"$-2\r\n",
            b"*-5\r\n",
            b"$9000000000000000000\r\n",
            b"*1000000000000\r\n",
            b"*99999999999999999999\r\n",
            b"$1\r\nabc\r\n",
            b"+OK\n",
            b"\r\n",
            &long,
            &deep,
        ];
        for bytes in bad {
            assert_eq!(all(&[bytes]), Err(Malformed), "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn what_is_written_reads_as_a_list_of_strings() {
        let mut out = Vec::new();
        write_command(&mut out, &[b"SET", b"\r\n", b""]);
        let mut reader = Reader::default();
        reader.push(&out);
        let expected = Reply::Array(vec![Reply::Bulk(b"SET"), Reply::Bulk(b"\r\n"), Reply::Bulk(b"")]);
        assert_eq!(reader.next_reply(), Ok(Some(expected)));
    }
}
