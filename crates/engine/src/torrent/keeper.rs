//! Keeps resume data: has the disk sync what was written, and only then says that it is there.

use std::sync::Arc;
use std::time::Duration;

use samara_proto::bitfield::Bitfield;
use samara_proto::ids::PieceIndex;
use samara_proto::time::Time;
use tokio::task::JoinHandle;

use super::opening::Opened;
use crate::disk::DiskEvent;
use crate::store::Record;

/// What a crash of the machine may cost at most, in time.
const SYNC_EVERY: Duration = Duration::from_secs(5);

/// And in bytes.
const SYNC_VOLUME: u64 = 256 << 20;

/// How soon a save is tried again that found another one under way.
const SAVE_AGAIN: Duration = Duration::from_millis(100);

/// What is written and what of it is durable.
#[derive(Default)]
pub(super) struct Keeper {
    /// Bytes of pieces that were written since the last sync began.
    unsynced: u64,
    /// When the next sync is due, if there is something to sync.
    next: Time,
    /// The disk is at it.
    syncing: bool,
    /// Pieces that survive a crash.
    durable: Option<Bitfield>,
    saving: Option<JoinHandle<()>>,
    /// When to save what found a save under way.
    again: Option<Time>,
}

impl Keeper {
    /// What was found on opening is durable already.
    pub(super) fn begin(&mut self, opened: &Opened, now: Time) {
        self.durable = Some(opened.have.clone());
        self.save(opened, now);
    }

    /// A piece of this many bytes was written.
    pub(super) fn wrote(&mut self, now: Time, bytes: u32) {
        if self.unsynced == 0 {
            self.next = now + SYNC_EVERY;
        }
        self.unsynced += u64::from(bytes);
    }

    /// When [`Self::sync`] has something to do.
    pub(super) fn deadline(&self) -> Option<Time> {
        let sync = (self.unsynced > 0 && !self.syncing).then_some(self.next);
        [sync, self.again].into_iter().flatten().min()
    }

    /// Starts a sync if one is due, or `at_once`; the disk answers with `Synced`. Makes up for a save put off.
    pub(super) fn sync(&mut self, opened: &Opened, now: Time, at_once: bool) {
        if self.again.is_some_and(|at| now >= at) {
            self.save(opened, now);
        }
        let due = at_once || now >= self.next || self.unsynced >= SYNC_VOLUME;
        if due && self.unsynced > 0 && !self.syncing {
            self.syncing = true;
            self.unsynced = 0;
            opened.storage.sync();
        }
    }

    /// These pieces are durable from now on.
    pub(super) fn synced(&mut self, opened: &Opened, now: Time, pieces: &[PieceIndex]) {
        self.syncing = false;
        if let Some(durable) = &mut self.durable {
            durable.extend(pieces.iter().copied());
        }
        self.save(opened, now);
    }

    /// These pieces are there no more.
    pub(super) fn gone(&mut self, opened: &Opened, now: Time, pieces: &[PieceIndex]) {
        if let Some(durable) = &mut self.durable {
            for piece in pieces {
                durable.remove(*piece);
            }
        }
        self.save(opened, now);
    }

    /// Saves in the background, one save at a time. What finds one under way is saved a little later.
    fn save(&mut self, opened: &Opened, now: Time) {
        let idle = self.saving.as_ref().is_none_or(JoinHandle::is_finished);
        if idle {
            self.saving = self.job(opened).map(tokio::task::spawn_blocking);
        }
        self.again = (!idle).then(|| now + SAVE_AGAIN);
    }

    /// The storage's last events, while it closes.
    pub(super) fn last_words(&mut self, event: &DiskEvent) {
        if let (DiskEvent::Synced { pieces }, Some(durable)) = (event, &mut self.durable) {
            durable.extend(pieces.iter().copied());
        }
    }

    /// Saves once more and waits until it is done.
    pub(super) async fn finish(mut self, opened: &Opened) {
        if let Some(task) = self.saving.take() {
            let _ = task.await;
        }
        if let Some(job) = self.job(opened) {
            let _ = tokio::task::spawn_blocking(job).await;
        }
    }

    /// What a save does; `None` if nothing is kept.
    fn job(&self, opened: &Opened) -> Option<impl FnOnce() + Send + 'static> {
        let (store, have) = (opened.store.clone()?, self.durable.clone()?);
        let (storage, metainfo) = (opened.storage.clone(), Arc::clone(&opened.metainfo));
        Some(move || {
            let record = Record { have, files: storage.stamps(), torrent: metainfo.to_bytes() };
            if let Err(error) = store.save(&record) {
                tracing::warn!(%error, "resume data was not saved");
            }
        })
    }
}
