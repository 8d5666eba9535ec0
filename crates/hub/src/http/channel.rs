//! What carries a connection's bytes: TCP, or TLS over it.
//!
//! rustls turns bytes into bytes and touches no socket, so both kinds are driven alike: what the system does not take now
//! is kept, and [`Channel::is_clogged`] says so.

use std::io::{self, Read, Write};
use std::net::Shutdown;

use mio::net::TcpStream;
use rustls::ServerConnection;

/// Most bytes that wait encrypted for the system to take them.
const BUFFER: usize = 64 * 1024;

/// One connection. Reading goes on until there is nothing more, for the system tells of what came only once.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) stream: TcpStream,
    tls: Option<Box<ServerConnection>>,
}

impl Channel {
    pub(crate) fn new(stream: TcpStream, tls: Option<ServerConnection>) -> Self {
        let tls = tls.map(|mut tls| {
            tls.set_buffer_limit(Some(BUFFER));
            Box::new(tls)
        });
        Self { stream, tls }
    }

    pub(crate) const fn is_encrypted(&self) -> bool {
        self.tls.is_some()
    }

    /// Reads; `None` if there is nothing now, and `Some(0)` at the end.
    ///
    /// # Errors
    /// If the connection broke, or what came is no TLS.
    pub(crate) fn read(&mut self, into: &mut [u8]) -> io::Result<Option<usize>> {
        let Some(tls) = &mut self.tls else { return ready(|| self.stream.read(into)) };
        loop {
            match tls.reader().read(into) {
                Ok(n) => return Ok(Some(n)),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Err(e),
            }
            match ready(|| tls.read_tls(&mut self.stream))? {
                None | Some(0) if tls.wants_write() && flush(tls, &mut self.stream)? => {}
                None => return Ok(None),
                Some(0) => return Ok(Some(0)),
                Some(_) => {
                    let done = tls.process_new_packets();
                    // What the handshake answers, or the alert that tells what is wrong.
                    flush(tls, &mut self.stream)?;
                    done.map_err(io::Error::other)?;
                }
            }
        }
    }

    /// Writes as much as is taken now, and says how much that is.
    ///
    /// # Errors
    /// If the connection broke.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut sent = 0;
        let Some(tls) = &mut self.tls else {
            while sent < bytes.len() {
                match ready(|| self.stream.write(&bytes[sent..]))? {
                    None => break,
                    Some(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Some(n) => sent += n,
                }
            }
            return Ok(sent);
        };
        while flush(tls, &mut self.stream)? && sent < bytes.len() {
            sent += tls.writer().write(&bytes[sent..])?;
        }
        Ok(sent)
    }

    /// Whether something waits for the system to take it.
    pub(crate) fn is_clogged(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    /// Says that nothing more will come.
    ///
    /// # Errors
    /// If the connection broke.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        self.say_goodbye();
        self.stream.shutdown(Shutdown::Write)
    }

    /// Says by TLS that the end is meant; a connection that is cut off says nothing.
    pub(crate) fn say_goodbye(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            // Nobody waits for it.
            let _ = flush(tls, &mut self.stream);
        }
    }
}

/// Sends what is encrypted; whether all of it is gone.
fn flush(tls: &mut ServerConnection, stream: &mut TcpStream) -> io::Result<bool> {
    while tls.wants_write() {
        if ready(|| tls.write_tls(stream))?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// `None` if it cannot be done now.
fn ready(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<Option<usize>> {
    loop {
        match call() {
            Ok(n) => return Ok(Some(n)),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}
