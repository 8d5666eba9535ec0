//! What is answered to which request.

use std::net::{IpAddr, Ipv4Addr};

use samara_proto::http::server::{Handler, Method, Reply, Request, Status};
use samara_proto::time::Time;

use super::front::{Desk, Front, Gone};

/// Answers the requests of one thread's connections.
#[derive(Debug)]
pub(crate) struct Service {
    /// The other end of the connection whose request is handled.
    sender: IpAddr,
    desk: Desk,
}

impl Service {
    pub(crate) const fn new(desk: Desk) -> Self {
        Self { sender: IpAddr::V4(Ipv4Addr::UNSPECIFIED), desk }
    }
}

impl Front for Service {
    fn asked_by(&mut self, sender: IpAddr, key: usize) {
        self.sender = sender;
        self.desk.turn_to(key);
    }

    fn take_over(&mut self, gone: Gone) {
        tracing::debug!(sender = %gone.sender, "nobody takes over a connection");
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
