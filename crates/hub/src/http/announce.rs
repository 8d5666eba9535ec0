//! Announces and scrapes over HTTP.
//!
//! Specs: BEP 3, 7, 21, 23, 24, 31, 48. Whom a client is told of: `found.rs`.
//!
//! A peer's address is that of its connection. The parameters `ip`, `ipv4` and `ipv6`, by which a client could have
//! anybody flooded with connections, are passed over; only `ip` is taken from networks that the operator names, and not
//! from a browser, which any page can make ask.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use samara_proto::http::server::{Reply, Request, Status};
use samara_proto::ids::WireHash;
use samara_proto::swarms::{Announce, Counts, Role};
use samara_proto::time::Time;
use samara_proto::tracker::http::{Head, Peers, write_announce, write_failure};
use samara_proto::tracker::http_query::{parse_announce, scrape_hashes};
use samara_proto::tracker::types::{AnnounceRequest, Event};
use samara_proto::tracker::{Failure, Retry, reach};

use super::found::Found;
use super::front::{Answer, Desk};
use super::json::{self, JSON};
use super::scrape;
use crate::access::{Gate, Refusal};
use crate::metrics::{Count, Tally};
use crate::site::Site;
use crate::store::{Asked, Unavailable};

/// Most torrents of one scrape; a head of 8 KiB holds about so many.
const MAX_SCRAPE: usize = 128;

/// What bencoding is called; opentracker says the same.
pub(super) const BENCODING: &str = "text/plain";

/// One request for a tracker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Visit<'a> {
    pub(crate) now: Time,
    /// Who asks; `None` where a proxy does not say it.
    pub(crate) client: Option<IpAddr>,
    pub(crate) key: Option<&'a str>,
    pub(crate) request: &'a Request<'a>,
}

/// One thread's announces and scrapes.
#[derive(Debug)]
pub(crate) struct Announcer {
    pub(super) site: Arc<Site>,
    pub(super) gate: Gate,
    pub(super) tally: Arc<Tally>,
    found: Found,
    sizes: Vec<[Counts; 2]>,
    hashes: Vec<WireHash>,
}

/// Which language an announce is answered in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Bencoding with packed peers (BEP 23).
    Compact,
    /// Bencoding with a dictionary for each peer.
    Listed,
    /// See `json.rs`.
    Json,
}

impl Form {
    const fn content_type(self) -> &'static str {
        match self {
            Self::Compact | Self::Listed => BENCODING,
            Self::Json => JSON,
        }
    }
}

/// An announce that may be answered, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question {
    pub(super) client: IpAddr,
    pub(super) request: AnnounceRequest,
    /// Where the peer is: the client's address, or one that it may speak for.
    pub(super) ip: IpAddr,
    pub(super) form: Form,
}

/// Why there is no answer.
pub(super) enum Fault {
    /// It cannot be understood.
    Malformed(String),
    /// It is not wanted.
    Refused(Refusal),
    /// The store is away.
    Unavailable(Unavailable),
}

impl Fault {
    /// As trackers say it.
    pub(super) fn failure(&self) -> Failure {
        match self {
            Self::Malformed(reason) => Failure { reason: reason.clone(), retry: Some(Retry::Never) },
            Self::Refused(refusal) => Failure { reason: refusal.reason().into(), retry: refusal.retry() },
            Self::Unavailable(why) => Failure { reason: why.to_string(), retry: Some(Retry::Minutes(1)) },
        }
    }

    pub(super) const fn count(&self) -> Count {
        match self {
            Self::Malformed(_) => Count::Malformed,
            Self::Refused(refusal) => Count::Refused(*refusal),
            Self::Unavailable(_) => Count::Unavailable,
        }
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Announcer {
    pub(crate) fn new(site: &Arc<Site>, tally: Arc<Tally>) -> Self {
        Self {
            gate: site.access.gate(),
            found: Found::new(site.config.max_numwant as usize),
            site: Arc::clone(site),
            tally,
            sizes: Vec::new(),
            hashes: Vec::new(),
        }
    }

    /// Answers `GET /announce`.
    pub(crate) fn announce(&mut self, visit: &Visit<'_>, desk: &mut Desk, reply: &mut Reply) {
        let done = self.read(visit).and_then(|question| self.enter(visit.now, &question, desk, reply));
        if let Err(fault) = done {
            self.refuse(&fault, reply);
        }
    }

    fn read(&mut self, visit: &Visit<'_>) -> Result<Question, Fault> {
        let client = self.admit(visit)?;
        let query = visit.request.query.as_bytes();
        let query = parse_announce(query).map_err(|bad| Fault::Malformed(bad.to_string()))?;
        let spoken = query.request.ip.filter(|_| self.may_speak_for_others(client, visit.request));
        let form = if query.compact { Form::Compact } else { Form::Listed };
        Ok(Question { client, request: query.request, ip: spoken.unwrap_or(client), form })
    }

    /// Whether this client may ask at all.
    pub(super) fn admit(&mut self, visit: &Visit<'_>) -> Result<IpAddr, Fault> {
        let silent = || Fault::Malformed("the proxy does not say for whom it asks".into());
        let client = visit.client.ok_or_else(silent)?;
        self.gate.admit(visit.now, client, visit.key.map(str::as_bytes))?;
        Ok(client)
    }

    /// Whether an address in the request counts.
    pub(super) fn may_speak_for_others(&self, client: IpAddr, request: &Request<'_>) -> bool {
        let has = |name| request.header(name).next().is_some();
        let is_trusted = self.site.config.ip_from.iter().any(|net| net.contains(client));
        // Pages send browsers anywhere, and a proxy that nobody told us of makes everybody look local.
        is_trusted
            && !has("origin")
            && !has("sec-fetch-site")
            && (!self.site.config.proxies.is_empty() || !has("x-forwarded-for") && !has("forwarded"))
    }

    /// Takes note of an announce, and answers it or promises to.
    pub(super) fn enter(
        &mut self,
        now: Time,
        question: &Question,
        desk: &mut Desk,
        reply: &mut Reply,
    ) -> Result<(), Fault> {
        let announce = self.announced(question)?;
        let asked = self.found.ask(&self.site.store, now, &announce, || {
            let (promise, question, site) = (desk.promise(reply), *question, Arc::clone(&self.site));
            Box::new(move |found| promise.keep(late(&site, &question, found)))
        });
        if asked == Asked::Done(()) {
            self.tally.add(Count::Announces, 1);
            reply.content_type = question.form.content_type();
            write(&self.site, question, &self.found, &mut reply.body);
        }
        Ok(())
    }

    fn announced(&mut self, question: &Question) -> Result<Announce, Fault> {
        let request = &question.request;
        self.gate.serve(&request.info_hash)?;
        let peer = SocketAddr::new(question.ip.to_canonical(), request.port);
        if reach::scope(peer.ip()).is_none() {
            return Err(Fault::Malformed(format!("nobody can be reached at {}", peer.ip())));
        }
        let config = &self.site.config;
        let want = request.numwant.unwrap_or(config.numwant).min(config.max_numwant) as usize;
        Ok(Announce {
            hash: request.info_hash,
            peer,
            event: request.event,
            role: Role::new(request.left, request.event),
            want: if request.event == Event::Stopped { 0 } else { want },
        })
    }

    /// Answers `GET /scrape`.
    pub(crate) fn scrape(&mut self, visit: &Visit<'_>, desk: &mut Desk, reply: &mut Reply) {
        if let Err(fault) = self.try_scrape(visit, desk, reply) {
            self.refuse(&fault, reply);
        }
    }

    fn try_scrape(&mut self, visit: &Visit<'_>, desk: &mut Desk, reply: &mut Reply) -> Result<(), Fault> {
        self.admit(visit)?;
        self.hashes.clear();
        let mut asked = scrape_hashes(visit.request.query.as_bytes()).peekable();
        if asked.peek().is_none() && self.site.config.full_scrape {
            self.tally.add(Count::Scrapes, 1);
            reply.content_type = BENCODING;
            scrape::everything(&self.site, &mut self.gate, visit.now, &mut reply.body);
            return Ok(());
        }
        if asked.peek().is_none() {
            return Err(Fault::Malformed("name the torrents: /scrape?info_hash=..".into()));
        }
        for hash in asked.take(MAX_SCRAPE) {
            if self.gate.serve(&hash).is_ok() {
                self.hashes.push(hash);
            }
        }
        if scrape::answer(&self.site, &self.hashes, &mut self.sizes, desk, reply) == Asked::Done(()) {
            self.tally.add(Count::Scrapes, 1);
        }
        Ok(())
    }

    fn refuse(&self, fault: &Fault, reply: &mut Reply) {
        self.tally.add(fault.count(), 1);
        reply.content_type = BENCODING;
        reply.body.clear();
        write_failure(&mut reply.body, &fault.failure());
    }
}

/// Writes the answer to an announce.
fn write(site: &Site, question: &Question, found: &Found, out: &mut Vec<u8>) {
    let head = Head {
        interval: found.interval,
        min_interval: Some(found.interval.min(site.config.min_interval.as_secs() as u32)),
        complete: found.sums.complete,
        incomplete: found.sums.incomplete,
        downloaded: Some(found.sums.downloaded),
        external_ip: Some(question.client),
        ..Head::default()
    };
    match question.form {
        Form::Compact => write_announce(out, &head, Peers::Compact { v4: found.v4(), v6: found.v6() }),
        Form::Listed => {
            // Ids are not known: a peer is its address.
            let listed: Vec<_> = found.addrs().map(|addr| (addr, None)).collect();
            write_announce(out, &head, Peers::Listed(&listed));
        }
        Form::Json => json::write_announce(&head, found, out),
    }
}

/// The same for an answer that was promised.
fn late(site: &Site, question: &Question, found: Result<&Found, Unavailable>) -> Answer {
    let (status, content_type) = (Status::Ok, question.form.content_type());
    let mut answer = Answer { counts: Count::Announces, status, content_type, body: Vec::new() };
    match found {
        Ok(found) => write(site, question, found, &mut answer.body),
        Err(why) => {
            let fault = Fault::Unavailable(why);
            answer.counts = fault.count();
            if question.form == Form::Json {
                answer.status = json::status(&fault);
                json::write_failure(&fault.failure(), &mut answer.body);
            } else {
                write_failure(&mut answer.body, &fault.failure());
            }
        }
    }
    answer
}

#[cfg(test)]
mod tests;
