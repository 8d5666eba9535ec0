//! A torrent as trackers and the DHT hear of it.
//!
//! How much was moved changes all the time and is not said at the [`Desk`](crate::desk::Desk) but shown here, where it is
//! read when an announce leaves.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use samara_proto::tracker::announcer::Totals;
use samara_proto::tracker::fleet::TorrentKey;

/// A torrent as others hear of it: its name among all of this process, and how far it is.
#[derive(Debug)]
pub(crate) struct Tally {
    key: TorrentKey,
    uploaded: AtomicU64,
    downloaded: AtomicU64,
    left: AtomicU64,
    private: AtomicBool,
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
            private: AtomicBool::new(false),
        }
    }
}

impl Tally {
    pub(crate) const fn key(&self) -> TorrentKey {
        self.key
    }

    pub(crate) fn set(&self, totals: Totals) {
        self.uploaded.store(totals.uploaded, Ordering::Relaxed);
        self.downloaded.store(totals.downloaded, Ordering::Relaxed);
        self.left.store(totals.left, Ordering::Relaxed);
    }

    /// Private, which no torrent ceases to be (BEP 27).
    pub(crate) fn set_private(&self, private: bool) {
        self.private.fetch_or(private, Ordering::Relaxed);
    }

    pub(crate) fn is_private(&self) -> bool {
        self.private.load(Ordering::Relaxed)
    }

    pub(crate) fn totals(&self) -> Totals {
        Totals {
            uploaded: self.uploaded.load(Ordering::Relaxed),
            downloaded: self.downloaded.load(Ordering::Relaxed),
            left: self.left.load(Ordering::Relaxed),
        }
    }
}
