//! Swarms in Redis: the one thread that speaks with the servers, and how front ends ask it.
//!
//! What is said to servers, and what becomes of it when they die or hang, is decided in [`samara_proto::redis`]; here are
//! the thread (`thread.rs`) and its sockets (`lines.rs`). Front ends put questions into a queue with a cap and never wait.
//! The thread takes all that is in the queue at a time and sends it in one piece, so batches grow with the load. Each
//! question has an answer or a failure within the time-out, told by calling what was given for that.
//!
//! Refuses questions above the cap at once. Tested here against servers of the test's own, and in `tests/redis.rs`
//! against real ones.

mod lines;
mod thread;

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use mio::Waker;
use samara_proto::ids::WireHash;
use samara_proto::redis::Servers;
use samara_proto::redis::swarm::{Query, Rules};
use samara_proto::swarms::Counts;

use crate::clock::Clock;
use crate::store::Unavailable;

/// Questions that wait to be sent; as many again may be under way.
const QUEUE: usize = 16 * 1024;

/// How swarms are kept elsewhere.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) servers: Servers,
    pub(crate) rules: Rules,
    /// After which a question has failed.
    pub(crate) timeout: Duration,
}

/// Counts and packed peers of the family that was asked for, and of the other.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outcome<'a> {
    pub(crate) own: (Counts, &'a [u8]),
    pub(crate) other: (Counts, &'a [u8]),
}

/// What a question leads to.
pub(crate) type WhenKnown = Box<dyn FnOnce(Result<Outcome<'_>, Unavailable>) + Send>;

/// What several counts lead to: IPv4 and IPv6 of each swarm, in the order of asking.
pub(crate) type WhenAllKnown = Box<dyn FnOnce(Result<&[[Counts; 2]], Unavailable>) + Send>;

/// What a front end wants to know.
pub(crate) enum Question {
    /// Of one swarm.
    One(Query, WhenKnown),
    /// The sizes of some swarms.
    Sizes(Vec<WireHash>, WhenAllKnown),
}

/// What can be said about the servers.
#[derive(Debug, Default)]
pub(crate) struct Condition {
    /// Whether all that are needed answer.
    up: AtomicBool,
    answered: AtomicU64,
    failed: AtomicU64,
}

impl Condition {
    pub(crate) fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    /// Questions that had an answer, and such that failed, since the start.
    pub(crate) fn totals(&self) -> (u64, u64) {
        (self.answered.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed))
    }
}

/// A running thread that speaks with the servers.
#[derive(Debug)]
pub(crate) struct Remote {
    questions: SyncSender<Question>,
    bell: Arc<Bell>,
    condition: Arc<Condition>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Wakes the thread, if it sleeps.
#[derive(Debug)]
struct Bell {
    waker: Waker,
    asleep: AtomicBool,
    stop: AtomicBool,
}

impl Bell {
    fn ring(&self) {
        // What was put into the queue before is seen by the thread: it looks again after it lay down.
        if self.asleep.swap(false, Ordering::SeqCst) {
            self.wake();
        }
    }

    /// Has the thread's next wait end at once, though it may be busy now.
    fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            tracing::error!(%error, "the thread of the store cannot be woken");
        }
    }

    fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
        self.wake();
    }
}

impl Remote {
    /// Starts to connect; servers may be out of reach.
    ///
    /// # Errors
    /// If the system gives no thread or no queue of events.
    pub(crate) fn start(settings: Settings, clock: Clock, seed: u64) -> io::Result<Self> {
        let (sender, receiver) = mpsc::sync_channel(QUEUE);
        let (thread, bell, condition) = thread::Thread::new(settings, clock, seed, receiver)?;
        let handle = std::thread::Builder::new().name("store".into()).spawn(move || thread.run())?;
        Ok(Self { questions: sender, bell, condition, thread: Mutex::new(Some(handle)) })
    }

    /// Asks. What was given with the question is called by the thread, or here if the queue is full.
    pub(crate) fn ask(&self, question: Question) {
        match self.questions.try_send(question) {
            Ok(()) => self.bell.ring(),
            Err(mpsc::TrySendError::Full(question) | mpsc::TrySendError::Disconnected(question)) => {
                self.condition.failed.fetch_add(1, Ordering::Relaxed);
                question.fail();
            }
        }
    }

    pub(crate) fn condition(&self) -> &Condition {
        &self.condition
    }

    /// Ends the thread; what is under way fails.
    pub(crate) fn stop(&self) {
        self.bell.stop();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

impl Drop for Remote {
    /// Ends the thread of a hub that did not start. It may be the one that drops this, so nobody waits for it here.
    fn drop(&mut self) {
        self.bell.stop();
    }
}

impl Question {
    fn fail(self) {
        match self {
            Self::One(_, then) => then(Err(Unavailable)),
            Self::Sizes(_, then) => then(Err(Unavailable)),
        }
    }
}

#[cfg(test)]
mod measure;
#[cfg(test)]
mod tests;
