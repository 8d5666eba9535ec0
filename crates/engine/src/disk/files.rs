//! The files of one torrent: where each one is just now, and how it gets its final name.
//!
//! A file that is being downloaded stands under its `.part` name and is renamed when it is whole. What stood under
//! the final name before is taken over if one of its pieces proved good; otherwise it is somebody else's, stays as it
//! is, and is moved to another name if a finished file needs the place. Nothing is ever overwritten or deleted.
//!
//! Bytes of files that are not wanted and do not exist go to the part store, in which they stand where they stand in
//! the torrent.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use samara_proto::ids::FileIndex;

use super::event::{Op, StorageError};
use super::handles::Handle;
use super::root::{How, Meta, Root};
use super::spec::{Access, FileSpec, StorageSpec};
use super::survey::Place;

/// The files of one torrent.
#[derive(Debug)]
pub(super) struct Files {
    spec: Arc<StorageSpec>,
    root: Root,
    places: Mutex<Vec<Place>>,
}

impl Files {
    pub(super) fn new(spec: Arc<StorageSpec>, places: Vec<Place>) -> Self {
        Self { root: Root::new(spec.root.clone()), spec, places: Mutex::new(places) }
    }

    fn places(&self) -> MutexGuard<'_, Vec<Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn place(&self, file: FileIndex) -> Place {
        self.places().get(file.0 as usize).copied().unwrap_or(Place::Nowhere)
    }

    /// A file is not wanted any more: if nothing of it is there, its bytes go to the part store from now on.
    pub(super) fn shelve(&self, file: FileIndex) {
        self.change(file, Place::Absent, Place::Shelved);
    }

    /// A file is wanted: if its bytes went to the part store, they go to a file of its own from now on. Whether they did.
    pub(super) fn take_down(&self, file: FileIndex) -> bool {
        self.change(file, Place::Shelved, Place::Absent)
    }

    /// Taking it down failed: what was moved is still in the part store.
    pub(super) fn shelve_again(&self, file: FileIndex) {
        let mut places = self.places();
        places.get_mut(file.0 as usize).into_iter().for_each(|place| *place = Place::Shelved);
    }

    /// A whole file lacks something again.
    pub(super) fn reopen(&self, file: FileIndex) {
        if self.spec.access == Access::Write {
            self.change(file, Place::Final, Place::Found);
        }
    }

    /// A file is not there any more.
    pub(super) fn lose(&self, file: FileIndex) {
        if self.spec.access == Access::Write {
            for place in [Place::Part, Place::Found, Place::Final] {
                self.change(file, place, Place::Absent);
            }
        }
    }

    fn change(&self, file: FileIndex, from: Place, to: Place) -> bool {
        let mut places = self.places();
        let place = places.get_mut(file.0 as usize).filter(|place| **place == from);
        place.map(|place| *place = to).is_some()
    }

    /// Closes what is kept open for speed.
    pub(super) fn rest(&self) {
        self.root.rest();
    }

    #[cfg(target_os = "linux")]
    pub(super) const fn root(&self) -> &Root {
        &self.root
    }

    fn fail(&self, path: &Path, op: Op) -> impl FnOnce(io::Error) -> StorageError {
        let path = self.root.path().join(path);
        move |e| StorageError::new(path, op, e)
    }

    /// Opens a file where it is. `proven` tells whether a piece of it was good; it decides whether a file found under
    /// the final name is ours to write to.
    pub(super) fn open(
        &self,
        index: FileIndex,
        write: bool,
        proven: impl FnOnce() -> bool,
    ) -> Result<Handle, StorageError> {
        let Some(file) = self.spec.file(index) else { return Err(self.missing(Path::new(""))) };
        if self.spec.access == Access::ReadOnly {
            return open_plain(&self.root.path().join(&file.path));
        }
        // Held while opening, so that no file is renamed in between.
        let mut places = self.places();
        let Some(place) = places.get_mut(index.0 as usize) else { return Err(self.missing(&file.path)) };
        let begun = if write { self.begin(file, place, proven)? } else { None };
        if let Some(begun) = begun {
            return Ok(Handle::new(begun, true, self.root.path().join(&file.part)));
        }
        let (path, how) = match *place {
            Place::Part if write => (&file.part, How::Write),
            Place::Part => (&file.part, How::Read),
            Place::Found | Place::Final => (&file.path, How::Read),
            Place::Nowhere | Place::Absent | Place::Shelved => return Err(self.missing(&file.path)),
        };
        let opened = self.root.open(path, how).map_err(self.fail(path, Op::Open))?;
        Ok(Handle::new(opened, how == How::Write, self.root.path().join(path)))
    }

    fn missing(&self, path: &Path) -> StorageError {
        self.fail(path, Op::Open)(io::ErrorKind::NotFound.into())
    }

    /// Before the first write: sees to it that the `.part` file is there, and returns it if it was created.
    fn begin(
        &self,
        file: &FileSpec,
        place: &mut Place,
        proven: impl FnOnce() -> bool,
    ) -> Result<Option<File>, StorageError> {
        let created = match *place {
            Place::Found if proven() => {
                // A `.part` file may be left from before; it is worth less than what was proven.
                self.make_way(&file.part, || self.root.rename(&file.path, &file.part))?;
                None
            }
            Place::Found | Place::Absent => {
                Some(self.root.open(&file.part, How::Create).map_err(self.fail(&file.part, Op::Open))?)
            }
            _ => return Ok(None),
        };
        *place = Place::Part;
        Ok(created)
    }

    /// Opens the part store.
    pub(super) fn open_parts(&self, write: bool) -> Result<Handle, StorageError> {
        let path = &self.spec.parts;
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(StorageError::new(path, Op::Open, io::ErrorKind::InvalidInput));
        };
        let how = if write { How::Create } else { How::Read };
        let opened = Root::new(folder.to_owned()).open(name.as_ref(), how);
        let file = opened.map_err(|e| StorageError::new(path, Op::Open, e))?;
        Ok(Handle::new(file, write, path.clone()))
    }

    /// Gives a whole file its final name and attributes. Returns where a file that stood there went, if one did.
    pub(super) fn finish(&self, index: FileIndex) -> Result<Option<(PathBuf, PathBuf)>, StorageError> {
        let mut places = self.places();
        let (Some(file), Some(place)) = (self.spec.file(index), places.get_mut(index.0 as usize)) else {
            return Ok(None);
        };
        let mut displaced = None;
        match *place {
            Place::Part => {
                self.settle(file, self.spec.layout.file_len(index))?;
                displaced = self.make_way(&file.path, || self.root.rename(&file.part, &file.path))?;
            }
            Place::Found => {}
            _ => return Ok(None),
        }
        *place = Place::Final;
        Ok(displaced)
    }

    /// The last touches before the rename: exact length, executable bit.
    fn settle(&self, file: &FileSpec, len: u64) -> Result<(), StorageError> {
        let settle = || {
            let found = self.root.stat(&file.part)?.ok_or(io::ErrorKind::NotFound)?;
            if found.len == len && !file.executable {
                return Ok(());
            }
            let part = self.root.open(&file.part, How::Write)?;
            part.set_len(len)?;
            if file.executable { make_executable(&part) } else { Ok(()) }
        };
        settle().map_err(self.fail(&file.part, Op::Rename))
    }

    /// Does what puts something at `path`; if something is there already, moves it away first.
    fn make_way(
        &self,
        path: &Path,
        mut put: impl FnMut() -> io::Result<()>,
    ) -> Result<Option<(PathBuf, PathBuf)>, StorageError> {
        match put() {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            result => return result.map(|()| None).map_err(self.fail(path, Op::Rename)),
        }
        let to = self.root.displace(path).map_err(self.fail(path, Op::Rename))?;
        put().map_err(self.fail(path, Op::Rename))?;
        Ok(Some((self.root.path().join(path), self.root.path().join(to))))
    }

    /// Creates a wanted file that has no bytes; anything but an empty file in its place is moved away.
    pub(super) fn create_empty(&self, file: &FileSpec) -> Result<Option<(PathBuf, PathBuf)>, StorageError> {
        let stat = self.root.stat(&file.path).map_err(self.fail(&file.path, Op::Inspect))?;
        if stat.is_some_and(|meta| meta.regular && meta.len == 0) {
            return Ok(None);
        }
        self.make_way(&file.path, || {
            let made = self.root.open(&file.path, How::CreateNew)?;
            if file.executable { make_executable(&made) } else { Ok(()) }
        })
    }

    /// Makes a wanted symbolic link; anything else in its place is moved away.
    pub(super) fn create_link(&self, file: &FileSpec) -> Result<Option<(PathBuf, PathBuf)>, StorageError> {
        let Some(target) = &file.symlink else { return Ok(None) };
        if self.root.is_symlink_to(target, &file.path) {
            return Ok(None);
        }
        let made = self.make_way(&file.path, || self.root.symlink(target, &file.path));
        made.map_err(|e| StorageError { op: Op::Link, ..e })
    }

    /// What is known of a file now, for the resume data.
    pub(super) fn stat(&self, index: FileIndex) -> Option<Meta> {
        let file = self.spec.file(index)?;
        if self.spec.access == Access::ReadOnly {
            return Meta::of(&self.root.path().join(&file.path));
        }
        let path = match self.place(index) {
            Place::Part => &file.part,
            Place::Found | Place::Final => &file.path,
            Place::Nowhere | Place::Absent | Place::Shelved => return None,
        };
        self.root.stat(path).ok()?
    }
}

/// For sharing what exists: links are followed, since the user named the path.
fn open_plain(path: &Path) -> Result<Handle, StorageError> {
    let file = File::open(path).map_err(|e| StorageError::new(path, Op::Open, e))?;
    Ok(Handle::new(file, false, path.to_owned()))
}

#[cfg(unix)]
fn make_executable(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mut permissions = file.metadata()?.permissions();
    // Whoever may read it may run it.
    let mode = permissions.mode();
    permissions.set_mode(mode | (mode & 0o444) >> 2);
    file.set_permissions(permissions)
}

#[cfg(not(unix))]
const fn make_executable(_file: &File) -> io::Result<()> {
    Ok(())
}
