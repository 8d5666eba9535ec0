//! What every command that talks to the network takes.
//!
//! Only options that do something are here, apart from the `--no-..` switches: those are accepted from the first
//! version, so that a script which forbids a thing stays right when the thing arrives.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use samara_engine::dht::DhtConfig;
use samara_proto::magnet::Host;
use samara_proto::tracker::TrackerUrl;

use super::Reach;
use super::values::{rate, tracker};

/// Addresses, limits and switches of the network.
#[derive(Debug, Args)]
#[command(next_help_heading = "Network")]
pub(crate) struct Net {
    /// Where to accept connections; port 0 picks one [default: all interfaces, 6881 or the next free port]
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) listen: Vec<SocketAddr>,
    /// A peer to connect to
    #[arg(long = "peer", value_name = "HOST:PORT")]
    pub(crate) peers: Vec<Host>,
    /// Ask this tracker, before those of the torrent or link
    #[arg(long = "tracker", value_name = "URL", value_parser = tracker)]
    pub(crate) trackers: Vec<TrackerUrl>,
    /// Ask no tracker
    #[arg(long, conflicts_with = "trackers")]
    pub(crate) no_trackers: bool,
    #[command(flatten)]
    pub(crate) reach: Reach,
    /// Take no part in the DHT
    #[arg(long, conflicts_with = "dht_bootstrap")]
    pub(crate) no_dht: bool,
    /// Enter the DHT here, in place of where most clients do
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) dht_bootstrap: Vec<Host>,
    /// Do not look for peers on the local network
    #[arg(long)]
    pub(crate) no_lsd: bool,
    /// Do not exchange peers with peers
    #[arg(long)]
    pub(crate) no_pex: bool,
    /// Ask no router to open a port
    #[arg(long)]
    no_port_map: bool,
    /// Most connections at one time
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) max_peers: Option<u16>,
    /// Receive no more than this from all peers together: 512KiB/s, 2MiB/s, or bytes per second
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub(crate) limit_down: Option<u64>,
    /// Send no more than this to all peers together: 512KiB/s, 2MiB/s, or bytes per second
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub(crate) limit_up: Option<u64>,
    /// Let the limits not hold for peers on this machine and the local network (private and link-local addresses)
    #[arg(long)]
    pub(crate) no_limit_lan: bool,
    /// Where to keep what is remembered between runs [default: the platform's state folder]
    #[arg(long, value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,
}

impl Net {
    /// The part in the DHT that is wanted.
    pub(crate) fn dht(&self) -> Option<DhtConfig> {
        let mut config = DhtConfig { inside: self.reach.policy().inside, ..DhtConfig::default() };
        if !self.dht_bootstrap.is_empty() {
            config.bootstrap.clone_from(&self.dht_bootstrap);
        }
        (!self.no_dht).then_some(config)
    }
}
