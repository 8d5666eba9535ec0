//! The arguments of `samara announce`, and how trackers are named on the command line.

use clap::Args;
use samara_proto::tracker::TrackerUrl;
use samara_proto::tracker::reach::Policy;

use super::values::tracker;

/// Ask trackers, and print what they say.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  samara announce debian.iso.torrent
  samara announce 'magnet:?xt=urn:btih:..&tr=udp://tracker.example:6969' -v      lists the peers
  samara announce 0123456789abcdef0123456789abcdef01234567 --tracker udp://tracker.example:6969
  samara announce album.torrent --scrape --json | jq .answers

Each tracker is asked over IPv4 and IPv6, all of them at once. They are told that we left right afterwards.
Ends with 0 if one answered, else with 1.")]
pub(crate) struct Announce {
    /// A .torrent file, its http(s) address, a magnet link, or an info-hash
    #[arg(value_name = "TORRENT|MAGNET|HASH")]
    pub(crate) source: String,
    /// Ask this tracker too
    #[arg(long = "tracker", value_name = "URL", value_parser = tracker)]
    pub(crate) trackers: Vec<TrackerUrl>,
    /// Ask for the size of the swarm only, and do not announce
    #[arg(long)]
    pub(crate) scrape: bool,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

/// Where trackers that a torrent or a link names may lead.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Reach {
    /// Let torrents, links and trackers lead to addresses inside this machine and network
    #[arg(long)]
    allow_inside_trackers: bool,
}

impl Reach {
    pub(crate) const fn policy(self) -> Policy {
        Policy { inside: self.allow_inside_trackers }
    }
}
