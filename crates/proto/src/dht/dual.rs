//! Nodes of both families on one machine (BEP 32): two tables, two sets of peers, one front.
//!
//! Datagrams go to the node of their family. Each answers with nodes of the other's table too if asked to, and while one
//! joins, what it hears of the other family helps that one. Both shall have ids of their own (BEP 45), which they do as
//! ids follow from addresses.
//!
//! It refuses to run a lookup on both by itself: the caller starts it on each, as the tables are independent. Tested with
//! the nodes.

use std::net::SocketAddr;

use super::node::{Input, Node, Output};
use crate::time::Time;
use crate::tracker::Family;

/// One node, or one of each family.
#[derive(Debug, Default)]
pub struct Dht {
    v4: Option<Node>,
    v6: Option<Node>,
}

impl Dht {
    /// Of these nodes, each of the family that its place says.
    pub const fn new(v4: Option<Node>, v6: Option<Node>) -> Self {
        Self { v4, v6 }
    }

    /// The node of a family.
    pub const fn node(&self, family: Family) -> Option<&Node> {
        match family {
            Family::V4 => self.v4.as_ref(),
            Family::V6 => self.v6.as_ref(),
        }
    }

    /// The node of a family, to start things on.
    pub const fn node_mut(&mut self, family: Family) -> Option<&mut Node> {
        match family {
            Family::V4 => self.v4.as_mut(),
            Family::V6 => self.v6.as_mut(),
        }
    }

    /// Takes what happened. A datagram is for the family it came over; a timer and a change are for both.
    pub fn handle(&mut self, now: Time, input: Input<'_>) {
        let addr = match input {
            Input::Datagram { from, .. } => Some(from),
            Input::Unreachable(to) => Some(to),
            Input::NetworkChanged | Input::Timer => None,
        };
        let (v4, v6) = (&mut self.v4, &mut self.v6);
        let for_v4 = addr.is_none_or(is_v4);
        let for_v6 = addr.is_none_or(|addr| !is_v4(addr));
        if let Some(node) = v4.as_mut().filter(|_| for_v4) {
            node.handle_beside(now, input, v6.as_ref().map(Node::table));
        }
        if let Some(node) = v6.as_mut().filter(|_| for_v6) {
            node.handle_beside(now, input, v4.as_ref().map(Node::table));
        }
    }

    /// What a node wants done, and which one; to be asked until there is nothing left.
    pub fn poll(&mut self, now: Time) -> Option<(Family, Output)> {
        loop {
            let v4 = || self.v4.as_mut()?.poll().map(|output| (Family::V4, output));
            let (family, output) = match { v4 }() {
                Some(found) => found,
                None => (Family::V6, self.v6.as_mut()?.poll()?),
            };
            let Output::Other(contacts) = output else { return Some((family, output)) };
            let other = if family == Family::V4 { Family::V6 } else { Family::V4 };
            if let Some(node) = self.node_mut(other).filter(|node| !node.is_joined()) {
                contacts.iter().for_each(|contact| node.hint(now, contact.addr));
            }
        }
    }

    /// When to come back, if nothing happens before.
    pub fn deadline(&self) -> Option<Time> {
        [&self.v4, &self.v6].into_iter().flatten().filter_map(Node::deadline).min()
    }
}

fn is_v4(addr: SocketAddr) -> bool {
    Family::of(addr.ip()) == Family::V4
}
