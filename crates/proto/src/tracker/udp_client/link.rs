//! The connection id of one address.

use std::net::SocketAddr;

use super::super::udp::{Body, Request};
use super::{AskError, CONNECTION_LIFE, Output, Owner, Timer, UdpClient, wait};
use crate::time::Time;

/// Most addresses remembered beside those of open questions.
const MAX_HOSTS: usize = 4096;

/// An address that was asked lately.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) link: Link,
    /// Questions that need a connection id.
    pub(super) waiting: Vec<u64>,
}

#[derive(Debug)]
pub(super) enum Link {
    Connecting { transaction: u32, sent: u8, due: Time },
    Connected { connection: u64, until: Time },
}

impl Link {
    const fn timer(&self) -> Time {
        match self {
            Self::Connecting { due, .. } => *due,
            Self::Connected { until, .. } => *until,
        }
    }
}

impl<K: Copy + PartialEq> UdpClient<K> {
    /// Asks for a connection id, on behalf of a question that was sent `sent` times already.
    pub(super) fn connect(&mut self, now: Time, to: SocketAddr, sent: u8, ask: u64) {
        self.drop_host(to);
        self.make_room();
        let transaction = self.own(Owner::Host(to));
        let link = Link::Connecting { transaction, sent, due: now };
        self.hosts.insert(to, Host { link, waiting: vec![ask] });
        self.host_due(now, to);
    }

    /// The timer of an address ended: a connect was not answered, or a connection id is used up.
    pub(super) fn host_due(&mut self, now: Time, to: SocketAddr) {
        let asks = &self.asks;
        let Some(host) = self.hosts.get_mut(&to) else { return };
        host.waiting.retain(|id| asks.contains_key(id));
        match &mut host.link {
            Link::Connecting { transaction, sent, due }
                if *sent < self.config.tries && !host.waiting.is_empty() =>
            {
                *due = now + wait(&self.config, *sent);
                *sent += 1;
                let mut datagram = Vec::new();
                Request::Connect { transaction: *transaction }.write(&mut datagram);
                self.timers.insert((*due, Timer::Host(to)));
                self.out.push_back(Output::Send { to, datagram });
            }
            _ => {
                let waiting = self.drop_host(to);
                waiting.into_iter().for_each(|id| self.finish(id, Err(AskError::Silent)));
            }
        }
    }

    pub(super) fn host_answered(&mut self, now: Time, to: SocketAddr, body: Body<'_>) {
        match body {
            Body::Connect { connection } => {
                let waiting = self.drop_host(to);
                let until = now + CONNECTION_LIFE;
                self.timers.insert((until, Timer::Host(to)));
                self.hosts
                    .insert(to, Host { link: Link::Connected { connection, until }, waiting: Vec::new() });
                waiting.into_iter().for_each(|id| self.send(now, id, connection));
            }
            Body::Error(text) => {
                let waiting = self.drop_host(to);
                waiting.into_iter().for_each(|id| self.finish(id, Err(AskError::Refused(text.clone()))));
            }
            _ => {}
        }
    }

    /// Forgets a connection id that the tracker does not know any more; if a new one is being asked for already, that
    /// goes on.
    pub(super) fn forget_connection(&mut self, to: SocketAddr) {
        if self.hosts.get(&to).is_some_and(|host| matches!(host.link, Link::Connected { .. })) {
            self.drop_host(to);
        }
    }

    /// Keeps no more than [`MAX_HOSTS`] addresses by forgetting connection ids, which can be had again.
    fn make_room(&mut self) {
        if self.hosts.len() >= MAX_HOSTS {
            let all: Vec<SocketAddr> = self.hosts.keys().copied().collect();
            all.into_iter().for_each(|to| self.forget_connection(to));
        }
    }

    /// Forgets an address and its connection id; returns the questions that were waiting for one.
    pub(super) fn drop_host(&mut self, to: SocketAddr) -> Vec<u64> {
        let Some(host) = self.hosts.remove(&to) else { return Vec::new() };
        self.timers.remove(&(host.link.timer(), Timer::Host(to)));
        if let Link::Connecting { transaction, .. } = host.link {
            self.owners.remove(&transaction);
        }
        host.waiting
    }
}
