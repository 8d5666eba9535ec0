//! What decides in a node: our torrent machine, or a stock peer's.

use std::net::SocketAddr;

use samara_proto::bitfield::Bitfield;
use samara_proto::ids::InfoHashes;
use samara_proto::time::Time;
use samara_proto::torrent::{Input, Output, Stats, Torrent};

use crate::Payload;
use crate::stock::Stock;

/// A machine with the inputs and outputs of a torrent.
#[derive(Debug)]
pub enum Brain {
    /// Ours.
    Samara(Box<Torrent<Payload>>),
    /// Another's.
    Stock(Box<Stock>),
}

impl Brain {
    /// Takes one input.
    pub fn handle(&mut self, now: Time, input: Input<Payload>) {
        match self {
            Self::Samara(torrent) => torrent.handle(now, input),
            Self::Stock(stock) => stock.handle(now, input),
        }
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Output<Payload>> {
        match self {
            Self::Samara(torrent) => torrent.poll(),
            Self::Stock(stock) => stock.poll(),
        }
    }

    /// When it wants to be ticked.
    pub fn deadline(&self) -> Option<Time> {
        match self {
            Self::Samara(torrent) => torrent.deadline(),
            Self::Stock(stock) => stock.deadline(),
        }
    }

    /// Numbers as of the last input.
    pub fn stats(&self) -> Stats {
        match self {
            Self::Samara(torrent) => torrent.stats(),
            Self::Stock(stock) => stock.stats(),
        }
    }

    /// What is proven, once the storage is ready.
    pub fn have(&self) -> Option<&Bitfield> {
        match self {
            Self::Samara(torrent) => torrent.have(),
            Self::Stock(stock) => stock.have(),
        }
    }

    /// Every wanted piece is had.
    pub fn is_complete(&self) -> bool {
        match self {
            Self::Samara(torrent) => torrent.is_complete(),
            Self::Stock(stock) => stock.is_complete(),
        }
    }

    /// Most requests under way with one peer.
    pub fn most_requests(&self) -> u32 {
        match self {
            Self::Samara(torrent) => torrent.peers().map(|peer| peer.requests).max().unwrap_or(0),
            Self::Stock(stock) => stock.most_requests(),
        }
    }

    /// Whom it is connected to, and how much payload came from each.
    pub fn sources(&self) -> Vec<(SocketAddr, u64)> {
        match self {
            Self::Samara(torrent) => torrent.peers().map(|peer| (peer.addr, peer.downloaded)).collect(),
            Self::Stock(stock) => stock.sources().collect(),
        }
    }

    /// The hashes it goes by.
    pub fn hashes(&self) -> InfoHashes {
        match self {
            Self::Samara(torrent) => torrent.hashes(),
            Self::Stock(stock) => stock.info().hashes(),
        }
    }
}
