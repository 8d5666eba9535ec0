//! Listening sockets: one for each worker, all at the same address, so that the system shares the load out.
//!
//! An IPv6 socket takes IPv6 only, on every system; so `[::]` and `0.0.0.0` can stand side by side and IPv4 clients
//! are never seen as mapped addresses.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that may wait to be accepted. Linux cuts it to `net.core.somaxconn` (4096 by default).
const BACKLOG: i32 = 4096;

/// Whether several sockets may share an address and the system spreads what comes over them.
const SHARES: bool = cfg!(target_os = "linux");

/// Descriptors that are not for clients: listeners, files, queues of events.
const OTHERS: usize = 128;

/// Lets this process open as many files as the system allows it to, and says how many connections that is. Shells and
/// service managers start programs with a low limit, which programs may raise, for the sake of those that use `select`.
pub(crate) fn raise_limit() -> usize {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, getrlimit, setrlimit};
        let mut limit = getrlimit(Resource::Nofile);
        let before = limit.current;
        limit.current = limit.maximum;
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!(%error, "the limit of open files stays");
            limit.current = before;
        }
        let files = limit.current.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
        files.saturating_sub(OTHERS).max(1)
    }
    #[cfg(not(unix))]
    usize::MAX
}

/// `count` listeners at one address. With port 0 the system picks one port for all.
///
/// # Errors
/// If the address is taken, by another hub too, or is not of this machine.
pub(crate) fn tcp(addr: SocketAddr, count: usize) -> io::Result<Vec<TcpListener>> {
    let first: TcpListener = listen(open(addr, Type::STREAM, Protocol::TCP)?)?;
    let addr = first.local_addr()?;
    let mut all = vec![first];
    while all.len() < count {
        all.push(if SHARES {
            listen(bound(addr, Type::STREAM, Protocol::TCP, true)?)?
        } else {
            all[0].try_clone()?
        });
    }
    Ok(all)
}

/// Bytes of datagrams that may wait: some thousand announces. Linux cuts it to `net.core.rmem_max`.
const QUEUE: usize = 4 << 20;

/// `count` UDP sockets at one address; else as [`tcp`].
///
/// # Errors
/// If the address is taken, or is not of this machine.
pub(crate) fn udp(addr: SocketAddr, count: usize) -> io::Result<Vec<UdpSocket>> {
    let first = UdpSocket::from(open(addr, Type::DGRAM, Protocol::UDP)?);
    let addr = first.local_addr()?;
    let mut all = vec![first];
    while all.len() < count {
        all.push(if SHARES {
            bound(addr, Type::DGRAM, Protocol::UDP, true)?.into()
        } else {
            all[0].try_clone()?
        });
    }
    for socket in &all {
        let socket = socket2::SockRef::from(socket);
        // As large as the system allows.
        let _ = socket.set_recv_buffer_size(QUEUE);
        let _ = socket.set_send_buffer_size(QUEUE);
    }
    Ok(all)
}

fn listen(socket: Socket) -> io::Result<TcpListener> {
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// A socket that may share its address, once it is clear that it need not: else a second hub would silently take half of
/// the first one's clients.
fn open(addr: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    if !SHARES {
        return bound(addr, kind, protocol, false);
    }
    let addr = bound(addr, kind, protocol, false)?.local_addr()?;
    bound(addr.as_socket().ok_or(io::ErrorKind::Unsupported)?, kind, protocol, true)
}

fn bound(addr: SocketAddr, kind: Type, protocol: Protocol, share: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), kind, Some(protocol))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Connections of the last run that are still closing do not keep the port; on Windows the option means sharing.
    if cfg!(unix) && kind == Type::STREAM {
        socket.set_reuse_address(true)?;
        // Answers are written whole; accepted connections inherit it.
        socket.set_tcp_nodelay(true)?;
    }
    #[cfg(target_os = "linux")]
    if share {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_port_for_all_and_none_for_a_stranger() {
        let any = "127.0.0.1:0".parse().unwrap();
        let all = tcp(any, 3).unwrap();
        let addr = all[0].local_addr().unwrap();
        assert!(all.iter().all(|l| l.local_addr().unwrap() == addr));
        assert_eq!(tcp(addr, 1).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn udp_may_have_the_port_of_tcp() {
        let listener = tcp("127.0.0.1:0".parse().unwrap(), 1).unwrap();
        let addr = listener[0].local_addr().unwrap();
        let all = udp(addr, 3).unwrap();
        assert!(all.iter().all(|socket| socket.local_addr().unwrap() == addr));
        assert_eq!(udp(addr, 1).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn both_families_stand_side_by_side() {
        let v4 = tcp("0.0.0.0:0".parse().unwrap(), 1).unwrap();
        let port = v4[0].local_addr().unwrap().port();
        match tcp(SocketAddr::new("::".parse().unwrap(), port), 1) {
            Ok(_) => {}
            // Machines without IPv6.
            Err(e) => assert_ne!(e.kind(), io::ErrorKind::AddrInUse),
        }
    }
}
