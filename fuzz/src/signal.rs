//! WebTorrent's signalling against a naive model: who is in which swarm, and which answer finds its way.

use std::collections::BTreeMap;
use std::time::Duration;

use samara_proto::ids::WireHash;
use samara_proto::signal::{Config, ConnId, MAX_OFFERS, Output, Signal, Sizes};
use samara_proto::time::Time;

use super::input::Input;

/// The interval in seconds, of which three make a peer silent.
const INTERVAL: u32 = 60;

/// How long an offer can be answered.
const OFFER_LIFE: Duration = Duration::from_secs(120);

/// More than that and offers are held back or forgotten, which the model does not know.
const FEW_OFFERS: usize = 100;

/// A peer by connection, torrent and id.
type Key = (u64, u8, u8);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Leech,
    Partial,
    Seed,
}

struct World {
    signal: Signal,
    now: Time,
    /// Connections by slot.
    slots: [Option<u64>; 4],
    opened: u64,
    peers: BTreeMap<Key, (Stage, Time)>,
    /// Offers by receiving connection and number: torrent, who made it, and when.
    offers: BTreeMap<(u64, usize), (Key, Time)>,
    made: usize,
}

/// Runs one input.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let config = Config { interval: INTERVAL, ..Config::default() };
    let mut world = World {
        signal: Signal::new(config, input.long()),
        now: Time::ZERO,
        slots: [None; 4],
        opened: 0,
        peers: BTreeMap::new(),
        offers: BTreeMap::new(),
        made: 0,
    };
    while !input.is_empty() {
        world.step(&mut input);
        world.check();
    }
}

/// Twenty times the same letter.
fn text(n: u8) -> String {
    char::from(b'a' + n).to_string().repeat(20)
}

fn hash(n: u8) -> WireHash {
    WireHash([b'a' + n; 20])
}

fn member<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    text.split_once(&format!("\"{name}\":\""))?.1.split('"').next()
}

fn letter(text: Option<&str>) -> u8 {
    text.and_then(|text| text.bytes().next()).expect("an id") - b'a'
}

impl World {
    fn step(&mut self, input: &mut Input<'_>) {
        let kind = input.byte() % 8;
        let slot = usize::from(input.byte() % 4);
        match (kind, self.slots[slot]) {
            (0 | 1, Some(conn)) if input.flag() => self.close(slot, conn),
            (0 | 1, None) => self.open(slot),
            (2, _) => self.wait(Duration::from_millis(u64::from(input.short()) * 4)),
            (3, Some(conn)) => self.answer(conn, input),
            (4, Some(conn)) => self.raw(conn, input),
            (5, _) => self.revise(input.byte() % 3),
            (_, Some(conn)) => self.announce(conn, input),
            _ => {}
        }
    }

    fn open(&mut self, slot: usize) {
        self.signal.open(self.now, ConnId(self.opened));
        self.slots[slot] = Some(self.opened);
        self.opened += 1;
    }

    fn close(&mut self, slot: usize, conn: u64) {
        self.signal.close(ConnId(conn));
        self.slots[slot] = None;
        self.peers.retain(|key, _| key.0 != conn);
    }

    fn wait(&mut self, time: Duration) {
        self.now = self.now + time;
        self.signal.expire(self.now);
        let (now, patience) = (self.now, Duration::from_secs(u64::from(INTERVAL) * 3));
        self.peers.retain(|_, (_, heard)| *heard + patience > now);
    }

    fn revise(&mut self, banned: u8) {
        self.signal.revise(|h| *h != hash(banned));
        self.peers.retain(|key, _| key.1 != banned);
    }

    fn say(&mut self, conn: u64, message: &[u8]) -> Vec<Output> {
        self.signal.handle(self.now, ConnId(conn), message, |_| true);
        std::iter::from_fn(|| self.signal.poll()).collect()
    }

    fn raw(&mut self, conn: u64, input: &mut Input<'_>) {
        let len = input.below(512);
        let out = self.say(conn, input.bytes(len));
        // It may have been something that makes sense: the model knows no more who is there.
        assert!(out.len() <= 1 + MAX_OFFERS);
        for slot in 0..self.slots.len() {
            if let Some(conn) = self.slots[slot] {
                self.close(slot, conn);
            }
        }
    }

    fn announce(&mut self, conn: u64, input: &mut Input<'_>) {
        let (torrent, peer) = (input.byte() % 3, input.byte() % 3);
        let key = (conn, torrent, peer);
        let old = self.peers.get(&key).map(|peer| peer.0);
        let (event, left) = (input.byte() % 6, input.byte() % 3);
        let first = self.made;
        self.made += usize::from(input.byte()) % (MAX_OFFERS + 1);
        let event = ["started", "", "update", "completed", "paused", "stopped"][usize::from(event)];
        let stage = match (event, left) {
            ("completed", _) | (_, 0) => Stage::Seed,
            ("paused", _) => Stage::Partial,
            (_, 1) => Stage::Leech,
            _ => old.unwrap_or(Stage::Leech),
        };
        let left = ["0", "1", "null"][usize::from(left)];
        let offers: Vec<_> = (first..self.made)
            .map(|n| format!("{{\"offer\":{{\"sdp\":\"{n}\",\"type\":\"offer\"}},\"offer_id\":\"{n:020}\"}}"))
            .collect();
        let message = format!(
            "{{\"action\":\"announce\",\"event\":\"{event}\",\"left\":{left},\"info_hash\":\"{}\",\"peer_id\":\"{}\",\"offers\":[{}]}}",
            text(torrent),
            text(peer),
            offers.join(",")
        );
        let out = self.say(conn, message.as_bytes());
        assert_eq!(out[0].to, ConnId(conn));
        if event == "stopped" {
            self.peers.remove(&key);
            assert_eq!(out.len(), 1);
            return;
        }
        self.peers.insert(key, (stage, self.now));
        self.check_offers(key, stage, first, &out[1..]);
    }

    fn check_offers(&mut self, from: Key, stage: Stage, first: usize, out: &[Output]) {
        let fits = |key: &Key, other: Stage| {
            key.1 == from.1 && key.2 != from.2 && (stage == Stage::Leech || other == Stage::Leech)
        };
        for (n, Output { to, text }) in (first..self.made).zip(out) {
            assert_eq!(
                member(text, "offer_id"),
                Some(format!("{n:020}").as_str()),
                "each offer once, in order"
            );
            assert_eq!(member(text, "sdp"), Some(n.to_string().as_str()));
            assert_eq!(
                (letter(member(text, "info_hash")), letter(member(text, "peer_id"))),
                (from.1, from.2)
            );
            assert!(self.peers.iter().any(|(key, peer)| key.0 == to.0 && fits(key, peer.0)));
            self.offers.insert((to.0, n), (from, self.now));
        }
        let others = self.peers.iter().filter(|(key, peer)| fits(key, peer.0)).count();
        assert!(out.len() <= others.min(self.made - first));
        // Nobody but ghosts and the overburdened is passed over.
        let ghosts = self.peers.keys().filter(|key| key.1 == from.1 && key.2 == from.2).count();
        if self.made < FEW_OFFERS && ghosts <= 1 {
            assert_eq!(out.len(), others.min(self.made - first));
        }
    }

    fn answer(&mut self, conn: u64, input: &mut Input<'_>) {
        let (torrent, peer, to) = (input.byte() % 3, input.byte() % 3, input.byte() % 3);
        let number = self.made.saturating_sub(1 + usize::from(input.byte()));
        let message = format!(
            "{{\"action\":\"announce\",\"info_hash\":\"{}\",\"peer_id\":\"{}\",\"to_peer_id\":\"{}\",\"offer_id\":\"{number:020}\",\"answer\":{{\"type\":\"answer\",\"sdp\":\"yes\"}}}}",
            text(torrent),
            text(peer),
            text(to)
        );
        let out = self.say(conn, message.as_bytes());
        let Some(peer) = self.peers.get_mut(&(conn, torrent, peer)) else {
            assert_eq!((out.len(), out[0].to), (1, ConnId(conn)), "a refusal");
            return;
        };
        peer.1 = self.now;
        let offer = self.offers.get(&(conn, number)).copied();
        let offer = offer.filter(|(from, _)| (from.1, from.2) == (torrent, to));
        if offer.is_some() {
            self.offers.remove(&(conn, number));
        }
        let waits = |(from, at): &(Key, Time)| *at + OFFER_LIFE > self.now && self.peers.contains_key(from);
        let expected = offer.filter(waits).map(|(from, _)| ConnId(from.0));
        let found = out.first().map(|out| out.to);
        assert!(out.len() <= 1 && (found == expected || found.is_none() && self.made > FEW_OFFERS));
    }

    fn check(&self) {
        let mut swarms = 0;
        for torrent in 0..3 {
            let here = || self.peers.iter().filter(move |(key, _)| key.1 == torrent);
            let seeds = here().filter(|(_, peer)| peer.0 == Stage::Seed).count();
            let counts = self.signal.counts(&hash(torrent));
            assert_eq!(
                (counts.complete as usize, counts.incomplete as usize),
                (seeds, here().count() - seeds)
            );
            swarms += usize::from(here().next().is_some());
        }
        let connections = self.slots.iter().flatten().count();
        assert_eq!(self.signal.sizes(), Sizes { connections, swarms, peers: self.peers.len() });
        assert!(self.signal.deadline().is_none_or(|at| at > self.now));
    }
}
