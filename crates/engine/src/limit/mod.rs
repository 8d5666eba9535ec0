//! Rate limits as the engine keeps them: who is limited, and how a connection waits for its turn.
//!
//! One tree of buckets for each direction: the client's, below it one for each torrent that is awake, below that the
//! connections. The decisions are the machine's ([`samara_proto::limit`]); here are the lock around it, the task that
//! keeps its deadlines, and the [`Tap`] through which a connection asks.
//!
//! What is not limited pays two relaxed loads for a read or write, and takes no lock. What is limited takes a short one
//! for each read or write. Payload counts, as in the rates that are shown; headers and control messages do not, so that
//! no limit, however low, keeps a swarm from talking.
//!
//! Tests: below for who is local; over sockets in `tests/limits.rs`. Numbers: `docs/design/limits.md`.

mod lan;
mod side;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use samara_proto::limit::{BucketKey, FlowKey};
use tokio::task::JoinSet;

use self::side::{Side, Slot};
use crate::api::Limits;
use crate::clock::Clock;

/// Both directions, of the client and all its torrents.
#[derive(Debug)]
pub(crate) struct Limiter {
    down: Arc<Side>,
    up: Arc<Side>,
    /// Peers on the local network are limited too.
    lan: bool,
}

impl Limiter {
    pub(crate) fn new(clock: Clock, limits: Limits, lan: bool) -> Self {
        let side = |rate| Arc::new(Side::new(clock, rate));
        Self { down: side(limits.down), up: side(limits.up), lan }
    }

    /// Starts the tasks that wake connections when it is their turn.
    pub(crate) fn start(&self, tasks: &mut JoinSet<()>) {
        tasks.spawn(side::pace(Arc::clone(&self.down)));
        tasks.spawn(side::pace(Arc::clone(&self.up)));
    }

    /// Changes the client's limits, from now on.
    pub(crate) fn set(&self, limits: Limits) {
        self.down.set_root(limits.down);
        self.up.set_root(limits.up);
    }

    /// The limits of a new torrent.
    pub(crate) fn torrent(&self, limits: Limits) -> TorrentLimits {
        TorrentLimits {
            down: Arc::new(Branch::new(&self.down, limits.down)),
            up: Arc::new(Branch::new(&self.up, limits.up)),
            lan: self.lan,
        }
    }
}

/// The limits of one torrent.
#[derive(Clone, Debug)]
pub(crate) struct TorrentLimits {
    down: Arc<Branch>,
    up: Arc<Branch>,
    lan: bool,
}

impl TorrentLimits {
    /// Changes them, from now on.
    pub(crate) fn set(&self, limits: Limits) {
        self.down.set(limits.down);
        self.up.set(limits.up);
    }

    /// What may go up in all, bytes a second: the lower of the torrent's limit and the client's.
    pub(crate) fn upload(&self) -> Option<u64> {
        self.up.rate()
    }

    /// For a connection to `remote`: its taps, download and upload.
    pub(crate) fn taps(&self, remote: IpAddr) -> (Tap, Tap) {
        let exempt = !self.lan && lan::is_local(remote);
        let tap = |branch: &Arc<Branch>| Tap(Some(Open::new(branch)).filter(|_| !exempt));
        (tap(&self.down), tap(&self.up))
    }
}

/// A torrent's bucket in one direction. It leaves the tree with its last connection.
#[derive(Debug)]
struct Branch {
    side: Arc<Side>,
    bucket: BucketKey,
    /// The torrent has a limit of its own.
    limited: AtomicBool,
}

impl Branch {
    fn new(side: &Arc<Side>, rate: Option<u64>) -> Self {
        let bucket = side.add_bucket(rate);
        Self { side: Arc::clone(side), bucket, limited: AtomicBool::new(rate.is_some()) }
    }

    fn set(&self, rate: Option<u64>) {
        self.side.set_rate(self.bucket, rate);
        self.limited.store(rate.is_some(), Ordering::Relaxed);
    }

    fn rate(&self) -> Option<u64> {
        self.side.tightest(self.bucket)
    }
}

impl Drop for Branch {
    fn drop(&mut self) {
        self.side.remove_bucket(self.bucket);
    }
}

/// One direction of one connection: where it asks before it moves payload.
#[derive(Debug)]
pub(crate) struct Tap(Option<Open>);

#[derive(Debug)]
struct Open {
    branch: Arc<Branch>,
    /// Its place in the tree; taken when it is first limited.
    flow: Option<(FlowKey, Arc<Slot>)>,
}

impl Open {
    fn new(branch: &Arc<Branch>) -> Self {
        Self { branch: Arc::clone(branch), flow: None }
    }
}

impl Tap {
    /// Whether to ask at all.
    pub(crate) fn is_limited(&self) -> bool {
        let limited = |flag: &AtomicBool| flag.load(Ordering::Relaxed);
        self.0
            .as_ref()
            .is_some_and(|open| limited(&open.branch.limited) || limited(&open.branch.side.limited))
    }

    /// Asks for up to `want` bytes of payload. `None`: wait for [`granted`](Self::granted).
    pub(crate) fn ask(&mut self, want: usize) -> Option<usize> {
        let Some(open) = &mut self.0 else { return Some(want) };
        let Branch { side, bucket, .. } = &*open.branch;
        let flow = open.flow.get_or_insert_with(|| side.add_flow(*bucket)).0;
        side.ask(flow, want as u64).map(|bytes| bytes as usize)
    }

    /// Waits for what was asked for, in bytes. Cancel safe; for ever, if nothing was asked.
    pub(crate) async fn granted(&self) -> usize {
        match self.0.as_ref().and_then(|open| open.flow.as_ref()) {
            Some((_, slot)) => slot.take().await as usize,
            None => std::future::pending().await,
        }
    }

    /// Says how much of a grant was used: the rest is for others. More was used than granted: that is owed.
    pub(crate) fn settle(&mut self, granted: usize, used: usize) {
        if granted == used {
            return;
        }
        let Some(open) = &mut self.0 else { return };
        let Branch { side, bucket, .. } = &*open.branch;
        let flow = open.flow.get_or_insert_with(|| side.add_flow(*bucket)).0;
        side.settle(flow, granted as u64, used as u64);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some((flow, slot)) = self.flow.take() {
            self.branch.side.remove_flow(flow, slot.left());
        }
    }
}
