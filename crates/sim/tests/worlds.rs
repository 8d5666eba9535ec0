//! The worlds in their short form: every invariant holds, everyone who should gets there, and what the policies reach
//! stays reached. `cargo xtask sim` prints the long form; the targets are in docs/design/simulator.md.
//!
//! The bounds leave room for chance, not for a policy that broke. A failure names its seed.

use std::time::Duration;

use samara_sim::metrics::{bound, measure};
use samara_sim::scenario::Holds;
use samara_sim::tracker::Leave;
use samara_sim::worlds::{self, Setting, Size};
use samara_sim::{Member, Outcome};

const SEEDS: std::ops::Range<u64> = 1..3;

/// Runs a world with each seed.
fn judge(name: &str, check: impl Fn(&Outcome, u64)) {
    let setting = worlds::named(name).expect("a world of that name");
    for seed in SEEDS {
        check(&measure(&setting.scenario(Size::SHORT, seed), seed), seed);
    }
}

/// How long the last contributor takes where what is special is left out.
fn without(name: &str, seed: u64) -> f64 {
    let setting = worlds::named(name).expect("a world of that name");
    let build = setting.without.expect("something to compare with");
    measure(&Setting { build, ..*setting }.scenario(Size::SHORT, seed), seed).last
}

fn median(outcome: &Outcome, class: &str) -> f64 {
    outcome.class(class).and_then(|class| class.quantile(0.5)).expect("most are done")
}

#[test]
fn flash() {
    judge("flash", |o, seed| {
        assert!(o.efficiency() > Some(0.65), "seed {seed}: {:?} of {:?}", o.last, o.bound);
        assert!(o.seed_copies < 3.2, "seed {seed}: the seed sent {} copies", o.seed_copies);
        assert!(o.wasted < 0.01 && o.overhead < 0.01, "seed {seed}: {} {}", o.wasted, o.overhead);
    });
}

#[test]
fn equal_seeds_give_equal_worlds() {
    let small = Size { nodes: 20, pieces: 24 };
    for name in ["arrival", "polluters", "stock-mix", "islands"] {
        let run = |seed| measure(&worlds::named(name).expect("a world").scenario(small, seed), seed);
        let (first, other) = (run(1), run(2));
        assert_eq!(first, run(1), "{name}");
        assert_ne!(first.trace, other.trace, "{name}");
    }
}

#[test]
fn arrival() {
    judge("arrival", |o, seed| {
        let leeches = o.class("leech").expect("leeches");
        assert_eq!(leeches.times.len(), leeches.members, "seed {seed}: all who stay are done");
        let alone = f64::from(Size::SHORT.pieces * worlds::PIECE) / 100_000.0;
        assert!(median(o, "leech") < alone, "seed {seed}: {} s", median(o, "leech"));
    });
}

#[test]
fn asymmetric() {
    judge("asymmetric", |o, seed| {
        assert!(o.efficiency() > Some(0.65), "seed {seed}: {:?} of {:?}", o.last, o.bound);
    });
}

#[test]
fn those_who_give_more_are_done_sooner() {
    judge("mixed", |o, seed| {
        let (most, least) = (median(o, "400 kB/s"), median(o, "50 kB/s"));
        assert!(most < least * 0.97, "seed {seed}: {most} s and {least} s");
        assert!(o.jain > Some(0.6), "seed {seed}: {:?}", o.jain);
    });
}

#[test]
fn free_riders_are_slower() {
    judge("freeriders", |o, seed| {
        assert!(o.slowdown() > Some(1.12), "seed {seed}: {:?}", o.slowdown());
        for class in ["free rider", "silent rider"] {
            let riders = o.class(class).expect("free riders");
            assert!(riders.up == 0.0, "seed {seed}: they send nothing");
            assert_eq!(riders.times.len(), riders.members, "seed {seed}: in the end they are served");
        }
    });
}

#[test]
fn polluters_are_banned_and_delay_little() {
    judge("polluters", |o, seed| {
        let bans = o.bans;
        assert_eq!(bans.caught, bans.polluters, "seed {seed}: {bans:?}");
        assert_eq!(bans.wronged, 0, "seed {seed}: {bans:?}");
        assert!(o.wasted > 0.01 && o.wasted < 0.25, "seed {seed}: {}", o.wasted);
        let delay = o.last / without("polluters", seed);
        assert!(delay < 1.15, "seed {seed}: {delay}");
    });
}

#[test]
fn honest_nodes_ban_nobody() {
    for name in ["flash", "freeriders", "islands", "stock-mix"] {
        let scenario = worlds::named(name).expect("a world").scenario(Size { nodes: 20, pieces: 32 }, 3);
        let bans = measure(&scenario, 3).bans;
        assert_eq!((bans.polluters, bans.caught, bans.wronged), (0, 0, 0), "{name}");
    }
}

#[test]
fn the_seed_may_leave_once_its_copy_is_out() {
    let scenario = worlds::named("seed-leaves").expect("a world").scenario(Size::SHORT, 1);
    let (report, world) = scenario.run(1);
    assert!(!world.is_here(0), "it left");
    assert!(report.stats[1..].iter().all(|stats| stats.done == stats.wanted));
    judge("seed-leaves", |o, seed| assert!(o.seed_copies < 1.5, "seed {seed}: {}", o.seed_copies));
}

#[test]
fn a_fast_peer_serves_and_is_served() {
    judge("fast-peer", |o, seed| {
        let (fast, others) = (o.class("fast leech").expect("one").clone(), median(o, "leech"));
        assert!(fast.times[0] < others * 1.05, "seed {seed}: {} s and {others} s", fast.times[0]);
        assert!(fast.up > 1.0, "seed {seed}: it sent {}", fast.up);
    });
}

#[test]
fn a_thin_bridge_is_crossed() {
    judge("islands", |o, seed| {
        assert!(o.bridged >= 1.0, "seed {seed}");
        assert!(o.efficiency() > Some(0.55), "seed {seed}: {:?} of {:?}", o.last, o.bound);
    });
}

#[test]
fn among_stock_peers_ours_do_better() {
    judge("stock-mix", |o, seed| {
        let (ours, theirs) = (median(o, "leech"), median(o, "stock"));
        assert!(ours < theirs, "seed {seed}: {ours} s and {theirs} s");
        let all_stock = without("stock-mix", seed);
        assert!(o.last < all_stock * 1.1, "seed {seed}: {} s and {all_stock} s", o.last);
    });
}

#[test]
fn halves_make_a_whole_in_parallel_and_two_of_four_suffice() {
    let size = Size { nodes: 1, pieces: 96 };
    let mut scenario = worlds::named("halves").expect("a world").scenario(size, 1);
    for seed in SEEDS {
        let outcome = measure(&scenario, seed);
        assert!(outcome.efficiency() > Some(0.8), "seed {seed}: {} of {:?}", outcome.last, outcome.bound);
    }
    let midway = Duration::from_secs_f64(bound(&scenario) / 2.0);
    scenario.members[..2].iter_mut().for_each(|half| half.leave = Leave::After(midway));
    for seed in SEEDS {
        assert!(measure(&scenario, seed).last > bound(&scenario) * 1.2, "seed {seed}: two are gone");
    }
}

#[test]
fn the_bound_is_the_tightest_of_four() {
    let base = worlds::named("flash").expect("a world").scenario(Size { nodes: 2, pieces: 8 }, 1);
    let size = f64::from(8 * worlds::PIECE);
    let with = |change: &dyn Fn(&mut Vec<Member>), bridge| {
        let mut scenario = base.clone();
        change(&mut scenario.members);
        scenario.bridge = bridge;
        bound(&scenario) / size * 1000.0
    };
    assert_eq!(with(&|_| {}, None).round(), (2.0 * 1000.0 / 400_000.0_f64).round(), "all send together");
    let slow_seed = |members: &mut Vec<Member>| members[0].access.up = Some(10);
    assert_eq!(with(&slow_seed, None), 100.0, "the seed sends one copy");
    let slow_line = |members: &mut Vec<Member>| members[1].access.down = Some(100);
    assert_eq!(with(&slow_line, None), 10.0, "a line takes what it takes");
    assert_eq!(with(&|_| {}, Some(50)), 20.0, "one copy crosses");
    let partial = |members: &mut Vec<Member>| members[0].holds = Holds::Part { part: 0, of: 2 };
    assert_eq!(with(&partial, None), with(&|_| {}, None));
}
