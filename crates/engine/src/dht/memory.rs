//! What nodes keep between two runs: their ids and whom they knew, one file a family in the state folder.
//!
//! Files are replaced as a whole, so that a crash leaves the old or the new one. Of several processes with one state
//! folder the first keeps id and file; the others read whom it knew, and are somebody else: two nodes with one id would
//! be in each other's way. Tested below.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use samara_proto::dht::saved::Saved;
use samara_proto::ids::NodeId;
use samara_proto::tracker::Family;

/// More is not read.
const MOST: u64 = 64 << 10;

/// The memory of a process.
#[derive(Debug, Default)]
pub(super) struct Memory {
    v4: Option<Saved>,
    v6: Option<Saved>,
    folder: Option<PathBuf>,
    /// Held for as long as the files are ours; released by the system even after a crash.
    lock: Option<File>,
}

impl Memory {
    /// Reads what is there. Without a folder, or one that works, nothing is kept.
    pub(super) fn open(state_dir: Option<PathBuf>) -> Self {
        let Some(folder) = state_dir.map(|dir| dir.join("dht")) else { return Self::default() };
        let lock = lock(&folder).unwrap_or_else(|error| {
            tracing::warn!(%error, folder = %folder.display(), "what the DHT knows cannot be kept");
            None
        });
        Self { v4: read(&folder, Family::V4), v6: read(&folder, Family::V6), folder: Some(folder), lock }
    }

    /// The id that a node of this family had, if it is ours to have.
    pub(super) fn id(&self, family: Family) -> Option<NodeId> {
        self.lock.as_ref().and(self.saved(family)).map(|saved| saved.id)
    }

    pub(super) const fn saved(&self, family: Family) -> Option<&Saved> {
        match family {
            Family::V4 => self.v4.as_ref(),
            Family::V6 => self.v6.as_ref(),
        }
    }

    /// How to replace what is kept of a node, on a thread that may wait; `None` if it is not kept.
    pub(super) fn save(&self, family: Family, saved: &Saved) -> Option<impl FnOnce() + Send + use<>> {
        let path = self.lock.as_ref().and(self.folder.as_ref())?.join(name(family));
        let bytes = saved.write(family);
        Some(move || {
            if let Err(error) = replace(&path, &bytes) {
                tracing::warn!(%error, path = %path.display(), "what the DHT knows was not saved");
            }
        })
    }
}

const fn name(family: Family) -> &'static str {
    match family {
        Family::V4 => "ipv4",
        Family::V6 => "ipv6",
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

fn read(folder: &Path, family: Family) -> Option<Saved> {
    let mut bytes = Vec::new();
    File::open(folder.join(name(family))).ok()?.take(MOST).read_to_end(&mut bytes).ok()?;
    Saved::read(&bytes, family)
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

    #[test]
    fn what_is_saved_is_there_again_and_belongs_to_one_process() {
        let dir = scratch("memory");
        let contact = Contact { id: NodeId([3; 20]), addr: "198.51.100.1:5".parse().unwrap() };
        let saved = Saved { id: NodeId([7; 20]), contacts: vec![contact] };
        let first = Memory::open(Some(dir.clone()));
        assert!(first.saved(Family::V4).is_none());
        first.save(Family::V4, &saved).unwrap()();
        let second = Memory::open(Some(dir.clone()));
        assert_eq!(second.saved(Family::V4), Some(&saved));
        assert!(second.id(Family::V4).is_none() && second.save(Family::V4, &saved).is_none());
        drop(first);
        let third = Memory::open(Some(dir.clone()));
        assert_eq!((third.id(Family::V4), third.id(Family::V6)), (Some(saved.id), None));
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn what_is_damaged_or_has_no_place_is_as_if_nothing_was_there() {
        let dir = scratch("damaged");
        fs::create_dir_all(dir.join("dht")).unwrap();
        fs::write(dir.join("dht/ipv4"), vec![b'l'; 1 << 20]).unwrap();
        let memory = Memory::open(Some(dir.clone()));
        assert!(memory.saved(Family::V4).is_none() && memory.lock.is_some());
        let saved = Saved { id: NodeId([7; 20]), contacts: Vec::new() };
        let nowhere = Memory::open(Some(dir.join("dht/ipv4")));
        assert!(nowhere.save(Family::V4, &saved).is_none());
        assert!(Memory::open(None).save(Family::V4, &saved).is_none());
        fs::remove_dir_all(dir).unwrap();
    }
}
