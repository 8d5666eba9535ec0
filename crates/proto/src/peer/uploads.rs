//! The remote's requests: queued, being read, and on their way out, in the order of asking.

use std::collections::VecDeque;
use std::time::Duration;

use super::config::MAX_QUEUED_REQUESTS;
use crate::ids::Block;
use crate::time::Time;

/// Bytes of blocks held for one peer at least: enough for 20 Mbit/s over a slow disk.
const MIN_WINDOW: u64 = 256 * 1024;

/// Bytes of blocks held for one peer at most: fifty such peers are 200 MiB.
const MAX_WINDOW: u64 = 4 * 1024 * 1024;

/// The window holds what the peer takes in this many milliseconds: longer than any disk should need.
const WINDOW_MILLIS: u64 = 750;

/// Over how long the rate at which the peer takes blocks is measured.
const MEASURE: Duration = Duration::from_millis(100);

/// One block that was asked of the disk.
#[derive(Debug)]
struct Slot<B> {
    block: Block,
    state: State<B>,
}

#[derive(Debug)]
enum State<B> {
    Reading,
    /// The remote does not want it any more; the shell's answer is still to come.
    Cancelled,
    /// Read, and waiting for those before it. `None` if it could not be read.
    Done(Option<B>),
}

/// The queue of the remote's requests. Memory is bounded by the number of requests and by the window of bytes.
#[derive(Debug)]
pub(super) struct Uploads<B> {
    queued: VecDeque<Block>,
    slots: VecDeque<Slot<B>>,
    /// Bytes being read, or read and not sent.
    held: u64,
    /// Bytes of `held` that the shell is sending.
    unsent: u64,
    /// Whether the window is being filled. It is filled only once a quarter of it is free, so that reads come in
    /// batches.
    filling: bool,
    drain: Drain,
}

/// The rate at which the peer takes blocks.
#[derive(Debug)]
struct Drain {
    since: Time,
    bytes: u64,
    window: u64,
}

impl Drain {
    fn sent(&mut self, now: Time, bytes: u64) {
        self.bytes += bytes;
        let elapsed = now.since(self.since);
        if elapsed < MEASURE {
            return;
        }
        let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        let window = (self.bytes.saturating_mul(WINDOW_MILLIS) / millis).clamp(MIN_WINDOW, MAX_WINDOW);
        // Half old, half new: a pause of the disk or of the peer halves the window, no more.
        self.window = (self.window + window) / 2;
        (self.since, self.bytes) = (now, 0);
    }
}

impl<B> Uploads<B> {
    pub(super) fn new(now: Time) -> Self {
        let drain = Drain { since: now, bytes: 0, window: MIN_WINDOW };
        Self { queued: VecDeque::new(), slots: VecDeque::new(), held: 0, unsent: 0, filling: false, drain }
    }

    /// Queues a request; false if there are too many.
    pub(super) fn push(&mut self, block: Block) -> bool {
        let room = self.queued.len() + self.slots.len() < MAX_QUEUED_REQUESTS as usize;
        if room {
            self.queued.push_back(block);
        }
        room
    }

    /// Takes a request out that the remote does not want any more; false if there is none or it is on its way.
    pub(super) fn cancel(&mut self, block: &Block) -> bool {
        if let Some(at) = self.queued.iter().position(|b| b == block) {
            self.queued.remove(at);
            return true;
        }
        let at = self.slots.iter().position(|s| s.block == *block && !matches!(s.state, State::Cancelled));
        at.inspect(|&at| self.cancel_slot(at)).is_some()
    }

    /// Takes out the requests that are not to be kept, for we choke: those being read first, then those that wait.
    pub(super) fn drop_all(&mut self, mut keep: impl FnMut(&Block) -> bool) -> Vec<Block> {
        let (mut dropped, held) = (Vec::new(), &mut self.held);
        self.slots.retain_mut(|slot| {
            let wanted = !matches!(slot.state, State::Cancelled);
            if !wanted || keep(&slot.block) {
                return true;
            }
            dropped.push(slot.block);
            let done = matches!(slot.state, State::Done(_));
            if done {
                *held = held.saturating_sub(slot.block.len.into());
            }
            slot.state = State::Cancelled;
            !done
        });
        self.queued.retain(|block| {
            let kept = keep(block);
            dropped.extend((!kept).then_some(*block));
            kept
        });
        dropped
    }

    /// The next block to read, as long as the window has room.
    pub(super) fn next_read(&mut self) -> Option<Block> {
        let window = self.drain.window;
        if !self.filling && self.held > window / 4 * 3 {
            return None;
        }
        let fits = |block: &Block| self.held == 0 || self.held + u64::from(block.len) <= window;
        let block = self.queued.front().copied().filter(fits);
        self.filling = block.is_some();
        let block = block?;
        self.queued.pop_front();
        self.held += u64::from(block.len);
        self.slots.push_back(Slot { block, state: State::Reading });
        Some(block)
    }

    /// The shell read a block, or could not. Answers may come in any order.
    pub(super) fn complete(&mut self, block: &Block, data: Option<B>) {
        let waits = |s: &Slot<B>| s.block == *block && !matches!(s.state, State::Done(_));
        let Some(at) = self.slots.iter().position(waits) else { return };
        match self.slots[at].state {
            State::Cancelled => self.remove_slot(at),
            _ => self.slots[at].state = State::Done(data),
        }
    }

    /// The next block to send, in the order of asking, if it is read.
    pub(super) fn next_answer(&mut self) -> Option<(Block, B)> {
        let at = self.first().filter(|&at| matches!(self.slots[at].state, State::Done(Some(_))))?;
        let Slot { block, state: State::Done(Some(data)) } = self.slots.remove(at)? else { return None };
        self.unsent += u64::from(block.len);
        Some((block, data))
    }

    /// The next block in the order of asking, if it could not be read.
    pub(super) fn next_failure(&mut self) -> Option<Block> {
        let at = self.first().filter(|&at| matches!(self.slots[at].state, State::Done(None)))?;
        let block = self.slots[at].block;
        self.remove_slot(at);
        Some(block)
    }

    /// Bytes that [`next_answer`](Self::next_answer) would give, called again and again.
    pub(super) fn due(&self) -> u64 {
        let wanted = self.slots.iter().filter(|slot| !matches!(slot.state, State::Cancelled));
        let ready = wanted.take_while(|slot| matches!(slot.state, State::Done(Some(_))));
        ready.map(|slot| u64::from(slot.block.len)).sum()
    }

    /// Where the first slot is whose block is wanted: cancelled ones wait for the shell, but nobody waits for them.
    fn first(&self) -> Option<usize> {
        self.slots.iter().position(|slot| !matches!(slot.state, State::Cancelled))
    }

    /// Payload bytes left.
    pub(super) fn sent(&mut self, now: Time, bytes: u64) {
        let bytes = bytes.min(self.unsent);
        self.unsent -= bytes;
        self.release(bytes);
        self.drain.sent(now, bytes);
    }

    /// Whether payload waits to leave.
    pub(super) fn waits(&self) -> bool {
        self.unsent > 0 || self.first().is_some_and(|at| matches!(self.slots[at].state, State::Done(Some(_))))
    }

    fn cancel_slot(&mut self, at: usize) {
        match self.slots[at].state {
            State::Done(_) => self.remove_slot(at),
            _ => self.slots[at].state = State::Cancelled,
        }
    }

    fn remove_slot(&mut self, at: usize) {
        if let Some(slot) = self.slots.remove(at) {
            self.release(slot.block.len.into());
        }
    }

    fn release(&mut self, bytes: u64) {
        self.held = self.held.saturating_sub(bytes);
    }
}
