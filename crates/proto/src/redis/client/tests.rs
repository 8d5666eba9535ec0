//! Servers that die, hang, move slots and talk nonsense, in virtual time.

use std::collections::{BTreeMap, VecDeque};

use super::*;
use crate::ids::WireHash;
use crate::redis::swarm::{Query, Rules, SCRIPT};
use crate::redis::{Reader, slot_of};

/// How a server behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Well,
    /// Nobody listens at its port.
    Gone,
    /// It listens and says nothing.
    Frozen,
    /// It says what no server says.
    Mad,
    /// It is loading its data.
    Loading,
}

/// One model server.
#[derive(Debug)]
struct Server {
    mood: Mood,
    knows_script: bool,
    answered: usize,
}

#[derive(Debug)]
struct Line {
    port: u16,
    attempt: u64,
    reader: Reader,
    asking: bool,
}

/// Client and servers.
struct World {
    client: Client,
    servers: BTreeMap<u16, Server>,
    /// Of each half of the slots: who has it, and who is about to get it.
    halves: [(u16, Option<u16>); 2],
    lines: BTreeMap<NodeId, Line>,
    rng: Rng,
    now: Time,
    /// Open requests: when they were made.
    open: BTreeMap<u64, Time>,
    outcomes: Vec<(u64, Result<Vec<u8>, Failure>)>,
    notices: Vec<String>,
    next_ticket: u64,
    cluster: bool,
    password: bool,
    /// To whom nothing gets through for now.
    late: Option<u16>,
}

const TIMEOUT: Duration = Duration::from_secs(1);

fn call(n: u8) -> Call {
    let rules = Rules { prefix: "t:".into(), lifetime: 60 };
    Call::new(&rules, &Query::Scrape(WireHash([n; 20])), 0)
}

impl World {
    fn new(address: &str, ports: &[u16], seed: u64) -> Self {
        let servers: Servers = address.parse().unwrap();
        let (cluster, password) = (servers.cluster, servers.password.is_some());
        let config = Config { servers, timeout: TIMEOUT, max_requests: 1000 };
        let server = |port: &u16| (*port, Server { mood: Mood::Well, knows_script: false, answered: 0 });
        Self {
            client: Client::new(config, seed),
            servers: ports.iter().map(server).collect(),
            halves: [(ports[0], None), (*ports.last().unwrap(), None)],
            lines: BTreeMap::new(),
            rng: Rng::new(seed),
            now: Time::from_micros(5_000_000),
            open: BTreeMap::new(),
            outcomes: Vec::new(),
            notices: Vec::new(),
            next_ticket: 0,
            cluster,
            password,
            late: None,
        }
    }

    fn mood(&mut self, port: u16, mood: Mood) {
        let server = self.servers.get_mut(&port).unwrap();
        server.mood = mood;
        if matches!(mood, Mood::Gone | Mood::Loading) {
            server.knows_script = false;
        }
        if mood == Mood::Gone {
            let gone: Vec<_> = self.lines.iter().filter(|(_, l)| l.port == port).map(|(n, _)| *n).collect();
            for node in gone {
                let line = self.lines.remove(&node).unwrap();
                self.with_sink(|client, now, sink| client.lost(now, node, line.attempt, sink));
            }
        }
    }

    fn with_sink(&mut self, f: impl FnOnce(&mut Client, Time, &mut Sink<'_>)) {
        let (open, outcomes, now) = (&mut self.open, &mut self.outcomes, self.now);
        let mut sink = |ticket: u64, outcome: Result<Reply<'_>, Failure>| {
            let since = open.remove(&ticket).expect("an outcome for an open request, and once only");
            assert!(now.since(since) <= TIMEOUT, "{:?} is too late", now.since(since));
            let outcome = outcome.map(|reply| match reply {
                Reply::Bulk(bytes) => bytes.to_vec(),
                other => format!("{other:?}").into_bytes(),
            });
            outcomes.push((ticket, outcome));
        };
        f(&mut self.client, now, &mut sink);
    }

    fn ask(&mut self, n: u8) -> u64 {
        self.next_ticket += 1;
        let ticket = self.next_ticket;
        match self.client.request(self.now, ticket, call(n)) {
            Ok(()) => drop(self.open.insert(ticket, self.now)),
            Err(failure) => self.outcomes.push((ticket, Err(failure))),
        }
        ticket
    }

    /// Asks, lets things happen for a while, and says what came of it.
    fn answer(&mut self, n: u8) -> Result<Vec<u8>, Failure> {
        let ticket = self.ask(n);
        self.run(Duration::from_millis(10));
        if self.open.contains_key(&ticket) {
            self.run(TIMEOUT);
        }
        let at = self.outcomes.iter().position(|(t, _)| *t == ticket).expect("an outcome in time");
        self.outcomes.swap_remove(at).1
    }

    /// Lets `time` pass.
    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.settle();
            match self.client.deadline().filter(|deadline| *deadline <= end) {
                Some(deadline) => self.now = self.now.max(deadline),
                None => break,
            }
        }
        self.now = end;
        self.settle();
    }

    /// Does everything that can be done at this moment.
    fn settle(&mut self) {
        for _ in 0..10_000 {
            self.with_sink(|client, now, sink| client.tick(now, sink));
            let mut busy = false;
            while let Some(output) = self.client.poll() {
                busy = true;
                self.obey(output);
            }
            let nodes: Vec<NodeId> = self.lines.keys().copied().collect();
            for node in nodes {
                busy |= self.exchange(node);
            }
            if !busy {
                return;
            }
        }
        panic!("it does not come to rest");
    }

    fn obey(&mut self, output: Output) {
        match output {
            Output::Connect { node, attempt, host } => {
                assert!(!self.lines.contains_key(&node), "connected twice");
                if self.servers.get(&host.port).is_none_or(|server| server.mood == Mood::Gone) {
                    self.with_sink(|client, now, sink| client.lost(now, node, attempt, sink));
                    return;
                }
                let line = Line { port: host.port, attempt, reader: Reader::default(), asking: false };
                self.lines.insert(node, line);
                self.client.connected(node, attempt);
            }
            Output::Close(node) => drop(self.lines.remove(&node)),
            Output::Up(host) => self.notices.push(format!("up {}", host.port)),
            Output::Down(host, why, failures) => {
                self.notices.push(format!("down {} {why} {failures}", host.port))
            }
        }
    }

    /// Carries bytes to a server and its replies back, in pieces.
    fn exchange(&mut self, node: NodeId) -> bool {
        if self.lines.get(&node).is_some_and(|line| self.late == Some(line.port)) {
            return false;
        }
        let out = self.client.outgoing(node);
        let len = out.len().min(1 + self.rng.index(300));
        let bytes = out[..len].to_vec();
        self.client.sent(node, len);
        let Some(mut line) = self.lines.remove(&node) else { return false };
        let replies = self.serve(&mut line, &bytes);
        self.lines.insert(node, line);
        let mut rest = replies.as_slice();
        while !rest.is_empty() && self.lines.contains_key(&node) {
            let (piece, after) = rest.split_at(1 + self.rng.index(rest.len()));
            rest = after;
            self.with_sink(|client, now, sink| client.received(now, node, piece, sink));
            while let Some(output) = self.client.poll() {
                self.obey(output);
            }
        }
        len > 0
    }

    fn serve(&mut self, line: &mut Line, bytes: &[u8]) -> Vec<u8> {
        line.reader.push(bytes);
        let mut out = Vec::new();
        loop {
            let words = match line.reader.next_reply().expect("commands that can be read") {
                Some(Reply::Array(words)) => words,
                Some(other) => panic!("{other:?} is no command"),
                None => return out,
            };
            let words: Vec<Vec<u8>> = words
                .iter()
                .map(|word| match word {
                    Reply::Bulk(bytes) => bytes.to_vec(),
                    _ => panic!("no string"),
                })
                .collect();
            let mood = self.servers[&line.port].mood;
            match mood {
                Mood::Well => self.reply(line.port, &mut line.asking, &words, &mut out),
                Mood::Mad => {
                    let mut noise = [0; 40];
                    self.rng.fill(&mut noise);
                    let sense: &[&[u8]] =
                        &[&noise, b"$5\r\n", b":1\r\n", b"*1\r\n:1\r\n", b"-MOVED 1 x:1\r\n", b"$-1\r\n"];
                    out.extend_from_slice(sense[self.rng.index(sense.len())]);
                }
                Mood::Loading => {
                    out.extend_from_slice(b"-LOADING Redis is loading the dataset in memory\r\n")
                }
                Mood::Frozen | Mood::Gone => {}
            }
        }
    }

    fn reply(&mut self, port: u16, asking: &mut bool, words: &[Vec<u8>], out: &mut Vec<u8>) {
        let (halves, cluster) = (self.halves, self.cluster);
        let password = self.password;
        let server = self.servers.get_mut(&port).unwrap();
        let was_asking = std::mem::take(asking);
        let name = words[0].as_slice();
        match name {
            b"AUTH" if !password || words.last().unwrap() != b"secret" => {
                out.extend_from_slice(b"-WRONGPASS invalid username-password pair\r\n");
            }
            b"AUTH" | b"PING" | b"SELECT" => out.extend_from_slice(b"+OK\r\n"),
            b"ASKING" => {
                *asking = true;
                out.extend_from_slice(b"+OK\r\n");
            }
            b"SCRIPT" => {
                assert_eq!(words[2], SCRIPT.as_bytes());
                server.knows_script = true;
                out.extend_from_slice(b"$3\r\nsha\r\n");
            }
            b"CLUSTER" if !cluster => {
                out.extend_from_slice(b"-ERR This instance has cluster support disabled\r\n")
            }
            b"CLUSTER" => out.extend_from_slice(&map(halves)),
            b"EVAL" | b"EVALSHA" => {
                let slot = slot_of(&words[3]);
                let (owner, heir) = halves[usize::from(slot >= SLOTS / 2)];
                if cluster && port != owner && !(was_asking && heir == Some(port)) {
                    let moved = format!("-MOVED {slot} 127.0.0.1:{owner}\r\n");
                    out.extend_from_slice(moved.as_bytes());
                } else if let Some(heir) = heir.filter(|heir| cluster && port == owner && *heir != port) {
                    let ask = format!("-ASK {slot} 127.0.0.1:{heir}\r\n");
                    out.extend_from_slice(ask.as_bytes());
                } else if name == b"EVALSHA" && !server.knows_script {
                    out.extend_from_slice(b"-NOSCRIPT No matching script.\r\n");
                } else {
                    server.knows_script = true;
                    server.answered += 1;
                    // Which swarm it was for, to be sure that answers are not mixed up.
                    let key = String::from_utf8_lossy(&words[3][3..5]).into_owned();
                    out.extend_from_slice(format!("${}\r\n{key}\r\n", key.len()).as_bytes());
                }
            }
            other => panic!("{:?} is unknown", String::from_utf8_lossy(other)),
        }
    }
}

fn map(halves: [(u16, Option<u16>); 2]) -> Vec<u8> {
    let range = |first: u16, last: u16, port: u16| {
        format!("*3\r\n:{first}\r\n:{last}\r\n*3\r\n$9\r\n127.0.0.1\r\n:{port}\r\n$2\r\nid\r\n")
    };
    let half = SLOTS / 2;
    format!("*2\r\n{}{}", range(0, half - 1, halves[0].0), range(half, SLOTS - 1, halves[1].0)).into_bytes()
}

fn hex(n: u8) -> Result<Vec<u8>, Failure> {
    Ok(format!("{n:02x}").into_bytes())
}

#[test]
fn asks_one_server_and_gives_each_its_answer() {
    let mut world = World::new("redis://:secret@127.0.0.1:1/3", &[1], 1);
    assert!(!world.client.is_up());
    // Before the connection stands.
    assert_eq!(world.answer(7), hex(7));
    assert!(world.client.is_up());
    let tickets: VecDeque<(u64, u8)> = (0..200).map(|n| (world.ask(n), n)).collect();
    world.run(Duration::from_millis(1));
    for (ticket, n) in tickets {
        assert!(world.outcomes.contains(&(ticket, hex(n))), "{n}");
    }
    assert_eq!((world.client.requests(), world.notices.as_slice()), (0, ["up 1".to_owned()].as_slice()));
}

#[test]
fn too_many_requests_are_refused_at_once() {
    let mut world = World::new("redis://127.0.0.1:1", &[1], 1);
    (0..1000).for_each(|_| {
        world.ask(1);
    });
    assert_eq!(world.client.request(world.now, 5000, call(1)), Err(Failure::Full));
    world.run(Duration::from_millis(1));
    assert_eq!(world.client.requests(), 0);
    assert_eq!(world.answer(1), hex(1));
}

#[test]
fn a_forgotten_script_goes_along() {
    let mut world = World::new("redis://127.0.0.1:1", &[1], 1);
    assert_eq!(world.answer(1), hex(1));
    world.servers.get_mut(&1).unwrap().knows_script = false;
    assert_eq!(world.answer(2), hex(2));
    assert!(world.servers[&1].knows_script);
}

#[test]
fn a_server_that_is_gone_fails_requests_at_once_and_is_found_again() {
    let mut world = World::new("redis://127.0.0.1:1", &[1], 1);
    world.run(Duration::from_secs(2));
    world.mood(1, Mood::Gone);
    world.run(Duration::from_millis(50));
    let before = world.now;
    assert_eq!(world.client.request(world.now, 9, call(1)), Err(Failure::Down));
    assert!(!world.client.is_up() && world.now == before);
    world.run(Duration::from_secs(100));
    // Attempts become rare, and are reported once as the first.
    let downs: Vec<_> = world.notices.iter().filter(|n| n.starts_with("down")).collect();
    assert!(downs.len() < 50 && downs.iter().filter(|n| n.ends_with(" 0")).count() <= 2, "{downs:?}");
    world.mood(1, Mood::Well);
    world.run(Duration::from_secs(4));
    assert_eq!(world.answer(3), hex(3));
}

#[test]
fn a_server_that_freezes_fails_requests_in_time_and_then_at_once() {
    let mut world = World::new("redis://127.0.0.1:1", &[1], 1);
    world.run(Duration::from_secs(2));
    world.mood(1, Mood::Frozen);
    assert_eq!(world.answer(1), Err(Failure::Late));
    assert_eq!(world.client.request(world.now, 9, call(1)), Err(Failure::Down));
    world.run(Duration::from_secs(30));
    assert!(!world.client.is_up());
    world.mood(1, Mood::Well);
    world.run(Duration::from_secs(5));
    assert_eq!(world.answer(2), hex(2));
    // Also found out when nobody asks.
    world.run(Duration::from_secs(2));
    world.mood(1, Mood::Frozen);
    world.run(Duration::from_secs(2) + TIMEOUT);
    assert!(!world.client.is_up());
}

#[test]
fn a_server_that_is_down_at_the_start_is_found_later() {
    let mut world = World::new("redis://127.0.0.1:1", &[1], 1);
    world.mood(1, Mood::Gone);
    assert!(matches!(world.answer(1), Err(Failure::Lost | Failure::Down)));
    world.mood(1, Mood::Loading);
    world.run(Duration::from_secs(10));
    assert_eq!(world.answer(1), Err(Failure::Down));
    assert!(world.notices.iter().any(|n| n.contains("LOADING")));
    world.mood(1, Mood::Well);
    world.run(Duration::from_secs(4));
    assert_eq!(world.answer(1), hex(1));
}

#[test]
fn a_wrong_password_and_a_wrong_kind_of_server_are_told() {
    let mut world = World::new("redis://:wrong@127.0.0.1:1", &[1], 1);
    world.run(Duration::from_secs(60));
    assert!(world.notices.iter().all(|n| n.contains("WRONGPASS")) && world.notices.len() < 40);
    let mut world = World::new("redis-cluster://127.0.0.1:1", &[1], 1);
    world.cluster = false;
    world.run(Duration::from_secs(60));
    assert!(world.notices.iter().any(|n| n.contains("cluster support disabled")) && !world.client.is_up());
    let mut world = World::new("redis://127.0.0.1:1", &[1, 2], 1);
    world.cluster = true;
    let all: Vec<_> = [0, 1, 2, 3, 4].iter().map(|n| world.answer(*n)).collect();
    assert!(
        all.iter().any(|a| matches!(a, Err(Failure::Refused(why)) if why.starts_with("MOVED"))),
        "{all:?}"
    );
}

#[test]
fn a_cluster_is_learnt_from_any_of_its_nodes() {
    let mut world = World::new("redis-cluster://127.0.0.1:2", &[1, 2, 3], 1);
    for n in 0..100 {
        assert_eq!(world.answer(n), hex(n));
    }
    let answered = |world: &World, port: u16| world.servers[&port].answered;
    assert!(answered(&world, 1) > 20 && answered(&world, 3) > 20 && answered(&world, 2) == 0);
    world.run(Duration::from_secs(5));
    // The one that was named has no slots, and is let go.
    assert!(world.client.is_up() && world.lines.len() == 2);
}

#[test]
fn slots_that_move_are_followed() {
    let mut world = World::new("redis-cluster://127.0.0.1:1", &[1, 2, 3], 1);
    world.run(Duration::from_secs(1));
    world.halves[0].1 = Some(2);
    for n in 0..50 {
        assert_eq!(world.answer(n), hex(n));
    }
    let (one, two) = (world.servers[&1].answered, world.servers[&2].answered);
    assert!(one == 0 && two > 10, "{one} {two}");
    world.halves[0] = (2, None);
    for n in 0..50 {
        assert_eq!(world.answer(n), hex(n));
    }
    world.run(Duration::from_secs(70));
    assert_eq!(world.lines.values().map(|line| line.port).collect::<Vec<_>>().len(), 2);
    // The first node dies, which nobody needs any more.
    world.mood(1, Mood::Gone);
    for n in 0..50 {
        assert_eq!(world.answer(n), hex(n));
    }
}

#[test]
fn a_dead_master_fails_only_its_own_slots_until_another_takes_over() {
    let mut world = World::new("redis-cluster://127.0.0.1:1,127.0.0.1:3", &[1, 2, 3], 1);
    world.run(Duration::from_secs(2));
    world.mood(1, Mood::Frozen);
    let outcomes: Vec<_> = (0..60).map(|n| (n, world.answer(n))).collect();
    for (n, outcome) in outcomes {
        let first_half = call(n).slot < SLOTS / 2;
        assert_eq!(outcome.is_err(), first_half, "{n}: {outcome:?}");
    }
    assert!(!world.client.is_up());
    world.halves[0].0 = 2;
    world.run(Duration::from_secs(10));
    for n in 0..60 {
        assert_eq!(world.answer(n), hex(n));
    }
    assert!(world.client.is_up());
}

#[test]
fn whatever_servers_do_each_request_has_one_outcome_in_time() {
    for seed in 0..24 {
        let address =
            if seed % 3 == 0 { "redis://127.0.0.1:1" } else { "redis-cluster://127.0.0.1:1,127.0.0.1:2" };
        let mut world = World::new(address, &[1, 2, 3], seed);
        let mut rng = Rng::new(seed ^ 77);
        for _ in 0..150 {
            match rng.below(10) {
                0 => {
                    let moods = [Mood::Well, Mood::Gone, Mood::Frozen, Mood::Mad, Mood::Loading];
                    world.mood(1 + rng.below(3) as u16, moods[rng.index(moods.len())]);
                }
                1 => world.halves[rng.index(2)] = (1 + rng.below(3) as u16, None),
                2 => world.halves[rng.index(2)].1 = Some(1 + rng.below(3) as u16),
                3 => world.servers.values_mut().for_each(|server| server.knows_script = false),
                4 => world.run(Duration::from_millis(rng.below(3000))),
                _ => (0..rng.below(40)).for_each(|n| {
                    world.ask(n as u8);
                }),
            }
            if rng.below(2) == 0 {
                world.run(Duration::from_millis(rng.below(20)));
            }
        }
        world.run(TIMEOUT);
        assert_eq!((world.open.len(), world.client.requests()), (0, 0), "seed {seed}");
        (1..=3).for_each(|port| world.mood(port, Mood::Well));
        world.halves.iter_mut().for_each(|half| half.1 = None);
        world.run(Duration::from_secs(75));
        let needed = if world.cluster { 2 } else { 1 };
        assert!(world.client.is_up() && world.lines.len() <= needed, "seed {seed}");
        for n in 0..20 {
            assert_eq!(world.answer(n), hex(n), "seed {seed}");
        }
    }
}

#[test]
fn a_request_that_was_sent_on_late_fails_in_time_too() {
    let mut world = World::new("redis-cluster://127.0.0.1:1", &[1, 2], 1);
    (0..20).for_each(|n| assert_eq!(world.answer(n), hex(n)));
    let of_half = |second: bool| (0..).find(|n| (call(*n).slot >= SLOTS / 2) == second).unwrap();
    let (first, second) = (of_half(false), of_half(true));
    // The first one is slow, and then says that another has it by now, which hangs.
    world.mood(2, Mood::Frozen);
    world.halves[0].0 = 2;
    world.ask(first);
    world.late = Some(1);
    world.run(TIMEOUT / 2);
    world.ask(second);
    world.late = None;
    world.run(TIMEOUT * 3);
    assert!(world.open.is_empty());
}
