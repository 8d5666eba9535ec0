//! A thread that does what is due from time to time, until it is stopped.

use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Calls something in intervals. Dropping it does not end the thread: [`Keeper::stop`] does.
#[derive(Debug)]
pub(crate) struct Keeper {
    stop: Arc<(Mutex<bool>, Condvar)>,
    thread: JoinHandle<()>,
}

impl Keeper {
    /// Calls `work` after each `pause`.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub(crate) fn start(
        name: &str,
        pause: Duration,
        mut work: impl FnMut() + Send + 'static,
    ) -> io::Result<Self> {
        let stop = Arc::<(Mutex<bool>, Condvar)>::default();
        let seen = Arc::clone(&stop);
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
            let (flag, bell) = &*seen;
            loop {
                let stopped = flag.lock().unwrap_or_else(PoisonError::into_inner);
                let waited = bell.wait_timeout_while(stopped, pause, |stopped| !*stopped);
                if *waited.unwrap_or_else(PoisonError::into_inner).0 {
                    return;
                }
                work();
            }
        })?;
        Ok(Self { stop, thread })
    }

    /// Waits for what it is at, and ends it.
    pub(crate) fn stop(self) {
        let (flag, bell) = &*self.stop;
        *flag.lock().unwrap_or_else(PoisonError::into_inner) = true;
        bell.notify_all();
        let _ = self.thread.join();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn it_works_until_it_is_stopped() {
        let (sender, receiver) = mpsc::sync_channel(100);
        let keeper = Keeper::start("test", Duration::from_millis(1), move || {
            let _ = sender.try_send(());
        })
        .unwrap();
        receiver.recv().unwrap();
        receiver.recv().unwrap();
        keeper.stop();
        // The sender went with the thread.
        while receiver.recv().is_ok() {}
        let idle = Keeper::start("test", Duration::MAX, || unreachable!()).unwrap();
        idle.stop();
    }
}
