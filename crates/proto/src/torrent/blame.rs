//! Whose fault a wrong piece was: what each host sent of pieces that failed, and what follows once the truth is known.
//!
//! The rule. Who alone sent a wrong piece lied (the torrent bans it, nothing is needed here). Of several senders each
//! block's SHA-256 is kept beside the host that sent it, and all of them are suspects. Once it is known what the blocks
//! should have been, because the piece came again and was right or because its file's hash tree says so (BEP 52),
//! whoever sent other bytes lied, and the rest are cleared. A host that sent one block in two versions lied at least
//! once. A suspect that alone sent a right piece is no suspect any more; what it sent before stays on record.
//! Nobody is ever found guilty by counting: only bytes convict, so no company an honest host keeps can harm it.
//!
//! libtorrent's `smart_ban` does the same with SHA-1; here it is SHA-256, so that nobody can prepare two blocks of
//! one digest, and since these are the leaves of a v2 tree. Hosts rather than connections are on record, so that a
//! suspect does not come back unknown.
//!
//! Memory: at most [`MOST_PIECES`] pieces and [`MOST_DIGESTS`] blocks (some 2 MiB, evidence of 512 MiB of failed
//! pieces) and [`MOST_HOSTS`] hosts; the oldest pieces go. What is forgotten can convict nobody, but its senders stay
//! suspects until they prove themselves. It hashes nothing and bans nobody itself. Tested by cases, and with random
//! swarms in which only liars may be convicted and all must be.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

use super::roster::host;
use crate::ids::{PieceIndex, Sha256Hash};

/// Failed pieces on record.
const MOST_PIECES: usize = 1024;
/// Blocks on record.
const MOST_DIGESTS: usize = 1 << 15;
/// Hosts on record; beyond it those go against whom there is no evidence.
const MOST_HOSTS: usize = 4096;

/// A block of a failed piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    /// Its index in the piece.
    pub(super) block: u32,
    /// Who sent it.
    pub(super) addr: SocketAddr,
    /// The SHA-256 of what came, if it could be had.
    pub(super) digest: Option<Sha256Hash>,
}

/// What is known against a host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing.
    #[default]
    Clear,
    /// It took part in pieces that failed, but has since proven itself with a right one of its own.
    Involved,
    /// It took part in pieces that failed.
    Suspect,
}

#[derive(Debug, Default)]
struct Failed {
    /// Who took part, each with the last address that it was seen at.
    senders: BTreeMap<SocketAddr, SocketAddr>,
    digests: Vec<(u32, SocketAddr, Sha256Hash)>,
}

#[derive(Debug, Default)]
struct Record {
    suspect: bool,
    /// Pieces on record that it took part in.
    pieces: BTreeSet<PieceIndex>,
}

/// The record of one torrent.
#[derive(Debug, Default)]
pub(super) struct Blame {
    failed: BTreeMap<PieceIndex, Failed>,
    /// The pieces in it, the oldest first.
    order: VecDeque<PieceIndex>,
    /// Blocks in it.
    digests: usize,
    hosts: BTreeMap<SocketAddr, Record>,
}

impl Blame {
    /// Nobody is on record.
    pub(super) fn is_empty(&self) -> bool {
        self.hosts.is_empty() && self.failed.is_empty()
    }

    /// What is known against the host of `addr`.
    pub(super) fn standing(&self, addr: SocketAddr) -> Standing {
        match self.hosts.get(&host(addr)) {
            None => Standing::Clear,
            Some(record) if record.suspect => Standing::Suspect,
            Some(_) => Standing::Involved,
        }
    }

    /// The failed pieces that the host of `addr` took part in.
    pub(super) fn failures(&self, addr: SocketAddr) -> impl Iterator<Item = PieceIndex> + '_ {
        self.hosts.get(&host(addr)).into_iter().flat_map(|record| record.pieces.iter().copied())
    }

    /// Whether the host of `addr` took part in `piece` when it failed.
    pub(super) fn took_part(&self, addr: SocketAddr, piece: PieceIndex) -> bool {
        self.failed.get(&piece).is_some_and(|failed| failed.senders.contains_key(&host(addr)))
    }

    /// Whether [`Self::proven`] has a use for the truth about `piece`.
    pub(super) fn awaits(&self, piece: PieceIndex) -> bool {
        self.failed.contains_key(&piece)
    }

    /// A piece failed, of which several hosts sent these blocks. Returns who is thereby proven to have lied.
    pub(super) fn failed(&mut self, piece: PieceIndex, sent: &[Sent]) -> Vec<SocketAddr> {
        if !self.failed.contains_key(&piece) {
            self.order.push_back(piece);
        }
        let failed = self.failed.entry(piece).or_default();
        let before = failed.digests.len();
        let liars = failed.add(sent);
        self.digests += failed.digests.len() - before;
        for addr in sent.iter().map(|sent| host(sent.addr)).collect::<BTreeSet<_>>() {
            let record = self.hosts.entry(addr).or_default();
            record.suspect = true;
            record.pieces.insert(piece);
        }
        self.shrink();
        liars
    }

    /// What blocks of `piece` should be, by index. Returns who sent something else. The others are cleared of what
    /// this piece held against them.
    pub(super) fn proven(&mut self, piece: PieceIndex, truth: &[(u32, Sha256Hash)]) -> Vec<SocketAddr> {
        let Some(failed) = self.remove(piece) else { return Vec::new() };
        self.release(piece, &failed, true);
        let truth: BTreeMap<_, _> = truth.iter().copied().collect();
        let lied = |(block, _, digest): &&(u32, _, Sha256Hash)| truth.get(block).is_some_and(|t| t != digest);
        let liars: BTreeSet<_> = failed.digests.iter().filter(lied).map(|(_, host, _)| *host).collect();
        liars.into_iter().map(|host| failed.senders.get(&host).copied().unwrap_or(host)).collect()
    }

    /// The host of `addr` alone sent a whole piece, and it was right.
    pub(super) fn redeemed(&mut self, addr: SocketAddr) {
        let host = host(addr);
        if let Some(record) = self.hosts.get_mut(&host) {
            record.suspect = false;
            if record.pieces.is_empty() {
                self.hosts.remove(&host);
            }
        }
    }

    /// Nothing more is expected of the host of `addr`, which is banned. What it sent stays on record, for it says
    /// nothing of others.
    pub(super) fn banned(&mut self, addr: SocketAddr) {
        self.hosts.remove(&host(addr));
    }

    fn remove(&mut self, piece: PieceIndex) -> Option<Failed> {
        let failed = self.failed.remove(&piece)?;
        self.order.retain(|p| *p != piece);
        self.digests -= failed.digests.len();
        Some(failed)
    }

    /// `piece` is held against its senders no more. `cleared`: whoever has no other is no suspect.
    fn release(&mut self, piece: PieceIndex, failed: &Failed, cleared: bool) {
        for host in failed.senders.keys() {
            let Some(record) = self.hosts.get_mut(host) else { continue };
            record.pieces.remove(&piece);
            record.suspect &= !(cleared && record.pieces.is_empty());
            if record.pieces.is_empty() && !record.suspect {
                self.hosts.remove(host);
            }
        }
    }

    /// Forgets the oldest pieces while there is too much.
    fn shrink(&mut self) {
        while (self.failed.len() > MOST_PIECES || self.digests > MOST_DIGESTS)
            && let Some(piece) = self.order.front().copied()
            && let Some(failed) = self.remove(piece)
        {
            self.release(piece, &failed, false);
        }
        if self.hosts.len() > MOST_HOSTS {
            self.hosts.retain(|_, record| !record.pieces.is_empty());
        }
    }
}

impl Failed {
    /// Notes what was sent. Returns who sent other bytes than before.
    fn add(&mut self, sent: &[Sent]) -> Vec<SocketAddr> {
        let mut known: BTreeMap<_, _> = self.digests.iter().map(|(n, host, d)| ((*n, *host), *d)).collect();
        let mut liars = BTreeMap::new();
        for &Sent { block, addr, digest } in sent {
            let from = host(addr);
            self.senders.insert(from, addr);
            let Some(digest) = digest else { continue };
            match known.insert((block, from), digest) {
                None => self.digests.push((block, from, digest)),
                Some(before) if before != digest => drop(liars.insert(from, addr)),
                Some(_) => {}
            }
        }
        liars.into_values().collect()
    }
}

#[cfg(test)]
mod tests;
