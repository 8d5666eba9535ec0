//! Shapes of deployed clients, and what becomes of malformed parameters.

use super::super::types::{AnnounceRequest, Event};
use super::super::url::TrackerUrl;
use super::*;
use crate::ids::{PeerId, WireHash};

fn announce() -> AnnounceRequest {
    AnnounceRequest {
        info_hash: WireHash(
            *b"\x12\x34\x56\x78\x9a\xbc\xde\xf1\x23\x45\x67\x89\xab\xcd\xef\x12\x34\x56\x78\x9a",
        ),
        peer_id: PeerId(*b"-SA0100-+ %&=~._-abc"),
        port: 6881,
        uploaded: 1,
        downloaded: 2,
        left: u64::MAX - 1,
        event: Event::Completed,
        numwant: Some(80),
        key: 0xbeef,
        ip: None,
    }
}

fn url(text: &str) -> TrackerUrl {
    TrackerUrl::parse(text).unwrap()
}

fn query(url: &str) -> &[u8] {
    url.split_once('?').unwrap().1.as_bytes()
}

#[test]
fn an_announce_reads_back() {
    let built = announce_url(&url("http://h/announce"), &announce(), Some(b"a&b"));
    assert_eq!(
        built,
        "http://h/announce?info_hash=%124Vx%9A%BC%DE%F1%23Eg%89%AB%CD%EF%124Vx%9A\
         &peer_id=-SA0100-%2B%20%25%26%3D~._-abc&port=6881&uploaded=1&downloaded=2\
         &left=18446744073709551614&key=0000BEEF&event=completed&numwant=80&compact=1&no_peer_id=1&trackerid=a%26b"
    );
    let read = parse_announce(query(&built)).unwrap();
    assert_eq!(read.request, announce());
    assert!(read.compact && read.no_peer_id && read.left_known);
    assert_eq!(read.tracker_id, Some(&b"a%26b"[..]));
}

#[test]
fn a_url_may_have_a_query_already() {
    let built = |text| announce_url(&url(text), &announce(), None);
    assert!(built("http://h/a?passkey=x#y").starts_with("http://h/a?passkey=x&info_hash="));
    assert!(built("http://h/a?").starts_with("http://h/a?info_hash="));
    assert!(built("http://h/a?x&").starts_with("http://h/a?x&info_hash="));
    assert!(built("http://h").starts_with("http://h?info_hash="));
}

#[test]
fn scrape_urls() {
    let scrape = |text| scrape_url(&url(text), &[WireHash([b'a'; 20])]);
    let made = |front: &str| Some(format!("{front}info_hash={}", "a".repeat(20)));
    assert_eq!(scrape("http://h/announce"), made("http://h/scrape?"));
    assert_eq!(scrape("http://h/x/announce.php?k=/announce"), made("http://h/x/scrape.php?k=/announce&"));
    assert_eq!(scrape("http://h/announce/KEY"), made("http://h/scrape/KEY?"));
    assert_eq!(scrape("http://announce/a"), None);
    assert_eq!(scrape("http://h/xannounce"), None);
    assert_eq!(scrape("http://h/?/announce"), None);
    assert_eq!(scrape_url(&url("http://h/announce"), &[]), None);
    let two = [WireHash([b'a'; 20]), WireHash([b'b'; 20])];
    let built = scrape_url(&url("http://h/announce"), &two).unwrap();
    assert_eq!(scrape_hashes(query(&built)).collect::<Vec<_>>(), two);
}

#[test]
fn any_order_and_spelling() {
    let id = "a".repeat(20);
    let text = format!(
        "&&x&left=&port=1&peer_id={id}&compact=0&info_hash=+%2b%2Baaaaaaaaaaaaaaaa%&event=empty&port=2"
    );
    let read = parse_announce(text.as_bytes()).unwrap();
    assert_eq!(&read.request.info_hash.0[..3], b" ++");
    assert_eq!(read.request.info_hash.0[19], b'%');
    assert_eq!((read.request.port, read.request.event, read.request.numwant), (2, Event::None, None));
    assert!(!read.compact && !read.no_peer_id && !read.left_known);
    assert_eq!(read.request.left, u64::MAX);
}

#[test]
fn numbers_and_keys() {
    let fixed = format!("info_hash={0}&peer_id={0}&port=1", "a".repeat(20));
    let read = |more: &str| parse_announce(format!("{fixed}&{more}").as_bytes()).unwrap().request;
    assert_eq!(read("numwant=-1").numwant, None);
    assert_eq!(read("numwant=99999999999999999999999").numwant, Some(u32::MAX));
    assert_eq!(read("left=1e3").left, u64::MAX);
    assert_eq!(read("key=0000BEEF").key, 0xbeef);
    assert_eq!(read("key=beef").key, 0xbeef);
    assert_ne!(read("key=hello").key, read("key=hellp").key);
    assert_eq!(read("ip=2001%3Adb8%3A%3A1").ip, Some("2001:db8::1".parse().unwrap()));
    assert_eq!(read("ip=localhost").ip, None);
    assert_eq!(read(&format!("ip={}", "1".repeat(46))).ip, None);
}

#[test]
fn refusals() {
    let (hash, id) = (format!("info_hash={}", "a".repeat(20)), format!("peer_id={}", "b".repeat(20)));
    let refused = |text: &str| parse_announce(text.as_bytes()).unwrap_err();
    assert_eq!(refused(""), BadQuery::InfoHash);
    assert_eq!(refused(&format!("{hash}a&{id}&port=1")), BadQuery::InfoHash);
    assert_eq!(refused(&format!("info_hash={}&{id}&port=1", "a".repeat(19))), BadQuery::InfoHash);
    assert_eq!(refused(&format!("{hash}&port=1")), BadQuery::PeerId);
    assert_eq!(refused(&format!("{hash}&{id}")), BadQuery::Port);
    assert_eq!(refused(&format!("{hash}&{id}&port=65536")), BadQuery::Port);
}
