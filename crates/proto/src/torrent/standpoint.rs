//! Our own address, as others see it, from which canonical priorities are computed (BEP 40).
//!
//! The address of our end of a connection is what the peer sees, if it reaches as far as the peer is: there is no
//! translator between two of one private network, nor before a public address. Otherwise peers say what they see
//! (BEP 10 `yourip`), and may lie: whoever makes us believe in an address of its choice chooses whom we prefer. So
//! only those vote whom *we* called, trackers (BEP 24) too, one vote a network ([`hosts::network`]), at most [`MOST_VOTES`]; an address is
//! believed once [`QUORUM`] networks and more than half of all say so. Until then priorities are salted: as random,
//! though the other end does not come to the same.
//!
//! Tested by examples: one network cannot outvote, nor more than half of nothing.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

use super::canonical;
use super::hosts;
use crate::torrent::hosts::Reach;

/// Votes that are remembered; the oldest give way, for addresses change.
const MOST_VOTES: usize = 32;
/// Networks that must agree.
const QUORUM: usize = 3;

/// What we know of our own addresses.
#[derive(Debug)]
pub(super) struct Standpoint {
    salt: u64,
    /// Where we listen, 0 for nowhere.
    port: u16,
    /// Ends of our own connections, the latest of each kind; at most six.
    local: BTreeMap<(bool, Reach), IpAddr>,
    /// Network of the voter, and what it saw.
    votes: VecDeque<(IpAddr, IpAddr)>,
    /// What the votes say, of IPv4 and of IPv6.
    elected: [Option<IpAddr>; 2],
}

impl Standpoint {
    pub(super) const fn new(salt: u64, port: u16) -> Self {
        Self { salt, port, local: BTreeMap::new(), votes: VecDeque::new(), elected: [None; 2] }
    }

    /// Our end of a connection has this address. True if priorities change by it.
    pub(super) fn at(&mut self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        !ip.is_unspecified() && self.local.insert((ip.is_ipv4(), Reach::of(ip)), ip) != Some(ip)
    }

    /// A peer that we called says that it sees us at `ip`. True if priorities change by it.
    pub(super) fn vote(&mut self, voter: IpAddr, ip: IpAddr) -> bool {
        let (voter, ip) = (voter.to_canonical(), ip.to_canonical());
        let public = |ip| Reach::of(ip) == Reach::Public;
        let possible = public(voter) && public(ip) && !ip.is_multicast() && !ip.is_unspecified();
        if !possible || voter.is_ipv4() != ip.is_ipv4() {
            return false;
        }
        self.votes.retain(|(network, _)| *network != hosts::network(voter));
        self.votes.push_back((hosts::network(voter), ip));
        if self.votes.len() > MOST_VOTES {
            self.votes.pop_front();
        }
        let elected = [true, false].map(|v4| self.winner(v4));
        std::mem::replace(&mut self.elected, elected) != elected
    }

    fn winner(&self, v4: bool) -> Option<IpAddr> {
        let mut counts = BTreeMap::<IpAddr, usize>::new();
        for (_, ip) in self.votes.iter().filter(|(_, ip)| ip.is_ipv4() == v4) {
            *counts.entry(*ip).or_default() += 1;
        }
        let all: usize = counts.values().sum();
        let (ip, votes) = counts.into_iter().max_by_key(|(_, votes)| *votes)?;
        (votes >= QUORUM && 2 * votes > all).then_some(ip)
    }

    /// Our address as seen from `remote`, if it is known.
    fn seen_from(&self, remote: IpAddr) -> Option<IpAddr> {
        let (v4, reach) = (remote.is_ipv4(), Reach::of(remote));
        let local = self.local.get(&(v4, reach)).copied();
        local.or_else(|| self.elected[usize::from(!v4)].filter(|_| reach == Reach::Public))
    }

    /// The priority of a connection to `remote`: the higher the better.
    pub(super) fn priority(&self, remote: SocketAddr) -> u32 {
        match self.seen_from(remote.ip().to_canonical()) {
            Some(ip) => canonical::priority(SocketAddr::new(ip, self.port), remote),
            None => canonical::salted(self.salt, remote),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn known(standpoint: &Standpoint) -> Option<IpAddr> {
        standpoint.seen_from(ip("9.9.9.9"))
    }

    #[test]
    fn three_networks_and_a_majority_are_believed() {
        let mut standpoint = Standpoint::new(1, 6881);
        for voter in ["1.1.1.1", "1.1.2.2", "1.1.3.3", "1.1.4.4"] {
            assert!(!standpoint.vote(ip(voter), ip("66.6.6.6")), "one network is one vote");
        }
        assert!(
            !standpoint.vote(ip("2.2.0.1"), ip("5.5.5.5")) && !standpoint.vote(ip("3.3.0.1"), ip("5.5.5.5"))
        );
        assert!(standpoint.vote(ip("4.4.0.1"), ip("5.5.5.5")));
        assert_eq!(known(&standpoint), Some(ip("5.5.5.5")));
        let expected = canonical::priority("5.5.5.5:6881".parse().unwrap(), "9.9.9.9:1".parse().unwrap());
        assert_eq!(standpoint.priority("9.9.9.9:1".parse().unwrap()), expected);
        assert!(!standpoint.vote(ip("7.7.0.1"), ip("66.6.6.6")), "three of five");
        assert!(standpoint.vote(ip("8.8.0.1"), ip("66.6.6.6")), "three of six is no majority");
        assert_eq!(known(&standpoint), None);
    }

    #[test]
    fn what_cannot_be_is_no_vote() {
        let mut standpoint = Standpoint::new(1, 0);
        for (n, seen) in [(1, "127.0.0.1"), (2, "10.0.0.1"), (3, "224.0.0.1"), (4, "::1"), (5, "2001:db8::1")]
        {
            standpoint.vote(IpAddr::from([n, 1, 1, 1]), ip(seen));
        }
        standpoint.vote(ip("10.0.0.9"), ip("5.5.5.5"));
        assert!(standpoint.votes.is_empty());
        for n in 0..=255 {
            standpoint.vote(IpAddr::from([n, n, 1, 1]), ip("5.5.5.5"));
        }
        assert_eq!(standpoint.votes.len(), MOST_VOTES);
    }

    #[test]
    fn our_own_end_counts_as_far_as_it_reaches() {
        let mut standpoint = Standpoint::new(1, 6881);
        assert!(standpoint.at(ip("192.168.1.2")) && !standpoint.at(ip("192.168.1.2")));
        assert_eq!(known(&standpoint), None, "there is a translator between");
        assert_eq!(standpoint.seen_from(ip("192.168.1.9")), Some(ip("192.168.1.2")));
        assert!(standpoint.at(ip("5.6.7.8")) && standpoint.at(ip("::1")));
        assert_eq!(known(&standpoint), Some(ip("5.6.7.8")));
        assert_eq!(standpoint.seen_from(ip("2001:db8::9")), None);
    }

    #[test]
    fn unknown_priorities_differ_from_client_to_client() {
        let remote = "9.9.9.9:1".parse().unwrap();
        assert_ne!(Standpoint::new(1, 0).priority(remote), Standpoint::new(2, 0).priority(remote));
    }
}
