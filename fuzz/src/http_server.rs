//! Requests fed in any split are answered as if fed whole; what is kept and what waits to be sent is bounded.

use samara_proto::http::server::{
    Connection, Handler, Limits, Reply, Request, Server, Status, client_address,
};
use samara_proto::time::Time;

use super::input::Input;

/// Answers with what it understood: at `/l` later, and at `/u` with another protocol.
struct Echo;

impl Handler for Echo {
    fn handle(&mut self, _: Time, request: &Request<'_>, reply: &mut Reply) {
        match request.path {
            "/l" => return reply.later(1),
            "/u" => return reply.upgrade("Upgrade: x\r\n"),
            _ => {}
        }
        let sender = [127, 0, 0, 1].into();
        let client = client_address(sender, request, |ip| ip.is_loopback());
        let text = format!("{:?} {} {} {client:?}", request.method, request.path, request.query);
        reply.body.extend_from_slice(text.as_bytes());
        reply.body.extend_from_slice(request.body);
    }
}

/// Longest single answer, given the limits below: head and body of the request again, and the answer's own head.
const MAX_ANSWER: usize = 300 + 60 + 300;

fn limits() -> Limits {
    Limits { head: 300, body: 60, backlog: 500, ..Limits::default() }
}

/// Runs one input: where to split, and the stream.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let seed = input.long();
    let stream = input.0;
    let mut rng = samara_proto::rng::Rng::new(seed);
    let whole = Talk::new().all([stream].into_iter());
    let mut rest = stream;
    let parts = std::iter::from_fn(|| {
        let (part, later) = rest.split_at((1 + rng.index(40)).min(rest.len()));
        rest = later;
        (!part.is_empty()).then_some(part)
    });
    assert_eq!(Talk::new().all(parts), whole);
}

struct Talk {
    server: Server<Echo>,
    connection: Connection,
}

impl Talk {
    fn new() -> Self {
        let server = Server::new(limits(), Echo);
        Self { connection: Connection::new(Time::ZERO, &server.limits), server }
    }

    /// The answers, whether the connection ends, and what is left for another protocol.
    fn all<'a>(mut self, parts: impl Iterator<Item = &'a [u8]>) -> (String, bool, Option<Vec<u8>>) {
        let (mut all, mut out) = (Vec::new(), Vec::new());
        for part in parts {
            self.connection.receive(Time::ZERO, part, &mut self.server, &mut out);
            loop {
                self.connection.answer(Time::ZERO, 1, &mut self.server, &mut out, |_, reply| {
                    reply.text(Status::Ok, "late");
                });
                assert!(out.len() < limits().backlog + 2 * MAX_ANSWER, "{} bytes wait", out.len());
                if out.is_empty() {
                    break;
                }
                all.append(&mut out);
                self.connection.flushed(Time::ZERO, &mut self.server, &mut out);
            }
        }
        // Whether a client has to be told to send its body depends on what had come of it.
        let text = String::from_utf8_lossy(&all).replace("HTTP/1.1 100 Continue\r\n\r\n", "");
        let left = self.connection.is_leaving();
        (text, self.connection.is_closing(), left.then(|| self.connection.into_rest()))
    }
}
