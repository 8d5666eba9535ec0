//! Conversations over real sockets.

use std::net::{TcpListener, TcpStream as StdStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use samara_proto::signal::MAX_MESSAGE;
use socket2::SockRef;
use tungstenite::protocol::Role;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{Data, OpCode};
use tungstenite::{Message, WebSocket};

use super::*;
use crate::http::Channel;

const HASH: &str = "0123456789abcdefghij";

/// Serves one torrent, or none any more.
struct One(Arc<AtomicBool>);

impl Policy for One {
    fn serves(&mut self, torrent: &WireHash) -> bool {
        torrent.0 == *HASH.as_bytes() && !self.0.load(Ordering::SeqCst)
    }

    fn edition(&self) -> u64 {
        self.0.load(Ordering::SeqCst).into()
    }
}

type Client = WebSocket<StdStream>;

struct Rig {
    listener: TcpListener,
    door: Arc<Door>,
    denied: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Rig {
    fn start(patience: Patience) -> Self {
        let denied = Arc::<AtomicBool>::default();
        let policy = One(Arc::clone(&denied));
        let mut board = Switchboard::new(Config::default(), policy, Clock::start(), 1).unwrap();
        board.patience = patience;
        let door = board.door();
        let thread = Some(thread::spawn(move || board.run().unwrap()));
        Self { listener: TcpListener::bind("127.0.0.1:0").unwrap(), door, denied, thread }
    }

    /// Connects; `rest` is what was read behind the request already.
    fn connect(&self, rest: &[u8]) -> Client {
        let stream = StdStream::connect(self.listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = self.listener.accept().unwrap();
        accepted.set_nonblocking(true).unwrap();
        // Small, for a test of slow readers to fill it.
        SockRef::from(&accepted).set_send_buffer_size(4096).unwrap();
        let channel = Channel::new(mio::net::TcpStream::from_std(accepted), None);
        self.door.hand_over(Arrival { channel, rest: rest.to_vec() });
        WebSocket::from_raw_socket(stream, Role::Client, None)
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.door.stop();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn announce(peer: char, offers: &[&str]) -> Message {
    let peer = peer.to_string().repeat(20);
    let offers: Vec<_> = offers
        .iter()
        .map(|sdp| format!(r#"{{"offer_id":"{peer}","offer":{{"type":"offer","sdp":"{sdp}"}}}}"#))
        .collect();
    let offers = offers.join(",");
    format!(r#"{{"action":"announce","info_hash":"{HASH}","peer_id":"{peer}","left":1,"offers":[{offers}]}}"#)
        .into()
}

fn scrape() -> Message {
    format!(r#"{{"action":"scrape","info_hash":"{HASH}"}}"#).into()
}

fn hear(client: &mut Client) -> String {
    match client.read().unwrap() {
        Message::Text(text) => text.to_string(),
        other => panic!("{other:?}"),
    }
}

/// What ends the conversation.
fn end(client: &mut Client) -> String {
    loop {
        match client.read() {
            Ok(Message::Close(Some(frame))) => return format!("{} {}", frame.code, frame.reason),
            Ok(_) => {}
            Err(error) => return error.to_string(),
        }
    }
}

/// A frame as clients send it.
fn framed(message: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    let data = message.clone().into_data();
    let mut frame = Frame::message(data, OpCode::Data(Data::Text), true);
    frame.header_mut().mask = Some([1, 2, 3, 4]);
    frame.format(&mut bytes).unwrap();
    bytes
}

#[test]
fn offers_and_answers_pass_and_who_leaves_is_forgotten() {
    let rig = Rig::start(Patience::default());
    let mut a = rig.connect(&[]);
    a.send(announce('a', &[])).unwrap();
    assert!(hear(&mut a).contains(r#""incomplete":1"#));
    let mut b = rig.connect(&[]);
    b.send(announce('b', &["v=0"])).unwrap();
    assert!(hear(&mut b).contains(r#""incomplete":2"#));
    assert!(hear(&mut a).contains(r#""sdp":"v=0""#));
    let (from, to) = ("a".repeat(20), "b".repeat(20));
    let answer = format!(
        r#"{{"action":"announce","info_hash":"{HASH}","peer_id":"{from}","to_peer_id":"{to}","offer_id":"{to}","answer":{{"type":"answer","sdp":"yes"}}}}"#
    );
    // As bytes, which some clients send.
    a.send(Message::Binary(answer.into_bytes().into())).unwrap();
    assert!(hear(&mut b).contains(r#""answer":{"type":"answer","sdp":"yes"}"#));
    b.close(None).unwrap();
    assert!(end(&mut b).starts_with("Connection closed normally"));
    drop(b);
    let mut counts = String::new();
    while !counts.contains(r#""incomplete":1"#) {
        a.send(scrape()).unwrap();
        counts = hear(&mut a);
    }
}

#[test]
fn what_came_behind_the_request_is_read_in_any_split() {
    let rig = Rig::start(Patience::default());
    let (first, second) = (framed(&announce('a', &[])), framed(&scrape()));
    for split in [0, 1, first.len() - 1, first.len(), first.len() + 7, first.len() + second.len()] {
        let all = [&first[..], &second[..]].concat();
        let mut client = rig.connect(&all[..split]);
        io::Write::write_all(client.get_mut(), &all[split..]).unwrap();
        assert!(hear(&mut client).contains("interval"));
        assert!(hear(&mut client).contains("files"));
    }
}

#[test]
fn torrents_that_are_not_served_and_nonsense_are_refused() {
    let rig = Rig::start(Patience::default());
    let mut client = rig.connect(&[]);
    let other = announce('a', &[]).to_string().replace(HASH, &"x".repeat(20));
    client.send(other.into()).unwrap();
    assert!(hear(&mut client).contains("does not serve"));
    client.send("ping".into()).unwrap();
    assert!(hear(&mut client).contains("failure reason"));
    client.send(Message::Ping(vec![1].into())).unwrap();
    assert_eq!(client.read().unwrap(), Message::Pong(vec![1].into()));
}

#[test]
fn a_torrent_that_is_no_longer_served_has_no_peers() {
    let rig = Rig::start(Patience::default());
    let mut client = rig.connect(&[]);
    client.send(announce('a', &[])).unwrap();
    assert!(hear(&mut client).contains(r#""incomplete":1"#));
    rig.denied.store(true, Ordering::SeqCst);
    let mut counts = String::new();
    while !counts.contains(r#""incomplete":0"#) {
        client.send(scrape()).unwrap();
        counts = hear(&mut client);
    }
}

#[test]
fn what_no_client_sends_ends_the_connection() {
    let rig = Rig::start(Patience::default());
    let mut client = rig.connect(&[]);
    client.send(" ".repeat(MAX_MESSAGE + 1).into()).unwrap();
    let said = end(&mut client);
    assert!(said.starts_with("1009") || said.contains("reset"), "{said}");
    let mut client = rig.connect(&[]);
    // Not masked.
    io::Write::write_all(client.get_mut(), &[0x81, 1, b'x']).unwrap();
    assert!(end(&mut client).starts_with("1002"));
}

#[test]
fn who_does_not_read_is_dropped() {
    let rig = Rig::start(Patience::default());
    let mut deaf = rig.connect(&[]);
    SockRef::from(deaf.get_ref()).set_recv_buffer_size(4096).unwrap();
    deaf.send(announce('a', &[])).unwrap();
    hear(&mut deaf);
    let mut client = rig.connect(&[]);
    let sdp = "x".repeat(15_000);
    let mut here = 2;
    // 200 offers of 15 KB are three megabytes.
    for _ in 0..200 {
        client.send(announce('b', &[&sdp])).unwrap();
        here = if hear(&mut client).contains(r#""incomplete":1"#) { 1 } else { 2 };
    }
    assert_eq!(here, 1);
}

#[test]
fn who_says_too_much_waits_and_is_answered_all_the_same() {
    let rig = Rig::start(Patience::default());
    let mut client = rig.connect(&[]);
    let mut sender = WebSocket::from_raw_socket(client.get_ref().try_clone().unwrap(), Role::Client, None);
    let sending = thread::spawn(move || (0..1210).for_each(|_| sender.send(scrape()).unwrap()));
    for _ in 0..1210 {
        hear(&mut client);
    }
    sending.join().unwrap();
}

#[test]
fn empty_fragments_without_end_keep_nobody_waiting() {
    let rig = Rig::start(Patience::default());
    let (flooding, client) = (rig.connect(&[]), rig.connect(&[]));
    let mut stream = flooding.get_ref().try_clone().unwrap();
    let enough = Arc::<AtomicBool>::default();
    let seen = Arc::clone(&enough);
    let flood = thread::spawn(move || {
        io::Write::write_all(&mut stream, &[1, 0x81, 0, 0, 0, 0, b'x']).unwrap();
        let fragments = [0, 0x80, 0, 0, 0, 0].repeat(10_000);
        while !seen.load(Ordering::SeqCst) && io::Write::write_all(&mut stream, &fragments).is_ok() {}
    });
    let mut client = client;
    client.get_ref().set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    client.send(scrape()).unwrap();
    let answer = client.read();
    enough.store(true, Ordering::SeqCst);
    drop(flooding);
    flood.join().unwrap();
    assert!(answer.is_ok(), "{answer:?}");
}

#[test]
fn the_silent_are_pinged_and_dropped() {
    let rig = Rig::start(Patience { ping: Duration::ZERO, end: Duration::from_secs(60) });
    let mut client = rig.connect(&[]);
    assert_eq!(client.read().unwrap(), Message::Ping(vec![].into()));
    let rig = Rig::start(Patience { ping: Duration::ZERO, end: Duration::ZERO });
    end(&mut rig.connect(&[]));
}

#[test]
fn a_stop_takes_leave_and_ends() {
    let rig = Rig::start(Patience::default());
    let mut client = rig.connect(&[]);
    client.send(announce('a', &[])).unwrap();
    hear(&mut client);
    let leaving = thread::spawn(move || {
        let said = end(&mut client);
        assert_eq!(said, "1001 the tracker stops");
        client.flush().unwrap();
    });
    rig.door.stop();
    leaving.join().unwrap();
    assert!(rig.door.is_closed());
}
