//! Nodes, links and a clock that jumps to whatever happens next.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use samara_proto::ids::PeerKey;
use samara_proto::peer::Departure;
use samara_proto::rng::Rng;
use samara_proto::time::Time;
use samara_proto::torrent::Input;

use crate::invariants;
use crate::link::{End, Link, Path};
use crate::node::{Node, Wish};
use crate::trace::Trace;

/// Steps at one instant after which the machines are said to run in circles.
const MOST_STEPS: u32 = 10_000;

/// A connection that is being opened.
#[derive(Debug)]
struct Dial {
    at: Time,
    from: usize,
    to: SocketAddr,
}

/// The whole simulation.
#[derive(Debug)]
pub struct World {
    /// The present.
    pub now: Time,
    /// All nodes.
    pub nodes: Vec<Node>,
    /// What happened so far.
    pub trace: Trace,
    links: BTreeMap<u64, Link>,
    dials: Vec<Dial>,
    path: Path,
    /// Links are cut that often, on average.
    cuts: Option<Duration>,
    next_cut: Option<Time>,
    next_name: u64,
    rng: Rng,
    steps_here: u32,
}

impl World {
    /// An empty world, whose links are like `path`, more or less, and are cut every `cuts`, more or less.
    pub fn new(path: Path, cuts: Option<Duration>, seed: u64) -> Self {
        let now = Time::from_micros(1_000_000);
        Self {
            now,
            nodes: Vec::new(),
            trace: Trace::default(),
            links: BTreeMap::new(),
            dials: Vec::new(),
            path,
            next_cut: cuts.map(|mean| now + mean),
            cuts,
            next_name: 0,
            rng: Rng::new(seed),
            steps_here: 0,
        }
    }

    fn name(&mut self) -> u64 {
        self.next_name += 1;
        self.next_name
    }

    /// Gives an input to a node's torrent.
    pub fn give(&mut self, node: usize, input: Input<crate::Payload>) {
        self.nodes[node].torrent.handle(self.now, input);
        self.settle();
    }

    /// Links that exist.
    pub fn links(&self) -> impl Iterator<Item = &Link> {
        self.links.values()
    }

    /// Goes to the next thing that happens. False if nothing ever will.
    ///
    /// # Panics
    /// If an invariant breaks, or time stands still.
    pub fn step(&mut self) -> bool {
        let Some(next) = self.deadline() else { return false };
        self.steps_here = if next > self.now { 0 } else { self.steps_here + 1 };
        assert!(self.steps_here < MOST_STEPS, "time stands still at {:?}", self.now);
        self.now = self.now.max(next);
        self.cut_links();
        self.finish_dials();
        self.deliver();
        self.nodes.iter_mut().for_each(|node| node.tick(self.now));
        self.settle();
        invariants::check(self);
        true
    }

    fn deadline(&self) -> Option<Time> {
        let nodes = self.nodes.iter().filter_map(Node::deadline);
        let links = self.links.values().filter_map(Link::deadline);
        let dials = self.dials.iter().map(|dial| dial.at);
        let next = nodes.chain(links).chain(dials).min()?;
        Some(self.next_cut.map_or(next, |cut| next.min(cut)))
    }

    fn deliver(&mut self) {
        for link in self.links.values_mut() {
            for side in [0, 1] {
                let end = link.ends[side];
                while let Some(chunk) = link.receive(self.now, side) {
                    self.trace.note([self.now.as_micros(), end.node as u64, end.peer.0, chunk.len().into()]);
                    self.nodes[end.node].receive(self.now, end.peer, chunk);
                }
            }
        }
    }

    fn settle(&mut self) {
        loop {
            let mut wishes = Vec::new();
            for (index, node) in self.nodes.iter_mut().enumerate() {
                let before = wishes.len();
                let mut own = Vec::new();
                node.settle(self.now, &mut self.links, &mut own);
                wishes.extend(own.into_iter().map(|wish| (index, wish)));
                self.trace.note([(wishes.len() - before) as u64]);
            }
            if wishes.is_empty() {
                return;
            }
            wishes.into_iter().for_each(|(node, wish)| self.grant(node, wish));
        }
    }

    fn grant(&mut self, from: usize, wish: Wish) {
        match wish {
            Wish::Dial(to) => self.dials.push(Dial { at: self.now + self.path.latency * 2, from, to }),
            Wish::HangUp(link) => self.cut(link, Departure::Remote),
        }
    }

    fn cut(&mut self, link: u64, why: Departure) {
        let Some(link) = self.links.remove(&link) else { return };
        for end in link.ends {
            self.nodes[end.node].lost(self.now, end.peer, why);
        }
    }

    fn cut_links(&mut self) {
        let (Some(at), Some(mean)) = (self.next_cut, self.cuts) else { return };
        if self.now < at {
            return;
        }
        let links: Vec<u64> = self.links.keys().copied().collect();
        if let Some(link) = links.get(self.rng.index(links.len())) {
            self.cut(*link, Departure::Io);
        }
        self.next_cut =
            Some(self.now + mean / 2 + Duration::from_micros(self.rng.below(mean.as_micros() as u64)));
    }

    fn finish_dials(&mut self) {
        let due: Vec<_> = self.dials.extract_if(.., |dial| dial.at <= self.now).collect();
        for dial in due {
            match self.nodes.iter().position(|node| node.addr == dial.to) {
                Some(to) => self.connect(dial.from, to),
                None => {
                    self.nodes[dial.from].torrent.handle(self.now, Input::ConnectFailed { addr: dial.to })
                }
            }
        }
    }

    fn connect(&mut self, from: usize, to: usize) {
        let ends = [from, to].map(|node| End { node, peer: PeerKey(self.name()) });
        let (id, seed) = (self.name(), self.rng.next_u64());
        let path = self.some_path();
        self.links.insert(id, Link::new(ends, path, self.now, seed));
        let port = 50_000 + (id % 10_000) as u16;
        let caller = SocketAddr::new(self.nodes[from].addr.ip(), port);
        let called = self.nodes[to].addr;
        self.nodes[to].accepted(ends[1].peer, id, caller);
        self.nodes[from].dialled(self.now, ends[0].peer, id, called);
    }

    /// The usual path, half to one and a half times.
    fn some_path(&mut self) -> Path {
        let scale = |rng: &mut Rng, n: u64| n / 2 + rng.below(n + 1);
        let latency = Duration::from_micros(scale(&mut self.rng, self.path.latency.as_micros() as u64));
        Path { latency, rate: scale(&mut self.rng, self.path.rate) }
    }
}
