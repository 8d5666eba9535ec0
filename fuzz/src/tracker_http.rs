//! HTTP trackers: an announce that can be read is built and read back the same, and answers stay within their caps.

use samara_proto::ids::WireHash;
use samara_proto::tracker::http::{
    MAX_SCRAPE, MAX_TRACKER_ID, parse_announce, parse_scrape, write_failure, write_scrape,
};
use samara_proto::tracker::http_query::{self, announce_url, scrape_hashes, scrape_url};
use samara_proto::tracker::{MAX_PEERS, TrackerUrl};

/// Runs one input: as a query, as the body of an answer, and as a URL.
pub fn run(data: &[u8]) {
    query(data);
    announce_answer(data);
    scrape_answer(data);
    if let Some(url) = std::str::from_utf8(data).ok().and_then(|text| TrackerUrl::parse(text).ok()) {
        check_url(&url);
    }
}

fn query(data: &[u8]) {
    let tracker = TrackerUrl::parse("http://h/announce?a=b").expect("a good URL");
    if let Ok(read) = http_query::parse_announce(data) {
        let id: Option<Vec<u8>> = read.tracker_id.map(|id| http_query::decode(id).collect());
        let built = announce_url(&tracker, &read.request, id.as_deref());
        let again =
            http_query::parse_announce(after_question_mark(&built)).expect("what is built can be read");
        assert_eq!(again.request, read.request);
        assert_eq!(again.tracker_id.map(|id| http_query::decode(id).collect()), id);
    }
    let hashes: Vec<WireHash> = scrape_hashes(data).collect();
    if let Some(built) = scrape_url(&tracker, &hashes) {
        assert_eq!(scrape_hashes(after_question_mark(&built)).collect::<Vec<_>>(), hashes);
    }
}

fn announce_answer(data: &[u8]) {
    match parse_announce(data) {
        Ok(Ok(answer)) => {
            assert!(answer.peers.len() <= MAX_PEERS && answer.peers.iter().all(|peer| peer.port() != 0));
            assert!(answer.tracker_id.is_none_or(|id| id.len() <= MAX_TRACKER_ID));
            assert!(answer.warning.is_none_or(|text| !text.chars().any(char::is_control)));
        }
        Ok(Err(failure)) => {
            let mut out = Vec::new();
            write_failure(&mut out, &failure);
            let again = parse_announce(&out).expect("what is written can be read").expect_err("a refusal");
            assert_eq!(again.retry, failure.retry);
        }
        Err(error) => assert!(!error.to_string().chars().any(char::is_control)),
    }
}

fn scrape_answer(data: &[u8]) {
    let Ok(Ok(mut files)) = parse_scrape(data) else { return };
    assert!(files.len() <= MAX_SCRAPE);
    let mut out = Vec::new();
    write_scrape(&mut out, &mut files);
    assert_eq!(parse_scrape(&out), Ok(Ok(files)));
}

fn check_url(url: &TrackerUrl) {
    let again = TrackerUrl::parse(url.as_str()).expect("what was read can be read");
    assert_eq!(again, *url);
    assert!(!url.host().is_empty() && url.port() != 0);
    assert!(url.as_str().contains(url.host()) && url.as_str().contains(url.path_and_query()));
}

fn after_question_mark(url: &str) -> &[u8] {
    url.split_once('?').expect("a query").1.as_bytes()
}
