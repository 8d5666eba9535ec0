//! The distributed hash table (mainline), as machines without I/O.
//!
//! Spec: BEP 5 and 32 (the protocol, IPv4 and IPv6), 33 (scrapes), 42 (node ids), 43 (read-only nodes), 44 (items), 45
//! (several addresses) and 51 (samples). From the bottom: [`message`] (KRPC to and from bytes), [`contact`] (compact
//! nodes), [`id`] (distance, ids that fit their addresses).
//!
//! Tested beside the code, by the fuzz target `dht_message`, and against the examples and vectors of the BEPs.

pub mod contact;
pub mod id;
pub mod message;

pub use contact::Contact;
