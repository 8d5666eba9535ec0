//! A virtual network, disk and clock around `samara-proto`: development only.
//!
//! A [`World`] holds nodes made of the very machines that ship, one `torrent::Torrent` and its `peer::Connection`s each,
//! and joins them by links with latency, rate, buffers and random splits. Time jumps to whatever happens next. Everything
//! follows from one seed: equal seeds give equal traces, so any failure can be run again.
//!
//! After each step the [`invariants`] are checked. A [`Scenario`] says who takes part, and runs a world until all who can
//! have everything do. The tests run each scenario with many seeds.
//!
//! It refuses to hash or carry payload: a block is a [`Payload`], a name with a flag that says whether its bytes
//! would be the right ones.

pub mod brain;
pub mod dht;
pub mod disk;
pub mod gate;
pub mod invariants;
pub mod link;
pub mod metrics;
pub mod net;
pub mod node;
pub mod queue;
pub mod sample;
pub mod scenario;
pub mod stock;
pub mod trace;
pub mod tracker;
pub mod world;
pub mod worlds;

pub use disk::Payload;
pub use metrics::Outcome;
pub use sample::Sample;
pub use scenario::{Member, Report, Scenario};
pub use world::World;
