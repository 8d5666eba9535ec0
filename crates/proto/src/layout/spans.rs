//! Walking over the files that a range of bytes is made of.

use super::Layout;
use crate::ids::FileIndex;

/// A contiguous part of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The file.
    pub file: FileIndex,
    /// First byte, counted from the start of the file.
    pub offset: u64,
    /// Length in bytes, never 0.
    pub len: u32,
    /// The file is a pad file: these bytes are zeros and exist on no disk.
    pub pad: bool,
}

/// Iterator of [`Layout::spans`].
#[derive(Clone, Debug)]
pub struct Spans<'a> {
    layout: &'a Layout,
    /// The file that holds `pos`, if anything is left.
    file: usize,
    /// The next byte, in the piece space.
    pos: u64,
    left: u32,
}

impl<'a> Spans<'a> {
    /// `left` bytes from `pos` on, all of them within one piece.
    pub(super) fn new(layout: &'a Layout, pos: u64, left: u32) -> Self {
        let file = if left == 0 { 0 } else { layout.file_at(pos) };
        Self { layout, file, pos, left }
    }

    /// Goes to the file that holds `pos`: mostly the next one, but empty files may lie between.
    fn advance(&mut self) {
        let next = self.file + 1;
        let found = self.layout.files.get(next).is_some_and(|f| f.len > 0);
        self.file = if found { next } else { self.layout.file_at(self.pos) };
    }
}

impl Iterator for Spans<'_> {
    type Item = Span;

    fn next(&mut self) -> Option<Span> {
        if self.left == 0 {
            return None;
        }
        let extent = self.layout.files.get(self.file)?;
        let len = (extent.end() - self.pos).min(self.left.into()) as u32;
        let file = FileIndex(self.file as u32);
        let span = Span { file, offset: self.pos - extent.start, len, pad: self.layout.file_is_pad(file) };
        self.pos += u64::from(len);
        self.left -= len;
        if self.left > 0 {
            self.advance();
        }
        Some(span)
    }
}
