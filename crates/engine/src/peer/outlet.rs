//! The writing half of a connection: what the machine wants sent, in order, in few system calls.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use samara_proto::peer::{Connection, Transmit};
use tokio::net::TcpStream;

use crate::disk::Buf;

/// Parts of one vectored write: 32 blocks with their headers.
const MAX_PARTS: usize = 64;

/// Bytes on their way into the socket. Bounded by the machine, which hands out payload only within its window.
#[derive(Default)]
pub(super) struct Outlet {
    queue: VecDeque<Transmit<Buf>>,
    /// Bytes of the first part that were sent already.
    sent: usize,
}

impl Outlet {
    /// Takes over what the machine has ready, but no more than one write's worth: the rest counts against the machine's
    /// caps, which a peer that reads nothing is not to get around.
    pub(super) fn fill(&mut self, conn: &mut Connection<Buf>) {
        while self.queue.len() < MAX_PARTS {
            let Some(part) = conn.transmit() else { return };
            self.queue.push_back(part);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// One write; returns the payload bytes that left, and gives used-up buffers back to the machine. `WouldBlock` if
    /// the socket takes nothing now.
    pub(super) fn write(&mut self, stream: &TcpStream, conn: &mut Connection<Buf>) -> io::Result<u32> {
        let mut parts = [IoSlice::new(&[]); MAX_PARTS];
        for (i, (slot, part)) in parts.iter_mut().zip(&self.queue).enumerate() {
            let skip = if i == 0 { self.sent } else { 0 };
            *slot = IoSlice::new(&bytes(part)[skip..]);
        }
        let used = self.queue.len().min(MAX_PARTS);
        let n = stream.try_write_vectored(&parts[..used])?;
        if n == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        Ok(self.advance(n, conn))
    }

    /// Drops what was sent; returns how much of it was payload.
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
        payload
    }
}

fn bytes(part: &Transmit<Buf>) -> &[u8] {
    match part {
        Transmit::Bytes(b) => b,
        Transmit::Payload(b) => b,
    }
}
