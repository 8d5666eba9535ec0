//! A tracker's answer to any datagram: silence or no more than was sent, unless the sender shows its connection id.

use std::net::SocketAddr;

use samara_proto::time::Time;
use samara_proto::tracker::udp_server::{Asks, ConnectionIds, MAX_ANSWER, Server};

use super::input::Input;

/// Runs one input: as it is, and with the right id in its place.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let port = input.short();
    let now = Time::from_micros(input.long());
    let from = if input.flag() {
        SocketAddr::new([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, input.byte()].into(), port)
    } else {
        SocketAddr::new([192, 0, 2, input.byte()].into(), port)
    };
    let server = Server { ids: ConnectionIds::new([3; 16]), default_want: 50, max_want: 200 };
    let mut out = [0; MAX_ANSWER];
    match server.receive(now, from, input.0, &mut out) {
        Asks::Nothing(_) => {}
        Asks::Connected(len) => assert!(len <= input.0.len() && from.port() != 0),
        // Nobody guesses an id.
        other => panic!("{other:?} for one who shows no id"),
    }
    let mut known = input.0.to_vec();
    let Some(id) = known.first_chunk_mut() else { return };
    *id = server.ids.give(now, from.ip()).to_be_bytes();
    match server.receive(now, from, &known, &mut out) {
        Asks::Nothing(_) => assert!(known.len() < 16 || port == 0),
        Asks::Connected(_) => panic!("an id is the magic number"),
        Asks::Refused(len) => assert!((8..=MAX_ANSWER).contains(&len)),
        Asks::Announce { announce, options, .. } => {
            assert!(known.len() >= 98 && announce.want <= 200);
            assert_eq!(announce.peer.ip(), from.ip(), "somebody speaks for another");
            assert!(options.url_data().map(<[u8]>::len).sum::<usize>() <= known.len() - 98);
        }
        Asks::Scrape { hashes, .. } => assert!(hashes.len() * 20 + 16 <= known.len()),
    }
}
