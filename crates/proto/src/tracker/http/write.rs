//! A tracker writes.

use std::net::{IpAddr, SocketAddr};

use super::super::types::{Failure, Retry, ScrapeStats};
use crate::bencode::{DictWriter, ListWriter, write_dict};
use crate::ids::{PeerId, WireHash};

/// What the answer to an announce says beside peers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head<'a> {
    /// Seconds until the next announce.
    pub interval: u32,
    /// Seconds before which no announce is welcome.
    pub min_interval: Option<u32>,
    /// Seeds.
    pub complete: u32,
    /// Peers that are no seeds.
    pub incomplete: u32,
    /// Downloads ever completed.
    pub downloaded: Option<u32>,
    /// The client's address (BEP 24).
    pub external_ip: Option<IpAddr>,
    /// For the client to send back.
    pub tracker_id: Option<&'a [u8]>,
    /// For its user.
    pub warning: Option<&'a str>,
}

/// The peers of an answer.
#[derive(Clone, Copy, Debug)]
pub enum Peers<'a> {
    /// Packed: 6 bytes each for IPv4 (BEP 23), 18 for IPv6 (BEP 7).
    Compact {
        /// IPv4.
        v4: &'a [u8],
        /// IPv6; left out if empty.
        v6: &'a [u8],
    },
    /// As dictionaries (BEP 3), with ids where they are known and wanted.
    Listed(&'a [(SocketAddr, Option<PeerId>)]),
}

/// Appends the answer to an announce.
pub fn write_announce(out: &mut Vec<u8>, head: &Head<'_>, peers: Peers<'_>) {
    // Keys in order, so that nothing has to be sorted.
    write_dict(out, |d| {
        d.int("complete", head.complete.into());
        optional(d, "downloaded", head.downloaded);
        if let Some(ip) = head.external_ip {
            put_ip(d, ip);
        }
        d.int("incomplete", head.incomplete.into());
        d.int("interval", head.interval.into());
        optional(d, "min interval", head.min_interval);
        put_peers(d, peers);
        if let Some(id) = head.tracker_id {
            d.bytes("tracker id", id);
        }
        if let Some(text) = head.warning {
            d.bytes("warning message", text);
        }
    });
}

fn optional(d: &mut DictWriter<'_>, key: &str, value: Option<u32>) {
    if let Some(value) = value {
        d.int(key, value.into());
    }
}

fn put_ip(d: &mut DictWriter<'_>, ip: IpAddr) {
    match ip.to_canonical() {
        IpAddr::V4(ip) => d.bytes("external ip", ip.octets()),
        IpAddr::V6(ip) => d.bytes("external ip", ip.octets()),
    }
}

fn put_peers(d: &mut DictWriter<'_>, peers: Peers<'_>) {
    match peers {
        Peers::Compact { v4, v6 } => {
            d.bytes("peers", v4);
            if !v6.is_empty() {
                d.bytes("peers6", v6);
            }
        }
        Peers::Listed(peers) => d.list("peers", |l| peers.iter().for_each(|peer| put_peer(l, peer))),
    }
}

fn put_peer(l: &mut ListWriter<'_>, (addr, id): &(SocketAddr, Option<PeerId>)) {
    l.dict(|d| {
        d.bytes("ip", addr.ip().to_canonical().to_string());
        if let Some(id) = id {
            d.bytes("peer id", id.0);
        }
        d.int("port", addr.port().into());
    });
}

/// Appends the answer to a scrape. `files` is put into order; of a hash given twice the first counts.
pub fn write_scrape(out: &mut Vec<u8>, files: &mut Vec<(WireHash, ScrapeStats)>) {
    files.sort_by_key(|(hash, _)| *hash);
    files.dedup_by_key(|(hash, _)| *hash);
    write_dict(out, |d| {
        d.dict("files", |d| files.iter().for_each(|(hash, stats)| d.dict(hash.0, |d| put_stats(d, stats))));
    });
}

fn put_stats(d: &mut DictWriter<'_>, stats: &ScrapeStats) {
    d.int("complete", stats.complete.into());
    d.int("downloaded", stats.downloaded.into());
    d.int("incomplete", stats.incomplete.into());
}

/// Appends a refusal.
pub fn write_failure(out: &mut Vec<u8>, failure: &Failure) {
    write_dict(out, |d| {
        d.bytes("failure reason", &failure.reason);
        match failure.retry {
            Some(Retry::Minutes(minutes)) => d.int("retry in", minutes.into()),
            Some(Retry::Never) => d.bytes("retry in", "never"),
            None => {}
        }
    });
}
