//! A tracker's swarms in Redis: what is asked, as one script, and how its answer reads.
//!
//! Four sorted sets and two counters hold a swarm, in the slot of its hash; `swarm.lua` says how. The server's clock
//! counts, so that hubs whose clocks differ agree on who is silent.

use std::io::Write;
use std::sync::LazyLock;

use sha1::{Digest, Sha1};

use super::resp::{Malformed, Reply, write_command};
use crate::ids::WireHash;
use crate::swarms::{Announce, Counts, Event, Role};
use crate::tracker::types::Family;

/// The script that does everything.
pub const SCRIPT: &str = include_str!("swarm.lua");

/// Most peers of one role and family in a swarm: some 25 MB.
const MAX_MEMBERS: u32 = 1 << 18;

/// Largest lot: one less than the modulus of the script's numbers, which are all zero from there on.
pub const MAX_LOT: u32 = (1 << 31) - 2;

/// Longest prefix of keys, in bytes.
pub const MAX_PREFIX: usize = 64;

/// The script's SHA-1 in hex, by which servers know it.
static SHA: LazyLock<String> =
    LazyLock::new(|| Sha1::digest(SCRIPT).iter().map(|byte| format!("{byte:02x}")).collect());

/// How swarms are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// In front of every key, so that several trackers can share a server. See [`Rules::is_prefix`].
    pub prefix: Box<str>,
    /// Seconds after which a peer that is silent is gone.
    pub lifetime: u32,
}

impl Rules {
    /// Whether `text` can stand in front of keys: printable, without braces (which would name the slot), and short.
    pub fn is_prefix(text: &str) -> bool {
        let fit = |b: u8| b.is_ascii_graphic() && b != b'{' && b != b'}';
        text.len() <= MAX_PREFIX && text.bytes().all(fit)
    }
}

/// What is asked about a swarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Query {
    /// Takes note of an announce, as [`Swarms::announce`](crate::swarms::Swarms::announce) does, and tells of peers of its
    /// family. `both`: of the other family too, if more are wanted.
    Announce {
        /// What was announced.
        announce: Announce,
        /// Whether the other family counts, too.
        both: bool,
    },
    /// Counts both families, IPv4 first.
    Scrape(WireHash),
}

impl Query {
    /// The family of the first part of the answer.
    pub fn family(&self) -> Family {
        match self {
            Self::Announce { announce, .. } => Family::of(announce.peer.ip()),
            Self::Scrape(_) => Family::V4,
        }
    }

    const fn hash(&self) -> WireHash {
        match self {
            Self::Announce { announce, .. } => announce.hash,
            Self::Scrape(hash) => *hash,
        }
    }

    const fn is_of_both(&self) -> bool {
        matches!(self, Self::Announce { both: true, .. } | Self::Scrape(_))
    }
}

/// A query as it goes over the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The slot of its keys.
    pub slot: u16,
    /// Everything behind the script: how many keys, keys and arguments, as they go over the wire.
    tail: Box<[u8]>,
    /// Strings in the tail.
    args: usize,
}

impl Call {
    /// The call that `query` makes. `lot` decides draws, and is from 1 to [`MAX_LOT`].
    pub fn new(rules: &Rules, query: &Query, lot: u32) -> Self {
        let (own, both) = (query.family(), query.is_of_both());
        let base = format!("{}{{{}}}", rules.prefix, query.hash());
        let mut tail = Tail::default();
        tail.number(if both { 6 } else { 3 });
        tail.keys(&base, own);
        if both {
            tail.keys(&base, own.other());
        }
        match query {
            Query::Announce { announce, .. } => tail.announce(announce),
            Query::Scrape(_) => tail.question(),
        }
        tail.number(rules.lifetime.into());
        tail.number(lot.into());
        tail.number(MAX_MEMBERS.into());
        Self { slot: super::slot_of(base.as_bytes()), tail: tail.out.into(), args: tail.args }
    }

    /// Appends the command by the script's digest, or with the script itself for a server that does not know it.
    pub fn write(&self, with_script: bool, out: &mut Vec<u8>) {
        let (name, script) = if with_script { ("EVAL", SCRIPT) } else { ("EVALSHA", SHA.as_str()) };
        // A `Vec` takes every write.
        let _ = write!(
            out,
            "*{}\r\n${}\r\n{name}\r\n${}\r\n{script}\r\n",
            self.args + 2,
            name.len(),
            script.len()
        );
        out.extend_from_slice(&self.tail);
    }
}

/// The command that makes a server know the script.
pub(crate) fn write_load(out: &mut Vec<u8>) {
    write_command(out, &[b"SCRIPT", b"LOAD", SCRIPT.as_bytes()]);
}

#[derive(Default)]
struct Tail {
    out: Vec<u8>,
    args: usize,
}

impl Tail {
    fn bytes(&mut self, bytes: &[u8]) {
        let _ = write!(self.out, "${}\r\n", bytes.len());
        self.out.extend_from_slice(bytes);
        self.out.extend_from_slice(b"\r\n");
        self.args += 1;
    }

    fn number(&mut self, n: u64) {
        let digits = n.checked_ilog10().unwrap_or(0) + 1;
        let _ = write!(self.out, "${digits}\r\n{n}\r\n");
        self.args += 1;
    }

    fn keys(&mut self, base: &str, family: Family) {
        let family = if family == Family::V4 { '4' } else { '6' };
        for kind in ['l', 's', 'c'] {
            let _ = write!(self.out, "${}\r\n{base}{family}{kind}\r\n", base.len() + 2);
            self.args += 1;
        }
    }

    fn announce(&mut self, announce: &Announce) {
        let (packed, len) = pack(announce);
        let does = match (announce.event, announce.role) {
            (Event::Stopped, _) => b"x",
            _ if announce.peer.port() == 0 => b"-",
            (_, Role::Seed) => b"s",
            (_, Role::Leech | Role::Partial) => b"l",
        };
        let completed = announce.event == Event::Completed && announce.role == Role::Seed;
        self.bytes(packed.get(..len).unwrap_or_default());
        self.bytes(does);
        self.number(completed.into());
        self.number((announce.role != Role::Leech).into());
        self.number(announce.want as u64);
        self.number(announce.want as u64);
    }

    fn question(&mut self) {
        self.bytes(b"");
        self.bytes(b"-");
        (0..4).for_each(|_| self.number(0));
    }
}

/// Address and port as they are handed out (BEP 23, BEP 7).
fn pack(announce: &Announce) -> ([u8; 18], usize) {
    let mut out = [0; 18];
    let len = match announce.peer.ip() {
        std::net::IpAddr::V4(ip) => {
            out[..4].copy_from_slice(&ip.octets());
            4
        }
        std::net::IpAddr::V6(ip) => {
            out[..16].copy_from_slice(&ip.octets());
            16
        }
    };
    out[len..len + 2].copy_from_slice(&announce.peer.port().to_be_bytes());
    (out, len + 2)
}

/// A family's part of an answer: counts, and packed peers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told<'a> {
    /// How many there are.
    pub counts: Counts,
    /// Whole peers, of 6 or 18 bytes each.
    pub peers: &'a [u8],
}

/// The answer to a [`Query`]: its [family](Query::family), which is `own`, and the other if that was asked for.
///
/// # Errors
/// If it is not what the script returns.
pub fn read_answer<'a>(reply: &Reply<'a>, own: Family) -> Result<(Told<'a>, Option<Told<'a>>), Malformed> {
    let Reply::Bulk(bytes) = *reply else { return Err(Malformed) };
    let (first, rest) = read_told(bytes, own)?;
    if rest.is_empty() {
        return Ok((first, None));
    }
    match read_told(rest, own.other())? {
        (second, []) => Ok((first, Some(second))),
        _ => Err(Malformed),
    }
}

fn read_told(bytes: &[u8], family: Family) -> Result<(Told<'_>, &[u8]), Malformed> {
    let (head, rest) = bytes.split_first_chunk::<16>().ok_or(Malformed)?;
    let (fields, _) = head.as_chunks::<4>();
    let [complete, incomplete, downloaded, len] = *fields else { return Err(Malformed) };
    let len = u32::from_be_bytes(len) as usize;
    let (peers, rest) = rest.split_at_checked(len).ok_or(Malformed)?;
    if !len.is_multiple_of(family.peer_len()) {
        return Err(Malformed);
    }
    let counts = Counts {
        complete: u32::from_be_bytes(complete),
        incomplete: u32::from_be_bytes(incomplete),
        downloaded: u32::from_be_bytes(downloaded),
        peers: len,
    };
    Ok((Told { counts, peers }, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::Reader;

    fn rules() -> Rules {
        Rules { prefix: "t:".into(), lifetime: 100 }
    }

    fn announce(peer: &str, event: Event, role: Role) -> Announce {
        Announce { hash: WireHash([0xab; 20]), peer: peer.parse().unwrap(), event, role, want: 50 }
    }

    fn words(call: &Call, with_script: bool) -> Vec<Vec<u8>> {
        let (mut out, mut reader) = (Vec::new(), Reader::default());
        call.write(with_script, &mut out);
        reader.push(&out);
        let Ok(Some(Reply::Array(words))) = reader.next_reply() else { panic!("no command") };
        let bytes = |word: &Reply<'_>| match word {
            Reply::Bulk(bytes) => bytes.to_vec(),
            _ => panic!("no string"),
        };
        words.iter().map(bytes).collect()
    }

    #[test]
    fn a_call_names_keys_of_one_slot() {
        let announce = announce("1.2.3.4:258", Event::Completed, Role::Seed);
        let query = Query::Announce { announce, both: true };
        let call = Call::new(&rules(), &query, 7);
        let words = words(&call, false);
        assert_eq!(
            (words[0].as_slice(), words[1].len(), words[2].as_slice()),
            (b"EVALSHA".as_slice(), 40, b"6".as_slice())
        );
        let hex = "ab".repeat(20);
        for (key, end) in words[3..9].iter().zip(["4l", "4s", "4c", "6l", "6s", "6c"]) {
            assert_eq!(String::from_utf8_lossy(key), format!("t:{{{hex}}}{end}"));
            assert_eq!(super::super::slot_of(key), call.slot);
        }
        let rest: Vec<_> = words[9..].iter().map(Vec::as_slice).collect();
        let expected: [&[u8]; 9] =
            [&[1, 2, 3, 4, 1, 2], b"s", b"1", b"1", b"50", b"50", b"100", b"7", b"262144"];
        assert_eq!(rest, expected);
    }

    #[test]
    fn what_a_peer_does() {
        let does = |peer, event, role| {
            let call = Call::new(
                &rules(),
                &Query::Announce { announce: announce(peer, event, role), both: false },
                0,
            );
            let words = words(&call, true);
            assert_eq!((words[1].as_slice(), words[2].as_slice()), (SCRIPT.as_bytes(), b"3".as_slice()));
            words[7..10].concat()
        };
        assert_eq!(does("1.2.3.4:5", Event::Started, Role::Leech), b"l00");
        assert_eq!(does("1.2.3.4:5", Event::Paused, Role::Partial), b"l01");
        assert_eq!(does("1.2.3.4:5", Event::Completed, Role::Leech), b"l00");
        assert_eq!(does("1.2.3.4:5", Event::Stopped, Role::Seed), b"x01");
        assert_eq!(does("[::1]:0", Event::None, Role::Seed), b"-01");
    }

    #[test]
    fn answers() {
        let part = |counts: [u32; 4], peers: &[u8]| {
            [counts.iter().flat_map(|c| c.to_be_bytes()).collect::<Vec<_>>(), peers.to_vec()].concat()
        };
        let (v4, v6) = (part([1, 2, 3, 6], &[9; 6]), part([4, 5, 6, 18], &[8; 18]));
        let both = [v4.as_slice(), &v6].concat();
        let (own, others) = read_answer(&Reply::Bulk(&both), Family::V4).unwrap();
        assert_eq!((own.counts.complete, own.counts.incomplete, own.counts.downloaded), (1, 2, 3));
        assert_eq!((own.peers, others.unwrap().peers), ([9; 6].as_slice(), [8; 18].as_slice()));
        assert_eq!(read_answer(&Reply::Bulk(&v6), Family::V6).unwrap().1, None);
        for cut in (0..both.len()).filter(|cut| *cut != v4.len()) {
            assert_eq!(read_answer(&Reply::Bulk(&both[..cut]), Family::V4), Err(Malformed), "{cut}");
        }
        let three = [both.as_slice(), &v4].concat();
        let odd = part([0; 4], &[1; 7]);
        for bad in [Reply::Bulk(&odd), Reply::Bulk(&three), Reply::Nil, Reply::Int(1)] {
            assert_eq!(read_answer(&bad, Family::V4), Err(Malformed));
        }
    }

    #[test]
    fn prefixes() {
        assert!(Rules::is_prefix("samara:") && Rules::is_prefix(""));
        assert!(!Rules::is_prefix("a{b}") && !Rules::is_prefix("a b") && !Rules::is_prefix(&"a".repeat(65)));
    }
}
