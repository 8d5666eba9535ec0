//! Datagrams between clients and UDP trackers (BEP 15), and the options behind an announce (BEP 41).
//!
//! Both ends are here: a client writes a [`Request`] and reads a [`Response`]; a tracker reads the request and writes
//! the answer straight into its send buffer ([`AnnounceWriter`], [`ScrapeWriter`], [`write_connect`],
//! [`write_error`]), without an allocation. Datagrams may be longer than what is known of them, as BEP 15 demands.
//!
//! Refused, with nothing said back: what is too short, requests of an unknown action, a connect without the magic
//! number. The caller checks connection and transaction ids: what they mean is a matter of its state.
//!
//! Tested by the layouts of the BEP, by round trips, and by the fuzz target `tracker_udp`.

mod fields;
mod options;
mod request;
mod response;
#[cfg(test)]
mod tests;
mod write;

pub use options::{Options, UrlData, write_url_data};
pub use request::{Hashes, MAX_SCRAPE, Request, parse_request};
pub use response::{Body, Response, Stats, parse_response, transaction};
pub use write::{AnnounceWriter, Head, ScrapeWriter, write_connect, write_error};

/// A datagram that is none of the protocol's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a datagram of the UDP tracker protocol")]
pub struct Malformed;

/// Marks a connect request (BEP 15).
const MAGIC: u64 = 0x0417_2710_1980;

mod action {
    pub(super) const CONNECT: u32 = 0;
    pub(super) const ANNOUNCE: u32 = 1;
    pub(super) const SCRAPE: u32 = 2;
    pub(super) const ERROR: u32 = 3;
}
