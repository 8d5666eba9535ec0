//! What goes into the machine and what comes out.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::super::announcer::{self, Ask, NewTorrent, Problem, Report};
use super::super::reach::Policy;
use super::super::types::AnnounceResponse;

/// Numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Of each torrent, and who we are.
    pub announcer: announcer::Config,
    /// Announces a second, over all torrents; at most a fifth of a second's worth at once. At least 1 counts. 50 take ten
    /// thousand torrents around in a bit over three minutes.
    pub rate: u32,
    /// The same for telling of ends, which nobody waits for and which are to be out before the process is gone.
    pub stop_rate: u32,
    /// Open questions to one tracker over one family; two until it has answered.
    pub per_host: usize,
    /// Open questions in all.
    pub at_once: usize,
    /// After this without a word from the caller a question counts as unanswered. It is to be longer than the caller
    /// takes to find all addresses of a tracker silent, for what ends by this is no fault of the tracker.
    pub patience: Duration,
    /// Which peers a tracker may give.
    pub policy: Policy,
}

impl Config {
    /// The defaults, for who we are.
    pub const fn new(identity: announcer::Identity) -> Self {
        Self {
            announcer: announcer::Config::new(identity),
            rate: 50,
            stop_rate: 200,
            per_host: 16,
            at_once: 256,
            patience: Duration::from_secs(600),
            policy: Policy { inside: false },
        }
    }
}

/// Names a torrent; the caller chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TorrentKey(pub u64);

/// Names an open question; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Time passed.
    Tick,
    /// A torrent is to be announced. One of the same key goes, without a word to its trackers.
    Added {
        /// Its name from now on.
        torrent: TorrentKey,
        /// What there is to know.
        new: Box<NewTorrent>,
    },
    /// Something about a torrent; unknown ones are passed over. After [`announcer::Input::Stop`] comes
    /// [`Output::Stopped`]. Lines are not known here: answers are told as below, and a new network to all.
    Torrent {
        /// Which.
        torrent: TorrentKey,
        /// What.
        input: announcer::Input,
    },
    /// A tracker answered.
    Answered {
        /// The question.
        ticket: Ticket,
        /// The address that answered, before any redirect; `None` if a proxy hides it, and then every peer is believed.
        from: Option<IpAddr>,
        /// The answer.
        response: AnnounceResponse,
    },
    /// A tracker did not answer, or refused.
    Failed {
        /// The question.
        ticket: Ticket,
        /// Why.
        problem: Problem,
    },
    /// Our addresses or ports changed, or the network is back.
    Network(announcer::Identity),
    /// The process ends: all torrents stop.
    Stop,
}

/// What the machine wants, and what it has to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Ask a tracker, and tell [`Input::Answered`] or [`Input::Failed`].
    Ask {
        /// To be given back with the answer.
        ticket: Ticket,
        /// Whose announce it is.
        torrent: TorrentKey,
        /// Whom to ask what.
        ask: Box<Ask>,
    },
    /// Nobody waits for the answer any more.
    Cancel(Ticket),
    /// Peers for a torrent; not empty.
    Peers {
        /// Which.
        torrent: TorrentKey,
        /// Where.
        peers: Vec<SocketAddr>,
    },
    /// Our address as a tracker sees it (BEP 24). A tracker may lie.
    ExternalIp {
        /// Whose announce told.
        torrent: TorrentKey,
        /// Our address.
        ip: IpAddr,
    },
    /// For the user.
    Report {
        /// Which torrent's announce.
        torrent: TorrentKey,
        /// What became of it.
        report: Report,
    },
    /// The trackers of a torrent were told of its end, as far as they could be in time; it is forgotten.
    Stopped(TorrentKey),
}
