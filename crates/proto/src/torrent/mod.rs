//! The brain of one torrent: whom to connect to, what to ask of whom, whom to serve, and what is proven
//! (BEP 3, 6, 9, 11, 21, 52).
//!
//! It never sees payload: blocks pass through as handles. It reads no clock and draws no randomness but from its
//! seed, so a run can be repeated from (seed, inputs). Everything it holds per peer, piece and address is bounded.
//!
//! Decisions live in machines of their own, which know nothing of each other: the *roster* (addresses), the *picker*
//! (pieces and blocks, with *rarity* and *partials*), *blame* (who sent what of pieces that failed), the *window* (requests under way), the *choker*, *metadata* and
//! *hashes*. This type carries what one learns to the others. It refuses to: open sockets or files, hash payload, find
//! peers, limit rates, or serve blocks (connections do that by themselves, once unchoked).
//!
//! The life of a torrent: nothing but hashes → info dictionary known → storage `Ready` → complete. Each machine has
//! its own tests; whole swarms of this type are tested in `samara-sim`.

mod allowed_fast;
mod api;
mod blame;
pub mod canonical;
mod choker;
mod hashes;
mod hosts;
mod join;
mod learn;
mod leaves;
mod metadata;
mod naming;
mod parole;
mod partial;
mod peer;
mod pex;
mod picker;
mod pieces;
mod priority;
mod rarity;
mod rate;
mod requests;
mod roster;
mod seat;
mod seats;
mod seeding;
mod selection;
mod serve;
mod slots;
mod sources;
mod standpoint;
mod superseed;
#[cfg(test)]
mod tests;
mod turnover;
mod verdict;
mod window;
mod window_sum;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

pub use allowed_fast::allowed_fast_set;
pub use api::{
    Config, Expected, Input, Known, Output, PeerStatus, PieceLayers, Priority, Source, Stats, TorrentEvent,
};
use blame::Blame;
use choker::Choker;
use hashes::Hashes;
use leaves::Leaves;
use metadata::Metadata;
pub use metadata::MetadataProgress;
use naming::Naming;
use peer::Peer;
use picker::Picker;
use priority::Priorities;
use rate::Rate;
use roster::Roster;
use slots::Slots;
pub use sources::Sources;

use crate::bitfield::Bitfield;
use crate::ids::{FileIndex, InfoHashes, PeerId, PeerKey};
use crate::layout::{Layout, LayoutError};
use crate::metainfo::Info;
use crate::peer::{Command, Departure, Event};
use crate::rng::Rng;
use crate::time::Time;

/// How often rates, silence and unanswered requests are looked at.
const TICK: Duration = Duration::from_secs(1);
/// Blocks that became free are given to others after so long, many at once.
const KICK: Duration = Duration::from_millis(5);
/// Departed peers whose address is remembered, so that a late verdict finds them.
const MOST_DEPARTED: usize = 256;

/// What the info dictionary says.
#[derive(Debug)]
struct Shape {
    info: Arc<Info>,
    layout: Arc<Layout>,
    hashes: Hashes,
}

/// One torrent. `B` is the handle of a payload buffer.
#[derive(Debug)]
pub struct Torrent<B> {
    config: Config,
    hashes: InfoHashes,
    now: Time,
    rng: Rng,
    peers: BTreeMap<PeerKey, Peer>,
    /// Who is who, to find second connections.
    ids: BTreeMap<PeerId, PeerKey>,
    departed: VecDeque<(PeerKey, SocketAddr)>,
    roster: Roster,
    choker: Choker,
    slots: Slots,
    /// How much what is wanted.
    wishes: Priorities,
    blame: Blame,
    naming: Naming,
    leaves: Leaves,
    /// When we last heard that what a peer sent waits for us.
    held: Option<Time>,
    /// What may leave, in bytes a second: no capacity is more.
    upload_limit: Option<u64>,
    /// The fetch of the info dictionary, as long as it is not known.
    metadata: Option<Metadata>,
    shape: Option<Shape>,
    /// Once the storage is ready.
    picker: Option<Picker>,
    complete: bool,
    /// It had everything when it was opened.
    initial_seed: bool,
    paused: bool,
    stopped: bool,
    /// The program has room for more connections of ours.
    room: bool,
    /// Nobody is called before.
    dial_after: Time,
    next_turnover: Time,
    next_tick: Time,
    kick: Option<Time>,
    done: u64,
    wanted: u64,
    wasted: u64,
    banned: u32,
    down: Rate,
    up: Rate,
    out: VecDeque<Output<B>>,
}

impl<B> Torrent<B> {
    /// A torrent of which nothing but the hashes is known. All its choices follow from `seed`.
    pub fn new(config: Config, hashes: InfoHashes, seed: u64, now: Time) -> Self {
        let mut rng = Rng::new(seed);
        Self {
            roster: Roster::new(rng.next_u64(), config.listen_port),
            choker: Choker::new(now),
            slots: Slots::new(config.upload_slots, now),
            wishes: Priorities::new(config.wanted.clone()),
            blame: Blame::default(),
            naming: Naming::default(),
            leaves: Leaves::new(now),
            held: None,
            upload_limit: None,
            config,
            hashes,
            now,
            rng,
            peers: BTreeMap::new(),
            ids: BTreeMap::new(),
            departed: VecDeque::new(),
            metadata: Some(Metadata::new(hashes)),
            shape: None,
            picker: None,
            complete: false,
            initial_seed: false,
            paused: false,
            stopped: false,
            room: true,
            dial_after: now,
            next_turnover: now + turnover::PERIOD,
            next_tick: now + TICK,
            kick: None,
            done: 0,
            wanted: 0,
            wasted: 0,
            banned: 0,
            down: Rate::new(now),
            up: Rate::new(now),
            out: VecDeque::new(),
        }
    }

    /// A torrent whose info dictionary is known. It waits for [`Input::Ready`] before it connects to anybody.
    ///
    /// # Errors
    /// If the files cannot be laid out, which a parsed [`Info`] rules out.
    pub fn with_info(config: Config, known: Known, seed: u64, now: Time) -> Result<Self, LayoutError> {
        let mut torrent = Self::new(config, known.info.hashes(), seed, now);
        torrent.set_shape(known)?;
        Ok(torrent)
    }

    /// Takes one input. Drain [`Self::poll`] after it. Time must not run backwards.
    pub fn handle(&mut self, now: Time, input: Input<B>) {
        self.now = now;
        match input {
            Input::Connected { peer, addr, outgoing } => self.on_connected(peer, addr, outgoing),
            Input::ConnectFailed { addr } => self.roster.failed(now, addr),
            Input::ConnectDeferred { addr } => self.on_deferred(addr),
            Input::Local { ip } => self.roster.at(ip),
            Input::Seen { by, ip } => self.roster.vote(by, ip),
            Input::Room(room) => self.room = room,
            Input::Candidates { source, addrs } => self.on_candidates(source, &addrs),
            Input::Peer { peer, event } => self.on_event(peer, event),
            Input::Ready { have } => self.on_ready(have),
            Input::Verified { piece, ok, digests } => self.on_verified(piece, ok, &digests),
            Input::Lost { piece } => self.on_lost(piece),
            Input::Leaves { piece, leaves } => self.on_leaves(piece, &leaves),
            Input::Select(wanted) => self.on_select(wanted),
            Input::UploadLimit(limit) => self.upload_limit = limit,
            Input::Beside(others) => self.slots.share(others),
            Input::Prioritise { piece, priority } => self.on_prioritise(piece, priority),
            Input::Deadlines(deadlines) => self.on_deadlines(&deadlines),
            Input::Pause => self.on_pause(),
            Input::Resume => self.on_resume(),
            Input::Stop => self.on_stop(),
            Input::Tick => {}
        }
        self.run_timers();
        self.connect_more();
    }

    /// The next thing to do, until `None`.
    pub fn poll(&mut self) -> Option<Output<B>> {
        self.out.pop_front()
    }

    /// When to give it [`Input::Tick`] if nothing else happens before; `None` for never. May lie in the past.
    pub fn deadline(&self) -> Option<Time> {
        let tick = self.is_busy().then_some(self.next_tick);
        let due = self.roster.deadline().map(|at| at.max(self.dial_after));
        let connect = due.filter(|_| self.may_connect());
        [tick, self.kick, connect].into_iter().flatten().min()
    }

    /// There are peers to look after, or rates that have not faded yet.
    fn is_busy(&self) -> bool {
        !self.peers.is_empty() || self.down.get() > 0 || self.up.get() > 0
    }

    fn on_event(&mut self, key: PeerKey, event: Event<B>) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        peer.heard = self.now;
        let told_to_go = peer.closing.is_some();
        match event {
            Event::Closed(departure) => self.on_closed(key, departure),
            Event::Sent { payload } => self.on_sent(key, payload),
            _ if told_to_go => {}
            Event::Hello(hello) => self.on_hello(key, hello),
            Event::Extended(extended) => self.on_extended(key, extended),
            Event::Pex(message) => self.on_pex(key, &message),
            Event::Choke => self.on_choke(key, true),
            Event::Unchoke => self.on_choke(key, false),
            Event::Held => self.on_held(key),
            Event::Interested => self.on_interested(key, true),
            Event::NotInterested => self.on_interested(key, false),
            Event::Have(piece) => self.on_have(key, piece),
            Event::DontHave(piece) => self.on_dont_have(key, piece),
            Event::Bitfield(bytes) => self.on_bitfield(key, bytes),
            Event::HaveAll => self.on_have_all(key),
            Event::AllowedFast(piece) => self.on_allowed(key, piece),
            Event::Rejected(block) => self.on_rejected(key, block),
            Event::Block { block, data } => self.on_block(key, block, data),
            Event::HashRequest(request) => self.on_hash_request(key, request),
            Event::Hashes(request, hashes) => self.on_hashes(key, &request, &hashes),
            Event::HashReject(request) => self.on_hash_reject(key, &request),
            Event::MetadataRequest(piece) => self.on_metadata_request(key, piece),
            Event::MetadataData { piece, data, .. } => self.on_metadata(key, piece, data),
            Event::MetadataReject(piece) => self.on_metadata_reject(key, piece),
            Event::HaveNone => self.consider(key),
            Event::Port(port) => self.on_dht_port(key, port),
            // A suggestion is no reason to leave the rarest.
            Event::Suggest(_) => {}
        }
    }

    /// A peer has a DHT node. The first word counts: who says more would have us call its ports one by one.
    fn on_dht_port(&mut self, key: PeerKey, port: u16) {
        let Some(peer) = self.peers.get_mut(&key).filter(|peer| port != 0 && !peer.told_node) else { return };
        peer.told_node = true;
        let addr = SocketAddr::new(peer.addr.ip(), port);
        self.tell(TorrentEvent::DhtNode(addr));
    }

    fn run_timers(&mut self) {
        if self.now >= self.next_tick {
            self.next_tick = self.now + TICK;
            self.tick();
        }
        if self.kick.is_some_and(|at| self.now >= at) {
            self.kick = None;
            self.feed_starved();
        }
    }

    fn tick(&mut self) {
        self.down.update(self.now);
        self.up.update(self.now);
        self.slots.measure(self.up.get(), self.upload_limit);
        self.peers.values_mut().for_each(|peer| peer.update_rates(self.now));
        self.chase_silent();
        self.survey();
        self.expire_questions();
        self.turn_over();
        self.exchange_peers();
        self.review_offers();
        if self.choker.round_is_due(self.now) {
            self.rechoke();
        } else {
            self.fill_slots();
        }
        self.feed_starved();
    }

    fn send(&mut self, peer: PeerKey, command: Command) {
        self.out.push_back(Output::Send { peer, command });
    }

    fn tell(&mut self, event: TorrentEvent) {
        self.out.push_back(Output::Event(event));
    }

    /// Keys of the peers that can be talked to.
    fn active(&self) -> Vec<PeerKey> {
        self.peers.values().filter(|p| p.is_active()).map(|p| p.key).collect()
    }

    /// Payload going out, in bytes a second.
    pub fn up_rate(&self) -> u64 {
        self.up.get()
    }

    /// Numbers as of the last input.
    pub fn stats(&self) -> Stats {
        let active = || self.peers.values().filter(|p| p.is_active());
        Stats {
            done: self.done,
            wanted: self.wanted,
            down_rate: self.down.get(),
            up_rate: self.up.get(),
            downloaded: self.down.total(),
            uploaded: self.up.total(),
            wasted: self.wasted,
            peers: active().count() as u32,
            seeds: active().filter(|p| p.is_seed()).count() as u32,
            connections: (self.peers.len() + self.roster.connecting()) as u32,
            candidates: self.roster.len() as u32,
            sources: self.roster.sources(),
            metadata: self.metadata.as_ref().and_then(Metadata::progress),
            banned: self.banned,
        }
    }

    /// Every peer, by key.
    pub fn peers(&self) -> impl Iterator<Item = PeerStatus> + '_ {
        self.peers.values().map(Peer::status)
    }

    /// The hashes it goes by.
    pub const fn hashes(&self) -> InfoHashes {
        self.hashes
    }

    /// The info dictionary, once it is known.
    pub fn info(&self) -> Option<&Arc<Info>> {
        self.shape.as_ref().map(|shape| &shape.info)
    }

    /// Pieces and blocks, once the info dictionary is known.
    pub fn layout(&self) -> Option<&Arc<Layout>> {
        self.shape.as_ref().map(|shape| &shape.layout)
    }

    /// What is proven, once the storage is ready.
    pub fn have(&self) -> Option<&Bitfield> {
        self.picker.as_ref().map(Picker::have)
    }

    /// Every wanted piece is had.
    pub const fn is_complete(&self) -> bool {
        self.complete
    }

    fn wants_file(&self, file: FileIndex) -> bool {
        self.wishes.file(file).is_wanted()
    }
}

impl<B> Torrent<B> {
    /// Closes every connection and opens none.
    fn on_stop(&mut self) {
        self.stopped = true;
        let keys: Vec<_> = self.peers.keys().copied().collect();
        keys.into_iter().for_each(|key| self.disconnect(key, Departure::Shutdown));
    }
}
