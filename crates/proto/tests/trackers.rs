//! Days among trackers, in virtual time: announcers, pacing and the UDP machine together, over networks that lose, double
//! and reorder, with trackers that fail, restart, refuse and lie, and a clock that jumps. [`judge`] holds every output
//! against the rules; the trackers hold what came to them against theirs.

#[path = "../../../fuzz/src/tracker_fleet/judge.rs"]
pub mod judge;
#[path = "trackers/world.rs"]
mod world;

use std::time::Duration;

use samara_proto::rng::Rng;
use samara_proto::tracker::announcer::{Input as About, Need};
use samara_proto::tracker::fleet::Input;
use samara_proto::tracker::{Family, Retry};

use world::{Nature, Net, World, hash, refusal};

const HOUR: Duration = Duration::from_secs(3600);
const PERFECT: Net = Net { lost: 0, doubled: 0, late: 0 };
const BAD: Net = Net { lost: 200, doubled: 50, late: 30 };

/// Trackers of all kinds, each in a tier of its own, and one tier with a spare.
const TIERS: &[&[&str]] = &[
    &["udp://good:1"],
    &["http://web/announce"],
    &["udp://v4only:2"],
    &["http://slowly/announce"],
    &["udp://hasty:3"],
    &["udp://aeons:4"],
    &["http://refuses/announce"],
    &["http://never/announce"],
    &["http://unknown/announce"],
    &["udp://restarts:5", "http://spare/announce"],
];

fn all_kinds(world: &mut World) {
    let every = Nature::every;
    world.tracker("udp://good:1", every(1800));
    world.tracker("http://web/announce", Nature { min_interval: Some(900), ..every(1800) });
    world.tracker("udp://v4only:2", Nature { v6: false, ..every(1800) });
    world.tracker("http://slowly/announce", Nature { min_interval: Some(7200), ..every(3600) });
    world.tracker("udp://hasty:3", every(0));
    world.tracker("udp://aeons:4", every(u32::MAX));
    world.tracker(
        "http://refuses/announce",
        Nature { refuses: refusal(Some(Retry::Minutes(90))), ..every(1) },
    );
    world.tracker("http://never/announce", Nature { refuses: refusal(Some(Retry::Never)), ..every(1) });
    world.tracker("udp://restarts:5", every(1800));
    world.tracker("http://spare/announce", every(1800));
}

/// The longest that a tracker did not hear of a torrent.
fn gap(world: &World, url: &str, n: u64, family: Family) -> Duration {
    let entry = &world.trackers[url].entries[&(hash(n), family)];
    entry.gap.max(world.now.since(entry.heard))
}

fn announces(world: &World, url: &str, n: u64) -> usize {
    let entries = &world.trackers[url].entries;
    entries.iter().filter(|((of, _), _)| *of == hash(n)).map(|(_, entry)| entry.announces).sum()
}

fn week(seed: u64) {
    const TORRENTS: u64 = 12;
    let mut rng = Rng::new(seed);
    let mut world = World::new(seed, BAD, |_| {});
    all_kinds(&mut world);
    (0..TORRENTS).for_each(|n| world.add(n, TIERS));
    for _ in 0..7 * 4 {
        world.run(5 * HOUR);
        let n = rng.below(TORRENTS);
        match rng.below(5) {
            0 => world.restart("udp://restarts:5"),
            1 => world.sleep(8 * HOUR),
            2 => world.about(n, About::Completed),
            3 => {
                world.about(n, About::Need([Need::None, Need::Few, Need::Many, Need::Starved][rng.index(4)]))
            }
            _ => world.about(n, About::AnnounceNow),
        }
        world.run(HOUR);
    }
    for n in 0..TORRENTS {
        for family in [Family::V4, Family::V6] {
            // A failure costs two minutes and a back-off; several in a row happen on such lines.
            for (url, most) in [
                ("udp://good:1", 1),
                ("http://web/announce", 1),
                ("http://slowly/announce", 3),
                ("udp://aeons:4", 8),
            ] {
                let gap = gap(&world, url, n, family);
                assert!(gap < most * HOUR, "seed {seed}: {url} over {family:?} did not hear for {gap:?}");
            }
        }
        assert!(gap(&world, "udp://v4only:2", n, Family::V4) < HOUR, "seed {seed}");
        // A week has 336 half hours; starved torrents ask every five minutes at the most.
        assert!((500..=4100).contains(&announces(&world, "udp://good:1", n)), "seed {seed}");
        assert!(
            world.trackers["udp://hasty:3"].entries.values().all(|it| it.announces <= 2100),
            "seed {seed}"
        );
    }
    let entries = world.trackers.values().flat_map(|tracker| tracker.entries.values());
    assert!(
        entries.map(|entry| entry.completed).max() <= Some(2),
        "once, and perhaps again if the answer was lost"
    );
    world.tell(Input::Stop);
    world.run(Duration::from_secs(6));
    assert_eq!((world.ended as u64, world.fleet.len()), (TORRENTS, 0));
}

#[test]
fn weeks_on_bad_lines() {
    (0..4).for_each(week);
}

#[test]
fn everybody_is_told_of_the_end_if_the_network_lets_it() {
    let mut world = World::new(5, PERFECT, |_| {});
    all_kinds(&mut world);
    (0..20).for_each(|n| world.add(n, TIERS));
    world.run(HOUR);
    world.tell(Input::Stop);
    world.run(Duration::from_secs(6));
    assert_eq!(world.ended, 20);
    for (url, tracker) in &world.trackers {
        assert!(tracker.entries.values().all(|entry| entry.stopped), "{url}");
    }
    assert_eq!(world.trackers["udp://good:1"].entries.len(), 40);
}

#[test]
fn each_tracker_hears_at_its_interval_and_no_sooner() {
    let mut world = World::new(6, PERFECT, |_| {});
    all_kinds(&mut world);
    world.add(0, TIERS);
    world.run(24 * HOUR);
    let per_family = |url: &str| world.trackers[url].entries.values().map(|it| it.announces).max();
    assert_eq!(per_family("udp://good:1"), Some(48));
    assert_eq!(per_family("http://slowly/announce"), Some(12));
    assert_eq!(per_family("udp://hasty:3"), Some(48));
    assert_eq!(per_family("udp://aeons:4"), Some(4));
    assert_eq!(announces(&world, "http://refuses/announce", 0), 0);
}

/// Thousands of torrents at one tracker: the start is spread, and so are all rounds after it.
#[test]
fn a_library_is_announced_at_an_even_pace() {
    const TORRENTS: u64 = 3000;
    let mut world = World::new(7, Net { lost: 20, doubled: 0, late: 0 }, |config| config.per_host = 64);
    world.tracker("udp://good:1", Nature { v6: false, ..Nature::every(1800) });
    (0..TORRENTS).for_each(|n| world.add(n, &[&["udp://good:1"]]));
    world.run(Duration::from_secs(150));
    let entries = world.trackers["udp://good:1"].entries.len();
    assert!(entries > 2900, "{entries} of {TORRENTS} were announced");
    world.run(3 * HOUR);
    for n in 0..TORRENTS {
        assert!(gap(&world, "udp://good:1", n, Family::V4) < Duration::from_secs(2200), "{n}");
    }
    assert!(world.judge.asks < 7 * 2 * TORRENTS as usize);
}

/// A tracker dies and comes back while others go on.
#[test]
fn a_tracker_that_was_away_hears_of_all_again_within_half_an_hour() {
    let mut world = World::new(8, PERFECT, |_| {});
    world.tracker("udp://restarts:5", Nature::every(1800));
    world.tracker("http://web/announce", Nature::every(1800));
    (0..100).for_each(|n| world.add(n, &[&["udp://restarts:5"], &["http://web/announce"]]));
    world.run(HOUR);
    world.restart("udp://restarts:5");
    let before = world.judge.asks;
    world.run(24 * HOUR);
    // The other one takes two families of a hundred torrents, 48 times.
    let wasted = world.judge.asks - before - 2 * 100 * 48;
    assert!(wasted < 1000, "{wasted} questions to a dead tracker");
    world.restart("udp://restarts:5");
    let back = world.now;
    world.run(HOUR / 2);
    for entry in world.trackers["udp://restarts:5"].entries.values() {
        assert!(entry.heard > back);
    }
}
