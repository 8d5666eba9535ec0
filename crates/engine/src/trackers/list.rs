//! The trackers that a torrent or a link names, as they can be asked.

use std::sync::Arc;

use samara_proto::metainfo::{Info, Metainfo};
use samara_proto::tracker::TrackerUrl;
use samara_proto::tracker::announcer::{Need, NewTorrent, Totals};

/// Most URLs of one torrent that are looked at; of those that can be used the announcer takes the first.
const MOST: usize = 1000;

/// The trackers of a torrent.
#[derive(Clone, Debug, Default)]
pub(crate) struct List {
    /// In tiers (BEP 12).
    pub(crate) tiers: Vec<Vec<Arc<TrackerUrl>>>,
    /// Named by the user.
    pub(crate) user: Vec<Arc<TrackerUrl>>,
}

impl List {
    /// Of a link: each is a tier of its own, for links know no tiers.
    pub(crate) fn new(linked: &[String], user: Vec<TrackerUrl>) -> Self {
        let tiers = linked.iter().take(MOST).filter_map(|text| Some(vec![read(text)?])).collect();
        Self { tiers, user: user.into_iter().map(Arc::new).collect() }
    }

    /// Puts those of the `.torrent` before those of the link.
    pub(crate) fn with(mut self, metainfo: &Metainfo) -> Self {
        let mut left = MOST;
        let mut tier = |urls: &Vec<String>| {
            let taken = urls.len().min(left);
            left -= taken;
            urls[..taken].iter().filter_map(|text| read(text)).collect::<Vec<_>>()
        };
        let mut tiers: Vec<_> =
            metainfo.trackers.iter().map(&mut tier).filter(|tier| !tier.is_empty()).collect();
        tiers.append(&mut self.tiers);
        Self { tiers, ..self }
    }

    /// To announce a torrent that is whole.
    pub(crate) fn seed(self, info: &Info) -> NewTorrent {
        let Self { tiers, user } = self;
        NewTorrent {
            hashes: info.hashes(),
            private: info.private(),
            tiers,
            user,
            totals: Totals::default(),
            need: Need::Few,
            partial_seed: false,
        }
    }
}

/// What is no URL of a tracker is passed over, as everywhere: lists hold much that never was one.
fn read(text: &str) -> Option<Arc<TrackerUrl>> {
    let read = TrackerUrl::parse(text);
    if let Err(error) = &read {
        tracing::debug!(url = text, %error, "passed over");
    }
    read.ok().map(Arc::new)
}
