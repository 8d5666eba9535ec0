//! One WebSocket: messages in and out, and whether anybody is there.

use std::io::{self, ErrorKind, Read, Write};
use std::time::Duration;

use mio::net::TcpStream;
use samara_proto::signal::{ConnId, MAX_MESSAGE};
use samara_proto::time::Time;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tungstenite::{Bytes, Error, Message, WebSocket};

use crate::http::Channel;

/// Bytes read by one call. An announce with five offers takes two of them.
const READ: usize = 4 * 1024;

/// Bytes read from one connection before it is another's turn. Messages alone bound nothing: empty fragments make none.
const TURN: usize = 64 * 1024;

/// Most bytes that wait for a client to read; then it is dropped. A hundred offers of usual size.
const MAX_UNREAD: usize = 256 * 1024;

/// When to look after somebody who says nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// Then it is pinged. Proxies commonly end what was silent for a minute (nginx) or 100 s (Cloudflare).
    pub(crate) ping: Duration,
    /// Then it is dropped.
    pub(crate) end: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { ping: Duration::from_secs(50), end: Duration::from_secs(120) }
    }
}

/// What was read.
#[derive(Debug)]
pub(super) enum Heard {
    /// A message.
    Message(Bytes),
    /// Something that the library took care of.
    Control,
    /// Nothing more for now.
    Nothing,
    /// Nothing more in this turn, though there may be something.
    Enough,
    /// The connection is at its end.
    End,
}

/// What carries the frames, as the library wants to see it.
#[derive(Debug)]
struct Pipe {
    channel: Channel,
    /// Bytes that may still be read in this turn.
    left: usize,
}

impl Read for Pipe {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = into.len().min(self.left);
        if most == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        let n = self.channel.read(&mut into[..most])?.ok_or(ErrorKind::WouldBlock)?;
        self.left -= n;
        Ok(n)
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.channel.write(bytes)? {
            0 if !bytes.is_empty() => Err(ErrorKind::WouldBlock.into()),
            n => Ok(n),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.channel.write(&[])?;
        if self.channel.is_clogged() { Err(ErrorKind::WouldBlock.into()) } else { Ok(()) }
    }
}

/// A connection.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) id: ConnId,
    socket: WebSocket<Pipe>,
    /// When something came last.
    heard: Time,
    pinged: bool,
}

impl Line {
    /// A connection over which `rest` came already.
    pub(super) fn new(id: ConnId, channel: Channel, rest: Vec<u8>, now: Time) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ)
            .write_buffer_size(0)
            .max_write_buffer_size(MAX_UNREAD)
            .max_message_size(Some(MAX_MESSAGE))
            .max_frame_size(Some(MAX_MESSAGE));
        let pipe = Pipe { channel, left: 0 };
        let socket = WebSocket::from_partially_read(pipe, rest, Role::Server, Some(config));
        Self { id, socket, heard: now, pinged: false }
    }

    pub(super) fn stream(&mut self) -> &mut TcpStream {
        &mut self.socket.get_mut().channel.stream
    }

    /// Its turn begins.
    pub(super) fn begin_turn(&mut self) {
        self.socket.get_mut().left = TURN;
    }

    /// The next message. What is to be sent is sent first.
    pub(super) fn read(&mut self, now: Time) -> Heard {
        match self.socket.read() {
            Ok(message) => {
                (self.heard, self.pinged) = (now, false);
                match message {
                    Message::Text(text) => Heard::Message(text.into()),
                    Message::Binary(bytes) => Heard::Message(bytes),
                    _ => Heard::Control,
                }
            }
            Err(Error::Io(e)) if e.kind() == ErrorKind::WouldBlock => match self.socket.get_ref().left {
                0 => Heard::Enough,
                _ => Heard::Nothing,
            },
            Err(Error::Io(e)) if e.kind() == ErrorKind::Interrupted => Heard::Control,
            Err(error) => {
                if let Some(code) = complaint(&error) {
                    self.close(code, "");
                }
                Heard::End
            }
        }
    }

    /// Sends what the system did not take before. Returns whether the connection lives.
    pub(super) fn flush(&mut self) -> bool {
        lives(self.socket.flush())
    }

    /// Sends a message, now or later. Returns whether the connection lives.
    pub(super) fn send(&mut self, text: String) -> bool {
        lives(self.socket.send(Message::text(text)))
    }

    /// Takes leave. The client says so too, and then the connection is at its end.
    pub(super) fn close(&mut self, code: CloseCode, reason: &'static str) -> bool {
        lives(self.socket.close(Some(CloseFrame { code, reason: reason.into() })))
    }

    /// Looks after somebody who says nothing. Returns whether the connection lives.
    pub(super) fn look_after(&mut self, now: Time, patience: Patience) -> bool {
        let silent = now.since(self.heard);
        if silent >= patience.end {
            return false;
        }
        if silent < patience.ping || self.pinged {
            return true;
        }
        self.pinged = true;
        lives(self.socket.send(Message::Ping(Bytes::new())))
    }
}

/// What is not sent now is sent later, unless there is too much of it.
fn lives(result: Result<(), Error>) -> bool {
    match result {
        Ok(()) => true,
        Err(Error::Io(e)) => matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
        // We took leave already.
        Err(Error::Protocol(tungstenite::error::ProtocolError::SendAfterClosing)) => true,
        Err(_) => false,
    }
}

/// What a client is told that broke the rules.
const fn complaint(error: &Error) -> Option<CloseCode> {
    match error {
        Error::Capacity(_) => Some(CloseCode::Size),
        Error::Utf8(_) => Some(CloseCode::Invalid),
        Error::Protocol(_) => Some(CloseCode::Protocol),
        _ => None,
    }
}
