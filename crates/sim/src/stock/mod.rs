//! A peer as the common clients are, to mix with ours and to compare with.
//!
//! A small machine of its own, with the inputs and outputs of `torrent::Torrent`, so that it stays what it is while our
//! policies change: a fixed window of requests, rarest first, four slots for those who gave most in the last 20 s and
//! one optimistic that changes every 30 s (BEP 3 and the first client), as a seed round robin. Who sent all of a bad
//! piece, or had a part in five, is banned, as Transmission does it. v1 torrents only, and it must know the info.

mod pieces;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use pieces::Pieces;
use samara_proto::bitfield::Bitfield;
use samara_proto::ids::{Block, PeerId, PeerKey, PieceIndex};
use samara_proto::layout::Layout;
use samara_proto::metainfo::Info;
use samara_proto::peer::{Command, Departure, Event, Violation};
use samara_proto::rng::Rng;
use samara_proto::time::Time;
use samara_proto::torrent::{Expected, Input, Output, Stats, TorrentEvent};

use crate::Payload;

/// Requests under way with one peer.
const WINDOW: usize = 64;
/// Slots for those who give most; one more is optimistic.
const SLOTS: usize = 4;
const ROUND: Duration = Duration::from_secs(10);
/// Rounds of an optimistic turn.
const TURN: u32 = 3;
const TICK: Duration = Duration::from_secs(1);
/// Requests are taken back from a peer that brought nothing for so long, and it is not asked for as long again.
const SNUB: Duration = Duration::from_secs(60);
/// Bad pieces that a peer may have had a part in.
const MOST_BAD: u32 = 5;
/// An address is tried again after so long.
const RETRY: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct Remote {
    addr: SocketAddr,
    outgoing: bool,
    id: Option<PeerId>,
    has: Bitfield,
    choked: bool,
    interested: bool,
    wants: bool,
    served: bool,
    asked: Vec<Block>,
    progress: Time,
    /// Bytes from it and to it: this round, and the last.
    down: [u64; 2],
    up: [u64; 2],
}

/// The machine.
#[derive(Debug)]
pub struct Stock {
    id: PeerId,
    info: Arc<Info>,
    pieces: Option<Pieces>,
    layout: Arc<Layout>,
    peers: BTreeMap<PeerKey, Remote>,
    /// When each address may be tried.
    known: BTreeMap<SocketAddr, Time>,
    dialling: BTreeSet<SocketAddr>,
    bad: BTreeMap<IpAddr, u32>,
    banned: BTreeSet<IpAddr>,
    max_peers: usize,
    optimistic: Option<PeerKey>,
    rounds: u32,
    next_round: Time,
    next_tick: Time,
    stopped: bool,
    stats: Stats,
    rng: Rng,
    now: Time,
    out: VecDeque<Output<Payload>>,
}

impl Stock {
    /// A stock peer that knows the torrent.
    pub fn new(
        id: PeerId,
        info: Arc<Info>,
        layout: Arc<Layout>,
        max_peers: usize,
        seed: u64,
        now: Time,
    ) -> Self {
        let mut rng = Rng::new(seed);
        Self {
            id,
            info,
            pieces: None,
            layout,
            peers: BTreeMap::new(),
            known: BTreeMap::new(),
            dialling: BTreeSet::new(),
            bad: BTreeMap::new(),
            banned: BTreeSet::new(),
            max_peers,
            optimistic: None,
            rounds: 0,
            next_round: now + ROUND / 2 + Duration::from_micros(rng.below(10_000_000)),
            next_tick: now + TICK,
            stopped: false,
            stats: Stats::default(),
            rng,
            now,
            out: VecDeque::new(),
        }
    }

    /// Takes one input.
    pub fn handle(&mut self, now: Time, input: Input<Payload>) {
        self.now = now;
        match input {
            Input::Connected { peer, addr, outgoing } => self.on_connected(peer, addr, outgoing),
            Input::ConnectFailed { addr } => drop(self.dialling.remove(&addr)),
            Input::Candidates { addrs, .. } => {
                for addr in addrs {
                    self.known.entry(addr).or_insert(now);
                }
            }
            Input::Peer { peer, event } => self.on_event(peer, event),
            Input::Ready { have } => self.on_ready(have),
            Input::Verified { piece, ok, .. } => self.on_verified(piece, ok),
            Input::Stop => self.stop(),
            _ => {}
        }
        if now >= self.next_tick {
            self.next_tick = now + TICK;
            self.tick();
        }
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Output<Payload>> {
        self.out.pop_front()
    }

    /// When it wants to be ticked.
    pub fn deadline(&self) -> Option<Time> {
        let idle = self.stopped || (self.peers.is_empty() && self.known.is_empty());
        (!idle).then_some(self.next_tick)
    }

    /// What it has.
    pub fn have(&self) -> Option<&Bitfield> {
        self.pieces.as_ref().map(|pieces| &pieces.have)
    }

    /// It has everything.
    pub fn is_complete(&self) -> bool {
        self.have().is_some_and(Bitfield::is_full)
    }

    /// Numbers.
    pub fn stats(&self) -> Stats {
        let connections = (self.peers.len() + self.dialling.len()) as u32;
        Stats { connections, ..self.stats }
    }

    /// Most requests under way with one peer.
    pub fn most_requests(&self) -> u32 {
        self.peers.values().map(|peer| peer.asked.len() as u32).max().unwrap_or(0)
    }

    /// Whom it is connected to, and how much payload came from each in the last two rounds.
    pub fn sources(&self) -> impl Iterator<Item = (SocketAddr, u64)> + '_ {
        self.peers.values().map(|peer| (peer.addr, peer.down.iter().sum()))
    }

    /// The torrent.
    pub const fn info(&self) -> &Arc<Info> {
        &self.info
    }

    fn send(&mut self, peer: PeerKey, command: Command) {
        self.out.push_back(Output::Send { peer, command });
    }

    fn tell(&mut self, event: TorrentEvent) {
        self.out.push_back(Output::Event(event));
    }

    fn disconnect(&mut self, peer: PeerKey, reason: Departure) {
        self.out.push_back(Output::Disconnect { peer, reason });
    }

    fn keys(&self) -> Vec<PeerKey> {
        self.peers.iter().filter(|(_, peer)| peer.id.is_some()).map(|(key, _)| *key).collect()
    }

    fn stop(&mut self) {
        self.stopped = true;
        let keys: Vec<_> = self.peers.keys().copied().collect();
        keys.into_iter().for_each(|key| self.disconnect(key, Departure::Shutdown));
    }

    fn on_ready(&mut self, have: Bitfield) {
        self.stats.wanted = self.layout.total_len();
        self.stats.done = have.iter().map(|piece| u64::from(self.layout.piece_len(piece))).sum();
        self.pieces = Some(Pieces::new(self.layout.clone(), have, self.rng.next_u64()));
        if self.is_complete() {
            self.tell(TorrentEvent::Complete);
        }
        self.tick();
    }

    fn tick(&mut self) {
        if self.now >= self.next_round {
            self.next_round = self.now + ROUND;
            self.rechoke();
        }
        self.chase();
        self.dial();
    }

    fn dial(&mut self) {
        if self.stopped || self.pieces.is_none() || self.is_complete() {
            return;
        }
        let room = self.max_peers.saturating_sub(self.peers.len() + self.dialling.len());
        let banned = &self.banned;
        let due = self.known.iter_mut().filter(|(addr, at)| **at <= self.now && !banned.contains(&addr.ip()));
        for (addr, at) in due.take(room) {
            *at = self.now + RETRY;
            self.dialling.insert(*addr);
            self.out.push_back(Output::Connect { addr: *addr });
        }
    }

    fn on_connected(&mut self, key: PeerKey, addr: SocketAddr, outgoing: bool) {
        self.dialling.remove(&addr);
        let full = !outgoing && self.peers.len() + self.dialling.len() >= self.max_peers;
        let has = Bitfield::new(self.layout.num_pieces());
        let remote = Remote {
            addr,
            outgoing,
            id: None,
            has,
            choked: true,
            interested: false,
            wants: false,
            served: false,
            asked: Vec::new(),
            progress: self.now,
            down: [0; 2],
            up: [0; 2],
        };
        self.peers.insert(key, remote);
        if full || self.stopped || self.banned.contains(&addr.ip()) {
            return self.disconnect(key, Departure::Full);
        }
        let metadata_size = self.info.raw().len() as u32;
        self.send(key, Command::Layout { layout: self.layout.clone(), metadata_size });
    }

    fn on_event(&mut self, key: PeerKey, event: Event<Payload>) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        match event {
            Event::Hello(hello) => self.on_hello(key, hello.peer_id),
            Event::Choke => peer.choked = true,
            Event::Unchoke => {
                peer.choked = false;
                peer.progress = self.now;
                self.ask(key);
            }
            Event::Interested => peer.wants = true,
            Event::NotInterested => peer.wants = false,
            Event::Have(piece) => self.on_have(key, piece),
            Event::Bitfield(bytes) => {
                let has = Bitfield::from_bytes(&bytes, self.layout.num_pieces());
                has.into_iter().for_each(|has| self.on_has(key, &has));
            }
            Event::HaveAll => self.on_has(key, &Bitfield::full(self.layout.num_pieces())),
            Event::Rejected(block) => self.forget(key, block),
            Event::Block { block, data } => self.on_block(key, block, data),
            Event::Sent { payload } => {
                self.stats.uploaded += u64::from(payload);
                peer.up[0] += u64::from(payload);
            }
            Event::MetadataRequest(piece) => {
                let info = self.info.raw().clone();
                self.send(key, Command::MetadataData { piece, info });
            }
            Event::HashRequest(request) => self.send(key, Command::HashReject(request)),
            Event::Closed(reason) => self.on_closed(key, reason),
            _ => {}
        }
    }

    /// Of two connections to one peer the one stays that the smaller id opened, as ours does it.
    fn on_hello(&mut self, key: PeerKey, id: PeerId) {
        let other = self
            .peers
            .iter()
            .find(|(_, peer)| peer.id == Some(id))
            .map(|(other, peer)| (*other, peer.outgoing));
        if let Some((other, ours)) = other {
            let loser = if ours == (self.id < id) { key } else { other };
            self.disconnect(loser, Departure::Duplicate);
            if loser == key {
                return;
            }
        }
        if id == self.id {
            return self.disconnect(key, Departure::SelfConnection);
        }
        if let Some(peer) = self.peers.get_mut(&key) {
            peer.id = Some(id);
        }
        let have = self.have().cloned().unwrap_or_else(|| Bitfield::new(0));
        self.send(key, Command::Bitfield(Arc::new(have)));
    }

    fn on_has(&mut self, key: PeerKey, has: &Bitfield) {
        has.iter().for_each(|piece| self.on_have(key, piece));
    }

    fn on_have(&mut self, key: PeerKey, piece: PieceIndex) {
        let (Some(peer), Some(pieces)) = (self.peers.get_mut(&key), &mut self.pieces) else { return };
        if peer.has.insert(piece) {
            pieces.gained(piece);
        }
        if peer.has.is_full() && pieces.have.is_full() {
            return self.disconnect(key, Departure::Useless);
        }
        self.update_interest(key);
        self.ask(key);
    }

    fn update_interest(&mut self, key: PeerKey) {
        let (Some(peer), Some(pieces)) = (self.peers.get_mut(&key), &self.pieces) else { return };
        let interested = pieces.lacks_any_of(&peer.has);
        if std::mem::replace(&mut peer.interested, interested) != interested {
            self.send(key, Command::Interested(interested));
        }
    }

    /// Keeps the window full.
    fn ask(&mut self, key: PeerKey) {
        let (Some(peer), Some(pieces)) = (self.peers.get_mut(&key), &mut self.pieces) else { return };
        let mut blocks = Vec::new();
        if peer.asked.is_empty() {
            peer.progress = peer.progress.max(self.now);
        }
        while peer.interested && !peer.choked && peer.asked.len() < WINDOW && self.now >= peer.progress {
            let Some(block) = pieces.next(key, &peer.has) else { break };
            peer.asked.push(block);
            blocks.push(block);
        }
        blocks.into_iter().for_each(|block| self.send(key, Command::Request(block)));
    }

    fn forget(&mut self, key: PeerKey, block: Block) {
        let (Some(peer), Some(pieces)) = (self.peers.get_mut(&key), &mut self.pieces) else { return };
        peer.asked.retain(|asked| *asked != block);
        pieces.release(key, &block);
    }

    fn on_block(&mut self, key: PeerKey, block: Block, data: Payload) {
        self.stats.downloaded += u64::from(block.len);
        let (Some(peer), Some(pieces)) = (self.peers.get_mut(&key), &mut self.pieces) else { return };
        peer.asked.retain(|asked| *asked != block);
        peer.down[0] += u64::from(block.len);
        peer.progress = self.now;
        let Some(others) = pieces.receive(key, &block) else {
            self.stats.wasted += u64::from(block.len);
            return self.ask(key);
        };
        let expected = Expected { v1: self.info.piece_hash_v1(block.piece), v2: None };
        self.out.push_back(Output::Store { peer: key, block, data, expected, suspected: false });
        for other in others {
            self.peers
                .get_mut(&other)
                .into_iter()
                .for_each(|peer| peer.asked.retain(|asked| *asked != block));
            self.send(other, Command::Cancel(block));
            self.ask(other);
        }
        self.ask(key);
    }

    fn on_verified(&mut self, piece: PieceIndex, ok: bool) {
        let Some(pieces) = &mut self.pieces else { return };
        let senders = pieces.settle(piece, ok);
        let len = u64::from(self.layout.piece_len(piece));
        if !ok {
            self.stats.wasted += len;
            self.out.push_back(Output::Discard { piece, blocks: None });
            return self.blame(&senders);
        }
        self.stats.done += len;
        self.tell(TorrentEvent::PieceDone(piece));
        for key in self.keys() {
            self.send(key, Command::Have(piece));
            self.update_interest(key);
        }
        if self.is_complete() {
            self.tell(TorrentEvent::Complete);
            let seeds: Vec<_> =
                self.peers.iter().filter(|(_, p)| p.has.is_full()).map(|(key, _)| *key).collect();
            seeds.into_iter().for_each(|key| self.disconnect(key, Departure::Useless));
        }
    }

    fn blame(&mut self, senders: &[PeerKey]) {
        for key in senders {
            let Some(peer) = self.peers.get(key) else { continue };
            let addr = peer.addr;
            let bad = self.bad.entry(addr.ip()).or_default();
            *bad += if senders.len() == 1 { MOST_BAD } else { 1 };
            if *bad >= MOST_BAD && self.banned.insert(addr.ip()) {
                let violation = Violation::BadPieces;
                self.tell(TorrentEvent::Banned { addr, violation });
                self.disconnect(*key, violation.into());
            }
        }
        self.keys().into_iter().for_each(|key| self.ask(key));
    }

    fn on_closed(&mut self, key: PeerKey, _: Departure) {
        let Some(peer) = self.peers.remove(&key) else { return };
        if let Some(pieces) = &mut self.pieces {
            pieces.lost(&peer.has);
            peer.asked.iter().for_each(|block| pieces.release(key, block));
        }
        self.keys().into_iter().for_each(|key| self.ask(key));
    }

    /// Takes back what silent peers were asked for.
    fn chase(&mut self) {
        let now = self.now;
        let silent = self.peers.iter().filter(|(_, p)| !p.asked.is_empty() && now.since(p.progress) >= SNUB);
        let silent: Vec<_> = silent.map(|(key, _)| *key).collect();
        for key in silent {
            let Some(peer) = self.peers.get_mut(&key) else { continue };
            peer.progress = now + SNUB;
            let asked = peer.asked.clone();
            for block in asked {
                self.forget(key, block);
                self.send(key, Command::Cancel(block));
            }
        }
        self.keys().into_iter().for_each(|key| self.ask(key));
    }

    fn rechoke(&mut self) {
        let complete = self.is_complete();
        let wanting = self.peers.iter().filter(|(_, peer)| peer.wants && peer.id.is_some());
        let gave = |peer: &Remote| if complete { 0 } else { peer.down.iter().sum::<u64>() };
        let mut order: Vec<_> = wanting.map(|(key, peer)| (std::cmp::Reverse(gave(peer)), *key)).collect();
        self.rng.shuffle(&mut order);
        order.sort_by_key(|(gave, _)| *gave);
        let mut chosen: Vec<_> = order.iter().take(SLOTS).map(|(_, key)| *key).collect();
        let rest: Vec<_> = order.iter().skip(SLOTS).map(|(_, key)| *key).collect();
        self.rounds += 1;
        if self.rounds.is_multiple_of(TURN) || self.optimistic.is_none_or(|key| !rest.contains(&key)) {
            self.optimistic = rest.get(self.rng.index(rest.len())).copied();
        }
        chosen.extend(self.optimistic);
        let mut commands = Vec::new();
        for (key, peer) in &mut self.peers {
            let served = chosen.contains(key);
            if std::mem::replace(&mut peer.served, served) != served {
                commands.push((*key, Command::Choke(!served)));
            }
            (peer.down, peer.up) = ([0, peer.down[0]], [0, peer.up[0]]);
        }
        commands.into_iter().for_each(|(key, command)| self.send(key, command));
    }
}
