//! What all torrents of a client send together, so that each knows its part of the line: the slots are shared by it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes a second that all torrents said they send.
#[derive(Clone, Debug, Default)]
pub(crate) struct Uplink(Arc<AtomicU64>);

/// What one torrent said; taken back when it ends.
#[derive(Debug)]
pub(super) struct Part {
    all: Uplink,
    mine: u64,
}

impl Uplink {
    pub(super) fn join(&self) -> Part {
        Part { all: self.clone(), mine: 0 }
    }
}

impl Part {
    /// This torrent sends so many bytes a second. Says how many the others do.
    pub(super) fn say(&mut self, rate: u64) -> u64 {
        let Uplink(all) = &self.all;
        // In two steps, between which others may read a little less.
        let others = all.fetch_sub(self.mine, Ordering::Relaxed) - self.mine;
        all.fetch_add(rate, Ordering::Relaxed);
        self.mine = rate;
        others
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.say(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_hears_of_the_others_as_long_as_they_are_there() {
        let all = Uplink::default();
        let (mut one, mut two) = (all.join(), all.join());
        assert_eq!(one.say(100), 0);
        assert_eq!(two.say(7), 100);
        assert_eq!(one.say(50), 7);
        drop(one);
        assert_eq!(two.say(9), 0);
    }
}
