//! To bytes, with keys in order.

use super::{Body, Message, Method, Peers, Query, Response, Sample, Signed, Want};
use crate::bencode::{DictWriter, ListWriter, write_dict};
use crate::dht::contact::push_addr;
use crate::ids::NodeId;

impl Message<'_> {
    /// Appends the datagram.
    pub fn write(&self, out: &mut Vec<u8>) {
        write_dict(out, |d| {
            match &self.body {
                Body::Query(query) => d.dict("a", |a| query.write(a)),
                Body::Error { code, text } => d.list("e", |e| {
                    e.int(*code);
                    e.bytes(text);
                }),
                Body::Response(_) => {}
            }
            if let Some(addr) = self.ip {
                let mut compact = Vec::with_capacity(18);
                push_addr(&mut compact, addr);
                d.bytes("ip", compact);
            }
            match &self.body {
                Body::Query(query) => d.bytes("q", query.method.name()),
                Body::Response(response) => d.dict("r", |r| response.write(r)),
                Body::Error { .. } => {}
            }
            flag(d, "ro", self.read_only);
            d.bytes("t", self.transaction);
            maybe(d, "v", self.version);
            d.bytes("y", self.body.letter());
        });
    }
}

impl Body<'_> {
    const fn letter(&self) -> &'static str {
        match self {
            Self::Query(_) => "q",
            Self::Response(_) => "r",
            Self::Error { .. } => "e",
        }
    }
}

impl Method<'_> {
    /// As it is called on the wire.
    pub const fn name(&self) -> &[u8] {
        match self {
            Self::Ping => b"ping",
            Self::FindNode { .. } => b"find_node",
            Self::GetPeers { .. } => b"get_peers",
            Self::AnnouncePeer { .. } => b"announce_peer",
            Self::Get { .. } => b"get",
            Self::Put { .. } => b"put",
            Self::SampleInfohashes { .. } => b"sample_infohashes",
            Self::Unknown { name, .. } => name,
        }
    }
}

impl Query<'_> {
    fn write(&self, a: &mut DictWriter<'_>) {
        let id = &self.id;
        match self.method {
            Method::Ping => a.bytes("id", id.0),
            Method::FindNode { target } | Method::SampleInfohashes { target } => with_target(a, id, target),
            Method::GetPeers { info_hash, noseed, scrape } => {
                a.bytes("id", id.0);
                a.bytes("info_hash", info_hash.0);
                flag(a, "noseed", noseed);
                flag(a, "scrape", scrape);
            }
            Method::AnnouncePeer { info_hash, port, implied_port, seed, token } => {
                a.bytes("id", id.0);
                flag(a, "implied_port", implied_port);
                a.bytes("info_hash", info_hash.0);
                a.int("port", port.into());
                flag(a, "seed", seed);
                a.bytes("token", token);
            }
            Method::Get { target, seq } => {
                a.bytes("id", id.0);
                number(a, "seq", seq);
                a.bytes("target", target.0);
            }
            Method::Put { token, value, signed, cas } => {
                number(a, "cas", cas);
                a.bytes("id", id.0);
                signed.inspect(|signed| signed.write(a));
                a.bytes("token", token);
                a.value("v", value);
            }
            Method::Unknown { target, .. } => match target {
                Some(target) => with_target(a, id, target),
                None => a.bytes("id", id.0),
            },
        }
        self.want.write(a);
    }
}

fn with_target(a: &mut DictWriter<'_>, id: &NodeId, target: NodeId) {
    a.bytes("id", id.0);
    a.bytes("target", target.0);
}

impl Signed<'_> {
    fn write(&self, a: &mut DictWriter<'_>) {
        a.bytes("k", self.key);
        if !self.salt.is_empty() {
            a.bytes("salt", self.salt);
        }
        a.int("seq", self.seq);
        a.bytes("sig", self.sig);
    }
}

impl Want {
    fn write(self, a: &mut DictWriter<'_>) {
        if self == Self::default() {
            return;
        }
        a.list("want", |l| {
            let families = [("n4", self.v4), ("n6", self.v6)];
            families.into_iter().filter(|(_, wanted)| *wanted).for_each(|(name, _)| l.bytes(name));
        });
    }
}

impl Response<'_> {
    fn write(&self, r: &mut DictWriter<'_>) {
        maybe(r, "BFpe", self.peers);
        maybe(r, "BFsd", self.seeds);
        r.bytes("id", self.id.0);
        number(r, "interval", self.sample.map(|sample| sample.interval.into()));
        maybe(r, "k", self.key);
        maybe(r, "nodes", self.nodes);
        maybe(r, "nodes6", self.nodes6);
        if let Some(Sample { hashes, num, .. }) = self.sample {
            r.int("num", num.into());
            r.bytes("samples", hashes);
        }
        number(r, "seq", self.seq);
        maybe(r, "sig", self.sig);
        maybe(r, "token", self.token);
        if let Some(value) = self.value {
            r.value("v", value);
        }
        if let Some(values) = self.values {
            r.list("values", |l| values.write(l));
        }
    }
}

impl Peers<'_> {
    fn write(self, l: &mut ListWriter<'_>) {
        match self {
            Self::Compact(bytes, family) => {
                bytes.chunks_exact(family.peer_len()).for_each(|peer| l.bytes(peer))
            }
            Self::Read(list) => list.iter().filter_map(|peer| peer.as_bytes()).for_each(|peer| l.bytes(peer)),
        }
    }
}

fn maybe(d: &mut DictWriter<'_>, key: &str, value: Option<impl AsRef<[u8]>>) {
    if let Some(value) = value {
        d.bytes(key, value);
    }
}

fn number(d: &mut DictWriter<'_>, key: &str, value: Option<i64>) {
    if let Some(value) = value {
        d.int(key, value);
    }
}

fn flag(d: &mut DictWriter<'_>, key: &str, set: bool) {
    if set {
        d.int(key, 1);
    }
}
