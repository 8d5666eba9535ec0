//! The arguments of `samara hub`.

use std::path::PathBuf;

use clap::Args;
use samara_hub::config::Options;

/// Run a tracker for others, or a node of the DHT.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  samara hub                                            answers at port 6969, for everybody
  samara hub --http 0.0.0.0:80 --interval 15m
  samara hub --config /etc/samara/hub.toml
  samara hub --allow-list ours.txt                      serves the torrents in the list, which may change meanwhile
  samara hub --only dht                                 a node of the DHT that others begin with; --dht for both
  samara hub --config hub.toml --check-config           says what is wrong with it, and starts nothing

A flag goes before its environment variable, that before the file, and that before the default.")]
pub(crate) struct Hub {
    /// Take settings from this file (packaging/hub.toml shows them all)
    #[arg(long, value_name = "FILE", env = "SAMARA_HUB_CONFIG", hide_env_values = true)]
    pub(crate) config: Option<PathBuf>,
    /// Check the settings and the files that they name, and start nothing
    #[arg(long)]
    pub(crate) check_config: bool,
    #[command(flatten)]
    pub(crate) options: Options,
}
