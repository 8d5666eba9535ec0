//! The hash trees of a v2 torrent's files: what each piece must hash to, and getting to know it (BEP 52).
//!
//! A magnet link brings the roots only. The piece layers come from peers in runs of 512 hashes, each proven by the
//! root, wanted files first. Files no larger than a piece need nothing: their root is the piece's hash. Requests of
//! others are answered from what is known; leaves are not kept, see [`super::leaves`] for requests for them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::api::PieceLayers;
use crate::ids::{FileIndex, PeerKey, PieceIndex, Sha256Hash};
use crate::layout::Layout;
use crate::merkle::{HashRequest, HashTree};
use crate::metainfo::Info;
use crate::time::Time;

/// Requests under way with one peer.
const MOST_ASKED: usize = 4;
/// After so long a request is given to another.
const PATIENCE: Duration = Duration::from_secs(15);
/// Peers that refused or fell silent rest so long, and twice as long each further time: or a few of them, asked in
/// turn, would keep the question from those who know the answer.
const REST: Duration = Duration::from_secs(60);
/// Doublings at most.
const MOST_DOUBLINGS: u32 = 6;

/// What is known of the trees.
#[derive(Debug, Default)]
pub(super) struct Hashes {
    /// Files larger than a piece.
    trees: BTreeMap<FileIndex, HashTree>,
    /// Roots of these; equal files share one.
    by_root: BTreeMap<Sha256Hash, Vec<FileIndex>>,
    /// Files whose layer is not known, the wanted ones first.
    incomplete: BTreeSet<(bool, FileIndex)>,
    asked: BTreeMap<HashRequest, (PeerKey, Time)>,
    resting: BTreeMap<PeerKey, Rest>,
}

/// When a peer may be asked again.
#[derive(Clone, Copy, Debug)]
struct Rest {
    until: Time,
    /// How often it refused or fell silent since it last gave hashes.
    failures: u32,
}

/// Why hashes from a peer were not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Nobody asked it for them.
    Unasked,
    /// The root does not prove them.
    Wrong,
}

impl Hashes {
    /// The trees of `info`, with the layers that are known; `wanted` says which files come first.
    pub(super) fn new(info: &Info, layers: &PieceLayers, wanted: impl Fn(FileIndex) -> bool) -> Self {
        let mut hashes = Self::default();
        for (file, entry) in (0..).map(FileIndex).zip(info.files()) {
            let Some(root) = entry.pieces_root else { continue };
            if entry.length <= u64::from(info.piece_length()) {
                continue;
            }
            let mut tree = HashTree::new(root, entry.length, info.piece_length());
            let known = layers.get(&root).is_some_and(|layer| tree.set_layer(layer).is_ok());
            if !known {
                hashes.incomplete.insert((!wanted(file), file));
            }
            hashes.by_root.entry(root).or_default().push(file);
            hashes.trees.insert(file, tree);
        }
        hashes
    }

    /// Every file's layer is known.
    pub(super) fn is_complete(&self) -> bool {
        self.incomplete.is_empty()
    }

    /// The hash of the `n`-th piece of a file larger than a piece, if it is known.
    pub(super) fn piece_hash(&self, file: FileIndex, n: u32) -> Option<Sha256Hash> {
        self.trees.get(&file)?.piece_hash(n)
    }

    /// The tree of a file larger than a piece.
    pub(super) fn tree(&self, file: FileIndex) -> Option<&HashTree> {
        self.trees.get(&file)
    }

    /// All layers that are known.
    pub(super) fn layers(&self) -> PieceLayers {
        let layers = self.trees.values().filter_map(|tree| Some((*tree.root(), tree.layer()?.into())));
        layers.collect()
    }

    /// Other files are wanted now.
    pub(super) fn set_wanted(&mut self, wanted: impl Fn(FileIndex) -> bool) {
        let files = std::mem::take(&mut self.incomplete);
        self.incomplete = files.into_iter().map(|(_, file)| (!wanted(file), file)).collect();
    }

    /// The next hashes to ask of `peer`, noted as asked.
    pub(super) fn next(&mut self, now: Time, peer: PeerKey) -> Option<HashRequest> {
        let asked = self.asked.values().filter(|(p, _)| *p == peer).count();
        if asked >= MOST_ASKED || self.resting.get(&peer).is_some_and(|rest| rest.until > now) {
            return None;
        }
        let files = self.incomplete.iter().filter_map(|(_, file)| self.trees.get(file));
        let request = files.flat_map(HashTree::missing_requests).find(|r| !self.asked.contains_key(r))?;
        self.asked.insert(request, (peer, now));
        Some(request)
    }

    /// Hashes came. Returns the pieces whose hash is now known, and whether that was the last layer.
    ///
    /// # Errors
    /// If they were not asked for, or are wrong.
    pub(super) fn accept(
        &mut self,
        layout: &Layout,
        peer: PeerKey,
        request: &HashRequest,
        answer: &[u8],
    ) -> Result<Vec<PieceIndex>, Refused> {
        self.asked.remove(request).filter(|(p, _)| *p == peer).ok_or(Refused::Unasked)?;
        let (mut pieces, mut proven) = (Vec::new(), false);
        for file in self.by_root.get(&request.root).into_iter().flatten() {
            let Some(tree) = self.trees.get_mut(file) else { continue };
            // A hostile torrent may have one root for files of two lengths, of which one is a lie.
            if tree.accept(request, answer).is_err() {
                continue;
            }
            proven = true;
            let range = layout.pieces_of(*file);
            let first = range.start + request.index;
            pieces.extend((first..first.saturating_add(request.count).min(range.end)).map(PieceIndex));
            if tree.has_layer() {
                self.incomplete.retain(|(_, f)| f != file);
            }
        }
        if !proven {
            return Err(Refused::Wrong);
        }
        self.resting.remove(&peer);
        Ok(pieces)
    }

    /// A peer refused hashes: it rests a while.
    pub(super) fn rejected(&mut self, now: Time, peer: PeerKey, request: &HashRequest) {
        if self.asked.get(request).is_some_and(|(p, _)| *p == peer) {
            self.asked.remove(request);
            rest(&mut self.resting, now, peer);
        }
    }

    /// A peer left.
    pub(super) fn gone(&mut self, peer: PeerKey) {
        self.asked.retain(|_, (p, _)| *p != peer);
        self.resting.remove(&peer);
    }

    /// Peers that were asked too long ago are not waited for.
    pub(super) fn expire(&mut self, now: Time) {
        let resting = &mut self.resting;
        self.asked.retain(|_, (peer, at)| {
            let waits = now.since(*at) < PATIENCE;
            if !waits {
                rest(resting, now, *peer);
            }
            waits
        });
    }

    /// The answer to a peer's request; `None` to refuse it.
    pub(super) fn answer(&self, request: &HashRequest) -> Option<Vec<u8>> {
        let file = self.by_root.get(&request.root)?.first()?;
        self.trees.get(file)?.answer(request)
    }
}

/// The peer failed, with one request or with several at once.
fn rest(resting: &mut BTreeMap<PeerKey, Rest>, now: Time, peer: PeerKey) {
    let failures = match resting.get(&peer) {
        Some(rest) if rest.until > now => return,
        rest => rest.map_or(0, |rest| rest.failures),
    };
    let until = now + REST * (1 << failures.min(MOST_DOUBLINGS));
    resting.insert(peer, Rest { until, failures: failures + 1 });
}
