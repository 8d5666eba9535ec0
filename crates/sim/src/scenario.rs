//! Who takes part in a world, and running it to its end.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use samara_proto::bitfield::Bitfield;
use samara_proto::ids::{PeerId, PieceIndex};
use samara_proto::rng::Rng;
use samara_proto::time::Time;
use samara_proto::torrent::{Config, Input, Known, PieceLayers, Source, Stats, Torrent};

use crate::brain::Brain;
use crate::disk::{Disk, Lies};
use crate::link::Path;
use crate::net::{Access, Net};
use crate::node::Node;
use crate::stock::Stock;
use crate::tracker::{Leave, Tracker};
use crate::{Payload, Sample, World, invariants};

/// What a link holds, unless the scenario says otherwise.
const BUFFER: u32 = 128 * 1024;

/// Virtual time after which a download is said to hang.
const PATIENCE: Duration = Duration::from_secs(2 * 3600);

/// What a node has at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// Everything.
    All,
    /// Nothing.
    Nothing,
    /// Every `of`-th piece from the `part`-th on.
    Part {
        /// 0-based.
        part: u32,
        /// How many parts there are.
        of: u32,
    },
}

/// A node that takes part.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    /// What it is called in tables.
    pub class: &'static str,
    /// What it has.
    pub holds: Holds,
    /// It wants what it has not.
    pub wants: bool,
    /// It knows the info-hash only.
    pub magnet: bool,
    /// It knows the info dictionary but not the piece layers.
    pub no_layers: bool,
    /// When it serves wrong bytes.
    pub lies: Lies,
    /// It never serves a byte, but says it would.
    pub mute: bool,
    /// It unchokes nobody.
    pub selfish: bool,
    /// It is another client.
    pub stock: bool,
    /// It tells all others of peers that do not exist, as many and as often as they listen to.
    pub invents: bool,
    /// It takes pieces in order.
    pub sequential: bool,
    /// It is given the addresses of the others.
    pub knows_others: bool,
    /// Its line.
    pub access: Access,
    /// How long after the start it joins.
    pub joins: Duration,
    /// When it leaves.
    pub leave: Leave,
}

impl Member {
    const BASE: Self = Self {
        class: "leech",
        holds: Holds::Nothing,
        wants: true,
        magnet: false,
        no_layers: false,
        lies: Lies::Never,
        mute: false,
        selfish: false,
        stock: false,
        invents: false,
        sequential: false,
        knows_others: true,
        access: Access { up: None, down: None, island: false },
        joins: Duration::ZERO,
        leave: Leave::Never,
    };

    /// Has everything and waits to be called.
    pub const SEED: Self = Self { class: "seed", holds: Holds::All, knows_others: false, ..Self::BASE };
    /// Has nothing and calls everyone.
    pub const LEECH: Self = Self::BASE;
    /// Says it has everything, and lies.
    pub const LIAR: Self = Self { class: "liar", lies: Lies::Always, ..Self::SEED };
    /// Says it has everything, and lies now and then.
    pub const SLY: Self = Self { class: "sly", lies: Lies::Now, ..Self::SEED };
    /// Says it has everything, and is silent.
    pub const MUTE: Self = Self { class: "mute", mute: true, ..Self::SEED };
    /// Knows only the info-hash.
    pub const MAGNET: Self = Self { magnet: true, ..Self::BASE };

    /// Has a part of the pieces, and wants no more.
    pub const fn part(part: u32, of: u32) -> Self {
        Self { holds: Holds::Part { part, of }, wants: false, ..Self::SEED }
    }

    fn have(&self, pieces: u32) -> Bitfield {
        let mut have = Bitfield::new(pieces);
        for piece in 0..pieces {
            let held = match self.holds {
                Holds::All => true,
                Holds::Nothing => false,
                Holds::Part { part, of } => piece % of == part,
            };
            if held {
                have.insert(PieceIndex(piece));
            }
        }
        have
    }

    /// It gives what it can: right bytes, and to others than itself.
    pub const fn contributes(&self) -> bool {
        matches!(self.lies, Lies::Never) && !self.mute && !self.selfish
    }

    /// Whether everyone waits for it to have everything in the end.
    pub const fn must_finish(&self) -> bool {
        self.wants && self.contributes() && !matches!(self.leave, Leave::After(_))
    }
}

/// A cast and a stage.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The torrent.
    pub sample: Sample,
    /// Who takes part.
    pub members: Vec<Member>,
    /// What links are like.
    pub path: Path,
    /// How often a link is cut.
    pub cuts: Option<Duration>,
    /// What a link holds beside what is on its path, in bytes each way.
    pub buffer: u32,
    /// What is written comes in pieces, split at random.
    pub ragged: bool,
    /// The rate of the one bridge between the islands, in bytes a second each way.
    pub bridge: Option<u64>,
    /// Most connections of a node.
    pub max_peers: usize,
    /// Where nodes learn of others, unless all who join at the start know all others.
    pub tracker: Option<Tracker>,
    /// Nodes are told of the first one only, and learn of others by peer exchange.
    pub pex: bool,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Fingerprint of all that happened.
    pub trace: u64,
    /// Virtual time until the last was done.
    pub took: Duration,
    /// Numbers of each node at the end.
    pub stats: Vec<Stats>,
}

impl Scenario {
    /// These members over links of 20 ms and 4 MB/s that hold.
    pub const fn new(sample: Sample, members: Vec<Member>) -> Self {
        let path = Path { latency: Duration::from_millis(20), rate: 4_000_000 };
        let (buffer, ragged, bridge, max_peers, pex) = (BUFFER, true, None, 80, false);
        Self { sample, members, path, cuts: None, buffer, ragged, bridge, max_peers, tracker: None, pex }
    }

    /// The world at its beginning.
    ///
    /// # Panics
    /// If the sample is no good.
    pub fn world(&self, seed: u64) -> World {
        let mut rng = Rng::new(seed);
        let mut net = Net::new(self.buffer, self.ragged, rng.next_u64());
        if let Some(rate) = self.bridge {
            net.build_bridge(rate);
        }
        let pieces = self.sample.info.num_pieces();
        let mut world = World::new(self.path, net, pieces, rng.next_u64());
        self.cuts.into_iter().for_each(|mean| world.cut_every(mean));
        self.tracker.into_iter().for_each(|tracker| world.track(tracker));
        for (index, member) in self.members.iter().enumerate() {
            let node = self.node(index, member, rng.next_u64(), world.now);
            world.add(node, member.access, member.joins);
        }
        self.begin(&mut world);
        world
    }

    /// Those who are here from the start begin. Of peer exchange all others know where to ask, whenever they come.
    fn begin(&self, world: &mut World) {
        for (index, member) in self.members.iter().enumerate() {
            if member.joins.is_zero() {
                world.join(index);
            }
            let told = self.tracker.is_none() && (member.joins.is_zero() || self.pex);
            if member.knows_others && told {
                let all = if self.pex { 1 } else { self.members.len() };
                let addrs = (0..all).filter(|i| *i != index).map(addr).collect();
                world.give(index, Input::Candidates { source: Source::User, addrs });
            }
        }
    }

    fn node(&self, index: usize, member: &Member, seed: u64, now: Time) -> Node {
        let id = peer_id(index);
        let wanted = if member.wants { None } else { Some(Vec::new()) };
        let (sequential, max_peers, pex) = (member.sequential, self.max_peers, self.pex);
        let config = Config { sequential, wanted, max_peers, pex, ..Config::new(id) };
        let torrent = self.brain(member, config, seed, now);
        let have = member.have(self.sample.info.num_pieces());
        let disk = Disk::new(self.sample.clone(), have.clone(), member.lies, member.mute);
        let mut node = Node::new(index, id, torrent, disk, self.sample.clone());
        (node.max_peers, node.leave, node.selfish) = (max_peers, member.leave, member.selfish);
        node.invents = member.invents;
        node.holds = (!member.magnet).then_some(have);
        node
    }

    fn brain(&self, member: &Member, config: Config, seed: u64, now: Time) -> Brain {
        if member.stock {
            let (info, layout) = (self.sample.info.clone(), self.sample.layout.clone());
            return Brain::Stock(Box::new(Stock::new(
                config.peer_id,
                info,
                layout,
                config.max_peers,
                seed,
                now,
            )));
        }
        Brain::Samara(Box::new(self.torrent(member, config, seed, now)))
    }

    fn torrent(&self, member: &Member, config: Config, seed: u64, now: Time) -> Torrent<Payload> {
        if member.magnet {
            return Torrent::new(config, self.sample.info.hashes(), seed, now);
        }
        let piece_layers = if member.no_layers { PieceLayers::new() } else { self.sample.layers.clone() };
        let known = Known { info: self.sample.info.clone(), piece_layers };
        Torrent::with_info(config, known, seed, now).expect("a good sample")
    }

    /// Runs until everyone who can has everything.
    ///
    /// # Panics
    /// If an invariant breaks, or somebody never gets there.
    pub fn run(&self, seed: u64) -> (Report, World) {
        let mut world = self.world(seed);
        let start = world.now;
        let finishes = |index: usize| self.members[index].must_finish();
        let mut waiting: Vec<usize> = (0..self.members.len()).filter(|index| finishes(*index)).collect();
        while someone_waits(&world, &mut waiting) {
            assert!(world.step(), "seed {seed}: work remains, but nothing will ever happen");
            assert!(world.now.since(start) < PATIENCE, "seed {seed}: somebody hangs");
        }
        invariants::check(&world);
        let stats = world.nodes.iter().map(|node| node.torrent.stats()).collect();
        let report = Report { trace: world.trace.value(), took: world.now.since(start), stats };
        (report, world)
    }
}

/// Whether a node of `waiting` is not complete. Those found complete are taken off, so that asking
/// after every step costs nothing.
pub(crate) fn someone_waits(world: &World, waiting: &mut Vec<usize>) -> bool {
    while let Some(last) = waiting.last() {
        if !world.nodes[*last].torrent.is_complete() {
            return true;
        }
        waiting.pop();
    }
    false
}

/// Where the `index`-th node listens. There is room for 16 million.
pub fn addr(index: usize) -> SocketAddr {
    let [_, a, b, c] = (index as u32 + 1).to_be_bytes();
    SocketAddr::from(([10, a, b, c], 6881))
}

/// Which node listens there.
pub fn index_of(addr: SocketAddr) -> Option<usize> {
    let IpAddr::V4(ip) = addr.ip() else { return None };
    let [_, a, b, c] = ip.octets();
    (u32::from_be_bytes([0, a, b, c]) as usize).checked_sub(1)
}

fn peer_id(index: usize) -> PeerId {
    let mut id = [0; 20];
    id.chunks_mut(4).for_each(|part| part.copy_from_slice(&(index as u32 + 1).to_be_bytes()));
    PeerId(id)
}
