//! A node of the DHT behind the UDP sockets, with which others begin (BEP 5, 32, 42, 43, 44, 51).
//!
//! What a node does is decided by [`samara_proto::dht`], as for any Samara. Here are its lock, which a worker takes once for
//! all messages of a batch, and the thread that comes back when the node wants to (`node.rs`); the addresses where it
//! enters the DHT (`entry.rs`); and the file that keeps id and table (`memory.rs`).

mod entry;
mod memory;
mod node;
#[cfg(test)]
mod tests;

pub(crate) use memory::{check, save};
pub(crate) use node::{Letter, Node, Ports, Standing, announced, is_message, is_question};
