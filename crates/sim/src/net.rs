//! The network: links, the lines they share, and what is under way.
//!
//! A packet goes through the sender's uplink, over the path, perhaps over a bridge between two islands, and through the
//! receiver's downlink. Uplinks, downlinks and bridges are [`Gate`]s, shared by all connections; the path belongs to
//! one. Without a rate a gate is no hindrance. A block with its header is one packet, and so are control messages that
//! were written together, up to a block, so that no connection holds a line for long.

use samara_proto::peer::Transmit;
use samara_proto::rng::Rng;
use samara_proto::time::Time;

use crate::Payload;
use crate::gate::Gate;
use crate::link::{Chunk, End, HOPS, Link, Packet, Path, Pipe};
use crate::queue::{Queue, What};

/// Most bytes of a packet: a block with its header.
const MOST: u32 = 16 * 1024 + 64;
/// The hop of the sender's uplink, that of a bridge, and that of the receiver's downlink.
const UPLINK: u8 = 0;
const BRIDGE: u8 = 1;
const DOWNLINK: u8 = 2;

/// A place on the way of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hop {
    /// Which link.
    pub link: u32,
    /// Which side of it sent.
    pub side: u8,
    /// Which of its hops.
    pub hop: u8,
}

/// Something came out of a link.
#[derive(Debug)]
pub struct Delivery {
    /// Where.
    pub to: End,
    /// Who may send more now.
    pub from: End,
    /// What.
    pub chunks: Vec<Chunk>,
}

/// Bytes since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Payload that was sent.
    pub payload: u64,
    /// All else that was sent.
    pub control: u64,
    /// Payload that came out.
    pub delivered: u64,
    /// Payload that was under way when its link was cut.
    pub dropped: u64,
    /// Payload that crossed a bridge.
    pub bridged: u64,
}

/// How a node is connected to the network.
#[derive(Clone, Copy, Debug, Default)]
pub struct Access {
    /// Bytes a second up; `None` for no limit.
    pub up: Option<u64>,
    /// Bytes a second down.
    pub down: Option<u64>,
    /// On which side of the bridge.
    pub island: bool,
}

/// Where a node's lines are.
#[derive(Clone, Copy, Debug)]
struct Port {
    up: Option<u32>,
    down: Option<u32>,
    island: bool,
}

/// All links.
#[derive(Debug)]
pub struct Net {
    links: Vec<Option<Box<Link>>>,
    gates: Vec<Gate>,
    ports: Vec<Port>,
    /// The gates of the bridge to the main island and from it, if there is one.
    bridge: Option<[u32; 2]>,
    /// Bytes that a pipe holds beside those on the path.
    buffer: u32,
    /// What is written is split at random, each part a packet.
    ragged: bool,
    rng: Rng,
    /// Bytes so far.
    pub totals: Totals,
}

impl Net {
    /// A network without nodes.
    pub const fn new(buffer: u32, ragged: bool, seed: u64) -> Self {
        let totals = Totals { payload: 0, control: 0, delivered: 0, dropped: 0, bridged: 0 };
        Self {
            links: Vec::new(),
            gates: Vec::new(),
            ports: Vec::new(),
            bridge: None,
            buffer,
            ragged,
            rng: Rng::new(seed),
            totals,
        }
    }

    /// The next node is connected like this.
    pub fn attach(&mut self, access: Access) {
        let [up, down] = [access.up, access.down].map(|rate| rate.map(|rate| self.gate(rate)));
        self.ports.push(Port { up, down, island: access.island });
    }

    /// Builds the bridge, with `rate` bytes a second each way.
    pub fn build_bridge(&mut self, rate: u64) {
        self.bridge = Some([self.gate(rate), self.gate(rate)]);
    }

    fn gate(&mut self, rate: u64) -> u32 {
        self.gates.push(Gate::new(rate));
        self.gates.len() as u32 - 1
    }

    /// The name that the next link will have.
    pub const fn next_link(&self) -> u64 {
        self.links.len() as u64
    }

    /// Links two nodes.
    pub fn open(&mut self, ends: [End; 2], path: Path, now: Time) {
        let pipes = [
            self.pipe(ends[0].node, ends[1].node, path, now),
            self.pipe(ends[1].node, ends[0].node, path, now),
        ];
        self.links.push(Some(Box::new(Link { ends, pipes })));
    }

    fn pipe(&self, from: usize, to: usize, path: Path, now: Time) -> Pipe {
        let (from, to) = (self.ports[from], self.ports[to]);
        let bridge = self.bridge.filter(|_| from.island != to.island);
        let gates: [Option<u32>; HOPS] =
            [from.up, bridge.map(|gates| gates[usize::from(from.island)]), to.down];
        let rates = gates.iter().flatten().map(|gate| self.gates[*gate as usize].rate());
        let rate = rates.fold(path.rate, u64::min);
        Pipe::new(path, gates, rate, self.buffer, now)
    }

    /// Links that exist, by name.
    pub fn links(&self) -> impl Iterator<Item = (u64, &Link)> {
        (0..).zip(&self.links).filter_map(|(id, link)| Some((id, link.as_deref()?)))
    }

    fn link(&mut self, id: u32) -> Option<&mut Link> {
        self.links.get_mut(id as usize)?.as_deref_mut()
    }

    /// Takes a link away, with all that is on it.
    pub fn cut(&mut self, link: u64) -> Option<[End; 2]> {
        let link = self.links.get_mut(link as usize)?.take()?;
        self.totals.dropped += link.payload();
        Some(link.ends)
    }

    /// Whether `side` may send more.
    pub fn has_room(&self, link: u64, side: usize) -> bool {
        let link = self.links.get(link as usize).and_then(Option::as_deref);
        link.is_some_and(|link| link.has_room(side))
    }

    /// `side` writes. What it wrote leaves with the next [`flush`](Self::flush) at the latest.
    pub fn send(&mut self, now: Time, queue: &mut Queue, link: u64, side: usize, what: Transmit<Payload>) {
        let hop = Hop { link: link as u32, side: side as u8, hop: UPLINK };
        match what {
            Transmit::Bytes(bytes) => self.send_bytes(now, queue, hop, bytes),
            Transmit::Payload(payload) => self.send_payload(now, queue, hop, payload),
        }
    }

    fn send_bytes(&mut self, now: Time, queue: &mut Queue, hop: Hop, mut bytes: Vec<u8>) {
        self.totals.control += bytes.len() as u64;
        while !bytes.is_empty() {
            let len = self.some_of(bytes.len());
            let rest = bytes.split_off(len);
            self.write(now, queue, hop, Chunk::Bytes(std::mem::replace(&mut bytes, rest)));
        }
    }

    fn send_payload(&mut self, now: Time, queue: &mut Queue, hop: Hop, payload: Payload) {
        let mut left = payload.block.len;
        self.totals.payload += u64::from(left);
        while left > 0 {
            let len = self.some_of(left as usize) as u32;
            left -= len;
            self.write(now, queue, hop, Chunk::Part { payload, len, last: left == 0 });
        }
    }

    /// Mostly all of `len`, at times only some of it; never more than a packet.
    fn some_of(&mut self, len: usize) -> usize {
        let split = self.ragged && self.rng.below(4) == 0;
        let len = len.min(MOST as usize);
        if split { 1 + self.rng.index(len) } else { len }
    }

    fn write(&mut self, now: Time, queue: &mut Queue, hop: Hop, chunk: Chunk) {
        let ragged = self.ragged;
        let Some(link) = self.link(hop.link) else { return };
        let pipe = &mut link.pipes[usize::from(hop.side)];
        pipe.under_way += chunk.len();
        if ragged || (pipe.building.len > 0 && pipe.building.len + chunk.len() > MOST) {
            self.flush(now, queue, hop.link.into(), hop.side.into());
        }
        let Some(link) = self.link(hop.link) else { return };
        link.pipes[usize::from(hop.side)].building.push(chunk);
    }

    /// Sends off what `side` wrote.
    pub fn flush(&mut self, now: Time, queue: &mut Queue, link: u64, side: usize) {
        let hop = Hop { link: link as u32, side: side as u8, hop: UPLINK };
        let Some(link) = self.link(hop.link) else { return };
        let packet = std::mem::take(&mut link.pipes[side].building);
        if packet.len > 0 {
            self.enter(now, queue, hop, packet);
        }
    }

    /// A packet comes to a hop.
    fn enter(&mut self, now: Time, queue: &mut Queue, hop: Hop, packet: Packet) -> Option<Delivery> {
        let pipe = &mut self.links.get_mut(hop.link as usize)?.as_deref_mut()?.pipes[usize::from(hop.side)];
        let at = usize::from(hop.hop);
        let Some(gate) = pipe.gates[at] else { return self.pass(now, queue, hop, packet) };
        let line = &mut self.gates[gate as usize];
        if !pipe.listed[at] && line.slip(now, packet.len) {
            return self.pass(now, queue, hop, packet);
        }
        if !std::mem::replace(&mut pipe.listed[at], true) {
            line.list(hop);
        }
        pipe.waiting[at].push_back(packet);
        self.serve(now, queue, gate);
        None
    }

    /// Lets the next packet through a gate that is idle.
    fn serve(&mut self, now: Time, queue: &mut Queue, gate: u32) {
        let line = &mut self.gates[gate as usize];
        while line.serving.is_none()
            && let Some(hop) = line.next()
        {
            let link = self.links[hop.link as usize].as_deref();
            let waiting = link.map(|link| &link.pipes[usize::from(hop.side)].waiting[usize::from(hop.hop)]);
            if let Some(packet) = waiting.and_then(|packets| packets.front()) {
                line.serving = Some(hop);
                queue.push(line.carry(now, packet.len), What::Gate(gate));
            }
        }
    }

    /// A gate has let a packet through.
    pub fn served(&mut self, now: Time, queue: &mut Queue, gate: u32) -> Option<Delivery> {
        let hop = self.gates[gate as usize].serving.take()?;
        let packet = self.take_served(gate, hop);
        self.serve(now, queue, gate);
        self.pass(now, queue, hop, packet?)
    }

    fn take_served(&mut self, gate: u32, hop: Hop) -> Option<Packet> {
        let link = self.links.get_mut(hop.link as usize)?.as_deref_mut()?;
        let (pipe, at) = (&mut link.pipes[usize::from(hop.side)], usize::from(hop.hop));
        let packet = pipe.waiting[at].pop_front();
        pipe.listed[at] = !pipe.waiting[at].is_empty();
        if pipe.listed[at] {
            self.gates[gate as usize].list(hop);
        }
        packet
    }

    /// A packet leaves a hop.
    fn pass(&mut self, now: Time, queue: &mut Queue, hop: Hop, packet: Packet) -> Option<Delivery> {
        match hop.hop {
            UPLINK => self.travel(now, queue, hop, packet),
            BRIDGE => self.cross(now, queue, hop, packet),
            _ => return self.deliver(hop, packet),
        }
        None
    }

    /// Over the path: half of it lies before the bridge, if there is one.
    fn travel(&mut self, now: Time, queue: &mut Queue, hop: Hop, packet: Packet) {
        let Some(link) = self.link(hop.link) else { return };
        let pipe = &mut link.pipes[usize::from(hop.side)];
        let time =
            std::time::Duration::from_micros(u64::from(packet.len) * 1_000_000 / pipe.path.rate.max(1));
        pipe.free_at = pipe.free_at.max(now) + time;
        let (to, latency) = match pipe.gates[usize::from(BRIDGE)] {
            Some(_) => (BRIDGE, pipe.path.latency / 2),
            None => (DOWNLINK, pipe.path.latency),
        };
        pipe.travelling[usize::from(to)].push_back(packet);
        queue.push(pipe.free_at + latency, What::Arrive(Hop { hop: to, ..hop }));
    }

    /// From the bridge to the downlink.
    fn cross(&mut self, now: Time, queue: &mut Queue, hop: Hop, packet: Packet) {
        self.totals.bridged += packet.payload();
        let Some(link) = self.link(hop.link) else { return };
        let pipe = &mut link.pipes[usize::from(hop.side)];
        pipe.travelling[usize::from(DOWNLINK)].push_back(packet);
        queue.push(now + pipe.path.latency / 2, What::Arrive(Hop { hop: DOWNLINK, ..hop }));
    }

    /// A packet that travelled comes to its next hop.
    pub fn arrive(&mut self, now: Time, queue: &mut Queue, hop: Hop) -> Option<Delivery> {
        let pipe = &mut self.link(hop.link)?.pipes[usize::from(hop.side)];
        let packet = pipe.travelling[usize::from(hop.hop)].pop_front()?;
        self.enter(now, queue, hop, packet)
    }

    fn deliver(&mut self, hop: Hop, packet: Packet) -> Option<Delivery> {
        self.totals.delivered += packet.payload();
        let link = self.link(hop.link)?;
        let side = usize::from(hop.side);
        link.pipes[side].under_way -= packet.len;
        Some(Delivery { to: link.ends[1 - side], from: link.ends[side], chunks: packet.chunks })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use samara_proto::ids::{Block, PeerKey, PieceIndex};

    use super::*;

    const BLOCK: u32 = 16 * 1024;
    const RATE: u64 = BLOCK as u64 * 10;

    /// Node 0 with this line, and three others with that one; node 3 is on the other island.
    fn net(first: Access, others: Access) -> Net {
        let mut net = Net::new(128 * 1024, false, 1);
        net.attach(first);
        (1..4).for_each(|n| net.attach(Access { island: n == 3, ..others }));
        net
    }

    fn open(net: &mut Net, from: usize, to: usize) {
        let ends =
            [(from, 0), (to, 1)].map(|(node, side)| End { node, peer: PeerKey(net.next_link() * 2 + side) });
        let path = Path { latency: Duration::from_millis(10), rate: u64::MAX };
        net.open(ends, path, Time::ZERO);
    }

    fn write(net: &mut Net, queue: &mut Queue, link: u64, blocks: u32) {
        for n in 0..blocks {
            let block = Block { piece: PieceIndex(0), offset: n * BLOCK, len: BLOCK };
            let payload = Payload { block, right: true };
            net.send(Time::ZERO, queue, link, 0, Transmit::Payload(payload));
        }
        net.flush(Time::ZERO, queue, link, 0);
    }

    /// What comes out, in order: when in milliseconds, at which node, bytes.
    fn run(net: &mut Net, queue: &mut Queue) -> Vec<(u64, usize, u32)> {
        let mut out = Vec::new();
        while let Some((now, what)) = queue.pop() {
            let delivery = match what {
                What::Arrive(hop) => net.arrive(now, queue, hop),
                What::Gate(gate) => net.served(now, queue, gate),
                _ => None,
            };
            let came = delivery.map(|d| (d.to.node, d.chunks.iter().map(Chunk::len).sum()));
            out.extend(came.map(|(node, len)| (now.as_micros() / 1000, node, len)));
        }
        out
    }

    #[test]
    fn an_uplink_is_shared_in_turn() {
        let mut net = net(Access { up: Some(RATE), ..Access::default() }, Access::default());
        let mut queue = Queue::default();
        [1, 2].into_iter().for_each(|to| open(&mut net, 0, to));
        [0, 1].into_iter().for_each(|link| write(&mut net, &mut queue, link, 3));
        let came = run(&mut net, &mut queue);
        let expected = [(110, 1), (210, 2), (310, 1), (410, 2), (510, 1), (610, 2)];
        assert_eq!(came, expected.map(|(at, node)| (at, node, BLOCK)));
        assert_eq!(net.totals.delivered, u64::from(BLOCK) * 6);
    }

    #[test]
    fn a_downlink_is_shared_in_turn_and_apart_from_the_uplink() {
        let line = Access { up: Some(RATE * 1000), down: Some(RATE), island: false };
        let (mut net, mut queue) = (net(line, line), Queue::default());
        [1, 2].into_iter().for_each(|from| open(&mut net, from, 0));
        [0, 1].into_iter().for_each(|link| write(&mut net, &mut queue, link, 2));
        let at: Vec<_> = run(&mut net, &mut queue).iter().map(|(at, _, _)| at / 10).collect();
        assert_eq!(at, [11, 21, 31, 41]);
    }

    #[test]
    fn a_short_message_slips_past_and_the_line_is_the_longer_busy() {
        let mut net = net(Access { up: Some(RATE), ..Access::default() }, Access::default());
        let mut queue = Queue::default();
        [1, 2].into_iter().for_each(|to| open(&mut net, 0, to));
        write(&mut net, &mut queue, 0, 2);
        for link in [1, 0] {
            net.send(Time::ZERO, &mut queue, link, 0, Transmit::Bytes(vec![0; 1000]));
            net.flush(Time::ZERO, &mut queue, link, 0);
        }
        let came = run(&mut net, &mut queue);
        // 100 ms a block, 6 ms a message; that of the first link comes after its blocks.
        assert_eq!(came, [(10, 2, 1000), (110, 1, BLOCK), (216, 1, BLOCK), (222, 1, 1000)]);
    }

    #[test]
    fn only_what_crosses_waits_for_the_bridge_and_all_that_crosses_shares_it() {
        let (mut net, mut queue) = (net(Access::default(), Access::default()), Queue::default());
        net.build_bridge(RATE);
        [(0, 1), (0, 3), (2, 3)].into_iter().for_each(|(from, to)| open(&mut net, from, to));
        (0..3).for_each(|link| write(&mut net, &mut queue, link, 1));
        let came: Vec<_> = run(&mut net, &mut queue).iter().map(|(at, node, _)| (*at, *node)).collect();
        assert_eq!(came, [(10, 1), (110, 3), (210, 3)]);
    }

    #[test]
    fn what_is_cut_off_is_accounted_for_and_its_line_goes_on() {
        let mut net = net(Access { up: Some(RATE), ..Access::default() }, Access::default());
        let mut queue = Queue::default();
        [1, 2].into_iter().for_each(|to| open(&mut net, 0, to));
        [0, 1].into_iter().for_each(|link| write(&mut net, &mut queue, link, 3));
        net.cut(0);
        assert_eq!(run(&mut net, &mut queue).len(), 3);
        let totals = net.totals;
        assert_eq!((totals.dropped, totals.delivered), (totals.payload / 2, totals.payload / 2));
        assert!(!net.has_room(0, 0) && net.has_room(1, 0));
    }
}
