//! The examples of BEP 15 second by second, and networks that lose, double, delay and forge.

use std::net::SocketAddr;
use std::time::Duration;

use super::super::types::{AnnounceRequest, Event, Family, ScrapeStats};
use super::super::udp::{
    AnnounceWriter, Head, Request, ScrapeWriter, parse_request, write_connect, write_error,
};
use super::*;
use crate::ids::{PeerId, WireHash};
use crate::rng::Rng;

const PATIENT: Config = Config { timeout: Duration::from_secs(15), tries: 9, asks: 100 };

fn tracker(n: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, n], 80))
}

fn at(seconds: u64) -> Time {
    Time::ZERO + Duration::from_secs(seconds)
}

fn announce() -> Ask {
    let request = AnnounceRequest {
        info_hash: WireHash([1; 20]),
        peer_id: PeerId([2; 20]),
        port: 6881,
        uploaded: 0,
        downloaded: 0,
        left: 0,
        event: Event::None,
        numwant: None,
        key: 5,
        ip: None,
    };
    Ask::Announce { request: Box::new(request), url_data: "/announce?x=y".into() }
}

fn scrape(n: usize) -> Ask {
    Ask::Scrape(vec![WireHash([1; 20]); n].into())
}

/// A tracker that answers everything; connection ids other than `connection` are refused.
fn answer(datagram: &[u8], connection: u64) -> Vec<u8> {
    let mut out = [0; 1500];
    let len = match parse_request(datagram).unwrap() {
        Request::Connect { transaction } => return write_connect(transaction, connection).to_vec(),
        Request::Announce { connection: given, transaction, .. }
        | Request::Scrape { connection: given, transaction, .. }
            if given != connection =>
        {
            write_error(&mut out, transaction, "connection id?")
        }
        Request::Announce { transaction, .. } => {
            let head = Head { interval: 1800, complete: 1, incomplete: 0 };
            let mut writer = AnnounceWriter::new(&mut out, Family::V4, transaction, head).unwrap();
            writer.peer(tracker(99));
            writer.finish()
        }
        Request::Scrape { transaction, hashes, .. } => {
            let mut writer = ScrapeWriter::new(&mut out, transaction).unwrap();
            hashes.iter().for_each(|_| assert!(writer.stats(ScrapeStats::default())));
            writer.finish()
        }
    };
    out[..len].to_vec()
}

#[derive(Debug, PartialEq)]
enum Seen {
    Connect,
    Announce,
    Scrape,
    Done(u32, bool),
}

/// What the client does, without what it sends in detail; the last datagram is kept in `last`.
fn drain(client: &mut UdpClient<u32>, last: &mut Vec<u8>) -> Vec<Seen> {
    let mut seen = Vec::new();
    while let Some(output) = client.poll() {
        seen.push(match output {
            Output::Done { key, result } => Seen::Done(key, result.is_ok()),
            Output::Send { datagram, .. } => {
                let kind = match parse_request(&datagram).unwrap() {
                    Request::Connect { .. } => Seen::Connect,
                    Request::Announce { .. } => Seen::Announce,
                    Request::Scrape { .. } => Seen::Scrape,
                };
                *last = datagram;
                kind
            }
        });
    }
    seen
}

/// Runs to `end`, with no answers, and notes what happens in which second.
fn run(client: &mut UdpClient<u32>, end: u64, last: &mut Vec<u8>) -> Vec<(u64, Seen)> {
    let mut log = Vec::new();
    while let Some(due) = client.deadline().filter(|due| *due <= at(end)) {
        client.tick(due);
        let second = due.as_micros() / 1_000_000;
        log.extend(drain(client, last).into_iter().map(|seen| (second, seen)));
    }
    log
}

#[test]
fn connect_times_out_as_in_the_bep() {
    let (mut client, mut last) = (UdpClient::new(PATIENT, 1), Vec::new());
    client.ask(at(0), 7, tracker(1), announce());
    assert_eq!(drain(&mut client, &mut last), [Seen::Connect]);
    let log = run(&mut client, 3 * 3600, &mut last);
    let times: Vec<u64> = log.iter().map(|(second, _)| *second).collect();
    assert_eq!(times, [15, 45, 105, 225, 465, 945, 1905, 3825, 3840], "the last wait is a short one");
    assert_eq!(log.last().unwrap().1, Seen::Done(7, false));
    assert_eq!((client.open(), client.deadline()), (0, None));
}

#[test]
fn by_default_a_silent_tracker_is_given_up_after_two_minutes() {
    let (mut client, mut last) = (UdpClient::new(Config::default(), 1), Vec::new());
    client.ask(at(0), 7, tracker(1), announce());
    drain(&mut client, &mut last);
    let log = run(&mut client, 3600, &mut last);
    let expected =
        [(15, Seen::Connect), (45, Seen::Connect), (105, Seen::Connect), (120, Seen::Done(7, false))];
    assert_eq!(log, expected);
}

#[test]
fn announce_times_out_as_in_the_bep() {
    let (mut client, mut last) = (UdpClient::new(PATIENT, 1), Vec::new());
    client.ask(at(0), 7, tracker(1), announce());
    drain(&mut client, &mut last);
    client.handle(at(2), tracker(1), &answer(&last, 9));
    assert_eq!(drain(&mut client, &mut last), [Seen::Announce]);
    let log = run(&mut client, 300, &mut last);
    let expected = [(17, Seen::Announce), (47, Seen::Announce), (107, Seen::Connect), (227, Seen::Connect)];
    assert_eq!(log, expected);
    client.handle(at(301), tracker(1), &answer(&last, 10));
    assert_eq!(drain(&mut client, &mut last), [Seen::Announce]);
    client.handle(at(302), tracker(1), &answer(&last, 10));
    assert_eq!(drain(&mut client, &mut last), [Seen::Done(7, true)]);
}

#[test]
fn a_connection_id_serves_a_minute() {
    let (mut client, mut last) = (UdpClient::new(PATIENT, 1), Vec::new());
    client.ask(at(0), 1, tracker(1), announce());
    client.ask(at(0), 2, tracker(1), scrape(3));
    assert_eq!(drain(&mut client, &mut last), [Seen::Connect], "one for both");
    client.handle(at(1), tracker(1), &answer(&last, 9));
    assert_eq!(drain(&mut client, &mut last), [Seen::Announce, Seen::Scrape]);
    client.handle(at(2), tracker(1), &answer(&last, 9));
    assert_eq!(drain(&mut client, &mut last), [Seen::Done(2, true)]);
    client.ask(at(60), 3, tracker(1), scrape(1));
    assert_eq!(drain(&mut client, &mut last), [Seen::Scrape]);
    client.ask(at(61), 4, tracker(1), scrape(1));
    assert_eq!(drain(&mut client, &mut last), [Seen::Connect]);
    client.ask(at(61), 5, tracker(2), scrape(1));
    assert_eq!(drain(&mut client, &mut last), [Seen::Connect], "each address has its own");
}

#[test]
fn an_answer_from_elsewhere_of_another_id_or_kind_is_passed_over() {
    let (mut client, mut last) = (UdpClient::new(PATIENT, 1), Vec::new());
    client.ask(at(0), 1, tracker(1), announce());
    drain(&mut client, &mut last);
    let good = answer(&last, 9);
    let mut other_id = good.clone();
    other_id[4] ^= 1;
    let port = SocketAddr::new(tracker(1).ip(), 81);
    for (from, datagram) in
        [(tracker(2), &good[..]), (port, &good), (tracker(1), &other_id), (tracker(1), &good[..15])]
    {
        client.handle(at(1), from, datagram);
        assert_eq!(drain(&mut client, &mut last), []);
    }
    client.handle(at(1), tracker(1), &good);
    client.handle(at(1), tracker(1), &good);
    assert_eq!(drain(&mut client, &mut last), [Seen::Announce], "once, though it came twice");
    let mut scraped = answer(&last, 9);
    scraped[3] = 2;
    client.handle(at(1), tracker(1), &scraped);
    assert_eq!(drain(&mut client, &mut last), []);
    let mapped = "[::ffff:10.0.0.1]:80".parse().unwrap();
    client.handle(at(1), mapped, &answer(&last, 9));
    assert_eq!(drain(&mut client, &mut last), [Seen::Done(1, true)], "IPv4 on a socket for both");
}

#[test]
fn a_tracker_that_forgot_its_ids_is_asked_for_a_new_one_once() {
    let (mut client, mut last) = (UdpClient::new(PATIENT, 1), Vec::new());
    client.ask(at(0), 1, tracker(1), announce());
    drain(&mut client, &mut last);
    client.handle(at(0), tracker(1), &answer(&last, 9));
    drain(&mut client, &mut last);
    client.handle(at(0), tracker(1), &answer(&last, 9));
    assert_eq!(drain(&mut client, &mut last), [Seen::Done(1, true)]);

    client.ask(at(9), 2, tracker(1), announce());
    assert_eq!(drain(&mut client, &mut last), [Seen::Announce]);
    let first = last.clone();
    client.ask(at(9), 3, tracker(1), announce());
    assert_eq!(drain(&mut client, &mut last), [Seen::Announce]);
    client.handle(at(10), tracker(1), &answer(&first, 77));
    let second = std::mem::take(&mut last);
    assert_eq!(drain(&mut client, &mut last), [Seen::Connect]);
    client.handle(at(10), tracker(1), &answer(&second, 77));
    assert_eq!(drain(&mut client, &mut last), [], "it waits for the same");
    client.handle(at(11), tracker(1), &answer(&last, 77));
    assert_eq!(drain(&mut client, &mut last), [Seen::Announce, Seen::Announce]);
    client.handle(at(12), tracker(1), &answer(&last, 78));
    assert_eq!(drain(&mut client, &mut last), [Seen::Done(3, false)], "a second refusal is meant");
}

#[test]
fn refusals_reach_all_who_wait_with_the_words_of_the_tracker() {
    let mut client = UdpClient::new(PATIENT, 1);
    client.ask(at(0), 1, tracker(1), announce());
    client.ask(at(0), 2, tracker(1), announce());
    let Some(Output::Send { datagram, .. }) = client.poll() else { panic!() };
    let transaction = u32::from_be_bytes(datagram[12..16].try_into().unwrap());
    let mut out = [0; 40];
    let len = write_error(&mut out, transaction, "go away\n");
    client.handle(at(1), tracker(1), &out[..len]);
    for key in [1, 2] {
        let refused = Err(AskError::Refused("go away".into()));
        assert_eq!(client.poll(), Some(Output::Done { key, result: refused }));
    }
    assert_eq!((client.poll(), client.deadline()), (None, None));
}

#[test]
fn caps_cancelling_and_no_way() {
    let mut last = Vec::new();
    let mut client = UdpClient::new(Config { asks: 2, ..PATIENT }, 1);
    client.ask(at(0), 1, tracker(1), announce());
    client.ask(at(0), 2, tracker(2), announce());
    client.ask(at(0), 3, tracker(2), announce());
    assert_eq!(drain(&mut client, &mut last), [Seen::Connect, Seen::Connect, Seen::Done(3, false)]);
    client.cancel(1);
    client.unreachable(tracker(2));
    assert_eq!(drain(&mut client, &mut last), [Seen::Done(2, false)]);
    assert_eq!(client.open(), 0);
    assert_eq!(run(&mut client, 9999, &mut last), [], "nothing is sent for a question that is gone");
    assert_eq!(client.deadline(), None);
}

#[test]
fn a_clock_that_jumps_makes_no_burst() {
    let (mut client, mut last) = (UdpClient::new(PATIENT, 1), Vec::new());
    client.ask(at(0), 1, tracker(1), announce());
    drain(&mut client, &mut last);
    client.handle(at(0), tracker(1), &answer(&last, 9));
    drain(&mut client, &mut last);
    client.tick(at(100_000));
    assert_eq!(drain(&mut client, &mut last), [Seen::Connect], "the id is old, too");
    assert!(client.deadline() > Some(at(100_000)));
}

/// Datagrams either way, each lost, doubled or late by chance; every question ends once, and not without need.
#[test]
fn bad_networks_end_every_question_once() {
    for seed in 0..40 {
        let mut rng = Rng::new(seed);
        let loss = rng.below(90);
        let mut client = UdpClient::new(PATIENT, seed);
        let mut ended = vec![0; 30];
        let mut good = 0;
        let mut line: BTreeMap<(Time, u64), (SocketAddr, Vec<u8>)> = BTreeMap::new();
        let mut serial = 0;
        for key in 0..ended.len() as u32 {
            let ask = if rng.below(2) == 0 { announce() } else { scrape(1 + rng.index(80)) };
            client.ask(at(u64::from(key) * 9), key, tracker(rng.below(4) as u8), ask);
        }
        while client.open() > 0 {
            let due = client.deadline().into_iter().chain(line.keys().next().map(|(due, _)| *due)).min();
            let now = due.expect("an open question has a timer");
            client.tick(now);
            while let Some((key, (from, datagram))) = line.pop_first() {
                if key.0 > now {
                    line.insert(key, (from, datagram));
                    break;
                }
                client.handle(now, from, &datagram);
            }
            while let Some(output) = client.poll() {
                match output {
                    Output::Done { key, result } => {
                        ended[key as usize] += 1;
                        good += u32::from(result.is_ok());
                    }
                    Output::Send { to, datagram } => {
                        for _ in 0..=rng.below(2) {
                            if rng.below(100) >= loss {
                                serial += 1;
                                let late = Duration::from_millis(rng.below(40_000));
                                line.insert((now + late, serial), (to, answer(&datagram, 9)));
                            }
                        }
                    }
                }
            }
        }
        assert_eq!(ended, [1; 30], "seed {seed}");
        assert!(loss > 40 || good == 30, "seed {seed}: {good} at a loss of {loss} %");
        assert!(client.owners.is_empty());
        assert!(client.hosts.values().all(|host| host.waiting.is_empty()));
    }
}
