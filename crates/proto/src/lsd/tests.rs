use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::ids::{InfoHashV1, InfoHashV2};

fn at(seconds: u64) -> Time {
    Time::from_micros(seconds * 1_000_000)
}

fn hashes(n: u32) -> InfoHashes {
    let mut hash = [1; 20];
    hash[..4].copy_from_slice(&n.to_be_bytes());
    InfoHashes::V1(InfoHashV1(hash))
}

fn wire(n: u32) -> WireHash {
    hashes(n).primary()
}

/// A machine in a private network, with its clock.
struct Host {
    lsd: Lsd,
    ip: IpAddr,
    network: Network,
    said: Vec<(Time, Vec<WireHash>)>,
    peers: Vec<(TorrentKey, SocketAddr)>,
}

impl Host {
    fn new(n: u32) -> Self {
        let ip = IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0001 + n));
        let network = Network::new([(ip, 8)]);
        Self { lsd: Lsd::new(u64::from(n)), ip, network, said: Vec::new(), peers: Vec::new() }
    }

    fn add(&mut self, now: Time, torrents: std::ops::Range<u32>) {
        for n in torrents {
            let torrent = TorrentKey(u64::from(n));
            self.lsd.handle(now, Input::Torrent { torrent, hashes: hashes(n) });
        }
    }

    /// Says what is due; the datagrams.
    fn settle(&mut self, now: Time) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        while let Some(output) = self.lsd.poll() {
            match output {
                Output::Announce(hashes) => {
                    out.push(message::write(GROUP_V4.into(), 6881, &hashes, self.lsd.cookie()));
                    self.said.push((now, hashes));
                }
                Output::Peer { torrent, addr } => self.peers.push((torrent, addr)),
            }
        }
        out
    }

    fn hear(&mut self, now: Time, from: IpAddr, data: &[u8]) {
        self.lsd
            .handle(now, Input::Heard { from: SocketAddr::new(from, 6771), network: &self.network, data });
    }

    /// Alone until `end`.
    fn run(&mut self, end: Time) {
        while let Some(due) = self.lsd.deadline().filter(|due| *due <= end) {
            self.lsd.handle(due, Input::Tick);
            self.settle(due);
            assert!(self.lsd.deadline() > Some(due), "it does not come to rest");
        }
    }
}

/// How long a datagram is under way, reading it counted.
const WAY: Duration = Duration::from_millis(10);

/// All hosts hear each other, themselves too.
fn run(hosts: &mut [Host], end: Time) {
    let mut under_way: VecDeque<(Time, IpAddr, Vec<u8>)> = VecDeque::new();
    loop {
        let host = hosts.iter().enumerate().filter_map(|(n, host)| Some((host.lsd.deadline()?, n))).min();
        let arrival = under_way.front().map(|(time, ..)| *time);
        let Some(now) = host.map(|(due, _)| due).into_iter().chain(arrival).min().filter(|now| *now <= end)
        else {
            break;
        };
        let mut said = Vec::new();
        if arrival == Some(now) {
            let (_, from, data) = under_way.pop_front().unwrap();
            for host in hosts.iter_mut() {
                host.hear(now, from, &data);
                said.extend(host.settle(now).into_iter().map(|data| (host.ip, data)));
            }
        } else if let Some((_, n)) = host {
            hosts[n].lsd.handle(now, Input::Tick);
            said.extend(hosts[n].settle(now).into_iter().map(|data| (hosts[n].ip, data)));
        }
        under_way.extend(said.into_iter().map(|(from, data)| (now + WAY, from, data)));
    }
}

/// The most announces in any span of so long.
fn most_within(said: &[(Time, Vec<WireHash>)], span: Duration) -> usize {
    (0..said.len())
        .map(|i| said[i..].iter().take_while(|(t, _)| t.since(said[i].0) < span).count())
        .max()
        .unwrap_or(0)
}

#[test]
fn one_torrent_is_said_at_once_once_more_and_every_five_minutes() {
    let mut host = Host::new(1);
    host.add(at(100), 0..1);
    host.run(at(100 + 3600));
    let times: Vec<u64> = host.said.iter().map(|(t, _)| t.as_micros() / 1_000_000 - 100).collect();
    assert_eq!(times.len(), 2 + 11, "{times:?}");
    assert_eq!(times[0], 0);
    assert!((3..=6).contains(&times[1]), "{times:?}");
    assert!(times[1..].windows(2).all(|w| (300..=301).contains(&(w[1] - w[0]))), "{times:?}");
    assert!(host.said.iter().all(|(_, hashes)| *hashes == [wire(0)]));
}

#[test]
fn the_rate_is_kept_and_everything_has_its_turn() {
    for torrents in [1, 2, 5, 6, 40, 125, 400] {
        let mut host = Host::new(1);
        host.add(at(0), 0..torrents);
        let hour = at(3600 * 3);
        host.run(hour);
        assert!(most_within(&host.said, Duration::from_secs(60)) <= BURST as usize, "{torrents}");
        assert!(host.said.len() <= 180 + BURST as usize, "{torrents}: {}", host.said.len());
        let mut last: BTreeMap<WireHash, Time> = BTreeMap::new();
        let mut longest = Duration::ZERO;
        for (time, hashes) in &host.said {
            assert!(hashes.len() <= message::MAX_HASHES);
            for hash in hashes {
                longest = longest.max(time.since(last.insert(*hash, *time).unwrap_or(*time)));
            }
        }
        assert_eq!(last.len(), torrents as usize);
        // In turn: a round as long as datagrams of 25 suffice; the first, in which all are due together, takes longer.
        let turns = u64::from(torrents).div_ceil(message::MAX_HASHES as u64).max(FEW as u64);
        let fair = Duration::from_secs(60 * turns) + ROUND;
        assert!(longest <= fair, "{torrents}: {longest:?}");
    }
}

#[test]
fn where_an_interface_comes_everything_is_said_again() {
    let mut host = Host::new(1);
    host.add(at(0), 0..10);
    host.run(at(200));
    host.said.clear();
    host.lsd.handle(at(200), Input::Moved);
    host.run(at(205));
    assert_eq!(host.said.iter().flat_map(|(_, hashes)| hashes).count(), 10);
}

#[test]
fn few_torrents_go_one_a_datagram() {
    let mut host = Host::new(1);
    host.add(at(0), 0..5);
    host.run(at(3600));
    let later = host.said.iter().filter(|(t, _)| *t > at(400));
    assert!(later.clone().count() > 40 && later.clone().all(|(_, hashes)| hashes.len() == 1));
}

#[test]
fn two_find_each_other_whoever_comes_first() {
    let mut hosts = [Host::new(1), Host::new(2)];
    hosts[0].add(at(0), 0..1);
    run(&mut hosts, at(100));
    hosts[1].add(at(100), 0..1);
    run(&mut hosts, at(110));
    let [one, two] = &hosts;
    assert_eq!(one.peers, [(TorrentKey(0), SocketAddr::new(two.ip, 6881))]);
    assert_eq!(two.peers, [(TorrentKey(0), SocketAddr::new(one.ip, 6881))], "it was not answered");
}

#[test]
fn a_newcomer_is_answered_by_a_few_of_many() {
    let mut hosts: Vec<Host> = (0..100).map(Host::new).collect();
    // They came one a second, and know each other.
    for n in 0..99_usize {
        hosts[n].add(at(n as u64), 0..1);
        run(&mut hosts, at(n as u64));
    }
    run(&mut hosts, at(1000));
    let before: usize = hosts.iter().map(|host| host.said.len()).sum();
    hosts[99].add(at(1000), 0..1);
    run(&mut hosts, at(1005));
    // In five seconds there are five announces of rounds; its own come to it.
    let said = hosts.iter().map(|host| host.said.len()).sum::<usize>() - before;
    assert!(said <= 20, "{said} datagrams");
    assert!(hosts[99].peers.len() >= 3, "{:?}", hosts[99].peers);
    let others = hosts[..99].iter();
    let new = SocketAddr::new(hosts[99].ip, 6881);
    let heard = others.filter(|host| host.peers.iter().any(|(_, addr)| *addr == new)).count();
    assert!(heard > 96, "{heard} of 99 know the newcomer");
}

#[test]
fn when_all_start_at_once_there_is_no_storm() {
    let mut hosts: Vec<Host> = (0..80).map(Host::new).collect();
    hosts.iter_mut().for_each(|host| host.add(at(0), 0..1));
    run(&mut hosts, at(200));
    assert!(hosts.iter().map(|host| host.said.len()).sum::<usize>() <= 160);
    assert!(hosts.iter().all(|host| host.peers.len() >= 75));
}

#[test]
fn strangers_and_what_is_not_asked_for_bring_nothing() {
    let mut host = Host::new(1);
    host.add(at(0), 0..1);
    let say = |n| message::write(GROUP_V4.into(), 7, &[wire(n)], Cookie(1));
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    for from in ["8.8.8.8", "127.0.0.1", "169.254.169.254", "fe80::1", "224.0.0.1"] {
        host.hear(at(1), ip(from), &say(0));
    }
    host.hear(at(1), ip("10.0.0.9"), &say(1));
    host.hear(at(1), ip("10.0.0.9"), b"BT-SEARCH * HTTP/1.1\r\n\r\n");
    host.settle(at(1));
    assert!(host.peers.is_empty());
    host.hear(at(1), ip("10.0.0.9"), &say(0));
    host.settle(at(1));
    assert_eq!(host.peers, [(TorrentKey(0), "10.0.0.9:7".parse().unwrap())]);
}

#[test]
fn hybrids_go_by_both_hashes_and_what_is_gone_by_none() {
    let (v1, v2) = (InfoHashV1([1; 20]), InfoHashV2([2; 32]));
    let (mut host, torrent) = (Host::new(1), TorrentKey(7));
    let input = |hashes| Input::Torrent { torrent, hashes };
    host.lsd.handle(at(0), input(InfoHashes::V2(v2)));
    host.run(at(1));
    host.lsd.handle(at(2), input(InfoHashes::V2(v2)));
    host.lsd.handle(at(2), input(InfoHashes::Hybrid(v1, v2)));
    host.run(at(3));
    let both = vec![WireHash([1; 20]), WireHash([2; 20])];
    let said: Vec<_> = host.said.iter().map(|(_, hashes)| hashes.clone()).collect();
    assert_eq!(said, [vec![WireHash([2; 20])], both.clone()]);
    // By both in one datagram it is one neighbour.
    let data = message::write(GROUP_V4.into(), 7, &both, Cookie(1));
    host.hear(at(3), "10.0.0.9".parse().unwrap(), &data);
    host.settle(at(3));
    assert_eq!(host.peers.len(), 1);
    host.lsd.handle(at(4), Input::Gone(torrent));
    host.hear(at(4), "10.0.0.10".parse().unwrap(), &data);
    host.run(at(4000));
    assert_eq!((host.said.len(), host.peers.len(), host.lsd.deadline()), (2, 1, None));
}
