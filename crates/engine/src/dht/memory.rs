//! What nodes keep between two runs: their ids and whom they knew, in one file of the state folder.
//!
//! The file is replaced as a whole, so that a crash leaves the old or the new one. Of several processes with one state
//! folder the first keeps id and file; the others read whom it knew, and are somebody else: two nodes with one id would
//! be in each other's way. Who answers nobody keeps nothing: a question by command must not make a client somebody else.
//! Tested below.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use samara_proto::dht::saved::{Both, MAX_LEN, Saved};
use samara_proto::ids::NodeId;
use samara_proto::tracker::Family;

/// The memory of a process.
#[derive(Debug, Default)]
pub(super) struct Memory {
    saved: Both,
    file: PathBuf,
    /// Held for as long as the file is ours; released by the system even after a crash.
    lock: Option<File>,
}

impl Memory {
    /// Reads what is there, and `keeps` it if nobody else does. Without a folder, or one that works, nothing is kept.
    pub(super) fn open(state_dir: Option<PathBuf>, keeps: bool) -> Self {
        let Some(folder) = state_dir.map(|dir| dir.join("dht")) else { return Self::default() };
        let lock = keeps.then(|| lock(&folder)).transpose().unwrap_or_else(|error| {
            tracing::warn!(%error, folder = %folder.display(), "what the DHT knows cannot be kept");
            None
        });
        let file = folder.join("nodes");
        Self { saved: read(&file).unwrap_or_default(), file, lock: lock.flatten() }
    }

    /// The id that a node of this family had, if it is ours to have.
    pub(super) fn id(&self, family: Family) -> Option<NodeId> {
        self.lock.as_ref().and(self.saved(family)).map(|saved| saved.id)
    }

    pub(super) const fn saved(&self, family: Family) -> Option<&Saved> {
        self.saved.get(family)
    }

    /// How to replace what is kept, on a thread that may wait; `None` if it is not kept. What was read stays for a family
    /// of which there is nothing new.
    pub(super) fn save(&self, new: Both) -> Option<impl FnOnce() + Send + use<>> {
        self.lock.as_ref()?;
        let old = self.saved.clone();
        let bytes = Both { v4: new.v4.or(old.v4), v6: new.v6.or(old.v6) }.write();
        let file = self.file.clone();
        Some(move || {
            if let Err(error) = replace(&file, &bytes) {
                tracing::warn!(%error, path = %file.display(), "what the DHT knows was not saved");
            }
        })
    }
}

/// `None` if another process has it.
fn lock(folder: &Path) -> io::Result<Option<File>> {
    fs::create_dir_all(folder)?;
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(folder.join("lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(fs::TryLockError::WouldBlock) => Ok(None),
        Err(fs::TryLockError::Error(error)) => Err(error),
    }
}

fn read(file: &Path) -> Option<Both> {
    let mut bytes = Vec::new();
    File::open(file).ok()?.take(MAX_LEN as u64 + 1).read_to_end(&mut bytes).ok()?;
    Both::read(&bytes)
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_data()?;
    drop(file);
    fs::rename(&beside, path)
}

#[cfg(test)]
mod tests {
    use samara_proto::dht::Contact;

    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("samara-dht-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        dir
    }

    fn saved() -> Saved {
        let contact = Contact { id: NodeId([3; 20]), addr: "198.51.100.1:5".parse().unwrap() };
        Saved { id: NodeId([7; 20]), contacts: vec![contact] }
    }

    /// Of the node for IPv4 alone.
    fn v4() -> Both {
        Both { v4: Some(saved()), v6: None }
    }

    #[test]
    fn what_is_saved_is_there_again_and_belongs_to_one_process() {
        let dir = scratch("memory");
        let first = Memory::open(Some(dir.clone()), true);
        assert!(first.saved(Family::V4).is_none());
        first.save(v4()).unwrap()();
        let second = Memory::open(Some(dir.clone()), true);
        assert_eq!(second.saved(Family::V4), Some(&saved()));
        assert!(second.id(Family::V4).is_none() && second.save(v4()).is_none());
        drop(first);
        let third = Memory::open(Some(dir.clone()), true);
        assert_eq!((third.id(Family::V4), third.id(Family::V6)), (Some(saved().id), None));
        third.save(Both::default()).unwrap()();
        drop(third);
        assert_eq!(Memory::open(Some(dir.clone()), true).saved(Family::V4), Some(&saved()), "nothing new");
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn who_only_asks_takes_it_from_nobody() {
        let dir = scratch("asks");
        Memory::open(Some(dir.clone()), true).save(v4()).unwrap()();
        let asks = Memory::open(Some(dir.clone()), false);
        assert!(
            asks.saved(Family::V4).is_some() && asks.id(Family::V4).is_none() && asks.save(v4()).is_none()
        );
        assert!(Memory::open(Some(dir.clone()), true).id(Family::V4).is_some());
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn what_is_damaged_or_has_no_place_is_as_if_nothing_was_there() {
        let dir = scratch("damaged");
        fs::create_dir_all(dir.join("dht")).unwrap();
        fs::write(dir.join("dht/nodes"), vec![b'l'; 1 << 20]).unwrap();
        let memory = Memory::open(Some(dir.clone()), true);
        assert!(memory.saved(Family::V4).is_none() && memory.lock.is_some());
        let nowhere = Memory::open(Some(dir.join("dht/nodes")), true);
        assert!(nowhere.save(v4()).is_none());
        assert!(Memory::open(None, true).save(v4()).is_none());
        fs::remove_dir_all(dir).unwrap();
    }
}
