//! Places among the connections of a torrent: who gets one, and who loses it (the rules are in
//! [`turnover`]).
//!
//! Beside the limit of the torrent there are three: callers get no more than three quarters of it as long as we know
//! whom to call ourselves, for whom we call was not chosen by a flood; one public host gets [`MOST_OF_HOST`]; and
//! without room in the program each newcomer costs somebody a place. The user's peers and who holds the only copy of
//! a piece that we need never give way.

use std::net::SocketAddr;

use super::Torrent;
use super::hosts::host;
use super::peer::{Counted, Peer};
use super::turnover::{self, Sitter};
use crate::ids::PeerKey;
use crate::peer::Departure;
use crate::torrent::hosts::Reach;

/// Connections with one public host. libtorrent keeps one; behind one address of a carrier there may be several.
const MOST_OF_HOST: usize = 3;
/// One in so many connections is ours to choose.
const OUR_PART: usize = 4;

impl<B> Torrent<B> {
    /// Peers that were not told to go.
    fn staying(&self) -> impl Iterator<Item = &Peer> {
        self.peers.values().filter(|p| p.closing.is_none())
    }

    /// Places that are taken or spoken for.
    pub(super) fn taken(&self) -> usize {
        self.staying().count() + self.roster.connecting()
    }

    /// Why a new connection cannot stay. May send somebody away for it.
    pub(super) fn refusal(&mut self, addr: SocketAddr, outgoing: bool) -> Option<Departure> {
        if self.stopped {
            return Some(Departure::Shutdown);
        }
        if self.roster.is_banned(addr) {
            return Some(Departure::Banned);
        }
        let admitted = outgoing || (!self.is_too_many(addr) && self.seat_caller(addr));
        (!admitted).then_some(Departure::Full)
    }

    /// Whether one public host has all the connections that it may have.
    fn is_too_many(&self, addr: SocketAddr) -> bool {
        let same = self.staying().filter(|p| host(p.addr) == host(addr));
        Reach::of(addr.ip()) == Reach::Public && same.count() >= MOST_OF_HOST
    }

    /// Finds a place for somebody who calls us.
    fn seat_caller(&mut self, addr: SocketAddr) -> bool {
        let max = self.config.max_peers;
        // Those told to go are gone soon; until then they hold memory.
        if self.peers.len() >= 2 * max {
            return false;
        }
        let callers = self.staying().filter(|p| !p.outgoing).count();
        let ours = self.roster.has_idle() && callers >= max - max / OUR_PART;
        let full = self.taken() >= max || !self.room;
        (!ours && !full) || self.displace(addr, ours)
    }

    /// Sends somebody away for a newcomer, if anybody is worth less; of `callers_only` if the rest is ours to choose.
    fn displace(&mut self, newcomer: SocketAddr, callers_only: bool) -> bool {
        let called = self.staying().filter(|p| p.outgoing).count();
        let callers_only = callers_only || called <= self.config.max_peers / OUR_PART;
        let sitters = self.sitters(|p| !(callers_only && p.outgoing));
        let order = turnover::below(sitters, self.roster.priority(newcomer), self.complete, self.now);
        self.send_away(&order, 1, Departure::Full) > 0
    }

    /// Who might give way.
    fn sitters(&self, which: impl Fn(&Peer) -> bool) -> Vec<Sitter> {
        let free_to_go = |p: &&Peer| which(p) && !self.roster.is_users(p.addr);
        let sitter = |p: &Peer| Sitter {
            peer: p.key,
            priority: self.roster.priority(p.listens.unwrap_or(p.addr)),
            since: p.seat.since,
            moved: (p.down.total() + p.up.total() > 0).then_some(p.seat.moved),
            wanted: p.interested || p.peer_interested || p.wants(),
        };
        self.staying().filter(free_to_go).map(sitter).collect()
    }

    /// Sends the first `n` of these away that are not needed. Says how many went.
    fn send_away(&mut self, order: &[PeerKey], n: usize, why: Departure) -> usize {
        let go: Vec<_> = order.iter().filter(|key| !self.holds_only_copy(**key)).take(n).copied().collect();
        go.iter().for_each(|key| self.disconnect(*key, why));
        go.len()
    }

    /// Whether nobody else here has some piece that we need.
    fn holds_only_copy(&self, key: PeerKey) -> bool {
        let (Some(picker), Some(peer)) = (&self.picker, self.peers.get(&key)) else { return false };
        let seeds = self.staying().filter(|p| p.key != key && p.counted == Counted::Seed).count();
        let counts = u32::from(peer.counted == Counted::Pieces);
        let only = |piece| picker.needs(piece) && picker.availability(piece) <= counts;
        seeds == 0 && peer.counted != Counted::No && peer.has.iter().any(only)
    }

    /// Looks who is idle, and from time to time for the worst.
    pub(super) fn turn_over(&mut self) {
        self.note_interest();
        let near = turnover::is_near(self.config.max_peers, self.taken()) || !self.room;
        let scarce = near || self.staying().any(|p| p.peer_interested && p.peer_choked);
        let (now, complete) = (self.now, self.complete);
        let idle = |p: &Peer| near && now.since(p.seat.wanted) >= turnover::IDLE;
        let silent = |p: &Peer| complete && scarce && now.since(p.seat.took) >= turnover::SILENT;
        let gone: Vec<_> = self.sitters(|p| idle(p) || silent(p)).iter().map(|s| s.peer).collect();
        self.send_away(&gone, gone.len(), Departure::Useless);
        if self.now >= self.next_turnover {
            self.next_turnover = self.now + turnover::PERIOD;
            self.drop_worst(near);
        }
    }

    fn note_interest(&mut self) {
        let (now, complete) = (self.now, self.complete);
        for peer in self.peers.values_mut() {
            if peer.interested || peer.peer_interested {
                peer.seat.wanted = now;
            }
            // Who is told piece by piece what to take may have to wait for the next.
            let could = complete && peer.peer_interested && !peer.peer_choked && peer.offers.is_none();
            if !could {
                peer.seat.took = now;
            }
        }
    }

    /// Makes room for the untried.
    fn drop_worst(&mut self, near: bool) {
        if near && self.roster.has_due(self.now) {
            let order = turnover::worst(self.sitters(|_| true), self.now);
            self.send_away(&order, turnover::share(self.config.max_peers), Departure::Useless);
        }
    }
}
