//! Everything that a connection does because time passed.

use super::config::{HANDSHAKE_TIMEOUT, KEEP_ALIVE, REJECT_TIMEOUT, SILENCE_TIMEOUT, STALL_TIMEOUT};
use super::{Departure, TimeoutKind};
use crate::time::Time;

/// The clocks of one connection.
#[derive(Debug)]
pub(super) struct Timers {
    /// Until when the handshake must be done; `None` once it is.
    handshake_by: Option<Time>,
    /// When something came last.
    heard: Time,
    /// When we wrote something last.
    spoke: Time,
    /// Since when our bytes lie without any leaving; `None` while none lie.
    stuck: Option<Time>,
    /// Until when what a choke left hanging must be rejected.
    rejects_by: Option<Time>,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Close(Departure),
    KeepAlive,
    GiveUpStale,
}

impl Timers {
    pub(super) fn new(now: Time) -> Self {
        Self {
            handshake_by: Some(now + HANDSHAKE_TIMEOUT),
            heard: now,
            spoke: now,
            stuck: None,
            rejects_by: None,
        }
    }

    pub(super) const fn greeted(&mut self) {
        self.handshake_by = None;
    }

    pub(super) const fn heard(&mut self, now: Time) {
        self.heard = now;
    }

    pub(super) const fn spoke(&mut self, now: Time) {
        self.spoke = now;
    }

    /// Some of our bytes left.
    pub(super) fn progress(&mut self, now: Time) {
        self.stuck = self.stuck.map(|_| now);
    }

    /// Whether any of our bytes wait to leave.
    pub(super) fn waiting(&mut self, now: Time, waiting: bool) {
        self.stuck = waiting.then(|| self.stuck.unwrap_or(now));
    }

    /// The remote choked us and left requests hanging, or that is settled.
    pub(super) fn await_rejects(&mut self, now: Time, hanging: bool) {
        self.rejects_by = hanging.then(|| now + REJECT_TIMEOUT);
    }

    /// What is due at `now`, one thing at a time; the caller sees to it that it is not due again.
    pub(super) fn due(&self, now: Time) -> Option<Due> {
        self.all().into_iter().flatten().find(|&(at, _)| at <= now).map(|(_, due)| due)
    }

    /// When the next thing is due.
    pub(super) fn next(&self) -> Option<Time> {
        self.all().into_iter().flatten().map(|(at, _)| at).min()
    }

    fn all(&self) -> [Option<(Time, Due)>; 5] {
        let timeout = |kind| Due::Close(Departure::Timeout(kind));
        let greeted = self.handshake_by.is_none();
        [
            self.handshake_by.map(|at| (at, timeout(TimeoutKind::Handshake))),
            greeted.then(|| (self.heard + SILENCE_TIMEOUT, timeout(TimeoutKind::Silence))),
            self.stuck.map(|at| (at + STALL_TIMEOUT, timeout(TimeoutKind::Stalled))),
            self.rejects_by.map(|at| (at, Due::GiveUpStale)),
            greeted.then(|| (self.spoke + KEEP_ALIVE, Due::KeepAlive)),
        ]
    }
}
