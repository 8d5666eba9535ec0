//! What the store says to one announce, in one answer or in two, at once or later.
//!
//! A client gets peers of its own family, and where these are fewer than it wants, the rest from the other one (BEP 7),
//! for it may have both. Counts are of both families.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use samara_proto::swarms::{Announce, Ask, Counts};
use samara_proto::time::Time;
use samara_proto::tracker::{Family, ScrapeStats};

use crate::site::Site;
use crate::store::{Asked, Told, Unavailable, WhenTold};

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

const fn other(family: Family) -> Family {
    match family {
        Family::V4 => Family::V6,
        Family::V6 => Family::V4,
    }
}

impl Found {
    /// Room for `most` peers of each family.
    pub(super) fn new(most: usize) -> Self {
        let [v4, v6] = [Family::V4, Family::V6].map(|family| Packed::new(family, most));
        Self { v4, v6, sums: ScrapeStats::default(), interval: 0 }
    }

    fn of(&mut self, family: Family) -> &mut Packed {
        match family {
            Family::V4 => &mut self.v4,
            Family::V6 => &mut self.v6,
        }
    }

    /// Enters a peer, and takes note of what it is to be told. If that comes later, it goes to what `later` makes.
    pub(super) fn ask(
        &mut self,
        site: &Arc<Site>,
        now: Time,
        announce: &Announce,
        later: impl FnOnce() -> WhenFound,
    ) -> Asked<()> {
        let family = Family::of(announce.peer.ip());
        self.sums = ScrapeStats::default();
        (self.v4.len, self.v6.len) = (0, 0);
        let mut later = Some(later);
        let room = &mut self.of(family).room;
        let first =
            site.store.announce(now, announce, room, || own_later(site, now, announce, take(&mut later)));
        let Asked::Done(told) = first else { return Asked::Later };
        self.note(family, &told);
        self.ask_other(site, now, announce, || take(&mut later))
    }

    /// The second question: peers of the other family, as many as are lacking.
    fn ask_other(
        &mut self,
        site: &Site,
        now: Time,
        announce: &Announce,
        later: impl FnOnce() -> WhenFound,
    ) -> Asked<()> {
        let family = Family::of(announce.peer.ip());
        let lacking = announce.want.saturating_sub(self.of(family).len / family.peer_len());
        let other = other(family);
        let ask = Ask { hash: announce.hash, family: other, role: announce.role, want: lacking };
        let mut room = std::mem::take(&mut self.of(other).room);
        let second = site.store.peers(now, &ask, &mut room, || {
            let (found, then) = (self.clone(), later());
            Box::new(move |told| found.finish(other, told, then))
        });
        self.of(other).room = room;
        let Asked::Done(told) = second else { return Asked::Later };
        self.add(other, &told.counts);
        Asked::Done(())
    }

    /// What came of the first question.
    fn note(&mut self, family: Family, told: &Told) {
        self.interval = told.interval;
        self.add(family, &told.counts);
    }

    fn add(&mut self, family: Family, counts: &Counts) {
        let packed = self.of(family);
        packed.len = counts.peers.min(packed.room.len());
        self.sums.complete = self.sums.complete.saturating_add(counts.complete);
        self.sums.incomplete = self.sums.incomplete.saturating_add(counts.incomplete);
        self.sums.downloaded = self.sums.downloaded.saturating_add(counts.downloaded);
    }

    /// Adds peers that came late, and passes all on.
    fn finish(mut self, family: Family, told: Result<(Told, Vec<u8>), Unavailable>, then: WhenFound) {
        match told {
            Ok((told, peers)) => {
                self.of(family).room = peers.into();
                self.add(family, &told.counts);
                then(Ok(&self));
            }
            Err(unavailable) => then(Err(unavailable)),
        }
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

fn take<L: FnOnce() -> WhenFound>(later: &mut Option<L>) -> WhenFound {
    later.take().map_or_else(nothing, |later| later())
}

fn nothing() -> WhenFound {
    Box::new(|_| ())
}

/// What follows once the answer to the first question comes late.
pub(super) fn own_later(site: &Arc<Site>, now: Time, announce: &Announce, then: WhenFound) -> WhenTold {
    let (site, announce) = (Arc::clone(site), *announce);
    Box::new(move |told| {
        let (told, peers) = match told {
            Ok(told) => told,
            Err(unavailable) => return then(Err(unavailable)),
        };
        let family = Family::of(announce.peer.ip());
        let mut found = Found::new(site.config.max_numwant as usize);
        found.of(family).room = peers.into();
        found.note(family, &told);
        let mut then = Some(then);
        let second = found.ask_other(&site, now, &announce, || then.take().unwrap_or_else(nothing));
        if let (Asked::Done(()), Some(then)) = (second, then) {
            then(Ok(&found));
        }
    })
}
