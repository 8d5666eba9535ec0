//! The walk with folder descriptors and `O_NOFOLLOW`.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat};

use super::{How, Meta, not_regular, split};

/// A folder, below which files are opened.
#[derive(Debug)]
pub(in crate::disk) struct Root {
    path: PathBuf,
    /// Folders that were used last, the latest at the end: the next file is mostly in one of them.
    recent: Mutex<Vec<(PathBuf, Arc<OwnedFd>)>>,
}

/// Folders kept open: a few workers write to a few folders each.
const MAX_RECENT: usize = 8;

impl Root {
    pub(in crate::disk) const fn new(path: PathBuf) -> Self {
        Self { path, recent: Mutex::new(Vec::new()) }
    }

    /// The folder itself.
    pub(in crate::disk) fn path(&self) -> &Path {
        &self.path
    }

    /// Closes what is kept open for speed.
    pub(in crate::disk) fn rest(&self) {
        self.recent().clear();
    }

    /// The folder `rel` below the root; with `create`, it and those above it are created where they are missing.
    fn folder(&self, rel: &Path, create: bool) -> io::Result<Arc<OwnedFd>> {
        let mut recent = self.recent();
        if let Some(at) = recent.iter().position(|(path, _)| path == rel) {
            recent[at..].rotate_left(1);
        } else {
            if recent.len() == MAX_RECENT {
                recent.remove(0);
            }
            recent.push((rel.to_owned(), Arc::new(self.walk(rel, create)?)));
        }
        recent.last().map(|(_, fd)| Arc::clone(fd)).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// As [`Self::folder`] for one use: it is not kept open, as a thousand torrents that only share would add up.
    fn folder_once(&self, rel: &Path) -> io::Result<Arc<OwnedFd>> {
        let kept = self.recent().iter().find(|(path, _)| path == rel).map(|(_, fd)| Arc::clone(fd));
        kept.map_or_else(|| self.walk(rel, false).map(Arc::new), Ok)
    }

    fn recent(&self) -> MutexGuard<'_, Vec<(PathBuf, Arc<OwnedFd>)>> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn walk(&self, rel: &Path, create: bool) -> io::Result<OwnedFd> {
        if create {
            std::fs::create_dir_all(&self.path)?;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut fd = rustix::fs::openat(CWD, &self.path, flags, Mode::empty())?;
        for name in rel {
            let open = || rustix::fs::openat(&fd, name, flags | OFlags::NOFOLLOW, Mode::empty());
            fd = match open() {
                Err(rustix::io::Errno::NOENT) if create => {
                    match rustix::fs::mkdirat(&fd, name, Mode::from_raw_mode(0o777)) {
                        Ok(()) | Err(rustix::io::Errno::EXIST) => open()?,
                        Err(e) => return Err(e.into()),
                    }
                }
                result => result?,
            };
        }
        Ok(fd)
    }

    /// Opens an ordinary file.
    pub(in crate::disk) fn open(&self, rel: &Path, how: How) -> io::Result<File> {
        let (folder, name) = split(rel)?;
        let folder =
            if how == How::Read { self.folder_once(folder)? } else { self.folder(folder, how.creates())? };
        let access = match how {
            How::Read => OFlags::RDONLY,
            How::Write => OFlags::RDWR,
            How::Create => OFlags::RDWR | OFlags::CREATE,
            How::CreateNew => OFlags::RDWR | OFlags::CREATE | OFlags::EXCL,
        };
        // NONBLOCK: opening a pipe that somebody put there must not hang. It means nothing for ordinary files.
        let flags = access | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
        let file = File::from(rustix::fs::openat(&folder, name, flags, Mode::from_raw_mode(0o666))?);
        if file.metadata()?.is_file() { Ok(file) } else { Err(not_regular()) }
    }

    /// Whether the folder of `rel` is missing, so that nothing stands there or beside it.
    pub(in crate::disk) fn lacks_folder(&self, rel: &Path) -> bool {
        let missing = |e: io::Error| e.kind() == io::ErrorKind::NotFound;
        split(rel).is_ok_and(|(folder, _)| self.folder(folder, false).is_err_and(missing))
    }

    /// What stands at `rel`; `None` if nothing does.
    pub(in crate::disk) fn stat(&self, rel: &Path) -> io::Result<Option<Meta>> {
        let (folder, name) = split(rel)?;
        let found = self.folder(folder, false).and_then(|folder| {
            rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW).map_err(io::Error::from)
        });
        match found {
            Ok(stat) => Ok(Some(meta(&stat))),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Renames, unless something stands at `to`.
    pub(in crate::disk) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let ((from_folder, from), (to_folder, to)) = (split(from)?, split(to)?);
        let (a, b) = (self.folder(from_folder, false)?, self.folder(to_folder, false)?);
        Ok(rename_new(&a, from.as_ref(), &b, to.as_ref())?)
    }

    /// Makes a symbolic link.
    pub(in crate::disk) fn symlink(&self, target: &Path, rel: &Path) -> io::Result<()> {
        let (folder, name) = split(rel)?;
        Ok(rustix::fs::symlinkat(target, self.folder(folder, true)?, name)?)
    }

    /// Whether a symbolic link with this target stands at `rel`.
    pub(in crate::disk) fn is_symlink_to(&self, target: &Path, rel: &Path) -> bool {
        use std::os::unix::ffi::OsStrExt;
        let read = || {
            let (folder, name) = split(rel).ok()?;
            rustix::fs::readlinkat(self.folder(folder, false).ok()?, name, Vec::new()).ok()
        };
        read().is_some_and(|found| found.as_bytes() == target.as_os_str().as_bytes())
    }

    /// Writes out the whole file system that the root lies on.
    #[cfg(target_os = "linux")]
    pub(in crate::disk) fn sync_all(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(self.folder(Path::new(""), false)?)?)
    }
}

fn meta(stat: &Stat) -> Meta {
    let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    // The types of these fields differ between systems.
    #[allow(clippy::unnecessary_cast, clippy::useless_conversion, reason = "needed on other systems")]
    let (secs, nanos, len) = (stat.st_mtime as i64, stat.st_mtime_nsec as i64, stat.st_size as u64);
    Meta { regular, len, mtime: secs.saturating_mul(1_000_000_000).saturating_add(nanos) }
}

/// Atomic where the system and the file system can, else a look before the rename.
fn rename_new(a: &impl AsFd, from: &Path, b: &impl AsFd, to: &Path) -> rustix::io::Result<()> {
    use rustix::io::Errno;
    #[cfg(any(target_os = "linux", target_os = "macos"))]
    match rustix::fs::renameat_with(a, from, b, to, rustix::fs::RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
        result => return result,
    }
    match rustix::fs::statat(b, to, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => rustix::fs::renameat(a, from, b, to),
        Ok(_) => Err(Errno::EXIST),
        Err(e) => Err(e),
    }
}
