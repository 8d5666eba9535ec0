//! What of all that trackers say a person is told without asking.
//!
//! Their own words, refusals and warnings, once each. That one cannot be had matters only while none answers, and then
//! some few times: lists of trackers are full of dead ones.

use std::collections::HashSet;

use super::json::Tracker;

/// Words remembered; more are not told.
const MOST: usize = 256;

/// Told so often that a tracker cannot be had.
const FEW: usize = 3;

#[derive(Debug, Default)]
pub(super) struct Trackers {
    told: HashSet<(String, String)>,
    /// One has answered.
    answered: bool,
    lost: usize,
}

impl Trackers {
    /// Whether to tell it.
    pub(super) fn matters(&mut self, tracker: &Tracker) -> bool {
        self.answered |= tracker.state == "working";
        let Some(message) = &tracker.message else { return false };
        if !tracker.own_words {
            let lost = tracker.state == "failed" && !self.answered && self.lost < FEW;
            return lost && self.is_new(tracker, message) && {
                self.lost += 1;
                true
            };
        }
        self.is_new(tracker, message)
    }

    fn is_new(&mut self, tracker: &Tracker, message: &str) -> bool {
        self.told.len() < MOST && self.told.insert((tracker.url.clone(), message.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(state: &'static str, own_words: bool, message: Option<&str>) -> Tracker {
        Tracker {
            url: "udp://t:1".into(),
            family: "ipv4",
            state,
            peers: None,
            seeds: None,
            leeches: None,
            message: message.map(ToOwned::to_owned),
            own_words,
        }
    }

    #[test]
    fn a_tracker_s_words_are_told_once() {
        let mut trackers = Trackers::default();
        assert!(trackers.matters(&said("failed", true, Some("closed"))));
        assert!(!trackers.matters(&said("failed", true, Some("closed"))));
        assert!(trackers.matters(&said("working", true, Some("closing soon"))));
        assert!(!trackers.matters(&said("working", true, None)));
    }

    #[test]
    fn silence_matters_while_no_tracker_answers() {
        let mut trackers = Trackers::default();
        let mut silent = said("failed", false, Some("no answer"));
        assert!(trackers.matters(&silent) && !trackers.matters(&silent));
        for n in 0..5 {
            silent.url = format!("udp://t:{}", n + 2);
            assert_eq!(trackers.matters(&silent), n < 2, "{n}");
        }
        let mut trackers = Trackers::default();
        assert!(!trackers.matters(&said("absent", false, Some("no address"))));
        trackers.matters(&said("working", true, None));
        assert!(!trackers.matters(&silent));
    }
}
