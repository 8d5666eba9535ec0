//! The task: what is said of torrents, what is heard, and what is said to the network.
//!
//! It decides one thing itself, whether a torrent that rests is woken for a neighbour: only if we were never called from
//! so near ([`Callers`](crate::trackers::Callers)), since the neighbour hears of us too and can call.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use samara_proto::lsd::{Input, Lsd, Output};
use samara_proto::torrent::Source;
use samara_proto::tracker::fleet::TorrentKey;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};

use super::places::{self, Place};
use super::station::{Heard, Station};
use crate::client::Shared;
use crate::desk::PublicNote;
use crate::entry::{Caller, Entry, Look};
use crate::torrent::ToTorrent;

/// How often interfaces are looked at.
const RESCAN: Duration = Duration::from_secs(10);

/// When the machine names no deadline.
const FAR: Duration = Duration::from_secs(3600);

/// Datagrams that wait for the task, from all places.
const HEARD: usize = 64;

/// Runs until [`Desk::stop_all`](crate::desk::Desk::stop_all).
pub(super) async fn run(shared: Arc<Shared>, lsd: Lsd, listening: Arc<[SocketAddr]>) {
    let (ear, heard) = mpsc::channel(HEARD);
    let torrents = BTreeMap::new();
    Task { shared, lsd, listening, torrents, stations: BTreeMap::new(), opened: 0, ear }.run(heard).await;
}

struct Task {
    shared: Arc<Shared>,
    lsd: Lsd,
    listening: Arc<[SocketAddr]>,
    torrents: BTreeMap<TorrentKey, Arc<Entry>>,
    stations: BTreeMap<u64, Station>,
    /// How many stations there have been.
    opened: u64,
    ear: mpsc::Sender<Heard>,
}

impl Task {
    async fn run(mut self, mut heard: mpsc::Receiver<Heard>) {
        let mut rescan = tokio::time::interval(RESCAN);
        rescan.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let deadline = self.lsd.deadline().map(|due| self.shared.clock.instant(due));
            tokio::select! {
                notes = self.shared.desk.lsd.take() => {
                    if notes.stop {
                        break;
                    }
                    notes.torrents.into_iter().for_each(|(torrent, note)| self.note(torrent, note));
                }
                Some(heard) = heard.recv() => self.heard(&heard),
                _ = rescan.tick() => self.rescan().await,
                () = tokio::time::sleep_until(deadline.unwrap_or_else(|| Instant::now() + FAR)) => {
                    self.handle(Input::Tick);
                }
            }
            self.settle();
        }
        self.shared.desk.lsd.close();
    }

    fn handle(&mut self, input: Input<'_>) {
        self.lsd.handle(self.shared.clock.now(), input);
    }

    fn note(&mut self, torrent: TorrentKey, note: PublicNote) {
        if let Some(entry) = note.add {
            self.torrents.insert(torrent, entry);
        }
        if let Some(hashes) = note.hashes.filter(|_| self.torrents.contains_key(&torrent)) {
            self.handle(Input::Torrent { torrent, hashes });
        }
        if note.stop {
            self.torrents.remove(&torrent);
            self.handle(Input::Gone(torrent));
        }
    }

    fn heard(&mut self, heard: &Heard) {
        let Some(station) = self.stations.get(&heard.place) else { return };
        let input = Input::Heard { from: heard.from, network: &station.place.network, data: &heard.data };
        self.lsd.handle(self.shared.clock.now(), input);
    }

    /// Opens and closes stations as interfaces came and went.
    async fn rescan(&mut self) {
        let listening = Arc::clone(&self.listening);
        let Ok(places) = tokio::task::spawn_blocking(move || places::look(&listening)).await else { return };
        self.stations.retain(|_, station| places.contains(&station.place));
        let is_open = |place: &Place| self.stations.values().any(|station| station.place == *place);
        let new: Vec<Place> = places.into_iter().filter(|place| !is_open(place)).collect();
        let before = self.opened;
        new.into_iter().for_each(|place| self.open(place));
        if self.stations.range(before + 1..).any(|(_, station)| station.place.up) {
            self.handle(Input::Moved);
        }
    }

    fn open(&mut self, place: Place) {
        self.opened += 1;
        let from = place.from;
        match Station::open(place, self.opened, self.ear.clone()) {
            Ok(station) => drop(self.stations.insert(self.opened, station)),
            Err(error) => tracing::debug!(%from, %error, "no neighbours are looked for here"),
        }
    }

    fn settle(&mut self) {
        while let Some(output) = self.lsd.poll() {
            match output {
                Output::Announce(hashes) => {
                    self.stations.values().for_each(|station| station.announce(&hashes, self.lsd.cookie()));
                }
                Output::Peer { torrent, addr } => self.peer(torrent, addr),
            }
        }
    }

    /// Whoever is given a peer gets it behind this task's back, for it must not wait.
    fn peer(&self, torrent: TorrentKey, addr: SocketAddr) {
        let Some(entry) = self.torrents.get(&torrent) else { return };
        let owner = match entry.look() {
            Look::Awake(owner) => Some(owner),
            Look::Dormant(_) if !self.shared.callers.reach_us_from(addr.ip()) => {
                entry.reach(&self.shared, Caller::Stranger)
            }
            Look::Dormant(_) | Look::Ended => None,
        };
        if let Some(owner) = owner {
            let candidates = ToTorrent::Candidates(Source::Lsd, vec![addr]);
            self.shared.spawn(async move { drop(owner.send(candidates).await) });
        }
    }
}
