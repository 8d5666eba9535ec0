//! A torrent under any script of peers, storage and time: it asks only for what exists, is missing and was offered,
//! only of whom it may, stores nothing twice, keeps its limits, tells nobody twice or too often of others, bans for wrong blocks only who sent one; and whatever
//! happened, an honest seed completes it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use samara_proto::bencode::write_dict;
use samara_proto::bitfield::Bitfield;
use samara_proto::ids::{BLOCK_LEN, Block, PeerId, PeerKey, PieceIndex, Sha256Hash, WireHash};
use samara_proto::layout::Layout;
use samara_proto::merkle::{HashRequest, HashTree, layer_root, parent};
use samara_proto::metainfo::Info;
use samara_proto::peer::{Command, Departure, Event, Extended, Hello, Violation};
use samara_proto::time::Time;
use samara_proto::torrent::{
    Config, Input as Happening, Known, Output, PieceLayers, Priority, Source, Torrent, TorrentEvent,
};
use samara_proto::wire::{PexFlags, PexMessage};

use super::input::{Input, play};

const PIECES: u32 = 6;
const PIECE_LEN: u32 = 2 * BLOCK_LEN;
const LEN: u64 = PIECES as u64 * PIECE_LEN as u64 - 1000;
const MAX_PEERS: usize = 8;
/// What peers may be told of others: so many, so often.
const MAX_PEX: usize = 50;
const PEX_PERIOD: Duration = Duration::from_secs(60);
/// Longer than all that silent peers can make one wait for: hashes, metadata, and the last blocks.
const LONG: Duration = Duration::from_secs(300);
/// More steps than an honest seed needs, with every refusal and timeout on the way.
const ENOUGH: u32 = 20_000;

/// Runs one input.
pub fn run(data: &[u8]) {
    play(data, World::new, World::step).finish();
}

/// The torrent that everybody speaks of.
struct Truth {
    info: Arc<Info>,
    layout: Layout,
    layer: Vec<u8>,
    root: Sha256Hash,
}

impl Truth {
    /// One file, in the format that `kind` chooses.
    fn new(kind: u8) -> Self {
        let layer: Vec<u8> = (0..PIECES).flat_map(|n| parent(&leaf(n, 0), &leaf(n, 1)).0).collect();
        let root = layer_root(&layer, PIECE_LEN).expect("a whole number of hashes");
        let (v1, v2) = (kind % 3 != 1, !kind.is_multiple_of(3));
        let mut raw = Vec::new();
        write_dict(&mut raw, |d| {
            if v2 {
                d.dict("file tree", |tree| {
                    tree.dict("x", |file| {
                        file.dict("", |f| {
                            f.int("length", LEN as i64);
                            f.bytes("pieces root", root.0);
                        });
                    });
                });
                d.int("meta version", 2);
            }
            if v1 {
                d.int("length", LEN as i64);
                d.bytes("pieces", [9; 20 * PIECES as usize]);
            }
            d.bytes("name", "x");
            d.int("piece length", PIECE_LEN.into());
        });
        let info = Arc::new(Info::parse(raw.into()).expect("a valid dictionary"));
        let layout = Layout::of(&info).expect("it can be laid out");
        Self { info, layout, layer, root }
    }

    fn known(&self, with_layers: bool) -> Known {
        let layers: PieceLayers = [(self.root, Arc::from(&*self.layer))].into();
        let v2 = self.info.format().has_v2();
        Known {
            info: Arc::clone(&self.info),
            piece_layers: if v2 && with_layers { layers } else { PieceLayers::new() },
        }
    }

    fn hashes(&self, request: &HashRequest) -> Option<Vec<u8>> {
        let mut tree = HashTree::new(self.root, LEN, PIECE_LEN);
        tree.set_layer(&self.layer).expect("the layer leads to the root");
        let leaves = |n: u32| [leaf(n, 0), leaf(n, 1)];
        tree.answer(request).or_else(|| tree.answer_leaves(request, &leaves(tree.leaf_piece(request)?)))
    }
}

/// The SHA-256 of a block, if it is right.
fn leaf(piece: u32, block: u32) -> Sha256Hash {
    Sha256Hash([(piece * 2 + block) as u8 + 1; 32])
}

/// A connection as the torrent knows it.
struct Link {
    ip: IpAddr,
    greeted: bool,
    told_to_go: bool,
    has: Bitfield,
    asked: Vec<Block>,
    /// Requests taken back; a block whose answer had begun still comes.
    cancelled: Vec<Block>,
    questions: Vec<Command>,
    /// Peers that it was told of, and when last.
    told: BTreeSet<SocketAddr>,
    told_at: Option<Time>,
}

struct World {
    truth: Truth,
    torrent: Torrent<u32>,
    now: Time,
    links: BTreeMap<PeerKey, Link>,
    connecting: Vec<SocketAddr>,
    banned: BTreeSet<SocketAddr>,
    next_key: u64,
    ready: bool,
    /// Ours, once known: what is verified.
    have: Bitfield,
    /// Which version of its bytes came; 0 is the right one.
    stored: BTreeMap<Block, u32>,
    /// Pieces whose leaves are asked for.
    reading: Vec<PieceIndex>,
    /// Pieces that are wrong, of which some blocks are to be discarded.
    judged: BTreeSet<PieceIndex>,
    /// From where wrong blocks came.
    liars: BTreeSet<IpAddr>,
    wanted: bool,
    paused: bool,
    stopped: bool,
}

impl World {
    fn new(input: &mut Input<'_>) -> Self {
        let truth = Truth::new(input.byte());
        let config = Config {
            max_peers: MAX_PEERS,
            max_half_open: 2,
            upload_slots: Some(2),
            super_seeding: true,
            ..Config::new(PeerId([7; 20]))
        };
        let config = Config { sequential: input.flag(), ..config };
        let (now, seed) = (Time::from_micros(1), u64::from(input.byte()));
        let knowledge = input.byte();
        let torrent = if knowledge.is_multiple_of(3) {
            Torrent::new(config, truth.info.hashes(), seed, now)
        } else {
            Torrent::with_info(config, truth.known(knowledge % 3 == 1), seed, now)
                .expect("it can be laid out")
        };
        let (links, connecting, banned, stored, reading, judged, liars) = Default::default();
        let have = Bitfield::new(PIECES);
        let (next_key, ready, wanted, paused, stopped) = (1, false, true, false, false);
        let mut world = Self {
            truth,
            torrent,
            now,
            links,
            connecting,
            banned,
            next_key,
            ready,
            have,
            stored,
            reading,
            judged,
            liars,
            wanted,
            paused,
            stopped,
        };
        world.drain();
        world
    }

    fn step(&mut self, input: &mut Input<'_>) {
        match input.byte() % 20 {
            0 => {
                let addrs = (0..input.byte() % 4).map(|_| address(input.byte())).collect();
                let source = [Source::User, Source::Tracker, Source::Pex][input.below(3)];
                self.handle(Happening::Candidates { source, addrs });
            }
            1 | 2 => self.answer_connect(input.flag()),
            3 => _ = self.connected(address(input.byte()), false),
            4 => self.greet(input),
            5 => self.be_ready(input.byte()),
            6 => self.verdict(input.byte() > 40),
            7 => self.lose(input),
            8 => self.wait(Duration::from_millis(u64::from(input.short()) * 4)),
            9 => self.control(input),
            10 => self.say(input, |_, link, input| {
                let at = input.below(link.asked.len());
                let block = (!link.asked.is_empty()).then(|| link.asked.swap_remove(at))?;
                Some(Event::Rejected(block))
            }),
            11..=13 => self.deliver(input),
            14 => self.answer_question(input),
            _ => self.say(input, |truth, link, input| Some(event(truth, link, input))),
        }
    }

    fn handle(&mut self, input: Happening<u32>) {
        self.torrent.handle(self.now, input);
        self.drain();
    }

    fn tell(&mut self, peer: PeerKey, event: Event<u32>) {
        self.handle(Happening::Peer { peer, event });
    }

    fn wait(&mut self, time: Duration) {
        self.now = self.now + time;
        self.handle(Happening::Tick);
    }

    fn answer_connect(&mut self, ok: bool) {
        let Some(addr) = self.connecting.pop() else { return };
        if ok { _ = self.connected(addr, true) } else { self.handle(Happening::ConnectFailed { addr }) }
    }

    fn connected(&mut self, addr: SocketAddr, outgoing: bool) -> PeerKey {
        let peer = PeerKey(self.next_key);
        self.next_key += 1;
        let has = Bitfield::new(PIECES);
        let (asked, cancelled, questions, told, told_at) = Default::default();
        let ip = addr.ip();
        self.links.insert(
            peer,
            Link { ip, greeted: false, told_to_go: false, has, asked, cancelled, questions, told, told_at },
        );
        self.handle(Happening::Connected { peer, addr, outgoing });
        peer
    }

    fn pick(&self, input: &mut Input<'_>) -> Option<PeerKey> {
        self.links.keys().nth(input.below(self.links.len())).copied()
    }

    fn greet(&mut self, input: &mut Input<'_>) {
        let Some(peer) = self.pick(input) else { return };
        let id = PeerId([input.byte() % 8; 20]);
        if !std::mem::replace(&mut self.links.get_mut(&peer).expect("picked").greeted, true) {
            self.tell(peer, Event::Hello(self.hello(id)));
        }
    }

    fn hello(&self, peer_id: PeerId) -> Hello {
        let hashes = self.truth.info.hashes();
        let v2 = hashes.v2().map(|h| h.truncated());
        let hash: WireHash = v2.unwrap_or(hashes.primary());
        Hello { peer_id, hash, v2: v2.is_some(), fast: true, extended: true, dht: false }
    }

    /// Storage opens when the info dictionary is known; a part may be there already.
    fn be_ready(&mut self, bits: u8) {
        if self.ready || self.torrent.info().is_none() {
            return;
        }
        self.ready = true;
        let have = Bitfield::from_bytes(&[bits & 0xfc], PIECES).expect("6 bits");
        self.have = have.clone();
        self.handle(Happening::Ready { have });
    }

    /// The storage hashed a piece that is whole.
    fn verdict(&mut self, digests: bool) {
        let Some(piece) = self.whole_pieces().first().copied() else { return };
        let blocks: Vec<_> =
            self.stored.iter().filter(|(b, _)| b.piece == piece).map(|(b, v)| (*b, *v)).collect();
        let ok = blocks.iter().all(|(_, version)| *version == 0);
        if ok {
            self.have.insert(piece);
            self.stored.retain(|b, _| b.piece != piece);
        } else {
            self.judged.insert(piece);
        }
        let digest = |(b, version): (Block, u32)| {
            (
                b.index(),
                if version == 0 { leaf(piece.0, b.index()) } else { Sha256Hash([255 - version as u8; 32]) },
            )
        };
        let digests = blocks.into_iter().map(digest).filter(|_| digests).collect();
        self.handle(Happening::Verified { piece, ok, digests });
    }

    fn whole_pieces(&self) -> Vec<PieceIndex> {
        let whole = |p: &PieceIndex| self.truth.layout.blocks(*p).all(|b| self.stored.contains_key(&b));
        (0..PIECES).map(PieceIndex).filter(|p| !self.judged.contains(p)).filter(whole).collect()
    }

    fn lose(&mut self, input: &mut Input<'_>) {
        if input.byte() > 200 {
            let piece = piece(input);
            // The disk says so of what it had.
            if self.have.remove(piece) {
                self.handle(Happening::Lost { piece });
            }
            return;
        }
        let stored = self.stored.keys().nth(input.below(self.stored.len())).map(|b| b.piece);
        let Some(piece) = stored else { return };
        self.stored.retain(|b, _| b.piece != piece);
        self.judged.remove(&piece);
        self.handle(Happening::Lost { piece });
    }

    fn control(&mut self, input: &mut Input<'_>) {
        match input.byte() {
            0..=1 => {
                self.stopped = true;
                self.handle(Happening::Stop);
            }
            2..=20 => self.leaves(true),
            21..=30 => self.leaves(false),
            31..=34 => self.handle(Happening::Room(input.flag())),
            35 => self.handle(Happening::Local { ip: address(input.byte()).ip() }),
            // Enough networks to come to believe it.
            36 => {
                let (by, ip) = ([input.byte() % 4 + 1, 1, 1, 1].into(), [5, 5, 5, input.byte() % 2].into());
                self.handle(Happening::Seen { by, ip });
            }
            37..=40 => {
                let Some(addr) = self.connecting.pop() else { return };
                self.handle(Happening::ConnectDeferred { addr });
            }
            41..=60 => {
                self.paused = true;
                self.handle(Happening::Pause);
            }
            61..=200 => {
                self.paused = false;
                self.handle(Happening::Resume);
            }
            201..=229 => {
                let deadlines = (0..input.byte() % 4).map(|_| {
                    let at = self.now + Duration::from_millis(input.short().into());
                    (piece(input), at)
                });
                let deadlines = deadlines.collect();
                self.handle(Happening::Deadlines(deadlines));
            }
            230..=239 => {
                let priority =
                    [None, Some(Priority::Low), Some(Priority::High)][usize::from(input.byte() % 3)];
                let piece = piece(input);
                self.handle(Happening::Prioritise { piece, priority });
            }
            _ => {
                self.wanted = input.flag();
                self.handle(Happening::Select(vec![self.wanted.into()]));
            }
        }
    }

    fn deliver(&mut self, input: &mut Input<'_>) {
        self.say(input, |_, link, input| {
            let kind = input.byte();
            let from = if kind == 0 { &mut link.cancelled } else { &mut link.asked };
            let at = input.below(from.len());
            let block = (!from.is_empty()).then(|| from.swap_remove(at))?;
            let data = if kind < 200 { 0 } else { 1 + u32::from(kind % 2) };
            Some(Event::Block { block, data })
        });
    }

    fn answer_question(&mut self, input: &mut Input<'_>) {
        let honest = input.flag();
        self.say(input, |truth, link, input| {
            let question = link.questions.pop()?;
            if honest { answer(truth, question) } else { lie(question, input) }
        });
    }

    /// Something that a greeted peer says.
    fn say(
        &mut self,
        input: &mut Input<'_>,
        what: impl FnOnce(&Truth, &mut Link, &mut Input<'_>) -> Option<Event<u32>>,
    ) {
        let Some(peer) = self.pick(input) else { return };
        let link = self.links.get_mut(&peer).expect("picked");
        if !link.greeted {
            return;
        }
        let Some(event) = what(&self.truth, link, input) else { return };
        if matches!(event, Event::Closed(_)) {
            self.links.remove(&peer);
        }
        self.tell(peer, event);
    }

    fn drain(&mut self) {
        while let Some(output) = self.torrent.poll() {
            match output {
                Output::Send { peer, command } => self.sent(peer, command),
                Output::Connect { addr } => {
                    assert!(!self.stopped, "connects after the stop");
                    self.connecting.push(addr);
                }
                Output::Disconnect { peer, .. } => {
                    let link = self.links.get_mut(&peer).expect("disconnects whom it does not know");
                    assert!(!std::mem::replace(&mut link.told_to_go, true), "disconnects twice");
                }
                Output::Store { peer, block, data, .. } => {
                    assert!(self.ready && !self.have.has(block.piece), "stores {block:?}, which is had");
                    assert!(self.stored.insert(block, data).is_none(), "stores {block:?} twice");
                    self.liars.extend(self.links.get(&peer).filter(|_| data > 0).map(|link| link.ip));
                }
                Output::Discard { piece, blocks } => self.discard(piece, blocks),
                Output::ReadLeaves { piece } => {
                    assert!(self.have.has(piece) && self.truth.info.format().has_v2());
                    self.reading.push(piece);
                }
                Output::Event(event) => self.news(&event),
            }
        }
        let links = self.links.values().filter(|l| !l.told_to_go).count();
        // Who was banned while it was being connected is turned away when it is there.
        let connecting = self.connecting.iter().filter(|addr| !self.banned.contains(addr)).count();
        assert!(links + connecting <= MAX_PEERS, "too many connections");
        let stats = self.torrent.stats();
        assert!(stats.done <= stats.wanted, "{stats:?}");
    }

    fn discard(&mut self, piece: PieceIndex, blocks: Option<Vec<u32>>) {
        assert!(!self.have.has(piece), "lets go of {piece:?}, which is had");
        let named = |block: &Block| blocks.as_ref().is_none_or(|blocks| blocks.contains(&block.index()));
        let gone = self.stored.extract_if(.., |block, _| block.piece == piece && named(block)).count();
        assert!(gone > 0 || blocks.is_none(), "lets go of blocks of {piece:?} that are not there");
        self.judged.remove(&piece);
    }

    /// The storage read leaves, or could not.
    fn leaves(&mut self, ok: bool) {
        let Some(piece) = self.reading.pop() else { return };
        let leaves = if ok { vec![leaf(piece.0, 0), leaf(piece.0, 1)] } else { Vec::new() };
        self.handle(Happening::Leaves { piece, leaves });
    }

    fn sent(&mut self, peer: PeerKey, command: Command) {
        let Some(link) = self.links.get_mut(&peer) else {
            panic!("sends {command:?} to {peer:?}, which is gone")
        };
        let early = matches!(command, Command::Layout { .. } | Command::UploadOnly(_) | Command::AllowPex(_));
        assert!((link.greeted || early) && !link.told_to_go, "sends {command:?} to a peer that is not there");
        match command {
            Command::Request(block) => {
                assert!(self.ready && !self.paused && !self.stopped, "asks for {block:?} now");
                assert!(self.truth.layout.contains(&block) && block.len <= BLOCK_LEN);
                assert!(link.has.has(block.piece), "asks for {block:?} of a peer without it");
                assert!(!self.have.has(block.piece), "asks for {block:?}, which is had");
                assert!(!link.asked.contains(&block), "asks for {block:?} twice");
                link.cancelled.retain(|b| *b != block);
                link.asked.push(block);
            }
            Command::Cancel(block) => {
                link.asked.retain(|b| *b != block);
                link.cancelled.push(block);
            }
            question @ (Command::HashRequest(_) | Command::MetadataRequest(_)) => {
                link.questions.push(question)
            }
            Command::Have(piece) => assert!(self.have.has(piece), "claims {piece:?}"),
            Command::Pex(message) => link.hear(&message, self.now),
            // A super seed shows less than it has.
            Command::Bitfield(have) => {
                assert!(have.iter().all(|piece| self.have.has(piece)), "claims what it has not");
            }
            _ => {}
        }
    }

    fn news(&mut self, event: &TorrentEvent) {
        match event {
            TorrentEvent::PieceDone(piece) => assert!(self.have.has(*piece)),
            TorrentEvent::Metadata(info) => assert_eq!(info.raw(), self.truth.info.raw()),
            TorrentEvent::BadInfo(e) => panic!("the dictionary is right: {e}"),
            TorrentEvent::Layers(layers) => {
                assert_eq!(layers.get(&self.truth.root).map(|l| &**l), Some(&*self.truth.layer));
            }
            TorrentEvent::Banned { addr, violation } => {
                let lied = *violation != Violation::BadPieces || self.liars.contains(&addr.ip());
                assert!(lied, "bans {addr}, from where no wrong block came");
                self.banned.insert(*addr);
            }
            TorrentEvent::Complete => assert!(self.have.is_full() || !self.wanted, "complete too early"),
            _ => {}
        }
    }

    /// Some leave, the others fall silent, an honest seed comes, and that is enough.
    fn finish(mut self) {
        let leave = |link: &Link| link.told_to_go || !link.greeted;
        let mut leaving: Vec<_> =
            self.links.iter().filter(|(_, l)| leave(l)).map(|(peer, _)| *peer).collect();
        let stay = self.links.keys().filter(|peer| !leaving.contains(peer)).skip(MAX_PEERS - 3);
        leaving.extend(stay.copied().collect::<Vec<_>>());
        for peer in leaving {
            self.links.remove(&peer);
            self.tell(peer, Event::Closed(Departure::Remote));
        }
        if self.stopped {
            return;
        }
        while !self.connecting.is_empty() {
            self.answer_connect(false);
        }
        self.paused = false;
        self.handle(Happening::Resume);
        self.handle(Happening::Room(true));
        self.wanted = true;
        self.handle(Happening::Select(vec![true.into()]));
        let (seed, start) = (self.honest_seed(), self.now);
        for _ in 0..ENOUGH {
            if self.have.is_full() {
                break;
            }
            self.serve(seed);
        }
        assert!(self.have.is_full(), "not complete: {:?}", self.torrent.stats());
        let took = self.now.since(start);
        assert!(took < LONG, "an honest seed took {took:?}");
        assert!(self.torrent.is_complete());
    }

    fn honest_seed(&mut self) -> PeerKey {
        let seed = self.connected("192.0.2.1:1".parse().expect("an address"), false);
        assert!(!self.links[&seed].told_to_go, "an honest seed is turned away");
        let hello = self.hello(PeerId([255; 20]));
        let link = self.links.get_mut(&seed).expect("just connected");
        link.greeted = true;
        link.has = Bitfield::full(PIECES);
        let metadata_size = Some(self.truth.info.raw().len() as u32);
        let extended = Extended { ut_metadata: true, metadata_size, ..Extended::default() };
        for event in [Event::Hello(hello), Event::HaveAll, Event::Extended(extended), Event::Unchoke] {
            self.tell(seed, event);
        }
        seed
    }

    /// One thing that an honest seed and a working storage do.
    fn serve(&mut self, seed: PeerKey) {
        let link = self.links.get_mut(&seed).expect("the seed stays");
        assert!(!link.told_to_go, "an honest seed is sent away");
        if !self.connecting.is_empty() {
            self.answer_connect(false);
        } else if let Some(question) = link.questions.pop() {
            let event = answer(&self.truth, question).expect("a seed knows all answers");
            self.tell(seed, event);
        } else if let Some(block) = link.asked.pop() {
            self.tell(seed, Event::Block { block, data: 0 });
        } else if !self.ready && self.torrent.info().is_some() {
            self.be_ready(0);
        } else if !self.whole_pieces().is_empty() {
            self.verdict(true);
        } else {
            self.wait(Duration::from_millis(500));
        }
    }
}

impl Link {
    /// It is told of others.
    fn hear(&mut self, message: &PexMessage, now: Time) {
        let last = self.told_at.replace(now);
        assert!(last.is_none_or(|last| now.since(last) >= PEX_PERIOD) && !message.is_empty());
        assert!(message.added.len().max(message.dropped.len()) <= MAX_PEX);
        assert!(message.dropped.iter().all(|addr| self.told.remove(addr)), "drops whom it did not add");
        for (addr, _) in &message.added {
            assert!(self.told.insert(*addr), "adds {addr} twice");
        }
    }
}

fn address(n: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, n % 8], 6881))
}

fn piece(input: &mut Input<'_>) -> PieceIndex {
    PieceIndex(u32::from(input.byte()) % PIECES)
}

/// What a connection may report of a peer, right or wrong.
fn event(truth: &Truth, link: &mut Link, input: &mut Input<'_>) -> Event<u32> {
    match input.byte() % 16 {
        0 => Event::Choke,
        1..=3 => Event::Unchoke,
        4 => Event::Interested,
        5 => Event::NotInterested,
        6 => {
            let piece = piece(input);
            link.has.insert(piece);
            Event::Have(piece)
        }
        7 => {
            let piece = piece(input);
            link.has.remove(piece);
            Event::DontHave(piece)
        }
        8 => {
            link.has = Bitfield::full(PIECES);
            Event::HaveAll
        }
        9 => {
            let bytes = input.bytes(2).to_vec();
            if let Some(has) = Bitfield::from_bytes(&bytes, PIECES) {
                link.has = has;
            }
            Event::Bitfield(bytes)
        }
        10 => Event::AllowedFast(piece(input)),
        11 => Event::Extended(Extended {
            ut_metadata: input.flag(),
            metadata_size: Some(if input.flag() { truth.info.raw().len() as u32 } else { input.word() }),
            upload_only: input.byte() == 0,
            ut_pex: true,
            ..Extended::default()
        }),
        12 => {
            let (base, index) = (u32::from(input.flag()), 2 * u32::from(input.byte() % 8));
            let (count, proof_layers) = if base == 0 { (2, 0) } else { (8, 2) };
            let index = index * (1 - base);
            Event::HashRequest(HashRequest { root: truth.root, base, index, count, proof_layers })
        }
        13 => match input.byte() {
            piece @ 0..200 => Event::MetadataRequest(piece.into()),
            n => {
                let added = (200..=n).map(|n| (address(n), PexFlags(n))).collect();
                Event::Pex(PexMessage { added, dropped: vec![address(input.byte())] })
            }
        },
        14 => Event::Sent { payload: input.short().into() },
        _ => Event::Closed(Departure::Remote),
    }
}

/// The right answer.
fn answer(truth: &Truth, question: Command) -> Option<Event<u32>> {
    match question {
        Command::HashRequest(request) => Some(
            truth
                .hashes(&request)
                .map_or(Event::HashReject(request), |hashes| Event::Hashes(request, hashes)),
        ),
        Command::MetadataRequest(piece) => {
            let (data, total) = (truth.info.raw().to_vec(), truth.info.raw().len() as u32);
            Some(Event::MetadataData { piece, total, data })
        }
        _ => None,
    }
}

/// A wrong answer, or a refusal.
fn lie(question: Command, input: &mut Input<'_>) -> Option<Event<u32>> {
    match question {
        Command::HashRequest(request) if input.flag() => {
            Some(Event::Hashes(request, input.bytes(64).to_vec()))
        }
        Command::HashRequest(request) => Some(Event::HashReject(request)),
        Command::MetadataRequest(piece) if input.flag() => {
            let data = input.bytes(40).to_vec();
            Some(Event::MetadataData { piece, total: 40, data })
        }
        Command::MetadataRequest(piece) => Some(Event::MetadataReject(piece)),
        _ => None,
    }
}
