//! The connection task: one socket, its [`Connection`] machine, and the payload buffers between them.
//!
//! It moves bytes and decides nothing. Events go to the torrent's owner in batches, and waiting for room there is what
//! holds a fast sender back; reads for uploads go to the disk and come back here without passing the owner.
//!
//! Payload waits for the rate limits, if there are any: a block is begun only once some of it may leave, so control
//! messages never queue behind what is held up, and the socket is read only as far as the limit allows.

mod inlet;
mod outlet;

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use samara_proto::ids::{BLOCK_LEN, Block, PeerKey};
use samara_proto::peer::{Command, Connection, Departure, Event, Output, Want};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::inlet::{Inlet, Leave, Progress};
use self::outlet::Outlet;
use crate::clock::Clock;
use crate::disk::{Buf, Pool, StorageHandle};
use crate::limit::Tap;
use crate::torrent::ToTorrent;

/// Socket reads of one wake-up, so that events reach the owner soon and other tasks get their turn.
const READS_PER_WAKE: usize = 4;

/// When the machine names no deadline.
const FAR: Duration = Duration::from_secs(3600);

/// How often the torrent hears that its peer is not slow: it is we who do not read.
const HELD_REPORT: Duration = Duration::from_secs(1);

/// Blocks that were read, `None` where that could not be.
type Read = Vec<(Block, Option<Buf>)>;

/// A connection and all it needs.
pub(crate) struct Peer {
    pub(crate) key: PeerKey,
    pub(crate) stream: TcpStream,
    pub(crate) conn: Connection<Buf>,
    pub(crate) clock: Clock,
    pub(crate) pool: Pool,
    pub(crate) storage: Arc<OnceLock<StorageHandle>>,
    pub(crate) inbox: mpsc::Receiver<Vec<Command>>,
    pub(crate) down: Tap,
    pub(crate) up: Tap,
    pub(crate) torrent: mpsc::Sender<ToTorrent>,
}

impl Peer {
    /// Runs the connection to its end. The torrent gets `Event::Closed` as the last word, whatever happens.
    pub(crate) async fn run(self) {
        Task {
            peer: self,
            inlet: Inlet::new(),
            outlet: Outlet::default(),
            reads: JoinSet::new(),
            starved: false,
            held: false,
            blocked: false,
            closed: false,
        }
        .run()
        .await;
    }
}

struct Task {
    peer: Peer,
    inlet: Inlet,
    outlet: Outlet,
    /// Reads under way; the machine bounds them. Dropping them takes them back.
    reads: JoinSet<Read>,
    /// Reading waits for memory.
    starved: bool,
    /// Reading waits for a rate limit.
    held: bool,
    /// The socket takes no more now.
    blocked: bool,
    /// `Event::Closed` went out.
    closed: bool,
}

impl Task {
    async fn run(mut self) {
        let sleep = tokio::time::sleep(FAR);
        tokio::pin!(sleep);
        loop {
            self.settle().await;
            if self.closed {
                return;
            }
            let deadline = self.deadline();
            if sleep.deadline() > deadline || sleep.is_elapsed() {
                sleep.as_mut().reset(deadline);
            }
            let (peer, blocked, unsent) = (&mut self.peer, self.blocked, self.outlet.waits());
            let (starved, held, needed) = (self.starved, self.held, needed(peer.conn.want()));
            tokio::select! {
                told = peer.inbox.recv() => self.told(told),
                Some(Ok(read)) = self.reads.join_next() => self.read_done(read),
                r = peer.stream.readable(), if !starved && !held => self.readable(r),
                r = peer.stream.writable(), if blocked => self.writable(r),
                buf = peer.pool.take(needed), if starved => self.fed(buf),
                bytes = peer.down.granted(), if held => self.admitted(bytes),
                bytes = peer.up.granted(), if unsent => self.outlet.grant(bytes),
                () = &mut sleep => self.tick(),
            }
        }
    }

    fn tick(&mut self) {
        let now = self.peer.clock.now();
        if self.starved || self.held {
            self.peer.conn.handle_held(now);
        }
        if self.outlet.waits() {
            self.peer.conn.handle_unsent(now);
        }
        self.peer.conn.handle_tick(now);
    }

    /// Lets the machine speak, and sends, until neither has anything to do now.
    async fn settle(&mut self) {
        loop {
            self.forward().await;
            if self.closed || !self.write() {
                return;
            }
        }
    }

    /// Carries out what the machine wants.
    async fn forward(&mut self) {
        let mut events = Vec::new();
        let mut reads = Vec::new();
        while let Some(output) = self.peer.conn.poll() {
            match output {
                Output::Event(event) => events.push(event),
                Output::Read(block) => reads.push(block),
            }
        }
        self.closed |= matches!(events.last(), Some(Event::Closed(_)));
        if !reads.is_empty() {
            self.read_blocks(reads);
        }
        if !events.is_empty() {
            // The owner outlives its connections; if it is gone all the same, so are we.
            let told = self.peer.torrent.send(ToTorrent::Peer(self.peer.key, events)).await;
            self.closed |= told.is_err();
        }
    }

    fn read_blocks(&mut self, blocks: Vec<Block>) {
        match self.peer.storage.get() {
            Some(storage) => drop(self.reads.spawn(storage.read(blocks))),
            None => self.read_done(blocks.into_iter().map(|block| (block, None)).collect()),
        }
    }

    fn read_done(&mut self, read: Read) {
        let now = self.peer.clock.now();
        for (block, data) in read {
            self.peer.conn.handle_read(now, block, data);
        }
    }

    /// Passes on what the owner wants. Without an owner there is nothing to live for.
    fn told(&mut self, told: Option<Vec<Command>>) {
        let now = self.peer.clock.now();
        let first = told.unwrap_or_else(|| vec![Command::Close(Departure::Shutdown)]);
        first.into_iter().for_each(|c| self.peer.conn.handle_command(now, c));
        while let Ok(more) = self.peer.inbox.try_recv() {
            more.into_iter().for_each(|c| self.peer.conn.handle_command(now, c));
        }
    }

    fn readable(&mut self, ready: io::Result<()>) {
        self.failed_if(ready);
        self.read(None);
    }

    /// Reading may go on.
    fn admitted(&mut self, bytes: usize) {
        self.held = false;
        self.read(Some(Leave::granted(bytes)));
    }

    /// Reads what the socket has and the limits allow, within the budget of one wake-up.
    fn read(&mut self, mut leave: Option<Leave>) {
        let Peer { stream, conn, pool, clock, down, .. } = &mut self.peer;
        let now = clock.now();
        for _ in 0..READS_PER_WAKE {
            let Some(leave) = leave.take().or_else(|| self.inlet.ask(conn, down)) else {
                self.held = true;
                return;
            };
            let read = self.inlet.read(stream, conn, pool, now, leave.most);
            self.inlet.settle(down, leave);
            match read {
                Ok(Progress::Some) => {}
                Ok(Progress::Blocked) => return,
                Ok(Progress::Starved) => {
                    self.starved = true;
                    return;
                }
                Ok(Progress::End) => return conn.handle_closed(now, Departure::Remote),
                Err(e) => return self.failed_if(Err(e)),
            }
            if conn.want() == Want::Closed {
                return;
            }
        }
    }

    /// Writes what is due and allowed; true if bytes left, so that the machine may have more.
    fn write(&mut self) -> bool {
        let any = !self.blocked && self.write_on();
        self.outlet.settle(&mut self.peer.up);
        any
    }

    fn write_on(&mut self) -> bool {
        let Peer { stream, conn, clock, up, .. } = &mut self.peer;
        let mut any = false;
        loop {
            self.outlet.fill(conn, up);
            if !self.outlet.is_ready() {
                break;
            }
            match self.outlet.write(stream, conn) {
                Ok(payload) => {
                    any = true;
                    conn.handle_sent(clock.now(), payload);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    self.blocked = true;
                    break;
                }
                Err(e) => {
                    self.failed_if(Err(e));
                    return true;
                }
            }
        }
        any
    }

    fn writable(&mut self, ready: io::Result<()>) {
        self.blocked = false;
        self.failed_if(ready);
    }

    /// The memory came that reading waited for.
    fn fed(&mut self, block: Buf) {
        self.starved = false;
        self.inlet.grant(block);
        self.readable(Ok(()));
    }

    fn failed_if(&mut self, result: io::Result<()>) {
        if let Err(e) = result {
            let gone = matches!(e.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe);
            let why = if gone { Departure::Remote } else { Departure::Io };
            self.peer.conn.handle_closed(self.peer.clock.now(), why);
        }
    }

    fn deadline(&self) -> Instant {
        let report = (self.starved || self.held).then(|| Instant::now() + HELD_REPORT);
        let machine = self.peer.conn.deadline().map(|t| self.peer.clock.instant(t));
        machine.into_iter().chain(report).min().unwrap_or_else(|| Instant::now() + FAR)
    }
}

/// The size of the buffer that the machine needs next, in bytes.
fn needed(want: Want) -> usize {
    match want {
        Want::Payload { block, .. } => block.len as usize,
        Want::Control | Want::Closed => BLOCK_LEN as usize,
    }
}
