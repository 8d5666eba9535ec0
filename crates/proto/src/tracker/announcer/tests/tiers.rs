//! Which tracker is asked (BEP 12, BEP 27).

use super::*;

fn strict() -> Config {
    Config { all_tiers: false, ..config() }
}

/// The hosts that are asked now, each of which fails.
fn fail_all(rig: &mut Rig) -> Vec<String> {
    let mut hosts = Vec::new();
    while let Some(open) = rig.try_ask() {
        hosts.push(open.host().to_owned());
        rig.fail(&open);
    }
    hosts
}

#[test]
fn one_after_the_other_within_a_tier_and_what_answers_moves_to_the_front() {
    let mut rig = Rig::new(config(), torrent(&[&["http://a/", "http://b/", "http://c/"]]));
    let (first, second) = (rig.ask(), rig.try_ask());
    assert!(second.is_none());
    let down = first.host().to_owned();
    rig.fail(&first);
    let works = rig.ask();
    assert_ne!(works.host(), down);
    rig.answer(&works, every(1800));
    assert_eq!(rig.it.status()[0].url.host(), works.host());
    assert_eq!(rig.it.status()[1].url.host(), down);
    let (next, waited) = rig.wait(3600);
    assert_eq!((next.unwrap().host(), waited), (works.host(), 1800));
}

#[test]
fn the_order_within_a_tier_is_chance() {
    let first = |seed| {
        let now = Time::ZERO;
        let it = Announcer::new(
            Arc::new(config()),
            seed,
            now,
            torrent(&[&["http://a/", "http://b/", "http://c/"]]),
        );
        it.status()[0].url.host().to_owned()
    };
    let firsts: std::collections::BTreeSet<String> = (0..30).map(first).collect();
    assert_eq!(firsts.len(), 3);
}

#[test]
fn each_tier_or_only_the_first_that_works() {
    let tiers: &[&[&str]] = &[&["http://a/"], &["http://b/"]];
    let mut all = Rig::new(config(), torrent(tiers));
    assert_eq!([all.ask(), all.ask()].each_ref().map(Open::host), ["a", "b"]);
    let mut one = Rig::new(strict(), torrent(tiers));
    let first = one.ask();
    assert!(one.try_ask().is_none());
    one.fail(&first);
    let second = one.ask();
    assert_eq!(second.host(), "b");
    one.answer(&second, every(1800));
    // Each announce goes through the tiers from the front.
    let (next, waited) = one.wait(3600);
    assert_eq!((next.as_ref().unwrap().host(), waited), ("a", 1800));
    one.answer(&next.unwrap(), every(600));
    let (next, waited) = one.wait(3600);
    assert_eq!((next.unwrap().host(), waited), ("a", 600));
}

#[test]
fn the_next_is_tried_while_a_slow_one_may_still_answer() {
    let mut rig = Rig::new(config(), torrent(&[&["http://a/", "http://b/"]]));
    let slow = rig.ask();
    let (other, waited) = rig.wait(100);
    let other = other.unwrap();
    assert_eq!(waited, 20);
    assert_ne!(other.host(), slow.host());
    rig.answer(&slow, every(1800));
    rig.fail(&other);
    let (next, waited) = rig.wait(3600);
    assert_eq!((next.unwrap().host(), waited), (slow.host(), 1800));
}

#[test]
fn nothing_answers_and_the_wait_grows_to_an_hour() {
    let mut rig = Rig::new(strict(), torrent(&[&["http://a/", "http://b/"], &["http://c/"]]));
    let mut asked = 0;
    let start = rig.now;
    while rig.now.since(start) < Duration::from_secs(24 * 3600) {
        asked += fail_all(&mut rig).len();
        rig.pass(3600);
    }
    // Some seven doublings each, and then one an hour.
    assert!((60..=110).contains(&asked), "{asked}");
}

#[test]
fn duplicates_and_what_cannot_be_asked_are_left_out() {
    let mut new = torrent(&[
        &["http://A.example/announce", "udp://b:80"],
        &["http://a.example:80/announce#x", "wss://w/"],
        &["HTTP://a.example/announce?pass=1"],
    ]);
    new.user = vec![url("udp://B:80/"), url("http://u")];
    let rig = Rig::new(config(), new);
    let hosts: Vec<(String, u16)> =
        rig.it.status().iter().map(|it| (it.url.as_str().to_owned(), it.tier)).collect();
    assert_eq!(
        hosts,
        [
            ("udp://B:80/", 0),
            ("http://u", 1),
            ("http://A.example/announce", 2),
            ("HTTP://a.example/announce?pass=1", 3)
        ]
        .map(|(url, tier)| (url.to_owned(), tier))
    );
}

#[test]
fn no_more_than_can_be_borne() {
    let many: Vec<Vec<Arc<TrackerUrl>>> = (0..1000).map(|n| vec![url(&format!("http://h{n}/"))]).collect();
    let mut rig = Rig::new(config(), NewTorrent { tiers: many, ..torrent(&[]) });
    assert_eq!(rig.it.status().len(), MAX_TRACKERS);
    rig.tell(Input::Trackers { urls: vec![url("http://more/")], source: Source::User });
    assert_eq!(rig.it.status().len(), MAX_TRACKERS);
}

#[test]
fn trackers_come_while_it_runs() {
    for config in [config(), strict()] {
        let mut rig = Rig::new(config, torrent(&[&["http://a/"]]));
        let first = rig.ask();
        rig.answer(&first, every(1800));
        rig.tell(Input::Trackers { urls: vec![url("http://u/"), url("http://v/")], source: Source::User });
        rig.tell(Input::Trackers { urls: vec![url("http://z/"), url("http://a/")], source: Source::Torrent });
        let order: Vec<(String, u16)> =
            rig.it.status().iter().map(|it| (it.url.host().to_owned(), it.tier)).collect();
        let expected = [("u", 0), ("v", 1), ("a", 2), ("z", 3)].map(|(host, tier)| (host.to_owned(), tier));
        assert_eq!(order, expected);
        let asked = fail_all(&mut rig);
        // In turn, the one in use is not due; what lies behind it is not needed.
        let expected: &[&str] = if rig.it.config.all_tiers { &["u", "v", "z"] } else { &["u", "v"] };
        assert_eq!(asked, expected);
    }
}

#[test]
fn a_private_torrent_has_its_own_trackers_one_at_a_time() {
    let new = NewTorrent {
        private: true,
        user: vec![url("http://u/")],
        ..torrent(&[&["http://a/"], &["http://b/"]])
    };
    let mut rig = Rig::new(config(), new);
    let first = rig.ask();
    assert_eq!((first.host(), rig.try_ask().is_none()), ("a", true));
    // Even a slow one keeps its turn.
    assert_eq!(rig.it.deadline(), None);
    rig.tell(Input::Trackers { urls: vec![url("http://x/")], source: Source::User });
    assert!(rig.try_ask().is_none());
    rig.fail(&first);
    assert_eq!(rig.ask().host(), "b");
}

#[test]
fn a_private_torrent_without_trackers_takes_the_users() {
    let new = NewTorrent { private: true, user: vec![url("http://u/")], ..torrent(&[]) };
    assert_eq!(Rig::new(config(), new).ask().host(), "u");
}

#[test]
fn a_magnet_that_turns_out_private_keeps_to_one() {
    let new = NewTorrent { user: vec![url("http://u/")], ..torrent(&[&["http://a/"], &["http://b/"]]) };
    let mut rig = Rig::new(config(), new);
    let (user, a, b) = (rig.ask(), rig.ask(), rig.ask());
    rig.answer(&b, every(1800));
    rig.tell(Input::Identified { hashes: InfoHashes::V1(InfoHashV1([7; 20])), private: true });
    assert_eq!(rig.it.status().len(), 2);
    let peers = vec!["1.2.3.4:5".parse().unwrap()];
    rig.answer(&user, AnnounceResponse { peers, ..every(1800) });
    assert!(!rig.out.iter().any(|out| matches!(out, Output::Peers(_))));
    let leave = rig.ask();
    assert_eq!((leave.host(), leave.ask.request.event), ("u", Event::Stopped));
    rig.answer(&a, every(900));
    rig.fail(&leave);
    let (next, waited) = rig.wait(3600);
    assert_eq!((next.unwrap().host(), waited), ("a", 900));
}

#[test]
fn who_is_left_for_a_private_torrent_is_told_so_once() {
    let new = NewTorrent { user: vec![url("http://u/"), url("http://v/")], ..torrent(&[&["http://a/"]]) };
    let mut rig = Rig::new(config(), new);
    let (u, v, a) = (rig.ask(), rig.ask(), rig.ask());
    rig.answer(&u, every(1800));
    rig.fail(&v);
    rig.answer(&a, every(1800));
    rig.tell(Input::Identified { hashes: InfoHashes::V1(InfoHashV1([7; 20])), private: true });
    rig.tell(Input::Stop);
    let mut told = [rig.ask(), rig.ask()];
    told.sort_by(|one, other| one.host().cmp(other.host()));
    assert_eq!(
        told.each_ref().map(|open| (open.host(), open.ask.request.event)),
        [("a", Event::Stopped), ("u", Event::Stopped)]
    );
    told.iter().for_each(|open| rig.answer(open, every(1800)));
    assert!(rig.try_ask().is_none() && rig.out.contains(&Output::Stopped));
}

#[test]
fn an_event_does_not_take_a_private_torrent_to_two_trackers() {
    let new = NewTorrent { private: true, ..torrent(&[&["http://a/"], &["http://b/"]]) };
    let mut rig = Rig::new(config(), new);
    let a = rig.ask();
    rig.fail(&a);
    let b = rig.ask();
    rig.answer(&b, every(600));
    let (a, _) = rig.wait(3600);
    let a = a.unwrap();
    assert_eq!(a.host(), "a");
    rig.tell(Input::Completed);
    assert!(rig.try_ask().is_none());
    rig.fail(&a);
    let b = rig.ask();
    assert_eq!((b.host(), b.ask.request.event), ("b", Event::Completed));
}
