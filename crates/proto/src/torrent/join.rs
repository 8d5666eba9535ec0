//! How peers come and go: connecting, greeting, second connections, disconnecting.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::api::{Output, Source, TorrentEvent};
use super::hosts::host;
use super::peer::Peer;
use super::roster::{Ending, Past, Who, who};
use super::{MOST_DEPARTED, Torrent};
use crate::bitfield::Bitfield;
use crate::ids::PeerKey;
use crate::peer::{Command, Departure, Extended, Hello, Violation};

/// A silent connection gives way to a new one from the same peer, which must have lost it.
const QUIET: Duration = Duration::from_secs(10);
/// Addresses of one input that are looked at.
const MOST_CANDIDATES: usize = 500;
/// Nobody is called for so long after the program had too many connections.
const DEFER: Duration = Duration::from_secs(1);
/// A connection that lasted so long came to something, even if no payload passed.
const LASTING: Duration = Duration::from_secs(60);
/// A connection over which payload passed for the last time so long ago, or that is younger, is lively.
const LIVELY: Duration = Duration::from_secs(60);

/// Whether two addresses are of the same machine, or at least of the same translator.
fn is_one_machine(a: SocketAddr, b: SocketAddr) -> bool {
    let portless = |addr: SocketAddr| host(SocketAddr::new(addr.ip(), 0));
    portless(a) == portless(b)
}

impl<B> Torrent<B> {
    pub(super) fn on_candidates(&mut self, source: Source, addrs: &[SocketAddr]) {
        if !self.may_come_from(source) {
            return;
        }
        addrs.iter().take(MOST_CANDIDATES).for_each(|addr| self.roster.add(self.now, *addr, source));
    }

    /// A torrent whose info is known waits for its storage, so that it can say at once what it has.
    pub(super) fn may_connect(&self) -> bool {
        let ready = self.shape.is_none() || self.picker.is_some();
        let half_open = self.roster.connecting() < self.config.max_half_open;
        !self.stopped && ready && half_open && self.taken() < self.config.max_peers
    }

    pub(super) fn connect_more(&mut self) {
        while self.now >= self.dial_after
            && self.may_connect()
            && let Some(addr) = self.roster.next(self.now)
        {
            match self.peers.values().find(|p| p.closing.is_none() && p.is_at(addr)) {
                Some(peer) => self.roster.connected(addr, peer.key),
                None => self.out.push_back(Output::Connect { addr }),
            }
        }
    }

    /// The program has too many connections: nobody else is tried for a while either.
    pub(super) fn on_deferred(&mut self, addr: SocketAddr) {
        self.roster.deferred(self.now, addr);
        self.dial_after = self.now + DEFER;
    }

    pub(super) fn on_connected(&mut self, key: PeerKey, addr: SocketAddr, outgoing: bool) {
        if outgoing {
            self.roster.connected(addr, key);
        }
        let refusal = self.refusal(addr, outgoing);
        let pieces = self.shape.as_ref().map_or(0, |s| s.layout.num_pieces());
        self.peers.insert(key, Peer::new(key, addr, outgoing, pieces, self.now));
        self.next_tick = self.next_tick.min(self.now + super::TICK);
        self.review(key);
        match refusal {
            Some(why) => self.disconnect(key, why),
            None => self.introduce(key),
        }
    }

    /// Tells a connection what it must know before the handshake.
    fn introduce(&mut self, key: PeerKey) {
        if let Some(command) = self.layout_command() {
            self.send(key, command);
        }
        if self.complete && !self.hides_from(key) {
            self.send(key, Command::UploadOnly(true));
        }
        if self.may_exchange() {
            self.send(key, Command::AllowPex(true));
        }
    }

    pub(super) fn layout_command(&self) -> Option<Command> {
        let shape = self.shape.as_ref()?;
        let metadata_size = u32::try_from(shape.info.raw().len()).ok()?;
        Some(Command::Layout { layout: shape.layout.clone(), metadata_size })
    }

    pub(super) fn on_hello(&mut self, key: PeerKey, hello: Hello) {
        if hello.peer_id == self.config.peer_id {
            return self.disconnect(key, Departure::SelfConnection);
        }
        if let Some(&other) = self.ids.get(&hello.peer_id) {
            let loser = self.loser(other, key, &hello);
            let winner = if loser == key { other } else { key };
            self.note_alias(winner, loser);
            self.disconnect(loser, Departure::Duplicate);
            if loser == key {
                return;
            }
        }
        self.ids.insert(hello.peer_id, key);
        let Some(peer) = self.peers.get_mut(&key) else { return };
        peer.hello = Some(hello);
        let addr = peer.addr;
        self.roster.proved(addr);
        self.recall(key, who(addr, hello.peer_id));
        let shown = self.shown_to(key);
        self.send(key, Command::Bitfield(Arc::new(shown)));
        self.tell(TorrentEvent::PeerJoined { peer: key, addr });
        self.ask_hashes(key);
    }

    /// A peer that was here before is no newcomer; nor is one that is here twice, and its credit counts once.
    fn recall(&mut self, key: PeerKey, who: Who) {
        let mut past = self.roster.past(&who);
        for did in self.peers.values().filter(|p| p.seat.who == Some(who)).map(|p| p.did(self.now)) {
            let (last_turn, dodged) = (past.last_turn.max(did.last_turn), past.dodged.max(did.dodged));
            past = Past { last_turn, dodged, gave: past.gave.min(past.took), ..past };
        }
        if let Some(peer) = self.peers.get_mut(&key) {
            peer.resume(who, past);
        }
    }

    /// Two addresses turned out to be one peer's: while one of its connections lasts, the other address is not tried.
    fn note_alias(&mut self, winner: PeerKey, loser: PeerKey) {
        let Some(lost) = self.peers.get(&loser) else { return };
        let addr = if lost.outgoing { Some(lost.addr) } else { lost.listens };
        if let (Some(addr), Some(peer)) = (addr, self.peers.get_mut(&winner)) {
            peer.seat.add_alias(addr);
        }
    }

    /// Which of two connections with one peer id goes.
    ///
    /// An id is only a claim: who copied somebody's must not push him out. So from another host the new one goes,
    /// unless nothing has passed over the old one for [`LIVELY`]: who squats on an id must work for it. (A peer with
    /// two addresses, or that moved, is found by the old connection's timeout at the latest.)
    ///
    /// From the same host both ends must come to the same answer: of two that were opened from different ends, the one
    /// stays that the smaller id opened; of two that it opened, the new one, once the old one is silent.
    fn loser(&self, old: PeerKey, new: PeerKey, hello: &Hello) -> PeerKey {
        let (Some(was), Some(is)) = (self.peers.get(&old), self.peers.get(&new)) else { return old };
        let old_goes = if !is_one_machine(was.addr, is.addr) {
            self.now.since(was.seat.moved) >= LIVELY
        } else {
            match (was.outgoing, is.outgoing) {
                (true, true) => false,
                (false, false) => self.now.since(was.heard) >= QUIET,
                (old_is_ours, _) => old_is_ours != (self.config.peer_id < hello.peer_id),
            }
        };
        if old_goes { old } else { new }
    }

    pub(super) fn on_extended(&mut self, key: PeerKey, extended: Extended) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        let first = peer.extended.client.is_none();
        peer.extended = extended.clone();
        let addr = peer.addr;
        // One vote a connection, and only of those whom we chose.
        let vote =
            extended.yourip.filter(|_| peer.outgoing && !std::mem::replace(&mut peer.seat.voted, true));
        if let Some(reqq) = extended.reqq {
            peer.window.set_reqq(reqq);
        }
        if let Some(port) = extended.listen_port.filter(|_| !peer.outgoing && peer.listens.is_none()) {
            let listens = SocketAddr::new(addr.ip(), port);
            peer.listens = Some(listens);
            self.roster.add_connected(self.now, listens, key);
        }
        if let Some(client) = extended.client.filter(|_| first) {
            self.tell(TorrentEvent::PeerNamed { peer: key, addr, client });
        }
        if let Some(ip) = vote {
            self.roster.vote(addr.ip(), ip);
        }
        self.on_metadata_offer(key);
        self.introduce_others(key);
        self.drop_if_useless(key);
    }

    /// Both have all they want: nothing will ever pass between us.
    pub(super) fn drop_if_useless(&mut self, key: PeerKey) {
        let Some(peer) = self.peers.get(&key).filter(|p| self.complete && p.is_active()) else { return };
        let have_all = self.have().is_some_and(Bitfield::is_full);
        if peer.is_seed() || (peer.extended.upload_only && have_all && !peer.peer_interested) {
            self.disconnect(key, Departure::Useless);
        }
    }

    /// Tells a peer to go; what it was asked for goes to others at once.
    pub(super) fn disconnect(&mut self, key: PeerKey, reason: Departure) {
        let Some(peer) = self.peers.get_mut(&key).filter(|p| p.closing.is_none()) else { return };
        peer.closing = Some(reason);
        self.out.push_back(Output::Disconnect { peer: key, reason });
        self.leave(key);
    }

    /// Takes a peer out of everything that counts on it.
    fn leave(&mut self, key: PeerKey) {
        self.release_requests(key, 0);
        self.end_offers(key);
        self.uncount(key);
        if let Some(metadata) = &mut self.metadata {
            metadata.gone(key);
        }
        if let Some(shape) = &mut self.shape {
            shape.hashes.gone(key);
        }
        self.leaves.gone(key);
        self.on_no_leaves(key, None);
        self.ids.retain(|_, k| *k != key);
        self.fill_slots();
        self.ask_everyone();
    }

    pub(super) fn on_closed(&mut self, key: PeerKey, departure: Departure) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        if peer.closing.is_none() {
            // Nothing is said to it while its work is given to others.
            peer.closing = Some(departure);
            self.leave(key);
        }
        let Some(peer) = self.peers.remove(&key) else { return };
        let reason = peer.closing.unwrap_or(departure);
        self.note_ending(&peer, reason);
        if self.departed.len() == MOST_DEPARTED {
            self.departed.pop_front();
        }
        self.departed.push_back((key, peer.addr));
        let client = peer.extended.client;
        self.tell(TorrentEvent::PeerLeft { peer: key, addr: peer.addr, client, reason });
        if let Departure::Violation(violation) = departure {
            self.note_violation(peer.addr, violation);
        }
    }

    /// Remembers how a connection went.
    fn note_ending(&mut self, peer: &Peer, why: Departure) {
        let did = peer.did(self.now);
        if let Some(who) = peer.seat.who {
            self.roster.remember(self.now, who, did);
        }
        let lasted = peer.hello.is_some() && self.now.since(peer.seat.since) >= LASTING;
        let (moved, gave) = (did.gave.max(did.took) > 0, did.gave > 0);
        let ending = Ending { worked: lasted || moved, moved, gave, why };
        let addrs = [Some(peer.addr), peer.listens].into_iter().flatten().chain(peer.seat.aliases().to_vec());
        addrs.for_each(|addr| self.roster.closed(self.now, addr, peer.key, ending));
    }

    /// A connection found its peer breaking the protocol: three times is enough.
    fn note_violation(&mut self, addr: SocketAddr, violation: Violation) {
        if self.roster.strike(addr) {
            self.ban_addr(addr, violation);
        }
    }

    pub(super) fn ban_addr(&mut self, addr: SocketAddr, violation: Violation) {
        if self.roster.ban(addr) {
            self.banned += 1;
            self.blame.banned(addr);
            self.tell(TorrentEvent::Banned { addr, violation });
        }
    }

    /// Bans a peer, here or gone, and sends it away.
    pub(super) fn ban(&mut self, key: PeerKey, violation: Violation) {
        if let Some(addr) = self.addr_of(key) {
            self.ban_addr(addr, violation);
        }
        self.disconnect(key, Departure::Violation(violation));
    }

    /// The address of a peer that is or was here.
    pub(super) fn addr_of(&self, key: PeerKey) -> Option<SocketAddr> {
        let here = self.peers.get(&key).map(|p| p.addr);
        here.or_else(|| self.departed.iter().find(|(k, _)| *k == key).map(|(_, addr)| *addr))
    }
}
