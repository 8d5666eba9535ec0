//! How peers come and go: connecting, greeting, second connections, disconnecting.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::api::{Output, Source, TorrentEvent};
use super::peer::Peer;
use super::{MOST_DEPARTED, Torrent};
use crate::bitfield::Bitfield;
use crate::ids::PeerKey;
use crate::peer::{Command, Departure, Extended, Hello, Violation};

/// A silent connection gives way to a new one from the same peer, which must have lost it.
const QUIET: Duration = Duration::from_secs(10);
/// Addresses of one input that are looked at.
const MOST_CANDIDATES: usize = 500;

impl<B> Torrent<B> {
    pub(super) fn on_candidates(&mut self, source: Source, addrs: &[SocketAddr]) {
        addrs.iter().take(MOST_CANDIDATES).for_each(|addr| self.roster.add(self.now, *addr, source));
    }

    /// A torrent whose info is known waits for its storage, so that it can say at once what it has.
    pub(super) fn may_connect(&self) -> bool {
        let ready = self.shape.is_none() || self.picker.is_some();
        let room = self.peers.len() + self.roster.connecting() < self.config.max_peers
            && self.roster.connecting() < self.config.max_half_open;
        !self.stopped && ready && room
    }

    pub(super) fn connect_more(&mut self) {
        while self.may_connect()
            && let Some(addr) = self.roster.next(self.now)
        {
            self.out.push_back(Output::Connect { addr });
        }
    }

    pub(super) fn on_connected(&mut self, key: PeerKey, addr: SocketAddr, outgoing: bool) {
        let full = !outgoing && self.peers.len() + self.roster.connecting() >= self.config.max_peers;
        if outgoing {
            self.roster.connected(addr, key);
        }
        let pieces = self.shape.as_ref().map_or(0, |s| s.layout.num_pieces());
        self.peers.insert(key, Peer::new(key, addr, outgoing, pieces, self.now));
        self.next_tick = self.next_tick.min(self.now + super::TICK);
        self.review(key);
        let refused = [
            (self.stopped, Departure::Shutdown),
            (self.roster.is_banned(addr), Departure::Banned),
            (full, Departure::Full),
        ];
        match refused.into_iter().find(|(refused, _)| *refused) {
            Some((_, why)) => self.disconnect(key, why),
            None => self.introduce(key),
        }
    }

    /// Tells a connection what it must know before the handshake.
    fn introduce(&mut self, key: PeerKey) {
        if let Some(command) = self.layout_command() {
            self.send(key, command);
        }
        if self.complete {
            self.send(key, Command::UploadOnly(true));
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
            self.disconnect(loser, Departure::Duplicate);
            if loser == key {
                return;
            }
        }
        self.ids.insert(hello.peer_id, key);
        let Some(peer) = self.peers.get_mut(&key) else { return };
        peer.hello = Some(hello);
        let addr = peer.addr;
        let shown = self.shown_to(key);
        self.send(key, Command::Bitfield(Arc::new(shown)));
        self.tell(TorrentEvent::PeerJoined { peer: key, addr });
        self.ask_hashes(key);
    }

    /// Which of two connections to the same peer goes. Both ends come to the same answer: of two that were opened
    /// from different ends, the one stays that the smaller id opened.
    fn loser(&self, old: PeerKey, new: PeerKey, hello: &Hello) -> PeerKey {
        let outgoing = |key| self.peers.get(&key).is_some_and(|p| p.outgoing);
        let quiet = self.peers.get(&old).is_none_or(|p| self.now.since(p.heard) >= QUIET);
        let ours_stays = self.config.peer_id < hello.peer_id;
        match (outgoing(old), outgoing(new)) {
            (true, true) => new,
            (false, false) => {
                if quiet {
                    old
                } else {
                    new
                }
            }
            (old_is_ours, _) => {
                if old_is_ours == ours_stays {
                    new
                } else {
                    old
                }
            }
        }
    }

    pub(super) fn on_extended(&mut self, key: PeerKey, extended: Extended) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        let first = peer.extended.client.is_none();
        peer.extended = extended.clone();
        let addr = peer.addr;
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
        self.on_metadata_offer(key);
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
        let greeted = peer.hello.is_some();
        for addr in [Some(peer.addr), peer.listens].into_iter().flatten() {
            self.roster.closed(self.now, addr, key, greeted, reason);
        }
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
