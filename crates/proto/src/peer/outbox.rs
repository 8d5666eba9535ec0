//! What waits to be sent: control bytes and payload handles, strictly in order.

use std::collections::VecDeque;

use super::Transmit;
use crate::wire::Message;

/// Buffers kept for reuse.
const MAX_SPARE: usize = 4;

/// A buffer that grew larger is not kept.
const MAX_SPARE_CAPACITY: usize = 4 * 1024;

/// The queue in front of the transport. Neighbouring control messages share a buffer.
#[derive(Debug)]
pub(super) struct Outbox<B> {
    chunks: VecDeque<Transmit<B>>,
    control: usize,
    spare: Vec<Vec<u8>>,
    touched: bool,
    /// Something was taken, and the shell has not said since that anything left.
    taken: bool,
}

impl<B> Default for Outbox<B> {
    fn default() -> Self {
        Self { chunks: VecDeque::new(), control: 0, spare: Vec::new(), touched: false, taken: false }
    }
}

impl<B> Outbox<B> {
    pub(super) fn message(&mut self, message: &Message<'_>) {
        self.write(|out| message.encode(out));
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.write(|out| out.extend_from_slice(bytes));
    }

    /// The payload that belongs to the `piece` header written last.
    pub(super) fn payload(&mut self, data: B) {
        self.chunks.push_back(Transmit::Payload(data));
    }

    pub(super) fn transmit(&mut self) -> Option<Transmit<B>> {
        let chunk = self.chunks.pop_front()?;
        if let Transmit::Bytes(bytes) = &chunk {
            self.control -= bytes.len();
        }
        self.taken = true;
        Some(chunk)
    }

    /// The shell says that something left.
    pub(super) const fn sent(&mut self) {
        self.taken = false;
    }

    /// Whether anything waits here or, as far as we know, with the shell.
    pub(super) fn waits(&self) -> bool {
        self.taken || !self.is_empty()
    }

    /// Takes back a buffer that was sent.
    pub(super) fn recycle(&mut self, mut buffer: Vec<u8>) {
        if self.spare.len() < MAX_SPARE && buffer.capacity() <= MAX_SPARE_CAPACITY {
            buffer.clear();
            self.spare.push(buffer);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Control bytes that wait.
    pub(super) const fn control(&self) -> usize {
        self.control
    }

    /// Whether anything was written since the last call.
    pub(super) fn take_touched(&mut self) -> bool {
        std::mem::take(&mut self.touched)
    }

    fn write(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        if !matches!(self.chunks.back(), Some(Transmit::Bytes(_))) {
            self.chunks.push_back(Transmit::Bytes(self.spare.pop().unwrap_or_default()));
        }
        if let Some(Transmit::Bytes(out)) = self.chunks.back_mut() {
            let before = out.len();
            encode(out);
            self.control += out.len() - before;
            self.touched = true;
        }
    }
}
