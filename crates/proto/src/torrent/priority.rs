//! How much each file and piece is wanted.
//!
//! A piece is wanted as much as the most wanted of its files, unless it was given a priority of its own. Memory: nothing
//! while everything is wanted alike, a byte a piece once something differs, and an entry for each piece with a priority
//! of its own. Costs O(files + pieces) when the selection changes and O(1) after that. Which piece comes first among
//! equals is `rarity`'s choice. Tested against a model.

use std::collections::BTreeMap;

use crate::bitfield::Bitfield;
use crate::ids::{FileIndex, PieceIndex};
use crate::layout::Layout;

/// How much a file or a piece is wanted. Pieces of a higher priority are begun before all of a lower one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Priority {
    /// Not at all.
    Skip,
    /// After everything else.
    Low,
    /// As usual.
    #[default]
    Normal,
    /// Before everything else.
    High,
}

impl Priority {
    /// Whether it is to be had at all.
    pub const fn is_wanted(self) -> bool {
        !matches!(self, Self::Skip)
    }
}

impl From<bool> for Priority {
    /// `Normal` for what is wanted.
    fn from(wanted: bool) -> Self {
        if wanted { Self::Normal } else { Self::Skip }
    }
}

/// Priorities of all pieces that may be fetched: `None` if they are equal.
pub(super) type Levels = Option<Box<[Priority]>>;

/// What the user asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Priorities {
    /// By file; `None` for all alike. Files beyond its end are not wanted.
    files: Option<Vec<Priority>>,
    /// Pieces with a priority of their own.
    pieces: BTreeMap<PieceIndex, Priority>,
}

impl Priorities {
    pub(super) const fn new(files: Option<Vec<Priority>>) -> Self {
        Self { files, pieces: BTreeMap::new() }
    }

    /// Takes other priorities of files; those of single pieces stay.
    pub(super) fn set_files(&mut self, files: Vec<Priority>) {
        self.files = Some(files);
    }

    /// Gives a piece its own priority, or takes it away.
    pub(super) fn set_piece(&mut self, piece: PieceIndex, priority: Option<Priority>) {
        match priority {
            Some(priority) => self.pieces.insert(piece, priority),
            None => self.pieces.remove(&piece),
        };
    }

    pub(super) fn file(&self, file: FileIndex) -> Priority {
        let given = self.files.as_ref().map(|files| files.get(file.0 as usize).copied());
        given.map_or(Priority::Normal, |given| given.unwrap_or(Priority::Skip))
    }

    /// The priority that was given to the piece itself.
    pub(super) fn own(&self, piece: PieceIndex) -> Option<Priority> {
        self.pieces.get(&piece).copied()
    }

    /// The priority of one piece.
    pub(super) fn piece(&self, layout: &Layout, piece: PieceIndex) -> Priority {
        let of_files = || layout.files_of(piece).map(|file| self.file(file)).max();
        self.own(piece).or_else(of_files).unwrap_or(Priority::Skip)
    }

    /// Which pieces are wanted, and how much.
    pub(super) fn resolve(&self, layout: &Layout) -> (Bitfield, Levels) {
        let mut wanted = Bitfield::full(layout.num_pieces());
        if self.files.is_none() && self.pieces.is_empty() {
            return (wanted, None);
        }
        let levels = self.levels(layout);
        for (piece, level) in (0..).map(PieceIndex).zip(&levels) {
            if !level.is_wanted() {
                wanted.remove(piece);
            }
        }
        let differ = levels.iter().any(|level| matches!(level, Priority::Low | Priority::High));
        (wanted, differ.then(|| levels.into()))
    }

    fn levels(&self, layout: &Layout) -> Vec<Priority> {
        let unnamed = if self.files.is_none() { Priority::Normal } else { Priority::Skip };
        let mut levels = vec![unnamed; layout.num_pieces() as usize];
        let named = self.files.iter().flatten().zip((0..layout.num_files()).map(FileIndex));
        for (priority, file) in named.filter(|(priority, _)| priority.is_wanted()) {
            for piece in layout.pieces_of(file) {
                levels[piece as usize] = levels[piece as usize].max(*priority);
            }
        }
        for (piece, priority) in &self.pieces {
            levels.get_mut(piece.0 as usize).into_iter().for_each(|level| *level = *priority);
        }
        levels
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn priority() -> impl Strategy<Value = Priority> {
        prop::sample::select(vec![Priority::Skip, Priority::Low, Priority::Normal, Priority::High])
    }

    proptest! {
        #[test]
        fn a_piece_is_wanted_as_its_most_wanted_file_or_as_it_was_told(
            lens in prop::collection::vec(0u64..50, 1..8),
            files in prop::option::of(prop::collection::vec(priority(), 0..9)),
            pieces in prop::collection::btree_map(0u32..12, priority(), 0..4),
        ) {
            let layout = Layout::new(16, lens.iter().map(|len| (*len, false)), false).unwrap();
            let mut priorities = Priorities::new(files.clone());
            for (piece, priority) in &pieces {
                priorities.set_piece(PieceIndex(*piece), Some(*priority));
            }
            let (wanted, levels) = priorities.resolve(&layout);
            let file = |i: usize| match &files {
                None => Priority::Normal,
                Some(files) => files.get(i).copied().unwrap_or(Priority::Skip),
            };
            for piece in 0..layout.num_pieces() {
                let bytes = u64::from(piece) * 16..(u64::from(piece) + 1) * 16;
                let mut start = 0;
                let mut most = Priority::Skip;
                for (i, len) in lens.iter().enumerate() {
                    if start < bytes.end && start + len > bytes.start && *len > 0 {
                        most = most.max(file(i));
                    }
                    start += len;
                }
                let expected = pieces.get(&piece).copied().unwrap_or(most);
                let piece = PieceIndex(piece);
                prop_assert_eq!(priorities.piece(&layout, piece), expected);
                prop_assert_eq!(wanted.has(piece), expected.is_wanted());
                if let Some(levels) = &levels {
                    prop_assert_eq!(levels[piece.0 as usize], expected);
                } else {
                    prop_assert!(matches!(expected, Priority::Skip | Priority::Normal));
                }
            }
        }
    }

    #[test]
    fn what_is_wanted_alike_costs_nothing() {
        let layout = Layout::new(16, [(100, false), (100, false)], false).unwrap();
        let levels = |files| Priorities::new(files).resolve(&layout).1;
        assert!(levels(None).is_none());
        assert!(levels(Some(vec![Priority::Skip, Priority::Normal])).is_none());
        assert!(levels(Some(vec![Priority::High, Priority::Normal])).is_some());
    }
}
