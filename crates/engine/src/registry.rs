//! Which torrents run here, by every hash that may name them on the wire.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use samara_proto::ids::{InfoHashes, WireHash};
use tokio::sync::mpsc;

use crate::torrent::ToTorrent;

/// Looked into once a connection, changed once a torrent: a plain lock around plain data.
#[derive(Debug, Default)]
pub(crate) struct Registry(Mutex<BTreeMap<WireHash, mpsc::Sender<ToTorrent>>>);

impl Registry {
    /// Adds a torrent under its hashes; false, and nothing changed, if one of them is there already.
    pub(crate) fn insert(&self, hashes: &InfoHashes, inbox: &mpsc::Sender<ToTorrent>) -> bool {
        let mut map = self.lock();
        if names(hashes).any(|h| map.contains_key(&h)) {
            return false;
        }
        map.extend(names(hashes).map(|h| (h, inbox.clone())));
        true
    }

    /// Names a torrent by more hashes: its info dictionary came, and it is a hybrid. False, and nothing changed, if one of
    /// them names another.
    pub(crate) fn extend(&self, hashes: &InfoHashes, inbox: &mpsc::Sender<ToTorrent>) -> bool {
        let mut map = self.lock();
        if names(hashes).any(|h| map.get(&h).is_some_and(|other| !other.same_channel(inbox))) {
            return false;
        }
        map.extend(names(hashes).map(|h| (h, inbox.clone())));
        true
    }

    pub(crate) fn remove(&self, inbox: &mpsc::Sender<ToTorrent>) {
        self.lock().retain(|_, other| !other.same_channel(inbox));
    }

    pub(crate) fn find(&self, hash: &WireHash) -> Option<mpsc::Sender<ToTorrent>> {
        self.lock().get(hash).cloned()
    }

    /// Every torrent; a hybrid twice.
    pub(crate) fn all(&self) -> Vec<mpsc::Sender<ToTorrent>> {
        self.lock().values().cloned().collect()
    }

    /// A poisoned lock is of no consequence: every change is a single call on the map.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<WireHash, mpsc::Sender<ToTorrent>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The 20-byte names of a torrent.
fn names(hashes: &InfoHashes) -> impl Iterator<Item = WireHash> {
    let v1 = hashes.v1().map(|h| WireHash(h.0));
    v1.into_iter().chain(hashes.v2().map(|h| h.truncated()))
}
