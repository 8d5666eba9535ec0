//! Whole swarms, each with many seeds. A failure names its seed; the same seed fails again.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use samara_proto::ids::{BLOCK_LEN, PieceIndex};
use samara_proto::metainfo::Format;
use samara_proto::peer::{Departure, Violation};
use samara_proto::time::Time;
use samara_proto::torrent::{Input, Source};
use samara_sim::disk::Lies;
use samara_sim::link::Path;
use samara_sim::net::Access;
use samara_sim::scenario::addr;
use samara_sim::{Member, Sample, Scenario, World};

const KIB: u64 = 1024;

fn sample(format: Format) -> Sample {
    Sample::new(format, 4 * BLOCK_LEN, &[300 * KIB, 64 * KIB, 1, 0, 500 * KIB + 7])
}

/// Large enough that no window holds all of it.
fn large(format: Format) -> Sample {
    Sample::new(format, 16 * BLOCK_LEN, &[3 << 20, 5 << 20, 100, (1 << 20) + 1])
}

fn all_formats() -> impl Iterator<Item = (u64, Format)> {
    (0u64..).zip([Format::V1, Format::V2, Format::Hybrid].into_iter().cycle())
}

/// Runs `members` with `seeds` seeds, the formats in turn; now and then with a large torrent.
fn each(seeds: usize, members: &[Member], check: impl Fn(&Scenario, u64)) {
    for (seed, format) in all_formats().take(seeds) {
        let sample = if seed % 8 < 6 { sample(format) } else { large(format) };
        check(&Scenario::new(sample, members.to_vec()), seed);
    }
}

#[test]
fn one_seed_one_leech() {
    each(60, &[Member::SEED, Member::LEECH], |scenario, seed| {
        let (report, world) = scenario.run(seed);
        assert_eq!(report.stats[1].wasted, 0, "seed {seed}");
        // The slowest line that this path may be has 2 MB/s.
        let limit = Duration::from_secs(1) + Duration::from_micros(report.stats[1].wanted / 2);
        assert!(report.took < limit, "seed {seed}: {:?}", report.took);
        assert!(world.nodes[1].disk.truth().is_full());
    });
}

#[test]
fn equal_seeds_equal_traces() {
    let scenario = Scenario::new(sample(Format::V1), vec![Member::SEED, Member::LEECH, Member::LEECH]);
    let trace = |seed| scenario.run(seed).0;
    assert_eq!(trace(1), trace(1));
    assert_ne!(trace(1).trace, trace(2).trace);
}

#[test]
fn three_that_have_a_third_each_make_a_whole() {
    let thirds: Vec<_> = (0..3).map(|part| Member::part(part, 3)).chain([Member::LEECH]).collect();
    each(40, &thirds, |scenario, seed| {
        let (report, _) = scenario.run(seed);
        assert!(report.stats[..3].iter().all(|s| s.uploaded > 0), "seed {seed}: all three serve");
    });
}

#[test]
fn leeches_help_each_other() {
    let members = [Member::SEED, Member::LEECH, Member::LEECH, Member::LEECH, Member::LEECH];
    each(20, &members, |scenario, seed| {
        let (report, _) = scenario.run(seed);
        let from_leeches: u64 = report.stats[1..].iter().map(|s| s.uploaded).sum();
        assert!(from_leeches > 0, "seed {seed}");
    });
}

#[test]
fn a_magnet_link_is_enough() {
    each(40, &[Member::SEED, Member::SEED, Member::MAGNET], |scenario, seed| {
        let (_, world) = scenario.run(seed);
        let fetched = world.nodes[2].news.layers.is_some();
        assert_eq!(fetched, scenario.sample.info.format().has_v2(), "seed {seed}");
    });
}

/// All know one seed only, whose line could not serve them all in this time.
#[test]
fn all_but_one_address_come_by_peer_exchange() {
    let up = Some(200_000);
    let seed_line = Member { access: Access { up, ..Access::default() }, ..Member::SEED };
    let peers = (1..30).map(|n| if n % 2 == 0 { Member::MAGNET } else { Member::LEECH });
    let members: Vec<_> = [seed_line].into_iter().chain(peers).collect();
    for (seed, format) in all_formats().take(3) {
        let scenario = Scenario { pex: true, ..Scenario::new(large(format), members.clone()) };
        let (report, world) = scenario.run(seed);
        let size = report.stats[1].wanted;
        assert!(report.stats[0].uploaded < 5 * size, "seed {seed}: the crowd does the work");
        for (node, stats) in world.nodes.iter().zip(&report.stats).skip(1) {
            assert!(stats.candidates >= 15, "seed {seed}: {} knows {}", node.addr, stats.candidates);
        }
        let alone = Scenario { pex: false, ..scenario.clone() };
        let without = Scenario {
            members: alone.members.iter().map(|m| Member { knows_others: false, ..*m }).collect(),
            ..alone
        };
        let mut world = without.world(seed);
        (1..30).for_each(|n| world.give(n, Input::Candidates { source: Source::User, addrs: vec![addr(0)] }));
        (0..50_000).for_each(|_| _ = world.step());
        let known = world.nodes[1].torrent.stats().candidates;
        assert_eq!(known, 1, "seed {seed}: there is no other way");
    }
}

/// Neighbours of each honest newcomer half a minute after it joined, if every `nth` tells of nobody but peers that do not
/// exist. All know one seed only.
fn neighbours(nth: usize, seed: u64) -> Vec<usize> {
    let up = Some(200_000);
    let seed_line = Member { access: Access { up, ..Access::default() }, ..Member::SEED };
    let peers = (1..60).map(|n| Member {
        invents: n % nth == 0,
        access: Access { up: Some(5_000), down: Some(50_000), island: false },
        joins: Duration::from_millis(n as u64 * 500),
        ..Member::LEECH
    });
    let members: Vec<_> = [seed_line].into_iter().chain(peers).collect();
    let scenario = Scenario { pex: true, max_peers: 30, ..Scenario::new(large(Format::V1), members.clone()) };
    let mut world = scenario.world(seed);
    let begin = world.now;
    let mut found = Vec::new();
    for (n, member) in members.iter().enumerate().skip(1).filter(|(_, m)| !m.invents) {
        while world.now.since(begin) < member.joins + Duration::from_secs(30) && world.step() {}
        let liars = |addr: SocketAddr| members[samara_sim::scenario::index_of(addr).unwrap_or(0)].invents;
        found.push(world.nodes[n].torrent.sources().iter().filter(|(addr, _)| !liars(*addr)).count());
    }
    found
}

#[test]
fn who_tells_of_peers_that_do_not_exist_keeps_nobody_from_the_others() {
    let mut found = neighbours(5, 1);
    found.sort_unstable();
    let (tenth, median) = (found[found.len() / 10], found[found.len() / 2]);
    assert!(tenth >= 5 && median >= 12, "a tenth has {tenth} neighbours at most, half has {median}");
}

#[test]
fn a_long_piece_layer_comes_in_runs_from_several_peers() {
    let sample = Sample::new(Format::V2, BLOCK_LEN, &[1300 * u64::from(BLOCK_LEN), 5]);
    let leech = Member { no_layers: true, ..Member::LEECH };
    let scenario = Scenario::new(sample, vec![Member::SEED, Member::SEED, leech]);
    for seed in 0..3 {
        assert!(scenario.run(seed).1.nodes[2].news.layers.is_some());
    }
}

#[test]
fn lost_connections_are_made_again() {
    for (seed, format) in all_formats().take(40) {
        let members = vec![Member::SEED, Member::LEECH, Member::MAGNET];
        let mut scenario = Scenario::new(sample(format), members);
        scenario.path.rate = 200_000;
        scenario.cuts = Some(Duration::from_secs(1));
        let (_, world) = scenario.run(seed);
        assert!(world.nodes[1].news.left.contains(&Departure::Io), "seed {seed}: something was cut");
    }
}

#[test]
fn a_liar_is_found_and_banned() {
    each(60, &[Member::SEED, Member::LIAR, Member::LEECH], |scenario, seed| {
        let (report, world) = scenario.run(seed);
        let banned = &world.nodes[2].news.banned;
        assert!(report.stats[2].wasted < 1 << 19 || !banned.is_empty(), "seed {seed}: it goes on lying");
        assert!(
            banned.iter().all(|(a, why)| (a.ip(), *why) == (addr(1).ip(), Violation::BadPieces)),
            "seed {seed}"
        );
    });
    each(20, &[Member::SEED, Member::LIAR, Member::LIAR, Member::LEECH], |scenario, seed| {
        let (_, world) = scenario.run(seed);
        let honest = addr(0).ip();
        assert!(world.nodes[3].news.banned.iter().all(|(a, _)| a.ip() != honest), "seed {seed}");
    });
}

/// Whether nobody honest was banned, and every liar that did harm was.
fn justice_was_done(scenario: &Scenario, world: &World, seed: u64) {
    for (member, node) in scenario.members.iter().zip(&world.nodes).filter(|(m, _)| m.lies == Lies::Never) {
        let banned: BTreeSet<_> = node.news.banned.iter().map(|(addr, _)| addr.ip()).collect();
        assert_eq!(banned, node.news.lied_to, "seed {seed}: {} bans who lied to it", node.addr);
        assert_eq!(banned.len(), node.torrent.stats().banned as usize);
        assert!(member.wants || banned.is_empty());
    }
}

/// Two seeds, five leeches and so many others of one kind.
fn crowd(others: &[Member]) -> Vec<Member> {
    let good = [Member::SEED; 2].into_iter().chain([Member::LEECH; 5]);
    good.chain(others.iter().copied()).collect()
}

#[test]
fn liars_among_many_are_all_found_and_nobody_else() {
    for (seed, format) in all_formats().take(9) {
        let small = seed % 3 > 0;
        let sample = if small { sample(format) } else { large(format) };
        let scenario = Scenario::new(sample, crowd(&[Member::SLY; 3]));
        let (report, world) = scenario.run(seed);
        justice_was_done(&scenario, &world, seed);
        // A few pieces for each liar; with a hash tree, and pieces long enough for it to matter, next to nothing.
        let pieces = if small || format.has_v2() { 3 } else { 6 };
        let most = pieces * u64::from(scenario.sample.info.piece_length()).max(100 * KIB);
        assert!(report.stats.iter().all(|s| s.wasted <= most), "seed {seed}: {:?}", report.stats);
    }
}

#[test]
fn a_seldom_lie_convicts_when_the_piece_comes_again() {
    for (seed, format) in all_formats().take(9) {
        let lies = if seed % 2 == 0 { Lies::Seldom } else { Lies::Now };
        let mut scenario = Scenario::new(large(format), crowd(&[Member { lies, ..Member::SLY }; 3]));
        // So slow that nobody fetches a piece alone.
        scenario.path.rate = 6_000;
        let (_, world) = scenario.run(seed);
        justice_was_done(&scenario, &world, seed);
        let banned: usize = world.nodes.iter().map(|node| node.news.banned.len()).sum();
        assert!(banned > 0, "seed {seed}");
    }
}

#[test]
fn one_honest_seed_prevails_against_many_liars() {
    let casts: [&[Member]; 4] = [
        &[Member::SEED, Member::SLY, Member::LEECH],
        &[Member::SEED, Member::SLY, Member::SLY, Member::LEECH, Member::LEECH],
        &[Member::SEED, Member::SLY, Member::SLY, Member::SLY, Member::SLY, Member::LEECH],
        &[Member::SEED, Member::SLY, Member::LIAR, Member::LEECH, Member::MAGNET],
    ];
    for (seed, format) in all_formats().take(24) {
        let cast = casts[seed as usize % casts.len()];
        let mut scenario = Scenario::new(sample(format), cast.to_vec());
        scenario.path.rate = [4_000_000, 300_000][seed as usize / 4 % 2];
        let (report, world) = scenario.run(seed);
        justice_was_done(&scenario, &world, seed);
        assert!(report.took < Duration::from_secs(12), "seed {seed}: {:?}", report.took);
    }
}

#[test]
fn a_silent_peer_stops_nobody() {
    each(40, &[Member::SEED, Member::MUTE, Member::LEECH], |scenario, seed| {
        let (report, _) = scenario.run(seed);
        // Long before it is snubbed: the end game asks the other one too.
        assert!(report.took < Duration::from_secs(12), "seed {seed}: {:?}", report.took);
    });
}

#[test]
fn the_end_game_does_not_wait_for_the_slowest() {
    for (seed, format) in all_formats().take(20) {
        let members = vec![Member::SEED, Member::SEED, Member::SEED, Member::LEECH];
        let mut scenario = Scenario::new(sample(format), members);
        scenario.path = Path { latency: Duration::from_millis(100), rate: 100_000 };
        let (report, _) = scenario.run(seed);
        let total: u64 = report.stats[3].wanted;
        assert!(report.stats[3].wasted < total / 4, "seed {seed}: {:?}", report.stats[3]);
        assert!(report.took < Duration::from_secs(9), "seed {seed}: {:?}", report.took);
    }
}

#[test]
fn in_order_if_asked() {
    each(20, &[Member::SEED, Member { sequential: true, ..Member::LEECH }], |scenario, seed| {
        let mut world = scenario.world(seed);
        while !world.nodes[1].torrent.is_complete() {
            assert!(world.step());
            let have = world.nodes[1].torrent.have().expect("it is ready");
            assert!(have.iter().zip(0..).all(|(piece, n)| piece.0 == n), "seed {seed}: a gap");
        }
    });
}

#[test]
fn a_fast_line_is_filled() {
    // 48 MiB at 50 to 150 MB/s: a second at most, and the start.
    for (latency, limit) in [(500, 1200), (50_000, 2200)] {
        let sample = Sample::new(Format::V1, 16 * BLOCK_LEN, &[48 << 20]);
        let mut scenario = Scenario::new(sample, vec![Member::SEED, Member::LEECH]);
        scenario.path = Path { latency: Duration::from_micros(latency), rate: 100_000_000 };
        let (report, _) = scenario.run(1);
        assert!(report.took < Duration::from_millis(limit), "{latency} us: {:?}", report.took);
    }
}

#[test]
fn two_that_call_each_other_at_once_end_with_one_connection() {
    for (seed, format) in all_formats().take(20) {
        let half = |part| Member { knows_others: true, ..Member::part(part, 2) };
        let scenario = Scenario::new(sample(format), vec![half(0), half(1)]);
        let mut world = scenario.world(seed);
        let end = world.now + Duration::from_secs(900);
        while world.now < end && world.step() {}
        assert_eq!(world.links().count(), 1, "seed {seed}");
        assert!(world.nodes.iter().all(|node| node.torrent.stats().connections == 1), "seed {seed}");
        let lost: usize = world.nodes.iter().map(|node| node.news.left.len()).sum();
        assert!(
            (1..=2).contains(&lost),
            "seed {seed}: {lost} ends of the second connection, and no third one"
        );
    }
}

#[test]
fn a_flood_of_idle_callers_keeps_no_seed_out() {
    // They hold nothing and want nothing, and come first.
    let idle = Member { wants: false, ..Member::LEECH };
    let leech = Member { knows_others: false, ..Member::LEECH };
    let late = Member { joins: Duration::from_secs(30), ..Member::SEED };
    let members = [leech, late].into_iter().chain([idle; 30]).collect();
    let mut scenario = Scenario::new(sample(Format::V1), members);
    scenario.max_peers = 8;
    for seed in 0..10 {
        let mut world = scenario.world(seed);
        world.give(0, Input::Candidates { source: Source::Tracker, addrs: vec![addr(1)] });
        while !world.nodes[0].torrent.is_complete() {
            assert!(
                world.step() && world.now < Time::from_micros(200_000_000),
                "seed {seed}: it is kept out"
            );
        }
    }
}

/// Pieces that a rider has, who takes and never gives, when the others have a quarter; it hangs up every `every`.
fn ridden(seed: u64, every: Option<Duration>) -> u32 {
    let access = |up| Access { up: Some(up), ..Member::LEECH.access };
    let leech = Member { access: access(50_000), ..Member::LEECH };
    let rider = Member { selfish: true, ..Member::LEECH };
    let source = Member { access: access(200_000), ..Member::SEED };
    let sample = Sample::new(Format::V1, 2 * BLOCK_LEN, &[8 << 20]);
    let scenario = Scenario::new(sample, [source, rider].into_iter().chain([leech; 14]).collect());
    let mut world = scenario.world(seed);
    let mut next = every.map(|every| world.now + every);
    let have = |world: &World, node: usize| world.nodes[node].torrent.have().map_or(0, |have| have.count());
    while (2..16).any(|node| have(&world, node) < 64) && world.step() {
        if let (Some(at), Some(every)) = (next.filter(|at| *at <= world.now), every) {
            world.hang_up(1);
            next = Some(at + every);
        }
    }
    have(&world, 1)
}

#[test]
fn who_reconnects_gets_no_second_turn() {
    let returning = Some(Duration::from_secs(25));
    let (stays, returns): (Vec<_>, Vec<_>) =
        (0..8).map(|seed| (ridden(seed, None), ridden(seed, returning))).unzip();
    let (stays, returns) = (stays.iter().sum::<u32>(), returns.iter().sum::<u32>());
    // 1110 and 554; if who leaves is forgotten, 651.
    assert!(9 * returns < 5 * stays, "{stays} {returns}");
}

/// A member that has a part of the pieces, or wants all, with this upload line, in bytes a second.
const fn with_up(member: Member, up: u64) -> Member {
    Member { access: Access { up: Some(up), ..member.access }, ..member }
}

/// Milliseconds for which the last member, who reads all of it in order at `rate` bytes a second, has to wait; and until
/// it has everything.
fn read_in_order(scenario: &Scenario, seed: u64, rate: u64, deadlines: bool) -> (u64, u64) {
    let (mut world, reader) = (scenario.world(seed), scenario.members.len() - 1);
    let (pieces, length) = (scenario.sample.info.num_pieces(), scenario.sample.info.piece_length());
    let each = Duration::from_micros(u64::from(length) * 1_000_000 / rate);
    let (start, mut busy, mut stalled) = (world.now, world.now, Duration::ZERO);
    for piece in 0..pieces {
        if deadlines {
            let ahead = (piece..pieces.min(piece + 12)).zip(0..);
            let due = ahead.map(|(p, n)| (PieceIndex(p), world.now + each * n)).collect();
            world.give(reader, Input::Deadlines(due));
        }
        let has =
            |world: &World| world.nodes[reader].torrent.have().is_some_and(|h| h.has(PieceIndex(piece)));
        while world.now < busy || !has(&world) {
            assert!(world.step(), "seed {seed}: it never comes");
        }
        stalled += world.now.since(busy);
        busy = world.now + each;
    }
    while !world.nodes[reader].torrent.is_complete() {
        assert!(world.step());
    }
    (stalled.as_millis() as u64, world.now.since(start).as_millis() as u64)
}

#[test]
fn a_reader_with_deadlines_waits_little_and_has_everything_as_soon() {
    let sample = Sample::new(Format::V1, 16 * BLOCK_LEN, &[10 << 20]);
    let halves = [0, 1].map(|part| with_up(Member::part(part, 2), 600_000));
    let slow = [with_up(Member::LEECH, 40_000); 4];
    let mut members = halves.to_vec();
    members.extend(slow);
    members.push(with_up(Member::LEECH, 200_000));
    let scenario = Scenario::new(sample, members);
    // Seconds in which a choker serves others are waited for in any case, and differ much between seeds.
    let sum = |rate, deadlines| -> (u64, u64) {
        let runs = (0..16).map(|seed| read_in_order(&scenario, seed, rate, deadlines));
        runs.fold((0, 0), |sum, run| (sum.0 + run.0, sum.1 + run.1))
    };
    let (with, without) = (sum(250_000, true).0, sum(250_000, false).0);
    assert!(with * 2 < without, "stalled {with} ms with deadlines, {without} ms without");
    let (with, without) = (sum(1 << 30, true).1, sum(1 << 30, false).1);
    assert!(with < without * 115 / 100, "all is there after {with} ms with deadlines, {without} ms without");
}
