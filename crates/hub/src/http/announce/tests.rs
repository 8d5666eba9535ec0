//! Answers that come later, as from a store on another machine.

use std::sync::mpsc;

use samara_proto::ids::PeerId;
use samara_proto::tracker::http::parse_announce;

use super::super::found::own_later;
use super::*;
use crate::access::Access;
use crate::clock::Clock;
use crate::config::{Config, Options};
use crate::store::{Store, Told};

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

fn announce(peer: &str) -> Announce {
    let hash = WireHash([1; 20]);
    Announce { hash, peer: peer.parse().unwrap(), event: Event::None, role: Role::Leech, want: 5 }
}

#[test]
fn what_comes_late_is_completed_and_written_like_what_comes_at_once() {
    let site = site();
    let mut own = Found::new(5);
    let asked = own.ask(&site, Time::ZERO, &announce("[2001:db8::1]:1"), || unreachable!());
    assert_eq!(asked, Asked::Done(()));
    let (answers, answered) = mpsc::sync_channel(1);
    let (for_late, asking) = (Arc::clone(&site), question(Form::Compact));
    let then = Box::new(move |found: Result<&Found, Unavailable>| {
        answers.send(late(&for_late, &asking, found)).unwrap();
    });
    let later = own_later(&site, Time::ZERO, &announce("192.0.2.7:7"), then);
    let counts = Counts { complete: 2, incomplete: 3, downloaded: 4, peers: 6 };
    later(Ok((Told { interval: 100, counts }, vec![192, 0, 2, 1, 0, 9])));
    let answer = parse_announce(&answered.recv().unwrap().body).unwrap().unwrap();
    assert_eq!(answer.peers, ["192.0.2.1:9".parse().unwrap(), "[2001:db8::1]:1".parse().unwrap()]);
    assert_eq!((answer.complete, answer.incomplete, answer.interval), (Some(2), Some(4), 100));
}

#[test]
fn a_store_that_is_away_is_said_in_each_language() {
    let site = site();
    let bencoded = late(&site, &question(Form::Listed), Err(Unavailable));
    let failure = parse_announce(&bencoded.body).unwrap().unwrap_err();
    assert_eq!((bencoded.status, failure.retry), (Status::Ok, Some(Retry::Minutes(1))));
    let json = late(&site, &question(Form::Json), Err(Unavailable));
    assert_eq!(json.status, Status::Unavailable);
    assert!(String::from_utf8(json.body).unwrap().contains("\"retry_in\":1"));
    let (answers, answered) = mpsc::sync_channel(1);
    let then = Box::new(move |found: Result<&Found, Unavailable>| answers.send(found.is_err()).unwrap());
    own_later(&site, Time::ZERO, &announce("192.0.2.7:7"), then)(Err(Unavailable));
    assert!(answered.recv().unwrap());
}
