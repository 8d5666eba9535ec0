//! Asks the DHT node of a hub as much as it answers, and tells how much that is:
//!
//! ```text
//! cargo build --release
//! cargo run --release -p samara-hub --example dht_flood -- target/release/samara [SECONDS]
//! ```
//!
//! A crowd of nodes (127.1.x.y, port 7000) answers the hub meanwhile, so that its table fills and its answers have the
//! usual size. Addresses of this machine are not limited.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket as StdSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, io, thread};

use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token};
use samara_proto::dht::Contact;
use samara_proto::dht::contact::push_node;
use samara_proto::dht::message::{Body, Message, Method, Query, Response, Want, parse};
use samara_proto::dht::saved::{Both, Saved};
use samara_proto::ids::NodeId;
use samara_proto::rng::Rng;

/// Nodes of the crowd.
const CROWD: usize = 400;

/// Sockets that ask.
const ASKERS: usize = 16;

/// Questions on their way of each.
const WINDOW: usize = 32;

/// The crowd fills the table for so long.
const WARM_UP: Duration = Duration::from_secs(10);

fn main() -> io::Result<()> {
    let mut args = env::args().skip(1);
    let samara = args.next().expect("where samara is");
    let seconds = args.next().and_then(|n| n.parse().ok()).unwrap_or(5);
    let crowd = Crowd::new()?;
    let mut hub = Hub::start(&samara, &crowd)?;
    thread::spawn(move || crowd.run());
    thread::sleep(WARM_UP);
    let mut flood = Flood::new(hub.addr)?;
    for kind in ["ping", "find_node", "get_peers"] {
        let (cpu, start) = (hub.cpu_seconds(), Instant::now());
        let (answers, bytes) = flood.run(kind, Duration::from_secs(seconds))?;
        let (cpu, took) = (hub.cpu_seconds() - cpu, start.elapsed().as_secs_f64());
        println!(
            "{kind}: {:.0} answers a second of {} bytes, {:.0} per CPU-second ({cpu:.2} s in {took:.1} s)",
            answers as f64 / took,
            bytes / answers.max(1),
            answers as f64 / cpu
        );
    }
    hub.process.kill()
}

/// The hub, with one worker, and with the crowd for old acquaintances.
struct Hub {
    process: Child,
    addr: SocketAddr,
}

impl Hub {
    fn start(samara: &str, crowd: &Crowd) -> io::Result<Self> {
        let contacts = crowd.nodes.iter().map(|(_, contact)| *contact).collect();
        let saved = Saved { id: NodeId::random(&mut Rng::new(3)), contacts };
        let file = env::temp_dir().join(format!("samara-dht-flood-{}", std::process::id()));
        fs::write(&file, Both { v4: Some(saved), v6: None }.write())?;
        let mut process = Command::new(samara)
            .args(["hub", "--json", "--only", "dht", "--udp", "127.0.0.1:0", "--workers", "1"])
            .args(["--dht-bootstrap", "none", "--dht-rate", "1GiB", "--dht-state"])
            .arg(&file)
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("it is piped")).read_line(&mut line)?;
        fs::remove_file(file)?;
        let addr = line.split('"').find_map(|part| part.parse().ok()).expect("it tells where it listens");
        Ok(Self { process, addr })
    }

    /// Processor time so far, in hundredths.
    fn cpu_seconds(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap_or_default();
        let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_ascii_whitespace().skip(11);
        fields.take(2).filter_map(|n| n.parse::<f64>().ok()).sum::<f64>() / 100.0
    }
}

/// Those who ask.
struct Flood {
    sockets: Vec<StdSocket>,
    rng: Rng,
}

impl Flood {
    fn new(node: SocketAddr) -> io::Result<Self> {
        let open = |_| {
            let socket = StdSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            socket.connect(node)?;
            socket.set_read_timeout(Some(Duration::from_millis(200)))?;
            Ok(socket)
        };
        Ok(Self { sockets: (0..ASKERS).map(open).collect::<io::Result<_>>()?, rng: Rng::new(1) })
    }

    /// How many answers come in a time, and their bytes.
    fn run(&mut self, kind: &str, time: Duration) -> io::Result<(u64, u64)> {
        let (start, mut answers, mut bytes) = (Instant::now(), 0, 0);
        let (mut out, mut buffer) = (Vec::new(), [0; 2048]);
        let mut open = [0; ASKERS];
        while start.elapsed() < time {
            for (n, socket) in self.sockets.iter().enumerate() {
                // What is lost is asked again.
                while open[n] > 0 {
                    match socket.recv(&mut buffer) {
                        Ok(len) => (open[n], answers, bytes) = (open[n] - 1, answers + 1, bytes + len as u64),
                        Err(_) => open[n] = 0,
                    }
                }
                while open[n] < WINDOW {
                    out.clear();
                    question(kind, NodeId::random(&mut self.rng), &mut out);
                    socket.send(&out)?;
                    open[n] += 1;
                }
            }
        }
        let left = open.iter().enumerate().flat_map(|(n, left)| [n].repeat(*left));
        left.for_each(|n| drop(self.sockets[n].recv(&mut buffer)));
        Ok((answers, bytes))
    }
}

fn question(kind: &str, target: NodeId, out: &mut Vec<u8>) {
    let method = match kind {
        "ping" => Method::Ping,
        "find_node" => Method::FindNode { target },
        _ => Method::GetPeers { info_hash: target, noseed: false, scrape: false },
    };
    let body = Body::Query(Query { id: NodeId([7; 20]), want: Want::default(), method });
    // Read-only, for nobody answers here.
    Message { transaction: b"aa", version: None, ip: None, read_only: true, body }.write(out);
}

/// Nodes that answer and name each other.
struct Crowd {
    poll: Poll,
    nodes: Vec<(UdpSocket, Contact)>,
}

impl Crowd {
    fn new() -> io::Result<Self> {
        let (poll, mut rng) = (Poll::new()?, Rng::new(2));
        let open = |n: usize| {
            let addr = SocketAddr::from(([127, 1, (n / 250) as u8, (n % 250 + 1) as u8], 7000));
            let mut socket = UdpSocket::bind(addr)?;
            poll.registry().register(&mut socket, Token(n), Interest::READABLE)?;
            Ok((socket, Contact { id: NodeId::random(&mut rng), addr }))
        };
        let nodes = (0..CROWD).map(open).collect::<io::Result<_>>()?;
        Ok(Self { poll, nodes })
    }

    fn run(mut self) {
        let mut events = Events::with_capacity(64);
        while self.poll.poll(&mut events, None).is_ok() {
            for event in &events {
                let (socket, own) = &self.nodes[event.token().0];
                let mut buffer = [0; 2048];
                while let Ok((len, from)) = socket.recv_from(&mut buffer) {
                    let answer = self.answer(own, &buffer[..len]);
                    answer.into_iter().for_each(|answer| drop(socket.send_to(&answer, from)));
                }
            }
        }
    }

    fn answer(&self, own: &Contact, bytes: &[u8]) -> Option<Vec<u8>> {
        let message = parse(bytes).ok()?;
        let Body::Query(query) = message.body else { return None };
        let mut nodes = Vec::new();
        if let Method::FindNode { target } = query.method {
            let mut all: Vec<_> = self.nodes.iter().map(|(_, contact)| contact).collect();
            all.sort_unstable_by_key(|contact| contact.id.distance(&target));
            all.iter().take(8).for_each(|contact| push_node(&mut nodes, contact));
        }
        let body = Body::Response(Response { nodes: Some(&nodes), ..Response::new(own.id) });
        let mut out = Vec::new();
        Message { body, ..message }.write(&mut out);
        Some(out)
    }
}
