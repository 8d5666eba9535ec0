//! What is known of one connection: its peers, the offers it was sent, and how much it may say and be told.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use super::binary::Binary;
use super::swarm::Seat;
use crate::time::Time;

/// Most offers that are remembered until they are answered; the oldest go first. A client answers within seconds.
const MAX_PENDING: usize = 128;

/// How long an offer can be answered: as long as the most patient client (libtorrent) keeps it. WebTorrent gives it 50 s.
pub(super) const OFFER_LIFE: Duration = Duration::from_secs(120);

/// What a connection may say: messages, and offers that are passed on, each counting one. 200 torrents that announce
/// with five offers every two minutes say ten a second, all at once when they start.
const SAYS: Rate = Rate { gap: Duration::from_millis(50), burst: 1200 };

/// How many offers a connection is sent: each costs a browser a peer connection.
const HEARS: Rate = Rate { gap: Duration::from_millis(100), burst: 200 };

/// So much at once, and then one each `gap`.
#[derive(Clone, Copy, Debug)]
struct Rate {
    gap: Duration,
    burst: u32,
}

/// How far a rate is used up: the moment at which it would be as if unused (the virtual scheduling of ATM's GCRA).
#[derive(Clone, Copy, Debug)]
struct Use(Time);

impl Use {
    fn take(&mut self, now: Time, n: u32, rate: Rate) {
        self.0 = self.0.max(now) + rate.gap * n;
    }

    /// When one more may pass.
    fn free_at(self, rate: Rate) -> Time {
        self.0 - rate.gap * (rate.burst - 1)
    }
}

/// An offer that was passed on.
#[derive(Clone, Copy, Debug)]
struct Pending {
    hash: Binary,
    from: Seat,
    id: Binary,
    until: Time,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    /// The peers that announced over it, by torrent.
    pub(super) peers: BTreeSet<(Binary, Binary)>,
    /// Offers that it was sent and has not answered, oldest first.
    pending: VecDeque<Pending>,
    said: Use,
    heard: Use,
}

impl Connection {
    pub(super) const fn new(now: Time) -> Self {
        Self { peers: BTreeSet::new(), pending: VecDeque::new(), said: Use(now), heard: Use(now) }
    }

    /// Counts what it said.
    pub(super) fn says(&mut self, now: Time, n: u32) {
        self.said.take(now, n, SAYS);
    }

    /// When it may say more.
    pub(super) fn may_say_at(&self) -> Time {
        self.said.free_at(SAYS)
    }

    /// Remembers an offer that it is sent, unless it is sent too many.
    pub(super) fn offer(&mut self, now: Time, hash: Binary, from: Seat, id: Binary) -> bool {
        if self.heard.free_at(HEARS) > now {
            return false;
        }
        self.heard.take(now, 1, HEARS);
        self.forget(now);
        if self.pending.len() == MAX_PENDING {
            self.pending.pop_front();
        }
        self.pending.push_back(Pending { hash, from, id, until: now + OFFER_LIFE });
        true
    }

    /// Who made this offer to it. An offer can be answered once.
    pub(super) fn answer(&mut self, now: Time, hash: Binary, to: Binary, id: Binary) -> Option<Seat> {
        self.forget(now);
        let same = |offer: &Pending| (offer.hash, offer.from.peer, offer.id) == (hash, to, id);
        let at = self.pending.iter().position(same)?;
        self.pending.remove(at).map(|offer| offer.from)
    }

    /// Forgets offers that nobody waits for any more.
    fn forget(&mut self, now: Time) {
        while self.pending.front().is_some_and(|offer| offer.until <= now) {
            self.pending.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::ConnId;
    use super::*;

    const HASH: Binary = Binary([1; 20]);
    const FROM: Seat = Seat { conn: ConnId(7), peer: Binary([2; 20]) };

    fn id(n: u32) -> Binary {
        let mut id = [0; 20];
        id[..4].copy_from_slice(&n.to_be_bytes());
        Binary(id)
    }

    fn at(ms: u64) -> Time {
        Time::from_micros(ms * 1000)
    }

    #[test]
    fn an_offer_is_answered_once_in_time_and_by_its_names() {
        let mut conn = Connection::new(at(0));
        assert!(conn.offer(at(0), HASH, FROM, id(1)) && conn.offer(at(0), HASH, FROM, id(2)));
        assert_eq!(conn.answer(at(1), HASH, FROM.peer, id(3)), None);
        assert_eq!(conn.answer(at(1), id(1), FROM.peer, id(1)), None);
        assert_eq!(conn.answer(at(1), HASH, HASH, id(1)), None);
        assert_eq!(conn.answer(at(119_999), HASH, FROM.peer, id(1)), Some(FROM));
        assert_eq!(conn.answer(at(119_999), HASH, FROM.peer, id(1)), None);
        assert_eq!(conn.answer(at(120_000), HASH, FROM.peer, id(2)), None);
    }

    #[test]
    fn a_flood_of_offers_is_cut_to_a_rate_and_the_oldest_are_forgotten() {
        let mut conn = Connection::new(at(0));
        let taken = (0..1000).filter(|n| conn.offer(at(0), HASH, FROM, id(*n))).count();
        assert_eq!(taken, 200);
        assert!(!conn.offer(at(99), HASH, FROM, id(0)) && conn.offer(at(100), HASH, FROM, id(1000)));
        assert_eq!(conn.pending.len(), MAX_PENDING);
        assert_eq!(conn.answer(at(100), HASH, FROM.peer, id(0)), None);
        assert_eq!(conn.answer(at(100), HASH, FROM.peer, id(199)), Some(FROM));
    }

    #[test]
    fn much_at_once_then_a_steady_rate() {
        let mut conn = Connection::new(at(500));
        conn.says(at(500), 1199);
        assert!(conn.may_say_at() <= at(500));
        conn.says(at(500), 1);
        assert_eq!(conn.may_say_at(), at(550));
        conn.says(at(550), 20);
        assert_eq!(conn.may_say_at(), at(1550));
    }
}
