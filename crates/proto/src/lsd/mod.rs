//! Peers on the local network (local service discovery), as a machine without I/O.
//!
//! Spec: BEP 14. Who has a torrent says so, by a small datagram in the form of an HTTP request, to a multicast group that
//! every client of the network listens to; who hears it calls the sender. From the bottom: [`message`] (the datagram to
//! and from bytes), [`near`] (who is a neighbour), and [`Lsd`] (when to say what, and whom to believe), which is made of
//! `herald` (when) and `ears` (whom).
//!
//! *When.* The rule of the BEP is one announce a minute, and one every five minutes a torrent. It is kept as a mean, with
//! [`BURST`] in stock, so that a torrent is announced as soon as it is added, once more for the case that it was lost,
//! and when somebody asks. Up to [`FEW`] torrents go one a datagram, which all clients understand; more share
//! datagrams. Who hears a neighbour announce a torrent that we have is answered after a while drawn by lot, but not if
//! [`ENOUGH`] others were faster, so that a network of hundreds does not answer one question with hundreds of datagrams.
//!
//! *Whom.* Everything that comes in may be forged by anybody on the network. So a sender can name nobody but himself,
//! must be a neighbour, is heard so often and no more, and can lead us to so many addresses a torrent and no more; memory
//! is bounded whatever comes.
//!
//! Tested beside the code and by the fuzz target `lsd`.

mod allowance;
mod ears;
mod herald;
pub mod message;
pub mod near;
mod recent;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::time::Duration;

use crate::ids::{InfoHashes, WireHash};
use crate::rng::Rng;
use crate::time::Time;
use crate::tracker::fleet::TorrentKey;

use ears::Ears;
use herald::Herald;
pub use herald::{BURST, ENOUGH, FEW};
use message::{Cookie, Message};
use near::Network;

/// Where announces go over IPv4 (BEP 14): organization-local by RFC 2365.
pub const GROUP_V4: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(239, 192, 152, 143), PORT);

/// Where announces go over IPv6 (BEP 14): site-local by RFC 4291.
pub const GROUP_V6: SocketAddrV6 =
    SocketAddrV6::new(Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 0xefc0, 0x988f), PORT, 0, 0);

/// The UDP port of both groups (BEP 14).
pub const PORT: u16 = 6771;

/// How many routers an announce may pass. The groups are meant for a site, so BEP 14 wants more than one; libtorrent has
/// the same number, and receivers look at the sender's address.
pub const HOPS: u32 = 32;

/// Every torrent is announced so often (BEP 14).
pub const ROUND: Duration = Duration::from_secs(300);

/// Shell → machine.
#[derive(Debug)]
pub enum Input<'a> {
    /// A torrent is to be announced under these hashes from now on; also when it got another. Never a private one
    /// (BEP 27).
    Torrent {
        /// Which.
        torrent: TorrentKey,
        /// Its hashes.
        hashes: InfoHashes,
    },
    /// A torrent ended, or turned out to be private.
    Gone(TorrentKey),
    /// A datagram came.
    Heard {
        /// From where.
        from: SocketAddr,
        /// The interface that it came in by.
        network: &'a Network,
        /// What it says.
        data: &'a [u8],
    },
    /// There is an interface that was not there before: what was announced has to be said there too.
    Moved,
    /// The deadline is over.
    Tick,
}

/// Machine → shell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// To be said on every interface, in both families, by [`message::write`] with [`Lsd::cookie`]. It fits a datagram.
    Announce(Vec<WireHash>),
    /// A neighbour has a torrent of ours.
    Peer {
        /// Which torrent.
        torrent: TorrentKey,
        /// Where the neighbour says it listens.
        addr: SocketAddr,
    },
}

/// Local service discovery for all torrents of a process.
#[derive(Debug)]
pub struct Lsd {
    cookie: Cookie,
    herald: Herald,
    ears: Ears,
    by_hash: BTreeMap<WireHash, TorrentKey>,
    /// At most what one datagram or one tick brings, as long as it is drained.
    outputs: VecDeque<Output>,
}

impl Lsd {
    /// A machine without torrents. `seed` must differ from one process to the next, for it makes the cookie.
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        Self {
            cookie: Cookie(rng.next_u64() as u32),
            herald: Herald::new(rng),
            ears: Ears::default(),
            by_hash: BTreeMap::new(),
            outputs: VecDeque::new(),
        }
    }

    /// What our own announces are known by.
    pub const fn cookie(&self) -> Cookie {
        self.cookie
    }

    /// Takes note of what happened. The outputs are to be drained after each call.
    pub fn handle(&mut self, now: Time, input: Input<'_>) {
        match input {
            Input::Torrent { torrent, hashes } => self.torrent(now, torrent, hashes),
            Input::Gone(torrent) => self.gone(torrent),
            Input::Heard { from, network, data } => self.heard(now, from, network, data),
            Input::Moved => self.herald.again(now),
            Input::Tick => {}
        }
        while let Some(hashes) = self.herald.announce(now) {
            self.outputs.push_back(Output::Announce(hashes));
        }
    }

    /// What is to be done next.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to come back with [`Input::Tick`].
    pub fn deadline(&self) -> Option<Time> {
        self.herald.deadline()
    }

    fn torrent(&mut self, now: Time, torrent: TorrentKey, hashes: InfoHashes) {
        if self.herald.hashes(torrent) == Some(hashes) {
            return;
        }
        self.gone(torrent);
        self.herald.add(now, torrent, hashes);
        self.by_hash.extend(wire_hashes(hashes).map(|hash| (hash, torrent)));
    }

    fn gone(&mut self, torrent: TorrentKey) {
        let Some(hashes) = self.herald.remove(torrent) else { return };
        for hash in wire_hashes(hashes) {
            if self.by_hash.get(&hash) == Some(&torrent) {
                self.by_hash.remove(&hash);
            }
        }
    }

    fn heard(&mut self, now: Time, from: SocketAddr, network: &Network, data: &[u8]) {
        if !network.is_near(from.ip()) || !self.ears.may_speak(now, from.ip()) {
            return;
        }
        let Ok(message) = Message::parse(data) else { return };
        if message.cookie == Some(self.cookie) {
            return;
        }
        let mut addr = from;
        addr.set_port(message.port);
        let mut torrents: Vec<TorrentKey> =
            message.hashes.iter().filter_map(|hash| self.by_hash.get(hash)).copied().collect();
        torrents.dedup();
        for torrent in torrents {
            let is_new = self.ears.is_new(now, torrent, addr);
            self.herald.heard(now, torrent, is_new);
            if is_new {
                self.outputs.push_back(Output::Peer { torrent, addr });
            }
        }
    }
}

/// What a torrent is announced under: v1 first, for clients that look at one hash alone know no other.
fn wire_hashes(hashes: InfoHashes) -> impl Iterator<Item = WireHash> {
    let v1 = hashes.v1().map(|hash| WireHash(hash.0));
    v1.into_iter().chain(hashes.v2().map(|hash| hash.truncated()))
}
