//! The table of all torrents, by every hash that may name them on the wire.
//!
//! Looked into once a connection, changed once a torrent: a plain lock around plain data. It holds [`Entry`]s, most of
//! which are dormant, and so is the one place to go through all torrents.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use samara_proto::ids::{InfoHashes, WireHash};

use crate::entry::Entry;

#[derive(Debug, Default)]
pub(crate) struct Registry(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    entries: HashMap<WireHash, Arc<Entry>>,
    /// Nothing is added any more.
    closed: bool,
}

impl Registry {
    /// Adds a torrent under its hashes; false, and nothing changed, if one of them is there already.
    pub(crate) fn insert(&self, entry: &Arc<Entry>) -> bool {
        self.extend(&entry.hashes(), entry)
    }

    /// Names a torrent by more hashes: its info dictionary came, and it is a hybrid. False, and nothing changed, if one of
    /// them names another.
    pub(crate) fn extend(&self, hashes: &InfoHashes, entry: &Arc<Entry>) -> bool {
        let mut table = self.lock();
        let other = |h| table.entries.get(&h).is_some_and(|other| !Arc::ptr_eq(other, entry));
        if table.closed || names(hashes).any(other) {
            return false;
        }
        entry.rename(*hashes);
        table.entries.extend(names(hashes).map(|h| (h, Arc::clone(entry))));
        true
    }

    /// Forgets a torrent that ended.
    pub(crate) fn remove(&self, entry: &Arc<Entry>) {
        let mut table = self.lock();
        for name in names(&entry.hashes()) {
            if table.entries.get(&name).is_some_and(|there| Arc::ptr_eq(there, entry)) {
                table.entries.remove(&name);
            }
        }
    }

    pub(crate) fn find(&self, hash: &WireHash) -> Option<Arc<Entry>> {
        self.lock().entries.get(hash).cloned()
    }

    /// Every torrent once, in no order.
    pub(crate) fn all(&self) -> Vec<Arc<Entry>> {
        let table = self.lock();
        let first = |(name, entry): (&WireHash, &Arc<Entry>)| {
            (entry.hashes().primary() == *name).then(|| Arc::clone(entry))
        };
        table.entries.iter().filter_map(first).collect()
    }

    /// Lets go of all torrents, and takes no more.
    pub(crate) fn close(&self) -> Vec<Arc<Entry>> {
        let all = self.all();
        let mut table = self.lock();
        table.closed = true;
        table.entries = HashMap::new();
        all
    }

    /// A poisoned lock is of no consequence: every change is a single call on the map.
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The 20-byte names of a torrent.
fn names(hashes: &InfoHashes) -> impl Iterator<Item = WireHash> {
    let v1 = hashes.v1().map(|h| WireHash(h.0));
    v1.into_iter().chain(hashes.v2().map(|h| h.truncated()))
}
