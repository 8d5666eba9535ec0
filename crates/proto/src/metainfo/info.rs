//! The info dictionary: what is hashed into the info-hash, and what peers exchange (BEP 9).

use std::ops::Range;
use std::sync::Arc;

use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::file::FileFields;
use super::{FileEntry, HybridMismatch, MAX_PIECE_LENGTH, MAX_PIECES, MetainfoError, hybrid, v1, v2};
use crate::bencode::{self, Dict, Limits, Value};
use crate::ids::{BLOCK_LEN, InfoHashV1, InfoHashV2, InfoHashes, PieceIndex, Sha1Hash};

/// Which halves a torrent has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// BEP 3 only.
    V1,
    /// BEP 52 only.
    V2,
    /// Both, describing the same files.
    Hybrid,
}

impl Format {
    /// Whether it has a v1 half.
    pub const fn has_v1(self) -> bool {
        matches!(self, Self::V1 | Self::Hybrid)
    }

    /// Whether it has a v2 half.
    pub const fn has_v2(self) -> bool {
        matches!(self, Self::V2 | Self::Hybrid)
    }
}

impl std::fmt::Display for Format {
    /// `v1`, `v2` or `hybrid`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
            Self::Hybrid => "hybrid",
        })
    }
}

/// A checked info dictionary. Immutable; share it in an [`Arc`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    raw: Arc<[u8]>,
    hashes: InfoHashes,
    format: Format,
    name: String,
    piece_length: u32,
    num_pieces: u32,
    private: bool,
    source: Option<String>,
    files: Box<[FileEntry]>,
    single_file: bool,
    total_size: u64,
    /// Where the v1 hashes lie in `raw`; empty without a v1 half.
    pieces: Range<usize>,
}

impl Info {
    /// Reads and checks an info dictionary; `raw` is exactly its bytes.
    ///
    /// The piece layers of a v2 torrent are not in it and are fetched, or read, elsewhere.
    ///
    /// # Errors
    /// Says which rule of the [module](super) it breaks.
    pub fn parse(raw: Arc<[u8]>) -> Result<Self, MetainfoError> {
        let value = bencode::parse(&raw, Limits::METAINFO)?;
        let dict =
            value.as_dict().ok_or(MetainfoError::WrongType { key: "info", expected: "a dictionary" })?;
        Self::read(dict, raw.clone())
    }

    /// As [`Info::parse`], from bytes already known to be a dictionary.
    pub(super) fn from_dict(dict: Dict<'_>) -> Result<Self, MetainfoError> {
        Self::read(dict, dict.raw().into())
    }

    /// `raw` is what `dict` was read from.
    fn read(dict: Dict<'_>, raw: Arc<[u8]>) -> Result<Self, MetainfoError> {
        let fields = Fields::of(dict);
        let format = fields.format()?;
        let hashes = hash(dict.raw(), format);
        let name = fields.name(&hashes);
        let piece_length = fields.piece_length(format)?;
        let pieces = fields.pieces(format)?;
        let (files, single_file) = fields.files(format, &name, piece_length)?;
        let num_pieces = count_pieces(&files, format, piece_length, pieces)?;
        Ok(Self {
            raw,
            hashes,
            format,
            name,
            piece_length,
            num_pieces,
            private: fields.private.and_then(Value::as_int).is_some_and(|n| n != 0),
            source: text(fields.source),
            total_size: files.iter().filter(|f| !f.attr.pad).map(|f| f.length).sum(),
            files: files.into_boxed_slice(),
            single_file,
            pieces: range_within(dict.raw(), pieces),
        })
    }

    /// Its exact bytes.
    pub const fn raw(&self) -> &Arc<[u8]> {
        &self.raw
    }

    /// As a bencoded value.
    pub(super) fn value(&self) -> Value<'_> {
        Value::checked(&self.raw)
    }

    /// The info-hashes, over [`Info::raw`].
    pub const fn hashes(&self) -> InfoHashes {
        self.hashes
    }

    /// Which halves it has.
    pub const fn format(&self) -> Format {
        self.format
    }

    /// The torrent's name: that of its folder, or of its single file. Not safe to use on disk.
    ///
    /// BEP 52 has it as advice only, so where it is missing the info-hash in hex stands for it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Bytes in a piece; the last one of the torrent (v2: of each file) may be shorter.
    pub const fn piece_length(&self) -> u32 {
        self.piece_length
    }

    /// Whether peers may come from its trackers only (BEP 27).
    pub const fn private(&self) -> bool {
        self.private
    }

    /// A label that makes the info-hash differ from other uploads of the same files.
    pub fn source(&self) -> Option<&str> {
        self.source.as_deref()
    }

    /// The files in the torrent's order, pad files counted. Never empty.
    pub const fn files(&self) -> &[FileEntry] {
        &self.files
    }

    /// Whether it is one file without a folder around it.
    pub const fn is_single_file(&self) -> bool {
        self.single_file
    }

    /// Size of all files in bytes, without pad files.
    pub const fn total_size(&self) -> u64 {
        self.total_size
    }

    /// Number of pieces, at most [`MAX_PIECES`]; 0 if all files are empty.
    pub const fn num_pieces(&self) -> u32 {
        self.num_pieces
    }

    /// The v1 hash of a piece; `None` beyond the end, and without a v1 half.
    pub fn piece_hash_v1(&self, piece: PieceIndex) -> Option<Sha1Hash> {
        let (hashes, _) = self.raw[self.pieces.clone()].as_chunks::<{ Sha1Hash::LEN }>();
        hashes.get(piece.0 as usize).map(|hash| Sha1Hash(*hash))
    }
}

/// The fields of an info dictionary as they stand there.
#[derive(Default)]
struct Fields<'a> {
    /// Those that describe a single v1 file.
    file: FileFields<'a>,
    files: Option<Value<'a>>,
    file_tree: Option<Value<'a>>,
    meta_version: Option<Value<'a>>,
    name: Option<Value<'a>>,
    name_utf8: Option<Value<'a>>,
    piece_length: Option<Value<'a>>,
    pieces: Option<Value<'a>>,
    private: Option<Value<'a>>,
    source: Option<Value<'a>>,
}

impl<'a> Fields<'a> {
    fn of(dict: Dict<'a>) -> Self {
        let mut fields = Self::default();
        for (key, value) in dict {
            let field = match key {
                b"files" => &mut fields.files,
                b"file tree" => &mut fields.file_tree,
                b"meta version" => &mut fields.meta_version,
                b"name" => &mut fields.name,
                b"name.utf-8" => &mut fields.name_utf8,
                b"piece length" => &mut fields.piece_length,
                b"pieces" => &mut fields.pieces,
                b"private" => &mut fields.private,
                b"source" => &mut fields.source,
                _ => {
                    fields.file.take(key, value);
                    continue;
                }
            };
            *field = Some(value);
        }
        fields
    }

    /// BEP 52 wants this looked at first.
    fn format(&self) -> Result<Format, MetainfoError> {
        let has_v1 = self.pieces.is_some() || self.files.is_some() || self.file.length.is_some();
        match self.meta_version.map(|v| int(v, "meta version")).transpose()? {
            None => Ok(Format::V1),
            Some(2) if has_v1 => Ok(Format::Hybrid),
            Some(2) => Ok(Format::V2),
            Some(other) => Err(MetainfoError::UnsupportedVersion(other)),
        }
    }

    fn piece_length(&self, format: Format) -> Result<u32, MetainfoError> {
        let length = int(self.piece_length.ok_or(MetainfoError::Missing("piece length"))?, "piece length")?;
        let checked = u32::try_from(length).ok().filter(|n| (1..=MAX_PIECE_LENGTH).contains(n));
        if format.has_v2() {
            let legal = checked.filter(|n| n.is_power_of_two() && *n >= BLOCK_LEN);
            return legal.ok_or(MetainfoError::PieceLengthV2(length));
        }
        checked.ok_or(MetainfoError::PieceLength(length))
    }

    fn name(&self, hashes: &InfoHashes) -> String {
        let text = |value: Option<Value<'a>>| value.and_then(Value::as_bytes).filter(|name| !name.is_empty());
        let utf8 = text(self.name_utf8).filter(|name| std::str::from_utf8(name).is_ok());
        match utf8.or_else(|| text(self.name)) {
            Some(name) => String::from_utf8_lossy(name).into_owned(),
            None => match hashes {
                InfoHashes::V1(hash) | InfoHashes::Hybrid(hash, _) => hash.to_string(),
                InfoHashes::V2(hash) => hash.to_string(),
            },
        }
    }

    fn tree(&self) -> Result<Dict<'a>, MetainfoError> {
        let tree = self.file_tree.ok_or(MetainfoError::Missing("file tree"))?;
        tree.as_dict().ok_or(MetainfoError::WrongType { key: "file tree", expected: "a dictionary" })
    }

    /// The files of the v1 half, and whether it is a single file.
    fn files_v1(&self, name: &str) -> Result<(Vec<FileEntry>, bool), MetainfoError> {
        match (self.files, self.file.length) {
            (Some(_), Some(_)) => Err(MetainfoError::LengthAndFiles),
            (None, None) => Err(MetainfoError::Missing("length")),
            (None, Some(_)) => Ok((v1::single(&self.file, name)?, true)),
            (Some(files), None) => {
                let list =
                    files.as_list().ok_or(MetainfoError::WrongType { key: "files", expected: "a list" })?;
                Ok((v1::files(list)?, false))
            }
        }
    }

    fn files(
        &self,
        format: Format,
        name: &str,
        piece_length: u32,
    ) -> Result<(Vec<FileEntry>, bool), MetainfoError> {
        match format {
            Format::V1 => self.files_v1(name),
            Format::V2 => Ok((v2::files(self.tree()?)?, v2::is_single(self.tree()?))),
            Format::Hybrid => {
                let (v1, single) = self.files_v1(name)?;
                if single && !v2::is_single(self.tree()?) {
                    return Err(HybridMismatch::Shape.into());
                }
                check_total(&v1)?;
                Ok((hybrid::merge(v1, &v2::files(self.tree()?)?, piece_length)?, single))
            }
        }
    }

    fn pieces(&self, format: Format) -> Result<&'a [u8], MetainfoError> {
        if !format.has_v1() {
            return Ok(&[]);
        }
        let pieces = self.pieces.ok_or(MetainfoError::Missing("pieces"))?;
        let hashes =
            pieces.as_bytes().ok_or(MetainfoError::WrongType { key: "pieces", expected: "a string" })?;
        if hashes.len() % Sha1Hash::LEN != 0 {
            return Err(MetainfoError::PiecesLength(hashes.len()));
        }
        Ok(hashes)
    }
}

fn hash(raw: &[u8], format: Format) -> InfoHashes {
    let v1 = || InfoHashV1(Sha1::digest(raw).into());
    let v2 = || InfoHashV2(Sha256::digest(raw).into());
    match format {
        Format::V1 => InfoHashes::V1(v1()),
        Format::V2 => InfoHashes::V2(v2()),
        Format::Hybrid => InfoHashes::Hybrid(v1(), v2()),
    }
}

/// The size of all files, pad files counted.
fn check_total(files: &[FileEntry]) -> Result<u64, MetainfoError> {
    let sum = files.iter().try_fold(0i64, |sum, f| sum.checked_add_unsigned(f.length));
    sum.map(i64::unsigned_abs).ok_or(MetainfoError::TotalSize)
}

fn count_pieces(
    files: &[FileEntry],
    format: Format,
    piece_length: u32,
    hashes: &[u8],
) -> Result<u32, MetainfoError> {
    let size = check_total(files)?;
    let pieces = match format {
        Format::V2 => files.iter().map(|f| f.length.div_ceil(u64::from(piece_length))).sum(),
        Format::V1 | Format::Hybrid => size.div_ceil(u64::from(piece_length)),
    };
    let hashes = (hashes.len() / Sha1Hash::LEN) as u64;
    if format.has_v1() && hashes != pieces {
        return Err(MetainfoError::PieceCount { hashes, size, pieces });
    }
    let count = u32::try_from(pieces).ok().filter(|n| *n <= MAX_PIECES);
    count.ok_or(MetainfoError::TooManyPieces(pieces))
}

/// Where `inner`, a part of `outer`, lies in it.
fn range_within(outer: &[u8], inner: &[u8]) -> Range<usize> {
    let start = (inner.as_ptr() as usize).wrapping_sub(outer.as_ptr() as usize);
    if inner.is_empty() { 0..0 } else { start..start + inner.len() }
}

fn int(value: Value<'_>, key: &'static str) -> Result<i64, MetainfoError> {
    value.as_int().ok_or(MetainfoError::WrongType { key, expected: "an integer" })
}

/// Text that is there for people: bytes that are not UTF-8 become U+FFFD.
pub(super) fn text(value: Option<Value<'_>>) -> Option<String> {
    value.and_then(Value::as_bytes).map(|bytes| String::from_utf8_lossy(bytes).into_owned())
}
