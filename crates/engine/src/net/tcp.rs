//! TCP for IPv4 and IPv6.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

/// Connections that the kernel holds for us until we accept them.
const BACKLOG: i32 = 256;

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// At most this much unsent data waits in the kernel, so that a choke or a cancel takes effect soon; on fast links
/// the kernel's own window is what counts.
const NOT_SENT_LOW_WATER: u32 = 512 * 1024;

/// Binds a listener. IPv6 sockets take IPv6 only, so that both families can share a port.
///
/// # Errors
/// What the system says, as when the port is taken.
pub(crate) fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Connects, within [`CONNECT_TIMEOUT`].
///
/// # Errors
/// What the system says, or `TimedOut`.
pub(crate) async fn connect(addr: SocketAddr) -> io::Result<TcpStream> {
    let stream = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(addr))
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    set_up(&stream);
    Ok(stream)
}

/// Options every peer socket gets. Failing to set one costs speed, not correctness, so it is not an error.
pub(crate) fn set_up(stream: &TcpStream) {
    // Requests are small and must not wait for an ACK (Nagle).
    let _ = stream.set_nodelay(true);
    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
    let _ = SockRef::from(stream).set_tcp_notsent_lowat(NOT_SENT_LOW_WATER);
}

/// Makes the close send a reset, so that a peer we refuse holds no state of ours.
pub(crate) fn abort(stream: TcpStream) {
    let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    drop(stream);
}
