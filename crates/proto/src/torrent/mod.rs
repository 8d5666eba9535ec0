//! The brain of one torrent: whom to connect to, what to ask of whom, whom to serve, and what is proven
//! (BEP 3, 6, 9, 21, 52).
//!
//! It never sees payload: blocks pass through as handles. It reads no clock and draws no randomness but from its
//! seed, so a run can be repeated from (seed, inputs). Everything it holds per peer, piece and address is bounded.

mod api;

use std::collections::VecDeque;

pub use api::{Config, Expected, Input, Output, PeerStatus, PieceLayers, Source, Stats, TorrentEvent};

use crate::ids::InfoHashes;
use crate::time::Time;

/// One torrent. `B` is the handle of a payload buffer.
#[derive(Debug)]
pub struct Torrent<B> {
    config: Config,
    hashes: InfoHashes,
    out: VecDeque<Output<B>>,
    stopped: bool,
}

impl<B> Torrent<B> {
    /// A torrent that knows nothing but its hashes yet. All its choices follow from `seed`.
    pub fn new(config: Config, hashes: InfoHashes, _seed: u64, _now: Time) -> Self {
        Self { config, hashes, out: VecDeque::new(), stopped: false }
    }

    /// Takes one input. Drain [`Self::poll`] after it.
    pub fn handle(&mut self, _now: Time, input: Input<B>) {
        if matches!(input, Input::Stop) {
            self.stopped = true;
        }
    }

    /// The next thing to do, until `None`.
    pub fn poll(&mut self) -> Option<Output<B>> {
        self.out.pop_front()
    }

    /// When to give it [`Input::Tick`] if nothing else happens before; `None` for never.
    pub fn deadline(&self) -> Option<Time> {
        None
    }

    /// Numbers as of the last input.
    pub fn stats(&self) -> Stats {
        Stats::default()
    }

    /// Every peer, by key.
    pub fn peers(&self) -> impl Iterator<Item = PeerStatus> + '_ {
        std::iter::empty()
    }

    /// Its settings.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// The hashes it goes by.
    pub const fn hashes(&self) -> InfoHashes {
        self.hashes
    }
}
