//! Connections being opened are limited over all torrents of a client. Linux, where a full accept queue leaves them so.
#![cfg(target_os = "linux")]

mod common;

use std::fs;
use std::net::SocketAddr;

use common::{LIMIT, Temp, config, download, eventually, random, torrent, until};
use samara_engine::{Client, Config, TorrentEvent};
use socket2::{Domain, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

/// A listener whose queue one connection fills.
fn narrow() -> TcpListener {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a free port");
    socket.listen(0).expect("it listens");
    socket.set_nonblocking(true).expect("a mode");
    TcpListener::from_std(socket.into()).expect("a listener")
}

/// Whether somebody waits for `addr` to answer: state 2 is SYN_SENT.
fn is_dialled(addr: SocketAddr) -> bool {
    let port = format!(":{:04X}", addr.port());
    let table = fs::read_to_string("/proc/net/tcp").expect("Linux has it");
    table.lines().any(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        fields[2].ends_with(&port) && fields[3] == "02"
    })
}

#[tokio::test]
async fn one_torrent_waits_until_another_has_opened_its_connection() {
    let temp = Temp::new("dials");
    let (narrow, wide) = (narrow(), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let (blocked, open) = (narrow.local_addr().unwrap(), wide.local_addr().unwrap());
    let _fills = TcpStream::connect(blocked).await.unwrap();

    let client = Client::start(Config { max_half_open: 1, ..config() }).await.unwrap();
    let torrents = [1, 2].map(|n| torrent(&format!("{n}.bin"), &random(n, 100_000), 32 * 1024));
    let _first = client.add(download(&torrents[0], &temp.join("1"), &[blocked])).await.unwrap();
    eventually("the first is dialling", async || is_dialled(blocked)).await;
    let mut second = client.add(download(&torrents[1], &temp.join("2"), &[open])).await.unwrap();
    until(&mut second, |e| matches!(e, TorrentEvent::Started)).await;

    let _made_room = tokio::time::timeout(LIMIT, narrow.accept()).await.unwrap().unwrap();
    tokio::time::timeout(LIMIT, wide.accept()).await.expect("its turn comes").unwrap();
    assert!(!is_dialled(blocked), "not before the first has its connection");
    client.shutdown().await;
}
