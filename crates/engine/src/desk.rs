//! Where torrents say what those who look for peers are to be told, whoever speaks: an owner, the table, the user.
//!
//! A torrent says a thing once, and the desk passes it on to every task that it concerns: trackers, the DHT, the local
//! network. Nobody waits here: what is said of a torrent is merged until a task comes for it, so that there is at most
//! one note a torrent and task.
//!
//! It refuses to tell the DHT and the local network of private torrents (BEP 27): they hear nothing of one that is known
//! to be private, and of one that turns out so (a magnet link) that it ends.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use samara_proto::ids::InfoHashes;
use samara_proto::tracker::announcer::{Need, NewTorrent, TrackerStatus};
use samara_proto::tracker::fleet::TorrentKey;
use tokio::sync::{Notify, oneshot};

use crate::entry::Entry;
use crate::tally::Tally;

/// Who waits to hear how the trackers of a torrent go.
type StatusReply = oneshot::Sender<Vec<TrackerStatus>>;

/// What there is to say of one torrent to its trackers, in the order in which it is told.
#[derive(Debug, Default)]
pub(crate) struct TrackerNote {
    /// It is new.
    pub(crate) add: Option<(Arc<Entry>, Box<NewTorrent>)>,
    /// Its metadata is there: it may have more hashes, and be private.
    pub(crate) identified: Option<(InfoHashes, bool)>,
    pub(crate) need: Option<Need>,
    /// It wants no more although it is not whole.
    pub(crate) partial_seed: Option<bool>,
    /// It became whole.
    pub(crate) completed: bool,
    /// It ends.
    pub(crate) stop: bool,
    pub(crate) status: Vec<StatusReply>,
}

/// What there is to say of one torrent where everybody may hear it, in the order in which it is told.
#[derive(Debug, Default)]
pub(crate) struct PublicNote {
    /// It is new.
    pub(crate) add: Option<Arc<Entry>>,
    /// What names it, when it is new and when more is known.
    pub(crate) hashes: Option<InfoHashes>,
    pub(crate) need: Option<Need>,
    /// It became whole.
    pub(crate) completed: bool,
    /// It ends, or is none of these tasks' business.
    pub(crate) stop: bool,
}

/// What was said since a task came last.
#[derive(Debug)]
pub(crate) struct Notes<N> {
    pub(crate) torrents: BTreeMap<TorrentKey, N>,
    /// Everything ends.
    pub(crate) stop: bool,
    /// Nobody comes any more.
    closed: bool,
}

impl<N> Default for Notes<N> {
    fn default() -> Self {
        Self { torrents: BTreeMap::new(), stop: false, closed: false }
    }
}

/// What waits for one task.
#[derive(Debug)]
pub(crate) struct Queue<N> {
    notes: Mutex<Notes<N>>,
    arrived: Notify,
}

impl<N> Default for Queue<N> {
    fn default() -> Self {
        Self { notes: Mutex::default(), arrived: Notify::new() }
    }
}

impl<N: Default> Queue<N> {
    /// Nobody will come: what is said is dropped.
    pub(crate) fn close(&self) {
        let mut notes = self.lock();
        notes.closed = true;
        notes.torrents.clear();
    }

    /// Waits until something was said, and takes it. Cancel safe.
    pub(crate) async fn take(&self) -> Notes<N> {
        self.arrived.notified().await;
        let mut notes = self.lock();
        Notes { torrents: std::mem::take(&mut notes.torrents), ..*notes }
    }

    fn note(&self, tally: &Tally, write: impl FnOnce(&mut N)) {
        let mut notes = self.lock();
        if !notes.closed {
            write(notes.torrents.entry(tally.key()).or_default());
            drop(notes);
            self.arrived.notify_one();
        }
    }

    fn stop_all(&self) {
        self.lock().stop = true;
        self.arrived.notify_one();
    }

    /// A poisoned lock is of no consequence: what was half written is told as it stands.
    fn lock(&self) -> MutexGuard<'_, Notes<N>> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The desk of a client.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    pub(crate) trackers: Queue<TrackerNote>,
    pub(crate) dht: Queue<PublicNote>,
    pub(crate) lsd: Queue<PublicNote>,
}

impl Desk {
    /// From now on a torrent is announced. Trackers hear of it only if it has some.
    pub(crate) fn add(&self, entry: &Arc<Entry>, new: NewTorrent) {
        let (hashes, need) = (new.hashes, new.need);
        entry.tally.set_private(new.private);
        self.public(&entry.tally, |note| {
            (note.add, note.hashes, note.need) = (Some(Arc::clone(entry)), Some(hashes), Some(need));
        });
        if !new.tiers.is_empty() || !new.user.is_empty() {
            let add = (Arc::clone(entry), Box::new(new));
            self.trackers.note(&entry.tally, |note| note.add = Some(add));
        }
    }

    pub(crate) fn identified(&self, tally: &Tally, hashes: InfoHashes, private: bool) {
        if private {
            self.public(tally, |note| *note = PublicNote { stop: true, ..PublicNote::default() });
            tally.set_private(true);
        }
        self.public(tally, |note| note.hashes = Some(hashes));
        self.trackers.note(tally, |note| note.identified = Some((hashes, private)));
    }

    pub(crate) fn need(&self, tally: &Tally, need: Need) {
        self.public(tally, |note| note.need = Some(need));
        self.trackers.note(tally, |note| note.need = Some(need));
    }

    pub(crate) fn partial_seed(&self, tally: &Tally, partial: bool) {
        self.trackers.note(tally, |note| note.partial_seed = Some(partial));
    }

    pub(crate) fn completed(&self, tally: &Tally) {
        self.public(tally, |note| note.completed = true);
        self.trackers.note(tally, |note| note.completed = true);
    }

    /// A torrent ends. Others are told behind its back.
    pub(crate) fn stop(&self, tally: &Tally) {
        self.public(tally, |note| note.stop = true);
        self.trackers.note(tally, |note| note.stop = true);
    }

    /// How the trackers of a torrent go; none if it is not announced.
    pub(crate) async fn status(&self, tally: &Tally) -> Vec<TrackerStatus> {
        let (reply, answer) = oneshot::channel();
        self.trackers.note(tally, |note| note.status.push(reply));
        answer.await.unwrap_or_default()
    }

    /// All torrents end.
    pub(crate) fn stop_all(&self) {
        self.trackers.stop_all();
        self.dht.stop_all();
        self.lsd.stop_all();
    }

    /// Says something of a torrent where everybody may hear it, unless it is private.
    fn public(&self, tally: &Tally, write: impl Fn(&mut PublicNote)) {
        if !tally.is_private() {
            self.dht.note(tally, &write);
            self.lsd.note(tally, &write);
        }
    }
}

#[cfg(test)]
mod tests {
    use samara_proto::ids::InfoHashV1;
    use samara_proto::tracker::TrackerUrl;
    use samara_proto::tracker::announcer::Totals;
    use tokio::sync::mpsc;

    use super::*;

    fn entry() -> Arc<Entry> {
        Entry::awake(hashes(), mpsc::channel(1).0)
    }

    fn hashes() -> InfoHashes {
        InfoHashes::V1(InfoHashV1([7; 20]))
    }

    fn new(private: bool, tracker: bool) -> NewTorrent {
        let url = || vec![Arc::new(TrackerUrl::parse("http://tracker.test/announce").unwrap())];
        NewTorrent {
            hashes: hashes(),
            private,
            tiers: tracker.then(url).into_iter().collect(),
            user: Vec::new(),
            totals: Totals::default(),
            need: Need::Few,
            partial_seed: false,
        }
    }

    #[tokio::test]
    async fn what_is_said_of_one_torrent_becomes_one_note() {
        let (desk, one, two) = (Desk::default(), Tally::default(), Tally::default());
        desk.need(&one, Need::Starved);
        desk.completed(&one);
        desk.need(&one, Need::Few);
        desk.stop(&two);
        let notes = desk.trackers.take().await;
        assert_eq!(notes.torrents.len(), 2);
        let note = &notes.torrents[&one.key()];
        assert!(note.completed && !note.stop && note.need == Some(Need::Few));
        assert!(notes.torrents[&two.key()].stop && !notes.stop);
        for queue in [&desk.dht, &desk.lsd] {
            let notes = queue.take().await;
            let note = &notes.torrents[&one.key()];
            assert!(note.completed && !note.stop && note.need == Some(Need::Few));
            assert!(notes.torrents[&two.key()].stop && !notes.stop);
        }
        desk.stop_all();
        assert!(desk.trackers.take().await.stop && desk.dht.take().await.stop && desk.lsd.take().await.stop);
    }

    #[tokio::test]
    async fn where_nobody_comes_nothing_is_kept_and_nobody_waits() {
        let (desk, tally) = (Desk::default(), Tally::default());
        desk.completed(&tally);
        desk.trackers.close();
        desk.dht.close();
        desk.completed(&tally);
        assert!(desk.status(&tally).await.is_empty());
        assert!(desk.trackers.lock().torrents.is_empty() && desk.dht.lock().torrents.is_empty());
    }

    #[test]
    fn each_hears_of_what_concerns_it() {
        let (desk, served, unserved, private) = (Desk::default(), entry(), entry(), entry());
        desk.add(&served, new(false, true));
        desk.add(&unserved, new(false, false));
        desk.add(&private, new(true, true));
        desk.identified(&private.tally, hashes(), true);
        desk.stop(&private.tally);
        let has = |key, added: &BTreeMap<TorrentKey, TrackerNote>| {
            added.get(&key).is_some_and(|note| note.add.is_some())
        };
        let told = &desk.trackers.lock().torrents;
        assert!(has(served.tally.key(), told) && has(private.tally.key(), told));
        assert!(!has(unserved.tally.key(), told));
        for queue in [&desk.dht, &desk.lsd] {
            let told: Vec<_> = queue.lock().torrents.keys().copied().collect();
            assert_eq!(told, [served.tally.key(), unserved.tally.key()]);
        }
    }

    #[test]
    fn what_turns_out_private_is_only_heard_to_end() {
        for taken in [false, true] {
            let (desk, link) = (Desk::default(), entry());
            desk.add(&link, new(false, false));
            if taken {
                assert!(std::mem::take(&mut *desk.dht.lock()).torrents[&link.tally.key()].add.is_some());
            }
            desk.identified(&link.tally, hashes(), true);
            desk.need(&link.tally, Need::Starved);
            desk.completed(&link.tally);
            let note = &desk.dht.lock().torrents[&link.tally.key()];
            assert!(note.stop && note.add.is_none() && note.hashes.is_none() && note.need.is_none());
        }
    }
}
