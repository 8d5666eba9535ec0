//! Every setting once: its key in `hub.toml`, its flag, its environment variable, its default and what it means.
//!
//! The sample file, the help and the defaults all come from this one list (`sample.rs`).

use std::net::SocketAddr;

use clap::ValueEnum;
use serde::Deserialize;

use super::values::{Period, Size};

/// Declares [`Options`]: each line is `key: type = default("TOML")` or `= off("TOML of an example")`.
macro_rules! options {
    ($($(#[$meta:meta])* $key:ident: $type:ty = $kind:ident($value:literal),)*) => {
        /// What file, flags or environment say; `None` where they say nothing.
        #[derive(Clone, Debug, Default, PartialEq, clap::Args, Deserialize)]
        #[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
        pub struct Options {
            $($(#[$meta])* pub $key: Option<$type>,)*
        }

        impl Options {
            /// The names of all settings, with their value as TOML and whether that is the default (or an example).
            pub(crate) const VALUES: &[(&str, &str, bool)] =
                &[$((stringify!($key), $value, is_default!($kind)),)*];

            /// These settings, and those of `below` where these say nothing.
            #[must_use]
            pub fn or(self, below: Self) -> Self {
                Self { $($key: self.$key.or(below.$key),)* }
            }
        }
    };
}

macro_rules! is_default {
    (default) => {
        true
    };
    (off) => {
        false
    };
}

options! {
    /// Where to answer over HTTP; may be the address and port of UDP. IPv6 addresses don't take IPv4. Naming any
    /// address, here or for UDP, replaces all defaults [default: port 6969 of all addresses, IPv4 and IPv6]
    #[arg(long, value_name = "ADDR:PORT", env = "SAMARA_HUB_HTTP", value_delimiter = ',')]
    #[arg(help_heading = "Addresses", hide_env_values = true)]
    http: Vec<SocketAddr> = default("[\"[::]:6969\", \"0.0.0.0:6969\"]"),

    /// Which parts of the hub to run [default: all there are]
    #[arg(long, value_name = "PART", env = "SAMARA_HUB_ONLY", value_delimiter = ',', value_enum)]
    #[arg(help_heading = "Process", hide_env_values = true)]
    only: Vec<Part> = default("[\"tracker\"]"),

    /// Threads for each kind of front end [default: one for each processor]
    #[arg(long, value_name = "N", env = "SAMARA_HUB_WORKERS")]
    #[arg(help_heading = "Process", hide_env_values = true)]
    workers: u16 = off("4"),

    /// How the log on stderr is written: text for people, json for programs [default: text]
    #[arg(long, value_name = "FORM", env = "SAMARA_HUB_LOG", value_enum)]
    #[arg(help_heading = "Process", hide_env_values = true)]
    log: LogForm = default("\"text\""),

    /// Most memory for swarms, half of it for each of IPv4 and IPv6; a million peers take some 20 MiB. Beyond it swarms
    /// that were announced only once go first, then the emptiest [default: 1GiB]
    #[arg(long, value_name = "SIZE", env = "SAMARA_HUB_MEMORY")]
    #[arg(help_heading = "Process", hide_env_values = true)]
    memory: Size = default("\"1GiB\""),

    /// How long a client may be silent before it counts as gone. Clients are told to announce again after three quarters
    /// of that or a little more, so that a lost announce does not cost them their place [default: 30m]
    #[arg(long, value_name = "PERIOD", env = "SAMARA_HUB_INTERVAL")]
    #[arg(help_heading = "Announces", hide_env_values = true)]
    interval: Period = default("\"30m\""),
}

/// A part of the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// Tells peers of each other.
    Tracker,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum LogForm {
    /// A line of text an event.
    Text,
    /// A JSON object an event.
    Json,
}
