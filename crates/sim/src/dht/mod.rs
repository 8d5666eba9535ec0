//! A virtual network of DHT nodes: thousands of the machines that ship, in virtual time.
//!
//! Packets take a time that follows from where both ends lie, and some are lost. Nodes come and go; some stand behind a
//! NAT that lets in only whom they sent something lately; some lie. Judges ([`trial`]) announce, search, and count.
//! Everything follows from one seed.
//!
//! Modules: [`world`] (network, clock, churn), [`queue`] (what is due), [`host`] (one machine in it), [`liar`] (what malicious nodes say),
//! [`trial`] (who is looked for, and what came of it).

pub mod host;
pub mod liar;
pub mod queue;
pub mod trial;
pub mod world;

pub use trial::{Outcome, Trial};
pub use world::{Setting, World};
