//! `POST /announce`: an announce for people who script it, as JSON both ways. No specification.
//!
//! Asked: `{"info_hash": "40 or 64 hex digits", "port": 6881, "ip"?: "192.0.2.1", "peer_id"?: "..", "event"?: "started",
//! "left"?: 0, "numwant"?: 50}`. Answered: `{"interval", "min_interval", "complete", "incomplete", "downloaded",
//! "external_ip", "peers": [{"ip", "port"}]}`, or with an error's status `{"failure_reason", "retry_in"?}`, whose time is
//! minutes or `"never"` as in BEP 31. `ip` is an error where the client may not speak for others. Keys that are not
//! known are refused, for they are misspelt.

use std::net::IpAddr;

use samara_proto::http::server::{Reply, Status};
use samara_proto::ids::{InfoHashV2, PeerId, WireHash};
use samara_proto::tracker::http::Head;
use samara_proto::tracker::types::{AnnounceRequest, Event};
use samara_proto::tracker::{Failure, Retry};
use serde::{Deserialize, Serialize};

use super::announce::{Announcer, Fault, Form, Question, Visit};
use super::found::Found;
use super::front::Desk;
use crate::access::Refusal;

pub(super) const JSON: &str = "application/json";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked<'a> {
    info_hash: &'a str,
    port: u16,
    #[serde(default)]
    ip: Option<IpAddr>,
    #[serde(default)]
    peer_id: Option<&'a str>,
    #[serde(default)]
    event: Option<Name>,
    #[serde(default)]
    left: Option<u64>,
    #[serde(default)]
    numwant: Option<u32>,
}

/// BEP 3's and BEP 21's events.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Name {
    Started,
    Completed,
    Stopped,
    Paused,
}

#[derive(Serialize)]
struct Answered<'a> {
    interval: u32,
    min_interval: Option<u32>,
    complete: u32,
    incomplete: u32,
    downloaded: Option<u32>,
    external_ip: Option<IpAddr>,
    peers: &'a [Peer],
}

#[derive(Serialize)]
struct Peer {
    ip: IpAddr,
    port: u16,
}

#[derive(Serialize)]
struct Failed<'a> {
    failure_reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_in: Option<RetryIn>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum RetryIn {
    Minutes(u32),
    Word(&'static str),
}

impl Asked<'_> {
    fn request(&self) -> Result<AnnounceRequest, Fault> {
        Ok(AnnounceRequest {
            info_hash: hash(self.info_hash)?,
            peer_id: peer_id(self.peer_id.unwrap_or_default())?,
            port: self.port,
            uploaded: 0,
            downloaded: 0,
            left: self.left.unwrap_or(u64::MAX),
            event: match self.event {
                None => Event::None,
                Some(Name::Started) => Event::Started,
                Some(Name::Completed) => Event::Completed,
                Some(Name::Stopped) => Event::Stopped,
                Some(Name::Paused) => Event::Paused,
            },
            numwant: self.numwant,
            key: 0,
            ip: self.ip,
        })
    }
}

fn hash(text: &str) -> Result<WireHash, Fault> {
    let v2 = || InfoHashV2::from_hex(text).map(|hash| hash.truncated());
    let bad = || Fault::Malformed("info_hash is no 40 or 64 hex digits".into());
    WireHash::from_hex(text).or_else(v2).ok_or_else(bad)
}

/// 20 characters, or 40 hex digits.
fn peer_id(text: &str) -> Result<PeerId, Fault> {
    let bad = || Fault::Malformed("peer_id is no 20 characters, nor 40 hex digits".into());
    let plain = || PeerId::from_slice(text.as_bytes());
    if text.is_empty() {
        return Ok(PeerId([0; 20]));
    }
    PeerId::from_hex(text).or_else(plain).ok_or_else(bad)
}

impl Announcer {
    /// Answers `POST /announce`.
    pub(crate) fn post(&mut self, visit: &Visit<'_>, desk: &mut Desk, reply: &mut Reply) {
        let done = self.read_json(visit).and_then(|question| self.enter(visit.now, &question, desk, reply));
        if let Err(fault) = done {
            self.tally.add(fault.count(), 1);
            reply.content_type = JSON;
            reply.status = status(&fault);
            write_failure(&fault.failure(), &mut reply.body);
        }
    }

    fn read_json(&mut self, visit: &Visit<'_>) -> Result<Question, Fault> {
        let client = self.admit(visit)?;
        let body = visit.request.body;
        let asked: Asked<'_> =
            serde_json::from_slice(body).map_err(|bad| Fault::Malformed(bad.to_string()))?;
        if asked.ip.is_some_and(|ip| ip != client) && !self.may_speak_for_others(client, visit.request) {
            return Err(Fault::Malformed("your address may not announce another one: leave `ip` out".into()));
        }
        Ok(Question { client, request: asked.request()?, ip: asked.ip.unwrap_or(client), form: Form::Json })
    }
}

/// Writes what was found.
pub(super) fn write_announce(head: &Head<'_>, found: &Found, out: &mut Vec<u8>) {
    let peers: Vec<_> = found.addrs().map(|a| Peer { ip: a.ip(), port: a.port() }).collect();
    let answer = Answered {
        interval: head.interval,
        min_interval: head.min_interval,
        complete: head.complete,
        incomplete: head.incomplete,
        downloaded: head.downloaded,
        external_ip: head.external_ip,
        peers: &peers,
    };
    write(&answer, out);
}

/// Writes a refusal.
pub(super) fn write_failure(failure: &Failure, out: &mut Vec<u8>) {
    write(&failed(failure), out);
}

pub(super) const fn status(fault: &Fault) -> Status {
    match fault {
        Fault::Malformed(_) => Status::BadRequest,
        Fault::Refused(Refusal::TooOften) => Status::TooManyRequests,
        Fault::Refused(_) => Status::Forbidden,
        Fault::Unavailable(_) => Status::Unavailable,
    }
}

fn failed(failure: &Failure) -> Failed<'_> {
    let retry_in = failure.retry.map(|retry| match retry {
        Retry::Minutes(minutes) => RetryIn::Minutes(minutes),
        Retry::Never => RetryIn::Word("never"),
    });
    Failed { failure_reason: &failure.reason, retry_in }
}

/// Appends JSON and a line's end. Neither these types nor a `Vec` can fail.
pub(super) fn write(value: &impl Serialize, out: &mut Vec<u8>) {
    let _ = serde_json::to_writer(&mut *out, value);
    out.push(b'\n');
}
