//! What vouches for everything that is merely shared: one compact file for all seeds of a state folder.
//!
//! A seed is whole or is no seed, so all there is to remember is that its files, as they looked then, were proven. That
//! is some fifty bytes for a torrent of one file, and ten thousand torrents are read in one go. Downloads, of which one
//! process is the only writer and which change every few seconds, have a file each (see [`super::Store`]).
//!
//! The file is replaced as a whole, under a lock, after what others wrote meanwhile was read again: several processes
//! may share the folder, and a crash leaves the old or the new one. An entry carries a checksum; what stands behind a
//! damaged one is not believed, and hashed.
//!
//! Layout: a first line, then entries in the order of their keys: key (20 bytes of info-hash, 4 of the folder's hash),
//! number of files that have bytes (u32), their modification times (i64, nanoseconds since 1970), checksum (8 bytes of
//! SHA-256). Numbers are little-endian.
//!
//! It refuses to judge whether files changed: [`super::Record::trusted`] does. Entries of torrents that are shared no
//! more stay, for they cost little.
//! Tested below: damage at every byte, a crash between two steps, and many processes' worth of writers at once.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use samara_proto::bitfield::Bitfield;
use samara_proto::ids::{FileIndex, InfoHashes};
use samara_proto::layout::Layout;
use sha2::{Digest, Sha256};

use super::{Record, place_of, sync_folder};
use crate::disk::{Op, Stamp, StorageError};

/// What the file begins with; another line is another format.
const FIRST_LINE: &[u8] = b"samara seeds 1\n";

const KEY_LEN: usize = 24;
const SUM_LEN: usize = 8;

/// A larger file is none of ours: it would speak of twenty million torrents.
const MAX_LEN: u64 = 1 << 30;

/// Names a torrent in a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SeedKey([u8; KEY_LEN]);

impl SeedKey {
    /// This torrent in this folder.
    pub fn new(hashes: &InfoHashes, dir: &Path) -> Self {
        let mut key = [0; KEY_LEN];
        key[..20].copy_from_slice(&hashes.primary().0);
        key[20..].copy_from_slice(&place_of(dir));
        Self(key)
    }
}

/// The seeds of a state folder. Shared by all threads.
#[derive(Debug)]
pub struct Seeds {
    path: PathBuf,
    /// What is in the file, as far as we know; read when it is first needed.
    known: Mutex<Option<Arc<Image>>>,
    /// What was proven since the last save.
    fresh: Mutex<BTreeMap<SeedKey, Vec<i64>>>,
    /// Held by who saves.
    saving: Mutex<()>,
}

impl Seeds {
    /// Those below `state_dir`. Nothing is read or made yet.
    pub fn new(state_dir: &Path) -> Self {
        Self {
            path: state_dir.join("resume").join("seeds"),
            known: Mutex::default(),
            fresh: Mutex::default(),
            saving: Mutex::default(),
        }
    }

    /// The pieces that need not be hashed again, given what the files look like `now`; `None` if nothing is known.
    pub fn trusted(&self, key: &SeedKey, layout: &Layout, now: &[Option<Stamp>]) -> Option<Bitfield> {
        let mut times = self.times(key)?.into_iter();
        let files = (0..).map(FileIndex).zip(now).map(|(file, now)| {
            let len = layout.file_len(file);
            now.and_then(|_| Some(Stamp { len, mtime: times.next()?, whole: true }))
        });
        let files = files.collect();
        let record = Record { have: Bitfield::full(layout.num_pieces()), files, torrent: Vec::new() };
        times.next().is_none().then(|| record.trusted(layout, now))
    }

    fn times(&self, key: &SeedKey) -> Option<Vec<i64>> {
        let fresh = lock(&self.fresh).get(key).cloned();
        fresh.or_else(|| self.known().times(key))
    }

    fn known(&self) -> Arc<Image> {
        let mut known = lock(&self.known);
        Arc::clone(known.get_or_insert_with(|| Arc::new(Image::load(&self.path))))
    }

    /// All of a torrent is proven, and these are its files. Lasts from the next [`Self::save`] on.
    pub fn note(&self, key: SeedKey, files: &[Option<Stamp>]) {
        let times = files.iter().flatten().map(|stamp| stamp.mtime).collect();
        lock(&self.fresh).insert(key, times);
    }

    /// Saves what was noted, unless somebody is at it, who then does it for us. Blocks for a write and a sync.
    pub fn save(&self) {
        while !lock(&self.fresh).is_empty() {
            let Ok(_saving) = self.saving.try_lock() else { return };
            self.save_fresh();
        }
    }

    /// Saves what was noted, and waits for whoever is at it.
    pub fn finish(&self) {
        let _saving = lock(&self.saving);
        self.save_fresh();
    }

    fn save_fresh(&self) {
        let fresh = std::mem::take(&mut *lock(&self.fresh));
        if fresh.is_empty() {
            return;
        }
        match self.merge(&fresh) {
            Ok(image) => *lock(&self.known) = Some(Arc::new(image)),
            Err(error) => tracing::warn!(%error, "what was hashed is not remembered"),
        }
    }

    /// Adds entries to the file. Other processes wait.
    fn merge(&self, fresh: &BTreeMap<SeedKey, Vec<i64>>) -> Result<Image, StorageError> {
        let folder = self.path.parent().unwrap_or(Path::new(""));
        fs::create_dir_all(folder).map_err(|e| StorageError::new(folder, Op::CreateFolder, e))?;
        let failed = |e: io::Error| StorageError::new(&self.path, Op::Write, e);
        let locked = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(self.path.with_extension("lock"));
        let _lock = locked.and_then(|file| file.lock().map(|()| file)).map_err(failed)?;
        let old = Image::load(&self.path);
        let new = old.with(fresh);
        if new.bytes != old.bytes {
            self.replace(&new.bytes).map_err(failed)?;
        }
        Ok(new)
    }

    fn replace(&self, bytes: &[u8]) -> io::Result<()> {
        let beside = self.path.with_extension("new");
        let mut file = File::create(&beside)?;
        file.write_all(bytes)?;
        file.sync_data()?;
        drop(file);
        fs::rename(&beside, &self.path)?;
        sync_folder(&self.path);
        Ok(())
    }
}

/// A poisoned lock is of no consequence: every change is a single call.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The file in memory: its bytes, and where its entries begin, in the order of their keys.
#[derive(Debug, Default)]
struct Image {
    bytes: Vec<u8>,
    entries: Vec<u32>,
}

impl Image {
    /// What can be believed of the file; nothing if there is none.
    fn load(path: &Path) -> Self {
        let short = fs::metadata(path).is_ok_and(|meta| meta.len() <= MAX_LEN);
        let bytes = if short { fs::read(path).unwrap_or_default() } else { Vec::new() };
        let image = Self::parse(bytes);
        if image.end() < image.bytes.len() {
            tracing::warn!(path = %path.display(), "what is known of seeds is damaged; some will be hashed again");
        }
        image
    }

    fn parse(bytes: Vec<u8>) -> Self {
        let mut image = Self { bytes, entries: Vec::new() };
        let mut at = FIRST_LINE.len();
        while image.bytes.starts_with(FIRST_LINE)
            && let Some(entry) = image.entry(at)
            && entry.is_intact()
        {
            let len = entry.0.len();
            image.entries.push(at as u32);
            at += len;
        }
        let bytes = &image.bytes;
        // They are sorted already; sorting again costs nothing then, and makes the search right whatever stands there.
        image.entries.sort_by_key(|&at| &bytes[at as usize..][..KEY_LEN]);
        image
    }

    /// Where the last entry ends that can be believed.
    fn end(&self) -> usize {
        let ends = self.entries.iter().filter_map(|&at| Some(at as usize + self.entry(at as usize)?.0.len()));
        ends.max().unwrap_or(if self.bytes == FIRST_LINE { FIRST_LINE.len() } else { 0 })
    }

    fn entry(&self, at: usize) -> Option<Entry<'_>> {
        let rest = self.bytes.get(at..)?;
        let count = u32::from_le_bytes(rest.get(KEY_LEN..KEY_LEN + 4)?.try_into().ok()?);
        let len = KEY_LEN + 4 + (count as usize).checked_mul(8)? + SUM_LEN;
        rest.get(..len).map(Entry)
    }

    fn times(&self, key: &SeedKey) -> Option<Vec<i64>> {
        let found = self.entries.binary_search_by(|&at| self.bytes[at as usize..][..KEY_LEN].cmp(&key.0));
        self.entry(self.entries[found.ok()?] as usize).map(|entry| entry.times())
    }

    /// These entries, with others added or replaced.
    fn with(&self, fresh: &BTreeMap<SeedKey, Vec<i64>>) -> Self {
        let old = self.entries.iter().filter_map(|&at| self.entry(at as usize));
        let old = old.filter(|entry| !fresh.contains_key(&entry.key())).map(|e| (e.key(), e.0.to_vec()));
        let mut all: BTreeMap<_, _> = old.collect();
        all.extend(fresh.iter().map(|(key, times)| (*key, encode(key, times))));
        let mut bytes = FIRST_LINE.to_vec();
        all.into_values().for_each(|entry| bytes.extend(entry));
        Self::parse(bytes)
    }
}

/// One entry as it stands in the file.
struct Entry<'a>(&'a [u8]);

impl Entry<'_> {
    fn key(&self) -> SeedKey {
        let mut key = [0; KEY_LEN];
        key.copy_from_slice(&self.0[..KEY_LEN]);
        SeedKey(key)
    }

    fn times(&self) -> Vec<i64> {
        let (times, _) = self.0[KEY_LEN + 4..self.0.len() - SUM_LEN].as_chunks::<8>();
        times.iter().map(|time| i64::from_le_bytes(*time)).collect()
    }

    fn is_intact(&self) -> bool {
        let (content, sum) = self.0.split_at(self.0.len() - SUM_LEN);
        checksum(content) == sum
    }
}

fn encode(key: &SeedKey, times: &[i64]) -> Vec<u8> {
    let mut entry = key.0.to_vec();
    entry.extend(u32::try_from(times.len()).unwrap_or(u32::MAX).to_le_bytes());
    times.iter().for_each(|time| entry.extend(time.to_le_bytes()));
    let sum = checksum(&entry);
    entry.extend(sum);
    entry
}

fn checksum(content: &[u8]) -> [u8; SUM_LEN] {
    let mut sum = [0; SUM_LEN];
    sum.copy_from_slice(&Sha256::digest(content)[..SUM_LEN]);
    sum
}

#[cfg(test)]
mod tests;
