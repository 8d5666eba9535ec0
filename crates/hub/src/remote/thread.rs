//! The thread: questions in, commands out, replies in, answers out.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use mio::{Events, Poll, Token, Waker};
use samara_proto::redis::swarm::{Call, MAX_LOT, Query, read_answer};
use samara_proto::redis::{Client, Config, Failure, Output, Reply};
use samara_proto::rng::Rng;
use samara_proto::swarms::Counts;
use samara_proto::time::Time;
use samara_proto::tracker::Family;
use slab::Slab;

use super::lines::Lines;
use super::{Bell, Condition, Outcome, QUEUE, Question, Settings, WhenAllKnown, WhenKnown};
use crate::clock::Clock;
use crate::store::Unavailable;

const WAKE: Token = Token(usize::MAX);

/// Questions taken before replies are looked at again.
const BATCH: usize = 1024;

/// Whoever waits for a reply.
enum Waiting {
    /// For one answer, of this family.
    One(Family, WhenKnown),
    /// For one of several sizes: which, and its place there.
    Size(usize, usize),
}

/// Sizes that are not all known yet.
struct Sizes {
    counts: Vec<[Counts; 2]>,
    missing: usize,
    failed: bool,
    then: WhenAllKnown,
}

/// Who waits for what.
struct Desk {
    waiting: Slab<Waiting>,
    sizes: Slab<Sizes>,
    condition: Arc<Condition>,
}

pub(super) struct Thread {
    poll: Poll,
    bell: Arc<Bell>,
    questions: Receiver<Question>,
    client: Client,
    lines: Lines,
    desk: Desk,
    settings: Settings,
    rng: Rng,
    clock: Clock,
    /// Servers that had more to say than could be read in one turn.
    again: Vec<usize>,
}

impl Thread {
    pub(super) fn new(
        settings: Settings,
        clock: Clock,
        seed: u64,
        questions: Receiver<Question>,
    ) -> io::Result<(Self, Arc<Bell>, Arc<Condition>)> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKE)?;
        let bell = Arc::new(Bell { waker, asleep: false.into(), stop: false.into() });
        let lines = Lines::new(poll.registry().try_clone()?, Arc::clone(&bell));
        let config =
            Config { servers: settings.servers.clone(), timeout: settings.timeout, max_requests: QUEUE };
        let condition = Arc::<Condition>::default();
        let desk = Desk { waiting: Slab::new(), sizes: Slab::new(), condition: Arc::clone(&condition) };
        let mut rng = Rng::new(seed);
        let client = Client::new(config, rng.next_u64());
        let thread = Self {
            poll,
            bell: Arc::clone(&bell),
            questions,
            client,
            lines,
            desk,
            settings,
            rng,
            clock,
            again: Vec::new(),
        };
        Ok((thread, bell, condition))
    }

    /// Works until stopped.
    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(256);
        while !self.bell.stop.load(Ordering::SeqCst) {
            if let Err(error) = self.turn(&mut events) {
                // Whoever asks hears that there is no store, and so does the operator.
                tracing::error!(%error, "the thread of the store failed");
                break;
            }
        }
        self.desk.condition.up.store(false, Ordering::Relaxed);
        self.desk.fail_all();
        self.questions.try_iter().for_each(Question::fail);
    }

    fn turn(&mut self, events: &mut Events) -> io::Result<()> {
        let now = self.clock.now();
        let mut taken = 0;
        while taken < BATCH
            && let Ok(question) = self.questions.try_recv()
        {
            taken += 1;
            self.take(now, question);
        }
        self.work(now);
        // A question that comes from here on rings the bell; one that came before is seen by the look at the queue.
        self.bell.asleep.store(true, Ordering::SeqCst);
        let mut timeout = self.client.deadline().map(|deadline| deadline.since(now));
        if taken == BATCH || !self.again.is_empty() {
            timeout = Some(Duration::ZERO);
        } else if let Ok(question) = self.questions.try_recv() {
            self.take(now, question);
            timeout = Some(Duration::ZERO);
        }
        let polled = self.poll.poll(events, timeout);
        self.bell.asleep.store(false, Ordering::SeqCst);
        match polled {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => return Ok(()),
            other => other?,
        }
        let now = self.clock.now();
        for node in std::mem::take(&mut self.again) {
            self.drive(now, node);
        }
        for event in events.iter().filter(|event| event.token() != WAKE) {
            self.drive(now, event.token().0);
        }
        for (node, attempt) in self.lines.take_found() {
            self.client.lost(now, node, attempt, &mut |ticket, outcome| self.desk.settle(ticket, outcome));
        }
        Ok(())
    }

    /// Does what is due, and sends what is to be sent.
    fn work(&mut self, now: Time) {
        self.client.tick(now, &mut |ticket, outcome| self.desk.settle(ticket, outcome));
        self.obey(now);
        for node in 0..self.lines.len() {
            if let Err(error) = self.lines.flush(node, &mut self.client) {
                self.lose(now, node, &error);
            }
        }
        self.obey(now);
        self.desk.condition.up.store(self.client.is_up(), Ordering::Relaxed);
    }

    fn obey(&mut self, now: Time) {
        while let Some(output) = self.client.poll() {
            match output {
                Output::Connect { node, attempt, host } => {
                    if let Err(error) = self.lines.open(node, attempt, &host) {
                        self.lose(now, node, &error);
                    }
                }
                Output::Close(node) => self.lines.close(node),
                Output::Up(host) => tracing::info!(host = %host.name, port = host.port, "the store answers"),
                Output::Down(host, why, 0) => {
                    tracing::warn!(host = %host.name, port = host.port, %why, "the store is out of reach");
                }
                Output::Down(host, why, failures) => {
                    tracing::debug!(host = %host.name, port = host.port, %why, failures, "the store stays away");
                }
            }
        }
    }

    /// Something happened with a connection.
    fn drive(&mut self, now: Time, node: usize) {
        let Some(attempt) = self.lines.attempt(node) else { return };
        match self.lines.is_connected(node) {
            Ok(None) => return,
            Ok(Some(true)) => self.client.connected(node, attempt),
            Ok(Some(false)) => {}
            Err(error) => return self.lose(now, node, &error),
        }
        let (client, desk) = (&mut self.client, &mut self.desk);
        let read = self.lines.read(node, |bytes| {
            client.received(now, node, bytes, &mut |ticket, outcome| desk.settle(ticket, outcome));
        });
        match read {
            Ok(true) => self.again.push(node),
            Ok(false) => {}
            Err(error) => self.lose(now, node, &error),
        }
    }

    fn lose(&mut self, now: Time, node: usize, error: &io::Error) {
        tracing::debug!(%error, "a connection to the store ends");
        if let Some(attempt) = self.lines.attempt(node) {
            self.client.lost(now, node, attempt, &mut |ticket, outcome| self.desk.settle(ticket, outcome));
        }
    }

    fn take(&mut self, now: Time, question: Question) {
        match question {
            Question::One(query, then) => self.ask(now, &query, Waiting::One(query.family(), then)),
            Question::Sizes(hashes, then) if hashes.is_empty() => then(Ok(&[])),
            Question::Sizes(hashes, then) => {
                let counts = vec![[Counts::default(); 2]; hashes.len()];
                let sizes = Sizes { counts, missing: hashes.len(), failed: false, then };
                let key = self.desk.sizes.insert(sizes);
                for (place, hash) in hashes.into_iter().enumerate() {
                    self.ask(now, &Query::Scrape(hash), Waiting::Size(key, place));
                }
            }
        }
    }

    fn ask(&mut self, now: Time, query: &Query, waiting: Waiting) {
        let lot = 1 + self.rng.below(MAX_LOT.into()) as u32;
        let call = Call::new(&self.settings.rules, query, lot);
        let ticket = self.desk.waiting.insert(waiting) as u64;
        if let Err(failure) = self.client.request(now, ticket, call) {
            self.desk.settle(ticket, Err(failure));
        }
    }
}

impl Desk {
    /// Gives an outcome to who waits for it.
    fn settle(&mut self, ticket: u64, outcome: Result<Reply<'_>, Failure>) {
        let Some(waiting) = usize::try_from(ticket).ok().and_then(|key| self.waiting.try_remove(key)) else {
            return;
        };
        let family = match &waiting {
            Waiting::One(family, _) => *family,
            Waiting::Size(..) => Family::V4,
        };
        let read = outcome.as_ref().map_err(|_| Unavailable);
        let told = read.and_then(|reply| read_answer(reply, family).map_err(|_| Unavailable));
        let total = if told.is_ok() { &self.condition.answered } else { &self.condition.failed };
        total.fetch_add(1, Ordering::Relaxed);
        if let Err(failure) = &outcome {
            tracing::trace!(%failure, "a question to the store failed");
        }
        let known = told.map(|(own, other)| {
            let other = other.unwrap_or_default();
            Outcome { own: (own.counts, own.peers), other: (other.counts, other.peers) }
        });
        match waiting {
            Waiting::One(_, then) => then(known),
            Waiting::Size(key, place) => self.count(key, place, known),
        }
    }

    fn count(&mut self, key: usize, place: usize, known: Result<Outcome<'_>, Unavailable>) {
        let Some(sizes) = self.sizes.get_mut(key) else { return };
        match (known, sizes.counts.get_mut(place)) {
            (Ok(known), Some(counts)) => *counts = [known.own.0, known.other.0],
            _ => sizes.failed = true,
        }
        sizes.missing -= 1;
        if sizes.missing == 0 {
            let Sizes { counts, failed, then, .. } = self.sizes.remove(key);
            then(if failed { Err(Unavailable) } else { Ok(&counts) });
        }
    }

    fn fail_all(&mut self) {
        let tickets: Vec<usize> = self.waiting.iter().map(|(key, _)| key).collect();
        tickets.into_iter().for_each(|ticket| self.settle(ticket as u64, Err(Failure::Lost)));
    }
}
