//! Answers that come later, and connections that leave, over real sockets.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream as StdStream};
use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread::{self, JoinHandle};

use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use samara_proto::http::server::{Handler, Request, Status};

use super::super::front::{Answer, Gone, Promise};
use super::*;
use crate::metrics::Count;
use crate::shared::Shared;
use crate::sockets;

/// Hands promises and connections to the test.
struct Probe {
    desk: Desk,
    promises: SyncSender<Promise>,
    gone: SyncSender<Gone>,
    counted: Arc<Mutex<Vec<Count>>>,
}

impl Handler for Probe {
    fn handle(&mut self, _: Time, request: &Request<'_>, reply: &mut Reply) {
        match request.path {
            "/later" => self.promises.send(self.desk.promise(reply)).unwrap(),
            "/leave" => reply.upgrade("Upgrade: x\r\nConnection: upgrade\r\n"),
            path => reply.text(Status::Ok, path),
        }
    }
}

impl Front for Probe {
    fn asked_by(&mut self, sender: IpAddr, key: usize) {
        assert!(sender.is_loopback());
        self.desk.turn_to(key);
    }

    fn count(&self, what: Count, _: u64) {
        self.counted.lock().unwrap().push(what);
    }

    fn take_over(&mut self, gone: Gone) {
        self.gone.send(gone).unwrap();
    }
}

struct Rig {
    addr: SocketAddr,
    promises: Receiver<Promise>,
    gone: Receiver<Gone>,
    counted: Arc<Mutex<Vec<Count>>>,
    stopper: Stopper,
    thread: Option<JoinHandle<()>>,
}

impl Rig {
    fn start(limits: Limits) -> Self {
        Self::start_with(limits, None)
    }

    fn start_with(limits: Limits, greeting: Option<&Arc<Shared<ServerConfig>>>) -> Self {
        let (promises, promised) = mpsc::sync_channel(8);
        let (gone, left) = mpsc::sync_channel(8);
        let bound = sockets::tcp("127.0.0.1:0".parse().unwrap(), 1).unwrap();
        let addr = bound[0].local_addr().unwrap();
        let greeting = greeting.map(Reader::new);
        let (plain, encrypted) = if greeting.is_some() { (vec![], bound) } else { (bound, vec![]) };
        let listeners = Listeners { plain, encrypted, greeting };
        let counted = Arc::<Mutex<Vec<Count>>>::default();
        let for_probe = Arc::clone(&counted);
        let make = move |desk| Probe { desk, promises, gone, counted: for_probe };
        let worker = Worker::new(listeners, make, limits, Clock::start(), 100).unwrap();
        let stopper = worker.stopper();
        let thread = Some(thread::spawn(move || worker.run().unwrap()));
        Self { addr, promises: promised, gone: left, counted, stopper, thread }
    }

    /// How often this was counted.
    fn count(&self, what: Count) -> usize {
        self.counted.lock().unwrap().iter().filter(|counted| **counted == what).count()
    }

    fn ask(&self, paths: &[&str]) -> StdStream {
        let mut stream = StdStream::connect(self.addr).unwrap();
        let text: String = paths.iter().map(|p| format!("GET {p} HTTP/1.1\r\n\r\n")).collect();
        stream.write_all(text.as_bytes()).unwrap();
        stream
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.stopper.stop();
        self.thread.take().map(JoinHandle::join).unwrap().unwrap();
    }
}

fn answer(text: &str) -> Answer {
    Answer {
        counts: Count::Announces,
        status: Status::Ok,
        content_type: "text/plain",
        body: text.as_bytes().to_vec(),
    }
}

/// Reads up to where `end` stands.
fn read_to(stream: &mut impl Read, end: &str) -> String {
    let mut all = Vec::new();
    while !all.ends_with(end.as_bytes()) {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        all.push(byte[0]);
    }
    String::from_utf8(all).unwrap()
}

#[test]
fn answers_come_later_in_the_order_of_asking_and_to_whom_they_belong() {
    let rig = Rig::start(Limits::default());
    let mut first = rig.ask(&["/a", "/later", "/b"]);
    let promise = rig.promises.recv().unwrap();
    let mut second = rig.ask(&["/later", "/later"]);
    rig.promises.recv().unwrap().keep(answer("2"));
    rig.promises.recv().unwrap().keep(answer("3"));
    assert!(!read_to(&mut second, "\r\n\r\n2").contains("\r\n\r\n3"));
    read_to(&mut second, "\r\n\r\n3");
    promise.keep(answer("1"));
    let text = read_to(&mut first, "/b\n");
    let at = |part: &str| text.find(part).unwrap();
    assert_eq!(rig.count(Count::Announces), 3, "answers that come late count when they come");
    assert!(at("/a\n") < at("\r\n\r\n1") && at("\r\n\r\n1") < at("/b\n"), "{text}");
    // One who left before his answer came harms nobody.
    drop(rig.ask(&["/later"]));
    rig.promises.recv().unwrap().keep(answer("4"));
    read_to(&mut rig.ask(&["/c"]), "/c\n");
}

#[test]
fn a_broken_promise_is_answered_for() {
    let rig = Rig::start(Limits { answer_timeout: Duration::ZERO, ..Limits::default() });
    let mut stream = rig.ask(&["/later", "/a"]);
    let promise = rig.promises.recv().unwrap();
    let text = read_to(&mut stream, "/a\n");
    assert!(text.starts_with("HTTP/1.1 503 "), "{text}");
    promise.keep(answer("too late"));
    stream.write_all(b"GET /b HTTP/1.1\r\n\r\n").unwrap();
    assert!(!read_to(&mut stream, "/b\n").contains("too late"));
    assert_eq!([Count::Unavailable, Count::Errors, Count::Announces].map(|what| rig.count(what)), [1, 1, 0]);
}

#[test]
fn a_connection_leaves_with_what_came_behind() {
    let rig = Rig::start(Limits::default());
    let mut stream = rig.ask(&["/a", "/leave"]);
    stream.write_all(b"rest").unwrap();
    read_to(&mut stream, "101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n");
    let gone = rig.gone.recv().unwrap();
    let mut taken = StdStream::from(gone.channel.stream);
    taken.set_nonblocking(false).unwrap();
    let mut rest = gone.rest;
    Read::take(&mut taken, 4 - rest.len() as u64).read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"rest");
    taken.write_all(b"of us").unwrap();
    read_to(&mut stream, "of us");
}

#[test]
fn who_asks_for_much_is_answered_in_turns() {
    let rig = Rig::start(Limits::default());
    // All of it is there before any of it is read, so that the system tells of it only once.
    let paths = [&["/later"][..], &["/a"; 1000], &["/last"]].concat();
    let mut stream = rig.ask(&paths);
    let promise = rig.promises.recv().unwrap();
    read_to(&mut rig.ask(&["/b"]), "/b\n");
    promise.keep(answer("now"));
    let text = read_to(&mut io::BufReader::new(&mut stream), "/last\n");
    assert_eq!(text.matches("HTTP/1.1 200").count(), paths.len());
    // More at once than are accepted in a row.
    let crowd: Vec<_> = (0..90).map(|_| rig.ask(&["/c"])).collect();
    crowd.into_iter().for_each(|mut one| _ = read_to(&mut one, "/c\n"));
}

/// A certificate for `t`, and what serves it.
fn certificate() -> (CertificateDer<'static>, ServerConfig) {
    let made = rcgen::generate_simple_self_signed(vec![String::from("t")]).unwrap();
    let cert = made.cert.der().clone();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    (cert.clone(), builder.with_single_cert(vec![cert], key).unwrap())
}

/// A client that trusts one certificate only.
fn encrypted(
    addr: SocketAddr,
    trusted: &CertificateDer<'static>,
) -> StreamOwned<ClientConnection, StdStream> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
    let name = "t".try_into().unwrap();
    let tls = ClientConnection::new(Arc::new(config.with_no_client_auth()), name).unwrap();
    StreamOwned::new(tls, StdStream::connect(addr).unwrap())
}

#[test]
fn encrypted_connections_do_all_that_plain_ones_do_and_a_renewed_certificate_drops_none() {
    let (cert, config) = certificate();
    let greeting = Shared::new(config);
    let rig = Rig::start_with(Limits::default(), Some(&greeting));
    let mut old = encrypted(rig.addr, &cert);
    old.write_all(b"GET /a HTTP/1.1\r\n\r\nGET /later HTTP/1.1\r\n\r\n").unwrap();
    read_to(&mut old, "/a\n");
    let large = "x".repeat(3 << 20) + "end";
    rig.promises.recv().unwrap().keep(answer(&large));
    assert!(read_to(&mut old, "xend").len() > large.len());
    let (renewed, config) = certificate();
    greeting.set(config);
    let mut new = encrypted(rig.addr, &renewed);
    new.write_all(b"GET /leave HTTP/1.1\r\n\r\nrest").unwrap();
    read_to(&mut new, "Connection: upgrade\r\n\r\n");
    let mut gone = rig.gone.recv().unwrap();
    assert_eq!(gone.rest, b"rest");
    assert_eq!(gone.channel.write(b"of us").unwrap(), 5);
    read_to(&mut new, "of us");
    old.write_all(b"GET /b HTTP/1.1\r\nConnection: close\r\n\r\n").unwrap();
    let mut end = String::new();
    old.read_to_string(&mut end).unwrap();
    assert!(end.ends_with("/b\n"), "an end that is not announced by TLS would be an error");
    let stranger = encrypted(rig.addr, &cert).write_all(b"GET /b HTTP/1.1\r\n\r\n");
    assert!(stranger.unwrap_err().to_string().contains("certificate"));
    let mut plain = rig.ask(&["/a"]);
    assert_eq!(plain.read(&mut [0; 1]).unwrap(), 1, "an alert");
}
