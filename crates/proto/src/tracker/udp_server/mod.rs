//! What a UDP tracker does with a datagram (BEP 15, 41), without memory of who sent it.
//!
//! A connect is answered with as many bytes as it had, and everything else only if it carries the id that its source
//! address was given ([`ConnectionIds`]): a forged source gains an attacker nothing and costs the victim nothing. What is
//! wrong is answered with silence, and with an error only if the id is right. The answer's peers are of the family of
//! the client's address, and an answer fits a datagram that no network breaks up.
//!
//! [`Server::receive`] says what a datagram asks for; the front end asks policy and store, and writes the answer with
//! [`answer_announce`], [`answer_scrape`] or [`refuse`]. Tested by whole conversations with the client's codec, and by the
//! fuzz target `udp_server`.

mod ids;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;

pub use ids::ConnectionIds;

use super::types::{AnnounceRequest, Family, ScrapeStats};
use super::udp::{
    AnnounceWriter, Hashes, Head, Options, Request, ScrapeWriter, parse_request, write_connect, write_error,
};
use crate::swarms::{Announce, Counts, Role};
use crate::time::Time;

/// Room for any answer: the smallest MTU of IPv6 (RFC 8200 §5), 1,280 bytes, without the heads of IPv6 and UDP.
pub const MAX_ANSWER: usize = 1232;

/// Bytes in front of an answer's peers.
pub const PEERS_AT: usize = 20;

/// How much is answered, and who gets ids.
#[derive(Clone, Copy, Debug)]
pub struct Server {
    /// Makes and checks connection ids.
    pub ids: ConnectionIds,
    /// Peers for who names no number.
    pub default_want: usize,
    /// Most peers for anybody; an answer holds 202, of IPv6 67.
    pub max_want: usize,
}

/// What a datagram asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asks<'a> {
    /// For nothing, or without the right to: no answer.
    Nothing(Why),
    /// For a connection id, which was written to the beginning of `out`: so many bytes.
    Connected(usize),
    /// For something that is wrong, though it has the right to ask. An error was written to the beginning of `out`.
    Refused(usize),
    /// To be known, and for peers.
    Announce {
        /// For the answer.
        transaction: u32,
        /// For the store.
        announce: Announce,
        /// What the client's URL said (BEP 41), for the policy.
        options: Options<'a>,
    },
    /// For the sizes of swarms.
    Scrape {
        /// For the answer.
        transaction: u32,
        /// Of which.
        hashes: Hashes<'a>,
    },
}

/// Why a datagram is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It is none of the protocol's.
    Malformed,
    /// Its connection id was not given to its source address, or too long ago.
    Unknown,
}

impl Server {
    /// Reads a datagram from `from`, which is not IPv4 mapped into IPv6. `out` has at least 64 bytes.
    pub fn receive<'a>(&self, now: Time, from: SocketAddr, datagram: &'a [u8], out: &mut [u8]) -> Asks<'a> {
        // Nothing that sends from port 0 can hear an answer.
        if from.port() == 0 {
            return Asks::Nothing(Why::Malformed);
        }
        match parse_request(datagram) {
            Ok(Request::Connect { transaction }) => {
                let answer = write_connect(transaction, self.ids.give(now, from.ip()));
                out[..answer.len()].copy_from_slice(&answer);
                Asks::Connected(answer.len())
            }
            Ok(Request::Announce { connection, .. } | Request::Scrape { connection, .. })
                if !self.ids.accept(now, from.ip(), connection) =>
            {
                Asks::Nothing(Why::Unknown)
            }
            Ok(Request::Announce { transaction, request, options, .. }) => {
                Asks::Announce { transaction, announce: self.announce(from, &request), options }
            }
            Ok(Request::Scrape { transaction, hashes, .. }) => Asks::Scrape { transaction, hashes },
            Err(_) => self.malformed(now, from, datagram, out),
        }
    }

    /// What the store is told. The client's own word for its address is not heard, for it could be anybody's.
    fn announce(&self, from: SocketAddr, request: &AnnounceRequest) -> Announce {
        let want = request.numwant.map_or(self.default_want, |n| n as usize);
        Announce {
            hash: request.info_hash,
            peer: SocketAddr::new(from.ip(), request.port),
            event: request.event,
            role: Role::new(request.left, request.event),
            want: want.min(self.max_want),
        }
    }

    /// One who was given the id is told what is wrong.
    fn malformed<'a>(&self, now: Time, from: SocketAddr, datagram: &[u8], out: &mut [u8]) -> Asks<'a> {
        let head = datagram.first_chunk::<8>().zip(datagram.get(12..16).and_then(|t| t.try_into().ok()));
        match head {
            Some((id, transaction)) if self.ids.accept(now, from.ip(), u64::from_be_bytes(*id)) => {
                Asks::Refused(refuse(out, u32::from_be_bytes(transaction), "malformed request"))
            }
            _ => Asks::Nothing(Why::Malformed),
        }
    }
}

/// Completes the answer to an announce, whose packed peers the store wrote at [`PEERS_AT`] of `out` already; returns its
/// length, 0 if the head does not fit.
pub fn answer_announce(
    out: &mut [u8],
    family: Family,
    transaction: u32,
    interval: u32,
    counts: &Counts,
) -> usize {
    let head = Head { interval, complete: counts.complete, incomplete: counts.incomplete };
    AnnounceWriter::new(out, family, transaction, head).map_or(0, |mut writer| {
        writer.advance(counts.peers);
        writer.finish()
    })
}

/// Writes the answer to a scrape; returns its length, 0 if it does not fit.
pub fn answer_scrape(out: &mut [u8], transaction: u32, sizes: impl Iterator<Item = Counts>) -> usize {
    let Some(mut writer) = ScrapeWriter::new(out, transaction) else { return 0 };
    for Counts { complete, downloaded, incomplete, .. } in sizes {
        writer.stats(ScrapeStats { complete, downloaded, incomplete });
    }
    writer.finish()
}

/// Writes an error for one who was given the id; returns its length.
pub fn refuse(out: &mut [u8], transaction: u32, reason: &str) -> usize {
    write_error(out, transaction, reason)
}
