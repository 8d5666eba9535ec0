//! Changing what is wanted of a torrent that runs: first the disk, so that what comes from now on finds its place, then
//! the machine, which asks for it.
//!
//! One change at a time; of those that come meanwhile the last one counts, and all who asked hear of the end. One that
//! only changes priorities needs no disk. Tested in `tests/selection.rs`.

use samara_proto::ids::PieceIndex;
use samara_proto::torrent::Input;
use tokio::sync::oneshot;

use super::{Data, Owner, ToTorrent};
use crate::api::{Priority, TorrentEvent};
use crate::disk::{Access, StorageError};
use crate::handle::SelectError;

/// Who asked hears how it ended.
pub(crate) type Reply = oneshot::Sender<Result<(), SelectError>>;

/// A change of selection.
struct Change {
    files: Vec<Priority>,
    replies: Vec<Reply>,
}

/// Changes under way.
#[derive(Default)]
pub(super) struct Selection {
    /// The disk is at this one.
    now: Option<Change>,
    /// Then comes this one.
    next: Option<Change>,
}

/// People who wait for one change; more than that press no button.
const MAX_REPLIES: usize = 256;

impl Owner {
    pub(super) fn select(&mut self, files: Vec<Priority>, reply: Reply) {
        let mut replies = self.selection.next.take().map(|change| change.replies).unwrap_or_default();
        if replies.len() < MAX_REPLIES {
            replies.push(reply);
        }
        self.selection.next = Some(Change { files, replies });
        self.select_next();
    }

    /// Begins the next change, if the data is open and none is under way.
    pub(super) fn select_next(&mut self) {
        let Data::Open(opened) = &self.data else { return };
        if self.selection.now.is_some() {
            return;
        }
        let Some(change) = self.selection.next.take() else { return };
        if opened.storage.spec().access == Access::ReadOnly {
            return tell(change, &Err(SelectError::ReadOnly));
        }
        let wanted = change.files.iter().map(|priority| priority.is_wanted()).collect();
        let (done, me) = (opened.storage.select(wanted), self.me.clone());
        self.selection.now = Some(change);
        self.finished = false;
        self.tasks.spawn(async move {
            let result = done.await;
            let _ = me.send(ToTorrent::Selected(result)).await;
        });
    }

    /// Pieces that were there are gone: they are fetched again, or, of a torrent that is only shared, not offered any more.
    pub(super) fn gone(&mut self, pieces: &[PieceIndex], error: &StorageError) {
        let Data::Open(opened) = &self.data else { return };
        let shared_only = opened.storage.spec().access == Access::ReadOnly;
        self.keeper.gone(opened, self.shared.clock.now(), pieces);
        (self.finished, self.known) = (false, false);
        let then = if shared_only { "not shared any more" } else { "fetched again" };
        let text = format!("{error}: {} pieces are {then}", pieces.len());
        let _ = self.news.send(TorrentEvent::Warning(text));
        for &piece in pieces {
            if shared_only {
                self.handle(Input::Prioritise { piece, priority: Some(Priority::Skip) });
            }
            self.handle(Input::Lost { piece });
        }
    }

    /// The disk is ready for the change that is under way.
    pub(super) fn selected(&mut self, result: Result<(), StorageError>) {
        let Some(change) = self.selection.now.take() else { return };
        let result = result.map_err(|error| SelectError::Disk(error.to_string()));
        if result.is_ok() {
            self.basis.wanted = Some(change.files.as_slice().into());
            self.handle(Input::Select(change.files.clone()));
            self.keep(true);
        }
        tell(change, &result);
        self.select_next();
    }
}

fn tell(change: Change, result: &Result<(), SelectError>) {
    for reply in change.replies {
        // Nobody may wait any more.
        let _ = reply.send(result.clone());
    }
}
