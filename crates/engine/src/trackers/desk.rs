//! Where torrents say what trackers are to be told, whoever speaks: an owner, the table, the user.
//!
//! Nobody waits here: what is said of a torrent is merged until the task comes for it, so that there is at most one note
//! a torrent. How much was moved changes all the time and is not said but shown, in a [`Tally`] that is read when an
//! announce leaves.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use samara_proto::ids::InfoHashes;
use samara_proto::tracker::announcer::{Need, NewTorrent, Totals, TrackerStatus};
use samara_proto::tracker::fleet::TorrentKey;
use tokio::sync::{Notify, oneshot};

use crate::entry::Entry;

/// A torrent as trackers hear of it: its name among all of this process, and how far it is.
#[derive(Debug)]
pub(crate) struct Tally {
    key: TorrentKey,
    uploaded: AtomicU64,
    downloaded: AtomicU64,
    left: AtomicU64,
}

impl Default for Tally {
    /// A torrent that was never announced, of which something is missing.
    fn default() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self {
            key: TorrentKey(NEXT.fetch_add(1, Ordering::Relaxed)),
            uploaded: AtomicU64::new(0),
            downloaded: AtomicU64::new(0),
            left: AtomicU64::new(1),
        }
    }
}

impl Tally {
    pub(super) const fn key(&self) -> TorrentKey {
        self.key
    }

    pub(crate) fn set(&self, totals: Totals) {
        self.uploaded.store(totals.uploaded, Ordering::Relaxed);
        self.downloaded.store(totals.downloaded, Ordering::Relaxed);
        self.left.store(totals.left, Ordering::Relaxed);
    }

    pub(super) fn totals(&self) -> Totals {
        Totals {
            uploaded: self.uploaded.load(Ordering::Relaxed),
            downloaded: self.downloaded.load(Ordering::Relaxed),
            left: self.left.load(Ordering::Relaxed),
        }
    }
}

/// Who waits to hear how the trackers of a torrent go.
pub(super) type StatusReply = oneshot::Sender<Vec<TrackerStatus>>;

/// What there is to say of one torrent, in the order in which it is told.
#[derive(Debug, Default)]
pub(super) struct Note {
    /// It is new.
    pub(super) add: Option<(Arc<Entry>, Box<NewTorrent>)>,
    /// Its metadata is there: it may have more hashes, and be private.
    pub(super) identified: Option<(InfoHashes, bool)>,
    pub(super) need: Option<Need>,
    /// It wants no more although it is not whole.
    pub(super) partial_seed: Option<bool>,
    /// It became whole.
    pub(super) completed: bool,
    /// It ends.
    pub(super) stop: bool,
    pub(super) status: Vec<StatusReply>,
}

/// What was said since the task came last.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub(super) torrents: BTreeMap<TorrentKey, Note>,
    /// Everything ends.
    pub(super) stop: bool,
    /// Nobody comes any more.
    closed: bool,
}

/// The desk of a client.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    notes: Mutex<Notes>,
    arrived: Notify,
}

impl Desk {
    /// Nobody will come, for trackers are not asked.
    pub(crate) fn close(&self) {
        let mut notes = self.lock();
        notes.closed = true;
        notes.torrents.clear();
    }

    /// From now on a torrent is announced.
    pub(crate) fn add(&self, entry: &Arc<Entry>, new: NewTorrent) {
        self.note(&entry.tally, |note| note.add = Some((Arc::clone(entry), Box::new(new))));
    }

    pub(crate) fn identified(&self, tally: &Tally, hashes: InfoHashes, private: bool) {
        self.note(tally, |note| note.identified = Some((hashes, private)));
    }

    pub(crate) fn need(&self, tally: &Tally, need: Need) {
        self.note(tally, |note| note.need = Some(need));
    }

    pub(crate) fn partial_seed(&self, tally: &Tally, partial: bool) {
        self.note(tally, |note| note.partial_seed = Some(partial));
    }

    pub(crate) fn completed(&self, tally: &Tally) {
        self.note(tally, |note| note.completed = true);
    }

    /// A torrent ends. Its trackers are told behind its back.
    pub(crate) fn stop(&self, tally: &Tally) {
        self.note(tally, |note| note.stop = true);
    }

    /// How the trackers of a torrent go; none if it is not announced.
    pub(crate) async fn status(&self, tally: &Tally) -> Vec<TrackerStatus> {
        let (reply, answer) = oneshot::channel();
        self.note(tally, |note| note.status.push(reply));
        answer.await.unwrap_or_default()
    }

    /// All torrents end.
    pub(crate) fn stop_all(&self) {
        self.lock().stop = true;
        self.arrived.notify_one();
    }

    fn note(&self, tally: &Tally, write: impl FnOnce(&mut Note)) {
        let mut notes = self.lock();
        if !notes.closed {
            write(notes.torrents.entry(tally.key()).or_default());
            drop(notes);
            self.arrived.notify_one();
        }
    }

    /// Waits until something was said, and takes it. Cancel safe.
    pub(super) async fn take(&self) -> Notes {
        self.arrived.notified().await;
        let mut notes = self.lock();
        Notes { torrents: std::mem::take(&mut notes.torrents), ..*notes }
    }

    /// A poisoned lock is of no consequence: what was half written is told as it stands.
    fn lock(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_said_of_one_torrent_becomes_one_note() {
        let (desk, one, two) = (Desk::default(), Tally::default(), Tally::default());
        desk.need(&one, Need::Starved);
        desk.completed(&one);
        desk.need(&one, Need::Few);
        desk.stop(&two);
        let notes = desk.take().await;
        assert_eq!(notes.torrents.len(), 2);
        let note = &notes.torrents[&one.key()];
        assert!(note.completed && !note.stop && note.need == Some(Need::Few));
        assert!(notes.torrents[&two.key()].stop && !notes.stop);
        desk.stop_all();
        assert!(desk.take().await.stop);
    }

    #[tokio::test]
    async fn where_nobody_comes_nothing_is_kept_and_nobody_waits() {
        let (desk, tally) = (Desk::default(), Tally::default());
        desk.completed(&tally);
        desk.close();
        desk.completed(&tally);
        assert!(desk.status(&tally).await.is_empty());
        assert!(desk.lock().torrents.is_empty());
    }
}
