//! The trackers of a torrent, in order.

use std::sync::Arc;

use super::super::reach::Source;
use super::super::url::{Scheme, TrackerUrl};
use super::api::{LineId, MAX_TRACKERS};
use super::line::{Line, Tracker};
use crate::rng::Rng;

/// Sorted by tier; within a tier in the order to try (BEP 12).
#[derive(Debug, Default)]
pub(super) struct List {
    trackers: Vec<Tracker>,
    /// Those that are none of the torrent's any more, and only hear of its end.
    left: Vec<Tracker>,
    next_id: u16,
}

impl List {
    pub(super) fn new(rng: &mut Rng, tiers: Vec<Vec<Arc<TrackerUrl>>>, user: Vec<Arc<TrackerUrl>>) -> Self {
        let mut list = Self::default();
        let mut tier = 0;
        for url in user {
            tier += u16::from(list.push(tier, url, Source::User));
        }
        for mut urls in tiers {
            rng.shuffle(&mut urls);
            // No short cut: each URL is to be tried.
            let taken =
                urls.into_iter().filter(|url| list.push(tier, Arc::clone(url), Source::Torrent)).count();
            tier += u16::from(taken > 0);
        }
        list.trackers.shrink_to_fit();
        list
    }

    /// Takes a tracker into the last tier, or a new one; false if it is there already, cannot be asked, or too many are.
    fn push(&mut self, tier: u16, url: Arc<TrackerUrl>, source: Source) -> bool {
        let takes = self.takes(&url);
        if takes {
            self.trackers.push(Tracker { id: self.next_id, tier, source, url, lines: Vec::new() });
            self.next_id += 1;
        }
        takes
    }

    /// Trackers for peers in browsers cannot be asked: what they give are offers of WebRTC.
    fn takes(&self, url: &TrackerUrl) -> bool {
        let known = self.trackers.iter().any(|tracker| tracker.url.is_same(url));
        let for_browsers = matches!(url.scheme(), Scheme::Ws | Scheme::Wss);
        !known && !for_browsers && self.trackers.len() < MAX_TRACKERS && self.next_id < u16::MAX
    }

    /// Takes further trackers, each in a tier of its own: in front or behind. Says by how many the numbers of the tiers
    /// grew that were there.
    pub(super) fn add(&mut self, urls: Vec<Arc<TrackerUrl>>, source: Source) -> u16 {
        let mut added = Self { next_id: self.next_id, ..Self::default() };
        for url in urls {
            if self.takes(&url) && self.trackers.len() + added.trackers.len() < MAX_TRACKERS {
                added.push(added.trackers.len() as u16, url, source);
            }
        }
        self.next_id = added.next_id;
        let shift = if source == Source::User { added.trackers.len() as u16 } else { 0 };
        if source == Source::User {
            std::mem::swap(&mut self.trackers, &mut added.trackers);
        }
        let tiers = self.trackers.last().map_or(0, |last| last.tier + 1);
        added.trackers.iter_mut().for_each(|tracker| tracker.tier += tiers);
        self.trackers.append(&mut added.trackers);
        shift
    }

    /// Leaves the user's trackers, if there are others (BEP 27); names the lines that are to hear of it.
    pub(super) fn keep_own(&mut self) -> Vec<LineId> {
        let foreign = |tracker: &mut Tracker| tracker.source != Source::Torrent;
        if self.trackers.iter().any(|tracker| tracker.source == Source::Torrent) {
            let left = self.trackers.extract_if(.., foreign);
            self.left = left.filter(|tracker| !tracker.lines.is_empty()).collect();
        }
        self.left.iter().flat_map(Tracker::line_ids).collect()
    }

    /// Whether a tracker is none of the torrent's any more.
    pub(super) fn has_left(&self, id: u16) -> bool {
        self.left.iter().any(|tracker| tracker.id == id)
    }

    /// Every tracker, those that were left too.
    pub(super) fn all(&self) -> impl Iterator<Item = &Tracker> {
        self.trackers.iter().chain(&self.left)
    }

    /// What answers moves to the front of its tier (BEP 12).
    pub(super) fn promote(&mut self, at: usize) {
        let tier = self.trackers[at].tier;
        let front = self.trackers.partition_point(|tracker| tracker.tier < tier);
        self.trackers[front..=at].rotate_right(1);
    }

    /// The tiers, in order.
    pub(super) fn tiers(&self) -> Vec<u16> {
        let mut tiers: Vec<u16> = self.trackers.iter().map(|tracker| tracker.tier).collect();
        tiers.dedup();
        tiers
    }

    /// Where a tier lies.
    pub(super) fn range(&self, tier: u16) -> std::ops::Range<usize> {
        let end = |tier: u16| self.trackers.partition_point(|tracker| tracker.tier < tier);
        end(tier)..tier.checked_add(1).map_or(self.trackers.len(), end)
    }

    pub(super) fn find(&self, id: u16) -> Option<usize> {
        self.trackers.iter().position(|tracker| tracker.id == id)
    }

    /// A tracker of the torrent, or one that was left.
    pub(super) fn tracker(&self, id: u16) -> Option<&Tracker> {
        self.all().find(|tracker| tracker.id == id)
    }

    /// A line of such a one.
    pub(super) fn line(&mut self, id: LineId) -> Option<&mut Line> {
        let mut all = self.trackers.iter_mut().chain(&mut self.left);
        all.find(|tracker| tracker.id == id.tracker)?.line(id.lane)
    }

    /// Every line of the torrent's trackers.
    pub(super) fn line_ids(&self) -> Vec<LineId> {
        self.trackers.iter().flat_map(Tracker::line_ids).collect()
    }
}

impl std::ops::Deref for List {
    type Target = [Tracker];

    fn deref(&self) -> &[Tracker] {
        &self.trackers
    }
}

impl std::ops::DerefMut for List {
    fn deref_mut(&mut self) -> &mut [Tracker] {
        &mut self.trackers
    }
}
