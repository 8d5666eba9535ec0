//! KRPC: what nodes of the DHT say to each other, to and from bytes.
//!
//! Spec: BEP 5 (ping, find_node, get_peers, announce_peer, errors), BEP 32 (`want`, `nodes6`), BEP 33 (`noseed`,
//! `scrape`, `seed`, filters), BEP 42 (`ip`), BEP 43 (`ro`), BEP 44 (get, put), BEP 51 (sample_infohashes). Messages
//! borrow from the datagram; nothing is copied.
//!
//! Refused: datagrams above [`MAX_READ`], transaction ids above [`MAX_TRANSACTION`], tokens above [`MAX_TOKEN`], and
//! messages without what they need. A refused query says what to answer ([`Refused`]); a refused answer is nobody's. In
//! an answer a field that is not needed and malformed counts as absent. Unknown keys are passed over; a query of an
//! unknown name keeps its target, since the practice of deployed nodes is to answer it like find_node.
//!
//! Tested by the examples of the BEPs, by a round trip of every kind, and by the fuzz target `dht_message`.

mod read;
#[cfg(test)]
mod tests;
mod write;

use std::net::SocketAddr;

use super::contact::read_addr;
use crate::bencode::{Limits, List, Value};
use crate::ids::NodeId;
use crate::tracker::Family;

pub use read::parse;

/// Most bytes of a datagram that we send (BEP 32).
pub const MAX_SENT: usize = 1024;
/// Most bytes of a datagram that is read: what others may send beyond BEP 32 still fits a packet of Ethernet.
pub const MAX_READ: usize = 1500;
/// Longest transaction id that is echoed, in bytes. Deployed nodes use 2 to 20.
pub const MAX_TRANSACTION: usize = 32;
/// Longest token that is kept, in bytes. Deployed nodes use 4 to 20.
pub const MAX_TOKEN: usize = 64;
/// Longest value of an item, bencoded, in bytes (BEP 44).
pub const MAX_VALUE: usize = 1000;
/// Longest salt of an item, in bytes (BEP 44).
pub const MAX_SALT: usize = 64;
/// Bytes of a Bloom filter (BEP 33).
pub const FILTER_LEN: usize = 256;

/// What a datagram may cost to read. An item's value may nest as deep as it likes within its 1,000 bytes; nobody needs
/// more than these levels.
const LIMITS: Limits = Limits { len: MAX_READ, depth: 64, items: MAX_READ };

/// Error codes (BEP 5, BEP 44).
pub mod code {
    /// Something went wrong.
    pub const GENERIC: i64 = 201;
    /// The node cannot serve this now.
    pub const SERVER: i64 = 202;
    /// Malformed packet, invalid arguments, or bad token.
    pub const PROTOCOL: i64 = 203;
    /// A query that is not known.
    pub const METHOD_UNKNOWN: i64 = 204;
    /// The value is longer than 1,000 bytes.
    pub const VALUE_TOO_BIG: i64 = 205;
    /// The signature does not fit.
    pub const BAD_SIGNATURE: i64 = 206;
    /// The salt is longer than 64 bytes.
    pub const SALT_TOO_BIG: i64 = 207;
    /// What is stored has another sequence number than `cas` says.
    pub const CAS_MISMATCH: i64 = 301;
    /// The sequence number is not above the stored one.
    pub const SEQ_TOO_OLD: i64 = 302;
}

/// One datagram.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Message<'a> {
    /// Chosen by who asks, echoed in the answer.
    pub transaction: &'a [u8],
    /// Client and version, four bytes as a rule.
    pub version: Option<&'a [u8]>,
    /// In an answer: where the question came from (BEP 42).
    pub ip: Option<SocketAddr>,
    /// In a question: who asks answers nobody (BEP 43).
    pub read_only: bool,
    /// The rest.
    pub body: Body<'a>,
}

/// Question, answer or refusal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Body<'a> {
    /// A question.
    Query(Query<'a>),
    /// An answer. Boxed would be an allocation for each; it is long because it has many optional fields.
    Response(Response<'a>),
    /// A refusal.
    Error {
        /// One of [`code`], or whatever else was sent.
        code: i64,
        /// Words for people, perhaps empty.
        text: &'a [u8],
    },
}

/// A question.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Query<'a> {
    /// Who asks.
    pub id: NodeId,
    /// Nodes of which families (BEP 32).
    pub want: Want,
    /// What for.
    pub method: Method<'a>,
}

/// Which families of nodes an answer shall hold (BEP 32). Neither means the family the question came over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Want {
    /// `n4`
    pub v4: bool,
    /// `n6`
    pub v6: bool,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Method<'a> {
    /// Whether it is there.
    Ping,
    /// Nodes close to a place.
    FindNode {
        /// The place.
        target: NodeId,
    },
    /// Peers of a torrent, a token, and nodes closer to it.
    GetPeers {
        /// The torrent.
        info_hash: NodeId,
        /// Rather such as are no seeds (BEP 33).
        noseed: bool,
        /// With Bloom filters of all of them (BEP 33).
        scrape: bool,
    },
    /// We are a peer of a torrent.
    AnnouncePeer {
        /// The torrent.
        info_hash: NodeId,
        /// Where it listens; passed over with `implied_port`, and 0 only then.
        port: u16,
        /// It listens where this question comes from.
        implied_port: bool,
        /// It is a seed (BEP 33).
        seed: bool,
        /// As given by the node that is asked.
        token: &'a [u8],
    },
    /// An item (BEP 44), a token, and nodes closer to it.
    Get {
        /// Its key.
        target: NodeId,
        /// Only if its sequence number is above this.
        seq: Option<i64>,
    },
    /// Keep an item (BEP 44).
    Put {
        /// As given by the node that is asked.
        token: &'a [u8],
        /// The value, perhaps longer than [`MAX_VALUE`]: that has an error code of its own.
        value: Value<'a>,
        /// If it is mutable.
        signed: Option<Signed<'a>>,
        /// Only if this is the sequence number of what is stored.
        cas: Option<i64>,
    },
    /// Some info-hashes of those a node has peers of (BEP 51), and nodes close to a place.
    SampleInfohashes {
        /// The place.
        target: NodeId,
    },
    /// Something else.
    Unknown {
        /// Its name.
        name: &'a [u8],
        /// What its `target` or `info_hash` says.
        target: Option<NodeId>,
    },
}

/// What makes an item mutable (BEP 44).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signed<'a> {
    /// The public key.
    pub key: &'a [u8; 32],
    /// Tells items of one key apart; perhaps empty, perhaps longer than [`MAX_SALT`].
    pub salt: &'a [u8],
    /// Higher is newer.
    pub seq: i64,
    /// Over salt, sequence number and value.
    pub sig: &'a [u8; 64],
}

/// An answer: what is not part of it is `None`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Response<'a> {
    /// Who answers.
    pub id: NodeId,
    /// Compact IPv4 nodes; read them with [`super::contact::read_nodes`].
    pub nodes: Option<&'a [u8]>,
    /// Compact IPv6 nodes (BEP 32).
    pub nodes6: Option<&'a [u8]>,
    /// To announce or put with.
    pub token: Option<&'a [u8]>,
    /// Peers.
    pub values: Option<Peers<'a>>,
    /// Of all seeds that it knows (BEP 33).
    pub seeds: Option<&'a [u8; FILTER_LEN]>,
    /// Of all other peers that it knows (BEP 33).
    pub peers: Option<&'a [u8; FILTER_LEN]>,
    /// An item's value (BEP 44).
    pub value: Option<Value<'a>>,
    /// An item's key.
    pub key: Option<&'a [u8; 32]>,
    /// An item's signature.
    pub sig: Option<&'a [u8; 64]>,
    /// An item's sequence number.
    pub seq: Option<i64>,
    /// Info-hashes (BEP 51).
    pub sample: Option<Sample<'a>>,
}

/// Some info-hashes (BEP 51).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample<'a> {
    /// 20 bytes each.
    pub hashes: &'a [u8],
    /// Seconds until there is another sample; 0 to 21,600.
    pub interval: u32,
    /// How many the node has in all.
    pub num: u32,
}

/// Peers in an answer: as they were read, or compact and one after the other, to be written.
#[derive(Clone, Copy, Debug)]
pub enum Peers<'a> {
    /// A bencoded list of strings.
    Read(List<'a>),
    /// Compact addresses of one family.
    Compact(&'a [u8], Family),
}

impl<'a> Response<'a> {
    /// An answer that says no more than who gives it.
    pub const fn new(id: NodeId) -> Self {
        Self {
            id,
            nodes: None,
            nodes6: None,
            token: None,
            values: None,
            seeds: None,
            peers: None,
            value: None,
            key: None,
            sig: None,
            seq: None,
            sample: None,
        }
    }

    /// The nodes of one family.
    pub const fn nodes_of(&self, family: Family) -> Option<&'a [u8]> {
        match family {
            Family::V4 => self.nodes,
            Family::V6 => self.nodes6,
        }
    }
}

impl<'a> Peers<'a> {
    /// The addresses, of either family, whether anybody can be there or not.
    pub fn iter(self) -> impl Iterator<Item = SocketAddr> + use<'a> {
        let (list, compact) = match self {
            Self::Read(list) => (Some(list), None),
            Self::Compact(bytes, family) => (None, Some(bytes.chunks_exact(family.peer_len()))),
        };
        let read = list.into_iter().flatten().filter_map(|value| value.as_bytes());
        read.chain(compact.into_iter().flatten()).filter_map(read_addr)
    }
}

/// By what they say.
impl PartialEq for Peers<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Method<'_> {
    /// What the question is about; a ping and a put have nothing.
    pub const fn target(&self) -> Option<NodeId> {
        match *self {
            Self::Ping | Self::Put { .. } => None,
            Self::FindNode { target } | Self::Get { target, .. } | Self::SampleInfohashes { target } => {
                Some(target)
            }
            Self::GetPeers { info_hash, .. } | Self::AnnouncePeer { info_hash, .. } => Some(info_hash),
            Self::Unknown { target, .. } => target,
        }
    }
}

/// Why a datagram is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused<'a> {
    /// Nothing that could be answered.
    Garbage,
    /// A question that is not understood: an error is due.
    Query {
        /// To be echoed.
        transaction: &'a [u8],
        /// What to answer.
        code: i64,
        /// What is wrong.
        text: &'static str,
    },
}
