//! Names to addresses, by the system's resolver: so many lookups at once, each within a time, answers kept for a while.
//!
//! The system blocks a thread for each lookup and cannot be told to stop, so a lookup holds its place until the thread
//! is free again, even if nobody waits for it any more. Thousands of torrents with one tracker cost one lookup.
//!
//! It refuses to judge addresses: whether one may be connected to is asked at the moment of connecting, for what a name
//! stood for before says nothing about what it stands for now. Tested below.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

/// Lookups at once.
const LOOKUPS: usize = 8;

/// How long a lookup may take.
const TIME: Duration = Duration::from_secs(10);

/// How long an answer is kept: the system does not say how long it holds, and five minutes is common.
const KEPT: Duration = Duration::from_secs(300);

/// How long a failure is kept.
const KEPT_FAILURE: Duration = Duration::from_secs(30);

/// Most names kept.
const MOST: usize = 1024;

/// Most addresses taken of one name.
const MOST_ADDRESSES: usize = 32;

/// Why a name has no address.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum ResolveError {
    #[error("its name cannot be found: {0}")]
    Failed(Arc<str>),
    #[error("looking up its name took too long")]
    TimedOut,
}

type Answer = Result<Arc<[IpAddr]>, ResolveError>;

/// Answers by name, and until when each is kept.
type Kept = HashMap<Box<str>, (Instant, Answer)>;

/// The lookups of a client. Copies are the same.
#[derive(Clone, Debug)]
pub(crate) struct Resolver {
    places: Arc<Semaphore>,
    kept: Arc<Mutex<Kept>>,
}

impl Default for Resolver {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(LOOKUPS)), kept: Arc::default() }
    }
}

impl Resolver {
    /// The addresses of `host`, a name or an address, in the order of the system's preference.
    ///
    /// # Errors
    /// If it has none, or the lookup takes more than ten seconds.
    pub(crate) async fn lookup(&self, host: &str) -> Answer {
        if let Ok(ip) = host.parse() {
            return Ok([ip].into());
        }
        self.lookup_by(host, ask_system).await
    }

    async fn lookup_by(&self, host: &str, ask: fn(&str) -> io::Result<Vec<IpAddr>>) -> Answer {
        if let Some(kept) = self.kept(host) {
            return kept;
        }
        let deadline = Instant::now() + TIME;
        let place = timeout_at(deadline, Arc::clone(&self.places).acquire_owned()).await;
        let Ok(Ok(place)) = place else { return Err(ResolveError::TimedOut) };
        // Another one may have asked meanwhile.
        if let Some(kept) = self.kept(host) {
            return kept;
        }
        let (resolver, name) = (self.clone(), host.to_owned());
        let thread = tokio::task::spawn_blocking(move || {
            let failed = |error: io::Error| ResolveError::Failed(error.to_string().into());
            let answer = ask(&name).map(Into::into).map_err(failed);
            resolver.keep(&name, &answer);
            drop(place);
            answer
        });
        match timeout_at(deadline, thread).await {
            Err(_) => Err(ResolveError::TimedOut),
            Ok(answer) => answer.unwrap_or_else(|_| Err(ResolveError::Failed("the lookup broke off".into()))),
        }
    }

    fn kept(&self, host: &str) -> Option<Answer> {
        let kept = self.lock();
        kept.get(host).filter(|(until, _)| Instant::now() < *until).map(|(_, answer)| answer.clone())
    }

    fn keep(&self, host: &str, answer: &Answer) {
        let now = Instant::now();
        let mut kept = self.lock();
        if kept.len() >= MOST {
            kept.retain(|_, (until, _)| now < *until);
        }
        if kept.len() >= MOST {
            kept.clear();
        }
        let until = now + if answer.is_ok() { KEPT } else { KEPT_FAILURE };
        kept.insert(host.into(), (until, answer.clone()));
    }

    /// A poisoned lock is of no consequence: every change is a single call on the map.
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Blocks.
fn ask_system(host: &str) -> io::Result<Vec<IpAddr>> {
    let mut found: Vec<IpAddr> = Vec::new();
    for addr in (host, 0).to_socket_addrs()? {
        if !found.contains(&addr.ip()) && found.len() < MOST_ADDRESSES {
            found.push(addr.ip());
        }
    }
    if found.is_empty() { Err(io::Error::other("it has no address")) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn addresses_are_taken_as_they_are() {
        let resolver = Resolver::default();
        for ip in ["127.0.0.1", "::1"] {
            assert_eq!(resolver.lookup(ip).await.unwrap()[..], [ip.parse::<IpAddr>().unwrap()]);
        }
        assert!(resolver.lock().is_empty());
    }

    #[tokio::test]
    async fn many_who_ask_for_one_name_cost_few_lookups_and_later_none() {
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        let ask = |_: &str| {
            ASKED.fetch_add(1, Ordering::Relaxed);
            Ok(vec![IpAddr::from([192, 0, 2, 1])])
        };
        let resolver = Resolver::default();
        let all: Vec<_> = (0..100)
            .map(|_| {
                let resolver = resolver.clone();
                tokio::spawn(async move { resolver.lookup_by("a", ask).await.is_ok() })
            })
            .collect();
        for one in all {
            assert!(one.await.unwrap());
        }
        assert!(ASKED.load(Ordering::Relaxed) <= LOOKUPS, "{ASKED:?}");
        resolver.lock().values_mut().for_each(|(until, _)| *until = Instant::now());
        let before = ASKED.load(Ordering::Relaxed);
        assert!(resolver.lookup_by("a", ask).await.is_ok());
        assert_eq!(ASKED.load(Ordering::Relaxed), before + 1, "it was kept for too long");
    }

    #[tokio::test]
    async fn failures_are_kept_too_and_names_have_a_cap() {
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        let ask = |_: &str| {
            ASKED.fetch_add(1, Ordering::Relaxed);
            Err(io::Error::other("no such host"))
        };
        let resolver = Resolver::default();
        for _ in 0..3 {
            let error = resolver.lookup_by("a", ask).await.unwrap_err();
            assert_eq!(error.to_string(), "its name cannot be found: no such host");
        }
        assert_eq!(ASKED.load(Ordering::Relaxed), 1);
        (0..2 * MOST).for_each(|n| resolver.keep(&n.to_string(), &Err(ResolveError::TimedOut)));
        assert!(resolver.lock().len() <= MOST);
    }
}
