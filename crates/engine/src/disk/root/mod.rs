//! Files below one folder, and never anywhere else.
//!
//! Every path is walked component by component from the root, without following a symbolic link: where one stands in
//! the way, the operation fails. So a link that somebody placed below the root cannot lead a write out of it. The root
//! itself is the user's choice and may be a link.
//!
//! On unix the walk holds on to folders, not names, so that nothing can be swapped in between. Elsewhere each
//! component is looked at before use, which leaves a moment for a local attacker.
//!
//! Only ordinary files are opened: no pipe, no device. Tested by the disk's tests with links placed in the way.

#[cfg(not(unix))]
mod portable;
#[cfg(unix)]
mod unix;

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Component, Path, PathBuf};

#[cfg(not(unix))]
pub(super) use portable::Root;
#[cfg(unix)]
pub(super) use unix::Root;

/// How to open a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// An existing file, to read.
    Read,
    /// An existing file, to read and write.
    Write,
    /// To read and write; it and its folders are created if they do not exist.
    Create,
    /// As `Create`, but it must not exist.
    CreateNew,
}

impl How {
    const fn creates(self) -> bool {
        matches!(self, Self::Create | Self::CreateNew)
    }
}

/// What stands at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Meta {
    /// An ordinary file, no link.
    pub(super) regular: bool,
    /// Bytes.
    pub(super) len: u64,
    /// Last change of its data, in nanoseconds since 1970.
    pub(super) mtime: i64,
}

impl Meta {
    /// Of whatever a path that the user named leads to; `None` if nothing is there.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let meta = std::fs::metadata(path).ok()?;
        let since = meta.modified().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
        let mtime = since.and_then(|t| i64::try_from(t.as_nanos()).ok()).unwrap_or(0);
        Some(Self { regular: meta.is_file(), len: meta.len(), mtime })
    }
}

fn not_regular() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "something that is no ordinary file stands there")
}

/// Splits a relative path into its folder and its last component, refusing everything but plain names.
fn split(rel: &Path) -> io::Result<(&Path, &OsStr)> {
    let plain = rel.components().all(|c| matches!(c, Component::Normal(_)));
    match (rel.parent(), rel.file_name()) {
        (Some(folder), Some(name)) if plain => Ok((folder, name)),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "the path leads out of its folder")),
    }
}

impl Root {
    /// Renames what stands at `rel` to the first free name of `rel.old`, `rel.old2`, ..: it makes room and loses
    /// nothing. Returns the new relative path.
    pub(super) fn displace(&self, rel: &Path) -> io::Result<PathBuf> {
        for n in 1..1000 {
            let mut name = OsString::from(rel);
            name.push(if n == 1 { ".old".into() } else { format!(".old{n}") });
            let to = PathBuf::from(name);
            match self.rename(rel, &to) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                result => return result.map(|()| to),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }
}
