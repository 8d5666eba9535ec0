//! Who may use a tracker for what: lists of torrents and of users' keys, and how often one address may ask.
//!
//! No specification: the formats of the lists are those of opentracker's (a hash in hex a line), with comments. A line that
//! is neither refuses the whole list, and is named: half a deny list is worse than yesterday's.
//!
//! Tested beside each part, and by the fuzz target `tracker_lists`.

mod lists;
mod throttle;

pub use lists::{BadLine, HashList, KeyList, MAX_KEY, MIN_KEY};
pub use throttle::{Rate, Throttle};
