//! Payload buffers and the memory budget that gates reading from sockets and files.
//!
//! One [`Buf`] holds the payload of one block. Memory of 16 KiB buffers is recycled, so that a steady transfer
//! allocates nothing; it is zeroed once, when it is first allocated, never between uses. Longer buffers (stock clients
//! may ask for up to 128 KiB at once) are allocated and freed each time.
//!
//! There are two budgets, one for blocks on their way to the disk and a smaller one for blocks on their way to peers,
//! so that neither direction can starve the other. Waiting for memory is fair (first come, first served) and
//! can always end: who waits for download memory makes the disk's workers write out what they hold.
//!
//! The pool refuses nothing for its size: a buffer longer than half of the budget is charged half of it.
//!
//! Tested below, and by the deadlock test of the disk.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use samara_proto::ids::BLOCK_LEN;
use tokio::sync::Semaphore;

/// What one charge on a budget stands for, in bytes.
const UNIT: usize = BLOCK_LEN as usize;

/// A share of the memory: a number of 16 KiB units that are out or not.
#[derive(Debug)]
struct Budget {
    free: Semaphore,
    units: u32,
}

impl Budget {
    fn new(bytes: usize) -> Self {
        let units =
            u32::try_from(bytes / UNIT).unwrap_or(u32::MAX).clamp(1, (Semaphore::MAX_PERMITS >> 4) as u32);
        Self { free: Semaphore::new(units as usize), units }
    }

    /// Units that a buffer of `len` bytes is charged: at least one, at most half of them, since half is what pressure
    /// sets free again.
    fn cost(&self, len: usize) -> u32 {
        u32::try_from(len.div_ceil(UNIT)).unwrap_or(u32::MAX).clamp(1, (self.units / 2).max(1))
    }

    fn try_charge(&self, units: u32) -> bool {
        self.free.try_acquire_many(units).map(|permit| permit.forget()).is_ok()
    }

    async fn charge(&self, units: u32) {
        // The semaphore is never closed, so this cannot fail.
        if let Ok(permit) = self.free.acquire_many(units).await {
            permit.forget();
        }
    }

    fn refund(&self, units: u32) {
        self.free.add_permits(units as usize);
    }

    fn used(&self) -> usize {
        self.units as usize - self.free.available_permits().min(self.units as usize)
    }
}

/// Called when somebody waits for download memory.
type Relief = Box<dyn Fn() + Send + Sync>;

struct Inner {
    down: Budget,
    up: Budget,
    /// Memory that is out of use. Bounded by the budgets.
    spare: Mutex<Vec<Box<[u8]>>>,
    /// How many callers wait for download memory.
    waiting: AtomicUsize,
    relief: OnceLock<Relief>,
}

#[derive(Clone, Copy, Debug)]
enum Share {
    Down,
    Up,
}

impl Inner {
    const fn budget(&self, share: Share) -> &Budget {
        match share {
            Share::Down => &self.down,
            Share::Up => &self.up,
        }
    }

    fn allocate(&self, len: usize) -> Box<[u8]> {
        if len > UNIT {
            return vec![0; len].into_boxed_slice();
        }
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
        spare.unwrap_or_else(|| vec![0; UNIT].into_boxed_slice())
    }
}

/// The payload of one block: a slice of exactly the length that was asked for. Its memory and its charge on the
/// budget go back to the pool when it is dropped.
///
/// The bytes are initialised but not cleared: a new buffer holds what an earlier one held.
pub struct Buf {
    bytes: Box<[u8]>,
    len: usize,
    units: u32,
    share: Share,
    home: Arc<Inner>,
}

impl Deref for Buf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl DerefMut for Buf {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len]
    }
}

impl AsRef<[u8]> for Buf {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for Buf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buf({} bytes)", self.len)
    }
}

impl Drop for Buf {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        if bytes.len() == UNIT {
            self.home.spare.lock().unwrap_or_else(PoisonError::into_inner).push(bytes);
        }
        self.home.budget(self.share).refund(self.units);
    }
}

/// How much memory is in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauge {
    /// Bytes in buffers on their way to the disk.
    pub down: usize,
    /// The budget for those.
    pub down_budget: usize,
    /// Bytes in buffers on their way to peers.
    pub up: usize,
    /// The budget for those.
    pub up_budget: usize,
    /// Callers that wait for memory for a download.
    pub waiting: usize,
}

/// Where payload buffers come from. A cheap handle; all clones share one budget.
#[derive(Clone)]
pub struct Pool {
    inner: Arc<Inner>,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.gauge().fmt(f)
    }
}

impl Pool {
    /// A pool with budgets in bytes, for downloads and for uploads. Each is rounded down to whole 16 KiB blocks, but
    /// is at least one.
    pub fn new(down: usize, up: usize) -> Self {
        Self {
            inner: Arc::new(Inner {
                down: Budget::new(down),
                up: Budget::new(up),
                spare: Mutex::default(),
                waiting: AtomicUsize::new(0),
                relief: OnceLock::new(),
            }),
        }
    }

    /// A buffer of `len` bytes for a block that a peer sends; `None` if the budget is spent or others wait for it.
    pub fn try_take(&self, len: usize) -> Option<Buf> {
        let units = self.inner.down.cost(len);
        self.inner.down.try_charge(units).then(|| self.buf(len, units, Share::Down))
    }

    /// A buffer of `len` bytes for a block that a peer sends; waits while the budget is spent. Cancel safe.
    pub async fn take(&self, len: usize) -> Buf {
        if let Some(buf) = self.try_take(len) {
            return buf;
        }
        let units = self.inner.down.cost(len);
        let _waiting = Waiting::new(&self.inner);
        self.inner.down.charge(units).await;
        self.buf(len, units, Share::Down)
    }

    /// One buffer for each of `lens`, for blocks to be read for peers; waits until there is memory for all of them at
    /// once, so that two callers cannot hold half each. What exceeds the budget for uploads is not charged.
    pub(super) async fn take_for_upload(&self, lens: &[u32]) -> Vec<Buf> {
        let up = &self.inner.up;
        let mut left =
            lens.iter().fold(0, |sum: u32, &len| sum.saturating_add(up.cost(len as usize))).min(up.units);
        up.charge(left).await;
        let buf = |&len: &u32| {
            let units = up.cost(len as usize).min(left);
            left -= units;
            self.buf(len as usize, units, Share::Up)
        };
        lens.iter().map(buf).collect()
    }

    fn buf(&self, len: usize, units: u32, share: Share) -> Buf {
        Buf { bytes: self.inner.allocate(len), len, units, share, home: Arc::clone(&self.inner) }
    }

    /// How much is in use.
    pub fn gauge(&self) -> Gauge {
        let Inner { down, up, waiting, .. } = &*self.inner;
        Gauge {
            down: down.used() * UNIT,
            down_budget: down.units as usize * UNIT,
            up: up.used() * UNIT,
            up_budget: up.units as usize * UNIT,
            waiting: waiting.load(Ordering::Relaxed),
        }
    }

    /// Gives half of the memory that is out of use back to the system; to be called now and then.
    pub(super) fn trim(&self) {
        let mut spare = self.inner.spare.lock().unwrap_or_else(PoisonError::into_inner);
        let keep = spare.len() / 2;
        let freed = spare.split_off(keep);
        drop(spare);
        drop(freed);
    }

    /// Sets who is called, once, whenever somebody starts to wait for download memory.
    pub(super) fn on_pressure(&self, relief: impl Fn() + Send + Sync + 'static) {
        // A second disk on the same pool has no say; the first one's workers hold the memory.
        let _ = self.inner.relief.set(Box::new(relief));
    }

    /// Whether download memory should be given back: more than three quarters are out, or somebody waits.
    pub(super) fn is_short(&self) -> bool {
        let Inner { down, waiting, .. } = &*self.inner;
        waiting.load(Ordering::SeqCst) > 0 || down.used() * 4 > down.units as usize * 3
    }

    /// Whether enough is free again: at most half is out.
    pub(super) fn is_relieved(&self) -> bool {
        let Inner { down, .. } = &*self.inner;
        down.used() * 2 <= down.units as usize
    }
}

/// Counts one waiting caller, also if it is cancelled.
struct Waiting<'a>(&'a Inner);

impl<'a> Waiting<'a> {
    fn new(inner: &'a Inner) -> Self {
        inner.waiting.fetch_add(1, Ordering::SeqCst);
        if let Some(relief) = inner.relief.get() {
            relief();
        }
        Self(inner)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn poll<F: Future>(f: std::pin::Pin<&mut F>) -> Poll<F::Output> {
        f.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_buffer_has_the_length_asked_for_and_goes_back() {
        let pool = Pool::new(4 * UNIT, UNIT);
        for len in [1, 1000, UNIT, UNIT + 1, 80 * UNIT] {
            let mut buf = pool.try_take(len).unwrap();
            assert_eq!(buf.len(), len);
            buf.fill(7);
            drop(buf);
            assert_eq!(pool.gauge().down, 0);
        }
        assert_eq!(pool.inner.spare.lock().unwrap().len(), 1, "16 KiB memory is recycled, others are not");
        pool.trim();
        assert_eq!(pool.inner.spare.lock().unwrap().len(), 0);
    }

    #[test]
    fn waiting_is_fair_calls_for_relief_and_can_be_cancelled() {
        let pool = Pool::new(4 * UNIT, UNIT);
        let called = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&called);
        pool.on_pressure(move || {
            count.fetch_add(1, Ordering::SeqCst);
        });
        let (a, b) = (pool.try_take(1).unwrap(), pool.try_take(UNIT).unwrap());
        let _rest = pool.try_take(4 * UNIT).unwrap();
        let mut big = pin!(pool.take(2 * UNIT));
        assert!(poll(big.as_mut()).is_pending());
        {
            let mut cancelled = pin!(pool.take(1));
            assert!(poll(cancelled.as_mut()).is_pending());
            assert_eq!(pool.gauge().waiting, 2);
        }
        assert_eq!((called.load(Ordering::SeqCst), pool.gauge().waiting), (2, 1));
        drop(a);
        assert!(poll(big.as_mut()).is_pending());
        assert!(pool.try_take(1).is_none(), "nobody overtakes the one who waits");
        drop(b);
        let Poll::Ready(big) = poll(big.as_mut()) else { panic!("the memory is there") };
        assert_eq!((big.len(), pool.gauge().waiting), (2 * UNIT, 0));
    }

    #[test]
    fn uploads_have_their_own_budget_and_overdraw_rather_than_hang() {
        let pool = Pool::new(UNIT, 2 * UNIT);
        let _down = pool.try_take(1).unwrap();
        let Poll::Ready(bufs) = poll(pin!(pool.take_for_upload(&[1, UNIT as u32, 5]))) else {
            panic!("hangs")
        };
        assert_eq!(bufs.iter().map(|b| b.len()).collect::<Vec<_>>(), [1, UNIT, 5]);
        assert_eq!(pool.gauge().up, 2 * UNIT);
        assert!(poll(pin!(pool.take_for_upload(&[1]))).is_pending());
        drop(bufs);
        assert_eq!(pool.gauge().up, 0);
    }
}
