//! Nodes, a network and a clock that jumps to whatever happens next.
//!
//! A step takes one thing off the queue, and only the nodes that it touched are settled and checked: a thousand nodes
//! cost no more a step than two.

use std::net::SocketAddr;
use std::time::Duration;

use samara_proto::bitfield::Bitfield;
use samara_proto::ids::PeerKey;
use samara_proto::peer::Departure;
use samara_proto::rng::Rng;
use samara_proto::time::Time;
use samara_proto::torrent::{Input, Source};

use crate::invariants;
use crate::link::{End, Link, Path};
use crate::net::{Access, Delivery, Net};
use crate::node::{NOBODY, Node, Stage, Wish};
use crate::queue::{Queue, What};
use crate::scenario::{addr, index_of};
use crate::trace::Trace;
use crate::tracker::{Leave, Present, Tracker};

/// After so long a dialler gives up on an address where nobody is.
const NO_ANSWER: Duration = Duration::from_secs(10);
/// Steps at one instant for each node after which the machines are said to run in circles.
const MOST_STEPS: usize = 10_000;

/// The whole simulation.
#[derive(Debug)]
pub struct World {
    /// The present.
    pub now: Time,
    /// All nodes.
    pub nodes: Vec<Node>,
    /// What lies between them.
    pub net: Net,
    /// What happened so far.
    pub trace: Trace,
    /// Pieces that somebody has who had them not from the start.
    pub spread: Bitfield,
    queue: Queue,
    present: Present,
    tracker: Option<Tracker>,
    /// Nodes to be settled.
    touched: Vec<usize>,
    path: Path,
    /// Links are cut that often, on average.
    cuts: Option<Duration>,
    rng: Rng,
    steps: u64,
    steps_here: usize,
}

impl World {
    /// An empty world for a torrent of `pieces` pieces, whose links are like `path`, more or less.
    pub fn new(path: Path, net: Net, pieces: u32, seed: u64) -> Self {
        let now = Time::from_micros(1_000_000);
        Self {
            now,
            nodes: Vec::new(),
            net,
            trace: Trace::default(),
            spread: Bitfield::new(pieces),
            queue: Queue::default(),
            present: Present::default(),
            tracker: None,
            touched: Vec::new(),
            path,
            cuts: None,
            rng: Rng::new(seed),
            steps: 0,
            steps_here: 0,
        }
    }

    /// Cuts a link every `mean`, more or less.
    pub fn cut_every(&mut self, mean: Duration) {
        self.cuts = Some(mean);
        self.queue.push(self.now + mean, What::Cut);
    }

    /// Gives nodes that join from now on addresses.
    pub const fn track(&mut self, tracker: Tracker) {
        self.tracker = Some(tracker);
    }

    /// One node more, which joins after `delay`.
    pub fn add(&mut self, node: Node, access: Access, delay: Duration) {
        self.net.attach(access);
        self.nodes.push(node);
        let index = self.nodes.len() - 1;
        if delay.is_zero() {
            self.present.join(index);
        } else {
            self.queue.push(self.now + delay, What::Join(index));
        }
    }

    /// Whether a node is here.
    pub fn is_here(&self, node: usize) -> bool {
        self.present.has(node)
    }

    /// Gives an input to a node's torrent.
    pub fn give(&mut self, node: usize, input: Input<crate::Payload>) {
        self.nodes[node].torrent.handle(self.now, input);
        self.touch(node);
        self.settle();
    }

    /// Links that exist.
    pub fn links(&self) -> impl Iterator<Item = &Link> {
        self.net.links().map(|(_, link)| link)
    }

    /// Goes to the next thing that happens. False if nothing ever will.
    ///
    /// # Panics
    /// If an invariant breaks, or time stands still.
    pub fn step(&mut self) -> bool {
        let Some((at, what)) = self.queue.pop() else { return false };
        self.steps += 1;
        self.steps_here = if at > self.now { 0 } else { self.steps_here + 1 };
        assert!(self.steps_here < MOST_STEPS * (self.nodes.len() + 1), "time stands still at {:?}", self.now);
        self.now = at;
        self.happen(what);
        self.settle();
        invariants::check_in_turn(self, self.steps);
        true
    }

    fn happen(&mut self, what: What) {
        let now = self.now;
        match what {
            What::Arrive(hop) => {
                let delivery = self.net.arrive(now, &mut self.queue, hop);
                self.deliver(delivery);
            }
            What::Gate(gate) => {
                let delivery = self.net.served(now, &mut self.queue, gate);
                self.deliver(delivery);
            }
            What::Torrent(node) => self.with(node, |node| node.tick_torrent(now)),
            What::Conn(node, peer) => self.with(node, |node| node.tick_conn(now, peer)),
            What::Disk(node) => self.with(node, |node| node.tick_disk(now)),
            What::Dial(from, to) => self.finish_dial(from, to),
            What::Cut => self.cut_some_link(),
            What::Join(node) => self.join(node),
            What::Leave(node) => self.leave(node),
            What::Ask(node) => self.ask(node),
        }
    }

    /// A node begins.
    pub fn join(&mut self, index: usize) {
        self.present.join(index);
        let now = self.now;
        self.nodes[index].begin(now);
        if let Leave::After(stay) = self.nodes[index].leave {
            self.queue.push(now + stay, What::Leave(index));
        }
        self.touch(index);
        self.settle();
        self.ask(index);
    }

    fn leave(&mut self, index: usize) {
        self.present.leave(index);
        self.nodes[index].torrent.handle(self.now, Input::Stop);
        self.touch(index);
    }

    /// A node asks the tracker, if it needs to.
    fn ask(&mut self, index: usize) {
        let Some(tracker) = self.tracker.filter(|_| self.present.has(index)) else { return };
        if (self.nodes[index].torrent.stats().connections as usize) < tracker.enough {
            let addrs = self.present.some(index, tracker.hand, &mut self.rng).into_iter().map(addr).collect();
            self.give(index, Input::Candidates { source: Source::Tracker, addrs });
        }
        self.queue.push(self.now + tracker.every, What::Ask(index));
    }

    fn with(&mut self, node: usize, act: impl FnOnce(&mut Node)) {
        act(&mut self.nodes[node]);
        self.touch(node);
    }

    fn touch(&mut self, node: usize) {
        if !self.touched.contains(&node) {
            self.touched.push(node);
        }
    }

    fn deliver(&mut self, delivery: Option<Delivery>) {
        let Some(Delivery { to, from, chunks }) = delivery else { return };
        for chunk in chunks {
            self.trace.note([self.now.as_micros(), to.node as u64, to.peer.0, chunk.len().into()]);
            self.nodes[to.node].receive(self.now, to.peer, chunk);
        }
        self.touch(to.node);
        if self.nodes[from.node].may_send(from.peer) {
            self.touch(from.node);
        }
    }

    fn settle(&mut self) {
        while let Some(index) = self.touched.pop() {
            let mut wishes = Vec::new();
            let (now, net, queue) = (self.now, &mut self.net, &mut self.queue);
            self.nodes[index].settle(&mut Stage { now, net, queue, wishes: &mut wishes });
            invariants::check_touched(self, index);
            wishes.into_iter().for_each(|wish| self.grant(index, wish));
            self.note_pieces(index);
        }
    }

    /// Looks at what a node got: some leave then.
    fn note_pieces(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        for piece in node.news.pieces.drain(..) {
            self.spread.insert(piece);
        }
        if let (Leave::Done(stay), Some(done)) = (node.leave, node.news.complete.filter(|_| !node.leaving)) {
            node.leaving = true;
            self.queue.push(done.max(self.now) + stay, What::Leave(index));
        }
        if node.leave == Leave::Spread && !node.leaving && self.spread.is_full() {
            node.leaving = true;
            self.queue.push(self.now, What::Leave(index));
        }
    }

    fn grant(&mut self, from: usize, wish: Wish) {
        match wish {
            Wish::Dial(to) => {
                let nobody = index_of(to).is_some_and(|to| to >= NOBODY);
                let wait = if nobody { NO_ANSWER } else { self.path.latency * 2 };
                self.queue.push(self.now + wait, What::Dial(from, to));
            }
            Wish::HangUp(link) => self.cut(link, Departure::Remote),
        }
    }

    fn cut(&mut self, link: u64, why: Departure) {
        for end in self.net.cut(link).into_iter().flatten() {
            self.nodes[end.node].lost(self.now, end.peer, why);
            self.touch(end.node);
        }
    }

    /// Cuts every link of a node, as if it hung up on all.
    pub fn hang_up(&mut self, node: usize) {
        let its = |link: &Link| link.ends.iter().any(|end| end.node == node);
        let links: Vec<u64> = self.net.links().filter(|(_, link)| its(link)).map(|(id, _)| id).collect();
        links.into_iter().for_each(|link| self.cut(link, Departure::Remote));
        self.settle();
    }

    fn cut_some_link(&mut self) {
        let Some(mean) = self.cuts else { return };
        let links: Vec<u64> = self.net.links().map(|(id, _)| id).collect();
        if let Some(link) = links.get(self.rng.index(links.len())) {
            self.cut(*link, Departure::Io);
        }
        let next = mean / 2 + Duration::from_micros(self.rng.below(mean.as_micros() as u64));
        self.queue.push(self.now + next, What::Cut);
    }

    fn finish_dial(&mut self, from: usize, to: SocketAddr) {
        match index_of(to).filter(|to| self.present.has(*to)) {
            Some(to) => self.connect(from, to),
            None => self.nodes[from].torrent.handle(self.now, Input::ConnectFailed { addr: to }),
        }
        self.touch(from);
    }

    fn connect(&mut self, from: usize, to: usize) {
        let id = self.net.next_link();
        let [caller, called] = [from, to].map(|node| self.nodes[node].addr);
        let ends = [(from, 0), (to, 1)].map(|(node, side)| End { node, peer: PeerKey(id * 2 + side) });
        let path = self.some_path();
        self.net.open(ends, path, self.now);
        let caller = SocketAddr::new(caller.ip(), 50_000 + (id % 10_000) as u16);
        self.nodes[to].accepted(ends[1].peer, id, caller);
        self.nodes[from].dialled(self.now, ends[0].peer, id, called);
        self.touch(to);
    }

    /// The usual path, half to one and a half times.
    fn some_path(&mut self) -> Path {
        let scale = |rng: &mut Rng, n: u64| n / 2 + rng.below(n + 1);
        let latency = Duration::from_micros(scale(&mut self.rng, self.path.latency.as_micros() as u64));
        Path { latency, rate: scale(&mut self.rng, self.path.rate) }
    }
}
