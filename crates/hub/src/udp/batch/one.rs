//! One datagram for each call.

use std::io;
use std::net::SocketAddr;

use mio::net::UdpSocket;

use super::{BATCH, Came, Requests};

/// Nothing to keep.
pub(crate) struct Headers;

impl Headers {
    pub(crate) const fn new(_: SocketAddr) -> Self {
        Self
    }

    pub(crate) fn receive(
        &self,
        socket: &UdpSocket,
        requests: &mut Requests,
        came: &mut Came,
    ) -> io::Result<usize> {
        for (i, (request, came)) in requests.iter_mut().zip(came).enumerate() {
            match socket.recv_from(request) {
                Ok((len, from)) => *came = (from, len),
                // What an earlier answer met with (Windows tells) ends nothing.
                Err(e) if e.kind() == io::ErrorKind::ConnectionReset => came.1 = 0,
                Err(e) if i == 0 => return Err(e),
                Err(_) => return Ok(i),
            }
        }
        Ok(BATCH)
    }

    /// Returns how many the system did not take.
    pub(crate) fn send<'a>(
        &self,
        socket: &UdpSocket,
        answers: impl Iterator<Item = (SocketAddr, &'a [u8])>,
    ) -> usize {
        answers.filter(|(to, answer)| socket.send_to(answer, *to).is_err()).count()
    }
}
