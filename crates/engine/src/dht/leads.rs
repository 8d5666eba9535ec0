//! Whom to ask while nobody is known: the bootstrap list, and the nodes that torrents name.
//!
//! Names are looked up only while a node has not found its neighbours, at growing intervals, so that routers are spared
//! by those who know others. Who has contacts from an earlier run tries them first.
//!
//! Nodes that a torrent names are written by strangers: those inside this machine and network are passed over
//! ([`reach`](samara_proto::tracker::reach)), unless the configuration says otherwise.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use samara_proto::magnet::Host;
use samara_proto::tracker::reach::{Scope, scope};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::net::resolve::Resolver;

/// How long contacts from an earlier run are tried alone.
const PATIENCE: Duration = Duration::from_secs(5);

/// The first and the last wait before names are looked up again.
const WAIT: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(600));

/// Names of torrents that are looked up at once; the others are left out.
const MAX_LOOKUPS: usize = 16;

/// What a name led to.
#[derive(Debug)]
pub(super) enum Lead {
    /// These belong to the bootstrap list, which is to be tried.
    Bootstrap(Vec<SocketAddr>),
    /// A node may be there.
    Hints(Vec<SocketAddr>),
}

type Looked = (bool, Vec<SocketAddr>);

/// Names and what is known of them.
#[derive(Debug)]
pub(super) struct Leads {
    bootstrap: Vec<Host>,
    inside: bool,
    resolver: Resolver,
    lookups: JoinSet<Looked>,
    found: Vec<SocketAddr>,
    next: Instant,
    wait: Duration,
}

impl Leads {
    /// `known`: there are contacts from an earlier run.
    pub(super) fn new(bootstrap: Vec<Host>, inside: bool, known: bool) -> Self {
        let next = Instant::now() + if known { PATIENCE } else { Duration::ZERO };
        let (resolver, lookups) = (Resolver::default(), JoinSet::new());
        Self { bootstrap, inside, resolver, lookups, found: Vec::new(), next, wait: WAIT.0 }
    }

    /// When to come back.
    pub(super) const fn due(&self) -> Instant {
        self.next
    }

    /// Looks up the bootstrap list if it is time; `needed` while a node has not found its neighbours.
    pub(super) fn tick(&mut self, needed: bool) {
        let now = Instant::now();
        if now < self.next {
            return;
        }
        if !needed {
            (self.next, self.wait) = (now + WAIT.0, WAIT.0);
            return;
        }
        for host in &self.bootstrap {
            self.lookups.spawn(look_up(self.resolver.clone(), host.name().into(), host.port(), true));
        }
        self.next = now + self.wait;
        self.wait = (self.wait * 2).min(WAIT.1);
    }

    /// The network is another one.
    pub(super) fn hurry(&mut self) {
        (self.next, self.wait) = (Instant::now(), WAIT.0);
    }

    /// A torrent names a node.
    pub(super) fn named(&mut self, host: &str, port: u16) {
        if self.lookups.len() < MAX_LOOKUPS {
            self.lookups.spawn(look_up(self.resolver.clone(), host.to_owned(), port, false));
        }
    }

    /// The next name that was looked up; never, while there is none. Cancel safe.
    pub(super) async fn next(&mut self) -> Lead {
        loop {
            match self.lookups.join_next().await {
                Some(Ok((true, addrs))) => {
                    let known = self.found.len();
                    let new = addrs.into_iter().filter(|addr| !self.found.contains(addr)).collect::<Vec<_>>();
                    self.found.extend(new);
                    if self.found.len() > known {
                        return Lead::Bootstrap(self.found.clone());
                    }
                }
                Some(Ok((false, addrs))) => {
                    let may = |addr: &SocketAddr| may_be_named(addr.ip(), self.inside);
                    return Lead::Hints(addrs.into_iter().filter(may).collect());
                }
                Some(Err(_)) => {}
                None => std::future::pending().await,
            }
        }
    }
}

async fn look_up(resolver: Resolver, host: String, port: u16, bootstrap: bool) -> Looked {
    match resolver.lookup(&host).await {
        Ok(ips) => (bootstrap, ips.iter().map(|ip| SocketAddr::new(*ip, port)).collect()),
        Err(error) => {
            tracing::debug!(host, %error, "a DHT node cannot be found");
            (bootstrap, Vec::new())
        }
    }
}

/// Whether a stranger may lead us there.
fn may_be_named(ip: IpAddr, inside: bool) -> bool {
    scope(ip).is_some_and(|scope| inside || scope == Scope::Public)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(texts: &[&str]) -> Vec<Host> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn the_list_is_tried_once_nobody_else_answers_and_only_while_that_is_so() {
        let mut leads = Leads::new(hosts(&["127.0.0.1:1", "127.0.0.2:2"]), false, true);
        leads.tick(true);
        assert!(leads.lookups.is_empty() && leads.due() > Instant::now());
        tokio::time::advance(PATIENCE).await;
        leads.tick(true);
        let (mut found, mut leads) = (Vec::new(), leads);
        while found.len() < 2 {
            let Lead::Bootstrap(addrs) = leads.next().await else { panic!() };
            found = addrs;
        }
        found.sort();
        assert_eq!(found, ["127.0.0.1:1".parse().unwrap(), "127.0.0.2:2".parse().unwrap()]);
        tokio::time::advance(WAIT.1).await;
        leads.tick(false);
        assert!(leads.lookups.is_empty());
    }

    #[tokio::test]
    async fn a_torrent_leads_nowhere_inside() {
        for (inside, found) in [(false, 0), (true, 1)] {
            let mut leads = Leads::new(Vec::new(), inside, false);
            leads.named("127.0.0.1", 5);
            let Lead::Hints(addrs) = leads.next().await else { panic!() };
            assert_eq!(addrs.len(), found);
        }
        let mut leads = Leads::new(Vec::new(), true, false);
        (0..100).for_each(|n| leads.named("127.0.0.1", n));
        assert_eq!(leads.lookups.len(), MAX_LOOKUPS);
    }
}
