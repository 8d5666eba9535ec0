//! The writing half of a connection: what the machine wants sent, in order, in few system calls, and no more payload
//! than the rate limits allow.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use samara_proto::peer::{Connection, Transmit};
use tokio::net::TcpStream;

use crate::disk::Buf;
use crate::limit::Tap;

/// Parts of one vectored write: 32 blocks with their headers.
const MAX_PARTS: usize = 64;

/// Bytes on their way into the socket. Bounded by the machine, which hands out payload only within its window.
#[derive(Default)]
pub(super) struct Outlet {
    queue: VecDeque<Transmit<Buf>>,
    /// Bytes of the first part that were sent already.
    sent: usize,
    /// Bytes of payload in the queue that were not sent.
    payload: usize,
    /// Bytes of payload that may leave; `usize::MAX` without a limit.
    credit: usize,
    /// Payload waits for the limit.
    waits: bool,
}

impl Outlet {
    /// Takes over what the machine has ready and the limit allows, but no more than one write's worth: the rest counts
    /// against the machine's caps, which a peer that reads nothing is not to get around.
    pub(super) fn fill(&mut self, conn: &mut Connection<Buf>, tap: &mut Tap) {
        if tap.is_limited() {
            self.take(|| conn.transmit_control());
            self.ask(conn, tap);
        } else {
            self.credit = usize::MAX;
        }
        while self.payload < self.credit && self.take_one(|| conn.transmit()) {}
    }

    /// Asks for what is there, unless some was granted or is waited for.
    fn ask(&mut self, conn: &Connection<Buf>, tap: &mut Tap) {
        if self.credit == usize::MAX {
            self.credit = 0;
        }
        let due = self.payload + conn.due() as usize;
        if due > 0 && self.credit == 0 && !self.waits {
            let granted = tap.ask(due);
            self.waits = granted.is_none();
            self.credit = granted.unwrap_or(0);
        }
    }

    /// What was waited for came.
    pub(super) fn grant(&mut self, bytes: usize) {
        self.waits = false;
        self.credit = bytes;
    }

    /// Gives back what was granted and is not used: nothing more is due, or the socket takes no more.
    pub(super) fn settle(&mut self, tap: &mut Tap) {
        if self.credit != usize::MAX {
            tap.settle(std::mem::take(&mut self.credit), 0);
        }
    }

    /// Whether payload waits for the limit.
    pub(super) const fn waits(&self) -> bool {
        self.waits
    }

    /// Whether something may leave.
    pub(super) fn is_ready(&self) -> bool {
        match self.queue.front() {
            None => false,
            Some(Transmit::Bytes(_)) => true,
            Some(Transmit::Payload(_)) => self.credit > 0,
        }
    }

    fn take(&mut self, mut next: impl FnMut() -> Option<Transmit<Buf>>) {
        while self.take_one(&mut next) {}
    }

    /// Takes one part over, if there is room for it.
    fn take_one(&mut self, next: impl FnOnce() -> Option<Transmit<Buf>>) -> bool {
        let part = if self.queue.len() < MAX_PARTS { next() } else { None };
        if let Some(Transmit::Payload(data)) = &part {
            self.payload += data.len();
        }
        part.map(|part| self.queue.push_back(part)).is_some()
    }

    /// One write; returns the payload bytes that left, and gives used-up buffers back to the machine. `WouldBlock` if
    /// the socket takes nothing now.
    pub(super) fn write(&mut self, stream: &TcpStream, conn: &mut Connection<Buf>) -> io::Result<u32> {
        let mut parts = [IoSlice::new(&[]); MAX_PARTS];
        let (mut used, mut credit) = (0, self.credit);
        for (slot, part) in parts.iter_mut().zip(&self.queue) {
            let rest = &bytes(part)[if used == 0 { self.sent } else { 0 }..];
            let most = if matches!(part, Transmit::Payload(_)) { rest.len().min(credit) } else { rest.len() };
            *slot = IoSlice::new(&rest[..most]);
            used += 1;
            if most < rest.len() {
                break;
            }
            if matches!(part, Transmit::Payload(_)) {
                credit -= most;
            }
        }
        let n = stream.try_write_vectored(&parts[..used])?;
        if n == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        Ok(self.advance(n, conn))
    }

    /// Drops what was sent, and counts it against the credit; returns how much of it was payload.
    fn advance(&mut self, mut n: usize, conn: &mut Connection<Buf>) -> u32 {
        let mut payload = 0;
        while let Some(part) = self.queue.front() {
            let left = bytes(part).len() - self.sent;
            let here = left.min(n);
            if matches!(part, Transmit::Payload(_)) {
                payload += here as u32;
            }
            n -= here;
            if here < left {
                self.sent += here;
                break;
            }
            self.sent = 0;
            if let Some(Transmit::Bytes(used)) = self.queue.pop_front() {
                conn.recycle(used);
            }
        }
        self.payload -= payload as usize;
        if self.credit != usize::MAX {
            self.credit -= payload as usize;
        }
        payload
    }
}

fn bytes(part: &Transmit<Buf>) -> &[u8] {
    match part {
        Transmit::Bytes(b) => b,
        Transmit::Payload(b) => b,
    }
}
