//! What is saved of one torrent, and how far it may be believed.

use samara_proto::bencode::{self, Limits, ListWriter, Value};
use samara_proto::bitfield::Bitfield;
use samara_proto::ids::{FileIndex, PieceIndex};
use samara_proto::layout::Layout;
use sha2::{Digest, Sha256};

use crate::disk::Stamp;

/// Raised when the meaning of a field changes; records of another version are ignored.
const VERSION: i64 = 1;

/// What a torrent's files looked like, in sixteen bytes: as good as their stamps for telling whether any changed, and
/// small enough to be kept for each of very many torrents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint([u8; 16]);

impl Fingerprint {
    /// Of these files, in the torrent's order.
    pub fn of(files: &[Option<Stamp>]) -> Self {
        let mut hash = Sha256::new();
        for file in files {
            let Stamp { len, mtime, whole } = file.unwrap_or_default();
            hash.update([u8::from(file.is_some()), u8::from(whole)]);
            hash.update(len.to_le_bytes());
            hash.update(mtime.to_le_bytes());
        }
        let mut print = [0; 16];
        print.copy_from_slice(&hash.finalize()[..16]);
        Self(print)
    }
}

/// What is saved of one torrent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Pieces that are verified and synced.
    pub have: Bitfield,
    /// What each file looked like, in the torrent's order; `None` for what has no file of its own.
    pub files: Vec<Option<Stamp>>,
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
                    l.list(|l| file.iter().for_each(|file| write_stamp(l, file)));
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
        Some(Self {
            have: Bitfield::from_bytes(dict.get("have")?.as_bytes()?, pieces)?,
            files: dict.get("files")?.as_list()?.iter().map(read_stamp).collect::<Option<_>>()?,
            torrent: dict.get("torrent")?.as_bytes()?.to_vec(),
        })
    }

    /// The pieces that need not be hashed again, given what the files look like `now`: those of files that still have
    /// their final name, size and modification time, and those of unfinished files that did not shrink or grow older.
    /// Files with `None` in `now` (pads, and files that are not wanted) hold nothing back.
    pub fn trusted(&self, layout: &Layout, now: &[Option<Stamp>]) -> Bitfield {
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

    fn intact(&self, layout: &Layout, now: &[Option<Stamp>], piece: PieceIndex) -> bool {
        layout.spans(piece, 0, layout.piece_len(piece)).all(|span| {
            let FileIndex(i) = span.file;
            match (self.files[i as usize], now[i as usize]) {
                (_, None) => true,
                (None, Some(_)) => false,
                (Some(then), Some(file)) if then.whole => file == then,
                (Some(then), Some(file)) => {
                    file.mtime >= then.mtime && file.len >= span.offset + u64::from(span.len)
                }
            }
        })
    }
}

fn write_stamp(l: &mut ListWriter<'_>, file: &Stamp) {
    l.int(file.whole.into());
    l.int(i64::try_from(file.len).unwrap_or(i64::MAX));
    l.int(file.mtime);
}

/// An empty list is no stamp; anything but that or a stamp is damage.
fn read_stamp(value: Value<'_>) -> Option<Option<Stamp>> {
    let numbers: Vec<i64> = value.as_list()?.iter().map(Value::as_int).collect::<Option<_>>()?;
    match numbers[..] {
        [] => Some(None),
        [whole, len, mtime] => Some(Some(Stamp { whole: whole != 0, len: u64::try_from(len).ok()?, mtime })),
        _ => None,
    }
}
