//! Every protocol decision of Samara, without I/O.
//!
//! Nothing in this crate touches a socket, a file, a clock, a thread or a global. Machines take the time as an
//! argument and randomness as a seed, so any run can be repeated from (seed, inputs).
#![forbid(unsafe_code)]

pub mod bencode;
pub mod bitfield;
pub mod dht;
pub mod http;
pub mod ids;
pub mod layout;
pub mod limit;
pub mod lsd;
pub mod magnet;
pub mod merkle;
pub mod metainfo;
pub mod path;
pub mod peer;
pub mod redis;
pub mod rng;
pub mod signal;
pub mod siphash;
pub mod swarms;
pub mod time;
pub mod torrent;
pub mod tracker;
pub mod wire;
