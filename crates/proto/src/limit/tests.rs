//! The tree in worlds made of virtual time: greedy flows, moody ones, late timers, changing rates.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::{BucketKey, FlowKey, Tree};
use crate::rng::Rng;
use crate::time::Time;

const SECOND: u64 = 1_000_000;

/// A bucket as one would write it down: counts in millionths of a byte, and begins full.
#[derive(Debug)]
struct Ledger {
    rate: Option<u64>,
    parent: Option<BucketKey>,
    level: i128,
    at: Time,
    passed: u64,
}

impl Ledger {
    fn pass(&mut self, now: Time, bytes: u64) {
        self.passed += bytes;
        let Some(rate) = self.rate else { return };
        let gained = i128::from(rate) * now.since(self.at).as_micros() as i128;
        let burst = i128::from((rate * 3 / 20).max(1) * SECOND);
        self.level = (self.level + gained).min(burst) - i128::from(bytes * SECOND);
        self.at = now;
        // Whole bytes there, parts of bytes here: they differ by less than one.
        assert!(self.level > -i128::from(SECOND), "more than rate × time + burst passed");
    }
}

#[derive(Debug)]
struct Greedy {
    bucket: BucketKey,
    want: u64,
    got: u64,
    grants: u64,
    largest: u64,
    /// So many parts of 8 of a grant are used; the rest is given back.
    uses: u64,
}

struct World {
    tree: Tree,
    now: Time,
    ledgers: BTreeMap<BucketKey, Ledger>,
    flows: BTreeMap<FlowKey, Greedy>,
    rng: Rng,
    /// Timers come up to so many microseconds late.
    lateness: u64,
    ticks: u64,
}

impl World {
    fn new(seed: u64, lateness: u64) -> Self {
        let (ledgers, flows) = (BTreeMap::new(), BTreeMap::new());
        let rng = Rng::new(seed);
        Self { tree: Tree::new(), now: Time::ZERO, ledgers, flows, rng, lateness, ticks: 0 }
    }

    fn bucket(&mut self, parent: Option<BucketKey>, rate: Option<u64>) -> BucketKey {
        let key = self.tree.add_bucket(self.now, parent, rate);
        let level = rate.map_or(0, |r| i128::from((r * 3 / 20).max(1) * SECOND));
        self.ledgers.insert(key, Ledger { rate, parent, level, at: self.now, passed: 0 });
        key
    }

    fn flow(&mut self, bucket: BucketKey, want: u64) -> FlowKey {
        let key = self.tree.add_flow(bucket);
        self.flows.insert(key, Greedy { bucket, want, got: 0, grants: 0, largest: 0, uses: 8 });
        key
    }

    fn crowd(&mut self, flows: usize, bucket: BucketKey, wants: &[u64]) {
        for want in wants.iter().cycle().take(flows) {
            self.flow(bucket, *want);
        }
    }

    /// A flow got something, uses it at once and asks again, until it waits.
    fn pass(&mut self, key: FlowKey, mut bytes: u64) {
        while bytes > 0 {
            let flow = self.flows.get_mut(&key).unwrap();
            let used = (bytes * flow.uses / 8).max(1);
            flow.got += used;
            flow.grants += 1;
            flow.largest = flow.largest.max(bytes);
            let (mut bucket, want) = (Some(flow.bucket), flow.want);
            while let Some(key) = bucket {
                let ledger = self.ledgers.get_mut(&key).unwrap();
                ledger.pass(self.now, used);
                bucket = ledger.parent;
            }
            if used != bytes {
                self.tree.settle(self.now, key, bytes, used);
            }
            bytes = self.tree.ask(self.now, key, want);
        }
    }

    fn begin(&mut self) {
        for key in self.flows.keys().copied().collect::<Vec<_>>() {
            let want = self.flows[&key].want;
            let bytes = self.tree.ask(self.now, key, want);
            self.pass(key, bytes);
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.tree.deadline().filter(|due| *due <= end) {
            let late = Duration::from_micros(self.rng.below(self.lateness + 1));
            self.now = self.now.max(due) + late;
            self.tick();
        }
        self.now = self.now.max(end);
    }

    fn tick(&mut self) {
        self.ticks += 1;
        self.tree.handle_tick(self.now);
        while let Some((key, bytes)) = self.tree.poll() {
            self.pass(key, bytes);
        }
    }

    fn got(&self) -> Vec<u64> {
        self.flows.values().map(|f| f.got).collect()
    }
}

const TEN: Duration = Duration::from_secs(10);

#[test]
fn ten_seconds_are_right_at_any_rate_and_with_any_number_of_flows() {
    for rate in [1 << 10, 10_000, 256 << 10, 4 << 20, 100 << 20, 1 << 30] {
        for flows in [1, 2, 30] {
            let mut world = World::new(rate, 8000);
            let root = world.bucket(None, Some(rate));
            let torrent = world.bucket(Some(root), None);
            world.crowd(flows, torrent, &[65_536, 1 << 20]);
            world.begin();
            for _ in 0..2 {
                let before = world.ledgers[&root].passed;
                world.run(TEN);
                let passed = world.ledgers[&root].passed - before;
                let parts = passed * 1000 / (rate * 10);
                assert!((980..=1020).contains(&parts), "{rate} B/s, {flows} flows: {parts} of 1000");
            }
            assert!(world.ticks <= 20 * 50, "{rate} B/s, {flows} flows: {} rounds in 20 s", world.ticks);
        }
    }
}

#[test]
fn equal_shares_whatever_the_sizes_asked_for() {
    for (rate, flows) in [(10_000, 10), (256 << 10, 30), (4 << 20, 7), (100 << 20, 30)] {
        let mut world = World::new(1, 5000);
        let root = world.bucket(None, Some(rate));
        world.crowd(flows, root, &[100_000, 200_000, 1 << 20]);
        world.begin();
        world.run(TEN * 6);
        let (got, largest) = (world.got(), world.flows.values().map(|f| f.largest).max().unwrap());
        let spread = got.iter().max().unwrap() - got.iter().min().unwrap();
        assert!(spread <= 2 * largest, "{rate} B/s: {got:?}");
    }
}

#[test]
fn who_comes_later_is_neither_starved_nor_favoured() {
    let mut world = World::new(1, 0);
    let root = world.bucket(None, Some(100_000));
    world.crowd(4, root, &[1 << 20]);
    world.begin();
    world.run(Duration::from_secs(100));
    let late = world.flow(root, 1 << 20);
    let bytes = world.tree.ask(world.now, late, 1 << 20);
    world.pass(late, bytes);
    world.run(TEN);
    let got = world.flows[&late].got;
    assert!((160_000..=240_000).contains(&got), "a fifth of ten seconds, give or take two blocks: {got}");
}

#[test]
fn a_slow_torrent_leaves_the_rest_to_the_others() {
    let mut world = World::new(3, 5000);
    let root = world.bucket(None, Some(1_000_000));
    let (slow, fast) = (world.bucket(Some(root), Some(20_000)), world.bucket(Some(root), None));
    world.crowd(20, slow, &[1 << 18]);
    world.flow(fast, 1 << 18);
    world.begin();
    world.run(TEN);
    let passed = |key| world.ledgers[&key].passed;
    assert!((196_000..=204_000).contains(&passed(slow)), "{}", passed(slow));
    assert!((9_800_000..=10_200_000).contains(&passed(root)), "{}", passed(root));
}

#[test]
fn rates_change_while_others_wait() {
    let mut world = World::new(3, 0);
    let root = world.bucket(None, Some(1));
    world.crowd(3, root, &[1 << 18]);
    world.begin();
    world.run(Duration::from_secs(5));
    assert!(world.got().iter().sum::<u64>() <= 5);
    let change = |world: &mut World, rate| {
        world.tree.set_rate(world.now, root, rate);
        let ledger = world.ledgers.get_mut(&root).unwrap();
        (ledger.rate, ledger.level, ledger.at) = (rate, 0, world.now);
    };
    change(&mut world, Some(1_000_000));
    world.run(TEN);
    let sum = world.got().iter().sum::<u64>();
    assert!((9_800_000..=10_200_000).contains(&sum), "{sum}");
    // Without a limit who waits goes at once, and nobody waits any more.
    world.tree.set_rate(world.now, root, None);
    assert!(world.tree.deadline().is_some_and(|due| due <= world.now));
    world.tree.handle_tick(world.now);
    assert_eq!(std::iter::from_fn(|| world.tree.poll()).map(|(_, n)| n).collect::<Vec<_>>(), [1 << 18; 3]);
    assert_eq!(world.tree.deadline(), None);
}

#[test]
fn who_leaves_holds_up_nobody() {
    let mut tree = Tree::new();
    let root = tree.add_bucket(Time::ZERO, None, Some(100_000));
    let torrent = tree.add_bucket(Time::ZERO, Some(root), Some(50_000));
    let (a, b) = (tree.add_flow(torrent), tree.add_flow(torrent));
    assert_eq!((tree.ask(Time::ZERO, a, 9), tree.ask(Time::ZERO, b, 9)), (0, 0));
    tree.remove_flow(a);
    let due = tree.deadline().unwrap();
    tree.handle_tick(due);
    assert_eq!((tree.poll(), tree.poll()), (Some((b, 9)), None));
    assert_eq!(tree.deadline(), None);
    // A bucket that goes frees who waits for it.
    tree.settle(due, b, 0, 1 << 20);
    assert_eq!(tree.ask(due, b, 77), 0);
    tree.remove_bucket(due, torrent);
    assert_eq!(tree.poll(), Some((b, 77)));
    assert_eq!((tree.ask(due, b, 5), tree.ask(due, a, 5)), (5, 5));
    assert_eq!(tree.deadline(), None);
}

#[test]
fn what_passed_unasked_is_paid_back() {
    let mut world = World::new(3, 0);
    let root = world.bucket(None, Some(10_000));
    let flow = world.flow(root, 1 << 18);
    world.tree.settle(world.now, flow, 0, 50_000);
    world.begin();
    world.run(TEN);
    let got = world.got()[0];
    assert!((49_000..=50_000).contains(&got), "{got}");
}

/// A torrent's rate, and what each of its flows wants and uses.
type Torrent = (Option<u64>, Vec<(u64, u64)>);

#[derive(Clone, Debug)]
struct Plan {
    root: Option<u64>,
    torrents: Vec<Torrent>,
    lateness: u64,
}

fn plan() -> impl Strategy<Value = Plan> {
    let rate = || prop::option::weighted(0.7, prop_oneof![1u64..3000, 10_000u64..400_000]);
    let flow = (prop_oneof![2000u64..9000, 16_384u64..1 << 19], 4u64..=8);
    let torrents = prop::collection::vec((rate(), prop::collection::vec(flow, 0..8)), 1..6);
    (prop::option::weighted(0.9, 5_000u64..1_000_000), torrents, 0u64..20_000)
        .prop_map(|(root, torrents, lateness)| Plan { root, torrents, lateness })
}

/// Every flow of the plan that is limited somewhere, so that it can be greedy without end.
fn build(plan: &Plan) -> World {
    let mut world = World::new(7, plan.lateness);
    let root = world.bucket(None, plan.root);
    for (rate, flows) in &plan.torrents {
        let torrent = world.bucket(Some(root), *rate);
        for &(want, uses) in flows.iter().filter(|_| rate.or(plan.root).is_some()) {
            let flow = world.flow(torrent, want);
            world.flows.get_mut(&flow).unwrap().uses = uses;
        }
    }
    world
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// At every bucket no window exceeds rate × time + burst (the ledgers check it). Nobody starves: whoever asks gets as
    /// many turns as an equal share of the tightest bucket above it makes, and who wants at least a block a time gets
    /// that share in bytes. The same world runs the same way again.
    #[test]
    fn bounds_hold_and_nobody_starves(plan in plan()) {
        let seconds = 12;
        let mut world = build(&plan);
        world.begin();
        world.run(Duration::from_secs(seconds));
        let largest = world.flows.values().map(|f| f.largest).max().unwrap_or(0).max(16_384);
        for flow in world.flows.values() {
            let mut fair = u64::MAX;
            let mut bucket = Some(flow.bucket);
            while let Some(key) = bucket {
                let below = |f: &&Greedy| f.bucket == key || world.ledgers[&f.bucket].parent == Some(key);
                let crowd = world.flows.values().filter(below).count() as u64;
                fair = fair.min(world.ledgers[&key].rate.map_or(u64::MAX, |rate| rate * seconds / crowd));
                bucket = world.ledgers[&key].parent;
            }
            let least = (fair * 9 / 10).saturating_sub(2 * largest);
            prop_assert!(flow.grants * largest >= least, "{} turns of {largest}, {fair} bytes", flow.grants);
            let ample = flow.want >= 16_384 && flow.uses == 8;
            prop_assert!(!ample || flow.got >= least, "got {} of {fair}", flow.got);
        }
        let mut again = build(&plan);
        again.begin();
        again.run(Duration::from_secs(seconds));
        prop_assert_eq!((world.got(), world.ticks), (again.got(), again.ticks));
    }
}
