//! What is answered to which datagram.

use std::net::SocketAddr;
use std::sync::Arc;

use mio::net::UdpSocket;
use samara_proto::swarms::{Announce, Counts};
use samara_proto::time::Time;
use samara_proto::tracker::Family;
use samara_proto::tracker::udp::{Hashes, Options};
use samara_proto::tracker::udp_server::{
    Asks, ConnectionIds, PEERS_AT, Server, Why, answer_announce, answer_scrape, refuse,
};

use super::late::Late;
use crate::access::{Gate, Refusal};
use crate::config::Part;
use crate::dht::{Letter, Node, announced, is_message, is_question};
use crate::metrics::{Count, Tally, Transport};
use crate::site::Site;
use crate::store::{Asked, Store};

/// Answers the datagrams of one thread.
#[derive(Debug)]
pub(crate) struct Service {
    /// The tracker, if there is one.
    server: Option<Server>,
    /// The node of the DHT, if there is one.
    node: Option<Arc<Node>>,
    store: Arc<Store>,
    gate: Gate,
    pub(super) tally: Arc<Tally>,
    /// Sizes of swarms on their way into an answer.
    counts: Vec<Counts>,
}

/// Where a datagram came from, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin<'a> {
    pub(super) now: Time,
    pub(super) socket: &'a Arc<UdpSocket>,
    pub(super) from: SocketAddr,
}

impl Origin<'_> {
    fn late(self, transaction: u32) -> Late {
        Late { socket: Arc::clone(self.socket), to: self.from, transaction }
    }

    fn family(self) -> Family {
        Family::of(self.from.ip())
    }
}

impl Service {
    pub(crate) fn new(site: &Site, ids: ConnectionIds) -> Self {
        let (default_want, max_want) = (site.config.numwant as usize, site.config.max_numwant as usize);
        Self {
            server: site.config.runs(Part::Tracker).then_some(Server { ids, default_want, max_want }),
            node: site.dht.clone(),
            store: Arc::clone(&site.store),
            gate: site.access.gate(),
            tally: site.books.open(Transport::Udp),
            counts: Vec::new(),
        }
    }

    /// Writes the answer to a datagram into `out`, and says how long it is: 0 if there is none, or none yet.
    pub(super) fn answer(&mut self, origin: Origin<'_>, datagram: &[u8], out: &mut [u8]) -> usize {
        let Some(server) = self.server.filter(|_| !self.is_for_node(datagram)) else { return 0 };
        let (count, len) = match server.receive(origin.now, origin.from, datagram, out) {
            Asks::Announce { transaction, announce, options } => {
                match self.admit(origin, &announce, options) {
                    Ok(()) => (Count::Announces, self.announce(origin, transaction, &announce, out)),
                    Err(refusal) => (Count::Refused(refusal), refuse(out, transaction, refusal.reason())),
                }
            }
            // A scrape carries no options, so nobody can show a key.
            Asks::Scrape { transaction, hashes } => {
                match self.gate.admit(origin.now, origin.from.ip(), None) {
                    Ok(()) => (Count::Scrapes, self.scrape(origin, transaction, hashes, out)),
                    Err(refusal) => (Count::Refused(refusal), refuse(out, transaction, refusal.reason())),
                }
            }
            Asks::Connected(len) => (Count::Connects, len),
            Asks::Refused(len) => (Count::Malformed, len),
            Asks::Nothing(Why::Malformed) => (Count::Malformed, 0),
            Asks::Nothing(Why::Unknown) => (Count::Forged, 0),
        };
        self.tally.add(count, 1);
        len
    }

    fn is_for_node(&self, datagram: &[u8]) -> bool {
        self.node.is_some() && is_message(datagram)
    }

    /// Has the node take those of the datagrams that are for it; appends its answers.
    pub(super) fn answer_messages<'a>(
        &mut self,
        now: Time,
        datagrams: impl Iterator<Item = (SocketAddr, &'a [u8])>,
        answers: &mut Vec<Letter>,
    ) {
        let (Some(node), gate) = (&self.node, &mut self.gate) else { return };
        let messages = datagrams.filter(|(from, bytes)| is_message(bytes) && may_say(gate, *from, bytes));
        let mut messages = messages.peekable();
        if messages.peek().is_some() {
            node.take(now, messages, answers);
        }
    }

    fn admit(
        &mut self,
        origin: Origin<'_>,
        announce: &Announce,
        options: Options<'_>,
    ) -> Result<(), Refusal> {
        self.gate.admit(origin.now, origin.from.ip(), key(options))?;
        self.gate.serve(&announce.hash)
    }

    fn announce(&self, origin: Origin<'_>, transaction: u32, announce: &Announce, out: &mut [u8]) -> usize {
        let later = || origin.late(transaction).announced();
        match self.store.announce(origin.now, announce, &mut out[PEERS_AT..], later) {
            Asked::Done(told) => {
                answer_announce(out, origin.family(), transaction, told.interval, &told.counts)
            }
            Asked::Later => 0,
        }
    }

    fn scrape(&mut self, origin: Origin<'_>, transaction: u32, hashes: Hashes<'_>, out: &mut [u8]) -> usize {
        self.counts.clear();
        let later = || origin.late(transaction).scraped();
        match self.store.scrape(hashes.iter(), origin.family(), &mut self.counts, later) {
            Asked::Done(()) => answer_scrape(out, transaction, self.counts.iter().copied()),
            Asked::Later => 0,
        }
    }
}

/// Whether the node may hear this: questions of its networks only, and no announce of a torrent that is denied. What is not
/// stored is told to nobody.
fn may_say(gate: &mut Gate, from: SocketAddr, message: &[u8]) -> bool {
    let stranger = !gate.is_for(from.ip()) && is_question(message);
    !stranger && (!gate.has_denied() || announced(message).is_none_or(|torrent| !gate.denies(&torrent)))
}

/// The user's key in `/KEY/announce` of the URL (BEP 41). A path that takes more than one option has none.
fn key(options: Options<'_>) -> Option<&[u8]> {
    let path = options.url_data().next()?.strip_prefix(b"/")?;
    let (key, rest) = path.split_at(path.iter().position(|b| *b == b'/')?);
    let page = rest.split(|b| *b == b'?').next()?;
    (page == b"/announce").then_some(key)
}

#[cfg(test)]
mod tests {
    use samara_proto::tracker::udp::write_url_data;

    use super::*;

    #[test]
    fn keys_stand_in_the_path() {
        let found = |url: &str| {
            let mut out = Vec::new();
            write_url_data(url, &mut out);
            key(Options::new(&out)).map(|key| String::from_utf8(key.to_vec()).unwrap())
        };
        assert_eq!(found("/abc/announce").as_deref(), Some("abc"));
        assert_eq!(found("/abc/announce?x=/y").as_deref(), Some("abc"));
        for none in ["", "/", "/announce", "abc/announce", "/abc/scrape", "/a/b/announce", "/abc/announces"] {
            assert_eq!(found(none), None, "{none}");
        }
        assert_eq!(found(&format!("/{}/announce", "a".repeat(300))), None);
    }
}
