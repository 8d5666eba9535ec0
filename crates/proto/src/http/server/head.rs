//! The head of a request: what was asked, how long the body is, whether the connection stays (RFC 9112 §2, §3, §6, §9).

use std::mem::MaybeUninit;

use httparse::Header;

use super::reply::Status;

/// Most header lines; browsers send about fifteen, and each proxy adds a few.
pub(crate) const MAX_HEADERS: usize = 64;

/// Room for the header lines of one request.
pub(crate) type Lines<'b> = [MaybeUninit<Header<'b>>; MAX_HEADERS];

/// What is asked to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Fetch.
    Get,
    /// Fetch, but send the head of the answer only.
    Head,
    /// Take the body.
    Post,
    /// Anything else.
    Other,
}

/// A whole request.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// What to do.
    pub method: Method,
    /// In front of `?`, as it was sent: neither decoded nor normalised.
    pub path: &'a str,
    /// Behind `?`, without it; empty if there is none.
    pub query: &'a str,
    /// The body; empty if there is none.
    pub body: &'a [u8],
    headers: &'a [Header<'a>],
}

impl<'a> Request<'a> {
    /// The values of a header in the order in which they stand; `name` is compared without regard to case.
    pub fn header(&self, name: &str) -> impl DoubleEndedIterator<Item = &'a [u8]> {
        self.headers.iter().filter(move |h| h.name.eq_ignore_ascii_case(name)).map(|h| h.value)
    }
}

/// A head that was read, in front of its body.
#[derive(Debug)]
pub(crate) struct Head<'h, 'b> {
    method: Method,
    target: &'b str,
    headers: &'h [Header<'b>],
    /// Bytes of the head itself.
    pub(crate) len: usize,
    /// Bytes of the body that follows.
    pub(crate) body_len: usize,
    /// Whether the client wants to ask again on this connection.
    pub(crate) keep_alive: bool,
    /// Whether it is of HTTP/1.0, and has to be told that the connection stays.
    pub(crate) old: bool,
    /// Whether the client waits to be told that it may send the body.
    pub(crate) expects: bool,
}

impl<'h, 'b> Head<'h, 'b> {
    /// Reads the head at the front of `bytes`; `None` if its end is not there yet.
    pub(crate) fn parse(bytes: &'b [u8], lines: &'h mut Lines<'b>) -> Result<Option<Self>, Status> {
        let mut raw = httparse::Request::new(&mut []);
        let len = match raw.parse_with_uninit_headers(bytes, lines) {
            Ok(httparse::Status::Complete(len)) => len,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(httparse::Error::TooManyHeaders) => return Err(Status::HeadTooLarge),
            Err(_) => return Err(Status::BadRequest),
        };
        let (Some(method), Some(target), Some(version)) = (raw.method, raw.path, raw.version) else {
            return Err(Status::BadRequest);
        };
        let old = version == 0;
        let mut head = Self {
            method: method_of(method),
            target,
            headers: raw.headers,
            len,
            body_len: 0,
            keep_alive: !old,
            old,
            expects: false,
        };
        head.read_lines()?;
        Ok(Some(head))
    }

    /// Looks for the few lines that steer the connection.
    fn read_lines(&mut self) -> Result<(), Status> {
        let mut length = None;
        for line in self.headers {
            // Most lines are told apart by their length alone.
            match line.name.len() {
                10 if line.name.eq_ignore_ascii_case("connection") => self.connection(line.value),
                14 if line.name.eq_ignore_ascii_case("content-length") => {
                    let this = content_length(line.value).ok_or(Status::BadRequest)?;
                    if length.replace(this).is_some_and(|before| before != this) {
                        return Err(Status::BadRequest);
                    }
                }
                17 if line.name.eq_ignore_ascii_case("transfer-encoding") => {
                    return Err(Status::LengthRequired);
                }
                6 if line.name.eq_ignore_ascii_case("expect") => {
                    self.expects = line.value.eq_ignore_ascii_case(b"100-continue");
                }
                _ => {}
            }
        }
        self.body_len = length.unwrap_or(0);
        Ok(())
    }

    fn connection(&mut self, value: &[u8]) {
        for option in value.split(|b| *b == b',').map(<[u8]>::trim_ascii) {
            if option.eq_ignore_ascii_case(b"close") {
                self.keep_alive = false;
            } else if option.eq_ignore_ascii_case(b"keep-alive") && self.old {
                self.keep_alive = true;
            }
        }
    }

    /// Whether only the head of the answer is wanted.
    pub(crate) fn wants_no_body(&self) -> bool {
        self.method == Method::Head
    }

    /// The request, with its body.
    pub(crate) fn request<'a>(&'a self, body: &'a [u8]) -> Request<'a>
    where
        'b: 'a,
    {
        let target = origin_form(self.target);
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        Request { method: self.method, path, query, body, headers: self.headers }
    }
}

/// A target without scheme and authority, which a client may put in front as if it asked a proxy (RFC 9112 §3.2.2).
fn origin_form(target: &str) -> &str {
    if target.starts_with('/') {
        return target;
    }
    let rest = target.split_once("://").map_or("", |(_, rest)| rest);
    match rest.find(['/', '?']) {
        Some(at) if rest[at..].starts_with('/') => &rest[at..],
        _ => target,
    }
}

fn method_of(name: &str) -> Method {
    match name {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        _ => Method::Other,
    }
}

/// Digits only: no sign, no blank, no list.
fn content_length(value: &[u8]) -> Option<usize> {
    let digits = value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value).ok().filter(|_| digits)?.parse().ok()
}
