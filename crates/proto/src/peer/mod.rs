//! One connection to one peer: handshake, messages, limits, timeouts.
//!
//! Specs: BEP 3 (peer protocol), 5 (`port`), 6 (fast extension), 9 (`ut_metadata`), 10 (extension protocol), 11
//! (peer exchange), 21 (`upload_only`), 52 (v2 handshake and hash messages), 54 (`lt_donthave`).
//!
//! A [`Connection`] judges every message of the remote against what was negotiated and, once it is known, against the
//! torrent's [`Layout`](crate::layout::Layout); matches blocks to requests; queues the remote's requests and asks the
//! shell for their blocks; and keeps the clocks. It holds no payload but as handles, opens nothing, knows no other
//! peer, and decides nothing that a torrent decides: whom to choke, what to ask for, what to believe.
//!
//! # Life
//!
//! ```text
//!  outgoing() ──► Greeting ──68 bytes──► Open ◄───────────┐   want()
//!                                         │  header of    │
//!  incoming() ──► Greeting ──20 bytes──►  │  a block      │   Greeting, Open: Control
//!                    │                    ▼               │   Incoming:       Payload
//!                    │                 Incoming ──whole───┘   Closed:         Closed
//!                    │                    │
//!                    └──────────┬─────────┘
//!   violation, timeout, Close,  │
//!   handle_closed               ▼
//!                            Closed: one event, the last; every later input is ignored
//! ```
//!
//! # Order of calls
//!
//! After birth, and after each `handle_*`:
//!
//! 1. [`poll`](Connection::poll) until `None`: events to the torrent, reads to the disk. Reads that come in one go are
//!    meant for one disk job.
//! 2. [`transmit`](Connection::transmit) as the transport takes bytes, then
//!    [`handle_sent`](Connection::handle_sent) for what it took, and again from 1.
//! 3. [`want`](Connection::want) before each read from the transport: control bytes go to
//!    [`handle_bytes`](Connection::handle_bytes); payload goes straight into a buffer of the shell's, with
//!    [`handle_payload`](Connection::handle_payload) for each part and, unless it is to be discarded,
//!    [`handle_block`](Connection::handle_block) once it is whole.
//! 4. [`deadline`](Connection::deadline), for the next [`handle_tick`](Connection::handle_tick).
//!
//! # What a hostile peer can make us hold
//!
//! One message ([`wire`](crate::wire) bounds each kind); the events of the bytes given in one call; 2000 requests; up
//! to 4 MiB of blocks that it asked for, and 256 KiB unless it takes them fast; 2 MiB of control messages that it does
//! not read. What it can make us do is bounded by a budget of messages a second.
//!
//! # Tests
//!
//! Two connections back to back over a pipe that splits at random, a scripted remote for every rule and timeout, and
//! properties: any bytes in any split give the same events, at most one `Closed` and that last, and bounded memory.

mod budget;
mod command;
mod config;
mod connection;
mod departure;
mod downloads;
mod event;
mod extensions;
mod frequency;
mod grants;
mod greeting;
mod outbox;
mod questions;
mod receive;
mod remote;
mod timers;
mod uploads;

pub use crate::wire::Prefix;
pub use config::{Config, Shape};
pub use connection::Connection;
pub use departure::{Departure, TimeoutKind, Violation};
pub use event::{Command, Event, Extended, Hello, Output, Transmit, Want};

#[cfg(test)]
mod tests;
