//! The tree: buckets below buckets, flows that hang on them, and the order in which those are served who wait.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::bucket::Bucket;
use crate::ids::BLOCK_LEN;
use crate::time::Time;

/// Bytes granted at once at most: what one read or write of the engine moves.
const MOST: u64 = 256 * 1024;

/// A share of a turn is no smaller, as far as the turn goes: a wake-up should be worth a block.
const SHARE: u64 = BLOCK_LEN as u64;

/// Names a bucket of a [`Tree`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BucketKey(u64);

/// Names a flow of a [`Tree`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowKey(u64);

/// A token-bucket tree. See the [module](super) for the rule and the order of calls.
#[derive(Debug, Default)]
pub struct Tree {
    buckets: BTreeMap<BucketKey, Node>,
    flows: BTreeMap<FlowKey, Flow>,
    /// Buckets on which somebody waits.
    busy: BTreeSet<BucketKey>,
    grants: VecDeque<(FlowKey, u64)>,
    /// The start tag that was served last: where newcomers begin.
    virtual_time: u64,
    next: u64,
}

#[derive(Debug)]
struct Node {
    parent: Option<BucketKey>,
    bucket: Bucket,
    /// Who waits for this bucket, by start tag.
    queue: BTreeSet<(u64, FlowKey)>,
}

impl Node {
    const fn new(parent: Option<BucketKey>, bucket: Bucket) -> Self {
        Self { parent, bucket, queue: BTreeSet::new() }
    }

    fn is_dry(&self, want: u64) -> bool {
        !self.bucket.is_open(want)
    }

    /// It has too little, or others wait for what it has.
    fn is_taken(&self, want: u64) -> bool {
        !self.queue.is_empty() || self.is_dry(want)
    }
}

#[derive(Debug)]
struct Flow {
    bucket: BucketKey,
    /// Bytes that it got, on the scale of the virtual time: the start tag of its next question, unless time went on.
    finish: u64,
    waiting: Option<Waiting>,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    on: BucketKey,
    tag: u64,
    want: u64,
}

impl Tree {
    /// A tree without a bucket.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a bucket with a rate in bytes a second (0 counts as 1), or without a limit, below another or at the top. It
    /// begins empty.
    pub fn add_bucket(&mut self, now: Time, parent: Option<BucketKey>, rate: Option<u64>) -> BucketKey {
        let key = BucketKey(self.fresh());
        self.buckets.insert(key, Node::new(parent, Bucket::new(rate, now)));
        key
    }

    /// Removes a bucket. What still hangs on it is limited no more, and who waits for it is granted all that it wants.
    pub fn remove_bucket(&mut self, now: Time, key: BucketKey) {
        let Some(node) = self.buckets.remove(&key) else { return };
        self.busy.remove(&key);
        for (_, flow) in node.queue {
            if let Some(waiting) = self.flows.get_mut(&flow).and_then(|f| f.waiting.take()) {
                match self.ask(now, flow, waiting.want) {
                    0 => {}
                    bytes => self.grants.push_back((flow, bytes)),
                }
            }
        }
    }

    /// Changes a rate from now on. Who waits is served at the next tick, for which the deadline may have changed.
    pub fn set_rate(&mut self, now: Time, key: BucketKey, rate: Option<u64>) {
        if let Some(node) = self.buckets.get_mut(&key) {
            node.bucket.set_rate(rate, now);
        }
    }

    /// Adds a flow that hangs on a bucket.
    pub fn add_flow(&mut self, bucket: BucketKey) -> FlowKey {
        let key = FlowKey(self.fresh());
        self.flows.insert(key, Flow { bucket, finish: 0, waiting: None });
        key
    }

    /// Removes a flow, and what it waits for. What it was granted and did not use is to be settled before.
    pub fn remove_flow(&mut self, key: FlowKey) {
        self.stop_waiting(key);
        self.grants.retain(|(flow, _)| *flow != key);
        self.flows.remove(&key);
    }

    /// Asks for up to `want` bytes. Returns how many may pass now, 1 to 256 KiB; or 0, and the flow waits until
    /// [`poll`](Self::poll) names it. Asking while it waits changes only how much it wants. Flows that are not known
    /// are not limited.
    pub fn ask(&mut self, now: Time, key: FlowKey, want: u64) -> u64 {
        let want = want.clamp(1, MOST);
        let Some(flow) = self.flows.get_mut(&key) else { return want };
        if let Some(waiting) = &mut flow.waiting {
            waiting.want = want;
            return 0;
        }
        let tag = flow.finish.max(self.virtual_time);
        let chain = self.chain(key);
        self.refill(now, &chain);
        match chain.iter().copied().find(|key| self.is(*key, |node| node.is_taken(want))) {
            Some(on) => {
                self.wait(key, Waiting { on, tag, want });
                0
            }
            None => self.grant(key, &chain, tag, want),
        }
    }

    /// Puts right what a flow was granted by what it used: the rest is given back, and what passed unasked is owed by all
    /// buckets above it.
    pub fn settle(&mut self, now: Time, key: FlowKey, granted: u64, used: u64) {
        let chain = self.chain(key);
        self.refill(now, &chain);
        let (back, more) = (granted.saturating_sub(used), used.saturating_sub(granted));
        for bucket in &chain {
            let Some(node) = self.buckets.get_mut(bucket) else { continue };
            node.bucket.take(more);
            if node.bucket.is_limited() {
                node.bucket.add(i64::try_from(back).unwrap_or(i64::MAX));
            }
        }
        if let Some(flow) = self.flows.get_mut(&key) {
            flow.finish = flow.finish.saturating_sub(back).saturating_add(more);
        }
    }

    /// Time passed: serves who waits. To be called at [`deadline`](Self::deadline), and harmless at any other time.
    pub fn handle_tick(&mut self, now: Time) {
        // From the leaves up: who is through below may be served above in the same turn.
        let busy: Vec<_> = self.busy.iter().rev().copied().collect();
        for key in busy {
            self.serve(now, key);
        }
    }

    /// The next grant: who waits no more, and for how many bytes. To be called until `None` after every
    /// [`handle_tick`](Self::handle_tick) and [`remove_bucket`](Self::remove_bucket).
    pub fn poll(&mut self) -> Option<(FlowKey, u64)> {
        self.grants.pop_front()
    }

    /// When to call [`handle_tick`](Self::handle_tick); `None` while nobody waits.
    pub fn deadline(&self) -> Option<Time> {
        self.busy.iter().filter_map(|key| self.buckets.get(key)).map(|node| node.bucket.ripe_at()).min()
    }

    const fn fresh(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// The bucket of a flow and all above it.
    fn chain(&self, key: FlowKey) -> Vec<BucketKey> {
        let first = self.flows.get(&key).map(|flow| flow.bucket);
        let parent = |key: &BucketKey| self.buckets.get(key).and_then(|node| node.parent);
        std::iter::successors(first, parent).collect()
    }

    fn refill(&mut self, now: Time, chain: &[BucketKey]) {
        for key in chain {
            if let Some(node) = self.buckets.get_mut(key) {
                node.bucket.refill(now);
            }
        }
    }

    fn is(&self, key: BucketKey, so: impl FnOnce(&Node) -> bool) -> bool {
        self.buckets.get(&key).is_some_and(so)
    }

    fn wait(&mut self, key: FlowKey, waiting: Waiting) {
        if let (Some(flow), Some(node)) = (self.flows.get_mut(&key), self.buckets.get_mut(&waiting.on)) {
            flow.waiting = Some(waiting);
            node.queue.insert((waiting.tag, key));
            self.busy.insert(waiting.on);
        }
    }

    fn stop_waiting(&mut self, key: FlowKey) -> Option<Waiting> {
        let waiting = self.flows.get_mut(&key)?.waiting.take()?;
        if let Some(node) = self.buckets.get_mut(&waiting.on) {
            node.queue.remove(&(waiting.tag, key));
            if node.queue.is_empty() {
                self.busy.remove(&waiting.on);
            }
        }
        Some(waiting)
    }

    /// Takes tokens from the whole chain: as many as each bucket has, at most `most`.
    fn grant(&mut self, key: FlowKey, chain: &[BucketKey], tag: u64, most: u64) -> u64 {
        let level = |key: &BucketKey| self.buckets.get(key).map(|node| node.bucket.level());
        let bytes = chain.iter().filter_map(level).fold(most, u64::min);
        for bucket in chain {
            if let Some(node) = self.buckets.get_mut(bucket) {
                node.bucket.take(bytes);
            }
        }
        if let Some(flow) = self.flows.get_mut(&key) {
            flow.finish = tag.saturating_add(bytes);
        }
        self.virtual_time = self.virtual_time.max(tag);
        bytes
    }

    /// Hands out what a ripe bucket has, in shares, by start tag. Who needs another bucket too, that is dry or has its
    /// own queue, goes on waiting there and keeps its tag.
    fn serve(&mut self, now: Time, key: BucketKey) {
        let Some(node) = self.buckets.get_mut(&key) else { return };
        node.bucket.refill(now);
        if !node.bucket.is_ripe() {
            return;
        }
        let crowd = node.queue.len() as u64;
        let share = (node.bucket.level() / crowd.max(1)).max(SHARE);
        while let Some(flow) = self.next(key) {
            let Some(Waiting { tag, want, .. }) = self.stop_waiting(flow) else { return };
            let chain = self.chain(flow);
            self.refill(now, &chain);
            match self.blocker(key, &chain, want) {
                Some(on) => self.wait(flow, Waiting { on, tag, want }),
                None => {
                    let bytes = self.grant(flow, &chain, tag, want.min(share));
                    self.grants.push_back((flow, bytes));
                }
            }
        }
    }

    /// Who is next at a bucket, as long as that has enough.
    fn next(&self, key: BucketKey) -> Option<FlowKey> {
        let node = self.buckets.get(&key)?;
        let (_, flow) = *node.queue.first()?;
        let want = self.flows.get(&flow)?.waiting?.want;
        node.bucket.is_open(want).then_some(flow)
    }

    /// The other bucket that one who is served at `here` has to wait for: one below that is dry, or one above that is dry
    /// or has a queue.
    fn blocker(&self, here: BucketKey, chain: &[BucketKey], want: u64) -> Option<BucketKey> {
        let at = chain.iter().position(|key| *key == here).unwrap_or(0);
        let (below, above) = chain.split_at(at);
        let dry = |key: &&BucketKey| self.is(**key, |node| node.is_dry(want));
        let taken = |key: &&BucketKey| self.is(**key, |node| node.is_taken(want));
        below.iter().find(dry).or_else(|| above.iter().skip(1).find(taken)).copied()
    }
}
