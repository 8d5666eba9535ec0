//! One torrent and its trackers: whom to ask, when, and what to say.
//!
//! Specs: BEP 3 (events), 7 (both families, `key`), 12 (tiers), 21 (partial seeds), 24, 27 (private), 31 (`retry in`), and
//! 52 (both hashes of a hybrid). The machine does not send: [`Output::Due`] says that a tracker is to be asked, and when
//! there is room the caller fetches the request with [`Announcer::ask`], so that a torrent that had to wait says what is
//! true by then. [`fleet`](super::fleet) does that for all torrents of a process.
//!
//! A *line* is one way to one tracker: over one family, under one hash. A *ladder* is a run of trackers of which one
//! is in use: each tier is one, or all tiers together ([`Config::all_tiers`]). When it is time a *round* goes up the ladder:
//! the first tracker that may be asked is, over all its lines; if one answers the round ends and the tracker moves
//! to the front of its tier; if none does the next tracker is tried. What failed is passed over until its back-off has
//! ended.
//!
//! It refuses to ask more often than a tracker allows, whatever the caller or a hostile tracker says; more than
//! [`MAX_TRACKERS`]; and trackers for peers in browsers. Tested by each rule in `tests`,
//! by the fuzz target `tracker_fleet`, and in virtual weeks by `crates/proto/tests/trackers.rs`.

mod api;
mod ladder;
mod line;
mod list;
mod say;
#[cfg(test)]
pub(super) mod tests;
mod timing;

use std::collections::VecDeque;
use std::sync::Arc;

use self::api::Lane;
pub use self::api::{
    Ask, Config, Identity, Input, LineId, LineStatus, MAX_TRACKERS, Need, NewTorrent, Output, Problem,
    Report, ReportKind, State, Totals, TrackerStatus, Urgency,
};
use self::ladder::Ladder;
use self::line::{Line, Phase, Tracker};
use self::list::List;
use self::timing::{NEVER, NO_ADDRESS, after_answer, after_failure};
use super::reach::Source;
use super::types::{AnnounceResponse, Event, Family};
use super::url::TrackerUrl;
use crate::ids::{InfoHashes, WireHash};
use crate::rng::Rng;
use crate::time::Time;

/// Most characters kept of a problem's text.
const MOST_TEXT: usize = 300;

/// The machine. Some 200 bytes, and about 270 for each tracker in use over both families.
#[derive(Debug)]
pub struct Announcer {
    config: Arc<Config>,
    rng: Rng,
    key: u32,
    hashes: [Option<WireHash>; 2],
    private: bool,
    partial_seed: bool,
    completed: bool,
    need: Need,
    totals: Totals,
    list: List,
    ladders: Vec<Ladder>,
    /// Since when trackers are told of the end.
    stopping: Option<Time>,
    stopped: bool,
    out: VecDeque<Output>,
}

impl Announcer {
    /// A machine whose first outputs are there at once. `seed` is to be secret, and another one for each torrent and run:
    /// the `key` follows from it.
    pub fn new(config: Arc<Config>, seed: u64, now: Time, new: NewTorrent) -> Self {
        let mut rng = Rng::new(seed);
        // 0 is none.
        let key = (rng.next_u64() as u32).max(1);
        let list = List::new(&mut rng, new.tiers, new.user);
        let mut it = Self {
            config,
            rng,
            key,
            hashes: [None; 2],
            private: false,
            partial_seed: new.partial_seed,
            completed: false,
            need: new.need,
            totals: new.totals,
            list,
            ladders: Vec::new(),
            stopping: None,
            stopped: false,
            out: VecDeque::new(),
        };
        it.set_hashes(&new.hashes);
        if new.private {
            it.make_private();
        }
        it.lay_ladders(now);
        it.climb_all(now);
        it
    }

    /// Takes in what happened. Anything that does not fit, such as an answer nobody waits for, is passed over; after
    /// [`Input::Stop`] only answers, failures, totals and time count.
    pub fn handle(&mut self, now: Time, input: Input) {
        let ends =
            matches!(input, Input::Tick | Input::Answered { .. } | Input::Failed { .. } | Input::Totals(_));
        if self.stopped || self.stopping.is_some() && !ends {
            return;
        }
        match input {
            Input::Tick => {}
            Input::Answered { line, response } => self.answered(now, line, response),
            Input::Failed { line, problem } => self.failed(now, line, problem),
            Input::Totals(totals) => self.totals = totals,
            Input::Completed => self.completed(),
            Input::PartialSeed(partial) => self.partial_seed = partial,
            Input::Need(need) => self.set_need(now, need),
            Input::Identified { hashes, private } => self.identified(now, &hashes, private),
            Input::Trackers { urls, source } => self.add(now, urls, source),
            Input::AnnounceNow => self.hurry(now),
            Input::Network(config) => self.network(now, config),
            Input::Back { url, family } => self.back(now, &url, family),
            Input::Stop => self.stop(now),
        }
        self.climb_all(now);
        self.end(now);
    }

    /// What the machine wants next, until there is nothing.
    pub fn poll(&mut self) -> Option<Output> {
        let output = self.out.pop_front();
        if output.is_none() {
            // Room for outputs would be most of what an announcer takes.
            self.out = VecDeque::new();
        }
        output
    }

    /// When to come back with [`Input::Tick`]; `None` if only other inputs can change anything. After a `handle` it lies
    /// behind its `now`.
    pub fn deadline(&self) -> Option<Time> {
        let patience = self.patience();
        let next = || self.ladders.iter().map(|ladder| ladder.deadline(patience)).min().unwrap_or(NEVER);
        let next = self.stopping.map_or_else(next, |since| self.end_at(since));
        Some(next).filter(|next| *next != NEVER && !self.stopped)
    }

    /// How each tracker goes, in the order to try.
    pub fn status(&self) -> Vec<TrackerStatus> {
        let status = |tracker: &Tracker| TrackerStatus {
            url: Arc::clone(&tracker.url),
            tier: tracker.tier,
            source: tracker.source,
            lines: tracker
                .lines
                .iter()
                .filter_map(|line| Some(line.status(self.hash(line.lane)?, tracker.may(line))))
                .collect(),
        };
        self.list.iter().map(status).collect()
    }

    fn hash(&self, lane: Lane) -> Option<WireHash> {
        self.hashes[usize::from(lane.second)]
    }

    /// Notes hashes; those that are there keep their place, which the lines name.
    fn set_hashes(&mut self, hashes: &InfoHashes) {
        let halves = [hashes.v1().map(|hash| WireHash(hash.0)), hashes.v2().map(|hash| hash.truncated())];
        for hash in halves.into_iter().flatten() {
            let free = self.hashes.iter().position(Option::is_none);
            if let (false, Some(free)) = (self.hashes.contains(&Some(hash)), free) {
                self.hashes[free] = Some(hash);
            }
        }
    }

    /// The lanes there are, with the address families and hashes that we have.
    fn lanes(&self) -> impl Iterator<Item = Lane> + use<> {
        let (hashes, identity) = (self.hashes, self.config.identity);
        [false, true].into_iter().filter(move |second| hashes[usize::from(*second)].is_some()).flat_map(
            move |second| {
                let families =
                    [Family::V4, Family::V6].into_iter().filter(move |it| identity.port(*it).is_some());
                families.map(move |family| Lane { second, family })
            },
        )
    }

    fn answered(&mut self, now: Time, id: LineId, mut response: AnnounceResponse) {
        let (interval, least) = after_answer(&self.config, &response);
        let starved = (self.need == Need::Starved).then_some(self.config.early);
        let Some(line) = self.list.line(id) else { return };
        let Phase::Asked(event) = line.phase else { return };
        line.phase = Phase::Idle;
        line.failures = 0;
        line.answered = Some(now);
        line.absent = Time::ZERO;
        line.known = event != Event::Stopped;
        line.owes &= event != Event::Completed;
        let wait = starved.map_or(interval, |early| line.early_wait(early, interval, least));
        (line.next, line.least) = (now + wait, now + least);
        (line.seeds, line.leeches) = (response.complete, response.incomplete);
        line.peers = line.peers.saturating_add(response.peers.len() as u64);
        if line.words.is_some() || response.warning.is_some() || response.tracker_id.is_some() {
            let words = line.words();
            words.error = None;
            words.warning = response.warning.take();
            words.tracker_id = response.tracker_id.take().or(words.tracker_id.take());
        }
        self.tell_answer(id, response);
        if self.ends(id.tracker) {
            self.queue_farewell(id);
        } else {
            self.queue_owed(id);
            self.settle(now, id.tracker);
        }
    }

    fn failed(&mut self, now: Time, id: LineId, mut problem: Problem) {
        cut(&mut problem);
        let Some(line) = self.list.line(id).filter(|line| line.phase != Phase::Idle) else { return };
        line.phase = Phase::Idle;
        line.failures = line.failures.saturating_add(1);
        line.silent = problem.is_transport();
        line.absent = if problem == Problem::NoAddress { now + NO_ADDRESS } else { Time::ZERO };
        line.words().error = Some(problem.to_string());
        let wait = after_failure(&self.config, &mut self.rng, line.failures, &problem);
        line.next = wait.map_or(NEVER, |wait| now + wait);
        if self.ends(id.tracker) {
            self.list.line(id).into_iter().for_each(|line| line.known = false);
        } else {
            self.fall(now, id);
        }
        self.report(id, ReportKind::Failed(problem));
    }

    fn tell_answer(&mut self, id: LineId, response: AnnounceResponse) {
        let warning = self.list.line(id).and_then(|line| line.words.as_ref()?.warning.clone());
        let what = ReportKind::Answered {
            peers: response.peers.len(),
            seeds: response.complete,
            leeches: response.incomplete,
            warning,
        };
        self.report(id, what);
        self.out.extend(response.external_ip.map(Output::ExternalIp));
        if !response.peers.is_empty() && !self.ends(id.tracker) {
            self.out.push_back(Output::Peers(response.peers));
        }
    }

    fn report(&mut self, id: LineId, what: ReportKind) {
        if let (Some(tracker), Some(hash)) = (self.list.tracker(id.tracker), self.hash(id.lane)) {
            let report = Report { url: Arc::clone(&tracker.url), family: id.lane.family, hash, what };
            self.out.push_back(Output::Report(report));
        }
    }

    /// The torrent became whole: who knows us is told, once. Trackers count downloads by it, so should pieces be lost and
    /// come again, that is none.
    fn completed(&mut self) {
        self.totals.left = 0;
        if std::mem::replace(&mut self.completed, true) {
            return;
        }
        for id in self.list.line_ids() {
            if let Some(line) = self.list.line(id) {
                line.owes |= line.known;
            }
            self.queue_owed(id);
        }
    }

    fn identified(&mut self, now: Time, hashes: &InfoHashes, private: bool) {
        let before = self.hashes;
        self.set_hashes(hashes);
        if private && !self.private {
            self.make_private();
            self.lay_ladders(now);
        } else if self.hashes != before {
            self.wake(now);
        }
    }

    /// BEP 27: only its own trackers, and one at a time; others that know of us are told that we left.
    fn make_private(&mut self) {
        self.private = true;
        self.unqueue();
        for id in self.list.keep_own() {
            self.queue_farewell(id);
        }
    }

    /// Whether a tracker is to hear of the end alone.
    fn ends(&self, tracker: u16) -> bool {
        self.stopping.is_some() || self.list.has_left(tracker)
    }

    fn add(&mut self, now: Time, urls: Vec<Arc<TrackerUrl>>, source: Source) {
        // Nobody adds to a private torrent's trackers, unless it has none (BEP 27).
        if self.private && !self.list.is_empty() {
            return;
        }
        let shift = self.list.add(urls, source);
        self.ladders.iter_mut().for_each(|ladder| ladder.tier += shift);
        self.extend_ladders(now);
    }

    /// The user wants it now: failures are forgotten, and early announces are not counted.
    fn hurry(&mut self, now: Time) {
        for line in self.list.iter_mut().flat_map(|tracker| &mut tracker.lines) {
            line.early = 0;
            (line.next, line.absent) = (line.next.min(now), Time::ZERO);
        }
        self.wake(now);
    }

    /// Failures are forgotten; lines of a family that is gone rest until it is back, and remember what their tracker said.
    fn network(&mut self, now: Time, config: Arc<Config>) {
        self.config = config;
        let identity = self.config.identity;
        for line in self.list.iter_mut().flat_map(|tracker| &mut tracker.lines) {
            line.gone = identity.port(line.lane.family).is_none();
            line.failures = line.failures.min(1);
            (line.next, line.absent) = (line.next.min(now), Time::ZERO);
        }
        self.wake(now);
    }

    /// A tracker's machine is back: those of its lines that it left waiting need not wait longer.
    fn back(&mut self, now: Time, url: &TrackerUrl, family: Family) {
        let mut any = false;
        for tracker in self.list.iter_mut().filter(|tracker| tracker.url.is_same_host(url)) {
            let waits = |line: &&mut Line| line.lane.family == family && line.failures > 0 && line.silent;
            for line in tracker.lines.iter_mut().filter(waits) {
                (line.next, any) = (line.next.min(now), true);
            }
        }
        if any {
            self.wake(now);
        }
    }

    fn stop(&mut self, now: Time) {
        self.stopping = Some(now);
        self.ladders.clear();
        self.unqueue();
        for id in self.list.line_ids() {
            self.queue_farewell(id);
        }
    }

    /// Takes back what waits for room.
    fn unqueue(&mut self) {
        let lines = self.list.iter_mut().flat_map(|tracker| &mut tracker.lines);
        lines.filter(|line| line.phase == Phase::Queued).for_each(|line| line.phase = Phase::Idle);
    }

    fn end(&mut self, now: Time) {
        if self.stopping.is_some_and(|since| now >= self.end_at(since)) {
            self.stopped = true;
            self.out.push_back(Output::Stopped);
        }
    }

    /// When to give up telling trackers of the end that began at `since`: at once if nothing is open.
    fn end_at(&self, since: Time) -> Time {
        let busy = |line: &&Line| line.phase != Phase::Idle;
        let lines = self.list.all().flat_map(|tracker| &tracker.lines).filter(busy);
        let wait = |line: &Line| if line.works() { self.config.farewell } else { self.config.hope };
        since + lines.map(wait).max().unwrap_or_default()
    }
}

/// Bounds what is kept of a text that the caller gives.
fn cut(problem: &mut Problem) {
    let text = match problem {
        Problem::Failed(text) | Problem::Useless(text) => text,
        Problem::Refused(failure) => &mut failure.reason,
        _ => return,
    };
    if let Some((at, _)) = text.char_indices().nth(MOST_TEXT) {
        text.truncate(at);
    }
}
