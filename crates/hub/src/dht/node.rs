//! The node, its lock and its thread.
//!
//! An answer goes out by the socket that the question came to, beside the other answers of the batch. What the node asks
//! by itself goes by the first address of its family, so that others know it at one place only.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use samara_proto::dht::dual::Dht;
use samara_proto::dht::message::{Body, Method, Query, parse};
use samara_proto::dht::node::{Config as NodeConfig, Input, Node as Machine, Output};
use samara_proto::dht::server::ServerConfig;
use samara_proto::ids::WireHash;
use samara_proto::time::Time;
use samara_proto::tracker::Family;

use super::entry::Entry;
use super::memory;
use crate::clock::Clock;
use crate::config::Config;

/// When a machine names no deadline.
const FAR: Duration = Duration::from_secs(3600);

/// The shortest sleep: deadlines that lie closer together are met together.
const NAP: Duration = Duration::from_millis(1);

/// Something to send.
#[derive(Debug)]
pub(crate) struct Letter {
    pub(crate) to: SocketAddr,
    pub(crate) bytes: Vec<u8>,
}

/// Whether a datagram is for the node. Requests to the tracker never begin so: a connect begins with zeros, and what
/// follows it with an id of ours, whose highest bit is set.
pub(crate) fn is_message(datagram: &[u8]) -> bool {
    datagram.first() == Some(&b'd')
}

/// Whether a message can be a question: those have that in them, others hardly ever.
pub(crate) fn is_question(message: &[u8]) -> bool {
    message.windows(6).any(|part| part == b"1:y1:q")
}

/// The torrent that a message announces a peer of.
pub(crate) fn announced(message: &[u8]) -> Option<WireHash> {
    // Most are something else, and need not be read twice.
    if !message.windows(13).any(|part| part == b"announce_peer") {
        return None;
    }
    match parse(message).ok()?.body {
        Body::Query(Query { method: Method::AnnouncePeer { info_hash, .. }, .. }) => {
            Some(WireHash(info_hash.0))
        }
        _ => None,
    }
}

/// One socket of each family that the hub answers at, for what the node asks.
#[derive(Debug, Default)]
pub(crate) struct Ports {
    v4: Option<UdpSocket>,
    v6: Option<UdpSocket>,
}

impl Ports {
    /// The first of each family.
    ///
    /// # Errors
    /// If the system gives no second handle of a socket.
    pub(crate) fn of(sockets: &[UdpSocket]) -> io::Result<Self> {
        let mut ports = Self::default();
        for socket in sockets {
            let port = match socket.local_addr()? {
                SocketAddr::V4(_) => &mut ports.v4,
                SocketAddr::V6(_) => &mut ports.v6,
            };
            if port.is_none() {
                *port = Some(socket.try_clone()?);
            }
        }
        Ok(ports)
    }

    const fn get(&self, family: Family) -> Option<&UdpSocket> {
        match family {
            Family::V4 => self.v4.as_ref(),
            Family::V6 => self.v6.as_ref(),
        }
    }

    /// Sends a letter; false if there is no way to where it should go.
    fn send(&self, letter: &Letter) -> bool {
        let Some(socket) = self.get(family_of(letter.to)) else { return false };
        match socket.send_to(&letter.bytes, letter.to) {
            Ok(_) => true,
            // Who hears nothing is asked again.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => true,
            Err(error) => {
                tracing::trace!(to = %letter.to, %error, "a DHT message cannot be sent");
                false
            }
        }
    }
}

/// How the node of one family stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    pub(crate) family: Family,
    /// Nodes in its table.
    pub(crate) contacts: usize,
    /// Nodes in the whole network, roughly, once that is known.
    pub(crate) network: Option<f64>,
    pub(crate) torrents: usize,
    pub(crate) peers: usize,
    pub(crate) items: usize,
    pub(crate) counts: samara_proto::dht::node::Counts,
}

impl Standing {
    /// The family's, as metrics name it.
    pub(crate) const fn name(&self) -> &'static str {
        match self.family {
            Family::V4 => "ipv4",
            Family::V6 => "ipv6",
        }
    }
}

#[derive(Debug)]
struct Inner {
    dht: Dht,
    entry: Entry,
    /// When the thread comes back; others may bring it nearer.
    wakes: Time,
    stopped: bool,
}

/// The node of the hub, one for each family.
#[derive(Debug)]
pub(crate) struct Node {
    inner: Mutex<Inner>,
    bell: Condvar,
    ports: Ports,
    clock: Clock,
}

impl Node {
    /// A node that sends by `ports`, with what it knew in the last run.
    ///
    /// # Errors
    /// If the system gives no randomness.
    pub(crate) fn open(config: &Config, clock: Clock, ports: Ports) -> io::Result<Arc<Self>> {
        let (now, server) = (clock.now(), ServerConfig::public(config.dht_rate.bytes()));
        let saved = config.dht_state.as_deref().map(memory::load).unwrap_or_default();
        let make = |family: Family| -> io::Result<Option<Machine>> {
            if ports.get(family).is_none() {
                return Ok(None);
            }
            let saved = saved.get(family);
            let own = NodeConfig {
                id: saved.map(|saved| saved.id),
                dual: ports.v4.is_some() && ports.v6.is_some(),
                server,
                ..NodeConfig::new(family)
            };
            let mut node = Machine::new(own, getrandom::u64().map_err(io::Error::other)?, now);
            saved.into_iter().for_each(|saved| node.recall(now, saved));
            Ok(Some(node))
        };
        let dht = Dht::new(make(Family::V4)?, make(Family::V6)?);
        let entry = Entry::new(config.dht_bootstrap.clone(), now, !saved.is_empty());
        let inner = Mutex::new(Inner { dht, entry, wakes: now, stopped: false });
        Ok(Arc::new(Self { inner, bell: Condvar::new(), ports, clock }))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes messages that came to one socket; appends what is to be answered over the same.
    pub(crate) fn take<'a>(
        &self,
        now: Time,
        messages: impl Iterator<Item = (SocketAddr, &'a [u8])>,
        answers: &mut Vec<Letter>,
    ) {
        let mut questions = Vec::new();
        let mut inner = self.lock();
        for (from, bytes) in messages {
            inner.dht.handle(now, Input::Datagram { from, bytes });
            inner.drain(now, |letter| {
                let back = (letter.to.ip(), letter.to.port()) == (from.ip(), from.port());
                // With the scope of an address that only has a meaning on one link.
                if back { answers.push(Letter { to: from, ..letter }) } else { questions.push(letter) }
            });
        }
        let sooner = inner.come_sooner();
        drop(inner);
        if sooner {
            self.bell.notify_one();
        }
        self.send(questions);
    }

    /// Sends what the node asks, and what it asks in place of that where there is no way.
    fn send(&self, mut letters: Vec<Letter>) {
        while let Some(letter) = letters.pop() {
            if !self.ports.send(&letter) {
                let now = self.clock.now();
                let mut inner = self.lock();
                inner.dht.handle(now, Input::Unreachable(letter.to));
                inner.drain(now, |letter| letters.push(letter));
                if inner.come_sooner() {
                    self.bell.notify_one();
                }
            }
        }
    }

    /// Does what is due, again and again, until it is stopped.
    pub(crate) fn run(self: &Arc<Self>) {
        let mut letters = Vec::new();
        let mut inner = self.lock();
        while !inner.stopped {
            let now = self.clock.now();
            inner.dht.handle(now, Input::Timer);
            self.enter(&mut inner, now);
            inner.drain(now, |letter| letters.push(letter));
            let far = now + FAR;
            let next = inner.dht.deadline().unwrap_or(far).min(inner.entry.due()).min(far);
            inner.wakes = next.max(now + NAP);
            let wakes = inner.wakes;
            drop(inner);
            self.send(std::mem::take(&mut letters));
            let pause = wakes.since(self.clock.now());
            let idle = |inner: &mut Inner| !inner.stopped && inner.wakes >= wakes;
            let waited = self.bell.wait_timeout_while(self.lock(), pause, idle);
            inner = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Looks for others where they may be, while nobody is known.
    fn enter(self: &Arc<Self>, inner: &mut Inner, now: Time) {
        let alone = inner.nodes().any(|(_, node)| !node.is_joined());
        let Some(names) = inner.entry.turn(now, alone) else { return };
        let known = inner.entry.known();
        inner.set_bootstrap(now, &known);
        let node = Arc::downgrade(self);
        super::entry::look_up(names, move |addrs| {
            if let Some(node) = node.upgrade() {
                let mut inner = node.lock();
                if inner.entry.found(addrs) {
                    let known = inner.entry.known();
                    inner.set_bootstrap(node.clock.now(), &known);
                    inner.come_sooner();
                    drop(inner);
                    node.bell.notify_one();
                }
            }
        });
    }

    /// Ends the thread.
    pub(crate) fn stop(&self) {
        self.lock().stopped = true;
        self.bell.notify_one();
    }

    /// What to keep for the next run; `None` if nobody is known, which is no reason to forget who was.
    pub(crate) fn memory(&self) -> Option<Vec<u8>> {
        let inner = self.lock();
        let of = |family| inner.dht.node(family).map(Machine::save);
        let (v4, v6) = (of(Family::V4), of(Family::V6));
        let knows = [&v4, &v6].into_iter().flatten().any(|saved| !saved.contacts.is_empty());
        knows.then(|| memory::write(v4, v6))
    }

    /// How it stands, by family.
    pub(crate) fn standing(&self) -> Vec<Standing> {
        let inner = self.lock();
        let of = |(family, node): (Family, &Machine)| Standing {
            family,
            contacts: node.table().len(),
            network: node.network_size(),
            torrents: node.server().peers().torrents(),
            peers: node.server().peers().len(),
            items: node.server().items().len(),
            counts: node.counts(),
        };
        inner.nodes().map(of).collect()
    }
}

impl Inner {
    fn nodes(&self) -> impl Iterator<Item = (Family, &Machine)> {
        [Family::V4, Family::V6].into_iter().filter_map(|family| Some((family, self.dht.node(family)?)))
    }

    /// Has the thread come back earlier than it wanted to, if the node now wants that.
    fn come_sooner(&mut self) -> bool {
        let nearer = self.dht.deadline().filter(|at| *at < self.wakes);
        self.wakes = nearer.unwrap_or(self.wakes);
        nearer.is_some()
    }

    fn set_bootstrap(&mut self, now: Time, addrs: &[SocketAddr]) {
        for family in [Family::V4, Family::V6] {
            let node = self.dht.node_mut(family);
            node.into_iter().for_each(|node| node.set_bootstrap(now, addrs.to_vec()));
        }
    }

    /// Takes all that the nodes want.
    fn drain(&mut self, now: Time, mut send: impl FnMut(Letter)) {
        while let Some((family, output)) = self.dht.poll(now) {
            match output {
                Output::Send { to, datagram } => send(Letter { to, bytes: datagram }),
                Output::Joined => tracing::info!(?family, "knows its neighbours in the DHT"),
                Output::Outside(outside) => {
                    tracing::info!(ip = %outside.ip, port = outside.port, "the DHT sees us there");
                }
                _ => {}
            }
        }
    }
}

fn family_of(addr: SocketAddr) -> Family {
    Family::of(addr.ip().to_canonical())
}
