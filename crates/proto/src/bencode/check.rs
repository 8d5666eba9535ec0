//! The one pass that decides whether bytes are bencoding.

use super::{Error, ErrorKind, Scanner, Token, Value};

/// What an input may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Length of the input in bytes.
    pub len: usize,
    /// Levels of lists and dictionaries within each other.
    pub depth: usize,
    /// Tokens: integers, strings, keys, and the two ends of each list and dictionary.
    pub items: usize,
}

impl Limits {
    /// For `.torrent` files and info dictionaries: a million files fit.
    pub const METAINFO: Self = Self { len: 256 << 20, depth: 128, items: 64 << 20 };
    /// For messages of peers, trackers and DHT nodes.
    pub const MESSAGE: Self = Self { len: 2 << 20, depth: 16, items: 100_000 };
}

/// Checks the value at the start of `bytes`; returns where it ends.
pub(super) fn check(bytes: &[u8], limits: Limits) -> Result<usize, Error> {
    if bytes.len() > limits.len {
        return Err(Error { offset: limits.len, kind: ErrorKind::TooLong(limits.len) });
    }
    Checker { scan: Scanner::new(bytes), limits, items: 0, stack: Vec::new() }.run()
}

/// An open list or dictionary.
struct Frame<'a> {
    start: usize,
    dict: bool,
    /// A key was read whose value has not ended yet.
    value_due: bool,
    last_key: Option<&'a [u8]>,
    sorted: bool,
}

struct Checker<'a> {
    scan: Scanner<'a>,
    limits: Limits,
    items: usize,
    stack: Vec<Frame<'a>>,
}

impl<'a> Checker<'a> {
    fn run(mut self) -> Result<usize, Error> {
        loop {
            let at = self.scan.pos();
            let token = self.scan.token()?;
            self.count(at)?;
            if !self.step(token).map_err(|kind| Error { offset: at, kind })? {
                continue;
            }
            match self.stack.last_mut() {
                None => return Ok(self.scan.pos()),
                Some(frame) => frame.value_due = false,
            }
        }
    }

    fn count(&mut self, at: usize) -> Result<(), Error> {
        self.items += 1;
        if self.items > self.limits.items {
            return Err(Error { offset: at, kind: ErrorKind::TooManyItems(self.limits.items) });
        }
        Ok(())
    }

    /// Takes one token; true if a whole value ends with it.
    fn step(&mut self, token: Token<'a>) -> Result<bool, ErrorKind> {
        let key_due = self.stack.last().is_some_and(|f| f.dict && !f.value_due);
        match token {
            Token::End => self.close().map(|()| true),
            Token::Bytes(key) if key_due => self.key(key).map(|()| false),
            _ if key_due => Err(ErrorKind::KeyNotString),
            Token::List => self.open(false).map(|()| false),
            Token::Dict => self.open(true).map(|()| false),
            Token::Int(_) | Token::Bytes(_) => Ok(true),
        }
    }

    fn open(&mut self, dict: bool) -> Result<(), ErrorKind> {
        if self.stack.len() >= self.limits.depth {
            return Err(ErrorKind::TooDeep(self.limits.depth));
        }
        let start = self.scan.pos() - 1;
        self.stack.push(Frame { start, dict, value_due: false, last_key: None, sorted: true });
        Ok(())
    }

    fn key(&mut self, key: &'a [u8]) -> Result<(), ErrorKind> {
        if let Some(frame) = self.stack.last_mut() {
            match frame.last_key.map(|last| last.cmp(key)) {
                Some(std::cmp::Ordering::Equal) => return Err(ErrorKind::DuplicateKey),
                Some(std::cmp::Ordering::Greater) => frame.sorted = false,
                _ => {}
            }
            frame.last_key = Some(key);
            frame.value_due = true;
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), ErrorKind> {
        let frame = self.stack.pop().ok_or(ErrorKind::UnexpectedByte(b'e'))?;
        if frame.value_due && frame.dict {
            return Err(ErrorKind::KeyWithoutValue);
        }
        if !frame.sorted && has_duplicate(Value::checked(self.scan.since(frame.start))) {
            return Err(ErrorKind::DuplicateKey);
        }
        Ok(())
    }
}

/// Whether a dictionary with keys out of order has one of them twice. Neighbours alone do not tell.
fn has_duplicate(dict: Value<'_>) -> bool {
    let mut keys: Vec<&[u8]> =
        dict.as_dict().into_iter().flat_map(|d| d.iter()).map(|(key, _)| key).collect();
    keys.sort_unstable();
    keys.windows(2).any(|pair| pair[0] == pair[1])
}
