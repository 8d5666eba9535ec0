//! The bodies of the fuzz targets: plain functions of bytes, each with properties to hold, not only panics to avoid.
//!
//! `fuzz_targets/NAME.rs` gives the body `NAME` to libFuzzer; `crates/proto/tests/corpus.rs` includes this very file
//! and replays the committed corpora with plain `cargo test`. To add a target: a module with `run`, a line in
//! [`TARGETS`], a file in `fuzz_targets`, and at least one input in `corpus/NAME`.

pub mod bencode;
pub mod dht_message;
pub mod dht_node;
pub mod http_answer;
pub mod http_server;
pub mod input;
pub mod layout;
pub mod lsd;
pub mod magnet;
pub mod merkle_proof;
pub mod metainfo;
pub mod peer_machine;
pub mod redis_client;
pub mod signal;
pub mod swarms;
pub mod swarms_file;
pub mod torrent_machine;
pub mod tracker_fleet;
pub mod tracker_http;
pub mod tracker_lists;
pub mod tracker_udp;
pub mod udp_server;
pub mod ut_metadata;
pub mod ut_pex;
pub mod wire_split;

/// Runs one input; panics if a property does not hold.
pub type Body = fn(&[u8]);

/// Every target by name, in order.
pub const TARGETS: &[(&str, Body)] = &[
    ("bencode", bencode::run),
    ("dht_message", dht_message::run),
    ("dht_node", dht_node::run),
    ("http_answer", http_answer::run),
    ("http_server", http_server::run),
    ("layout", layout::run),
    ("lsd", lsd::run),
    ("magnet", magnet::run),
    ("merkle_proof", merkle_proof::run),
    ("metainfo", metainfo::run),
    ("peer_machine", peer_machine::run),
    ("redis_client", redis_client::run),
    ("signal", signal::run),
    ("swarms", swarms::run),
    ("swarms_file", swarms_file::run),
    ("torrent_machine", torrent_machine::run),
    ("tracker_fleet", tracker_fleet::run),
    ("tracker_http", tracker_http::run),
    ("tracker_lists", tracker_lists::run),
    ("tracker_udp", tracker_udp::run),
    ("udp_server", udp_server::run),
    ("ut_metadata", ut_metadata::run),
    ("ut_pex", ut_pex::run),
    ("wire_split", wire_split::run),
];
