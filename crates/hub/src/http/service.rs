//! What is answered to which request.

use std::net::{IpAddr, Ipv4Addr};

use samara_proto::http::server::{Handler, Method, Reply, Request, Status};
use samara_proto::time::Time;

/// Answers the requests of one thread's connections.
#[derive(Debug)]
pub(crate) struct Service {
    /// The other end of the connection whose request is handled.
    pub(crate) sender: IpAddr,
}

impl Service {
    pub(crate) const fn new() -> Self {
        Self { sender: IpAddr::V4(Ipv4Addr::UNSPECIFIED) }
    }
}

impl Handler for Service {
    fn handle(&mut self, _now: Time, request: &Request<'_>, reply: &mut Reply) {
        match (request.method, request.path) {
            (Method::Get | Method::Head, "/health") => reply.text(Status::Ok, "ok"),
            (Method::Other, _) => reply.text(Status::MethodNotAllowed, "this is a tracker: GET or POST"),
            _ => reply.text(Status::NotFound, "this is a tracker: try /announce, /scrape or /health"),
        }
    }
}
