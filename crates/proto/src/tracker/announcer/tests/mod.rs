use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::ids::{InfoHashV1, InfoHashV2, PeerId};
use crate::tracker::{AnnounceRequest, Failure, Retry};

mod events;
mod tiers;

pub(in super::super) fn config() -> Config {
    Config::new(Identity { peer_id: PeerId(*b"-SA0100-announcer---"), v4: Some(6881), v6: None })
}

pub(in super::super) fn url(text: &str) -> Arc<TrackerUrl> {
    Arc::new(TrackerUrl::parse(text).unwrap())
}

pub(in super::super) fn torrent(tiers: &[&[&str]]) -> NewTorrent {
    NewTorrent {
        hashes: InfoHashes::V1(InfoHashV1([7; 20])),
        private: false,
        tiers: tiers.iter().map(|tier| tier.iter().map(|text| url(text)).collect()).collect(),
        user: Vec::new(),
        totals: Totals { left: 1000, ..Totals::default() },
        need: Need::Many,
        partial_seed: false,
    }
}

/// A machine, and a clock that goes on when told to.
struct Rig {
    it: Announcer,
    now: Time,
    due: VecDeque<LineId>,
    /// What else came out.
    out: Vec<Output>,
}

/// A request that waits for its answer.
struct Open {
    line: LineId,
    ask: Ask,
}

impl Open {
    fn host(&self) -> &str {
        self.ask.url.host()
    }
}

impl Rig {
    fn new(config: Config, new: NewTorrent) -> Self {
        let now = Time::from_micros(5_000_000);
        let it = Announcer::new(Arc::new(config), 3, now, new);
        let mut rig = Self { it, now, due: VecDeque::new(), out: Vec::new() };
        rig.drain();
        rig
    }

    fn drain(&mut self) {
        while let Some(output) = self.it.poll() {
            match output {
                Output::Due { line, .. } => self.due.push_back(line),
                other => self.out.push(other),
            }
        }
        assert!(self.it.deadline().is_none_or(|at| at > self.now));
    }

    fn tell(&mut self, input: Input) {
        self.it.handle(self.now, input);
        self.drain();
    }

    /// The next request that is due now.
    fn ask(&mut self) -> Open {
        self.try_ask().expect("a request is due")
    }

    fn try_ask(&mut self) -> Option<Open> {
        loop {
            let line = self.due.pop_front()?;
            if let Some(ask) = self.it.ask(self.now, line) {
                return Some(Open { line, ask });
            }
        }
    }

    fn answer(&mut self, open: &Open, response: AnnounceResponse) {
        self.tell(Input::Answered { line: open.line, response });
    }

    fn fail(&mut self, open: &Open) {
        self.tell(Input::Failed { line: open.line, problem: Problem::Silent });
    }

    /// Lets time pass to the next deadline, but at most so long; returns the seconds.
    fn pass(&mut self, most: u64) -> u64 {
        let until = self.now + Duration::from_secs(most);
        let next = self.it.deadline().unwrap_or(until).min(until);
        let passed = next.since(self.now);
        self.now = next;
        self.tell(Input::Tick);
        passed.as_secs()
    }

    /// Lets time pass until a request is due; returns it and the seconds that passed.
    fn wait(&mut self, most: u64) -> (Option<Open>, u64) {
        let start = self.now;
        loop {
            let open = self.try_ask();
            let passed = self.now.since(start).as_secs();
            if open.is_some() || passed >= most {
                return (open, passed);
            }
            self.pass(most - passed);
        }
    }
}

fn every(seconds: u32) -> AnnounceResponse {
    AnnounceResponse { interval: seconds, ..AnnounceResponse::default() }
}
