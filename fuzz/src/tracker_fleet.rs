//! Announcers of some torrents under any script of trackers, users, networks and time: they keep the rules of [`judge`],
//! and end when told to.

pub mod judge;

use std::sync::Arc;
use std::time::Duration;

use samara_proto::ids::{InfoHashV1, InfoHashV2, InfoHashes, PeerId};
use samara_proto::time::Time;
use samara_proto::tracker::announcer::{Identity, Input as About, Need, NewTorrent, Problem, Totals};
use samara_proto::tracker::fleet::{Config, Fleet, Input as Happening, Output, Ticket, TorrentKey};
use samara_proto::tracker::reach::{Refused, Source};
use samara_proto::tracker::{AnnounceResponse, Failure, Retry, TrackerUrl};

use self::judge::Judge;
use super::input::{Input, play};

const TORRENTS: usize = 4;

const URLS: [&str; 8] = [
    "http://a/announce",
    "http://a/announce?pass",
    "https://b/announce",
    "udp://c:1",
    "udp://C:1/",
    "udp://d:2",
    "wss://e/",
    "http://10.0.0.1:80/announce",
];

/// Runs one input.
pub fn run(data: &[u8]) {
    play(data, World::new, World::step).finish();
}

struct World {
    fleet: Fleet,
    judge: Judge,
    now: Time,
    open: Vec<Ticket>,
    farewell: Duration,
}

impl World {
    fn new(input: &mut Input<'_>) -> Self {
        let mut config = Config::new(identity(input));
        config.announcer.all_tiers = input.flag();
        config.rate = u32::from(input.byte());
        config.per_host = input.below(4);
        config.at_once = 1 + input.below(8);
        let (farewell, seed) = (config.announcer.farewell, input.long());
        let (judge, fleet) = (Judge::new(config.clone()), Fleet::new(config, seed));
        Self { fleet, judge, now: Time::from_micros(input.long() >> 8), open: Vec::new(), farewell }
    }

    fn tell(&mut self, input: Happening) {
        self.judge.told(self.now, &input);
        self.fleet.handle(self.now, input);
        while let Some(output) = self.fleet.poll() {
            self.judge.said(self.now, &output);
            match output {
                Output::Ask { ticket, .. } => self.open.push(ticket),
                Output::Cancel(ticket) => self.open.retain(|open| *open != ticket),
                _ => {}
            }
        }
        self.judge.drained(self.now, &self.fleet);
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let torrent = TorrentKey(input.below(TORRENTS) as u64);
        match input.byte() % 8 {
            0 => self.tell(Happening::Added { torrent, new: Box::new(new_torrent(input)) }),
            1 => self.tell(Happening::Torrent { torrent, input: about(input) }),
            2 => self.tell(Happening::Network(identity(input))),
            3 => self.answer(input),
            4 => self.fail(input),
            5 => self.next_deadline(),
            6 => self.pass(Duration::from_micros(u64::from(input.word()))),
            _ => self.pass(Duration::from_secs(u64::from(input.short()))),
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        self.tell(Happening::Tick);
    }

    fn next_deadline(&mut self) {
        if let Some(at) = self.fleet.deadline() {
            self.now = at;
            self.tell(Happening::Tick);
        }
    }

    fn take(&mut self, input: &mut Input<'_>) -> Ticket {
        let at = input.below(self.open.len());
        // One that nobody knows is passed over.
        if at < self.open.len() { self.open.swap_remove(at) } else { Ticket(u64::MAX) }
    }

    fn answer(&mut self, input: &mut Input<'_>) {
        let ticket = self.take(input);
        let optional = |input: &mut Input<'_>| input.flag().then(|| input.word() >> (input.byte() % 32));
        let response = AnnounceResponse {
            interval: input.word() >> (input.byte() % 32),
            min_interval: optional(input),
            complete: optional(input),
            peers: vec!["10.0.0.1:1".parse().expect("an address"); input.below(3)],
            warning: input.flag().then(|| "careful".to_owned()),
            tracker_id: input.flag().then(|| input.bytes(4).into()),
            external_ip: input.flag().then(|| "1.2.3.4".parse().expect("an address")),
            ..AnnounceResponse::default()
        };
        let from = input.flag().then(|| "1.1.1.1".parse().expect("an address"));
        self.tell(Happening::Answered { ticket, from, response });
    }

    fn fail(&mut self, input: &mut Input<'_>) {
        let ticket = self.take(input);
        let refused = |retry| Problem::Refused(Failure { reason: "no".to_owned(), retry });
        let text = |input: &mut Input<'_>| "x".repeat(input.below(1000));
        let problem = match input.byte() % 8 {
            0 => Problem::Silent,
            1 => Problem::NoAddress,
            2 => Problem::Forbidden(Refused::Downgrade),
            3 => Problem::Failed(text(input)),
            7 => Problem::Useless(text(input)),
            4 => refused(None),
            5 => refused(Some(Retry::Never)),
            _ => refused(Some(Retry::Minutes(input.word() >> (input.byte() % 32)))),
        };
        self.tell(Happening::Failed { ticket, problem });
    }

    /// Everything ends in time although no tracker answers.
    fn finish(&mut self) {
        self.tell(Happening::Stop);
        let until = self.now + self.farewell;
        while let Some(at) = self.fleet.deadline().filter(|_| !self.fleet.is_empty()) {
            assert!(at <= until, "the end takes too long");
            self.now = at;
            self.tell(Happening::Tick);
        }
        assert!(self.fleet.is_empty());
    }
}

fn identity(input: &mut Input<'_>) -> Identity {
    let port = |input: &mut Input<'_>| input.flag().then(|| input.short());
    Identity { peer_id: PeerId([b'x'; 20]), v4: port(input), v6: port(input) }
}

fn hashes(input: &mut Input<'_>) -> InfoHashes {
    let byte = input.byte() % 4;
    let (v1, v2) = (InfoHashV1([byte; 20]), InfoHashV2([byte + 100; 32]));
    match input.byte() % 3 {
        0 => InfoHashes::V1(v1),
        1 => InfoHashes::V2(v2),
        _ => InfoHashes::Hybrid(v1, v2),
    }
}

fn urls(input: &mut Input<'_>) -> Vec<Arc<TrackerUrl>> {
    let url = |input: &mut Input<'_>| {
        let text = URLS[input.below(URLS.len())];
        Arc::new(TrackerUrl::parse(text).expect("a URL"))
    };
    (0..input.below(4)).map(|_| url(input)).collect()
}

fn need(input: &mut Input<'_>) -> Need {
    [Need::None, Need::Few, Need::Many, Need::Starved][input.below(4)]
}

fn new_torrent(input: &mut Input<'_>) -> NewTorrent {
    NewTorrent {
        hashes: hashes(input),
        private: input.flag(),
        tiers: (0..input.below(4)).map(|_| urls(input)).collect(),
        user: urls(input),
        totals: totals(input),
        need: need(input),
        partial_seed: input.flag(),
    }
}

fn totals(input: &mut Input<'_>) -> Totals {
    Totals { uploaded: input.long(), downloaded: input.long(), left: u64::from(input.byte() % 3) }
}

fn about(input: &mut Input<'_>) -> About {
    match input.byte() % 9 {
        0 => About::Tick,
        1 => About::Totals(totals(input)),
        2 => About::Completed,
        3 => About::PartialSeed(input.flag()),
        4 => About::Need(need(input)),
        5 => About::Identified { hashes: hashes(input), private: input.flag() },
        6 => About::Trackers {
            urls: urls(input),
            source: if input.flag() { Source::User } else { Source::Torrent },
        },
        7 => About::AnnounceNow,
        _ => About::Stop,
    }
}
