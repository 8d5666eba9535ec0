//! A tracker on loopback, over HTTP and UDP, that behaves or misbehaves as a test wants.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use samara_proto::ids::WireHash;
use samara_proto::tracker::http::{Head, Peers, write_announce, write_failure, write_scrape};
use samara_proto::tracker::http_query::{self, decode, scrape_hashes};
use samara_proto::tracker::udp::{
    self, AnnounceWriter, Request, ScrapeWriter, parse_request, write_connect, write_error,
};
use samara_proto::tracker::{AnnounceRequest, Event, Failure, Family, ScrapeStats};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;

/// The connection id that it gives out.
const CONNECTION: u64 = 0x1122_3344_5566_7788;

/// What it does when it is asked.
#[derive(Clone, Debug)]
pub(crate) enum Mood {
    /// Gives peers, with this interval and minimal interval.
    Kind { interval: u32, min_interval: Option<u32> },
    /// Refuses with these words.
    Refuse(String),
    /// Answers HTTP with these bytes.
    Raw(Vec<u8>),
    /// Says nothing.
    Silent,
    /// Answers UDP under transaction ids that nobody asked for, and from elsewhere, before the right answer.
    Forged,
}

/// An announce that it heard.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    pub(crate) request: AnnounceRequest,
    pub(crate) from: SocketAddr,
    /// `trackerid`, or for UDP the URL data.
    pub(crate) extra: Vec<u8>,
}

#[derive(Debug)]
struct State {
    mood: Mood,
    heard: Vec<Heard>,
    /// By torrent: who is where, and whether it is a seed.
    swarms: BTreeMap<[u8; 20], BTreeMap<SocketAddr, bool>>,
}

/// It ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Tracker {
    tcp: SocketAddr,
    udp: SocketAddr,
    state: Arc<Mutex<State>>,
    _tasks: JoinSet<()>,
}

impl Tracker {
    pub(crate) async fn start() -> Self {
        Self::start_on("127.0.0.1:0").await
    }

    pub(crate) async fn start_on(addr: &str) -> Self {
        let mood = Mood::Kind { interval: 1800, min_interval: None };
        let state = State { mood, heard: Vec::new(), swarms: BTreeMap::new() };
        let state = Arc::new(Mutex::new(state));
        let (listener, socket) =
            (TcpListener::bind(addr).await.unwrap(), UdpSocket::bind(addr).await.unwrap());
        let (tcp, udp) = (listener.local_addr().unwrap(), socket.local_addr().unwrap());
        let mut tasks = JoinSet::new();
        tasks.spawn(serve_http(listener, Arc::clone(&state)));
        tasks.spawn(serve_udp(socket, Arc::clone(&state)));
        Self { tcp, udp, state, _tasks: tasks }
    }

    pub(crate) fn http(&self) -> String {
        format!("http://{}/announce", self.tcp)
    }

    pub(crate) fn udp(&self) -> String {
        format!("udp://{}", self.udp)
    }

    pub(crate) fn set(&self, mood: Mood) {
        lock(&self.state).mood = mood;
    }

    /// Puts a peer into a swarm by hand.
    pub(crate) fn plant(&self, hash: WireHash, peer: SocketAddr, seed: bool) {
        lock(&self.state).swarms.entry(hash.0).or_default().insert(peer, seed);
    }

    pub(crate) fn heard(&self) -> Vec<Heard> {
        lock(&self.state).heard.clone()
    }

    /// The events heard of a torrent, in order.
    pub(crate) fn events(&self, hash: WireHash) -> Vec<Event> {
        self.heard().iter().filter(|h| h.request.info_hash == hash).map(|h| h.request.event).collect()
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap()
}

impl State {
    fn announce(&mut self, heard: Heard) -> Vec<SocketAddr> {
        let (request, from) = (heard.request, heard.from);
        self.heard.push(heard);
        let me = SocketAddr::new(from.ip(), request.port);
        let swarm = self.swarms.entry(request.info_hash.0).or_default();
        let others: Vec<_> = swarm.keys().copied().filter(|peer| *peer != me).collect();
        if request.event == Event::Stopped {
            swarm.remove(&me);
            return Vec::new();
        }
        swarm.insert(me, request.left == 0);
        let wanted = request.numwant.map_or(50, |n| n.min(200) as usize);
        others.into_iter().filter(|peer| peer.is_ipv4() == from.is_ipv4()).take(wanted).collect()
    }

    fn stats(&self, hash: WireHash) -> ScrapeStats {
        let swarm = self.swarms.get(&hash.0);
        let all = swarm.map_or(0, BTreeMap::len) as u32;
        let complete = swarm.map_or(0, |swarm| swarm.values().filter(|seed| **seed).count()) as u32;
        ScrapeStats { complete, downloaded: 7, incomplete: all - complete }
    }
}

async fn serve_http(listener: TcpListener, state: Arc<Mutex<State>>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, from)) = listener.accept().await {
        connections.spawn(answer_http(stream, from, Arc::clone(&state)));
    }
}

async fn answer_http(mut stream: TcpStream, from: SocketAddr, state: Arc<Mutex<State>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        head.push(byte);
    }
    let target = head.split(|b| *b == b' ').nth(1).unwrap_or_default().to_vec();
    let at = target.iter().position(|b| *b == b'?').unwrap_or(target.len());
    let (path, query) = (&target[..at], &target[(at + 1).min(target.len())..]);
    let answer = http_answer(path, query, from, &mut lock(&state));
    match answer {
        Some(answer) => drop(stream.write_all(&answer).await),
        // Until the other end goes.
        None => drop(stream.read_u8().await),
    }
    let _ = stream.shutdown().await;
}

fn http_answer(path: &[u8], query: &[u8], from: SocketAddr, state: &mut State) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    match (state.mood.clone(), path) {
        (Mood::Silent, _) => return None,
        (Mood::Raw(bytes), _) => return Some(bytes),
        (Mood::Refuse(reason), _) => write_failure(&mut body, &Failure { reason, retry: None }),
        (_, b"/scrape") => {
            let mut files: Vec<_> = scrape_hashes(query).map(|hash| (hash, state.stats(hash))).collect();
            write_scrape(&mut body, &mut files);
        }
        (mood, _) => announce_http(query, from, &mood, state, &mut body),
    }
    let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    answer.append(&mut body);
    Some(answer)
}

fn announce_http(query: &[u8], from: SocketAddr, mood: &Mood, state: &mut State, body: &mut Vec<u8>) {
    let query = http_query::parse_announce(query).unwrap();
    let extra = query.tracker_id.map(|id| decode(id).collect()).unwrap_or_default();
    let peers = state.announce(Heard { request: query.request, from, extra });
    let stats = state.stats(query.request.info_hash);
    let (interval, min_interval) = match mood {
        Mood::Kind { interval, min_interval } => (*interval, *min_interval),
        _ => (1800, None),
    };
    let head = Head {
        interval,
        min_interval,
        complete: stats.complete,
        incomplete: stats.incomplete,
        external_ip: Some(from.ip()),
        tracker_id: Some(b"id & more"),
        ..Head::default()
    };
    let listed: Vec<_> = peers.into_iter().map(|peer| (peer, None)).collect();
    write_announce(body, &head, Peers::Listed(&listed));
}

async fn serve_udp(socket: UdpSocket, state: Arc<Mutex<State>>) {
    let mut buffer = vec![0; 4096];
    while let Ok((len, from)) = socket.recv_from(&mut buffer).await {
        let Some(answer) = udp_answer(&buffer[..len], from, &mut lock(&state)) else { continue };
        if matches!(lock(&state).mood, Mood::Forged) {
            forge(&socket, &answer, from).await;
        }
        let _ = socket.send_to(&answer, from).await;
    }
}

/// A refusal that nobody should believe: with a wrong transaction id, and from a wrong address.
async fn forge(socket: &UdpSocket, answer: &[u8], to: SocketAddr) {
    let right = u32::from_be_bytes(answer[4..8].try_into().unwrap());
    let mut out = [0; 64];
    let len = write_error(&mut out, right.wrapping_add(1), "forged id");
    let _ = socket.send_to(&out[..len], to).await;
    let other = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let len = write_error(&mut out, right, "forged address");
    let _ = other.send_to(&out[..len], to).await;
}

fn udp_answer(datagram: &[u8], from: SocketAddr, state: &mut State) -> Option<Vec<u8>> {
    let mut out = vec![0; 4096];
    let len = match (parse_request(datagram).ok()?, state.mood.clone()) {
        (_, Mood::Silent) => return None,
        (Request::Connect { transaction }, _) => return Some(write_connect(transaction, CONNECTION).into()),
        (Request::Announce { transaction, .. } | Request::Scrape { transaction, .. }, Mood::Refuse(why)) => {
            write_error(&mut out, transaction, &why)
        }
        (Request::Announce { connection, .. } | Request::Scrape { connection, .. }, _)
            if connection != CONNECTION =>
        {
            return None;
        }
        (Request::Announce { transaction, request, options, .. }, mood) => {
            let interval = if let Mood::Kind { interval, .. } = mood { interval } else { 1800 };
            let extra = options.url_data().flatten().copied().collect();
            let peers = state.announce(Heard { request, from, extra });
            let ScrapeStats { complete, incomplete, .. } = state.stats(request.info_hash);
            let head = udp::Head { interval, complete, incomplete };
            let mut writer = AnnounceWriter::new(&mut out, Family::of(from.ip()), transaction, head)?;
            for peer in peers {
                writer.peer(peer);
            }
            writer.finish()
        }
        (Request::Scrape { transaction, hashes, .. }, _) => {
            let mut writer = ScrapeWriter::new(&mut out, transaction)?;
            for hash in hashes.iter() {
                writer.stats(state.stats(hash));
            }
            writer.finish()
        }
    };
    out.truncate(len);
    Some(out)
}
