//! A client of Redis: whatever servers say and however it is cut, every request has one outcome, and in time.

use std::collections::BTreeMap;
use std::time::Duration;

use samara_proto::ids::WireHash;
use samara_proto::redis::swarm::{Call, Query, Rules, read_answer};
use samara_proto::redis::{Client, Config, Failure, NodeId, Output, Reader, Reply, Servers};
use samara_proto::time::Time;
use samara_proto::tracker::Family;

use super::input::Input;

const TIMEOUT: Duration = Duration::from_secs(1);

/// Runs one input: what the servers of a client do, byte by byte; as replies in two splits; and as addresses.
pub fn run(data: &[u8]) {
    let whole = replies(&[data]);
    let bytes: Vec<&[u8]> = data.chunks(1).collect();
    assert_eq!(whole, replies(&bytes), "fed in any split = fed whole");
    if let Some(servers) = std::str::from_utf8(data).ok().and_then(|text| text.parse::<Servers>().ok()) {
        let again: Servers = servers.to_string().parse().expect("what is shown can be read");
        assert_eq!((again.hosts, again.db, again.cluster), (servers.hosts, servers.db, servers.cluster));
    }
    for family in [Family::V4, Family::V6] {
        if let Ok((own, _)) = read_answer(&Reply::Bulk(data), family) {
            assert!(own.peers.len() == own.counts.peers && own.peers.len() % family.peer_len() == 0);
        }
    }
    for cluster in [false, true] {
        Shell::new(cluster).run(&mut Input(data));
    }
}

fn replies(pieces: &[&[u8]]) -> (Vec<String>, bool) {
    let (mut reader, mut out) = (Reader::default(), Vec::new());
    for piece in pieces {
        reader.push(piece);
        loop {
            match reader.next_reply() {
                Ok(Some(reply)) => out.push(format!("{reply:?}")),
                Ok(None) => break,
                Err(_) => return (out, false),
            }
        }
    }
    (out, true)
}

struct Shell {
    client: Client,
    now: Time,
    /// Connections by server.
    lines: BTreeMap<NodeId, u64>,
    open: BTreeMap<u64, Time>,
    tickets: u64,
}

impl Shell {
    fn new(cluster: bool) -> Self {
        let address = if cluster { "redis://a:1,b:2" } else { "redis://u:p@a:1/2" };
        let servers = address.parse().expect("a good address");
        let config = Config { servers, timeout: TIMEOUT, max_requests: 20 };
        let now = Time::from_micros(1);
        Self {
            client: Client::new(config, 1),
            now,
            lines: BTreeMap::new(),
            open: BTreeMap::new(),
            tickets: 0,
        }
    }

    fn run(&mut self, input: &mut Input<'_>) {
        self.turn(|_, _, _| ());
        while !input.is_empty() {
            match input.byte() % 8 {
                0 | 1 => self.ask(input.byte()),
                2 => {
                    let time = Duration::from_millis(input.short().into());
                    self.pass(time);
                }
                3 => self
                    .each(input, |client, now, node, attempt, _, sink| client.lost(now, node, attempt, sink)),
                _ => self
                    .each(input, |client, now, node, _, bytes, sink| client.received(now, node, bytes, sink)),
            }
        }
        self.pass(TIMEOUT);
        assert!(self.open.is_empty() && self.client.requests() == 0, "a request without an outcome");
    }

    fn ask(&mut self, n: u8) {
        let rules = Rules { prefix: "".into(), lifetime: 60 };
        let call = Call::new(&rules, &Query::Scrape(WireHash([n; 20])), 0);
        self.tickets += 1;
        if self.client.request(self.now, self.tickets, call).is_ok() {
            self.open.insert(self.tickets, self.now);
        }
        self.turn(|_, _, _| ());
    }

    /// One of the connections, and up to 63 bytes that came over it.
    fn each(
        &mut self,
        input: &mut Input<'_>,
        what: impl FnOnce(&mut Client, Time, NodeId, u64, &[u8], &mut dyn FnMut(u64, Result<Reply<'_>, Failure>)),
    ) {
        let at = input.byte();
        let bytes = input.bytes(usize::from(at >> 2));
        let Some((node, attempt)) = self.lines.iter().nth(usize::from(at & 3)).map(|(n, a)| (*n, *a)) else {
            return;
        };
        self.turn(|client, now, sink| what(client, now, node, attempt, bytes, sink));
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(deadline) = self.client.deadline().filter(|deadline| *deadline <= end) {
            self.now = self.now.max(deadline);
            self.turn(|_, _, _| ());
        }
        self.now = end;
        self.turn(|_, _, _| ());
    }

    /// Does one thing, and what follows from it.
    fn turn(
        &mut self,
        what: impl FnOnce(&mut Client, Time, &mut dyn FnMut(u64, Result<Reply<'_>, Failure>)),
    ) {
        let (open, now) = (&mut self.open, self.now);
        let mut sink = |ticket: u64, _: Result<Reply<'_>, Failure>| {
            let since = open.remove(&ticket).expect("one outcome for an open request");
            assert!(now.since(since) <= TIMEOUT);
        };
        what(&mut self.client, now, &mut sink);
        self.client.tick(now, &mut sink);
        while let Some(output) = self.client.poll() {
            match output {
                Output::Connect { node, attempt, host } => {
                    assert!(!host.name.is_empty() && host.port != 0 && !self.lines.contains_key(&node));
                    self.lines.insert(node, attempt);
                    self.client.connected(node, attempt);
                }
                Output::Close(node) => drop(self.lines.remove(&node)),
                Output::Up(_) | Output::Down(..) => {}
            }
        }
        assert!(self.lines.len() <= 1024);
        for node in self.lines.keys() {
            let len = self.client.outgoing(*node).len();
            self.client.sent(*node, len);
        }
    }
}
