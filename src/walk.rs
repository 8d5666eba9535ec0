//! Finds what is to be shared: the files below the paths that the user named.
//!
//! The result depends on names and contents only: folders are read in the byte order of their entries. No link is
//! followed, apart from one that the user named; a link that stays inside its tree is kept as a link (BEP 47). What a
//! torrent cannot express (empty folders, links that lead outside, devices) is left out and counted, so that the user
//! can be told once. Names that are not Unicode are an error, for no torrent can hold them.

use std::fs::{self, Metadata};
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, bail};

use crate::exit::usage;
use crate::ui::human::count;

/// Folders deeper than this are refused; torrents allow no deeper paths either.
const MAX_DEPTH: usize = samara_proto::metainfo::MAX_PATH_DEPTH;

/// What there is to share.
#[derive(Debug, Default)]
pub(crate) struct Walk {
    /// Name of the torrent.
    pub(crate) name: String,
    /// The torrent is one file, not a folder.
    pub(crate) single: bool,
    /// Files and links.
    pub(crate) found: Vec<Found>,
    empty_folders: u64,
    skipped: Vec<PathBuf>,
}

/// A file or link.
#[derive(Debug)]
pub(crate) struct Found {
    /// Components below the torrent's name; of a single file its name.
    pub(crate) path: Vec<String>,
    /// Where it lies.
    pub(crate) disk: PathBuf,
    /// What it is.
    pub(crate) kind: Kind,
}

/// What there is at a path.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A regular file.
    File {
        /// As it was when found.
        stamp: Stamp,
        /// Its owner may run it.
        executable: bool,
    },
    /// A symbolic link: the target's components below the torrent's name.
    Link(Vec<String>),
}

/// What tells that a file was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Bytes.
    pub(crate) len: u64,
    modified: Option<SystemTime>,
}

impl Stamp {
    /// Of a file.
    fn of(metadata: &Metadata) -> Self {
        Self { len: metadata.len(), modified: metadata.modified().ok() }
    }
}

impl Found {
    /// Bytes of content.
    pub(crate) const fn len(&self) -> u64 {
        match self.kind {
            Kind::File { stamp, .. } => stamp.len,
            Kind::Link(_) => 0,
        }
    }

    /// Whether the file is as it was when found.
    pub(crate) fn is_unchanged(&self) -> bool {
        match self.kind {
            Kind::File { stamp, .. } => fs::metadata(&self.disk).is_ok_and(|now| Stamp::of(&now) == stamp),
            Kind::Link(_) => true,
        }
    }
}

/// Looks through `paths`. One path gives a torrent of its name; several give a folder that holds them all.
///
/// # Errors
/// If something cannot be read, a name is not Unicode or occurs twice, or there is nothing to share.
pub(crate) fn walk(paths: &[PathBuf]) -> Result<Walk> {
    let mut walk = Walk::default();
    if let [path] = paths {
        walk.name = name_of(path)?;
        let metadata = metadata(path)?;
        walk.single = metadata.is_file();
        let below = if walk.single { vec![walk.name.clone()] } else { Vec::new() };
        walk.enter(path, below, &metadata)?;
    } else {
        for path in paths {
            let name = name_of(path)?;
            if walk.found.iter().any(|f| f.path[0] == name) {
                return Err(usage(format!("two of the paths are called {name:?}: rename one of them")));
            }
            walk.enter(path, vec![name], &metadata(path)?)?;
        }
        let first = paths.first().map_or(Ok(String::new()), |path| name_of(path))?;
        walk.name = format!("{first} and {} more", paths.len().saturating_sub(1));
    }
    if walk.found.is_empty() {
        bail!("there is no file in {}: nothing to share", display_all(paths));
    }
    Ok(walk)
}

impl Walk {
    /// Brings everything into the order of a torrent: by components, byte by byte.
    pub(crate) fn sort(&mut self) {
        self.found.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    }

    /// What was left out, in one sentence; `None` if nothing was.
    pub(crate) fn left_out(&self) -> Option<String> {
        let mut parts = Vec::new();
        if self.empty_folders > 0 {
            parts.push(count(self.empty_folders, "empty folder"));
        }
        if let Some(first) = self.skipped.first() {
            let links = count(self.skipped.len() as u64, "link or special file");
            parts.push(format!("{links} (first: {})", first.display()));
        }
        (!parts.is_empty()).then(|| format!("left out what a torrent cannot hold: {}", parts.join(", ")))
    }

    /// Something that the user named: a link to it counts as itself.
    fn enter(&mut self, path: &Path, below: Vec<String>, metadata: &Metadata) -> Result<()> {
        let fence = below.len();
        if metadata.is_dir() {
            self.folder(path, below, fence)
        } else if metadata.is_file() {
            self.file(path.to_owned(), below, metadata);
            Ok(())
        } else {
            bail!("{} is neither a file nor a folder: it cannot be shared", path.display())
        }
    }

    /// Everything in a folder. `fence` components of `below` are above the tree that links have to stay in.
    fn folder(&mut self, folder: &Path, below: Vec<String>, fence: usize) -> Result<()> {
        if below.len() >= MAX_DEPTH {
            bail!("{} lies deeper than the {MAX_DEPTH} levels that a torrent can hold", folder.display());
        }
        let entries =
            entries(folder).with_context(|| format!("cannot read the folder {}", folder.display()))?;
        self.empty_folders += u64::from(entries.is_empty());
        for disk in entries {
            let mut path = below.clone();
            path.push(name_of(&disk)?);
            self.entry(disk, path, fence)?;
        }
        Ok(())
    }

    fn entry(&mut self, disk: PathBuf, path: Vec<String>, fence: usize) -> Result<()> {
        let metadata =
            fs::symlink_metadata(&disk).with_context(|| format!("cannot look at {}", disk.display()))?;
        if metadata.is_dir() {
            return self.folder(&disk, path, fence);
        }
        if metadata.is_file() {
            self.file(disk, path, &metadata);
        } else if let Some(target) = link_target(&disk, &path, fence)? {
            self.found.push(Found { path, disk, kind: Kind::Link(target) });
        } else {
            self.skipped.push(disk);
        }
        Ok(())
    }

    fn file(&mut self, disk: PathBuf, path: Vec<String>, metadata: &Metadata) {
        let kind = Kind::File { stamp: Stamp::of(metadata), executable: is_executable(metadata) };
        self.found.push(Found { path, disk, kind });
    }
}

fn metadata(path: &Path) -> Result<Metadata> {
    fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))
}

/// The entries of a folder, by the bytes of their names.
fn entries(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut entries = fs::read_dir(folder)?.map(|e| Ok(e?.path())).collect::<std::io::Result<Vec<_>>>()?;
    entries.sort_unstable_by(|a, b| a.as_os_str().as_encoded_bytes().cmp(b.as_os_str().as_encoded_bytes()));
    Ok(entries)
}

/// The last component, as text. `.` and `..` have the name of the folder that they stand for.
fn name_of(path: &Path) -> Result<String> {
    let real;
    let name = match path.components().next_back() {
        Some(Component::Normal(name)) => name,
        _ => {
            real = path.canonicalize().with_context(|| format!("cannot read {}", path.display()))?;
            real.file_name()
                .with_context(|| format!("{} has no name: share a folder in it", path.display()))?
        }
    };
    match name.to_str() {
        Some(name) => Ok(name.to_owned()),
        None => {
            bail!("the name of {} is not valid Unicode, which a torrent needs: rename it", path.display())
        }
    }
}

/// Where a link points, below the torrent's name; `None` for what is no link, or leads out of its tree.
fn link_target(disk: &Path, path: &[String], fence: usize) -> Result<Option<Vec<String>>> {
    if !disk.is_symlink() {
        return Ok(None);
    }
    let target = fs::read_link(disk).with_context(|| format!("cannot read the link {}", disk.display()))?;
    Ok(resolve(&target, path, fence))
}

/// A link's target by its text alone: what it points to need not exist.
fn resolve(target: &Path, link: &[String], fence: usize) -> Option<Vec<String>> {
    let mut at = link[..link.len() - 1].to_vec();
    for component in target.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir if at.len() > fence => drop(at.pop()),
            Component::Normal(name) => at.push(name.to_str()?.to_owned()),
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    (at.len() > fence).then_some(at)
}

#[cfg(unix)]
fn is_executable(metadata: &Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode() & 0o100 != 0
}

#[cfg(not(unix))]
fn is_executable(_: &Metadata) -> bool {
    false
}

fn display_all(paths: &[PathBuf]) -> String {
    paths.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(path: &[&str], target: &str, fence: usize) -> Option<String> {
        let path: Vec<String> = path.iter().map(ToString::to_string).collect();
        resolve(Path::new(target), &path, fence).map(|p| p.join("/"))
    }

    #[test]
    fn links_stay_inside_their_tree() {
        assert_eq!(link(&["a", "l"], "b", 0), Some("a/b".into()));
        assert_eq!(link(&["a", "l"], "../c/./d", 0), Some("c/d".into()));
        assert_eq!(link(&["l"], "missing/x", 0), Some("missing/x".into()));
        for outside in ["..", "../../c", "/etc/passwd", ".", "../a/../../c"] {
            assert_eq!(link(&["a", "l"], outside, 1), None, "{outside}");
        }
        // Of several trees in one torrent each keeps to itself.
        assert_eq!(link(&["one", "l"], "../two/x", 1), None);
        assert_eq!(link(&["one", "l"], "../two/x", 0), Some("two/x".into()));
    }
}
