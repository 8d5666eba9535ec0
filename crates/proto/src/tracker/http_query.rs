//! The query of HTTP announces and scrapes: written by a client, read by a tracker.
//!
//! Specs: BEP 3 (parameters), BEP 7 (`key`), BEP 21 (`paused`), BEP 23 (`compact`), BEP 48 (scrape, and its URL).
//! Hashes and ids are 20 raw bytes, percent-encoded. A reader gets any order, either case of hex, `+` for a blank (what
//! form encoders write), and parameters it does not know; of a parameter given twice the last counts.
//!
//! Refused: an announce without info-hash, peer id or port, or with one that is malformed. Other parameters that are
//! malformed are passed over. Reading costs one pass and no allocation; the caller bounds the length ([`MAX_LEN`]).
//!
//! Tested by round trips, by queries in deployed clients' shapes, and by the fuzz target `tracker_http`.

mod build;
mod params;
mod read;
#[cfg(test)]
mod tests;

pub use build::{announce_url, scrape_url};
pub use params::{Decoded, Params, decode};
pub use read::{AnnounceQuery, BadQuery, MAX_LEN, parse_announce, scrape_hashes};
