//! One tracker, and the ways to it.

use std::sync::Arc;
use std::time::Duration;

use super::super::reach::Source;
use super::super::types::Event;
use super::super::url::{Scheme, TrackerUrl};
use super::api::{Lane, LineId, LineStatus, State};
use super::timing::NEVER;
use crate::ids::WireHash;
use crate::time::Time;

/// What works is asked this much before its time if another line of the same tracker is asked, to save rounds.
const SLACK: Duration = Duration::from_secs(30);

/// A tracker of one torrent.
#[derive(Debug)]
pub(super) struct Tracker {
    pub(super) id: u16,
    pub(super) tier: u16,
    pub(super) source: Source,
    pub(super) url: Arc<TrackerUrl>,
    /// Those that were ever wanted.
    pub(super) lines: Vec<Line>,
}

impl Tracker {
    pub(super) fn line(&mut self, lane: Lane) -> Option<&mut Line> {
        self.lines.iter_mut().find(|line| line.lane == lane)
    }

    /// The line of `lane`, as new if there is none yet.
    pub(super) fn open_line(&mut self, lane: Lane) -> &mut Line {
        let at = self.lines.iter().position(|line| line.lane == lane).unwrap_or_else(|| {
            self.lines.reserve_exact(1);
            self.lines.push(Line::new(lane));
            self.lines.len() - 1
        });
        &mut self.lines[at]
    }

    pub(super) fn line_ids(&self) -> impl Iterator<Item = LineId> {
        self.lines.iter().map(|line| LineId { tracker: self.id, lane: line.lane })
    }

    /// Whether the last answer of any of its lines was a good one.
    pub(super) fn works(&self) -> bool {
        self.lines.iter().any(Line::works)
    }

    /// Whether anything is being asked, or waits to be.
    pub(super) fn is_busy(&self) -> bool {
        self.lines.iter().any(|line| line.phase != Phase::Idle)
    }

    /// When the first of its lines may be asked that are not.
    pub(super) fn next_try(&self) -> Time {
        let idle = self.lines.iter().filter(|line| line.phase == Phase::Idle && !line.gone);
        idle.map(|line| self.may(line)).min().unwrap_or(NEVER)
    }

    /// When a line may be asked. One that lacks its family is left alone as long as another one works.
    pub(super) fn may(&self, line: &Line) -> Time {
        let absent = if self.works() { line.absent } else { Time::ZERO };
        line.may().max(absent)
    }

    /// Whether it is time to ask over `lane`.
    pub(super) fn is_due(&self, lane: Lane, now: Time) -> bool {
        let line = self.lines.iter().find(|line| line.lane == lane);
        line.is_none_or(|line| line.is_due(now) && (line.absent <= now || !self.works()))
    }

    /// Whether it understands `event=paused`, which has no number in BEP 15.
    pub(super) fn knows_paused(&self) -> bool {
        matches!(self.url.scheme(), Scheme::Http | Scheme::Https)
    }
}

/// Where a question stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Idle,
    /// The caller knows, and will ask when there is room.
    Queued,
    /// It was given to the caller, with this event.
    Asked(Event),
}

/// One way to one tracker. There are tens of thousands in a process.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) lane: Lane,
    pub(super) phase: Phase,
    /// When it is time, after an answer; when to try again, after a failure.
    pub(super) next: Time,
    /// No announce before, unless it tells of an event.
    pub(super) least: Time,
    /// When it answered last.
    pub(super) answered: Option<Time>,
    /// In a row.
    pub(super) failures: u8,
    /// Until when it is left alone if its tracker can be reached otherwise: there was no address.
    pub(super) absent: Time,
    /// The last failure told of the tracker's machine, not of this torrent.
    pub(super) silent: bool,
    /// Early announces in a row.
    pub(super) early: u8,
    /// We have no address of this family.
    pub(super) gone: bool,
    /// The tracker holds us in its list: it answered an announce, and no farewell was sent.
    pub(super) known: bool,
    /// It has yet to hear that the torrent became whole.
    pub(super) owes: bool,
    pub(super) seeds: Option<u32>,
    pub(super) leeches: Option<u32>,
    pub(super) peers: u64,
    /// What is there rarely.
    pub(super) words: Option<Box<Words>>,
}

#[derive(Debug, Default)]
pub(super) struct Words {
    pub(super) error: Option<String>,
    pub(super) warning: Option<String>,
    pub(super) tracker_id: Option<Box<[u8]>>,
}

impl Line {
    pub(super) const fn new(lane: Lane) -> Self {
        Self {
            lane,
            phase: Phase::Idle,
            next: Time::ZERO,
            least: Time::ZERO,
            answered: None,
            failures: 0,
            absent: Time::ZERO,
            silent: false,
            early: 0,
            gone: false,
            known: false,
            owes: false,
            seeds: None,
            leeches: None,
            peers: 0,
            words: None,
        }
    }

    pub(super) const fn works(&self) -> bool {
        self.failures == 0 && self.answered.is_some() && !self.gone
    }

    /// Whether it is time, or nearly so.
    fn is_due(&self, now: Time) -> bool {
        let slack = if self.works() { SLACK } else { Duration::ZERO };
        let next = if self.is_urgent() { Time::ZERO } else { self.next };
        self.phase == Phase::Idle && next <= now + slack && (self.owes || self.least <= now)
    }

    /// When it may be asked. What it has to be told does not wait for the `min interval`, nor for its turn if it works.
    fn may(&self) -> Time {
        match (self.is_urgent(), self.owes) {
            (true, _) => Time::ZERO,
            (_, true) => self.next,
            _ => self.next.max(self.least),
        }
    }

    const fn is_urgent(&self) -> bool {
        self.owes && self.works()
    }

    /// How long until the next announce of a torrent that lacks peers: `early` at first, twice as long each time.
    pub(super) fn early_wait(&mut self, early: Duration, interval: Duration, least: Duration) -> Duration {
        let wait = least.max(early.saturating_mul(1 << self.early.min(16)));
        self.early = self.early.saturating_add(1);
        wait.min(interval)
    }

    pub(super) fn words(&mut self) -> &mut Words {
        self.words.get_or_insert_default()
    }

    pub(super) fn tracker_id(&self) -> Option<Box<[u8]>> {
        self.words.as_ref().and_then(|words| words.tracker_id.clone())
    }

    /// For the user; `may` as its tracker says.
    pub(super) fn status(&self, hash: WireHash, may: Time) -> LineStatus {
        let words = self.words.as_deref();
        let idle = self.phase == Phase::Idle && may != NEVER && !self.gone;
        LineStatus {
            family: self.lane.family,
            hash,
            state: self.state(),
            answered: self.answered,
            next: idle.then_some(may),
            failures: self.failures,
            error: words.and_then(|words| words.error.clone()),
            warning: words.and_then(|words| words.warning.clone()),
            seeds: self.seeds,
            leeches: self.leeches,
            peers: self.peers,
        }
    }

    fn state(&self) -> State {
        match self.phase {
            Phase::Queued => State::Queued,
            Phase::Asked(_) => State::Asking,
            Phase::Idle if self.next == NEVER || self.gone => State::Off,
            Phase::Idle if self.failures > 0 => State::Failing,
            Phase::Idle if self.answered.is_some() => State::Working,
            Phase::Idle => State::Idle,
        }
    }
}
