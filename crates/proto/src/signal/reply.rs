//! What we say to clients.

use std::collections::BTreeMap;

use serde::Serialize;

use super::binary::Binary;

/// Sizes of a swarm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Seeds.
    pub complete: u32,
    /// Peers that are no seeds.
    pub incomplete: u32,
    /// Downloads completed since the swarm came into being.
    pub downloaded: u32,
}

/// A message to a client.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Reply<'a> {
    /// To an announce.
    Announced {
        action: Action,
        info_hash: Binary,
        /// Seconds.
        interval: u32,
        complete: u32,
        incomplete: u32,
    },
    /// Somebody offers a connection.
    Offer { action: Action, info_hash: Binary, peer_id: Binary, offer_id: Binary, offer: Session<'a> },
    /// Somebody took an offer.
    Answer { action: Action, info_hash: Binary, peer_id: Binary, offer_id: Binary, answer: Session<'a> },
    /// To a scrape.
    Scraped { action: Action, files: BTreeMap<Binary, Counts>, flags: Flags },
    /// A refusal. Without a torrent it has no action either: clients pass over an `announce` that is not of theirs.
    Failure {
        #[serde(skip_serializing_if = "Option::is_none")]
        action: Option<Action>,
        #[serde(skip_serializing_if = "Option::is_none")]
        info_hash: Option<Binary>,
        #[serde(rename = "failure reason")]
        reason: &'a str,
    },
}

/// What a reply belongs to.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Action {
    Announce,
    Scrape,
}

/// A session description.
#[derive(Debug, Serialize)]
pub(super) struct Session<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    sdp: &'a str,
}

/// How often scrapes are welcome (BEP 48's list of flags).
#[derive(Debug, Serialize)]
pub(super) struct Flags {
    /// Seconds.
    pub(super) min_request_interval: u32,
}

impl<'a> Session<'a> {
    pub(super) const fn offer(sdp: &'a str) -> Self {
        Self { kind: "offer", sdp }
    }

    pub(super) const fn answer(sdp: &'a str) -> Self {
        Self { kind: "answer", sdp }
    }
}

impl Reply<'_> {
    /// As JSON. Nothing in it can fail to be written.
    pub(super) fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}
