//! Runs hashing off the runtime: tells how far it is, and stops it when the user asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::signal::Interrupt;
use crate::ui::{Event, Ui};

/// How often progress is looked at.
const TICK: Duration = Duration::from_millis(100);

/// What the worker and its watcher share.
#[derive(Debug, Default)]
pub(crate) struct Job {
    done: AtomicU64,
    cancel: AtomicBool,
}

impl Job {
    /// Tells that `bytes` in all have been hashed.
    pub(crate) fn set_done(&self, bytes: u64) {
        self.done.store(bytes, Ordering::Relaxed);
    }

    /// Set once nobody wants the result any more.
    pub(crate) const fn cancel(&self) -> &AtomicBool {
        &self.cancel
    }
}

/// Threads to hash with: one a core.
pub(crate) fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Runs `work` over `total` bytes on a thread of its own. `None` if it was interrupted.
///
/// # Errors
/// If stdout is closed, with `--json`, or the work panicked.
pub(crate) async fn run<T: Send + 'static>(
    ui: &mut Ui,
    interrupt: &mut Interrupt,
    total: u64,
    work: impl FnOnce(&Job) -> T + Send + 'static,
) -> Result<Option<T>> {
    let job = Arc::new(Job::default());
    let mut worker = tokio::task::spawn_blocking({
        let job = Arc::clone(&job);
        move || work(&job)
    });
    let mut tick = interval_at(Instant::now() + TICK, TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let result = loop {
        tokio::select! {
            result = &mut worker => break result,
            _ = tick.tick() => ui.event(&Event::Checking { done: job.done.load(Ordering::Relaxed).min(total), total })?,
            () = interrupt.wait() => {
                job.cancel.store(true, Ordering::Relaxed);
                let _ = worker.await;
                return Ok(None);
            }
        }
    };
    ui.end_progress();
    result.map(Some).context("hashing failed")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Color, Global};

    fn quiet() -> Ui {
        Ui::new(&Global { verbose: 0, quiet: true, json: false, color: Color::Never })
    }

    #[tokio::test]
    async fn an_interrupt_stops_the_work_and_waits_for_its_end() {
        let (tell, mut interrupt) = Interrupt::by_hand();
        let endless = move |job: &Job| {
            tell.send(true).unwrap();
            while !job.cancel().load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
        };
        assert!(run(&mut quiet(), &mut interrupt, 1, endless).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn work_that_ends_gives_its_result() {
        let (_tell, mut interrupt) = Interrupt::by_hand();
        assert_eq!(run(&mut quiet(), &mut interrupt, 1, |_| 7).await.unwrap(), Some(7));
    }
}
