//! What stands behind the threads of the HTTP front end, and how it answers later or takes a connection over.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use mio::Waker;
use samara_proto::http::server::{Handler, Reply, Status};

use super::channel::Channel;
use crate::metrics::Count;

/// Answers the requests of one thread's connections.
pub(crate) trait Front: Handler {
    /// The requests that follow come from `sender`, over the connection `key`.
    fn asked_by(&mut self, sender: IpAddr, key: usize);

    /// Something happened that is counted.
    fn count(&self, what: Count, n: u64);

    /// A connection was answered 101 and is no longer of HTTP.
    fn take_over(&mut self, gone: Gone);

    /// A promised answer did not come in time.
    fn overdue(&mut self, reply: &mut Reply) {
        self.count(Count::Unavailable, 1);
        reply.text(Status::Unavailable, "the answer takes too long: try again later");
    }
}

/// A connection that left HTTP: whose it is, and what came behind the request. It is registered nowhere. More may have been
/// decrypted already: read it once before waiting for the system to tell of more.
#[derive(Debug)]
pub(crate) struct Gone {
    pub(crate) channel: Channel,
    pub(crate) sender: IpAddr,
    pub(crate) rest: Vec<u8>,
}

/// An answer from another thread.
#[derive(Debug)]
pub(crate) struct Answer {
    /// What it counts as.
    pub(crate) counts: Count,
    pub(crate) status: Status,
    pub(crate) content_type: &'static str,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn fill(self, reply: &mut Reply) {
        reply.status = self.status;
        reply.content_type = self.content_type;
        reply.body = self.body;
    }
}

/// Where other threads leave answers for one worker. It holds no more of them than the worker has connections that wait.
#[derive(Debug)]
pub(crate) struct Mailbox {
    waker: Arc<Waker>,
    answers: Mutex<Vec<(usize, u64, Answer)>>,
}

impl Mailbox {
    pub(crate) fn new(waker: Arc<Waker>) -> Arc<Self> {
        Arc::new(Self { waker, answers: Mutex::default() })
    }

    /// What came since the last time: connection, ticket and answer.
    pub(crate) fn take(&self) -> Vec<(usize, u64, Answer)> {
        std::mem::take(&mut *self.answers.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Gives out tickets for answers that come later.
#[derive(Debug)]
pub(crate) struct Desk {
    mailbox: Arc<Mailbox>,
    key: usize,
    last: u64,
}

impl Desk {
    pub(crate) const fn new(mailbox: Arc<Mailbox>) -> Self {
        Self { mailbox, key: 0, last: 0 }
    }

    /// See [`Front::asked_by`].
    pub(crate) const fn turn_to(&mut self, key: usize) {
        self.key = key;
    }

    /// Promises the answer of the request that is handled. Who breaks the promise has [`Front::overdue`] answered.
    pub(crate) fn promise(&mut self, reply: &mut Reply) -> Promise {
        self.last += 1;
        reply.later(self.last);
        Promise { mailbox: Arc::clone(&self.mailbox), key: self.key, ticket: self.last }
    }
}

/// The duty to answer one request, from any thread.
#[derive(Debug)]
pub(crate) struct Promise {
    mailbox: Arc<Mailbox>,
    key: usize,
    ticket: u64,
}

impl Promise {
    /// Answers.
    pub(crate) fn keep(self, answer: Answer) {
        let mut answers = self.mailbox.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.push((self.key, self.ticket, answer));
        let first = answers.len() == 1;
        drop(answers);
        if first && let Err(error) = self.mailbox.waker.wake() {
            tracing::warn!(%error, "a worker cannot be woken");
        }
    }
}
