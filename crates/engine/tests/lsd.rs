//! The local network that one machine is to itself: multicast over loopback, from addresses of 127.0.0.0/8. Between
//! hosts: `tests/lan.rs` of the command.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a failure is a failed test")]

mod common;

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use common::{LIMIT, Temp, complete, random, shared, shared_privately};
use samara_engine::{AddSource, AddTorrent, Client, Config, Mode, Torrent};
use samara_proto::ids::WireHash;
use samara_proto::lsd::GROUP_V4;
use samara_proto::lsd::message::Message;
use samara_proto::metainfo::Metainfo;
use socket2::{Domain, InterfaceIndexOrAddress, Socket, Type};
use tokio::net::UdpSocket;

/// Loopback is the first interface of every Linux.
const LOOPBACK: u32 = 1;

/// A client that finds peers on the local network alone.
async fn client(ip: &str) -> Client {
    let listen = vec![format!("{ip}:0").parse().unwrap()];
    Client::start(Config { listen, lsd: true, ..Config::default() }).await.unwrap()
}

async fn seed(client: &Client, metainfo: &Metainfo, dir: &Path) -> Torrent {
    let add = AddTorrent::new(AddSource::Metainfo(Box::new(metainfo.clone())), dir);
    client.add(AddTorrent { mode: Mode::Seed, ..add }).await.unwrap()
}

/// Hears what is said over loopback.
struct Spy(UdpSocket);

impl Spy {
    fn new() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket.bind(&SocketAddr::from(GROUP_V4).into()).unwrap();
        let loopback = InterfaceIndexOrAddress::Index(LOOPBACK);
        socket.join_multicast_v4_n(GROUP_V4.ip(), &loopback).unwrap();
        Self(UdpSocket::from_std(socket.into()).unwrap())
    }

    /// The next announce from an address. Other tests and clients may be about.
    async fn next(&self, from: &str) -> Vec<WireHash> {
        let from: IpAddr = from.parse().unwrap();
        let mut buffer = [0; 2000];
        loop {
            let heard = tokio::time::timeout(LIMIT, self.0.recv_from(&mut buffer)).await;
            let (len, by) = heard.expect("it is announced").unwrap();
            if by.ip() == from {
                return Message::parse(&buffer[..len]).unwrap().hashes;
            }
        }
    }
}

#[tokio::test]
async fn two_clients_that_know_nobody_find_each_other() {
    let temp = Temp::new("lsd");
    let (from, to) = (temp.join("from"), temp.join("to"));
    let metainfo = shared(&from, 1);
    let (one, two) = (client("127.14.0.1").await, client("127.14.0.2").await);
    let _seeding = seed(&one, &metainfo, &from).await;
    let source = AddSource::Magnet { hashes: metainfo.info.hashes(), name: None };
    let mut fetched = two.add(AddTorrent::new(source, &to)).await.unwrap();
    complete(&mut fetched).await;
    assert_eq!(fs::read(to.join("data1.bin")).unwrap(), random(1, 100_000));
    one.shutdown().await;
    two.shutdown().await;
}

#[tokio::test]
async fn of_a_private_torrent_the_local_network_hears_nothing() {
    let temp = Temp::new("lsd-private");
    let dir = temp.join("dir");
    let (private, public) = (shared_privately(&dir, 9), shared(&dir, 2));
    let (spy, client) = (Spy::new(), client("127.14.1.1").await);
    // It is new before the other is, so it would be said before it, or with it.
    let _kept = (seed(&client, &private, &dir).await, seed(&client, &public, &dir).await);
    for _ in 0..2 {
        assert_eq!(spy.next("127.14.1.1").await, [public.info.hashes().primary()]);
    }
    client.shutdown().await;
}
