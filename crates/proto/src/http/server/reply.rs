//! An answer: status, type and body (RFC 9112 §4, RFC 9110 §15).

use std::borrow::Cow;
use std::io::Write;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// 200
    Ok,
    /// 400
    BadRequest,
    /// 403
    Forbidden,
    /// 404
    NotFound,
    /// 405
    MethodNotAllowed,
    /// 411
    LengthRequired,
    /// 413
    BodyTooLarge,
    /// 429
    TooManyRequests,
    /// 431
    HeadTooLarge,
    /// 503
    Unavailable,
}

impl Status {
    /// Whether it says that something is wrong.
    pub const fn is_error(self) -> bool {
        !matches!(self, Self::Ok)
    }

    /// The status line behind the version.
    pub const fn line(self) -> &'static str {
        match self {
            Self::Ok => "200 OK",
            Self::BadRequest => "400 Bad Request",
            Self::Forbidden => "403 Forbidden",
            Self::NotFound => "404 Not Found",
            Self::MethodNotAllowed => "405 Method Not Allowed",
            Self::LengthRequired => "411 Length Required",
            Self::BodyTooLarge => "413 Content Too Large",
            Self::TooManyRequests => "429 Too Many Requests",
            Self::HeadTooLarge => "431 Request Header Fields Too Large",
            Self::Unavailable => "503 Service Unavailable",
        }
    }
}

/// When the answer goes out, and what the connection is afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// At once.
    Now,
    /// Once somebody gives it, by this number.
    Later(u64),
    /// At once, and then the connection speaks another protocol.
    Upgrade,
}

/// What a handler answers; its room is used again for each request.
#[derive(Debug)]
pub struct Reply {
    /// 200 unless said otherwise.
    pub status: Status,
    /// The media type of the body.
    pub content_type: &'static str,
    /// The body.
    pub body: Vec<u8>,
    /// More header lines, each with CR LF at its end; empty for most answers.
    pub headers: Cow<'static, str>,
    pub(crate) outcome: Outcome,
}

/// Room that is kept for the next answer; a larger body's is given back.
const KEPT_ROOM: usize = 64 * 1024;

impl Default for Reply {
    fn default() -> Self {
        let headers = Cow::Borrowed("");
        Self {
            status: Status::Ok,
            content_type: "text/plain",
            body: Vec::new(),
            headers,
            outcome: Outcome::Now,
        }
    }
}

impl Reply {
    /// Forgets the last answer.
    pub fn reset(&mut self) {
        self.status = Status::Ok;
        self.content_type = "text/plain";
        self.headers = Cow::Borrowed("");
        self.outcome = Outcome::Now;
        self.body.clear();
        self.body.shrink_to(KEPT_ROOM);
    }

    /// Answers with a status and a line of text.
    pub fn text(&mut self, status: Status, text: &str) {
        self.reset();
        self.status = status;
        self.body.extend_from_slice(text.as_bytes());
        self.body.push(b'\n');
    }

    /// Promises the answer for later: [`Connection::answer`](super::Connection::answer) gives it under `ticket`, a number
    /// that no other request of this connection has. Until then no further request is looked at.
    pub const fn later(&mut self, ticket: u64) {
        self.outcome = Outcome::Later(ticket);
    }

    /// Answers 101: from here on the connection speaks the protocol that `headers` names, lines with CR LF at the end
    /// among which are `Upgrade` and `Connection` (RFC 9110 §7.8).
    pub fn upgrade(&mut self, headers: impl Into<Cow<'static, str>>) {
        self.reset();
        self.headers = headers.into();
        self.outcome = Outcome::Upgrade;
    }

    /// Appends the answer as it goes over the wire.
    pub(crate) fn write(&self, how: Framing, out: &mut Vec<u8>) {
        if self.outcome == Outcome::Upgrade {
            out.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\n");
            out.extend_from_slice(self.headers.as_bytes());
            out.extend_from_slice(b"\r\n");
            return;
        }
        out.extend_from_slice(b"HTTP/1.1 ");
        out.extend_from_slice(self.status.line().as_bytes());
        out.extend_from_slice(b"\r\nContent-Type: ");
        out.extend_from_slice(self.content_type.as_bytes());
        out.extend_from_slice(b"\r\nContent-Length: ");
        push_number(self.body.len(), out);
        out.extend_from_slice(b"\r\n");
        if !how.keep_alive {
            out.extend_from_slice(b"Connection: close\r\n");
        } else if how.old {
            out.extend_from_slice(b"Connection: keep-alive\r\n");
        }
        out.extend_from_slice(self.headers.as_bytes());
        out.extend_from_slice(b"\r\n");
        if !how.no_body {
            out.extend_from_slice(&self.body);
        }
    }
}

/// How an answer is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Framing {
    /// The connection stays.
    pub(crate) keep_alive: bool,
    /// The client is of HTTP/1.0.
    pub(crate) old: bool,
    /// Only the head is wanted.
    pub(crate) no_body: bool,
}

/// Decimal digits; a `Vec` takes every write.
fn push_number(n: usize, out: &mut Vec<u8>) {
    let _ = write!(out, "{n}");
}
