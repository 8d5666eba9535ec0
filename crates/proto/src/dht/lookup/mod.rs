//! An iterative lookup: from whom we know to the nodes closest to a place (Kademlia, BEP 5).
//!
//! It asks the closest nodes that it knows of, [`ALPHA`] at a time, and takes in whom they name, until the [`K`]
//! closest have answered. A node that does not answer within a short, measured time is passed over: it no longer holds a
//! place among the α or among the K, but is still listened to (Jimenez et al. 2011: most of the time of a lookup went
//! into waiting for the dead).
//!
//! Against Sybils and liars:
//!
//! - *Credible* is a node whose id fits its address (BEP 42) and that does not stand where too many stand (`crowd`).
//!   The lookup ends with K credible nodes; at most K others are asked beside them. Both are announced to, so that one
//!   finds the other whichever way he looks.
//! - An address has one node, a network (/24, /48) at most two; local addresses are exempt.
//! - Who names three that do not answer and none that does has no more of his names tried.
//! - A node counts under the id that it answers with, wherever somebody said that it is.
//!
//! Bounds: [`MAX_ASKED`] questions, [`MAX_CANDIDATES`] nodes, and [`MAX_NAMED`] taken from one answer.
//!
//! It refuses to know what is asked, and when: the node does. Tested on made-up networks with dead, slow and lying
//! nodes, and by the simulator.

mod crowd;
#[cfg(test)]
mod tests;

use self::crowd::first_crowded;
use super::Contact;
use super::id::{Distance, is_local};
use super::range::Range;
use super::table::K;
use crate::ids::NodeId;

/// Questions on their way at once, slow ones not counted.
pub const ALPHA: usize = 4;
/// Questions of a lookup, whatever it is told: who owns a network of IPv6 could go on naming nodes that are closer still.
/// Under attack nineteen of twenty need fewer than half.
pub const MAX_ASKED: usize = 128;
/// Nodes a lookup keeps in mind.
pub const MAX_CANDIDATES: usize = 128;
/// Nodes taken from one answer; the specification has K.
pub const MAX_NAMED: usize = 2 * K;
/// Nodes of one network.
const MAX_SITE: usize = 2;
/// So many dead and none alive make a liar.
const LIAR: u16 = 3;

/// What is known of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Not asked yet.
    New,
    /// Asked, and there is still time.
    Asked,
    /// Asked, and it should have answered by now.
    Slow,
    /// It answered.
    Answered,
    /// It did not answer, or refused.
    Failed,
}

#[derive(Clone, Debug)]
struct Candidate {
    distance: Distance,
    contact: Contact,
    state: State,
    fits: bool,
    /// Questions that led to it, its own included.
    hops: u8,
    /// Who named it, in `sources`.
    source: usize,
    token: Option<Box<[u8]>>,
    /// It has what is looked for.
    holds: bool,
}

/// How those fare whom one node named.
#[derive(Clone, Copy, Debug, Default)]
struct Source {
    alive: u16,
    dead: u16,
}

impl Source {
    const fn is_liar(self) -> bool {
        self.alive == 0 && self.dead >= LIAR
    }
}

/// A node that a thing may be stored at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Storer {
    /// Who and where.
    pub contact: Contact,
    /// What it gave us to store with.
    pub token: Box<[u8]>,
    /// Whether it has an item under the key already.
    pub holds: bool,
}

/// One lookup.
#[derive(Clone, Debug)]
pub struct Lookup {
    target: NodeId,
    /// Nodes in the network, if that is known.
    size: Option<f64>,
    /// By distance.
    candidates: Vec<Candidate>,
    sources: Vec<Source>,
    /// Who shares so many bits with the target stands in a crowd.
    crowded: u32,
    /// Questions so far.
    asked: usize,
}

/// What a look along the candidates gives.
struct Walk {
    /// Whom to ask next.
    next: Option<usize>,
    /// Whether one of the closest may still answer in time.
    waiting: bool,
    /// Credible nodes that answered; at most K.
    credible: usize,
}

impl Lookup {
    /// A lookup of `target` in a network of about `size` nodes.
    pub const fn new(target: NodeId, size: Option<f64>) -> Self {
        Self { target, size, candidates: Vec::new(), sources: Vec::new(), crowded: u32::MAX, asked: 0 }
    }

    /// What is looked for.
    pub const fn target(&self) -> NodeId {
        self.target
    }

    /// Starts from nodes that are known.
    pub fn seed(&mut self, contacts: impl IntoIterator<Item = Contact>) {
        let source = self.new_source();
        contacts.into_iter().for_each(|contact| self.add(contact, 1, source));
        // Our own table is no liar.
        self.sources[source].alive = 1;
    }

    /// Whom to ask now, if anybody; it counts as asked.
    pub fn next_to_ask(&mut self) -> Option<Contact> {
        let in_flight = self.candidates.iter().filter(|c| c.state == State::Asked).count();
        if in_flight >= ALPHA {
            return None;
        }
        let next = self.walk().next?;
        self.asked += 1;
        let candidate = &mut self.candidates[next];
        candidate.state = State::Asked;
        Some(candidate.contact)
    }

    /// A node answered, perhaps under another id than we had, and named others.
    pub fn answered(
        &mut self,
        asked: &Contact,
        id: NodeId,
        named: impl IntoIterator<Item = Contact>,
        token: Option<&[u8]>,
        holds: bool,
    ) {
        let Some(n) = self.find(asked).filter(|n| self.candidates[*n].state != State::Answered) else {
            return;
        };
        let mut candidate = self.candidates.remove(n);
        candidate.state = State::Answered;
        (candidate.token, candidate.holds) = (token.map(Into::into), holds);
        let (hops, source) = (candidate.hops.saturating_add(1), candidate.source);
        let honest = candidate.contact.id == id;
        self.place(Candidate { contact: Contact { id, ..candidate.contact }, ..candidate });
        let told = &mut self.sources[source];
        *(if honest { &mut told.alive } else { &mut told.dead }) += 1;
        let source = self.new_source();
        named.into_iter().take(MAX_NAMED).for_each(|contact| self.add(contact, hops, source));
        self.crowded = self.look_for_crowd();
    }

    /// A node should have answered by now.
    pub fn slow(&mut self, contact: &Contact) {
        if let Some(n) = self.set(contact, State::Asked, State::Slow) {
            self.sources[self.candidates[n].source].dead += 1;
        }
    }

    /// A node will not answer, or refused.
    pub fn failed(&mut self, contact: &Contact) {
        if let Some(n) = self.set(contact, State::Asked, State::Failed) {
            self.sources[self.candidates[n].source].dead += 1;
        }
        self.set(contact, State::Slow, State::Failed);
    }

    /// Whether nothing closer is to be expected. Slow nodes are waited for only if there are too few others.
    pub fn is_done(&self) -> bool {
        let walk = self.walk();
        let slow = || self.candidates.iter().any(|c| c.state == State::Slow);
        walk.next.is_none() && !walk.waiting && (walk.credible >= K || !slow())
    }

    /// The K closest that answered, credible or not, closest first.
    pub fn closest(&self) -> impl Iterator<Item = Contact> {
        self.candidates.iter().filter(|c| c.state == State::Answered).map(|c| c.contact).take(K)
    }

    /// Where to store: the K closest credible nodes that gave a token (BEP 42), and half as many of the others that are
    /// closer still.
    pub fn storers(&self) -> Vec<Storer> {
        let (mut credible, mut others) = (0, 0);
        let mut out = Vec::new();
        for candidate in self.candidates.iter().filter(|c| c.state == State::Answered) {
            let (count, most) =
                if self.is_credible(candidate) { (&mut credible, K) } else { (&mut others, K / 2) };
            if let Some(token) = candidate.token.clone().filter(|_| *count < most) {
                *count += 1;
                out.push(Storer { contact: candidate.contact, token, holds: candidate.holds });
            }
            if credible >= K {
                break;
            }
        }
        out
    }

    /// The distance of the K-th closest credible node that answered: what the size of the network shows in.
    pub fn reach(&self) -> Option<Distance> {
        let credible = self.candidates.iter().filter(|c| c.state == State::Answered && self.is_credible(c));
        credible.map(|c| c.distance).nth(K - 1)
    }

    /// Questions that led one after the other to the closest node that answered.
    pub fn hops(&self) -> u8 {
        self.candidates.iter().find(|c| c.state == State::Answered).map_or(0, |c| c.hops)
    }

    fn is_credible(&self, candidate: &Candidate) -> bool {
        candidate.fits && candidate.distance.leading_zeros() < self.crowded
    }

    /// Goes along the candidates until K credible ones have answered or still may.
    fn walk(&self) -> Walk {
        let mut walk = Walk { next: None, waiting: false, credible: 0 };
        let (mut credible, mut others) = (0, 0);
        for (n, candidate) in self.candidates.iter().enumerate() {
            let is_credible = self.is_credible(candidate);
            let count = if is_credible { &mut credible } else { &mut others };
            if *count >= K {
                continue;
            }
            match candidate.state {
                State::New if self.asked >= MAX_ASKED || self.sources[candidate.source].is_liar() => {}
                State::New => {
                    walk.next = walk.next.or(Some(n));
                    *count += 1;
                }
                State::Asked => {
                    walk.waiting = true;
                    *count += 1;
                }
                State::Answered => {
                    *count += 1;
                    walk.credible += usize::from(is_credible);
                }
                State::Slow | State::Failed => {}
            }
            if credible >= K {
                break;
            }
        }
        walk
    }

    /// Takes in a node that somebody named.
    fn add(&mut self, contact: Contact, hops: u8, source: usize) {
        if let Some(n) = self.find(&contact) {
            let known = &mut self.candidates[n];
            if self.sources[known.source].is_liar() {
                known.source = source;
            }
            return;
        }
        if !self.has_room_for(&contact) {
            return;
        }
        let distance = contact.id.distance(&self.target);
        let fits = contact.id.fits(contact.addr.ip());
        let state = State::New;
        self.place(Candidate { distance, contact, state, fits, hops, source, token: None, holds: false });
    }

    fn has_room_for(&self, contact: &Contact) -> bool {
        let live = || self.candidates.iter().filter(|c| c.state != State::Failed);
        if self.candidates.iter().any(|c| c.contact.addr == contact.addr || c.contact.id == contact.id) {
            return false;
        }
        let ip = contact.addr.ip();
        let (host, site) = (Range::host(ip), Range::site(ip));
        is_local(ip)
            || (!live().any(|c| Range::host(c.contact.addr.ip()) == host)
                && live().filter(|c| Range::site(c.contact.addr.ip()) == site).count() < MAX_SITE)
    }

    /// Puts a candidate where it belongs by the id that it has now.
    fn place(&mut self, mut candidate: Candidate) {
        candidate.distance = candidate.contact.id.distance(&self.target);
        candidate.fits = candidate.contact.id.fits(candidate.contact.addr.ip());
        let n = self.candidates.partition_point(|c| c.distance < candidate.distance);
        self.candidates.insert(n, candidate);
        self.candidates.truncate(MAX_CANDIDATES);
    }

    fn find(&self, contact: &Contact) -> Option<usize> {
        let distance = contact.id.distance(&self.target);
        let from = self.candidates.partition_point(|c| c.distance < distance);
        let same = self.candidates[from..].iter().take_while(|c| c.distance == distance);
        same.enumerate().find(|(_, c)| c.contact.addr == contact.addr).map(|(n, _)| from + n)
    }

    fn set(&mut self, contact: &Contact, from: State, to: State) -> Option<usize> {
        let n = self.find(contact).filter(|n| self.candidates[*n].state == from)?;
        self.candidates[n].state = to;
        Some(n)
    }

    fn new_source(&mut self) -> usize {
        self.sources.push(Source::default());
        self.sources.len() - 1
    }

    fn look_for_crowd(&self) -> u32 {
        let Some(size) = self.size else { return u32::MAX };
        let answered = self.candidates.iter().filter(|c| c.state == State::Answered);
        first_crowded(size, answered.map(|c| c.distance.leading_zeros()))
    }
}
