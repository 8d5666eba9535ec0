//! Accepting connections: reads only as much of a handshake as tells which torrent it is for, then hands over.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use samara_proto::peer::Prefix;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use crate::client::Shared;
use crate::entry::{Caller, Look};
use crate::net::tcp;
use crate::torrent::ToTorrent;

/// Connections that have not yet said what they want. One more, and the oldest goes: an honest peer says it at once,
/// and those who say nothing must not keep it out.
const MAX_NAMELESS: usize = 64;

/// How long a stranger may take to say which torrent it wants.
const NAME_TIMEOUT: Duration = Duration::from_secs(10);

/// Pause after a failed accept (out of descriptors, mostly), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts until the other end of `stop` is dropped.
pub(crate) async fn accept(listener: TcpListener, shared: Arc<Shared>, mut stop: watch::Receiver<()>) {
    let mut strangers = Strangers::default();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.changed() => break,
        };
        match accepted {
            Ok((stream, addr)) => strangers.admit(stream, addr, Arc::clone(&shared)),
            Err(error) => {
                tracing::debug!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    strangers.tasks.shutdown().await;
}

/// Those who have not yet said what they want.
#[derive(Default)]
struct Strangers {
    tasks: JoinSet<()>,
    /// In the order in which they came.
    queue: VecDeque<AbortHandle>,
}

impl Strangers {
    fn admit(&mut self, stream: TcpStream, addr: SocketAddr, shared: Arc<Shared>) {
        while self.tasks.try_join_next().is_some() {}
        self.queue.retain(|task| !task.is_finished());
        if self.queue.len() >= MAX_NAMELESS {
            self.queue.pop_front().iter().for_each(AbortHandle::abort);
        }
        self.queue.push_back(self.tasks.spawn(async move {
            let _ = tokio::time::timeout(NAME_TIMEOUT, introduce(stream, addr, &shared)).await;
        }));
    }
}

/// Finds the torrent a new connection is for. One that asks for none of ours is dropped without an answer.
///
/// The place among all connections is taken before a dormant torrent is woken, so that connecting wakes no more torrents
/// at one time than there may be connections.
async fn introduce(mut stream: TcpStream, addr: SocketAddr, shared: &Arc<Shared>) {
    let mut first = [0; Prefix::LEN];
    if stream.read_exact(&mut first).await.is_err() {
        return;
    }
    let Some(prefix) = Prefix::parse(&first) else {
        tracing::debug!(%addr, "not a BitTorrent handshake");
        return tcp::abort(stream);
    };
    shared.callers.note(addr.ip());
    let Some(torrent) = shared.torrents.find(&prefix.hash) else {
        tracing::debug!(%addr, "asks for a torrent that is not here");
        return tcp::abort(stream);
    };
    let awake = matches!(torrent.look(), Look::Awake(_));
    let Some(place) = shared.places.admit(awake) else {
        tracing::debug!(%addr, "no room for another connection");
        return tcp::abort(stream);
    };
    let Some(owner) = torrent.reach(shared, Caller::Stranger) else { return tcp::abort(stream) };
    tcp::set_up(&stream);
    let _ = owner.send(ToTorrent::Incoming { stream, addr, prefix, place }).await;
}
