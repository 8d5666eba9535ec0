//! One token at a time.

use super::{Error, ErrorKind};

/// A token of bencoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    /// `i…e`
    Int(i64),
    /// `n:…`
    Bytes(&'a [u8]),
    /// `l`
    List,
    /// `d`
    Dict,
    /// `e`
    End,
}

/// A position in bencoded bytes.
#[derive(Clone, Debug)]
pub(crate) struct Scanner<'a> {
    bytes: &'a [u8],
    pos: usize,
}

impl<'a> Scanner<'a> {
    /// Starts at the first byte.
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, pos: 0 }
    }

    /// Position of the next token.
    pub(crate) const fn pos(&self) -> usize {
        self.pos
    }

    /// What lies between `start` and the next token.
    pub(crate) fn since(&self, start: usize) -> &'a [u8] {
        &self.bytes[start..self.pos]
    }

    /// Whether the enclosing list or dictionary ends here.
    pub(crate) fn at_end(&self) -> bool {
        matches!(self.bytes.get(self.pos), None | Some(b'e'))
    }

    /// Takes the next token.
    pub(crate) fn token(&mut self) -> Result<Token<'a>, Error> {
        let first = self.peek()?;
        if first.is_ascii_digit() {
            return self.string();
        }
        let simple = match first {
            b'i' => return self.int(),
            b'l' => Token::List,
            b'd' => Token::Dict,
            b'e' => Token::End,
            other => return Err(self.fail(ErrorKind::UnexpectedByte(other))),
        };
        self.pos += 1;
        Ok(simple)
    }

    /// Steps over one whole value.
    pub(crate) fn skip(&mut self) -> Result<(), Error> {
        let mut depth = 0usize;
        loop {
            match self.token()? {
                Token::List | Token::Dict => depth += 1,
                Token::End => depth = depth.saturating_sub(1),
                Token::Int(_) | Token::Bytes(_) => {}
            }
            if depth == 0 {
                return Ok(());
            }
        }
    }

    fn fail(&self, kind: ErrorKind) -> Error {
        Error { offset: self.pos, kind }
    }

    fn peek(&self) -> Result<u8, Error> {
        self.bytes.get(self.pos).copied().ok_or(self.fail(ErrorKind::UnexpectedEnd))
    }

    fn expect(&mut self, byte: u8) -> Result<(), Error> {
        match self.peek()? {
            b if b == byte => {
                self.pos += 1;
                Ok(())
            }
            b => Err(self.fail(ErrorKind::UnexpectedByte(b))),
        }
    }

    fn string(&mut self) -> Result<Token<'a>, Error> {
        let start = self.pos;
        let too_long = Error { offset: start, kind: ErrorKind::StringTooLong };
        let len = match self.magnitude() {
            Err(Error { kind: ErrorKind::IntegerRange, .. }) => return Err(too_long),
            other => other?,
        };
        self.expect(b':')?;
        let rest = &self.bytes[self.pos..];
        let text = usize::try_from(len).ok().and_then(|len| rest.get(..len)).ok_or(too_long)?;
        self.pos += text.len();
        Ok(Token::Bytes(text))
    }

    fn int(&mut self) -> Result<Token<'a>, Error> {
        self.expect(b'i')?;
        let start = self.pos;
        let negative = self.peek()? == b'-';
        self.pos += usize::from(negative);
        let magnitude = self.magnitude()?;
        let error = |kind| Error { offset: start, kind };
        if negative && magnitude == 0 {
            return Err(error(ErrorKind::NegativeZero));
        }
        self.expect(b'e')?;
        let value =
            if negative { 0i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() };
        value.map(Token::Int).ok_or(error(ErrorKind::IntegerRange))
    }

    /// Decimal digits, at least one, without a leading zero.
    fn magnitude(&mut self) -> Result<u64, Error> {
        let start = self.pos;
        let mut value = 0u64;
        while let Some(digit) = self.bytes.get(self.pos).filter(|b| b.is_ascii_digit()) {
            let error = Error { offset: start, kind: ErrorKind::IntegerRange };
            value =
                value.checked_mul(10).and_then(|v| v.checked_add(u64::from(digit - b'0'))).ok_or(error)?;
            self.pos += 1;
        }
        match self.pos - start {
            0 => Err(self.peek().map_or_else(|e| e, |b| self.fail(ErrorKind::UnexpectedByte(b)))),
            1 => Ok(value),
            _ if self.bytes[start] == b'0' => Err(Error { offset: start, kind: ErrorKind::LeadingZero }),
            _ => Ok(value),
        }
    }
}
