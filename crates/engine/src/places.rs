//! Places among the connections of the whole program, shared out between its torrents.
//!
//! The rule: a torrent takes one more place only while it holds less than [`EAGERNESS`] times what is free (the dynamic
//! thresholds of Choudhury and Hahne, 1998, who share the memory of a switch among its ports). So `n` greedy torrents
//! get about 2/(2n+1) of all each, whoever came first, and half as much as one of them holds stays free for the next
//! that wants some, without anybody being sent away; and nobody keeps count of who wants what. The price is that
//! half of one torrent's share is unused. A sole torrent may take everything.
//!
//! Callers may go beyond that by [`SLACK`] of all, for the torrent then has to send somebody away for each
//! (`torrent::turnover` in `samara-proto`), or the caller. Tested below; the transfer tests keep the limit.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A torrent may hold so many times what is free.
const EAGERNESS: usize = 2;

/// One in so many places beyond all, for callers who cost somebody else a place; at least one.
const SLACK: usize = 8;

/// All places.
#[derive(Debug)]
pub(crate) struct Places {
    max: usize,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    taken: usize,
    torrents: usize,
}

impl Places {
    /// `max` places.
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, counts: Mutex::default() })
    }

    /// A torrent's part in them.
    pub(crate) fn share(self: &Arc<Self>) -> Share {
        self.lock().torrents += 1;
        Share { places: Arc::clone(self), held: Arc::default() }
    }

    /// Places that are taken.
    pub(crate) fn taken(&self) -> usize {
        self.lock().taken
    }

    /// A place for a caller, before its torrent looks at it; `None` if even those beyond all are taken. These are only for
    /// a torrent that is awake, and may have somebody to send away.
    pub(crate) fn admit(self: &Arc<Self>, awake: bool) -> Option<Place> {
        let mut counts = self.lock();
        let slack = if awake { (self.max / SLACK).max(1) } else { 0 };
        (counts.taken < self.max + slack).then(|| {
            counts.taken += 1;
            Place { places: Arc::clone(self), held: None }
        })
    }

    /// A poisoned lock is of no consequence: every change is a single addition.
    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a torrent that holds `held` may take one more while `taken` are taken.
    fn fits(&self, torrents: usize, taken: usize, held: usize) -> bool {
        let free = self.max.saturating_sub(taken);
        free > 0 && (torrents == 1 || held < free.saturating_mul(EAGERNESS))
    }
}

/// What one torrent holds. Its end makes room in the shares of the others; what it still holds it keeps.
#[derive(Debug)]
pub(crate) struct Share {
    places: Arc<Places>,
    held: Arc<AtomicUsize>,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.places.lock().torrents -= 1;
    }
}

impl Share {
    /// Whether there is a place for one connection more.
    pub(crate) fn has_room(&self) -> bool {
        let counts = self.places.lock();
        self.places.fits(counts.torrents, counts.taken, self.held.load(Relaxed))
    }

    /// A place, if there is one for this torrent.
    pub(crate) fn take(&self) -> Option<Place> {
        let mut counts = self.places.lock();
        let held = self.held.load(Relaxed);
        self.places.fits(counts.torrents, counts.taken, held).then(|| {
            counts.taken += 1;
            Place { places: Arc::clone(&self.places), held: None }.held_by(&self.held)
        })
    }

    /// Makes a caller's place one of this torrent's. False if there was no room for it: then somebody has to go.
    pub(crate) fn adopt(&self, place: Place) -> (Place, bool) {
        let counts = self.places.lock();
        let others = counts.taken - 1;
        let room = self.places.fits(counts.torrents, others, self.held.load(Relaxed));
        (place.held_by(&self.held), room)
    }
}

/// The place of one connection, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    /// The count of the torrent that it belongs to; `None` before it is known.
    held: Option<Arc<AtomicUsize>>,
}

impl Place {
    fn held_by(mut self, held: &Arc<AtomicUsize>) -> Self {
        held.fetch_add(1, Relaxed);
        self.held = Some(Arc::clone(held));
        self
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().taken -= 1;
        if let Some(held) = &self.held {
            held.fetch_sub(1, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes all that there is.
    fn fill(share: &Share) -> Vec<Place> {
        std::iter::from_fn(|| share.take()).collect()
    }

    #[test]
    fn a_sole_torrent_takes_all_and_callers_a_little_more() {
        let places = Places::new(20);
        let share = places.share();
        let mut held = fill(&share);
        assert_eq!((held.len(), share.has_room()), (20, false));
        for _ in 0..2 {
            let (place, room) = share.adopt(places.admit(true).expect("beyond all"));
            assert!(!room);
            held.push(place);
        }
        assert!(places.admit(true).is_none());
        held.truncate(19);
        assert!(share.has_room() && share.take().is_some());
        let last = places.admit(false).unwrap();
        assert!(places.admit(false).is_none() && share.adopt(last).1);
        drop((held, share));
        let counts = places.lock();
        assert_eq!((counts.taken, counts.torrents), (0, 0));
    }

    #[test]
    fn who_comes_late_gets_a_part_and_churn_makes_it_a_fair_one() {
        let places = Places::new(500);
        let shares: Vec<_> = (0..10).map(|_| places.share()).collect();
        // No torrent takes more by itself.
        let mut held: Vec<Vec<_>> =
            shares.iter().map(|s| std::iter::from_fn(|| s.take()).take(80).collect()).collect();
        assert!(held.iter().all(|h| !h.is_empty()), "{:?}", held.iter().map(Vec::len).collect::<Vec<_>>());
        // Everybody loses a connection now and then, and takes what it may.
        for _ in 0..1000 {
            for (held, share) in held.iter_mut().zip(&shares) {
                held.pop();
                held.extend(share.take());
            }
            for (held, share) in held.iter_mut().zip(&shares) {
                held.extend(share.take());
            }
        }
        let sizes: Vec<_> = held.iter().map(Vec::len).collect();
        let (least, most) = (sizes.iter().min().unwrap(), sizes.iter().max().unwrap());
        assert!(most - least <= 3 && *least >= 2 * 500 / 21 - 3, "{sizes:?}");
    }

    #[test]
    fn more_torrents_than_places_have_one_each_as_far_as_they_go() {
        let places = Places::new(50);
        let shares: Vec<_> = (0..1000).map(|_| places.share()).collect();
        let held: Vec<_> = shares.iter().filter_map(Share::take).collect();
        assert_eq!(held.len(), 50);
    }
}
