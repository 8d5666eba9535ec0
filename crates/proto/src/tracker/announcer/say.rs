//! What an announce says: event, numbers, how many peers.

use std::sync::Arc;

use super::super::types::{AnnounceRequest, Event, Family};
use super::super::url::Scheme;
use super::Announcer;
use super::api::{Ask, LineId, Need, Output, Urgency};
use super::line::{Line, Phase, Tracker};
use crate::time::Time;

/// Peers asked for when as many as possible are wanted: libtorrent's `num_want`, more than most trackers give.
const MANY: u32 = 200;

/// When a few will do; trackers commonly give 50.
const FEW: u32 = 30;

/// As many as an answer over UDP and IPv6 holds without being cut into fragments, which many routers drop:
/// (1500 - 40 - 8 - 20) / 18 (RFC 8200, RFC 768, BEP 15).
const MOST_UDP6: u32 = 79;

impl Announcer {
    /// The announce of a line that was said to be due, as it is true now; the caller sends it, and tells what became of
    /// it. `None` if it is not wanted any more.
    pub fn ask(&mut self, now: Time, id: LineId) -> Option<Ask> {
        if self.stopped {
            return None;
        }
        let hash = self.hash(id.lane)?;
        let tracker = self.list.tracker(id.tracker)?;
        let line = tracker.lines.iter().find(|line| line.lane == id.lane && line.phase == Phase::Queued)?;
        let event = self.event(tracker, line);
        let ask = Ask {
            url: Arc::clone(&tracker.url),
            source: tracker.source,
            family: id.lane.family,
            tracker_id: line.tracker_id(),
            request: AnnounceRequest {
                info_hash: hash,
                peer_id: self.config.identity.peer_id,
                port: self.config.identity.port(id.lane.family).unwrap_or(0),
                uploaded: self.totals.uploaded,
                downloaded: self.totals.downloaded,
                left: self.totals.left,
                event,
                numwant: Some(self.numwant(tracker, id.lane.family, event)),
                key: self.key,
                ip: None,
            },
        };
        self.list.line(id)?.phase = Phase::Asked(event);
        self.started(now, id.tracker);
        Some(ask)
    }

    fn event(&self, tracker: &Tracker, line: &Line) -> Event {
        if self.ends(tracker.id) {
            Event::Stopped
        } else if !line.known {
            Event::Started
        } else if line.owes {
            Event::Completed
        } else if self.partial_seed && self.totals.left > 0 && tracker.knows_paused() {
            Event::Paused
        } else {
            Event::None
        }
    }

    fn numwant(&self, tracker: &Tracker, family: Family, event: Event) -> u32 {
        let want = match self.need {
            _ if event == Event::Stopped => 0,
            Need::None => 0,
            Need::Few => FEW,
            Need::Many | Need::Starved => MANY,
        };
        let fragments = tracker.url.scheme() == Scheme::Udp && family == Family::V6;
        if fragments { want.min(MOST_UDP6) } else { want }
    }

    /// Says that a line is due; it has to be idle.
    pub(super) fn queue(&mut self, id: LineId) {
        let Some(tracker) = self.list.tracker(id.tracker) else { return };
        let url = Arc::clone(&tracker.url);
        let urgency = self.urgency(id);
        if let Some(line) = self.list.line(id) {
            line.phase = Phase::Queued;
            self.out.push_back(Output::Due { line: id, url, family: id.lane.family, urgency });
        }
    }

    fn urgency(&mut self, id: LineId) -> Urgency {
        let (downloads, ends) = (self.totals.left > 0 && !self.partial_seed, self.ends(id.tracker));
        match self.list.line(id) {
            _ if ends => Urgency::Stop,
            Some(line) if line.owes || downloads && !line.known && line.failures == 0 => Urgency::Start,
            _ => Urgency::Regular,
        }
    }

    /// Has a line that works tell that the torrent became whole; one that does not tells it when it comes back.
    pub(super) fn queue_owed(&mut self, id: LineId) {
        let owes = |line: &&mut Line| line.owes && line.works() && line.phase == Phase::Idle;
        if self.list.line(id).filter(owes).is_some() && !self.is_held(id.tracker) {
            self.queue(id);
        }
    }

    /// Has a line tell of the end, if its tracker knows of us and nothing is on its way.
    pub(super) fn queue_farewell(&mut self, id: LineId) {
        if self.list.line(id).filter(|line| line.known && !line.gone && line.phase == Phase::Idle).is_some() {
            self.queue(id);
        }
    }
}
