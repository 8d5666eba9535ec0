//! Bytes ↔ pieces ↔ blocks ↔ files: where every byte of a torrent lies (BEP 3 "pieces", BEP 47 pad files, BEP 52
//! piece alignment).
//!
//! Two ways to map files onto pieces exist. In v1 and hybrid torrents all files, pad files among them, are one
//! stream that is cut every `piece length` bytes. In v2-only torrents each file starts at a piece boundary and the
//! last piece of each file ends where the file ends; the gap up to the next boundary belongs to nobody.
//!
//! A layout knows lengths and nothing else: no names, no hashes, no limits on what a peer may ask in one request.
//! Finding a place costs O(log files); no call walks over empty files one by one, for a hostile torrent may hold a
//! million of them.
//!
//! Tested against a model that lays out one byte at a time.

mod spans;
#[cfg(test)]
mod tests;

use std::ops::Range;

use crate::ids::{BLOCK_LEN, Block, FileIndex, PieceIndex};
use crate::metainfo::{Format, Info};

pub use spans::{Span, Spans};

/// Why files cannot be laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// The piece length is zero.
    #[error("the piece length is zero")]
    ZeroPieceLength,
    /// More files than a 32-bit index can name.
    #[error("too many files")]
    TooManyFiles,
    /// More bytes than 64 bits can count.
    #[error("the files are too large to be addressed")]
    TooLarge,
    /// More pieces than the 32-bit index of the peer protocol can name.
    #[error("the piece length is too small for the files: more than 2^32 - 1 pieces")]
    TooManyPieces,
}

/// Where one file lies, in bytes of the piece space (in which piece `n` starts at `n * piece_length`).
#[derive(Clone, Copy, Debug)]
struct Extent {
    start: u64,
    len: u64,
}

impl Extent {
    const fn end(&self) -> u64 {
        self.start + self.len
    }
}

/// The part of a v2 file that one piece holds (BEP 52: no piece holds parts of two files).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilePiece {
    /// The file.
    pub file: FileIndex,
    /// 0-based index among the file's own pieces: the index into its piece layer.
    pub index: u32,
    /// Bytes of the file in this piece, pad files not counted; 1..=`piece_length`.
    pub len: u32,
}

/// Where every byte of a torrent lies. Immutable; 17 bytes a file.
#[derive(Clone, Debug)]
pub struct Layout {
    piece_length: u32,
    num_pieces: u32,
    aligned: bool,
    /// Bytes in all pieces together.
    total_len: u64,
    /// End of the last piece in the piece space.
    end: u64,
    /// In torrent order; starts and ends never decrease.
    files: Vec<Extent>,
    pads: Vec<bool>,
    /// Whether there is a pad file with bytes.
    padded: bool,
}

impl Layout {
    /// Lays out `files`, given as (length in bytes, is a pad file), in torrent order. `aligned` is true for v2-only
    /// torrents, whose files all start at a piece boundary (BEP 52).
    ///
    /// # Errors
    /// If the piece length is zero, or bytes, files or pieces cannot be counted.
    pub fn new(
        piece_length: u32,
        files: impl IntoIterator<Item = (u64, bool)>,
        aligned: bool,
    ) -> Result<Self, LayoutError> {
        if piece_length == 0 {
            return Err(LayoutError::ZeroPieceLength);
        }
        let mut layout = Self {
            piece_length,
            num_pieces: 0,
            aligned,
            total_len: 0,
            end: 0,
            files: Vec::new(),
            pads: Vec::new(),
            padded: false,
        };
        files.into_iter().try_for_each(|(len, pad)| layout.push(len, pad))?;
        u32::try_from(layout.files.len()).map_err(|_| LayoutError::TooManyFiles)?;
        let pieces = layout.end.div_ceil(piece_length.into());
        layout.num_pieces = u32::try_from(pieces).map_err(|_| LayoutError::TooManyPieces)?;
        Ok(layout)
    }

    /// The layout of a torrent's files.
    ///
    /// # Errors
    /// As [`Layout::new`]; none for the info dictionaries that [`Info::parse`] lets through, save on absurd sizes.
    pub fn of(info: &Info) -> Result<Self, LayoutError> {
        let files = info.files().iter().map(|file| (file.length, file.attr.pad));
        Self::new(info.piece_length(), files, info.format() == Format::V2)
    }

    fn push(&mut self, len: u64, pad: bool) -> Result<(), LayoutError> {
        let start = if self.aligned {
            self.end.checked_next_multiple_of(self.piece_length.into()).ok_or(LayoutError::TooLarge)?
        } else {
            self.end
        };
        let end = start.checked_add(len).ok_or(LayoutError::TooLarge)?;
        if len > 0 {
            self.end = end;
            self.total_len += len;
            self.padded |= pad;
        }
        self.files.push(Extent { start, len });
        self.pads.push(pad);
        Ok(())
    }

    /// Number of pieces.
    pub const fn num_pieces(&self) -> u32 {
        self.num_pieces
    }

    /// Nominal length of a piece in bytes; the last one (v2-only: the last one of each file) may be shorter.
    pub const fn piece_length(&self) -> u32 {
        self.piece_length
    }

    /// Number of files, pad files counted.
    pub fn num_files(&self) -> u32 {
        self.files.len() as u32
    }

    /// Bytes in all pieces together: with pad files, without the alignment gaps of v2-only torrents.
    pub const fn total_len(&self) -> u64 {
        self.total_len
    }

    /// Length of a piece in bytes; 0 beyond the last piece.
    pub fn piece_len(&self, piece: PieceIndex) -> u32 {
        if piece.0 >= self.num_pieces {
            return 0;
        }
        let start = self.piece_start(piece);
        let end = if self.aligned { self.files[self.file_at(start)].end() } else { self.end };
        (end - start).min(self.piece_length.into()) as u32
    }

    /// Bytes of a piece up to the pad file that ends it, or all of them if none does. What follows is zeros, which
    /// nobody needs to ask for (BEP 47).
    pub fn content_len(&self, piece: PieceIndex) -> u32 {
        let len = self.piece_len(piece);
        if !self.padded || len == 0 {
            return len;
        }
        let start = self.piece_start(piece);
        let last = self.file_at(start + u64::from(len) - 1);
        let content = self.files[last].start.saturating_sub(start).min(len.into()) as u32;
        if self.pads[last] { content } else { len }
    }

    /// Number of blocks in a piece; the last one may be shorter than [`BLOCK_LEN`].
    pub fn blocks_in(&self, piece: PieceIndex) -> u32 {
        self.piece_len(piece).div_ceil(BLOCK_LEN)
    }

    /// The `n`-th block of a piece; empty (`len` 0) beyond the last one. A block that holds the end of the piece's
    /// [content](Self::content_len) ends there.
    pub fn block(&self, piece: PieceIndex, n: u32) -> Block {
        block_of(piece, self.piece_len(piece), self.content_len(piece), n)
    }

    /// The blocks of a piece, in order.
    pub fn blocks(&self, piece: PieceIndex) -> impl ExactSizeIterator<Item = Block> + use<> {
        let (len, content) = (self.piece_len(piece), self.content_len(piece));
        (0..len.div_ceil(BLOCK_LEN)).map(move |n| block_of(piece, len, content, n))
    }

    /// Whether `block` names bytes that exist: not empty and within one piece. How long a request may be is another
    /// question, which the connection answers.
    pub fn contains(&self, block: &Block) -> bool {
        let end = block.offset.checked_add(block.len);
        block.len > 0 && end.is_some_and(|end| end <= self.piece_len(block.piece))
    }

    /// Whether a peer may ask for `block`: it exists, or it begins where bytes exist and reaches on into the gap that
    /// fills a v2 file's last piece, which then reads as zeros. BEP 52 knows no such request, but libtorrent 2.0 takes
    /// that piece for a full one (`file_storage::piece_size`) and asks for its last block whole.
    pub fn serves(&self, block: &Block) -> bool {
        let end = block.offset.checked_add(block.len);
        let gap = self.aligned && block.offset < self.piece_len(block.piece);
        self.contains(block) || (gap && block.len > 0 && end.is_some_and(|end| end <= self.piece_length))
    }

    /// Whether all bytes of `block` lie in pad files, so that they are known to be zero and need no request (BEP 47).
    pub fn is_pad(&self, block: &Block) -> bool {
        self.contains(block) && self.spans(block.piece, block.offset, block.len).all(|span| span.pad)
    }

    /// The parts of files that `len` bytes at `offset` in `piece` are made of, in order and none of them empty. What
    /// reaches beyond the end of the piece is cut off.
    pub fn spans(&self, piece: PieceIndex, offset: u32, len: u32) -> Spans<'_> {
        let piece_len = self.piece_len(piece);
        let offset = offset.min(piece_len);
        Spans::new(self, self.piece_start(piece) + u64::from(offset), len.min(piece_len - offset))
    }

    /// The pieces that hold bytes of `file`; empty for an empty file and beyond the last file.
    pub fn pieces_of(&self, file: FileIndex) -> Range<u32> {
        let Some(extent) = self.files.get(file.0 as usize).filter(|f| f.len > 0) else { return 0..0 };
        let length = u64::from(self.piece_length);
        (extent.start / length) as u32..extent.end().div_ceil(length) as u32
    }

    /// The files with bytes in `piece`, in order, pad files among them.
    pub fn files_of(&self, piece: PieceIndex) -> impl Iterator<Item = FileIndex> + '_ {
        self.spans(piece, 0, self.piece_length).map(|span| span.file)
    }

    /// Length of a file in bytes; 0 beyond the last file.
    pub fn file_len(&self, file: FileIndex) -> u64 {
        self.files.get(file.0 as usize).map_or(0, |f| f.len)
    }

    /// Whether a file is a pad file (BEP 47): it reads as zeros and is never written.
    pub fn file_is_pad(&self, file: FileIndex) -> bool {
        self.pads.get(file.0 as usize).is_some_and(|&pad| pad)
    }

    /// The file that a v2 or hybrid `piece` belongs to, and the piece's place in it. `None` beyond the last piece, if
    /// the file does not start at a piece boundary (a v1 torrent) or if the piece is nothing but padding.
    pub fn file_piece(&self, piece: PieceIndex) -> Option<FilePiece> {
        let span = self.spans(piece, 0, self.piece_length).next()?;
        let length = u64::from(self.piece_length);
        (!span.pad && span.offset.is_multiple_of(length)).then(|| FilePiece {
            file: span.file,
            index: (span.offset / length) as u32,
            len: span.len,
        })
    }

    fn piece_start(&self, piece: PieceIndex) -> u64 {
        u64::from(piece.0) * u64::from(self.piece_length)
    }

    /// Index of the first file that ends after `pos`. For a `pos` within a piece that is the file that holds it.
    fn file_at(&self, pos: u64) -> usize {
        self.files.partition_point(|f| f.end() <= pos)
    }
}

fn block_of(piece: PieceIndex, piece_len: u32, content_len: u32, n: u32) -> Block {
    let offset = n.saturating_mul(BLOCK_LEN).min(piece_len);
    let end = if offset < content_len { content_len } else { piece_len };
    Block { piece, offset, len: BLOCK_LEN.min(end - offset) }
}
