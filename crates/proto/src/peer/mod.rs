//! One connection to one peer: handshake, messages, limits, timeouts (BEP 3, 6, 9, 10, 52, 54).

mod budget;
mod command;
mod config;
mod connection;
mod departure;
mod downloads;
mod event;
mod extensions;
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
