//! The answering half of a node.
//!
//! Spec: BEP 5, 32 (`want`), 33 (filters), 42 (`ip`), 44 (get, put), 51 (samples). Whoever asks is told where we see
//! him. Tokens bind what is stored to an address that can receive. Answers stay within [`MAX_SENT`], but for an item
//! that is longer, which goes with fewer nodes; an unknown question with a target is answered like find_node, as deployed
//! nodes do. Nobody is told of nodes and peers that stand further in than he does: they are of no use to him, and what
//! is in our network is none of his business. Questions by address and answers by bytes are limited (`gate`); what is
//! above the limits gets no answer, so that forged questions are worth nothing.
//!
//! Tested by rules here, and against a naive model by the fuzz target `dht_node`.

mod gate;
mod items;
mod peers;
#[cfg(test)]
mod tests;
mod token;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

pub use self::gate::{Budget, Gate};
pub use self::items::{ITEM_LIFE, ItemLimits, ItemStore};
pub use self::peers::{PEER_LIFE, PeerLimits, PeerStore};
pub use self::token::{TOKEN_LEN, Tokens};
use super::contact::{push_addr, push_node};
use super::id::is_local;
use super::item::{Item, immutable_target, mutable_target, view};
use super::message::{
    Body, FILTER_LEN, MAX_SENT, Message, Method, Peers, Query, Response, Sample, Want, code,
};
use super::table::{K, Table};
use crate::ids::NodeId;
use crate::rng::Rng;
use crate::time::Time;
use crate::tracker::Family;
use crate::tracker::reach::{Scope, scope};

/// Client and version, in all that we say (BEP 5, BEP 20).
pub const VERSION: &[u8; 4] = b"SA01";
/// Most bytes of an answer with an item: what IPv6 carries in one piece (RFC 8200: 1,280 with headers).
const MAX_ITEM_SENT: usize = 1232;
/// What an answer takes beside nodes, peers, filters and item: ids, address, token, transaction and keys.
const OVERHEAD: usize = 140;
/// Torrents in a sample: what fits beside the nodes.
const SAMPLE: usize = 24;
/// A sample stays the same for so long (BEP 51: at most six hours).
const SAMPLE_LIFE: Duration = Duration::from_secs(300);
/// How often what is too old is looked for.
const SWEEP: Duration = Duration::from_secs(60);

/// What a node does for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// Caps on peers.
    pub peers: PeerLimits,
    /// Caps on items.
    pub items: ItemLimits,
    /// Questions a second of one address, on average; local addresses are exempt.
    pub queries: u32,
    /// Slots to count them in.
    pub slots: usize,
    /// Bytes a second of all answers, headers included; `None` is no limit.
    pub rate: Option<u64>,
}

impl Default for ServerConfig {
    /// 20 KB/s of answers: some ten times what a node is asked for in the mainline DHT. No address gets more than a quarter
    /// of that, with the longest answers there are.
    fn default() -> Self {
        Self {
            peers: PeerLimits::default(),
            items: ItemLimits::default(),
            queries: 5,
            slots: 1024,
            rate: Some(20_000),
        }
    }
}

impl ServerConfig {
    /// For a public node, which strangers begin with: `rate` bytes of answers a second.
    ///
    /// One address is given no more than by any node, since what it is told may go to a forged sender: 5 answers a second
    /// are 3 KB. But as many as ask at once need slots of their own (1 MiB), lest they be held for one. The stores stay
    /// as they are: announces go to who is closest, and a public node is no closer than others.
    pub fn public(rate: u64) -> Self {
        Self { slots: 65_536, rate: Some(rate), ..Self::default() }
    }
}

/// Who is asked, and by whom.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The table of the family the question came over.
    pub table: &'a Table,
    /// The table of the other family, if there is one.
    pub other: Option<&'a Table>,
    /// Where the question came from.
    pub from: SocketAddr,
}

/// Stores and limits of one node.
#[derive(Clone, Debug)]
pub struct Server {
    tokens: Tokens,
    peers: PeerStore,
    items: ItemStore,
    gate: Gate,
    budget: Budget,
    rng: Rng,
    sample: Option<(Time, Vec<u8>)>,
    swept: Time,
}

/// A refusal: code and words.
type Refusal = (i64, &'static str);

impl Server {
    /// An empty one; `seed` must be secret.
    pub fn new(config: &ServerConfig, seed: u64, now: Time) -> Self {
        let mut rng = Rng::new(seed);
        Self {
            tokens: Tokens::new(rng.next_u64(), now),
            peers: PeerStore::new(config.peers),
            items: ItemStore::new(config.items),
            gate: Gate::new(rng.next_u64(), config.queries, config.slots, now),
            budget: Budget::new(config.rate, now),
            rng,
            sample: None,
            swept: now,
        }
    }

    /// The peers.
    pub const fn peers(&self) -> &PeerStore {
        &self.peers
    }

    /// The items.
    pub const fn items(&self) -> &ItemStore {
        &self.items
    }

    /// Whether a question from `ip` is to be looked at.
    pub fn admits(&mut self, now: Time, ip: IpAddr) -> bool {
        is_local(ip) || self.gate.admits(now, ip)
    }

    /// Whether an answer of so many bytes may go out.
    pub fn affords(&mut self, now: Time, datagram: usize) -> bool {
        self.budget.take(now, datagram)
    }

    /// Forgets what is too old; cheap if it was called within the last minute.
    pub fn sweep(&mut self, now: Time) {
        if now.since(self.swept) >= SWEEP {
            self.swept = now;
            self.peers.expire(now);
            self.items.expire(now);
        }
    }

    /// Appends the answer to a question.
    pub fn answer(
        &mut self,
        now: Time,
        asked: &Asked<'_>,
        transaction: &[u8],
        query: &Query<'_>,
        out: &mut Vec<u8>,
    ) {
        let mut pen = Pen { asked, transaction, out };
        if let Err((code, text)) = self.reply(now, query, &mut pen) {
            pen.write(Body::Error { code, text: text.as_bytes() });
        }
    }

    fn reply(&mut self, now: Time, query: &Query<'_>, pen: &mut Pen<'_>) -> Result<(), Refusal> {
        let own = Response::new(pen.asked.table.own());
        match query.method {
            Method::Ping => pen.say(own),
            Method::FindNode { target } | Method::Unknown { target: Some(target), .. } => {
                let nodes = Nodes::near(pen.asked, query.want, &target, K);
                pen.say(nodes.put_into(own));
            }
            Method::GetPeers { .. } => self.get_peers(now, query, pen),
            Method::AnnouncePeer { info_hash, port, implied_port, seed, token } => {
                let port = if implied_port { pen.asked.from.port() } else { port };
                let addr = SocketAddr::new(pen.asked.from.ip(), port);
                self.check(now, pen.asked, &info_hash, token)?;
                if !self.peers.announce(now, &own.id, info_hash, addr, seed) {
                    return Err((code::SERVER, "no room for this torrent"));
                }
                pen.say(own);
            }
            Method::Get { target, seq } => self.get(now, query.want, &target, seq, pen),
            Method::Put { token, value, signed, cas } => {
                // The signature is the dear part, so it comes last.
                let target = match &signed {
                    Some(signed) => mutable_target(signed.key, signed.salt),
                    None => immutable_target(value.raw()),
                };
                self.check(now, pen.asked, &target, token)?;
                let item = Item::read(value, signed).map_err(|bad| (bad.code(), "not a valid item"))?;
                self.items.put(now, &own.id, pen.asked.from.ip(), item, cas)?;
                pen.say(own);
            }
            Method::SampleInfohashes { target } => {
                let nodes = Nodes::near(pen.asked, Want::default(), &target, K);
                let sample = Some(self.sample(now));
                pen.say(Response { sample, ..nodes.put_into(own) });
            }
            Method::Unknown { target: None, .. } => return Err((code::METHOD_UNKNOWN, "method unknown")),
        }
        Ok(())
    }

    fn check(&mut self, now: Time, asked: &Asked<'_>, target: &NodeId, token: &[u8]) -> Result<(), Refusal> {
        let good = self.tokens.accepts(now, asked.from.ip(), target, token);
        good.then_some(()).ok_or((code::PROTOCOL, "bad token"))
    }

    fn get_peers(&mut self, now: Time, query: &Query<'_>, pen: &mut Pen<'_>) {
        let Method::GetPeers { info_hash, noseed, scrape } = query.method else { return };
        let from = pen.asked.from;
        // Filters leave no room for nodes of the other family (BEP 33).
        let want = if scrape { Want::default() } else { query.want };
        let nodes = Nodes::near(pen.asked, want, &info_hash, K);
        let token = self.tokens.issue(now, from.ip(), &info_hash);
        let filters = if scrape { 2 * (FILTER_LEN + 12) } else { 0 };
        let room = MAX_SENT.saturating_sub(OVERHEAD + nodes.len() + filters);
        let compact = self.compact_peers(&info_hash, from.ip(), room, noseed);
        let values = (!compact.is_empty()).then_some(Peers::Compact(&compact, Family::of(from.ip())));
        let filters = if scrape { self.peers.filters(now, &info_hash) } else { None };
        let (seeds, peers) = filters.map(|(seeds, peers)| (&seeds.0, &peers.0)).unzip();
        let response = nodes.put_into(Response::new(pen.asked.table.own()));
        pen.say(Response { token: Some(&token), values, seeds, peers, ..response });
    }

    /// Peers for who asks from `ip` that take at most `room` bytes in a list.
    fn compact_peers(&mut self, info_hash: &NodeId, ip: IpAddr, room: usize, noseed: bool) -> Vec<u8> {
        let family = Family::of(ip);
        // "6:" or "18:" stands before each.
        let each = family.peer_len() + if family == Family::V4 { 2 } else { 3 };
        let peers = self.peers.sample(info_hash, ip, room / each, noseed, &mut self.rng);
        let mut compact = Vec::with_capacity(peers.len() * family.peer_len());
        peers.iter().for_each(|peer| push_addr(&mut compact, *peer));
        compact
    }

    fn get(&mut self, now: Time, want: Want, target: &NodeId, seq: Option<i64>, pen: &mut Pen<'_>) {
        let token = self.tokens.issue(now, pen.asked.from.ip(), target);
        let item = self.items.get(target);
        let newer = |item: &&Item| item.seq().is_none_or(|ours| seq.is_none_or(|theirs| ours > theirs));
        let shown = item.filter(newer);
        let value = shown.and_then(|item| view(item.value()));
        let signed = shown.and_then(|item| item.mutable());
        let long = shown.map_or(0, |item| item.value().len() + 110);
        let room = MAX_ITEM_SENT.saturating_sub(OVERHEAD + long);
        let nodes = Nodes::near(pen.asked, want, target, (room / 76).min(K));
        let response = nodes.put_into(Response::new(pen.asked.table.own()));
        pen.say(Response {
            token: Some(&token),
            value,
            key: signed.map(|m| &m.key),
            sig: signed.map(|m| &m.sig),
            seq: item.and_then(Item::seq),
            ..response
        });
    }

    fn sample(&mut self, now: Time) -> Sample<'_> {
        if self.sample.as_ref().is_none_or(|(made, _)| now.since(*made) >= SAMPLE_LIFE) {
            let hashes = self.peers.torrents_sample(SAMPLE, &mut self.rng);
            self.sample = Some((now, hashes.iter().flat_map(|hash| hash.0).collect()));
        }
        let num = u32::try_from(self.peers.torrents()).unwrap_or(u32::MAX);
        let (made, hashes) = self.sample.as_ref().map_or((now, &[][..]), |(made, hashes)| (*made, hashes));
        let interval = SAMPLE_LIFE.saturating_sub(now.since(made)).as_secs() as u32;
        Sample { hashes, interval, num }
    }
}

/// Appends an error in answer to a question that could not be read.
pub fn write_error(from: SocketAddr, transaction: &[u8], code: i64, text: &str, out: &mut Vec<u8>) {
    let body = Body::Error { code, text: text.as_bytes() };
    Message { transaction, version: Some(VERSION), ip: Some(from), read_only: false, body }.write(out);
}

/// Writes the answer to one question.
struct Pen<'a> {
    asked: &'a Asked<'a>,
    transaction: &'a [u8],
    out: &'a mut Vec<u8>,
}

impl Pen<'_> {
    fn say(&mut self, response: Response<'_>) {
        self.write(Body::Response(response));
    }

    fn write(&mut self, body: Body<'_>) {
        let ip = Some(self.asked.from);
        let message =
            Message { transaction: self.transaction, version: Some(VERSION), ip, read_only: false, body };
        message.write(self.out);
    }
}

/// Compact nodes for an answer.
struct Nodes {
    v4: Option<Vec<u8>>,
    v6: Option<Vec<u8>>,
}

impl Nodes {
    /// The `count` closest of each family that is wanted (BEP 32), as far as we are a node of it.
    fn near(asked: &Asked<'_>, want: Want, target: &NodeId, count: usize) -> Self {
        let over_v4 = asked.from.is_ipv4();
        let plain = want == Want::default();
        let most = scope(asked.from.ip()).unwrap_or(Scope::Public);
        let of = |v4: bool, wanted: bool| {
            let own_family = v4 == over_v4;
            let table = if own_family { Some(asked.table) } else { asked.other };
            table.filter(|_| wanted || (plain && own_family)).map(|table| compact(table, target, count, most))
        };
        Self { v4: of(true, want.v4), v6: of(false, want.v6) }
    }

    fn len(&self) -> usize {
        [&self.v4, &self.v6].into_iter().flatten().map(|nodes| nodes.len() + 15).sum()
    }

    fn put_into<'a>(&'a self, response: Response<'a>) -> Response<'a> {
        Response { nodes: self.v4.as_deref(), nodes6: self.v6.as_deref(), ..response }
    }
}

fn compact(table: &Table, target: &NodeId, count: usize, most: Scope) -> Vec<u8> {
    let closest = table.closest_within(target, count, most);
    let mut out = Vec::with_capacity(closest.len() * 38);
    closest.iter().for_each(|node| push_node(&mut out, node));
    out
}
