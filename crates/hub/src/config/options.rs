//! Every setting once: its key in `hub.toml`, its flag, its environment variable, its default and what it means.
//!
//! The sample file, the help and the defaults all come from this one list (`sample.rs`).

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::ValueEnum;
use serde::Deserialize;

use super::values::{Cidr, Lead, Period, Place, Size};

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

    /// Where to answer over UDP; may be the address and port of HTTP
    /// [default: port 6969 of all addresses, IPv4 and IPv6]
    #[arg(long, value_name = "ADDR:PORT", env = "SAMARA_HUB_UDP", value_delimiter = ',')]
    #[arg(help_heading = "Addresses", hide_env_values = true)]
    udp: Vec<SocketAddr> = default("[\"[::]:6969\", \"0.0.0.0:6969\"]"),

    /// Where to answer over HTTPS; needs a certificate and a key [default: nowhere]
    #[arg(long, value_name = "ADDR:PORT", env = "SAMARA_HUB_HTTPS", value_delimiter = ',')]
    #[arg(help_heading = "Addresses", hide_env_values = true)]
    https: Vec<SocketAddr> = off("[\"[::]:443\", \"0.0.0.0:443\"]"),

    /// The certificate for HTTPS, with those that lead to its root (PEM). It is read again when it changes
    #[arg(long, value_name = "FILE", env = "SAMARA_HUB_TLS_CERT")]
    #[arg(help_heading = "Addresses", hide_env_values = true)]
    tls_cert: PathBuf = off("\"/etc/letsencrypt/live/tracker.example/fullchain.pem\""),

    /// The certificate's private key (PEM). It is read again when it changes
    #[arg(long, value_name = "FILE", env = "SAMARA_HUB_TLS_KEY")]
    #[arg(help_heading = "Addresses", hide_env_values = true)]
    tls_key: PathBuf = off("\"/etc/letsencrypt/live/tracker.example/privkey.pem\""),

    /// Which parts of the hub to run, and no others: tracker, dht [default: the tracker, and the DHT node if `dht` says
    /// so]
    #[arg(long, value_name = "PART", env = "SAMARA_HUB_ONLY", value_delimiter = ',', value_enum)]
    #[arg(help_heading = "Process", hide_env_values = true)]
    only: Vec<Part> = off("[\"tracker\", \"dht\"]"),

    /// Threads for each kind of front end [default: one for each processor]
    #[arg(long, value_name = "N", env = "SAMARA_HUB_WORKERS")]
    #[arg(help_heading = "Process", hide_env_values = true)]
    workers: u16 = off("4"),

    /// Save the swarms to this file on stop and every ten minutes, and load them at the start, so that a restart empties
    /// none [default: not saved]
    #[arg(long, value_name = "FILE", env = "SAMARA_HUB_STATE")]
    #[arg(help_heading = "Process", hide_env_values = true)]
    state: PathBuf = off("\"/var/lib/samara-hub/swarms\""),

    /// How the log on stderr is written: text for people, json for programs [default: text]
    #[arg(long, value_name = "FORM", env = "SAMARA_HUB_LOG", value_enum)]
    #[arg(help_heading = "Process", hide_env_values = true)]
    log: LogForm = default("\"text\""),

    /// Most memory for swarms, half of it for each of IPv4 and IPv6; a million peers take some 20 MiB. Beyond it swarms
    /// that were announced only once go first, then the emptiest [default: 1GiB]
    #[arg(long, value_name = "SIZE", env = "SAMARA_HUB_MEMORY")]
    #[arg(help_heading = "Process", hide_env_values = true)]
    memory: Size = default("\"1GiB\""),

    /// Be a node of the DHT, at the addresses of UDP; others can begin with it [default: false]
    #[arg(long, value_name = "BOOL", env = "SAMARA_HUB_DHT", num_args = 0..=1, default_missing_value = "true")]
    #[arg(help_heading = "DHT", hide_env_values = true)]
    dht: bool = default("false"),

    /// Nodes with which this one begins; none, for the first of a network of its own
    /// [default: those that most clients begin with]
    #[arg(long, value_name = "HOST:PORT", env = "SAMARA_HUB_DHT_BOOTSTRAP", value_delimiter = ',')]
    #[arg(help_heading = "DHT", hide_env_values = true)]
    dht_bootstrap: Vec<Lead> = default("[\"router.bittorrent.com:6881\", \"dht.transmissionbt.com:6881\", \"router.utorrent.com:6881\", \"dht.libtorrent.org:25401\"]"),

    /// Most bytes a second of the DHT node's answers; who asks beyond it hears nothing [default: 20MiB]
    #[arg(long, value_name = "SIZE", env = "SAMARA_HUB_DHT_RATE")]
    #[arg(help_heading = "DHT", hide_env_values = true)]
    dht_rate: Size = default("\"20MiB\""),

    /// Save the DHT node's ids and neighbours to this file on stop and every ten minutes, and load them at the start
    /// [default: not saved]
    #[arg(long, value_name = "FILE", env = "SAMARA_HUB_DHT_STATE")]
    #[arg(help_heading = "DHT", hide_env_values = true)]
    dht_state: PathBuf = off("\"/var/lib/samara-hub/dht\""),

    /// Where the swarms are: in memory; or in Redis or Valkey, for several hubs that then are one tracker:
    /// redis://USER:PASSWORD@HOST:PORT/DB, of which only HOST is needed. redis-cluster:// and some of its nodes, with
    /// commas between, name a cluster [default: memory]
    #[arg(long, value_name = "PLACE", env = "SAMARA_HUB_STORE")]
    #[arg(help_heading = "Store", hide_env_values = true)]
    store: Place = default("\"memory\""),

    /// What the name of everything in Redis begins with, so that several trackers can share a server
    /// [default: samara:]
    #[arg(long, value_name = "TEXT", env = "SAMARA_HUB_STORE_PREFIX")]
    #[arg(help_heading = "Store", hide_env_values = true)]
    store_prefix: String = default("\"samara:\""),

    /// How long a client may be silent before it counts as gone. Clients are told to announce again after three quarters
    /// of that or a little more, so that a lost announce does not cost them their place [default: 30m]
    #[arg(long, value_name = "PERIOD", env = "SAMARA_HUB_INTERVAL")]
    #[arg(help_heading = "Announces", hide_env_values = true)]
    interval: Period = default("\"30m\""),

    /// How soon clients may announce again at the earliest [default: 1m]
    #[arg(long, value_name = "PERIOD", env = "SAMARA_HUB_MIN_INTERVAL")]
    #[arg(help_heading = "Announces", hide_env_values = true)]
    min_interval: Period = default("\"1m\""),

    /// How long browsers and others that connect by WebRTC shall wait between announces; each brings new offers of
    /// connections [default: 2m]
    #[arg(long, value_name = "PERIOD", env = "SAMARA_HUB_WEBRTC_INTERVAL")]
    #[arg(help_heading = "Announces", hide_env_values = true)]
    webrtc_interval: Period = default("\"2m\""),

    /// Peers for a client that names no number [default: 50]
    #[arg(long, value_name = "N", env = "SAMARA_HUB_NUMWANT")]
    #[arg(help_heading = "Announces", hide_env_values = true)]
    numwant: u32 = default("50"),

    /// Most peers for a client, whatever number it names [default: 200]
    #[arg(long, value_name = "N", env = "SAMARA_HUB_MAX_NUMWANT")]
    #[arg(help_heading = "Announces", hide_env_values = true)]
    max_numwant: u32 = default("200"),

    /// Answer a scrape that names no torrent with all there are [default: false]
    #[arg(long, value_name = "BOOL", env = "SAMARA_HUB_FULL_SCRAPE", num_args = 0..=1, default_missing_value = "true")]
    #[arg(help_heading = "Announces", hide_env_values = true)]
    full_scrape: bool = default("false"),

    /// Serve only the torrents in this file: info-hashes, 40 or 64 hex digits a line, comments behind #. It is
    /// read again when it changes [default: all]
    #[arg(long, value_name = "FILE", env = "SAMARA_HUB_ALLOW_LIST")]
    #[arg(help_heading = "Access", hide_env_values = true)]
    allow_list: PathBuf = off("\"/etc/samara/allow.txt\""),

    /// Don't serve the torrents in this file, likewise [default: none]
    #[arg(long, value_name = "FILE", env = "SAMARA_HUB_DENY_LIST")]
    #[arg(help_heading = "Access", hide_env_values = true)]
    deny_list: PathBuf = off("\"/etc/samara/deny.txt\""),

    /// Answer only to who announces at /KEY/announce with a key from this file: one a line, 8 to 128 letters, digits,
    /// - and _, comments behind #. It is read again when it changes [default: no keys]
    #[arg(long, value_name = "FILE", env = "SAMARA_HUB_PASSKEYS")]
    #[arg(help_heading = "Access", hide_env_values = true)]
    passkeys: PathBuf = off("\"/etc/samara/passkeys.txt\""),

    /// Answer only to clients in these networks [default: all]
    #[arg(long, value_name = "NETWORK", env = "SAMARA_HUB_CLIENTS", value_delimiter = ',')]
    #[arg(help_heading = "Access", hide_env_values = true)]
    clients: Vec<Cidr> = off("[\"10.0.0.0/8\", \"fd00::/8\"]"),

    /// Most announces and scrapes a minute from one address; of IPv6, from one /64 [default: no limit]
    #[arg(long, value_name = "N", env = "SAMARA_HUB_RATE_LIMIT")]
    #[arg(help_heading = "Access", hide_env_values = true)]
    rate_limit: u32 = off("120"),

    /// Reverse proxies: from these networks `Forwarded` and `X-Forwarded-For` tell who asks [default: none]
    #[arg(long, value_name = "NETWORK", env = "SAMARA_HUB_PROXIES", value_delimiter = ',')]
    #[arg(help_heading = "Access", hide_env_values = true)]
    proxies: Vec<Cidr> = off("[\"127.0.0.0/8\", \"::1\"]"),

    /// Who may announce another address than its own, by `ip`: clients in these networks [default: this machine]
    #[arg(long, value_name = "NETWORK", env = "SAMARA_HUB_IP_FROM", value_delimiter = ',')]
    #[arg(help_heading = "Access", hide_env_values = true)]
    ip_from: Vec<Cidr> = default("[\"127.0.0.0/8\", \"::1\"]"),

    /// Who may look at `/`, `/stats` and `/metrics`: clients in these networks [default: all]
    #[arg(long, value_name = "NETWORK", env = "SAMARA_HUB_STATS_FROM", value_delimiter = ',')]
    #[arg(help_heading = "Access", hide_env_values = true)]
    stats_from: Vec<Cidr> = off("[\"127.0.0.0/8\", \"::1\", \"10.0.0.0/8\"]"),
}

/// A part of the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// Tells peers of each other.
    Tracker,
    /// A node of the DHT.
    Dht,
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
