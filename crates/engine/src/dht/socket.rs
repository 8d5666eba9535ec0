//! The UDP socket of a node: bound like the TCP listeners, read and written without waiting.
//!
//! A datagram that the system does not take at once is lost, as any datagram may be: who asks asks again.

use std::io;
use std::net::{IpAddr, SocketAddr};

use samara_proto::tracker::Family;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

use super::api::Traffic;

/// Longer datagrams are cut off, and so are no messages: the longest that there are carry items of a thousand bytes.
pub(super) const MAX_DATAGRAM: usize = 2048;

/// What the system may hold for us while we do something else: lookups bring their answers in bursts.
const RECEIVE_BUFFER: usize = 1 << 20;

/// A bound socket.
#[derive(Debug)]
pub(crate) struct Port {
    socket: UdpSocket,
    local: SocketAddr,
    pub(super) received: Traffic,
    pub(super) sent: Traffic,
}

impl Port {
    /// Binds it. IPv6 sockets take IPv6 only, so that both families can share a port number.
    ///
    /// # Errors
    /// What the system says, as when the port is taken.
    pub(crate) fn bind(addr: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
        if addr.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.set_nonblocking(true)?;
        // Less costs datagrams in bursts, not correctness.
        let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
        socket.bind(&addr.into())?;
        let socket = UdpSocket::from_std(socket.into())?;
        let local = socket.local_addr()?;
        Ok(Self { socket, local, received: Traffic::default(), sent: Traffic::default() })
    }

    pub(crate) const fn local(&self) -> SocketAddr {
        self.local
    }

    pub(super) fn family(&self) -> Family {
        Family::of(self.local.ip())
    }

    /// Waits until the runtime knows the socket: before, it would take it for one that has no room.
    pub(super) async fn open(&self) {
        if let Err(error) = self.socket.writable().await {
            tracing::debug!(%error, "nothing can be sent");
        }
    }

    /// Waits until there is something to receive. Cancel safe.
    pub(super) async fn readable(&self) {
        if let Err(error) = self.socket.readable().await {
            tracing::debug!(%error, "nothing can be received");
            std::future::pending().await
        }
    }

    /// The next datagram; `None` if none waits.
    pub(super) fn receive(&mut self, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
        loop {
            match self.socket.try_recv_from(buffer) {
                Ok((len, from)) => {
                    self.received.count(len);
                    return Some((len, from));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                // Some systems tell here that an earlier datagram reached nobody.
                Err(error) => tracing::trace!(%error, "an error in place of a datagram"),
            }
        }
    }

    /// Sends a datagram; false if there is no way to where it should go.
    pub(super) fn send(&mut self, to: SocketAddr, datagram: &[u8]) -> bool {
        match self.socket.try_send_to(datagram, to) {
            Ok(len) => self.sent.count(len),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                tracing::trace!(%to, "no room for a datagram");
            }
            Err(error) => {
                tracing::trace!(%to, %error, "a datagram could not be sent");
                return !is_no_way(&error);
            }
        }
        true
    }

    pub(super) fn is_on_all(&self) -> bool {
        matches!(self.local.ip(), IpAddr::V4(ip) if ip.is_unspecified())
            || matches!(self.local.ip(), IpAddr::V6(ip) if ip.is_unspecified())
    }
}

/// Whether the system knows that nobody will be reached.
fn is_no_way(error: &io::Error) -> bool {
    use io::ErrorKind::{
        AddrNotAvailable, ConnectionRefused, HostUnreachable, InvalidInput, NetworkDown, NetworkUnreachable,
        PermissionDenied,
    };
    matches!(
        error.kind(),
        AddrNotAvailable
            | ConnectionRefused
            | HostUnreachable
            | InvalidInput
            | NetworkDown
            | NetworkUnreachable
            | PermissionDenied
    )
}
