//! `samara get`: fetches files, and shares them on if asked to.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use samara_engine::{AddTorrent, Priority, SelectFn, Snapshot, State, Torrent, TorrentEvent};
use samara_proto::ids::FileIndex;
use samara_proto::metainfo::Info;
use samara_proto::tracker::TrackerUrl;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use crate::args::Get;
use crate::exit::{Exit, Outcome, usage};
use crate::hashing::{self, Job};
use crate::save::{self, Save};
use crate::search::Search;
use crate::select::Selection;
use crate::signal::Interrupt;
use crate::source::Source;
use crate::ui::{Event, Ui};
use crate::{session, stream};

/// How often progress is told.
const TICK: Duration = Duration::from_millis(300);

/// Fetches until everything is there, then shares on as long as the user wants.
pub(crate) async fn run(args: Get, ui: &mut Ui) -> Outcome {
    if args.stdout && ui.is_json() {
        return Err(usage("--stdout and --json both need stdout: choose one"));
    }
    let source = Source::read_or_fetch(&args.source).await?;
    let goal = Goal::of(&args, &source);
    if let Source::Torrent(metainfo) = &source {
        goal.wanted(&metainfo.info).map_err(usage)?;
    }
    let search = Search::new(asked(&args, &source));
    let save = args.save_torrent.as_ref().map(|to| Save::new(to.as_deref(), &args.output, &source));
    let (peers, linked_trackers) = (find_peers(&args, &source, ui).await?, linked_trackers(&source));
    fs::create_dir_all(&args.output)
        .with_context(|| format!("cannot make the folder {}", args.output.display()))?;
    let mut interrupt = Interrupt::install()?;
    let client = session::start(&args.net, ui).await?;
    let mut add = AddTorrent::new(source.into_add(), &args.output);
    add.peers = peers;
    add.trackers.clone_from(&args.net.trackers);
    add.linked_trackers = linked_trackers;
    add.sequential = args.sequential || args.stdout;
    add.select = goal.select_fn();
    let torrent = client.add(add).await?;
    let outcome = Fetch::new(torrent, goal, (search, save), ui).run(&mut interrupt).await;
    ui.end_progress();
    client.shutdown().await;
    outcome
}

/// Of a link; those of a torrent are known with it.
fn linked_trackers(source: &Source) -> Vec<String> {
    if source.is_whole() { Vec::new() } else { source.trackers() }
}

/// Whether a tracker can be asked who has it.
fn has_trackers(args: &Get, source: &Source) -> bool {
    let linked = || source.trackers().iter().any(|url| TrackerUrl::parse(url).is_ok());
    !args.net.no_trackers && (!args.net.trackers.is_empty() || linked())
}

/// Whether the DHT can be asked who has it.
fn has_dht(args: &Get, source: &Source) -> bool {
    !args.net.no_dht && !source.is_private()
}

/// Who is asked for peers, by the names that `--json` has.
fn asked(args: &Get, source: &Source) -> Vec<&'static str> {
    let peers = !args.net.peers.is_empty() || !source.peers().is_empty();
    let lsd = !args.net.no_lsd && !source.is_private();
    let (trackers, dht) = (has_trackers(args, source), has_dht(args, source));
    let all = [("peers", peers), ("lsd", lsd), ("trackers", trackers), ("dht", dht)];
    all.into_iter().filter(|(_, asked)| *asked).map(|(name, _)| name).collect()
}

/// The peers of the command line and of the link. With nobody to ask, a torrent that is only a hash can never be fetched;
/// one that is known may still be reached.
async fn find_peers(args: &Get, source: &Source, ui: &mut Ui) -> Result<Vec<SocketAddr>> {
    let mut named = args.net.peers.clone();
    named.extend(source.peers());
    let nobody = asked(args, source).is_empty();
    if nobody && !source.is_whole() {
        return Err(usage(
            "nobody is known who has this: leave out --no-dht or --no-lsd, or name a peer with --peer HOST:PORT or a tracker with \
             --tracker URL, or use a link that does (x.pe=, tr=)",
        ));
    }
    if nobody {
        ui.warning(
            "no peer and no tracker is known: waiting for someone to connect; name one with --peer HOST:PORT or \
             --tracker URL",
        )?;
    }
    session::resolve(&named, ui).await
}

/// When we are done.
#[derive(Clone, Debug)]
struct Goal {
    selection: Selection,
    stdout: bool,
    seed: bool,
    seed_ratio: Option<f64>,
    seed_time: Option<Duration>,
}

impl Goal {
    fn of(args: &Get, source: &Source) -> Self {
        let (select, exclude) = (args.select.clone(), args.exclude.clone());
        Self {
            selection: Selection { select, exclude, linked: source.selected() },
            stdout: args.stdout,
            seed: args.seed || args.seed_ratio.is_some() || args.seed_time.is_some(),
            seed_ratio: args.seed_ratio,
            seed_time: args.seed_time,
        }
    }

    fn select_fn(&self) -> Option<SelectFn> {
        if self.selection.is_all() && !self.stdout {
            return None;
        }
        let goal = self.clone();
        Some(Box::new(move |info| Ok(goal.wanted(info)?.into_iter().map(Priority::from).collect())))
    }

    fn wanted(&self, info: &Info) -> Result<Vec<bool>, String> {
        let wanted = self.selection.of(info)?;
        let count = wanted.iter().filter(|w| **w).count();
        if self.stdout && count != 1 {
            return Err(format!("--stdout takes one file, not {count}: choose it with --select"));
        }
        Ok(wanted)
    }

    /// The file for stdout.
    fn streamed(&self, info: &Info) -> Option<FileIndex> {
        let wanted = self.wanted(info).ok().filter(|_| self.stdout)?;
        u32::try_from(wanted.iter().position(|w| *w)?).ok().map(FileIndex)
    }

    /// Whether enough was shared, `for_time` after completion.
    fn is_shared_enough(&self, snapshot: &Snapshot, for_time: Duration) -> bool {
        let ratio = self.seed_ratio.is_some_and(|r| snapshot.uploaded as f64 >= r * snapshot.total as f64);
        ratio || self.seed_time.is_some_and(|t| for_time >= t)
    }
}

/// Bytes of the wanted files.
fn wanted_size(info: &Info, goal: &Goal) -> u64 {
    let wanted = goal.wanted(info).unwrap_or_default();
    info.files()
        .iter()
        .zip(wanted)
        .filter(|(file, wanted)| *wanted && !file.attr.pad)
        .map(|(file, _)| file.length)
        .sum()
}

/// One fetch under way.
struct Fetch<'a> {
    torrent: Torrent,
    goal: Goal,
    search: Search,
    /// Until it is done.
    save: Option<Save>,
    ui: &'a mut Ui,
    /// Wanted bytes, once known.
    size: u64,
    begun: Instant,
    completed: Option<Instant>,
    /// Copies to stdout.
    copy: Option<JoinHandle<Result<()>>>,
}

impl<'a> Fetch<'a> {
    fn new(torrent: Torrent, goal: Goal, (search, save): (Search, Option<Save>), ui: &'a mut Ui) -> Self {
        let (size, begun, completed, copy) = (0, Instant::now(), None, None);
        Self { torrent, goal, search, save, ui, size, begun, completed, copy }
    }

    async fn run(mut self, interrupt: &mut Interrupt) -> Outcome {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = interrupt.wait() => return Ok(Exit::Interrupted),
                event = self.torrent.next_event() => {
                    let complete = matches!(event, Some(TorrentEvent::Complete { .. }));
                    self.hear(event).await?;
                    if complete && !self.save_from_disk(interrupt).await? {
                        return Ok(Exit::Interrupted);
                    }
                }
                copied = finished(&mut self.copy) => {
                    self.copy = None;
                    copied?;
                }
                _ = tick.tick() => self.look().await?,
            }
            if self.is_done().await {
                return self.end();
            }
        }
    }

    /// Everything is there; but perhaps not everything that was wanted beside it.
    fn end(&self) -> Outcome {
        if self.save.is_some() {
            bail!(
                "everything is there, but the torrent could not be saved: no peer gave the piece layers that belong \
                 into a .torrent, and without all of its files they cannot be made; fetch all files, or from more peers"
            );
        }
        Ok(Exit::Done)
    }

    /// Saves the torrent, once all is known that belongs to it.
    async fn save_torrent(&mut self) -> Result<()> {
        let Some(save) = &self.save else { return Ok(()) };
        let Some(metainfo) = self.torrent.metainfo().await else { return Ok(()) };
        if let Some(path) = save.write(&metainfo)? {
            self.save = None;
            self.ui.event(&Event::Saved { path: &path })?;
        }
        Ok(())
    }

    /// Hashes the piece layers from the files if peers gave none, as in a hybrid that was fetched by its v1 hash. False if
    /// the user interrupted it.
    async fn save_from_disk(&mut self, interrupt: &mut Interrupt) -> Result<bool> {
        let Some(save) = &self.save else { return Ok(true) };
        let Some(metainfo) = self.torrent.metainfo().await else { return Ok(true) };
        let (dir, total) = (save.dir().to_owned(), metainfo.info.total_size());
        let worker = move |job: &Job| save::with_layers(&metainfo, &dir, job);
        let Some(metainfo) = hashing::run(self.ui, interrupt, total, worker).await? else { return Ok(false) };
        if let Some(path) = save.write(&metainfo?)? {
            self.save = None;
            self.ui.event(&Event::Saved { path: &path })?;
        }
        Ok(true)
    }

    async fn hear(&mut self, event: Option<TorrentEvent>) -> Result<()> {
        match event {
            None => bail!("the torrent ended before it was complete: try again"),
            Some(TorrentEvent::Failed(why)) => bail!(why),
            Some(TorrentEvent::Complete { path }) => self.complete(&path).await,
            Some(event) => {
                if let TorrentEvent::Metadata(info) = &event {
                    self.size = wanted_size(info, &self.goal);
                    self.start_copy(info);
                }
                session::tell(&event, self.ui)?;
                match event {
                    TorrentEvent::Metadata(_) | TorrentEvent::Started => self.save_torrent().await,
                    _ => Ok(()),
                }
            }
        }
    }

    fn start_copy(&mut self, info: &Arc<Info>) {
        let Some(file) = self.goal.streamed(info) else { return };
        self.copy = Some(tokio::spawn(stream::copy(self.torrent.clone(), Arc::clone(info), file)));
    }

    async fn complete(&mut self, path: &std::path::Path) -> Result<()> {
        self.look().await?;
        self.completed = Some(Instant::now());
        let seconds = self.begun.elapsed().as_secs_f64();
        self.ui.end_progress();
        self.ui.event(&Event::Complete { path, size: self.size, seconds })?;
        if !self.ui.is_json() && !self.goal.stdout {
            self.ui.result(&path.display().to_string())?;
        }
        if self.goal.seed {
            self.ui.event(&Event::Seeding {})?;
        }
        Ok(())
    }

    /// Tells how far it is.
    async fn look(&mut self) -> Result<()> {
        if let Some(snapshot) = self.torrent.snapshot().await {
            let mut progress = session::progress(&snapshot);
            if snapshot.state == State::Metadata && snapshot.total == 0 {
                let told = self.search.progress(&snapshot);
                if let Some(complaint) = self.search.complaint(&told) {
                    self.ui.warning(&complaint)?;
                }
                progress.search = Some(told);
            }
            self.ui.event(&Event::Progress(progress))?;
        }
        self.save_torrent().await
    }

    async fn is_done(&self) -> bool {
        let Some(completed) = self.completed.filter(|_| self.copy.is_none()) else { return false };
        if !self.goal.seed {
            return true;
        }
        let snapshot = self.torrent.snapshot().await.unwrap_or_default();
        self.goal.is_shared_enough(&snapshot, completed.elapsed())
    }
}

/// Waits for a copy; for ever if there is none.
async fn finished(copy: &mut Option<JoinHandle<Result<()>>>) -> Result<()> {
    match copy {
        Some(copy) => copy.await.context("copying to stdout failed")?,
        None => std::future::pending().await,
    }
}
