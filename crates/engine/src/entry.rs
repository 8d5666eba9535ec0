//! One torrent in the table: awake, with an owner task, or dormant, a record of some hundred bytes.
//!
//! Whoever wants to reach a torrent goes through here, and so a dormant one is woken exactly once, whoever comes first.
//! The way back is safe too: senders to an owner are given out under the lock, and an owner goes to rest under the same
//! lock, and only while nobody else has a sender and nothing waits. So nothing that was sent is ever lost.
//!
//! It refuses to decide when a torrent wakes or rests: see `torrent/rest.rs`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use samara_proto::ids::InfoHashes;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::api::{Limits, Snapshot, TorrentEvent};
use crate::client::Shared;
use crate::news::News;
use crate::tally::Tally;
use crate::torrent::{self, AwakeOne, Dormant, ToTorrent};

/// Messages that may wait for a torrent's owner: each is a batch of one connection's events.
pub(crate) const INBOX: usize = 256;

/// A torrent of the table.
#[derive(Debug)]
pub(crate) struct Entry {
    state: Mutex<State>,
    pub(crate) news: News<TorrentEvent>,
    /// What trackers and others hear of it.
    pub(crate) tally: Tally,
}

#[derive(Debug)]
struct State {
    hashes: InfoHashes,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Dormant(Box<Dormant>),
    Awake(mpsc::Sender<ToTorrent>),
    Ended,
}

/// How a torrent is found without waking it.
pub(crate) enum Look {
    /// Nothing goes on.
    Dormant(Snapshot),
    /// Ask its owner.
    Awake(mpsc::Sender<ToTorrent>),
    Ended,
}

/// Who wants to reach a torrent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    User,
    /// Who may not wake too many, nor what failed just now.
    Stranger,
}

/// Whether it may be woken: strangers are refused while too many are awake, and by what failed just now.
fn may_wake(record: &Dormant, shared: &Shared, who: Caller) -> Option<AwakeOne> {
    match who {
        Caller::User => Some(shared.awake.one()),
        Caller::Stranger if !record.may_wake(Instant::now()) => None,
        Caller::Stranger => shared.awake.one_more(shared.config.max_peers),
    }
}

impl Entry {
    fn new(hashes: InfoHashes, stage: Stage) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State { hashes, stage }),
            news: News::default(),
            tally: Tally::default(),
        })
    }

    /// A torrent whose owner is about to run.
    pub(crate) fn awake(hashes: InfoHashes, inbox: mpsc::Sender<ToTorrent>) -> Arc<Self> {
        Self::new(hashes, Stage::Awake(inbox))
    }

    /// A torrent that needs no owner for now.
    pub(crate) fn dormant(hashes: InfoHashes, record: Dormant) -> Arc<Self> {
        Self::new(hashes, Stage::Dormant(Box::new(record)))
    }

    pub(crate) fn hashes(&self) -> InfoHashes {
        self.lock().hashes
    }

    pub(crate) fn rename(&self, hashes: InfoHashes) {
        self.lock().hashes = hashes;
    }

    /// A way to the owner, who is started if there is none; `None` if the torrent ended, or is not to be woken now.
    pub(crate) fn reach(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        who: Caller,
    ) -> Option<mpsc::Sender<ToTorrent>> {
        let mut state = self.lock();
        match std::mem::replace(&mut state.stage, Stage::Ended) {
            Stage::Dormant(record) => {
                let Some(awake) = may_wake(&record, shared, who) else {
                    state.stage = Stage::Dormant(record);
                    return None;
                };
                let (inbox, messages) = mpsc::channel(INBOX);
                state.stage = Stage::Awake(inbox.clone());
                shared.spawn(torrent::wake(Arc::clone(shared), Arc::clone(self), *record, messages, awake));
                Some(inbox)
            }
            Stage::Awake(inbox) => {
                state.stage = Stage::Awake(inbox.clone());
                Some(inbox)
            }
            Stage::Ended => None,
        }
    }

    /// Looks without waking.
    pub(crate) fn look(&self) -> Look {
        match &self.lock().stage {
            Stage::Dormant(record) => Look::Dormant(record.snapshot()),
            Stage::Awake(inbox) => Look::Awake(inbox.clone()),
            Stage::Ended => Look::Ended,
        }
    }

    /// Whether an owner may go to rest: nobody but the table can send to it, and nothing waits.
    pub(crate) fn is_quiet(inbox: &mpsc::Receiver<ToTorrent>, own: usize) -> bool {
        inbox.sender_strong_count() <= own + 1 && inbox.is_empty()
    }

    /// Changes the limits that a dormant torrent will have when it wakes; says whether it is dormant.
    pub(crate) fn limit_if_dormant(&self, limits: Limits) -> bool {
        match &mut self.lock().stage {
            Stage::Dormant(record) => {
                record.set_limits(limits);
                true
            }
            Stage::Awake(_) | Stage::Ended => false,
        }
    }

    /// The owner goes to rest. If somebody wants something after all both come back, and it must go on.
    pub(crate) fn rest(
        &self,
        record: Box<Dormant>,
        inbox: mpsc::Receiver<ToTorrent>,
    ) -> Option<(Box<Dormant>, mpsc::Receiver<ToTorrent>)> {
        let mut state = self.lock();
        // After a failure it rests in any case: whoever waits is let down, and may come again.
        if !record.is_ailing() && !Self::is_quiet(&inbox, 0) {
            return Some((record, inbox));
        }
        if matches!(state.stage, Stage::Awake(_)) {
            state.stage = Stage::Dormant(record);
        }
        None
    }

    /// Ends it for good.
    pub(crate) fn end(&self) {
        self.lock().stage = Stage::Ended;
        self.news.close();
    }

    /// Ends it for good if it is dormant, so that there is nothing to wait for; says whether it was.
    pub(crate) fn end_if_dormant(&self) -> bool {
        let mut state = self.lock();
        let dormant = matches!(state.stage, Stage::Dormant(_));
        if dormant {
            state.stage = Stage::Ended;
            self.news.close();
        }
        dormant
    }

    /// A poisoned lock is of no consequence: every change is a single assignment.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
