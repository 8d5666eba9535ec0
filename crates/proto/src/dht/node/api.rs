//! What goes into a node and what comes out.

use std::net::SocketAddr;
use std::time::Duration;

use crate::dht::Contact;
use crate::dht::item::Item;
use crate::dht::outside::Outside;
use crate::dht::server::ServerConfig;
use crate::ids::NodeId;
use crate::time::Time;
use crate::tracker::Family;

/// How a node behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Of all addresses that it deals with.
    pub family: Family,
    /// Its id; `None` takes a random one until the outside address is known.
    pub id: Option<NodeId>,
    /// Answers nobody, and says so (BEP 43).
    pub read_only: bool,
    /// Asks for nodes of the other family too while it joins (BEP 32).
    pub dual: bool,
    /// What it does for others.
    pub server: ServerConfig,
    /// Lookups at once.
    pub lookups: usize,
}

impl Config {
    /// A node of one family that takes part.
    pub fn new(family: Family) -> Self {
        Self { family, id: None, read_only: false, dual: false, server: ServerConfig::default(), lookups: 16 }
    }
}

/// What happened.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// A datagram came. What is no message is passed over.
    Datagram {
        /// Where from.
        from: SocketAddr,
        /// What.
        bytes: &'a [u8],
    },
    /// Nothing can be sent there.
    Unreachable(SocketAddr),
    /// The network is another one, or is there again.
    NetworkChanged,
    /// The [`deadline`](super::Node::deadline) has come.
    Timer,
}

/// Names one thing that a node was asked to do; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Op(pub u64);

/// What a node can be asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Find the nodes closest to a place.
    Find {
        /// The place.
        target: NodeId,
    },
    /// Find peers of a torrent.
    Peers {
        /// The torrent.
        info_hash: NodeId,
        /// Rather such as are no seeds (BEP 33).
        noseed: bool,
        /// Count seeds and peers too (BEP 33).
        scrape: bool,
    },
    /// Find an item (BEP 44).
    Get {
        /// Its key.
        target: NodeId,
        /// What `target` was made with, for mutable items: it does not come with the item.
        salt: Box<[u8]>,
    },
    /// Store an item (BEP 44), once.
    Put {
        /// The item.
        item: Item,
        /// Only where this is the sequence number of what is stored.
        cas: Option<i64>,
    },
    /// Ask the nodes on the way to a place for some of their info-hashes (BEP 51).
    Sample {
        /// The place.
        target: NodeId,
    },
    /// Ask one address whether a node is there.
    Ping {
        /// The address.
        addr: SocketAddr,
    },
}

/// What to tell about a torrent, from now on, again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announce {
    /// The torrent.
    pub info_hash: NodeId,
    /// Where the peer listens.
    pub port: u16,
    /// It listens where the node's datagrams come from, whatever port a NAT makes of it.
    pub implied_port: bool,
    /// It is a seed (BEP 33).
    pub seed: bool,
}

/// What a node wants done, or tells.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Output {
    /// Send this.
    Send {
        /// Where to.
        to: SocketAddr,
        /// What; at most 1,232 bytes and a little more for the longest items.
        datagram: Vec<u8>,
    },
    /// Peers that were not told of before in this run; at most [`super::MAX_PEERS`] in all.
    Peers {
        /// For what.
        op: Op,
        /// Where they listen.
        peers: Vec<SocketAddr>,
    },
    /// An item: the first, or one with a higher sequence number than the one before.
    Item {
        /// For what.
        op: Op,
        /// The item; it was checked.
        item: Item,
    },
    /// Some info-hashes of one node (BEP 51).
    Sample {
        /// For what.
        op: Op,
        /// Whose.
        from: Contact,
        /// At most 75.
        hashes: Vec<NodeId>,
        /// How many it has in all.
        num: u32,
        /// When it will have others.
        interval: Duration,
    },
    /// A run has come to its end. An announce goes on with another one at [`Summary::next`].
    Done {
        /// Of what.
        op: Op,
        /// How it went.
        summary: Box<Summary>,
    },
    /// Our place as others see it changed; the id has been made to fit.
    Outside(Outside),
    /// The node has found its neighbours.
    Joined,
    /// Nodes of the other family (BEP 32).
    Other(Vec<Contact>),
}

/// What was counted since the node was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Questions that came; those of a read-only node are none.
    pub questions: u64,
    /// Of these, more than their sender may ask ([`ServerConfig::queries`]).
    pub limited: u64,
    /// Of these, more than may be answered ([`ServerConfig::rate`]).
    pub unaffordable: u64,
    /// Questions of its own.
    pub asked: u64,
    /// Of these, those that were answered.
    pub answered: u64,
}

impl Counts {
    /// Questions that it answered.
    pub const fn answers(&self) -> u64 {
        self.questions - self.limited - self.unaffordable
    }
}

/// How a run went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Nodes asked.
    pub asked: u32,
    /// Nodes that answered.
    pub answered: u32,
    /// Nodes that took what was to be stored.
    pub stored: u32,
    /// Questions, one after the other, to the closest node.
    pub hops: u8,
    /// How long it took; of a ping, the round trip.
    pub took: Duration,
    /// The closest nodes that answered, closest first; of a ping, the node.
    pub closest: Vec<Contact>,
    /// Peers or items found.
    pub found: u32,
    /// The first code and words of those that refused to store.
    pub refusal: Option<(i64, String)>,
    /// Seeds and other peers as Bloom filters count them (BEP 33).
    pub scrape: Option<(u32, u32)>,
    /// When an announce is made again.
    pub next: Option<Time>,
}
