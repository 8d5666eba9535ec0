//! What the torrent knows of one connected peer.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use super::api::PeerStatus;
use super::blame::Standing;
use super::pex::Told;
use super::picker::Pace;
use super::rate::Rate;
use super::roster::{Past, Who};
use super::seat::Seat;
use super::seeding::Offers;
use super::window::Window;
use super::window_sum::WindowSum;
use crate::bitfield::Bitfield;
use crate::ids::{BLOCK_LEN, Block, PeerKey, PieceIndex};
use crate::peer::{Departure, Extended, Hello};
use crate::time::Time;

/// A peer that brought nothing of what it was asked for in so long is snubbed.
const SNUB: Duration = Duration::from_secs(20);
/// Once snubbed, the last request is taken back after so long.
const GIVE_UP: Duration = Duration::from_secs(60);
/// A peer that can bring a piece in this time may fetch it alone.
const ALONE: u64 = 20;
/// A peer that takes less than this part of what a slot carries is sluggish.
const SLUGGISH: u64 = 8;
/// Pieces it allows while we are choked that are remembered (BEP 6 gives 10).
const MOST_ALLOWED: usize = 64;
/// What a peer that was not measured yet is thought to take for a block (256 KiB/s), and for a round trip.
const UNMEASURED: Duration = Duration::from_micros(62_500);
const FIRST_ROUND_TRIP: Duration = Duration::from_millis(250);
/// `have` messages remembered before the number of pieces is known.
const MOST_EARLY: usize = 1 << 16;

/// What a peer said it has before the number of pieces was known.
#[derive(Debug, Default)]
pub(super) struct Early {
    start: Start,
    /// What it gained and lost since, in order.
    changes: Vec<(PieceIndex, bool)>,
}

/// What a peer had at first.
#[derive(Debug, Default)]
enum Start {
    #[default]
    Nothing,
    All,
    Bitfield(Vec<u8>),
}

impl Early {
    pub(super) fn all(&mut self) {
        *self = Self { start: Start::All, changes: Vec::new() };
    }

    pub(super) fn bitfield(&mut self, bytes: Vec<u8>) {
        *self = Self { start: Start::Bitfield(bytes), changes: Vec::new() };
    }

    pub(super) fn change(&mut self, piece: PieceIndex, has: bool) {
        if self.changes.len() < MOST_EARLY {
            self.changes.push((piece, has));
        }
    }

    /// As a set over `pieces` pieces; `None` if it does not fit.
    pub(super) fn resolve(self, pieces: u32) -> Option<Bitfield> {
        let mut set = match self.start {
            Start::Nothing => Bitfield::new(pieces),
            Start::All => Bitfield::full(pieces),
            Start::Bitfield(bytes) => Bitfield::from_bytes(&bytes, pieces)?,
        };
        for (piece, has) in self.changes {
            if has {
                set.insert(piece)
            } else {
                set.remove(piece)
            };
        }
        Some(set)
    }
}

/// How a peer's pieces enter the availability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counted {
    No,
    /// Piece by piece.
    Pieces,
    /// It had everything from the start: it changes no order, so it is not counted.
    Seed,
}

/// What is overdue with a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    Nothing,
    /// It falls silent: its requests but the first go to others.
    Snub,
    /// It stays silent: the first one too.
    GiveUp,
}

#[derive(Debug)]
pub(super) struct Peer {
    pub(super) key: PeerKey,
    pub(super) addr: SocketAddr,
    pub(super) outgoing: bool,
    pub(super) hello: Option<Hello>,
    /// It was told to go.
    pub(super) closing: Option<Departure>,
    pub(super) extended: Extended,
    /// Where it listens, if we did not connect to it there.
    pub(super) listens: Option<SocketAddr>,
    /// It said where its DHT node is.
    pub(super) told_node: bool,
    /// When it last said anything.
    pub(super) heard: Time,
    /// What its place is worth.
    pub(super) seat: Seat,
    /// Which others it was told of.
    pub(super) told: Told,

    pub(super) early: Early,
    pub(super) has: Bitfield,
    pub(super) counted: Counted,
    /// Pieces it has that are wanted and not had.
    pub(super) useful: u32,
    pub(super) interested: bool,
    pub(super) choked: bool,
    pub(super) allowed: BTreeSet<PieceIndex>,

    pub(super) peer_interested: bool,
    pub(super) peer_choked: bool,
    /// Pieces of which it was told that it may have them in spite of a choke.
    pub(super) granted: u32,
    pub(super) grants_over: bool,
    /// When it last got or lost a slot; at first when it connected.
    pub(super) slot_since: Time,
    /// When its last turn to be served began.
    pub(super) last_turn: Option<Time>,
    /// Rounds in a row in which it was served, had what we want, and gave nothing.
    pub(super) dodged: u32,
    /// When last served it took far less than a slot carries.
    pub(super) sluggish: bool,
    /// Bytes sent to it until the last round.
    up_before: u64,
    /// What it was told of, if it is not to see everything that we have.
    pub(super) offers: Option<Offers>,
    /// What it gave of late.
    pub(super) gave: WindowSum,

    pub(super) window: Window,
    requests: VecDeque<(Block, Time)>,
    pub(super) current: Option<PieceIndex>,
    /// When it last brought a block, or was asked after a pause.
    progress: Time,
    /// There was less to ask of it than it could take.
    pub(super) starved: bool,
    /// Not asked before: it refused although it does not choke us, or is too slow.
    pub(super) held_until: Time,
    /// What is known against its host.
    pub(super) standing: Standing,

    pub(super) down: Rate,
    pub(super) up: Rate,
}

impl Peer {
    pub(super) fn new(key: PeerKey, addr: SocketAddr, outgoing: bool, pieces: u32, now: Time) -> Self {
        Self {
            key,
            addr,
            outgoing,
            hello: None,
            closing: None,
            extended: Extended::default(),
            listens: None,
            told_node: false,
            heard: now,
            seat: Seat::new(now),
            told: Told::new(now),
            early: Early::default(),
            has: Bitfield::new(pieces),
            counted: Counted::No,
            useful: 0,
            interested: false,
            choked: true,
            allowed: BTreeSet::new(),
            peer_interested: false,
            peer_choked: true,
            granted: 0,
            grants_over: false,
            slot_since: now,
            last_turn: None,
            dodged: 0,
            sluggish: false,
            up_before: 0,
            offers: None,
            gave: WindowSum::default(),
            window: Window::new(now),
            requests: VecDeque::new(),
            current: None,
            progress: now,
            starved: false,
            held_until: now,
            standing: Standing::Clear,
            down: Rate::new(now),
            up: Rate::new(now),
        }
    }

    /// Its handshake is done, and it was not told to go.
    pub(super) const fn is_active(&self) -> bool {
        self.hello.is_some() && self.closing.is_none()
    }

    /// It is known to have every piece.
    pub(super) const fn is_seed(&self) -> bool {
        !self.has.is_empty() && self.has.is_full()
    }

    /// It wants nothing of ours and does not have everything: perhaps it is a seed that hides pieces (BEP 16).
    pub(super) const fn may_hide_pieces(&self) -> bool {
        !self.peer_interested && !self.is_seed()
    }

    /// It enters the availability piece by piece.
    pub(super) fn is_counted(&self) -> bool {
        self.counted == Counted::Pieces
    }

    /// Bytes it gave us beyond those that we gave it, now and before; negative if it owes us.
    pub(super) fn credit(&self) -> i64 {
        let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        let Past { gave, took, .. } = self.seat.past;
        signed(self.down.total().saturating_add(gave)) - signed(self.up.total().saturating_add(took))
    }

    /// It gave us something, now or before.
    pub(super) const fn ever_gave(&self) -> bool {
        self.down.total() > 0 || self.seat.past.gave > 0
    }

    /// Once a round: notes whether it takes what a slot carries, `turn` bytes, and whether it gives back.
    pub(super) fn review(&mut self, now: Time, turn: u64) {
        let took = self.up.total() - self.up_before;
        self.up_before = self.up.total();
        if !self.peer_choked {
            self.sluggish = took < turn / SLUGGISH;
        }
        if self.gave.get(now) > 0 {
            self.dodged = 0;
        } else if !self.peer_choked && self.useful > 0 {
            self.dodged = self.dodged.saturating_add(1);
        }
    }

    /// It wants something of ours; or would, if it was told what we have.
    pub(super) const fn wants(&self) -> bool {
        let would = self.offers.is_some() && !self.is_seed() && !self.extended.upload_only;
        self.is_active() && (self.peer_interested || would)
    }

    /// It brings a piece in reasonable time alone.
    pub(super) fn is_fast(&self, piece_length: u32) -> bool {
        self.window.rate().saturating_mul(ALONE) >= u64::from(piece_length).max(u64::from(BLOCK_LEN))
    }

    /// How soon it brings what it is asked for now. Unmeasured, it is taken for a good one, so that at the start of a film
    /// all help; silent, for a very slow one.
    pub(super) fn pace(&self) -> Pace {
        let block = match (self.window.is_snubbed(), self.window.rate()) {
            (true, _) => GIVE_UP,
            (false, 0) => UNMEASURED,
            (false, rate) => Duration::from_micros(u64::from(BLOCK_LEN) * 1_000_000 / rate),
        };
        let queue = block.saturating_mul(u32::try_from(self.requests.len()).unwrap_or(u32::MAX));
        let wait = queue + self.window.round_trip().unwrap_or(FIRST_ROUND_TRIP);
        Pace { wait, block, measured: self.window.rate() > 0 }
    }

    pub(super) fn allow(&mut self, piece: PieceIndex) {
        if self.allowed.len() < MOST_ALLOWED {
            self.allowed.insert(piece);
        }
    }

    /// How many blocks to ask it for now.
    pub(super) fn room(&self, now: Time) -> usize {
        let may_ask = self.is_active() && self.useful > 0 && now >= self.held_until;
        let served = !self.choked || !self.allowed.is_empty();
        let enough = self.starved && !self.requests.is_empty();
        if may_ask && served && !enough { self.window.room(self.requests.len()) } else { 0 }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.requests.is_empty()
    }

    /// For how long nothing has been asked of it; `None` if something is.
    pub(super) fn idle_for(&self, now: Time) -> Option<Duration> {
        self.is_idle().then(|| now.since(self.progress))
    }

    /// The pieces of which it was asked for blocks.
    pub(super) fn asked_pieces(&self) -> BTreeSet<PieceIndex> {
        self.requests.iter().map(|(block, _)| block.piece).collect()
    }

    /// Takes the requests for a piece off the list.
    pub(super) fn forget_piece(&mut self, piece: PieceIndex) -> Vec<Block> {
        let (gone, kept) =
            std::mem::take(&mut self.requests).into_iter().partition(|(b, _)| b.piece == piece);
        self.requests = kept;
        let gone: VecDeque<(Block, Time)> = gone;
        gone.into_iter().map(|(block, _)| block).collect()
    }

    /// Notes that it was asked for blocks.
    pub(super) fn asked(&mut self, now: Time, blocks: &[Block]) {
        if self.requests.is_empty() && !blocks.is_empty() {
            self.window.begin(now);
            self.progress = now;
        }
        self.requests.extend(blocks.iter().map(|block| (*block, now)));
    }

    /// What it sent waits for us: it is not silent.
    pub(super) const fn held(&mut self, now: Time) {
        self.progress = now;
    }

    /// A block came, which it mostly was asked for.
    pub(super) fn brought(&mut self, now: Time, block: Block) {
        self.down.add(block.len.into());
        self.seat.gave(now);
        self.gave.add(now, block.len.into());
        self.progress = now;
        if let Some(asked) = self.forget(&block) {
            self.window.received(now, asked, block.len);
        }
    }

    /// Takes a request off the list; says when it was made. Mostly it is the first one.
    pub(super) fn forget(&mut self, block: &Block) -> Option<Time> {
        let at = self.requests.iter().position(|(b, _)| b == block)?;
        self.requests.remove(at).map(|(_, asked)| asked)
    }

    /// Takes all requests off the list but the first `keep`.
    pub(super) fn forget_after(&mut self, keep: usize) -> Vec<Block> {
        let keep = keep.min(self.requests.len());
        self.requests.drain(keep..).map(|(block, _)| block).collect()
    }

    /// Whether it could bring blocks, as far as one knows.
    pub(super) fn serves(&self) -> bool {
        self.is_active() && !self.choked && self.useful > 0 && !self.window.is_snubbed()
    }

    /// What is due because it brings nothing. It keeps one request until it is given up, unless it is `in_the_way`: what
    /// it keeps may be the last block, which others would bring.
    pub(super) fn overdue(&self, now: Time, in_the_way: bool) -> Overdue {
        let silent = if self.requests.is_empty() { Duration::ZERO } else { now.since(self.progress) };
        match (self.window.is_snubbed(), silent) {
            (_, t) if in_the_way && t >= SNUB => Overdue::GiveUp,
            (false, t) if t >= SNUB => Overdue::Snub,
            (true, t) if t >= GIVE_UP => Overdue::GiveUp,
            _ => Overdue::Nothing,
        }
    }

    /// What is to be remembered of this connection.
    pub(super) fn did(&self, now: Time) -> Past {
        let served = self.up.total() > 0 || (self.peer_interested && !self.peer_choked);
        Past {
            last_turn: self.last_turn.max(served.then_some(now)),
            dodged: self.dodged,
            gave: self.down.total(),
            took: self.up.total(),
            snubs: self.window.is_snubbed().into(),
        }
    }

    /// It goes on where it left off.
    pub(super) fn resume(&mut self, who: Who, past: Past) {
        (self.last_turn, self.dodged) = (past.last_turn, past.dodged);
        (self.seat.who, self.seat.past) = (Some(who), past);
    }

    /// It is to be found at this address, as far as we know.
    pub(super) fn is_at(&self, addr: SocketAddr) -> bool {
        (self.outgoing && self.addr == addr)
            || self.listens == Some(addr)
            || self.seat.aliases().contains(&addr)
    }

    pub(super) fn update_rates(&mut self, now: Time) {
        self.down.update(now);
        self.up.update(now);
    }

    pub(super) fn status(&self) -> PeerStatus {
        PeerStatus {
            peer: self.key,
            addr: self.addr,
            outgoing: self.outgoing,
            peer_id: self.hello.map(|h| h.peer_id),
            client: self.extended.client.clone(),
            pieces: self.has.count(),
            down_rate: self.down.get(),
            up_rate: self.up.get(),
            downloaded: self.down.total(),
            uploaded: self.up.total(),
            interested: self.interested,
            choked: self.choked,
            peer_interested: self.peer_interested,
            peer_choked: self.peer_choked,
            snubbed: self.window.is_snubbed(),
            suspect: self.standing == Standing::Suspect,
            requests: self.requests.len() as u32,
            window: self.window.size(),
            round_trip: self.window.round_trip(),
        }
    }
}
