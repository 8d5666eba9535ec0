//! Files that the operator changes while the hub runs: lists and certificates.
//!
//! They are looked at every second and read once a change has rested for one look, so that a file is not taken while it is
//! being written; or at once, changed or not, when asked to (SIGHUP). A file that cannot be used leaves what was read
//! before in force, is complained of once for each change, and is counted.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, SystemTime};

/// Between two looks.
pub(crate) const LOOK: Duration = Duration::from_secs(1);

/// What tells one version of a file from another.
type Stamp = Option<(SystemTime, u64, u64)>;

fn stamp(path: &Path) -> Stamp {
    let meta = fs::metadata(path).ok()?;
    #[cfg(unix)]
    let inode = std::os::unix::fs::MetadataExt::ino(&meta);
    #[cfg(not(unix))]
    let inode = 0;
    Some((meta.modified().ok()?, meta.len(), inode))
}

/// Files that are read together, and how; what is read goes where `load` knows. It says in words what it read, or why not.
pub(crate) struct Watched {
    paths: Vec<PathBuf>,
    load: Box<dyn Fn() -> Result<String, String> + Send>,
    /// Of what was read last, and as it was at the last look.
    read: Vec<Stamp>,
    seen: Vec<Stamp>,
}

impl Watched {
    /// Reads them for the first time.
    ///
    /// # Errors
    /// If they cannot be used; nothing is in force then.
    pub(crate) fn open(
        paths: Vec<PathBuf>,
        load: impl Fn() -> Result<String, String> + Send + 'static,
    ) -> Result<Self, String> {
        let read = stamps(&paths);
        let said = load()?;
        tracing::info!(files = %names(&paths), "{said}");
        Ok(Self { seen: read.clone(), paths, load: Box::new(load), read })
    }

    /// Looks for a change that has rested.
    fn has_changed(&mut self) -> bool {
        let now = stamps(&self.paths);
        let rested = now == self.seen;
        self.seen = now;
        rested && self.seen != self.read
    }

    /// Reads them again, and says whether that went well.
    fn reload(&mut self) -> bool {
        self.read = stamps(&self.paths);
        let done = (self.load)();
        match &done {
            Ok(said) => tracing::info!(files = %names(&self.paths), "{said}"),
            Err(why) => tracing::error!("{why}; what was read before stays in force"),
        }
        done.is_ok()
    }
}

fn stamps(paths: &[PathBuf]) -> Vec<Stamp> {
    paths.iter().map(|path| stamp(path)).collect()
}

fn names(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// Reads a file that is not absurdly long.
pub(crate) fn read_file(path: &Path, most: u64) -> Result<Vec<u8>, String> {
    let fault = |why: &dyn std::fmt::Display| format!("cannot read {}: {why}", path.display());
    let meta = fs::metadata(path).map_err(|e| fault(&e))?;
    if meta.len() > most {
        return Err(fault(&format_args!("it has more than {} MiB", most >> 20)));
    }
    fs::read(path).map_err(|e| fault(&e))
}

/// Asks the watching thread to read everything now; it ends once all of these are gone.
#[derive(Clone, Debug)]
pub(crate) struct Nudge(SyncSender<()>);

impl Nudge {
    pub(crate) fn reload(&self) {
        // One that is waiting already will do.
        let _ = self.0.try_send(());
    }
}

/// How often reading again failed.
pub(crate) type Failures = Arc<AtomicU64>;

/// The watching thread's work.
pub(crate) struct Watcher {
    files: Vec<Watched>,
    failures: Failures,
    nudges: Receiver<()>,
}

impl Watcher {
    pub(crate) fn new(files: Vec<Watched>, failures: Failures) -> (Nudge, Self) {
        let (tell, nudges) = mpsc::sync_channel(1);
        (Nudge(tell), Self { files, failures, nudges })
    }

    /// Watches until nobody can nudge any more.
    pub(crate) fn run(mut self) {
        loop {
            match self.nudges.recv_timeout(LOOK) {
                Ok(()) => self.look(true),
                Err(RecvTimeoutError::Timeout) => self.look(false),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn look(&mut self, force: bool) {
        for file in &mut self.files {
            if (file.has_changed() || force) && !file.reload() {
                self.failures.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::{Reader, Shared};

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("samara-hub-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_change_is_read_once_it_rests_and_a_bad_one_changes_nothing() {
        let folder = Folder::new("watch");
        let path = folder.0.join("number");
        fs::write(&path, "1").unwrap();
        let shared = Shared::new(0);
        let mut reader = Reader::new(&shared);
        let (file, into) = (path.clone(), Arc::clone(&shared));
        let load = move || {
            let text = String::from_utf8(read_file(&file, 10)?).map_err(|e| e.to_string())?;
            into.set(text.parse::<u32>().map_err(|e| e.to_string())?);
            Ok(String::from("read"))
        };
        let failures = Failures::default();
        let watched = Watched::open(vec![path.clone()], load).unwrap();
        let (_nudge, mut watcher) = Watcher::new(vec![watched], Arc::clone(&failures));
        assert_eq!(**reader.get(), 1);
        let mut after = |text: &str, looks: usize, force: bool| {
            fs::write(&path, text).unwrap();
            (0..looks).for_each(|_| watcher.look(false));
            if force {
                watcher.look(true);
            }
            (**reader.get(), failures.load(Ordering::Relaxed))
        };
        assert_eq!(after("22", 1, false), (1, 0), "it may still be written");
        assert_eq!(after("22", 0, true), (22, 0), "unless the operator says so");
        assert_eq!(after("333", 2, false), (333, 0));
        assert_eq!(after("four", 5, false), (333, 1), "complained of once");
        assert_eq!(after("12345678901", 2, false), (333, 2), "too long");
        assert_eq!(after("55", 2, false), (55, 2));
        fs::remove_file(folder.0.join("number")).unwrap();
        (0..3).for_each(|_| watcher.look(false));
        assert_eq!((**reader.get(), failures.load(Ordering::Relaxed)), (55, 3));
    }

    #[test]
    fn it_ends_with_the_last_nudge() {
        let (nudge, watcher) = Watcher::new(Vec::new(), Failures::default());
        nudge.reload();
        nudge.reload();
        drop(nudge);
        watcher.run();
    }
}
