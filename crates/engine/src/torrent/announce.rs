//! What trackers are told of a torrent while it is awake.
//!
//! One that is known is announced once its data is looked at, for only then is it known what is missing; one that is only
//! a hash at once. What is dormant stays announced.

use samara_proto::tracker::announcer::{Need, NewTorrent, Totals};

use super::{Data, Owner};
use crate::trackers::{self, List};

/// What trackers were told.
pub(super) struct Announced {
    /// Whom to tell; taken when it begins.
    list: Option<List>,
    need: Need,
    partial_seed: bool,
    /// Something of the whole torrent was missing in this session.
    missing: bool,
}

impl Announced {
    pub(super) fn new(list: List) -> Self {
        Self { list: Some(list), need: Need::default(), partial_seed: false, missing: false }
    }

    /// It was announced when it was awake before.
    pub(super) fn go_on(&mut self) {
        self.list = None;
    }
}

impl Owner {
    /// Begins to announce, unless that was done before; what is there already when it is looked at was not downloaded.
    pub(super) fn announce(&mut self) {
        let totals = self.totals();
        self.entry.tally.set(totals);
        self.announced.missing = totals.left > 0;
        let Some(list) = self.announced.list.take() else { return };
        let list = match &self.metainfo {
            Some(metainfo) => list.with(metainfo),
            None => list,
        };
        let (need, partial_seed) = (self.need(totals), self.is_partial_seed(totals));
        self.announced = Announced { list: None, need, partial_seed, missing: totals.left > 0 };
        let List { tiers, user } = list;
        let private = self.metainfo.as_ref().is_some_and(|metainfo| metainfo.info.private());
        let hashes = self.machine.hashes();
        let new = NewTorrent { hashes, private, tiers, user, totals, need, partial_seed };
        self.shared.desk.add(&self.entry, new);
        if let (Some(metainfo), Some(dht)) = (&self.metainfo, self.shared.dht.as_ref().filter(|_| !private)) {
            dht.named(&metainfo.nodes);
        }
    }

    /// Tells what changed. Of what is being woken everything was said, and nothing new is known before it is open.
    pub(super) fn tell_trackers(&mut self) {
        let wakes = self.woken && !matches!(self.data, Data::Open(_));
        if wakes || self.announced.list.is_some() {
            return;
        }
        let (totals, desk, tally) = (self.totals(), &self.shared.desk, &self.entry.tally);
        tally.set(totals);
        let (need, partial_seed) = (self.need(totals), self.is_partial_seed(totals));
        if std::mem::replace(&mut self.announced.need, need) != need {
            desk.need(tally, need);
        }
        if std::mem::replace(&mut self.announced.partial_seed, partial_seed) != partial_seed {
            desk.partial_seed(tally, partial_seed);
        }
        if std::mem::replace(&mut self.announced.missing, totals.left > 0) && totals.left == 0 {
            desk.completed(tally);
        }
    }

    /// The torrent ends, unless it was dormant before and failed, which may pass.
    pub(super) fn leave_trackers(&mut self) {
        self.tell_trackers();
        if self.leaves().is_none() {
            self.shared.desk.stop(&self.entry.tally);
        }
    }

    fn totals(&self) -> Totals {
        let stats = self.machine.stats();
        let left = match (&self.metainfo, &self.data) {
            (Some(metainfo), Data::Open(_)) => {
                let unwanted = metainfo.info.total_size().saturating_sub(stats.wanted);
                stats.wanted.saturating_sub(stats.done) + unwanted
            }
            (Some(metainfo), _) => metainfo.info.total_size().max(1),
            (None, _) => 1,
        };
        Totals {
            uploaded: self.basis.uploaded + stats.uploaded,
            downloaded: self.basis.downloaded + stats.downloaded,
            left,
        }
    }

    /// Everything that is wanted is there, but that is not all.
    fn is_partial_seed(&self, totals: Totals) -> bool {
        matches!(self.data, Data::Open(_)) && totals.left > 0 && self.machine.is_complete()
    }

    fn need(&self, totals: Totals) -> Need {
        if self.full || self.failed || self.stopping.is_some() {
            return Need::None;
        }
        let stats = self.machine.stats();
        let wants = totals.left > 0 && !self.is_partial_seed(totals);
        trackers::need(wants, stats.peers, stats.candidates)
    }
}
