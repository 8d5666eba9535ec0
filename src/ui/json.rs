//! The events of `--json`: names and fields are a contract, to which things are only ever added.
//!
//! Sizes are bytes, rates bytes per second, hashes lower-case hex.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use samara_proto::metainfo::Info;
use samara_proto::tracker::Family;
use samara_proto::tracker::announcer::{Problem, Report, ReportKind};
use serde::Serialize;

/// Something that happened.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub(crate) enum Event<'a> {
    /// Connections are accepted at this address.
    Listening {
        /// With the port that was really taken.
        addr: SocketAddr,
        /// Of `tcp`, `utp`, `http`, `udp`.
        transports: &'a [&'a str],
    },
    /// What the torrent is, as soon as that is known.
    Metadata(Metadata),
    /// Bytes on disk that were hashed.
    Checking {
        /// So far.
        done: u64,
        /// In all.
        total: u64,
    },
    /// How far the transfer is.
    Progress(Progress),
    /// Every wanted byte is there and verified.
    Complete {
        /// The file or folder.
        #[serde(serialize_with = "lossy")]
        path: &'a Path,
        /// Wanted bytes.
        size: u64,
        /// Since the start of the command.
        seconds: f64,
    },
    /// Everything is checked and being served.
    Seeding {},
    /// A peer came, went, or is not let in again.
    Peer {
        /// Its address.
        addr: SocketAddr,
        /// `connected`, `gone` or `banned`.
        state: &'a str,
        /// What it calls itself.
        #[serde(skip_serializing_if = "Option::is_none")]
        client: Option<&'a str>,
        /// Why it went or is banned: a short stable name.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<&'a str>,
    },
    /// What became of an announce.
    Tracker(Tracker),
    /// The torrent was saved as a .torrent file.
    Saved {
        /// The file.
        #[serde(serialize_with = "lossy")]
        path: &'a Path,
    },
    /// A link that others fetch by.
    Link {
        /// With the addresses of this machine.
        magnet: &'a str,
    },
    /// Something that stops nothing.
    Warning {
        /// One sentence.
        message: &'a str,
    },
    /// What ended the command.
    Error {
        /// One sentence.
        message: &'a str,
    },
}

/// What became of an announce.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Tracker {
    pub(crate) url: String,
    /// `ipv4` or `ipv6`.
    pub(crate) family: &'static str,
    /// `working`, `failed`, or `absent` if it has no address of this family that can be reached.
    pub(crate) state: &'static str,
    /// How many it gave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) peers: Option<usize>,
    /// In the swarm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) seeds: Option<u32>,
    /// In the swarm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) leeches: Option<u32>,
    /// Why it failed, or what it wants the user to know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<String>,
    /// The message is its own, rather than one of ours about it.
    #[serde(skip)]
    pub(crate) own_words: bool,
}

impl Tracker {
    /// From the engine's report.
    pub(crate) fn of(report: &Report) -> Self {
        let family = match report.family {
            Family::V4 => "ipv4",
            Family::V6 => "ipv6",
        };
        let (url, state) = (report.url.to_string(), "failed");
        let (peers, seeds, leeches, message) = (None, None, None, None);
        let about = Self { url, family, state, peers, seeds, leeches, message, own_words: true };
        match &report.what {
            ReportKind::Answered { peers, seeds, leeches, warning } => {
                let (peers, seeds, leeches) = (Some(*peers), *seeds, *leeches);
                Self { state: "working", peers, seeds, leeches, message: warning.clone(), ..about }
            }
            ReportKind::Failed(problem) => {
                let state = if matches!(problem, Problem::NoAddress) { "absent" } else { "failed" };
                let own_words = matches!(problem, Problem::Refused(_));
                Self { state, message: Some(problem.to_string()), own_words, ..about }
            }
        }
    }
}

/// What a torrent is.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Metadata {
    /// Of the file or folder.
    pub(crate) name: String,
    /// Where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) info_hash_v1: Option<String>,
    /// Where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) info_hash_v2: Option<String>,
    /// Bytes, without padding.
    pub(crate) size: u64,
    /// Number of files, without padding.
    pub(crate) files: usize,
    /// Bytes.
    pub(crate) piece_length: u32,
}

impl Metadata {
    /// Of this torrent.
    pub(crate) fn of(info: &Info) -> Self {
        let hashes = info.hashes();
        Self {
            name: info.name().to_owned(),
            info_hash_v1: hashes.v1().map(|h| h.to_string()),
            info_hash_v2: hashes.v2().map(|h| h.to_string()),
            size: info.total_size(),
            files: info.files().iter().filter(|f| !f.attr.pad).count(),
            piece_length: info.piece_length(),
        }
    }
}

/// How far a transfer is.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Progress {
    /// Wanted bytes that are verified.
    pub(crate) done: u64,
    /// Wanted bytes; 0 while unknown.
    pub(crate) total: u64,
    /// Payload coming in, bytes per second.
    pub(crate) down_rate: u64,
    /// Payload going out, bytes per second.
    pub(crate) up_rate: u64,
    /// Payload received in this run.
    pub(crate) downloaded: u64,
    /// Payload sent in this run.
    pub(crate) uploaded: u64,
    /// Connected.
    pub(crate) peers: u32,
    /// Those of them that have everything.
    pub(crate) seeds: u32,
    /// While nothing but the hash is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) search: Option<Search>,
    /// The files are known, but not what their pieces must hash to; for people only.
    #[serde(skip)]
    pub(crate) hashes_lack: bool,
    /// How full each stretch of the torrent is; for people only.
    #[serde(skip)]
    pub(crate) map: Vec<u8>,
}

/// How a torrent of which only the hash is known is looked for.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Search {
    /// Who is asked: of `peers` (named by the user or the link), `trackers`, `dht`, `lsd`.
    pub(crate) asked: Vec<&'static str>,
    /// Addresses that are known.
    pub(crate) known: u32,
    /// By who told them: of `user`, `link`, `lsd`, `tracker`, `incoming`, `pex`, `dht`.
    pub(crate) from: BTreeMap<&'static str, u32>,
    /// Once a peer offers the metadata.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) metadata: Option<MetadataPieces>,
}

/// How far the metadata is.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct MetadataPieces {
    /// Pieces of 16 KiB that came.
    pub(crate) pieces: u32,
    /// In all.
    pub(crate) total: u32,
    /// Peers that offer it.
    pub(crate) peers: u32,
}

/// Paths are shown even where they are not Unicode.
fn lossy<S: serde::Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(event: &Event<'_>) -> String {
        serde_json::to_string(event).unwrap()
    }

    #[test]
    fn events_look_as_promised() {
        let addr = "127.0.0.1:6881".parse().unwrap();
        assert_eq!(
            line(&Event::Listening { addr, transports: &["tcp"] }),
            r#"{"event":"listening","addr":"127.0.0.1:6881","transports":["tcp"]}"#
        );
        assert_eq!(line(&Event::Seeding {}), r#"{"event":"seeding"}"#);
        assert_eq!(
            line(&Event::Checking { done: 1, total: 2 }),
            r#"{"event":"checking","done":1,"total":2}"#
        );
        assert_eq!(
            line(&Event::Progress(Progress { map: vec![1], ..Progress::default() })),
            r#"{"event":"progress","done":0,"total":0,"down_rate":0,"up_rate":0,"downloaded":0,"uploaded":0,"peers":0,"seeds":0}"#
        );
        let search = Search {
            asked: vec!["trackers", "dht"],
            known: 3,
            from: [("tracker", 1), ("dht", 2)].into(),
            metadata: Some(MetadataPieces { pieces: 0, total: 2, peers: 1 }),
        };
        assert!(line(&Event::Progress(Progress { search: Some(search), ..Progress::default() })).ends_with(
            r#""seeds":0,"search":{"asked":["trackers","dht"],"known":3,"from":{"dht":2,"tracker":1},"metadata":{"pieces":0,"total":2,"peers":1}}}"#
        ));
        assert_eq!(line(&Event::Saved { path: Path::new("/a/b") }), r#"{"event":"saved","path":"/a/b"}"#);
        assert_eq!(
            line(&Event::Complete { path: Path::new("/a/b"), size: 3, seconds: 0.5 }),
            r#"{"event":"complete","path":"/a/b","size":3,"seconds":0.5}"#
        );
        assert_eq!(
            line(&Event::Peer { addr, state: "gone", client: None, reason: Some("remote") }),
            r#"{"event":"peer","addr":"127.0.0.1:6881","state":"gone","reason":"remote"}"#
        );
        let tracker = Tracker {
            url: "udp://t:1".into(),
            family: "ipv6",
            state: "failed",
            peers: None,
            seeds: None,
            leeches: None,
            message: Some("closed".into()),
            own_words: true,
        };
        assert_eq!(
            line(&Event::Tracker(tracker)),
            r#"{"event":"tracker","url":"udp://t:1","family":"ipv6","state":"failed","message":"closed"}"#
        );
        assert_eq!(line(&Event::Link { magnet: "magnet:?x" }), r#"{"event":"link","magnet":"magnet:?x"}"#);
        assert_eq!(line(&Event::Error { message: "a\nb" }), r#"{"event":"error","message":"a\nb"}"#);
    }
}
