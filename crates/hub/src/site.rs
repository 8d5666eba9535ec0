//! What all threads of a hub share.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use samara_proto::swarms::FamilyStats;

use crate::access::Access;
use crate::clock::Clock;
use crate::config::{Config, Part};
use crate::dht::{Node, Standing};
use crate::http::Everything;
use crate::metrics::{Books, Exposition, Process};
use crate::store::Store;
use crate::watch::Failures;
use crate::ws::Door;

/// One hub.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) config: Config,
    pub(crate) store: Arc<Store>,
    pub(crate) access: Access,
    pub(crate) clock: Clock,
    pub(crate) books: Books,
    pub(crate) everything: Everything,
    /// Files that could not be read again.
    pub(crate) failures: Failures,
    pub(crate) process: Process,
    /// To the WebSockets.
    pub(crate) door: Option<Arc<Door>>,
    /// The node of the DHT.
    pub(crate) dht: Option<Arc<Node>>,
}

impl Site {
    pub(crate) fn new(config: Config, clock: Clock, store: Arc<Store>, access: Access) -> Self {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let process = Process { started: since_epoch.as_secs_f64() };
        let (books, failures, everything) = (Books::default(), Failures::default(), Everything::default());
        Self { config, store, access, clock, books, everything, failures, process, door: None, dht: None }
    }

    /// Seconds since the start.
    pub(crate) fn uptime(&self) -> u64 {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        (since_epoch.as_secs_f64() - self.process.started).max(0.0) as u64
    }

    /// Everything, for Prometheus.
    pub(crate) fn metrics(&self) -> String {
        let mut out = Exposition::default();
        out.family("build_info", "gauge", "1, with the version.");
        out.sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
        self.books.write(&mut out);
        if self.config.runs(Part::Tracker) {
            self.write_store(&mut out);
        }
        self.write_signalling(&mut out);
        self.write_dht(&mut out);
        let failures = self.failures.load(Ordering::Relaxed);
        out.single(
            "reload_failures_total",
            "counter",
            "Changed lists and certificates that were no good.",
            failures,
        );
        out.process(&self.process);
        out.into_text()
    }

    fn write_signalling(&self, out: &mut Exposition) {
        let Some(door) = &self.door else { return };
        let (now, past) = door.numbers();
        let mut gauge = |name, help, n| out.single(name, "gauge", help, n);
        gauge("websockets", "WebSockets that are open.", now.connections);
        gauge("signalling_torrents", "Torrents with WebRTC peers.", now.swarms);
        gauge("signalling_peers", "WebRTC peers.", now.peers);
        out.family("signalling_messages_total", "counter", "What was done for WebRTC peers, by kind.");
        for (kind, n) in [
            ("announce", past.announces),
            ("scrape", past.scrapes),
            ("offer", past.offers),
            ("answer", past.answers),
            ("stray_answer", past.stray_answers),
            ("refused", past.refused),
        ] {
            out.sample(&[("kind", kind)], n);
        }
    }

    fn write_dht(&self, out: &mut Exposition) {
        let Some(node) = &self.dht else { return };
        let all = node.standing();
        let mut put = |name, kind, help, value: fn(&Standing) -> Option<f64>| {
            out.family(name, kind, help);
            let known = all.iter().filter_map(|standing| Some((standing, value(standing)?)));
            known.for_each(|(standing, n)| out.sample(&[("family", standing.name())], n));
        };
        put("dht_nodes", "gauge", "Nodes in the table.", |s| Some(s.contacts as f64));
        put("dht_network_nodes", "gauge", "Nodes in the DHT that answer, roughly.", |s| {
            s.network.map(f64::round)
        });
        put("dht_torrents", "gauge", "Torrents that peers are kept of.", |s| Some(s.torrents as f64));
        put("dht_peers", "gauge", "Peers that are kept.", |s| Some(s.peers as f64));
        put("dht_items", "gauge", "Items that are kept.", |s| Some(s.items as f64));
        put("dht_asked_total", "counter", "Questions of the node's own.", |s| Some(s.counts.asked as f64));
        put("dht_heard_total", "counter", "Answers to them.", |s| Some(s.counts.answered as f64));
        out.family("dht_questions_total", "counter", "Questions of others, by what became of them.");
        for standing in &all {
            let counts = standing.counts;
            for (outcome, n) in
                [("answered", counts.answers()), ("rate", counts.limited), ("bandwidth", counts.unaffordable)]
            {
                out.sample(&[("family", standing.name()), ("outcome", outcome)], n);
            }
        }
    }

    fn write_store(&self, out: &mut Exposition) {
        if let Some(remote) = self.store.remote() {
            let (answered, failed) = remote.totals();
            out.single("store_up", "gauge", "1 if the shared store answers.", u8::from(remote.is_up()));
            out.family("store_questions_total", "counter", "Questions to the shared store, by outcome.");
            out.sample(&[("outcome", "answered")], answered);
            out.sample(&[("outcome", "failed")], failed);
            // Nobody here knows how much it holds.
            return;
        }
        let stats = self.store.stats();
        let families = [("ipv4", stats.v4), ("ipv6", stats.v6)];
        let mut put = |name, kind, help, value: fn(&FamilyStats) -> u64| {
            out.family(name, kind, help);
            families.iter().for_each(|(family, stats)| out.sample(&[("family", family)], value(stats)));
        };
        put("torrents", "gauge", "Torrents with peers of a family.", |s| s.swarms as u64);
        put("store_bytes", "gauge", "Memory of torrents and peers.", |s| s.bytes as u64);
        put("expired_peers_total", "counter", "Peers that fell silent.", |s| s.expired);
        put("evicted_torrents_total", "counter", "Torrents forgotten for want of memory.", |s| s.evicted);
        out.family("peers", "gauge", "Peers, by family and role.");
        for (family, stats) in families {
            out.sample(&[("family", family), ("role", "seed")], stats.seeds);
            out.sample(&[("family", family), ("role", "leech")], stats.leeches);
        }
    }
}
