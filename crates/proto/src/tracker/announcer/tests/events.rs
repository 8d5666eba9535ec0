//! What is said when.

use super::*;

const ONE: &[&[&str]] = &[&["http://a/announce"]];

#[test]
fn started_until_answered_then_at_intervals() {
    let mut rig = Rig::new(config(), torrent(ONE));
    let first = rig.ask();
    assert_eq!(first.ask.request.event, Event::Started);
    assert_eq!((first.ask.request.numwant, first.ask.request.port), (Some(200), 6881));
    rig.fail(&first);
    let (second, waited) = rig.wait(100);
    let second = second.unwrap();
    assert!((22..=38).contains(&waited), "{waited}");
    assert_eq!(second.ask.request.event, Event::Started);
    let peer: SocketAddr = "1.2.3.4:5".parse().unwrap();
    rig.answer(&second, AnnounceResponse { peers: vec![peer], ..every(1800) });
    assert!(rig.out.contains(&Output::Peers(vec![peer])));
    let (third, waited) = rig.wait(3600);
    let third = third.unwrap();
    assert_eq!((third.ask.request.event, waited), (Event::None, 1800));
    assert_eq!(third.ask.request.key, first.ask.request.key);
    assert_ne!(third.ask.request.key, 0);
}

#[test]
fn completed_once_and_stopped_last() {
    let mut rig = Rig::new(config(), torrent(ONE));
    let first = rig.ask();
    rig.answer(&first, every(1800));
    rig.tell(Input::Totals(Totals { uploaded: 1, downloaded: 1000, left: 0 }));
    rig.tell(Input::Completed);
    let completed = rig.ask();
    assert_eq!((completed.ask.request.event, completed.ask.request.left), (Event::Completed, 0));
    rig.fail(&completed);
    let (again, _) = rig.wait(100);
    let again = again.unwrap();
    assert_eq!(again.ask.request.event, Event::Completed);
    rig.answer(&again, every(1800));
    rig.tell(Input::Completed);
    assert!(rig.try_ask().is_none(), "once is enough");
}

#[test]
fn who_was_whole_from_the_start_never_completes() {
    let mut new = torrent(ONE);
    new.totals.left = 0;
    let mut rig = Rig::new(config(), new);
    rig.tell(Input::Completed);
    let first = rig.ask();
    assert_eq!(first.ask.request.event, Event::Started);
    rig.answer(&first, every(1800));
    assert_eq!(rig.wait(3600).0.unwrap().ask.request.event, Event::None);
}

#[test]
fn completed_while_started_is_on_its_way() {
    let mut rig = Rig::new(config(), torrent(ONE));
    let first = rig.ask();
    rig.answer(&first, every(60));
    let (second, _) = rig.wait(100);
    rig.tell(Input::Completed);
    assert!(rig.try_ask().is_none(), "one question at a time");
    rig.answer(&second.unwrap(), every(1800));
    assert_eq!(rig.ask().ask.request.event, Event::Completed);
}

#[test]
fn stopped_goes_to_those_who_know() {
    let mut rig = Rig::new(config(), torrent(&[&["http://a/"], &["http://b/"], &["http://c/"]]));
    let (a, b, c) = (rig.ask(), rig.ask(), rig.ask());
    rig.answer(&a, every(1800));
    rig.fail(&b);
    rig.tell(Input::Stop);
    let stop = rig.ask();
    assert_eq!(
        (stop.host(), stop.ask.request.event, stop.ask.request.numwant),
        ("a", Event::Stopped, Some(0))
    );
    assert!(rig.try_ask().is_none());
    // This one comes to know only now.
    rig.answer(&c, every(1800));
    let late = rig.ask();
    assert_eq!((late.host(), late.ask.request.event), ("c", Event::Stopped));
    rig.answer(&late, every(1800));
    assert!(!rig.out.contains(&Output::Stopped));
    rig.fail(&stop);
    assert_eq!(rig.out.iter().filter(|out| **out == Output::Stopped).count(), 1);
    assert_eq!(rig.it.deadline(), None);
}

#[test]
fn the_end_is_bounded() {
    let mut rig = Rig::new(config(), torrent(ONE));
    let first = rig.ask();
    rig.answer(&first, every(1800));
    rig.tell(Input::Stop);
    let _unanswered = rig.ask();
    assert_eq!(rig.pass(100), 5);
    assert!(rig.out.contains(&Output::Stopped));
    let mut unknown = Rig::new(config(), torrent(ONE));
    unknown.tell(Input::Stop);
    assert!(unknown.try_ask().is_none() && unknown.out.contains(&Output::Stopped));
}

#[test]
fn the_end_waits_less_for_those_who_did_not_answer_last_time() {
    let mut rig = Rig::new(config(), torrent(&[&["http://works/"], &["http://unknown/"]]));
    let (works, _unknown) = (rig.ask(), rig.ask());
    rig.answer(&works, every(1800));
    rig.tell(Input::Stop);
    let stop = rig.ask();
    assert_eq!(stop.host(), "works");
    assert_eq!(rig.it.deadline(), Some(rig.now + Duration::from_secs(5)));
    rig.answer(&stop, every(1800));
    assert!(!rig.out.contains(&Output::Stopped));
    assert_eq!(rig.pass(100), 1);
    assert!(rig.out.contains(&Output::Stopped));
    // The one that has worked and died.
    let mut rig = Rig::new(config(), torrent(ONE));
    let first = rig.ask();
    rig.answer(&first, every(1800));
    let second = rig.wait(3600).0.unwrap();
    rig.fail(&second);
    rig.tell(Input::Stop);
    assert_eq!(rig.ask().ask.request.event, Event::Stopped);
    assert_eq!(rig.pass(100), 1);
    assert!(rig.out.contains(&Output::Stopped));
}

#[test]
fn partial_seeds_pause_where_that_is_understood() {
    let mut rig = Rig::new(config(), torrent(&[&["http://a/"], &["udp://b:1"]]));
    let (a, b) = (rig.ask(), rig.ask());
    rig.answer(&a, every(1800));
    rig.answer(&b, every(1800));
    rig.tell(Input::PartialSeed(true));
    rig.pass(1800);
    let mut said = [rig.ask(), rig.ask()].map(|open| (open.host().to_owned(), open.ask.request.event));
    said.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(said, [("a".to_owned(), Event::Paused), ("b".to_owned(), Event::None)]);
}

#[test]
fn as_many_peers_as_are_needed() {
    for (need, numwant) in [(Need::None, 0), (Need::Few, 30), (Need::Many, 200), (Need::Starved, 200)] {
        let mut rig = Rig::new(config(), NewTorrent { need, ..torrent(ONE) });
        assert_eq!(rig.ask().ask.request.numwant, Some(numwant));
    }
    let mut v6 = config();
    v6.identity.v6 = Some(1);
    let mut rig = Rig::new(v6, torrent(&[&["udp://a:1"]]));
    assert_eq!([rig.ask(), rig.ask()].map(|open| open.ask.request.numwant), [Some(200), Some(79)]);
}

#[test]
fn the_starved_ask_early_but_ever_later_and_never_before_the_tracker_allows() {
    let gaps = |min_interval| {
        let mut rig = Rig::new(config(), NewTorrent { need: Need::Starved, ..torrent(ONE) });
        let mut gaps = Vec::new();
        let mut open = rig.ask();
        for _ in 0..5 {
            rig.answer(&open, AnnounceResponse { min_interval, ..every(3600) });
            let (next, waited) = rig.wait(7200);
            open = next.unwrap();
            gaps.push(waited);
        }
        gaps
    };
    assert_eq!(gaps(None), [300, 600, 1200, 2400, 3600]);
    assert_eq!(gaps(Some(900)), [900, 900, 1200, 2400, 3600]);
}

#[test]
fn need_that_comes_later_brings_the_announce_forward() {
    let mut rig = Rig::new(config(), torrent(ONE));
    let first = rig.ask();
    rig.answer(&first, AnnounceResponse { min_interval: Some(600), ..every(3600) });
    assert_eq!(rig.pass(400), 400);
    rig.tell(Input::Need(Need::Starved));
    assert_eq!(rig.wait(7200).1, 200);
}

#[test]
fn the_user_may_hurry_but_not_beyond_the_tracker() {
    let mut rig = Rig::new(config(), torrent(ONE));
    let first = rig.ask();
    rig.answer(&first, AnnounceResponse { min_interval: Some(600), ..every(3600) });
    rig.tell(Input::AnnounceNow);
    assert_eq!(rig.wait(7200).1, 600);
}

#[test]
fn a_tracker_that_says_never_is_left_alone_until_the_user_insists() {
    let mut rig = Rig::new(config(), torrent(ONE));
    let first = rig.ask();
    let failure = Failure { reason: "no tracker".into(), retry: Some(Retry::Never) };
    rig.tell(Input::Failed { line: first.line, problem: Problem::Refused(failure) });
    assert_eq!(rig.it.deadline(), None);
    let status = rig.it.status();
    assert_eq!((status[0].lines[0].state, status[0].lines[0].next), (State::Off, None));
    assert_eq!(status[0].lines[0].error.as_deref(), Some("no tracker"));
    rig.tell(Input::AnnounceNow);
    assert_eq!(rig.ask().host(), "a");
}

#[test]
fn what_a_tracker_gives_comes_back_to_it() {
    let mut rig = Rig::new(config(), torrent(ONE));
    let first = rig.ask();
    let ip = "9.9.9.9".parse().unwrap();
    rig.answer(
        &first,
        AnnounceResponse {
            tracker_id: Some(b"id".as_slice().into()),
            warning: Some("careful".into()),
            external_ip: Some(ip),
            complete: Some(3),
            ..every(1800)
        },
    );
    assert!(rig.out.contains(&Output::ExternalIp(ip)));
    let line = &rig.it.status()[0].lines[0];
    assert_eq!((line.warning.as_deref(), line.seeds, line.state), (Some("careful"), Some(3), State::Working));
    let (second, _) = rig.wait(3600);
    let second = second.unwrap();
    assert_eq!(second.ask.tracker_id.as_deref(), Some(&b"id"[..]));
    rig.answer(&second, every(1800));
    assert_eq!(rig.it.status()[0].lines[0].warning, None);
    assert_eq!(rig.wait(3600).0.unwrap().ask.tracker_id.as_deref(), Some(&b"id"[..]));
}

#[test]
fn both_families_and_both_hashes() {
    let mut both = config();
    both.identity.v6 = Some(7000);
    let hashes = InfoHashes::Hybrid(InfoHashV1([1; 20]), InfoHashV2([2; 32]));
    let mut rig = Rig::new(both, NewTorrent { hashes, ..torrent(ONE) });
    let asks: Vec<AnnounceRequest> =
        std::iter::from_fn(|| rig.try_ask()).map(|open| open.ask.request).collect();
    assert_eq!(asks.iter().map(|ask| ask.port).collect::<Vec<_>>(), [6881, 7000, 6881, 7000]);
    assert_eq!(asks.iter().map(|ask| ask.info_hash.0[0]).collect::<Vec<_>>(), [1, 1, 2, 2]);
}

#[test]
fn a_family_without_an_address_is_left_alone_for_an_hour() {
    let mut both = config();
    both.identity.v6 = Some(7000);
    let mut rig = Rig::new(both, torrent(ONE));
    let (v4, v6) = (rig.ask(), rig.ask());
    assert_eq!(v6.ask.family, Family::V6);
    rig.tell(Input::Failed { line: v6.line, problem: Problem::NoAddress });
    rig.answer(&v4, every(1800));
    let mut families = Vec::new();
    for _ in 0..3 {
        let (open, _) = rig.wait(7200);
        let open = open.unwrap();
        families.push(open.ask.family);
        rig.answer(&open, every(1800));
    }
    assert_eq!(families, [Family::V4, Family::V4, Family::V6]);
}

#[test]
fn a_new_network_forgets_failures_and_brings_new_ports() {
    let mut rig = Rig::new(config(), torrent(&[&["http://a/"], &["http://b/"]]));
    let (a, b) = (rig.ask(), rig.ask());
    rig.answer(&a, every(1800));
    rig.tell(Input::Failed { line: b.line, problem: Problem::NoAddress });
    let mut other = config();
    other.identity.v4 = Some(1111);
    rig.tell(Input::Network(Arc::new(other)));
    let again = rig.ask();
    assert_eq!((again.host(), again.ask.request.port), ("b", 1111));
    // The one that answered is told as soon as it allows.
    let (next, waited) = rig.wait(3600);
    assert_eq!((next.unwrap().host(), waited), ("a", 300));
}

#[test]
fn metadata_brings_the_other_half() {
    let mut rig =
        Rig::new(config(), NewTorrent { hashes: InfoHashes::V2(InfoHashV2([2; 32])), ..torrent(ONE) });
    let first = rig.ask();
    assert_eq!(first.ask.request.info_hash.0[0], 2);
    rig.answer(&first, every(1800));
    let hashes = InfoHashes::Hybrid(InfoHashV1([1; 20]), InfoHashV2([2; 32]));
    rig.tell(Input::Identified { hashes, private: false });
    let other = rig.ask();
    assert_eq!((other.ask.request.info_hash.0[0], other.ask.request.event), (1, Event::Started));
    assert!(rig.try_ask().is_none());
}

#[test]
fn answers_nobody_waits_for_change_nothing() {
    let mut rig = Rig::new(config(), torrent(ONE));
    let first = rig.ask();
    rig.answer(&first, every(1800));
    let before = rig.it.status();
    rig.answer(&first, every(60));
    rig.fail(&first);
    assert_eq!(rig.it.status(), before);
}

#[test]
fn nothing_begins_after_the_end_did() {
    let mut rig = Rig::new(config(), torrent(&[&["http://a/"], &["http://b/"]]));
    let (a, _b) = (rig.ask(), rig.ask());
    rig.answer(&a, every(1800));
    rig.tell(Input::Stop);
    rig.due.clear();
    let hashes = InfoHashes::V1(InfoHashV1([7; 20]));
    rig.tell(Input::Identified { hashes, private: true });
    rig.tell(Input::AnnounceNow);
    rig.tell(Input::Completed);
    rig.tell(Input::Trackers { urls: vec![url("http://c/")], source: Source::User });
    assert!(rig.try_ask().is_none());
}

#[test]
fn a_family_that_comes_back_remembers_what_the_tracker_said() {
    let mut both = config();
    both.identity.v6 = Some(7000);
    let mut rig = Rig::new(both.clone(), torrent(ONE));
    let (v4, v6) = (rig.ask(), rig.ask());
    rig.answer(&v4, every(1800));
    rig.answer(&v6, every(1800));
    rig.tell(Input::Network(Arc::new(config())));
    rig.pass(100);
    rig.tell(Input::Network(Arc::new(both)));
    let (next, waited) = rig.wait(3600);
    let next = next.unwrap();
    assert_eq!((next.ask.request.event, waited), (Event::None, 200));
}

#[test]
fn a_machine_that_starts_offline_does_not_wait_for_an_hour() {
    let mut both = config();
    both.identity.v6 = Some(7000);
    let mut rig = Rig::new(both, torrent(ONE));
    for open in [rig.ask(), rig.ask()] {
        rig.tell(Input::Failed { line: open.line, problem: Problem::NoAddress });
    }
    let (again, waited) = rig.wait(3600);
    assert!(waited <= 38);
    // Now one of the two is there, so that the other one may rest.
    rig.answer(&again.unwrap(), every(1800));
    let rests = |line: &LineStatus| line.next.is_some_and(|at| at.since(rig.now) > Duration::from_secs(3000));
    assert!(rig.it.status()[0].lines.iter().any(rests));
}
