//! Answers that come later, from another thread: to whom, and over which socket.

use std::net::SocketAddr;
use std::sync::Arc;

use mio::net::UdpSocket;
use samara_proto::swarms::Counts;
use samara_proto::tracker::Family;
use samara_proto::tracker::udp_server::{MAX_ANSWER, PEERS_AT, answer_announce, answer_scrape, refuse};

use crate::store::{Told, Unavailable, WhenCounted, WhenTold};

/// Who waits for an answer.
#[derive(Clone, Debug)]
pub(super) struct Late {
    pub(super) socket: Arc<UdpSocket>,
    pub(super) to: SocketAddr,
    pub(super) transaction: u32,
}

impl Late {
    /// Sends the answer to an announce.
    pub(super) fn announced(self) -> WhenTold {
        Box::new(move |result: Result<(Told, Vec<u8>), Unavailable>| {
            let mut out = [0; MAX_ANSWER];
            let len = match result {
                Ok((told, peers)) => {
                    let family = Family::of(self.to.ip());
                    let room = MAX_ANSWER - PEERS_AT;
                    let fits = peers.len().min(room - room % family.peer_len());
                    out[PEERS_AT..PEERS_AT + fits].copy_from_slice(&peers[..fits]);
                    let counts = Counts { peers: fits, ..told.counts };
                    answer_announce(&mut out, family, self.transaction, told.interval, &counts)
                }
                Err(error) => refuse(&mut out, self.transaction, &error.to_string()),
            };
            self.send(&out[..len]);
        })
    }

    /// Sends the answer to a scrape.
    pub(super) fn scraped(self) -> WhenCounted {
        Box::new(move |result: Result<Vec<Counts>, Unavailable>| {
            let mut out = [0; MAX_ANSWER];
            let len = match result {
                Ok(counts) => answer_scrape(&mut out, self.transaction, counts.into_iter()),
                Err(error) => refuse(&mut out, self.transaction, &error.to_string()),
            };
            self.send(&out[..len]);
        })
    }

    fn send(&self, answer: &[u8]) {
        // Who hears nothing asks again.
        let _ = self.socket.send_to(answer, self.to);
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket as StdSocket;

    use samara_proto::tracker::udp::{Body, parse_response};

    use super::*;

    #[test]
    fn answers_reach_who_waits() {
        let client = StdSocket::bind("127.0.0.1:0").unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let late = Late { socket: Arc::new(socket), to: client.local_addr().unwrap(), transaction: 7 };
        let hear = || {
            let mut buffer = [0; 2000];
            let len = client.recv(&mut buffer).unwrap();
            let answer = parse_response(&buffer[..len], Family::V4).unwrap();
            assert_eq!(answer.transaction, 7);
            format!("{:?}", answer.body)
        };
        let counts = Counts { complete: 3, incomplete: 4, downloaded: 5, peers: 3000 };
        late.clone().announced()(Ok((Told { interval: 99, counts }, [1, 2, 3, 4, 0, 9].repeat(500))));
        let heard = hear();
        assert!(heard.contains("interval: 99") && heard.matches("1.2.3.4:9").count() == 202, "{heard}");
        late.clone().announced()(Err(Unavailable));
        assert!(hear().contains("try again later"));
        late.clone().scraped()(Ok(vec![counts]));
        assert!(hear().starts_with("Scrape"));
        late.scraped()(Err(Unavailable));
        assert!(matches!(hear(), error if error.starts_with("Error")));
        let _: Option<Body<'_>> = None;
    }
}
