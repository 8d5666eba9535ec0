//! The sockets of one place: one hears the group, one speaks to it.
//!
//! The one that hears is bound to the group's address where the system allows that (not on Windows), so that nothing else
//! comes in; it shares the port with every other client of the machine, and is a member of the group on its own
//! interface alone. The one that speaks has the address that we listen on, since that is where neighbours call.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use samara_proto::ids::WireHash;
use samara_proto::lsd::message::{self, Cookie, MAX_LEN};
use samara_proto::lsd::{GROUP_V4, GROUP_V6, HOPS};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::places::Place;

/// At most [`TURN_COUNT`] datagrams are read in so long; what comes beyond waits in the kernel, or is lost there.
const TURN: Duration = Duration::from_millis(25);
const TURN_COUNT: u32 = 64;

/// A datagram, and by which place it came.
pub(super) struct Heard {
    pub(super) place: u64,
    pub(super) from: SocketAddr,
    pub(super) data: Vec<u8>,
}

/// An open place. It ends when it is dropped.
#[derive(Debug)]
pub(super) struct Station {
    pub(super) place: Place,
    group: SocketAddr,
    voice: std::net::UdpSocket,
    reader: AbortHandle,
}

impl Station {
    /// Opens a place and begins to listen there, in the background. `number` names it in what is heard.
    ///
    /// # Errors
    /// What the system says, as where there is no multicast.
    pub(super) fn open(place: Place, number: u64, ear: mpsc::Sender<Heard>) -> io::Result<Self> {
        let group: SocketAddr = if place.from.is_ipv4() { GROUP_V4.into() } else { GROUP_V6.into() };
        let voice = voice(&place)?;
        let socket = hearing(&place, group)?;
        let reader = tokio::spawn(listen(socket, number, ear)).abort_handle();
        Ok(Self { place, group, voice, reader })
    }

    /// Announces. What cannot be sent is lost, as it could be on its way.
    pub(super) fn announce(&self, hashes: &[WireHash], cookie: Cookie) {
        let data = message::write(self.group, self.place.port, hashes, cookie);
        if let Err(error) = self.voice.send_to(&data, self.group) {
            tracing::debug!(from = %self.place.from, %error, "not announced to the local network");
        }
    }
}

impl Drop for Station {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

fn socket(place: &Place) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(place.from), Type::DGRAM, Some(Protocol::UDP))?;
    if place.from.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn voice(place: &Place) -> io::Result<std::net::UdpSocket> {
    let socket = socket(place)?;
    if place.certain {
        socket.bind(&place.from.into())?;
    }
    match place.from.ip() {
        IpAddr::V4(from) => {
            socket.set_multicast_if_v4(&from)?;
            socket.set_multicast_ttl_v4(HOPS)?;
            socket.set_multicast_loop_v4(true)?;
        }
        IpAddr::V6(_) => {
            socket.set_multicast_if_v6(place.index)?;
            socket.set_multicast_hops_v6(HOPS)?;
            socket.set_multicast_loop_v6(true)?;
        }
    }
    Ok(socket.into())
}

fn hearing(place: &Place, group: SocketAddr) -> io::Result<UdpSocket> {
    let socket = socket(place)?;
    socket.set_reuse_address(true)?;
    // Linux shares by the address alone, as the other clients do there, and since 6.6 hands what one member of a group of
    // sockets with SO_REUSEPORT should get to any of them, by a hash, though it came by another interface.
    #[cfg(all(
        unix,
        not(any(target_os = "linux", target_os = "android", target_os = "solaris", target_os = "illumos"))
    ))]
    socket.set_reuse_port(true)?;
    let any: IpAddr =
        if group.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let bound = if cfg!(windows) { SocketAddr::new(any, group.port()) } else { group };
    socket.bind(&bound.into())?;
    match group.ip() {
        IpAddr::V4(group) => {
            // Otherwise Linux brings what came for the memberships of all sockets of the machine.
            #[cfg(target_os = "linux")]
            socket.set_multicast_all_v4(false)?;
            socket.join_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(place.index))?;
        }
        IpAddr::V6(group) => {
            #[cfg(target_os = "linux")]
            socket.set_multicast_all_v6(false)?;
            socket.join_multicast_v6(&group, place.index)?;
        }
    }
    UdpSocket::from_std(socket.into())
}

/// Reads for ever, in turns. Errors of a socket that only hears pass: the interface may be back in a moment.
async fn listen(socket: UdpSocket, place: u64, ear: mpsc::Sender<Heard>) {
    // One more than an announce may have, so that what is cut off shows.
    let mut buffer = [0; MAX_LEN + 1];
    let (mut turn, mut count) = (Instant::now(), 0);
    loop {
        if turn.elapsed() >= TURN {
            (turn, count) = (Instant::now(), 0);
        } else if count >= TURN_COUNT {
            tokio::time::sleep_until(turn + TURN).await;
        }
        count += 1;
        if let Ok((len, from)) = socket.recv_from(&mut buffer).await
            && ear.send(Heard { place, from, data: buffer[..len].to_vec() }).await.is_err()
        {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use samara_proto::lsd::near::Network;

    use super::*;

    fn at(ip: &str) -> Place {
        Place {
            index: 1,
            from: format!("{ip}:0").parse().unwrap(),
            certain: true,
            port: 7,
            up: true,
            network: Network::new([]),
        }
    }

    /// Loopback is the first interface of every Linux.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn clients_of_one_machine_hear_each_other_and_by_which_address() {
        let (ear, mut heard) = mpsc::channel(16);
        let one = Station::open(at("127.9.0.1"), 1, ear.clone()).unwrap();
        let two = Station::open(at("127.9.0.2"), 2, ear).unwrap();
        for (speaker, cookie) in [(&one, Cookie(1)), (&two, Cookie(2))] {
            speaker.announce(&[WireHash([3; 20])], cookie);
            let mut by = Vec::new();
            while by.len() < 2 {
                let Heard { place, from, data } = heard.recv().await.unwrap();
                // Other tests and clients may be about.
                if from.ip() == speaker.place.from.ip() {
                    let message = message::Message::parse(&data).unwrap();
                    assert_eq!((message.port, message.cookie), (7, Some(cookie)));
                    by.push(place);
                }
            }
            by.sort_unstable();
            assert_eq!(by, [1, 2]);
        }
    }
}
