//! What the workers are to do.
//!
//! Each worker has a queue of its own for what belongs to its pieces; what is urgent (reads for peers) is taken by
//! whichever worker looks next, and always first. Submitting never waits: blocks to store are bounded by the budget
//! for downloads and reads by the one for uploads, since their buffers are taken before. A worker is notified only if it
//! sleeps.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::work::{Job, Urgent};

/// Jobs taken at once: a read waits for at most so many blocks to be hashed.
const BATCH: usize = 32;

/// What a worker does next.
pub(super) enum Work {
    /// This, at once.
    Urgent(Urgent),
    /// What is in the batch now.
    Batch,
    /// Give memory back.
    Relief,
    /// End.
    Stop,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd)]
pub(super) enum Stop {
    #[default]
    No,
    /// Once the queues are empty.
    Drained,
    /// At once.
    Now,
}

#[derive(Default)]
struct Lane {
    jobs: VecDeque<Job>,
    relief: bool,
    asleep: bool,
}

#[derive(Default)]
struct State {
    urgent: VecDeque<Urgent>,
    lanes: Vec<Lane>,
    stop: Stop,
}

/// The queues of all workers.
pub(super) struct Queues {
    state: Mutex<State>,
    wake: Vec<Condvar>,
}

impl Queues {
    pub(super) fn new(workers: usize) -> Self {
        let lanes = (0..workers).map(|_| Lane::default()).collect();
        let state = Mutex::new(State { lanes, ..State::default() });
        Self { state, wake: (0..workers).map(|_| Condvar::new()).collect() }
    }

    pub(super) const fn workers(&self) -> usize {
        self.wake.len()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rouse(&self, state: &mut State, worker: usize) {
        if std::mem::take(&mut state.lanes[worker].asleep) {
            self.wake[worker].notify_one();
        }
    }

    /// Gives each job to the worker that `jobs` names, by a number that is reduced to the number of workers. Once the
    /// disk stops, jobs are dropped.
    pub(super) fn push(&self, jobs: impl IntoIterator<Item = (u64, Job)>) {
        let mut state = self.state();
        if state.stop != Stop::No {
            return;
        }
        for (lane, job) in jobs {
            let worker = (lane % self.wake.len() as u64) as usize;
            state.lanes[worker].jobs.push_back(job);
            self.rouse(&mut state, worker);
        }
    }

    /// Gives a job to every worker.
    pub(super) fn push_all(&self, job: impl Fn() -> Job) {
        self.push((0..self.wake.len() as u64).map(|worker| (worker, job())));
    }

    /// Gives a job to whichever worker looks next.
    pub(super) fn push_urgent(&self, job: Urgent) {
        let mut state = self.state();
        if state.stop != Stop::No {
            return;
        }
        state.urgent.push_back(job);
        if let Some(worker) = state.lanes.iter().position(|lane| lane.asleep) {
            self.rouse(&mut state, worker);
        }
    }

    /// Asks every worker to give memory back.
    pub(super) fn relieve(&self) {
        let mut state = self.state();
        for worker in 0..self.wake.len() {
            state.lanes[worker].relief = true;
            self.rouse(&mut state, worker);
        }
    }

    /// Ends the workers.
    pub(super) fn stop(&self, how: Stop) {
        let mut state = self.state();
        state.stop = if state.stop < how { how } else { state.stop };
        if how == Stop::Now {
            // Whoever waits for an answer learns that none comes.
            state.urgent.clear();
            state.lanes.iter_mut().for_each(|lane| lane.jobs.clear());
        }
        (0..self.wake.len()).for_each(|worker| self.rouse(&mut state, worker));
    }

    /// What `worker` does next; sleeps until there is something. Jobs are put into `batch`, which must be empty.
    pub(super) fn next(&self, worker: usize, batch: &mut VecDeque<Job>) -> Work {
        let mut state = self.state();
        loop {
            if let Some(work) = state.next(worker, batch) {
                return work;
            }
            state.lanes[worker].asleep = true;
            state = self.wake[worker].wait(state).unwrap_or_else(PoisonError::into_inner);
            state.lanes[worker].asleep = false;
        }
    }
}

impl State {
    fn next(&mut self, worker: usize, batch: &mut VecDeque<Job>) -> Option<Work> {
        if self.stop == Stop::Now {
            return Some(Work::Stop);
        }
        if let Some(job) = self.urgent.pop_front() {
            return Some(Work::Urgent(job));
        }
        let lane = &mut self.lanes[worker];
        if std::mem::take(&mut lane.relief) {
            return Some(Work::Relief);
        }
        if !lane.jobs.is_empty() {
            let n = lane.jobs.len().min(BATCH);
            batch.extend(lane.jobs.drain(..n));
            return Some(Work::Batch);
        }
        (self.stop == Stop::Drained).then_some(Work::Stop)
    }
}
