//! Fetching the info dictionary from peers (BEP 9), for a torrent of which only the hash is known.
//!
//! Peers say how large it is, and may lie: each claimed size is an attempt of its own. The 16 KiB pieces of an
//! attempt come from several peers; only the whole can be checked. If it is wrong and came from one peer, that peer
//! lied. If it came from several, the attempt starts over and takes all from one peer at a time, until one is right.
//!
//! Bounded: sizes up to [`MAX_SIZE`], and no attempt but the smallest goes on while [`MAX_BUFFERED`] bytes are held.

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

#[derive(Debug)]
struct Provider {
    size: u32,
    asked: BTreeMap<u32, Time>,
    /// It refused or fell silent: not asked before.
    rests_until: Time,
    /// How often it refused or fell silent since it last brought a piece.
    failures: u32,
}

impl Provider {
    fn can_be_asked(&self, now: Time) -> bool {
        self.rests_until <= now && self.asked.len() < MOST_ASKED
    }

    fn fail(&mut self, now: Time) {
        self.rests_until = now + PATIENCE;
        self.failures += 1;
    }
}

#[derive(Debug, Default)]
struct Attempt {
    /// What came, and from whom.
    pieces: BTreeMap<u32, (PeerKey, Vec<u8>)>,
    bytes: usize,
    /// Several peers together were wrong: now each alone.
    alone: bool,
    /// Who is at it alone.
    only: Option<PeerKey>,
}

/// What a piece of the info dictionary led to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// More is needed.
    More,
    /// This hashes to the info-hash.
    Done(Vec<u8>),
    /// The whole was wrong, and this peer sent all of it.
    Liar(PeerKey),
}

/// The state of the fetch.
#[derive(Debug)]
pub(super) struct Metadata {
    hashes: InfoHashes,
    providers: BTreeMap<PeerKey, Provider>,
    attempts: BTreeMap<u32, Attempt>,
}

impl Metadata {
    pub(super) const fn new(hashes: InfoHashes) -> Self {
        Self { hashes, providers: BTreeMap::new(), attempts: BTreeMap::new() }
    }

    /// A peer says it has an info dictionary of `size` bytes.
    pub(super) fn offer(&mut self, now: Time, peer: PeerKey, size: u32) {
        if self.providers.get(&peer).is_some_and(|p| p.size == size) {
            return;
        }
        self.gone(peer);
        if (1..=MAX_SIZE).contains(&size) {
            self.providers
                .insert(peer, Provider { size, asked: BTreeMap::new(), rests_until: now, failures: 0 });
        }
    }

    /// A peer left.
    pub(super) fn gone(&mut self, peer: PeerKey) {
        let Some(provider) = self.providers.remove(&peer) else { return };
        if !self.providers.values().any(|p| p.size == provider.size) {
            self.attempts.remove(&provider.size);
        } else if let Some(attempt) = self.attempts.get_mut(&provider.size).filter(|a| a.only == Some(peer)) {
            *attempt = Attempt { alone: true, ..Attempt::default() };
        }
    }

    /// The next piece to ask of `peer`, noted as asked.
    pub(super) fn next(&mut self, now: Time, peer: PeerKey) -> Option<u32> {
        let provider = self.providers.get(&peer)?;
        let size = provider.size;
        if !provider.can_be_asked(now) || !self.has_room(size) {
            return None;
        }
        // Or two silent peers would take turns for ever.
        let failures = provider.failures;
        let better = |p: &Provider| p.size == size && p.failures < failures && p.can_be_asked(now);
        if self.providers.values().any(better) {
            return None;
        }
        let busy: BTreeSet<u32> = self
            .providers
            .values()
            .filter(|p| p.size == size)
            .flat_map(|p| p.asked.keys().copied())
            .collect();
        let attempt = self.attempts.entry(size).or_default();
        if attempt.alone && *attempt.only.get_or_insert(peer) != peer {
            return None;
        }
        let missing = |piece: &u32| !attempt.pieces.contains_key(piece) && !busy.contains(piece);
        let piece = (0..size.div_ceil(PIECE)).find(missing)?;
        self.providers.get_mut(&peer)?.asked.insert(piece, now);
        Some(piece)
    }

    fn has_room(&self, size: u32) -> bool {
        let buffered: usize = self.attempts.values().map(|a| a.bytes).sum();
        buffered < MAX_BUFFERED || self.attempts.keys().next().is_some_and(|smallest| *smallest >= size)
    }

    /// A piece came. What was not asked for, or has the wrong length, changes nothing.
    pub(super) fn data(&mut self, peer: PeerKey, piece: u32, data: Vec<u8>) -> Outcome {
        let Some(provider) = self.providers.get_mut(&peer) else { return Outcome::More };
        let size = provider.size;
        let expected = size.saturating_sub(piece.saturating_mul(PIECE)).min(PIECE);
        if provider.asked.remove(&piece).is_none() || data.len() != expected as usize {
            return Outcome::More;
        }
        provider.failures = 0;
        let attempt = self.attempts.entry(size).or_default();
        attempt.bytes += data.len();
        attempt.pieces.insert(piece, (peer, data));
        if attempt.bytes == size as usize { self.check(size) } else { Outcome::More }
    }

    fn check(&mut self, size: u32) -> Outcome {
        let attempt = self.attempts.remove(&size).unwrap_or_default();
        let senders: BTreeSet<_> = attempt.pieces.values().map(|(peer, _)| *peer).collect();
        let whole: Vec<u8> = attempt.pieces.into_values().flat_map(|(_, data)| data).collect();
        if self.is_right(&whole) {
            return Outcome::Done(whole);
        }
        let single = senders.len() == 1;
        let alone = attempt.alone || !single;
        self.attempts.insert(size, Attempt { alone, ..Attempt::default() });
        senders.first().filter(|_| single).map_or(Outcome::More, |peer| Outcome::Liar(*peer))
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
        self.step_aside(peer);
    }

    /// Peers that were asked too long ago are not waited for.
    pub(super) fn expire(&mut self, now: Time) {
        let late = |at: &Time| now.since(*at) >= PATIENCE;
        let silent = self.providers.iter_mut().filter(|(_, p)| p.asked.values().any(late));
        let silent: Vec<_> = silent
            .map(|(peer, provider)| {
                provider.asked.clear();
                provider.fail(now);
                *peer
            })
            .collect();
        silent.into_iter().for_each(|peer| self.step_aside(peer));
    }

    /// Whoever was at it alone lets another try.
    fn step_aside(&mut self, peer: PeerKey) {
        for attempt in self.attempts.values_mut().filter(|a| a.only == Some(peer)) {
            *attempt = Attempt { alone: true, ..Attempt::default() };
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

    /// Lets `peer` bring all it is asked for, out of `info`.
    fn serve(fetch: &mut Metadata, peer: PeerKey, info: &[u8]) -> Outcome {
        while let Some(n) = fetch.next(NOW, peer) {
            let outcome = fetch.data(peer, n, piece(info, n));
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
        assert_eq!(fetch.data(b, 1, piece(&info, 1)), Outcome::More);
        assert_eq!(fetch.data(a, 2, piece(&info, 2)), Outcome::More);
        assert_eq!(fetch.data(b, 0, piece(&info, 0)), Outcome::More, "B was not asked for it");
        assert_eq!(fetch.data(a, 0, piece(&info, 0)), Outcome::Done(info));
    }

    #[test]
    fn a_lone_liar_is_named_and_a_wrong_size_does_not_disturb() {
        let info = info(40_000);
        let mut fetch = fetch(&info);
        fetch.offer(NOW, PeerKey(1), 39_999);
        fetch.offer(NOW, PeerKey(2), 40_000);
        assert_eq!(serve(&mut fetch, PeerKey(1), &info[..39_999]), Outcome::Liar(PeerKey(1)));
        assert_eq!(serve(&mut fetch, PeerKey(2), &info), Outcome::Done(info));
    }

    #[test]
    fn a_mixture_that_is_wrong_is_fetched_again_from_each_alone() {
        let info = info(40_000);
        let lie = vec![9; 40_000];
        let mut fetch = fetch(&info);
        let (liar, honest) = (PeerKey(1), PeerKey(2));
        [liar, honest].into_iter().for_each(|p| fetch.offer(NOW, p, 40_000));
        let first = fetch.next(NOW, liar).unwrap();
        fetch.data(liar, first, piece(&lie, first));
        for _ in 0..2 {
            let n = fetch.next(NOW, honest).unwrap();
            assert_eq!(
                fetch.data(honest, n, piece(&info, n)),
                Outcome::More,
                "nobody is blamed for a mixture"
            );
        }
        assert_eq!(serve(&mut fetch, liar, &lie), Outcome::Liar(liar));
        fetch.gone(liar);
        assert_eq!(serve(&mut fetch, honest, &info), Outcome::Done(info));
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
        assert_eq!(fetch.data(a, 0, info.clone()), Outcome::Done(info));
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
