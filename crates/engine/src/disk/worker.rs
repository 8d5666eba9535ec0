//! A worker: hashes and writes the pieces that belong to it, and reads for peers.
//!
//! A piece belongs to one worker, so that its state needs no lock. When memory is short, what is hashed but not
//! written goes first, into the `.part` files; unverified, but never to be announced or served before its piece is
//! whole and good.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use samara_proto::ids::{BLOCK_LEN, Block, PieceIndex, Sha256Hash};
use samara_proto::torrent::Expected;

use super::event::{Digests, DiskEvent, StorageError};
use super::keeper;
use super::piece::Piece;
use super::queue::Work;
use super::spec::StoreJob;
use super::storage::{Io, Storage};
use super::work::{Job, OpenJob, ReadBlocks, ReadJob, Ticket, Urgent};
use super::{Buf, Shared};
use crate::hash;

/// Bytes that one read call fetches at most.
const MAX_READ: u32 = 1024 * 1024;

/// Bytes read and hashed at once for leaves: as many blocks as are hashed side by side.
const LEAVES_READ: u32 = 16 * BLOCK_LEN;

/// A piece on its way.
struct Active {
    storage: Arc<Storage>,
    piece: Piece,
    state: State,
    /// Its digests are of interest even so.
    suspected: bool,
    /// Of its blocks, once it is whole, if they are of interest.
    digests: Digests,
}

/// How far a piece is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Blocks are missing, or it was not looked at.
    Coming,
    /// Whole and good, but there was no room to write it.
    Good,
    /// Whole and not good, which was told: it waits to hear which blocks to let go of.
    Bad,
}

type Key = (u64, PieceIndex);

/// One worker's state.
pub(super) struct Worker {
    number: usize,
    shared: Arc<Shared>,
    pieces: HashMap<Key, Active>,
}

impl Worker {
    pub(super) fn new(number: usize, shared: Arc<Shared>) -> Self {
        Self { number, shared, pieces: HashMap::new() }
    }

    /// Works until the disk stops.
    pub(super) fn run(mut self) {
        let mut batch = VecDeque::new();
        loop {
            match self.shared.queues.next(self.number, &mut batch) {
                Work::Urgent(Urgent::Read(job)) => read(&self.shared.io, job),
                Work::Urgent(Urgent::Open(job)) => self.open(job),
                Work::Urgent(Urgent::Select(job)) => {
                    // Nobody may wait for the answer any more.
                    let _ = job.reply.send(job.storage.select(&self.shared.io, &job.wanted));
                }
                Work::Batch => batch.drain(..).for_each(|job| self.handle(job)),
                Work::Relief => {}
                Work::Stop => return,
            }
            self.relieve();
        }
    }

    fn handle(&mut self, job: Job) {
        match job {
            Job::Store(storage, job) => self.store(storage, job),
            Job::Check { storage, piece, expected, reply } => {
                // Nobody may wait for the answer any more.
                let _ = reply.send(check(&self.shared.io, &storage, piece, expected));
            }
            Job::Discard { storage, piece, blocks } => self.discard((storage.id, piece), blocks.as_deref()),
            Job::Leaves { storage, piece } => {
                let leaves = leaves(&self.shared.io, &storage, piece);
                storage.events.send(DiskEvent::Leaves { piece, leaves });
            }
            Job::Retry(storage) => self.retry(&storage),
            Job::Forget(ticket) => {
                let storage = &ticket.storage;
                for (key, _) in self.pieces.extract_if(|key, _| key.0 == storage.id) {
                    storage.unproven().remove(&key.1);
                }
                if let Some(ticket) = Arc::into_inner(ticket) {
                    self.shared.keeper.push(keeper::Job::Close(ticket));
                }
            }
        }
    }

    fn open(&self, job: OpenJob) {
        let opened = Storage::open(&self.shared.io, job.id, job.spec, job.have);
        let opened = opened.map(|(storage, events)| (Arc::new(storage), events));
        if let Ok((storage, _)) = &opened
            && !self.shared.keeper.push(keeper::Job::Opened(Arc::clone(storage)))
        {
            storage.events.close();
        }
        if let Err(Ok((storage, _))) = job.reply.send(opened) {
            // Nobody waits for the answer any more.
            self.shared.keeper.push(keeper::Job::Close(Ticket { storage, reply: None }));
        }
    }

    fn store(&mut self, storage: Arc<Storage>, job: StoreJob) {
        let StoreJob { block, data, expected, suspected } = job;
        let index = block.piece;
        if storage.have.has(index) || index.0 >= storage.spec.layout.num_pieces() {
            return;
        }
        let key = (storage.id, index);
        let active = self.pieces.entry(key).or_insert_with(|| {
            let piece = Piece::new(&storage.spec.layout, index, expected);
            Active { storage, piece, state: State::Coming, suspected, digests: Digests::new() }
        });
        active.piece.insert(block, data);
        if active.is_due() {
            self.complete(key);
        }
    }

    /// A whole piece: proves it and writes it. While there is no room it stays in memory.
    fn complete(&mut self, key: Key) {
        let Some(active) = self.pieces.get_mut(&key) else { return };
        let storage = Arc::clone(&active.storage);
        let _stay = storage.stay();
        match active.complete(&self.shared.io) {
            Ok(Outcome::Good) => active.storage.commit(key.1, Some(std::mem::take(&mut active.digests))),
            Ok(Outcome::Bad) => {
                let digests = std::mem::take(&mut active.digests);
                active.state = State::Bad;
                return active.storage.events.send(DiskEvent::Verified { piece: key.1, ok: false, digests });
            }
            Ok(Outcome::Later) => return,
            Err(e) if e.is_full() => {
                storage.unproven().insert(key.1);
                return self.shared.note_full(&storage);
            }
            Err(e) => {
                active.storage.fail(e);
                return self.lose(key);
            }
        }
        storage.unproven().remove(&key.1);
        self.pieces.remove(&key);
    }

    /// What is left of the piece stays, with its hashes.
    fn discard(&mut self, key: Key, blocks: Option<&[u32]>) {
        let Some(active) = self.pieces.get_mut(&key) else { return };
        active.state = State::Coming;
        match blocks {
            Some(blocks) => active.piece.discard(blocks),
            None => drop(self.pieces.remove(&key)),
        }
    }

    fn lose(&mut self, key: Key) {
        if let Some(active) = self.pieces.remove(&key) {
            active.storage.unproven().remove(&key.1);
            active.storage.events.send(DiskEvent::Lost { piece: key.1 });
        }
    }

    fn retry(&mut self, storage: &Storage) {
        let whole = |(key, active): (&Key, &Active)| (key.0 == storage.id && active.is_due()).then_some(*key);
        let parked: Vec<_> = self.pieces.iter().filter_map(whole).collect();
        parked.into_iter().for_each(|key| self.complete(key));
    }

    /// While memory is short, writes what is in memory, or gives it up if it cannot be written.
    fn relieve(&mut self) {
        if !self.shared.pool.is_short() {
            return;
        }
        self.pieces.values_mut().for_each(|active| active.piece.hash_leaves());
        loop {
            let heaviest = self.heaviest();
            if heaviest.is_empty() {
                return;
            }
            for key in heaviest {
                if self.shared.pool.is_relieved() {
                    return;
                }
                self.shed(key);
            }
        }
    }

    /// The pieces in the order in which giving their memory back costs least: what can be written before what would
    /// be lost, what need not be read back later before what must, much before little.
    fn heaviest(&self) -> Vec<Key> {
        let held = self.pieces.iter().filter(|(_, active)| active.piece.held(false) > 0);
        let mut keys: Vec<_> = held.map(|(key, active)| (active.weight(), *key)).collect();
        keys.sort_unstable_by(|a, b| b.cmp(a));
        keys.into_iter().map(|(_, key)| key).collect()
    }

    fn shed(&mut self, key: Key) {
        let Some(active) = self.pieces.get_mut(&key) else { return };
        // What is known to be bad is not worth a write.
        if !active.storage.can_write() || active.state == State::Bad {
            return self.lose(key);
        }
        let hashed_only = active.piece.held(true) > 0;
        let storage = Arc::clone(&active.storage);
        let _stay = storage.stay();
        storage.unproven().insert(key.1);
        match active.flush(&self.shared.io, hashed_only) {
            Ok(()) => {}
            Err(e) if e.is_full() => self.shared.note_full(&active.storage),
            Err(e) => active.storage.fail(e),
        }
    }
}

enum Outcome {
    Good,
    Bad,
    /// There is no room.
    Later,
}

impl Active {
    /// Whole, and to be looked at or written.
    fn is_due(&self) -> bool {
        self.piece.is_whole() && self.state != State::Bad
    }

    fn weight(&self) -> (bool, u32, u32) {
        (self.storage.can_write(), self.piece.held(true), self.piece.held(false))
    }

    fn complete(&mut self, io: &Io) -> Result<Outcome, StorageError> {
        if self.state != State::Good {
            let (storage, index) = (&self.storage, self.piece.index());
            let mut read = |n, out: &mut [u8]| read_back(io, storage, index, n, out);
            let good = self.piece.verify(&mut read)?;
            if !good || self.suspected {
                // Without them nobody is convicted; that is no reason to lose a good piece.
                self.digests = self.piece.digests(&mut read).unwrap_or_default();
            }
            if !good {
                return Ok(Outcome::Bad);
            }
            self.state = State::Good;
        }
        if !self.storage.can_write() && !self.storage.has_failed() {
            return Ok(Outcome::Later);
        }
        self.flush(io, false)?;
        Ok(Outcome::Good)
    }

    /// Writes what is in memory, and lets go of it.
    fn flush(&mut self, io: &Io, hashed_only: bool) -> Result<(), StorageError> {
        let mut from = 0;
        while let Some((start, blocks)) = self.piece.next_run(from, hashed_only) {
            let count = blocks.len() as u32;
            self.storage.write(io, self.piece.index(), start * BLOCK_LEN, &blocks)?;
            self.piece.written(start, count);
            from = start + count;
        }
        Ok(())
    }
}

fn read_back(
    io: &Io,
    storage: &Storage,
    piece: PieceIndex,
    n: u32,
    out: &mut [u8],
) -> Result<(), StorageError> {
    let len = out.len() as u32;
    storage.read(io, piece, n * BLOCK_LEN, [out], len)
}

/// Whether the piece is in its files; then it is had.
fn check(io: &Io, storage: &Storage, index: PieceIndex, expected: Expected) -> bool {
    if storage.have.has(index) || index.0 >= storage.spec.layout.num_pieces() {
        return storage.have.has(index);
    }
    let _stay = storage.stay();
    let mut piece = Piece::on_disk(&storage.spec.layout, index, expected);
    // What cannot be read is not there: no error for a check.
    let good = piece.verify(&mut |n, out| read_back(io, storage, index, n, out)).unwrap_or(false);
    if good {
        storage.commit(index, None);
    }
    good
}

/// The leaves of a piece that is had; none if it cannot be read.
fn leaves(io: &Io, storage: &Storage, index: PieceIndex) -> Vec<Sha256Hash> {
    let Some(part) = storage.spec.layout.file_piece(index).filter(|_| storage.have.has(index)) else {
        return Vec::new();
    };
    let (mut leaves, mut scratch) = (Vec::new(), vec![0; part.len.min(LEAVES_READ) as usize]);
    for offset in (0..part.len).step_by(LEAVES_READ as usize) {
        let len = LEAVES_READ.min(part.len - offset);
        let bytes = &mut scratch[..len as usize];
        if storage.read(io, index, offset, [&mut *bytes], len).is_err() {
            return Vec::new();
        }
        let blocks: Vec<_> = bytes.chunks(BLOCK_LEN as usize).collect();
        leaves.extend(hash::leaves(&blocks));
    }
    leaves
}

/// Reads blocks for a peer, neighbours in one call.
fn read(io: &Io, job: ReadJob) {
    let ReadJob { storage, mut blocks, reply } = job;
    let mut done = ReadBlocks::with_capacity(blocks.len());
    while !blocks.is_empty() && !reply.is_closed() {
        let rest = blocks.split_off(neighbours(&blocks));
        let run = std::mem::replace(&mut blocks, rest);
        done.extend(read_run(io, &storage, run));
    }
    // The peer may be gone: then the buffers go back to the pool.
    let _ = reply.send(done);
}

/// How many of the first blocks follow each other in one piece and fit into one call; at least one.
fn neighbours(blocks: &[(Block, Buf)]) -> usize {
    let is_legal = |(block, buf): &(Block, Buf)| block.len as usize == buf.len();
    let mut len = blocks.first().map_or(0, |(b, _)| b.len);
    let follows = |pair: &&[(Block, Buf)]| {
        let (a, b) = (pair[0].0, pair[1].0);
        len = len.saturating_add(b.len);
        is_legal(&pair[0])
            && is_legal(&pair[1])
            && a.piece == b.piece
            && a.offset.checked_add(a.len) == Some(b.offset)
            && len <= MAX_READ
    };
    1 + blocks.windows(2).take_while(follows).count()
}

fn read_run(io: &Io, storage: &Storage, mut run: Vec<(Block, Buf)>) -> ReadBlocks {
    // A block that was not legal when it was asked for has an empty buffer, and is not served even if it is legal now.
    let mut good = run.iter().all(|(b, buf)| storage.can_read(b) && buf.len() == b.len as usize);
    if let (Some(&(Block { piece, offset, .. }, _)), true) = (run.first(), good) {
        let len = run.iter().map(|(b, _)| b.len).sum();
        let _stay = storage.stay();
        let result = storage.read(io, piece, offset, run.iter_mut().map(|(_, buf)| &mut **buf), len);
        good = result.map_err(|e| storage.lose(io, piece, e)).is_ok();
    }
    run.into_iter().map(|(block, buf)| (block, good.then_some(buf))).collect()
}
