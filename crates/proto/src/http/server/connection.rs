//! One connection: requests out of bytes in any split, answers in order, and how long all that may take.

use std::time::Duration;

use super::head::{Head, Lines, MAX_HEADERS, Request};
use super::reply::{Framing, Outcome, Reply, Status};
use crate::time::Time;

/// Bounds of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most bytes of a request's head.
    pub head: usize,
    /// Most bytes of a request's body.
    pub body: usize,
    /// Most bytes of answers that wait to be sent; beyond it no further request is looked at.
    pub backlog: usize,
    /// From the first byte of a request to its last, and from an answer to its last byte sent.
    pub request_timeout: Duration,
    /// From a request whose answer was promised to that answer.
    pub answer_timeout: Duration,
    /// Between requests.
    pub idle_timeout: Duration,
}

impl Default for Limits {
    /// 8 KiB as most servers allow; bodies of the JSON announce take some hundred bytes; timeouts as nginx is often
    /// set for trackers, whose clients ask once in half an hour.
    fn default() -> Self {
        Self {
            head: 8 * 1024,
            body: 4 * 1024,
            backlog: 256 * 1024,
            request_timeout: Duration::from_secs(10),
            answer_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(20),
        }
    }
}

/// Who knows the answers.
pub trait Handler {
    /// Answers one request. `reply` comes empty, with status 200.
    fn handle(&mut self, now: Time, request: &Request<'_>, reply: &mut Reply);
}

/// What all connections of one thread share: bounds, the handler, and room for an answer.
#[derive(Debug)]
pub struct Server<H> {
    /// Bounds of each connection.
    pub limits: Limits,
    /// Who knows the answers.
    pub handler: H,
    reply: Reply,
}

impl<H: Handler> Server<H> {
    /// A server that answers by `handler`.
    pub fn new(limits: Limits, handler: H) -> Self {
        Self { limits, handler, reply: Reply::default() }
    }
}

/// What the connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The first byte of a request.
    Idle,
    /// The rest of a request.
    Reading,
    /// Answers to be sent.
    Writing,
    /// An answer that was promised under this number. Earlier answers may still be on their way.
    Awaiting(u64, Framing),
    /// Answers to be sent; then it ends.
    Closing,
    /// The answer to be sent by which it leaves HTTP.
    Leaving,
}

/// The machine of one connection.
///
/// [`receive`](Self::receive) and [`flushed`](Self::flushed) append answers to `out`, which comes empty. The caller sends
/// them, reads nothing while it does, and calls `flushed` once they are out; then it does so again, until `out` stays
/// empty. It reads nothing either while an answer is [awaited](Self::awaited), nor once the connection
/// [leaves](Self::is_leaving).
#[derive(Debug)]
pub struct Connection {
    /// What was received and not yet used: part of a request, or requests behind a backlog.
    input: Vec<u8>,
    /// So much of `input` was searched for the end of a head, in vain.
    scanned: usize,
    /// The length of the request at the front of `input`, once its head is known; else 0.
    wanted: usize,
    /// The client was told to send its body.
    told: bool,
    refused: bool,
    phase: Phase,
    deadline: Time,
}

/// What stands at the front of the input.
enum Front {
    /// A request of this length, answered.
    Answered(usize),
    /// Part of a request.
    Part,
    /// Something that is refused.
    Refused(Status),
}

impl Connection {
    /// A connection that was accepted `now`.
    pub fn new(now: Time, limits: &Limits) -> Self {
        Self {
            input: Vec::new(),
            scanned: 0,
            wanted: 0,
            told: false,
            refused: false,
            phase: Phase::Idle,
            // The first request has to come as soon as its rest would: a client connects in order to ask.
            deadline: now + limits.request_timeout,
        }
    }

    /// When the connection has to be ended, unless something happens before.
    pub const fn deadline(&self) -> Time {
        self.deadline
    }

    /// Whether it ends as soon as all answers are sent.
    pub const fn is_closing(&self) -> bool {
        matches!(self.phase, Phase::Closing)
    }

    /// The number under which an answer was promised, while it is.
    pub const fn awaited(&self) -> Option<u64> {
        match self.phase {
            Phase::Awaiting(ticket, _) => Some(ticket),
            _ => None,
        }
    }

    /// Whether it speaks another protocol as soon as all answers are sent; see [`into_rest`](Self::into_rest).
    pub const fn is_leaving(&self) -> bool {
        matches!(self.phase, Phase::Leaving)
    }

    /// What came behind the request that led to another protocol, and belongs to that.
    pub fn into_rest(self) -> Vec<u8> {
        self.input
    }

    /// Whether it closes over bytes that it did not look at. Closing a socket over unread bytes takes back the answer, so
    /// the caller should let the client read it first (RFC 9112 §9.6).
    pub const fn was_refused(&self) -> bool {
        self.refused
    }

    /// Whether it waits for a request of which nothing has come yet: ending it now loses nothing.
    pub const fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Idle)
    }

    /// Takes bytes as they came.
    pub fn receive(&mut self, now: Time, bytes: &[u8], server: &mut Server<impl Handler>, out: &mut Vec<u8>) {
        if bytes.is_empty() || self.is_closing() {
            return;
        }
        if self.input.is_empty() && !self.is_held() {
            let used = self.serve(now, bytes, server, out);
            self.input.extend_from_slice(&bytes[used..]);
        } else {
            self.input.extend_from_slice(bytes);
            self.resume(now, server, out);
        }
    }

    /// Gives the answer that was promised under `ticket`, and goes on with what came meanwhile once it is sent. Returns
    /// whether it was still awaited; if not, nothing happens.
    pub fn answer<H: Handler>(
        &mut self,
        now: Time,
        ticket: u64,
        server: &mut Server<H>,
        out: &mut Vec<u8>,
        fill: impl FnOnce(&mut H, &mut Reply),
    ) -> bool {
        let Phase::Awaiting(awaited, how) = self.phase else { return false };
        if awaited != ticket {
            return false;
        }
        server.reply.reset();
        fill(&mut server.handler, &mut server.reply);
        self.conclude(how, &server.reply, out);
        self.deadline = now + server.limits.request_timeout;
        true
    }

    fn conclude(&mut self, how: Framing, reply: &Reply, out: &mut Vec<u8>) {
        reply.write(how, out);
        self.phase = match reply.outcome {
            Outcome::Upgrade => Phase::Leaving,
            _ if how.keep_alive => Phase::Writing,
            _ => Phase::Closing,
        };
    }

    /// Whether nothing is looked at for now, or ever again.
    const fn is_held(&self) -> bool {
        matches!(self.phase, Phase::Awaiting(..) | Phase::Leaving | Phase::Closing)
    }

    /// All answers are sent: looks at what was received meanwhile.
    pub fn flushed(&mut self, now: Time, server: &mut Server<impl Handler>, out: &mut Vec<u8>) {
        if self.phase != Phase::Writing {
            return;
        }
        self.phase = Phase::Idle;
        if self.input.is_empty() {
            self.input = Vec::new();
            self.deadline = now + server.limits.idle_timeout;
        } else {
            self.resume(now, server, out);
        }
    }

    /// Serves what stands in `input`.
    fn resume(&mut self, now: Time, server: &mut Server<impl Handler>, out: &mut Vec<u8>) {
        if self.is_held() {
            return;
        }
        let mut input = std::mem::take(&mut self.input);
        let used = if self.is_worth_parsing(&input, &server.limits) {
            self.serve(now, &input, server, out)
        } else {
            self.wait(now, true, false, &server.limits);
            0
        };
        self.scanned = input.len() - used;
        input.drain(..used);
        self.input = input;
    }

    /// Whether a request may have become whole: parsing anew at every byte would be quadratic.
    fn is_worth_parsing(&self, input: &[u8], limits: &Limits) -> bool {
        if self.wanted > 0 {
            return input.len() >= self.wanted;
        }
        let fresh = &input[self.scanned.saturating_sub(3).min(input.len())..];
        input.len() > limits.head || self.phase != Phase::Reading || has_empty_line(fresh)
    }

    /// Answers the requests at the front of `bytes`, and says how many bytes they took.
    fn serve(
        &mut self,
        now: Time,
        bytes: &[u8],
        server: &mut Server<impl Handler>,
        out: &mut Vec<u8>,
    ) -> usize {
        let mut used = 0;
        while used < bytes.len() && out.len() < server.limits.backlog && !self.is_held() {
            match self.front(now, &bytes[used..], server, out) {
                Front::Answered(len) => used += len,
                Front::Part => break,
                Front::Refused(status) => self.refuse(status, server, out),
            }
        }
        if self.is_closing() {
            used = bytes.len();
        }
        self.wait(now, used < bytes.len(), !out.is_empty(), &server.limits);
        used
    }

    fn front(
        &mut self,
        now: Time,
        bytes: &[u8],
        server: &mut Server<impl Handler>,
        out: &mut Vec<u8>,
    ) -> Front {
        let limits = server.limits;
        let mut lines: Lines<'_> = [const { std::mem::MaybeUninit::uninit() }; MAX_HEADERS];
        let front = &bytes[..bytes.len().min(limits.head)];
        let head = match Head::parse(front, &mut lines) {
            Ok(Some(head)) => head,
            // Faults are judged once the end is there, so that the split makes no difference.
            Err(status) if has_end(front) => return Front::Refused(status),
            _ if bytes.len() > limits.head => return Front::Refused(Status::HeadTooLarge),
            _ => return Front::Part,
        };
        if head.body_len > limits.body {
            return Front::Refused(Status::BodyTooLarge);
        }
        let len = head.len + head.body_len;
        let Some(body) = bytes.get(head.len..len) else {
            self.wanted = len;
            if head.expects && !std::mem::replace(&mut self.told, true) {
                out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
            }
            return Front::Part;
        };
        server.reply.reset();
        server.handler.handle(now, &head.request(body), &mut server.reply);
        let how = Framing { keep_alive: head.keep_alive, old: head.old, no_body: head.wants_no_body() };
        (self.wanted, self.told) = (0, false);
        if let Outcome::Later(ticket) = server.reply.outcome {
            self.phase = Phase::Awaiting(ticket, how);
            self.deadline = now + limits.answer_timeout;
            return Front::Answered(len);
        }
        self.conclude(how, &server.reply, out);
        Front::Answered(len)
    }

    fn refuse(&mut self, status: Status, server: &mut Server<impl Handler>, out: &mut Vec<u8>) {
        server.reply.text(status, status.line());
        server.reply.write(Framing { keep_alive: false, old: false, no_body: false }, out);
        self.refused = true;
        self.phase = Phase::Closing;
    }

    /// Chooses what to wait for, and how long.
    fn wait(&mut self, now: Time, part: bool, answers: bool, limits: &Limits) {
        let before = self.phase;
        if matches!(before, Phase::Awaiting(..)) {
            return;
        }
        if answers {
            self.deadline = now + limits.request_timeout;
            if !self.is_held() {
                self.phase = Phase::Writing;
            }
        } else if part {
            self.phase = Phase::Reading;
            // A request that is on its way gets no more time by getting longer.
            if before != Phase::Reading {
                self.deadline = now + limits.request_timeout;
            }
        }
    }
}

/// Whether the end of a head is there. Empty lines in front of it do not count (RFC 9112 §2.2).
fn has_end(bytes: &[u8]) -> bool {
    let start = bytes.iter().position(|b| !matches!(b, b'\r' | b'\n')).unwrap_or(bytes.len());
    has_empty_line(&bytes[start..])
}

fn has_empty_line(bytes: &[u8]) -> bool {
    bytes.windows(2).any(|w| w == b"\n\n") || bytes.windows(3).any(|w| w == b"\n\r\n")
}

#[cfg(test)]
mod tests;
