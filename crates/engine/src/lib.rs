//! Sockets, disk and tasks: runs `samara-proto` on tokio.
//!
//! A [`Client`] holds the listeners and the disk threads. [`Client::add`] gives a [`Torrent`], a handle that tells
//! events, answers with snapshots and reads pieces. Everything else is inside:
//!
//! | task or thread | count | owns |
//! |---|---|---|
//! | listener | one an address | its socket; strangers until they name a torrent |
//! | owner (`torrent`) | one a torrent | the torrent machine |
//! | connection (`peer`) | one a connection | socket, connection machine, buffers |
//! | disk threads ([`disk`]) | a few | hashing and writing of pieces, each piece on one thread |
//!
//! Connections tell the owner in batches and wait for room there; the owner never waits for a connection or the disk.
//! Reads for uploads pass from the connection to the disk and back, not through the owner.

mod api;
mod client;
mod clock;
pub mod disk;
mod handle;
pub mod hash;
mod listener;
mod net;
mod peer;
mod registry;
pub mod store;
mod torrent;

pub use api::{
    AddSource, AddTorrent, Config, Mode, PeerState, Priority, SelectFn, Snapshot, State, TorrentEvent,
};
pub use client::{AddError, BindError, Client, StartError};
pub use handle::{ReadError, SelectError, Torrent};
