//! Who is listened to, how often, and what of it is news.
//!
//! The caps: a sender may speak [`SPEAK`], all together [`SPEAK_ALL`]; a neighbour is news once in [`AGAIN`] for each
//! torrent, at up to [`PORTS`] ports, as several clients of one machine have them; a torrent gets no more than
//! [`GUESTS`]. The tables forget who was not heard for longest. Who forges senders can make us deaf for as long as he
//! goes on, but not busy.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::allowance::{Allowance, Rate};
use super::recent::Recent;
use crate::time::Time;
use crate::tracker::fleet::TorrentKey;

/// Of one sender. libtorrent announces each torrent by itself, and three times, when it starts.
const SPEAK: Rate = Rate { every: Duration::from_millis(100), burst: 1000 };

/// Of all senders: reading one costs microseconds, so this is half a percent of a core at most.
const SPEAK_ALL: Rate = Rate { every: Duration::from_millis(2), burst: 4000 };

/// New addresses of one torrent.
const GUESTS: Rate = Rate { every: Duration::from_secs(3), burst: 100 };

/// A neighbour is told of again after so long: a little less than the round of the BEP, at which it announces itself.
const AGAIN: Duration = Duration::from_secs(240);

/// Ports of one neighbour for one torrent.
const PORTS: usize = 4;

const MAX_SENDERS: usize = 512;
const MAX_HEARD: usize = 4096;
const MAX_TORRENTS: usize = 4096;

/// The ports at which a neighbour has a torrent, each with when that was news.
#[derive(Debug, Default)]
struct Ports([(u16, Time); PORTS]);

impl Ports {
    /// Whether this port is news, and there is room for it.
    fn is_new(&mut self, now: Time, port: u16) -> bool {
        let known = self.0.iter().position(|slot| slot.0 == port);
        let free = |slot: &(u16, Time)| slot.0 == 0 || now.since(slot.1) >= AGAIN;
        let slot = match known {
            Some(index) => free(&self.0[index]).then_some(index),
            None => self.0.iter().position(free),
        };
        slot.map(|index| self.0[index] = (port, now)).is_some()
    }
}

/// What was heard.
#[derive(Debug)]
pub(super) struct Ears {
    all: Allowance,
    senders: Recent<IpAddr, Allowance>,
    guests: Recent<TorrentKey, Allowance>,
    heard: Recent<(TorrentKey, IpAddr), Ports>,
}

impl Default for Ears {
    fn default() -> Self {
        Self {
            all: Allowance::default(),
            senders: Recent::new(MAX_SENDERS),
            guests: Recent::new(MAX_TORRENTS),
            heard: Recent::new(MAX_HEARD),
        }
    }
}

impl Ears {
    /// Whether a datagram of this sender is read.
    pub(super) fn may_speak(&mut self, now: Time, from: IpAddr) -> bool {
        self.senders.at(from).take(now, SPEAK) && self.all.take(now, SPEAK_ALL)
    }

    /// Whether it is worth telling that a neighbour has a torrent. Then it was told.
    pub(super) fn is_new(&mut self, now: Time, torrent: TorrentKey, addr: SocketAddr) -> bool {
        let guests = self.guests.at(torrent);
        if guests.left(now, GUESTS) == 0 || !self.heard.at((torrent, addr.ip())).is_new(now, addr.port()) {
            return false;
        }
        guests.take(now, GUESTS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::from_micros(seconds * 1_000_000)
    }

    fn neighbour(n: u32, port: u16) -> SocketAddr {
        SocketAddr::new(std::net::Ipv4Addr::from_bits(0x0a00_0000 + n).into(), port)
    }

    #[test]
    fn a_flood_of_one_leaves_the_others_heard() {
        let mut ears = Ears::default();
        let loud = (0..100_000).filter(|_| ears.may_speak(at(0), neighbour(0, 1).ip())).count();
        assert_eq!(loud, 1000);
        assert!((1..=1000).all(|n| ears.may_speak(at(0), neighbour(n, 1).ip())));
        // Forged senders are capped together.
        let forged = (0..100_000).filter(|n| ears.may_speak(at(0), neighbour(2000 + n, 1).ip())).count();
        assert_eq!(forged, 2000);
        assert_eq!(ears.senders.len(), MAX_SENDERS);
        assert!(ears.may_speak(at(1), neighbour(1, 1).ip()));
    }

    #[test]
    fn a_neighbour_is_news_once_a_round_at_a_few_ports() {
        let (mut ears, torrent) = (Ears::default(), TorrentKey(1));
        let new = |ears: &mut Ears, port, seconds| ears.is_new(at(seconds), torrent, neighbour(1, port));
        assert!(new(&mut ears, 1, 0) && !new(&mut ears, 1, 1) && !new(&mut ears, 1, 239));
        assert!(ears.is_new(at(1), TorrentKey(2), neighbour(1, 1)));
        assert_eq!((2..=60_000).filter(|port| new(&mut ears, *port, 2)).count(), PORTS - 1);
        assert!(new(&mut ears, 1, 240));
    }

    #[test]
    fn forged_neighbours_do_not_crowd_a_torrent() {
        let (mut ears, torrent) = (Ears::default(), TorrentKey(1));
        let news = (0..100_000).filter(|n| ears.is_new(at(0), torrent, neighbour(*n, 1))).count();
        assert_eq!(news, 100);
        assert!(ears.heard.len() <= MAX_HEARD);
        assert!(ears.is_new(at(3), torrent, neighbour(200_000, 1)));
        for n in 0..10_000 {
            ears.is_new(at(3), TorrentKey(n), neighbour(1, 1));
        }
        assert_eq!((ears.guests.len(), ears.heard.len()), (MAX_TORRENTS, MAX_HEARD));
    }
}
