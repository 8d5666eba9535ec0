//! The swarms, as all threads of all front ends share them.
//!
//! Swarms are split by a keyed hash of their name into shards, each behind a lock of its own that is held for one short
//! operation; so two threads seldom meet, and nobody can choose names that fall into one shard. One thread sweeps out
//! who is silent.
//!
//! Or the swarms are elsewhere (`remote/`), for several hubs together. Then answers come later: whoever asks says what is
//! to be done with them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{fmt, io};

use samara_proto::ids::WireHash;
use samara_proto::redis::swarm::{Query, Rules};
use samara_proto::siphash::Key;
use samara_proto::swarms::{self, Announce, Ask, Counts, Cursor, Event, Saved, Stats, Swarms};
use samara_proto::time::Time;
use samara_proto::tracker::Family;

use crate::clock::Clock;
use crate::config::{Config, Place};
use crate::remote::{Condition, Question, Remote, Settings};
pub(crate) use crate::remote::{Outcome, WhenAllKnown};

/// Shards for each worker: two of them want the same one at the same time once in many times.
const SHARDS_PER_WORKER: usize = 8;
const MAX_SHARDS: usize = 256;

/// Most peers of one host in a swarm: some families of a carrier's translated addresses, and no flood.
const PER_HOST: usize = 64;

/// Steps of sweeping for which a lock is held: some tens of microseconds.
const STEPS: usize = 128;

/// Peers saved while a lock is held.
const SAVED: usize = 1000;

/// How long swarms elsewhere have to answer: clients hang up after some seconds, and servers answer in milliseconds.
const TIMEOUT: Duration = Duration::from_secs(1);

/// What a front end tells a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// Seconds until it shall announce again.
    pub(crate) interval: u32,
    /// The size of the swarm in the peer's family, and how many bytes of peers were packed.
    pub(crate) counts: Counts,
}

/// The store cannot be asked at present: the client is told to come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the tracker's store does not answer: try again later")]
pub(crate) struct Unavailable;

/// What an announce leads to when it comes later: what is told, and the packed peers.
pub(crate) type WhenTold = Box<dyn FnOnce(Result<(Told, Vec<u8>), Unavailable>) + Send>;

/// What an announce to both families leads to when it comes later: the interval, and what is known.
pub(crate) type WhenBoth = Box<dyn FnOnce(Result<(u32, Outcome<'_>), Unavailable>) + Send>;

/// What a scrape leads to when it comes later: the sizes, in the order of asking.
pub(crate) type WhenCounted = Box<dyn FnOnce(Result<Vec<Counts>, Unavailable>) + Send>;

/// An answer, or the promise of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked<T> {
    /// It is here.
    Done(T),
    /// It goes to what the caller gave for that.
    Later,
}

/// The shared store.
pub(crate) struct Store {
    shards: Vec<Shard>,
    key: Key,
    /// Least interval to tell, and how far it varies, in seconds.
    interval: (u32, u32),
    /// Between two sweeps.
    pause: Duration,
    /// If the swarms are elsewhere; nothing is in the shards then.
    remote: Option<Remote>,
}

/// A lock of its own line of the processor's cache.
#[repr(align(128))]
struct Shard(Mutex<Swarms>);

impl fmt::Debug for Store {
    /// Peers' addresses are nobody's business.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("shards", &self.shards.len()).finish_non_exhaustive()
    }
}

impl Store {
    /// An empty store, or one that begins to connect to where the swarms are.
    ///
    /// # Errors
    /// If the system gives no random bytes, or no thread.
    pub(crate) fn new(config: &Config, clock: Clock) -> io::Result<Arc<Self>> {
        let mut secrets = [[0; 16]; 2];
        getrandom::fill(secrets.as_flattened_mut()).map_err(|error| io::Error::other(error.to_string()))?;
        Self::with_secrets(config, clock, secrets)
    }

    /// The same, with all that is left to chance decided by `secrets`.
    pub(crate) fn with_secrets(
        config: &Config,
        clock: Clock,
        secrets: [[u8; 16]; 2],
    ) -> io::Result<Arc<Self>> {
        let remote = remote(config, clock, Key::new(secrets[0]).sip24(b"remote"))?;
        let memory = match remote {
            Some(_) => swarms::MIN_BYTES,
            None => usize::try_from(config.memory.bytes()).unwrap_or(usize::MAX),
        };
        let most = (memory / swarms::MIN_BYTES).clamp(1, MAX_SHARDS);
        let wanted = (usize::from(config.workers) * SHARDS_PER_WORKER).next_power_of_two();
        // A power of two that the memory allows.
        let count = wanted.min(1 << most.ilog2());
        let lifetime = config.interval.duration();
        let shard = |_| {
            let [secret, _] = secrets;
            let max_bytes = memory / count;
            let config = swarms::Config { lifetime, max_bytes, per_host: PER_HOST, secret };
            Shard(Mutex::new(Swarms::new(&config, clock.now())))
        };
        Ok(Arc::new(Self {
            shards: (0..count).map(shard).collect(),
            key: Key::new(secrets[1]),
            interval: told_interval(lifetime),
            pause: (lifetime / 256).clamp(Duration::from_millis(10), Duration::from_secs(10)),
            remote,
        }))
    }

    /// Takes note of an announce, and packs peers of its family into `peers`: see [`Swarms::announce`]. If that takes
    /// longer, `later` says what is to be done with the answer.
    pub(crate) fn announce(
        &self,
        now: Time,
        announce: &Announce,
        peers: &mut [u8],
        later: impl FnOnce() -> WhenTold,
    ) -> Asked<Told> {
        let interval = self.interval(now, announce.peer.port());
        if let Some(remote) = &self.remote {
            let query = Query::Announce { announce: *announce, both: false };
            remote.ask(one(query, interval, later()));
            return Asked::Later;
        }
        let counts = self.shard(&announce.hash).announce(now, announce, peers);
        Asked::Done(Told { interval, counts })
    }

    /// The same, and packs peers of the other family into `other` where their own do not suffice.
    pub(crate) fn announce_to_both(
        &self,
        now: Time,
        announce: &Announce,
        own: &mut [u8],
        other: &mut [u8],
        later: impl FnOnce() -> WhenBoth,
    ) -> Asked<(u32, [Counts; 2])> {
        let interval = self.interval(now, announce.peer.port());
        if let Some(remote) = &self.remote {
            let (query, then) = (Query::Announce { announce: *announce, both: true }, later());
            let known = move |outcome: Result<Outcome<'_>, Unavailable>| then(outcome.map(|o| (interval, o)));
            remote.ask(Question::One(query, Box::new(known)));
            return Asked::Later;
        }
        let family = Family::of(announce.peer.ip());
        let mut shard = self.shard(&announce.hash);
        let mine = shard.announce(now, announce, own);
        // Who leaves is told of nobody.
        let want = if announce.event == Event::Stopped { 0 } else { announce.want };
        let want = want.saturating_sub(mine.peers / family.peer_len());
        let ask = Ask { hash: announce.hash, family: family.other(), role: announce.role, want };
        Asked::Done((interval, [mine, shard.peers(now, &ask, other)]))
    }

    /// The sizes of swarms, IPv4 and IPv6, into `counts`, one for each hash.
    pub(crate) fn sizes(
        &self,
        hashes: &[WireHash],
        counts: &mut Vec<[Counts; 2]>,
        later: impl FnOnce() -> WhenAllKnown,
    ) -> Asked<()> {
        if let Some(remote) = &self.remote {
            remote.ask(Question::Sizes(hashes.to_vec(), later()));
            return Asked::Later;
        }
        counts.extend(hashes.iter().map(|hash| {
            let shard = self.shard(hash);
            [Family::V4, Family::V6].map(|family| shard.scrape(hash, family))
        }));
        Asked::Done(())
    }

    /// The sizes of swarms in one family, into `counts`, one for each hash.
    pub(crate) fn scrape(
        &self,
        hashes: impl Iterator<Item = WireHash>,
        family: Family,
        counts: &mut Vec<Counts>,
        later: impl FnOnce() -> WhenCounted,
    ) -> Asked<()> {
        if let Some(remote) = &self.remote {
            let then = later();
            let known = move |counts: Result<&[[Counts; 2]], Unavailable>| {
                let of = |[v4, v6]: &[Counts; 2]| if family == Family::V4 { *v4 } else { *v6 };
                then(counts.map(|counts| counts.iter().map(of).collect()));
            };
            remote.ask(Question::Sizes(hashes.collect(), Box::new(known)));
            return Asked::Later;
        }
        counts.extend(hashes.map(|hash| self.shard(&hash).scrape(&hash, family)));
        Asked::Done(())
    }

    /// How much is held, summed over the shards, each at its own moment.
    pub(crate) fn stats(&self) -> Stats {
        self.shards.iter().fold(Stats::default(), |sum, shard| sum + lock(shard).stats())
    }

    /// Gives every swarm of each family to `each`, without holding a lock for long.
    pub(crate) fn save(&self, clock: Clock, mut each: impl FnMut(&Saved)) {
        for shard in &self.shards {
            let mut cursor = Some(Cursor::START);
            while let Some(from) = cursor {
                let mut swarms = Vec::new();
                cursor = lock(shard).save(clock.now(), from, SAVED, |swarm| swarms.push(swarm.clone()));
                swarms.iter().for_each(&mut each);
            }
        }
    }

    /// Puts a saved swarm back: see [`Swarms::restore`].
    pub(crate) fn restore(&self, now: Time, saved: &Saved) {
        self.shard(&saved.hash).restore(now, saved);
    }

    /// Forgets who is silent.
    pub(crate) fn sweep(&self, clock: Clock) {
        for shard in &self.shards {
            while lock(shard).sweep(clock.now(), STEPS) {}
        }
    }

    /// How the servers are where the swarms are, if they are elsewhere.
    pub(crate) fn remote(&self) -> Option<&Condition> {
        self.remote.as_ref().map(Remote::condition)
    }

    /// Whether it can be asked.
    pub(crate) fn is_up(&self) -> bool {
        self.remote().is_none_or(Condition::is_up)
    }

    /// Ends what belongs to it.
    pub(crate) fn stop(&self) {
        self.remote.iter().for_each(Remote::stop);
    }

    /// How long to wait between two sweeps.
    pub(crate) const fn pause(&self) -> Duration {
        self.pause
    }

    fn shard(&self, hash: &WireHash) -> MutexGuard<'_, Swarms> {
        lock(&self.shards[self.key.sip13(&hash.0) as usize & (self.shards.len() - 1)])
    }

    /// Spread, so that those who came at once do not come at once again.
    fn interval(&self, now: Time, salt: u16) -> u32 {
        let (least, range) = self.interval;
        let lot = (now.as_micros() ^ u64::from(salt) << 32).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        least + ((lot * u64::from(range)) >> 32) as u32
    }
}

/// What reaches swarms that are elsewhere, as the operator wants it.
fn remote(config: &Config, clock: Clock, seed: u64) -> io::Result<Option<Remote>> {
    let Place::Redis(servers) = &config.store else { return Ok(None) };
    let lifetime = u32::try_from(config.interval.as_secs()).unwrap_or(u32::MAX);
    let rules = Rules { prefix: config.store_prefix.as_str().into(), lifetime };
    let settings = Settings { servers: servers.clone(), rules, timeout: TIMEOUT };
    Remote::start(settings, clock, seed).map(Some)
}

/// A question about one swarm, whose answer goes to `then`.
fn one(query: Query, interval: u32, then: WhenTold) -> Question {
    let known = move |outcome: Result<Outcome<'_>, Unavailable>| {
        then(outcome.map(|outcome| (Told { interval, counts: outcome.own.0 }, outcome.own.1.to_vec())));
    };
    Question::One(query, Box::new(known))
}

/// From three quarters of the lifetime to 17/20: what is left suffices to send a lost announce four more times (BEP 15:
/// within 225 s) at the default, and nobody is known for longer than he said he would be silent.
fn told_interval(lifetime: Duration) -> (u32, u32) {
    let seconds = lifetime.as_secs();
    let (least, most) = (seconds * 3 / 4, seconds * 17 / 20);
    let bound = |n: u64| u32::try_from(n).unwrap_or(u32::MAX).max(1);
    (bound(least), bound(most) - bound(least) + 1)
}

fn lock(shard: &Shard) -> MutexGuard<'_, Swarms> {
    // Every operation leaves a shard whole, or the process ends.
    shard.0.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::net::SocketAddr;

    use samara_proto::swarms::Role;

    use super::*;
    use crate::config::Options;

    fn store() -> (Arc<Store>, Clock) {
        let (config, clock) = (Config::new(Options::default()).unwrap(), Clock::start());
        (Store::new(&config, clock).unwrap(), clock)
    }

    fn announce(store: &Store, clock: Clock, n: u8, addr: &str, role: Role) -> (Told, Vec<u8>) {
        let hash = WireHash([n; 20]);
        let announce = Announce { hash, peer: addr.parse().unwrap(), event: Event::Started, role, want: 50 };
        let mut peers = [0; 300];
        let asked = store.announce(clock.now(), &announce, &mut peers, || unreachable!());
        let Asked::Done(told) = asked else { panic!("in memory nothing is late") };
        (told, peers[..told.counts.peers].to_vec())
    }

    #[test]
    fn peers_of_a_swarm_are_told_of_each_other_and_counted() {
        let (store, clock) = store();
        for n in 0..100 {
            announce(&store, clock, n, "192.0.2.1:1", Role::Seed);
            let (told, peers) = announce(&store, clock, n, "192.0.2.2:2", Role::Leech);
            assert_eq!(peers, [192, 0, 2, 1, 0, 1]);
            assert_eq!((told.counts.complete, told.counts.incomplete), (1, 1));
            assert!(announce(&store, clock, n, "[2001:db8::1]:1", Role::Seed).1.is_empty());
        }
        let mut counts = Vec::new();
        let hashes = [1, 200, 2].map(|n| WireHash([n; 20]));
        store.scrape(hashes.into_iter(), Family::V4, &mut counts, || unreachable!());
        assert_eq!(counts.iter().map(|c| c.complete).collect::<Vec<_>>(), [1, 0, 1]);
        let stats = store.stats();
        assert_eq!((stats.v4.swarms, stats.v4.leeches, stats.v6.seeds), (100, 100, 100));
        let (mut own, mut other) = ([0; 36], [0; 36]);
        let (hash, peer) = (hashes[0], "192.0.2.2:2".parse().unwrap());
        let announce = Announce { hash, peer, event: Event::None, role: Role::Leech, want: 9 };
        let asked = store.announce_to_both(clock.now(), &announce, &mut own, &mut other, || unreachable!());
        let Asked::Done((_, [mine, others])) = asked else { panic!("in memory nothing is late") };
        assert_eq!((mine.peers, others.peers, others.complete), (6, 18, 1));
        let mut sizes = Vec::new();
        store.sizes(&hashes, &mut sizes, || unreachable!());
        let seeds = |counts: &[Counts; 2]| counts.map(|c| c.complete);
        assert_eq!(sizes.iter().map(seeds).collect::<Vec<_>>(), [[1, 1], [0, 0], [1, 1]]);
    }

    #[test]
    fn what_is_saved_is_there_again() {
        let (store, clock) = store();
        let addrs: HashSet<SocketAddr> =
            (1..3000).map(|port| SocketAddr::new([10, 0, (port % 250) as u8, 1].into(), port)).collect();
        addrs.iter().for_each(|addr| {
            announce(&store, clock, (addr.port() % 200) as u8, &addr.to_string(), Role::Leech);
        });
        let (other, clock) = self::store();
        store.save(clock, |swarm| other.restore(clock.now(), swarm));
        let mut seen = HashSet::new();
        other.save(clock, |swarm| seen.extend(swarm.peers.iter().map(|peer| peer.addr)));
        assert_eq!(seen, addrs);
    }

    #[test]
    fn intervals_are_spread_below_the_lifetime() {
        let (store, _) = store();
        let told: HashSet<u32> =
            (0..1000).map(|n| store.interval(Time::from_micros(n * 7), n as u16)).collect();
        assert!(told.len() > 100 && told.iter().all(|n| (1350..=1530).contains(n)), "{told:?}");
        assert_eq!(told_interval(Duration::from_secs(1)), (1, 1));
    }
}
