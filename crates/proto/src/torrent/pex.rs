//! Peer exchange (BEP 11): what each peer is told of the others, and what is believed of what it tells.
//!
//! *Said*: peers that are connected, said hello, and of which we know where they listen, because we called them or
//! because they told their port. Each is told at most [`MOST_SAID`] newcomers and as many that left in one message, the
//! first at once and then one a [`PERIOD`] if anything changed; and at most [`MOST_TOLD`] at a time. Nobody is told of
//! itself, of addresses further in than it stands ([`reach`]), or, being a seed, of seeds.
//!
//! *Believed*: only addresses that lie no further in than the teller, for who is outside must not send us into our own
//! network. They are the least trusted source but one, and one teller has no more than a share of the roster
//! ([`roster`](super::roster)). That a peer was dropped is no news to us: it may have left, or be of no use to the other.
//!
//! Nothing is said, heard or named in handshakes of private torrents (BEP 27); if a magnet link turns out to be one,
//! it ends there, and addresses from other sources than trackers are forgotten.
//!
//! Tested by examples with peers played by the test, and by a world of the simulator in which all but one address come
//! by it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use super::Torrent;
use super::api::Source;
use super::peer::Peer;
use crate::bitfield::Bitfield;
use crate::ids::PeerKey;
use crate::peer::Command;
use crate::time::Time;
use crate::tracker::reach::{self, Scope};
use crate::wire::{PexFlags, PexMessage};

/// One message in so long (BEP 11). libtorrent hangs up on who sends many more.
const PERIOD: Duration = Duration::from_secs(60);
/// If there was nothing to say, one looks again after so long.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// Peers added, and dropped, in one message (BEP 11).
const MOST_SAID: usize = 50;
/// Peers that one peer is told of at a time: several times what it needs to have enough neighbours.
const MOST_TOLD: usize = 200;

/// What one peer was told.
#[derive(Debug)]
pub(super) struct Told {
    peers: BTreeSet<SocketAddr>,
    /// Nothing is said before.
    next: Time,
}

impl Told {
    pub(super) const fn new(now: Time) -> Self {
        Self { peers: BTreeSet::new(), next: now }
    }

    /// What has changed between what it was told and `all`, of which it may hear of `some`; noted as told.
    fn news(&mut self, all: &BTreeSet<SocketAddr>, some: &[&Acquaintance]) -> PexMessage {
        let dropped: Vec<_> = self.peers.difference(all).take(MOST_SAID).copied().collect();
        dropped.iter().for_each(|addr| _ = self.peers.remove(addr));
        let room = MOST_SAID.min(MOST_TOLD.saturating_sub(self.peers.len()));
        let new = some.iter().filter(|other| !self.peers.contains(&other.addr)).take(room);
        let added: Vec<_> = new.map(|other| (other.addr, other.flags)).collect();
        self.peers.extend(added.iter().map(|(addr, _)| *addr));
        PexMessage { added, dropped }
    }
}

/// A peer of which others may be told.
#[derive(Clone, Copy, Debug)]
struct Acquaintance {
    addr: SocketAddr,
    flags: PexFlags,
}

impl Acquaintance {
    fn of(peer: &Peer) -> Option<Self> {
        let addr = if peer.outgoing { peer.addr } else { peer.listens? };
        let addr = SocketAddr::new(addr.ip().to_canonical(), addr.port());
        // A link-local address means nothing without the interface, which cannot be said.
        let named = reach::scope(addr.ip()).is_some_and(|scope| scope != Scope::Link);
        (peer.is_active() && named).then(|| Self { addr, flags: flags(peer) })
    }

    fn is_for(&self, peer: &Peer) -> bool {
        let both_seeds = self.flags.is_seed() && wants_nothing(peer);
        !both_seeds && reach::may_name(peer.addr.ip(), self.addr.ip()) && !peer.is_at(self.addr)
    }
}

const fn wants_nothing(peer: &Peer) -> bool {
    peer.is_seed() || peer.extended.upload_only
}

fn flags(peer: &Peer) -> PexFlags {
    let seed = if wants_nothing(peer) { PexFlags::SEED } else { 0 };
    let reachable = if peer.outgoing { PexFlags::REACHABLE } else { 0 };
    PexFlags(seed | reachable)
}

impl<B> Torrent<B> {
    /// Only its trackers may say who takes part (BEP 27).
    pub(super) fn is_private(&self) -> bool {
        self.shape.as_ref().is_some_and(|shape| shape.info.private())
    }

    /// Whether peers may be exchanged, as far as is known.
    pub fn may_exchange(&self) -> bool {
        self.config.pex && !self.is_private()
    }

    /// Whether this source may say who takes part.
    pub(super) fn may_come_from(&self, source: Source) -> bool {
        !(self.is_private() && matches!(source, Source::Lsd | Source::Pex | Source::Dht))
    }

    /// The info dictionary came: if it says "private", what was begun without knowing ends.
    pub(super) fn heed_private(&mut self) {
        if !self.is_private() {
            return;
        }
        self.roster.forget_idle(|source| matches!(source, Source::Lsd | Source::Pex | Source::Dht));
        let staying = self.peers.values().filter(|p| p.closing.is_none());
        let keys: Vec<_> = staying.map(|p| p.key).collect();
        keys.into_iter().for_each(|key| self.send(key, Command::AllowPex(false)));
    }

    /// A peer tells of others.
    pub(super) fn on_pex(&mut self, key: PeerKey, message: &PexMessage) {
        let Some(teller) = self.peers.get(&key).map(|p| p.addr).filter(|_| self.may_exchange()) else {
            return;
        };
        let seeding = self.have().is_some_and(Bitfield::is_full);
        for (addr, flags) in &message.added {
            let useless = seeding && flags.is_seed();
            if !useless && reach::may_name(teller.ip(), addr.ip()) {
                self.roster.add_told(self.now, *addr, teller);
            }
        }
    }

    /// Tells all who are due of what has changed.
    pub(super) fn exchange_peers(&mut self) {
        self.tell_of_peers(|_| true);
    }

    /// Tells a peer of the others, if it is due.
    pub(super) fn introduce_others(&mut self, key: PeerKey) {
        self.tell_of_peers(|peer| peer.key == key);
    }

    fn tell_of_peers(&mut self, whom: impl Fn(&Peer) -> bool) {
        let now = self.now;
        let is_due = |p: &Peer| p.is_active() && p.extended.ut_pex && p.told.next <= now && whom(p);
        if !self.may_exchange() || !self.peers.values().any(is_due) {
            return;
        }
        let others = self.acquaintances();
        let all: BTreeSet<_> = others.iter().map(|other| other.addr).collect();
        let mut news = Vec::new();
        for peer in self.peers.values_mut().filter(|p| is_due(p)) {
            let some: Vec<_> = others.iter().filter(|other| other.is_for(peer)).collect();
            let message = peer.told.news(&all, &some);
            peer.told.next = now + if message.is_empty() { LOOK_AGAIN } else { PERIOD };
            news.push((peer.key, message));
        }
        let worth = news.into_iter().filter(|(_, message)| !message.is_empty());
        worth.for_each(|(key, message)| self.send(key, Command::Pex(message)));
    }

    /// Those who can surely be reached come first; which of them is left to chance, so that all get around.
    fn acquaintances(&mut self) -> Vec<Acquaintance> {
        let mut others: Vec<_> = self.peers.values().filter_map(Acquaintance::of).collect();
        if !others.is_empty() {
            let start = self.rng.index(others.len());
            others.rotate_left(start);
        }
        others.sort_by_key(|other| !other.flags.is_reachable());
        others
    }
}
