//! Ends a worker from outside.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mio::Waker;

/// Ends one worker; it and whoever may end it hold clones.
#[derive(Clone, Debug)]
pub(crate) struct Stopper {
    stop: Arc<AtomicBool>,
    waker: Arc<Waker>,
}

impl Stopper {
    /// For the worker that `waker` wakes.
    pub(crate) fn new(waker: Arc<Waker>) -> Self {
        Self { stop: Arc::default(), waker }
    }

    /// Asks the worker to finish what it is at, and to end. It is heard even if the worker is busy.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        if let Err(error) = self.waker.wake() {
            tracing::warn!(%error, "a worker cannot be woken");
        }
    }

    /// Whether the worker was asked to end.
    pub(crate) fn is_asked(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }
}
