//! The life of a torrent: metadata, opening, running, ending. The other half of [`Owner`].

use std::sync::Arc;

use samara_proto::bitfield::Bitfield;
use samara_proto::ids::PieceIndex;
use samara_proto::metainfo::{FileEntry, Format, Info, Metainfo};
use samara_proto::torrent::{Input, PieceLayers};
use tokio::time::Instant;

use super::opening::{self, OpenError, Opened};
use super::{Data, End, FAR, Owner, readers};
use crate::api::{Snapshot, State, TorrentEvent};
use crate::handle::ReadError;

/// Cells of the piece map.
const MAP_CELLS: usize = 64;

/// How soon batches that found a full inbox are tried again.
const BACKLOG_RETRY: std::time::Duration = std::time::Duration::from_millis(2);

impl Owner {
    /// The info dictionary came from peers.
    pub(super) fn learned(&mut self, info: Arc<Info>) {
        if !self.shared.torrents.extend(&info.hashes(), &self.entry) {
            return self.fail("this torrent is there already, under its other hash".into());
        }
        let _ = self.news.send(TorrentEvent::Metadata(Arc::clone(&info)));
        if info.private() {
            self.links.set_private();
        }
        self.shared.desk.identified(&self.entry.tally, info.hashes(), info.private());
        let long = |file: &FileEntry| file.length > info.piece_length().into();
        let needs_layers = info.format() == Format::V2 && info.files().iter().any(long);
        self.metainfo = Some(Arc::new(Metainfo::new(info, PieceLayers::new())));
        // Without its layers a v2 torrent's data on disk cannot be told from garbage: wait for them.
        if !needs_layers {
            self.open();
        }
    }

    /// The piece layers came from peers. A hybrid's data may be open before.
    pub(super) fn layers(&mut self, layers: PieceLayers) {
        let Some(metainfo) = self.metainfo.as_mut() else { return };
        Arc::make_mut(metainfo).piece_layers = layers;
        if let Data::Open(opened) = &mut self.data {
            opened.metainfo = Arc::clone(metainfo);
        }
        self.open();
    }

    /// Opens and checks the data, unless that was begun before.
    pub(super) fn open(&mut self) {
        let (Some(opening), Some(metainfo)) = (self.opening.take(), &self.metainfo) else { return };
        self.data = Data::Opening;
        let (shared, cancel) = (Arc::clone(&self.shared), Arc::clone(&self.cancel.0));
        self.tasks.spawn(opening::start(opening, Arc::clone(metainfo), shared, self.me.clone(), cancel));
    }

    pub(super) fn opened(&mut self, opened: Result<Opened, OpenError>) {
        let mut opened = match opened {
            Ok(opened) => opened,
            Err(error) => return self.fail(error.to_string()),
        };
        // Piece layers may have come meanwhile.
        opened.metainfo = self.metainfo.clone().unwrap_or(opened.metainfo);
        self.basis.wanted = opened.wanted.as_deref().map(Into::into);
        if let Some(wanted) = &opened.wanted {
            self.handle(Input::Select(wanted.clone()));
        }
        self.links.opened(&opened);
        self.keeper.begin(&opened, self.shared.clock.now());
        let have = opened.have.clone();
        self.known &= have.is_full();
        self.data = Data::Open(opened);
        self.handle(Input::Ready { have });
        self.basis.failures = 0;
        self.announce();
        if !self.woken {
            let _ = self.news.send(TorrentEvent::Started);
        }
        for arrival in self.arrivals.take() {
            self.message(arrival);
        }
        self.select_next();
        // What was adopted is there without ever being done; and only now is it known which pieces exist.
        for (piece, reply) in self.readers.take_all() {
            self.read_piece(piece, reply);
        }
    }

    pub(super) fn piece_done(&mut self, piece: PieceIndex) {
        let Data::Open(opened) = &self.data else { return };
        self.keeper.wrote(self.shared.clock.now(), opened.layout.piece_len(piece));
        for reply in self.readers.take(piece) {
            self.tasks.spawn(readers::serve(&opened.storage, &opened.layout, piece, reply));
        }
    }

    pub(super) fn read_piece(&mut self, piece: PieceIndex, reply: readers::Reply) {
        match &self.data {
            Data::Open(opened) if piece.0 >= opened.layout.num_pieces() => {
                let _ = reply.send(Err(ReadError::OutOfRange));
            }
            Data::Open(opened) if opened.storage.has(piece) => {
                self.tasks.spawn(readers::serve(&opened.storage, &opened.layout, piece, reply));
                self.look_ahead(Some(piece));
            }
            _ => {
                self.readers.wait(piece, reply);
                self.look_ahead(Some(piece));
            }
        }
    }

    /// Somebody reads `piece`, or stopped reading: says what is due, and when.
    fn look_ahead(&mut self, piece: Option<PieceIndex>) {
        let (Data::Open(opened), now) = (&self.data, self.shared.clock.now()) else { return };
        if let Some(piece) = piece {
            self.readers.note(now, piece, &opened.layout);
        }
        let Some(have) = self.machine.have() else { return };
        let rate = self.machine.stats().down_rate;
        let deadlines = self.readers.deadlines(now, &opened.layout, have, rate);
        self.handle(Input::Deadlines(deadlines));
    }

    /// Readers that are gone hold nothing up.
    pub(super) fn expire_readers(&mut self) {
        if self.readers.expire(self.shared.clock.now()) {
            self.look_ahead(None);
        }
    }

    /// Every wanted file has its final name.
    pub(super) fn finished(&mut self) {
        self.tell_trackers();
        let Data::Open(opened) = &self.data else { return };
        self.finished = true;
        if !std::mem::take(&mut self.known) {
            let _ = self.news.send(TorrentEvent::Complete { path: opened.path.clone() });
        }
        self.keep(true);
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let stats = self.machine.stats();
        Snapshot {
            state: self.state(stats.done == stats.wanted),
            done: stats.done,
            total: stats.wanted,
            down_rate: stats.down_rate,
            up_rate: stats.up_rate,
            downloaded: self.basis.downloaded + stats.downloaded,
            uploaded: self.basis.uploaded + stats.uploaded,
            peers: stats.peers,
            seeds: stats.seeds,
            banned: self.basis.banned + stats.banned,
            sources: stats.sources,
            metadata: stats.metadata,
            piece_map: match &self.data {
                Data::Open(opened) => piece_map(&opened.storage.have()),
                Data::Unknown | Data::Opening => Vec::new(),
            },
        }
    }

    fn state(&self, whole: bool) -> State {
        match &self.data {
            _ if self.failed => State::Failed,
            Data::Unknown => State::Metadata,
            Data::Opening => State::Checking,
            Data::Open(_) if whole => State::Seeding,
            Data::Open(_) if self.full => State::Paused,
            Data::Open(_) => State::Downloading,
        }
    }

    /// Syncs and saves if it is time, or `now`.
    pub(super) fn keep(&mut self, now: bool) {
        if let Data::Open(opened) = &self.data {
            self.keeper.sync(opened, self.shared.clock.now(), now);
        }
    }

    /// These pieces survive a crash: only now may the resume data say so.
    pub(super) fn synced(&mut self, pieces: &[PieceIndex]) {
        if let Data::Open(opened) = &mut self.data {
            self.keeper.synced(opened, self.shared.clock.now(), pieces);
        }
    }

    pub(super) fn deadline(&self) -> Instant {
        let clock = self.shared.clock;
        let machine = self.machine.deadline().map(|t| clock.instant(t));
        let keeper = self.keeper.deadline().map(|t| clock.instant(t));
        let backlog = self.links.backlog().then(|| Instant::now() + BACKLOG_RETRY);
        let all = [machine, keeper, backlog, self.stopping, self.rest_at()];
        all.into_iter().flatten().min().unwrap_or_else(|| Instant::now() + FAR)
    }

    /// Whether there is nothing left but to clean up: all connections said goodbye, or had time to.
    pub(super) fn ended(&self) -> bool {
        self.stopping.is_some_and(|limit| self.links.is_empty() || Instant::now() >= limit)
    }

    /// Ends connections, makes the data durable and saves what is proven.
    pub(super) async fn finish(mut self) -> End {
        let dormant = self.leaves();
        if dormant.is_none() {
            self.leave_trackers();
        } else {
            self.tell_trackers();
        }
        drop(self.cancel);
        if dormant.is_none() {
            self.inbox.close();
        }
        self.links.shutdown().await;
        while self.tasks.join_next().await.is_some() {}
        drop((self.links, self.me));
        // With what it holds, which may be a storage just opened.
        let rest = dormant.map(|dormant| (dormant, self.inbox));
        let mut proof = None;
        if let Data::Open(mut opened) = self.data {
            opened.storage.close().await;
            while let Some(event) = opened.events.recv().await {
                self.keeper.last_words(&event);
            }
            self.keeper.finish(&opened).await;
            proof = Some(opened.proof());
        }
        let Some((mut dormant, inbox)) = rest else {
            // Only now may it be added again.
            self.shared.torrents.remove(&self.entry);
            self.entry.end();
            return End::Over;
        };
        dormant.proof = proof.filter(|_| !dormant.is_ailing());
        End::Rest(dormant, inbox)
    }
}

/// How full each of at most [`MAP_CELLS`] equal stretches is.
fn piece_map(have: &Bitfield) -> Vec<u8> {
    let cells = MAP_CELLS.min(have.len() as usize);
    let mut counts = vec![0u64; cells];
    let cell = |piece: u64| (piece * cells as u64 / u64::from(have.len())) as usize;
    have.iter().for_each(|p| counts[cell(u64::from(p.0))] += 1);
    let first = |c: u64| (c * u64::from(have.len())).div_ceil(cells as u64);
    let fill = |(c, n): (usize, u64)| (n * 255 / (first(c as u64 + 1) - first(c as u64))) as u8;
    counts.into_iter().enumerate().map(fill).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_map_is_full_where_all_pieces_are_and_empty_where_none_is() {
        for len in [1, 2, 63, 64, 65, 1000] {
            let full = piece_map(&Bitfield::full(len));
            assert_eq!(full.len(), len.min(64) as usize);
            assert!(full.iter().all(|&f| f == 255), "{len}");
            assert!(piece_map(&Bitfield::new(len)).iter().all(|&f| f == 0));
        }
        assert!(piece_map(&Bitfield::new(0)).is_empty());
        let mut one = Bitfield::new(128);
        one.insert(PieceIndex(2));
        assert_eq!(&piece_map(&one)[..3], &[0, 127, 0]);
    }
}
