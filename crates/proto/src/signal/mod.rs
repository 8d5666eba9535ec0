//! WebTorrent's signalling: how peers that connect by WebRTC find each other through a tracker, over a WebSocket.
//!
//! There is no BEP; what is spoken here is what the npm package `bittorrent-tracker` (11.2), libtorrent and aquatic agree
//! on. A client announces a torrent with some *offers*, descriptions of connections that it would take; the tracker passes
//! each to another peer of the swarm, and brings *answers* back. From then on the peers speak for themselves.
//!
//! [`Signal`] is the machine for all connections of a process: [`Signal::handle`] takes a message, [`Signal::poll`] gives
//! what is to be sent to whom. Whom offers go to is decided in `swarm.rs`, how much one may say and be told in
//! `connection.rs`.
//!
//! These swarms are apart from those of other trackers: a peer that has only WebRTC cannot reach one that has only TCP.
//!
//! Refused are messages that make no sense (`message.rs`), answers to offers that were not made to the one who answers or
//! not by the one who is answered, torrents that the operator does not serve, and more torrents than one connection's
//! share. Only type and text of a session description are passed on. A peer is known by its connection and its id there,
//! so nobody can speak for another.
//!
//! Tested: `tests.rs` here, unit tests beside each part, the fuzz target `signal` against a naive model, and interop with
//! the clients of npm.

mod binary;
mod connection;
mod message;
mod reply;
mod swarm;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use binary::Binary;
use connection::Connection;
use message::{Announce, Answer, Event, Message, Refusal};
pub use message::{MAX_OFFERS, MAX_SCRAPE, MAX_SDP};
pub use reply::Counts;
use reply::{Action, Flags, Reply, Session};
use swarm::{Seat, Stage, Swarm};

use crate::ids::WireHash;
use crate::rng::Rng;
use crate::time::Time;

/// Most bytes of a message that [`Signal::handle`] should be given: ten offers of usual size and more, as aquatic has it.
pub const MAX_MESSAGE: usize = 64 * 1024;

/// Most peers of one connection: torrents, where a client is one peer in each.
const MAX_PEERS_PER_CONNECTION: usize = 1024;

/// A connection may have this part of the places that are free, so that the greedy leave room for whoever comes (the
/// dynamic threshold that Choudhury and Hahne found for shared buffers, 1998).
const SHARE: usize = 64;

/// A peer that did not announce for so many intervals is gone.
const SILENT_INTERVALS: u32 = 3;

/// Names a connection; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

/// Settings.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Seconds between a client's announces. Each brings new offers, so it is shorter than that of other trackers.
    pub interval: u32,
    /// Most peers in all swarms together; each takes some 250 bytes.
    pub max_peers: usize,
}

impl Default for Config {
    /// Two minutes as npm's tracker has it; peers for 125 MB.
    fn default() -> Self {
        Self { interval: 120, max_peers: 500_000 }
    }
}

/// A message to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// To whom.
    pub to: ConnId,
    /// JSON.
    pub text: String,
}

/// What happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Announces that were answered.
    pub announces: u64,
    /// Scrapes that were answered.
    pub scrapes: u64,
    /// Offers that were passed on.
    pub offers: u64,
    /// Answers that were passed on.
    pub answers: u64,
    /// Answers that nobody waits for.
    pub stray_answers: u64,
    /// Messages that were refused.
    pub refused: u64,
}

/// How many are there now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Connections.
    pub connections: usize,
    /// Swarms that have a peer.
    pub swarms: usize,
    /// Peers in all swarms, one in two swarms counting twice.
    pub peers: usize,
}

/// The machine.
#[derive(Debug)]
pub struct Signal {
    config: Config,
    rng: Rng,
    connections: HashMap<ConnId, Connection>,
    swarms: HashMap<Binary, Swarm>,
    /// When to look whether a peer fell silent; one entry a peer.
    timers: BTreeSet<(Time, Binary, Seat)>,
    /// What one message led to: at most a reply, and an offer for each that it carried.
    outputs: VecDeque<Output>,
    counters: Counters,
}

impl Signal {
    /// A machine without connections, whose choices follow from `seed`.
    pub fn new(config: Config, seed: u64) -> Self {
        Self {
            config,
            rng: Rng::new(seed),
            connections: HashMap::new(),
            swarms: HashMap::new(),
            timers: BTreeSet::new(),
            outputs: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    /// A connection was opened.
    pub fn open(&mut self, now: Time, conn: ConnId) {
        self.connections.insert(conn, Connection::new(now));
    }

    /// A connection is gone, and with it its peers.
    pub fn close(&mut self, conn: ConnId) {
        for (hash, peer) in self.connections.remove(&conn).map_or_else(BTreeSet::new, |conn| conn.peers) {
            self.leave(hash, Seat { conn, peer });
        }
    }

    /// Takes a message of at most [`MAX_MESSAGE`] bytes from an open connection. `serves` tells which torrents the operator
    /// wants. Drain [`poll`](Self::poll) before the next.
    pub fn handle(
        &mut self,
        now: Time,
        conn: ConnId,
        message: &[u8],
        mut serves: impl FnMut(&WireHash) -> bool,
    ) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        connection.says(now, 1);
        let result = Message::parse(message).and_then(|message| match message {
            Message::Scrape(hashes) => {
                self.scrape(conn, hashes);
                Ok(())
            }
            Message::Announce(Announce { hash, .. }) | Message::Answer(Answer { hash, .. })
                if !serves(&WireHash(hash.0)) =>
            {
                Err(Refusal { reason: "this tracker does not serve this torrent", hash: Some(hash) })
            }
            Message::Announce(announce) => self.announce(now, conn, &announce),
            Message::Answer(answer) => self.answer(now, conn, &answer),
        });
        if let Err(Refusal { reason, hash }) = result {
            self.counters.refused += 1;
            let action = hash.map(|_| Action::Announce);
            self.send(conn, &Reply::Failure { action, info_hash: hash, reason });
        }
    }

    /// When the connection may say more; until then the caller should read nothing from it.
    pub fn may_say_at(&self, conn: ConnId) -> Time {
        self.connections.get(&conn).map_or(Time::ZERO, Connection::may_say_at)
    }

    /// What is to be sent.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`expire`](Self::expire).
    pub fn deadline(&self) -> Option<Time> {
        self.timers.first().map(|timer| timer.0)
    }

    /// Takes out the peers that fell silent.
    pub fn expire(&mut self, now: Time) {
        while let Some(&timer) = self.timers.first().filter(|timer| timer.0 <= now) {
            self.timers.remove(&timer);
            let (_, hash, seat) = timer;
            match self.set_timer(hash, seat) {
                Some(at) if at > now => {}
                _ => self.drop_peer(hash, seat),
            }
        }
    }

    /// Ends the swarms of torrents that the operator no longer wants, after the list of them changed.
    pub fn revise(&mut self, mut serves: impl FnMut(&WireHash) -> bool) {
        let timers = self.timers.iter().filter(|(_, hash, _)| !serves(&WireHash(hash.0)));
        for (_, hash, seat) in timers.copied().collect::<Vec<_>>() {
            self.drop_peer(hash, seat);
        }
    }

    /// What happened so far.
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// How many are there now.
    pub fn sizes(&self) -> Sizes {
        let peers = self.timers.len();
        Sizes { connections: self.connections.len(), swarms: self.swarms.len(), peers }
    }

    /// The sizes of one swarm.
    pub fn counts(&self, hash: &WireHash) -> Counts {
        self.swarms.get(&Binary(hash.0)).map_or_else(Counts::default, Swarm::counts)
    }

    fn announce(&mut self, now: Time, conn: ConnId, announce: &Announce<'_>) -> Result<(), Refusal> {
        let (hash, seat) = (announce.hash, Seat { conn, peer: announce.peer });
        if announce.event == Event::Stopped {
            self.drop_peer(hash, seat);
        } else {
            self.admit(now, hash, seat, announce).map_err(|reason| Refusal { reason, hash: Some(hash) })?;
        }
        self.counters.announces += 1;
        let Counts { complete, incomplete, .. } = self.counts(&WireHash(hash.0));
        let interval = self.config.interval;
        let action = Action::Announce;
        self.send(conn, &Reply::Announced { action, info_hash: hash, interval, complete, incomplete });
        if announce.event != Event::Stopped {
            self.pass_on(now, hash, seat, announce);
        }
        Ok(())
    }

    /// Makes room for a peer, or notes how far it is.
    fn admit(
        &mut self,
        now: Time,
        hash: Binary,
        seat: Seat,
        said: &Announce<'_>,
    ) -> Result<(), &'static str> {
        let old = self.swarms.get(&hash).and_then(|swarm| swarm.stage(seat));
        if old.is_none() {
            self.join(hash, seat)?;
        }
        let stage = stage(said, old);
        let swarm = self.swarms.entry(hash).or_default();
        swarm.put(seat, stage, now);
        if said.event == Event::Completed && old != Some(Stage::Seed) {
            swarm.completed();
        }
        if old.is_none() {
            self.set_timer(hash, seat);
        }
        Ok(())
    }

    fn join(&mut self, hash: Binary, seat: Seat) -> Result<(), &'static str> {
        let share = self.config.max_peers.saturating_sub(self.timers.len()).div_ceil(SHARE);
        let connection = self.connections.get_mut(&seat.conn).ok_or("the connection is closed")?;
        if connection.peers.len() >= MAX_PEERS_PER_CONNECTION.min(share) {
            return Err("too many torrents over this connection");
        }
        connection.peers.insert((hash, seat.peer));
        Ok(())
    }

    /// Gives each offer to another peer.
    fn pass_on(&mut self, now: Time, hash: Binary, from: Seat, announce: &Announce<'_>) {
        let Some(swarm) = self.swarms.get(&hash) else { return };
        // Twice as many as there are offers, for some may be offered too much already.
        let chosen = swarm.choose(from, 2 * announce.offers.len(), &mut self.rng);
        let mut offers = announce.offers.iter();
        let mut next = offers.next();
        for seat in chosen {
            let (Some(offer), Some(connection)) = (next, self.connections.get_mut(&seat.conn)) else {
                continue;
            };
            if !connection.offer(now, hash, from, offer.id) {
                continue;
            }
            let (action, session) = (Action::Announce, Session::offer(offer.sdp()));
            let (peer_id, offer_id) = (from.peer, offer.id);
            self.send(
                seat.conn,
                &Reply::Offer { action, info_hash: hash, peer_id, offer_id, offer: session },
            );
            self.counters.offers += 1;
            if let Some(connection) = self.connections.get_mut(&from.conn) {
                connection.says(now, 1);
            }
            next = offers.next();
        }
    }

    fn answer(&mut self, now: Time, conn: ConnId, answer: &Answer<'_>) -> Result<(), Refusal> {
        let (hash, seat) = (answer.hash, Seat { conn, peer: answer.peer });
        let refusal = Refusal { reason: "announce before you answer", hash: Some(hash) };
        let swarm = self.swarms.get_mut(&hash).filter(|swarm| swarm.contains(seat)).ok_or(refusal)?;
        swarm.touch(seat, now);
        let connection = self.connections.get_mut(&conn).ok_or(refusal)?;
        let to = connection.answer(now, hash, answer.to, answer.offer).filter(|to| swarm.contains(*to));
        // A peer that left in the meantime is no fault of the one who answers.
        let Some(to) = to else {
            self.counters.stray_answers += 1;
            return Ok(());
        };
        self.counters.answers += 1;
        let (peer_id, offer_id, session) = (answer.peer, answer.offer, Session::answer(&answer.sdp));
        let action = Action::Announce;
        self.send(to.conn, &Reply::Answer { action, info_hash: hash, peer_id, offer_id, answer: session });
        Ok(())
    }

    fn scrape(&mut self, conn: ConnId, hashes: Vec<Binary>) {
        let files: BTreeMap<_, _> =
            hashes.into_iter().map(|hash| (hash, self.counts(&WireHash(hash.0)))).collect();
        self.counters.scrapes += 1;
        let flags = Flags { min_request_interval: self.config.interval };
        self.send(conn, &Reply::Scraped { action: Action::Scrape, files, flags });
    }

    fn send(&mut self, to: ConnId, reply: &Reply<'_>) {
        self.outputs.push_back(Output { to, text: reply.text() });
    }

    /// Takes a peer out of a swarm; its connection stays.
    fn drop_peer(&mut self, hash: Binary, seat: Seat) {
        if let Some(connection) = self.connections.get_mut(&seat.conn) {
            connection.peers.remove(&(hash, seat.peer));
        }
        self.leave(hash, seat);
    }

    fn leave(&mut self, hash: Binary, seat: Seat) {
        let Some(swarm) = self.swarms.get_mut(&hash) else { return };
        if let Some(at) = swarm.remove(seat) {
            self.timers.remove(&(at, hash, seat));
        }
        if swarm.is_empty() {
            self.swarms.remove(&hash);
        }
    }

    /// Has a peer looked at when it would have been silent for too long, and says when that is.
    fn set_timer(&mut self, hash: Binary, seat: Seat) -> Option<Time> {
        let patience = Duration::from_secs(self.config.interval.into()) * SILENT_INTERVALS;
        let at = self.swarms.get_mut(&hash)?.set_timer(seat, patience)?;
        self.timers.insert((at, hash, seat));
        Some(at)
    }
}

/// How far a peer is, by what it says now and what it was before. Clients that fetch metadata don't know what is left.
fn stage(said: &Announce<'_>, before: Option<Stage>) -> Stage {
    match (said.event, said.whole) {
        (Event::Completed, _) | (_, Some(true)) => Stage::Seed,
        (Event::Paused, _) => Stage::Partial,
        (_, Some(false)) => Stage::Leech,
        (_, None) => before.unwrap_or(Stage::Leech),
    }
}

#[cfg(test)]
mod tests;
