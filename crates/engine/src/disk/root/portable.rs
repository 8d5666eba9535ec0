//! The walk by names, where the system offers nothing better through safe interfaces.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use super::{How, Meta, not_regular, split};

/// A folder, below which files are opened.
#[derive(Debug)]
pub(in crate::disk) struct Root {
    path: PathBuf,
}

impl Root {
    pub(in crate::disk) const fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// The folder itself.
    pub(in crate::disk) fn path(&self) -> &Path {
        &self.path
    }

    /// Closes what is kept open for speed: nothing here.
    pub(in crate::disk) fn rest(&self) {}

    /// The absolute path, once each folder on the way was seen to be no link.
    fn path_of(&self, rel: &Path, create: bool) -> io::Result<PathBuf> {
        let (folder, name) = split(rel)?;
        let mut path = self.path.clone();
        if create {
            fs::create_dir_all(&path)?;
        }
        for part in folder {
            path.push(part);
            match fs::symlink_metadata(&path) {
                Ok(meta) if meta.is_dir() => {}
                Ok(_) => return Err(io::ErrorKind::NotADirectory.into()),
                Err(e) if e.kind() == io::ErrorKind::NotFound && create => fs::create_dir(&path)?,
                Err(e) => return Err(e),
            }
        }
        path.push(name);
        Ok(path)
    }

    /// Opens an ordinary file.
    pub(in crate::disk) fn open(&self, rel: &Path, how: How) -> io::Result<File> {
        let path = self.path_of(rel, how.creates())?;
        if fs::symlink_metadata(&path).is_ok_and(|meta| !meta.is_file()) {
            return Err(not_regular());
        }
        OpenOptions::new()
            .read(true)
            .write(how != How::Read)
            .create(how == How::Create)
            .create_new(how == How::CreateNew)
            .truncate(false)
            .open(path)
    }

    /// Whether the folder of `rel` is missing, so that nothing stands there or beside it.
    pub(in crate::disk) fn lacks_folder(&self, rel: &Path) -> bool {
        let missing = |e: io::Error| e.kind() == io::ErrorKind::NotFound;
        split(rel).is_ok_and(|(folder, _)| fs::symlink_metadata(self.path.join(folder)).is_err_and(missing))
    }

    /// What stands at `rel`; `None` if nothing does.
    pub(in crate::disk) fn stat(&self, rel: &Path) -> io::Result<Option<Meta>> {
        let found = self.path_of(rel, false).and_then(|path| Ok((fs::symlink_metadata(&path)?, path)));
        match found {
            Ok((meta, path)) if meta.is_file() => Ok(Meta::of(&path)),
            Ok((meta, _)) => Ok(Some(Meta { regular: false, len: meta.len(), mtime: 0 })),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Renames, unless something stands at `to`.
    pub(in crate::disk) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (self.path_of(from, false)?, self.path_of(to, false)?);
        match fs::symlink_metadata(&to) {
            Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
            Err(_) => fs::rename(from, to),
        }
    }

    /// Symbolic links need privileges here: not made.
    pub(in crate::disk) fn symlink(&self, _target: &Path, _rel: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Whether a symbolic link with this target stands at `rel`.
    pub(in crate::disk) fn is_symlink_to(&self, target: &Path, rel: &Path) -> bool {
        self.path_of(rel, false).and_then(fs::read_link).is_ok_and(|found| found == target)
    }
}
