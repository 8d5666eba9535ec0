//! What is answered to which request.
//!
//! | path | methods | answer |
//! | --- | --- | --- |
//! | `/announce`, `/KEY/announce` | GET | bencoding (BEP 3) |
//! | | POST | JSON, for people who script it (`json.rs`) |
//! | `/scrape`, `/KEY/scrape` | GET | bencoding (BEP 48) |
//! | `/` | GET | a page for people |
//! | `/stats` | GET | the same as JSON |
//! | `/metrics` | GET | the same and more for Prometheus |
//! | `/health` | GET | `ok`; `degraded` with status 503 while the store is out of reach |
//! | `/`, `/announce`, `/KEY/announce` | GET, to become a WebSocket | 101, for WebTorrent (`crate::ws`) |
//!
//! HEAD goes where GET does. A tracker's refusals are bencoded with status 200, because clients show what stands in them
//! and hide the body of any other status.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use samara_proto::http::server::{
    Handler, Method, Reply, Request, Status, client_address, open_websocket, wants_websocket,
};
use samara_proto::time::Time;

use super::announce::{Announcer, Visit};
use super::front::{Desk, Front, Gone};
use super::status;
use crate::access::key_and_action;
use crate::config::Part;
use crate::metrics::{Count, Tally, Transport};
use crate::site::Site;
use crate::ws::Arrival;

/// Answers the requests of one thread's connections.
#[derive(Debug)]
pub(crate) struct Service {
    /// The other end of the connection whose request is handled.
    sender: IpAddr,
    desk: Desk,
    site: Arc<Site>,
    announcer: Announcer,
    tally: Arc<Tally>,
}

/// A path that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route<'a> {
    /// With the user's key, if there is one.
    Announce(Option<&'a str>),
    Scrape(Option<&'a str>),
    Health,
    Page,
    Stats,
    Metrics,
}

impl<'a> Route<'a> {
    fn of(path: &'a str) -> Option<Self> {
        Some(match path {
            "/health" => Self::Health,
            "/" => Self::Page,
            "/stats" => Self::Stats,
            "/metrics" => Self::Metrics,
            _ => match key_and_action(path) {
                (key, "announce") => Self::Announce(key),
                (key, "scrape") => Self::Scrape(key),
                _ => return None,
            },
        })
    }

    const fn is_of_tracker(self) -> bool {
        matches!(self, Self::Announce(_) | Self::Scrape(_))
    }

    /// Header lines for who comes with another method.
    const fn allow(self) -> &'static str {
        match self {
            Self::Announce(_) => "Allow: GET, HEAD, POST\r\n",
            _ => "Allow: GET, HEAD\r\n",
        }
    }
}

impl Service {
    pub(crate) fn new(site: &Arc<Site>, desk: Desk) -> Self {
        let tally = site.books.open(Transport::Http);
        Self {
            sender: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            desk,
            announcer: Announcer::new(site, Arc::clone(&tally)),
            site: Arc::clone(site),
            tally,
        }
    }

    /// Who asks, where proxies of ours stand in between.
    fn client(&self, request: &Request<'_>) -> Option<IpAddr> {
        let proxies = &self.site.config.proxies;
        if proxies.is_empty() {
            return Some(self.sender);
        }
        client_address(self.sender, request, |ip| proxies.iter().any(|net| net.contains(ip)))
    }

    fn visit<'a>(&self, now: Time, key: Option<&'a str>, request: &'a Request<'a>) -> Visit<'a> {
        Visit { now, client: self.client(request), key, request }
    }

    fn answer(&mut self, now: Time, request: &Request<'_>, reply: &mut Reply) {
        let tracker = self.site.config.runs(Part::Tracker);
        let route = Route::of(request.path).filter(|route| tracker || !route.is_of_tracker());
        let Some(route) = route else {
            let text = match tracker {
                true => "this is a tracker: try /announce, /scrape, /stats or /health",
                false => "this hub runs no tracker: try /stats or /health",
            };
            return reply.text(Status::NotFound, text);
        };
        match (request.method, route) {
            (Method::Get | Method::Head, _) => self.get(now, route, request, reply),
            (Method::Post, Route::Announce(key)) => {
                self.announcer.post(&self.visit(now, key, request), &mut self.desk, reply);
            }
            _ => {
                reply.text(Status::MethodNotAllowed, "this path knows no such method");
                reply.headers = route.allow().into();
            }
        }
    }

    fn get(&mut self, now: Time, route: Route<'_>, request: &Request<'_>, reply: &mut Reply) {
        match route {
            Route::Page if wants_websocket(request) => self.open_websocket(now, None, request, reply),
            Route::Announce(key) if wants_websocket(request) => {
                self.open_websocket(now, key, request, reply);
            }
            Route::Announce(key) => {
                self.announcer.announce(&self.visit(now, key, request), &mut self.desk, reply);
            }
            Route::Scrape(key) => {
                self.announcer.scrape(&self.visit(now, key, request), &mut self.desk, reply)
            }
            Route::Health => self.health(reply),
            Route::Page | Route::Stats | Route::Metrics if !self.may_look(request) => {
                reply.text(Status::Forbidden, "your address may not look at this");
            }
            Route::Page => status::page(&self.site, reply),
            Route::Stats => status::json(&self.site, reply),
            Route::Metrics => status::metrics(&self.site, reply),
        }
    }

    /// Lets a client that may ask go on as a WebSocket. Browsers tell their users nothing of a refusal.
    fn open_websocket(&mut self, now: Time, key: Option<&str>, request: &Request<'_>, reply: &mut Reply) {
        if self.site.door.as_ref().is_none_or(|door| door.is_closed()) {
            return reply.text(Status::Unavailable, "no more WebSockets now: try again later");
        }
        match self.announcer.admit(&self.visit(now, key, request)) {
            Ok(_) => open_websocket(request, reply),
            Err(fault) => {
                self.tally.add(fault.count(), 1);
                reply.text(Status::Forbidden, &fault.failure().reason);
            }
        }
    }

    /// A hub that cannot reach its store can only refuse; one that can is the better one to ask.
    fn health(&self, reply: &mut Reply) {
        if self.site.store.is_up() {
            reply.text(Status::Ok, "ok");
        } else {
            reply.text(Status::Unavailable, "degraded: the store of swarms does not answer");
        }
    }

    fn may_look(&self, request: &Request<'_>) -> bool {
        let client = self.client(request);
        let nets = &self.site.config.stats_from;
        nets.is_empty() || client.is_some_and(|client| nets.iter().any(|net| net.contains(client)))
    }
}

impl Front for Service {
    fn asked_by(&mut self, sender: IpAddr, key: usize) {
        self.sender = sender;
        self.desk.turn_to(key);
    }

    fn count(&self, what: Count, n: u64) {
        self.tally.add(what, n);
    }

    fn take_over(&mut self, gone: Gone) {
        tracing::debug!(sender = %gone.sender, "a WebSocket is open");
        self.tally.add(Count::Closed, 1);
        if let Some(door) = &self.site.door {
            door.hand_over(Arrival { channel: gone.channel, rest: gone.rest });
        }
    }
}

impl Handler for Service {
    fn handle(&mut self, now: Time, request: &Request<'_>, reply: &mut Reply) {
        self.answer(now, request, reply);
        self.tally.add(Count::Requests, 1);
        if reply.status.is_error() {
            self.tally.add(Count::Errors, 1);
        }
    }
}

#[cfg(test)]
mod tests;
