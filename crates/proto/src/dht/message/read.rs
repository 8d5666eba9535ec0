//! From bytes.

use super::{
    Body, FILTER_LEN, LIMITS, MAX_TOKEN, MAX_TRANSACTION, Message, Method, Peers, Query, Refused, Response,
    Sample, Signed, Want, code,
};
use crate::bencode::{self, Dict, List, Value};
use crate::dht::contact::read_addr;
use crate::ids::NodeId;

/// Longest interval of a sample, in seconds (BEP 51).
const MAX_INTERVAL: i64 = 21_600;

/// Reads one datagram.
///
/// # Errors
/// Says whether it can be answered, and with what.
pub fn parse(datagram: &[u8]) -> Result<Message<'_>, Refused<'_>> {
    let dict = bencode::parse(datagram, LIMITS).ok().and_then(Value::as_dict).ok_or(Refused::Garbage)?;
    let top = Top::read(dict);
    let transaction = top.t.filter(|t| t.len() <= MAX_TRANSACTION).ok_or(Refused::Garbage)?;
    let body = match top.y {
        Some(b"q") => {
            top.query().map_err(|text| Refused::Query { transaction, code: code::PROTOCOL, text })?
        }
        Some(b"r") => top.a_or_r(top.r).and_then(response).ok_or(Refused::Garbage)?,
        Some(b"e") => error(top.e),
        _ => return Err(Refused::Garbage),
    };
    let ip = top.ip.and_then(read_addr);
    Ok(Message { transaction, version: top.v, ip, read_only: top.ro, body })
}

/// The keys of the outermost dictionary.
#[derive(Default)]
struct Top<'a> {
    a: Option<Value<'a>>,
    e: Option<Value<'a>>,
    ip: Option<&'a [u8]>,
    q: Option<&'a [u8]>,
    r: Option<Value<'a>>,
    ro: bool,
    t: Option<&'a [u8]>,
    v: Option<&'a [u8]>,
    y: Option<&'a [u8]>,
}

impl<'a> Top<'a> {
    fn read(dict: Dict<'a>) -> Self {
        let mut top = Self::default();
        for (key, value) in dict {
            match key {
                b"a" => top.a = Some(value),
                b"e" => top.e = Some(value),
                b"ip" => top.ip = value.as_bytes(),
                b"q" => top.q = value.as_bytes(),
                b"r" => top.r = Some(value),
                b"ro" => top.ro = is_set(value),
                b"t" => top.t = value.as_bytes(),
                b"v" => top.v = value.as_bytes(),
                b"y" => top.y = value.as_bytes(),
                _ => {}
            }
        }
        top
    }

    fn a_or_r(&self, value: Option<Value<'a>>) -> Option<Args<'a>> {
        value.and_then(Value::as_dict).map(Args::read)
    }

    fn query(&self) -> Result<Body<'a>, &'static str> {
        let name = self.q.ok_or("no method")?;
        let args = self.a_or_r(self.a).ok_or("no arguments")?;
        let id = args.id.ok_or("no id of 20 bytes")?;
        Ok(Body::Query(Query { id, want: args.want, method: args.method(name)? }))
    }
}

/// Whatever may stand in `a` and `r`.
#[derive(Default)]
struct Args<'a> {
    id: Option<NodeId>,
    target: Option<NodeId>,
    info_hash: Option<NodeId>,
    want: Want,
    noseed: bool,
    scrape: bool,
    seed: bool,
    implied_port: bool,
    port: Option<i64>,
    token: Option<&'a [u8]>,
    value: Option<Value<'a>>,
    key: Option<&'a [u8; 32]>,
    sig: Option<&'a [u8; 64]>,
    salt: Option<&'a [u8]>,
    seq: Option<i64>,
    cas: Option<i64>,
    nodes: Option<&'a [u8]>,
    nodes6: Option<&'a [u8]>,
    values: Option<List<'a>>,
    seeds: Option<&'a [u8; FILTER_LEN]>,
    peers: Option<&'a [u8; FILTER_LEN]>,
    samples: Option<&'a [u8]>,
    interval: Option<i64>,
    num: Option<i64>,
}

impl<'a> Args<'a> {
    fn read(dict: Dict<'a>) -> Self {
        let mut args = Self::default();
        for (key, value) in dict {
            args.take(key, value);
        }
        args
    }

    fn take(&mut self, key: &[u8], value: Value<'a>) {
        match key {
            b"id" => self.id = node_id(value),
            b"target" => self.target = node_id(value),
            b"info_hash" => self.info_hash = node_id(value),
            b"want" => self.want = want(value),
            b"noseed" => self.noseed = is_set(value),
            b"scrape" => self.scrape = is_set(value),
            b"seed" => self.seed = is_set(value),
            b"implied_port" => self.implied_port = is_set(value),
            b"port" => self.port = value.as_int(),
            b"token" => self.token = value.as_bytes().filter(|token| token.len() <= MAX_TOKEN),
            b"v" => self.value = Some(value),
            b"k" => self.key = exactly(value),
            b"sig" => self.sig = exactly(value),
            b"salt" => self.salt = value.as_bytes(),
            b"seq" => self.seq = value.as_int(),
            b"cas" => self.cas = value.as_int(),
            b"nodes" => self.nodes = value.as_bytes(),
            b"nodes6" => self.nodes6 = value.as_bytes(),
            b"values" => self.values = value.as_list(),
            b"BFsd" => self.seeds = exactly(value),
            b"BFpe" => self.peers = exactly(value),
            b"samples" => self.samples = value.as_bytes(),
            b"interval" => self.interval = value.as_int(),
            b"num" => self.num = value.as_int(),
            _ => {}
        }
    }

    fn method(&self, name: &'a [u8]) -> Result<Method<'a>, &'static str> {
        let target = self.target.ok_or("no target of 20 bytes");
        let info_hash = self.info_hash.ok_or("no info_hash of 20 bytes");
        Ok(match name {
            b"ping" => Method::Ping,
            b"find_node" => Method::FindNode { target: target? },
            b"get_peers" => {
                Method::GetPeers { info_hash: info_hash?, noseed: self.noseed, scrape: self.scrape }
            }
            b"announce_peer" => self.announce(info_hash?)?,
            b"get" => Method::Get { target: target?, seq: self.seq },
            b"put" => self.put()?,
            b"sample_infohashes" => Method::SampleInfohashes { target: target? },
            _ => Method::Unknown { name, target: self.target.or(self.info_hash) },
        })
    }

    fn announce(&self, info_hash: NodeId) -> Result<Method<'a>, &'static str> {
        let port = self.port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0);
        let port = match port {
            Some(port) => port,
            None if self.implied_port => 0,
            None => return Err("no port"),
        };
        let token = self.token.ok_or("no token")?;
        Ok(Method::AnnouncePeer { info_hash, port, implied_port: self.implied_port, seed: self.seed, token })
    }

    fn put(&self) -> Result<Method<'a>, &'static str> {
        let token = self.token.ok_or("no token")?;
        let value = self.value.ok_or("no value")?;
        let signed = match (self.key, self.sig, self.seq) {
            (None, None, None) => None,
            (Some(key), Some(sig), Some(seq)) => {
                Some(Signed { key, sig, seq, salt: self.salt.unwrap_or_default() })
            }
            _ => return Err("a mutable item needs k of 32 bytes, sig of 64 and seq"),
        };
        Ok(Method::Put { token, value, signed, cas: self.cas })
    }

    fn sample(&self) -> Option<Sample<'a>> {
        let hashes = self.samples?;
        let interval = self.interval.unwrap_or(0).clamp(0, MAX_INTERVAL) as u32;
        let num = self.num.unwrap_or(0).clamp(0, i64::from(u32::MAX)) as u32;
        Some(Sample { hashes, interval, num })
    }
}

fn response(args: Args<'_>) -> Option<Body<'_>> {
    Some(Body::Response(Response {
        id: args.id?,
        nodes: args.nodes,
        nodes6: args.nodes6,
        token: args.token,
        values: args.values.map(Peers::Read),
        seeds: args.seeds,
        peers: args.peers,
        value: args.value,
        key: args.key,
        sig: args.sig,
        seq: args.seq,
        sample: args.sample(),
    }))
}

/// Some send a string, or nothing, in place of the list.
fn error(value: Option<Value<'_>>) -> Body<'_> {
    let mut items = value.and_then(Value::as_list).into_iter().flatten();
    let code = items.next().and_then(Value::as_int).unwrap_or(code::GENERIC);
    Body::Error { code, text: items.next().and_then(Value::as_bytes).unwrap_or_default() }
}

fn want(value: Value<'_>) -> Want {
    let has = |name| value.as_list().into_iter().flatten().any(|item| item.as_bytes() == Some(name));
    Want { v4: has(b"n4"), v6: has(b"n6") }
}

fn node_id(value: Value<'_>) -> Option<NodeId> {
    value.as_bytes().and_then(NodeId::from_slice)
}

fn exactly<'a, const N: usize>(value: Value<'a>) -> Option<&'a [u8; N]> {
    value.as_bytes().and_then(|bytes| bytes.try_into().ok())
}

fn is_set(value: Value<'_>) -> bool {
    value.as_int().is_some_and(|n| n != 0)
}
