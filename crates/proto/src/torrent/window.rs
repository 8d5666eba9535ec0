//! How many requests to keep under way with one peer.
//!
//! Too few and the pipe runs dry for a round trip; too many and blocks that a faster peer could bring wait in the
//! queue of a slow one, rarest first decides on old news, and a crowd fetches the same piece twice from its only seed.
//! Until the peer is measured the window doubles every round trip, as TCP's slow start does. Once a round brings no
//! more than the ones before, or blocks begin to wait at the peer, it follows the rate: what the peer sends in two
//! round trips and [`SLACK`]. Rivals take a fixed time (3 s in libtorrent, 10 s in Transmission).
//!
//! The round trip is the shortest of late from request to block, so that the queue we cause ourselves does not count
//! as distance (BBR's rule). When the shortest one is old, a round with half the window lets the queue drain and
//! measures anew.
//!
//! Rounds are counted as BBR counts them: one ends with the first block that was asked for after it began. Time
//! and sizes only; which blocks are asked for is the picker's choice. Tested with made-up pipes.

use std::time::Duration;

use super::rate::per_second;
use crate::ids::BLOCK_LEN;
use crate::time::Time;

/// Requests to begin with: 256 KiB, what TCP sends in its first round trips.
const INITIAL: u32 = 16;
/// Requests for a peer that keeps up; below it only what a slow peer sends in [`PATIENCE`].
const FLOOR: u32 = 8;
/// Requests for any peer, however slow.
const LEAST: u32 = 2;
/// What most clients keep if they do not say (libtorrent's and our own default for `reqq`).
const DEFAULT_REQQ: u32 = 250;
/// Never more than this, whatever the peer says it keeps: 32 MiB.
const CEILING: u32 = 2000;
/// Rounds without growth that end the slow start.
const FLAT_ROUNDS: u32 = 3;
/// What may wait at the peer beyond two round trips. An uplink that serves dozens of connections turns to each only
/// every few hundred milliseconds.
const SLACK: Duration = Duration::from_millis(300);
/// Longest time ahead of which is asked.
const FARTHEST: Duration = Duration::from_secs(4);
/// How long a slow peer's queue may last.
const PATIENCE: Duration = Duration::from_secs(4);
/// A round lasts at least this long once the window has settled, so that the rate is not noise.
const ROUND: Duration = Duration::from_millis(100);
/// A shortest round trip older than this is measured anew.
const ROUND_TRIP_LIFE: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Doubling; so many rounds in a row without growth.
    SlowStart { flat: u32 },
    /// Following the rate.
    Steady,
    /// One round with half the window, to see how short the round trip is.
    Probe,
    /// Silent for too long: one request, until a block comes.
    Snubbed,
}

/// The request window of one peer.
#[derive(Clone, Debug)]
pub(super) struct Window {
    size: u32,
    cap: u32,
    phase: Phase,
    round_start: Time,
    round_bytes: u64,
    /// Bytes a second: the best round in slow start, then smoothed over rounds.
    rate: u64,
    round_trip: Option<(Duration, Time)>,
}

impl Window {
    pub(super) const fn new(now: Time) -> Self {
        Self {
            size: INITIAL,
            cap: DEFAULT_REQQ,
            phase: Phase::SlowStart { flat: 0 },
            round_start: now,
            round_bytes: 0,
            rate: 0,
            round_trip: None,
        }
    }

    /// The peer said how many requests it keeps (`reqq`, BEP 10).
    pub(super) fn set_reqq(&mut self, reqq: u32) {
        self.cap = reqq.clamp(1, CEILING);
        self.size = self.size.min(self.cap);
    }

    /// Most requests under way.
    pub(super) const fn size(&self) -> u32 {
        self.size
    }

    /// How many to ask for now. Nothing until a quarter of the window is free, so that requests leave together.
    pub(super) fn room(&self, under_way: usize) -> usize {
        let free = (self.size as usize).saturating_sub(under_way);
        if free * 4 >= self.size as usize || under_way == 0 { free } else { 0 }
    }

    /// Bytes a second as last measured; 0 before the first round is over.
    pub(super) const fn rate(&self) -> u64 {
        self.rate
    }

    /// Shortest time from a request to its block of late.
    pub(super) fn round_trip(&self) -> Option<Duration> {
        self.round_trip.map(|(shortest, _)| shortest)
    }

    pub(super) fn is_snubbed(&self) -> bool {
        self.phase == Phase::Snubbed
    }

    /// The first requests after a pause leave now: a new round begins, and the idle time counts for nothing.
    pub(super) const fn begin(&mut self, now: Time) {
        self.round_start = now;
        self.round_bytes = 0;
    }

    /// A block came that was asked for at `asked`.
    pub(super) fn received(&mut self, now: Time, asked: Time, bytes: u32) {
        self.note_round_trip(now, now.since(asked));
        self.round_bytes += u64::from(bytes);
        match self.phase {
            Phase::Snubbed => self.recover(now),
            Phase::SlowStart { .. } if now.since(self.round_start) >= FARTHEST => self.settle(now),
            Phase::SlowStart { .. } if self.waits_at_the_peer(now.since(asked)) => self.settle(now),
            _ if asked >= self.round_start && self.round_is_long_enough(now) => self.end_round(now),
            _ => {}
        }
    }

    /// Nothing came for too long.
    pub(super) const fn snub(&mut self) {
        self.phase = Phase::Snubbed;
        self.size = 1;
        self.rate = 0;
    }

    fn recover(&mut self, now: Time) {
        self.phase = Phase::SlowStart { flat: 0 };
        self.size = LEAST.min(self.cap);
        self.begin(now);
    }

    fn note_round_trip(&mut self, now: Time, sample: Duration) {
        if self.round_trip.is_none_or(|(shortest, _)| sample <= shortest) {
            self.round_trip = Some((sample, now));
        }
    }

    /// A block took longer than the path explains, so more requests would only queue.
    fn waits_at_the_peer(&self, took: Duration) -> bool {
        took > self.ahead() + SLACK
    }

    fn round_is_long_enough(&self, now: Time) -> bool {
        self.phase != Phase::Steady || now.since(self.round_start) >= ROUND
    }

    /// A round that takes so long waits for the peer, not for the path: more requests bring nothing.
    fn settle(&mut self, now: Time) {
        self.rate = per_second(self.round_bytes, now.since(self.round_start));
        self.phase = Phase::Steady;
        self.size = self.target();
        self.begin(now);
    }

    fn end_round(&mut self, now: Time) {
        let sample = per_second(self.round_bytes, now.since(self.round_start));
        match self.phase {
            Phase::SlowStart { flat } => self.slow_start(sample, flat),
            Phase::Steady => self.follow(now, sample),
            Phase::Probe | Phase::Snubbed => {
                self.phase = Phase::Steady;
                self.size = self.target();
            }
        }
        self.begin(now);
    }

    fn follow(&mut self, now: Time, sample: u64) {
        self.rate = (self.rate.saturating_mul(3).saturating_add(sample)) / 4;
        self.size = self.target();
        if self.round_trip.is_some_and(|(_, at)| now.since(at) > ROUND_TRIP_LIFE) {
            self.round_trip = None;
            self.phase = Phase::Probe;
            self.size = (self.size / 2).max(LEAST).min(self.cap);
        }
    }

    /// Doubles while a round brings a quarter more than the best before.
    fn slow_start(&mut self, sample: u64, flat: u32) {
        let grew = sample > self.rate.saturating_add(self.rate / 4);
        self.rate = self.rate.max(sample);
        let flat = if grew { 0 } else { flat + 1 };
        if flat >= FLAT_ROUNDS {
            self.phase = Phase::Steady;
            self.size = self.target();
        } else {
            self.phase = Phase::SlowStart { flat };
            self.size = self.size.saturating_mul(2).min(self.cap).max(self.target());
        }
    }

    /// What follows from rate and round trip.
    fn target(&self) -> u32 {
        let floor = self.blocks_in(PATIENCE).clamp(LEAST, FLOOR);
        self.blocks_in(self.ahead()).max(floor).min(self.cap)
    }

    /// Time ahead of which is asked.
    fn ahead(&self) -> Duration {
        (self.round_trip().unwrap_or_default() * 2 + SLACK).min(FARTHEST)
    }

    fn blocks_in(&self, time: Duration) -> u32 {
        let bytes = u128::from(self.rate) * time.as_micros() / 1_000_000;
        u32::try_from(bytes / u128::from(BLOCK_LEN) + 1).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// A peer that sends one block every `gap`, each no sooner than `delay` after its request. Returns the window
    /// after `blocks` blocks and the rate that was reached, in bytes a second.
    fn run(window: &mut Window, delay: Duration, gap: Duration, blocks: usize) -> u64 {
        let (mut now, mut free_at) = (Time::ZERO, Time::ZERO);
        let mut queue: VecDeque<Time> = VecDeque::new();
        for _ in 0..blocks {
            (0..window.room(queue.len())).for_each(|_| queue.push_back(now));
            let asked = queue.pop_front().expect("the window never closes");
            now = (asked + delay).max(free_at + gap);
            free_at = now;
            window.received(now, asked, BLOCK_LEN);
        }
        per_second(blocks as u64 * u64::from(BLOCK_LEN), now.since(Time::ZERO))
    }

    #[test]
    fn fills_a_long_fat_pipe() {
        let mut window = Window::new(Time::ZERO);
        window.set_reqq(2000);
        // 100 MB/s at 200 ms: 1220 blocks fit into the pipe.
        let rate = run(&mut window, Duration::from_millis(200), Duration::from_micros(164), 30_000);
        assert!(window.size() >= 1220, "{}", window.size());
        assert!(rate > 75_000_000, "{rate}");
    }

    #[test]
    fn opens_wide_on_a_local_net_within_a_few_thousand_blocks() {
        let mut window = Window::new(Time::ZERO);
        window.set_reqq(2000);
        run(&mut window, Duration::from_micros(100), Duration::from_micros(15), 2000);
        assert!(window.size() >= 512, "{}", window.size());
    }

    #[test]
    fn a_slow_peer_gets_little() {
        let mut window = Window::new(Time::ZERO);
        run(&mut window, Duration::from_millis(50), Duration::from_secs(2), 200);
        assert!((LEAST..=6).contains(&window.size()), "{}", window.size());
    }

    #[test]
    fn never_above_what_the_peer_keeps() {
        let mut window = Window::new(Time::ZERO);
        run(&mut window, Duration::from_millis(1), Duration::from_micros(15), 10_000);
        assert_eq!(window.size(), DEFAULT_REQQ);
        window.set_reqq(5);
        assert_eq!(window.size(), 5);
        run(&mut window, Duration::from_millis(1), Duration::from_micros(15), 1000);
        assert_eq!(window.size(), 5);
    }

    #[test]
    fn refills_by_quarters() {
        let window = Window::new(Time::ZERO);
        assert_eq!(window.room(0), 16);
        assert_eq!(window.room(13), 0);
        assert_eq!(window.room(12), 4);
        assert_eq!(window.room(100), 0);
    }

    #[test]
    fn a_snubbed_peer_keeps_one_request_and_comes_back() {
        let mut window = Window::new(Time::ZERO);
        window.snub();
        assert_eq!((window.size(), window.room(0), window.room(1)), (1, 1, 0));
        window.received(Time::from_micros(9), Time::ZERO, BLOCK_LEN);
        assert!(!window.is_snubbed() && window.size() == 2);
    }
}
