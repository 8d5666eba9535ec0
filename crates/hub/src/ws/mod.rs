//! The WebSocket front end: one thread that owns every connection which left HTTP for WebTorrent's signalling.
//!
//! What is said and to whom is decided by [`samara_proto::signal`], frames are read and written by tungstenite. Here are
//! the door through which connections come (`door.rs`), one connection (`line.rs`) and the thread (`switchboard.rs`).
//!
//! One thread is enough: it passes some tens of thousands of messages a second on, and a client sends one in two minutes.
//! Swarms need no lock that way.
//!
//! Dropped are who sends longer messages than any client does, who does not read what is sent to it, and who is silent
//! though pinged; who says too much is not read from for a while. When there are too many, newcomers are refused.

mod door;
mod line;
mod switchboard;
#[cfg(test)]
mod tests;

pub(crate) use door::{Arrival, Door};
pub(crate) use switchboard::{Policy, Switchboard};
