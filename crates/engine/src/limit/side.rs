//! One direction: the tree behind its lock, and the task that keeps its deadlines.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use samara_proto::limit::{BucketKey, FlowKey, Tree};
use samara_proto::time::Time;
use tokio::sync::Notify;

use crate::clock::Clock;

/// A direction of the client.
#[derive(Debug)]
pub(super) struct Side {
    clock: Clock,
    /// The client has a limit.
    pub(super) limited: AtomicBool,
    state: Mutex<State>,
    /// The deadline came nearer.
    sooner: Notify,
}

#[derive(Debug)]
struct State {
    tree: Tree,
    root: BucketKey,
    /// Where to put the grants of those who wait.
    slots: BTreeMap<FlowKey, Arc<Slot>>,
    /// Limits, for those who want to know. Only buckets that have one.
    rates: BTreeMap<BucketKey, u64>,
    /// What the task sleeps for.
    sleeping: Option<Time>,
}

/// A grant on its way to a connection.
#[derive(Debug, Default)]
pub(super) struct Slot {
    bytes: AtomicU64,
    there: Notify,
}

impl Slot {
    fn put(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.there.notify_one();
    }

    /// What was put and not taken.
    pub(super) fn left(&self) -> u64 {
        self.bytes.swap(0, Ordering::Relaxed)
    }

    /// Waits for a grant.
    pub(super) async fn take(&self) -> u64 {
        loop {
            match self.left() {
                0 => self.there.notified().await,
                bytes => return bytes,
            }
        }
    }
}

impl Side {
    pub(super) fn new(clock: Clock, rate: Option<u64>) -> Self {
        let mut tree = Tree::new();
        let root = tree.add_bucket(clock.now(), None, rate);
        let rates = rate.map(|rate| (root, rate)).into_iter().collect();
        let state = State { tree, root, slots: BTreeMap::new(), rates, sleeping: None };
        Self {
            clock,
            limited: AtomicBool::new(rate.is_some()),
            state: Mutex::new(state),
            sooner: Notify::new(),
        }
    }

    pub(super) fn set_root(&self, rate: Option<u64>) {
        let root = self.lock().root;
        self.set_rate(root, rate);
        self.limited.store(rate.is_some(), Ordering::Relaxed);
    }

    pub(super) fn add_bucket(&self, rate: Option<u64>) -> BucketKey {
        let mut state = self.lock();
        let root = state.root;
        let bucket = state.tree.add_bucket(self.clock.now(), Some(root), rate);
        state.note_rate(bucket, rate);
        bucket
    }

    pub(super) fn set_rate(&self, bucket: BucketKey, rate: Option<u64>) {
        let mut state = self.lock();
        state.tree.set_rate(self.clock.now(), bucket, rate);
        state.note_rate(bucket, rate);
        self.wake(&state);
    }

    pub(super) fn remove_bucket(&self, bucket: BucketKey) {
        let mut state = self.lock();
        state.tree.remove_bucket(self.clock.now(), bucket);
        state.note_rate(bucket, None);
        state.hand_out();
    }

    /// The lower of a torrent's limit and the client's.
    pub(super) fn tightest(&self, bucket: BucketKey) -> Option<u64> {
        let state = self.lock();
        [bucket, state.root].iter().filter_map(|key| state.rates.get(key)).min().copied()
    }

    pub(super) fn add_flow(&self, bucket: BucketKey) -> (FlowKey, Arc<Slot>) {
        let mut state = self.lock();
        let (flow, slot) = (state.tree.add_flow(bucket), Arc::<Slot>::default());
        state.slots.insert(flow, Arc::clone(&slot));
        (flow, slot)
    }

    /// Removes a flow, which did not use `left` of what it was granted.
    pub(super) fn remove_flow(&self, flow: FlowKey, left: u64) {
        let mut state = self.lock();
        state.tree.settle(self.clock.now(), flow, left, 0);
        state.tree.remove_flow(flow);
        state.slots.remove(&flow);
        self.wake(&state);
    }

    /// Asks; `None` if the grant will come to the slot.
    pub(super) fn ask(&self, flow: FlowKey, want: u64) -> Option<u64> {
        let mut state = self.lock();
        let bytes = state.tree.ask(self.clock.now(), flow, want);
        if bytes == 0 {
            self.wake(&state);
        }
        (bytes > 0).then_some(bytes)
    }

    pub(super) fn settle(&self, flow: FlowKey, granted: u64, used: u64) {
        let mut state = self.lock();
        state.tree.settle(self.clock.now(), flow, granted, used);
        self.wake(&state);
    }

    /// Hands out what is due; returns when to come again.
    fn tick(&self) -> Option<Time> {
        let mut state = self.lock();
        state.tree.handle_tick(self.clock.now());
        state.hand_out();
        state.sleeping = state.tree.deadline();
        state.sleeping
    }

    /// Wakes the task if it sleeps too long.
    fn wake(&self, state: &State) {
        let due = state.tree.deadline();
        if due.is_some_and(|due| state.sleeping.is_none_or(|sleeping| due < sleeping)) {
            self.sooner.notify_one();
        }
    }

    /// A poisoned lock is of no consequence: the tree keeps whole numbers that are right or, at worst, unfair.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn note_rate(&mut self, bucket: BucketKey, rate: Option<u64>) {
        match rate {
            Some(rate) => self.rates.insert(bucket, rate),
            None => self.rates.remove(&bucket),
        };
    }

    fn hand_out(&mut self) {
        while let Some((flow, bytes)) = self.tree.poll() {
            if let Some(slot) = self.slots.get(&flow) {
                slot.put(bytes);
            }
        }
    }
}

/// Serves those who wait, each time their turn has come; sleeps while nobody waits.
pub(super) async fn pace(side: Arc<Side>) {
    loop {
        match side.tick() {
            Some(due) => {
                let due = side.clock.instant(due);
                let _ = tokio::time::timeout_at(due, side.sooner.notified()).await;
            }
            None => side.sooner.notified().await,
        }
    }
}
