//! How many announces a second go through a store elsewhere, beside memory. Prints a table; proves nothing.
//!
//!     cargo test --release -p samara-hub --lib measure -- --ignored --nocapture

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use samara_proto::ids::WireHash;
use samara_proto::rng::Rng;
use samara_proto::swarms::{Announce, Event, Role};

use super::tests::Site;
use super::tests::servers::{Cluster, Redis};
use crate::store::{Asked, Unavailable};

/// Announces that wait for an answer at a time.
const OPEN: usize = 1000;

/// For each measurement.
const TIME: Duration = Duration::from_secs(4);

/// Which swarms and peers announce.
#[derive(Clone, Copy)]
struct Load {
    name: &'static str,
    swarms: u64,
    hosts: u64,
}

const LOADS: [Load; 2] = [
    Load { name: "100,000 swarms of 10", swarms: 100_000, hosts: 10 },
    Load { name: "10 swarms of 10,000", swarms: 10, hosts: 10_000 },
];

impl Load {
    fn announce(self, rng: &mut Rng) -> Announce {
        let mut hash = [0; 20];
        hash[..8].copy_from_slice(&rng.below(self.swarms).to_be_bytes());
        let host = Ipv4Addr::from_bits(0x0b00_0000 + rng.below(self.hosts) as u32);
        let role = if rng.below(3) == 0 { Role::Seed } else { Role::Leech };
        let peer = SocketAddr::new(host.into(), 6881);
        Announce { hash: WireHash(hash), peer, event: Event::None, role, want: 30 }
    }

    /// Announces for a while; how many a second.
    fn run(self, site: &Site, time: Duration) -> f64 {
        let (sender, tickets): (SyncSender<()>, Receiver<()>) = sync_channel(OPEN);
        (0..OPEN).for_each(|_| sender.send(()).unwrap());
        let (mut rng, mut room) = (Rng::new(1), vec![0; 1000]);
        let (start, mut count) = (Instant::now(), 0_u32);
        while start.elapsed() < time {
            tickets.recv().unwrap();
            let announce = self.announce(&mut rng);
            let asked = site.store.announce(site.clock.now(), &announce, &mut room, || {
                let sender = sender.clone();
                Box::new(move |told: Result<_, Unavailable>| {
                    told.unwrap();
                    sender.send(()).unwrap();
                })
            });
            if matches!(asked, Asked::Done(_)) {
                sender.send(()).unwrap();
            }
            count += 1;
        }
        (0..OPEN).for_each(|_| tickets.recv().unwrap());
        f64::from(count) / start.elapsed().as_secs_f64()
    }
}

/// Seconds of the processor's time that servers took.
fn server_time(servers: &[Redis]) -> f64 {
    let of = |redis: &Redis| -> f64 {
        let info = redis.ask(&["INFO", "cpu"]);
        let lines =
            info.lines().filter(|l| l.starts_with("used_cpu_sys:") || l.starts_with("used_cpu_user:"));
        lines.filter_map(|l| l.split(':').nth(1)?.trim().parse::<f64>().ok()).sum()
    };
    servers.iter().map(of).sum()
}

fn our_time() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<u64> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|n| n.parse().unwrap())
        .collect();
    fields.iter().sum::<u64>() as f64 / 100.0
}

fn measure(name: &str, site: &Site, servers: &[Redis]) {
    for load in LOADS {
        load.run(site, TIME);
        let (ours, theirs, start) = (our_time(), server_time(servers), Instant::now());
        let rate = load.run(site, TIME);
        let count = rate * start.elapsed().as_secs_f64();
        let (ours, theirs) = (our_time() - ours, server_time(servers) - theirs);
        let per = |seconds: f64| if seconds > 0.0 { count / seconds } else { 0.0 };
        println!(
            "{name:8} {:22} {rate:9.0} a second, {:9.0} a CPU-second of the hub, {:9.0} of the servers",
            load.name,
            per(ours),
            per(theirs)
        );
    }
}

#[test]
#[ignore = "measures; needs redis-server"]
fn throughput() {
    measure("memory", &Site::new("memory", ""), &[]);
    let redis = Redis::start(&[]);
    let site = Site::new(&redis.place(), "");
    site.until_it_works();
    measure("redis", &site, std::slice::from_ref(&redis));
    println!(
        "{}",
        redis.ask(&["INFO", "memory"]).lines().find(|l| l.starts_with("used_memory_human")).unwrap()
    );
    drop((site, redis));
    let cluster = Cluster::start(3);
    let site = Site::new(&cluster.place(), "");
    site.until_it_works();
    measure("cluster", &site, &cluster.nodes);
}
