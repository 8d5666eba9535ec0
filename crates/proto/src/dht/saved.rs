//! What nodes keep between two runs: their ids and whom they knew.
//!
//! A bencoded dictionary, with one for each family under `ipv4` and `ipv6`: `id`, and compact nodes under `nodes` or
//! `nodes6`. Reading refuses what is not that; nodes are
//! only addresses to ask, so a file that somebody changed does no more harm than a wrong bootstrap list. Tested by a round
//! trip and by the fuzz target `dht_message`.

use super::Contact;
use super::contact::{push_node, read_nodes};
use crate::bencode::{self, Dict, DictWriter, Limits, write_dict};
use crate::ids::NodeId;
use crate::tracker::Family;

/// Most nodes that are written and read.
pub const MAX_SAVED: usize = 400;
/// Most bytes of a record.
pub const MAX_LEN: usize = 2 * (64 + MAX_SAVED * 38) + 32;

/// A node's memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// Its id.
    pub id: NodeId,
    /// Whom it knew, of one family; the first [`MAX_SAVED`] count.
    pub contacts: Vec<Contact>,
}

impl Saved {
    fn fill(&self, family: Family, d: &mut DictWriter<'_>) {
        let mut nodes = Vec::new();
        self.contacts.iter().take(MAX_SAVED).for_each(|contact| push_node(&mut nodes, contact));
        d.bytes("id", self.id.0);
        d.bytes(key(family), nodes);
    }

    fn take(dict: Dict<'_>, family: Family) -> Option<Self> {
        let id = NodeId::from_slice(dict.get("id")?.as_bytes()?)?;
        let nodes = dict.get(key(family)).and_then(|nodes| nodes.as_bytes()).unwrap_or_default();
        Some(Self { id, contacts: read_nodes(nodes, family).take(MAX_SAVED).collect() })
    }
}

/// The memories of the nodes of both families, as far as there are any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Both {
    /// Of the node for IPv4.
    pub v4: Option<Saved>,
    /// Of the node for IPv6.
    pub v6: Option<Saved>,
}

impl Both {
    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.v4.is_none() && self.v6.is_none()
    }

    /// That of one family.
    pub const fn get(&self, family: Family) -> Option<&Saved> {
        match family {
            Family::V4 => self.v4.as_ref(),
            Family::V6 => self.v6.as_ref(),
        }
    }

    /// As bytes.
    pub fn write(&self) -> Vec<u8> {
        let mut out = Vec::new();
        write_dict(&mut out, |d| {
            self.v4.iter().for_each(|saved| d.dict("ipv4", |d| saved.fill(Family::V4, d)));
            self.v6.iter().for_each(|saved| d.dict("ipv6", |d| saved.fill(Family::V6, d)));
        });
        out
    }

    /// From bytes; `None` if they are something else.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let limits = Limits { len: MAX_LEN, depth: 4, items: 64 };
        let dict = bencode::parse(bytes, limits).ok()?.as_dict()?;
        let of = |key, family| Saved::take(dict.get(key)?.as_dict()?, family);
        Some(Self { v4: of("ipv4", Family::V4), v6: of("ipv6", Family::V6) })
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
    fn both_are_one_record() {
        let saved = |addr: &str| {
            let contact = Contact { id: NodeId([3; 20]), addr: addr.parse().unwrap() };
            Some(Saved { id: NodeId([7; 20]), contacts: vec![contact; MAX_SAVED] })
        };
        let (v4, v6) = (saved("1.2.3.4:5"), saved("[2001:db8::1]:5"));
        for both in [Both { v4: v4.clone(), v6: v6.clone() }, Both { v4, v6: None }, Both { v4: None, v6 }] {
            assert_eq!(Both::read(&both.write()), Some(both));
        }
        assert_eq!(Both::read(b"de"), Some(Both::default()));
        assert_eq!(Both::read(b"d4:ipv4i5e4:ipv6lee"), Some(Both::default()));
        assert!(Both::default().is_empty() && Both::read(b"d4:ipv4").is_none());
    }

    #[test]
    fn too_many_are_left_out_and_other_things_are_no_record() {
        let contact = Contact { id: NodeId([3; 20]), addr: "1.2.3.4:5".parse().unwrap() };
        let many = Saved { id: NodeId([7; 20]), contacts: vec![contact; 1000] };
        let read = Both::read(&Both { v4: Some(many), v6: None }.write()).unwrap();
        assert_eq!(read.v4.unwrap().contacts.len(), MAX_SAVED);
        assert_eq!(Both::read(b"le"), None);
        for other in [&b"d4:ipv4d2:id3:abcee"[..], b"d4:ipv4d5:nodes0:ee"] {
            assert_eq!(Both::read(other), Some(Both::default()));
        }
    }
}
