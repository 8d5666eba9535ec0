//! The threads: each takes the next few pieces off a shared counter until none are left.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;

use samara_proto::ids::PieceIndex;

use super::batch::{Hasher, Outcome, SHORT};
use super::lanes::{self, LANES};
use super::{HashError, HashJob};

/// What the threads share.
struct Shared<'a, S> {
    job: &'a HashJob<'a>,
    select: &'a (dyn Fn(PieceIndex) -> bool + Sync),
    next: AtomicU32,
    state: Mutex<State<S>>,
}

struct State<S> {
    sink: S,
    /// Bytes done.
    done: u64,
    /// The first error; it stops everybody.
    failed: Option<HashError>,
}

/// Hashes the pieces that `select` names, and hands each to `sink`, in no order. An error from there ends it all.
pub(super) fn run<S>(
    job: &HashJob<'_>,
    select: &(dyn Fn(PieceIndex) -> bool + Sync),
    sink: S,
) -> Result<(), HashError>
where
    S: FnMut(PieceIndex, Outcome) -> Result<(), HashError> + Send,
{
    let state = Mutex::new(State { sink, done: 0, failed: None });
    let shared = Shared { job, select, next: AtomicU32::new(0), state };
    let zeros = OnceLock::new();
    let threads = job.threads.clamp(1, job.layout.num_pieces().max(1) as usize);
    thread::scope(|scope| {
        // The caller's thread has nothing else to do.
        for _ in 1..threads {
            scope.spawn(|| shared.work(Hasher::new(job, &zeros)));
        }
        shared.work(Hasher::new(job, &zeros));
    });
    let state = shared.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    state.failed.map_or(Ok(()), Err)
}

impl<S: FnMut(PieceIndex, Outcome) -> Result<(), HashError> + Send> Shared<'_, S> {
    fn work(&self, mut hasher: Hasher<'_>) {
        while let Some(pieces) = self.take(&hasher) {
            let done = self.hash(&mut hasher, &pieces);
            if !self.deliver(&pieces, done) {
                break;
            }
        }
    }

    /// The next run of pieces.
    fn take(&self, hasher: &Hasher<'_>) -> Option<Vec<PieceIndex>> {
        let (pieces, count) = (self.job.layout.num_pieces(), self.run_len(hasher));
        let first = self.next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |next| {
            (next < pieces).then(|| next.saturating_add(count).min(pieces))
        });
        let first = first.ok()?;
        Some((first..first.saturating_add(count).min(pieces)).map(PieceIndex).collect())
    }

    /// How many pieces to take at once. Sixteen short pieces are one long read. Sixteen long pieces abreast make sixteen places that the disk has to read at,
    /// which a slow disk does not like, and gain nothing if the disk is what takes time.
    fn run_len(&self, hasher: &Hasher<'_>) -> u32 {
        let job = self.job;
        let fair = job.layout.num_pieces().div_ceil(job.threads.max(1) as u32);
        let short = job.layout.piece_length() <= SHORT;
        let abreast = short || (job.want.v1 && lanes::available() && hasher.is_fed());
        if abreast { fair.clamp(1, LANES as u32) } else { 1 }
    }

    /// Hashes those of `pieces` that are selected. The last piece of all may be shorter and goes by itself.
    fn hash(
        &self,
        hasher: &mut Hasher<'_>,
        pieces: &[PieceIndex],
    ) -> Result<Vec<(PieceIndex, Outcome)>, HashError> {
        let last = PieceIndex(self.job.layout.num_pieces() - 1);
        let (selected, alone): (Vec<_>, Vec<_>) =
            pieces.iter().copied().filter(|piece| (self.select)(*piece)).partition(|piece| *piece != last);
        let mut done = hasher.run(&selected)?;
        done.extend(hasher.run(&alone)?);
        Ok(done)
    }

    /// Hands results on; whether to go on.
    fn deliver(&self, pieces: &[PieceIndex], done: Result<Vec<(PieceIndex, Outcome)>, HashError>) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.failed.is_some() {
            return false;
        }
        let sunk = done
            .and_then(|done| done.into_iter().try_for_each(|(piece, outcome)| (state.sink)(piece, outcome)));
        state.failed = sunk.err();
        state.done += pieces.iter().map(|piece| u64::from(self.job.layout.piece_len(*piece))).sum::<u64>();
        if state.failed.is_none() {
            (self.job.progress)(state.done);
        }
        state.failed.is_none()
    }
}
