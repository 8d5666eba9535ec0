//! Peers that break the rules, on real sockets: each goes for a named reason, and the transfer next to it completes.

mod common;

use std::time::Duration;

use common::raw::{Raw, handshake};
use common::stage::Stage;
use common::{LIMIT, address, config, eventually, random};
use samara_engine::{Config, PeerState, TorrentEvent};
use samara_proto::ids::{Block, PieceIndex, WireHash};
use samara_proto::metainfo::Format;
use samara_proto::wire::Message;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

const BLOCK: u32 = 16384;

const fn block(piece: u32, offset: u32) -> Block {
    Block { piece: PieceIndex(piece), offset, len: BLOCK }
}

#[tokio::test]
async fn garbage_instead_of_a_handshake_is_hung_up_on() {
    let mut stage = Stage::new("garbage").await;
    let mut raw = Raw::connect(address(&stage.leech)).await;
    stage.help().await;
    raw.write(&random(7, 4096)).await;
    raw.hung_up().await;
    stage.finish().await;
}

#[tokio::test]
async fn a_handshake_may_come_byte_by_byte() {
    let mut stage = Stage::new("slow").await;
    let mut raw = Raw::connect(address(&stage.leech)).await;
    for byte in handshake(stage.hash()) {
        raw.write(&[byte]).await;
        tokio::task::yield_now().await;
    }
    assert!(raw.read_handshake().await);
    stage.help().await;
    stage.finish().await;
}

#[tokio::test]
async fn strangers_that_say_nothing_keep_nobody_out() {
    let mut stage = Stage::new("strangers").await;
    let mut strangers = Vec::new();
    for _ in 0..200 {
        let mut raw = Raw::connect(address(&stage.leech)).await;
        raw.write(&handshake(stage.hash())[..30]).await;
        strangers.push(raw);
    }
    stage.help().await;
    // Far less than they may take to name a torrent.
    tokio::time::timeout(Duration::from_secs(5), stage.finish()).await.expect("the good peer gets in");
}

#[tokio::test]
async fn who_asks_for_another_torrent_is_hung_up_on() {
    let mut stage = Stage::new("unknown").await;
    let mut raw = Raw::connect(address(&stage.leech)).await;
    raw.write(&handshake(WireHash([9; 20]))).await;
    raw.hung_up().await;
    stage.help().await;
    stage.finish().await;
}

#[tokio::test]
async fn who_answers_with_another_torrent_is_hung_up_on() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let liar = listener.local_addr().unwrap();
    let mut stage = Stage::with("wrong-hash", 2_000_001, config(), &[liar]).await;
    let mut raw = Raw::accept(&listener, WireHash([9; 20])).await;
    raw.hung_up().await;
    stage.help().await;
    stage.finish().await;
}

#[tokio::test]
async fn a_message_of_four_gigabytes_is_not_waited_for() {
    let mut stage = Stage::new("huge").await;
    let mut raw = stage.raw().await;
    stage.help().await;
    raw.write(&[0xff, 0xff, 0xff, 0xff, 20, 1]).await;
    assert_eq!(stage.departure(raw.addr()).await.name(), "oversized-message");
    stage.finish().await;
}

#[tokio::test]
async fn blocks_that_nobody_asked_for_are_not_taken() {
    let mut stage = Stage::new("unasked").await;
    let mut raw = stage.raw().await;
    for n in 0..64 {
        raw.send_block(block(n % 8, 0), &random(n.into(), BLOCK as usize)).await;
    }
    assert_eq!(stage.departure(raw.addr()).await.name(), "unrequested-blocks");
    assert_eq!(stage.fetched.snapshot().await.unwrap().downloaded, 0);
    stage.help().await;
    stage.finish().await;
}

#[tokio::test]
async fn a_liar_is_found_out_and_does_not_come_back() {
    let mut stage = Stage::new("liar").await;
    let mut raw = stage.raw().await;
    raw.send(Message::HaveAll).await;
    raw.send(Message::Unchoke).await;
    while let Some(block) = raw.request().await {
        let lie = random(block.offset.into(), block.len as usize);
        if !raw.send_block(block, &lie).await {
            break;
        }
    }
    assert_eq!(stage.departure(raw.addr()).await.name(), "bad-pieces");
    assert_eq!(stage.fetched.snapshot().await.unwrap().done, 0);
    stage.help().await;
    stage.finish().await;
}

/// Sends the first block that it is asked for, wrong, and refuses the rest: so the piece comes from several.
async fn spoil(raw: &mut Raw) {
    raw.send(Message::HaveAll).await;
    raw.send(Message::Unchoke).await;
    let first = raw.request().await.expect("it is asked");
    raw.send(Message::Choke).await;
    // Sent before it choked, for all that the other side knows.
    raw.send_block(first, &random(3, first.len as usize)).await;
}

#[tokio::test]
async fn one_wrong_block_among_right_ones_is_found_out() {
    for (format, most) in [(Format::V1, 8), (Format::V2, 1), (Format::Hybrid, 1)] {
        let mut stage = Stage::of(&format!("one-block-{format}"), format).await;
        let mut raw = stage.raw().await;
        spoil(&mut raw).await;
        eventually("it came", async || stage.fetched.snapshot().await.unwrap().downloaded > 0).await;
        stage.help().await;
        let addr = raw.addr();
        let banned = |e: &TorrentEvent| {
            matches!(e, TorrentEvent::Peer { addr: a, state: PeerState::Banned, reason: Some(r), .. }
                if *a == addr && r.name() == "bad-pieces")
        };
        common::until(&mut stage.fetched, banned).await;
        let whole = async || stage.fetched.snapshot().await.unwrap().done == stage.data.len() as u64;
        eventually("it is whole", whole).await;
        let now = stage.fetched.snapshot().await.unwrap();
        let wasted = now.downloaded - now.done;
        assert_eq!(now.banned, 1, "{format}");
        assert!((u64::from(BLOCK)..=most * u64::from(BLOCK)).contains(&wasted), "{format}: {wasted}");
        stage.finish().await;
    }
}

#[tokio::test]
async fn a_flood_of_messages_without_meaning_is_cut_off() {
    let mut stage = Stage::new("flood").await;
    let mut raw = stage.raw().await;
    stage.help().await;
    let flood = [0, 0, 0, 1, 99].repeat(20_000);
    while raw.write(&flood).await {}
    assert_eq!(stage.departure(raw.addr()).await.name(), "message-flood");
    stage.finish().await;
}

#[tokio::test]
async fn a_flood_of_keep_alives_is_cut_off() {
    let mut stage = Stage::new("keep-alives").await;
    let mut raw = stage.raw().await;
    stage.help().await;
    while raw.write(&[0; 65536]).await {}
    assert_eq!(stage.departure(raw.addr()).await.name(), "message-flood");
    stage.finish().await;
}

#[tokio::test]
async fn who_asks_for_everything_and_reads_nothing_holds_little() {
    let mut stage = Stage::with("deaf", 20_000_000, config(), &[]).await;
    stage.help().await;
    common::complete(&mut stage.fetched).await;
    let mut raw = stage.raw().await;
    raw.send(Message::Interested).await;
    raw.wait_for(1).await;
    for n in 0..1200 {
        raw.send(Message::Request(block(n / 4, n % 4 * BLOCK))).await;
    }
    let up = || stage.leech.memory().up;
    eventually("blocks are read for it", async || up() > 0).await;
    let second = common::client(None).await;
    let add = common::download(&stage.metainfo, &stage.temp.join("second"), &[address(&stage.leech)]);
    let mut other = second.add(add).await.unwrap();
    let mut most = 0;
    let watch = async {
        loop {
            most = most.max(up());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! { () = watch => {}, () = common::complete(&mut other) => {} }
    second.shutdown().await;
    // What is left belongs to the deaf one: what it is worth by the least window, and one write.
    eventually("only the least is held", async || up() <= 2 << 20).await;
    assert!(most <= stage.leech.memory().up_budget, "{most}");
    drop(raw);
    eventually("it is given back", async || stage.leech.memory().up == 0).await;
    stage.finish().await;
}

#[tokio::test]
async fn too_many_requests_are_a_reason_to_go() {
    let mut stage = Stage::new("requests").await;
    stage.help().await;
    common::complete(&mut stage.fetched).await;
    let mut raw = stage.raw().await;
    raw.send(Message::Interested).await;
    raw.wait_for(1).await;
    let mut requests = Vec::new();
    for n in 0..20_000 {
        Message::Request(block(n % 30, n / 30 % 4 * BLOCK)).encode(&mut requests);
    }
    raw.write(&requests).await;
    assert_eq!(stage.departure(raw.addr()).await.name(), "request-flood");
    stage.finish().await;
}

#[tokio::test]
async fn who_promises_everything_and_sends_nothing_delays_nobody() {
    let mut stage = Stage::new("snubs").await;
    let mut raw = stage.raw().await;
    raw.send(Message::HaveAll).await;
    raw.send(Message::Unchoke).await;
    raw.request().await.expect("it is asked");
    stage.help().await;
    tokio::time::timeout(Duration::from_secs(5), stage.finish()).await.expect("the good peer brings it all");
}

#[tokio::test]
async fn who_goes_in_the_middle_of_a_block_is_not_missed() {
    let mut stage = Stage::new("middle").await;
    let mut raw = stage.raw().await;
    raw.send(Message::HaveAll).await;
    raw.send(Message::Unchoke).await;
    let block = raw.request().await.expect("it is asked");
    let start = block.piece.0 as usize * common::stage::PIECE + block.offset as usize;
    let half = stage.data[start..start + 5000].to_vec();
    raw.send_block(block, &half).await;
    eventually("the half is in memory", async || stage.leech.memory().down > 0).await;
    let addr = raw.addr();
    drop(raw);
    assert_eq!(stage.departure(addr).await.name(), "remote");
    eventually("and let go", async || stage.leech.memory().down == 0).await;
    stage.help().await;
    stage.finish().await;
}

#[tokio::test]
async fn more_connections_than_there_is_room_for_are_refused() {
    let mut stage = Stage::with("crowd", 2_000_001, Config { max_peers: 20, ..config() }, &[]).await;
    let mut crowd = Vec::new();
    for _ in 0..200 {
        let mut raw = Raw::connect(address(&stage.leech)).await;
        raw.write(&handshake(stage.hash())).await;
        crowd.push(raw);
    }
    let mut served = 0;
    for raw in &mut crowd {
        served += u32::from(raw.read_handshake().await);
    }
    assert_eq!(served, 20);
    assert_eq!(stage.fetched.snapshot().await.unwrap().peers, 20);
    drop(crowd);
    eventually("all are gone", async || stage.fetched.snapshot().await.unwrap().peers == 0).await;
    stage.help().await;
    stage.finish().await;
}

#[tokio::test]
async fn a_client_does_not_talk_to_itself() {
    let probe = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let me = probe.local_addr().unwrap();
    drop(probe);
    let mut stage = Stage::with("self", 2_000_001, Config { listen: vec![me], ..config() }, &[me]).await;
    stage.help().await;
    eventually("the other is there", async || stage.fetched.snapshot().await.unwrap().peers > 0).await;
    assert!(stage.fetched.peers().await.iter().all(|peer| peer.addr != me || peer.peer_id.is_none()));
    stage.finish().await;
}

#[tokio::test]
async fn a_peer_that_reads_its_answer_slowly_gets_all_of_it() {
    let mut stage = Stage::new("trickle").await;
    stage.help().await;
    common::complete(&mut stage.fetched).await;
    let mut raw = stage.raw().await;
    raw.send(Message::Interested).await;
    raw.wait_for(1).await;
    for n in 0..8 {
        raw.send(Message::Request(block(n, 0))).await;
    }
    for n in 0..8 {
        let mut message = Vec::new();
        let read = async {
            while message.len() < 13 + BLOCK as usize {
                message.push(raw.stream.read_u8().await.unwrap());
            }
        };
        tokio::time::timeout(LIMIT, read).await.unwrap();
        let start = n * common::stage::PIECE;
        assert!(message[13..] == stage.data[start..start + BLOCK as usize], "{n}");
    }
    stage.finish().await;
}
