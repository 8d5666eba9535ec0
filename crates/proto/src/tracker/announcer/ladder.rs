//! Rounds: which tracker of a ladder is asked (BEP 12).

use std::time::Duration;

use super::Announcer;
use super::api::{LineId, Need};
use super::line::{Phase, Tracker};
use super::timing::NEVER;
use crate::time::Time;

/// No round begins sooner than this after another one ended, whatever the numbers say.
const REST: Duration = Duration::from_secs(1);

/// A run of trackers of which one is in use.
#[derive(Debug)]
pub(super) struct Ladder {
    /// Which, unless all of them.
    pub(super) tier: u16,
    /// When the next round begins.
    next: Time,
    /// Where this round stands.
    trying: Option<Trying>,
}

#[derive(Clone, Copy, Debug)]
struct Trying {
    tracker: u16,
    /// Since when it is being asked; `None` while all wait for room.
    since: Option<Time>,
}

impl Ladder {
    const fn new(tier: u16, now: Time) -> Self {
        Self { tier, next: now, trying: None }
    }

    pub(super) fn deadline(&self, patience: Option<Duration>) -> Time {
        match (self.trying, patience) {
            (None, _) => self.next,
            (Some(Trying { since: Some(since), .. }), Some(patience)) => since + patience,
            _ => NEVER,
        }
    }

    fn rest(&mut self, until: Time) {
        self.trying = None;
        self.next = until;
    }
}

/// What a round makes of a tracker.
enum Standing {
    /// To be asked.
    Due,
    /// In use, and not due before this.
    InUse(Time),
    /// To be passed over.
    Down,
}

impl Announcer {
    /// How long a tracker may stay silent before the next is tried.
    pub(super) fn patience(&self) -> Option<Duration> {
        (!self.private).then_some(self.config.patience)
    }

    fn one_ladder(&self) -> bool {
        self.private || !self.config.all_tiers
    }

    /// Begins anew with all ladders.
    pub(super) fn lay_ladders(&mut self, now: Time) {
        self.ladders.clear();
        self.extend_ladders(now);
    }

    /// Ladders for tiers that have none; if there is only one its next round is now.
    pub(super) fn extend_ladders(&mut self, now: Time) {
        if self.one_ladder() {
            self.ladders.truncate(1);
            match self.ladders.first_mut() {
                Some(ladder) => ladder.tier = 0,
                None => self.ladders.push(Ladder::new(0, now)),
            }
            return self.wake(now);
        }
        for tier in self.list.tiers() {
            if !self.ladders.iter().any(|ladder| ladder.tier == tier) {
                self.ladders.push(Ladder::new(tier, now));
            }
        }
        self.ladders.shrink_to_fit();
    }

    /// Lets every ladder that rests look again.
    pub(super) fn wake(&mut self, now: Time) {
        for ladder in &mut self.ladders {
            ladder.next = ladder.next.min(now);
        }
    }

    fn range(&self, ladder: usize) -> std::ops::Range<usize> {
        if self.one_ladder() { 0..self.list.len() } else { self.list.range(self.ladders[ladder].tier) }
    }

    /// Begins rounds that are due, and goes on where patience ended.
    pub(super) fn climb_all(&mut self, now: Time) {
        let patience = self.patience();
        for at in 0..self.ladders.len() {
            let ladder = &self.ladders[at];
            if ladder.deadline(patience) > now {
                continue;
            }
            let tried = ladder.trying.and_then(|trying| self.list.find(trying.tracker));
            let from = tried.map_or(0, |tried| tried + 1);
            self.climb(now, at, from);
        }
    }

    /// Goes on with a round from a place in the list.
    fn climb(&mut self, now: Time, ladder: usize, from: usize) {
        let range = self.range(ladder);
        for at in from.max(range.start)..range.end {
            match self.standing(now, at) {
                // Comes again when the other one has ended.
                Standing::Due if self.is_held(self.list[at].id) => return self.ladders[ladder].rest(NEVER),
                Standing::Due => return self.try_tracker(now, ladder, at),
                Standing::InUse(next) => return self.ladders[ladder].rest(next.max(now + REST)),
                Standing::Down => {}
            }
        }
        let next = self.list[range].iter().map(Tracker::next_try).min().unwrap_or(NEVER);
        self.ladders[ladder].rest(next.max(now + REST));
    }

    fn standing(&self, now: Time, at: usize) -> Standing {
        let tracker = &self.list[at];
        if self.lanes().any(|lane| tracker.is_due(lane, now)) {
            Standing::Due
        } else if tracker.works() || self.private && tracker.is_busy() {
            Standing::InUse(tracker.next_try())
        } else {
            Standing::Down
        }
    }

    /// Whether a tracker must wait for another one, as a private torrent is at one only (BEP 27).
    pub(super) fn is_held(&self, tracker: u16) -> bool {
        self.private && self.list.iter().any(|other| other.id != tracker && other.is_busy())
    }

    fn try_tracker(&mut self, now: Time, ladder: usize, at: usize) {
        let tracker = self.list[at].id;
        self.ladders[ladder].trying = Some(Trying { tracker, since: None });
        for lane in self.lanes() {
            if self.list[at].is_due(lane, now) {
                self.list[at].open_line(lane);
                self.queue(LineId { tracker, lane });
            }
        }
    }

    /// A request of this tracker was fetched.
    pub(super) fn started(&mut self, now: Time, tracker: u16) {
        let trying = self.ladders.iter_mut().filter_map(|ladder| ladder.trying.as_mut());
        for trying in trying.filter(|trying| trying.tracker == tracker) {
            trying.since.get_or_insert(now);
        }
    }

    /// A tracker answered: it moves to the front, and the round ends.
    pub(super) fn settle(&mut self, now: Time, tracker: u16) {
        let Some(at) = self.list.find(tracker) else { return };
        let next = self.list[at].next_try().max(now + REST);
        self.list.promote(at);
        let Some(ladder) = self.ladder_of(at) else { return };
        let ladder = &mut self.ladders[ladder];
        let others = if ladder.trying.is_none() && ladder.next > now { ladder.next } else { NEVER };
        ladder.rest(next.min(others));
    }

    /// A line failed: if it was the last one of the tracker that is being tried, the round goes on.
    pub(super) fn fall(&mut self, now: Time, id: LineId) {
        let Some(at) = self.list.find(id.tracker) else { return };
        let Some(ladder) = self.ladder_of(at) else { return };
        match self.ladders[ladder].trying {
            Some(trying) if trying.tracker != id.tracker => {}
            Some(_) if self.list[at].is_busy() => {}
            Some(_) if self.list[at].works() => {
                let next = self.list[at].next_try().max(now + REST);
                self.ladders[ladder].rest(next);
            }
            Some(_) => self.climb(now, ladder, at + 1),
            None => self.come_back(now, ladder, at, id),
        }
    }

    /// A line failed outside of a round: there is another one for it if its tracker is in use, or nothing else works, or an
    /// event is to be told; and for others that waited for it to end.
    fn come_back(&mut self, now: Time, ladder: usize, at: usize, id: LineId) {
        let trackers = &self.list[self.range(ladder)];
        let counts = self.list[at].works() || !trackers.iter().any(Tracker::works);
        let others = trackers.iter().map(Tracker::next_try).min().filter(|_| self.private);
        let line = self.list[at].lines.iter().find(|line| line.lane == id.lane);
        let own = line.filter(|line| line.owes || counts).map(|line| self.list[at].may(line));
        if let Some(next) = own.into_iter().chain(others).min() {
            let ladder = &mut self.ladders[ladder];
            ladder.next = ladder.next.min(next.max(now + REST));
        }
    }

    fn ladder_of(&self, at: usize) -> Option<usize> {
        (0..self.ladders.len()).find(|ladder| self.range(*ladder).contains(&at))
    }

    /// Peers are needed more or less than before.
    pub(super) fn set_need(&mut self, now: Time, need: Need) {
        let before = std::mem::replace(&mut self.need, need);
        if need < Need::Starved {
            self.list.iter_mut().flat_map(|tracker| &mut tracker.lines).for_each(|line| line.early = 0);
        } else if before < Need::Starved {
            self.come_early(now);
        }
    }

    fn come_early(&mut self, now: Time) {
        let early = self.config.early;
        let working = self.list.iter_mut().flat_map(|tracker| &mut tracker.lines).filter(|line| line.works());
        let mut any = false;
        for line in working.filter(|line| line.phase == Phase::Idle) {
            let at = line.answered.map_or(now, |answered| line.least.max(answered + early));
            any |= at < line.next;
            line.early = 1;
            line.next = line.next.min(at);
        }
        if any {
            // A round that comes too soon ends with the time of the next.
            self.wake(now);
        }
    }
}
