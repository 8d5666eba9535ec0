//! What stands on the disk where a torrent's files belong, before anything is opened or hashed.
//!
//! The one place that decides which of two files is meant where both the final and the `.part` name exist, so that
//! what is hashed is what is served later. Looks at names, lengths, times and holes; reads and changes nothing.

use std::ops::Range;
use std::path::{Path, PathBuf};

use samara_proto::bitfield::Bitfield;
use samara_proto::ids::{FileIndex, PieceIndex};
use samara_proto::layout::Layout;

use super::event::{Op, StorageError};
use super::root::{How, Meta, Root};
use super::spec::{Access, FileSpec, StorageSpec};

/// Where a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It has no bytes: pad files, links, empty files, links that are not made.
    Nowhere,
    /// Wanted, and not there yet.
    Absent,
    /// Under its final name, where it was when the torrent was opened; whose it is will show.
    Found,
    /// Under its `.part` name.
    Part,
    /// Whole, under its final name.
    Final,
    /// Not wanted, and not there: its bytes are in the part store.
    Shelved,
}

/// What a file looked like when it was last known to be on the medium, or looks like now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// Bytes.
    pub len: u64,
    /// Last change of its data, in nanoseconds since 1970.
    pub mtime: i64,
    /// It was complete, under its final name.
    pub whole: bool,
}

/// What stands where a torrent's files belong.
#[derive(Clone, Debug)]
pub struct Survey<'a> {
    spec: &'a StorageSpec,
    found: Vec<(Place, Option<Meta>)>,
    has_parts: bool,
}

impl StorageSpec {
    /// Looks where the files are. To be called on a thread that may wait for the disk.
    ///
    /// A file under its final name and of the right length is taken before a `.part` file, and that before a shorter file
    /// under the final name. A longer one is not ours.
    ///
    /// # Errors
    /// If a folder cannot be looked into, or a link stands in the way.
    pub fn survey(&self) -> Result<Survey<'_>, StorageError> {
        let mut folders = Folders::new(&self.root);
        let index = 0..self.files.len() as u32;
        let found = index.map(|i| look(self, &mut folders, FileIndex(i))).collect::<Result<_, _>>()?;
        Ok(Survey { spec: self, found, has_parts: self.parts.is_file() })
    }
}

/// Looks at files below a root, and looks only once for the folder of files that follow each other: where it is missing
/// so are they all, and a new download of many files asks the system nothing about each.
struct Folders<'a> {
    root: Root,
    last: Option<&'a Path>,
    missing: bool,
}

impl<'a> Folders<'a> {
    fn new(root: &Path) -> Self {
        Self { root: Root::new(root.to_owned()), last: None, missing: false }
    }

    /// An ordinary file at `path`.
    fn stat(&mut self, path: &'a Path) -> Result<Option<Meta>, StorageError> {
        if self.last != path.parent() {
            self.last = path.parent();
            self.missing = self.root.lacks_folder(path);
        }
        if self.missing {
            return Ok(None);
        }
        let found = self.root.stat(path);
        let found = found.map_err(|e| StorageError::new(self.root.path().join(path), Op::Inspect, e))?;
        Ok(found.filter(|meta| meta.regular))
    }
}

fn look<'a>(
    spec: &'a StorageSpec,
    folders: &mut Folders<'a>,
    index: FileIndex,
) -> Result<(Place, Option<Meta>), StorageError> {
    let len = spec.layout.file_len(index);
    let has_bytes =
        |f: &&FileSpec| len > 0 && !spec.layout.file_is_pad(index) && !f.path.as_os_str().is_empty();
    let Some(file) = spec.file(index).filter(has_bytes) else { return Ok((Place::Nowhere, None)) };
    if spec.access == Access::ReadOnly {
        return Ok((Place::Final, Meta::of(&spec.root.join(&file.path))));
    }
    let under_name = folders.stat(&file.path)?.filter(|meta| meta.len <= len);
    if under_name.is_some_and(|meta| meta.len == len) {
        return Ok((Place::Found, under_name));
    }
    Ok(match (folders.stat(&file.part)?, under_name) {
        (part @ Some(_), _) => (Place::Part, part),
        (None, Some(meta)) => (Place::Found, Some(meta)),
        (None, None) if file.wanted => (Place::Absent, None),
        (None, None) => (Place::Shelved, None),
    })
}

impl Survey<'_> {
    /// Where to find each file's bytes, for hashing, in the torrent's order; `None` where there is no such file.
    pub fn paths(&self) -> Vec<Option<PathBuf>> {
        let path = |(file, (place, _)): (&FileSpec, &(Place, _))| match place {
            Place::Found | Place::Final => Some(self.spec.root.join(&file.path)),
            Place::Part => Some(self.spec.root.join(&file.part)),
            Place::Nowhere | Place::Absent | Place::Shelved => None,
        };
        self.spec.files.iter().zip(&self.found).map(path).collect()
    }

    /// What each file looks like, to hold resume data against; zeros for what should be there and is not, `None` for
    /// what has no file of its own.
    pub fn stamps(&self) -> Vec<Option<Stamp>> {
        let stamp = |(file, &(place, meta)): (_, &(Place, Option<Meta>))| match (place, meta) {
            (Place::Nowhere, _) => None,
            (Place::Shelved, _) if self.has_parts => None,
            (_, None) => Some(Stamp::default()),
            (_, Some(Meta { len, mtime, .. })) => {
                let whole = place != Place::Part && len == self.spec.layout.file_len(file);
                Some(Stamp { len, mtime, whole })
            }
        };
        (0..).map(FileIndex).zip(&self.found).map(stamp).collect()
    }

    /// The pieces that may be there, and so are worth hashing: every file that they touch has data in the place. Holes
    /// count as data only in files under their final name: in a `.part` they are mostly what has not come yet, and zeros
    /// that came after the last sync are fetched again.
    pub fn present(&self) -> Bitfield {
        let layout = &self.spec.layout;
        let mut present = Bitfield::full(layout.num_pieces());
        let shelf =
            if self.has_parts { data(&Root::new(PathBuf::new()), &self.spec.parts) } else { Vec::new() };
        let root = Root::new(self.spec.root.clone());
        for (index, &(place, meta)) in (0..).map(FileIndex).zip(&self.found) {
            let Some(file) = self.spec.file(index) else { continue };
            let (data, shelved) = match place {
                Place::Nowhere => continue,
                Place::Absent => {
                    for piece in layout.pieces_of(index) {
                        present.remove(PieceIndex(piece));
                    }
                    continue;
                }
                Place::Found | Place::Final => (all(meta.map_or(0, |m| m.len)), false),
                Place::Part => (data(&root, &file.part), false),
                Place::Shelved => (shelf.clone(), true),
            };
            for piece in layout.pieces_of(index).map(PieceIndex) {
                if present.has(piece) && !touches(&data, &place_in_piece(layout, piece, index, shelved)) {
                    present.remove(piece);
                }
            }
        }
        present
    }

    /// What was found, for whoever opens the files.
    pub(super) fn into_found(self) -> (Vec<(Place, Option<Meta>)>, bool) {
        (self.found, self.has_parts)
    }
}

/// The bytes of `piece` that belong to `file`, counted in the file, or in the part store.
fn place_in_piece(layout: &Layout, piece: PieceIndex, file: FileIndex, shelved: bool) -> Range<u64> {
    let start = u64::from(piece.0) * u64::from(layout.piece_length());
    let mut at = 0;
    for span in layout.spans(piece, 0, layout.piece_length()) {
        if span.file == file {
            let from = if shelved { start + u64::from(at) } else { span.offset };
            return from..from + u64::from(span.len);
        }
        at += span.len;
    }
    0..0
}

/// Whether any of the sorted, separate `ranges` has a byte in `wanted`.
fn touches(ranges: &[Range<u64>], wanted: &Range<u64>) -> bool {
    let first = ranges.partition_point(|r| r.end <= wanted.start);
    ranges.get(first).is_some_and(|r| r.start < wanted.end && r.start < r.end)
}

fn all(len: u64) -> Vec<Range<u64>> {
    std::iter::once(0..len).collect()
}

/// The parts of a file that are no holes, as far as the system tells.
fn data(root: &Root, path: &Path) -> Vec<Range<u64>> {
    let open = || match root.path().as_os_str().is_empty() {
        true => std::fs::File::open(path),
        false => root.open(path, How::Read),
    };
    let Ok(file) = open() else { return Vec::new() };
    let len = file.metadata().map_or(0, |meta| meta.len());
    extents(&file, len)
}

#[cfg(target_os = "linux")]
fn extents(file: &std::fs::File, len: u64) -> Vec<Range<u64>> {
    use rustix::fs::{SeekFrom, seek};
    use rustix::io::Errno;
    let mut out = Vec::new();
    let mut at = 0;
    while at < len {
        let start = match seek(file, SeekFrom::Data(at)) {
            Ok(start) => start,
            // No data behind this point.
            Err(Errno::NXIO) => break,
            // The file system does not tell: all may be data.
            Err(_) => return all(len),
        };
        at = seek(file, SeekFrom::Hole(start)).unwrap_or(len).max(start + 1);
        out.push(start..at);
    }
    out
}

#[cfg(not(target_os = "linux"))]
fn extents(_file: &std::fs::File, len: u64) -> Vec<Range<u64>> {
    all(len)
}
