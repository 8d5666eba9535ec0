//! A client of Redis and Valkey, one server or a cluster, for a tracker that shares its swarms with others.
//!
//! Specs: the Redis serialization protocol (RESP2) and the Redis Cluster specification. [`Servers`] reads where the servers
//! are, [`swarm`] asks and reads answers about swarms, [`Client`] is the machine that keeps connections: it logs in,
//! pipelines, follows `MOVED` and `ASK`, sends the script where it is not known, gives up on what takes too long, and
//! comes back with growing patience. A request gets its answer or its [`Failure`] within the time-out, whatever the
//! servers do.
//!
//! Refuses replies above [`MAX_REPLY`], RESP3 and anything that is not RESP; and TLS, which a tunnel can add. It asks
//! masters only, and no Sentinel.
//!
//! Tested in any split and against a model of servers that die, hang, move slots and talk nonsense, in virtual time
//! (`client/tests.rs`, fuzz target `redis_client`), and against real servers by the hub's tests.

mod address;
mod client;
mod resp;
mod slots;
pub mod swarm;

pub use address::{BadServers, Servers};
pub use client::{Client, Config, Failure, NodeId, Output, Sink};
pub use resp::{MAX_REPLY, MAX_VALUES, Malformed, Reader, Reply, write_command};
pub use slots::{Host, SLOTS, slot_of};
