//! Many datagrams for one call into the system, where it has such calls.

#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd", target_os = "netbsd"))]
mod many;
#[cfg(any(
    test,
    not(any(target_os = "linux", target_os = "android", target_os = "freebsd", target_os = "netbsd"))
))]
mod one;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd", target_os = "netbsd"))]
use many::Headers;
use mio::net::UdpSocket;
#[cfg(not(any(
    target_os = "linux",
    target_os = "android",
    target_os = "freebsd",
    target_os = "netbsd"
)))]
use one::Headers;
use samara_proto::tracker::udp_server::MAX_ANSWER;

use crate::dht::Letter;

/// Datagrams of one call.
pub(super) const BATCH: usize = 64;

/// Longest request that is read whole: a scrape of 74 torrents has 1,496 bytes.
const MAX_REQUEST: usize = 2048;

type Requests = [[u8; MAX_REQUEST]; BATCH];

/// From whom each request came, and how long it is.
type Came = [(SocketAddr, usize); BATCH];

/// A socket's datagrams that came, and their answers.
pub(super) struct Batch {
    headers: Headers,
    room: Box<Room>,
    /// How many came.
    len: usize,
}

/// Where datagrams lie.
struct Room {
    requests: Requests,
    came: Came,
    answers: [[u8; MAX_ANSWER]; BATCH],
    /// Lengths of the answers; 0 where there is none.
    lens: [usize; BATCH],
}

impl Batch {
    /// For a socket that is bound to `local`.
    pub(super) fn new(local: SocketAddr) -> Self {
        let nobody = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0);
        let room = Room {
            requests: [[0; MAX_REQUEST]; BATCH],
            came: [(nobody, 0); BATCH],
            answers: [[0; MAX_ANSWER]; BATCH],
            lens: [0; BATCH],
        };
        Self { headers: Headers::new(local), room: Box::new(room), len: 0 }
    }

    /// Takes what has come, without waiting. Fewer than [`BATCH`] mean that nothing is left.
    ///
    /// # Errors
    /// If nothing has come, or what the system says.
    pub(super) fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        self.len = 0;
        self.len = self.headers.receive(socket, &mut self.room.requests, &mut self.room.came)?;
        Ok(self.len)
    }

    /// Has each request answered: `answer` writes into the buffer and says how many bytes, 0 for none.
    pub(super) fn each(&mut self, mut answer: impl FnMut(SocketAddr, &[u8], &mut [u8]) -> usize) {
        let Room { requests, came, answers, lens } = &mut *self.room;
        for (i, (from, len)) in came[..self.len].iter().enumerate() {
            lens[i] = answer(*from, &requests[i][..(*len).min(MAX_REQUEST)], &mut answers[i]).min(MAX_ANSWER);
        }
    }

    /// What came, and from whom.
    pub(super) fn requests(&self) -> impl Iterator<Item = (SocketAddr, &[u8])> {
        let Room { requests, came, .. } = &*self.room;
        came[..self.len]
            .iter()
            .zip(requests)
            .map(|((from, len), bytes)| (*from, &bytes[..(*len).min(MAX_REQUEST)]))
    }

    /// Sends other answers; returns how many the system did not take.
    pub(super) fn send_others(&mut self, socket: &UdpSocket, letters: &[Letter]) -> usize {
        let some = letters.chunks(BATCH);
        some.map(|some| self.headers.send(socket, some.iter().map(|letter| (letter.to, &*letter.bytes))))
            .sum()
    }

    /// Bytes that came, and bytes of answers.
    pub(super) fn bytes(&self) -> (usize, usize) {
        let Room { came, lens, .. } = &*self.room;
        (came[..self.len].iter().map(|(_, len)| len).sum(), lens[..self.len].iter().sum())
    }

    /// Sends the answers; returns how many the system did not take.
    pub(super) fn send(&mut self, socket: &UdpSocket) -> usize {
        let Room { came, answers, lens, .. } = &*self.room;
        let all = (0..self.len).filter(|i| lens[*i] > 0).map(|i| (came[i].0, &answers[i][..lens[i]]));
        self.headers.send(socket, all)
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket as StdSocket;

    use super::*;

    fn socket() -> UdpSocket {
        UdpSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap()
    }

    /// Both ways into the system do the same.
    fn echo(mut headers: impl FnMut(&UdpSocket, &mut Requests, &mut Came) -> io::Result<usize>) {
        let (client, socket) = (StdSocket::bind("127.0.0.1:0").unwrap(), socket());
        let (mut requests, mut came) =
            (Box::new([[0; MAX_REQUEST]; BATCH]), [(socket.local_addr().unwrap(), 0); BATCH]);
        let nothing = headers(&socket, &mut requests, &mut came).unwrap_err();
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
        for n in 1..=BATCH + 3 {
            client.send_to(&[n as u8].repeat(n * 30), socket.local_addr().unwrap()).unwrap();
        }
        assert_eq!(headers(&socket, &mut requests, &mut came).unwrap(), BATCH);
        for (i, (from, len)) in came.iter().enumerate() {
            assert_eq!(*from, client.local_addr().unwrap());
            assert_eq!(requests[i][..*len], [i as u8 + 1].repeat(((i + 1) * 30).min(MAX_REQUEST)));
        }
        assert_eq!(headers(&socket, &mut requests, &mut came).unwrap(), 3);
    }

    #[test]
    fn what_is_sent_is_received() {
        let local = "127.0.0.1:0".parse().unwrap();
        let (one, mut many) = (one::Headers::new(local), Headers::new(local));
        echo(|socket, requests, came| one.receive(socket, requests, came));
        echo(|socket, requests, came| many.receive(socket, requests, came));
    }

    #[test]
    fn what_cannot_be_sent_is_counted_and_stops_nothing() {
        let client = StdSocket::bind("127.0.0.1:0").unwrap();
        let to = client.local_addr().unwrap();
        // Port 0 is nowhere, and the other family not of this socket.
        let answers = [to, "127.0.0.1:0".parse().unwrap(), to, "[::1]:1".parse().unwrap(), to];
        let answers = answers.map(|to| (to, &b"answer"[..]));
        let hear = |lost| {
            assert_eq!(lost, 2);
            for _ in 0..3 {
                let mut buffer = [0; 10];
                assert_eq!(client.recv(&mut buffer).unwrap(), 6);
            }
        };
        hear(one::Headers::new(to).send(&socket(), answers.into_iter()));
        hear(Headers::new(to).send(&socket(), answers.into_iter()));
    }
}
