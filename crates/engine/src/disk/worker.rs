//! A worker: hashes and writes the pieces that belong to it, and reads for peers.
//!
//! A piece belongs to one worker, so that its state needs no lock. When memory is short, what is hashed but not
//! written goes first, into the `.part` files; unverified, but never to be announced or served before its piece is
//! whole and good.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use samara_proto::ids::{BLOCK_LEN, Block, PieceIndex};
use samara_proto::torrent::Expected;

use super::event::{DiskEvent, StorageError};
use super::keeper;
use super::piece::Piece;
use super::queue::Work;
use super::spec::StoreJob;
use super::storage::{Io, Storage};
use super::work::{Job, OpenJob, ReadBlocks, ReadJob, Ticket, Urgent};
use super::{Buf, Shared};

/// Bytes that one read call fetches at most.
const MAX_READ: u32 = 1024 * 1024;

/// A piece on its way.
struct Active {
    storage: Arc<Storage>,
    piece: Piece,
    /// Whole and good, but there was no room to write it.
    good: bool,
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

    fn store(&mut self, storage: Arc<Storage>, StoreJob { block, data, expected }: StoreJob) {
        let index = block.piece;
        if storage.have.has(index) || index.0 >= storage.spec.layout.num_pieces() {
            return;
        }
        let key = (storage.id, index);
        let active = self.pieces.entry(key).or_insert_with(|| {
            let piece = Piece::new(&storage.spec.layout, index, expected);
            Active { storage, piece, good: false }
        });
        active.piece.insert(block, data);
        if active.piece.is_whole() {
            self.complete(key);
        }
    }

    /// A whole piece: proves it and writes it. While there is no room it stays in memory.
    fn complete(&mut self, key: Key) {
        let Some(active) = self.pieces.get_mut(&key) else { return };
        let storage = Arc::clone(&active.storage);
        let _stay = storage.stay();
        match active.complete(&self.shared.io) {
            Ok(Outcome::Good) => active.storage.commit(key.1, true),
            Ok(Outcome::Bad) => {
                let bad = DiskEvent::Verified { piece: key.1, ok: false, bad_blocks: Vec::new() };
                active.storage.events.send(bad);
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

    fn lose(&mut self, key: Key) {
        if let Some(active) = self.pieces.remove(&key) {
            active.storage.unproven().remove(&key.1);
            active.storage.events.send(DiskEvent::Lost { piece: key.1 });
        }
    }

    fn retry(&mut self, storage: &Storage) {
        let whole =
            |(key, active): (&Key, &Active)| (key.0 == storage.id && active.piece.is_whole()).then_some(*key);
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
        if !active.storage.can_write() {
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
    fn weight(&self) -> (bool, u32, u32) {
        (self.storage.can_write(), self.piece.held(true), self.piece.held(false))
    }

    fn complete(&mut self, io: &Io) -> Result<Outcome, StorageError> {
        if !self.good {
            let (storage, index) = (&self.storage, self.piece.index());
            self.good = self.piece.verify(&mut |n, out| read_back(io, storage, index, n, out))?;
            if !self.good {
                return Ok(Outcome::Bad);
            }
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
        storage.commit(index, false);
    }
    good
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
