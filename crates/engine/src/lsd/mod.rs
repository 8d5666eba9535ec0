//! Peers on the local network: the sockets of local service discovery (BEP 14), for all torrents of a client.
//!
//! One task carries notes from the desk and datagrams from the network to the [`Lsd`] machine, and what that says to the
//! network and to torrents (`task.rs`). Each place where we can be called, an interface and a family (`places.rs`), has
//! sockets of its own (`station.rs`), so that it is known by which interface a datagram came, and each tells of the port
//! that is open there. Interfaces come and go, so they are looked at again every now and then.
//!
//! Where we do not listen nothing is announced and nobody heard: who confines a client to an address does not want it
//! to show elsewhere. Tunnels are left out, for their other end is not one's own network. What cannot be opened or sent
//! is passed over: a machine without multicast has no neighbours.
//!
//! Tested beside the code over multicast on loopback, and between network namespaces in `tests/lan.rs` of the command.

mod places;
mod station;
mod task;

use std::net::SocketAddr;
use std::sync::Arc;

use samara_proto::lsd::Lsd;
use tokio::task::JoinSet;

use crate::client::Shared;

/// Starts the task, if neighbours are to be looked for. It ends with the client.
pub(crate) fn start(shared: &Arc<Shared>, listening: &[SocketAddr]) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    match getrandom::u64() {
        Ok(seed) if shared.config.lsd => {
            tasks.spawn(task::run(Arc::clone(shared), Lsd::new(seed), listening.into()));
        }
        _ => shared.desk.lsd.close(),
    }
    tasks
}
