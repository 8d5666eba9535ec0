//! The handshake of both roles, and the upgrade of hybrid torrents to v2 (BEP 3, 52).

use super::{Config, Departure, Hello, Violation};
use crate::ids::{InfoHashes, PeerId, WireHash};
use crate::wire::{Handshake, Prefix, Reserved};

/// A handshake under way.
#[derive(Debug)]
pub(super) struct Greeting {
    hashes: InfoHashes,
    ours: Handshake,
    bytes: [u8; Handshake::LEN],
    filled: usize,
    /// The remote's first 48 bytes, once they are there and accepted.
    theirs: Option<Prefix>,
}

impl Greeting {
    /// We speak first: with the v1 hash of a hybrid, offering the upgrade.
    pub(super) fn outgoing(config: &Config, hashes: InfoHashes) -> Self {
        Self::new(config, hashes, hashes.primary())
    }

    /// The remote spoke first. A hybrid is upgraded if the remote offers it.
    pub(super) fn incoming(config: &Config, hashes: InfoHashes, prefix: Prefix) -> Result<Self, Violation> {
        if !hashes.matches(&prefix.hash) {
            return Err(Violation::WrongInfoHash);
        }
        let upgrade = hashes.v2().filter(|_| prefix.reserved.v2()).map(|v2| v2.truncated());
        let greeting = Self::new(config, hashes, upgrade.unwrap_or(prefix.hash));
        Ok(Self { filled: Prefix::LEN, theirs: Some(prefix), ..greeting })
    }

    fn new(config: &Config, hashes: InfoHashes, hash: WireHash) -> Self {
        // The bit is an offer, and one that not every v1-only reader forgives: libtorrent hangs up on a peer that
        // makes it for a torrent without a v2 half. So only a v1 hash of a hybrid carries it.
        let offer = hashes.v2().is_some_and(|v2| v2.truncated() != hash);
        let prefix = Prefix { reserved: Reserved::ours(config.dht_port.is_some(), offer), hash };
        let ours = Handshake { prefix, peer_id: config.peer_id };
        Self { hashes, ours, bytes: [0; Handshake::LEN], filled: 0, theirs: None }
    }

    /// Our side of it.
    pub(super) fn ours(&self) -> [u8; Handshake::LEN] {
        self.ours.to_bytes()
    }

    /// Takes bytes off the front of `input`; something once the handshake is done.
    pub(super) fn read(&mut self, input: &mut &[u8]) -> Result<Option<Hello>, Departure> {
        let (taken, rest) = input.split_at(input.len().min(Handshake::LEN - self.filled));
        self.bytes[self.filled..][..taken.len()].copy_from_slice(taken);
        self.filled += taken.len();
        *input = rest;
        let theirs = match self.theirs {
            Some(theirs) => theirs,
            None => match self.accept_prefix()? {
                Some(theirs) => *self.theirs.insert(theirs),
                None => return Ok(None),
            },
        };
        if self.filled < Handshake::LEN {
            return Ok(None);
        }
        self.finish(&theirs).map(Some)
    }

    /// The remote's answer to our prefix: the same hash, or the v2 hash of a hybrid.
    fn accept_prefix(&self) -> Result<Option<Prefix>, Violation> {
        if !Prefix::may_start_with(&self.bytes[..self.filled]) {
            return Err(Violation::BadHandshake);
        }
        let Some(bytes) = self.bytes.first_chunk().filter(|_| self.filled >= Prefix::LEN) else {
            return Ok(None);
        };
        let theirs = Prefix::parse(bytes).ok_or(Violation::BadHandshake)?;
        if theirs.hash == self.ours.prefix.hash || self.upgraded(&theirs.hash) {
            return Ok(Some(theirs));
        }
        Err(Violation::WrongInfoHash)
    }

    fn upgraded(&self, hash: &WireHash) -> bool {
        self.hashes.v2().is_some_and(|v2| v2.truncated() == *hash)
    }

    fn finish(&self, theirs: &Prefix) -> Result<Hello, Departure> {
        let mut peer_id = [0; PeerId::LEN];
        peer_id.copy_from_slice(&self.bytes[Prefix::LEN..]);
        let peer_id = PeerId(peer_id);
        if peer_id == self.ours.peer_id {
            return Err(Departure::SelfConnection);
        }
        // Both sides have spoken. Ours is the last word if we answered, theirs if they did; in both cases v2 is on if
        // either of them is the v2 hash.
        let v2 = [self.ours.prefix.hash, theirs.hash].into_iter().find(|hash| self.upgraded(hash));
        let reserved = theirs.reserved;
        Ok(Hello {
            peer_id,
            hash: v2.unwrap_or(theirs.hash),
            v2: v2.is_some(),
            fast: reserved.fast(),
            extended: reserved.extended(),
            dht: reserved.dht() && self.ours.prefix.reserved.dht(),
        })
    }
}
