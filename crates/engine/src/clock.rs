//! The one place where the engine reads a clock.

use std::time::{Duration, Instant};

use samara_proto::time::Time;

/// Turns the system's monotonic clock into the machines' [`Time`]. Cheap to copy; copies agree.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { start: Instant::now() }
    }

    pub(crate) fn now(self) -> Time {
        let us = self.start.elapsed().as_micros();
        Time::from_micros(u64::try_from(us).unwrap_or(u64::MAX))
    }

    /// The runtime's form of a deadline of a machine.
    pub(crate) fn instant(self, t: Time) -> tokio::time::Instant {
        (self.start + Duration::from_micros(t.as_micros())).into()
    }
}
