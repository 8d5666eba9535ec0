//! How the rest of a client reaches the DHT's task, and what it may say of the nodes.
//!
//! Nobody waits: what the task has no room for is of little use anyway.

use std::net::{IpAddr, SocketAddr};

use tokio::sync::mpsc;

use super::api::Command;

/// The way to the task.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    commands: mpsc::Sender<Command>,
    /// Where the nodes are, unless they answer nobody.
    nodes: Vec<SocketAddr>,
}

impl Line {
    pub(super) const fn new(commands: mpsc::Sender<Command>, nodes: Vec<SocketAddr>) -> Self {
        Self { commands, nodes }
    }

    /// The port of our node to tell a peer at `ip` (BEP 5).
    pub(crate) fn port(&self, ip: IpAddr) -> Option<u16> {
        let v4 = ip.to_canonical().is_ipv4();
        self.nodes.iter().find(|node| node.is_ipv4() == v4).or(self.nodes.first()).map(SocketAddr::port)
    }

    /// A peer says that a node is there.
    pub(crate) fn hint(&self, addr: SocketAddr) {
        let _ = self.commands.try_send(Command::Hint(addr));
    }

    /// A torrent says that nodes are there.
    pub(crate) fn named(&self, nodes: &[(String, u16)]) {
        /// Torrents name a handful.
        const MOST: usize = 8;
        if !nodes.is_empty() {
            let nodes = nodes.iter().take(MOST).cloned().collect();
            let _ = self.commands.try_send(Command::Named(nodes));
        }
    }
}
