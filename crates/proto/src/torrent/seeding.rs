//! How a lone seed meets a crowd: it tells each peer only of what that peer is to fetch from it (BEP 16).
//!
//! When: it had everything at the start of the run, sees no other seed, and some piece is at fewer than two peers. What
//! one peer was told stays told; newcomers see everything once the crowd can do without us.
//!
//! How much: what the peer takes in twice the time that it needs to hear of a piece and fetch it (measured, and within
//! [`AHEAD`]), and [`SPARE`] pieces more, so that it never waits for the news. More would tie pieces to a peer whose line
//! turns slow while others could take them. With one peer there is nothing to divide: it is told of two more for each piece that left for it, which triples what it has to
//! fetch every round trip, until others come. A peer that is served and does not want what it was told of has chosen
//! other pieces, and soon sees everything; one that wants it and fetches nothing is told of twice as many every second.
//! Only peers that are served are told of more; the offers to one that is choked count as none.
//!
//! `upload_only` (BEP 21) is not said to such a peer: libtorrent and qBittorrent leave who wants nothing and has nothing that
//! they want (`disconnect_if_redundant`), as a super seed would seem whenever all it told of has come.
//!
//! Which: [`super::superseed`]. Tested in whole swarms.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Torrent;
use super::api::Output;
use super::superseed::SuperSeed;
use crate::bitfield::Bitfield;
use crate::ids::{PeerKey, PieceIndex};
use crate::peer::Command;
use crate::time::Time;

/// Least and most time ahead for which a peer is told of pieces; the most until its delay is known.
const AHEAD: [Duration; 2] = [Duration::from_millis(250), Duration::from_millis(1500)];
/// Pieces on offer beyond that: one under way, one that follows.
const SPARE: u64 = 2;
/// A peer with nothing on offer for so long may fetch what others are fetching; at once if the line is not full.
const IDLE: Duration = Duration::from_millis(500);
/// A peer that has something on offer and fetched nothing for so long is told of more.
const STALLED: Duration = Duration::from_secs(2);
/// A peer that did not want what it was told of after so long has chosen other pieces.
const PICKY: Duration = Duration::from_millis(500);
/// Pieces after which one can tell whether a peer passes on.
const TRIAL: u64 = 4;

/// What one peer was told, if it is not to see everything.
#[derive(Debug)]
pub(super) struct Offers {
    /// Pieces it was told of and is not known to have. Not every client says that it got what we told it of.
    told: BTreeSet<PieceIndex>,
    /// Pieces it was told of in all, and those that nobody else had.
    told_ever: u64,
    entrusted: u64,
    /// Of the entrusted ones those that were seen at others later.
    passed: u64,
    /// Bytes sent to it before it was told of the first, and when last looked.
    sent_before: u64,
    sent: u64,
    /// When it last had something to fetch.
    busy: Time,
    /// When it was told of something while it had nothing to fetch, until bytes leave for it.
    news: Option<Time>,
    /// The least time from such news to the first bytes.
    delay: Option<Duration>,
    /// How many times the usual amount it is told of.
    boost: u64,
    /// Twice the pieces it was sent while nobody else was there.
    alone: u64,
}

impl Offers {
    const fn new(now: Time, sent: u64) -> Self {
        Self {
            told: BTreeSet::new(),
            told_ever: 0,
            entrusted: 0,
            passed: 0,
            sent_before: sent,
            sent,
            busy: now,
            news: None,
            delay: None,
            boost: 1,
            alone: 0,
        }
    }

    /// Notes that bytes leave for it.
    fn note_delay(&mut self, now: Time) {
        if let Some(news) = self.news.take() {
            let delay = now.since(news);
            self.delay = Some(self.delay.map_or(delay, |least| least.min(delay)));
        }
    }

    /// Time ahead for which it is told of pieces.
    fn ahead(&self) -> Duration {
        let [least, most] = AHEAD;
        self.delay.map_or(most, |delay| delay.saturating_mul(2).clamp(least, most))
    }

    /// Pieces that should be on offer to it if it takes `rate` bytes a second.
    fn amount(&self, rate: u64, piece_length: u32) -> u64 {
        let bytes = u128::from(rate) * self.ahead().as_millis() / 1000;
        let pieces = u64::try_from(bytes / u128::from(piece_length.max(1))).unwrap_or(u64::MAX);
        pieces.saturating_add(SPARE).saturating_mul(self.boost).saturating_add(self.alone)
    }

    /// Pieces that it is still to fetch, going by what it says and by what was sent; `sent` are all bytes sent to it.
    fn open(&self, sent: u64, piece_length: u32) -> u64 {
        let fetched = sent.saturating_sub(self.sent_before) / u64::from(piece_length.max(1));
        self.told_ever.saturating_sub(fetched).min(self.told.len() as u64)
    }

    /// It was given enough to tell, and of every four pieces passed on less than one.
    pub(super) fn keeps_to_itself(&self) -> bool {
        let given = self.entrusted.saturating_sub(self.told.len() as u64);
        given >= TRIAL && self.passed * 4 < given
    }
}

impl<B> Torrent<B> {
    /// Whether a newcomer is to be told of pieces one by one.
    pub(super) fn hides_from(&self, key: PeerKey) -> bool {
        let mut others = self.peers.values().filter(|p| p.key != key && p.is_active());
        let spread = self.spread().is_some_and(SuperSeed::is_spread);
        let lone = self.initial_seed && self.complete && !others.any(|p| p.is_seed());
        self.config.super_seeding && lone && !spread
    }

    fn spread(&self) -> Option<&SuperSeed> {
        self.picker.as_ref().and_then(|picker| picker.spread.as_ref())
    }

    fn spread_mut(&mut self) -> Option<&mut SuperSeed> {
        self.picker.as_mut().and_then(|picker| picker.spread.as_mut())
    }

    /// What a peer that just said hello is told that we have.
    pub(super) fn shown_to(&mut self, key: PeerKey) -> Bitfield {
        let hides = self.hides_from(key);
        if self.initial_seed {
            // Others may have come or gone since it was introduced.
            self.send(key, Command::UploadOnly(self.complete && !hides));
        }
        if !hides {
            return self.have().cloned().unwrap_or_else(|| Bitfield::new(0));
        }
        self.begin_to_hide();
        if let Some(peer) = self.peers.get_mut(&key) {
            peer.offers = Some(Offers::new(self.now, peer.up.total()));
        }
        Bitfield::new(self.have().map_or(0, Bitfield::len))
    }

    fn begin_to_hide(&mut self) {
        let Some(picker) = self.picker.as_mut().filter(|picker| picker.spread.is_none()) else { return };
        let mut spread = SuperSeed::new(picker.have().len());
        let counted = self.peers.values().filter(|p| p.is_counted());
        counted.flat_map(|p| p.has.iter()).for_each(|piece| spread.gained(piece));
        picker.spread = Some(spread);
    }

    /// Tells a peer that is served of as much as it is to fetch.
    pub(super) fn offer_more(&mut self, key: PeerKey) {
        let now = self.now;
        let slack = self.slots.is_slack(self.up.get());
        let Some(piece_length) = self.layout().map(|layout| layout.piece_length()) else { return };
        let Some(peer) = self.peers.get_mut(&key).filter(|p| !p.peer_choked && p.is_active()) else { return };
        let (Some(offers), Some(picker)) = (&mut peer.offers, &mut self.picker) else { return };
        let Some(spread) = &mut picker.spread else { return };
        let open = offers.open(peer.up.total(), piece_length);
        let mut idle = open == 0 && (slack || now.since(offers.busy) >= IDLE);
        let most = offers.amount(peer.up.get(), piece_length);
        if open == 0 {
            offers.news = Some(now);
        }
        for _ in open..most {
            let Some(piece) = spread.next(&peer.has, &offers.told, idle) else { break };
            idle = false;
            spread.offered(piece);
            offers.entrusted += u64::from(spread.entrust(piece, key));
            offers.told_ever += 1;
            offers.busy = now;
            offers.told.insert(piece);
            self.out.push_back(Output::Send { peer: key, command: Command::Have(piece) });
        }
        if !peer.peer_interested {
            self.next_tick = self.next_tick.min(now + PICKY);
        }
    }

    /// Offers count only while the peer is served.
    pub(super) fn count_offers(&mut self, key: PeerKey, served: bool) {
        let (Some(picker), Some(peer)) = (&mut self.picker, self.peers.get_mut(&key)) else { return };
        let (Some(spread), Some(offers)) = (&mut picker.spread, &mut peer.offers) else { return };
        offers.busy = self.now;
        for &piece in &offers.told {
            if served { spread.offered(piece) } else { spread.withdrawn(piece) }
        }
    }

    /// A peer has `piece` now, fetched from us or from others.
    pub(super) fn note_spread(&mut self, key: PeerKey, piece: PieceIndex) {
        let giver = self.spread_mut().and_then(|spread| spread.passed_on(piece, key));
        let giver = giver.and_then(|giver| self.peers.get_mut(&giver)?.offers.as_mut());
        if let Some(offers) = giver {
            offers.passed += 1;
        }
        self.take_off_offer(key, piece);
        self.offer_more(key);
    }

    fn take_off_offer(&mut self, key: PeerKey, piece: PieceIndex) {
        let (Some(picker), Some(peer)) = (&mut self.picker, self.peers.get_mut(&key)) else { return };
        let (Some(spread), Some(offers)) = (&mut picker.spread, &mut peer.offers) else { return };
        if offers.told.remove(&piece) {
            offers.busy = self.now;
            if !peer.peer_choked {
                spread.withdrawn(piece);
            }
        }
    }

    /// Bytes left for a peer: whole pieces make room for more.
    pub(super) fn on_offers_sent(&mut self, key: PeerKey, payload: u32) {
        let alone = self.ids.len() == 1;
        let Some(piece_length) = self.layout().map(|layout| u64::from(layout.piece_length().max(1))) else {
            return;
        };
        let Some(peer) = self.peers.get_mut(&key) else { return };
        let Some(offers) = &mut peer.offers else { return };
        offers.busy = self.now;
        offers.note_delay(self.now);
        let sent = peer.up.total() - offers.sent_before;
        let whole = sent / piece_length - (sent - u64::from(payload).min(sent)) / piece_length;
        if whole > 0 {
            offers.alone = if alone { offers.alone + 2 * whole } else { 0 };
            self.offer_more(key);
        }
    }

    /// A peer goes: its offers are free for others. After the last one nothing is hidden any more.
    pub(super) fn end_offers(&mut self, key: PeerKey) {
        let served = self.peers.get(&key).is_some_and(|p| !p.peer_choked);
        if served {
            self.count_offers(key, false);
        }
        if let Some(peer) = self.peers.get_mut(&key) {
            peer.offers = None;
        }
        if let Some(spread) = self.spread_mut() {
            spread.forget(key);
        }
        if let Some(picker) = &mut self.picker
            && self.peers.values().all(|p| p.offers.is_none())
        {
            picker.spread = None;
        }
    }

    /// Lets a peer see everything from now on.
    pub(super) fn show_all(&mut self, key: PeerKey) {
        let (Some(have), Some(peer)) = (self.have(), self.peers.get(&key)) else { return };
        let told = peer.offers.as_ref().map(|offers| &offers.told);
        let hidden =
            |piece: &PieceIndex| !peer.has.has(*piece) && told.is_some_and(|told| !told.contains(piece));
        let news: Vec<_> = have.iter().filter(hidden).collect();
        news.into_iter().for_each(|piece| self.send(key, Command::Have(piece)));
        self.end_offers(key);
        self.consider(key);
    }

    /// Once a second, or soon after a peer was told of something that it may not want: who is served and fetches nothing
    /// is told of more.
    pub(super) fn review_offers(&mut self) {
        let piece_length = self.layout().map_or(1, |layout| layout.piece_length());
        if self.spread().is_none() {
            return;
        }
        for key in self.active() {
            let Some(peer) = self.peers.get_mut(&key) else { continue };
            let sent = peer.up.total();
            let interested = peer.peer_interested;
            let Some(offers) = peer.offers.as_mut().filter(|_| !peer.peer_choked) else { continue };
            let open = offers.open(sent, piece_length);
            // It is told of pieces and does not want them: it chose others.
            if !interested && open > 0 && self.now.since(offers.busy) >= PICKY {
                self.show_all(key);
                self.send(key, Command::UploadOnly(true));
                continue;
            }
            let stalls = offers.sent == sent && self.now.since(offers.busy) >= STALLED;
            offers.boost = if stalls { offers.boost.saturating_mul(2) } else { 1 };
            offers.sent = sent;
            self.offer_more(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Time {
        Time::ZERO + Duration::from_millis(ms)
    }

    #[test]
    fn what_is_on_offer_follows_the_rate_and_the_delay() {
        let mut offers = Offers::new(at(0), 0);
        let mebi = 1 << 20;
        assert_eq!(offers.amount(0, mebi), SPARE);
        assert_eq!(offers.amount(4 << 20, mebi), 6 + SPARE, "1.5 s while nothing is known");
        offers.news = Some(at(1000));
        offers.note_delay(at(1500));
        assert_eq!(offers.amount(4 << 20, mebi), 4 + SPARE);
        offers.note_delay(at(9000));
        assert_eq!(offers.amount(4 << 20, mebi), 4 + SPARE, "there was no news");
        offers.news = Some(at(9000));
        offers.note_delay(at(9001));
        assert_eq!(offers.amount(4 << 20, mebi), 1 + SPARE, "a quarter of a second at least");
        offers.boost = 2;
        offers.alone = 3;
        assert_eq!(offers.amount(0, mebi), 2 * SPARE + 3);
        offers.boost = u64::MAX;
        assert_eq!(offers.amount(u64::MAX, 1), u64::MAX);
    }
}
