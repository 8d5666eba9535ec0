//! What the DHT does for the torrents of a client: tells of them, and finds them peers.
//!
//! A torrent that is not private is announced from when it is added until it ends, awake or not, under each of its
//! hashes and in each family; the node does it again every quarter of an hour. A download that lacks peers looks again
//! sooner: after a quarter of a minute at first, then at growing intervals, so that a torrent nobody has costs little.
//!
//! Ten thousand torrents must not be in the way of one that somebody waits for: those that want little begin one after
//! the other. Who does not listen has nothing to announce, and only looks for peers.
//!
//! Peers that are found do not wake a torrent that rests: who wants something of it finds and calls us.
//!
//! Tested below, and with sockets in `tests/dht.rs`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use samara_proto::dht::dual;
use samara_proto::dht::node::{Announce, Ask, Op};
use samara_proto::ids::{InfoHashes, NodeId};
use samara_proto::time::Time;
use samara_proto::torrent::Source;
use samara_proto::tracker::Family;
use samara_proto::tracker::announcer::Need;
use samara_proto::tracker::fleet::TorrentKey;

use super::api::Answer;
use super::task::FAMILIES;
use crate::client::Shared;
use crate::desk::{Notes, PublicNote};
use crate::entry::{Entry, Look};
use crate::torrent::ToTorrent;

/// First runs of torrents that want little which are under way at once: half of what a node looks up at once.
const STARTING: usize = 8;

/// How soon one who lacks peers looks again: at first, and at most. Twice as long each time.
const AGAIN: (Duration, Duration) = (Duration::from_secs(15), Duration::from_secs(15 * 60));

/// How soon at first one who has peers but knows of few others.
const AGAIN_FED: Duration = Duration::from_secs(4 * 60);

/// What an operation of a node is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Run {
    /// The first of an announce.
    First,
    /// An announce that was made before.
    Again,
    /// A look for peers between two announces.
    Search,
}

/// A torrent that is not private.
#[derive(Debug)]
struct Torrent {
    entry: Arc<Entry>,
    hashes: InfoHashes,
    need: Need,
    /// It was begun: its announces stand.
    begun: bool,
    /// Everything that goes on for it.
    ops: Vec<(Family, Op)>,
    /// When somebody was looked for last.
    last: Time,
    /// How long to wait before that is done again, and when it is done, if that is set.
    wait: Duration,
    search: Option<Time>,
}

/// All torrents.
#[derive(Debug)]
pub(crate) struct Torrents {
    shared: Arc<Shared>,
    /// The port to tell of; `None` if we do not listen.
    port: Option<u16>,
    torrents: BTreeMap<TorrentKey, Torrent>,
    ops: BTreeMap<(Family, Op), (TorrentKey, Run)>,
    /// Those that want little and were not begun.
    waiting: VecDeque<TorrentKey>,
    starting: usize,
    /// When those that lack peers look again.
    searches: BTreeSet<(Time, TorrentKey)>,
}

impl Torrents {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            port: shared.port,
            shared,
            torrents: BTreeMap::new(),
            ops: BTreeMap::new(),
            waiting: VecDeque::new(),
            starting: 0,
            searches: BTreeSet::new(),
        }
    }

    /// Waits for what torrents say. Cancel safe.
    pub(super) async fn said(&self) -> Notes<PublicNote> {
        self.shared.desk.dht.take().await
    }

    /// Nobody listens any more.
    pub(super) fn close(&self) {
        self.shared.desk.dht.close();
    }

    /// Takes what they said.
    pub(super) fn take(&mut self, now: Time, dht: &mut dual::Dht, notes: BTreeMap<TorrentKey, PublicNote>) {
        for (torrent, note) in notes {
            self.note(now, dht, torrent, note);
        }
        self.begin_waiting(now, dht);
    }

    /// When to come back.
    pub(super) fn due(&self) -> Option<Time> {
        self.searches.first().map(|(at, _)| *at)
    }

    /// Lets those look for peers whose time it is.
    pub(super) fn tick(&mut self, now: Time, dht: &mut dual::Dht) {
        while let Some((at, key)) = self.searches.first().copied().filter(|(at, _)| *at <= now) {
            self.searches.remove(&(at, key));
            self.torrents.get_mut(&key).into_iter().for_each(|torrent| torrent.search = None);
            self.search(now, dht, key);
        }
    }

    /// Takes an answer, if it is for a torrent; else it comes back.
    pub(super) fn answer(
        &mut self,
        now: Time,
        dht: &mut dual::Dht,
        (family, op): (Family, Op),
        answer: Answer,
    ) -> Option<Answer> {
        let Some((key, run)) = self.ops.get(&(family, op)).copied() else { return Some(answer) };
        match answer {
            Answer::Peers(peers) => self.peers(key, peers),
            Answer::Done { .. } => {
                self.done(now, key, (family, op), run);
                self.begin_waiting(now, dht);
            }
            _ => {}
        }
        None
    }

    fn note(&mut self, now: Time, dht: &mut dual::Dht, key: TorrentKey, note: PublicNote) {
        if let (Some(entry), Some(hashes)) = (note.add, note.hashes) {
            self.add(key, entry, hashes);
        }
        let Some(torrent) = self.torrents.get_mut(&key) else { return };
        if note.stop {
            return self.stop(dht, key);
        }
        torrent.need = note.need.unwrap_or(torrent.need);
        let hashes = note.hashes.unwrap_or(torrent.hashes);
        let renamed = std::mem::replace(&mut torrent.hashes, hashes) != hashes;
        // What others were told is true no more.
        if torrent.begun && (renamed || note.completed) {
            self.end_ops(dht, key);
            self.begin(now, dht, key);
        }
        self.consider(now, dht, key);
    }

    fn add(&mut self, key: TorrentKey, entry: Arc<Entry>, hashes: InfoHashes) {
        let (begun, ops, last) = (false, Vec::new(), Time::ZERO);
        let torrent =
            Torrent { entry, hashes, need: Need::Few, begun, ops, last, wait: AGAIN.0, search: None };
        self.torrents.insert(key, torrent);
        self.waiting.push_back(key);
    }

    fn stop(&mut self, dht: &mut dual::Dht, key: TorrentKey) {
        self.end_ops(dht, key);
        self.call_off(key);
        self.torrents.remove(&key);
    }

    /// Who lacks peers is not held up by those who do not.
    fn consider(&mut self, now: Time, dht: &mut dual::Dht, key: TorrentKey) {
        let Some(torrent) = self.torrents.get(&key) else { return };
        match (torrent.lacks(), torrent.begun) {
            (true, false) => self.begin(now, dht, key),
            (true, true) => self.look_again(now, key),
            (false, _) => self.call_off(key),
        }
    }

    fn begin_waiting(&mut self, now: Time, dht: &mut dual::Dht) {
        while self.starting < STARTING {
            let Some(key) = self.waiting.pop_front() else { return };
            if self.torrents.get(&key).is_some_and(|torrent| !torrent.begun) {
                self.begin(now, dht, key);
            }
        }
    }

    /// Announces a torrent, or looks for peers if there is nothing to announce.
    fn begin(&mut self, now: Time, dht: &mut dual::Dht, key: TorrentKey) {
        let Some(torrent) = self.torrents.get_mut(&key) else { return };
        torrent.begun = true;
        let Some(port) = self.port else { return self.search(now, dht, key) };
        // The port of our datagrams is of no use to those who call us by TCP: a translator of addresses gives each its own.
        let (seed, implied_port) = (torrent.entry.tally.totals().left == 0, false);
        self.start(now, dht, key, Run::First, |node, info_hash| {
            node.announce(now, Announce { info_hash, port, implied_port, seed })
        });
    }

    fn search(&mut self, now: Time, dht: &mut dual::Dht, key: TorrentKey) {
        let Some(torrent) = self.torrents.get_mut(&key).filter(|torrent| torrent.lacks()) else { return };
        torrent.wait = (torrent.wait * 2).min(AGAIN.1);
        self.start(now, dht, key, Run::Search, |node, info_hash| {
            node.start(now, Ask::Peers { info_hash, noseed: false, scrape: false })
        });
    }

    fn start(
        &mut self,
        now: Time,
        dht: &mut dual::Dht,
        key: TorrentKey,
        run: Run,
        begin: impl Fn(&mut samara_proto::dht::node::Node, NodeId) -> Op,
    ) {
        let Some(torrent) = self.torrents.get_mut(&key) else { return };
        torrent.last = now;
        for place in places(&torrent.hashes) {
            for family in FAMILIES {
                let Some(node) = dht.node_mut(family) else { continue };
                let op = begin(node, place);
                torrent.ops.push((family, op));
                self.ops.insert((family, op), (key, run));
                self.starting += usize::from(run == Run::First);
            }
        }
    }

    /// A run has ended.
    fn done(&mut self, now: Time, key: TorrentKey, at: (Family, Op), run: Run) {
        self.starting -= usize::from(run == Run::First);
        if run == Run::Search {
            self.ops.remove(&at);
            self.torrents.get_mut(&key).into_iter().for_each(|torrent| torrent.ops.retain(|op| *op != at));
        } else {
            self.ops.insert(at, (key, Run::Again));
        }
        if let Some(torrent) = self.torrents.get_mut(&key) {
            torrent.last = now;
            self.look_again(now, key);
        }
    }

    /// Sets when to look again, if it is of use and not set.
    fn look_again(&mut self, now: Time, key: TorrentKey) {
        let running = |at: &(Family, Op)| self.ops.get(at).is_some_and(|(_, run)| *run != Run::Again);
        let Some(torrent) = self.torrents.get_mut(&key).filter(|torrent| torrent.lacks()) else { return };
        if torrent.search.is_some() || torrent.ops.iter().any(running) {
            return;
        }
        let least = if torrent.need == Need::Many { AGAIN_FED } else { AGAIN.0 };
        let at = now.max(torrent.last + torrent.wait.max(least));
        torrent.search = Some(at);
        self.searches.insert((at, key));
    }

    /// It has enough.
    fn call_off(&mut self, key: TorrentKey) {
        let Some(torrent) = self.torrents.get_mut(&key) else { return };
        torrent.wait = AGAIN.0;
        torrent.search.take().into_iter().for_each(|at| _ = self.searches.remove(&(at, key)));
    }

    fn end_ops(&mut self, dht: &mut dual::Dht, key: TorrentKey) {
        let Some(torrent) = self.torrents.get_mut(&key) else { return };
        for (family, op) in std::mem::take(&mut torrent.ops) {
            dht.node_mut(family).into_iter().for_each(|node| node.cancel(op));
            let ended = self.ops.remove(&(family, op));
            self.starting -= usize::from(ended.is_some_and(|(_, run)| run == Run::First));
        }
    }

    /// Owners get them behind this task's back, for it must not wait.
    fn peers(&self, key: TorrentKey, peers: Vec<SocketAddr>) {
        let look = self.torrents.get(&key).map(|torrent| torrent.entry.look());
        if let Some(Look::Awake(owner)) = look {
            let found = ToTorrent::Candidates(Source::Dht, peers);
            self.shared.spawn(async move { drop(owner.send(found).await) });
        }
    }
}

impl Torrent {
    /// Whether it looks for peers by itself.
    const fn lacks(&self) -> bool {
        matches!(self.need, Need::Starved | Need::Many)
    }
}

/// Where a torrent is told of: a hybrid at two places (BEP 52).
fn places(hashes: &InfoHashes) -> impl Iterator<Item = NodeId> + use<> {
    let v1 = hashes.v1().map(|hash| NodeId(hash.0));
    v1.into_iter().chain(hashes.v2().map(|hash| NodeId(hash.truncated().0)))
}

#[cfg(test)]
mod tests {
    use samara_proto::dht::node::{Config, Node, Summary};
    use samara_proto::ids::{InfoHashV1, InfoHashV2};
    use tokio::sync::mpsc;

    use super::*;
    use crate::client::Client;

    /// Torrents, and nodes that know nobody, so that only the test ends what is begun.
    struct Bench {
        _client: Client,
        dht: dual::Dht,
        torrents: Torrents,
        now: Time,
    }

    impl Bench {
        async fn new(port: Option<u16>) -> Self {
            let client = Client::start(crate::Config::default()).await.unwrap();
            let node = |family| Some(Node::new(Config::new(family), 1, Time::ZERO));
            let torrents = Torrents { port, ..Torrents::new(client.shared()) };
            let dht = dual::Dht::new(node(Family::V4), node(Family::V6));
            Self { _client: client, dht, torrents, now: Time::from_micros(1) }
        }

        fn say(&mut self, entry: &Arc<Entry>, note: PublicNote) {
            self.torrents.take(self.now, &mut self.dht, [(entry.tally.key(), note)].into());
        }

        fn need(&mut self, entry: &Arc<Entry>, need: Need) {
            self.say(entry, PublicNote { need: Some(need), ..PublicNote::default() });
        }

        fn add(&mut self, hashes: InfoHashes, need: Need) -> Arc<Entry> {
            let entry = Entry::awake(hashes, mpsc::channel(1).0);
            let add = Some(Arc::clone(&entry));
            self.say(
                &entry,
                PublicNote { add, hashes: Some(hashes), need: Some(need), ..PublicNote::default() },
            );
            entry
        }

        /// What goes on of this kind.
        fn ops(&self, kind: Run) -> Vec<(Family, Op)> {
            self.torrents.ops.iter().filter(|(_, (_, run))| *run == kind).map(|(at, _)| *at).collect()
        }

        fn end(&mut self, kind: Run) {
            for at in self.ops(kind) {
                let done = Answer::Done { family: at.0, summary: Box::<Summary>::default() };
                assert!(self.torrents.answer(self.now, &mut self.dht, at, done).is_none());
            }
        }

        fn wait(&mut self, secs: u64) {
            self.now = self.now + Duration::from_secs(secs);
            self.torrents.tick(self.now, &mut self.dht);
        }
    }

    fn v1(n: u8) -> InfoHashes {
        InfoHashes::V1(InfoHashV1([n; 20]))
    }

    #[tokio::test]
    async fn those_that_want_little_begin_one_after_the_other_and_hold_up_nobody() {
        let mut bench = Bench::new(Some(1)).await;
        let all: Vec<_> = (0..100).map(|n| bench.add(v1(n), Need::Few)).collect();
        assert_eq!(bench.ops(Run::First).len(), STARTING);
        bench.add(v1(200), Need::Starved);
        assert_eq!(bench.ops(Run::First).len(), STARTING + 2);
        while !bench.ops(Run::First).is_empty() {
            bench.end(Run::First);
        }
        assert_eq!((bench.ops(Run::Again).len(), bench.torrents.starting), (202, 0));
        assert_eq!(bench.torrents.searches.len(), 1);
        all.iter().for_each(|entry| bench.say(entry, PublicNote { stop: true, ..PublicNote::default() }));
        assert_eq!((bench.ops(Run::Again).len(), bench.torrents.torrents.len()), (2, 1));
    }

    #[tokio::test]
    async fn who_lacks_peers_looks_again_at_growing_intervals_until_it_has_enough() {
        let mut bench = Bench::new(Some(1)).await;
        let entry = bench.add(v1(1), Need::Starved);
        assert_eq!(bench.torrents.due(), None, "while it looks it need not look");
        bench.end(Run::First);
        for wait in [15, 30, 60, 120] {
            bench.wait(wait - 1);
            assert!(bench.ops(Run::Search).is_empty());
            bench.wait(1);
            assert_eq!(bench.ops(Run::Search).len(), 2, "after {wait} s");
            bench.end(Run::Search);
        }
        bench.need(&entry, Need::Few);
        assert_eq!(bench.torrents.due(), None);
        bench.need(&entry, Need::Starved);
        assert_eq!(bench.torrents.due(), Some(bench.now + AGAIN.0));
        bench.need(&entry, Need::Few);
        bench.need(&entry, Need::Many);
        assert_eq!(bench.torrents.due(), Some(bench.now + AGAIN_FED));
        bench.say(&entry, PublicNote { stop: true, ..PublicNote::default() });
        assert_eq!((bench.torrents.due(), bench.torrents.ops.len()), (None, 0));
    }

    #[tokio::test]
    async fn what_changes_is_announced_anew_under_every_name() {
        let mut bench = Bench::new(Some(1)).await;
        let entry = bench.add(v1(1), Need::Starved);
        let before = bench.ops(Run::First);
        bench.say(&entry, PublicNote { completed: true, ..PublicNote::default() });
        let after = bench.ops(Run::First);
        assert!(after.len() == 2 && after.iter().all(|op| !before.contains(op)));
        let both = InfoHashes::new(Some(InfoHashV1([1; 20])), Some(InfoHashV2([2; 32])));
        bench.say(&entry, PublicNote { hashes: both, ..PublicNote::default() });
        assert_eq!((bench.ops(Run::First).len(), bench.torrents.starting), (4, 4));
        bench.say(&entry, PublicNote { hashes: both, ..PublicNote::default() });
        assert_eq!(bench.ops(Run::First).len(), 4, "nothing new was said");
    }

    #[tokio::test]
    async fn who_does_not_listen_looks_and_tells_of_nothing() {
        let mut bench = Bench::new(None).await;
        bench.add(v1(1), Need::Few);
        assert!(bench.torrents.ops.is_empty());
        bench.add(v1(2), Need::Starved);
        assert_eq!((bench.ops(Run::Search).len(), bench.torrents.ops.len()), (2, 2));
    }
}
