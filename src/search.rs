//! Looking for who has a torrent of which only the hash is known: who is asked, and what the user hears of it.

use std::time::{Duration, Instant};

use samara_engine::{Snapshot, Source};

use crate::ui::json::{MetadataPieces, Search as Told};

/// After so long without anybody the user is told what can be done.
const PATIENCE: Duration = Duration::from_secs(60);

/// A search that is under way.
#[derive(Debug)]
pub(crate) struct Search {
    asked: Vec<&'static str>,
    begun: Instant,
    warned: bool,
}

impl Search {
    /// These are asked: names as of [`Told::asked`].
    pub(crate) fn new(asked: Vec<&'static str>) -> Self {
        Self { asked, begun: Instant::now(), warned: false }
    }

    /// How far it is.
    pub(crate) fn progress(&self, snapshot: &Snapshot) -> Told {
        let from: Vec<_> =
            snapshot.sources.iter().filter(|(_, n)| *n > 0).map(|(s, n)| (name(s), n)).collect();
        Told {
            asked: self.asked.clone(),
            known: from.iter().map(|(_, n)| n).sum(),
            from: from.into_iter().collect(),
            metadata: snapshot.metadata.map(|m| MetadataPieces {
                pieces: m.pieces,
                total: m.total,
                peers: m.peers,
            }),
        }
    }

    /// What to say once if nobody was found for long.
    pub(crate) fn complaint(&mut self, told: &Told) -> Option<String> {
        let due = !self.warned && told.known == 0 && self.begun.elapsed() >= PATIENCE;
        self.warned |= due;
        due.then(|| {
            let seconds = PATIENCE.as_secs();
            format!(
                "nobody who has this was found in {seconds} s: leave it running, or name a peer with --peer HOST:PORT or a \
                 tracker with --tracker URL"
            )
        })
    }
}

/// The stable name of a source.
const fn name(source: Source) -> &'static str {
    match source {
        Source::User => "user",
        Source::Link => "link",
        Source::Lsd => "lsd",
        Source::Tracker => "tracker",
        Source::Incoming => "incoming",
        Source::Pex => "pex",
        Source::Dht => "dht",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_once_and_late_that_nobody_is_there() {
        let mut search = Search::new(vec!["trackers"]);
        let told = search.progress(&Snapshot::default());
        assert_eq!((told.known, search.complaint(&told)), (0, None));
        search.begun = Instant::now().checked_sub(PATIENCE).unwrap();
        assert_eq!(search.complaint(&Told { known: 1, ..told.clone() }), None);
        assert!(search.complaint(&told).unwrap().contains("--peer"));
        assert_eq!(search.complaint(&told), None);
    }
}
