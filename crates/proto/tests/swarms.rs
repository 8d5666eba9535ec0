//! The store of a tracker as a whole: random programs against the model of the fuzz target, fairness, floods.
//!
//! `cargo test --release -p samara-proto --test swarms -- --ignored --nocapture` runs the long forms and prints what
//! they take.

#[path = "../../../fuzz/src/input.rs"]
pub mod input;
#[path = "../../../fuzz/src/swarms.rs"]
pub mod model;

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use samara_proto::ids::WireHash;
use samara_proto::rng::Rng;
use samara_proto::swarms::{Announce, Ask, Config, Counts, Event, Role, Swarms};
use samara_proto::time::Time;
use samara_proto::tracker::Family;

#[test]
fn random_programs_agree_with_a_list_of_everybody() {
    for seed in 0..50 {
        let mut rng = Rng::new(seed);
        let mut program = vec![0; 16 << rng.below(8)];
        rng.fill(&mut program);
        model::run(&program);
    }
}

fn store(max_bytes: usize) -> Swarms {
    let config = Config { lifetime: LIFETIME, max_bytes, per_host: 64, secret: [9; 16] };
    Swarms::new(&config, Time::ZERO)
}

const LIFETIME: Duration = Duration::from_secs(1800);

fn at(seconds: u64) -> Time {
    Time::ZERO + Duration::from_secs(seconds)
}

/// Spread over all of the number's bits, so that neighbours do not look alike.
fn hash(n: u64) -> WireHash {
    let mut bytes = [0; 20];
    Rng::new(n).fill(&mut bytes);
    WireHash(bytes)
}

fn peer(n: u32) -> SocketAddr {
    (Ipv4Addr::from_bits(0x0100_0000 + n), 6881).into()
}

fn announce(
    store: &mut Swarms,
    now: Time,
    n: u64,
    peer: SocketAddr,
    role: Role,
    want: usize,
) -> Vec<SocketAddr> {
    let mut out = [0; 1200];
    let announce = Announce { hash: hash(n), peer, event: Event::None, role, want };
    let counts = store.announce(now, &announce, &mut out);
    let peers = out[..counts.peers].chunks_exact(6);
    peers.map(|p| ([p[0], p[1], p[2], p[3]], u16::from_be_bytes([p[4], p[5]])).into()).collect()
}

fn scrape(store: &Swarms, n: u64) -> Counts {
    store.scrape(&hash(n), Family::V4)
}

/// How often each peer is handed out, over its fair share.
fn shares(leeches: u32, seeds: u32, role: Role, asks: u32) -> Vec<f64> {
    let mut store = store(64 << 20);
    for n in 0..leeches + seeds {
        announce(&mut store, at(0), 1, peer(n), if n < leeches { Role::Leech } else { Role::Seed }, 0);
    }
    let mut times: HashMap<SocketAddr, u32> = HashMap::new();
    let mut out = [0; 20 * 6];
    for _ in 0..asks {
        let ask = Ask { hash: hash(1), family: Family::V4, role, want: 20 };
        let counts = store.peers(at(1), &ask, &mut out);
        assert_eq!(counts.peers, 20.min(leeches + seeds) as usize * 6);
        for p in out[..counts.peers].chunks_exact(6) {
            let port = u16::from_be_bytes([p[4], p[5]]);
            *times.entry(([p[0], p[1], p[2], p[3]], port).into()).or_default() += 1;
        }
    }
    let asked = if role == Role::Leech { leeches + seeds } else { leeches };
    let fair = f64::from(asks) * 20.0 / f64::from(asked);
    (0..asked).map(|n| f64::from(times.get(&peer(n)).copied().unwrap_or(0)) / fair).collect()
}

#[test]
fn everybody_is_handed_out_equally_often() {
    // Small swarms and crowds, mixed, and one role alone.
    for (leeches, seeds, role) in [
        (30, 30, Role::Leech),
        (60, 1, Role::Leech),
        (50, 10, Role::Seed),
        (700, 300, Role::Leech),
        (1000, 1, Role::Leech),
        (30, 1000, Role::Seed),
    ] {
        let all = shares(leeches, seeds, role, 5000);
        let (least, most) = all.iter().fold((9.0f64, 0.0f64), |(a, b), x| (a.min(*x), b.max(*x)));
        // Draws of windows scatter by some percent.
        assert!(
            least > 0.5 && most < 1.6,
            "{leeches} leeches, {seeds} seeds, {role:?}: {least:.2} to {most:.2}"
        );
    }
}

/// Honest swarms that live on while so many hashes that nobody shares are announced once each.
fn flood(fakes: u32, honest: u64, max_bytes: usize) -> Swarms {
    let mut store = store(max_bytes);
    // Five who come at once, or one who comes twice.
    (0..honest * 5)
        .for_each(|n| drop(announce(&mut store, at(0), n % honest, peer(n as u32), Role::Leech, 0)));
    for seconds in [0, 600] {
        for n in 0..honest {
            announce(&mut store, at(seconds), 1 << 34 | n, peer(n as u32), Role::Leech, 0);
        }
    }
    for n in 0..fakes {
        announce(&mut store, at(700), 1 << 32 | u64::from(n), peer(1 << 24 | n), Role::Leech, 50);
        let bytes = (store.stats().v4 + store.stats().v6).bytes;
        assert!(bytes <= max_bytes / 2, "{bytes} of {max_bytes} after {n}");
    }
    for n in 0..honest {
        assert_eq!(scrape(&store, n).incomplete, 5, "an honest swarm lost peers to a flood");
        assert_eq!(scrape(&store, 1 << 34 | n).incomplete, 1, "an honest swarm is lost to a flood");
    }
    store
}

#[test]
fn a_flood_of_hashes_takes_its_share_and_drives_nobody_out() {
    let store = flood(60_000, 500, 4 << 20);
    let stats = store.stats().v4;
    assert!(stats.evicted > 20_000 && stats.swarms > 10_000, "{stats:?}");
}

#[test]
#[ignore = "takes half a minute in debug builds"]
#[expect(clippy::disallowed_methods, reason = "a measurement looks at the clock")]
fn a_million_fake_hashes() {
    let start = std::time::Instant::now();
    let store = flood(1_000_000, 10_000, 32 << 20);
    println!("a million fakes beside 10,000 honest swarms: {:?}, {:?}", store.stats().v4, start.elapsed());
}

#[test]
fn a_swarm_that_takes_much_grows_on_its_own_peers() {
    let mut store = store(4 << 20);
    for seconds in [0, 100] {
        for n in 0..500 {
            announce(&mut store, at(seconds), n, peer(n as u32), Role::Seed, 0);
        }
    }
    for n in 0..250_000 {
        announce(&mut store, at(200), 1 << 40, peer(1 << 24 | n), Role::Leech, 0);
    }
    assert!((0..500).all(|n| scrape(&store, n).complete == 1), "a crowd drove others out");
    let crowd = scrape(&store, 1 << 40).incomplete;
    assert!(crowd > 100_000, "{crowd}");
    // Who came last is there.
    let told = announce(&mut store, at(200), 1 << 40, peer(1 << 24), Role::Seed, 50);
    assert_eq!(told.len(), 50);
}

#[test]
fn a_host_has_a_few_peers_and_pushes_out_its_own() {
    let v4 = |port| SocketAddr::from(([192, 0, 2, 1], port));
    let v6 = |n: u16| SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, n], 1));
    for others in [0, 200] {
        let mut store = store(4 << 20);
        (0..others).for_each(|n| drop(announce(&mut store, at(0), 1, peer(n), Role::Seed, 0)));
        for port in 1..2000 {
            announce(&mut store, at(u64::from(port)), 1, v4(port), Role::Leech, 0);
            announce(&mut store, at(u64::from(port)), 2, v6(port), Role::Leech, 0);
        }
        assert_eq!(scrape(&store, 1).incomplete, 64);
        assert_eq!(store.scrape(&hash(2), Family::V6).incomplete, 64);
        let told = announce(&mut store, at(2000), 1, peer(9999), Role::Seed, 100);
        assert!(told.iter().all(|p| p.ip() == v4(1).ip() && p.port() > 1900), "{told:?}");
    }
}

#[test]
fn nobody_rises_again_behind_a_swarm_that_is_left_and_entered_again() {
    let (mut store, tick) = (store(4 << 20), LIFETIME / 64);
    let say = |store: &mut Swarms, now, n, peer, event| {
        let announce = Announce { hash: hash(n), peer, event, role: Role::Seed, want: 9 };
        store.announce(now, &announce, &mut [0; 60])
    };
    // One that has downloads is remembered while nobody is in it.
    say(&mut store, at(0), 1, peer(1), Event::Completed);
    say(&mut store, at(0), 2, peer(2), Event::Started);
    for round in 1..=10 {
        let now = at(0) + tick * 30 * round;
        while store.sweep(now, 10) {}
        let left = say(&mut store, now, 1, peer(1), Event::Stopped);
        assert_eq!((left.complete, left.downloaded), (0, 1));
        say(&mut store, now, 1, peer(1), Event::Started);
        if round > 3 {
            assert_eq!(scrape(&store, 2), Counts::default(), "a swarm is known {} ticks later", 30 * round);
        }
    }
}

#[test]
fn a_bag_that_is_full_costs_others_nothing() {
    let config = Config { lifetime: LIFETIME, max_bytes: 64 << 20, per_host: 1000, secret: [9; 16] };
    let mut store = Swarms::new(&config, Time::ZERO);
    (0..100).for_each(|n| drop(announce(&mut store, at(0), n, peer(n as u32), Role::Seed, 0)));
    for port in 1..=900 {
        announce(&mut store, at(1), 1 << 40, ([192, 0, 2, 1], port).into(), Role::Leech, 0);
    }
    assert_eq!(store.stats().v4.evicted, 0);
    assert_eq!(scrape(&store, 1 << 40).incomplete, 512);
    for seconds in [1000, 1900] {
        while store.sweep(at(seconds), 10) {}
    }
    assert_eq!(store.stats().v4.swarms, 0);
}

#[test]
fn swarms_grow_in_a_flood() {
    let mut store = store(4 << 20);
    for seconds in [0, 600] {
        for n in 0..500 * 5 {
            announce(&mut store, at(seconds), n % 500, peer(n as u32), Role::Leech, 0);
        }
    }
    for n in 0..60_000 {
        announce(&mut store, at(700), 1 << 32 | u64::from(n), peer(1 << 24 | n), Role::Leech, 0);
        if n % 20 == 0 {
            announce(&mut store, at(700), u64::from(n / 20 % 500), peer(1 << 23 | n), Role::Leech, 0);
        }
    }
    let known: Vec<_> = (0..500).map(|n| scrape(&store, n).incomplete).collect();
    assert_eq!(known, [5 + 6; 500], "somebody was not let in");
    assert!(store.stats().v4.evicted > 20_000);
}

#[test]
fn crowds_shrink_again() {
    let mut store = store(64 << 20);
    for round in 0..3 {
        for n in 0..10_000 {
            announce(&mut store, at(round * 10_000), 1, peer(n), Role::Leech, 0);
        }
        let full = store.stats().v4.bytes;
        for n in 0..9_990 {
            let gone =
                Announce { hash: hash(1), peer: peer(n), event: Event::Stopped, role: Role::Leech, want: 9 };
            assert_eq!(store.announce(at(round * 10_000), &gone, &mut [0; 60]).peers, 0);
        }
        assert_eq!(announce(&mut store, at(round * 10_000), 1, peer(9_999), Role::Leech, 50).len(), 9);
        // What was freed is used again.
        for n in 0..2000 {
            announce(&mut store, at(round * 10_000), 2 + n, peer(n as u32), Role::Leech, 0);
        }
        assert!(store.stats().v4.bytes <= full + 2000 * 80, "freed memory is not used again");
        while store.sweep(at(round * 10_000 + 9000), 100) {}
        assert_eq!((store.stats().v4.swarms, store.stats().v4.leeches), (0, 0));
    }
}

#[test]
fn a_clock_that_jumps_ahead_forgets_everybody_and_one_that_jumps_back_nobody() {
    let mut store = store(4 << 20);
    (0..100).for_each(|n| drop(announce(&mut store, at(5000), 1, peer(n), Role::Leech, 0)));
    assert_eq!(announce(&mut store, at(10), 1, peer(0), Role::Leech, 200).len(), 99);
    assert_eq!(announce(&mut store, at(5000), 1, peer(0), Role::Leech, 200).len(), 99);
    assert!(announce(&mut store, at(1 << 40), 1, peer(1), Role::Leech, 200).is_empty());
    assert_eq!(store.stats().v4.leeches, 1);
    let end = Time::from_micros(u64::MAX);
    assert!(announce(&mut store, end, 1, peer(2), Role::Leech, 200).is_empty());
    assert_eq!(announce(&mut store, end, 1, peer(3), Role::Leech, 200), [peer(2)]);
}

/// What the numbers of `docs/design/hub-store.md` come from.
#[test]
#[ignore = "a measurement"]
#[expect(clippy::disallowed_methods, reason = "a measurement looks at the clock")]
fn costs() {
    let per = |start: std::time::Instant, n: u32| start.elapsed() / n;
    for (swarms, each) in [(100_000, 10), (1_000_000, 1), (10_000, 100), (1, 1_000_000)] {
        let (mut store, n) = (store(1 << 30), swarms * each);
        let start = std::time::Instant::now();
        for i in 0..n {
            announce(&mut store, at(0), u64::from(i % swarms), peer(i / swarms), Role::Leech, 30);
        }
        let enter = per(start, n);
        let mut rng = Rng::new(1);
        let start = std::time::Instant::now();
        for _ in 0..n {
            let i = rng.below(n.into()) as u32;
            announce(&mut store, at(60), u64::from(i % swarms), peer(i / swarms), Role::Leech, 30);
        }
        let renew = per(start, n);
        let stats = store.stats().v4;
        let per_peer = stats.bytes as f64 / (stats.leeches as f64);
        let start = std::time::Instant::now();
        while store.sweep(at(4000), usize::MAX) {}
        println!(
            "{swarms} x {each}: {per_peer:.1} B a peer, new {enter:?}, known {renew:?}, all forgotten in {:?}",
            start.elapsed()
        );
    }
}
