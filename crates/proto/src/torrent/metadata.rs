//! Fetching the info dictionary (BEP 9): from everyone who has it, as long as that leads to the right one.
//!
//! The size is whatever a peer claims, so every claimed size is fetched by itself: who lies about it disturbs nobody
//! but himself. Pieces come from all peers of one size together. If the whole is wrong and several had sent of it,
//! each of them fetches a copy *alone*, [`MOST_ALONE`] at a time and each for no longer than it should take, so that a
//! liar who is slow holds up nobody. When the right one is there, it shows who had sent other bytes, piece by piece, now
//! and in the mixture: they are banned. No more than [`MAX_BUFFERED`] bytes are held; beyond that, what has not grown
//! for the longest time is let go.
//!
//! It refuses to parse what it fetches. Tested by examples of silence, refusals and lies, and whole by the simulator.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sha1::{Digest, Sha1};
use sha2::Sha256;

use crate::ids::{InfoHashes, PeerKey};
use crate::time::Time;

/// Largest info dictionary that is fetched: 64 MiB.
pub(super) const MAX_SIZE: u32 = 64 << 20;
/// Bytes held in all attempts together.
const MAX_BUFFERED: usize = 64 << 20;
/// Size of a piece of the info dictionary (BEP 9).
const PIECE: u32 = 16 * 1024;
/// Requests under way with one peer.
const MOST_ASKED: usize = 8;
/// After so long a request is given to another.
const PATIENCE: Duration = Duration::from_secs(10);
/// Peers of one size that fetch a copy of their own at once.
const MOST_ALONE: usize = 3;
/// How long one may take for it: half a minute, and what it takes at 64 KiB/s.
const ALONE: (Duration, u32) = (Duration::from_secs(30), 64 * 1024);

/// How far the fetch of the info dictionary is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MetadataProgress {
    /// Pieces of 16 KiB that came.
    pub pieces: u32,
    /// Pieces that there are, if the peers say the truth.
    pub total: u32,
    /// Peers that offer it.
    pub peers: u32,
}

#[derive(Debug)]
struct Provider {
    size: u32,
    asked: BTreeMap<u32, Time>,
    /// It refused or fell silent: not asked before.
    rests_until: Time,
    /// How often it refused or fell silent since it last brought a piece.
    failures: u32,
    /// Since when it fetches alone.
    alone: Option<Time>,
}

impl Provider {
    const fn new(size: u32, now: Time) -> Self {
        Self { size, asked: BTreeMap::new(), rests_until: now, failures: 0, alone: None }
    }

    fn can_be_asked(&self, now: Time) -> bool {
        self.rests_until <= now && self.asked.len() < MOST_ASKED
    }

    /// It is not waited for: another may try.
    fn fail(&mut self, now: Time) {
        self.rests_until = now + PATIENCE;
        self.failures += 1;
        self.alone = None;
    }

    fn is_silent(&self, now: Time) -> bool {
        self.asked.values().any(|at| now.since(*at) >= PATIENCE)
    }

    fn is_slow(&self, now: Time) -> bool {
        let limit = ALONE.0 + Duration::from_secs((self.size / ALONE.1).into());
        self.alone.is_some_and(|since| now.since(since) >= limit)
    }
}

/// What is fetched together: of one size, from all or from one alone.
type Course = (u32, Option<PeerKey>);

#[derive(Debug, Default)]
struct Attempt {
    /// What came, and from whom.
    pieces: BTreeMap<u32, (PeerKey, Vec<u8>)>,
    bytes: usize,
    /// When it last grew.
    grew: Time,
}

/// That a peer sent a piece with this hash.
#[derive(Debug)]
struct Evidence {
    peer: PeerKey,
    piece: u32,
    digest: [u8; 20],
}

impl Evidence {
    fn of(piece: u32, peer: PeerKey, data: &[u8]) -> Self {
        Self { peer, piece, digest: Sha1::digest(data).into() }
    }
}

/// What a piece of the info dictionary led to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// More is needed.
    More,
    /// This hashes to the info-hash; these peers had sent other bytes.
    Done(Vec<u8>, BTreeSet<PeerKey>),
    /// The whole was wrong, and this peer sent all of it.
    Liar(PeerKey),
}

/// The state of the fetch.
#[derive(Debug)]
pub(super) struct Metadata {
    hashes: InfoHashes,
    providers: BTreeMap<PeerKey, Provider>,
    attempts: BTreeMap<Course, Attempt>,
    /// Sizes of which a mixture was wrong, and who had sent what of it.
    mixed: BTreeMap<u32, Vec<Evidence>>,
}

impl Metadata {
    pub(super) const fn new(hashes: InfoHashes) -> Self {
        Self { hashes, providers: BTreeMap::new(), attempts: BTreeMap::new(), mixed: BTreeMap::new() }
    }

    /// A peer says it has an info dictionary of `size` bytes.
    pub(super) fn offer(&mut self, now: Time, peer: PeerKey, size: u32) {
        if self.providers.get(&peer).is_some_and(|p| p.size == size) {
            return;
        }
        self.gone(peer);
        if (1..=MAX_SIZE).contains(&size) {
            self.providers.insert(peer, Provider::new(size, now));
        }
    }

    /// A peer left.
    pub(super) fn gone(&mut self, peer: PeerKey) {
        let Some(Provider { size, .. }) = self.providers.remove(&peer) else { return };
        self.attempts.remove(&(size, Some(peer)));
        if !self.of_size(size).any(|_| true) {
            self.attempts.remove(&(size, None));
            self.mixed.remove(&size);
        }
    }

    fn of_size(&self, size: u32) -> impl Iterator<Item = &Provider> {
        self.providers.values().filter(move |p| p.size == size)
    }

    /// How far the attempt that is furthest is; `None` if nobody offers anything.
    pub(super) fn progress(&self) -> Option<MetadataProgress> {
        let begun =
            self.attempts.iter().max_by_key(|(_, a)| a.bytes).map(|((size, _), a)| (*size, a.pieces.len()));
        let offered = || self.providers.values().map(|p| (p.size, 0)).next();
        let (size, pieces) = begun.or_else(offered)?;
        let peers = self.of_size(size).count() as u32;
        Some(MetadataProgress { pieces: pieces as u32, total: size.div_ceil(PIECE), peers })
    }

    /// The next piece to ask of `peer`, noted as asked.
    pub(super) fn next(&mut self, now: Time, peer: PeerKey) -> Option<u32> {
        let course = self.course(now, peer)?;
        let busy: BTreeSet<u32> = match course.1 {
            None => self.of_size(course.0).flat_map(|p| p.asked.keys().copied()).collect(),
            Some(_) => self.providers.get(&peer)?.asked.keys().copied().collect(),
        };
        let attempt = self.attempts.get(&course);
        let had = |piece: &u32| attempt.is_some_and(|a| a.pieces.contains_key(piece));
        let piece = (0..course.0.div_ceil(PIECE)).find(|piece| !had(piece) && !busy.contains(piece))?;
        let provider = self.providers.get_mut(&peer)?;
        provider.asked.insert(piece, now);
        if course.1.is_some() {
            provider.alone.get_or_insert(now);
        }
        Some(piece)
    }

    /// What `peer` may be asked for now.
    fn course(&self, now: Time, peer: PeerKey) -> Option<Course> {
        let provider = self.providers.get(&peer).filter(|p| p.can_be_asked(now))?;
        let size = provider.size;
        // Or two silent peers would take turns for ever.
        let better = |p: &Provider| p.failures < provider.failures && p.can_be_asked(now);
        if self.of_size(size).any(better) {
            return None;
        }
        if !self.mixed.contains_key(&size) {
            return Some((size, None));
        }
        let alone = self.of_size(size).filter(|p| p.alone.is_some()).count();
        (provider.alone.is_some() || alone < MOST_ALONE).then_some((size, Some(peer)))
    }

    /// A piece came. What was not asked for, or has the wrong length, changes nothing.
    pub(super) fn data(&mut self, now: Time, peer: PeerKey, piece: u32, data: Vec<u8>) -> Outcome {
        let Some(provider) = self.providers.get_mut(&peer) else { return Outcome::More };
        let size = provider.size;
        let expected = size.saturating_sub(piece.saturating_mul(PIECE)).min(PIECE);
        if provider.asked.remove(&piece).is_none() || data.len() != expected as usize {
            return Outcome::More;
        }
        provider.failures = 0;
        let course = (size, self.mixed.contains_key(&size).then_some(peer));
        let attempt = self.attempts.entry(course).or_default();
        attempt.grew = now;
        attempt.bytes += data.len();
        attempt.pieces.insert(piece, (peer, data));
        if attempt.bytes == size as usize {
            return self.check(course);
        }
        self.make_room(course);
        Outcome::More
    }

    /// Lets go of what has not grown for the longest time, if too much is held.
    fn make_room(&mut self, keep: Course) {
        while self.attempts.values().map(|a| a.bytes).sum::<usize>() > MAX_BUFFERED {
            let others = self.attempts.iter().filter(|(course, _)| **course != keep);
            let Some(stalest) = others.min_by_key(|(_, a)| a.grew).map(|(course, _)| *course) else { return };
            self.attempts.remove(&stalest);
        }
    }

    fn check(&mut self, course: Course) -> Outcome {
        let attempt = self.attempts.remove(&course).unwrap_or_default();
        let whole: Vec<u8> = attempt.pieces.values().flat_map(|(_, data)| data).copied().collect();
        if self.is_right(&whole) {
            let liars = self.liars(&whole);
            return Outcome::Done(whole, liars);
        }
        let evidence: Vec<_> =
            attempt.pieces.iter().map(|(piece, (peer, data))| Evidence::of(*piece, *peer, data)).collect();
        let senders: BTreeSet<_> = evidence.iter().map(|e| e.peer).collect();
        match senders.first().filter(|_| senders.len() == 1) {
            Some(liar) => Outcome::Liar(*liar),
            None => {
                self.part(course.0, evidence);
                Outcome::More
            }
        }
    }

    /// From now on each of them fetches alone. What is under way was for the mixture.
    fn part(&mut self, size: u32, evidence: Vec<Evidence>) {
        self.mixed.insert(size, evidence);
        self.providers.values_mut().filter(|p| p.size == size).for_each(|p| p.asked.clear());
    }

    /// Who sent something else than what is right.
    fn liars(&self, whole: &[u8]) -> BTreeSet<PeerKey> {
        let truth: Vec<[u8; 20]> =
            whole.chunks(PIECE as usize).map(|piece| Sha1::digest(piece).into()).collect();
        let held = self.attempts.values().flat_map(|attempt| &attempt.pieces);
        let held = held.map(|(piece, (peer, data))| Evidence::of(*piece, *peer, data));
        let wrong = |e: &Evidence| truth.get(e.piece as usize) != Some(&e.digest);
        let mixed = self.mixed.values().flatten().filter(|e| wrong(e)).map(|e| e.peer);
        held.filter(wrong).map(|e| e.peer).chain(mixed).collect()
    }

    /// Whether `whole` hashes to every info-hash that is known.
    fn is_right(&self, whole: &[u8]) -> bool {
        let v1 = self.hashes.v1().is_none_or(|h| h.0 == <[u8; 20]>::from(Sha1::digest(whole)));
        v1 && self.hashes.v2().is_none_or(|h| h.0 == <[u8; 32]>::from(Sha256::digest(whole)))
    }

    /// A peer refused a piece: it rests a while.
    pub(super) fn rejected(&mut self, now: Time, peer: PeerKey, piece: u32) {
        if let Some(provider) = self.providers.get_mut(&peer) {
            provider.asked.remove(&piece);
            provider.fail(now);
        }
    }

    /// Peers that were asked too long ago are not waited for, nor are those that take too long alone.
    pub(super) fn expire(&mut self, now: Time) {
        for provider in self.providers.values_mut().filter(|p| p.is_silent(now) || p.is_slow(now)) {
            provider.asked.clear();
            provider.fail(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::InfoHashV1;

    const NOW: Time = Time::ZERO;

    fn info(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i / 7) as u8).collect()
    }

    fn fetch(info: &[u8]) -> Metadata {
        Metadata::new(InfoHashes::V1(InfoHashV1(Sha1::digest(info).into())))
    }

    fn piece(info: &[u8], n: u32) -> Vec<u8> {
        info.chunks(PIECE as usize).nth(n as usize).unwrap().to_vec()
    }

    /// It is there, and nobody lied.
    const fn done(info: Vec<u8>) -> Outcome {
        Outcome::Done(info, BTreeSet::new())
    }

    /// Lets `peer` bring all it is asked for, out of `info`.
    fn serve(fetch: &mut Metadata, peer: PeerKey, info: &[u8]) -> Outcome {
        while let Some(n) = fetch.next(NOW, peer) {
            let outcome = fetch.data(NOW, peer, n, piece(info, n));
            if outcome != Outcome::More {
                return outcome;
            }
        }
        Outcome::More
    }

    #[test]
    fn comes_from_several_peers() {
        let info = info(40_000);
        let mut fetch = fetch(&info);
        let (a, b) = (PeerKey(1), PeerKey(2));
        [a, b].into_iter().for_each(|p| fetch.offer(NOW, p, 40_000));
        let (x, y, z) = (fetch.next(NOW, a), fetch.next(NOW, b), fetch.next(NOW, a));
        assert_eq!((x, y, z, fetch.next(NOW, b)), (Some(0), Some(1), Some(2), None));
        assert_eq!(fetch.data(NOW, b, 1, piece(&info, 1)), Outcome::More);
        assert_eq!(fetch.data(NOW, a, 2, piece(&info, 2)), Outcome::More);
        assert_eq!(fetch.data(NOW, b, 0, piece(&info, 0)), Outcome::More, "B was not asked for it");
        assert_eq!(fetch.data(NOW, a, 0, piece(&info, 0)), done(info));
    }

    #[test]
    fn a_lone_liar_is_named_and_a_wrong_size_does_not_disturb() {
        let info = info(40_000);
        let mut fetch = fetch(&info);
        fetch.offer(NOW, PeerKey(1), 39_999);
        fetch.offer(NOW, PeerKey(2), 40_000);
        assert_eq!(serve(&mut fetch, PeerKey(1), &info[..39_999]), Outcome::Liar(PeerKey(1)));
        assert_eq!(serve(&mut fetch, PeerKey(2), &info), done(info));
    }

    /// A liar and an honest peer, after what they sent together was wrong: the liar's piece is the first.
    fn poisoned(info: &[u8]) -> (Metadata, PeerKey, PeerKey) {
        let mut fetch = fetch(info);
        let (liar, honest) = (PeerKey(1), PeerKey(2));
        [liar, honest].into_iter().for_each(|p| fetch.offer(NOW, p, 40_000));
        let first = fetch.next(NOW, liar).unwrap();
        fetch.data(NOW, liar, first, vec![9; PIECE as usize]);
        for _ in 0..2 {
            let n = fetch.next(NOW, honest).unwrap();
            let outcome = fetch.data(NOW, honest, n, piece(info, n));
            assert_eq!(outcome, Outcome::More, "nobody is blamed for a mixture");
        }
        (fetch, liar, honest)
    }

    #[test]
    fn after_a_mixture_each_fetches_alone_and_who_lies_again_is_named() {
        let info = info(40_000);
        let (mut fetch, liar, honest) = poisoned(&info);
        assert_eq!(serve(&mut fetch, liar, &vec![9; 40_000]), Outcome::Liar(liar));
        fetch.gone(liar);
        assert_eq!(serve(&mut fetch, honest, &info), Outcome::Done(info, [liar].into()));
    }

    #[test]
    fn who_spoilt_a_mixture_is_named_by_the_truth_and_holds_nobody_up() {
        let info = info(40_000);
        let (mut fetch, liar, honest) = poisoned(&info);
        assert_eq!(fetch.next(NOW, liar), Some(0), "and it keeps silent");
        assert_eq!(serve(&mut fetch, honest, &info), Outcome::Done(info, [liar].into()));
    }

    #[test]
    fn no_more_than_a_few_are_alone_at_once_and_the_slow_make_way() {
        let info = info(40_000);
        let (mut fetch, ..) = poisoned(&info);
        (3..=5).for_each(|peer| fetch.offer(NOW, PeerKey(peer), 40_000));
        let asked = |fetch: &mut Metadata, now| -> Vec<_> {
            (1..=5).filter(|peer| fetch.next(now, PeerKey(*peer)).is_some()).collect()
        };
        assert_eq!(asked(&mut fetch, NOW), [1, 2, 3]);
        // They go on, so slowly that they are never silent.
        let mut now = NOW;
        for n in 0..2 {
            now = now + Duration::from_secs(9);
            (1..=3).for_each(|peer| _ = fetch.data(now, PeerKey(peer), n, vec![9; PIECE as usize]));
            fetch.expire(now);
            assert_eq!(asked(&mut fetch, now), [1, 2, 3]);
        }
        now = now + Duration::from_secs(13);
        fetch.expire(now);
        assert_eq!(asked(&mut fetch, now), [4, 5]);
    }

    #[test]
    fn what_is_held_is_bounded_and_what_does_not_grow_makes_room() {
        let size = MAX_SIZE / 4;
        let truth = info(size as usize);
        let mut fetch = fetch(&truth);
        let mut now = NOW;
        for liar in 1..=5 {
            let claimed = size - liar as u32 * PIECE;
            fetch.offer(now, PeerKey(liar), claimed);
            for _ in 0..claimed.div_ceil(PIECE) - 1 {
                now = now + Duration::from_micros(1);
                let n = fetch.next(now, PeerKey(liar)).unwrap();
                assert_eq!(fetch.data(now, PeerKey(liar), n, vec![0; PIECE as usize]), Outcome::More);
                assert!(fetch.attempts.values().map(|a| a.bytes).sum::<usize>() <= MAX_BUFFERED);
            }
        }
        let honest = PeerKey(9);
        fetch.offer(now, honest, size);
        let outcome = loop {
            now = now + Duration::from_micros(1);
            let n = fetch.next(now, honest).expect("there is room");
            let outcome = fetch.data(now, honest, n, piece(&truth, n));
            if outcome != Outcome::More {
                break outcome;
            }
        };
        assert!(matches!(outcome, Outcome::Done(whole, liars) if whole == truth && !liars.contains(&honest)));
    }

    #[test]
    fn progress_is_that_of_the_fullest() {
        let info = info(40_000);
        let mut fetch = fetch(&info);
        assert_eq!(fetch.progress(), None);
        fetch.offer(NOW, PeerKey(1), 7);
        assert_eq!(fetch.progress(), Some(MetadataProgress { pieces: 0, total: 1, peers: 1 }));
        [2, 3].into_iter().for_each(|p| fetch.offer(NOW, PeerKey(p), 40_000));
        let n = fetch.next(NOW, PeerKey(2)).unwrap();
        fetch.data(NOW, PeerKey(2), n, piece(&info, n));
        assert_eq!(fetch.progress(), Some(MetadataProgress { pieces: 1, total: 3, peers: 2 }));
    }

    #[test]
    fn silence_and_refusals_pass_the_work_on() {
        let info = info(100);
        let mut fetch = fetch(&info);
        let (a, b) = (PeerKey(1), PeerKey(2));
        [a, b].into_iter().for_each(|p| fetch.offer(NOW, p, 100));
        assert_eq!((fetch.next(NOW, a), fetch.next(NOW, b)), (Some(0), None));
        let later = NOW + PATIENCE;
        fetch.expire(later);
        assert_eq!((fetch.next(later, a), fetch.next(later, b)), (None, Some(0)));
        fetch.rejected(later, b, 0);
        assert_eq!(fetch.next(later + PATIENCE, a), Some(0));
        assert_eq!(fetch.data(NOW, a, 0, info.clone()), done(info));
    }

    #[test]
    fn absurd_sizes_are_not_asked_for() {
        let mut fetch = fetch(&[]);
        for size in [0, MAX_SIZE + 1, u32::MAX] {
            fetch.offer(NOW, PeerKey(1), size);
            assert_eq!(fetch.next(NOW, PeerKey(1)), None);
        }
    }

    #[test]
    fn silent_peers_do_not_take_turns_while_another_waits() {
        let info = info(100);
        let (mut fetch, mut now) = (fetch(&info), NOW);
        (1..=3).for_each(|peer| fetch.offer(now, PeerKey(peer), 100));
        let mut asked = Vec::new();
        for _ in 0..3 {
            asked.extend((1..=3).filter(|peer| fetch.next(now, PeerKey(*peer)).is_some()));
            now = now + PATIENCE;
            fetch.expire(now);
        }
        assert_eq!(asked, [1, 2, 3]);
    }
}
