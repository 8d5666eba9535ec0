//! The client's side of exchanges with UDP trackers: connection ids, retransmission, and whose answer is believed.
//!
//! Spec: BEP 15. One machine serves any number of trackers over one socket (of either family, or both). It sends a
//! connect request to an address first, and uses the connection id it gets for a minute, for all questions to that
//! address. What is not answered is sent again after 15·2^n seconds, where n counts over connects and questions alike.
//! The specification goes on up to n = 8, over two hours; here [`Config::tries`] ends it after about two minutes, for
//! there are other trackers to fall back to, and who asks again later does so with a back-off of its own.
//!
//! Believed is only an answer that comes from the address that was asked, with the transaction id of a request that is
//! open, and of the kind that was asked for. Ids come from SHA-256 over a secret seed, so that a tracker which sees its
//! own cannot guess those of others.
//!
//! A refusal of a question that used an older connection id is answered by asking once more with a new one: a tracker
//! that was restarted has forgotten the old.
//!
//! Refused: more questions at once than [`Config::asks`]. Tested with lost, doubled, late and forged datagrams, with
//! clocks that jump, and against the examples of the BEP, second by second.

mod ids;
mod link;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use self::ids::Transactions;
use self::link::{Host, Link};
use super::types::{AnnounceRequest, AnnounceResponse, Family, ScrapeStats};
use super::udp::{Body, Hashes, Options, Request, parse_response, transaction, write_url_data};
use crate::ids::WireHash;
use crate::time::Time;

/// How long a connection id is used (BEP 15).
const CONNECTION_LIFE: Duration = Duration::from_secs(60);

/// Numbers, with what BEP 15 says as default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Wait for the first answer; it doubles with every further try, except that after the last try it is this again.
    pub timeout: Duration,
    /// How often something is sent before the tracker counts as silent: 4, which takes 15 + 30 + 60 + 15 seconds.
    pub tries: u8,
    /// Most questions open at once.
    pub asks: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(15), tries: 4, asks: 1024 }
    }
}

/// A question to a tracker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// An announce.
    Announce {
        /// What to say.
        request: Box<AnnounceRequest>,
        /// Path and query of the tracker's URL (BEP 41), perhaps empty.
        url_data: Box<str>,
    },
    /// The sizes of swarms; [`super::udp::MAX_SCRAPE`] of them are asked for at most, and at least one must be there.
    Scrape(Box<[WireHash]>),
}

/// An answer, of the kind of the question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To an announce.
    Announce(AnnounceResponse),
    /// To a scrape, in the order of the question; perhaps fewer.
    Scrape(Vec<ScrapeStats>),
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// The tracker refused; its words, one clean line.
    #[error("{0}")]
    Refused(String),
    /// Nothing came back.
    #[error("no answer")]
    Silent,
    /// The datagram could not be sent, or came back.
    #[error("it cannot be reached")]
    Unreachable,
    /// Too many questions at once.
    #[error("too many trackers are being asked at once")]
    Full,
}

/// What the machine wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output<K> {
    /// Send this.
    Send {
        /// Where to.
        to: SocketAddr,
        /// At most 1,500 bytes, unless a tracker's URL is long.
        datagram: Vec<u8>,
    },
    /// A question has come to its end.
    Done {
        /// As given with the question.
        key: K,
        /// How.
        result: Result<Answer, AskError>,
    },
}

/// What to look at when a timer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Host(SocketAddr),
    Ask(u64),
}

/// Whose answer a transaction id marks.
#[derive(Clone, Copy, Debug)]
enum Owner {
    Host(SocketAddr),
    Ask(u64),
}

/// A question that is open.
#[derive(Debug)]
struct Open<K> {
    key: K,
    to: SocketAddr,
    ask: Ask,
    transaction: u32,
    /// How often it was sent.
    sent: u8,
    /// When to look at it again; `None` while it waits for a connection id.
    due: Option<Time>,
    /// Whether the connection id was there before the question, so that it may be one the tracker has forgotten.
    reused: bool,
}

/// The machine; `K` names questions for the caller.
#[derive(Debug)]
pub struct UdpClient<K> {
    config: Config,
    ids: Transactions,
    hosts: BTreeMap<SocketAddr, Host>,
    asks: BTreeMap<u64, Open<K>>,
    next_ask: u64,
    owners: BTreeMap<u32, Owner>,
    timers: BTreeSet<(Time, Timer)>,
    out: VecDeque<Output<K>>,
}

impl<K: Copy + PartialEq> UdpClient<K> {
    /// A machine with nothing to do; `seed` must be secret and different in each run.
    pub fn new(config: Config, seed: u64) -> Self {
        Self {
            config,
            ids: Transactions::new(seed),
            hosts: BTreeMap::new(),
            asks: BTreeMap::new(),
            next_ask: 0,
            owners: BTreeMap::new(),
            timers: BTreeSet::new(),
            out: VecDeque::new(),
        }
    }

    /// Asks the tracker at `to`. Exactly one [`Output::Done`] with `key` follows, unless it is cancelled.
    pub fn ask(&mut self, now: Time, key: K, to: SocketAddr, ask: Ask) {
        if self.asks.len() >= self.config.asks {
            return self.out.push_back(Output::Done { key, result: Err(AskError::Full) });
        }
        let (id, to) = (self.next_ask, canonical(to));
        self.next_ask += 1;
        let transaction = self.own(Owner::Ask(id));
        self.asks.insert(id, Open { key, to, ask, transaction, sent: 0, due: None, reused: true });
        self.go_on(now, id);
    }

    /// Forgets all questions under `key`; nothing more is said of them.
    pub fn cancel(&mut self, key: K) {
        let gone: Vec<u64> =
            self.asks.iter().filter(|(_, open)| open.key == key).map(|(id, _)| *id).collect();
        gone.into_iter().for_each(|id| drop(self.close(id)));
    }

    /// Says that nothing can be sent to `to`: the system has no way there, or refused the datagram.
    pub fn unreachable(&mut self, to: SocketAddr) {
        let to = canonical(to);
        self.drop_host(to);
        let lost: Vec<u64> = self.asks.iter().filter(|(_, open)| open.to == to).map(|(id, _)| *id).collect();
        lost.into_iter().for_each(|id| self.finish(id, Err(AskError::Unreachable)));
    }

    /// Takes a datagram; anything that is no answer to an open question is passed over.
    pub fn handle(&mut self, now: Time, from: SocketAddr, datagram: &[u8]) {
        let from = canonical(from);
        let Some(owner) = transaction(datagram).and_then(|id| self.owners.get(&id).copied()) else { return };
        let Ok(response) = parse_response(datagram, Family::of(from.ip())) else { return };
        match owner {
            Owner::Host(host) if host == from => self.host_answered(now, host, response.body),
            Owner::Ask(id) if self.asks.get(&id).is_some_and(|open| open.to == from) => {
                self.ask_answered(now, id, response.body);
            }
            _ => {}
        }
    }

    /// Does what is due. After a jump of the clock each question is sent once, not for every moment passed.
    pub fn tick(&mut self, now: Time) {
        while let Some((due, timer)) = self.timers.first().copied().filter(|(due, _)| *due <= now) {
            self.timers.remove(&(due, timer));
            match timer {
                Timer::Host(host) => self.host_due(now, host),
                Timer::Ask(id) => self.go_on(now, id),
            }
        }
    }

    /// When to call [`UdpClient::tick`] again.
    pub fn deadline(&self) -> Option<Time> {
        self.timers.first().map(|(due, _)| *due)
    }

    /// The next thing to do, until there is none.
    pub fn poll(&mut self) -> Option<Output<K>> {
        self.out.pop_front()
    }

    /// How many questions are open.
    pub fn open(&self) -> usize {
        self.asks.len()
    }

    /// Sends a question (again), or has it wait for a connection id, or gives it up.
    fn go_on(&mut self, now: Time, id: u64) {
        let Some(open) = self.asks.get_mut(&id) else { return };
        open.due = None;
        if open.sent >= self.config.tries {
            return self.finish(id, Err(AskError::Silent));
        }
        let (to, sent) = (open.to, open.sent);
        match self.hosts.get_mut(&to) {
            Some(Host { link: Link::Connected { connection, until }, .. }) if now < *until => {
                let connection = *connection;
                self.send(now, id, connection);
            }
            Some(Host { link: Link::Connecting { .. }, waiting }) => {
                open.reused = false;
                waiting.push(id);
            }
            _ => {
                open.reused = false;
                self.connect(now, to, sent, id);
            }
        }
    }

    fn send(&mut self, now: Time, id: u64, connection: u64) {
        let Some(open) = self.asks.get_mut(&id) else { return };
        let due = now + wait(&self.config, open.sent);
        open.sent += 1;
        open.due = Some(due);
        self.timers.insert((due, Timer::Ask(id)));
        let datagram = datagram(&open.ask, connection, open.transaction);
        self.out.push_back(Output::Send { to: open.to, datagram });
    }

    fn ask_answered(&mut self, now: Time, id: u64, body: Body<'_>) {
        let Some(open) = self.asks.get_mut(&id) else { return };
        match (body, &open.ask) {
            (Body::Announce(answer), Ask::Announce { .. }) => self.finish(id, Ok(Answer::Announce(answer))),
            (Body::Scrape(stats), Ask::Scrape(asked)) => {
                let stats = stats.iter().take(asked.len()).collect();
                self.finish(id, Ok(Answer::Scrape(stats)));
            }
            (Body::Error(_), _) if open.reused => self.start_over(now, id),
            (Body::Error(text), _) => self.finish(id, Err(AskError::Refused(text))),
            _ => {}
        }
    }

    /// Asks once more, with a new connection id.
    fn start_over(&mut self, now: Time, id: u64) {
        self.unschedule(id);
        let Some(open) = self.asks.get_mut(&id) else { return };
        open.sent = 0;
        let to = open.to;
        self.forget_connection(to);
        self.go_on(now, id);
    }

    fn finish(&mut self, id: u64, result: Result<Answer, AskError>) {
        if let Some(open) = self.close(id) {
            self.out.push_back(Output::Done { key: open.key, result });
        }
    }

    fn close(&mut self, id: u64) -> Option<Open<K>> {
        self.unschedule(id);
        let open = self.asks.remove(&id)?;
        self.owners.remove(&open.transaction);
        Some(open)
    }

    fn unschedule(&mut self, id: u64) {
        if let Some(due) = self.asks.get_mut(&id).and_then(|open| open.due.take()) {
            self.timers.remove(&(due, Timer::Ask(id)));
        }
    }

    /// A transaction id that is not in use.
    fn own(&mut self, owner: Owner) -> u32 {
        loop {
            let id = self.ids.next();
            if let std::collections::btree_map::Entry::Vacant(slot) = self.owners.entry(id) {
                slot.insert(owner);
                return id;
            }
        }
    }
}

/// How long to wait after the try before which `sent` others were made.
fn wait(config: &Config, sent: u8) -> Duration {
    let last = sent + 1 >= config.tries;
    if last { config.timeout } else { config.timeout.saturating_mul(1 << sent.min(8)) }
}

fn datagram(ask: &Ask, connection: u64, transaction: u32) -> Vec<u8> {
    let mut out = Vec::new();
    match ask {
        Ask::Announce { request, url_data } => {
            let mut options = Vec::new();
            write_url_data(url_data, &mut options);
            let options = Options::new(&options);
            Request::Announce { connection, transaction, request: **request, options }.write(&mut out);
        }
        Ask::Scrape(hashes) => {
            let packed: Vec<u8> = hashes.iter().flat_map(|hash| hash.0).collect();
            if let Some(hashes) = Hashes::new(&packed) {
                Request::Scrape { connection, transaction, hashes }.write(&mut out);
            }
        }
    }
    out
}

/// Without what tells IPv4 from IPv4 mapped into IPv6, and without flow and scope.
fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}
