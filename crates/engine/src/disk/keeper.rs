//! The keeper: one thread for what may take long and is in nobody's way. It syncs files, closes torrents, and looks
//! whether a full disk has room again.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Shared;
use super::event::DiskEvent;
use super::queue::Stop;
use super::storage::Storage;
use super::work::{self, Ticket};

/// What the keeper is to do.
pub(super) enum Job {
    /// A torrent was opened.
    Opened(Arc<Storage>),
    /// Sync a torrent's files.
    Sync(Arc<Storage>),
    /// Sync a torrent's files and let go of it.
    Close(Ticket),
    /// Look now whether there is room.
    #[cfg(test)]
    Probe,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    stop: Stop,
    ended: bool,
}

/// The keeper's queue. Bounded by use: a torrent asks for one sync at a time, and is opened and closed once.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    wake: Condvar,
}

enum Next {
    Job(Job),
    /// Time has passed.
    Tick,
    Stop(Stop),
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a job; false if the keeper has ended.
    pub(super) fn push(&self, job: Job) -> bool {
        let mut state = self.state();
        if !state.ended {
            state.jobs.push_back(job);
            self.wake.notify_one();
        }
        !state.ended
    }

    /// From now on nothing is done; returns what was not.
    fn end(&self) -> VecDeque<Job> {
        let mut state = self.state();
        state.ended = true;
        std::mem::take(&mut state.jobs)
    }

    pub(super) fn stop(&self, how: Stop) {
        let mut state = self.state();
        state.stop = if state.stop < how { how } else { state.stop };
        self.wake.notify_one();
    }

    fn next(&self, tick: Duration) -> Next {
        let idle = |state: &mut State| state.jobs.is_empty() && state.stop == Stop::No;
        let waited = self.wake.wait_timeout_while(self.state(), tick, idle);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if state.stop == Stop::Now {
            return Next::Stop(Stop::Now);
        }
        match (state.stop, state.jobs.pop_front()) {
            (_, Some(job)) => Next::Job(job),
            (Stop::No, None) => Next::Tick,
            (stop, None) => Next::Stop(stop),
        }
    }
}

/// The keeper's state.
pub(super) struct Keeper {
    shared: Arc<Shared>,
    tick: Duration,
    open: Vec<Arc<Storage>>,
}

impl Keeper {
    pub(super) const fn new(shared: Arc<Shared>, tick: Duration) -> Self {
        Self { shared, tick, open: Vec::new() }
    }

    /// Works until the disk stops; then, unless it was told to hurry, syncs what is open.
    pub(super) fn run(mut self) {
        let stop = loop {
            match self.shared.keeper.next(self.tick) {
                Next::Job(Job::Opened(storage)) => self.open.push(storage),
                Next::Job(Job::Sync(storage)) => storage.sync(&self.shared.io),
                Next::Job(Job::Close(ticket)) => self.close(ticket),
                #[cfg(test)]
                Next::Job(Job::Probe) => self.probe(),
                Next::Tick => self.tick(),
                Next::Stop(stop) => break stop,
            }
        };
        let opened = |job| if let Job::Opened(storage) = job { Some(storage) } else { None };
        self.open.extend(self.shared.keeper.end().into_iter().filter_map(opened));
        for storage in std::mem::take(&mut self.open) {
            self.end(&storage, stop == Stop::Drained);
        }
    }

    fn close(&mut self, Ticket { storage, reply }: Ticket) {
        self.open.retain(|open| open.id != storage.id);
        self.end(&storage, true);
        drop(reply);
    }

    fn end(&self, storage: &Storage, sync: bool) {
        if sync {
            storage.sync(&self.shared.io);
            storage.tidy(&self.shared.io);
        }
        self.shared.io.handles.forget(storage.id);
        storage.events.close();
    }

    fn tick(&self) {
        self.shared.pool.trim();
        self.probe();
    }

    /// Looks whether what was full has room again.
    fn probe(&self) {
        for storage in self.open.iter().filter(|s| s.full.load(Ordering::Acquire)) {
            if self.shared.io.backend.free_space(&storage.spec.root) >= storage.needed() {
                storage.full.store(false, Ordering::Release);
                storage.events.send(DiskEvent::Room);
                self.shared.queues.push_all(|| work::Job::Retry(Arc::clone(storage)));
            }
        }
    }
}
