//! Pieces that were had and cannot be read any more: somebody deleted, truncated or replaced a file, or the medium fails.
//!
//! Then these pieces are not had, and the owner hears which ([`DiskEvent::Gone`]); the rest of the torrent goes on. All
//! that is known to be missing goes at once: every piece of a file that is not there, and what lies beyond the end of one
//! that is too short. A file under its final name that is not whole any more counts as found there: it is moved to its
//! `.part` by the next write. Errors that only say that the system is out of something lose nothing. Content that changed
//! and can be read is not noticed: that would take hashing all that is served.
//!
//! Tested with peers, in the engine's `tests/lost.rs`.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use samara_proto::ids::{FileIndex, PieceIndex};

use super::event::{DiskEvent, StorageError};
use super::storage::{Io, PARTS, Storage};
use super::survey::Place;

impl Storage {
    /// `piece` could not be read.
    pub(super) fn lose(&self, io: &Io, piece: PieceIndex, error: StorageError) {
        if error.is_transient() {
            return tracing::warn!(%error, "a read failed");
        }
        let mut lost = BTreeSet::from([piece]);
        for file in self.spec.layout.files_of(piece).filter(|file| !self.spec.layout.file_is_pad(*file)) {
            lost.extend(self.missing(io, file));
        }
        let pieces: Vec<_> = lost.into_iter().filter(|piece| self.withdraw(*piece)).collect();
        if !pieces.is_empty() {
            self.events.send(DiskEvent::Gone { pieces, error });
        }
    }

    /// Pieces of a file that cannot be there, by its length.
    fn missing(&self, io: &Io, file: FileIndex) -> Vec<PieceIndex> {
        let (layout, place) = (&self.spec.layout, self.files.place(file));
        let shelved = place == Place::Shelved;
        let len = match shelved {
            true if self.spec.parts.is_file() => u64::MAX,
            true => 0,
            false => self.files.stat(file).map_or(0, |meta| meta.len),
        };
        // What is open may be what was deleted.
        io.handles.forget_file((self.id, if shelved { PARTS } else { file.0 }));
        if len == 0 && !shelved {
            self.files.lose(file);
        }
        let end = |piece: PieceIndex| {
            let spans = layout.spans(piece, 0, layout.piece_length()).filter(|span| span.file == file);
            spans.map(|span| span.offset + u64::from(span.len)).max().unwrap_or(0)
        };
        layout.pieces_of(file).map(PieceIndex).filter(|piece| end(*piece) > len).collect()
    }

    /// A piece is not had any more; false if it was not before.
    fn withdraw(&self, piece: PieceIndex) -> bool {
        if !self.have.remove(piece) {
            return false;
        }
        self.forget_unsynced(piece);
        for file in self.spec.layout.files_of(piece).filter(|file| !self.spec.layout.file_is_pad(*file)) {
            let whole =
                self.lacking.get(file.0 as usize).is_some_and(|n| n.fetch_add(1, Ordering::AcqRel) == 0);
            if whole {
                self.files.reopen(file);
                self.unfinished.fetch_add(self.is_wanted(file).into(), Ordering::AcqRel);
            }
        }
        true
    }
}
