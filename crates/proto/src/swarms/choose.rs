//! Whom a peer is told of.
//!
//! A seed is told of leeches only. A leech is told of both, in proportion to how many there are, so that over time every
//! peer is handed out equally often: a lone seed is not given to each of ten thousand leeches. Of each role a window
//! from a random start is taken, around the end to the beginning; each place is in as many windows as any other. In a
//! crowd neighbours lie together by a keyed hash of their address, so a window is as good as a draw.

use super::bag::Bag;
use super::crowd::Spread;
use super::half::Half;
use super::peer::Packed;
use super::pool::Pool;
use super::slab::{Id, Peers};
use super::wheel::LIFE;
use crate::rng::Rng;

/// Attempts at a random start in a crowd: bags are half full on average.
const DRAWS: u32 = 32;

/// Peers looked at in vain, beside twice those that are wanted.
const PATIENCE: usize = 256;

/// Packs peers into an answer.
struct Answer<'a, P> {
    out: &'a mut [u8],
    len: usize,
    /// The asker, which is not told of itself.
    me: Option<P>,
    now: u8,
}

impl<P: Packed> Answer<'_, P> {
    /// Adds those of `peers` who are alive, until `count` were added; says how many that are.
    fn take(&mut self, peers: &[P], count: usize) -> usize {
        let start = self.len;
        for peer in peers {
            if self.len - start >= count * P::WIRE_LEN {
                break;
            }
            let is_me = self.me.is_some_and(|me| peer.same(me));
            let alive = u64::from(self.now.wrapping_sub(peer.heard())) < LIFE;
            if let Some(room) = self.out.get_mut(self.len..self.len + P::WIRE_LEN)
                && alive
                && !is_me
            {
                peer.write(room);
                self.len += P::WIRE_LEN;
            }
        }
        (self.len - start) / P::WIRE_LEN
    }
}

impl<P: Packed> Half<P> {
    /// Packs up to `want` peers into `out`; returns how many bytes.
    pub(super) fn choose(
        &mut self,
        id: Id,
        me: Option<P>,
        leeches_only: bool,
        want: usize,
        out: &mut [u8],
    ) -> usize {
        let Some(swarm) = self.slab.get(id) else { return 0 };
        let want = want.min(out.len() / P::WIRE_LEN);
        let mut answer = Answer { out, len: 0, me, now: self.now as u8 };
        let rng = &mut self.rng;
        // A leech that asks is no other leech.
        let own = usize::from(me.is_some() && !leeches_only);
        match swarm.peers {
            Peers::Few { bag, leeches } => {
                let (leeches, seeds) = bag.peers(&self.pool).split_at(leeches.into());
                let (of_leeches, of_seeds) =
                    share(rng, want, leeches.len().saturating_sub(own), seeds.len(), leeches_only);
                let got = window(&mut answer, rng, leeches, of_leeches);
                window(&mut answer, rng, seeds, if of_seeds > 0 { want - got } else { 0 });
            }
            Peers::Many(at) => {
                let Some(crowd) = self.crowds.get(at) else { return 0 };
                let (leeches, seeds) = (&crowd.leeches, &crowd.seeds);
                let (of_leeches, of_seeds) =
                    share(rng, want, leeches.len().saturating_sub(own), seeds.len(), leeches_only);
                let got = stroll(&mut answer, rng, leeches, &self.pool, of_leeches);
                stroll(&mut answer, rng, seeds, &self.pool, if of_seeds > 0 { want - got } else { 0 });
            }
        }
        answer.len
    }
}

/// How many leeches and seeds: in proportion, and the odd one by lot.
fn share(rng: &mut Rng, want: usize, leeches: usize, seeds: usize, leeches_only: bool) -> (usize, usize) {
    let all = leeches + seeds;
    if leeches_only {
        return (want, 0);
    }
    if want >= all {
        return (want, want);
    }
    let product = want * seeds;
    let of_seeds = product / all + usize::from(rng.index(all) < product % all);
    (want - of_seeds, of_seeds)
}

/// A window of a few peers.
fn window<P: Packed>(answer: &mut Answer<'_, P>, rng: &mut Rng, peers: &[P], count: usize) -> usize {
    if count == 0 || peers.is_empty() {
        return 0;
    }
    // All of them need no lot.
    let start = if count >= peers.len() { 0 } else { rng.index(peers.len()) };
    let (before, after) = peers.split_at(start);
    let got = answer.take(after, count);
    got + answer.take(before, count - got)
}

/// A window of a crowd.
fn stroll<P: Packed>(
    answer: &mut Answer<'_, P>,
    rng: &mut Rng,
    spread: &Spread,
    pool: &Pool<P>,
    count: usize,
) -> usize {
    let bags = spread.bags();
    if count == 0 || spread.len() == 0 {
        return 0;
    }
    let (first, offset) = start(rng, bags);
    let (before, after) = bags[first].peers(pool).split_at(offset);
    let mut got = answer.take(after, count);
    let mut patience = 2 * count + PATIENCE;
    for i in 1..bags.len() {
        if got >= count || patience == 0 {
            return got;
        }
        let peers = bags[(first + i) % bags.len()].peers(pool);
        got += answer.take(peers, count - got);
        patience = patience.saturating_sub(peers.len().max(1));
    }
    got + answer.take(before, count - got)
}

/// A place of which each has the same chance, but those far back in an overlong bag.
fn start(rng: &mut Rng, bags: &[Bag]) -> (usize, usize) {
    let draws = (0..DRAWS).map(|_| (rng.index(bags.len()), rng.index(64)));
    let mut last = 0;
    for (bag, offset) in draws {
        if offset < bags[bag].len() {
            return (bag, offset);
        }
        last = bag;
    }
    (last, 0)
}
