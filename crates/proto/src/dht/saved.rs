//! What a node keeps between two runs: its id and whom it knew.
//!
//! A bencoded dictionary: `id`, and compact nodes under `nodes` or `nodes6`. Reading refuses what is not that; nodes are
//! only addresses to ask, so a file that somebody changed does no more harm than a wrong bootstrap list. Tested by a round
//! trip and by the fuzz target `dht_message`.

use super::Contact;
use super::contact::{push_node, read_nodes};
use crate::bencode::{self, Limits, write_dict};
use crate::ids::NodeId;
use crate::tracker::Family;

/// Most nodes that are written and read.
pub const MAX_SAVED: usize = 400;
/// Most bytes of a record.
const MAX_LEN: usize = 64 + MAX_SAVED * 38;

/// A node's memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// Its id.
    pub id: NodeId,
    /// Whom it knew, of one family; the first [`MAX_SAVED`] count.
    pub contacts: Vec<Contact>,
}

impl Saved {
    /// As bytes.
    pub fn write(&self, family: Family) -> Vec<u8> {
        let mut nodes = Vec::new();
        self.contacts.iter().take(MAX_SAVED).for_each(|contact| push_node(&mut nodes, contact));
        let mut out = Vec::new();
        write_dict(&mut out, |d| {
            d.bytes("id", self.id.0);
            d.bytes(key(family), nodes);
        });
        out
    }

    /// From bytes; `None` if they are something else.
    pub fn read(bytes: &[u8], family: Family) -> Option<Self> {
        let limits = Limits { len: MAX_LEN, depth: 4, items: 64 };
        let dict = bencode::parse(bytes, limits).ok()?.as_dict()?;
        let id = NodeId::from_slice(dict.get("id")?.as_bytes()?)?;
        let nodes = dict.get(key(family)).and_then(|nodes| nodes.as_bytes()).unwrap_or_default();
        Some(Self { id, contacts: read_nodes(nodes, family).take(MAX_SAVED).collect() })
    }
}

const fn key(family: Family) -> &'static str {
    match family {
        Family::V4 => "nodes",
        Family::V6 => "nodes6",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_other_things_are_not() {
        for (family, addr) in [(Family::V4, "1.2.3.4:5"), (Family::V6, "[2001:db8::1]:5")] {
            let contact = Contact { id: NodeId([3; 20]), addr: addr.parse().unwrap() };
            let saved = Saved { id: NodeId([7; 20]), contacts: vec![contact; 3] };
            assert_eq!(Saved::read(&saved.write(family), family), Some(saved.clone()));
            let many = Saved { contacts: vec![contact; 1000], ..saved };
            assert_eq!(Saved::read(&many.write(family), family).unwrap().contacts.len(), MAX_SAVED);
        }
        for other in [&b""[..], b"le", b"d2:id3:abce", b"d5:nodes0:e"] {
            assert_eq!(Saved::read(other, Family::V4), None);
        }
    }
}
