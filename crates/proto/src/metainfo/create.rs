//! Making an info dictionary: order the files, align them, and write them down. The caller walks the disk and hashes.
//!
//! Files are sorted by their components, byte by byte, which is the order of a v2 file tree; v1 torrents use it too.
//! A hybrid gets a pad file after each file that does not end at a piece boundary, except the last (BEP 47), so that
//! its v1 pieces are its v2 pieces. Folders without files cannot be expressed in any format.

use std::sync::Arc;

use super::torrent::{PieceLayers, proven_layers};
use super::{
    Attr, FileEntry, FilePath, FileProblem, Format, Info, MAX_PIECE_LENGTH, MAX_PIECES, MetainfoError,
};
use crate::bencode::{DictWriter, ListWriter, write_dict};
use crate::ids::{BLOCK_LEN, Sha256Hash};

/// A file to be put into a torrent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewFile {
    /// Path below the torrent's name; of a single-file torrent, the name itself.
    pub path: FilePath,
    /// Size in bytes; 0 for a symbolic link.
    pub length: u64,
    /// Attributes; `pad` and `symlink` are set by the builder.
    pub attr: Attr,
    /// Target of a symbolic link, relative to the torrent's root.
    pub symlink: Option<FilePath>,
}

/// What a new torrent shall be.
#[derive(Clone, Debug)]
pub struct InfoBuilder {
    /// Name of the folder, or of the single file.
    pub name: String,
    /// The files, in any order.
    pub files: Vec<NewFile>,
    /// Bytes in a piece; with a v2 half, a power of two from 16 KiB up. See [`default_piece_length`].
    pub piece_length: u32,
    /// Which halves to write.
    pub format: Format,
    /// Whether peers may come from its trackers only (BEP 27).
    pub private: bool,
    /// A label that makes the info-hash differ from other uploads of the same files.
    pub source: Option<String>,
    /// Whether it is one file without a folder around it.
    pub single_file: bool,
}

/// The files of a new torrent in their final order, waiting for hashes.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Sorted, and with pad files put in; `builder.files` is empty from here on.
    files: Vec<FileEntry>,
    builder: InfoBuilder,
}

/// Hashes of a plan's content, for the halves that its format has.
#[derive(Clone, Debug, Default)]
pub struct NewHashes {
    /// SHA-1 of each piece over all of the plan's files, pad files read as zeros; concatenated.
    pub v1: Option<Vec<u8>>,
    /// One for each file of the plan that has content and is no pad file, in order.
    pub v2: Option<Vec<FileHashes>>,
}

/// The v2 hashes of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileHashes {
    /// Root of its tree.
    pub pieces_root: Sha256Hash,
    /// Its piece layer: concatenated hashes, one a piece. Not looked at if the file fits one piece.
    pub layer: Vec<u8>,
}

/// Why a torrent cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// No client would take such a torrent.
    #[error(transparent)]
    Invalid(#[from] MetainfoError),
    /// The name is empty.
    #[error("the torrent has no name")]
    NoName,
    /// A single-file torrent has one ordinary file, of the torrent's name.
    #[error("a single-file torrent must have one file, called {0:?} as itself, that is no symbolic link")]
    SingleFile(String),
    /// Not the hashes that the plan's format needs.
    #[error("the hashes given are not those that the plan needs")]
    Hashes,
}

/// A piece length for files of these lengths: a power of two from 16 KiB to 16 MiB, for 1,000 to 2,000 pieces in between.
///
/// In a hybrid every file begins a piece, and what fills the last piece of the file before is hashed like content. So
/// many small files get shorter pieces, until what is filled in is at most a quarter of the content, or the number of
/// pieces (20 bytes each in the info dictionary) would go beyond 65,536 and twice the files.
pub fn default_piece_length(lengths: impl IntoIterator<Item = u64>, format: Format) -> u32 {
    const LEAST: u64 = BLOCK_LEN as u64;
    const MOST: u64 = 16 << 20;
    let lengths: Vec<u64> = lengths.into_iter().filter(|len| *len > 0).collect();
    let total = lengths.iter().fold(0, |sum: u64, len| sum.saturating_add(*len));
    let mut length = total.div_ceil(2000).clamp(LEAST, MOST).next_power_of_two();
    let pieces = |length: u64| lengths.iter().map(|len| len.div_ceil(length)).sum::<u64>();
    let most = 65_536.max(2 * lengths.len() as u64);
    if format == Format::Hybrid && lengths.len() > 1 {
        let filled = |length: u64| pieces(length).saturating_mul(length).saturating_sub(total);
        while length > LEAST && filled(length) > total / 4 && pieces(length / 2) <= most {
            length /= 2;
        }
    }
    length as u32
}

impl InfoBuilder {
    /// Sorts and aligns the files.
    ///
    /// # Errors
    /// If no valid torrent can come of it, whatever the files contain.
    pub fn plan(mut self) -> Result<Plan, BuildError> {
        self.check_names()?;
        self.check_piece_length()?;
        let mut files = std::mem::take(&mut self.files);
        files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        check_paths(&files)?;
        let files = files.into_iter().map(entry).collect::<Result<Vec<_>, _>>()?;
        let plan = Plan { files: self.align(files), builder: self };
        plan.check_size()?;
        Ok(plan)
    }

    fn check_names(&self) -> Result<(), BuildError> {
        if self.name.is_empty() {
            return Err(BuildError::NoName);
        }
        let named = |f: &NewFile| f.symlink.is_none() && f.path == FilePath::new([&self.name]);
        match &self.files[..] {
            [] => Err(MetainfoError::NoFiles.into()),
            [file] if self.single_file && named(file) => Ok(()),
            _ if self.single_file => Err(BuildError::SingleFile(self.name.clone())),
            _ => Ok(()),
        }
    }

    fn check_piece_length(&self) -> Result<(), MetainfoError> {
        let length = self.piece_length;
        if self.format.has_v2() {
            let legal = length.is_power_of_two() && (BLOCK_LEN..=MAX_PIECE_LENGTH).contains(&length);
            return if legal { Ok(()) } else { Err(MetainfoError::PieceLengthV2(length.into())) };
        }
        let legal = (1..=MAX_PIECE_LENGTH).contains(&length);
        if legal { Ok(()) } else { Err(MetainfoError::PieceLength(length.into())) }
    }

    /// Puts pad files between the files of a hybrid.
    fn align(&self, files: Vec<FileEntry>) -> Vec<FileEntry> {
        if self.format != Format::Hybrid {
            return files;
        }
        let last = files.len() - 1;
        let mut aligned = Vec::with_capacity(files.len() * 2);
        for (i, file) in files.into_iter().enumerate() {
            let over = file.length % u64::from(self.piece_length);
            aligned.push(file);
            if over != 0 && i != last {
                aligned.push(pad(u64::from(self.piece_length) - over));
            }
        }
        aligned
    }
}

fn entry(file: NewFile) -> Result<FileEntry, MetainfoError> {
    if file.symlink.is_some() && file.length != 0 {
        return Err(MetainfoError::file(&file.path, FileProblem::LinkWithLength));
    }
    let attr = Attr { pad: false, symlink: file.symlink.is_some(), ..file.attr };
    Ok(FileEntry { path: file.path, length: file.length, attr, symlink: file.symlink, pieces_root: None })
}

fn pad(length: u64) -> FileEntry {
    FileEntry {
        path: FilePath::new([".pad", &length.to_string()]),
        length,
        attr: Attr { pad: true, ..Attr::default() },
        symlink: None,
        pieces_root: None,
    }
}

/// Whether sorted paths can stand beside each other. A folder sorts directly before what is in it.
fn check_paths(files: &[NewFile]) -> Result<(), MetainfoError> {
    for file in files {
        let targets = file.symlink.iter().map(|t| t.check().map_err(|_| FileProblem::NoTarget));
        let problem = std::iter::once(file.path.check()).chain(targets).find_map(Result::err);
        problem.map_or(Ok(()), |problem| Err(MetainfoError::file(&file.path, problem)))?;
    }
    for pair in files.windows(2) {
        let (a, b) = (&pair[0].path, &pair[1].path);
        if a == b {
            return Err(MetainfoError::file(b, FileProblem::DuplicatePath));
        }
        if b.is_below(a) {
            return Err(MetainfoError::file(a, FileProblem::FileAndFolder));
        }
    }
    Ok(())
}

impl Plan {
    /// The files in the torrent's order, pad files put in.
    pub fn files(&self) -> &[FileEntry] {
        &self.files
    }

    /// Bytes in a piece.
    pub const fn piece_length(&self) -> u32 {
        self.builder.piece_length
    }

    /// Which halves it will have.
    pub const fn format(&self) -> Format {
        self.builder.format
    }

    /// Writes the info dictionary; also returns the piece layers that go beside it.
    ///
    /// # Errors
    /// If the hashes are not as many as the plan needs, or a layer does not belong to its root.
    pub fn finish(mut self, hashes: NewHashes) -> Result<(Info, PieceLayers), BuildError> {
        let format = self.builder.format;
        if hashes.v1.is_some() != format.has_v1() || hashes.v2.is_some() != format.has_v2() {
            return Err(BuildError::Hashes);
        }
        let v2 = hashes.v2.unwrap_or_default();
        if format.has_v2() {
            self.set_roots(&v2)?;
        }
        let mut raw = Vec::new();
        write_dict(&mut raw, |d| self.write(d, hashes.v1.as_deref()));
        let info = Info::parse(Arc::from(raw))?;
        let found = v2.iter().map(|f| (&f.pieces_root.0[..], &f.layer[..])).collect();
        let layers = proven_layers(&info, &found)?;
        Ok((info, layers))
    }

    fn check_size(&self) -> Result<(), MetainfoError> {
        let piece = u64::from(self.builder.piece_length);
        let total = self.files.iter().try_fold(0i64, |sum, f| sum.checked_add_unsigned(f.length));
        let total = total.ok_or(MetainfoError::TotalSize)?.unsigned_abs();
        let pieces = match self.builder.format {
            Format::V2 => self.files.iter().map(|f| f.length.div_ceil(piece)).sum(),
            Format::V1 | Format::Hybrid => total.div_ceil(piece),
        };
        if pieces > u64::from(MAX_PIECES) { Err(MetainfoError::TooManyPieces(pieces)) } else { Ok(()) }
    }

    fn set_roots(&mut self, hashes: &[FileHashes]) -> Result<(), BuildError> {
        let mut files: Vec<_> = self.files.iter_mut().filter(|f| f.length > 0 && !f.attr.pad).collect();
        if files.len() != hashes.len() {
            return Err(BuildError::Hashes);
        }
        files.iter_mut().zip(hashes).for_each(|(file, hash)| file.pieces_root = Some(hash.pieces_root));
        Ok(())
    }

    fn write(&self, d: &mut DictWriter<'_>, pieces: Option<&[u8]>) {
        if self.builder.format.has_v2() {
            let files: Vec<_> = self.files.iter().filter(|f| !f.attr.pad).collect();
            d.dict("file tree", |d| write_tree(d, &files, 0));
            d.int("meta version", 2);
        }
        if let Some(pieces) = pieces {
            self.write_v1(d, pieces);
        }
        d.bytes("name", &self.builder.name);
        d.int("piece length", self.builder.piece_length.into());
        if self.builder.private {
            d.int("private", 1);
        }
        self.builder.source.iter().for_each(|source| d.bytes("source", source));
    }

    fn write_v1(&self, d: &mut DictWriter<'_>, pieces: &[u8]) {
        match &self.files[..] {
            [file] if self.builder.single_file => write_file(d, file),
            files => d.list("files", |l| files.iter().for_each(|file| write_listed(l, file))),
        }
        d.bytes("pieces", pieces);
    }
}

/// Writes the part of a v2 tree that holds `files`, whose paths agree in their first `depth` bytes.
fn write_tree(d: &mut DictWriter<'_>, files: &[&FileEntry], depth: usize) {
    for group in files.chunk_by(|a, b| a.path.component_at(depth) == b.path.component_at(depth)) {
        let file = group[0];
        let name = file.path.component_at(depth);
        let below = depth + name.len() + 1;
        d.dict(name, |d| {
            if file.path.len() < below {
                d.dict("", |d| {
                    write_file(d, file);
                    file.pieces_root.iter().for_each(|root| d.bytes("pieces root", root.0));
                });
            } else {
                write_tree(d, group, below);
            }
        });
    }
}

fn write_listed(l: &mut ListWriter<'_>, file: &FileEntry) {
    l.dict(|d| {
        d.list("path", |l| file.path.components().for_each(|c| l.bytes(c)));
        write_file(d, file);
    });
}

/// What both halves say of a file besides its path.
fn write_file(d: &mut DictWriter<'_>, file: &FileEntry) {
    if !file.attr.is_empty() {
        d.bytes("attr", file.attr.to_string());
    }
    d.int("length", file.length.cast_signed());
    file.symlink.iter().for_each(|t| d.list("symlink path", |l| t.components().for_each(|c| l.bytes(c))));
}
