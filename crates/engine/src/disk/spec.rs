//! What to store where: the shape of one torrent on disk.

use std::path::PathBuf;
use std::sync::Arc;

use samara_proto::ids::{Block, FileIndex};
use samara_proto::layout::Layout;
use samara_proto::metainfo::{FileEntry, Info};
use samara_proto::path::{SafePath, sanitise};
use samara_proto::torrent::Expected;

use super::Buf;

/// What may be done to the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// A download: files are created below the root, written, and renamed when they are whole.
    Write,
    /// Sharing what exists: the files are opened for reading, at the paths given, and never changed in any way.
    ReadOnly,
}

/// One file of the torrent, on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileSpec {
    /// Relative to [`StorageSpec::root`], without `.` and `..`; absolute only if access is read-only. Empty for pad
    /// files, and for what is not to be created.
    pub path: PathBuf,
    /// Where it is kept until it is whole, relative to the root as well.
    pub part: PathBuf,
    /// Whether it is selected at first. Of files that were not, only bytes come that share a piece with a selected one.
    pub wanted: bool,
    /// Make it executable when it is whole (BEP 47 `x`).
    pub executable: bool,
    /// It is a symbolic link (BEP 47 `l`) with this target, relative to the link's folder.
    pub symlink: Option<PathBuf>,
}

/// One torrent on disk.
#[derive(Clone, Debug)]
pub struct StorageSpec {
    /// Pieces and files.
    pub layout: Arc<Layout>,
    /// The folder chosen by the user. Nothing outside it is touched, except [`Self::parts`]; no symbolic link below it
    /// is followed.
    pub root: PathBuf,
    /// In the torrent's order, pad files counted: as many as in the layout.
    pub files: Vec<FileSpec>,
    /// The part store: a file that takes what belongs to files that are not wanted but share a piece with one that
    /// is. Created when needed, removed when nothing in it is needed; below the root also on closing if all wanted files
    /// are whole. A sparse file in which byte `n` of piece `p` stands at `p * piece_length + n`. Best a hidden name in the
    /// state folder, which must allow for sparse files.
    pub parts: PathBuf,
    /// What may be done.
    pub access: Access,
}

impl StorageSpec {
    /// A download of `info` into the folder `root`, with names made safe. `wanted` is one flag per file (missing ones
    /// count as wanted), `parts` the part store.
    pub fn download(
        info: &Info,
        layout: Arc<Layout>,
        root: PathBuf,
        wanted: &[bool],
        parts: PathBuf,
    ) -> Self {
        let paths = sanitise(info);
        let wanted = wanted.iter().copied().chain(std::iter::repeat(true));
        let files = info
            .files()
            .iter()
            .zip(&paths)
            .zip(wanted)
            .map(|((entry, path), w)| file(entry, path.as_ref(), w));
        Self { layout, root, files: files.collect(), parts, access: Access::Write }
    }

    /// What exists at the absolute `paths`, one per file in the torrent's order, pad files `None`: to be shared, never
    /// changed.
    pub fn existing(layout: Arc<Layout>, paths: Vec<Option<PathBuf>>) -> Self {
        let file = |path: Option<_>| FileSpec {
            path: path.unwrap_or_default(),
            wanted: true,
            ..FileSpec::default()
        };
        let files = paths.into_iter().map(file).collect();
        Self { layout, root: PathBuf::new(), files, parts: PathBuf::new(), access: Access::ReadOnly }
    }

    /// The file's entry, unless the index is beyond the last one.
    pub fn file(&self, file: FileIndex) -> Option<&FileSpec> {
        self.files.get(file.0 as usize)
    }
}

fn file(entry: &FileEntry, path: Option<&SafePath>, wanted: bool) -> FileSpec {
    let symlink = path.and_then(SafePath::link_target).map(PathBuf::from);
    // A link that leads out of the torrent has no safe target: it is left out.
    let path = path.filter(|_| symlink.is_some() || !entry.attr.symlink);
    FileSpec {
        path: path.map(|p| p.as_path().to_owned()).unwrap_or_default(),
        part: path.map(SafePath::part_path).unwrap_or_default(),
        wanted,
        executable: entry.attr.executable,
        symlink,
    }
}

/// A block that came, to be hashed and written.
#[derive(Debug)]
pub struct StoreJob {
    /// Which; must be one of [`Layout::blocks`]. Anything else is ignored.
    pub block: Block,
    /// Its payload, of exactly the block's length.
    pub data: Buf,
    /// What its piece must hash to: what comes with the first block of a piece counts. Where both hashes are given both
    /// are checked; with neither a piece is never good.
    pub expected: Expected,
    /// The piece failed before: its digests are to be told also if it is good. Counts with the first block as well.
    pub suspected: bool,
}
