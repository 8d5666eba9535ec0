//! The distributed hash table (mainline), as machines without I/O.
//!
//! Spec: BEP 5 and 32 (the protocol, IPv4 and IPv6), 33 (scrapes), 42 (node ids), 43 (read-only nodes), 44 (items), 45
//! (several addresses) and 51 (samples). From the bottom: [`message`] (KRPC to and from bytes), [`contact`] (compact
//! nodes), [`id`] (distance, ids that fit their addresses), [`range`] (who holds an address), [`outside`] (where we
//! stand), [`item`] and [`bloom`] (what is stored and counted), [`table`] (whom we know), [`census`] (how many there
//! are), [`lookup`] (who is closest), [`server`] (what we do for others), [`node`] (all of it), [`dual`] (one for each
//! family), [`saved`] (what outlives a run).
//!
//! Tested beside the code, by the fuzz targets `dht_message` and `dht_node`, by the simulator, and against the examples and
//! vectors of the BEPs.

pub mod bloom;
pub mod census;
pub mod contact;
pub mod dual;
pub mod id;
pub mod item;
pub mod lookup;
pub mod message;
pub mod node;
pub mod outside;
pub mod range;
pub mod saved;
pub mod server;
pub mod table;

pub use contact::Contact;
