//! The task that asks all trackers for all torrents of a client: it carries notes from the [`Desk`](crate::desk::Desk) and answers from the
//! [`Asker`] to the [`Fleet`], and what that says to torrents. It decides one thing itself, whether a torrent that rests
//! is woken for peers.
//!
//! A seed that rests is not woken for peers that can call it: those do, once they hear of it from the same tracker. So
//! it is woken only if the tracker counts somebody who is no seed, and gives an address further out than any
//! from which we have ever been called ([`Callers`]): we may stand behind a translator of addresses, where
//! nobody reaches us. Tested in `tests/trackers.rs`.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use samara_proto::torrent::Source;
use samara_proto::tracker::announcer::Ask;
use samara_proto::tracker::announcer::{self, Need, Problem, Report, ReportKind};
use samara_proto::tracker::fleet::{Fleet, Input, Output, Ticket, TorrentKey};
use samara_proto::tracker::reach::scope;
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio::time::Instant;

use super::{Answer, AskError, Asker, Question, Told, What};
use crate::api::TorrentEvent;
use crate::client::Shared;
use crate::desk::{Notes, TrackerNote};
use crate::entry::{Caller, Entry, Look};
use crate::torrent::ToTorrent;

/// When the machine names no deadline.
const FAR: Duration = Duration::from_secs(3600);

/// From how far out we have been called. Copies are the same.
#[derive(Debug)]
pub(crate) struct Callers(AtomicU8);

impl Default for Callers {
    fn default() -> Self {
        Self(AtomicU8::new(u8::MAX))
    }
}

impl Callers {
    /// Somebody called from there.
    pub(crate) fn note(&self, from: IpAddr) {
        if let Some(scope) = scope(from) {
            self.0.fetch_min(scope as u8, Ordering::Relaxed);
        }
    }

    /// Whether somebody at `ip` can reach us, as far as is known.
    pub(crate) fn reach_us_from(&self, ip: IpAddr) -> bool {
        scope(ip).is_some_and(|scope| scope as u8 >= self.0.load(Ordering::Relaxed))
    }
}

/// Runs until all is said after [`Desk::stop_all`](crate::desk::Desk::stop_all).
pub(crate) async fn run(shared: Arc<Shared>, asker: Asker, fleet: Fleet) {
    let (asker, asks) = (Arc::new(asker), JoinSet::new());
    let task = Task {
        shared,
        asker,
        fleet,
        asks,
        open: HashMap::new(),
        torrents: BTreeMap::new(),
        leeches: None,
        answering: None,
    };
    task.run().await;
}

/// An answer, and to which question.
type Asked = (Ticket, Result<Told, AskError>);

struct Task {
    shared: Arc<Shared>,
    asker: Arc<Asker>,
    fleet: Fleet,
    asks: JoinSet<Asked>,
    open: HashMap<Ticket, AbortHandle>,
    torrents: BTreeMap<TorrentKey, Arc<Entry>>,
    /// How many of a swarm are no seeds, as the last report had it.
    leeches: Option<(TorrentKey, u32)>,
    /// The address of the tracker that answered last.
    answering: Option<IpAddr>,
}

impl Task {
    async fn run(mut self) {
        let mut stopping = false;
        loop {
            self.settle();
            if stopping && self.fleet.is_empty() {
                break;
            }
            let deadline = self.fleet.deadline().map(|due| self.shared.clock.instant(due));
            tokio::select! {
                notes = self.shared.desk.trackers.take() => {
                    stopping = notes.stop;
                    self.notes(notes);
                }
                Some(asked) = self.asks.join_next() => self.asked(asked),
                () = tokio::time::sleep_until(deadline.unwrap_or_else(|| Instant::now() + FAR)) => {
                    self.handle(Input::Tick);
                }
            }
        }
        self.shared.desk.trackers.close();
        self.asks.shutdown().await;
        self.asker.close().await;
    }

    fn handle(&mut self, input: Input) {
        self.fleet.handle(self.shared.clock.now(), input);
    }

    fn notes(&mut self, notes: Notes<TrackerNote>) {
        for (torrent, note) in notes.torrents {
            self.note(torrent, note);
        }
        if notes.stop {
            self.handle(Input::Stop);
        }
    }

    fn note(&mut self, torrent: TorrentKey, note: TrackerNote) {
        if let Some((entry, mut new)) = note.add {
            new.totals = entry.tally.totals();
            self.torrents.insert(torrent, entry);
            self.handle(Input::Added { torrent, new });
        }
        let totals = self.torrents.get(&torrent).map(|entry| announcer::Input::Totals(entry.tally.totals()));
        let identified =
            note.identified.map(|(hashes, private)| announcer::Input::Identified { hashes, private });
        let inputs = [
            totals,
            identified,
            note.need.map(announcer::Input::Need),
            note.partial_seed.map(announcer::Input::PartialSeed),
            note.completed.then_some(announcer::Input::Completed),
            note.stop.then_some(announcer::Input::Stop),
        ];
        for input in inputs.into_iter().flatten() {
            self.handle(Input::Torrent { torrent, input });
        }
        for reply in note.status {
            let _ = reply.send(self.fleet.status(torrent).unwrap_or_default());
        }
    }

    fn asked(&mut self, asked: Result<Asked, JoinError>) {
        // What was cancelled has no ticket any more.
        let Ok((ticket, result)) = asked else { return };
        self.open.remove(&ticket);
        let input = match result {
            Ok(Told { from, answer: Answer::Announce(response), .. }) => {
                self.answering = Some(from);
                Input::Answered { ticket, from: Some(from), response: *response }
            }
            Ok(_) => Input::Failed { ticket, problem: Problem::Failed("it answers something else".into()) },
            Err(error) => Input::Failed { ticket, problem: problem(error) },
        };
        self.handle(input);
    }

    fn settle(&mut self) {
        while let Some(output) = self.fleet.poll() {
            match output {
                Output::Ask { ticket, torrent, ask } => self.ask(ticket, torrent, *ask),
                Output::Cancel(ticket) => self.open.remove(&ticket).iter().for_each(AbortHandle::abort),
                Output::Peers { torrent, peers } => self.peers(torrent, peers),
                Output::ExternalIp { torrent, ip } => self.seen(torrent, ip),
                Output::Report { torrent, report } => self.report(torrent, report),
                Output::Stopped(torrent) => drop(self.torrents.remove(&torrent)),
            }
        }
    }

    /// Asks in the background.
    fn ask(&mut self, ticket: Ticket, torrent: TorrentKey, ask: Ask) {
        let Ask { url, source, family, tracker_id, mut request } = ask;
        if let Some(entry) = self.torrents.get(&torrent) {
            let totals = entry.tally.totals();
            (request.uploaded, request.downloaded) = (totals.uploaded, totals.downloaded);
            request.left = totals.left;
        }
        let what = What::Announce { request: Box::new(request), tracker_id };
        let (asker, question) = (Arc::clone(&self.asker), Question { url, source, family, what });
        let asked = self.asks.spawn(async move { (ticket, asker.ask(&question).await) });
        self.open.insert(ticket, asked);
    }

    fn report(&mut self, torrent: TorrentKey, report: Report) {
        let Some(entry) = self.torrents.get(&torrent) else { return };
        if let ReportKind::Answered { leeches, peers, .. } = &report.what {
            self.leeches = Some((torrent, leeches.unwrap_or(*peers as u32)));
        }
        let event = TorrentEvent::Tracker(Arc::new(report));
        self.shared.news.send((entry.hashes(), event.clone()));
        entry.news.send(event);
    }

    /// An owner that is busy can do without: many others say the same.
    fn seen(&self, torrent: TorrentKey, ip: IpAddr) {
        let entry = self.torrents.get(&torrent).map(|entry| entry.look());
        if let (Some(Look::Awake(owner)), Some(by)) = (entry, self.answering) {
            let _ = owner.try_send(ToTorrent::Seen { by, ip });
        }
    }

    /// Whoever is given peers gets them behind this task's back, for it must not wait.
    fn peers(&self, torrent: TorrentKey, peers: Vec<SocketAddr>) {
        let Some(entry) = self.torrents.get(&torrent) else { return };
        let owner = match entry.look() {
            Look::Awake(owner) => Some(owner),
            Look::Dormant(_) if self.is_worth_waking(torrent, &peers) => {
                entry.reach(&self.shared, Caller::Stranger)
            }
            Look::Dormant(_) | Look::Ended => None,
        };
        if let Some(owner) = owner {
            self.shared
                .spawn(async move { drop(owner.send(ToTorrent::Candidates(Source::Tracker, peers)).await) });
        }
    }

    fn is_worth_waking(&self, torrent: TorrentKey, peers: &[SocketAddr]) -> bool {
        let leeches = self.leeches.filter(|(of, _)| *of == torrent).map_or(0, |(_, leeches)| leeches);
        leeches > 0 && peers.iter().any(|peer| !self.shared.callers.reach_us_from(peer.ip()))
    }
}

fn problem(error: AskError) -> Problem {
    match error {
        AskError::Refused(failure) => Problem::Refused(failure),
        AskError::NoAddress(_) | AskError::Unreachable => Problem::NoAddress,
        AskError::Forbidden(refused) => Problem::Forbidden(refused),
        AskError::Silent => Problem::Silent,
        AskError::Failed(text) => Problem::Failed(text),
        AskError::Useless(text) => Problem::Useless(text),
    }
}

/// How much a torrent wants peers.
pub(crate) const fn need(downloading: bool, connected: u32, known: u32) -> Need {
    /// With so many known there is somebody to turn to.
    const ENOUGH: u32 = 100;
    match (downloading, connected) {
        (false, _) => Need::Few,
        (true, 0) => Need::Starved,
        (true, _) if known < ENOUGH => Need::Many,
        (true, _) => Need::Few,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_called_from_further_out_shows_that_others_can() {
        let callers = Callers::default();
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert!(!callers.reach_us_from(ip("127.0.0.1")));
        callers.note(ip("192.168.1.9"));
        callers.note(ip("127.0.0.1"));
        assert!(callers.reach_us_from(ip("127.0.0.1")) && callers.reach_us_from(ip("fd00::1")));
        assert!(!callers.reach_us_from(ip("198.51.100.1")));
        callers.note(ip("198.51.100.1"));
        assert!(callers.reach_us_from(ip("2001:db8::1")));
    }
}
