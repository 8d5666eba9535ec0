//! Accepting connections: reads only as much of a handshake as tells which torrent it is for, then hands over.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use samara_proto::peer::Prefix;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::client::Shared;
use crate::net::tcp;
use crate::torrent::ToTorrent;

/// Connections that have not yet said what they want. More than that wait in the kernel's backlog.
const MAX_NAMELESS: usize = 64;

/// How long a stranger may take to say which torrent it wants.
const NAME_TIMEOUT: Duration = Duration::from_secs(10);

/// Pause after a failed accept (out of descriptors, mostly), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts until the task is aborted.
pub(crate) async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let nameless = Arc::new(Semaphore::new(MAX_NAMELESS));
    loop {
        let Ok(permit) = Arc::clone(&nameless).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, addr)) => {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    let _ = tokio::time::timeout(NAME_TIMEOUT, introduce(stream, addr, &shared)).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::debug!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Finds the torrent a new connection is for. One that asks for none of ours is dropped without an answer.
async fn introduce(mut stream: TcpStream, addr: SocketAddr, shared: &Shared) {
    let mut first = [0; Prefix::LEN];
    if stream.read_exact(&mut first).await.is_err() {
        return;
    }
    let Some(prefix) = Prefix::parse(&first) else {
        tracing::debug!(%addr, "not a BitTorrent handshake");
        return tcp::abort(stream);
    };
    let Some(torrent) = shared.torrents.find(&prefix.hash) else {
        tracing::debug!(%addr, "asks for a torrent that is not here");
        return tcp::abort(stream);
    };
    tcp::set_up(&stream);
    let _ = torrent.send(ToTorrent::Incoming { stream, addr, prefix }).await;
}
