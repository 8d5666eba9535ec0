//! The store of a tracker against a list of everybody: who is handed out, how many there are, and that all is let go.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use samara_proto::ids::WireHash;
use samara_proto::swarms::{Announce, Ask, Config, Counts, Cursor, Event, Role, Swarms};
use samara_proto::time::Time;
use samara_proto::tracker::Family;

use super::input::Input;

/// A tick is a second.
const LIFE: u64 = 64;
/// Nobody who is silent for so long is still counted after a sweep.
const GONE: u64 = LIFE + 5;

#[derive(Clone, Copy, Debug)]
struct Peer {
    seed: bool,
    heard: u64,
}

#[derive(Debug, Default)]
struct Swarm {
    peers: BTreeMap<SocketAddr, Peer>,
    /// Downloads, at the least and at the most.
    completed: (u32, u32),
}

/// Peers of one role.
#[derive(Clone, Copy, Debug, Default)]
struct Members {
    all: usize,
    /// Not too old.
    alive: usize,
}

impl Swarm {
    /// Leeches and seeds. One look at everybody, since that is what these programs take their time for.
    fn members(&self, now: u64) -> [Members; 2] {
        let mut members = [Members::default(); 2];
        for peer in self.peers.values() {
            let role = &mut members[usize::from(peer.seed)];
            role.all += 1;
            role.alive += usize::from(now - peer.heard < LIFE);
        }
        members
    }
}

/// The store, and what it should hold.
struct World {
    store: Swarms,
    config: Config,
    model: HashMap<(WireHash, Family), Swarm>,
    now: u64,
    capped: bool,
}

/// Runs one input, as a program of calls.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let first = input.byte();
    let capped = first & 1 == 1;
    let config = Config {
        lifetime: Duration::from_secs(LIFE),
        max_bytes: 256 << 20,
        per_host: if capped { 3 } else { usize::MAX },
        secret: [first; 16],
    };
    let now = u64::from(input.short());
    let store = Swarms::new(&config, seconds(now));
    let mut world = World { store, config, model: HashMap::new(), now, capped };
    while !input.is_empty() {
        world.step(&mut input);
    }
    world.end();
}

fn seconds(n: u64) -> Time {
    Time::ZERO + Duration::from_secs(n)
}

impl World {
    fn step(&mut self, input: &mut Input<'_>) {
        match input.byte() % 16 {
            0 => self.now += u64::from(input.byte() % 8),
            1 => self.now += u64::from(input.short() % 256),
            2 => self.sweep(),
            3 => {
                self.store.sweep(seconds(self.now), usize::from(input.byte()));
            }
            4 => self.restart(),
            5 => self.ask(input),
            // A herd: neighbours, all alike.
            6 | 7 => {
                let (hash, host, n) = (hash(input), input.short(), input.byte());
                let (port, what, want) = (input.byte(), input.byte(), input.byte());
                for i in 0..u16::from(n) {
                    let addr = addr(what & 1 == 1, host.wrapping_add(i), port);
                    // To look at everybody each time would take nearly all of the time.
                    self.announce(hash, addr, what, want, i % 16 == 0);
                }
            }
            _ => {
                let (hash, host, port) = (hash(input), input.short() % 64, input.byte());
                let (what, want) = (input.byte(), input.byte());
                self.announce(hash, addr(what & 1 == 1, host, port), what, want, true);
            }
        }
    }

    fn announce(&mut self, hash: WireHash, peer: SocketAddr, what: u8, want: u8, look: bool) {
        let event = Event::from_number(u32::from(what >> 1 & 7));
        let role = Role::new(u64::from(what >> 4 & 1), event);
        let announce = Announce { hash, peer, event, role, want: want.into() };
        let mut out = [0; 255 * 18];
        let counts = self.store.announce(seconds(self.now), &announce, &mut out);
        let family = Family::of(peer.ip());
        if event == Event::Stopped {
            self.leave(hash, peer);
            assert_eq!(counts.peers, 0, "somebody who leaves is given peers");
        } else if peer.port() != 0 {
            self.enter(hash, peer, event, role);
        }
        if !look {
            return;
        }
        let told = unpack(&out[..counts.peers], family);
        let want = if event == Event::Stopped { 0 } else { want.into() };
        self.check((hash, family), &told, Some(peer), role, want, counts);
    }

    fn enter(&mut self, hash: WireHash, peer: SocketAddr, event: Event, role: Role) {
        let swarm = self.model.entry((hash, Family::of(peer.ip()))).or_default();
        let seed = role == Role::Seed;
        // Downloads go with the last one who is heard of.
        if !swarm.peers.values().any(|peer| self.now - peer.heard < LIFE) {
            swarm.completed.0 = 0;
        }
        let before = swarm.peers.insert(peer, Peer { seed, heard: self.now });
        if event == Event::Completed && seed {
            let known = before.is_some_and(|before| before.seed);
            // A seed that is too old, or whom its host's others pushed out, may be forgotten or not.
            let surely = !known && !self.capped;
            let perhaps = !before.is_some_and(|b| b.seed && self.now - b.heard < LIFE) || self.capped;
            swarm.completed.0 += u32::from(surely);
            swarm.completed.1 += u32::from(perhaps);
        }
    }

    fn leave(&mut self, hash: WireHash, peer: SocketAddr) {
        let key = (hash, Family::of(peer.ip()));
        let Some(swarm) = self.model.get_mut(&key) else { return };
        swarm.peers.remove(&peer);
        if swarm.peers.is_empty() {
            // Without peers downloads are remembered for a while only.
            swarm.completed.0 = 0;
        }
    }

    /// Asks for peers of either family without an announce.
    fn ask(&mut self, input: &mut Input<'_>) {
        let (hash, what, want) = (hash(input), input.byte(), input.byte());
        let family = if what & 1 == 1 { Family::V6 } else { Family::V4 };
        let role = if what & 2 == 2 { Role::Seed } else { Role::Leech };
        let mut out = [0; 255 * 18];
        let counts =
            self.store.peers(seconds(self.now), &Ask { hash, family, role, want: want.into() }, &mut out);
        let told = unpack(&out[..counts.peers], family);
        self.check((hash, family), &told, None, role, want.into(), counts);
        assert_eq!(self.store.scrape(&hash, family), Counts { peers: 0, ..counts });
    }

    fn check(
        &self,
        key: (WireHash, Family),
        told: &[SocketAddr],
        me: Option<SocketAddr>,
        role: Role,
        want: usize,
        counts: Counts,
    ) {
        let Some(swarm) = self.model.get(&key) else {
            return assert_eq!(counts, Counts::default());
        };
        self.check_told(swarm, told, me, role, want);
        let members = swarm.members(self.now);
        self.check_number(swarm, members, told.len(), me, role, want);
        self.check_counts(swarm, members, counts);
    }

    /// Only those who are there are told of, and not the asker.
    fn check_told(
        &self,
        swarm: &Swarm,
        told: &[SocketAddr],
        me: Option<SocketAddr>,
        role: Role,
        want: usize,
    ) {
        let unique: HashSet<_> = told.iter().collect();
        assert_eq!(unique.len(), told.len(), "somebody is handed out twice");
        assert!(told.len() <= want);
        for addr in told {
            assert_ne!(Some(*addr), me, "the asker is told of itself");
            let peer = swarm.peers.get(addr).unwrap_or_else(|| panic!("{addr} is nobody"));
            assert!(self.now - peer.heard < LIFE, "{addr} is silent for {} ticks", self.now - peer.heard);
            assert!(role == Role::Leech || !peer.seed, "a seed is told of a seed");
        }
    }

    /// As many are told of as are there, but for those who are too old and may be met instead.
    fn check_number(
        &self,
        swarm: &Swarm,
        [leeches, seeds]: [Members; 2],
        told: usize,
        me: Option<SocketAddr>,
        role: Role,
        want: usize,
    ) {
        let seeds = if role == Role::Leech { seeds } else { Members::default() };
        // The asker was heard just now, if it is there.
        let me = me.and_then(|me| swarm.peers.get(&me)).filter(|me| role == Role::Leech || !me.seed);
        let alive = leeches.alive + seeds.alive - usize::from(me.is_some_and(|me| self.now == me.heard));
        let dead = leeches.all + seeds.all - (leeches.alive + seeds.alive);
        if !self.capped && dead < 200 {
            let least = want.min(alive).saturating_sub(dead);
            assert!(told >= least, "{told} of {alive} are told, {want} wanted");
        }
    }

    fn check_counts(&self, swarm: &Swarm, [leeches, seeds]: [Members; 2], counts: Counts) {
        for (role, is) in [(seeds, counts.complete as usize), (leeches, counts.incomplete as usize)] {
            assert!(is <= role.all, "{is} are counted, and {} ever were", role.all);
            assert!(self.capped || is >= role.alive, "{is} are counted of {}", role.alive);
        }
        let (least, most) = swarm.completed;
        assert!(counts.downloaded <= most);
        assert!(leeches.alive + seeds.alive == 0 || counts.downloaded >= least, "downloads are forgotten");
    }

    fn sweep(&mut self) {
        assert!(!self.store.sweep(seconds(self.now), usize::MAX), "a whole sweep leaves work");
        let now = self.now;
        for swarm in self.model.values_mut() {
            swarm.peers.retain(|_, peer| now - peer.heard < GONE);
        }
        let stats = self.store.stats();
        let (mut leeches, mut seeds) = (0, 0);
        for swarm in self.model.values() {
            seeds += swarm.peers.values().filter(|peer| peer.seed).count();
            leeches += swarm.peers.values().filter(|peer| !peer.seed).count();
        }
        assert!(stats.v4.leeches + stats.v6.leeches <= leeches && stats.v4.seeds + stats.v6.seeds <= seeds);
    }

    /// Saves everything, and goes on with a store that was filled from that.
    fn restart(&mut self) {
        let (mut saved, mut cursor) = (Vec::new(), Some(Cursor::START));
        while let Some(from) = cursor {
            cursor = self.store.save(seconds(self.now), from, 10, |swarm| saved.push(swarm.clone()));
        }
        self.store = Swarms::new(&self.config, seconds(self.now));
        for swarm in &saved {
            self.store.restore(seconds(self.now), swarm);
            let family = swarm.peers.first().map(|peer| Family::of(peer.addr.ip()));
            let Some(known) = family.and_then(|family| self.model.get(&(swarm.hash, family))) else {
                continue;
            };
            for peer in &swarm.peers {
                let model = known.peers.get(&peer.addr).expect("only peers are saved");
                assert_eq!((peer.age.as_secs(), peer.seed), (self.now - model.heard, model.seed));
            }
        }
        let now = self.now;
        for swarm in self.model.values_mut() {
            swarm.peers.retain(|_, peer| now - peer.heard < LIFE);
            swarm.completed.0 = 0;
        }
    }

    fn end(mut self) {
        self.now += GONE;
        self.sweep();
        self.now += GONE;
        self.sweep();
        let stats = self.store.stats();
        for family in [stats.v4, stats.v6] {
            assert_eq!((family.swarms, family.leeches, family.seeds, family.evicted), (0, 0, 0, 0));
        }
    }
}

fn hash(input: &mut Input<'_>) -> WireHash {
    WireHash([input.byte() % 8; 20])
}

fn addr(v6: bool, host: u16, port: u8) -> SocketAddr {
    let ip: IpAddr = if v6 {
        Ipv6Addr::new(0x2001, 0xdb8, 0, host >> 2, 0, 0, 0, host & 3).into()
    } else {
        Ipv4Addr::from_bits(0x0a00_0000 | u32::from(host)).into()
    };
    SocketAddr::new(ip, u16::from(port % 8))
}

fn unpack(bytes: &[u8], family: Family) -> Vec<SocketAddr> {
    let chunks = bytes.chunks_exact(family.peer_len());
    assert!(chunks.remainder().is_empty());
    chunks
        .map(|peer| {
            let (ip, port) = peer.split_last_chunk::<2>().expect("longer than a port");
            let ip: IpAddr = match family {
                Family::V4 => <[u8; 4]>::try_from(ip).expect("4 bytes").into(),
                Family::V6 => <[u8; 16]>::try_from(ip).expect("16 bytes").into(),
            };
            SocketAddr::new(ip, u16::from_be_bytes(*port))
        })
        .collect()
}
