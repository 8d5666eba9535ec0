//! The one clock of the process, as the machines see it.

use std::time::Instant;

use samara_proto::time::Time;

/// Counts from the start of the hub.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn now(self) -> Time {
        Time::ZERO + self.0.elapsed()
    }
}
