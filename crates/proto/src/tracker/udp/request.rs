//! What a client says.

use std::net::{IpAddr, Ipv4Addr};

use super::super::types::{AnnounceRequest, Event};
use super::fields::Fields;
use super::{MAGIC, Malformed, Options, action};
use crate::ids::{PeerId, WireHash};

/// Most torrents of one scrape request (BEP 15: about 74, which fills 1,500 bytes).
pub const MAX_SCRAPE: usize = 74;

/// A request. A client writes it with [`Request::write`]; a tracker reads it with [`parse_request`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// Asks for a connection id.
    Connect {
        /// Comes back in the answer.
        transaction: u32,
    },
    /// Announces one torrent.
    Announce {
        /// From the answer to a connect.
        connection: u64,
        /// Comes back in the answer.
        transaction: u32,
        /// The announce; its IP address is IPv4 or absent.
        request: AnnounceRequest,
        /// What the URL said beside host and port (BEP 41); see [`super::write_url_data`].
        options: Options<'a>,
    },
    /// Asks for the sizes of swarms.
    Scrape {
        /// From the answer to a connect.
        connection: u64,
        /// Comes back in the answer.
        transaction: u32,
        /// Of which torrents.
        hashes: Hashes<'a>,
    },
}

/// The torrents of a scrape: one to [`MAX_SCRAPE`], as a view into the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hashes<'a>(&'a [[u8; 20]]);

impl<'a> Hashes<'a> {
    /// Of `packed` hashes the first [`MAX_SCRAPE`]; `None` if there is none. Part of a hash at the end is passed over.
    pub fn new(packed: &'a [u8]) -> Option<Self> {
        let hashes = packed.as_chunks().0;
        (!hashes.is_empty()).then_some(Self(&hashes[..hashes.len().min(MAX_SCRAPE)]))
    }

    /// How many; at least one.
    #[expect(clippy::len_without_is_empty, reason = "there is always one")]
    pub const fn len(self) -> usize {
        self.0.len()
    }

    /// Each hash, in order.
    pub fn iter(self) -> impl ExactSizeIterator<Item = WireHash> + 'a {
        self.0.iter().map(|hash| WireHash(*hash))
    }
}

/// Reads a request, as a tracker gets it.
///
/// # Errors
/// If it is too short, of an unknown action, or a connect without the magic number.
pub fn parse_request(datagram: &[u8]) -> Result<Request<'_>, Malformed> {
    read_request(datagram).ok_or(Malformed)
}

fn read_request(datagram: &[u8]) -> Option<Request<'_>> {
    let mut fields = Fields(datagram);
    let connection = fields.u64()?;
    let action = fields.u32()?;
    let transaction = fields.u32()?;
    match action {
        action::CONNECT => (connection == MAGIC).then_some(Request::Connect { transaction }),
        action::ANNOUNCE => {
            let request = read_announce(&mut fields)?;
            let options = Options::new(fields.0);
            Some(Request::Announce { connection, transaction, request, options })
        }
        action::SCRAPE => {
            let hashes = Hashes::new(fields.0)?;
            Some(Request::Scrape { connection, transaction, hashes })
        }
        _ => None,
    }
}

fn read_announce(fields: &mut Fields<'_>) -> Option<AnnounceRequest> {
    // In the order of the datagram, which struct expressions are evaluated in.
    Some(AnnounceRequest {
        info_hash: WireHash(fields.take()?),
        peer_id: PeerId(fields.take()?),
        downloaded: fields.u64()?,
        left: fields.u64()?,
        uploaded: fields.u64()?,
        event: Event::from_number(fields.u32()?),
        ip: specified(Ipv4Addr::from_bits(fields.u32()?)),
        key: fields.u32()?,
        numwant: u32::try_from(fields.u32()?.cast_signed()).ok(),
        port: fields.u16()?,
    })
}

fn specified(ip: Ipv4Addr) -> Option<IpAddr> {
    (!ip.is_unspecified()).then_some(IpAddr::V4(ip))
}

impl Request<'_> {
    /// Appends the datagram to `out`, with the options that it was read with.
    pub fn write(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Connect { transaction } => put_head(MAGIC, action::CONNECT, transaction, out),
            Self::Announce { connection, transaction, ref request, options } => {
                put_head(connection, action::ANNOUNCE, transaction, out);
                put_announce(request, out);
                out.extend(options.0);
            }
            Self::Scrape { connection, transaction, hashes } => {
                put_head(connection, action::SCRAPE, transaction, out);
                out.extend(hashes.0.as_flattened());
            }
        }
    }
}

fn put_head(connection: u64, action: u32, transaction: u32, out: &mut Vec<u8>) {
    out.extend(connection.to_be_bytes());
    out.extend(action.to_be_bytes());
    out.extend(transaction.to_be_bytes());
}

/// An IPv6 address does not fit and is left out, as BEP 15 demands.
fn put_announce(request: &AnnounceRequest, out: &mut Vec<u8>) {
    let ip = match request.ip {
        Some(IpAddr::V4(ip)) => ip.to_bits(),
        _ => 0,
    };
    let numwant = request.numwant.map_or(-1, |n| i32::try_from(n).unwrap_or(i32::MAX));
    out.extend(request.info_hash.0);
    out.extend(request.peer_id.0);
    out.extend(request.downloaded.to_be_bytes());
    out.extend(request.left.to_be_bytes());
    out.extend(request.uploaded.to_be_bytes());
    out.extend(request.event.number().to_be_bytes());
    out.extend(ip.to_be_bytes());
    out.extend(request.key.to_be_bytes());
    out.extend(numwant.to_be_bytes());
    out.extend(request.port.to_be_bytes());
}
