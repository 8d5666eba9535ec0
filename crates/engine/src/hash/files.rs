//! Reading the files of a torrent: few of them open at a time, holes not read at all.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use samara_proto::ids::FileIndex;

use super::HashError;

/// Files that one thread keeps open.
const MAX_OPEN: usize = 32;

/// From this size on the system is told that a file is read from front to back.
#[cfg(target_os = "linux")]
const LARGE: u64 = 1 << 20;

/// The files of a torrent, as one thread reads them.
pub(super) struct Files<'a> {
    paths: &'a [Option<PathBuf>],
    /// Last used first; `None` for files that are not there.
    open: Vec<(FileIndex, Option<Source>)>,
}

impl<'a> Files<'a> {
    pub(super) const fn new(paths: &'a [Option<PathBuf>]) -> Self {
        Self { paths, open: Vec::new() }
    }

    /// Fills `buf` with what is at `offset`, and says how much there was: less than asked for at the end of the file,
    /// nothing if it is missing.
    pub(super) fn read(&mut self, file: FileIndex, offset: u64, buf: &mut [u8]) -> Result<usize, HashError> {
        let path = self.path(file);
        let Some(source) = self.source(file)? else { return Ok(0) };
        source.read(offset, buf).map_err(|err| HashError::read(path, err))
    }

    /// Whether `len` bytes at `offset` exist and are known to be zero without reading them.
    pub(super) fn is_hole(&mut self, file: FileIndex, offset: u64, len: u32) -> Result<bool, HashError> {
        let source = self.source(file)?;
        Ok(source.is_some_and(|source| source.is_hole(&(offset..offset + u64::from(len)))))
    }

    fn path(&self, file: FileIndex) -> Option<&'a Path> {
        self.paths.get(file.0 as usize).and_then(Option::as_deref)
    }

    fn source(&mut self, file: FileIndex) -> Result<Option<&mut Source>, HashError> {
        match self.open.iter().position(|(open, _)| *open == file) {
            Some(0) => {}
            Some(at) => self.open[..=at].rotate_right(1),
            None => {
                let path = self.path(file);
                let source = path.map_or(Ok(None), Source::open).map_err(|err| HashError::read(path, err))?;
                self.open.truncate(MAX_OPEN - 1);
                self.open.insert(0, (file, source));
            }
        }
        Ok(self.open[0].1.as_mut())
    }
}

/// One open file.
struct Source {
    file: File,
    len: u64,
    /// Whether there may be holes in it.
    sparse: bool,
    /// What is known of where its holes are: all of `extent` is one, or none of it is.
    extent: Range<u64>,
    hole: bool,
}

impl Source {
    /// `None` if there is no such file, or something that is no file.
    fn open(path: &Path) -> io::Result<Option<Self>> {
        let file = match open(path) {
            Ok(file) => file,
            Err(err) if matches!(err.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(err) => return Err(err),
        };
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Ok(None);
        }
        advise(&file, metadata.len());
        let sparse = may_have_holes(&metadata);
        Ok(Some(Self { file, len: metadata.len(), sparse, extent: 0..0, hole: false }))
    }

    fn read(&mut self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let there = self.len.saturating_sub(offset).min(buf.len() as u64);
        let buf = &mut buf[..there as usize];
        if self.is_hole(&(offset..offset + there)) {
            buf.fill(0);
            return Ok(buf.len());
        }
        let mut filled = 0;
        while filled < buf.len() {
            match read_at(&self.file, &mut buf[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Err(err) => return Err(err),
            }
        }
        Ok(filled)
    }

    fn is_hole(&mut self, range: &Range<u64>) -> bool {
        if !self.sparse || range.end > self.len {
            return false;
        }
        if !self.extent.contains(&range.start) {
            match extent_at(&self.file, range.start) {
                Some((extent, hole)) => (self.extent, self.hole) = (extent, hole),
                None => self.sparse = false,
            }
        }
        self.sparse && self.hole && range.end <= self.extent.end
    }
}

#[cfg(unix)]
fn open(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    // Without this, opening a named pipe would wait for somebody to write into it.
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

#[cfg(not(unix))]
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).open(path)
}

#[cfg(unix)]
fn read_at(file: &File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buf, offset)
}

#[cfg(windows)]
fn read_at(file: &File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buf, offset)
}

#[cfg(target_os = "linux")]
fn advise(file: &File, len: u64) {
    if len >= LARGE {
        // Only advice: that it is not taken changes nothing.
        let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::Sequential);
    }
}

#[cfg(not(target_os = "linux"))]
const fn advise(_: &File, _: u64) {}

#[cfg(target_os = "linux")]
fn may_have_holes(metadata: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    metadata.blocks().saturating_mul(512) < metadata.len()
}

#[cfg(not(target_os = "linux"))]
const fn may_have_holes(_: &std::fs::Metadata) -> bool {
    false
}

/// The hole or the data that begins at or before `at`, from there to its end. `None` if the file system cannot say.
#[cfg(target_os = "linux")]
fn extent_at(file: &File, at: u64) -> Option<(Range<u64>, bool)> {
    use rustix::fs::{SeekFrom, seek};
    use rustix::io::Errno;
    match seek(file, SeekFrom::Data(at)) {
        Ok(data) if data > at => Some((at..data, true)),
        Ok(_) => Some((at..seek(file, SeekFrom::Hole(at)).ok()?, false)),
        Err(Errno::NXIO) => Some((at..u64::MAX, true)),
        Err(_) => None,
    }
}

#[cfg(not(target_os = "linux"))]
const fn extent_at(_: &File, _: u64) -> Option<(Range<u64>, bool)> {
    None
}
