//! An answer, from bytes as they come.

use httparse::{EMPTY_HEADER, Header, Status};

use super::body::{Body, Framing};
use super::chunks::Chunks;

/// What every answer begins with.
const BEGINNING: &[u8] = b"HTTP/1.";
/// Largest head of an answer.
const MAX_HEAD: usize = 16 * 1024;
/// Most header fields.
const MAX_FIELDS: usize = 100;
/// Most interim answers (1xx) before the real one.
const MAX_INTERIM: usize = 8;

/// Why an answer cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// Its head is not HTTP/1.
    #[error("the answer is not HTTP")]
    NotHttp,
    /// Its head is larger than any.
    #[error("the head of the answer is too large")]
    LargeHead,
    /// Its body is larger than asked for, packed or unpacked.
    #[error("the answer is too large")]
    TooLarge,
    /// The length of its body is told in two ways, or in one that is unknown.
    #[error("the length of the answer is not clear")]
    Framing,
    /// Packed in a way that was not asked for.
    #[error("the answer is packed in a way that is unknown")]
    Coding,
    /// Malformed chunks.
    #[error("the chunks of the answer are malformed")]
    Chunk,
    /// It does not unpack.
    #[error("the answer does not unpack")]
    Gzip,
    /// The connection ended in the middle.
    #[error("the answer broke off")]
    Broken,
}

/// A whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// 200 to 599.
    pub status: u16,
    /// Where to look instead, of a redirect.
    pub location: Option<String>,
    /// The body, unpacked.
    pub body: Vec<u8>,
}

impl Response {
    /// Whether what was asked for is elsewhere (RFC 9110, section 15.4).
    pub const fn is_redirect(&self) -> bool {
        matches!(self.status, 301 | 302 | 303 | 307 | 308) && self.location.is_some()
    }
}

#[derive(Debug)]
enum State {
    Head(Vec<u8>),
    Body { status: u16, location: Option<String>, body: Body },
}

/// Reads one answer to a [`get`](super::get).
#[derive(Debug)]
pub struct Reader {
    state: State,
    max: usize,
    interim: usize,
}

/// What a head says.
struct Head {
    len: usize,
    status: u16,
    location: Option<String>,
    framing: Framing,
    packed: bool,
}

impl Reader {
    /// For a body of at most `max` bytes, packed and unpacked.
    pub const fn new(max: usize) -> Self {
        Self { state: State::Head(Vec::new()), max, interim: 0 }
    }

    /// Takes what came. True once the answer is whole, however the connection goes on.
    ///
    /// # Errors
    /// If it cannot be used. Nothing must be pushed after that.
    pub fn push(&mut self, bytes: &[u8]) -> Result<bool, AnswerError> {
        let State::Head(held) = &mut self.state else { return self.body(bytes) };
        held.extend_from_slice(bytes);
        let begun = held.iter().zip(BEGINNING).all(|(byte, expected)| byte == expected);
        if !begun || held.len() > MAX_HEAD && !held[..MAX_HEAD].contains(&b'\n') {
            return Err(AnswerError::NotHttp);
        }
        // With each line it is looked through anew: there are few lines, but could be many bytes.
        if !bytes.contains(&b'\n') {
            return Ok(false);
        }
        let held = std::mem::take(held);
        self.head(held)
    }

    /// The connection ended, or the answer is whole.
    ///
    /// # Errors
    /// If it is not, or does not unpack.
    pub fn finish(self) -> Result<Response, AnswerError> {
        match self.state {
            State::Head(_) => Err(AnswerError::Broken),
            State::Body { status, location, body } => Ok(Response { status, location, body: body.finish()? }),
        }
    }

    fn body(&mut self, bytes: &[u8]) -> Result<bool, AnswerError> {
        let State::Body { body, .. } = &mut self.state else { return Ok(false) };
        body.push(bytes)?;
        Ok(body.is_whole())
    }

    fn head(&mut self, mut held: Vec<u8>) -> Result<bool, AnswerError> {
        while let Some(head) = parse(&held)? {
            held.drain(..head.len);
            if head.status >= 200 {
                let body = Body::new(head.framing, head.packed, self.max)?;
                self.state = State::Body { status: head.status, location: head.location, body };
                return self.body(&held);
            }
            self.interim += 1;
            if self.interim > MAX_INTERIM {
                return Err(AnswerError::NotHttp);
            }
        }
        if held.len() > MAX_HEAD {
            return Err(AnswerError::LargeHead);
        }
        self.state = State::Head(held);
        Ok(false)
    }
}

/// The head, if all of it is there.
fn parse(held: &[u8]) -> Result<Option<Head>, AnswerError> {
    let mut fields = [EMPTY_HEADER; MAX_FIELDS];
    let mut head = httparse::Response::new(&mut fields);
    let len = match head.parse(held).map_err(|_| AnswerError::NotHttp)? {
        Status::Partial => return Ok(None),
        Status::Complete(len) if len > MAX_HEAD => return Err(AnswerError::LargeHead),
        Status::Complete(len) => len,
    };
    let status = head.code.filter(|code| (100..600).contains(code)).ok_or(AnswerError::NotHttp)?;
    let location = text(head.headers, "location").next().map(ToOwned::to_owned);
    let framing = framing(status, head.headers)?;
    Ok(Some(Head { len, status, location, framing, packed: is_packed(head.headers)? }))
}

/// The values of a field that are text.
fn text<'a>(fields: &'a [Header<'a>], name: &'a str) -> impl Iterator<Item = &'a str> {
    let named = fields.iter().filter(move |field| field.name.eq_ignore_ascii_case(name));
    named.filter_map(|field| std::str::from_utf8(field.value).ok()).map(str::trim)
}

/// How the end of the body is told (RFC 9112, section 6.3).
fn framing(status: u16, fields: &[Header<'_>]) -> Result<Framing, AnswerError> {
    if status < 200 || matches!(status, 204 | 304) {
        return Ok(Framing::Length(0));
    }
    let mut codings = text(fields, "transfer-encoding");
    if let Some(coding) = codings.next() {
        let chunked = coding.eq_ignore_ascii_case("chunked") && codings.next().is_none();
        return if chunked { Ok(Framing::Chunked(Chunks::new())) } else { Err(AnswerError::Framing) };
    }
    let mut lengths = text(fields, "content-length").flat_map(|value| value.split(',')).map(length);
    let Some(first) = lengths.next() else { return Ok(Framing::Close) };
    let first = first.ok_or(AnswerError::Framing)?;
    if lengths.all(|other| other == Some(first)) {
        Ok(Framing::Length(first))
    } else {
        Err(AnswerError::Framing)
    }
}

fn length(text: &str) -> Option<u64> {
    let digits = Some(text.trim()).filter(|t| t.bytes().all(|b| b.is_ascii_digit()))?;
    digits.parse().ok()
}

fn is_packed(fields: &[Header<'_>]) -> Result<bool, AnswerError> {
    let mut codings = text(fields, "content-encoding").filter(|c| !c.eq_ignore_ascii_case("identity"));
    match (codings.next(), codings.next()) {
        (None, _) => Ok(false),
        (Some(coding), None)
            if coding.eq_ignore_ascii_case("gzip") || coding.eq_ignore_ascii_case("x-gzip") =>
        {
            Ok(true)
        }
        _ => Err(AnswerError::Coding),
    }
}
