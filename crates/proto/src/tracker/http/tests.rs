//! Deployed trackers' shapes, and answers that read back.

use std::net::SocketAddr;

use super::super::types::{AnnounceResponse, DEFAULT_INTERVAL, Failure, MAX_PEERS, Retry, ScrapeStats};
use super::*;
use crate::ids::{PeerId, WireHash};

fn answer(body: &[u8]) -> AnnounceResponse {
    parse_announce(body).unwrap().unwrap()
}

fn failure(body: &[u8]) -> Failure {
    parse_announce(body).unwrap().unwrap_err()
}

fn addrs(list: &[&str]) -> Vec<SocketAddr> {
    list.iter().map(|addr| addr.parse().unwrap()).collect()
}

#[test]
fn compact_peers_of_both_families() {
    let body = b"d8:intervali1800e5:peers12:\x01\x02\x03\x04\x1a\xe1\x05\x06\x07\x08\x00\x00\
        6:peers618:\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x50e";
    assert_eq!(answer(body).peers, addrs(&["1.2.3.4:6881", "[2001:db8::1]:80"]), "and none with port 0");
}

#[test]
fn dictionaries_and_packed_peers_in_a_list() {
    let body = b"d5:peersl\
        d2:ip7:1.2.3.47:peer id20:aaaaaaaaaaaaaaaaaaaa4:porti6881ee\
        d2:ip11:2001:db8::14:port2:80e\
        d2:ip14:::ffff:1.2.3.44:porti1ee\
        d2:ip9:localhost4:porti1ee\
        d2:ip7:1.2.3.44:porti65536ee\
        6:\x05\x06\x07\x08\x00\x09\
        i7eee";
    assert_eq!(answer(body).peers, addrs(&["1.2.3.4:6881", "[2001:db8::1]:80", "1.2.3.4:1", "5.6.7.8:9"]));
}

#[test]
fn numbers_may_be_strings_or_missing_and_are_bounded() {
    let read =
        answer(b"\r\nd8:completei-1e10:incomplete2:128:interval3:90012:min intervali99999999999ee\n<!-- -->");
    assert_eq!((read.interval, read.min_interval), (900, Some(u32::MAX)));
    assert_eq!((read.complete, read.incomplete, read.downloaded), (None, Some(12), None));
    assert_eq!(answer(b"de").interval, DEFAULT_INTERVAL);
}

#[test]
fn our_address_packed_or_as_text() {
    let ip = |body: &[u8]| answer(body).external_ip.map(|ip| ip.to_string());
    assert_eq!(ip(b"d11:external ip4:\x01\x02\x03\x04e").as_deref(), Some("1.2.3.4"));
    assert_eq!(ip(b"d11:external ip7:1.2.3.4e").as_deref(), Some("1.2.3.4"));
    assert_eq!(
        ip(b"d11:external ip16:\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01e").as_deref(),
        Some("2001:db8::1")
    );
    assert_eq!(
        ip(b"d11:external ip16:\0\0\0\0\0\0\0\0\0\0\xff\xff\x01\x02\x03\x04e").as_deref(),
        Some("1.2.3.4")
    );
    assert_eq!(ip(b"d11:external ip3:abce"), None);
}

#[test]
fn refusals_with_and_without_a_time() {
    let read = |retry| Failure { reason: "Overloaded".into(), retry };
    assert_eq!(failure(b"d14:failure reason10:Overloadede"), read(None));
    assert_eq!(failure(b"d14:failure reason10:Overloaded8:retry in1:5e"), read(Some(Retry::Minutes(5))));
    assert_eq!(failure(b"d14:failure reason10:Overloaded8:retry ini5ee"), read(Some(Retry::Minutes(5))));
    assert_eq!(failure(b"d14:failure reason10:Overloaded8:retry in5:nevere"), read(Some(Retry::Never)));
    assert_eq!(failure(b"d14:failure reason3:\x1b[me").reason, " [m");
}

#[test]
fn an_error_page_is_named() {
    let error = parse_announce(b"<html>\x1b404").unwrap_err().to_string();
    assert!(error.contains("begins with `<html> 404`"), "{error}");
    assert_eq!(parse_announce(b"le"), Err(Malformed::NoDictionary));
    assert!(parse_announce(&vec![b' '; MAX_BODY + 1]).is_err());
    assert!(parse_announce(b"").is_err());
}

#[test]
fn lists_are_capped() {
    let mut body = format!("d5:peers{}:", 6 * (MAX_PEERS + 1)).into_bytes();
    body.extend([9; 6].repeat(MAX_PEERS + 1));
    body.push(b'e');
    assert_eq!(answer(&body).peers.len(), MAX_PEERS);
    let body = format!("d10:tracker id{}:{}e", MAX_TRACKER_ID + 1, "a".repeat(MAX_TRACKER_ID + 1));
    assert_eq!(answer(body.as_bytes()).tracker_id, None);
    let mut files: Vec<_> = (0..MAX_SCRAPE as u32 + 1).map(|n| (hash(n), ScrapeStats::default())).collect();
    let mut out = Vec::new();
    write_scrape(&mut out, &mut files);
    assert_eq!(parse_scrape(&out).unwrap().unwrap().len(), MAX_SCRAPE);
}

fn hash(n: u32) -> WireHash {
    let mut bytes = [0; 20];
    bytes[..4].copy_from_slice(&n.to_be_bytes());
    WireHash(bytes)
}

#[test]
fn what_is_written_is_canonical_and_reads_back() {
    let head = Head {
        interval: 1800,
        min_interval: Some(900),
        complete: 1,
        incomplete: 2,
        downloaded: Some(3),
        external_ip: Some("::ffff:1.2.3.4".parse().unwrap()),
        tracker_id: Some(b"id"),
        warning: Some("slow down"),
    };
    let mut out = b"HTTP\r\n\r\n".to_vec();
    write_announce(&mut out, &head, Peers::Compact { v4: &[1, 2, 3, 4, 0, 9], v6: &[7; 18] });
    let body = &out[8..];
    assert!(
        body.starts_with(b"d8:completei1e10:downloadedi3e11:external ip4:\x01\x02\x03\x0410:incompletei2e")
    );
    let read = answer(body);
    assert_eq!((read.interval, read.min_interval, read.downloaded), (1800, Some(900), Some(3)));
    assert_eq!((read.complete, read.incomplete), (Some(1), Some(2)));
    assert_eq!(read.external_ip, Some("1.2.3.4".parse().unwrap()));
    assert_eq!(read.tracker_id.as_deref(), Some(&b"id"[..]));
    assert_eq!(read.warning.as_deref(), Some("slow down"));
    assert_eq!(read.peers.len(), 2);
}

#[test]
fn the_least_answer_has_peers_and_no_more() {
    let mut out = Vec::new();
    write_announce(&mut out, &Head { interval: 60, ..Head::default() }, Peers::Compact { v4: &[], v6: &[] });
    assert_eq!(out, b"d8:completei0e10:incompletei0e8:intervali60e5:peers0:e");
}

#[test]
fn dictionaries_of_peers_read_back() {
    let peers = [("1.2.3.4:5", Some(PeerId([b'x'; 20]))), ("[2001:db8::1]:6", None)];
    let peers = peers.map(|(addr, id)| (addr.parse().unwrap(), id));
    let mut out = Vec::new();
    write_announce(&mut out, &Head::default(), Peers::Listed(&peers));
    assert_eq!(answer(&out).peers, peers.map(|(addr, _)| addr));
}

#[test]
fn a_hash_that_was_taken_for_text_is_read() {
    let hash = WireHash(std::array::from_fn(|n| n as u8 * 13));
    let text: String = hash.0.iter().map(|byte| char::from(*byte)).collect();
    let body = [format!("d5:filesd{}:{text}", text.len()).as_bytes(), b"d8:completei3eeee"].concat();
    let stats = ScrapeStats { complete: 3, ..ScrapeStats::default() };
    assert_eq!(parse_scrape(&body), Ok(Ok(vec![(hash, stats)])));
}

#[test]
fn a_scrape_reads_back_sorted() {
    let stats = |n| ScrapeStats { complete: n, downloaded: n + 1, incomplete: n + 2 };
    let mut files = vec![(hash(2), stats(1)), (hash(1), stats(5)), (hash(2), stats(9))];
    let mut out = Vec::new();
    write_scrape(&mut out, &mut files);
    assert_eq!(parse_scrape(&out).unwrap().unwrap(), [(hash(1), stats(5)), (hash(2), stats(1))]);
    assert_eq!(parse_scrape(b"de"), Err(Malformed::NoFiles));
    assert_eq!(parse_scrape(b"d5:filesd3:abcdeee"), Ok(Ok(vec![])));
    for retry in [None, Some(Retry::Never), Some(Retry::Minutes(5))] {
        let failure = Failure { reason: "no".into(), retry };
        let mut out = Vec::new();
        write_failure(&mut out, &failure);
        assert_eq!(parse_scrape(&out), Ok(Err(failure.clone())));
        assert_eq!(parse_announce(&out), Ok(Err(failure)));
    }
}
