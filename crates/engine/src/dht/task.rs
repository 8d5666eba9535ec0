//! The task of the DHT: it owns the sockets and both nodes, and carries datagrams, commands and outputs between them.
//!
//! Datagrams are taken many at a time, and each is answered before the next is looked at. It decides nothing about the
//! protocol; what it sees to itself is when to save, when to look up names, and whether the network is another one.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use samara_proto::dht::dual;
use samara_proto::dht::node::{Announce, Ask, Config, Input, Node, Op, Output};
use samara_proto::dht::saved::Both;
use samara_proto::tracker::Family;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::api::{Answer, Command, DhtConfig, DhtStats, NodeStats};
use super::leads::{Lead, Leads};
use super::memory::Memory;
use super::route::Route;
use super::socket::{MAX_DATAGRAM, Port};
use super::torrents::Torrents;
use crate::clock::Clock;
use crate::desk::{Notes, PublicNote};

/// When a machine names no deadline.
const FAR: Duration = Duration::from_secs(3600);

/// Datagrams of one socket taken at once, before others have their turn.
const BATCH: usize = 256;

/// How often what is known is saved.
const SAVE_EVERY: Duration = Duration::from_secs(300);

/// How often it is looked whether the network is another one.
const LOOK_EVERY: Duration = Duration::from_secs(30);

pub(super) const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// Somebody who waits for something of a node.
#[derive(Debug)]
struct User {
    id: u64,
    reply: mpsc::Sender<Answer>,
}

/// The task.
#[derive(Debug)]
pub(crate) struct Driver {
    v4: Option<Port>,
    v6: Option<Port>,
    dht: dual::Dht,
    clock: Clock,
    commands: mpsc::Receiver<Command>,
    users: BTreeMap<(Family, Op), User>,
    /// Those of a client, if it is for one.
    torrents: Option<Torrents>,
    memory: Memory,
    leads: Leads,
    route: Route,
    read_only: bool,
    buffer: Vec<u8>,
    next_save: Instant,
    next_look: Instant,
    saving: JoinSet<()>,
    /// It ends; these wait for it.
    over: bool,
    waiting: Vec<oneshot::Sender<()>>,
}

impl Driver {
    pub(super) fn new(
        ports: Vec<Port>,
        memory: Memory,
        config: DhtConfig,
        commands: mpsc::Receiver<Command>,
    ) -> Self {
        let (clock, now) = (Clock::start(), Instant::now());
        let families: Vec<Family> = ports.iter().map(Port::family).collect();
        let node = |family| {
            families.contains(&family).then(|| node(&config, &memory, family, families.len(), clock))
        };
        let dht = dual::Dht::new(node(Family::V4).flatten(), node(Family::V6).flatten());
        let known = FAMILIES.iter().any(|family| memory.saved(*family).is_some());
        let (mut v4, mut v6) = (None, None);
        for port in ports {
            match port.family() {
                Family::V4 => v4 = Some(port),
                Family::V6 => v6 = Some(port),
            }
        }
        Self {
            v4,
            v6,
            dht,
            clock,
            commands,
            users: BTreeMap::new(),
            torrents: None,
            leads: Leads::new(config.bootstrap, config.inside, known),
            memory,
            route: Route::look(),
            read_only: config.read_only,
            buffer: vec![0; MAX_DATAGRAM],
            next_save: now + SAVE_EVERY,
            next_look: now + LOOK_EVERY,
            saving: JoinSet::new(),
            over: false,
            waiting: Vec::new(),
        }
    }

    /// Serves the torrents of a client too.
    pub(crate) fn with(self, torrents: Torrents) -> Self {
        Self { torrents: Some(torrents), ..self }
    }

    /// Runs until it is told to stop, or nobody can tell it anything any more.
    pub(crate) async fn run(mut self) {
        let sleep = tokio::time::sleep(FAR);
        tokio::pin!(sleep);
        for port in [&self.v4, &self.v6].into_iter().flatten() {
            port.open().await;
        }
        self.tick();
        while !self.over {
            self.settle();
            let due = self.due();
            if due < sleep.deadline() || sleep.is_elapsed() {
                sleep.as_mut().reset(due);
            }
            tokio::select! {
                family = readable(self.v4.as_ref(), self.v6.as_ref()) => {
                    if self.receive(family) {
                        tokio::task::yield_now().await;
                    }
                }
                notes = said(self.torrents.as_ref()) => self.said(notes),
                command = self.commands.recv() => self.command(command),
                lead = self.leads.next() => self.lead(lead),
                () = &mut sleep => self.tick(),
            }
        }
        self.torrents.iter().for_each(Torrents::close);
        self.save();
        while self.saving.join_next().await.is_some() {}
    }

    fn due(&self) -> Instant {
        let node = self.dht.deadline().map(|due| self.clock.instant(due));
        let own = self.leads.due().min(self.next_save).min(self.next_look);
        let torrents = self.torrents.as_ref().and_then(Torrents::due).map(|due| self.clock.instant(due));
        [node, torrents].into_iter().flatten().fold(own, Instant::min)
    }

    fn handle(&mut self, input: Input<'_>) {
        self.dht.handle(self.clock.now(), input);
    }

    fn tick(&mut self) {
        let now = self.clock.now();
        self.torrents.iter_mut().for_each(|torrents| torrents.tick(now, &mut self.dht));
        self.handle(Input::Timer);
        self.leads.tick(self.is_lonely());
        let now = Instant::now();
        if self.next_save <= now {
            self.next_save = now + SAVE_EVERY;
            self.save();
        }
        if self.next_look <= now {
            self.next_look = now + LOOK_EVERY;
            self.look_around();
        }
    }

    /// Whether a node does not know its neighbours.
    fn is_lonely(&self) -> bool {
        FAMILIES.iter().any(|family| self.dht.node(*family).is_some_and(|node| !node.is_joined()))
    }

    /// Who listens on one address stays with it.
    fn look_around(&mut self) {
        let on_all = [&self.v4, &self.v6].into_iter().flatten().any(Port::is_on_all);
        if on_all && self.route.becomes(Route::look()) {
            self.network_changed();
        }
    }

    fn network_changed(&mut self) {
        tracing::debug!("the network is another one");
        self.handle(Input::NetworkChanged);
        self.leads.hurry();
    }

    const fn port(&mut self, family: Family) -> Option<&mut Port> {
        match family {
            Family::V4 => self.v4.as_mut(),
            Family::V6 => self.v6.as_mut(),
        }
    }

    /// Takes what came for a node; says whether more may wait.
    fn receive(&mut self, family: Family) -> bool {
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut taken = 0;
        while taken < BATCH {
            let Some((len, from)) = self.port(family).and_then(|port| port.receive(&mut buffer)) else {
                break;
            };
            self.handle(Input::Datagram { from, bytes: &buffer[..len] });
            self.settle();
            taken += 1;
        }
        self.buffer = buffer;
        taken == BATCH
    }

    /// Does what the nodes want, until they want nothing more.
    fn settle(&mut self) {
        while let Some((family, output)) = self.dht.poll(self.clock.now()) {
            match output {
                Output::Send { to, datagram } => {
                    if !self.port(family).is_some_and(|port| port.send(to, &datagram)) {
                        self.handle(Input::Unreachable(to));
                    }
                }
                output => self.tell(family, output),
            }
        }
    }

    fn tell(&mut self, family: Family, output: Output) {
        let (op, answer) = match output {
            Output::Peers { op, peers } => (op, Answer::Peers(peers)),
            Output::Item { op, item } => (op, Answer::Item(item)),
            Output::Sample { op, from, hashes, num, interval } => {
                (op, Answer::Sample { from, hashes, num, interval })
            }
            Output::Done { op, summary } => (op, Answer::Done { family, summary }),
            other => return tracing::debug!(?family, ?other, "news of the DHT"),
        };
        let now = self.clock.now();
        let answer = match &mut self.torrents {
            Some(torrents) => torrents.answer(now, &mut self.dht, (family, op), answer),
            None => Some(answer),
        };
        answer.into_iter().for_each(|answer| self.reply(family, op, answer));
    }

    /// Tells a user.
    fn reply(&mut self, family: Family, op: Op, answer: Answer) {
        let ends = matches!(&answer, Answer::Done { summary, .. } if summary.next.is_none());
        let Some(user) = self.users.get(&(family, op)) else { return };
        if user.reply.try_send(answer).is_err() {
            self.cancel(family, op);
        } else if ends {
            self.users.remove(&(family, op));
        }
    }

    fn cancel(&mut self, family: Family, op: Op) {
        self.users.remove(&(family, op));
        self.dht.node_mut(family).into_iter().for_each(|node| node.cancel(op));
    }

    /// Takes what torrents say.
    fn said(&mut self, mut notes: Notes<PublicNote>) {
        self.over |= notes.stop;
        let now = self.clock.now();
        self.torrents
            .iter_mut()
            .for_each(|torrents| torrents.take(now, &mut self.dht, std::mem::take(&mut notes.torrents)));
        self.handle(Input::Timer);
    }

    fn command(&mut self, command: Option<Command>) {
        match command {
            Some(Command::Ask { id, ask, reply }) => self.ask(id, &ask, &reply),
            Some(Command::Announce { id, announce, reply }) => self.announce(id, announce, &reply),
            Some(Command::Cancel(id)) => {
                let own = self.users.iter().filter(|(_, user)| user.id == id);
                let own: Vec<_> = own.map(|(at, _)| *at).collect();
                own.into_iter().for_each(|(family, op)| self.cancel(family, op));
            }
            Some(Command::Stats(reply)) => drop(reply.send(self.stats())),
            Some(Command::Hint(addr)) => self.hint(addr),
            Some(Command::Named(nodes)) => self.named(&nodes),
            Some(Command::NetworkChanged) => self.network_changed(),
            Some(Command::Stop(done)) => {
                self.waiting.push(done);
                self.over = true;
            }
            None => self.over = true,
        }
        self.handle(Input::Timer);
    }

    fn ask(&mut self, id: u64, ask: &Ask, reply: &mpsc::Sender<Answer>) {
        let only = if let Ask::Ping { addr } = ask { Some(family_of(*addr)) } else { None };
        for family in FAMILIES.into_iter().filter(|family| only.is_none_or(|only| only == *family)) {
            self.begin(family, id, reply, |node, now| node.start(now, ask.clone()));
        }
    }

    fn announce(&mut self, id: u64, announce: Announce, reply: &mpsc::Sender<Answer>) {
        for family in FAMILIES {
            self.begin(family, id, reply, |node, now| node.announce(now, announce));
        }
    }

    fn begin(
        &mut self,
        family: Family,
        id: u64,
        reply: &mpsc::Sender<Answer>,
        start: impl FnOnce(&mut Node, samara_proto::time::Time) -> Op,
    ) {
        let now = self.clock.now();
        if let Some(node) = self.dht.node_mut(family) {
            let op = start(node, now);
            self.users.insert((family, op), User { id, reply: reply.clone() });
        }
    }

    fn hint(&mut self, addr: SocketAddr) {
        let now = self.clock.now();
        self.dht.node_mut(family_of(addr)).into_iter().for_each(|node| node.hint(now, addr));
    }

    /// Whoever knows his neighbours needs no more.
    fn named(&mut self, nodes: &[(String, u16)]) {
        if self.is_lonely() {
            nodes.iter().for_each(|(host, port)| self.leads.named(host, *port));
        }
    }

    fn lead(&mut self, lead: Lead) {
        match lead {
            Lead::Bootstrap(addrs) => {
                let now = self.clock.now();
                for family in FAMILIES {
                    let node = self.dht.node_mut(family);
                    node.into_iter().for_each(|node| node.set_bootstrap(now, addrs.clone()));
                }
            }
            Lead::Hints(addrs) => addrs.into_iter().for_each(|addr| self.hint(addr)),
        }
        self.handle(Input::Timer);
    }

    /// Saves what is known, if somebody is, beside everything else.
    fn save(&mut self) {
        while self.saving.try_join_next().is_some() {}
        let of = |family| self.dht.node(family).filter(|node| !node.table().is_empty()).map(Node::save);
        let known = Both { v4: of(Family::V4), v6: of(Family::V6) };
        if let Some(save) = self.memory.save(known) {
            self.saving.spawn_blocking(save);
        }
    }

    fn stats(&self) -> DhtStats {
        let ports = [&self.v4, &self.v6].into_iter().flatten();
        let stats = |port: &Port| Some(self.node_stats(port, self.dht.node(port.family())?));
        DhtStats { nodes: ports.filter_map(stats).collect() }
    }

    fn node_stats(&self, port: &Port, node: &Node) -> NodeStats {
        NodeStats {
            family: port.family(),
            local: port.local(),
            id: node.id(),
            read_only: self.read_only,
            joined: node.is_joined(),
            contacts: node.table().len(),
            network_size: node.network_size(),
            outside: node.outside(),
            torrents: node.server().peers().torrents(),
            items: node.server().items().len(),
            received: port.received,
            sent: port.sent,
        }
    }
}

/// A node with what it knew in an earlier run. `None` if the system gives no randomness.
fn node(config: &DhtConfig, memory: &Memory, family: Family, families: usize, clock: Clock) -> Option<Node> {
    let own = Config {
        id: memory.id(family),
        read_only: config.read_only,
        dual: families > 1,
        server: config.server,
        ..Config::new(family)
    };
    let now = clock.now();
    let mut node = Node::new(own, getrandom::u64().ok()?, now);
    memory.saved(family).into_iter().for_each(|saved| node.recall(now, saved));
    Some(node)
}

fn family_of(addr: SocketAddr) -> Family {
    Family::of(addr.ip().to_canonical())
}

/// Waits until torrents say something. Cancel safe.
async fn said(torrents: Option<&Torrents>) -> Notes<PublicNote> {
    match torrents {
        Some(torrents) => torrents.said().await,
        None => std::future::pending().await,
    }
}

/// Waits until something came for a node. Cancel safe.
async fn readable(v4: Option<&Port>, v6: Option<&Port>) -> Family {
    tokio::select! {
        () = ready(v4) => Family::V4,
        () = ready(v6) => Family::V6,
    }
}

async fn ready(port: Option<&Port>) {
    match port {
        Some(port) => port.readable().await,
        None => std::future::pending().await,
    }
}
