//! The handle of a running torrent: cheap, and never in the way of the owner.

use std::sync::{Arc, Weak};

use samara_proto::ids::{InfoHashes, PieceIndex};
use samara_proto::metainfo::Metainfo;
use samara_proto::torrent::PeerStatus;
use samara_proto::tracker::announcer::TrackerStatus;
use tokio::sync::oneshot;

use crate::api::{Limits, Priority, Snapshot, TorrentEvent};
use crate::client::Shared;
use crate::entry::{Caller, Entry, Look};
use crate::news::Reader;
use crate::torrent::{Control, ToTorrent};

/// A torrent of a [`Client`](crate::Client). It runs on when the handle is dropped.
#[derive(Debug)]
pub struct Torrent {
    hashes: InfoHashes,
    entry: Arc<Entry>,
    /// To wake it with; gone with the client.
    shared: Weak<Shared>,
    events: Reader<TorrentEvent>,
}

impl Clone for Torrent {
    /// Another handle of the same torrent, which hears the events from now on.
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.entry), Weak::clone(&self.shared))
    }
}

/// Why a piece could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The torrent ended before the piece was there.
    #[error("the torrent ended")]
    Ended,
    /// The torrent has no such piece.
    #[error("there is no such piece")]
    OutOfRange,
    /// The disk did not give it back.
    #[error("the disk did not give the piece back")]
    Disk,
}

/// Why a selection was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SelectError {
    /// The torrent ended.
    #[error("the torrent ended")]
    Ended,
    /// It is shared as it is, and nothing is ever written.
    #[error("this torrent is only shared, and nothing of it is fetched")]
    ReadOnly,
    /// What lay elsewhere could not be moved to its file.
    #[error("{0}")]
    Disk(String),
}

impl Torrent {
    pub(crate) fn new(entry: Arc<Entry>, shared: Weak<Shared>) -> Self {
        Self { hashes: entry.hashes(), events: entry.news.subscribe(), entry, shared }
    }

    /// Its info-hashes, as far as they were known when this handle was made.
    pub const fn hashes(&self) -> InfoHashes {
        self.hashes
    }

    /// The next piece of news; `None` once the torrent has ended. A reader that is more than a thousand events late
    /// misses the oldest of them.
    pub async fn next_event(&mut self) -> Option<TorrentEvent> {
        self.events.next().await
    }

    /// Whether it has a task, or is dormant: a whole torrent that nobody is connected to.
    pub fn is_awake(&self) -> bool {
        matches!(self.entry.look(), Look::Awake(_))
    }

    /// How it is now; `None` once it has ended. Does not wake it.
    pub async fn snapshot(&self) -> Option<Snapshot> {
        match self.entry.look() {
            Look::Dormant(snapshot) => Some(snapshot),
            Look::Awake(_) => self.ask(Control::Snapshot).await,
            Look::Ended => None,
        }
    }

    /// Its peers now; empty once it has ended. Does not wake it.
    pub async fn peers(&self) -> Vec<PeerStatus> {
        if !self.is_awake() {
            return Vec::new();
        }
        self.ask(Control::Peers).await.unwrap_or_default()
    }

    /// How its trackers go, in the order to try; empty if it is not announced. Does not wake it.
    pub async fn trackers(&self) -> Vec<TrackerStatus> {
        match self.shared.upgrade() {
            Some(shared) => shared.desk.status(&self.entry.tally).await,
            None => Vec::new(),
        }
    }

    /// What is known of the torrent; `None` while that is only its hash.
    pub async fn metainfo(&self) -> Option<Arc<Metainfo>> {
        self.ask(Control::Metainfo).await.flatten()
    }

    /// Changes what this torrent may move, from now on and within what the client may. Does not wake it; nothing happens
    /// once it has ended.
    pub async fn set_limits(&self, limits: Limits) {
        if !self.entry.limit_if_dormant(limits) {
            let _ = self.ask(|reply| Control::SetLimits(limits, reply)).await;
        }
    }

    /// From now on files are wanted so much, in the torrent's order, pad files counted; files beyond the end are not
    /// wanted. Files that become wanted appear; of those that are not any more, what is there stays and no more is asked
    /// for. Resolves once it holds; while the info dictionary is not known, or the data is being checked, that is when the
    /// data is open. [`TorrentEvent::Complete`] comes anew once all that is wanted now is there. Of several calls the last
    /// one counts.
    ///
    /// # Errors
    /// If the torrent ends first, is only shared, or the disk fails.
    pub async fn select(&self, files: Vec<Priority>) -> Result<(), SelectError> {
        self.ask(|reply| Control::Select(files.clone(), reply)).await.unwrap_or(Err(SelectError::Ended))
    }

    /// From now on a piece is wanted so much, whatever its files are; `None` takes that back. It is forgotten when the
    /// torrent, being whole, goes to rest.
    pub async fn prioritise(&self, piece: PieceIndex, priority: Option<Priority>) {
        let inbox = self.shared.upgrade().and_then(|shared| self.entry.reach(&shared, Caller::User));
        if let Some(inbox) = inbox {
            let _ = inbox.send(ToTorrent::Control(Control::Prioritise(piece, priority))).await;
        }
    }

    /// The bytes of a piece, once it is verified: waits for it. Until then it is asked for before everything else, and
    /// after it those that follow, for whoever reads one piece mostly reads the next. A piece that is not wanted is
    /// waited for in vain, until it is.
    ///
    /// # Errors
    /// If the torrent ends first, has no such piece, or the disk fails.
    pub async fn read_piece(&self, piece: PieceIndex) -> Result<Vec<u8>, ReadError> {
        self.ask(|reply| Control::ReadPiece(piece, reply)).await.unwrap_or(Err(ReadError::Ended))
    }

    /// Asks the owner, who is woken if need be. One that failed at that moment lets the question fall: asked once more.
    async fn ask<T>(&self, question: impl Fn(oneshot::Sender<T>) -> Control) -> Option<T> {
        for _ in 0..2 {
            let inbox = self.entry.reach(&self.shared.upgrade()?, Caller::User)?;
            let (reply, answer) = oneshot::channel();
            let sent = inbox.send(ToTorrent::Control(question(reply))).await;
            drop(inbox);
            if sent.is_ok()
                && let Ok(answer) = answer.await
            {
                return Some(answer);
            }
        }
        None
    }
}
