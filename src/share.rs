//! Sharing until interrupted: what `seed` and `send` do once their torrents are added.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, bail};
use samara_engine::{PeerState, Torrent, TorrentEvent};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::exit::{Exit, Outcome};
use crate::session;
use crate::signal::Interrupt;
use crate::ui::{Event, Progress, Ui};

/// How often progress is told while somebody is connected.
const TICK: Duration = Duration::from_secs(1);

/// Events of all torrents that may wait for us.
const INBOX: usize = 256;

/// A torrent to share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// For messages.
    pub(crate) name: String,
    /// Bytes.
    pub(crate) size: u64,
    /// The running torrent.
    pub(crate) torrent: Torrent,
}

/// Where one torrent stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// So many bytes are hashed.
    Checking(u64),
    Serving,
    Failed,
}

/// Waits until everything is checked, says so, and serves until interrupted.
///
/// # Errors
/// If no torrent can be served, or stdout is closed with `--json`.
pub(crate) async fn share(mut shared: Vec<Shared>, ui: &mut Ui, interrupt: &mut Interrupt) -> Outcome {
    let (mut events, _forwarders) = forward(&mut shared);
    let mut all = All::new(shared);
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = interrupt.wait() => return Ok(Exit::Interrupted),
            Some((index, event)) = events.recv() => all.hear(index, &event, ui)?,
            _ = tick.tick() => all.tell_progress(ui).await?,
        }
    }
}

/// Brings the events of all torrents together. The tasks end when the set is dropped.
fn forward(shared: &mut [Shared]) -> (mpsc::Receiver<(usize, TorrentEvent)>, JoinSet<()>) {
    let (to, events) = mpsc::channel(INBOX);
    let mut tasks = JoinSet::new();
    for (index, shared) in shared.iter_mut().enumerate() {
        // A clone hears only what comes after it, so the events are for the handle that was there first.
        let clone = shared.torrent.clone();
        let (to, mut torrent) = (to.clone(), std::mem::replace(&mut shared.torrent, clone));
        tasks.spawn(async move {
            while let Some(event) = torrent.next_event().await {
                if to.send((index, event)).await.is_err() {
                    break;
                }
            }
        });
    }
    (events, tasks)
}

/// All torrents of this run.
struct All {
    shared: Vec<Shared>,
    standing: Vec<Standing>,
    /// Torrent and address.
    peers: HashSet<(usize, SocketAddr)>,
    /// The progress that was told last holds no more.
    stale: bool,
}

impl All {
    fn new(shared: Vec<Shared>) -> Self {
        Self {
            standing: vec![Standing::Checking(0); shared.len()],
            shared,
            peers: HashSet::new(),
            stale: false,
        }
    }

    fn hear(&mut self, index: usize, event: &TorrentEvent, ui: &mut Ui) -> Result<()> {
        match event {
            TorrentEvent::Checking { done, .. } => {
                self.standing[index] = Standing::Checking(*done);
                self.tell_checking(ui)?;
            }
            TorrentEvent::Started => self.settle(index, Standing::Serving, ui)?,
            TorrentEvent::Failed(why) => self.fail(index, why, ui)?,
            // The command told of what it adds.
            TorrentEvent::Metadata(_) => {}
            TorrentEvent::Peer { addr, state, .. } => {
                self.count((index, *addr), *state);
                session::tell(event, ui)?;
            }
            event => session::tell(event, ui)?,
        }
        Ok(())
    }

    /// A peer is told of as connected again when more is known of it.
    fn count(&mut self, peer: (usize, SocketAddr), state: PeerState) {
        match state {
            PeerState::Connected => self.peers.insert(peer),
            PeerState::Gone => self.peers.remove(&peer),
            // Where it was connected, that it is gone follows.
            PeerState::Banned => return,
        };
        self.stale = true;
    }

    /// Tells how it goes, if there is something to tell: nothing is asked while nobody is there.
    async fn tell_progress(&mut self, ui: &mut Ui) -> Result<()> {
        if std::mem::replace(&mut self.stale, !self.peers.is_empty()) {
            ui.event(&Event::Progress(self.progress().await))?;
        }
        Ok(())
    }

    fn fail(&mut self, index: usize, why: &str, ui: &mut Ui) -> Result<()> {
        let name = &self.shared[index].name;
        if self.shared.len() == 1 {
            bail!("{name} cannot be shared: {why}");
        }
        ui.warning(&format!("{name} is not shared: {why}"))?;
        self.settle(index, Standing::Failed, ui)
    }

    /// One torrent is through. The last one decides.
    fn settle(&mut self, index: usize, standing: Standing, ui: &mut Ui) -> Result<()> {
        let was_open = self.is_open();
        self.standing[index] = standing;
        if !self.standing.contains(&Standing::Serving) && !self.is_open() {
            bail!("none of the {} torrents can be shared", self.shared.len());
        }
        if was_open && !self.is_open() {
            ui.end_progress();
            ui.event(&Event::Seeding {})?;
        }
        Ok(())
    }

    /// Whether a torrent is still being checked.
    fn is_open(&self) -> bool {
        self.standing.iter().any(|s| matches!(s, Standing::Checking(_)))
    }

    fn tell_checking(&self, ui: &mut Ui) -> Result<()> {
        let total = self.shared.iter().map(|s| s.size).sum();
        let done = self.shared.iter().zip(&self.standing).map(|(shared, standing)| match standing {
            Standing::Checking(done) => (*done).min(shared.size),
            Standing::Serving | Standing::Failed => shared.size,
        });
        Ok(ui.event(&Event::Checking { done: done.sum(), total })?)
    }

    async fn progress(&self) -> Progress {
        let mut sum = Progress::default();
        for shared in &self.shared {
            if let Some(snapshot) = shared.torrent.snapshot().await {
                add(&mut sum, &session::progress(&snapshot));
            }
        }
        sum
    }
}

fn add(sum: &mut Progress, one: &Progress) {
    sum.done += one.done;
    sum.total += one.total;
    sum.down_rate += one.down_rate;
    sum.up_rate += one.up_rate;
    sum.downloaded += one.downloaded;
    sum.uploaded += one.uploaded;
    sum.peers += one.peers;
    sum.seeds += one.seeds;
}
