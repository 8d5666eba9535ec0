//! Other files are wanted while a torrent is open; and the part store, from its first byte to its removal.
//!
//! The part store takes the bytes of files that are not wanted and do not exist, of pieces that they share with wanted
//! ones. When such a file is wanted, what is there of it moves to its `.part`, also what is not proven yet. What was
//! wanted and is not any more stays where it is if something of it is on the disk; otherwise it belongs to the part
//! store from now on. All this happens while nobody reads, writes or syncs; it is at most two pieces a file.
//!
//! The part store is removed as soon as nothing in it is needed to prove or serve a piece. One that stands beside the
//! files, for want of a state folder, also goes when a torrent is closed whose wanted files are all whole: the folder
//! is then as clean as if everything had been wanted, and only the pieces at the edges would be fetched again.
//!
//! Tested against a program that writes each file at once, with selections that change at any time
//! (`tests/select.rs`), and through the engine.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use samara_proto::ids::{FileIndex, PieceIndex};

use super::event::StorageError;
use super::spec::Access;
use super::storage::{Io, PARTS, Storage};
use super::survey::Place;

impl Storage {
    /// From now on these files are wanted, by index; files beyond its end are not. `Finished` tells when they are whole,
    /// even if they were before.
    ///
    /// # Errors
    /// If bytes cannot be moved; then some of the files are wanted as before.
    pub(super) fn select(&self, io: &Io, wanted: &[bool]) -> Result<(), StorageError> {
        if self.spec.access == Access::ReadOnly {
            return Ok(());
        }
        let _alone = self.places.write().unwrap_or_else(PoisonError::into_inner);
        for file in self.file_indices() {
            self.select_file(io, file, wanted.get(file.0 as usize).copied().unwrap_or(false))?;
        }
        self.recount();
        if !self.needs_parts() {
            self.remove_parts(io);
        }
        Ok(())
    }

    fn file_indices(&self) -> impl Iterator<Item = FileIndex> + use<> {
        (0..self.spec.files.len() as u32).map(FileIndex)
    }

    fn select_file(&self, io: &Io, file: FileIndex, wanted: bool) -> Result<(), StorageError> {
        if wanted == self.is_wanted(file) {
            return Ok(());
        }
        if !wanted {
            self.files.shelve(file);
        } else if self.files.take_down(file)
            && let Err(error) = self.unshelve(io, file, self.on_shelf(file))
        {
            self.files.shelve_again(file);
            return Err(error);
        }
        if let Some(flag) = self.wanted.get(file.0 as usize) {
            flag.store(wanted, Ordering::Release);
        }
        if wanted { self.settle_file(file) } else { Ok(()) }
    }

    /// Pieces of which the part store holds what belongs to `file`.
    fn on_shelf(&self, file: FileIndex) -> Vec<PieceIndex> {
        let unproven = self.unproven();
        let there = |piece: &PieceIndex| self.have.has(*piece) || unproven.contains(piece);
        self.spec.layout.pieces_of(file).map(PieceIndex).filter(there).collect()
    }

    /// Whether the part store holds something that counts: of pieces that are had, or that may yet be.
    fn needs_parts(&self) -> bool {
        let mut shelved = self.file_indices().filter(|file| self.files.place(*file) == Place::Shelved);
        shelved.any(|file| !self.on_shelf(file).is_empty())
    }

    fn remove_parts(&self, io: &Io) {
        io.handles.forget_file((self.id, PARTS));
        let ours = std::fs::symlink_metadata(&self.spec.parts).is_ok_and(|meta| meta.is_file());
        if ours && let Err(error) = std::fs::remove_file(&self.spec.parts) {
            tracing::warn!(%error, "the part store cannot be removed");
        }
    }

    /// The torrent is being closed: removes the part store if it is of no use any more.
    pub(super) fn tidy(&self, io: &Io) {
        if self.spec.access == Access::ReadOnly {
            return;
        }
        let beside = self.spec.parts.parent() == Some(&self.spec.root);
        if !self.needs_parts() || (beside && self.is_finished()) {
            self.remove_parts(io);
        }
    }
}
