//! One machine: a node, perhaps behind a NAT, perhaps a liar.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use samara_proto::dht::node::{Config, Node};
use samara_proto::dht::server::ServerConfig;
use samara_proto::ids::NodeId;
use samara_proto::rng::Rng;
use samara_proto::time::Time;
use samara_proto::tracker::Family;

use super::queue::Quick;

/// How long a NAT lets answers in: what most home routers give UDP (RFC 4787 asks for two minutes at least).
const PINHOLE: Duration = Duration::from_secs(120);

/// What a machine is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Follows the protocol and can be reached.
    Open,
    /// Follows the protocol and lets in only answers.
    Silent,
    /// Takes part like others and lies to whoever looks for something.
    Liar,
    /// Has the id that it wants, close to the thing of this number, and lies.
    Sybil(usize),
}

impl Kind {
    /// Whether it means harm.
    pub const fn is_malicious(self) -> bool {
        matches!(self, Self::Liar | Self::Sybil(_))
    }
}

/// One machine.
#[derive(Debug)]
pub struct Host {
    /// What it is.
    pub kind: Kind,
    /// Where it is.
    pub addr: SocketAddr,
    /// Its node; a Sybil's only has the id.
    pub node: Node,
    /// Where it lies: delays follow from it, in milliseconds.
    pub place: (f64, f64),
    /// When it came.
    pub since: Time,
    /// When its timer is set to.
    pub alarm: Option<Time>,
    /// Bytes that it sent and received, with headers.
    pub bytes: [u64; 2],
    /// To whom a NAT lets in answers, and when it last sent something there.
    pinholes: HashMap<SocketAddr, Time, BuildHasherDefault<Quick>>,
}

impl Host {
    /// A machine that comes now.
    pub fn new(kind: Kind, addr: SocketAddr, id: Option<NodeId>, seed: u64, now: Time) -> Self {
        let mut rng = Rng::new(seed);
        // Small slots: ten thousand nodes share this machine.
        let server = ServerConfig { slots: 64, rate: None, ..ServerConfig::default() };
        let config = Config { id, server, ..Config::new(Family::V4) };
        let place = (rng.below(100) as f64, rng.below(60) as f64);
        let node = Node::new(config, rng.next_u64(), now);
        Self { kind, addr, node, place, since: now, alarm: None, bytes: [0; 2], pinholes: HashMap::default() }
    }

    /// Notes that it sends something.
    pub fn sends(&mut self, now: Time, to: SocketAddr) {
        if self.kind != Kind::Silent {
            return;
        }
        self.pinholes.insert(to, now);
        if self.pinholes.len() > 512 {
            self.pinholes.retain(|_, at| now.since(*at) < PINHOLE);
        }
    }

    /// Whether a packet from there comes through.
    pub fn lets_in(&self, now: Time, from: SocketAddr) -> bool {
        let open = || self.pinholes.get(&from).is_some_and(|at| now.since(*at) < PINHOLE);
        self.kind != Kind::Silent || open()
    }

    /// How long a packet takes to another machine.
    pub fn delay(&self, other: &Self, rng: &mut Rng) -> Duration {
        let (dx, dy) = (self.place.0 - other.place.0, self.place.1 - other.place.1);
        let ms = 8.0 + dx.hypot(dy) + rng.below(10) as f64;
        Duration::from_micros((ms * 1000.0) as u64)
    }
}

/// A public address in a network that few others are in.
pub fn some_address(rng: &mut Rng) -> SocketAddr {
    loop {
        let ip = Ipv4Addr::from_bits(rng.next_u64() as u32);
        let first = ip.octets()[0];
        if (1..=223).contains(&first) && !samara_proto::dht::id::is_local(IpAddr::V4(ip)) {
            return SocketAddr::new(ip.into(), 1024 + rng.below(60_000) as u16);
        }
    }
}
