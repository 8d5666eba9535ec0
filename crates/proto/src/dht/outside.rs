//! Where we stand as others see it: votes on our address and port (BEP 42, `ip` in answers).
//!
//! Each network (see [`Range::site`]) has one vote among the latest [`MAX_VOTES`], so that nobody outvotes the rest from
//! one place. An address is believed when at least [`QUORUM`] networks voted and more than half of them named it. A
//! believed address stays until another one is believed. Voters inside local networks see a local address, which ids
//! need not fit, so they have no vote.
//!
//! Tested for quorum, majority, and voters that stuff the ballot.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use super::id::is_local;
use super::range::Range;

/// Votes kept.
pub const MAX_VOTES: usize = 31;
/// Networks that must have voted before anything is believed.
pub const QUORUM: usize = 5;

/// Our place, as it is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outside {
    /// Our address.
    pub ip: IpAddr,
    /// Our port, if most of those who named the address agree on it; who asks from everywhere through a NAT that takes a
    /// port for each destination has none.
    pub port: Option<u16>,
}

/// The ballot.
#[derive(Clone, Debug, Default)]
pub struct Votes {
    /// The latest last.
    votes: VecDeque<(Range, SocketAddr)>,
    believed: Option<Outside>,
}

impl Votes {
    /// Our place, if it is known.
    pub const fn outside(&self) -> Option<Outside> {
        self.believed
    }

    /// Takes the vote of the node at `voter` that we are at `us`. Returns our address if that changed.
    pub fn vote(&mut self, voter: IpAddr, us: SocketAddr) -> Option<IpAddr> {
        if is_local(voter) || is_local(us.ip()) || us.port() == 0 || voter.is_ipv4() != us.is_ipv4() {
            return None;
        }
        let site = Range::site(voter);
        self.votes.retain(|(voter, _)| *voter != site);
        self.votes.push_back((site, us));
        if self.votes.len() > MAX_VOTES {
            self.votes.pop_front();
        }
        self.count(us.ip())
    }

    /// Forgets everything: the network is another one.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Only the address that just got a vote can have won.
    fn count(&mut self, ip: IpAddr) -> Option<IpAddr> {
        let ports: Vec<u16> =
            self.votes.iter().filter(|(_, us)| us.ip() == ip).map(|(_, us)| us.port()).collect();
        if self.votes.len() < QUORUM || 2 * ports.len() <= self.votes.len() {
            return None;
        }
        let before = self.believed.map(|outside| outside.ip);
        self.believed = Some(Outside { ip, port: majority(&ports) });
        (before != Some(ip)).then_some(ip)
    }
}

/// The port that more than half say.
fn majority(ports: &[u16]) -> Option<u16> {
    let count = |port: &u16| ports.iter().filter(|other| *other == port).count();
    ports.iter().find(|port| 2 * count(port) > ports.len()).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voter(n: u8) -> IpAddr {
        IpAddr::from([50, n, 1, 1])
    }

    fn us(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_is_believed_once_enough_networks_name_it() {
        let mut votes = Votes::default();
        for n in 0..4 {
            assert_eq!(votes.vote(voter(n), us("8.8.8.8:1")), None);
        }
        assert_eq!(votes.vote(voter(4), us("8.8.8.8:1")), Some(us("8.8.8.8:1").ip()));
        assert_eq!(votes.outside(), Some(Outside { ip: us("8.8.8.8:1").ip(), port: Some(1) }));
        assert_eq!(votes.vote(voter(5), us("8.8.8.8:1")), None);
    }

    #[test]
    fn one_network_has_one_vote_and_local_voters_none() {
        let mut votes = Votes::default();
        for n in 0..200 {
            assert_eq!(votes.vote(IpAddr::from([60, 1, 1, n]), us("9.9.9.9:1")), None);
            assert_eq!(votes.vote(IpAddr::from([10, n, 1, 1]), us("9.9.9.9:1")), None);
            assert_eq!(votes.vote(voter(n), us("192.168.1.2:1")), None);
        }
        assert_eq!(votes.votes.len(), 1);
    }

    #[test]
    fn a_new_address_wins_when_most_of_the_latest_name_it_and_ports_may_differ() {
        let mut votes = Votes::default();
        (0..40).for_each(|n| _ = votes.vote(voter(n), us("8.8.8.8:1")));
        assert_eq!(votes.votes.len(), MAX_VOTES);
        let moved: Vec<u8> = (40..80)
            .filter(|n| {
                votes.vote(voter(*n), SocketAddr::new([8, 8, 4, 4].into(), 1000 + u16::from(*n))).is_some()
            })
            .collect();
        assert_eq!(moved, [40 + MAX_VOTES as u8 / 2]);
        assert_eq!(votes.outside().unwrap().port, None);
    }
}
