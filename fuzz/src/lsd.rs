//! Local discovery: an announce is written back as it was read; and a machine with a few torrents, to which anything is
//! said at any time, leads to neighbours only and keeps to its rate.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use samara_proto::ids::{InfoHashV1, InfoHashV2, InfoHashes, WireHash};
use samara_proto::lsd::message::{Cookie, MAX_HASHES, MAX_LEN, Message, write};
use samara_proto::lsd::near::Network;
use samara_proto::lsd::{BURST, GROUP_V4, GROUP_V6, Input, Lsd, Output};
use samara_proto::time::Time;
use samara_proto::tracker::fleet::TorrentKey;

use super::input::Input as Bytes;

/// Runs one input: as an announce, and as a script.
pub fn run(data: &[u8]) {
    message(data);
    let mut world = World::new();
    let mut script = Bytes(data);
    while !script.is_empty() {
        world.step(&mut script);
        world.settle();
    }
}

fn message(data: &[u8]) {
    let Ok(read) = Message::parse(data) else { return };
    assert!(data.len() <= MAX_LEN && read.port != 0 && !read.hashes.is_empty());
    assert!(read.hashes.len() <= MAX_LEN / 49, "a line takes 49 bytes");
    let cookie = read.cookie.unwrap_or(Cookie(0));
    for group in [GROUP_V4.into(), GROUP_V6.into()] {
        let written = write(group, read.port, &read.hashes, cookie);
        let again = Message::parse(&written).expect("what is written can be read");
        let hashes = read.hashes.iter().take(MAX_HASHES).copied().collect();
        assert_eq!(again, Message { port: read.port, hashes, cookie: Some(cookie) });
    }
}

fn torrent(n: u8) -> (TorrentKey, InfoHashes) {
    let (v1, v2) = (InfoHashV1([n | 1; 20]), InfoHashV2([n | 2; 32]));
    let hashes = match n % 3 {
        0 => InfoHashes::V1(v1),
        1 => InfoHashes::V2(v2),
        _ => InfoHashes::Hybrid(v1, v2),
    };
    (TorrentKey(u64::from(n % 64)), hashes)
}

struct World {
    lsd: Lsd,
    now: Time,
    network: Network,
    /// When it spoke last.
    said: VecDeque<Time>,
}

impl World {
    fn new() -> Self {
        let addresses = ["192.168.1.7/24", "fe80::7/64", "203.0.113.7/26"];
        let parse = |text: &str| {
            let (ip, prefix) = text.split_once('/').expect("it has one");
            (ip.parse::<IpAddr>().expect("it is one"), prefix.parse().expect("it is one"))
        };
        Self {
            lsd: Lsd::new(1),
            now: Time::ZERO,
            network: Network::new(addresses.map(parse)),
            said: VecDeque::new(),
        }
    }

    fn step(&mut self, script: &mut Bytes<'_>) {
        match script.byte() % 7 {
            0 => {
                let (torrent, hashes) = torrent(script.byte());
                self.handle(Input::Torrent { torrent, hashes });
            }
            1 => self.handle(Input::Gone(torrent(script.byte()).0)),
            2 => self.wait(script),
            3 => {
                let len = script.below(MAX_LEN + 2);
                self.hear(script, |_, script| script.bytes(len).to_vec());
            }
            4 => self.handle(Input::Moved),
            _ => self.hear(script, |world, script| {
                let hashes: Vec<WireHash> =
                    (0..script.byte() % 4).map(|_| torrent(script.byte()).1.primary()).collect();
                let cookie = if script.flag() { world.lsd.cookie() } else { Cookie(script.word()) };
                write(GROUP_V4.into(), script.short(), &hashes, cookie)
            }),
        }
    }

    fn wait(&mut self, script: &mut Bytes<'_>) {
        let end = self.now + Duration::from_millis(u64::from(script.short()) << 4);
        while let Some(due) = self.lsd.deadline().filter(|due| *due <= end) {
            assert!(due >= self.now, "it is due in the past");
            self.now = due;
            self.handle(Input::Tick);
            self.settle();
            assert!(self.lsd.deadline().is_none_or(|next| next > due), "it does not come to rest");
        }
        self.now = end;
    }

    fn hear<'a>(&mut self, script: &mut Bytes<'a>, data: impl FnOnce(&Self, &mut Bytes<'a>) -> Vec<u8>) {
        let from: IpAddr = match script.byte() % 4 {
            0 => [192, 168, script.byte() & 1, script.byte()].into(),
            1 => [203, 0, 113, script.byte()].into(),
            2 => script.word().to_be_bytes().into(),
            _ => [0xfe80, 0, 0, 0, 0, 0, 0, script.short()].into(),
        };
        let data = data(self, script);
        let network = self.network.clone();
        self.handle(Input::Heard { from: SocketAddr::new(from, 6771), network: &network, data: &data });
        let own = Message::parse(&data).is_ok_and(|message| message.cookie == Some(self.lsd.cookie()));
        while let Some(output) = self.lsd.poll() {
            if let Output::Peer { addr, .. } = output {
                assert!(!own && addr.ip() == from && addr.port() != 0 && network.is_near(from));
            } else {
                self.output(output);
            }
        }
    }

    fn handle(&mut self, input: Input<'_>) {
        self.lsd.handle(self.now, input);
    }

    fn settle(&mut self) {
        while let Some(output) = self.lsd.poll() {
            assert!(matches!(output, Output::Announce(_)), "nobody spoke");
            self.output(output);
        }
    }

    fn output(&mut self, output: Output) {
        let Output::Announce(hashes) = output else { return };
        assert!(!hashes.is_empty() && hashes.len() <= MAX_HASHES);
        self.said.push_back(self.now);
        self.said.retain(|said| self.now.since(*said) < Duration::from_secs(60));
        assert!(self.said.len() <= BURST as usize, "too many announces a minute");
    }
}
