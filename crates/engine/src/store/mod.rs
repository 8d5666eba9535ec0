//! Resume data: what of a torrent is proven to be on the disk, so that a restart neither fetches nor hashes it again.
//!
//! One small bencoded file per torrent and target folder, replaced as a whole (written beside, synced, renamed), so
//! that a crash leaves the old or the new one. It is never believed blindly: [`Record::trusted`] holds it against the
//! files as they are, and everything else is hashed. A file that does not parse is ignored.
//!
//! One file each rather than one database, because `samara get` runs one process per download: a database has one
//! owner, files need none. An advisory lock keeps two processes from writing one download.
//!
//! What is only shared has no file each but one for all, see [`Seeds`].
//!
//! Refuses to: judge what was synced (that is the caller's part).
//! Tested below, among others by cutting a record at every byte.

mod record;
mod seeds;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use samara_proto::ids::InfoHashes;
use sha2::{Digest, Sha256};

pub use record::{Fingerprint, Record};
pub use seeds::{SeedKey, Seeds};

use crate::disk::{Op, StorageError};

/// The resume data of one torrent in one folder.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    /// Held while the download may write; released by the system even after a crash.
    lock: Option<File>,
}

/// Why resume data could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process holds the lock.
    #[error(
        "another process is downloading this torrent into the same folder; stop it, or choose another folder"
    )]
    Busy,
    /// The state folder does not work.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Store {
    /// Where the resume data of this torrent in this folder lies, below `state_dir`, which is created.
    ///
    /// # Errors
    /// If the state folder cannot be made.
    pub fn open(state_dir: &Path, hashes: &InfoHashes, dir: &Path) -> Result<Self, StoreError> {
        let folder = state_dir.join("resume");
        fs::create_dir_all(&folder).map_err(|e| StorageError::new(&folder, Op::CreateFolder, e))?;
        let place: String = place_of(dir).iter().map(|b| format!("{b:02x}")).collect();
        Ok(Self { path: folder.join(format!("{}-{place}.resume", hashes.primary())), lock: None })
    }

    /// A file beside the resume data, for bytes of files that are not wanted.
    pub fn parts_path(&self) -> PathBuf {
        self.path.with_extension("parts")
    }

    /// Makes sure that no other process writes this download, for as long as this value lives.
    ///
    /// # Errors
    /// [`StoreError::Busy`] if one does.
    pub fn lock(&mut self) -> Result<(), StoreError> {
        let path = self.path.with_extension("lock");
        let failed = |e: io::Error| StorageError::new(&path, Op::Open, e);
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => self.lock = Some(file),
            Err(fs::TryLockError::WouldBlock) => return Err(StoreError::Busy),
            Err(fs::TryLockError::Error(e)) => return Err(failed(e).into()),
        }
        Ok(())
    }

    /// Whether this process holds the lock.
    pub const fn is_locked(&self) -> bool {
        self.lock.is_some()
    }

    /// What was saved last; `None` if nothing was, or nothing that can be used.
    pub fn load(&self) -> Option<Record> {
        let bytes = fs::read(&self.path).ok()?;
        let record = Record::parse(&bytes);
        if record.is_none() {
            tracing::warn!(path = %self.path.display(), "resume data is damaged and will be made anew");
        }
        record
    }

    /// Replaces what is saved, unless it says the same. When this returns, the new record survives a crash.
    ///
    /// # Errors
    /// If the disk refuses; the old record is then still there.
    pub fn save(&self, record: &Record) -> Result<(), StorageError> {
        let bytes = record.to_bytes();
        if fs::read(&self.path).is_ok_and(|saved| saved == bytes) {
            return Ok(());
        }
        let beside = self.path.with_extension("new");
        let failed = |e| StorageError::new(&self.path, Op::Write, e);
        let mut file = File::create(&beside).map_err(failed)?;
        file.write_all(&bytes).and_then(|()| file.sync_data()).map_err(failed)?;
        drop(file);
        fs::rename(&beside, &self.path).map_err(failed)?;
        sync_folder(&self.path);
        Ok(())
    }
}

/// Names a folder in four bytes.
fn place_of(dir: &Path) -> [u8; 4] {
    let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.into());
    let hash = Sha256::digest(dir.as_os_str().as_encoded_bytes());
    [hash[0], hash[1], hash[2], hash[3]]
}

/// Makes a rename durable where folders can be synced; elsewhere the system does it in its own time.
fn sync_folder(path: &Path) {
    if let Some(Ok(folder)) = path.parent().map(File::open) {
        let _ = folder.sync_all();
    }
}

#[cfg(test)]
mod tests;
