//! What the hub tells of itself: a page for people, JSON, and text for Prometheus. Sums only, nothing of any peer.

use std::collections::BTreeMap;
use std::fmt::Write;

use samara_proto::http::server::Reply;
use samara_proto::swarms::FamilyStats;
use serde::Serialize;

use super::json::{JSON, write};
use crate::access::Refusal;
use crate::config::Part;
use crate::dht::Standing;
use crate::metrics::{Count, Exposition, ProcessNow, Transport};
use crate::remote::Condition;
use crate::site::Site;

#[derive(Serialize)]
struct Stats {
    version: &'static str,
    uptime_seconds: u64,
    /// What a shared store holds is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    ipv4: Option<Family>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ipv6: Option<Family>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shared_store: Option<SharedStore>,
    /// By transport.
    #[serde(flatten)]
    served: BTreeMap<&'static str, Served>,
    http_connections: u64,
    webrtc: Signalling,
    /// The DHT node, by family.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    dht: BTreeMap<&'static str, Dht>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_bytes: Option<u64>,
}

#[derive(Serialize)]
struct SharedStore {
    up: bool,
    answered: u64,
    failed: u64,
}

impl From<&Condition> for SharedStore {
    fn from(condition: &Condition) -> Self {
        let (answered, failed) = condition.totals();
        Self { up: condition.is_up(), answered, failed }
    }
}

impl SharedStore {
    const fn words(&self) -> &'static str {
        match self.up {
            true => "<p>It shares its torrents and peers with other hubs.</p>",
            false => "<p>The store that it shares with other hubs does not answer.</p>",
        }
    }
}

#[derive(Serialize)]
struct Family {
    torrents: usize,
    seeds: usize,
    leeches: usize,
    store_bytes: usize,
}

/// Of WebTorrent's peers.
#[derive(Default, Serialize)]
struct Signalling {
    connections: usize,
    torrents: usize,
    peers: usize,
    announces: u64,
    offers: u64,
    answers: u64,
}

#[derive(Serialize)]
struct Dht {
    nodes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    network_nodes: Option<u64>,
    torrents: usize,
    peers: usize,
    items: usize,
    questions: u64,
    answers: u64,
}

impl From<Standing> for Dht {
    fn from(standing: Standing) -> Self {
        Self {
            nodes: standing.contacts,
            network_nodes: standing.network.map(|n| n.round() as u64),
            torrents: standing.torrents,
            peers: standing.peers,
            items: standing.items,
            questions: standing.counts.questions,
            answers: standing.counts.answers(),
        }
    }
}

#[derive(Serialize)]
struct Served {
    announces: u64,
    scrapes: u64,
    refused: u64,
    received_bytes: u64,
    sent_bytes: u64,
}

impl From<FamilyStats> for Family {
    fn from(stats: FamilyStats) -> Self {
        Self { torrents: stats.swarms, seeds: stats.seeds, leeches: stats.leeches, store_bytes: stats.bytes }
    }
}

impl Signalling {
    fn of(site: &Site) -> Self {
        let Some(door) = &site.door else { return Self::default() };
        let (now, past) = door.numbers();
        Self {
            connections: now.connections,
            torrents: now.swarms,
            peers: now.peers,
            announces: past.announces,
            offers: past.offers,
            answers: past.answers,
        }
    }
}

impl Served {
    fn over(site: &Site, transport: Transport) -> Self {
        let sum = |what| site.books.sum(transport, what);
        let refused = Refusal::ALL.iter().map(|refusal| sum(Count::Refused(*refusal))).sum::<u64>();
        Self {
            announces: sum(Count::Announces),
            scrapes: sum(Count::Scrapes),
            refused: refused + sum(Count::Malformed),
            received_bytes: sum(Count::Received),
            sent_bytes: sum(Count::Sent),
        }
    }
}

impl Stats {
    fn of(site: &Site) -> Self {
        let (held, shared) = (site.store.stats(), site.store.remote());
        let connections = |what| site.books.sum(Transport::Http, what);
        Self {
            version: env!("CARGO_PKG_VERSION"),
            uptime_seconds: site.uptime(),
            ipv4: shared.is_none().then(|| held.v4.into()),
            ipv6: shared.is_none().then(|| held.v6.into()),
            shared_store: shared.map(Into::into),
            served: Transport::ALL.iter().map(|t| (t.name(), Served::over(site, *t))).collect(),
            http_connections: connections(Count::Opened).saturating_sub(connections(Count::Closed)),
            webrtc: Signalling::of(site),
            dht: site.dht.iter().flat_map(|node| node.standing()).map(|s| (s.name(), s.into())).collect(),
            memory_bytes: ProcessNow::read().map(|now| now.resident_bytes),
        }
    }
}

/// Answers `/stats`.
pub(super) fn json(site: &Site, reply: &mut Reply) {
    reply.content_type = JSON;
    write(&Stats::of(site), &mut reply.body);
}

/// Answers `/metrics`.
pub(super) fn metrics(site: &Site, reply: &mut Reply) {
    reply.content_type = Exposition::TYPE;
    reply.body.extend_from_slice(site.metrics().as_bytes());
}

/// Nothing is loaded from anywhere, and nobody frames it.
const PAGE_HEADERS: &str = "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; \
    frame-ancestors 'none'\r\nX-Content-Type-Options: nosniff\r\n";

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:40em;margin:3em auto;padding:0 1em;color:#222;\
    background:#fff}table{border-collapse:collapse}td,th{padding:.2em 1.5em .2em 0;text-align:right}\
    th:first-child,td:first-child{text-align:left}\
    @media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}a{color:#8bf}}";

/// Answers `/`.
pub(super) fn page(site: &Site, reply: &mut Reply) {
    let stats = Stats::of(site);
    reply.content_type = "text/html; charset=utf-8";
    reply.headers = PAGE_HEADERS.into();
    let tracker = site.config.runs(Part::Tracker);
    let what = match tracker {
        true => "A BitTorrent tracker. Clients announce at <code>/announce</code>; there",
        false => "A node of the BitTorrent DHT. There",
    };
    let mut out = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>Samara hub</title><style>{STYLE}</style><h1>Samara hub</h1>\
         <p>{what} are also <a href=\"stats\">numbers as JSON</a> and <a href=\"metrics\">for Prometheus</a>.</p>"
    );
    if tracker {
        stats.write_tracker(&mut out);
    }
    stats.write_dht(&mut out);
    let (up, version) = (period(stats.uptime_seconds), stats.version);
    // Writing to a string cannot fail.
    let _ = writeln!(out, "<p>For {up}. Version {version}.</p></html>");
    reply.body.extend_from_slice(out.as_bytes());
}

impl Stats {
    fn write_tracker(&self, out: &mut String) {
        out.push_str("<table><tr><th><th>torrents<th>seeds<th>leeches");
        for (name, family) in [("IPv4", &self.ipv4), ("IPv6", &self.ipv6)] {
            let Some(family) = family else { continue };
            let _ = write!(
                out,
                "<tr><td>{name}<td>{}<td>{}<td>{}",
                family.torrents, family.seeds, family.leeches
            );
        }
        let webrtc = &self.webrtc;
        let _ = write!(
            out,
            "</table><p>{} peers of {} torrents connect by WebRTC.</p>{}<p>{} announces and {} scrapes.</p>",
            webrtc.peers,
            webrtc.torrents,
            self.shared_store.as_ref().map_or("", SharedStore::words),
            self.served.values().map(|served| served.announces).sum::<u64>(),
            self.served.values().map(|served| served.scrapes).sum::<u64>(),
        );
    }

    fn write_dht(&self, out: &mut String) {
        for (family, dht) in &self.dht {
            let family = if *family == "ipv4" { "IPv4" } else { "IPv6" };
            let _ = write!(
                out,
                "<p>DHT over {family}: {} nodes known, {} questions answered.</p>",
                dht.nodes, dht.answers
            );
        }
    }
}

/// Days and hours, or hours and minutes.
fn period(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    if days > 0 { format!("{days} d {hours} h") } else { format!("{hours} h {minutes} min") }
}
