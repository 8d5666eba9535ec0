//! When which torrents are announced.
//!
//! There are two queues. *Events*: a torrent is new, is said once more for the case that it was lost, or a neighbour is
//! answered. *Rounds*: all others, every [`ROUND`]. A datagram costs one of the [`BURST`] that come back one a minute.
//! Events may spend all of them; a round goes only when all are there, so that it leaves the rest to events.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::allowance::{Allowance, Rate};
use super::message::MAX_HASHES;
use super::{ROUND, wire_hashes};
use crate::ids::{InfoHashes, WireHash};
use crate::rng::Rng;
use crate::time::Time;
use crate::tracker::fleet::TorrentKey;

/// So many announces may follow each other, after minutes without any.
pub const BURST: u32 = 3;

/// So many torrents go one a datagram, one a minute, within a round.
pub const FEW: usize = 5;

/// An answer is not given if so many others spoke of the torrent meanwhile.
pub const ENOUGH: u8 = 3;

/// The rule of the BEP.
const RATE: Rate = Rate { every: Duration::from_secs(60), burst: BURST };

/// What is new waits so long at most, and half of it at least, for others that are new: a program that starts adds all
/// its torrents at once, and a network whose power comes back starts all its programs.
const GATHER: Duration = Duration::from_millis(200);

/// What is new is said once more after twice this at most, and this at least: multicast is not repeated by a wireless
/// network when it is lost.
const REPEAT: Duration = Duration::from_secs(3);

/// An answer comes within this.
const ANSWER: Duration = Duration::from_secs(3);

/// An answer to what was announced so lately waits.
const LATELY: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug)]
enum Why {
    New,
    Repeat,
    /// To a neighbour; so many spoke since.
    Answer(u8),
}

#[derive(Debug)]
struct Said {
    hashes: InfoHashes,
    event: Option<(Time, Why)>,
    /// When it is due at the latest.
    round: Time,
    last: Option<Time>,
}

/// The queues of all torrents.
#[derive(Debug)]
pub(super) struct Herald {
    rng: Rng,
    torrents: BTreeMap<TorrentKey, Said>,
    /// Those with an event, by when it is due.
    events: BTreeSet<(Time, TorrentKey)>,
    /// All others.
    rounds: BTreeSet<(Time, TorrentKey)>,
    allowance: Allowance,
}

impl Herald {
    pub(super) const fn new(rng: Rng) -> Self {
        let allowance = Allowance::NONE_TAKEN;
        Self { rng, torrents: BTreeMap::new(), events: BTreeSet::new(), rounds: BTreeSet::new(), allowance }
    }

    pub(super) fn hashes(&self, torrent: TorrentKey) -> Option<InfoHashes> {
        self.torrents.get(&torrent).map(|said| said.hashes)
    }

    /// A torrent that is not there yet.
    pub(super) fn add(&mut self, now: Time, torrent: TorrentKey, hashes: InfoHashes) {
        let due = now + self.between(GATHER / 2, GATHER);
        self.events.insert((due, torrent));
        let said = Said { hashes, event: Some((due, Why::New)), round: due, last: None };
        self.torrents.insert(torrent, said);
    }

    /// All torrents are as if they were new.
    pub(super) fn again(&mut self, now: Time) {
        let due = now + self.between(GATHER / 2, GATHER);
        let torrents: Vec<TorrentKey> = self.torrents.keys().copied().collect();
        torrents.into_iter().for_each(|torrent| self.set_event(torrent, Some((due, Why::New))));
    }

    /// Its hashes, if it was there.
    pub(super) fn remove(&mut self, torrent: TorrentKey) -> Option<InfoHashes> {
        let said = self.torrents.remove(&torrent)?;
        self.events.remove(&(said.event.map_or(Time::ZERO, |(due, _)| due), torrent));
        self.rounds.remove(&(said.round, torrent));
        Some(said.hashes)
    }

    /// Somebody spoke of a torrent. `is_new`: not lately.
    pub(super) fn heard(&mut self, now: Time, torrent: TorrentKey, is_new: bool) {
        let Some(said) = self.torrents.get(&torrent) else { return };
        let event = match said.event {
            Some((_, Why::New)) => return,
            Some((_, Why::Repeat)) => None,
            Some((due, Why::Answer(others))) => {
                (others + 1 < ENOUGH).then_some((due, Why::Answer(others + 1)))
            }
            None if is_new => {
                let free = said.last.map_or(now, |last| last + LATELY);
                Some((free.max(now) + self.between(Duration::ZERO, ANSWER), Why::Answer(0)))
            }
            None => return,
        };
        self.set_event(torrent, event);
    }

    /// What is to be announced now, if anything.
    pub(super) fn announce(&mut self, now: Time) -> Option<Vec<WireHash>> {
        self.drop_repeats(now);
        let left = self.allowance.left(now, RATE);
        let due = |queue: &BTreeSet<(Time, TorrentKey)>| queue.first().is_some_and(|(due, _)| *due <= now);
        let torrents = if left > 0 && due(&self.events) {
            self.due_events(now, left)
        } else if left == BURST && due(&self.rounds) {
            self.due_rounds(now)
        } else {
            return None;
        };
        self.allowance.take(now, RATE);
        Some(self.say(now, &torrents))
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        let when = |queue: &BTreeSet<(Time, TorrentKey)>, count| {
            queue.first().map(|(due, _)| (*due).max(self.allowance.ready(count, RATE)))
        };
        let (event, round) = (when(&self.events, 1), when(&self.rounds, BURST));
        event.into_iter().chain(round).min()
    }

    /// A repetition that is due must leave something for others, or it is not made.
    fn drop_repeats(&mut self, now: Time) {
        while self.allowance.left(now, RATE) < 2
            && let Some(&(due, torrent)) = self.events.first()
            && due <= now
            && matches!(self.torrents.get(&torrent).and_then(|said| said.event), Some((_, Why::Repeat)))
        {
            self.set_event(torrent, None);
        }
    }

    /// Events that go into the next datagram: they are spread over what is left but one.
    fn due_events(&self, now: Time, left: u32) -> Vec<TorrentKey> {
        let due = self.events.iter().take_while(|(due, _)| *due <= now).take(MAX_HASHES * BURST as usize);
        let count = due.clone().count().div_ceil(left.saturating_sub(1).max(1) as usize);
        due.take(count).map(|(_, torrent)| *torrent).collect()
    }

    fn due_rounds(&self, now: Time) -> Vec<TorrentKey> {
        let count = self.torrents.len().div_ceil(FEW);
        let due = self.rounds.iter().take_while(|(due, _)| *due <= now);
        due.take(count.min(MAX_HASHES)).map(|(_, torrent)| *torrent).collect()
    }

    /// Of the torrents, in order, what fits.
    fn say(&mut self, now: Time, torrents: &[TorrentKey]) -> Vec<WireHash> {
        let mut all = Vec::new();
        for &torrent in torrents {
            let Some(said) = self.torrents.get_mut(&torrent) else { continue };
            let hashes: Vec<WireHash> = wire_hashes(said.hashes).collect();
            if all.len() + hashes.len() > MAX_HASHES {
                break;
            }
            all.extend(hashes);
            self.rounds.remove(&(said.round, torrent));
            said.last = Some(now);
            said.round = now + ROUND;
            let is_new = matches!(said.event, Some((_, Why::New)));
            let event = is_new.then(|| (now + self.between(REPEAT, REPEAT * 2), Why::Repeat));
            self.set_event(torrent, event);
        }
        all
    }

    /// Puts a torrent into the right queue.
    fn set_event(&mut self, torrent: TorrentKey, event: Option<(Time, Why)>) {
        let Some(said) = self.torrents.get_mut(&torrent) else { return };
        if let Some((due, _)) = said.event {
            self.events.remove(&(due, torrent));
        }
        said.event = event;
        match event {
            Some((due, _)) => {
                self.rounds.remove(&(said.round, torrent));
                self.events.insert((due, torrent));
            }
            None => {
                self.rounds.insert((said.round, torrent));
            }
        }
    }

    fn between(&mut self, least: Duration, most: Duration) -> Duration {
        let span = most.saturating_sub(least).as_micros() as u64;
        least + Duration::from_micros(self.rng.below(span + 1))
    }
}
