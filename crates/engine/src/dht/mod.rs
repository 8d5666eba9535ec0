//! The distributed hash table (mainline): a node of each address family on real sockets.
//!
//! What a node knows, asks and answers is decided by [`samara_proto::dht`]. One task ([`Dht`] is its handle) owns
//! the sockets and both nodes; whoever wants something of it sends a command and reads [`Answers`].
//!
//! | file | what |
//! |---|---|
//! | `api.rs` | what users see |
//! | `task.rs` | the task: datagrams, commands, outputs |
//! | `torrents.rs` | announces of a client's torrents, and peers for them |
//! | `line.rs` | how the rest of a client reaches the task |
//! | `socket.rs` | how sockets are bound, read and written |
//! | `leads.rs` | whom to ask while nobody is known |
//! | `memory.rs` | what is kept between runs |
//! | `route.rs` | whether this is still the network we began in |
//!
//! Specs: BEP 5, 32, 33, 42, 43, 44, 45, 51. Tested in `tests/dht.rs`, over loopback.

mod api;
mod leads;
mod line;
mod memory;
mod route;
mod socket;
mod task;
mod torrents;

pub(crate) use api::pick_ports;
pub use api::{Answer, Answers, BOOTSTRAP, Dht, DhtConfig, DhtStats, Found, NodeStats, Traffic};
pub(crate) use line::Line;
pub(crate) use socket::Port;
pub(crate) use task::Driver;
pub(crate) use torrents::Torrents;
