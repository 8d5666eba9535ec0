//! Layouts by the BEP's tables, and refusals.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::super::types::{AnnounceRequest, Event, Family, MAX_PEERS, ScrapeStats};
use super::*;
use crate::ids::{PeerId, WireHash};

pub(crate) fn announce() -> AnnounceRequest {
    AnnounceRequest {
        info_hash: WireHash([0x11; 20]),
        peer_id: PeerId(*b"-SA0100-abcdefghijkl"),
        port: 6881,
        uploaded: 3,
        downloaded: 1,
        left: 2,
        event: Event::Started,
        numwant: None,
        key: 0xdead_beef,
        ip: None,
    }
}

fn written(request: &Request<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    request.write(&mut out);
    assert_eq!(parse_request(&out), Ok(*request), "reads back");
    for len in 0..out.len().min(16) {
        assert_eq!(parse_request(&out[..len]), Err(Malformed));
    }
    out
}

#[test]
fn connect_is_as_long_as_its_answer() {
    let request = written(&Request::Connect { transaction: 7 });
    assert_eq!(request, [0, 0, 4, 0x17, 0x27, 0x10, 0x19, 0x80, 0, 0, 0, 0, 0, 0, 0, 7]);
    let answer = write_connect(7, 0x0102_0304_0506_0708);
    assert_eq!(answer, [0, 0, 0, 0, 0, 0, 0, 7, 1, 2, 3, 4, 5, 6, 7, 8]);
    let read = parse_response(&answer, Family::V4).unwrap();
    assert_eq!(read, Response { transaction: 7, body: Body::Connect { connection: 0x0102_0304_0506_0708 } });
}

#[test]
fn a_connect_without_the_magic_number_is_refused() {
    let mut out = written(&Request::Connect { transaction: 7 });
    out[7] ^= 1;
    assert_eq!(parse_request(&out), Err(Malformed));
}

#[test]
fn announce_lies_where_the_table_says() {
    let mut options = Vec::new();
    write_url_data("/dir?a=b&c=d", &mut options);
    let options = Options::new(&options);
    let request = AnnounceRequest { ip: Some(IpAddr::V4(Ipv4Addr::new(1, 2, 3, 4))), ..announce() };
    let out = written(&Request::Announce { connection: 5, transaction: 9, request, options });
    assert_eq!(out[..16], [0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 1, 0, 0, 0, 9]);
    assert_eq!(out[16..36], [0x11; 20]);
    assert_eq!(&out[36..56], b"-SA0100-abcdefghijkl");
    assert_eq!(out[56..80], [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3]);
    assert_eq!(out[80..98], [0, 0, 0, 2, 1, 2, 3, 4, 0xde, 0xad, 0xbe, 0xef, 255, 255, 255, 255, 0x1a, 0xe1]);
    assert_eq!(&out[98..], b"\x02\x0c/dir?a=b&c=d");
    assert_eq!(parse_request(&out[..97]), Err(Malformed));
}

#[test]
fn long_url_data_comes_in_pieces_and_is_taken_together() {
    let url = format!("/{}", "x".repeat(600));
    let mut options = Vec::new();
    write_url_data(&url, &mut options);
    assert_eq!(options.len(), 601 + 3 * 2);
    assert_eq!(Options::new(&options).url_data().collect::<Vec<_>>().concat(), url.as_bytes());
}

#[test]
fn options_end_and_are_passed_over_as_bep_41_says() {
    let url = |bytes: &[u8]| Options::new(bytes).url_data().collect::<Vec<_>>().concat();
    assert_eq!(url(b"\x02\x02/a\x01\x01\x00\x02\x02/b"), b"/a");
    assert_eq!(url(b"\x01\x07\x03abc\x02\x00\x02\x01/\x02\x01b"), b"/b");
    assert_eq!(url(b"\x02\x05/a"), b"", "one that is cut off");
    assert_eq!(url(b"\x09"), b"");
    assert_eq!(url(b""), b"");
}

#[test]
fn scrape_takes_no_more_than_fits_a_datagram() {
    let packed: Vec<u8> = (0..100).flat_map(|n| [n; 20]).collect();
    let hashes = Hashes::new(&packed).unwrap();
    assert_eq!(hashes.len(), MAX_SCRAPE);
    assert_eq!(hashes.iter().last(), Some(WireHash([73; 20])));
    let out = written(&Request::Scrape { connection: 1, transaction: 2, hashes });
    assert_eq!(out.len(), 16 + 20 * MAX_SCRAPE);
    assert_eq!(parse_request(&out[..35]), Err(Malformed), "no whole hash");
}

#[test]
fn announce_answer_for_either_family() {
    let head = Head { interval: 1800, complete: 3, incomplete: u32::MAX };
    let v4: SocketAddr = "10.1.2.3:80".parse().unwrap();
    let v6: SocketAddr = "[2001:db8::1]:81".parse().unwrap();
    for (family, peer, other) in [(Family::V4, v4, v6), (Family::V6, v6, v4)] {
        let mut out = [0; 20 + 2 * 18 - 1];
        let mut writer = AnnounceWriter::new(&mut out, family, 9, head).unwrap();
        assert!(writer.peer(peer) && !writer.peer(other));
        while writer.peer(peer) {}
        let len = writer.finish();
        assert_eq!((len - 20) % family.peer_len(), 0);
        let read = parse_response(&out[..len], family).unwrap();
        let Body::Announce(answer) = read.body else { panic!("{read:?}") };
        assert_eq!(
            (answer.interval, answer.complete, answer.incomplete),
            (1800, Some(3), Some(i32::MAX as u32))
        );
        assert!(!answer.peers.is_empty() && answer.peers.iter().all(|p| *p == peer));
    }
    assert!(AnnounceWriter::new(&mut [0; 19], Family::V4, 9, head).is_none());
}

#[test]
fn packed_peers_are_cut_to_whole_ones() {
    let head = Head { interval: 1, complete: 0, incomplete: 0 };
    let mut out = [0; 20 + 17];
    let mut writer = AnnounceWriter::new(&mut out, Family::V4, 9, head).unwrap();
    assert_eq!(writer.packed(&[1; 25]), 12);
    assert_eq!(writer.free().len(), 5);
    writer.advance(99);
    assert_eq!(writer.finish(), 37);
}

#[test]
fn an_answer_gives_no_more_peers_than_the_cap_and_none_with_port_0() {
    let mut datagram = vec![0; 20];
    datagram[3] = 1;
    datagram.extend([1, 2, 3, 4, 0, 0]);
    datagram.extend([1, 2, 3, 4, 0, 9].repeat(MAX_PEERS + 5));
    datagram.push(1);
    let Body::Announce(answer) = parse_response(&datagram, Family::V4).unwrap().body else { panic!() };
    assert_eq!(answer.peers.len(), MAX_PEERS);
    assert!(answer.peers.iter().all(|peer| peer.port() == 9));
}

#[test]
fn scrape_answer_and_error() {
    let stats = ScrapeStats { complete: 1, downloaded: 2, incomplete: 3 };
    let mut out = [0; 8 + 2 * 12 + 11];
    let mut writer = ScrapeWriter::new(&mut out, 4).unwrap();
    assert!(writer.stats(stats) && writer.stats(ScrapeStats::default()) && !writer.stats(stats));
    let len = writer.finish();
    let read = parse_response(&out[..len], Family::V6).unwrap();
    let Body::Scrape(read) = read.body else { panic!("{read:?}") };
    assert_eq!(read.iter().collect::<Vec<_>>(), [stats, ScrapeStats::default()]);

    let len = write_error(&mut out[..35], 4, "torrent not registered, sorry");
    assert_eq!(transaction(&out[..len]), Some(4));
    let read = parse_response(&out[..len], Family::V4).unwrap();
    assert_eq!(read.body, Body::Error("torrent not registered, sor".into()), "cut to the buffer");
    assert_eq!(write_error(&mut [0; 9], 4, "é"), 8, "not within a character");
    assert_eq!(write_error(&mut [0; 7], 4, ""), 0);
}

#[test]
fn answers_that_are_too_short_or_unknown_are_refused() {
    for datagram in [&[0; 15][..], &[0, 0, 0, 1, 0, 0, 0, 0, 0], &[0, 0, 0, 9, 0, 0, 0, 0], &[]] {
        assert_eq!(parse_response(datagram, Family::V4), Err(Malformed));
    }
}
