//! Sockets, disk and tasks: runs `samara-proto` on tokio.
//!
//! A [`Client`] holds the listeners and the disk threads. [`Client::add`] gives a [`Torrent`], a handle that tells
//! events, answers with snapshots and reads pieces. Everything else is inside:
//!
//! | task or thread | count | owns |
//! |---|---|---|
//! | listener | one an address | its socket; strangers until they name a torrent |
//! | owner (`torrent`) | one a torrent that is awake | the torrent machine |
//! | connection (`peer`) | one a connection | socket, connection machine, buffers |
//! | DHT task ([`dht`]) | one | UDP sockets, the DHT nodes |
//! | tracker task ([`trackers`]) | one | when which tracker is asked for which torrent |
//! | pacer (`limit`) | two | the turns of those who are held up by a rate limit |
//! | disk threads ([`disk`]) | a few | hashing and writing of pieces, each piece on one thread |
//!
//! A whole torrent with nobody to talk to is dormant: a record of some hundred bytes, woken when somebody connects.
//!
//! Connections tell the owner in batches and wait for room there; the owner never waits for a connection or the disk.
//! Reads for uploads pass from the connection to the disk and back, not through the owner.

mod api;
mod client;
mod clock;
mod desk;
pub mod dht;
mod dials;
pub mod disk;
mod entry;
mod handle;
pub mod hash;
mod limit;
mod listener;
mod lsd;
mod net;
mod news;
mod peer;
mod places;
mod ports;
mod registry;
mod share;
pub mod store;
mod tally;
mod torrent;
pub mod trackers;
pub mod web;

pub use api::{
    AddSource, AddTorrent, Config, Limits, MetadataProgress, Mode, PeerState, Priority, SelectFn, Snapshot,
    Source, Sources, State, TorrentEvent,
};
pub use client::{AddError, BindError, Client, ClientEvents, Overview, StartError};
pub use handle::{ReadError, SelectError, Torrent};
pub use share::{ShareEvent, Sharing};
pub use torrent::OriginError;
