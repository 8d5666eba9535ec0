//! Whether a request is answered: networks, keys, lists of torrents, and how often one address asks.
//!
//! The decisions are `samara_proto::tracker::access`; here are the files they come from, and one view of them for each
//! thread of whichever front end.

use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use samara_proto::ids::WireHash;
use samara_proto::time::Time;
use samara_proto::tracker::Retry;
use samara_proto::tracker::access::{BadLine, HashList, KeyList, Rate, Throttle};

use crate::config::{Cidr, Config};
use crate::shared::{Reader, Shared};
use crate::watch::{Watched, read_file};
use crate::ws::Policy;

/// Longest list: six million hashes.
const MAX_LIST: u64 = 256 << 20;

/// Addresses whose requests are counted; 16 bytes each.
const ADDRESSES: usize = 256 * 1024;

/// The table of addresses is cut so, for threads to seldom wait for each other.
const PARTS: usize = 16;

/// Why a request is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Its address is in no network that this hub is for.
    Stranger,
    /// It has no key, or none of ours.
    Key,
    /// The torrent is not on the list of those allowed, or on that of those denied.
    Torrent,
    /// Its address asks too often.
    TooOften,
}

impl Refusal {
    /// All of them, in the order of [`Refusal::name`] in the metrics.
    pub(crate) const ALL: [Self; 4] = [Self::Stranger, Self::Key, Self::Torrent, Self::TooOften];

    /// For the metrics.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Stranger => "network",
            Self::Key => "key",
            Self::Torrent => "torrent",
            Self::TooOften => "rate",
        }
    }

    /// What the user is told.
    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Self::Stranger => "this tracker is for other networks",
            Self::Key => "this tracker needs a key, as in /KEY/announce, and yours is missing or not valid",
            Self::Torrent => "this tracker does not serve this torrent",
            Self::TooOften => "your address asks too often: wait a few minutes",
        }
    }

    /// When to come back.
    pub(crate) const fn retry(self) -> Option<Retry> {
        match self {
            // Lists change: tomorrow the torrent may be served.
            Self::Torrent => Some(Retry::Minutes(24 * 60)),
            Self::Stranger | Self::Key => Some(Retry::Never),
            Self::TooOften => Some(Retry::Minutes(5)),
        }
    }
}

/// The user's key and what is asked for, from a path such as `/KEY/announce` in a URL, or in the data that UDP carries
/// (BEP 41).
pub(crate) fn key_and_action(path: &str) -> (Option<&str>, &str) {
    let bare = path.strip_prefix('/').unwrap_or(path);
    bare.split_once('/').map_or((None, bare), |(key, action)| (Some(key), action))
}

/// The rules, as all threads share them.
#[derive(Debug, Default)]
pub(crate) struct Access {
    clients: Vec<Cidr>,
    keys: Option<Arc<Shared<KeyList>>>,
    allow: Option<Arc<Shared<HashList>>>,
    deny: Option<Arc<Shared<HashList>>>,
    throttles: Option<Arc<Throttles>>,
}

impl Access {
    /// Reads the lists that are set. The second part is for the watcher.
    ///
    /// # Errors
    /// If a list cannot be read or has a bad line.
    pub(crate) fn open(config: &Config, seed: u64) -> Result<(Self, Vec<Watched>), String> {
        let mut files = Vec::new();
        let rate = |requests| Rate { requests, period: Duration::from_secs(60) };
        let access = Self {
            clients: config.clients.clone(),
            keys: open(config.passkeys.as_deref(), KeyList::parse, KeyList::len, "keys", &mut files)?,
            allow: open(
                config.allow_list.as_deref(),
                HashList::parse,
                HashList::len,
                "torrents",
                &mut files,
            )?,
            deny: open(config.deny_list.as_deref(), HashList::parse, HashList::len, "torrents", &mut files)?,
            throttles: config.rate_limit.map(|n| Arc::new(Throttles::new(rate(n), seed))),
        };
        Ok((access, files))
    }

    /// A view for one thread.
    pub(crate) fn gate(&self) -> Gate {
        Gate {
            clients: self.clients.clone(),
            keys: self.keys.as_ref().map(Reader::new),
            allow: self.allow.as_ref().map(Reader::new),
            deny: self.deny.as_ref().map(Reader::new),
            throttles: self.throttles.clone(),
        }
    }
}

fn open<T: Default + Send + Sync + 'static>(
    path: Option<&Path>,
    parse: fn(&[u8]) -> Result<T, BadLine>,
    len: fn(&T) -> usize,
    what: &'static str,
    files: &mut Vec<Watched>,
) -> Result<Option<Arc<Shared<T>>>, String> {
    let Some(path) = path.map(Path::to_owned) else { return Ok(None) };
    let shared = Shared::new(T::default());
    let into = Arc::clone(&shared);
    files.push(Watched::open(vec![path.clone()], move || {
        let list = parse(&read_file(&path, MAX_LIST)?).map_err(|bad| format!("{}: {bad}", path.display()))?;
        let said = format!("{} {what} are listed", len(&list));
        into.set(list);
        Ok(said)
    })?);
    Ok(Some(shared))
}

/// One thread's view of the rules.
#[derive(Debug)]
pub(crate) struct Gate {
    clients: Vec<Cidr>,
    keys: Option<Reader<KeyList>>,
    allow: Option<Reader<HashList>>,
    deny: Option<Reader<HashList>>,
    throttles: Option<Arc<Throttles>>,
}

impl Gate {
    /// Whether `client`, who shows `key`, may announce or scrape now. Asking counts.
    ///
    /// # Errors
    /// Says why not.
    pub(crate) fn admit(&mut self, now: Time, client: IpAddr, key: Option<&[u8]>) -> Result<(), Refusal> {
        if !self.is_for(client) {
            return Err(Refusal::Stranger);
        }
        // First, so that keys are not guessed at full speed.
        if self.throttles.as_ref().is_some_and(|throttles| !throttles.admit(now, client)) {
            return Err(Refusal::TooOften);
        }
        let keys = self.keys.as_mut().map(Reader::get);
        let valid = keys.is_none_or(|keys| key.is_some_and(|key| keys.contains(key)));
        if valid { Ok(()) } else { Err(Refusal::Key) }
    }

    /// Whether this hub is for a client's network.
    pub(crate) fn is_for(&self, client: IpAddr) -> bool {
        self.clients.is_empty() || self.clients.iter().any(|net| net.contains(client))
    }

    /// Whether there is a list of denied torrents.
    pub(crate) const fn has_denied(&self) -> bool {
        self.deny.is_some()
    }

    /// Whether a list of denied torrents names this one.
    pub(crate) fn denies(&mut self, torrent: &WireHash) -> bool {
        self.deny.as_mut().is_some_and(|list| list.get().contains(torrent))
    }

    /// Whether this torrent is served.
    ///
    /// # Errors
    /// If it is not.
    pub(crate) fn serve(&mut self, torrent: &WireHash) -> Result<(), Refusal> {
        let allowed = self.allow.as_mut().is_none_or(|list| list.get().contains(torrent));
        if allowed && !self.denies(torrent) { Ok(()) } else { Err(Refusal::Torrent) }
    }
}

impl Policy for Gate {
    fn serves(&mut self, torrent: &WireHash) -> bool {
        self.serve(torrent).is_ok()
    }

    fn edition(&self) -> u64 {
        let lists = [self.allow.as_ref(), self.deny.as_ref()];
        lists.into_iter().flatten().map(Reader::edition).sum()
    }
}

/// How often each address asks, in parts that threads lock one at a time.
#[derive(Debug)]
struct Throttles(Box<[Mutex<Throttle>]>);

impl Throttles {
    fn new(rate: Rate, seed: u64) -> Self {
        let part = |i| Mutex::new(Throttle::new(rate, ADDRESSES / PARTS, seed.wrapping_add(i as u64)));
        Self((0..PARTS).map(part).collect())
    }

    fn admit(&self, now: Time, client: IpAddr) -> bool {
        let bits = match client.to_canonical() {
            IpAddr::V4(v4) => v4.to_bits(),
            IpAddr::V6(v6) => (v6.to_bits() >> 64) as u32,
        };
        // Fibonacci hashing: neighbours go to different parts.
        let part = bits.wrapping_mul(0x9e37_79b9) >> 28;
        self.0[part as usize].lock().unwrap_or_else(PoisonError::into_inner).admit(now, client)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::Options;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn gate(options: Options) -> Gate {
        Access::open(&Config::new(options).unwrap(), 1).unwrap().0.gate()
    }

    #[test]
    fn everybody_may_ask_for_everything_unless_told_otherwise() {
        let mut gate = gate(Options::default());
        assert!((0..1000).all(|_| gate.admit(Time::ZERO, ip("192.0.2.1"), None).is_ok()));
        assert_eq!(gate.serve(&WireHash([0; 20])), Ok(()));
    }

    #[test]
    fn networks_and_rates() {
        let clients = Some(vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()]);
        let mut gate = gate(Options { clients, rate_limit: Some(3), ..Options::default() });
        let mut ask = |addr: &str| gate.admit(Time::ZERO, ip(addr), None);
        assert_eq!(ask("192.0.2.1"), Err(Refusal::Stranger));
        assert_eq!([ask("10.0.0.1"), ask("::ffff:10.0.0.1"), ask("10.0.0.1")], [Ok(()); 3]);
        assert_eq!(
            (ask("10.0.0.1"), ask("10.0.0.2"), ask("fd00::1")),
            (Err(Refusal::TooOften), Ok(()), Ok(()))
        );
    }

    #[test]
    fn lists_and_keys_come_from_files() {
        let dir = std::env::temp_dir().join(format!("samara-hub-access-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let write = |name: &str, text: String| {
            fs::write(dir.join(name), text).unwrap();
            Some(dir.join(name))
        };
        let options = Options {
            allow_list: write("allow", format!("{}\n{}\n", "aa".repeat(20), "bb".repeat(20))),
            deny_list: write("deny", "bb".repeat(32)),
            passkeys: write("keys", String::from("abcdefgh\n")),
            ..Options::default()
        };
        let mut gate = gate(options);
        let bad = Options { allow_list: write("bad", String::from("zz")), ..Options::default() };
        let error = Access::open(&Config::new(bad).unwrap(), 1).err().unwrap();
        fs::remove_dir_all(&dir).unwrap();
        assert!(error.contains("bad: line 1 is no info-hash"), "{error}");
        let served = [0xaa, 0xbb, 0xcc].map(|b| gate.serve(&WireHash([b; 20])).is_ok());
        assert_eq!(served, [true, false, false]);
        let mut ask = |key| gate.admit(Time::ZERO, ip("::1"), key);
        assert_eq!(ask(Some(b"abcdefgh")), Ok(()));
        assert_eq!((ask(None), ask(Some(b"abcdefgi"))), (Err(Refusal::Key), Err(Refusal::Key)));
    }
}
