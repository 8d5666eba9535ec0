//! The handle of a running torrent: cheap, and never in the way of the owner.

use std::sync::Arc;

use samara_proto::ids::{InfoHashes, PieceIndex};
use samara_proto::metainfo::Metainfo;
use samara_proto::torrent::PeerStatus;
use tokio::sync::{broadcast, mpsc, oneshot};

use crate::api::{Snapshot, TorrentEvent};
use crate::torrent::{Control, ToTorrent};

/// A torrent of a [`Client`](crate::Client). It runs on when the handle is dropped.
#[derive(Debug)]
pub struct Torrent {
    hashes: InfoHashes,
    inbox: mpsc::Sender<ToTorrent>,
    events: broadcast::Receiver<TorrentEvent>,
}

impl Clone for Torrent {
    /// Another handle of the same torrent, which hears the events from now on.
    fn clone(&self) -> Self {
        Self { hashes: self.hashes, inbox: self.inbox.clone(), events: self.events.resubscribe() }
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

impl Torrent {
    pub(crate) const fn new(
        hashes: InfoHashes,
        inbox: mpsc::Sender<ToTorrent>,
        events: broadcast::Receiver<TorrentEvent>,
    ) -> Self {
        Self { hashes, inbox, events }
    }

    /// Its info-hashes, as far as they were known when it was added.
    pub const fn hashes(&self) -> InfoHashes {
        self.hashes
    }

    /// The next piece of news; `None` once the torrent has ended. A reader that is more than a thousand events late
    /// misses the oldest of them.
    pub async fn next_event(&mut self) -> Option<TorrentEvent> {
        loop {
            match self.events.recv().await {
                Ok(event) => return Some(event),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }

    /// How it is now; `None` once it has ended.
    pub async fn snapshot(&self) -> Option<Snapshot> {
        self.ask(Control::Snapshot).await
    }

    /// Its peers now; empty once it has ended.
    pub async fn peers(&self) -> Vec<PeerStatus> {
        self.ask(Control::Peers).await.unwrap_or_default()
    }

    /// What is known of the torrent; `None` while that is only its hash.
    pub async fn metainfo(&self) -> Option<Arc<Metainfo>> {
        self.ask(Control::Metainfo).await.flatten()
    }

    /// The bytes of a piece, once it is verified: waits for it.
    ///
    /// # Errors
    /// If the torrent ends first, has no such piece, or the disk fails.
    pub async fn read_piece(&self, piece: PieceIndex) -> Result<Vec<u8>, ReadError> {
        self.ask(|reply| Control::ReadPiece(piece, reply)).await.unwrap_or(Err(ReadError::Ended))
    }

    async fn ask<T>(&self, question: impl FnOnce(oneshot::Sender<T>) -> Control) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.inbox.send(ToTorrent::Control(question(reply))).await.ok()?;
        answer.await.ok()
    }
}
