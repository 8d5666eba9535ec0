//! What is found in the DHT, as JSON for programs and in words for people.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use samara_engine::dht::NodeStats;
use samara_proto::dht::Contact;
use samara_proto::dht::item::Item;
use samara_proto::dht::node::Summary;
use samara_proto::ids::NodeId;
use samara_proto::tracker::Family;
use serde::Serialize;

use crate::ui::human::{clean, count, duration};

/// `ipv4` or `ipv6`.
const fn name(family: Family) -> &'static str {
    match family {
        Family::V4 => "ipv4",
        Family::V6 => "ipv6",
    }
}

/// A node: the event `node`.
#[derive(Debug, Serialize)]
pub(super) struct Node {
    event: &'static str,
    id: String,
    addr: SocketAddr,
    /// Whether the id follows from the address (BEP 42).
    fits: bool,
    /// The round trip, where it was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<f64>,
    /// Leading bits that the id has in common with what was looked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    shared_bits: Option<u32>,
}

impl Node {
    pub(super) fn pinged(contact: &Contact, took: Duration) -> Self {
        Self { seconds: Some(took.as_secs_f64()), ..Self::of(contact) }
    }

    pub(super) fn found(contact: &Contact, target: &NodeId) -> Self {
        Self { shared_bits: Some(contact.id.shared_bits(target)), ..Self::of(contact) }
    }

    fn of(contact: &Contact) -> Self {
        let fits = contact.id.fits(contact.addr.ip());
        let id = contact.id.to_string();
        Self { event: "node", id, addr: contact.addr, fits, seconds: None, shared_bits: None }
    }

    pub(super) fn words(&self) -> String {
        let time = self.seconds.map(|seconds| format!("  {:.0} ms", seconds * 1000.0)).unwrap_or_default();
        let misfit = if self.fits { "" } else { "  (the id does not follow from the address)" };
        format!("{}  {}{time}{misfit}", self.id, self.addr)
    }
}

/// A peer: the event `peer`.
#[derive(Debug, Serialize)]
pub(super) struct Peer {
    event: &'static str,
    addr: SocketAddr,
    state: &'static str,
}

impl Peer {
    pub(super) const fn found(addr: SocketAddr) -> Self {
        Self { event: "peer", addr, state: "found" }
    }
}

/// How a lookup went: the event `lookup`.
#[derive(Debug, Serialize)]
pub(super) struct Lookup {
    event: &'static str,
    family: &'static str,
    target: String,
    asked: u32,
    answered: u32,
    /// Questions, one after the other, to the closest node.
    hops: u8,
    seconds: f64,
    /// Nodes that took what was to be stored.
    #[serde(skip_serializing_if = "is_zero")]
    stored: u32,
    /// What the first said that refused to.
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seeds: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    leeches: Option<u32>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

impl Lookup {
    pub(super) fn new(family: Family, target: &NodeId, summary: &Summary) -> Self {
        let (seeds, leeches) = summary.scrape.unzip();
        Self {
            event: "lookup",
            family: name(family),
            target: target.to_string(),
            asked: summary.asked,
            answered: summary.answered,
            hops: summary.hops,
            seconds: summary.took.as_secs_f64(),
            stored: summary.stored,
            refusal: summary.refusal.as_ref().map(|(code, text)| format!("{text} ({code})")),
            seeds,
            leeches,
        }
    }

    pub(super) fn words(&self) -> String {
        let family = if self.family == "ipv4" { "IPv4" } else { "IPv6" };
        let took = duration(Duration::try_from_secs_f64(self.seconds).unwrap_or_default());
        let (asked, hops) = (count(self.asked.into(), "node"), count(self.hops.into(), "hop"));
        let refusal = self.refusal.as_deref().map(|text| format!("; one refused: {}", clean(text)));
        format!(
            "{family}: asked {asked}, {} answered, {hops}, {took}{}",
            self.answered,
            refusal.unwrap_or_default()
        )
    }
}

/// Info-hashes of one node: the event `sample`.
#[derive(Debug, Serialize)]
pub(super) struct Sample {
    event: &'static str,
    id: String,
    addr: SocketAddr,
    /// How many it has in all.
    torrents: u32,
    /// Seconds until it will have others.
    interval: u64,
    info_hashes: Vec<String>,
}

impl Sample {
    pub(super) fn new(from: &Contact, hashes: &[NodeId], num: u32, interval: Duration) -> Self {
        Self {
            event: "sample",
            id: from.id.to_string(),
            addr: from.addr,
            torrents: num,
            interval: interval.as_secs(),
            info_hashes: hashes.iter().map(ToString::to_string).collect(),
        }
    }

    pub(super) fn words(&self) -> String {
        let of = count(self.torrents.into(), "torrent");
        let head = format!("# {} of {of} at {} ({})", self.info_hashes.len(), self.addr, self.id);
        self.info_hashes.iter().fold(head, |text, hash| text + "\n" + hash)
    }
}

/// What is stored: the event `item`.
#[derive(Debug, Serialize)]
pub(super) struct Stored<'a> {
    event: &'static str,
    target: String,
    /// The value, if it is a text.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a str>,
    /// The value as it is stored, in hex.
    bencoded: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    salt: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signature: Option<String>,
    /// Nodes that took it, of one that was put.
    #[serde(skip_serializing_if = "Option::is_none")]
    stored: Option<u32>,
}

impl<'a> Stored<'a> {
    pub(super) fn new(item: &'a Item, stored: Option<u32>) -> Self {
        let mutable = item.mutable();
        let salt =
            mutable.filter(|m| !m.salt.is_empty()).map(|m| String::from_utf8_lossy(&m.salt).into_owned());
        Self {
            event: "item",
            target: item.target().to_string(),
            value: string(item.value()).and_then(|text| std::str::from_utf8(text).ok()),
            bencoded: hex(item.value()),
            key: mutable.map(|m| hex(&m.key)),
            salt,
            seq: item.seq(),
            signature: mutable.map(|m| hex(&m.sig)),
            stored,
        }
    }
}

/// What is in a value that is a byte string.
pub(super) fn string(value: &[u8]) -> Option<&[u8]> {
    use samara_proto::bencode::{Limits, parse};
    parse(value, Limits::MESSAGE).ok()?.as_bytes()
}

/// Lower-case hex digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// How a node stands: the event `dht`.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Standing {
    event: &'static str,
    family: &'static str,
    id: String,
    addr: SocketAddr,
    /// It has found its neighbours.
    joined: bool,
    /// In its table.
    nodes: usize,
    /// In the whole network, roughly, once it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    network_nodes: Option<u64>,
    /// Where others see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    outside_ip: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outside_port: Option<u16>,
    /// It keeps peers of so many.
    torrents: usize,
    items: usize,
    received_bytes: u64,
    sent_bytes: u64,
}

impl Standing {
    pub(super) fn new(stats: &NodeStats) -> Self {
        Self {
            event: "dht",
            family: name(stats.family),
            id: stats.id.to_string(),
            addr: stats.local,
            joined: stats.joined,
            nodes: stats.contacts,
            network_nodes: stats.network_size.map(|n| n.round() as u64),
            outside_ip: stats.outside.map(|outside| outside.ip),
            outside_port: stats.outside.and_then(|outside| outside.port),
            torrents: stats.torrents,
            items: stats.items,
            received_bytes: stats.received.bytes,
            sent_bytes: stats.sent.bytes,
        }
    }

    /// Whether a person would care for the difference to how it stood before.
    pub(super) fn is_news(&self, before: &Self) -> bool {
        (&self.id, self.joined, self.outside_ip) != (&before.id, before.joined, before.outside_ip)
    }

    pub(super) fn words(&self) -> String {
        let family = if self.family == "ipv4" { "IPv4" } else { "IPv6" };
        let mut parts = vec![format!("{family}: {} known", count(self.nodes as u64, "node"))];
        parts.extend(self.network_nodes.map(|n| format!("some {} in the network", rough(n))));
        parts.extend(self.outside_ip.map(|ip| match self.outside_port {
            Some(port) => format!("seen at {}", SocketAddr::new(ip, port)),
            None => format!("seen at {ip}"),
        }));
        parts.push(format!("id {}", self.id));
        if !self.joined {
            parts.push("looking for neighbours".into());
        }
        parts.join(", ")
    }
}

/// Two digits, for it is an estimate.
fn rough(n: u64) -> u64 {
    let scale = 10u64.pow(n.checked_ilog10().unwrap_or(0).saturating_sub(1));
    n / scale * scale
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contact(addr: &str) -> Contact {
        Contact { id: NodeId([0x5f; 20]), addr: addr.parse().unwrap() }
    }

    #[test]
    fn nodes_look_as_promised() {
        let id = "5f".repeat(20);
        let node = Node::pinged(&contact("127.0.0.1:5"), Duration::from_millis(34));
        assert_eq!(
            serde_json::to_string(&node).unwrap(),
            format!(r#"{{"event":"node","id":"{id}","addr":"127.0.0.1:5","fits":true,"seconds":0.034}}"#)
        );
        assert_eq!(node.words(), format!("{id}  127.0.0.1:5  34 ms"));
        let node = Node::found(&contact("8.8.8.8:5"), &NodeId([0x5e; 20]));
        assert_eq!((node.shared_bits, node.fits), (Some(7), false));
        assert!(node.words().ends_with("8.8.8.8:5  (the id does not follow from the address)"));
    }

    #[test]
    fn lookups_tell_their_numbers_and_refusals_cannot_drive_a_terminal() {
        let refusal = Some((302, "no\u{1b}[2J".to_owned()));
        let summary =
            Summary { asked: 20, answered: 1, hops: 3, refusal, scrape: Some((2, 5)), ..Summary::default() };
        let lookup = Lookup::new(Family::V6, &NodeId([0; 20]), &summary);
        assert_eq!(
            lookup.words(),
            "IPv6: asked 20 nodes, 1 answered, 3 hops, 0.0 s; one refused: no\\u{1b}[2J (302)"
        );
        let json = serde_json::to_value(&lookup).unwrap();
        assert_eq!(
            (&json["seeds"], &json["leeches"], &json["stored"]),
            (&2.into(), &5.into(), &serde_json::Value::Null)
        );
    }

    #[test]
    fn items_show_text_and_bytes() {
        let item = Item::immutable(b"12:Hello World!").unwrap();
        let json = serde_json::to_value(Stored::new(&item, None)).unwrap();
        assert_eq!(json["target"], "e5f96f6f38320f0f33959cb4d3d656452117aadb");
        assert_eq!((&json["value"], json.get("key")), (&"Hello World!".into(), None));
        let item = Item::sign(&[1; 32], b"s", 4, b"i5e").unwrap();
        let json = serde_json::to_value(Stored::new(&item, Some(8))).unwrap();
        assert_eq!(
            (&json["bencoded"], &json["salt"], &json["seq"]),
            (&"693565".into(), &"s".into(), &4.into())
        );
        assert!(json.get("value").is_none() && json["stored"] == 8);
    }

    #[test]
    fn estimates_are_rough() {
        assert_eq!([0, 7, 42, 123, 8_345_678].map(rough), [0, 7, 42, 120, 8_300_000]);
    }
}
