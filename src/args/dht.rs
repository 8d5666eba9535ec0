//! The arguments of `samara dht`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use samara_proto::ids::NodeId;
use samara_proto::magnet::Host;

/// Look into the DHT, or be a node of it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  samara dht ping router.bittorrent.com:6881
  samara dht peers 'magnet:?xt=urn:btih:..'           who has it, without any tracker
  samara dht put 'hello' && samara dht get 6d8b..     keep a short text in the DHT
  samara dht node --listen 0.0.0.0:6881               be a node, until interrupted

`samara dht COMMAND --help` tells more about one of them. But for `node`, they ask as a node that answers nobody and is
gone at once (BEP 43). Ends with 0 if something was found or done, else with 1.")]
pub(crate) struct Dht {
    #[command(subcommand)]
    pub(crate) command: DhtCommand,
}

/// What to do in the DHT.
#[derive(Debug, Subcommand)]
pub(crate) enum DhtCommand {
    Ping(Ping),
    Find(Find),
    Peers(Peers),
    Get(GetItem),
    Put(PutItem),
    Sample(Sample),
    Node(BareNode),
}

/// Where to begin, and by which address.
#[derive(Debug, Args)]
#[command(next_help_heading = "Network")]
pub(crate) struct DhtNet {
    /// The address to ask from; port 0 picks one [default: all, on a port that the system picks; of `node`, 6881 or the
    /// next free port]
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) listen: Vec<SocketAddr>,
    /// A node to begin with, in place of those that most clients begin with
    #[arg(long = "dht-bootstrap", value_name = "HOST:PORT")]
    pub(crate) bootstrap: Vec<Host>,
    /// Where id and neighbours are kept between runs [default: the platform's state folder]
    #[arg(long, value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,
}

/// Ask whether a node is there.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  samara dht ping router.bittorrent.com:6881
  samara dht ping 192.0.2.7:6881 --json | jq .seconds")]
pub(crate) struct Ping {
    /// The node
    #[arg(value_name = "HOST:PORT")]
    pub(crate) host: Host,
    #[command(flatten)]
    pub(crate) net: DhtNet,
}

/// Find the nodes closest to an id.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  samara dht find 0123456789abcdef0123456789abcdef01234567
  samara dht find 0123456789abcdef0123456789abcdef01234567 -v     tells how many were asked")]
pub(crate) struct Find {
    /// 40 hex digits
    #[arg(value_name = "ID", value_parser = node_id)]
    pub(crate) id: NodeId,
    #[command(flatten)]
    pub(crate) net: DhtNet,
}

/// Find peers of a torrent.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  samara dht peers 0123456789abcdef0123456789abcdef01234567
  samara dht peers 'magnet:?xt=urn:btih:..' --scrape        estimates how many there are
  samara dht peers album.torrent --announce 6881            says that a peer listens at this port here

An announce holds for half an hour.")]
pub(crate) struct Peers {
    /// An info-hash, a magnet link, a .torrent file, or its http(s) address
    #[arg(value_name = "HASH|MAGNET|TORRENT")]
    pub(crate) source: String,
    /// Announce a peer at this port of this machine too
    #[arg(long, value_name = "PORT", conflicts_with = "scrape", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) announce: Option<u16>,
    /// Estimate how many seeds and other peers there are (BEP 33); fewer are named then
    #[arg(long)]
    pub(crate) scrape: bool,
    #[command(flatten)]
    pub(crate) net: DhtNet,
}

/// Fetch what is stored under a hash or a key.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  samara dht get e5f96f6f38320f0f33959cb4d3d656452117aadb
  samara dht get 77ff84905a91936367c01360803104f92432fcd904a43511876df5cdf3e7e548 --salt news
  samara dht get e5f96f6f38320f0f33959cb4d3d656452117aadb -o file

Texts are printed as they are, other values as bencoding.")]
pub(crate) struct GetItem {
    /// 40 hex digits: the hash of a value, or of a key and salt. 64: a public key, under which values change
    #[arg(value_name = "HASH|KEY", value_parser = target)]
    pub(crate) target: Target,
    /// What was stored beside others under the same key
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub(crate) salt: String,
    /// Write the value to this file
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) net: DhtNet,
}

/// Store a short value for some two hours, and print where it is found.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  samara dht put 'hello'                               prints the hash that `samara dht get` takes
  samara dht put --file note.txt
  samara dht put 'second' --key ours.key               replaces what was stored under this key
  samara dht put 'third' --key ours.key --salt news --seq 3 --cas 2

At most 1000 bytes, 996 of a text. With --key, the public key is printed; who has the file can change the value.")]
pub(crate) struct PutItem {
    /// The text to store
    #[arg(value_name = "VALUE", required_unless_present = "file")]
    pub(crate) value: Option<String>,
    /// Store what is in this file
    #[arg(long, value_name = "FILE", conflicts_with = "value")]
    pub(crate) file: Option<PathBuf>,
    /// The value is bencoding, and stored as it is
    #[arg(long)]
    pub(crate) bencoded: bool,
    /// Sign with the secret key in this file, which is made if it is not there: 64 hex digits
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// Store it beside others under the same key; at most 64 bytes
    #[arg(long, value_name = "TEXT", requires = "key", default_value = "", hide_default_value = true)]
    pub(crate) salt: String,
    /// The number of this version [default: one more than that of what is stored]
    #[arg(long, value_name = "N", requires = "key", value_parser = clap::value_parser!(i64).range(0..))]
    pub(crate) seq: Option<i64>,
    /// Store it only where the version with this number is
    #[arg(long, value_name = "N", requires = "key", value_parser = clap::value_parser!(i64).range(0..))]
    pub(crate) cas: Option<i64>,
    #[command(flatten)]
    pub(crate) net: DhtNet,
}

/// See some of the torrents that nodes keep peers of (BEP 51).
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  samara dht sample                                    around a random place
  samara dht sample 0123456789abcdef0123456789abcdef01234567
  samara dht sample 192.0.2.7:6881                     of this node")]
pub(crate) struct Sample {
    /// Around which id, or of which node
    #[arg(value_name = "ID|HOST:PORT", value_parser = place)]
    pub(crate) place: Option<Place>,
    #[command(flatten)]
    pub(crate) net: DhtNet,
}

/// Be a node until interrupted.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  samara dht node
  samara dht node --listen 192.0.2.7:6881 --dht-bootstrap first.example:6881
  samara dht node --json | jq 'select(.event == \"dht\")'

It keeps id and neighbours for the next run. `samara hub --only dht` answers many more, and begins a DHT of its own.")]
pub(crate) struct BareNode {
    #[command(flatten)]
    pub(crate) net: DhtNet,
}

/// What an item is stored under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// The place itself.
    Place(NodeId),
    /// A public key, with whatever salt.
    Key([u8; 32]),
}

/// What to see a sample of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The nodes around an id.
    Around(NodeId),
    /// One node.
    At(Host),
}

fn node_id(text: &str) -> Result<NodeId, String> {
    NodeId::from_hex(text).ok_or_else(|| format!("{text:?} is not an id, which has 40 hex digits"))
}

fn target(text: &str) -> Result<Target, String> {
    if let Some(place) = NodeId::from_hex(text) {
        return Ok(Target::Place(place));
    }
    hex_32(text).map(Target::Key).ok_or_else(|| {
        format!("{text:?} is neither a hash, which has 40 hex digits, nor a key, which has 64")
    })
}

fn place(text: &str) -> Result<Place, String> {
    if let Some(id) = NodeId::from_hex(text) {
        return Ok(Place::Around(id));
    }
    let host = text.parse().map(Place::At);
    host.map_err(|_| format!("{text:?} is neither an id, which has 40 hex digits, nor a HOST:PORT"))
}

/// 32 bytes as 64 hex digits.
pub(crate) fn hex_32(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let mut out = [0; 32];
    for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef01234567";

    #[test]
    fn targets_and_places_are_told_apart() {
        assert!(matches!(target(ID), Ok(Target::Place(_))));
        assert_eq!(target(&"0A".repeat(32)), Ok(Target::Key([10; 32])));
        assert!(matches!(place(ID), Ok(Place::Around(_))) && matches!(place("[::1]:6881"), Ok(Place::At(_))));
        for bad in ["", "xyz", &ID[1..], &"+1".repeat(32), "host", "host:0"] {
            assert!(
                target(bad).is_err() && place(bad).is_err() && node_id(bad).is_err(),
                "{bad:?} was taken"
            );
        }
    }
}
