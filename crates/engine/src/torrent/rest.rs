//! When a torrent goes to rest, and what is left of it then.
//!
//! The rule: a torrent that has every byte, nobody connected, nobody to call and nobody waiting for a piece rests after [`Config::rest_after`](crate::Config::rest_after), by default a minute: as long as an honest peer
//! that was cut off takes to come back. While more torrents are awake than connections are allowed, strangers are
//! going through the hashes: then it rests at once, and strangers wake no more than twice that many.
//!
//! A torrent with peers that the user named never rests, since they are called again and again.
//!
//! What is left is a [`Dormant`]: where the `.torrent` and the data are, how the files looked when they were right, and
//! some numbers. It wakes when somebody connects or the user asks. The files are looked at then, and hashed if they
//! changed, so nothing is served that was not proven. If the data is no longer right the torrent is *ailing*: it rests
//! again, and strangers wake it no sooner than after a minute, and twice as long each time up to an hour, since each
//! time may hash everything.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::opening::Looked;
use super::origin::Origin;
use crate::api::{Limits, Mode, Priority, Snapshot, State};
use crate::store::Fingerprint;

/// How long strangers cannot wake a torrent that failed, the first time.
const AILING: Duration = Duration::from_secs(60);

/// And at most: 2^6 minutes.
const MAX_DOUBLINGS: u32 = 6;

/// Cells of the piece map of a whole torrent.
const MAP_CELLS: u32 = 64;

/// What a torrent is, whether it is awake or not.
#[derive(Clone, Debug)]
pub(crate) struct Basis {
    /// Where its `.torrent` is; `None` while it is only in the owner's memory.
    pub(crate) origin: Option<Origin>,
    pub(super) dir: Arc<Path>,
    pub(super) mode: Mode,
    pub(super) paths: Option<Arc<[Option<PathBuf>]>>,
    pub(super) sequential: bool,
    pub(super) limits: Limits,
    pub(crate) peers: Arc<[SocketAddr]>,
    /// How much files are wanted; `None` for all alike. Known once it was open.
    pub(super) wanted: Option<Arc<[Priority]>>,
    /// Payload of earlier times awake in this run.
    pub(super) downloaded: u64,
    pub(super) uploaded: u64,
    /// Hosts that were banned then. Their bans are lifted: who harms a whole torrent is soon banned again.
    pub(super) banned: u32,
    /// Times in a row that it could not be shared.
    pub(super) failures: u32,
}

impl Basis {
    /// What was asked for when the torrent was added. Without an origin its `.torrent` is kept where it is cheapest.
    pub(crate) fn new(
        origin: Option<Origin>,
        dir: PathBuf,
        mode: Mode,
        paths: Option<Vec<Option<PathBuf>>>,
        sequential: bool,
        limits: Limits,
        peers: &[SocketAddr],
    ) -> Self {
        Self {
            origin,
            dir: dir.into(),
            mode,
            paths: paths.map(Into::into),
            sequential,
            limits,
            peers: peers.into(),
            wanted: None,
            downloaded: 0,
            uploaded: 0,
            banned: 0,
            failures: 0,
        }
    }
}

/// A torrent without owner.
#[derive(Debug)]
pub(crate) struct Dormant {
    pub(super) basis: Basis,
    /// How the files looked when all pieces were proven.
    pub(super) proof: Option<Fingerprint>,
    /// Wanted bytes.
    pub(super) total: u64,
    pub(super) pieces: u32,
    /// When strangers may try again, after a failure.
    pub(super) ailing: Option<Instant>,
}

impl Dormant {
    /// A torrent whose data was just proven.
    pub(crate) fn proven(mut basis: Basis, looked: &Looked) -> Self {
        let info = &looked.metainfo().info;
        let (total, pieces) = (info.total_size(), info.num_pieces());
        // From now on the files may change while nobody looks.
        basis.mode = Mode::Seed;
        Self { basis, proof: Some(looked.print()), total, pieces, ailing: None }
    }

    /// Whether a stranger may wake it.
    pub(crate) fn may_wake(&self, now: Instant) -> bool {
        self.ailing.is_none_or(|until| now >= until)
    }

    pub(crate) const fn set_limits(&mut self, limits: Limits) {
        self.basis.limits = limits;
    }

    pub(crate) const fn is_ailing(&self) -> bool {
        self.ailing.is_some()
    }

    /// It could not be shared: nothing vouches for it any more.
    pub(super) fn fail(&mut self, now: Instant) {
        self.proof = None;
        self.ailing = Some(now + AILING * (1 << self.basis.failures.min(MAX_DOUBLINGS)));
        self.basis.failures = self.basis.failures.saturating_add(1);
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let fine = self.ailing.is_none();
        Snapshot {
            state: if fine { State::Seeding } else { State::Failed },
            done: if fine { self.total } else { 0 },
            total: self.total,
            downloaded: self.basis.downloaded,
            uploaded: self.basis.uploaded,
            banned: self.basis.banned,
            piece_map: vec![if fine { 255 } else { 0 }; self.pieces.min(MAP_CELLS) as usize],
            ..Snapshot::default()
        }
    }
}

/// Counts the torrents that are awake.
#[derive(Debug, Default)]
pub(crate) struct Awake(Arc<AtomicUsize>);

/// One of them.
#[derive(Debug)]
pub(crate) struct AwakeOne(Arc<AtomicUsize>);

impl Awake {
    pub(crate) fn one(&self) -> AwakeOne {
        self.0.fetch_add(1, Ordering::Relaxed);
        AwakeOne(Arc::clone(&self.0))
    }

    /// One more, if there are not too many for `connections`: strangers wake twice as many as may be connected, so that
    /// those that are on their way to rest hold nobody up.
    pub(crate) fn one_more(&self, connections: usize) -> Option<AwakeOne> {
        let one = self.one();
        (self.count() <= connections.saturating_mul(2)).then_some(one)
    }

    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for AwakeOne {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// For how long nothing may go on before a torrent rests.
pub(super) fn patience(usual: Duration, awake: usize, most: usize) -> Duration {
    if awake > most { Duration::ZERO } else { usual }
}

/// Since when nothing goes on.
#[derive(Debug, Default)]
pub(super) struct Quiet(Option<Instant>);

impl Quiet {
    /// It is so, or is not so, now.
    pub(super) fn note(&mut self, quiet: bool, now: Instant) {
        self.0 = quiet.then(|| self.0.unwrap_or(now));
    }

    /// It was not quite so: counts anew.
    pub(super) const fn restart(&mut self, now: Instant) {
        self.0 = Some(now);
    }

    /// When `patience` is over.
    pub(super) fn until(&self, patience: Duration) -> Option<Instant> {
        self.0.map(|since| since + patience)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dormant() -> Dormant {
        let basis = Basis {
            origin: None,
            dir: Path::new(".").into(),
            mode: Mode::Seed,
            paths: None,
            sequential: false,
            limits: Limits::default(),
            peers: [].into(),
            wanted: None,
            downloaded: 0,
            uploaded: 0,
            banned: 0,
            failures: 0,
        };
        Dormant { basis, proof: None, total: 100, pieces: 1000, ailing: None }
    }

    #[test]
    fn a_failed_torrent_is_left_alone_for_longer_each_time_up_to_an_hour() {
        let mut dormant = dormant();
        let now = Instant::now();
        assert!(dormant.may_wake(now) && dormant.snapshot().done == 100);
        for minutes in [1, 2, 4, 8, 16, 32, 64, 64] {
            dormant.fail(now);
            let wait = Duration::from_secs(60 * minutes);
            assert!(!dormant.may_wake(now + wait - Duration::from_millis(1)), "{minutes}");
            assert!(dormant.may_wake(now + wait), "{minutes}");
            assert_eq!((dormant.snapshot().state, dormant.snapshot().done), (State::Failed, 0));
        }
    }

    #[test]
    fn there_is_no_patience_while_too_many_are_awake() {
        let minute = Duration::from_secs(60);
        assert_eq!(patience(minute, 500, 500), minute);
        assert_eq!(patience(minute, 501, 500), Duration::ZERO);
        let awake = Awake::default();
        let (one, _two) = (awake.one(), awake.one());
        assert!(awake.one_more(1).is_none() && awake.one_more(2).is_some());
        drop(one);
        assert_eq!(awake.count(), 1);
        assert!(awake.one_more(1).is_some());
    }

    #[test]
    fn quiet_counts_from_its_beginning_and_anew_after_noise() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut quiet = Quiet::default();
        assert_eq!(quiet.until(second), None);
        quiet.note(true, start);
        quiet.note(true, start + second);
        assert_eq!(quiet.until(second), Some(start + second));
        quiet.note(false, start + second);
        quiet.note(true, start + 2 * second);
        assert_eq!(quiet.until(second), Some(start + 3 * second));
    }
}
