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
use std::path::Path;
use std::thread;

pub use error::ConfigError;
pub use options::{LogForm, Options, Part};
pub use sample::sample;
pub use values::{Cidr, Period, Size};

/// Most threads for one kind of front end.
const MAX_WORKERS: u16 = 256;

/// Least memory for swarms: enough for half a million peers.
const MIN_MEMORY: u64 = 16 << 20;

/// More is a slip of the keyboard.
const MAX_MEMORY: u64 = 16 << 40;

/// Longest interval: clients that hear from no tracker for a day take it for dead.
const MAX_INTERVAL: u64 = 86_400;

/// A complete configuration in which everything is valid.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where to answer over HTTP.
    pub http: Vec<SocketAddr>,
    /// Whether nobody named an address: those of IPv6 may then be missing on this machine.
    pub default_addresses: bool,
    /// The parts to run; never empty.
    pub only: Vec<Part>,
    /// Threads for each kind of front end.
    pub workers: u16,
    /// How the log is written.
    pub log: LogForm,
    /// Most memory for swarms.
    pub memory: Size,
    /// How long a client may be silent.
    pub interval: Period,
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

    /// Checks settings, and fills in the defaults.
    ///
    /// # Errors
    /// If a setting has an impossible value.
    pub fn new(set: Options) -> Result<Self, ConfigError> {
        let default_addresses = set.http.is_none();
        let set = set.or(Options::defaults()?);
        Ok(Self {
            http: set.http.unwrap_or_default(),
            default_addresses,
            only: set
                .only
                .filter(|parts| !parts.is_empty())
                .ok_or_else(|| ConfigError::value("only", "is empty"))?,
            workers: workers(set.workers)?,
            log: set.log.unwrap_or(LogForm::Text),
            memory: memory(set.memory)?,
            interval: within("interval", set.interval, 1, MAX_INTERVAL)?,
        })
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
