//! Which files a link asks for (BEP 53).

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use super::MagnetError;
use crate::ids::FileIndex;

/// The highest file index a selection may name, so that listing one stays cheap.
pub const MAX_SELECTED_INDEX: u32 = (1 << 20) - 1;

/// A set of file indices, kept as sorted ranges that neither touch nor overlap. Never empty.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Selection(Vec<(u32, u32)>);

impl Selection {
    /// From indices in any order; `None` if there are none, or one is above [`MAX_SELECTED_INDEX`].
    pub fn new(indices: impl IntoIterator<Item = FileIndex>) -> Option<Self> {
        Self::from_ranges(indices.into_iter().map(|i| (i.0, i.0)).collect())
    }

    /// Whether `file` is selected.
    pub fn contains(&self, file: FileIndex) -> bool {
        let at = self.0.partition_point(|(_, last)| *last < file.0);
        self.0.get(at).is_some_and(|(first, _)| *first <= file.0)
    }

    /// The ranges, in order.
    pub fn ranges(&self) -> impl Iterator<Item = RangeInclusive<u32>> + '_ {
        self.0.iter().map(|(first, last)| *first..=*last)
    }

    /// The files, in order.
    pub fn files(&self) -> impl Iterator<Item = FileIndex> + '_ {
        self.ranges().flatten().map(FileIndex)
    }

    fn from_ranges(mut ranges: Vec<(u32, u32)>) -> Option<Self> {
        ranges.sort_unstable();
        ranges.dedup_by(|next, kept| {
            let joins = next.0 <= kept.1.saturating_add(1);
            if joins {
                kept.1 = kept.1.max(next.1);
            }
            joins
        });
        ranges.last().filter(|(_, last)| *last <= MAX_SELECTED_INDEX)?;
        Some(Self(ranges))
    }
}

impl FromStr for Selection {
    type Err = MagnetError;

    /// Reads `0,2,6-8`.
    fn from_str(list: &str) -> Result<Self, MagnetError> {
        let ranges: Option<_> = list.split(',').map(parse_range).collect();
        ranges.and_then(Self::from_ranges).ok_or(MagnetError::BadSelection)
    }
}

fn parse_range(text: &str) -> Option<(u32, u32)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (parse_index(first)?, parse_index(last)?);
    (first <= last).then_some((first, last))
}

fn parse_index(digits: &str) -> Option<u32> {
    // `parse` would take a sign.
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (first, last)) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            write!(f, "{comma}{first}")?;
            if last > first {
                write!(f, "-{last}")?;
            }
        }
        Ok(())
    }
}
