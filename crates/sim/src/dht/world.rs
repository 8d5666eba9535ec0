//! The network: packets, timers, and who comes and goes.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::net::SocketAddr;
use std::time::Duration;

use samara_proto::dht::Contact;
use samara_proto::dht::message::{Body, Message, Method, Query, Want};
use samara_proto::dht::node::{Input, Output};
use samara_proto::ids::NodeId;
use samara_proto::rng::Rng;
use samara_proto::time::Time;

use super::host::{Host, Kind, some_address};
use super::liar::lie;
use super::queue::{Queue, Quick};

/// IPv4 and UDP headers.
const HEADERS: u64 = 28;
/// Nodes that everybody begins with and that stay.
pub const FIRST: usize = 5;
/// How often a Sybil shows itself to the honest around it.
const SHOW: Duration = Duration::from_secs(60);

/// How the network is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Setting {
    /// Machines at a time.
    pub nodes: usize,
    /// Share of packets that are lost.
    pub loss: f64,
    /// Share of the honest machines that stand behind a NAT.
    pub silent: f64,
    /// Half of the machines stay no longer than this; `None`: they stay for ever.
    pub median_session: Option<Duration>,
    /// Share of malicious machines, half of them liars anywhere and half of them Sybils close to a thing.
    pub malicious: f64,
    /// Over how long the first machines come.
    pub ramp: Duration,
}

impl Setting {
    /// No churn, no loss, nobody behind a NAT, nobody who lies.
    pub const fn calm(nodes: usize) -> Self {
        let ramp = Duration::from_secs(300);
        Self { nodes, loss: 0.0, silent: 0.0, median_session: None, malicious: 0.0, ramp }
    }

    /// As in mainline: a tenth of the packets is lost, sessions have a median of half an hour, and three in ten do not
    /// answer strangers.
    pub const fn rough(nodes: usize) -> Self {
        let median_session = Some(Duration::from_secs(1800));
        Self { loss: 0.1, silent: 0.3, median_session, ..Self::calm(nodes) }
    }

    /// The same, and a fifth means harm.
    pub const fn attacked(nodes: usize) -> Self {
        Self { malicious: 0.2, ..Self::rough(nodes) }
    }
}

/// Something that is due.
#[derive(Debug)]
enum What {
    Packet { from: SocketAddr, to: SocketAddr, bytes: Vec<u8> },
    Timer(SocketAddr),
    Leave(SocketAddr),
    Join(usize),
    Show(SocketAddr),
}

/// The world.
#[derive(Debug)]
pub struct World {
    /// Now.
    pub now: Time,
    /// Chance.
    pub rng: Rng,
    setting: Setting,
    /// Machines that are there, by address.
    hosts: HashMap<SocketAddr, Host, BuildHasherDefault<Quick>>,
    /// The same addresses, to choose from by number; a machine that leaves makes room for another in its place.
    places: Vec<Option<SocketAddr>>,
    queue: Queue<What>,
    /// What Sybils gather around.
    things: Vec<NodeId>,
    /// Malicious nodes by what they gather around; the last list is of those that gather around nothing.
    crowds: Vec<Vec<Contact>>,
    /// What the nodes told, since this was last emptied.
    pub told: Vec<(SocketAddr, Output)>,
}

impl World {
    /// A world in which machines begin to come. Sybils gather around the things.
    pub fn new(setting: Setting, things: Vec<NodeId>, seed: u64) -> Self {
        let mut world = Self {
            now: Time::from_micros(1_000_000),
            rng: Rng::new(seed),
            setting,
            hosts: HashMap::default(),
            places: vec![None; setting.nodes],
            queue: Queue::default(),
            crowds: vec![Vec::new(); things.len() + 1],
            things,
            told: Vec::new(),
        };
        for place in 0..setting.nodes {
            let share = place as f64 / setting.nodes as f64;
            world.queue.push(world.now + setting.ramp.mul_f64(share), What::Join(place));
        }
        world
    }

    /// The machine at an address.
    pub fn host(&self, addr: &SocketAddr) -> Option<&Host> {
        self.hosts.get(addr)
    }

    /// All machines.
    pub fn hosts(&self) -> impl Iterator<Item = &Host> {
        self.places.iter().flatten().filter_map(|addr| self.hosts.get(addr))
    }

    /// Counts traffic from now on.
    pub fn reset_bytes(&mut self) {
        self.hosts.values_mut().for_each(|host| host.bytes = [0; 2]);
    }

    /// A random machine that means well and has been there for so long.
    pub fn some_honest(&mut self, age: Duration) -> SocketAddr {
        loop {
            let place = self.rng.index(self.places.len());
            let addr = self.places[place].filter(|addr| {
                let host = &self.hosts[addr];
                place >= FIRST && !host.kind.is_malicious() && self.now.since(host.since) >= age
            });
            if let Some(addr) = addr {
                return addr;
            }
        }
    }

    /// Has a node do something, and takes what it says.
    pub fn with<T>(&mut self, addr: SocketAddr, f: impl FnOnce(Time, &mut Host) -> T) -> Option<T> {
        let now = self.now;
        let result = self.hosts.get_mut(&addr).map(|host| f(now, host));
        self.collect(addr);
        result
    }

    /// Lets time pass.
    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some((at, what)) = self.queue.pop(end) {
            self.now = at;
            self.happens(what);
        }
        self.now = end;
    }

    fn happens(&mut self, what: What) {
        match what {
            What::Packet { from, to, bytes } => self.arrive(from, to, &bytes),
            What::Timer(addr) => self.timer(addr),
            What::Join(place) => self.join(place),
            What::Leave(addr) => self.leave(addr),
            What::Show(addr) => self.show(addr),
        }
    }

    fn timer(&mut self, addr: SocketAddr) {
        let now = self.now;
        let Some(host) = self.hosts.get_mut(&addr).filter(|host| host.alarm.is_some_and(|at| at <= now))
        else {
            return;
        };
        host.alarm = None;
        if host.node.deadline().is_some_and(|at| at <= now) {
            host.node.handle(now, Input::Timer);
        }
        self.collect(addr);
    }

    fn arrive(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let now = self.now;
        let Some(host) = self.hosts.get_mut(&to).filter(|host| host.lets_in(now, from)) else { return };
        host.bytes[1] += bytes.len() as u64 + HEADERS;
        let always = matches!(host.kind, Kind::Sybil(_));
        if host.kind.is_malicious() {
            let id = host.node.id();
            let crowds = (&self.things, &self.crowds);
            let said = lie(id, from, bytes, always, |target| accomplices(crowds, target), &mut self.rng);
            if let Some(answer) = said {
                return self.send(to, from, answer);
            }
            if always {
                return;
            }
        }
        if let Some(host) = self.hosts.get_mut(&to) {
            host.node.handle(now, Input::Datagram { from, bytes });
        }
        self.collect(to);
    }

    /// Takes what a node says, and sets its timer.
    fn collect(&mut self, addr: SocketAddr) {
        let Some(host) = self.hosts.get_mut(&addr) else { return };
        let mut sends = Vec::new();
        while let Some(output) = host.node.poll() {
            match output {
                Output::Send { to, datagram } => sends.push((to, datagram)),
                other => self.told.push((addr, other)),
            }
        }
        let due = host.node.deadline().filter(|_| !matches!(host.kind, Kind::Sybil(_)));
        let earlier = due.filter(|due| host.alarm.is_none_or(|at| *due < at));
        if let Some(due) = earlier {
            host.alarm = Some(due);
            self.queue.push(due, What::Timer(addr));
        }
        sends.into_iter().for_each(|(to, datagram)| self.send(addr, to, datagram));
    }

    fn send(&mut self, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        let lost = self.rng.below(1 << 20) as f64 / f64::from(1 << 20) < self.setting.loss;
        let now = self.now;
        if let Some(host) = self.hosts.get_mut(&from) {
            host.bytes[0] += bytes.len() as u64 + HEADERS;
            host.sends(now, to);
        }
        let (Some(a), Some(b)) = (self.hosts.get(&from), self.hosts.get(&to)) else { return };
        if !lost {
            let at = now + a.delay(b, &mut self.rng);
            self.queue.push(at, What::Packet { from, to, bytes });
        }
    }

    fn join(&mut self, place: usize) {
        let kind = self.kind_of(place);
        let addr = some_address(&mut self.rng);
        let id = match kind {
            Kind::Sybil(thing) => {
                Some(self.things[thing].beside(20 + self.rng.below(8) as u32, &mut self.rng))
            }
            _ => None,
        };
        let mut host = Host::new(kind, addr, id, self.rng.next_u64(), self.now);
        let first: Vec<SocketAddr> =
            self.places[..FIRST.min(self.places.len())].iter().flatten().copied().collect();
        host.node.set_bootstrap(self.now, first);
        self.places[place] = Some(addr);
        self.hosts.insert(addr, host);
        if kind.is_malicious() {
            self.enlist(kind, addr);
            self.queue.push(self.now + SHOW, What::Show(addr));
        } else if let Some(median) = self.setting.median_session.filter(|_| place >= FIRST) {
            // Sessions are exponential: the median is ln 2 of the mean.
            let chance = (self.rng.below(1 << 30) + 1) as f64 / f64::from(1 << 30);
            let stay = median.mul_f64(-chance.ln() / std::f64::consts::LN_2);
            self.queue.push(self.now + stay, What::Leave(addr));
        }
        self.collect(addr);
    }

    /// By place, so that shares hold while machines come and go.
    fn kind_of(&self, place: usize) -> Kind {
        if place < FIRST {
            return Kind::Open;
        }
        // A low-discrepancy sequence spreads kinds evenly.
        let turn = (place as f64 * 0.618_033_988_75).fract();
        let malicious = self.setting.malicious;
        match turn {
            t if t < malicious / 2.0 => Kind::Liar,
            t if t < malicious && !self.things.is_empty() => Kind::Sybil(place % self.things.len()),
            t if t < malicious + (1.0 - malicious) * self.setting.silent => Kind::Silent,
            _ => Kind::Open,
        }
    }

    fn enlist(&mut self, kind: Kind, addr: SocketAddr) {
        let crowd = if let Kind::Sybil(thing) = kind { thing } else { self.things.len() };
        let id = self.hosts[&addr].node.id();
        self.crowds[crowd].push(Contact { id, addr });
    }

    /// Leaves without a word, and another comes.
    fn leave(&mut self, addr: SocketAddr) {
        self.hosts.remove(&addr);
        if let Some(place) = self.places.iter().position(|other| *other == Some(addr)) {
            self.places[place] = None;
            self.join(place);
        }
    }

    /// A Sybil asks honest nodes around it something, so that they get to know it; a liar's id has changed meanwhile.
    fn show(&mut self, addr: SocketAddr) {
        let Some(host) = self.hosts.get(&addr) else { return };
        let (kind, id) = (host.kind, host.node.id());
        if let Kind::Sybil(thing) = kind {
            for to in self.closest_honest(thing) {
                let body = Body::Query(Query { id, want: Want::default(), method: Method::Ping });
                let mut bytes = Vec::new();
                Message { transaction: b"show", version: None, ip: None, read_only: false, body }
                    .write(&mut bytes);
                self.send(addr, to, bytes);
            }
            self.queue.push(self.now + SHOW * 4, What::Show(addr));
        } else if let Some(known) = self.crowds.last_mut().and_then(|c| c.iter_mut().find(|c| c.addr == addr))
        {
            known.id = id;
            self.queue.push(self.now + SHOW * 4, What::Show(addr));
        }
    }

    /// Some of the honest nodes closest to a thing: Sybils find them by lookups, which is not played here.
    fn closest_honest(&mut self, thing: usize) -> Vec<SocketAddr> {
        let target = self.things[thing];
        let honest = self.hosts.values().filter(|host| host.kind == Kind::Open);
        let mut all: Vec<_> = honest.map(|host| (host.node.id().distance(&target), host.addr)).collect();
        let count = 24.min(all.len());
        if all.len() > count {
            all.select_nth_unstable(count);
        }
        let mut near: Vec<SocketAddr> = all[..count].iter().map(|(_, addr)| *addr).collect();
        near.sort_unstable();
        self.rng.shuffle(&mut near);
        near.truncate(4);
        near
    }
}

/// Malicious nodes to name to one who looks for a target: the Sybils around it, else some liars.
fn accomplices((things, crowds): (&Vec<NodeId>, &Vec<Vec<Contact>>), target: &NodeId) -> Vec<Contact> {
    let thing = things.iter().position(|thing| thing.shared_bits(target) >= 16);
    let sybils = thing.map(|thing| crowds[thing].clone()).unwrap_or_default();
    if !sybils.is_empty() {
        return sybils;
    }
    let mut liars = crowds.last().cloned().unwrap_or_default();
    let count = 8.min(liars.len());
    if liars.len() > count {
        liars.select_nth_unstable_by_key(count, |liar| liar.id.distance(target));
    }
    liars.truncate(count);
    liars
}
