//! Magnet links to what we have.

use std::net::SocketAddr;

use samara_proto::magnet::{Host, Magnet};
use samara_proto::metainfo::Metainfo;

/// A link to a torrent, naming `peers` that have it.
pub(crate) fn of(metainfo: &Metainfo, peers: &[SocketAddr]) -> String {
    let magnet = Magnet {
        length: Some(metainfo.info.total_size()),
        name: Some(metainfo.info.name().to_owned()),
        trackers: metainfo.trackers.iter().flatten().cloned().collect(),
        web_seeds: metainfo.web_seeds.clone(),
        peers: peers.iter().copied().map(Host::from).collect(),
        ..Magnet::new(metainfo.info.hashes())
    };
    magnet.to_string()
}
