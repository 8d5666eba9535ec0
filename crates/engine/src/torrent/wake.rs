//! Waking and resting, as the owner does it: the task of a torrent from the moment it is awake until it rests or ends.
//!
//! When and what: `rest.rs`. Who may come in between: `entry.rs`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use samara_proto::metainfo::Metainfo;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::origin::{Origin, OriginError};
use super::rest::{AwakeOne, Basis, Dormant, patience};
use super::{Data, End, Ends, Owner, ToTorrent};
use crate::api::{AddSource, AddTorrent, Mode, Priority, SelectFn, TorrentEvent};
use crate::client::{Shared, identity};
use crate::entry::{Entry, Look};

/// How soon it is looked again whether a torrent may rest that seemed quiet and was not quite.
const AGAIN: Duration = Duration::from_millis(5);

/// Ways to reach an owner that it holds itself: its own, and that of its connections.
const OWN_SENDERS: usize = 2;

/// Lets a torrent live until it rests or ends.
pub(crate) async fn live(owner: Owner) {
    let (shared, entry) = (Arc::clone(&owner.shared), Arc::clone(&owner.entry));
    let _awake = shared.awake.one();
    let _last = Last { shared: Arc::clone(&shared), entry: Arc::clone(&entry) };
    let end = Box::pin(owner.run()).await;
    go_on(shared, entry, end).await;
}

/// Lets a torrent live that was dormant.
pub(crate) async fn wake(
    shared: Arc<Shared>,
    entry: Arc<Entry>,
    dormant: Dormant,
    inbox: mpsc::Receiver<ToTorrent>,
    _awake: AwakeOne,
) {
    let _last = Last { shared: Arc::clone(&shared), entry: Arc::clone(&entry) };
    let end = run(&shared, &entry, Box::new(dormant), inbox).await;
    go_on(shared, entry, end).await;
}

/// Who came while it was going to rest is seen to at once.
async fn go_on(shared: Arc<Shared>, entry: Arc<Entry>, mut end: End) {
    while let End::Rest(dormant, inbox) = end {
        let Some((dormant, inbox)) = entry.rest(dormant, inbox) else { return };
        end = run(&shared, &entry, dormant, inbox).await;
    }
}

async fn run(
    shared: &Arc<Shared>,
    entry: &Arc<Entry>,
    mut dormant: Box<Dormant>,
    inbox: mpsc::Receiver<ToTorrent>,
) -> End {
    let Look::Awake(me) = entry.look() else { return End::Over };
    match dormant.basis.load(shared, entry).await {
        Ok(metainfo) => {
            let ends = Ends { inbox, me, entry: Arc::clone(entry) };
            match Owner::woken(shared, *dormant, metainfo, ends) {
                Some(owner) => Box::pin(owner.run()).await,
                None => End::Over,
            }
        }
        Err(error) => {
            let why = format!("{} is not shared for now: {error}", dormant.basis.name());
            let _ = entry.news.send(TorrentEvent::Warning(why.clone()));
            let _ = shared.news.send((entry.hashes(), TorrentEvent::Warning(why)));
            dormant.fail(Instant::now());
            End::Rest(dormant, inbox)
        }
    }
}

/// Sees to it that an owner which broke off in the middle leaves no entry that leads nowhere.
struct Last {
    shared: Arc<Shared>,
    entry: Arc<Entry>,
}

impl Drop for Last {
    fn drop(&mut self) {
        if matches!(self.entry.look(), Look::Awake(inbox) if inbox.is_closed()) {
            self.shared.torrents.remove(&self.entry);
            self.shared.desk.stop(&self.entry.tally);
            self.entry.end();
        }
    }
}

/// Who connects while a torrent wakes waits the moment until its data is open, so that it is told of all pieces at once
/// and of none that is not right. If something has to be hashed, which may take long, they are sent away instead. Each
/// has a place among all connections, so there are not more of them than that.
#[derive(Default)]
pub(super) struct Arrivals {
    waiting: Vec<ToTorrent>,
    refuse: bool,
}

impl Arrivals {
    pub(super) fn hold(&mut self, incoming: ToTorrent) {
        if !self.refuse {
            self.waiting.push(incoming);
        }
    }

    /// From now on nobody waits.
    pub(super) fn refuse(&mut self) {
        self.refuse = true;
        self.waiting.clear();
    }

    pub(super) fn take(&mut self) -> Vec<ToTorrent> {
        std::mem::take(&mut self.waiting)
    }
}

impl Basis {
    /// Reads the `.torrent` again, when its turn comes: strangers may wake many at once.
    async fn load(&self, shared: &Arc<Shared>, entry: &Arc<Entry>) -> Result<Metainfo, OriginError> {
        let Some(origin) = self.origin.clone() else { return Err(OriginError::Gone) };
        let (hashes, dir, state) = (entry.hashes(), Arc::clone(&self.dir), shared.config.state_dir.clone());
        let _turn = shared.looking.acquire().await;
        let load = move || origin.load(&hashes, &dir, state.as_deref());
        tokio::task::spawn_blocking(load).await.unwrap_or(Err(OriginError::Gone))
    }

    /// For messages.
    pub(crate) fn name(&self) -> String {
        match &self.origin {
            Some(Origin::File(path)) => path.display().to_string(),
            _ => format!("a torrent in {}", self.dir.display()),
        }
    }

    fn to_add(&self, metainfo: Metainfo) -> AddTorrent {
        let select = |wanted: Arc<[Priority]>| -> SelectFn { Box::new(move |_| Ok(wanted.to_vec())) };
        AddTorrent {
            peers: self.peers.to_vec(),
            mode: self.mode,
            select: self.wanted.clone().map(select),
            sequential: self.sequential,
            limits: self.limits,
            paths: self.paths.as_deref().map(<[Option<PathBuf>]>::to_vec),
            ..AddTorrent::new(AddSource::Metainfo(Box::new(metainfo)), &*self.dir)
        }
    }
}

impl Owner {
    /// The owner of a torrent that was dormant. `None` if the system gives no randomness.
    fn woken(shared: &Arc<Shared>, dormant: Dormant, metainfo: Metainfo, ends: Ends) -> Option<Self> {
        let Dormant { basis, proof, .. } = dormant;
        let add = basis.to_add(metainfo);
        let mut owner = Self::new(Arc::clone(shared), add, None, identity().ok()?, ends).ok()?;
        owner.opening.iter_mut().for_each(|opening| opening.proof = proof);
        owner.basis = basis;
        owner.woken = true;
        owner.known = true;
        owner.announced.go_on();
        Some(owner)
    }

    /// When to look whether it may rest.
    pub(super) fn rest_at(&self) -> Option<Instant> {
        let config = &self.shared.config;
        self.quiet.until(patience(config.rest_after, self.shared.awake.count(), config.max_peers))
    }

    /// Whether it is time to rest.
    pub(super) fn rests(&mut self) -> bool {
        let now = Instant::now();
        self.quiet.note(self.looks_quiet(), now);
        if self.rest_at().is_none_or(|at| now < at) {
            return false;
        }
        self.resting = self.may_rest();
        if !self.resting {
            self.quiet.restart(now + AGAIN);
        }
        self.resting
    }

    /// What can be told at a glance.
    fn looks_quiet(&self) -> bool {
        let whole = self.finished && self.machine.is_complete() && !self.full;
        whole && self.stopping.is_none() && self.links.is_empty() && self.basis.peers.is_empty()
    }

    /// Whether really nothing is left to do.
    fn may_rest(&mut self) -> bool {
        while self.tasks.try_join_next().is_some() {}
        let idle = self.links.is_idle() && self.tasks.is_empty() && self.readers.is_empty();
        let Data::Open(opened) = &self.data else { return false };
        let whole = opened.storage.have().is_full() && self.metainfo.as_deref().is_some_and(is_whole);
        idle && whole && self.keeps_all() && Entry::is_quiet(&self.inbox, OWN_SENDERS)
    }

    /// Without a state folder, bytes of files that nobody selected lie beside the data, and go when it is closed.
    fn keeps_all(&self) -> bool {
        let stays = matches!(&self.data, Data::Open(opened) if opened.store.is_some());
        stays || self.basis.wanted.iter().flat_map(|wanted| &wanted[..]).all(|priority| priority.is_wanted())
    }

    /// What is left of it when it rests, because nothing goes on, or because it failed and may recover.
    pub(super) fn leaves(&self) -> Option<Box<Dormant>> {
        let ailing = self.woken && self.failed && self.waiting.is_empty();
        if !self.resting && !ailing {
            return None;
        }
        let stats = self.machine.stats();
        let mut basis = self.basis.clone();
        basis.downloaded += stats.downloaded;
        basis.uploaded += stats.uploaded;
        basis.banned += stats.banned;
        basis.origin = Some(self.basis.origin.clone().unwrap_or_else(|| self.keep_metainfo()));
        // From now on the files may change while nobody looks.
        basis.mode = if basis.mode == Mode::Trusted { Mode::Seed } else { basis.mode };
        let pieces = self.metainfo.as_ref().map_or(0, |metainfo| metainfo.info.num_pieces());
        let mut dormant = Box::new(Dormant { basis, proof: None, total: stats.wanted, pieces, ailing: None });
        if ailing {
            dormant.fail(Instant::now());
        }
        Some(dormant)
    }

    /// The cheapest place for the `.torrent`: a download's resume data has it anyway.
    fn keep_metainfo(&self) -> Origin {
        match (&self.data, &self.metainfo) {
            (Data::Open(opened), _) if opened.store.is_some() => Origin::Resume,
            (_, Some(metainfo)) => Origin::Held(metainfo.to_bytes().into()),
            (_, None) => Origin::Resume,
        }
    }

    /// How a failure is told: what was dormant before may recover.
    pub(super) fn failure(&self, message: String) -> TorrentEvent {
        if !self.woken {
            return TorrentEvent::Failed(message);
        }
        let name = self.metainfo.as_ref().map_or("a torrent", |metainfo| metainfo.info.name());
        TorrentEvent::Warning(format!("{name} is not shared for now: {message}"))
    }
}

/// Whether all of a `.torrent` is there: the layers of a hybrid from a magnet link may still be missing.
fn is_whole(metainfo: &Metainfo) -> bool {
    let info = &metainfo.info;
    let roots = info.files().iter().filter(|file| file.length > info.piece_length().into());
    roots.filter_map(|file| file.pieces_root).all(|root| metainfo.piece_layers.contains_key(&root))
}
