//! `recvmmsg` and `sendmmsg`.

use std::array;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::AsRawFd;

use mio::net::UdpSocket;
use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessage, MsgFlags, MultiHeaders, SockaddrIn, SockaddrIn6, SockaddrLike, recvmmsg, sendmmsg,
};

use super::{BATCH, Came, Requests};

/// The system's description of a batch, made once for a socket.
pub(crate) enum Headers {
    V4(Both<SockaddrIn>),
    V6(Both<SockaddrIn6>),
}

/// Of one family.
pub(crate) struct Both<S> {
    incoming: MultiHeaders<S>,
    outgoing: MultiHeaders<S>,
}

impl Headers {
    pub(crate) fn new(local: SocketAddr) -> Self {
        match local {
            SocketAddr::V4(_) => Self::V4(Both::new()),
            SocketAddr::V6(_) => Self::V6(Both::new()),
        }
    }

    pub(crate) fn receive(
        &mut self,
        socket: &UdpSocket,
        requests: &mut Requests,
        came: &mut Came,
    ) -> io::Result<usize> {
        match self {
            Self::V4(both) => both.receive(socket, requests, came, |from| SocketAddrV4::from(from).into()),
            Self::V6(both) => both.receive(socket, requests, came, |from| SocketAddrV6::from(from).into()),
        }
    }

    /// Returns how many the system did not take.
    pub(crate) fn send<'a>(
        &mut self,
        socket: &UdpSocket,
        answers: impl Iterator<Item = (SocketAddr, &'a [u8])>,
    ) -> usize {
        match self {
            Self::V4(both) => both.send(socket, answers, |to| match to {
                SocketAddr::V4(to) => Some(to.into()),
                SocketAddr::V6(_) => None,
            }),
            Self::V6(both) => both.send(socket, answers, |to| match to {
                SocketAddr::V6(to) => Some(to.into()),
                SocketAddr::V4(_) => None,
            }),
        }
    }
}

impl<S: SockaddrLike + Copy> Both<S> {
    fn new() -> Self {
        Self {
            incoming: MultiHeaders::preallocate(BATCH, None),
            outgoing: MultiHeaders::preallocate(BATCH, None),
        }
    }

    fn receive(
        &mut self,
        socket: &UdpSocket,
        requests: &mut Requests,
        came: &mut Came,
        addr: impl Fn(S) -> SocketAddr,
    ) -> io::Result<usize> {
        let mut slices = requests.each_mut().map(|request| [IoSliceMut::new(request)]);
        let flags = MsgFlags::MSG_DONTWAIT;
        let messages = recvmmsg(socket.as_raw_fd(), &mut self.incoming, &mut slices, flags, None)?;
        let mut count = 0;
        for (message, came) in messages.zip(came) {
            // One without a source is as good as malformed.
            *came = message.address.map_or((came.0, 0), |from| (addr(from), message.bytes));
            count += 1;
        }
        Ok(count)
    }

    fn send<'a>(
        &mut self,
        socket: &UdpSocket,
        mut answers: impl Iterator<Item = (SocketAddr, &'a [u8])>,
        addr: impl Fn(SocketAddr) -> Option<S>,
    ) -> usize {
        let mut addrs = [None; BATCH];
        let mut len = 0;
        let slices: [_; BATCH] = array::from_fn(|i| {
            let (to, answer) = answers.next().map_or((None, &[][..]), |(to, answer)| (addr(to), answer));
            addrs[i] = to;
            len += usize::from(!answer.is_empty());
            [IoSlice::new(answer)]
        });
        let (mut from, mut lost) = (0, 0);
        while from < len {
            match self.send_some(socket, &slices[from..len], &addrs[from..len]) {
                Ok(sent) => from += sent.max(1),
                // The queue is full: who hears nothing asks again.
                Err(Errno::EAGAIN | Errno::ENOBUFS) => return lost + len - from,
                Err(Errno::EINTR) => {}
                // This one cannot be sent; others can.
                Err(_) => (from, lost) = (from + 1, lost + 1),
            }
        }
        lost
    }

    fn send_some(
        &mut self,
        socket: &UdpSocket,
        slices: &[[IoSlice<'_>; 1]],
        addrs: &[Option<S>],
    ) -> nix::Result<usize> {
        let none: [ControlMessage<'_>; 0] = [];
        let sent =
            sendmmsg(socket.as_raw_fd(), &mut self.outgoing, slices, addrs, none, MsgFlags::MSG_DONTWAIT)?;
        Ok(sent.count())
    }
}
