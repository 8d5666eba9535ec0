//! What goes into the machine and what comes out.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::super::reach::{Refused, Source};
use super::super::types::{AnnounceRequest, AnnounceResponse, Failure, Family};
use super::super::url::TrackerUrl;
use crate::ids::{InfoHashes, PeerId, WireHash};
use crate::time::Time;

/// Most trackers of one torrent; further ones are not taken. Some lists on the web have a hundred, most of them dead.
pub const MAX_TRACKERS: usize = 64;

/// Who we are, to all trackers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Our peer id.
    pub peer_id: PeerId,
    /// The port we listen on over IPv4; 0 if nobody can connect, `None` if we have no IPv4 at all.
    pub v4: Option<u16>,
    /// The same for IPv6.
    pub v6: Option<u16>,
}

impl Identity {
    pub(super) const fn port(&self, family: Family) -> Option<u16> {
        match family {
            Family::V4 => self.v4,
            Family::V6 => self.v6,
        }
    }
}

/// Numbers and who we are; one for all torrents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Who we are.
    pub identity: Identity,
    /// One tracker of each tier is asked, rather than only the first that answers of all tiers. Private torrents are
    /// always asked for at one tracker alone (BEP 27).
    pub all_tiers: bool,
    /// No tracker is asked more often than this, except to tell of an end or a completed download; and intervals below
    /// are taken for this. A minute.
    pub least_interval: Duration,
    /// Intervals above are taken for this. Six hours: no tracker that is deployed says more than two or so.
    pub most_interval: Duration,
    /// How soon a torrent that lacks peers asks again, if the tracker names no `min interval`; it doubles each time in a
    /// row. Five minutes, libtorrent's `min_announce_interval`.
    pub early: Duration,
    /// The wait after a first failure; it doubles with each further one.
    pub back_off: Duration,
    /// Until it is this.
    pub most_back_off: Duration,
    /// After this without an answer the next tracker is tried while this one may still answer. Not for private torrents.
    pub patience: Duration,
    /// How long trackers are told of the end.
    pub farewell: Duration,
    /// How long those that did not answer last time have for it; most of them are dead, and somebody waits.
    pub hope: Duration,
}

impl Config {
    /// The defaults, for who we are.
    pub const fn new(identity: Identity) -> Self {
        Self {
            identity,
            all_tiers: true,
            least_interval: Duration::from_secs(60),
            most_interval: Duration::from_secs(6 * 3600),
            early: Duration::from_secs(300),
            back_off: Duration::from_secs(30),
            most_back_off: Duration::from_secs(3600),
            patience: Duration::from_secs(20),
            farewell: Duration::from_secs(5),
            hope: Duration::from_secs(1),
        }
    }
}

/// How far a torrent is. Bytes of this session, as BEP 3 has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Sent.
    pub uploaded: u64,
    /// Received.
    pub downloaded: u64,
    /// Still missing of the whole torrent; 0 for a seed. Of a magnet link without its metadata any number above 0.
    pub left: u64,
}

/// How much a torrent wants peers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Need {
    /// Not at all: it is full, or pauses.
    None,
    /// A few: it is supplied, or a seed whom others call.
    Few,
    /// As many as there are.
    #[default]
    Many,
    /// As many as there are, and before it is time.
    Starved,
}

/// A torrent to announce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTorrent {
    /// What it is called; a hybrid is announced under both hashes, since those who know one half only are found so.
    pub hashes: InfoHashes,
    /// Whether it is private (BEP 27).
    pub private: bool,
    /// Trackers of the torrent file or the magnet link, in tiers (BEP 12).
    pub tiers: Vec<Vec<Arc<TrackerUrl>>>,
    /// Trackers that the user named: each is a tier of its own, in front.
    pub user: Vec<Arc<TrackerUrl>>,
    /// How far it is.
    pub totals: Totals,
    /// How much it wants peers.
    pub need: Need,
    /// Whether it wants no more although it is not whole (BEP 21).
    pub partial_seed: bool,
}

/// Names one way to one tracker of one torrent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LineId {
    pub(super) tracker: u16,
    pub(super) lane: Lane,
}

/// Over which family, under which of a hybrid's hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Lane {
    pub(super) second: bool,
    pub(super) family: Family,
}

/// Why a tracker gave no answer, or none of use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// It refused, in its own words.
    #[error("{}", .0.reason)]
    Refused(Failure),
    /// Its name has no address of this family, or this machine has no way there. Asked again after an hour if the
    /// tracker can be reached over the other family.
    #[error("it has no address that can be reached over this family")]
    NoAddress,
    /// The rule of [`reach`](super::super::reach) forbids it; not asked again until the network changes.
    #[error("{0}")]
    Forbidden(Refused),
    /// Nothing came back.
    #[error("no answer")]
    Silent,
    /// It could not be asked: its name is not known, it hangs up, TLS failed. One sentence for the user; 300 characters
    /// are kept.
    #[error("{0}")]
    Failed(String),
    /// It answered, with nothing of use: an HTTP status, or what no tracker says. Kept as above. Others at the same server
    /// may fare better: some trackers tell by status which torrents they do not know.
    #[error("{0}")]
    Useless(String),
}

impl Problem {
    /// Whether it tells of the tracker's machine rather than of one torrent there.
    pub const fn is_transport(&self) -> bool {
        matches!(self, Self::Silent | Self::Failed(_))
    }
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Time passed.
    Tick,
    /// A tracker answered.
    Answered {
        /// Which, from [`Output::Due`].
        line: LineId,
        /// What it said, with those peers gone that it may not give.
        response: AnnounceResponse,
    },
    /// A tracker gave no answer, or refused.
    Failed {
        /// Which, from [`Output::Due`].
        line: LineId,
        /// Why.
        problem: Problem,
    },
    /// How far the torrent is. Cheap: tell it as often as convenient, at least before an announce is due.
    Totals(Totals),
    /// The torrent became whole, in this session.
    Completed,
    /// It wants no more although it is not whole, or wants again (BEP 21).
    PartialSeed(bool),
    /// How much it wants peers.
    Need(Need),
    /// The metadata of a magnet link is there.
    Identified {
        /// Now perhaps with another half.
        hashes: InfoHashes,
        /// Whether it is private.
        private: bool,
    },
    /// More trackers, each in a tier of its own: of the user in front, others behind.
    Trackers {
        /// Known ones, and those beyond [`MAX_TRACKERS`], are passed over.
        urls: Vec<Arc<TrackerUrl>>,
        /// Who named them.
        source: Source,
    },
    /// The user wants an announce now; `min interval` holds nevertheless.
    AnnounceNow,
    /// Our addresses or ports changed, or the network is back.
    Network(Arc<Config>),
    /// The machine of a tracker answers again, over this family, after it was silent.
    Back {
        /// A tracker there, of this torrent or another.
        url: Arc<TrackerUrl>,
        /// Over which family.
        family: Family,
    },
    /// It ends: trackers that know of us are told.
    Stop,
}

/// Which announces go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Urgency {
    /// The end is told, while there is time.
    Stop,
    /// A download wants its first peers, or tells that it is complete.
    Start,
    /// All others.
    Regular,
}

/// What the machine wants, and what it has to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// A tracker is to be asked as soon as there is room: [`Announcer::ask`](super::Announcer::ask) then gives the
    /// request.
    Due {
        /// Which.
        line: LineId,
        /// Where and over what.
        url: Arc<TrackerUrl>,
        /// Over which family.
        family: Family,
        /// Before which others.
        urgency: Urgency,
    },
    /// Peers that a tracker gave; not empty.
    Peers(Vec<SocketAddr>),
    /// Our address as a tracker sees it (BEP 24). A tracker may lie.
    ExternalIp(IpAddr),
    /// For the user.
    Report(Report),
    /// Nothing is left to be said: [`Input::Stop`] is done.
    Stopped,
}

/// What became of an announce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The tracker.
    pub url: Arc<TrackerUrl>,
    /// Over which family.
    pub family: Family,
    /// Under which hash.
    pub hash: WireHash,
    /// What became of it.
    pub what: ReportKind,
}

/// What became of an announce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReportKind {
    /// It was answered.
    Answered {
        /// How many peers came.
        peers: usize,
        /// Seeds, if told.
        seeds: Option<u32>,
        /// Others, if told.
        leeches: Option<u32>,
        /// What the tracker wants the user to know.
        warning: Option<String>,
    },
    /// It was not.
    Failed(Problem),
}

/// An announce to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The tracker.
    pub url: Arc<TrackerUrl>,
    /// Who named it: for [`reach::may_ask`](super::super::reach::may_ask).
    pub source: Source,
    /// The family to reach it over; the caller binds to it.
    pub family: Family,
    /// What the tracker gave us to send back; HTTP only.
    pub tracker_id: Option<Box<[u8]>>,
    /// What to say.
    pub request: AnnounceRequest,
}

/// One tracker of a torrent, for the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackerStatus {
    /// Where.
    pub url: Arc<TrackerUrl>,
    /// The number of its tier, from 0.
    pub tier: u16,
    /// Who named it.
    pub source: Source,
    /// How it goes, for each family (and hash of a hybrid) that it was asked over.
    pub lines: Vec<LineStatus>,
}

/// How one way to one tracker goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineStatus {
    /// Over which family.
    pub family: Family,
    /// Under which hash.
    pub hash: WireHash,
    /// What it does.
    pub state: State,
    /// When it answered last.
    pub answered: Option<Time>,
    /// When it may be asked again at the earliest; it is only if its turn comes. `None` if not at all, or it is being
    /// asked.
    pub next: Option<Time>,
    /// Failures in a row.
    pub failures: u8,
    /// The last failure, until it answers.
    pub error: Option<String>,
    /// Its last warning.
    pub warning: Option<String>,
    /// Seeds, as it said last.
    pub seeds: Option<u32>,
    /// Others.
    pub leeches: Option<u32>,
    /// Peers that came from it, in all.
    pub peers: u64,
}

/// What a line does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    /// Its turn has not come.
    Idle,
    /// It waits for room.
    Queued,
    /// It is being asked.
    Asking,
    /// It answered last time.
    Working,
    /// It did not.
    Failing,
    /// It will not be asked again.
    Off,
}
