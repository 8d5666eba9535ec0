//! Naming the wrong blocks of a piece by its file's hash tree (BEP 52 `hash request` for layer 0).
//!
//! The rule. A wrong piece whose v2 hash is known stays with the storage for a moment while up to three peers are asked
//! for its leaves. The piece's own hash proves what comes, so that it does not matter who answers. Blocks that do not fit
//! their leaf are wrong: who sent them is banned, and only they are fetched again. If all refuse, or nobody answers
//! within [`PATIENCE`], the whole piece is fetched anew by one peer alone, as in a v1 torrent ([`super::blame`]). Leaves
//! that came are kept until their piece is right, so that the next lie in it is named without asking.
//!
//! Pieces of one block need no leaves, and those of more than 512 (8 MiB) are not asked for: one request brings no more,
//! and a v2 torrent with larger pieces falls back as said. At most [`MOST_OPEN`] pieces wait at a time, for their blocks
//! keep memory. Tested in the torrent's tests and by swarms.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::peer::Peer;
use super::verdict::Digests;
use super::{Shape, Torrent};
use crate::ids::{PeerKey, PieceIndex, Sha256Hash};
use crate::merkle::{HashRequest, HashTree};
use crate::peer::{Command, Violation};
use crate::time::Time;

/// Pieces that wait for leaves, and pieces whose leaves are kept (16 KiB each at most).
const MOST_OPEN: usize = 16;
/// Peers asked for the leaves of one piece.
const MOST_ASKED: usize = 3;
/// How long to wait for leaves: an answer stands in line behind the blocks that a peer has begun to send, which at the
/// depth of our request windows is a second or so.
const PATIENCE: Duration = Duration::from_secs(5);

/// A piece of which some block is wrong.
#[derive(Debug)]
struct Question {
    request: HashRequest,
    /// Who has not answered yet.
    asked: BTreeSet<PeerKey>,
    until: Time,
    /// What the blocks hash to.
    digests: Vec<(u32, Sha256Hash)>,
}

/// What is being asked, and what was answered.
#[derive(Debug, Default)]
pub(super) struct Naming {
    open: BTreeMap<PieceIndex, Question>,
    /// The leaves of pieces that are being mended.
    known: BTreeMap<PieceIndex, Vec<Sha256Hash>>,
}

impl Naming {
    /// Whether a verdict on `piece` was given, and what follows is not decided yet.
    pub(super) fn is_open(&self, piece: PieceIndex) -> bool {
        self.open.contains_key(&piece)
    }

    /// The leaves of a piece, by block; padding among them.
    pub(super) fn known(&self, piece: PieceIndex) -> Option<Vec<(u32, Sha256Hash)>> {
        let leaves = self.known.get(&piece)?;
        Some((0..).zip(leaves.iter().copied()).collect())
    }

    /// The piece is right, or is begun anew.
    pub(super) fn close(&mut self, piece: PieceIndex) {
        self.open.remove(&piece);
        self.known.remove(&piece);
    }

    fn learn(&mut self, piece: PieceIndex, leaves: Vec<Sha256Hash>) {
        if self.known.len() >= MOST_OPEN {
            self.known.pop_first();
        }
        self.known.insert(piece, leaves);
    }

    /// The pieces that `request` was put to `peer` for, which answers now, or never will. Equal files have equal requests.
    fn answered(&mut self, peer: PeerKey, request: Option<&HashRequest>) -> Vec<PieceIndex> {
        let meant = |question: &Question| request.is_none_or(|request| question.request == *request);
        let questions = self.open.iter_mut().filter(|(_, question)| meant(question));
        questions.filter_map(|(piece, question)| question.asked.remove(&peer).then_some(*piece)).collect()
    }

    /// Those of `pieces` of which nobody will say the leaves.
    fn hopeless(&self, pieces: Vec<PieceIndex>) -> Vec<PieceIndex> {
        let nobody =
            |piece: &PieceIndex| self.open.get(piece).is_some_and(|question| question.asked.is_empty());
        pieces.into_iter().filter(nobody).collect()
    }
}

impl Shape {
    /// The tree of the file that a piece belongs to, and which piece of the file it is. Trees of files no larger than a
    /// piece are not kept: their root says all.
    pub(super) fn tree(&self, piece: PieceIndex) -> Option<(Cow<'_, HashTree>, u32)> {
        let at = self.layout.file_piece(piece)?;
        let small = || {
            let entry = self.info.files().get(at.file.0 as usize)?;
            Some(Cow::Owned(HashTree::new(entry.pieces_root?, entry.length, self.info.piece_length())))
        };
        let tree = self.hashes.tree(at.file).map(Cow::Borrowed).or_else(small)?;
        Some((tree, at.index))
    }
}

/// The blocks that are not what they should be.
pub(super) fn wrong(digests: &Digests, truth: &Digests) -> Vec<u32> {
    let truth: BTreeMap<_, _> = truth.iter().copied().collect();
    let wrong = digests.iter().filter(|(block, digest)| truth.get(block).is_some_and(|t| t != digest));
    wrong.map(|(block, _)| *block).collect()
}

impl<B> Torrent<B> {
    /// Asks for the leaves of a wrong piece. False if there is nobody to ask, or no need.
    pub(super) fn ask_leaves(&mut self, piece: PieceIndex, digests: &Digests) -> bool {
        let Some(request) = self.leaf_request(piece) else { return false };
        let can = |peer: &&Peer| {
            peer.is_active() && peer.hello.is_some_and(|hello| hello.v2) && peer.has.has(piece)
        };
        let mut able: Vec<_> = self.peers.values().filter(can).collect();
        // Who may have lied has no wish to be found out.
        able.sort_by_key(|peer| self.blame.took_part(peer.addr, piece));
        let asked: BTreeSet<_> = able.into_iter().map(|peer| peer.key).take(MOST_ASKED).collect();
        if asked.is_empty() || digests.is_empty() || self.naming.open.len() >= MOST_OPEN || self.stopped {
            return false;
        }
        asked.iter().for_each(|key| self.send(*key, Command::HashRequest(request)));
        let question = Question { request, asked, until: self.now + PATIENCE, digests: digests.to_vec() };
        self.naming.open.insert(piece, question);
        true
    }

    fn leaf_request(&self, piece: PieceIndex) -> Option<HashRequest> {
        let shape = self.shape.as_ref().filter(|shape| shape.info.format().has_v2())?;
        let (tree, index) = shape.tree(piece)?;
        tree.leaf_request(index)
    }

    /// Leaves came, if it is leaves. True if so.
    pub(super) fn on_leaf_hashes(&mut self, key: PeerKey, request: &HashRequest, hashes: &[u8]) -> bool {
        let pieces = self.naming.answered(key, Some(request));
        for &piece in &pieces {
            let tree = self.shape.as_ref().and_then(|shape| shape.tree(piece));
            match tree.and_then(|(tree, _)| tree.verify(request, hashes).ok()) {
                Some(leaves) => self.name(piece, leaves),
                None => self.ban(key, Violation::BadHashes),
            }
        }
        self.give_up(pieces.clone());
        !pieces.is_empty()
    }

    /// What the blocks of a wrong piece should be is known.
    fn name(&mut self, piece: PieceIndex, leaves: Vec<Sha256Hash>) {
        let Some(question) = self.naming.open.remove(&piece) else { return };
        self.naming.learn(piece, leaves);
        self.mend(piece, &question.digests);
    }

    /// Bans who sent wrong blocks of a piece whose leaves are known, and fetches only these again.
    pub(super) fn mend(&mut self, piece: PieceIndex, digests: &Digests) {
        let Some(truth) = self.naming.known(piece) else { return };
        let liars = self.blame.proven(piece, &truth);
        self.refetch_blocks(piece, &wrong(digests, &truth));
        self.convict(&liars);
    }

    /// A peer will not answer one request for hashes, or none.
    pub(super) fn on_no_leaves(&mut self, key: PeerKey, request: Option<&HashRequest>) {
        let pieces = self.naming.answered(key, request);
        self.give_up(pieces);
    }

    pub(super) fn expire_leaves(&mut self) {
        let late = self.naming.open.iter_mut().filter(|(_, question)| self.now >= question.until);
        let late = late.map(|(piece, question)| {
            question.asked.clear();
            *piece
        });
        let late = late.collect();
        self.give_up(late);
    }

    /// Fetches those pieces anew of which nobody says the leaves.
    fn give_up(&mut self, pieces: Vec<PieceIndex>) {
        for piece in self.naming.hopeless(pieces) {
            self.refetch(piece);
        }
    }
}
