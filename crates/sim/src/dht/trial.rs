//! Announce, search, count.
//!
//! For each of some torrents a machine announces itself. Every minute machines chosen at random look for one of them. A
//! search succeeds if it names the announcer while that is there. When an announcer has left for longer than peers are
//! remembered (30 minutes and the minute in which stores are swept), a search that still names it counts as a ghost.
//! Torrents whose announcer left are searched for on until then, and announced by another afterwards.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use samara_proto::dht::node::{Announce, Ask, Op, Output, Summary};
use samara_proto::dht::server::PEER_LIFE;
use samara_proto::ids::NodeId;
use samara_proto::rng::Rng;
use samara_proto::time::Time;

use super::host::{Host, Kind};
use super::world::{Setting, World};

/// How long a search gets.
const SEARCH: Duration = Duration::from_secs(30);
/// How long a machine must have been there before it searches or announces.
const SETTLED: Duration = Duration::from_secs(120);
/// How long a machine must have been there before its table and its traffic count.
const SEASONED: Duration = Duration::from_secs(300);
/// How long an announce gets before it is counted on.
const ANNOUNCED: Duration = Duration::from_secs(30);

/// What to play.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trial {
    /// The network.
    pub setting: Setting,
    /// Torrents.
    pub torrents: usize,
    /// Searches a minute.
    pub searches: usize,
    /// Before anything is counted.
    pub warm_up: Duration,
    /// In which it is counted.
    pub minutes: u32,
    /// After that, in which nobody searches and traffic is measured.
    pub idle: Duration,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Searches whose announcer was there.
    pub searches: usize,
    /// Those that found it.
    pub found: usize,
    /// Searches whose announcer had been gone for long.
    pub late: usize,
    /// Those that still named it.
    pub ghosts: usize,
    /// Announces counted.
    pub announces: usize,
    /// Nodes that took each, on average.
    pub stored: f64,
    /// Milliseconds of each search until its end, sorted.
    pub took: Vec<f64>,
    /// Questions of each search, sorted.
    pub asked: Vec<f64>,
    /// Answers of each search, sorted.
    pub answered: Vec<f64>,
    /// Hops of each search, sorted.
    pub hops: Vec<f64>,
    /// Bytes a second that a quiet honest node sends, and receives.
    pub idle: [f64; 2],
    /// Entries of an honest open node's table, on average.
    pub table: f64,
    /// The part of them that is not there, does not answer strangers, or means harm.
    pub stale: f64,
    /// Nodes that answer strangers, as nodes estimate it: median over the truth.
    pub census: f64,
}

impl Outcome {
    /// Part of the searches that succeeded.
    pub fn success(&self) -> f64 {
        self.found as f64 / self.searches.max(1) as f64
    }
}

/// The value below which a share of sorted values lies.
pub fn quantile(sorted: &[f64], share: f64) -> f64 {
    let n = (sorted.len().saturating_sub(1) as f64 * share).round() as usize;
    sorted.get(n).copied().unwrap_or(f64::NAN)
}

/// One torrent and who announces it.
#[derive(Debug)]
struct Thing {
    hash: NodeId,
    by: SocketAddr,
    since: Time,
    left: Option<Time>,
}

#[derive(Debug)]
struct Search {
    by: SocketAddr,
    thing: usize,
    found: bool,
    done: Option<Summary>,
}

/// The port that announcers give.
const PORT: u16 = 4242;

#[derive(Debug)]
struct Play {
    world: World,
    things: Vec<Thing>,
    searches: HashMap<(SocketAddr, Op), Search>,
    announces: Vec<(SocketAddr, Op)>,
    outcome: Outcome,
}

impl Trial {
    /// Plays it.
    pub fn run(&self, seed: u64) -> Outcome {
        let mut rng = Rng::new(seed ^ 0x7468_696e_6773);
        let hashes: Vec<NodeId> = (0..self.torrents).map(|_| NodeId::random(&mut rng)).collect();
        let mut world = World::new(self.setting, hashes.clone(), seed);
        world.run(self.setting.ramp + self.warm_up);
        world.told.clear();
        world.reset_bytes();
        let mut play = Play {
            world,
            things: Vec::new(),
            searches: HashMap::new(),
            announces: Vec::new(),
            outcome: Outcome::default(),
        };
        hashes.into_iter().for_each(|hash| play.announce(hash));
        for _ in 0..self.minutes {
            play.minute(self.searches);
        }
        play.finish(self.idle)
    }
}

impl Play {
    fn announce(&mut self, hash: NodeId) {
        let by = self.world.some_honest(SETTLED);
        let since = self.world.now;
        let announce = Announce { info_hash: hash, port: PORT, implied_port: false, seed: false };
        let op = self.world.with(by, |now, host| host.node.announce(now, announce));
        self.announces.extend(op.map(|op| (by, op)));
        self.things.push(Thing { hash, by, since, left: None });
    }

    fn minute(&mut self, searches: usize) {
        self.world.run(Duration::from_secs(20));
        let began = self.world.now;
        (0..searches).for_each(|n| self.search(n));
        self.world.run(SEARCH);
        self.collect();
        self.judge(began);
        self.world.run(Duration::from_secs(10));
        self.replace();
    }

    fn search(&mut self, n: usize) {
        let thing = (self.world.rng.index(self.things.len()) + n) % self.things.len();
        let (hash, by) = (self.things[thing].hash, self.world.some_honest(SETTLED));
        let ask = Ask::Peers { info_hash: hash, noseed: false, scrape: false };
        let Some(op) = self.world.with(by, |now, host| host.node.start(now, ask)) else { return };
        self.searches.insert((by, op), Search { by, thing, found: false, done: None });
    }

    fn collect(&mut self) {
        for (addr, output) in std::mem::take(&mut self.world.told) {
            match output {
                Output::Peers { op, peers } => {
                    let Some(search) = self.searches.get_mut(&(addr, op)) else { continue };
                    let sought = SocketAddr::new(self.things[search.thing].by.ip(), PORT);
                    search.found |= peers.contains(&sought);
                }
                Output::Done { op, summary } => {
                    if let Some(search) = self.searches.get_mut(&(addr, op)) {
                        search.done = Some(*summary);
                    } else if self.announces.contains(&(addr, op)) {
                        self.outcome.announces += 1;
                        self.outcome.stored += f64::from(summary.stored);
                    }
                }
                _ => {}
            }
        }
    }

    fn judge(&mut self, began: Time) {
        let searches: Vec<Search> = std::mem::take(&mut self.searches).into_values().collect();
        for search in searches {
            // Who left while it searched has no verdict.
            if self.world.host(&search.by).is_none() {
                continue;
            }
            let thing = &mut self.things[search.thing];
            if thing.left.is_none() && self.world.host(&thing.by).is_none() {
                thing.left = Some(self.world.now);
            }
            let out = &mut self.outcome;
            match thing.left {
                None if began.since(thing.since) >= ANNOUNCED => {
                    out.searches += 1;
                    out.found += usize::from(search.found);
                }
                Some(left) if began.since(left) > PEER_LIFE + Duration::from_secs(61) => {
                    out.late += 1;
                    out.ghosts += usize::from(search.found);
                }
                _ => {}
            }
            let Some(done) = search.done else { continue };
            out.took.push(done.took.as_secs_f64() * 1000.0);
            out.asked.push(done.asked.into());
            out.answered.push(done.answered.into());
            out.hops.push(done.hops.into());
        }
    }

    /// Torrents whose announcer is long gone get another.
    fn replace(&mut self) {
        let now = self.world.now;
        for thing in &mut self.things {
            if thing.left.is_none() && self.world.host(&thing.by).is_none() {
                thing.left = Some(now);
            }
        }
        let over = PEER_LIFE + Duration::from_secs(600);
        let gone: Vec<usize> = (0..self.things.len())
            .filter(|n| self.things[*n].left.is_some_and(|left| now.since(left) > over))
            .collect();
        for n in gone.into_iter().rev() {
            let thing = self.things.remove(n);
            self.announce(thing.hash);
        }
    }

    fn finish(mut self, idle: Duration) -> Outcome {
        let out = &mut self.outcome;
        out.stored /= out.announces.max(1) as f64;
        for values in [&mut out.took, &mut out.asked, &mut out.answered, &mut out.hops] {
            values.sort_by(f64::total_cmp);
        }
        self.look_at_tables();
        self.outcome.idle = self.idle(idle);
        self.outcome
    }

    fn look_at_tables(&mut self) {
        let world = &self.world;
        let open: Vec<&Host> = world
            .hosts()
            .filter(|host| host.kind == Kind::Open && world.now.since(host.since) > SEASONED)
            .collect();
        let good = |addr| world.host(addr).is_some_and(|host| host.kind == Kind::Open);
        let (mut entries, mut stale) = (0, 0);
        for host in &open {
            entries += host.node.table().len();
            stale += host.node.table().iter().filter(|entry| !good(&entry.contact.addr)).count();
        }
        let mut sizes: Vec<f64> = open.iter().filter_map(|host| host.node.network_size()).collect();
        sizes.sort_by(f64::total_cmp);
        let truth = world.hosts().filter(|host| matches!(host.kind, Kind::Open | Kind::Liar)).count();
        self.outcome.table = entries as f64 / open.len().max(1) as f64;
        self.outcome.stale = stale as f64 / entries.max(1) as f64;
        self.outcome.census = quantile(&sizes, 0.5) / truth as f64;
    }

    /// Traffic of those who do nothing for themselves.
    fn idle(&mut self, time: Duration) -> [f64; 2] {
        self.world.reset_bytes();
        let began = self.world.now;
        self.world.run(time);
        let busy: Vec<SocketAddr> = self.things.iter().map(|thing| thing.by).collect();
        let quiet: Vec<&Host> = self
            .world
            .hosts()
            .filter(|h| h.kind == Kind::Open && began.since(h.since) > SEASONED)
            .filter(|h| !busy.contains(&h.addr))
            .skip(super::world::FIRST)
            .collect();
        let mean = |way: usize| {
            quiet.iter().map(|host| host.bytes[way]).sum::<u64>() as f64
                / quiet.len().max(1) as f64
                / time.as_secs_f64()
        };
        [mean(0), mean(1)]
    }
}
