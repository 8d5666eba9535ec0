//! What the operator set: `hub.toml`, flags and environment, merged and checked.
//!
//! A flag goes before its environment variable, that before the file, and that before the default. Anything unknown or
//! impossible is refused, with its key and, in a file, its line: a tracker that ignores half of what it was told is
//! found out too late. Tested: the sample in `packaging/hub.toml` is the list of settings, word for word.

mod error;
mod options;
mod sample;
mod values;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::thread;

use samara_proto::magnet::Host;
use samara_proto::redis::swarm::{MAX_PREFIX, Rules};
use samara_proto::signal;

pub use error::ConfigError;
pub use options::{LogForm, Options, Part};
pub use sample::sample;
pub use values::{Cidr, Lead, Period, Place, Size};

/// Most threads for one kind of front end.
const MAX_WORKERS: u16 = 256;

/// Least memory for swarms: enough for half a million peers.
const MIN_MEMORY: u64 = 16 << 20;

/// More is a slip of the keyboard.
const MAX_MEMORY: u64 = 16 << 40;

/// Least bytes a second of answers of the DHT node: some fifty of them.
const MIN_DHT_RATE: u64 = 16 << 10;

/// Longest interval: clients that hear from no tracker for a day take it for dead.
const MAX_INTERVAL: u64 = 86_400;

/// Most peers in an answer that can be set: 36 KB of them over IPv6.
const MAX_NUMWANT: u32 = 2000;

/// A complete configuration in which everything is valid.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where to answer over HTTP.
    pub http: Vec<SocketAddr>,
    /// Where to answer over HTTPS; not without the two below.
    pub https: Vec<SocketAddr>,
    /// Where to answer over UDP.
    pub udp: Vec<SocketAddr>,
    /// The certificate for HTTPS.
    pub tls_cert: Option<PathBuf>,
    /// Its key.
    pub tls_key: Option<PathBuf>,
    /// Whether nobody named an address: those of IPv6 may then be missing on this machine.
    pub default_addresses: bool,
    /// The parts to run; never empty.
    pub parts: Vec<Part>,
    /// Threads for each kind of front end.
    pub workers: u16,
    /// Where swarms are saved.
    pub state: Option<PathBuf>,
    /// How the log is written.
    pub log: LogForm,
    /// Most memory for swarms.
    pub memory: Size,
    /// With which nodes the DHT node begins.
    pub dht_bootstrap: Vec<Host>,
    /// Most bytes a second of its answers.
    pub dht_rate: Size,
    /// Where it is saved.
    pub dht_state: Option<PathBuf>,
    /// Where the swarms are.
    pub store: Place,
    /// In front of the names of everything in a store that is elsewhere.
    pub store_prefix: String,
    /// How long a client may be silent.
    pub interval: Period,
    /// At least between a client's announces; not above `interval`.
    pub min_interval: Period,
    /// Between announces of a client that connects by WebRTC.
    pub webrtc_interval: Period,
    /// Peers for a client that names no number; not above `max_numwant`.
    pub numwant: u32,
    /// Most peers in an answer.
    pub max_numwant: u32,
    /// Whether a scrape without info-hashes is answered with all.
    pub full_scrape: bool,
    /// A file of the only torrents that are served.
    pub allow_list: Option<PathBuf>,
    /// A file of torrents that are not served.
    pub deny_list: Option<PathBuf>,
    /// A file of users' keys.
    pub passkeys: Option<PathBuf>,
    /// Who is answered; everybody if empty.
    pub clients: Vec<Cidr>,
    /// Most announces and scrapes a minute from one address.
    pub rate_limit: Option<u32>,
    /// Who may say for whom it asks.
    pub proxies: Vec<Cidr>,
    /// Who may announce another address than its own.
    pub ip_from: Vec<Cidr>,
    /// Who may look at what the hub tells of itself; everybody if empty.
    pub stats_from: Vec<Cidr>,
}

impl Config {
    /// Merges `flags` (which carry the environment already) with the file, if there is one, and the defaults.
    ///
    /// # Errors
    /// If the file cannot be read or is not what it should be, or if a setting has an impossible value.
    pub fn load(flags: Options, file: Option<&Path>) -> Result<Self, ConfigError> {
        let from_file = file.map_or(Ok(Options::default()), read)?;
        Self::new(flags.or(from_file))
    }

    /// What concerns WebTorrent's signalling.
    pub(crate) fn signalling(&self) -> signal::Config {
        let interval = u32::try_from(self.webrtc_interval.as_secs()).unwrap_or(u32::MAX);
        signal::Config { interval, ..signal::Config::default() }
    }

    /// Whether a part runs.
    pub fn runs(&self, part: Part) -> bool {
        self.parts.contains(&part)
    }

    /// Checks settings, and fills in the defaults.
    ///
    /// # Errors
    /// If a setting has an impossible value.
    pub fn new(set: Options) -> Result<Self, ConfigError> {
        let mut set = set;
        let parts = parts(&set)?;
        let default_addresses = set.http.is_none() && set.https.is_none() && set.udp.is_none();
        // Without a tracker there is nothing over HTTP but what the hub tells of itself.
        if !default_addresses || !parts.contains(&Part::Tracker) {
            set.http.get_or_insert_default();
        }
        if !default_addresses {
            set.udp.get_or_insert_default();
        }
        check_tls(&set)?;
        check_store(&set)?;
        let (named_min, named_numwant) = (set.min_interval, set.numwant);
        let set = set.or(Options::defaults()?);
        let udp = set.udp.unwrap_or_default();
        if parts.contains(&Part::Dht) && udp.is_empty() {
            return Err(ConfigError::value("udp", "is empty, and the DHT node needs an address there"));
        }
        let interval = within("interval", set.interval, 1, MAX_INTERVAL)?;
        let max_numwant = number("max-numwant", set.max_numwant, 1, MAX_NUMWANT)?;
        // A default gives way where what it must not exceed was set lower.
        let min_interval = named_min.or(set.min_interval.min(Some(interval)));
        let numwant = named_numwant.or(set.numwant.min(Some(max_numwant)));
        Ok(Self {
            http: set.http.unwrap_or_default(),
            https: set.https.unwrap_or_default(),
            udp,
            tls_cert: set.tls_cert,
            tls_key: set.tls_key,
            default_addresses,
            parts,
            workers: workers(set.workers)?,
            state: set.state,
            log: set.log.unwrap_or(LogForm::Text),
            memory: memory(set.memory)?,
            dht_bootstrap: hosts(set.dht_bootstrap.unwrap_or_default()),
            dht_rate: at_least("dht-rate", set.dht_rate, MIN_DHT_RATE)?,
            dht_state: set.dht_state,
            store: set.store.unwrap_or(Place::Memory),
            store_prefix: prefix(set.store_prefix)?,
            interval,
            min_interval: within("min-interval", min_interval, 0, interval.as_secs())?,
            webrtc_interval: within("webrtc-interval", set.webrtc_interval, 10, 3600)?,
            numwant: number("numwant", numwant, 0, max_numwant)?,
            max_numwant,
            full_scrape: set.full_scrape.unwrap_or(false),
            allow_list: set.allow_list,
            deny_list: set.deny_list,
            passkeys: set.passkeys,
            clients: set.clients.unwrap_or_default(),
            rate_limit: set.rate_limit.map(|n| number("rate-limit", Some(n), 1, u32::MAX)).transpose()?,
            proxies: set.proxies.unwrap_or_default(),
            ip_from: set.ip_from.unwrap_or_default(),
            stats_from: set.stats_from.unwrap_or_default(),
        })
    }
}

/// The parts to run: those that are named, or else those that are switched on.
fn parts(set: &Options) -> Result<Vec<Part>, ConfigError> {
    match &set.only {
        Some(parts) if parts.is_empty() => Err(ConfigError::value("only", "is empty")),
        Some(parts) => Ok(parts.clone()),
        None if set.dht == Some(true) => Ok(vec![Part::Tracker, Part::Dht]),
        None => Ok(vec![Part::Tracker]),
    }
}

fn hosts(leads: Vec<Lead>) -> Vec<Host> {
    let host = |lead| if let Lead::At(host) = lead { Some(host) } else { None };
    leads.into_iter().filter_map(host).collect()
}

/// A certificate, its key and somewhere to use them: all or nothing.
fn check_tls(set: &Options) -> Result<(), ConfigError> {
    let https = set.https.as_ref().is_some_and(|addrs| !addrs.is_empty());
    let needs = |key, needed: &str| Err(ConfigError::value(key, format!("needs {needed} beside it")));
    match (https, &set.tls_cert, &set.tls_key) {
        (true, None, _) => needs("https", "the setting tls-cert"),
        (_, Some(_), None) => needs("tls-cert", "the setting tls-key"),
        (_, None, Some(_)) => needs("tls-key", "the setting tls-cert"),
        (false, Some(_), _) => needs("tls-cert", "the setting https"),
        _ => Ok(()),
    }
}

fn read(path: &Path) -> Result<Options, ConfigError> {
    let text =
        fs::read_to_string(path).map_err(|cause| ConfigError::Read { path: path.to_owned(), cause })?;
    toml::from_str(&text).map_err(|cause| ConfigError::syntax(path, &text, &cause))
}

fn workers(set: Option<u16>) -> Result<u16, ConfigError> {
    match set {
        None => Ok(thread::available_parallelism().map_or(1, |n| n.get().min(MAX_WORKERS.into()) as u16)),
        Some(n) if (1..=MAX_WORKERS).contains(&n) => Ok(n),
        Some(n) => Err(ConfigError::value("workers", format!("is {n}, and must be from 1 to {MAX_WORKERS}"))),
    }
}

fn memory(set: Option<Size>) -> Result<Size, ConfigError> {
    let size = set.ok_or_else(|| ConfigError::value("memory", "is not set"))?;
    if (MIN_MEMORY..=MAX_MEMORY).contains(&size.bytes()) {
        return Ok(size);
    }
    let bounds = (Size::of_bytes(MIN_MEMORY), Size::of_bytes(MAX_MEMORY));
    Err(ConfigError::value("memory", format!("is {size}, and must be from {} to {}", bounds.0, bounds.1)))
}

fn at_least(key: &'static str, set: Option<Size>, least: u64) -> Result<Size, ConfigError> {
    let size = set.ok_or_else(|| ConfigError::value(key, "is not set"))?;
    let refuse =
        || ConfigError::value(key, format!("is {size}, and must be at least {}", Size::of_bytes(least)));
    if size.bytes() >= least { Ok(size) } else { Err(refuse()) }
}

/// A number between two bounds.
fn number(key: &'static str, set: Option<u32>, least: u32, most: u32) -> Result<u32, ConfigError> {
    let n = set.ok_or_else(|| ConfigError::value(key, "is not set"))?;
    if (least..=most).contains(&n) {
        return Ok(n);
    }
    Err(ConfigError::value(key, format!("is {n}, and must be from {least} to {most}")))
}

/// What needs the swarms in this process is refused where they are not.
fn check_store(set: &Options) -> Result<(), ConfigError> {
    if matches!(set.store, None | Some(Place::Memory)) {
        return Ok(());
    }
    if set.state.is_some() {
        return Err(ConfigError::value("state", "is for swarms in memory: the store keeps its own"));
    }
    if set.full_scrape == Some(true) {
        return Err(ConfigError::value(
            "full-scrape",
            "is for swarms in memory: a store elsewhere lists none",
        ));
    }
    Ok(())
}

fn prefix(set: Option<String>) -> Result<String, ConfigError> {
    let prefix = set.unwrap_or_default();
    if Rules::is_prefix(&prefix) {
        return Ok(prefix);
    }
    let why = format!("must be at most {MAX_PREFIX} letters, digits and signs, without blanks and braces");
    Err(ConfigError::value("store-prefix", why))
}

/// A period between two bounds in seconds.
fn within(key: &'static str, set: Option<Period>, least: u64, most: u64) -> Result<Period, ConfigError> {
    let period = set.ok_or_else(|| ConfigError::value(key, "is not set"))?;
    if (least..=most).contains(&period.as_secs()) {
        return Ok(period);
    }
    let bounds = (Period::of_secs(least), Period::of_secs(most));
    Err(ConfigError::value(key, format!("is {period}, and must be from {} to {}", bounds.0, bounds.1)))
}

#[cfg(test)]
mod tests;
