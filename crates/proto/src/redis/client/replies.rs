//! What replies lead to.

use super::super::resp::Reply;
use super::super::slots::{Redirect, parse_map};
use super::node::{Expected, Request};
use super::{Client, Failure, NodeId, Output, Sink};
use crate::time::Time;

/// Times that a request is sent on, or sent again: a slot that is being moved takes two.
const MAX_HOPS: u8 = 5;

/// Longest part of a server's words that is kept, in bytes.
const MAX_WORDS: usize = 160;

/// What an error means for the server that says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    /// The request does not work now; others may.
    Request,
    /// The cluster changes.
    Change,
    /// Nothing works with this server, or over this connection.
    Server,
}

impl Client {
    /// Takes the reply that comes next from `node`.
    pub(super) fn on_reply(&mut self, now: Time, node: NodeId, reply: Reply<'_>, sink: &mut Sink<'_>) {
        match (self.nodes[node].expected.pop_front().map(|(_, expected)| expected), reply) {
            // Nobody asked.
            (None, _) => self.give_up(now, node, &Failure::Nonsense, sink),
            (Some(Expected::Answer(request)), Reply::Error(text)) => {
                self.refused(now, node, request, text, sink)
            }
            (Some(Expected::Answer(request)), reply) => {
                self.requests -= 1;
                sink(request.ticket, Ok(reply));
            }
            (Some(Expected::Missed), _) => {}
            (Some(Expected::Nothing), Reply::Error(text)) if meaning(text) != Meaning::Server => {}
            (Some(_), Reply::Error(text)) => {
                self.give_up(now, node, &Failure::Refused(words(text)), sink);
            }
            (Some(Expected::Loaded), _) => {
                self.nodes[node].is_ready_now(now);
                self.outputs.push_back(Output::Up(self.nodes[node].host.clone()));
            }
            (Some(Expected::Map), reply) => self.on_map(now, node, &reply, sink),
            (Some(Expected::Welcome | Expected::Nothing), _) => {}
        }
    }

    fn on_map(&mut self, now: Time, node: NodeId, reply: &Reply<'_>, sink: &mut Sink<'_>) {
        self.map_asked = None;
        match parse_map(reply, &self.nodes[node].host.name) {
            Some(ranges) if !ranges.is_empty() => self.learn(now, &ranges),
            // A cluster in the making knows of no slots.
            Some(_) => self.map_soon(now),
            None => self.give_up(now, node, &Failure::Nonsense, sink),
        }
    }

    fn refused(&mut self, now: Time, node: NodeId, request: Request, text: &[u8], sink: &mut Sink<'_>) {
        if text.starts_with(b"NOSCRIPT") && !request.scripted {
            let request = Request { scripted: true, ..request };
            return self.send_on(now, node, request, false, sink);
        }
        let redirect = Redirect::parse(text, &self.nodes[node].host.name);
        if let Some(redirect) = redirect.filter(|_| self.config.servers.cluster) {
            return self.redirected(now, request, &redirect, sink);
        }
        let why = Failure::Refused(words(text));
        self.fail(&request, why.clone(), sink);
        match meaning(text) {
            Meaning::Request => {}
            Meaning::Change => self.map_soon(now),
            Meaning::Server => self.give_up(now, node, &why, sink),
        }
    }

    fn redirected(&mut self, now: Time, request: Request, redirect: &Redirect, sink: &mut Sink<'_>) {
        let Some(node) = self.intern(&redirect.host) else { return self.fail(&request, Failure::Down, sink) };
        if redirect.lasting {
            self.nodes[node].serves = true;
            if let Some(master) = self.masters.get_mut(usize::from(redirect.slot)) {
                *master = node as u16;
            }
            self.map_soon(now);
        }
        self.send_on(now, node, request, !redirect.lasting, sink);
    }

    fn send_on(&mut self, now: Time, node: NodeId, mut request: Request, asking: bool, sink: &mut Sink<'_>) {
        request.hops += 1;
        let sent = if request.hops > MAX_HOPS { Err(request) } else { self.send(now, node, request, asking) };
        if let Err(request) = sent {
            self.fail(&request, Failure::Down, sink);
        }
    }

    pub(super) fn fail(&mut self, request: &Request, why: Failure, sink: &mut Sink<'_>) {
        self.requests -= 1;
        sink(request.ticket, Err(why));
    }
}

fn meaning(error: &[u8]) -> Meaning {
    match error.split(|b| *b == b' ').next().unwrap_or_default() {
        b"CLUSTERDOWN" | b"TRYAGAIN" => Meaning::Change,
        // It restarts, became a replica, lost its master, forgot who we are, or is a cluster's and we do not know.
        b"LOADING" | b"READONLY" | b"MASTERDOWN" | b"NOAUTH" | b"MOVED" | b"ASK" => Meaning::Server,
        _ => Meaning::Request,
    }
}

/// A server's words, fit to be shown.
fn words(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text.get(..MAX_WORDS).unwrap_or(text));
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
