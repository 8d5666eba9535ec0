//! The public side of Samara: a tracker that tells the peers of a swarm of each other, and a node of the DHT with which
//! others begin.
//!
//! The crate is the shell around decisions that live in `samara-proto`: it has threads, sockets and files, and no runtime.
//! [`Hub::start`] binds every address before the first thread runs, so that a hub that started is a hub that answers.
#![forbid(unsafe_code)]

mod access;
mod clock;
pub mod config;
mod dht;
mod http;
mod hub;
mod keeper;
mod metrics;
mod remote;
mod shared;
mod site;
mod sockets;
mod state;
mod stopper;
mod store;
mod tls;
mod udp;
mod watch;
mod ws;

pub use hub::{Hub, StartError};
