//! One node: a torrent, its connections and its disk, put together as the engine does it.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use samara_proto::bitfield::Bitfield;
use samara_proto::ids::{InfoHashes, PeerId, PeerKey};
use samara_proto::peer::{
    Config, Connection, Departure, Event, Output as PeerOutput, Prefix, Transmit, Violation, Want,
};
use samara_proto::time::Time;
use samara_proto::torrent::{Input, Output, PieceLayers, Torrent, TorrentEvent};

use crate::disk::Disk;
use crate::link::{Chunk, Link};
use crate::{Payload, Sample};

/// One end of a link, as its node keeps it.
#[derive(Debug)]
pub struct Conn {
    /// Which link.
    pub link: u64,
    /// Which side of it.
    pub side: usize,
    addr: SocketAddr,
    state: State,
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
    /// When it had everything it wanted.
    pub complete: Option<Time>,
    /// Whom it banned, and for what.
    pub banned: Vec<(SocketAddr, Violation)>,
    /// The piece layers it fetched.
    pub layers: Option<PieceLayers>,
    /// Whom it lost.
    pub left: Vec<Departure>,
}

/// A node.
#[derive(Debug)]
pub struct Node {
    /// Where it listens.
    pub addr: SocketAddr,
    /// Its brain.
    pub torrent: Torrent<Payload>,
    /// Its storage.
    pub disk: Disk,
    /// Its connections.
    pub conns: BTreeMap<PeerKey, Conn>,
    /// What it told its user.
    pub news: News,
    id: PeerId,
    hashes: InfoHashes,
    sample: Sample,
}

impl Node {
    /// A node that knows `torrent` and has `disk`.
    pub fn new(addr: SocketAddr, id: PeerId, torrent: Torrent<Payload>, disk: Disk, sample: Sample) -> Self {
        let hashes = torrent.hashes();
        Self { addr, torrent, disk, conns: BTreeMap::new(), news: News::default(), id, hashes, sample }
    }

    fn config(&self) -> Config {
        Config { listen_port: Some(self.addr.port()), ..Config::new(self.id) }
    }

    /// A connection that it asked for exists.
    pub fn dialled(&mut self, now: Time, peer: PeerKey, link: u64, addr: SocketAddr) {
        let state = State::Open(Box::new(Connection::outgoing(self.config(), self.hashes, now)));
        self.conns.insert(peer, Conn { link, side: 0, addr, state });
        self.torrent.handle(now, Input::Connected { peer, addr, outgoing: true });
    }

    /// Somebody connected to it.
    pub fn accepted(&mut self, peer: PeerKey, link: u64, addr: SocketAddr) {
        self.conns.insert(peer, Conn { link, side: 1, addr, state: State::Listening(Vec::new()) });
    }

    /// Something came over a connection.
    ///
    /// # Panics
    /// If the two ends disagree on where payload begins.
    pub fn receive(&mut self, now: Time, peer: PeerKey, chunk: Chunk) {
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
        }
    }

    /// A connection ended under it.
    pub fn lost(&mut self, now: Time, peer: PeerKey, why: Departure) {
        match self.conns.get_mut(&peer).map(|c| &mut c.state) {
            Some(State::Open(connection)) => connection.handle_closed(now, why),
            Some(State::Listening(_)) => drop(self.conns.remove(&peer)),
            None => {}
        }
    }

    /// When it wants to be ticked.
    pub fn deadline(&self) -> Option<Time> {
        let connections = self.conns.values().filter_map(|conn| match &conn.state {
            State::Open(connection) => connection.deadline(),
            State::Listening(_) => None,
        });
        connections.chain(self.torrent.deadline()).chain(self.disk.deadline()).min()
    }

    /// Time passed.
    pub fn tick(&mut self, now: Time) {
        while let Some(verdict) = self.disk.verdict(now) {
            let (piece, ok, bad) = (verdict.piece, verdict.ok, verdict.bad);
            self.torrent.handle(now, Input::Verified { piece, ok, bad });
        }
        for conn in self.conns.values_mut() {
            if let State::Open(connection) = &mut conn.state
                && connection.deadline().is_some_and(|at| at <= now)
            {
                connection.handle_tick(now);
            }
        }
        if self.torrent.deadline().is_some_and(|at| at <= now) {
            self.torrent.handle(now, Input::Tick);
        }
    }

    /// Carries everything between its machines until they rest.
    pub fn settle(&mut self, now: Time, links: &mut BTreeMap<u64, Link>, wishes: &mut Vec<Wish>) {
        loop {
            let mut busy = false;
            while let Some(output) = self.torrent.poll() {
                busy = true;
                self.obey(now, output, wishes);
            }
            for peer in self.conns.keys().copied().collect::<Vec<_>>() {
                busy |= self.drain(now, peer, wishes);
                busy |= self.transmit(now, peer, links);
            }
            if !busy {
                return;
            }
        }
    }

    fn obey(&mut self, now: Time, output: Output<Payload>, wishes: &mut Vec<Wish>) {
        match output {
            Output::Send { peer, command } => {
                if let Some(State::Open(connection)) = self.conns.get_mut(&peer).map(|c| &mut c.state) {
                    connection.handle_command(now, command);
                }
            }
            Output::Connect { addr } => wishes.push(Wish::Dial(addr)),
            Output::Disconnect { peer, reason } => self.lost(now, peer, reason),
            Output::Store { block, data, expected, .. } => self.disk.store(now, block, data, &expected),
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
            TorrentEvent::Complete => self.news.complete = Some(now),
            TorrentEvent::Banned { addr, violation } => self.news.banned.push((addr, violation)),
            TorrentEvent::PeerLeft { reason, .. } => self.news.left.push(reason),
            TorrentEvent::BadInfo(error) => panic!("a good info dictionary was refused: {error}"),
            _ => {}
        }
    }

    /// Carries a connection's outputs to the torrent and the disk. True if there were any.
    fn drain(&mut self, now: Time, peer: PeerKey, wishes: &mut Vec<Wish>) -> bool {
        let mut busy = false;
        while let Some(State::Open(connection)) = self.conns.get_mut(&peer).map(|c| &mut c.state)
            && let Some(output) = connection.poll()
        {
            busy = true;
            match output {
                PeerOutput::Read(block) => {
                    if let Some(data) = self.disk.read(block) {
                        connection.handle_read(now, block, data);
                    }
                }
                PeerOutput::Event(event) => self.report(now, peer, event, wishes),
            }
        }
        busy
    }

    fn report(&mut self, now: Time, peer: PeerKey, event: Event<Payload>, wishes: &mut Vec<Wish>) {
        if let Event::Closed(_) = event
            && let Some(conn) = self.conns.remove(&peer)
        {
            wishes.push(Wish::HangUp(conn.link));
        }
        self.torrent.handle(now, Input::Peer { peer, event });
    }

    /// Gives a connection's bytes to its link, as long as there is room. True if there were any.
    fn transmit(&mut self, now: Time, peer: PeerKey, links: &mut BTreeMap<u64, Link>) -> bool {
        let mut busy = false;
        let Some(conn) = self.conns.get_mut(&peer) else { return false };
        let (Some(link), State::Open(connection)) = (links.get_mut(&conn.link), &mut conn.state) else {
            return false;
        };
        while link.has_room(conn.side)
            && let Some(what) = connection.transmit()
        {
            busy = true;
            let payload = if let Transmit::Payload(payload) = &what { payload.block.len } else { 0 };
            link.send(now, conn.side, what);
            connection.handle_sent(now, payload);
        }
        busy
    }
}
