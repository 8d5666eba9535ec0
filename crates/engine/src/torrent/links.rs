//! The owner's side of its connections: their tasks, and what is on its way to them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use samara_proto::ids::{InfoHashes, PeerKey};
use samara_proto::peer::{Command, Config, Connection, Prefix};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::opening::Opened;
use super::{Dialled, ToTorrent};
use crate::client::Shared;
use crate::dials::Queued;
use crate::disk::{Buf, StorageHandle};
use crate::limit::TorrentLimits;
use crate::net::tcp;
use crate::peer::Peer;
use crate::places::{Place, Share};

/// Batches that may wait for one connection. What does not fit waits with the owner until the next round.
const PEER_INBOX: usize = 16;

/// Commands that may wait with the owner for one connection: far more than any honest one leaves unread.
const MAX_WAITING: usize = 65_536;

/// All connections of one torrent.
pub(super) struct Links {
    shared: Arc<Shared>,
    share: Arc<Share>,
    config: Config,
    /// Peers of it hear nothing of our DHT node.
    private: bool,
    limits: TorrentLimits,
    owner: mpsc::Sender<ToTorrent>,
    peers: BTreeMap<PeerKey, Link>,
    /// Connections with commands to flush.
    dirty: Vec<PeerKey>,
    tasks: JoinSet<()>,
    /// Set once pieces can be read.
    storage: Arc<OnceLock<StorageHandle>>,
    next: u64,
}

struct Link {
    inbox: mpsc::Sender<Vec<Command>>,
    waiting: Vec<Command>,
    dirty: bool,
}

impl Links {
    pub(super) fn new(
        shared: Arc<Shared>,
        config: Config,
        limits: TorrentLimits,
        owner: mpsc::Sender<ToTorrent>,
        private: bool,
    ) -> Self {
        let (tasks, storage) = (JoinSet::new(), Arc::default());
        let (share, peers) = (Arc::new(shared.places.share()), BTreeMap::new());
        let dirty = Vec::new();
        Self { shared, share, config, private, limits, owner, peers, dirty, tasks, storage, next: 0 }
    }

    /// It turns out to be private: no new connection hears of our DHT node, or that peers may be exchanged (BEP 27).
    pub(super) const fn set_private(&mut self) {
        (self.private, self.config.pex) = (true, false);
    }

    /// Opens a connection in the background; the owner gets `ToTorrent::Outgoing`.
    pub(super) fn connect(&mut self, addr: SocketAddr) {
        let (owner, share, queued) = (self.owner.clone(), Arc::clone(&self.share), self.shared.dials.queue());
        self.tasks.spawn(async move {
            let dialled = match queued {
                Some(queued) => dial(addr, queued, share).await,
                None => Dialled::NotTried,
            };
            let _ = owner.send(ToTorrent::Outgoing { addr, dialled }).await;
        });
    }

    /// Starts the task of a connection that we opened.
    pub(super) fn outgoing(
        &mut self,
        stream: TcpStream,
        addr: SocketAddr,
        place: Place,
        hashes: InfoHashes,
    ) -> PeerKey {
        let conn = Connection::outgoing(self.config(addr), hashes, self.shared.clock.now());
        self.start(stream, addr, place, conn)
    }

    /// Whether there is a place for another connection.
    pub(super) fn has_room(&self) -> bool {
        self.share.has_room()
    }

    /// Makes the place of somebody who called us one of ours. False if there was no room for it: then somebody must go.
    pub(super) fn adopt(&self, place: Place) -> (Place, bool) {
        self.share.adopt(place)
    }

    /// Starts the task of a connection that came in.
    pub(super) fn incoming(
        &mut self,
        stream: TcpStream,
        addr: SocketAddr,
        prefix: Prefix,
        place: Place,
        hashes: InfoHashes,
    ) -> PeerKey {
        let conn = Connection::incoming(self.config(addr), hashes, prefix, self.shared.clock.now());
        self.start(stream, addr, place, conn)
    }

    fn config(&self, addr: SocketAddr) -> Config {
        let dht = self.shared.dht.as_ref().filter(|_| !self.private);
        let dht_port = dht.and_then(|dht| dht.port(addr.ip()));
        Config { remote_ip: Some(addr.ip()), dht_port, ..self.config.clone() }
    }

    fn start(&mut self, stream: TcpStream, addr: SocketAddr, place: Place, conn: Connection<Buf>) -> PeerKey {
        let key = PeerKey(self.next);
        self.next += 1;
        let (tell, inbox) = mpsc::channel(PEER_INBOX);
        self.peers.insert(key, Link { inbox: tell, waiting: Vec::new(), dirty: false });
        let (down, up) = self.limits.taps(addr.ip());
        let peer = Peer {
            key,
            stream,
            conn,
            clock: self.shared.clock,
            pool: self.shared.disk.pool().clone(),
            storage: Arc::clone(&self.storage),
            inbox,
            down,
            up,
            torrent: self.owner.clone(),
        };
        self.tasks.spawn(async move {
            peer.run().await;
            drop(place);
        });
        key
    }

    /// Puts a command into the batch of a connection. One that is gone needs none.
    pub(super) fn send(&mut self, peer: PeerKey, command: Command) {
        if let Some(link) = self.peers.get_mut(&peer) {
            link.waiting.push(command);
            if !link.dirty {
                link.dirty = true;
                self.dirty.push(peer);
            }
        }
    }

    /// Lets every connection, present and future, check indices and read pieces.
    pub(super) fn opened(&mut self, opened: &Opened) {
        self.config.shape = Some(opened.shape());
        self.config.pex &= !opened.metainfo.info.private();
        let _ = self.storage.set(opened.storage.clone());
    }

    /// Hands the batches over. A connection that takes none is cut off: losing its inbox ends it.
    pub(super) fn flush(&mut self) {
        let mut gone = Vec::new();
        for peer in std::mem::take(&mut self.dirty) {
            let Some(link) = self.peers.get_mut(&peer) else { continue };
            link.dirty = false;
            let place = link.inbox.try_reserve();
            match place {
                Ok(place) => place.send(std::mem::take(&mut link.waiting)),
                Err(mpsc::error::TrySendError::Full(())) if link.waiting.len() < MAX_WAITING => {
                    link.dirty = true;
                    self.dirty.push(peer);
                }
                Err(_) => gone.push(peer),
            }
        }
        gone.into_iter().for_each(|peer| self.remove(peer));
    }

    /// Whether batches wait for a full inbox, so that another flush is due soon.
    pub(super) fn backlog(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Forgets a connection that said its last word.
    pub(super) fn remove(&mut self, peer: PeerKey) {
        self.peers.remove(&peer);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    /// Whether nobody is connected and no task is left.
    pub(super) fn is_idle(&mut self) -> bool {
        self.reap();
        self.peers.is_empty() && self.tasks.is_empty()
    }

    /// Drops what is known of tasks that ended.
    pub(super) fn reap(&mut self) {
        while self.tasks.try_join_next().is_some() {}
    }

    /// Ends what is still running and waits for it.
    pub(super) async fn shutdown(&mut self) {
        self.peers.clear();
        self.tasks.shutdown().await;
    }
}

/// Opens a connection once it is its turn, if there is still a place for it.
async fn dial(addr: SocketAddr, queued: Queued, share: Arc<Share>) -> Dialled {
    let (Some(_turn), Some(place)) = (queued.turn().await, share.take()) else { return Dialled::NotTried };
    match tcp::connect(addr).await {
        Ok(stream) => Dialled::Made(stream, place),
        Err(_) => Dialled::Failed,
    }
}
