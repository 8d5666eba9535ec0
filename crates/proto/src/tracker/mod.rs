//! Trackers: how peers of a torrent are asked for and told of, as a client and as a tracker.
//!
//! Specs: BEP 3, 7, 12, 15, 21, 23, 24, 27, 31, 41 and 48. [`udp`] and [`http`] turn requests and answers into bytes
//! and back, both ways, so that client and tracker agree by construction; [`http_query`] is the part of HTTP that
//! stands in the URL. [`udp_client`] sends and repeats datagrams, [`announcer`] decides for one torrent whom to ask and
//! when, [`fleet`] for all of a process; [`reach`] says where a tracker may lead us. What a tracker and its peers say is
//! hostile: lengths are checked, lists are capped, and text is cleaned before anybody shows it.
//!
//! Tested beside each part, and by the fuzz targets `tracker_udp` and `tracker_http`, which check round trips.

pub mod access;
pub mod announcer;
pub mod fleet;
pub mod http;
pub mod http_query;
pub mod reach;
mod text;
pub mod types;
pub mod udp;
pub mod udp_client;
pub mod udp_server;
pub mod url;

pub use types::{AnnounceRequest, AnnounceResponse, Event, Failure, Family, MAX_PEERS, Retry, ScrapeStats};
pub use url::{BadUrl, Scheme, TrackerUrl};
