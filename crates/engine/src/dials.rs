//! Connections that are being opened, over all torrents: so many at once, and so many a second.
//!
//! A home router keeps state for every attempt, and a burst of them looks like a scan; so the field has a limit of its
//! own for both (libtorrent: 30 attempts a second, and 30 at once when a torrent begins). Who wants to dial waits in
//! the order of asking. As a torrent has at most 20 attempts under way, it waits for at most 20 of each other one, so
//! that none is starved; and so that thousands of torrents do not wait with thousands of tasks, only
//! [`QUEUE`] times as many wait as may dial: the others are told to ask later.
//!
//! It refuses to open anything itself. Tested below.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// So many times as many may wait as may dial at once, those counted who do.
const QUEUE: usize = 4;

/// The limits.
#[derive(Debug)]
pub(crate) struct Dials {
    half_open: Arc<Semaphore>,
    queue: Arc<Semaphore>,
    interval: Duration,
    burst: u32,
    /// When the next attempt would begin at an even pace; `None` before the first.
    next: Mutex<Option<Instant>>,
}

impl Dials {
    /// `half_open` attempts at once and `rate` a second; both at least one.
    pub(crate) fn new(half_open: usize, rate: u32) -> Self {
        let (half_open, rate) = (half_open.clamp(1, Semaphore::MAX_PERMITS / QUEUE), rate.max(1));
        Self {
            half_open: Arc::new(Semaphore::new(half_open)),
            queue: Arc::new(Semaphore::new(QUEUE * half_open)),
            interval: Duration::from_secs(1) / rate,
            burst: rate,
            next: Mutex::default(),
        }
    }

    /// A place in the queue, if it is not full.
    pub(crate) fn queue(self: &Arc<Self>) -> Option<Queued> {
        let place = Arc::clone(&self.queue).try_acquire_owned().ok()?;
        Some(Queued { dials: Arc::clone(self), place })
    }

    /// When the next attempt may begin. A second's worth of attempts may begin at once.
    fn slot(&self, now: Instant) -> Instant {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let saved = now.checked_sub(self.interval * (self.burst - 1)).unwrap_or(now);
        let slot = next.unwrap_or(saved).max(saved);
        *next = Some(slot + self.interval);
        slot
    }
}

/// A place in the queue.
pub(crate) struct Queued {
    dials: Arc<Dials>,
    place: OwnedSemaphorePermit,
}

/// The right to one attempt, until it is dropped.
pub(crate) struct Turn {
    _half_open: OwnedSemaphorePermit,
    _place: OwnedSemaphorePermit,
}

impl Queued {
    /// Waits for its turn; `None` if there will be none.
    pub(crate) async fn turn(self) -> Option<Turn> {
        let half_open = Arc::clone(&self.dials.half_open).acquire_owned().await.ok()?;
        tokio::time::sleep_until(self.dials.slot(Instant::now())).await;
        Some(Turn { _half_open: half_open, _place: self.place })
    }
}

#[cfg(test)]
mod tests {
    use std::future::{Future, poll_fn};
    use std::pin::pin;
    use std::task::Poll;

    use super::*;

    /// Whether a future is done without waiting.
    async fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
        let mut future = pin!(future);
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }

    #[tokio::test]
    async fn no_more_at_once_than_allowed_and_the_rest_in_the_order_of_asking() {
        let dials = Arc::new(Dials::new(2, 1000));
        let mut turns = Vec::new();
        for _ in 0..2 {
            turns.push(at_once(dials.queue().unwrap().turn()).await.unwrap());
        }
        let (mut first, mut second) =
            (Box::pin(dials.queue().unwrap().turn()), Box::pin(dials.queue().unwrap().turn()));
        assert!(at_once(&mut first).await.is_none() && at_once(&mut second).await.is_none());
        turns.pop();
        assert!(at_once(&mut second).await.is_none(), "it asked later");
        let turn = at_once(&mut first).await.expect("its turn");
        drop(turn);
        assert!(at_once(&mut second).await.is_some());
    }

    #[tokio::test]
    async fn the_queue_has_an_end() {
        let dials = Arc::new(Dials::new(3, 1000));
        let queued: Vec<_> = std::iter::from_fn(|| dials.queue()).collect();
        assert_eq!(queued.len(), 12);
        drop(queued);
        assert!(dials.queue().is_some());
    }

    #[tokio::test]
    async fn a_second_s_worth_at_once_then_an_even_pace() {
        let dials = Dials::new(100, 10);
        let now = Instant::now() + Duration::from_secs(10);
        let slots: Vec<_> = (0..30).map(|_| dials.slot(now)).collect();
        assert!(slots[..10].iter().all(|at| *at <= now));
        assert_eq!(slots[29], now + Duration::from_secs(2));
        let later = now + Duration::from_secs(60);
        assert!(
            (0..10).all(|_| dials.slot(later) <= later) && dials.slot(later) > later,
            "no more is saved up"
        );
    }
}
