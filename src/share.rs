//! Sharing until interrupted: what `seed` and `send` do, with one torrent or with ten thousand.
//!
//! Nothing is kept here for each torrent. A program hears of every one; a person gets a summary instead of more than
//! [`FEW`] lines. A torrent that cannot be shared is warned of and stops nothing, unless none can be.

use std::time::Duration;

use anyhow::{Result, bail};
use samara_engine::{AddTorrent, Client, ShareEvent, Sharing, TorrentEvent};
use tokio::time::{MissedTickBehavior, interval};

use crate::exit::{Exit, Outcome};
use crate::session;
use crate::signal::Interrupt;
use crate::ui::human::{bytes, count};
use crate::ui::json::Metadata;
use crate::ui::{Event, Ui};

/// How often progress is told while somebody is connected.
const TICK: Duration = Duration::from_secs(1);

/// As many torrents are told of one by one, to a person.
const FEW: usize = 20;

/// What is to be shared.
pub(crate) struct Batch {
    torrents: Vec<AddTorrent>,
    /// The user knows what it is.
    told: bool,
}

impl Batch {
    /// The user is told what they are.
    pub(crate) const fn new(torrents: Vec<AddTorrent>) -> Self {
        Self { torrents, told: false }
    }

    /// The user was told what it is.
    pub(crate) fn told(torrent: AddTorrent) -> Self {
        Self { torrents: vec![torrent], told: true }
    }
}

/// Adds the torrents, says when all is checked, and serves until interrupted.
///
/// # Errors
/// If no torrent can be shared, or stdout is closed with `--json`.
pub(crate) async fn share(client: &Client, batch: Batch, ui: &mut Ui, interrupt: &mut Interrupt) -> Outcome {
    let Batch { torrents, told } = batch;
    let mut events = client.events();
    let mut show = Show { client, ui, told, named: torrents.len(), refused: 0, first: None, stale: false };
    let mut sharing = Some(client.share(torrents));
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = interrupt.wait() => return Ok(Exit::Interrupted),
            event = added(&mut sharing) => match event {
                Some(event) => show.added(event)?,
                None => {
                    sharing = None;
                    show.all_added().await?;
                }
            },
            Some((_, event)) = events.next() => show.hear(&event)?,
            _ = tick.tick() => show.progress().await?,
        }
    }
}

/// What comes of adding; never, once all are added.
async fn added(sharing: &mut Option<Sharing>) -> Option<ShareEvent> {
    match sharing {
        Some(sharing) => sharing.next().await,
        None => std::future::pending().await,
    }
}

/// Tells the user.
struct Show<'a> {
    client: &'a Client,
    ui: &'a mut Ui,
    /// What is shared was told before.
    told: bool,
    /// Torrents that the user named.
    named: usize,
    /// Those that cannot be shared.
    refused: usize,
    /// The first of them, and why.
    first: Option<(String, String)>,
    /// The progress that was told last holds no more.
    stale: bool,
}

impl Show<'_> {
    fn one_by_one(&self, n: usize) -> bool {
        self.ui.is_json() || n <= FEW
    }

    fn added(&mut self, event: ShareEvent) -> Result<()> {
        match event {
            ShareEvent::Known(info) if !self.told && self.one_by_one(self.named) => {
                self.ui.event(&Event::Metadata(Metadata::of(&info)))?;
            }
            ShareEvent::Checking { done, total } => self.ui.event(&Event::Checking { done, total })?,
            ShareEvent::Refused { what, why } => self.refused(what, why)?,
            _ => {}
        }
        Ok(())
    }

    /// Alone, it is the error that the command ends with.
    fn refused(&mut self, what: String, why: String) -> Result<()> {
        self.refused += 1;
        if self.named > 1 && self.one_by_one(self.refused) {
            self.ui.warning(&format!("{what} is not shared: {why}"))?;
        }
        self.first.get_or_insert((what, why));
        Ok(())
    }

    async fn all_added(&mut self) -> Result<()> {
        let overview = self.client.overview().await;
        match (&self.first, self.named) {
            (Some((what, why)), 1) => bail!("{what} cannot be shared: {why}"),
            (Some(_), named) if overview.torrents == 0 => bail!("none of the {named} torrents can be shared"),
            _ => {}
        }
        self.ui.end_progress();
        if !self.one_by_one(self.refused) {
            let more = count((self.refused - FEW) as u64, "more torrent");
            self.ui.warning(&format!("{more} cannot be shared: --json names all of them"))?;
        }
        if !self.one_by_one(self.named) {
            let torrents = count(overview.torrents as u64, "torrent");
            self.ui.note(&format!("{torrents}: {}", bytes(overview.sum.total)));
        }
        Ok(self.ui.event(&Event::Seeding {})?)
    }

    fn hear(&mut self, event: &TorrentEvent) -> Result<()> {
        match event {
            TorrentEvent::Peer { .. } => self.stale = true,
            TorrentEvent::Warning(_) | TorrentEvent::Tracker(_) => {}
            _ => return Ok(()),
        }
        Ok(session::tell(event, self.ui)?)
    }

    /// Tells how it goes, if there is something to tell: nothing is asked while nobody is there.
    async fn progress(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.stale, self.client.connections() > 0) {
            let overview = self.client.overview().await;
            self.ui.event(&Event::Progress(session::progress(&overview.sum)))?;
        }
        Ok(())
    }
}
