//! Answers that come later, as from a store on another machine.

use samara_proto::ids::PeerId;
use samara_proto::tracker::Family;
use samara_proto::tracker::http::parse_announce;

use super::*;
use crate::access::Access;
use crate::clock::Clock;
use crate::config::{Config, Options};
use crate::store::{Outcome, Store};

fn site() -> Arc<Site> {
    let config = Config::new(Options::default()).unwrap();
    let (access, _) = Access::open(&config, 1).unwrap();
    let clock = Clock::start();
    let store = Store::new(&config, clock).unwrap();
    Arc::new(Site::new(config, clock, store, access))
}

fn question(form: Form) -> Question {
    let request = AnnounceRequest {
        info_hash: WireHash([1; 20]),
        peer_id: PeerId([2; 20]),
        port: 7,
        uploaded: 0,
        downloaded: 0,
        left: 1,
        event: Event::None,
        numwant: None,
        key: 0,
        ip: None,
    };
    let ip = "192.0.2.7".parse().unwrap();
    Question { client: ip, request, ip, form }
}

#[test]
fn what_comes_late_is_written_like_what_comes_at_once() {
    let counts = |complete, peers| Counts { complete, incomplete: 3, downloaded: 4, peers };
    let v6 = [[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1].as_slice()].concat();
    let outcome = Outcome { own: (counts(2, 6), &[192, 0, 2, 1, 0, 9]), other: (counts(1, 18), &v6) };
    let found = Found::late(Family::V4, 100, &outcome);
    let answer = late(&site(), &question(Form::Compact), Ok(&found));
    let answer = parse_announce(&answer.body).unwrap().unwrap();
    assert_eq!(answer.peers, ["192.0.2.1:9".parse().unwrap(), "[2001:db8::1]:1".parse().unwrap()]);
    assert_eq!((answer.complete, answer.incomplete, answer.interval), (Some(3), Some(6), 100));
    let turned = Outcome { own: outcome.other, other: outcome.own };
    let again = Found::late(Family::V6, 100, &turned);
    assert_eq!((again.v4(), again.v6()), (found.v4(), found.v6()));
}

#[test]
fn a_store_that_is_away_is_said_in_each_language() {
    let site = site();
    let bencoded = late(&site, &question(Form::Listed), Err(Unavailable));
    let failure = parse_announce(&bencoded.body).unwrap().unwrap_err();
    assert_eq!((bencoded.status, failure.retry), (Status::Ok, Some(Retry::Minutes(1))));
    assert_eq!(bencoded.counts, Count::Unavailable);
    let json = late(&site, &question(Form::Json), Err(Unavailable));
    assert_eq!(json.status, Status::Unavailable);
    assert!(String::from_utf8(json.body).unwrap().contains("\"retry_in\":1"));
}
