//! How connections come from the threads of HTTP to that of WebSockets, and what those may know of it.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use mio::{Registry, Token, Waker};
use samara_proto::signal::{Counters, Sizes};

use crate::http::Channel;

/// Most connections. Each takes 5 KiB of memory while it says nothing, and some 24 KiB once it announces.
pub(crate) const MAX_LINES: usize = 32 * 1024;

/// A connection that was answered 101, registered nowhere, and what came behind the request. More may have been decrypted
/// already.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) channel: Channel,
    pub(crate) rest: Vec<u8>,
}

/// Between the threads.
#[derive(Debug)]
pub(crate) struct Door {
    waker: Waker,
    arrived: Mutex<Vec<Arrival>>,
    stop: AtomicBool,
    /// Connections, those that wait here among them.
    lines: AtomicUsize,
    /// As of the last second.
    numbers: Mutex<(Sizes, Counters)>,
}

impl Door {
    pub(super) fn new(registry: &Registry, wake: Token) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            waker: Waker::new(registry, wake)?,
            arrived: Mutex::default(),
            stop: AtomicBool::new(false),
            lines: AtomicUsize::new(0),
            numbers: Mutex::default(),
        }))
    }

    /// Whether no more connections are taken.
    pub(crate) fn is_closed(&self) -> bool {
        self.lines.load(Ordering::Relaxed) >= MAX_LINES || self.is_stopped()
    }

    /// Hands a connection over. If there are too many it is dropped.
    pub(crate) fn hand_over(&self, arrival: Arrival) {
        if self.is_closed() {
            return;
        }
        self.lines.fetch_add(1, Ordering::Relaxed);
        let mut arrived = self.arrived.lock().unwrap_or_else(PoisonError::into_inner);
        arrived.push(arrival);
        let first = arrived.len() == 1;
        drop(arrived);
        if first {
            self.wake();
        }
    }

    /// Takes leave of everybody and ends the thread.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.wake();
    }

    /// How many are there, and what happened so far.
    pub(crate) fn numbers(&self) -> (Sizes, Counters) {
        *self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// What came since the last time.
    pub(super) fn take(&self) -> Vec<Arrival> {
        std::mem::take(&mut *self.arrived.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A connection that came through ended.
    pub(super) fn one_left(&self) {
        self.lines.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn publish(&self, sizes: Sizes, counters: Counters) {
        *self.numbers.lock().unwrap_or_else(PoisonError::into_inner) = (sizes, counters);
    }

    fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            tracing::warn!(%error, "the thread of WebSockets cannot be woken");
        }
    }
}
