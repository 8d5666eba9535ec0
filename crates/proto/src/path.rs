//! The one sanitiser: turns the names in a torrent into relative paths that are safe to create.
//!
//! Names come from strangers (BEP 3 `name` and `path`, BEP 52 `file tree`, BEP 47 `symlink path`). What comes out of
//! here stays inside the torrent's folder, can be created on the platform, is shown by a terminal as it is, and is
//! unique in the torrent, also where the file system folds case or normal forms. Nothing is refused: a hostile or
//! impossible name is replaced, a taken one gets a number, always in torrent order, so that every run of the program
//! finds the same names again. A name that the platform can hold is kept as it is, for a file must be found again
//! when it is seeded.
//!
//! Not looked at here: what already exists on the disk. That no folder on the way is a link out of the root is for
//! whoever opens files.
//!
//! `component` cleans one component, `names` makes paths unique, `link` writes the text of symlinks. Tested by
//! properties over hostile names, under the rules of each platform wherever the tests run.

mod component;
mod link;
mod names;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use names::Names;

use crate::metainfo::{FileEntry, Info};

/// What a platform's file systems can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Windows: no `<>:"|?*\`, no device names, no dots or spaces at the end.
    windows: bool,
    /// Names that differ only in case or normal form are the same file.
    fold: bool,
    /// Longest relative path in bytes; the platform's limit, less room for the folder it is put into.
    max_path: usize,
}

impl Rules {
    /// Linux and other Unix: all but `/` and NUL; names differ if their bytes do.
    pub const UNIX: Self = Self { windows: false, fold: false, max_path: 3000 };
    /// macOS: as Unix, but its file systems fold case and normal forms by default, and paths end at 1024 bytes.
    pub const MACOS: Self = Self { windows: false, fold: true, max_path: 700 };
    /// Windows.
    pub const WINDOWS: Self = Self { windows: true, fold: true, max_path: 3000 };

    /// Those of the platform that this was built for.
    pub const fn native() -> Self {
        if cfg!(windows) {
            Self::WINDOWS
        } else if cfg!(target_vendor = "apple") {
            Self::MACOS
        } else {
            Self::UNIX
        }
    }
}

/// Where a file of a torrent is kept: a relative path without `.` and `..`, unique in its torrent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SafePath {
    /// Components, each followed by `/` but the last.
    path: Box<str>,
    /// Last component while downloading, where it is not the usual one.
    part: Option<Box<str>>,
    /// Text of the symlink that it is to be.
    link: Option<Box<str>>,
}

impl SafePath {
    /// The path, relative to the folder that the torrent is put into.
    pub fn as_path(&self) -> &Path {
        Path::new(&*self.path)
    }

    /// The path's components; never empty.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.path.split('/')
    }

    /// Where the file is kept until it is whole: its name and `.part`, unless a file of the torrent is called so.
    pub fn part_path(&self) -> PathBuf {
        let name = self.file_name();
        match &self.part {
            Some(part) => self.as_path().with_file_name(&**part),
            None => self.as_path().with_file_name(component::part_name(name)),
        }
    }

    /// If the file is a symlink (BEP 47): what the link says, relative to the folder that holds the link. It names a
    /// file or folder of the same torrent. `None` for other files, and for links that lead elsewhere: those are not to
    /// be created.
    pub fn link_target(&self) -> Option<&Path> {
        self.link.as_deref().map(Path::new)
    }

    fn file_name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }
}

impl AsRef<Path> for SafePath {
    fn as_ref(&self) -> &Path {
        self.as_path()
    }
}

/// Where to keep each file of a torrent on this platform, in torrent order; `None` for pad files, which are kept
/// nowhere. All paths begin with the torrent's name, unless it is a single file. Takes time linear in the length of
/// all names.
pub fn sanitise(info: &Info) -> Vec<Option<SafePath>> {
    let name = (!info.is_single_file()).then(|| info.name());
    sanitise_files(name, info.files(), Rules::native())
}

/// As [`sanitise`], for the files of a torrent called `name` (`None`: a single file that has no folder of its own)
/// under the rules of any platform.
pub fn sanitise_files(name: Option<&str>, files: &[FileEntry], rules: Rules) -> Vec<Option<SafePath>> {
    let mut names = Names::new(rules, name);
    let paths: Vec<_> = files.iter().map(|file| (!file.attr.pad).then(|| names.add(&file.path))).collect();
    let parts: Vec<_> = paths.iter().map(|named| names.part(named.as_ref()?)).collect();
    let links = link::resolve(&names, files, &paths);
    let safe = paths.into_iter().zip(parts).zip(links);
    safe.map(|((named, part), link)| Some(SafePath { path: named?.path, part, link })).collect()
}
