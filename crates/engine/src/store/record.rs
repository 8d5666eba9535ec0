//! What is saved of one torrent, and how far it may be believed.

use std::fs;
use std::path::Path;
use std::time::UNIX_EPOCH;

use samara_proto::bencode::{self, Limits, Value};
use samara_proto::bitfield::Bitfield;
use samara_proto::ids::{FileIndex, PieceIndex};
use samara_proto::layout::Layout;

/// Raised when the meaning of a field changes; records of another version are ignored.
const VERSION: i64 = 1;

/// What a file looked like when the record was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileStamp {
    /// It had its final name.
    pub whole: bool,
    /// Its length in bytes.
    pub size: u64,
    /// Its modification time in nanoseconds since 1970.
    pub modified: i64,
}

/// What is saved of one torrent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Pieces that are verified and synced.
    pub have: Bitfield,
    /// One for each file in the torrent's order; zeros where there is none.
    pub files: Vec<FileStamp>,
    /// The `.torrent`, so that a magnet link needs its metadata only once.
    pub torrent: Vec<u8>,
}

impl Record {
    /// The saved form.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        bencode::write_dict(&mut out, |d| {
            d.list("files", |l| {
                for file in &self.files {
                    l.int(file.whole.into());
                    l.int(i64::try_from(file.size).unwrap_or(i64::MAX));
                    l.int(file.modified);
                }
            });
            d.bytes("have", self.have.as_bytes());
            d.int("pieces", self.have.len().into());
            d.bytes("torrent", &self.torrent);
            d.int("version", VERSION);
        });
        out
    }

    /// Reads the saved form; `None` if it is damaged or of another version.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let dict = bencode::parse(bytes, Limits::METAINFO).ok()?.as_dict()?;
        if dict.get("version")?.as_int()? != VERSION {
            return None;
        }
        let pieces = u32::try_from(dict.get("pieces")?.as_int()?).ok()?;
        let numbers: Vec<i64> =
            dict.get("files")?.as_list()?.iter().map(Value::as_int).collect::<Option<_>>()?;
        let (files, []) = numbers.as_chunks() else { return None };
        let stamp = |&[whole, size, modified]: &[i64; 3]| {
            Some(FileStamp { whole: whole != 0, size: u64::try_from(size).ok()?, modified })
        };
        Some(Self {
            have: Bitfield::from_bytes(dict.get("have")?.as_bytes()?, pieces)?,
            files: files.iter().map(stamp).collect::<Option<_>>()?,
            torrent: dict.get("torrent")?.as_bytes()?.to_vec(),
        })
    }

    /// The pieces that need not be hashed again, given what the files look like `now`: those of files that still have
    /// their final name, size and modification time, and those of unfinished files that did not shrink or grow older.
    /// Files with `None` in `now` (pads, and files that are not wanted) hold nothing back.
    pub fn trusted(&self, layout: &Layout, now: &[Option<FileStamp>]) -> Bitfield {
        let mut trusted = Bitfield::new(layout.num_pieces());
        if self.have.len() != layout.num_pieces() || self.files.len() != now.len() {
            return trusted;
        }
        for piece in self.have.iter() {
            if self.intact(layout, now, piece) {
                trusted.insert(piece);
            }
        }
        trusted
    }

    fn intact(&self, layout: &Layout, now: &[Option<FileStamp>], piece: PieceIndex) -> bool {
        layout.spans(piece, 0, layout.piece_len(piece)).all(|span| {
            let FileIndex(i) = span.file;
            match (self.files[i as usize], now[i as usize]) {
                (_, None) => true,
                (then, Some(file)) if then.whole => file == then,
                (then, Some(file)) => {
                    file.modified >= then.modified && file.size >= span.offset + u64::from(span.len)
                }
            }
        })
    }
}

/// What a file looks like now; zeros if it is not there. `part` is its name while it is unfinished.
pub fn stamp(path: &Path, part: &Path) -> FileStamp {
    let look = |path: &Path, whole| {
        let meta = fs::symlink_metadata(path).ok().filter(fs::Metadata::is_file)?;
        let since = meta.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
        let modified = i64::try_from(since.as_nanos()).unwrap_or(i64::MAX);
        Some(FileStamp { whole, size: meta.len(), modified })
    };
    look(path, true).or_else(|| look(part, false)).unwrap_or_default()
}
