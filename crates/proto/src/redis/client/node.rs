//! One server, as far as its connection goes.

use std::collections::VecDeque;
use std::time::Duration;

use super::super::Servers;
use super::super::resp::{Reader, write_command};
use super::super::slots::Host;
use super::super::swarm::{Call, write_load};
use crate::rng::Rng;
use crate::time::Time;

/// Before the second attempt to connect; doubles with each.
const FIRST_PATIENCE: Duration = Duration::from_millis(100);

/// Longest time between attempts: an outage is over for us so much after it is over.
const MOST_PATIENCE: Duration = Duration::from_secs(3);

/// A connection that held so long is made anew at once when it is lost.
const SOUND: Duration = Duration::from_secs(1);

/// Silence after which a server is asked whether it is still there.
const PING: Duration = Duration::from_secs(1);

/// A request under way.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) ticket: u64,
    pub(super) call: Call,
    /// When it fails, wherever it is then.
    pub(super) deadline: Time,
    /// Times that it was sent on, or sent again.
    pub(super) hops: u8,
    /// The script went with it.
    pub(super) scripted: bool,
}

/// What the next reply is to.
#[derive(Debug)]
pub(super) enum Expected {
    /// A step of the greeting.
    Welcome,
    /// The last step of the greeting.
    Loaded,
    /// `PING` or `ASKING`.
    Nothing,
    /// `CLUSTER SLOTS`.
    Map,
    /// A request's answer.
    Answer(Request),
    /// The answer of a request that failed because its time was up.
    Missed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// No connection, and none is tried before then.
    Down { until: Time },
    /// Somebody connects us.
    Connecting,
    /// Connected; the greeting is under way.
    Greeting,
    /// The greeting is over since then.
    Ready { since: Time },
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) host: Host,
    pub(super) state: State,
    /// Tells connections apart.
    pub(super) attempt: u64,
    /// Connections that failed since one was sound.
    failures: u32,
    /// It was named by the operator.
    pub(super) named: bool,
    /// It has slots.
    pub(super) serves: bool,
    pub(super) reader: Reader,
    out: Vec<u8>,
    sent: usize,
    pub(super) expected: VecDeque<(Time, Expected)>,
    /// The last of the deadlines in it.
    latest: Time,
    /// The first deadline of a request that stands behind something that has more time: it was sent on.
    hurried: Option<Time>,
    heard: Time,
}

impl Node {
    pub(super) fn new(host: Host, named: bool) -> Self {
        Self {
            host,
            state: State::Down { until: Time::ZERO },
            attempt: 0,
            failures: 0,
            named,
            serves: false,
            reader: Reader::default(),
            out: Vec::new(),
            sent: 0,
            expected: VecDeque::new(),
            latest: Time::ZERO,
            hurried: None,
            heard: Time::ZERO,
        }
    }

    pub(super) const fn is_ready(&self) -> bool {
        matches!(self.state, State::Ready { .. })
    }

    pub(super) const fn is_down(&self) -> bool {
        matches!(self.state, State::Down { .. })
    }

    /// Whether a request may be given to it: it is ready, or nothing says yet that it will not be.
    pub(super) const fn is_hopeful(&self) -> bool {
        self.is_ready() || self.failures == 0
    }

    /// Begins to connect: what it is greeted with waits in front of everything else.
    pub(super) fn begin(&mut self, servers: &Servers, deadline: Time) {
        self.state = State::Connecting;
        self.attempt += 1;
        if let Some(password) = &servers.password {
            let user = servers.user.as_deref().unwrap_or("default");
            // Older servers know only the form without a user.
            match servers.user {
                Some(_) => self.say(&[b"AUTH", user.as_bytes(), password.as_bytes()]),
                None => self.say(&[b"AUTH", password.as_bytes()]),
            }
            self.expect(deadline, Expected::Welcome);
        }
        if servers.db != 0 {
            self.say(&[b"SELECT", servers.db.to_string().as_bytes()]);
            self.expect(deadline, Expected::Welcome);
        }
        write_load(&mut self.out);
        self.expect(deadline, Expected::Loaded);
    }

    fn expect(&mut self, deadline: Time, what: Expected) {
        if deadline < self.latest {
            self.hurried = Some(self.hurried.map_or(deadline, |first| first.min(deadline)));
        }
        self.latest = self.latest.max(deadline);
        self.expected.push_back((deadline, what));
    }

    /// Takes out the requests whose time is up while what stands in front of them has more. Their answers may still come.
    pub(super) fn take_late(&mut self, now: Time) -> Vec<Request> {
        let mut late = Vec::new();
        if self.hurried.is_none_or(|first| first > now) {
            return late;
        }
        self.hurried = None;
        let mut before = now;
        for (deadline, expected) in &mut self.expected {
            if *deadline <= now && before > now {
                *deadline = before;
                match std::mem::replace(expected, Expected::Missed) {
                    Expected::Answer(request) => late.push(request),
                    other => *expected = other,
                }
            } else if *deadline < before {
                self.hurried = Some(self.hurried.map_or(*deadline, |first| first.min(*deadline)));
            }
            before = before.max(*deadline);
        }
        late
    }

    pub(super) fn say(&mut self, words: &[&[u8]]) {
        write_command(&mut self.out, words);
    }

    /// Says what is due after a silence.
    pub(super) fn ping(&mut self, deadline: Time) {
        self.say(&[b"PING"]);
        self.expect(deadline, Expected::Nothing);
    }

    pub(super) fn ask_for_map(&mut self, deadline: Time) {
        self.say(&[b"CLUSTER", b"SLOTS"]);
        self.expect(deadline, Expected::Map);
    }

    pub(super) fn ask(&mut self, request: Request, asking: bool) {
        if asking {
            self.say(&[b"ASKING"]);
            self.expect(request.deadline, Expected::Nothing);
        }
        request.call.write(request.scripted, &mut self.out);
        self.expect(request.deadline, Expected::Answer(request));
    }

    /// What can be sent now.
    pub(super) fn outgoing(&self) -> &[u8] {
        match self.state {
            State::Greeting | State::Ready { .. } => self.out.get(self.sent..).unwrap_or_default(),
            State::Down { .. } | State::Connecting => &[],
        }
    }

    pub(super) fn sent(&mut self, bytes: usize) {
        self.sent += bytes;
        // A server that always lags a little must not have all of it kept. What is left is moved, never more than was sent.
        if 2 * self.sent >= self.out.len() {
            self.out.drain(..self.sent.min(self.out.len()));
            self.sent = 0;
        }
    }

    pub(super) const fn heard(&mut self, now: Time) {
        self.heard = now;
    }

    pub(super) const fn is_ready_now(&mut self, now: Time) {
        self.state = State::Ready { since: now };
    }

    /// Attempts that failed since it was last sound.
    pub(super) fn failures(&self, now: Time) -> u32 {
        if self.is_sound(now) { 0 } else { self.failures }
    }

    fn is_sound(&self, now: Time) -> bool {
        matches!(self.state, State::Ready { since } if now.since(since) >= SOUND)
    }

    /// Drops the connection, and says what was expected of it. `excused`: the server may have gone in peace.
    pub(super) fn fall(&mut self, now: Time, excused: bool, rng: &mut Rng) -> VecDeque<(Time, Expected)> {
        let sound = self.is_sound(now);
        self.failures = self.failures(now);
        if excused && sound {
            self.state = State::Down { until: now };
        } else {
            let patience = (FIRST_PATIENCE * (1 << self.failures.min(5))).min(MOST_PATIENCE);
            let jitter = rng.below(patience.as_micros() as u64 / 4);
            self.state = State::Down { until: now + patience + Duration::from_micros(jitter) };
            self.failures = self.failures.saturating_add(1);
        }
        self.out = Vec::new();
        self.sent = 0;
        self.reader.clear();
        (self.latest, self.hurried) = (Time::ZERO, None);
        std::mem::take(&mut self.expected)
    }

    /// When something has to be done about it; `wanted`: if it is down it shall come up.
    pub(super) fn deadline(&self, wanted: bool) -> Option<Time> {
        match self.state {
            State::Down { until } => wanted.then_some(until),
            _ => self.first_deadline().into_iter().chain(self.hurried).min().or(Some(self.heard + PING)),
        }
    }

    /// When the connection has to be given up.
    pub(super) fn first_deadline(&self) -> Option<Time> {
        self.expected.front().map(|(deadline, _)| *deadline)
    }

    pub(super) fn is_silent(&self, now: Time) -> bool {
        self.is_ready() && self.expected.is_empty() && now >= self.heard + PING
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_is_given_back_though_more_always_waits() {
        let host = Host { name: "h".into(), port: 1 };
        let mut node = Node::new(host, true);
        node.is_ready_now(Time::ZERO);
        node.say(&[b"PING"]);
        for _ in 0..10_000 {
            let whole = node.outgoing().len();
            node.say(&[b"PING"]);
            node.sent(whole);
            assert_eq!(node.outgoing(), b"*1\r\n$4\r\nPING\r\n");
        }
        assert!(node.out.len() < 100, "{} bytes", node.out.len());
    }
}
