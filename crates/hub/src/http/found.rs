//! What the store says to one announce, at once or later.
//!
//! A client gets peers of its own family, and where these are fewer than it wants, the rest from the other one (BEP 7),
//! for it may have both. Counts are of both families.

use std::net::{IpAddr, SocketAddr};

use samara_proto::swarms::{Announce, Counts};
use samara_proto::time::Time;
use samara_proto::tracker::{Family, ScrapeStats};

use crate::store::{Asked, Outcome, Store, Unavailable};

/// Peers and sums; the room is used again and again.
#[derive(Clone, Debug)]
pub(super) struct Found {
    v4: Packed,
    v6: Packed,
    pub(super) sums: ScrapeStats,
    /// Seconds until the next announce.
    pub(super) interval: u32,
}

/// Packed peers of one family.
#[derive(Clone, Debug)]
struct Packed {
    room: Box<[u8]>,
    len: usize,
}

impl Packed {
    fn new(family: Family, most: usize) -> Self {
        Self { room: vec![0; most * family.peer_len()].into(), len: 0 }
    }

    fn bytes(&self) -> &[u8] {
        &self.room[..self.len]
    }
}

/// What is to be done with what was found late.
pub(super) type WhenFound = Box<dyn FnOnce(Result<&Found, Unavailable>) + Send>;

impl Found {
    /// Room for `most` peers of each family.
    pub(super) fn new(most: usize) -> Self {
        let [v4, v6] = [Family::V4, Family::V6].map(|family| Packed::new(family, most));
        Self { v4, v6, sums: ScrapeStats::default(), interval: 0 }
    }

    /// What came from elsewhere for a client of `family`.
    pub(super) fn late(family: Family, interval: u32, outcome: &Outcome<'_>) -> Self {
        let packed = |peers: &[u8]| Packed { room: peers.into(), len: peers.len() };
        let (own, other) = (packed(outcome.own.1), packed(outcome.other.1));
        let sums = sum(&outcome.own.0, &outcome.other.0);
        match family {
            Family::V4 => Self { v4: own, v6: other, sums, interval },
            Family::V6 => Self { v4: other, v6: own, sums, interval },
        }
    }

    /// Enters a peer, and takes note of what it is to be told. If that comes later, it goes to what `later` makes.
    pub(super) fn ask(
        &mut self,
        store: &Store,
        now: Time,
        announce: &Announce,
        later: impl FnOnce() -> WhenFound,
    ) -> Asked<()> {
        let family = Family::of(announce.peer.ip());
        let (own, other) = match family {
            Family::V4 => (&mut self.v4, &mut self.v6),
            Family::V6 => (&mut self.v6, &mut self.v4),
        };
        let asked = store.announce_to_both(now, announce, &mut own.room, &mut other.room, || {
            let then = later();
            Box::new(move |outcome: Result<(u32, Outcome<'_>), Unavailable>| match outcome {
                Ok((interval, outcome)) => then(Ok(&Self::late(family, interval, &outcome))),
                Err(unavailable) => then(Err(unavailable)),
            })
        });
        let Asked::Done((interval, [mine, others])) = asked else { return Asked::Later };
        (own.len, other.len) = (mine.peers, others.peers);
        (self.interval, self.sums) = (interval, sum(&mine, &others));
        Asked::Done(())
    }

    pub(super) fn v4(&self) -> &[u8] {
        self.v4.bytes()
    }

    pub(super) fn v6(&self) -> &[u8] {
        self.v6.bytes()
    }

    /// The peers one by one.
    pub(super) fn addrs(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        let v4 = self.v4().chunks_exact(Family::V4.peer_len()).filter_map(addr::<4>);
        v4.chain(self.v6().chunks_exact(Family::V6.peer_len()).filter_map(addr::<16>))
    }
}

fn addr<const N: usize>(packed: &[u8]) -> Option<SocketAddr>
where
    IpAddr: From<[u8; N]>,
{
    let (ip, port) = packed.split_last_chunk::<2>()?;
    let ip: [u8; N] = ip.try_into().ok()?;
    Some(SocketAddr::new(ip.into(), u16::from_be_bytes(*port)))
}

pub(super) const fn sum(a: &Counts, b: &Counts) -> ScrapeStats {
    ScrapeStats {
        complete: a.complete.saturating_add(b.complete),
        downloaded: a.downloaded.saturating_add(b.downloaded),
        incomplete: a.incomplete.saturating_add(b.incomplete),
    }
}
