//! One connection to one peer: handshake, messages, limits, timeouts (BEP 3, 6, 9, 10, 52, 54).

mod departure;
mod event;

pub use departure::{Departure, TimeoutKind, Violation};
pub use event::{Command, Event, Extended, Hello, Output, Transmit, Want};
