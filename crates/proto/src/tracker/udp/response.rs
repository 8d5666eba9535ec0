//! What a tracker says, as the client reads it.

use std::net::SocketAddr;

use super::super::text;
use super::super::types::{AnnounceResponse, Family, ScrapeStats, read_compact};
use super::fields::Fields;
use super::{Malformed, action};

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response<'a> {
    /// That of the request; the caller compares.
    pub transaction: u32,
    /// What it says.
    pub body: Body<'a>,
}

/// What an answer says. The caller checks that it is what the request asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// To a connect.
    Connect {
        /// Good for a minute (BEP 15).
        connection: u64,
    },
    /// To an announce.
    Announce(AnnounceResponse),
    /// To a scrape.
    Scrape(Stats<'a>),
    /// A refusal: one clean line for the user, perhaps empty.
    Error(String),
}

/// The sizes of swarms, in the order they were asked for, as a view into the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats<'a>(&'a [[u8; 12]]);

impl<'a> Stats<'a> {
    /// Each size, in order; a tracker may give fewer than were asked for.
    pub fn iter(self) -> impl ExactSizeIterator<Item = ScrapeStats> + 'a {
        self.0.iter().map(|stats| {
            let mut fields = Fields(stats);
            let mut next = || fields.u32().unwrap_or(0);
            ScrapeStats { complete: next(), downloaded: next(), incomplete: next() }
        })
    }
}

/// The transaction id of an answer, by which its request is found before the rest is read.
pub fn transaction(datagram: &[u8]) -> Option<u32> {
    let mut fields = Fields(datagram);
    fields.u32()?;
    fields.u32()
}

/// Reads an answer that came over a socket of `family`.
///
/// # Errors
/// If it is too short or of an unknown action.
pub fn parse_response(datagram: &[u8], family: Family) -> Result<Response<'_>, Malformed> {
    read_response(datagram, family).ok_or(Malformed)
}

fn read_response(datagram: &[u8], family: Family) -> Option<Response<'_>> {
    let mut fields = Fields(datagram);
    let action = fields.u32()?;
    let transaction = fields.u32()?;
    let body = match action {
        action::CONNECT => Body::Connect { connection: fields.u64()? },
        action::ANNOUNCE => Body::Announce(read_announce(fields, family)?),
        action::SCRAPE => Body::Scrape(Stats(fields.0.as_chunks().0)),
        action::ERROR => Body::Error(text::clean(fields.0)),
        _ => return None,
    };
    Some(Response { transaction, body })
}

fn read_announce(mut fields: Fields<'_>, family: Family) -> Option<AnnounceResponse> {
    let interval = fields.u32()?;
    let incomplete = Some(fields.u32()?);
    let complete = Some(fields.u32()?);
    let mut peers: Vec<SocketAddr> = Vec::new();
    read_compact(fields.0, family, &mut peers);
    Some(AnnounceResponse { interval, incomplete, complete, peers, ..AnnounceResponse::default() })
}
