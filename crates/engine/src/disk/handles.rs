//! A bounded cache of open files, least recently used first out.

use std::collections::HashMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// An open file.
#[derive(Debug)]
pub(super) struct Handle {
    pub(super) file: File,
    pub(super) writable: bool,
    /// Held by who writes. The system lets one thread at a time write to a file, and has others spin for it, at the cost
    /// of a fifth of all the time a download takes; here they sleep.
    writing: Mutex<()>,
    /// Where it was when it was opened; for messages.
    pub(super) path: PathBuf,
}

impl Handle {
    pub(super) fn new(file: File, writable: bool, path: PathBuf) -> Self {
        Self { file, writable, writing: Mutex::default(), path }
    }

    /// To be held while writing.
    pub(super) fn writing(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Names a file of a storage: the storage's number, and the file's index.
pub(super) type Key = (u64, u32);

#[derive(Debug, Default)]
struct Lru {
    open: HashMap<Key, (Arc<Handle>, u64)>,
    clock: u64,
}

impl Lru {
    /// Takes out what was not used for longest. Linear, but the cache is small beside the cost of opening a file.
    fn evict(&mut self) -> Option<Arc<Handle>> {
        let oldest = self.open.iter().min_by_key(|(_, (_, used))| *used).map(|(key, _)| *key)?;
        self.open.remove(&oldest).map(|(handle, _)| handle)
    }
}

/// The cache. Handles in use stay open until their user drops them, so that at most one per thread goes beyond the
/// bound.
#[derive(Debug)]
pub(super) struct Handles {
    max: usize,
    lru: Mutex<Lru>,
}

impl Handles {
    pub(super) fn new(max: usize) -> Self {
        Self { max: max.max(1), lru: Mutex::default() }
    }

    fn lru(&self) -> MutexGuard<'_, Lru> {
        self.lru.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The open file, if it is open for what is to be done.
    pub(super) fn get(&self, key: Key, write: bool) -> Option<Arc<Handle>> {
        let mut lru = self.lru();
        lru.clock += 1;
        let now = lru.clock;
        let (handle, used) = lru.open.get_mut(&key).filter(|(handle, _)| handle.writable || !write)?;
        *used = now;
        Some(Arc::clone(handle))
    }

    /// Keeps a file open, closing the one that was not used for longest if there are too many.
    pub(super) fn insert(&self, key: Key, handle: Handle) -> Arc<Handle> {
        let handle = Arc::new(handle);
        let mut lru = self.lru();
        lru.clock += 1;
        let now = lru.clock;
        let replaced = lru.open.insert(key, (Arc::clone(&handle), now));
        let closed = if lru.open.len() > self.max { lru.evict() } else { None };
        // Closing may take time: not under the lock.
        drop(lru);
        drop((replaced, closed));
        handle
    }

    /// Closes all files of one storage.
    pub(super) fn forget(&self, storage: u64) {
        let closed: Vec<_> = self.lru().open.extract_if(|key, _| key.0 == storage).collect();
        drop(closed);
    }

    /// Closes one file.
    pub(super) fn forget_file(&self, key: Key) {
        let closed = self.lru().open.remove(&key);
        drop(closed);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.lru().open.len()
    }
}
