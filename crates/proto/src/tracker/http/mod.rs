//! Answers of HTTP trackers: read by a client, written by a tracker.
//!
//! Specs: BEP 3 (dictionaries of peers), BEP 7 (`peers6`), BEP 23 (compact peers), BEP 24 (`external ip`), BEP 31
//! (`retry in`), BEP 48 (scrape), and by custom `min interval`, `tracker id` and `warning message`. The body is
//! bencoding, already free of any compression of the transport.
//!
//! Read although no specification allows it, because deployed trackers do it: blanks in front and anything behind;
//! numbers as strings; negative ones (as absent); dictionaries of peers where compact ones were asked for, or packed
//! ones within a list; IPv6 peers among `peers`; hashes that were taken for text in scrapes. Refused: bodies above
//! [`MAX_BODY`], and what is no dictionary.
//!
//! Written: canonical bencoding, appended to a buffer of the caller's.
//!
//! Tested by answers in deployed trackers' shapes, by round trips, and by the fuzz target `tracker_http`.

mod read;
#[cfg(test)]
mod tests;
mod write;

pub use read::{Malformed, parse_announce, parse_scrape};
pub use write::{Head, Peers, write_announce, write_failure, write_scrape};

/// Longest body to read, in bytes: 2,000 peers as dictionaries take less than 600 KiB.
pub const MAX_BODY: usize = 1 << 20;

/// Longest `tracker id` that is kept, in bytes. It comes back in every announce, so a long one would break the URL.
pub const MAX_TRACKER_ID: usize = 256;

/// Most torrents taken from a scrape; more than anybody asks for at once.
pub const MAX_SCRAPE: usize = 1000;
