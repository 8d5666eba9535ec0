//! The payload of extension messages: the handshake (BEP 10, 21), `ut_metadata` (BEP 9) and `lt_donthave` (BEP 54).

use std::net::IpAddr;

use crate::bencode::{self, Dict, Limits, Value};
use crate::ids::PieceIndex;

/// What a handshake may cost. Clients list a dozen extensions and as many other entries.
const HANDSHAKE_LIMITS: Limits = Limits { depth: 8, items: 1024, ..Limits::MESSAGE };

/// A `ut_metadata` dictionary has three entries; room for what may be added.
const METADATA_LIMITS: Limits = Limits { depth: 4, items: 64, ..Limits::MESSAGE };

/// Bytes of the info dictionary in one `ut_metadata` message, but for the last (BEP 9).
pub const METADATA_PIECE_LEN: u32 = 16 * 1024;

/// Bencoding that is malformed, or is not what the message must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed extension message")]
pub struct ExtensionError;

/// The extension handshake. Everything is optional, and a later one changes only what it names (BEP 10).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExtensionHandshake {
    /// The message id of `ut_metadata` (BEP 9) towards the sender; 0 switches it off.
    pub ut_metadata: Option<u8>,
    /// The message id of `lt_donthave` (BEP 54) towards the sender; 0 switches it off.
    pub lt_donthave: Option<u8>,
    /// The message id of `ut_pex` (BEP 11) towards the sender; 0 switches it off.
    pub ut_pex: Option<u8>,
    /// Client name and version. Read: at most 64 characters, none of them a control character.
    pub client: Option<String>,
    /// The port that the sender listens on. Read: never 0.
    pub listen_port: Option<u16>,
    /// How many requests the sender keeps.
    pub reqq: Option<u32>,
    /// Size of the info dictionary in bytes (BEP 9). Read: never 0.
    pub metadata_size: Option<u32>,
    /// The receiver's address as the sender sees it.
    pub yourip: Option<IpAddr>,
    /// The sender wants nothing more (BEP 21).
    pub upload_only: Option<bool>,
}

impl ExtensionHandshake {
    /// Reads the payload of extension message 0. Entries of the wrong type or out of range count as absent, for
    /// nothing depends on any one of them.
    ///
    /// # Errors
    /// If it is not a bencoded dictionary.
    pub fn parse(payload: &[u8]) -> Result<Self, ExtensionError> {
        // What follows the dictionary is ignored: clients have been seen to append to it.
        let (value, _) = bencode::parse_prefix(payload, HANDSHAKE_LIMITS).map_err(|_| ExtensionError)?;
        let mut handshake = Self::default();
        for (key, value) in value.as_dict().ok_or(ExtensionError)? {
            handshake.read_entry(key, value);
        }
        Ok(handshake)
    }

    fn read_entry(&mut self, key: &[u8], value: Value<'_>) {
        match key {
            b"m" => value.as_dict().into_iter().for_each(|m| self.read_ids(m)),
            b"v" => self.client = value.as_bytes().and_then(display_name),
            b"p" => self.listen_port = int(value).filter(|&port| port != 0),
            b"reqq" => self.reqq = int(value),
            b"metadata_size" => self.metadata_size = int(value).filter(|&size| size != 0),
            b"yourip" => self.yourip = value.as_bytes().and_then(ip),
            b"upload_only" => self.upload_only = value.as_int().map(|n| n != 0),
            _ => {}
        }
    }

    fn read_ids(&mut self, m: Dict<'_>) {
        for (name, id) in m {
            match name {
                b"ut_metadata" => self.ut_metadata = int(id),
                b"lt_donthave" => self.lt_donthave = int(id),
                b"ut_pex" => self.ut_pex = int(id),
                _ => {}
            }
        }
    }

    /// Appends the payload of extension message 0 to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        bencode::write_dict(out, |d| {
            d.dict("m", |m| {
                let ids = [
                    ("lt_donthave", self.lt_donthave),
                    ("ut_metadata", self.ut_metadata),
                    ("ut_pex", self.ut_pex),
                ];
                ids.iter().for_each(|&(name, id)| _ = id.map(|id| m.int(name, id.into())));
            });
            let numbers = [
                ("metadata_size", self.metadata_size),
                ("p", self.listen_port.map(u32::from)),
                ("reqq", self.reqq),
                ("upload_only", self.upload_only.map(u32::from)),
            ];
            numbers.iter().for_each(|&(key, number)| _ = number.map(|n| d.int(key, n.into())));
            if let Some(client) = &self.client {
                d.bytes("v", client);
            }
            match self.yourip {
                Some(IpAddr::V4(ip)) => d.bytes("yourip", ip.octets()),
                Some(IpAddr::V6(ip)) => d.bytes("yourip", ip.octets()),
                None => {}
            }
        });
    }
}

fn int<T: TryFrom<i64>>(value: Value<'_>) -> Option<T> {
    T::try_from(value.as_int()?).ok()
}

/// A name that can be shown anywhere; `None` if nothing is left of it.
fn display_name(bytes: &[u8]) -> Option<String> {
    // Four bytes a character at most, so that a megabyte of name costs nothing.
    let head = &bytes[..bytes.len().min(4 * 64)];
    let name: String = String::from_utf8_lossy(head).chars().filter(|c| !c.is_control()).take(64).collect();
    (!name.is_empty()).then_some(name)
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

/// A `ut_metadata` message (BEP 9). The info dictionary may be v1, v2 or both: it is cut up all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetadataMessage<'a> {
    /// Asks for a piece.
    Request(u32),
    /// Brings a piece.
    Data {
        /// 0-based index of the 16 KiB piece.
        piece: u32,
        /// Size of the whole dictionary in bytes; `None` if the sender left it out.
        total: Option<u32>,
        /// The piece.
        data: &'a [u8],
    },
    /// Refuses a piece.
    Reject(u32),
    /// A kind that we do not know, to be ignored.
    Unknown,
}

impl<'a> MetadataMessage<'a> {
    /// Reads the payload of a `ut_metadata` message.
    ///
    /// # Errors
    /// If it does not start with a bencoded dictionary that has a kind, and a piece where the kind needs one.
    pub fn parse(payload: &'a [u8]) -> Result<Self, ExtensionError> {
        let (value, data) = bencode::parse_prefix(payload, METADATA_LIMITS).map_err(|_| ExtensionError)?;
        let dict = value.as_dict().ok_or(ExtensionError)?;
        let kind = dict.get("msg_type").and_then(Value::as_int).ok_or(ExtensionError)?;
        let piece = || dict.get("piece").and_then(int).ok_or(ExtensionError);
        Ok(match kind {
            0 => Self::Request(piece()?),
            1 => Self::Data { piece: piece()?, total: dict.get("total_size").and_then(int), data },
            2 => Self::Reject(piece()?),
            _ => Self::Unknown,
        })
    }

    /// Appends the payload of a `ut_metadata` message to `out`; nothing for [`MetadataMessage::Unknown`].
    pub fn encode(&self, out: &mut Vec<u8>) {
        let (kind, piece, total, data): (_, _, _, &[u8]) = match *self {
            Self::Request(piece) => (0, piece, None, &[]),
            Self::Data { piece, total, data } => (1, piece, total, data),
            Self::Reject(piece) => (2, piece, None, &[]),
            Self::Unknown => return,
        };
        bencode::write_dict(out, |d| {
            d.int("msg_type", kind);
            d.int("piece", piece.into());
            if let Some(total) = total {
                d.int("total_size", total.into());
            }
        });
        out.extend_from_slice(data);
    }
}

/// Reads the payload of an `lt_donthave` message: the piece that the sender lost (BEP 54).
///
/// # Errors
/// If it is not four bytes.
pub fn parse_dont_have(payload: &[u8]) -> Result<PieceIndex, ExtensionError> {
    let index = payload.try_into().map_err(|_| ExtensionError)?;
    Ok(PieceIndex(u32::from_be_bytes(index)))
}
