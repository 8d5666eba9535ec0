//! What holds for every fleet of announcers, whatever happens to it. It looks at inputs and outputs alone. Used by the
//! fuzz target and by the simulations of `crates/proto/tests/trackers.rs`.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use samara_proto::ids::WireHash;
use samara_proto::time::Time;
use samara_proto::tracker::announcer::{self, Ask, Problem};
use samara_proto::tracker::fleet::{Config, Fleet, Input, Output, Ticket, TorrentKey};
use samara_proto::tracker::{AnnounceResponse, Event, Family, Retry, Scheme};

/// More than this comes out of no single input: all torrents of the tests, all their trackers, both families.
const MOST_OUTPUTS: usize = 20_000;

/// One way to one tracker of one torrent.
type Line = (TorrentKey, String, Family, WireHash);

/// What a line's past allows.
#[derive(Debug, Default)]
struct Past {
    open: Option<Event>,
    known: bool,
    completed: bool,
    stopped: bool,
    /// No announce before, but for events.
    least: Option<Time>,
    /// Nothing at all before.
    back_off: Option<Time>,
}

/// A question on its way.
#[derive(Debug)]
struct Open {
    line: Line,
    event: Event,
    /// Whether the torrent was known to be private then.
    private: bool,
}

#[derive(Debug, Default)]
struct Torrent {
    completed: bool,
    stopping: bool,
    private: bool,
}

/// Watches one fleet.
#[derive(Debug)]
pub struct Judge {
    config: Config,
    torrents: BTreeMap<TorrentKey, Torrent>,
    past: BTreeMap<Line, Past>,
    open: BTreeMap<Ticket, Open>,
    /// Who found which tracker silent since it answered last.
    silent: BTreeMap<(String, Family), Vec<Line>>,
    /// When the last announces left that told of no end.
    left: VecDeque<Time>,
    outputs: usize,
    /// Announces so far.
    pub asks: usize,
}

impl Judge {
    /// For a fleet of this config that has done nothing yet.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            torrents: BTreeMap::new(),
            past: BTreeMap::new(),
            open: BTreeMap::new(),
            silent: BTreeMap::new(),
            left: VecDeque::new(),
            outputs: 0,
            asks: 0,
        }
    }

    /// To be told of each input before the fleet is.
    pub fn told(&mut self, now: Time, input: &Input) {
        self.outputs = 0;
        match input {
            Input::Added { torrent, new } => {
                self.forget(*torrent);
                self.torrents.insert(*torrent, Torrent { private: new.private, ..Torrent::default() });
            }
            Input::Torrent { torrent, input } => self.told_torrent(*torrent, input),
            Input::Answered { ticket, response, .. } => self.answered(now, *ticket, response),
            Input::Failed { ticket, problem } => self.failed(now, *ticket, problem),
            Input::Network(_) => self.past.values_mut().for_each(|past| past.back_off = None),
            Input::Stop => self.torrents.values_mut().for_each(|torrent| torrent.stopping = true),
            Input::Tick => {}
        }
    }

    fn told_torrent(&mut self, key: TorrentKey, input: &announcer::Input) {
        let Some(torrent) = self.torrents.get_mut(&key) else { return };
        match input {
            announcer::Input::Completed => torrent.completed = true,
            announcer::Input::Stop => torrent.stopping = true,
            announcer::Input::Identified { private, .. } => torrent.private |= *private,
            announcer::Input::AnnounceNow => {
                let of = self.past.iter_mut().filter(|(line, _)| line.0 == key);
                of.for_each(|(_, past)| past.back_off = None);
            }
            _ => {}
        }
    }

    fn answered(&mut self, now: Time, ticket: Ticket, response: &AnnounceResponse) {
        let Some(Open { line, event, .. }) = self.open.remove(&ticket) else { return };
        self.heard_of(&line);
        let past = self.past.entry(line).or_default();
        past.open = None;
        past.known = event != Event::Stopped;
        past.completed |= event == Event::Completed;
        past.back_off = None;
        let announcer = &self.config.announcer;
        let least = Duration::from_secs(u64::from(response.min_interval.unwrap_or(0)));
        past.least = Some(now + least.min(announcer.most_interval).max(announcer.least_interval));
    }

    fn failed(&mut self, now: Time, ticket: Ticket, problem: &Problem) {
        let Some(Open { line, .. }) = self.open.remove(&ticket) else { return };
        if let Problem::Refused(_) | Problem::Useless(_) = problem {
            self.heard_of(&line);
        }
        if problem.is_transport() {
            self.silent.entry(server(&line)).or_default().push(line.clone());
        }
        let past = self.past.entry(line).or_default();
        past.open = None;
        let first = self.config.announcer.back_off * 3 / 4;
        let wait = match problem {
            Problem::Refused(failure) => match failure.retry {
                Some(Retry::Never) => Duration::MAX,
                Some(Retry::Minutes(n)) => first.max(Duration::from_secs(60 * u64::from(n.min(1440)))),
                None => first,
            },
            Problem::Forbidden(_) => Duration::MAX,
            _ => first,
        };
        past.back_off = Some(now + wait);
    }

    /// The tracker of `line` is there: whoever found it silent may ask again.
    fn heard_of(&mut self, line: &Line) {
        for silent in self.silent.remove(&server(line)).into_iter().flatten() {
            if let Some(past) = self.past.get_mut(&silent) {
                past.back_off = None;
            }
        }
    }

    /// To be told of each output.
    pub fn said(&mut self, now: Time, output: &Output) {
        self.outputs += 1;
        assert!(self.outputs < MOST_OUTPUTS, "too much comes out of one input");
        match output {
            Output::Ask { ticket, torrent, ask } => self.asked(now, *ticket, *torrent, ask),
            Output::Cancel(ticket) => {
                let open = self.open.remove(ticket).expect("only what is open is cancelled");
                self.past.entry(open.line).or_default().open = None;
            }
            Output::Stopped(torrent) => {
                assert!(self.torrents[torrent].stopping, "{torrent:?} ended by itself");
                self.forget(*torrent);
            }
            Output::Peers { torrent, peers } => {
                assert!(!peers.is_empty() && self.torrents.contains_key(torrent));
            }
            Output::ExternalIp { torrent, .. } | Output::Report { torrent, .. } => {
                assert!(self.torrents.contains_key(torrent));
            }
        }
    }

    fn asked(&mut self, now: Time, ticket: Ticket, key: TorrentKey, ask: &Ask) {
        self.asks += 1;
        let torrent = self.torrents.get(&key).expect("only of torrents that are there");
        let request = &ask.request;
        let event = request.event;
        let line: Line = (key, ask.url.as_str().to_owned(), ask.family, request.info_hash);
        let past = self.past.entry(line.clone()).or_default();
        assert_eq!(past.open, None, "{line:?} is asked twice at once");
        assert!(!past.stopped, "{line:?} is asked after its end: {event:?}");
        // A private torrent takes leave of trackers that are not its own.
        let ends = event == Event::Stopped;
        assert!(ends == torrent.stopping || ends && torrent.private, "{line:?}: {event:?}");
        match event {
            Event::Started => assert!(!past.known, "{line:?} starts again"),
            Event::Completed => assert!(past.known && torrent.completed && !past.completed, "{line:?}"),
            Event::Stopped | Event::None => assert!(past.known, "{line:?}: {event:?} before it started"),
            Event::Paused => assert!(past.known && ask.url.scheme() != Scheme::Udp, "{line:?}"),
        }
        let late = |least: Option<Time>| least.is_none_or(|least| least <= now);
        assert!(matches!(event, Event::Completed | Event::Stopped) || late(past.least), "{line:?} too soon");
        assert!(event == Event::Stopped || late(past.back_off), "{line:?} too soon after a failure");
        assert!(request.numwant.is_some_and(|n| n <= if event == Event::Stopped { 0 } else { 200 }));
        past.open = Some(event);
        past.stopped = event == Event::Stopped;
        let private = torrent.private && !ends;
        let other = |open: &Open| open.private && open.line.0 == key && open.line.1 != line.1;
        assert!(!private || !self.open.values().any(other), "the private {key:?} is at two trackers");
        self.open.insert(ticket, Open { line, event, private });
        self.check_places(now, ask, event);
    }

    fn check_places(&mut self, now: Time, ask: &Ask, event: Event) {
        assert!(self.open.len() <= self.config.at_once);
        let here = host(ask.url.as_str());
        let same = |open: &&Open| open.line.2 == ask.family && host(&open.line.1) == here;
        assert!(
            self.open.values().filter(same).count() <= self.config.per_host.max(1),
            "too many at {here}: {:?}",
            self.open
        );
        if event == Event::Stopped {
            return;
        }
        self.left.push_back(now);
        let most = (self.config.rate + self.config.rate / 5).max(2) as usize;
        if self.left.len() > most {
            let before = self.left.pop_front().expect("there are some");
            assert!(now.since(before) >= Duration::from_secs(1), "more than {most} within a second");
        }
    }

    /// To be told when nothing more comes out.
    pub fn drained(&self, now: Time, fleet: &Fleet) {
        assert!(fleet.deadline().is_none_or(|at| at > now), "{:?} is not behind {now:?}", fleet.deadline());
        assert_eq!(fleet.len(), self.torrents.len());
        assert_eq!(fleet.load().0, self.open.len());
    }

    fn forget(&mut self, key: TorrentKey) {
        self.torrents.remove(&key);
        self.past.retain(|line, _| line.0 != key);
    }
}

fn server(line: &Line) -> (String, Family) {
    (host(&line.1), line.2)
}

/// Scheme, host and port as they are written, which is enough for the URLs of the tests.
fn host(url: &str) -> String {
    url.split('/').take(3).collect::<Vec<_>>().join("/").to_lowercase()
}
