//! One connection: the system's socket and the machine that tells what to send.

use std::io;
use std::net::IpAddr;

use samara_proto::http::server::{Connection, Reply, Server};
use samara_proto::time::Time;

use super::channel::Channel;
use super::front::{Front, Gone};
use crate::metrics::Count;

/// What the threads of a front end use again and again.
#[derive(Debug)]
pub(crate) struct Room {
    /// Where the system puts what came.
    pub(crate) input: Box<[u8]>,
    /// Answers on their way out.
    pub(crate) out: Vec<u8>,
}

/// Bytes read by one call: a few hundred pipelined announces. Tests get by with less.
const READ: usize = if cfg!(test) { 1024 } else { 64 * 1024 };

/// Calls in a row for one connection; then it is the others' turn.
const READS: usize = 8;

impl Room {
    pub(crate) fn new() -> Self {
        Self { input: vec![0; READ].into(), out: Vec::new() }
    }
}

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Stays,
    /// As `Stays`, but it has to be driven again, for the system will not tell of what is left.
    Continues,
    Ends,
    /// It speaks another protocol from here on: see [`Socket::into_gone`].
    Leaves,
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) channel: Channel,
    pub(crate) sender: IpAddr,
    machine: Connection,
    /// What the system did not take yet.
    pending: Vec<u8>,
    sent: usize,
    /// Everything is said; the client may still read it.
    lingers: bool,
}

impl Socket {
    pub(crate) fn new(channel: Channel, sender: IpAddr, machine: Connection) -> Self {
        Self { channel, sender: sender.to_canonical(), machine, pending: Vec::new(), sent: 0, lingers: false }
    }

    /// Whether something waits for the system to take it.
    fn is_clogged(&self) -> bool {
        !self.pending.is_empty() || self.channel.is_clogged()
    }

    /// When it has to end.
    pub(crate) const fn deadline(&self) -> Time {
        self.machine.deadline()
    }

    /// Whether ending it now loses nothing.
    pub(crate) const fn is_idle(&self) -> bool {
        self.machine.is_idle()
    }

    /// The number under which it was promised an answer, while it waits for that.
    pub(crate) const fn awaited(&self) -> Option<u64> {
        self.machine.awaited()
    }

    /// What is left once it [leaves](Fate::Leaves).
    pub(crate) fn into_gone(self) -> Gone {
        Gone { channel: self.channel, sender: self.sender, rest: self.machine.into_rest() }
    }

    /// Something can be read or written. `at_end` says that the client will send no more. The front has to know already
    /// who asks.
    pub(crate) fn drive(
        &mut self,
        now: Time,
        at_end: bool,
        server: &mut Server<impl Front>,
        room: &mut Room,
    ) -> Fate {
        self.try_drive(now, at_end, server, room).unwrap_or(Fate::Ends)
    }

    /// Gives the answer that was promised under `ticket`, if it is still awaited, and goes on. The front has to know
    /// already who asks.
    pub(crate) fn answer<F: Front>(
        &mut self,
        now: Time,
        ticket: u64,
        server: &mut Server<F>,
        room: &mut Room,
        fill: impl FnOnce(&mut F, &mut Reply),
    ) -> Fate {
        room.out.clear();
        if !self.machine.answer(now, ticket, server, &mut room.out, fill) {
            return Fate::Stays;
        }
        if self.is_clogged() {
            self.pending.append(&mut room.out);
            return Fate::Stays;
        }
        match self.send(now, server, room) {
            // Nothing was read meanwhile, and the system tells of what came only once.
            Ok(Fate::Stays) => self.drive(now, true, server, room),
            other => other.unwrap_or(Fate::Ends),
        }
    }

    fn try_drive(
        &mut self,
        now: Time,
        at_end: bool,
        server: &mut Server<impl Front>,
        room: &mut Room,
    ) -> io::Result<Fate> {
        if self.is_clogged() {
            let n = self.channel.write(&self.pending[self.sent..])?;
            server.handler.count(Count::Sent, n as u64);
            self.sent += n;
            if self.sent < self.pending.len() || self.channel.is_clogged() {
                return Ok(Fate::Stays);
            }
            (self.pending, self.sent) = (Vec::new(), 0);
            room.out.clear();
            self.machine.flushed(now, server, &mut room.out);
            let fate = self.send(now, server, room)?;
            if fate != Fate::Stays {
                return Ok(fate);
            }
        }
        for _ in 0..READS {
            if self.is_clogged() || self.awaited().is_some() {
                return Ok(Fate::Stays);
            }
            let Some(n) = self.channel.read(&mut room.input)? else { return Ok(Fate::Stays) };
            if n == 0 {
                return Ok(Fate::Ends);
            }
            server.handler.count(Count::Received, n as u64);
            if self.lingers {
                continue;
            }
            room.out.clear();
            self.machine.receive(now, &room.input[..n], server, &mut room.out);
            let fate = self.send(now, server, room)?;
            if fate != Fate::Stays {
                return Ok(fate);
            }
            // Less than there was room for: nothing is left, and asking costs a call. Records of TLS are shorter.
            if n < room.input.len() && !at_end && !self.channel.is_encrypted() {
                return Ok(Fate::Stays);
            }
        }
        Ok(Fate::Continues)
    }

    /// Sends `room.out`, and what follows from its being sent, as far as the system takes it.
    fn send(&mut self, now: Time, server: &mut Server<impl Front>, room: &mut Room) -> io::Result<Fate> {
        while !room.out.is_empty() {
            let n = self.channel.write(&room.out)?;
            server.handler.count(Count::Sent, n as u64);
            if n < room.out.len() || self.channel.is_clogged() {
                self.pending = room.out[n..].to_vec();
                return Ok(Fate::Stays);
            }
            room.out.clear();
            self.machine.flushed(now, server, &mut room.out);
        }
        self.end()
    }

    /// Ends the connection if everything is said.
    fn end(&mut self) -> io::Result<Fate> {
        if self.machine.is_leaving() {
            return Ok(Fate::Leaves);
        }
        if !self.machine.is_closing() || self.lingers {
            return Ok(Fate::Stays);
        }
        if self.machine.was_refused() {
            self.channel.finish()?;
            self.lingers = true;
            return Ok(Fate::Stays);
        }
        self.channel.say_goodbye();
        Ok(Fate::Ends)
    }
}
