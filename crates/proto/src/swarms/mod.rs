//! The swarms that a tracker knows: who is in them, and whom an announce is answered with (BEP 3, 7, 15, 21, 48, 52).
//!
//! A swarm is named by the 20 bytes that go over the wire: SHA-1 for v1, SHA-256 cut short for v2 (BEP 52). A hybrid
//! torrent is two swarms, for which its clients announce twice. IPv4 and IPv6 peers are held apart, and nobody is
//! counted twice. A peer is its address and port: the address is what the front end saw, so nobody can speak for
//! another, bar who shares his address.
//!
//! [`Swarms`] is a plain value: time is an argument, and its draws follow from a seed. Built for a million swarms: a peer
//! takes 8 bytes (IPv6: 20) of a shared pool (`pool.rs`), a swarm 48 and its place in a table (`slab.rs`, `table.rs`). No
//! announce looks at more than a hundred-odd peers, however large the swarm (`crowd.rs`). Silent peers are forgotten by a
//! wheel (`wheel.rs`), and are not handed out before it comes to them.
//!
//! Memory has a cap. At the cap swarms that were announced once go first, oldest first; then, of a few drawn by lot, the
//! emptiest. A swarm that takes much of the memory grows no more at the cost of others. A host (an IPv6 /64) has a few
//! peers in a swarm, and pushes out its own when it brings more.
//!
//! Refuses to know a peer without a port, though it is answered. Tested against a naive model by the fuzz target
//! `swarms` and `tests/swarms.rs`.

mod bag;
mod choose;
mod crowd;
pub mod file;
mod half;
mod members;
mod peer;
mod pool;
mod save;
mod slab;
mod table;
mod wheel;

use std::net::SocketAddr;
use std::ops::Add;
use std::time::Duration;

use half::{Half, Packet, Rules};
use peer::{Packed, V4, V6};

use crate::ids::WireHash;
use crate::rng::Rng;
use crate::siphash::Key;
use crate::time::Time;
pub use crate::tracker::types::Event;
use crate::tracker::types::Family;

/// Least memory that works: a few chunks of the pools.
pub const MIN_BYTES: usize = 2 << 20;

/// Steps of sweeping that each announce pays for.
const STEPS: usize = 2;

/// What a store is made with.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// A peer that is silent for longer is gone; up to 1/64 less, never more. At least 64 µs.
    pub lifetime: Duration,
    /// Most memory, in bytes, half of it for each family; at least [`MIN_BYTES`].
    pub max_bytes: usize,
    /// Most peers of one host (an IPv4 address, an IPv6 /64) in a swarm; at least 1.
    pub per_host: usize,
    /// What nobody else may know, lest swarms be chosen that collide.
    pub secret: [u8; 16],
}

/// What a peer is to its swarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Downloads: is told of leeches and seeds.
    Leech,
    /// Has all that it wants, but not everything (BEP 21): counts as a leech, and is told of leeches only.
    Partial,
    /// Has everything: is told of leeches only.
    Seed,
}

impl Role {
    /// From what an announce says: bytes left, and [`Event::Paused`] for partial seeds.
    pub const fn new(left: u64, event: Event) -> Self {
        match (left, event) {
            (0, _) => Self::Seed,
            (_, Event::Paused) => Self::Partial,
            _ => Self::Leech,
        }
    }
}

/// One announce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announce {
    /// The swarm.
    pub hash: WireHash,
    /// Where the peer can be connected to, as the front end saw it; with port 0 it is answered but not entered. Not
    /// IPv4 mapped into IPv6.
    pub peer: SocketAddr,
    /// Why; [`Event::Stopped`] removes the peer.
    pub event: Event,
    /// What it is.
    pub role: Role,
    /// Peers wanted, already capped by the caller.
    pub want: usize,
}

/// A wish for peers without an announce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The swarm.
    pub hash: WireHash,
    /// Of which family.
    pub family: Family,
    /// What the asker is.
    pub role: Role,
    /// Peers wanted, already capped by the caller.
    pub want: usize,
}

/// The size of a swarm in one family, and what was packed for the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Seeds.
    pub complete: u32,
    /// Others.
    pub incomplete: u32,
    /// Downloads completed since the swarm is known.
    pub downloaded: u32,
    /// Bytes of packed peers in the answer.
    pub peers: usize,
}

/// What is held of one family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FamilyStats {
    /// Swarms.
    pub swarms: usize,
    /// Peers that are no seeds.
    pub leeches: usize,
    /// Seeds.
    pub seeds: usize,
    /// Bytes taken from the allocator.
    pub bytes: usize,
    /// Peers that fell silent, since the start.
    pub expired: u64,
    /// Swarms that had to go for others, since the start.
    pub evicted: u64,
}

/// What is held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// IPv4.
    pub v4: FamilyStats,
    /// IPv6.
    pub v6: FamilyStats,
}

/// One peer, for saving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SavedPeer {
    /// Address and port.
    pub addr: SocketAddr,
    /// Whether it has everything.
    pub seed: bool,
    /// How long ago it announced, to a 64th of the lifetime.
    pub age: Duration,
}

/// One swarm of one family, for saving.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// Its name.
    pub hash: WireHash,
    /// Downloads completed.
    pub downloaded: u32,
    /// Its peers, all of one family.
    pub peers: Vec<SavedPeer>,
}

/// Where saving goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    family: Family,
    next: u32,
}

impl Cursor {
    /// From the beginning.
    pub const START: Self = Self { family: Family::V4, next: 0 };
}

/// All swarms of a tracker, or a share of them.
#[derive(Debug)]
pub struct Swarms {
    v4: Half<V4>,
    v6: Half<V6>,
    /// Microseconds.
    tick: u64,
    /// When the next tick begins.
    next: Time,
}

impl Swarms {
    /// An empty store; the first tick is at `now`.
    pub fn new(config: &Config, now: Time) -> Self {
        let mut rng = Rng::new(Key::new(config.secret).sip24(b"draws"));
        let rules = Rules {
            limit: config.max_bytes.max(MIN_BYTES) / 2,
            per_host: config.per_host.max(1),
            key: Key::new(config.secret),
            secret: rng.next_u64(),
            seed: rng.next_u64(),
        };
        let lifetime = u64::try_from(config.lifetime.as_micros()).unwrap_or(u64::MAX);
        let mut swarms = Self {
            v4: Half::new(&rules),
            v6: Half::new(&rules),
            tick: (lifetime / wheel::LIFE).max(1),
            next: Time::ZERO,
        };
        swarms.advance(now);
        swarms
    }

    /// Takes note of an announce, and packs peers of its family into `peers` (6 bytes each, or 18; BEP 23, 7), as many as
    /// are wanted, known and fit. The counts include the peer itself.
    pub fn announce(&mut self, now: Time, announce: &Announce, peers: &mut [u8]) -> Counts {
        self.advance(now);
        match announce.peer {
            SocketAddr::V4(_) => announced(&mut self.v4, announce, peers),
            SocketAddr::V6(_) => announced(&mut self.v6, announce, peers),
        }
    }

    /// Packs peers of a family without an announce: of the other family over HTTP (BEP 7).
    pub fn peers(&mut self, now: Time, ask: &Ask, peers: &mut [u8]) -> Counts {
        self.advance(now);
        match ask.family {
            Family::V4 => told(&mut self.v4, ask, peers),
            Family::V6 => told(&mut self.v6, ask, peers),
        }
    }

    /// The size of a swarm in one family.
    pub fn scrape(&self, hash: &WireHash, family: Family) -> Counts {
        match family {
            Family::V4 => self.v4.counts(hash),
            Family::V6 => self.v6.counts(hash),
        }
    }

    /// Forgets silent peers, in up to `steps` bounded steps for each family; whether there is more to do. To be called a
    /// few times in each 64th of the lifetime, lest memory be held longer than it need be.
    pub fn sweep(&mut self, now: Time, steps: usize) -> bool {
        self.advance(now);
        self.v4.sweep(steps) | self.v6.sweep(steps)
    }

    /// How much is held.
    pub fn stats(&self) -> Stats {
        Stats { v4: self.v4.stats(), v6: self.v6.stats() }
    }

    fn advance(&mut self, now: Time) {
        if now < self.next {
            return;
        }
        let tick = now.as_micros() / self.tick;
        self.next = Time::from_micros(tick.saturating_add(1).saturating_mul(self.tick));
        self.v4.advance(tick);
        self.v6.advance(tick);
    }
}

fn announced<P: Packed>(half: &mut Half<P>, announce: &Announce, peers: &mut [u8]) -> Counts {
    let Some(me) = P::new(announce.peer, half.now as u8) else { return Counts::default() };
    let packet = Packet {
        hash: &announce.hash,
        me,
        event: announce.event,
        role: announce.role,
        listens: announce.peer.port() != 0,
        want: announce.want,
    };
    let counts = half.announce(&packet, peers);
    half.sweep(STEPS);
    counts
}

fn told<P: Packed>(half: &mut Half<P>, ask: &Ask, peers: &mut [u8]) -> Counts {
    let Some(id) = half.find(&ask.hash) else { return Counts::default() };
    let peers = half.choose(id, None, ask.role != Role::Leech, ask.want, peers);
    Counts { peers, ..half.counts(&ask.hash) }
}

impl Add for FamilyStats {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            swarms: self.swarms + other.swarms,
            leeches: self.leeches + other.leeches,
            seeds: self.seeds + other.seeds,
            bytes: self.bytes + other.bytes,
            expired: self.expired + other.expired,
            evicted: self.evicted + other.evicted,
        }
    }
}

impl Add for Stats {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { v4: self.v4 + other.v4, v6: self.v6 + other.v6 }
    }
}
