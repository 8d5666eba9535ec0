//! One node: a torrent, its connections and its disk, put together as the engine does it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use samara_proto::bitfield::Bitfield;
use samara_proto::ids::{InfoHashes, PeerId, PeerKey, PieceIndex};
use samara_proto::peer::{
    Command, Config, Connection, Departure, Event, Output as PeerOutput, Prefix, Transmit, Violation, Want,
};
use samara_proto::time::Time;
use samara_proto::torrent::{Input, Output, PieceLayers, TorrentEvent};
use samara_proto::wire::{PexFlags, PexMessage};

use crate::brain::Brain;
use crate::disk::Disk;
use crate::link::Chunk;
use crate::net::Net;
use crate::queue::{Alarm, Queue, What};
use crate::tracker::Leave;
use crate::{Payload, Sample};

/// The first number of a node that does not exist.
pub(crate) const NOBODY: usize = 1_000_000;
/// How often liars tell of such: as often as they are heard.
const INVENTS_EVERY: Duration = Duration::from_secs(30);

/// One end of a link, as its node keeps it.
#[derive(Debug)]
pub struct Conn {
    /// Which link.
    pub link: u64,
    /// Which side of it.
    pub side: usize,
    addr: SocketAddr,
    state: State,
    alarm: Alarm,
    /// Something happened to it that it was not asked about.
    touched: bool,
}

impl Conn {
    const fn new(link: u64, side: usize, addr: SocketAddr, state: State) -> Self {
        Self { link, side, addr, state, alarm: Alarm(None), touched: false }
    }
}

/// What a node acts upon.
#[derive(Debug)]
pub struct Stage<'a> {
    /// The present.
    pub now: Time,
    /// Takes what it sends.
    pub net: &'a mut Net,
    /// Takes when it wants to be ticked.
    pub queue: &'a mut Queue,
    /// Takes what it wants.
    pub wishes: &'a mut Vec<Wish>,
}

#[derive(Debug)]
enum State {
    /// Somebody connected; the listener reads the first 48 bytes to learn which torrent is meant.
    Listening(Vec<u8>),
    Open(Box<Connection<Payload>>),
}

/// What a node wants of the world.
#[derive(Debug)]
pub enum Wish {
    /// A connection to this address.
    Dial(SocketAddr),
    /// An end of this link.
    HangUp(u64),
}

/// What a node told its user.
#[derive(Debug, Default)]
pub struct News {
    /// When it joined.
    pub joined: Option<Time>,
    /// When it had everything it wanted.
    pub complete: Option<Time>,
    /// Payload that it had sent by then.
    pub uploaded: u64,
    /// Pieces that it got since somebody looked.
    pub pieces: Vec<PieceIndex>,
    /// Whom it banned, and for what.
    pub banned: Vec<(SocketAddr, Violation)>,
    /// The piece layers it fetched.
    pub layers: Option<PieceLayers>,
    /// Whom it lost.
    pub left: Vec<Departure>,
    /// From where it got wrong blocks, and kept them until their piece was whole.
    pub lied_to: BTreeSet<IpAddr>,
}

/// A node.
#[derive(Debug)]
pub struct Node {
    /// Where it listens.
    pub addr: SocketAddr,
    /// Its brain.
    pub torrent: Brain,
    /// Its storage.
    pub disk: Disk,
    /// Its connections.
    pub conns: BTreeMap<PeerKey, Conn>,
    /// What it told its user.
    pub news: News,
    /// Most connections it may have.
    pub max_peers: usize,
    /// What it says it has when it begins; `None` if it does not know the pieces yet.
    pub holds: Option<Bitfield>,
    /// It unchokes nobody.
    pub selfish: bool,
    /// It tells of peers that do not exist.
    pub invents: bool,
    invented: usize,
    invents_after: Time,
    /// When it leaves.
    pub leave: Leave,
    pub(crate) leaving: bool,
    /// Bytes came, or a verdict, since the books were checked.
    pub(crate) moved: bool,
    index: usize,
    id: PeerId,
    hashes: InfoHashes,
    sample: Sample,
    /// Connections that are touched.
    touched: VecDeque<PeerKey>,
    torrent_alarm: Alarm,
    disk_alarm: Alarm,
}

impl Node {
    /// The `index`-th node, which knows `torrent` and has `disk`.
    pub fn new(index: usize, id: PeerId, torrent: Brain, disk: Disk, sample: Sample) -> Self {
        Self {
            max_peers: usize::MAX,
            holds: None,
            selfish: false,
            invents: false,
            invented: 0,
            invents_after: Time::ZERO,
            leave: Leave::Never,
            leaving: false,
            moved: false,
            addr: crate::scenario::addr(index),
            hashes: torrent.hashes(),
            torrent,
            disk,
            conns: BTreeMap::new(),
            news: News::default(),
            index,
            id,
            sample,
            touched: VecDeque::new(),
            torrent_alarm: Alarm::default(),
            disk_alarm: Alarm::default(),
        }
    }

    /// It joins.
    pub fn begin(&mut self, now: Time) {
        self.news.joined = Some(now);
        if let Some(have) = self.holds.take() {
            self.torrent.handle(now, Input::Ready { have });
        }
    }

    fn config(&self) -> Config {
        Config { listen_port: Some(self.addr.port()), ..Config::new(self.id) }
    }

    /// A connection that it asked for exists.
    pub fn dialled(&mut self, now: Time, peer: PeerKey, link: u64, addr: SocketAddr) {
        let state = State::Open(Box::new(Connection::outgoing(self.config(), self.hashes, now)));
        self.conns.insert(peer, Conn::new(link, 0, addr, state));
        self.touch(peer);
        self.torrent.handle(now, Input::Connected { peer, addr, outgoing: true });
    }

    /// Somebody connected to it.
    pub fn accepted(&mut self, peer: PeerKey, link: u64, addr: SocketAddr) {
        self.conns.insert(peer, Conn::new(link, 1, addr, State::Listening(Vec::new())));
    }

    /// A connection has something to say, or may have.
    fn touch(&mut self, peer: PeerKey) {
        if let Some(conn) = self.conns.get_mut(&peer)
            && !std::mem::replace(&mut conn.touched, true)
        {
            self.touched.push_back(peer);
        }
    }

    /// A link has room again. True if there is something to send.
    pub fn may_send(&mut self, peer: PeerKey) -> bool {
        let waits = self.conns.get(&peer).is_some_and(|conn| match &conn.state {
            State::Open(connection) => connection.wants_write(),
            State::Listening(_) => false,
        });
        if waits {
            self.touch(peer);
        }
        waits
    }

    /// Something came over a connection.
    ///
    /// # Panics
    /// If the two ends disagree on where payload begins.
    pub fn receive(&mut self, now: Time, peer: PeerKey, chunk: Chunk) {
        self.touch(peer);
        let bytes = match chunk {
            Chunk::Bytes(bytes) => self.greet(now, peer, bytes),
            Chunk::Part { payload, len, last } => return self.receive_part(now, peer, payload, len, last),
        };
        let Some(State::Open(connection)) = self.conns.get_mut(&peer).map(|c| &mut c.state) else { return };
        let taken = connection.handle_bytes(now, &bytes);
        assert_eq!(taken, bytes.len(), "control bytes where payload was due");
    }

    /// Collects the prefix of an incoming handshake; returns the bytes for the connection.
    fn greet(&mut self, now: Time, peer: PeerKey, bytes: Vec<u8>) -> Vec<u8> {
        let config = self.config();
        let Some(conn) = self.conns.get_mut(&peer) else { return Vec::new() };
        let State::Listening(begun) = &mut conn.state else { return bytes };
        begun.extend(bytes);
        let Some((prefix, rest)) = begun.split_first_chunk::<{ Prefix::LEN }>() else { return Vec::new() };
        let prefix = Prefix::parse(prefix).expect("nodes speak BitTorrent");
        let rest = rest.to_vec();
        conn.state = State::Open(Box::new(Connection::incoming(config, self.hashes, prefix, now)));
        let addr = conn.addr;
        self.torrent.handle(now, Input::Connected { peer, addr, outgoing: false });
        rest
    }

    fn receive_part(&mut self, now: Time, peer: PeerKey, payload: Payload, len: u32, last: bool) {
        let Some(State::Open(connection)) = self.conns.get_mut(&peer).map(|c| &mut c.state) else { return };
        let Want::Payload { block, discard, .. } = connection.want() else {
            assert_eq!(connection.want(), Want::Closed, "payload where control bytes were due");
            return;
        };
        assert_eq!(block, payload.block, "payload of another block");
        connection.handle_payload(now, len);
        if last && !discard {
            connection.handle_block(now, payload);
            self.moved |= payload.block.index() == 0;
        }
    }

    /// A connection ended under it.
    pub fn lost(&mut self, now: Time, peer: PeerKey, why: Departure) {
        self.touch(peer);
        match self.conns.get_mut(&peer).map(|c| &mut c.state) {
            Some(State::Open(connection)) => connection.handle_closed(now, why),
            Some(State::Listening(_)) => drop(self.conns.remove(&peer)),
            None => {}
        }
    }

    /// A connection's time may have come.
    pub fn tick_conn(&mut self, now: Time, peer: PeerKey) {
        let Some(conn) = self.conns.get_mut(&peer) else { return };
        if !conn.alarm.rings(now) {
            return;
        }
        if let State::Open(connection) = &mut conn.state
            && connection.deadline().is_some_and(|at| at <= now)
        {
            connection.handle_tick(now);
        }
        self.touch(peer);
    }

    /// The torrent's time may have come.
    pub fn tick_torrent(&mut self, now: Time) {
        if self.torrent_alarm.rings(now) && self.torrent.deadline().is_some_and(|at| at <= now) {
            self.torrent.handle(now, Input::Tick);
            if self.invents && now >= self.invents_after {
                self.invents_after = now + INVENTS_EVERY;
                self.invent(now);
            }
        }
    }

    /// Tells everybody of a hundred peers that nobody ever heard of.
    fn invent(&mut self, now: Time) {
        for (peer, conn) in &mut self.conns {
            let State::Open(connection) = &mut conn.state else { continue };
            let first = NOBODY + self.index * 100_000 + self.invented;
            self.invented += 100;
            let added = (first..first + 100).map(|n| (crate::scenario::addr(n), PexFlags(0))).collect();
            connection.handle_command(now, Command::Pex(PexMessage { added, dropped: Vec::new() }));
            if !std::mem::replace(&mut conn.touched, true) {
                self.touched.push_back(*peer);
            }
        }
    }

    /// The disk's time may have come.
    pub fn tick_disk(&mut self, now: Time) {
        if !self.disk_alarm.rings(now) {
            return;
        }
        while let Some(verdict) = self.disk.verdict(now) {
            let (piece, ok, digests) = (verdict.piece, verdict.ok, verdict.digests);
            self.torrent.handle(now, Input::Verified { piece, ok, digests });
            self.moved = true;
        }
    }

    /// Carries everything between its machines until they rest.
    pub fn settle(&mut self, stage: &mut Stage<'_>) {
        loop {
            while let Some(output) = self.torrent.poll() {
                self.obey(stage.now, output, stage.wishes);
            }
            let Some(peer) = self.touched.pop_front() else { break };
            if let Some(conn) = self.conns.get_mut(&peer) {
                conn.touched = false;
            }
            self.drain(stage.now, peer, stage.wishes);
            self.transmit(peer, stage);
        }
        self.set_alarms(stage);
    }

    fn set_alarms(&mut self, stage: &mut Stage<'_>) {
        let (now, queue) = (stage.now, &mut *stage.queue);
        self.torrent_alarm.set(queue, now, self.torrent.deadline(), What::Torrent(self.index));
        self.disk_alarm.set(queue, now, self.disk.deadline(), What::Disk(self.index));
    }

    fn obey(&mut self, now: Time, output: Output<Payload>, wishes: &mut Vec<Wish>) {
        match output {
            Output::Send { command: Command::Choke(false), .. } if self.selfish => {}
            Output::Send { peer, command } => {
                if let Some(State::Open(connection)) = self.conns.get_mut(&peer).map(|c| &mut c.state) {
                    connection.handle_command(now, command);
                    self.touch(peer);
                }
            }
            Output::Connect { addr } => wishes.push(Wish::Dial(addr)),
            Output::Disconnect { peer, reason } => self.lost(now, peer, reason),
            Output::Store { peer, block, data, expected, suspected } => {
                let liar = self.conns.get(&peer).filter(|_| !data.right);
                self.news.lied_to.extend(liar.map(|conn| conn.addr.ip()));
                self.disk.store(now, block, data, &expected, suspected);
            }
            Output::Discard { piece, blocks } => self.disk.discard(piece, blocks.as_deref()),
            Output::ReadLeaves { piece } => {
                let leaves = self.disk.leaves(piece);
                self.torrent.handle(now, Input::Leaves { piece, leaves });
            }
            Output::Event(event) => self.hear(now, event),
        }
    }

    fn hear(&mut self, now: Time, event: TorrentEvent) {
        match event {
            TorrentEvent::Metadata(info) => {
                assert_eq!(info, self.sample.info, "the info dictionary is the right one");
                let have = Bitfield::new(info.num_pieces());
                self.torrent.handle(now, Input::Ready { have });
            }
            TorrentEvent::Layers(layers) => {
                assert_eq!(layers, self.sample.layers, "the piece layers are the right ones");
                self.news.layers = Some(layers);
            }
            TorrentEvent::PieceDone(piece) => self.news.pieces.push(piece),
            TorrentEvent::Complete => {
                self.news.complete = Some(now);
                self.news.uploaded = self.torrent.stats().uploaded;
            }
            TorrentEvent::Banned { addr, violation } => self.news.banned.push((addr, violation)),
            TorrentEvent::PeerLeft { reason, .. } => self.news.left.push(reason),
            TorrentEvent::BadInfo(error) => panic!("a good info dictionary was refused: {error}"),
            _ => {}
        }
    }

    /// Carries a connection's outputs to the torrent and the disk.
    fn drain(&mut self, now: Time, peer: PeerKey, wishes: &mut Vec<Wish>) {
        while let Some(State::Open(connection)) = self.conns.get_mut(&peer).map(|c| &mut c.state)
            && let Some(output) = connection.poll()
        {
            match output {
                PeerOutput::Read(block) => {
                    if let Some(data) = self.disk.read(block) {
                        connection.handle_read(now, block, data);
                    }
                }
                PeerOutput::Event(event) => self.report(now, peer, event, wishes),
            }
        }
    }

    fn report(&mut self, now: Time, peer: PeerKey, event: Event<Payload>, wishes: &mut Vec<Wish>) {
        if let Event::Closed(_) = event
            && let Some(conn) = self.conns.remove(&peer)
        {
            wishes.push(Wish::HangUp(conn.link));
        }
        self.torrent.handle(now, Input::Peer { peer, event });
    }

    /// Gives a connection's bytes to its link, as long as there is room.
    fn transmit(&mut self, peer: PeerKey, stage: &mut Stage<'_>) {
        let Some(conn) = self.conns.get_mut(&peer) else { return };
        let State::Open(connection) = &mut conn.state else { return };
        let (now, link, side) = (stage.now, conn.link, conn.side);
        while stage.net.has_room(link, side)
            && let Some(what) = connection.transmit()
        {
            let payload = if let Transmit::Payload(payload) = &what { payload.block.len } else { 0 };
            stage.net.send(now, stage.queue, link, side, what);
            connection.handle_sent(now, payload);
            // What that led to is for the next round.
            conn.touched = true;
        }
        stage.net.flush(now, stage.queue, link, side);
        conn.alarm.set(stage.queue, now, connection.deadline(), What::Conn(self.index, peer));
        if conn.touched {
            self.touched.push_back(peer);
        }
    }
}
