//! A reader that goes through a torrent in order while peers of different speed bring it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::*;

const PIECES: u32 = 64;
const BLOCKS: u32 = 16;
/// Bytes of a piece: 256 KiB.
const PIECE: u64 = BLOCKS as u64 * BLOCK_LEN as u64;
/// From a request to its block, beside the time to send it.
const LATENCY: Duration = Duration::from_millis(50);
/// How far ahead the reader says what it needs.
const AHEAD: u32 = 16;

/// A seed that sends so many bytes a second, one block after the other.
struct Seed {
    rate: u64,
    queue: VecDeque<Block>,
    /// What it sends now, and when it is there.
    sending: Option<(Time, Block)>,
    was_idle: bool,
}

#[derive(Clone, Copy)]
enum Reading {
    /// In any order: the reader says nothing.
    Rarest,
    /// Pieces in order, without deadlines.
    Sequential,
    Deadlines,
}

struct Theatre {
    driver: Driver,
    seeds: BTreeMap<u64, Seed>,
    stored: BTreeMap<PieceIndex, BTreeSet<u32>>,
}

/// How it went, in milliseconds.
#[derive(Debug)]
struct Report {
    stalled: u64,
    whole: u64,
    wasted: u64,
}

impl Theatre {
    fn new(rates: &[u64], sequential: bool) -> Self {
        let mut driver = Driver::unready(PIECES, BLOCKS);
        driver.torrent.config.sequential = sequential;
        driver.give(Input::Ready { have: Bitfield::new(PIECES) });
        let mut theatre = Self { driver, seeds: BTreeMap::new(), stored: BTreeMap::new() };
        for (&rate, peer) in rates.iter().zip(1..) {
            theatre.seeds.insert(peer, Seed { rate, queue: VecDeque::new(), sending: None, was_idle: true });
            theatre.driver.join_as(peer, 100 + peer as u8, false);
            theatre.driver.event(peer, Event::HaveAll);
            let out = theatre.driver.event(peer, Event::Unchoke);
            theatre.obey(out);
        }
        theatre
    }

    fn obey(&mut self, out: Vec<Out>) {
        for output in out {
            match output {
                Output::Send { peer, command: Command::Request(block) } => {
                    self.seeds.get_mut(&peer.0).unwrap().queue.push_back(block);
                }
                Output::Send { peer, command: Command::Cancel(block) } => {
                    self.seeds.get_mut(&peer.0).unwrap().queue.retain(|b| *b != block);
                }
                Output::Store { block, .. } => self.store(block),
                _ => {}
            }
        }
        let now = self.driver.now;
        for seed in self.seeds.values_mut().filter(|seed| seed.sending.is_none()) {
            let took = Duration::from_micros(u64::from(BLOCK_LEN) * 1_000_000 / seed.rate);
            // The pipe is empty: the first block has all the way to go.
            let way = if seed.was_idle { LATENCY } else { Duration::ZERO };
            seed.sending = seed.queue.pop_front().map(|block| (now + way + took, block));
            seed.was_idle = seed.sending.is_none();
        }
    }

    fn store(&mut self, block: Block) {
        let blocks = self.stored.entry(block.piece).or_default();
        blocks.insert(block.index());
        if blocks.len() == BLOCKS as usize {
            let out = self.driver.verdict(block.piece.0, true, &[]);
            self.obey(out);
        }
    }

    /// Goes on to the next thing that happens, or to `until`.
    fn step(&mut self, until: Time) {
        let sent = self.seeds.iter().filter_map(|(peer, seed)| Some((seed.sending?.0, *peer))).min();
        let tick = self.driver.torrent.deadline().unwrap_or(until);
        let next = sent.map_or(until, |(at, _)| at).min(tick).min(until);
        self.driver.now = self.driver.now.max(next);
        let out = match sent {
            Some((at, peer)) if at <= next => {
                let seed = self.seeds.get_mut(&peer).unwrap();
                let (_, block) = seed.sending.take().unwrap();
                self.driver.bring(peer, block)
            }
            _ => self.driver.give(Input::Tick),
        };
        self.obey(out);
    }

    fn has(&self, piece: u32) -> bool {
        self.driver.torrent.have().unwrap().has(PieceIndex(piece))
    }

    fn look_ahead(&mut self, from: u32, each: Duration) {
        let ahead = (from..PIECES.min(from + AHEAD)).zip(0..);
        let deadlines = ahead.map(|(p, n)| (PieceIndex(p), self.driver.now + each * n)).collect();
        let out = self.driver.give(Input::Deadlines(deadlines));
        self.obey(out);
    }

    /// Reads all of it at `rate` bytes a second, and waits until everything is there.
    fn play(mut self, reading: Reading, rate: u64) -> Report {
        let (start, each) = (self.driver.now, Duration::from_micros(PIECE * 1_000_000 / rate));
        let (mut busy, mut piece) = (start, 0);
        while piece < PIECES {
            if matches!(reading, Reading::Deadlines) {
                self.look_ahead(piece, each);
            }
            while self.driver.now < busy || !self.has(piece) {
                self.step(if self.driver.now < busy { busy } else { Time::from_micros(u64::MAX) });
            }
            (busy, piece) = (self.driver.now + each, piece + 1);
        }
        let ended = busy;
        while !self.driver.torrent.is_complete() {
            self.step(Time::from_micros(u64::MAX));
        }
        let millis = |d: Duration| d.as_millis() as u64;
        let stalled = millis(ended.since(start)) - millis(each * PIECES);
        let wasted = self.driver.torrent.stats().wasted;
        Report { stalled, whole: millis(self.driver.now.since(start)), wasted }
    }
}

fn play(rates: &[u64], reading: Reading, rate: u64) -> Report {
    Theatre::new(rates, matches!(reading, Reading::Sequential)).play(reading, rate)
}

/// Milliseconds that a reader stalls and that all of it takes: rarest first, in order, and with deadlines.
fn compare(rates: &[u64], rate: u64) -> [(u64, u64); 3] {
    [Reading::Rarest, Reading::Sequential, Reading::Deadlines].map(|reading| {
        let (film, fastest) = (play(rates, reading, rate), play(rates, reading, 1 << 30));
        assert!(film.wasted < u64::from(PIECES) * PIECE / 16, "{film:?}");
        (film.stalled, fastest.whole)
    })
}

#[test]
fn one_quick_peer_among_slow_ones_is_enough_for_a_film() {
    let rates = [1_000_000, 30_000, 30_000, 30_000, 30_000, 30_000, 30_000];
    let [rarest, sequential, deadlines] = compare(&rates, 800_000);
    assert!(rarest.0 > 10_000 && sequential.0 > 8000, "{rarest:?} {sequential:?}");
    assert!(deadlines.0 < 1500, "{deadlines:?}");
    assert!(deadlines.1 <= rarest.1 * 105 / 100, "{deadlines:?} {rarest:?}");
}

#[test]
fn many_equal_peers_bring_a_film_together() {
    let [rarest, _, deadlines] = compare(&[120_000; 8], 700_000);
    assert!(rarest.0 > 10_000, "{rarest:?}");
    assert!(deadlines.0 < 5000, "{deadlines:?}");
    assert!(deadlines.1 <= rarest.1 * 105 / 100, "{deadlines:?} {rarest:?}");
}

#[test]
fn a_peer_that_never_answers_does_not_stop_a_film() {
    let report = play(&[1, 500_000, 500_000], Reading::Deadlines, 700_000);
    assert!(report.stalled < 2500, "{report:?}");
}
