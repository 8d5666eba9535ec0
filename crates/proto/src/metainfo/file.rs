//! One file of a torrent: its path, size and attributes.

use std::fmt;

use super::{FileProblem, MAX_PATH_BYTES, MAX_PATH_DEPTH, MAX_PATH_LEN, MetainfoError};
use crate::bencode::{Dict, List, Value};
use crate::ids::Sha256Hash;

/// File attributes (BEP 47). Unknown letters are ignored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Attr {
    /// `p`: zeros that are never stored, there to align the next file.
    pub pad: bool,
    /// `x`
    pub executable: bool,
    /// `h`
    pub hidden: bool,
    /// `l`: a symbolic link; its target is in [`FileEntry::symlink`].
    pub symlink: bool,
}

impl Attr {
    /// From the value of `attr`.
    pub fn parse(letters: &[u8]) -> Self {
        let has = |letter| letters.contains(&letter);
        Self { pad: has(b'p'), executable: has(b'x'), hidden: has(b'h'), symlink: has(b'l') }
    }

    /// Whether no attribute is set.
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }
}

impl fmt::Display for Attr {
    /// The letters as `attr` has them, in alphabetical order.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letters = [(self.hidden, "h"), (self.symlink, "l"), (self.pad, "p"), (self.executable, "x")];
        letters.iter().filter(|(set, _)| *set).try_for_each(|(_, letter)| f.write_str(letter))
    }
}

/// The components of a path below the torrent's name, as the torrent has them: **not** safe to use on disk.
///
/// Held in one allocation, for there may be a million. A NUL, which no file system takes in a name, is held as U+FFFD;
/// so are bytes that are not UTF-8.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FilePath(Box<str>);

/// Stands between components, because it cannot occur within one.
const SEPARATOR: char = '\0';

impl FilePath {
    /// From its components, of which there has to be at least one.
    pub fn new<S: AsRef<str>>(components: impl IntoIterator<Item = S>) -> Self {
        let mut joined = String::new();
        for (i, component) in components.into_iter().enumerate() {
            if i > 0 {
                joined.push(SEPARATOR);
            }
            push_component(&mut joined, component.as_ref());
        }
        Self(joined.into_boxed_str())
    }

    /// From raw components; bytes that are not UTF-8 become U+FFFD.
    pub(super) fn from_raw(components: &[&[u8]]) -> Result<Self, FileProblem> {
        check_bounds(components)?;
        let mut joined = String::with_capacity(components.iter().map(|c| c.len() + 1).sum());
        for (i, component) in components.iter().enumerate() {
            if i > 0 {
                joined.push(SEPARATOR);
            }
            push_component(&mut joined, &String::from_utf8_lossy(component));
        }
        Ok(Self(joined.into_boxed_str()))
    }

    /// The components, the file's own name last.
    pub fn components(&self) -> std::str::Split<'_, char> {
        self.0.split(SEPARATOR)
    }

    /// The last component.
    pub fn name(&self) -> &str {
        self.0.rsplit(SEPARATOR).next().unwrap_or_default()
    }

    /// Length in bytes, separators included.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The component that begins at byte `start`.
    pub(super) fn component_at(&self, start: usize) -> &str {
        self.0.get(start..).and_then(|rest| rest.split(SEPARATOR).next()).unwrap_or_default()
    }

    /// Whether `folder` is one of the folders it lies in.
    pub(super) fn is_below(&self, folder: &Self) -> bool {
        self.0.strip_prefix(&*folder.0).is_some_and(|rest| rest.starts_with(SEPARATOR))
    }

    /// Whether a torrent may have it.
    pub(super) fn check(&self) -> Result<(), FileProblem> {
        let components: Vec<_> = self.components().map(str::as_bytes).collect();
        check_bounds(&components)
    }
}

fn check_bounds(components: &[&[u8]]) -> Result<(), FileProblem> {
    if components.is_empty() {
        return Err(FileProblem::NoPath);
    }
    if components.len() > MAX_PATH_DEPTH {
        return Err(FileProblem::PathTooDeep);
    }
    if components.iter().any(|c| c.is_empty()) {
        return Err(FileProblem::EmptyComponent);
    }
    let len = components.iter().map(|c| c.len()).sum::<usize>() + components.len() - 1;
    if len > MAX_PATH_LEN { Err(FileProblem::PathTooLong) } else { Ok(()) }
}

fn push_component(joined: &mut String, component: &str) {
    for (i, part) in component.split(SEPARATOR).enumerate() {
        if i > 0 {
            joined.push(char::REPLACEMENT_CHARACTER);
        }
        joined.push_str(part);
    }
}

impl fmt::Display for FilePath {
    /// The components with `/` between them: for people, not for a file system.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, component) in self.components().enumerate() {
            if i > 0 {
                f.write_str("/")?;
            }
            f.write_str(component)?;
        }
        Ok(())
    }
}

impl fmt::Debug for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

/// What the paths of a torrent may still take in memory.
pub(super) struct PathBudget(pub(super) usize);

impl Default for PathBudget {
    fn default() -> Self {
        Self(MAX_PATH_BYTES)
    }
}

impl PathBudget {
    pub(super) fn take(&mut self, path: &FilePath) -> Result<(), MetainfoError> {
        self.0 = self.0.checked_sub(path.len()).ok_or(MetainfoError::PathBytes)?;
        Ok(())
    }
}

/// One file of a torrent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FileEntry {
    /// Path below the torrent's name; of a single-file torrent, the name itself.
    pub path: FilePath,
    /// Size in bytes; 0 for symbolic links.
    pub length: u64,
    /// Attributes (BEP 47).
    pub attr: Attr,
    /// Target of a symbolic link, relative to the torrent's root (BEP 47); there if and only if `attr.symlink` is.
    pub symlink: Option<FilePath>,
    /// Root of the file's hash tree (BEP 52): in v2 and hybrid torrents, for files that are not empty.
    pub pieces_root: Option<Sha256Hash>,
}

/// The fields that describe a file, wherever they stand: in `files`, in `file tree` or in the info dictionary itself.
#[derive(Clone, Copy, Default)]
pub(super) struct FileFields<'a> {
    pub(super) length: Option<Value<'a>>,
    path: Option<Value<'a>>,
    path_utf8: Option<Value<'a>>,
    attr: Option<Value<'a>>,
    symlink: Option<Value<'a>>,
    pieces_root: Option<Value<'a>>,
}

impl<'a> FileFields<'a> {
    pub(super) fn of(dict: Dict<'a>) -> Self {
        let mut fields = Self::default();
        dict.iter().for_each(|(key, value)| fields.take(key, value));
        fields
    }

    /// Keeps `value` if `key` is one of its fields.
    pub(super) fn take(&mut self, key: &[u8], value: Value<'a>) {
        let field = match key {
            b"length" => &mut self.length,
            b"path" => &mut self.path,
            b"path.utf-8" => &mut self.path_utf8,
            b"attr" => &mut self.attr,
            b"symlink path" => &mut self.symlink,
            b"pieces root" => &mut self.pieces_root,
            _ => return,
        };
        *field = Some(value);
    }

    /// The path, and the list it was read from; `path.utf-8` if that is one.
    pub(super) fn path(&self, buffer: &mut Vec<&'a [u8]>) -> Result<(FilePath, List<'a>), FileProblem> {
        let utf8 = self.path_utf8.and_then(Value::as_list).filter(|list| is_utf8(*list));
        let list = utf8.or_else(|| self.path.and_then(Value::as_list)).ok_or(FileProblem::NoPath)?;
        Ok((read_path(list, buffer)?, list))
    }

    /// What is known of the file besides its path.
    pub(super) fn entry(&self, path: FilePath) -> Result<FileEntry, FileProblem> {
        let mut attr = Attr::parse(self.attr.and_then(Value::as_bytes).unwrap_or_default());
        attr.symlink &= !attr.pad;
        let length = self.length(attr)?;
        let symlink = if attr.symlink { Some(self.target(length)?) } else { None };
        Ok(FileEntry { path, length, attr, symlink, pieces_root: None })
    }

    /// The `pieces root` of a file that has content.
    pub(super) fn pieces_root(&self) -> Result<Sha256Hash, FileProblem> {
        let root = self.pieces_root.and_then(Value::as_bytes).and_then(Sha256Hash::from_slice);
        root.ok_or(FileProblem::NoPiecesRoot)
    }

    /// Whether `attr` says that it is a pad file, whose path does not matter (BEP 47).
    pub(super) fn is_pad(&self) -> bool {
        self.attr.and_then(Value::as_bytes).is_some_and(|letters| Attr::parse(letters).pad)
    }

    fn length(&self, attr: Attr) -> Result<u64, FileProblem> {
        match self.length.map(Value::as_int) {
            // BEP 47 lets a symbolic link go without.
            None if attr.symlink => Ok(0),
            None | Some(None) => Err(FileProblem::NoLength),
            Some(Some(length)) => u64::try_from(length).map_err(|_| FileProblem::NegativeLength(length)),
        }
    }

    fn target(&self, length: u64) -> Result<FilePath, FileProblem> {
        if length != 0 {
            return Err(FileProblem::LinkWithLength);
        }
        let list = self.symlink.and_then(Value::as_list).ok_or(FileProblem::NoTarget)?;
        read_path(list, &mut Vec::new()).map_err(|_| FileProblem::NoTarget)
    }
}

fn is_utf8(list: List<'_>) -> bool {
    list.iter().all(|component| component.as_str().is_some())
}

fn read_path<'a>(list: List<'a>, buffer: &mut Vec<&'a [u8]>) -> Result<FilePath, FileProblem> {
    buffer.clear();
    for component in list {
        buffer.push(component.as_bytes().ok_or(FileProblem::NoPath)?);
    }
    FilePath::from_raw(buffer)
}
