//! The machine that keeps connections to servers, and gives requests and answers to one another.
//!
//! The caller connects, reads and writes; it calls one method for each thing that happened, drains [`Client::poll`], sends
//! what [`Client::outgoing`] has, and comes back at [`Client::deadline`]. Replies come in the order of asking (RESP), so
//! one server that hangs holds up nobody but those who asked it. When it does, its connection is dropped with all that
//! waits there: from then on requests for it fail at once, until it answers again.

mod node;
mod replies;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use super::Servers;
use super::resp::Reply;
use super::slots::{Host, Range, SLOTS};
use super::swarm::Call;
use crate::rng::Rng;
use crate::time::Time;
use node::{Expected, Node, Request, State};

/// Most servers that are known at a time; Redis recommends no more than a thousand.
const MAX_NODES: usize = 1024;

/// How often a cluster is asked who has what, though nothing hints at a change.
const MAP_EVERY: Duration = Duration::from_secs(60);

/// How soon it is asked again when something does.
const MAP_SOON: Duration = Duration::from_millis(250);

/// No server has this number.
const NOBODY: u16 = u16::MAX;

/// How a client behaves.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the servers are.
    pub servers: Servers,
    /// After which a request has failed, and a connection that gave no sign is given up.
    pub timeout: Duration,
    /// Most requests under way.
    pub max_requests: usize,
}

/// A server, by a number that is used again once it is gone.
pub type NodeId = usize;

/// Why a request has no answer. All of them may work when tried again later.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// There is no connection, and the last attempt to make one failed.
    #[error("the server cannot be reached")]
    Down,
    /// No answer within the time-out.
    #[error("the server does not answer")]
    Late,
    /// The connection ended in between.
    #[error("the connection to the server was lost")]
    Lost,
    /// Too many requests are under way.
    #[error("too many requests wait for the server")]
    Full,
    /// What came is no answer.
    #[error("what the server says makes no sense")]
    Nonsense,
    /// The server says why; its words are cleaned and cut.
    #[error("the server says: {0}")]
    Refused(String),
}

/// Takes the outcome of each request, by its ticket.
pub type Sink<'a> = dyn FnMut(u64, Result<Reply<'_>, Failure>) + 'a;

/// What the caller has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Connect, and say [`Client::connected`] or [`Client::lost`] with this attempt.
    Connect {
        /// The server.
        node: NodeId,
        /// Tells this connection from earlier ones.
        attempt: u64,
        /// Where.
        host: Host,
    },
    /// Close the connection, or give up connecting.
    Close(NodeId),
    /// For the log: a server answers.
    Up(Host),
    /// For the log: a server is out of reach. So many connections to it failed before, since one was sound.
    Down(Host, Failure, u32),
}

/// The machine.
#[derive(Debug)]
pub struct Client {
    config: Config,
    rng: Rng,
    nodes: Vec<Node>,
    /// The master of each slot of a cluster.
    masters: Vec<u16>,
    /// When the cluster is to be asked for its map.
    map_at: Time,
    map_asked: Option<NodeId>,
    outputs: VecDeque<Output>,
    requests: usize,
}

impl Client {
    /// A client that starts to connect with the first [`Client::tick`].
    pub fn new(config: Config, seed: u64) -> Self {
        let nodes: Vec<_> = config.servers.hosts.iter().map(|host| Node::new(host.clone(), true)).collect();
        let masters = if config.servers.cluster { vec![NOBODY; usize::from(SLOTS)] } else { Vec::new() };
        Self {
            config,
            rng: Rng::new(seed),
            nodes,
            masters,
            map_at: Time::ZERO,
            map_asked: None,
            outputs: VecDeque::new(),
            requests: 0,
        }
    }

    /// Whether requests can be expected to be answered, wherever they belong.
    pub fn is_up(&self) -> bool {
        let mut serving =
            self.nodes.iter().filter(|node| node.serves || !self.config.servers.cluster).peekable();
        serving.peek().is_some() && serving.all(Node::is_ready)
    }

    /// Requests under way.
    pub const fn requests(&self) -> usize {
        self.requests
    }

    /// Takes a request, whose outcome a sink is told under `ticket`, within the time-out.
    ///
    /// # Errors
    /// If it has failed already: too many are under way, or its server is known to be out of reach.
    pub fn request(&mut self, now: Time, ticket: u64, call: Call) -> Result<(), Failure> {
        if self.requests >= self.config.max_requests {
            return Err(Failure::Full);
        }
        let node = self.node_for(call.slot).ok_or(Failure::Down)?;
        let deadline = now + self.config.timeout;
        let request = Request { ticket, call, deadline, hops: 0, scripted: false };
        self.send(now, node, request, false).map_err(|_| Failure::Down)?;
        self.requests += 1;
        Ok(())
    }

    /// A connection stands.
    pub fn connected(&mut self, node: NodeId, attempt: u64) {
        if let Some(node) = self.nodes.get_mut(node).filter(|node| node.attempt == attempt)
            && node.state == State::Connecting
        {
            node.state = State::Greeting;
        }
    }

    /// A connection failed or ended.
    pub fn lost(&mut self, now: Time, node: NodeId, attempt: u64, sink: &mut Sink<'_>) {
        if self.nodes.get(node).is_some_and(|node| node.attempt == attempt && !node.is_down()) {
            self.give_up(now, node, &Failure::Lost, sink);
        }
    }

    /// Bytes came.
    pub fn received(&mut self, now: Time, node: NodeId, bytes: &[u8], sink: &mut Sink<'_>) {
        let Some(it) = self.nodes.get_mut(node).filter(|it| !it.is_down()) else { return };
        let (mut reader, attempt) = (std::mem::take(&mut it.reader), it.attempt);
        it.heard(now);
        reader.push(bytes);
        while self.nodes[node].attempt == attempt && !self.nodes[node].is_down() {
            match reader.next_reply() {
                Ok(Some(reply)) => self.on_reply(now, node, reply, sink),
                Ok(None) => {
                    self.nodes[node].reader = reader;
                    return;
                }
                Err(_) => return self.give_up(now, node, &Failure::Nonsense, sink),
            }
        }
    }

    /// What can be sent to a server now.
    pub fn outgoing(&self, node: NodeId) -> &[u8] {
        self.nodes.get(node).map_or(&[], Node::outgoing)
    }

    /// So many bytes of [`Client::outgoing`] were sent.
    pub fn sent(&mut self, node: NodeId, bytes: usize) {
        if let Some(node) = self.nodes.get_mut(node) {
            node.sent(bytes);
        }
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Time, sink: &mut Sink<'_>) {
        let anybody = self.nodes.iter().any(Node::is_ready);
        for i in 0..self.nodes.len() {
            for request in self.nodes[i].take_late(now) {
                self.fail(&request, Failure::Late, sink);
            }
            let node = &self.nodes[i];
            let deadline = now + self.config.timeout;
            match node.state {
                State::Down { until } if until <= now && self.wants(i, anybody) => self.connect(now, i),
                State::Down { .. } => {}
                _ if node.first_deadline().is_some_and(|first| first <= now) => {
                    self.give_up(now, i, &Failure::Late, sink);
                }
                _ if !node.is_silent(now) => {}
                _ if self.wants(i, anybody) => self.nodes[i].ping(deadline),
                _ => self.leave(now, i),
            }
        }
        self.ask_for_map(now);
    }

    /// When [`Client::tick`] is due.
    pub fn deadline(&self) -> Option<Time> {
        let anybody = self.nodes.iter().any(Node::is_ready);
        let nodes = self.nodes.iter().enumerate();
        let first = nodes.filter_map(|(i, node)| node.deadline(self.wants(i, anybody))).min();
        let map = (anybody && self.config.servers.cluster && self.map_asked.is_none()).then_some(self.map_at);
        first.into_iter().chain(map).min()
    }

    /// What to do next.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Whether a server shall be connected to. Of a cluster those that have slots; those that were named while nobody
    /// else is there to ask.
    fn wants(&self, node: NodeId, anybody: bool) -> bool {
        let node = &self.nodes[node];
        !self.config.servers.cluster || node.serves || (node.named && !anybody)
    }

    fn connect(&mut self, now: Time, node: NodeId) {
        let it = &mut self.nodes[node];
        it.begin(&self.config.servers, now + self.config.timeout);
        self.outputs.push_back(Output::Connect { node, attempt: it.attempt, host: it.host.clone() });
    }

    /// Drops a connection that is of no use.
    fn give_up(&mut self, now: Time, node: NodeId, why: &Failure, sink: &mut Sink<'_>) {
        let it = &mut self.nodes[node];
        self.outputs.push_back(Output::Close(node));
        self.outputs.push_back(Output::Down(it.host.clone(), why.clone(), it.failures(now)));
        let expected = it.fall(now, *why == Failure::Lost, &mut self.rng);
        self.map_asked = self.map_asked.filter(|asked| *asked != node);
        self.map_soon(now);
        for (_, expected) in expected {
            if let Expected::Answer(request) = expected {
                self.requests -= 1;
                sink(request.ticket, Err(why.clone()));
            }
        }
    }

    /// Drops a connection that is idle and not needed.
    fn leave(&mut self, now: Time, node: NodeId) {
        self.outputs.push_back(Output::Close(node));
        self.nodes[node].fall(now, true, &mut self.rng);
    }

    /// Whom to ask about a slot: its master, or anybody, who will say where to go.
    fn node_for(&self, slot: u16) -> Option<NodeId> {
        if !self.config.servers.cluster {
            return Some(0);
        }
        let master = self.masters.get(usize::from(slot)).map(|node| usize::from(*node));
        master.filter(|node| *node < self.nodes.len()).or_else(|| {
            let ready = self.nodes.iter().position(Node::is_ready);
            ready.or_else(|| self.nodes.iter().position(Node::is_hopeful))
        })
    }

    /// Gives a request to a server, to which it connects if need be.
    fn send(&mut self, now: Time, node: NodeId, request: Request, asking: bool) -> Result<(), Request> {
        let Some(it) = self.nodes.get_mut(node).filter(|it| it.is_hopeful()) else { return Err(request) };
        if it.is_down() {
            self.connect(now, node);
        }
        self.nodes[node].ask(request, asking);
        Ok(())
    }

    /// The number of a server, which is new perhaps; `None` if there are too many.
    fn intern(&mut self, host: &Host) -> Option<NodeId> {
        if let Some(known) = self.nodes.iter().position(|node| node.host == *host) {
            return Some(known);
        }
        let unused = self.nodes.iter().position(|node| node.is_down() && !node.serves && !node.named);
        let node = Node::new(host.clone(), false);
        match unused {
            Some(at) => {
                // Events of its last connection must not be taken for the new one's.
                let attempt = self.nodes[at].attempt;
                self.nodes[at] = node;
                self.nodes[at].attempt = attempt;
                Some(at)
            }
            None if self.nodes.len() < MAX_NODES => {
                self.nodes.push(node);
                Some(self.nodes.len() - 1)
            }
            None => None,
        }
    }

    fn map_soon(&mut self, now: Time) {
        self.map_at = self.map_at.min(now + MAP_SOON);
    }

    fn ask_for_map(&mut self, now: Time) {
        if !self.config.servers.cluster || self.map_asked.is_some() || self.map_at > now {
            return;
        }
        // Not always the same one, which may know less than others.
        let start = self.rng.index(self.nodes.len());
        let some = (0..self.nodes.len()).map(|i| (start + i) % self.nodes.len());
        let mut ready = some.filter(|i| self.nodes[*i].is_ready());
        if let Some(node) = ready.next() {
            self.map_asked = Some(node);
            self.map_at = now + MAP_EVERY;
            self.nodes[node].ask_for_map(now + self.config.timeout);
        }
    }

    /// Takes over who has what.
    fn learn(&mut self, now: Time, ranges: &[Range]) {
        self.nodes.iter_mut().for_each(|node| node.serves = false);
        let mut masters = vec![NOBODY; usize::from(SLOTS)];
        for range in ranges {
            let Some(node) = self.intern(&range.master) else { continue };
            self.nodes[node].serves = true;
            if let Some(slots) = masters.get_mut(usize::from(range.first)..=usize::from(range.last)) {
                slots.fill(node as u16);
            }
        }
        self.masters = masters;
        for node in 0..self.nodes.len() {
            let is_new = self.nodes[node].state == State::Down { until: Time::ZERO };
            if self.nodes[node].serves && is_new {
                self.connect(now, node);
            }
        }
    }
}
