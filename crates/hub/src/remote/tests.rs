//! Stores that share servers. Those marked as ignored start `redis-server`; `cargo xtask test --only interop` runs them.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use samara_proto::ids::WireHash;
use samara_proto::rng::Rng;
use samara_proto::swarms::{Announce, Counts, Event, Role};
use samara_proto::tracker::Family;

use crate::clock::Clock;
use crate::config::{Config, Options};
use crate::store::{Asked, Store, Told, Unavailable};

pub(super) mod servers;

use servers::{Cluster, Redis};

/// What a store that is elsewhere answers in, and a little more for a busy machine.
const SOON: Duration = Duration::from_secs(5);

/// One hub's store.
pub(super) struct Site {
    pub(super) store: std::sync::Arc<Store>,
    pub(super) clock: Clock,
}

impl Drop for Site {
    fn drop(&mut self) {
        self.store.stop();
    }
}

type Outcome = Result<(Counts, Vec<SocketAddr>), Unavailable>;

impl Site {
    pub(super) fn new(place: &str, prefix: &str) -> Self {
        Self::living(place, prefix, "30m")
    }

    fn living(place: &str, prefix: &str, interval: &str) -> Self {
        let options = Options {
            store: Some(place.parse().unwrap()),
            store_prefix: Some(prefix.to_owned()),
            interval: Some(interval.parse().unwrap()),
            ..Options::default()
        };
        let clock = Clock::start();
        // The same lots in each run.
        let store = Store::with_secrets(&Config::new(options).unwrap(), clock, [[1; 16], [2; 16]]).unwrap();
        Self { store, clock }
    }

    /// Announces, and waits for the answer.
    fn announce(&self, n: u8, peer: &str, event: Event, role: Role) -> Outcome {
        let peer: SocketAddr = peer.parse().unwrap();
        let hash = WireHash([n; 20]);
        self.enter(&Announce { hash, peer, event, role, want: 50 })
    }

    fn enter(&self, announce: &Announce) -> Outcome {
        let (sender, receiver) = sync_channel(1);
        let mut room = vec![0; 200 * 18];
        let asked = self.store.announce(self.clock.now(), announce, &mut room, || {
            Box::new(move |told| sender.send(told).unwrap())
        });
        let family = Family::of(announce.peer.ip());
        match asked {
            Asked::Done(told) => Ok(read(told, &room, family)),
            Asked::Later => receiver
                .recv_timeout(SOON)
                .expect("an outcome")
                .map(|(told, peers)| read(told, &peers, family)),
        }
    }

    /// Asks without being entered.
    fn ask(&self, n: u8, family: Family, role: Role) -> Outcome {
        let peer = if family == Family::V4 { "192.0.2.250:0" } else { "[2001:db8::ffff]:0" };
        self.announce(n, peer, Event::None, role)
    }

    /// Announces, and says how many peers of both families are told, and what is known of both.
    fn announce_to_both(&self, announce: &Announce) -> Result<[(Counts, Vec<SocketAddr>); 2], Unavailable> {
        let (sender, receiver) = sync_channel(1);
        let family = Family::of(announce.peer.ip());
        let (mut own, mut other) = (vec![0; 200 * 18], vec![0; 200 * 18]);
        let asked = self.store.announce_to_both(self.clock.now(), announce, &mut own, &mut other, || {
            Box::new(move |outcome| {
                let parts =
                    outcome.map(|(_, o)| [o.own, o.other].map(|(counts, peers)| (counts, peers.to_vec())));
                sender.send(parts).unwrap();
            })
        });
        let [mine, others] = match asked {
            Asked::Done((_, [mine, others])) => [(mine, own), (others, other)],
            Asked::Later => receiver.recv_timeout(SOON).expect("an outcome")?,
        };
        let told = |counts| Told { interval: 0, counts };
        Ok([read(told(mine.0), &mine.1, family), read(told(others.0), &others.1, family.other())])
    }

    fn scrape(&self, hashes: &[u8], family: Family) -> Result<Vec<[u32; 3]>, Unavailable> {
        let (sender, receiver) = sync_channel(1);
        let mut counts = Vec::new();
        let all = hashes.iter().map(|n| WireHash([*n; 20]));
        let asked = self
            .store
            .scrape(all, family, &mut counts, || Box::new(move |counted| sender.send(counted).unwrap()));
        let counts = match asked {
            Asked::Done(()) => counts,
            Asked::Later => receiver.recv_timeout(SOON).expect("an outcome")?,
        };
        Ok(counts.iter().map(|c| [c.complete, c.incomplete, c.downloaded]).collect())
    }

    /// Asks again and again until it works.
    pub(super) fn until_it_works(&self) -> Duration {
        let start = Instant::now();
        while self.ask(0, Family::V4, Role::Leech).is_err() {
            assert!(start.elapsed() < Duration::from_secs(30), "it does not recover");
            std::thread::sleep(Duration::from_millis(10));
        }
        start.elapsed()
    }

    fn is_up(&self) -> bool {
        self.store.remote().unwrap().is_up()
    }
}

fn read(told: Told, packed: &[u8], family: Family) -> (Counts, Vec<SocketAddr>) {
    let peers = packed[..told.counts.peers].chunks_exact(family.peer_len());
    let addr = |peer: &[u8]| {
        let (ip, port) = peer.split_last_chunk::<2>().unwrap();
        let port = u16::from_be_bytes(*port);
        match ip.len() {
            4 => SocketAddr::new(<[u8; 4]>::try_from(ip).unwrap().into(), port),
            _ => SocketAddr::new(<[u8; 16]>::try_from(ip).unwrap().into(), port),
        }
    };
    (told.counts, peers.map(addr).collect())
}

fn told(outcome: &Outcome) -> (u32, u32, Vec<String>) {
    let (counts, peers) = outcome.as_ref().unwrap();
    let mut peers: Vec<_> = peers.iter().map(ToString::to_string).collect();
    peers.sort();
    (counts.complete, counts.incomplete, peers)
}

#[test]
fn without_a_server_it_starts_and_refuses_in_time() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let site = Site::new(&format!("redis://{closed}"), "");
    for _ in 0..20 {
        let start = Instant::now();
        assert_eq!(site.announce(1, "192.0.2.1:1", Event::Started, Role::Leech), Err(Unavailable));
        assert!(start.elapsed() < SOON);
    }
    assert_eq!(site.scrape(&[1, 2, 3], Family::V4), Err(Unavailable));
    assert!(!site.is_up());
}

/// A server that says `words` whatever it hears.
fn mad_server(words: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let mut room = [0; 4096];
            while stream.read(&mut room).is_ok_and(|len| len > 0) && stream.write_all(words).is_ok() {}
        }
    });
    addr
}

#[test]
fn nonsense_is_refused_and_breaks_nothing() {
    let long = [b"$3\r\nsha\r\n$4000000\r\n".as_slice(), &[0; 4_000_000], b"\r\n"].concat();
    let all: [&'static [u8]; 7] = [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"*1000000000000\r\n",
        b"$3\r\nsha\r\n:1\r\n$-1\r\n",
        b"$3\r\nsha\r\n$16\r\n\0\0\0\0\0\0\0\0\0\0\0\0\xff\xff\xff\xff\r\n",
        b"$3\r\nsha\r\n-MOVED 1 127.0.0.1:1\r\n",
        b"$3\r\nsha\r\n-\xff\xfe\r\n",
        long.leak(),
    ];
    for words in all {
        let addr = mad_server(words);
        for place in [format!("redis://{addr}"), format!("redis-cluster://{addr}")] {
            let site = Site::new(&place, "");
            for _ in 0..3 {
                assert_eq!(site.announce(1, "192.0.2.1:1", Event::Started, Role::Leech), Err(Unavailable));
            }
        }
    }
}

#[test]
#[ignore = "starts redis-server"]
fn two_hubs_are_one_tracker() {
    let redis = Redis::start(&[]);
    let (a, b) = (Site::new(&redis.place(), "t:"), Site::new(&redis.place(), "t:"));
    a.announce(1, "192.0.2.1:1", Event::Started, Role::Leech).unwrap();
    a.announce(1, "192.0.2.9:9", Event::Started, Role::Seed).unwrap();
    a.announce(1, "[2001:db8::1]:1", Event::Started, Role::Leech).unwrap();
    let answer = b.announce(1, "192.0.2.2:2", Event::Started, Role::Leech);
    assert_eq!(told(&answer), (1, 2, vec!["192.0.2.1:1".into(), "192.0.2.9:9".into()]));
    // A seed is told of leeches only, and of its own family.
    let answer = b.announce(1, "192.0.2.3:3", Event::Completed, Role::Seed);
    assert_eq!(told(&answer), (2, 2, vec!["192.0.2.1:1".into(), "192.0.2.2:2".into()]));
    assert_eq!(a.scrape(&[1, 7, 1], Family::V4), Ok(vec![[2, 2, 1], [0; 3], [2, 2, 1]]));
    assert_eq!(b.scrape(&[1], Family::V6), Ok(vec![[0, 1, 0]]));
    assert_eq!(told(&b.ask(1, Family::V6, Role::Seed)), (0, 1, vec!["[2001:db8::1]:1".into()]));
    // One hub goes; nothing is lost.
    drop(a);
    let answer = b.announce(1, "192.0.2.1:1", Event::Stopped, Role::Leech);
    assert_eq!(told(&answer), (2, 1, vec![]));
    assert!(b.is_up());
    // Another tracker shares the server.
    let c = Site::new(&redis.place(), "u:");
    assert_eq!(told(&c.announce(1, "192.0.2.5:5", Event::Started, Role::Leech)), (0, 1, vec![]));
    // Everything vanishes by itself.
    for key in redis.ask(&["KEYS", "*"]).lines() {
        let ttl: i64 = redis.ask(&["TTL", key]).trim().parse().unwrap();
        assert!((1..=2 * 1800 + 60).contains(&ttl), "{key} lives for {ttl} s");
    }
}

#[test]
#[ignore = "starts redis-server"]
fn it_agrees_with_memory() {
    let redis = Redis::start(&[]);
    let (memory, elsewhere) = (Site::new("memory", ""), Site::new(&redis.place(), ""));
    let mut rng = Rng::new(4);
    for step in 0..3000 {
        let hash = WireHash([rng.below(3) as u8; 20]);
        let host = rng.below(60) as u8 + 1;
        let peer =
            if rng.below(4) == 0 { format!("[2001:db8:{host}::1]:7") } else { format!("192.0.2.{host}:7") };
        let mut peer: SocketAddr = peer.parse().unwrap();
        if rng.below(20) == 0 {
            peer.set_port(0);
        }
        let events =
            [Event::None, Event::None, Event::Started, Event::Completed, Event::Stopped, Event::Paused];
        let event = events[rng.index(events.len())];
        let role = Role::new(rng.below(2), event);
        // Mostly all of them, so that both have to say the same.
        let want = if rng.below(3) == 0 { rng.index(12) } else { 200 };
        let announce = Announce { hash, peer, event, role, want };
        let both = |site: &Site| match step % 2 {
            0 => site.announce_to_both(&announce).unwrap().to_vec(),
            _ => vec![site.enter(&announce).unwrap()],
        };
        for (ours, theirs) in both(&memory).iter().zip(&both(&elsewhere)) {
            let sizes = |c: &Counts| (c.complete, c.incomplete, c.peers);
            assert_eq!(sizes(&ours.0), sizes(&theirs.0), "step {step}: {announce:?}");
            let set = |peers: &[SocketAddr]| peers.iter().copied().collect::<HashSet<_>>();
            assert_eq!(set(&theirs.1).len(), theirs.1.len());
            assert!(!theirs.1.contains(&peer));
            if want == 200 {
                assert_eq!(set(&ours.1), set(&theirs.1), "step {step}: {announce:?}");
            }
        }
        if step % 100 == 0 {
            for family in [Family::V4, Family::V6] {
                let scraped = [0, 1, 2, 3];
                assert_eq!(
                    memory.scrape(&scraped, family),
                    elsewhere.scrape(&scraped, family),
                    "step {step}"
                );
            }
        }
    }
}

#[test]
#[ignore = "starts redis-server"]
fn draws_are_fair_and_silent_peers_are_not_handed_out() {
    let redis = Redis::start(&[]);
    let site = Site::living(&redis.place(), "", "12s");
    let peer = |n: u32, role| {
        let ip = std::net::Ipv4Addr::from_bits(0xc612_0000 + n);
        let (hash, peer) = (WireHash([1; 20]), SocketAddr::new(ip.into(), 7));
        Announce { hash, peer, event: Event::None, role, want: 30 }
    };
    let role = |n: u32| if n.is_multiple_of(5) { Role::Seed } else { Role::Leech };
    let start = Instant::now();
    (0..500).for_each(|n| drop(site.enter(&peer(n, role(n))).unwrap()));
    let mut seen = std::collections::HashMap::<SocketAddr, u32>::new();
    while start.elapsed() < Duration::from_secs(3) {
        let (counts, peers) = site.enter(&peer(1, Role::Leech)).unwrap();
        assert_eq!((counts.complete, counts.incomplete, peers.len()), (100, 400, 30));
        let seeds =
            peers.iter().filter(|p| (0..500).step_by(5).any(|n| peer(n, Role::Seed).peer == **p)).count();
        assert_eq!(seeds, 6);
        assert_eq!(peers.iter().collect::<HashSet<_>>().len(), 30);
        peers.into_iter().for_each(|peer| *seen.entry(peer).or_default() += 1);
    }
    let mean = seen.values().sum::<u32>() / 499;
    let fair = |n: &u32| *n > mean / 3 && *n < mean * 2;
    assert!(
        seen.len() == 499 && (mean < 20 || seen.values().all(fair)),
        "{mean} {:?}",
        seen.values().minmax()
    );
    // Half of them announce again; the others fall silent.
    while start.elapsed() < Duration::from_secs(8) {
        std::thread::sleep(Duration::from_millis(10));
    }
    let again: Vec<_> = (0..250).map(|n| peer(n, role(n))).collect();
    again.iter().for_each(|announce| drop(site.enter(announce).unwrap()));
    while start.elapsed() < Duration::from_millis(15_500) {
        std::thread::sleep(Duration::from_millis(10));
    }
    let alive: HashSet<_> = again.iter().map(|announce| announce.peer).collect();
    for _ in 0..20 {
        let (counts, peers) = site.enter(&peer(1, Role::Leech)).unwrap();
        assert_eq!((counts.complete, counts.incomplete), (50, 200));
        assert!(peers.len() == 30 && peers.iter().all(|peer| alive.contains(peer)));
    }
    // They were removed, too, some at each announce.
    let left: usize =
        ["4l", "4s"].iter().map(|kind| redis.count(&format!("{{{}}}{kind}", "01".repeat(20)))).sum();
    assert_eq!(left, 250);
}

#[test]
#[ignore = "starts redis-server"]
fn nobody_is_left_out_at_the_edge_and_a_seed_takes_the_askers_place() {
    let redis = Redis::start(&[]);
    let (memory, elsewhere) = (Site::new("memory", ""), Site::new(&redis.place(), ""));
    let peer = |n: u8, role, want| {
        let (hash, peer) = (WireHash([1; 20]), SocketAddr::new([192, 0, 2, n].into(), 7));
        Announce { hash, peer, event: Event::None, role, want }
    };
    for site in [memory, elsewhere] {
        for n in 1..=12 {
            site.enter(&peer(n, if n <= 2 { Role::Leech } else { Role::Seed }, 0)).unwrap();
        }
        // Of twelve peers it wants eleven, and is one of both leeches.
        for _ in 0..20 {
            assert_eq!(site.enter(&peer(1, Role::Leech, 11)).unwrap().1.len(), 11);
        }
        // Both leeches but one, for a seed, which is none of them.
        let told: HashSet<_> = (0..40).flat_map(|_| site.enter(&peer(3, Role::Seed, 1)).unwrap().1).collect();
        assert_eq!(told.len(), 2);
    }
}

#[test]
fn a_store_that_is_dropped_unstopped_leaves_its_server() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = format!("redis://{}", listener.local_addr().unwrap());
    let options = Options { store: Some(place.parse().unwrap()), ..Options::default() };
    let store = Store::new(&Config::new(options).unwrap(), Clock::start()).unwrap();
    let (mut accepted, _) = listener.accept().unwrap();
    drop((listener, store));
    std::io::copy(&mut accepted, &mut std::io::sink()).unwrap();
}

trait MinMax {
    fn minmax(self) -> (u32, u32);
}

impl<'a, I: Iterator<Item = &'a u32>> MinMax for I {
    fn minmax(self) -> (u32, u32) {
        self.fold((u32::MAX, 0), |(least, most), n| (least.min(*n), most.max(*n)))
    }
}

#[test]
#[ignore = "starts redis-server"]
fn a_server_that_freezes_or_dies_is_survived() {
    let mut redis = Redis::start(&["--requirepass", "open sesame"]);
    let place = format!("redis://:open%20sesame@127.0.0.1:{}/3", redis.port);
    let site = Site::new(&place, "");
    assert!(site.until_it_works() < SOON);
    redis.signal("STOP");
    let start = Instant::now();
    assert_eq!(site.announce(1, "192.0.2.1:1", Event::Started, Role::Leech), Err(Unavailable));
    assert!(start.elapsed() < SOON);
    // From here on the failure is told at once.
    let start = Instant::now();
    (0..100).for_each(|_| assert_eq!(site.ask(1, Family::V4, Role::Leech).err(), Some(Unavailable)));
    assert!(start.elapsed() < SOON && !site.is_up());
    redis.signal("CONT");
    assert!(site.until_it_works() < Duration::from_secs(10));
    redis.kill();
    assert_eq!(site.announce(1, "192.0.2.1:1", Event::Started, Role::Leech), Err(Unavailable));
    redis.restart();
    site.until_it_works();
    assert_eq!(told(&site.announce(1, "192.0.2.2:1", Event::Started, Role::Seed)).0, 1);
    // The script is forgotten.
    redis.ask(&["SCRIPT", "FLUSH"]);
    assert_eq!(told(&site.announce(1, "192.0.2.2:1", Event::Started, Role::Seed)).0, 1);
    // No more memory.
    redis.ask(&["CONFIG", "SET", "maxmemory", "1"]);
    assert_eq!(site.announce(1, "192.0.2.1:1", Event::Started, Role::Leech), Err(Unavailable));
    redis.ask(&["CONFIG", "SET", "maxmemory", "0"]);
    site.announce(1, "192.0.2.1:1", Event::Started, Role::Leech).unwrap();
    let (answered, failed) = site.store.remote().unwrap().totals();
    assert!(answered > 2 && failed > 100);
}

#[test]
#[ignore = "starts redis-server"]
fn a_flood_is_evicted_before_swarms_that_are_announced_again() {
    let redis = Redis::start(&["--maxmemory", "8mb", "--maxmemory-policy", "volatile-ttl"]);
    let site = Site::new(&redis.place(), "");
    for n in 0..100 {
        site.announce(n, "192.0.2.1:1", Event::Started, Role::Seed).unwrap();
        site.announce(n, "192.0.2.1:1", Event::None, Role::Seed).unwrap();
    }
    let mut rng = Rng::new(1);
    for _ in 0..60_000 {
        let mut hash = [0; 20];
        rng.fill(&mut hash);
        let peer = "203.0.113.1:1".parse().unwrap();
        let fake =
            Announce { hash: WireHash(hash), peer, event: Event::Started, role: Role::Leech, want: 50 };
        site.enter(&fake).unwrap();
    }
    assert!(redis.ask(&["INFO", "stats"]).lines().any(|l| l.starts_with("evicted_keys:") && l.len() > 16));
    let all: Vec<u8> = (0..100).collect();
    let alive = site.scrape(&all, Family::V4).unwrap().iter().filter(|c| c[0] == 1).count();
    assert!(alive >= 98, "only {alive} of 100 swarms are left");
}

#[test]
#[ignore = "starts redis-server"]
fn a_cluster_is_one_store_and_slots_may_move() {
    let cluster = Cluster::start(3);
    let (a, b) = (Site::new(&cluster.place(), "t:"), Site::new(&cluster.place(), "t:"));
    a.until_it_works();
    b.until_it_works();
    let all: Vec<u8> = (0..60).collect();
    for n in &all {
        a.announce(*n, "192.0.2.1:1", Event::Started, Role::Seed).unwrap();
        let answer = b.announce(*n, "192.0.2.2:1", Event::Started, Role::Leech);
        assert_eq!(told(&answer), (1, 1, vec!["192.0.2.1:1".into()]));
    }
    assert_eq!(a.scrape(&all, Family::V4), Ok(vec![[1, 1, 0]; 60]));
    assert!((0..3).all(|node| cluster.nodes[node].ask(&["DBSIZE"]).trim() != "0"));
    cluster.move_slots(0, 1, 3000);
    assert_eq!(b.scrape(&all, Family::V4), Ok(vec![[1, 1, 0]; 60]));
    for n in &all {
        assert_eq!(told(&a.announce(*n, "192.0.2.3:1", Event::Started, Role::Leech)).0, 1);
    }
    // A master freezes: what is there fails, the rest works.
    cluster.nodes[2].signal("STOP");
    let outcomes: Vec<_> = all.iter().map(|n| a.ask(*n, Family::V4, Role::Leech).is_ok()).collect();
    let works = outcomes.iter().filter(|works| **works).count();
    assert!(works > 20 && works < 60, "{works} of 60 work");
    cluster.nodes[2].signal("CONT");
    let start = Instant::now();
    while !all.iter().all(|n| a.ask(*n, Family::V4, Role::Leech).is_ok()) {
        assert!(start.elapsed() < Duration::from_secs(30), "it does not recover");
    }
}
