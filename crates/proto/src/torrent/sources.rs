//! How many addresses are known from whom.

use super::api::Source;

/// Every source, in the order of trust.
const ALL: [Source; 7] =
    [Source::User, Source::Link, Source::Lsd, Source::Tracker, Source::Incoming, Source::Pex, Source::Dht];

/// Addresses known at present, by who told us; of several the most trusted counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sources([u32; ALL.len()]);

impl Sources {
    /// Addresses that this source told.
    pub const fn of(&self, source: Source) -> u32 {
        self.0[source as usize]
    }

    /// Each source with its addresses, in the order of trust.
    pub fn iter(&self) -> impl Iterator<Item = (Source, u32)> + '_ {
        ALL.into_iter().map(|source| (source, self.of(source)))
    }

    pub(super) const fn add(&mut self, source: Source) {
        self.0[source as usize] += 1;
    }

    pub(super) const fn remove(&mut self, source: Source) {
        self.0[source as usize] = self.0[source as usize].saturating_sub(1);
    }
}
