//! The torrent by itself, its peers played by the test. Whole swarms are in `samara-sim`.

mod crowd;
mod leaves;

use proptest::prelude::*;

use super::*;
use crate::ids::{BLOCK_LEN, Block, PieceIndex, Sha256Hash, WireHash};
use crate::merkle::leaf;
use crate::peer::{Extended, Hello, Violation};
use crate::wire::{PexFlags, PexMessage};

mod pex;
mod selection;
mod streaming;

type Out = Output<u32>;

const ME: PeerId = PeerId([5; 20]);

fn bencoded_info(pieces: u32, blocks: u32) -> Vec<u8> {
    let piece_length = blocks * BLOCK_LEN;
    let length = u64::from(pieces) * u64::from(piece_length);
    let hashes = 20 * pieces;
    let mut info = format!("d6:lengthi{length}e4:name1:f12:piece lengthi{piece_length}e6:pieces{hashes}:");
    info.extend((0..hashes).map(|_| 'x'));
    info.push('e');
    info.into_bytes()
}

/// A torrent with its storage open and empty, driven by hand.
struct Driver {
    torrent: Torrent<u32>,
    now: Time,
}

impl Driver {
    fn new(pieces: u32, blocks: u32) -> Self {
        let mut driver = Self::unready(pieces, blocks);
        driver.give(Input::Ready { have: Bitfield::new(pieces) });
        driver
    }

    fn unready(pieces: u32, blocks: u32) -> Self {
        let info = Info::parse(bencoded_info(pieces, blocks).into()).unwrap();
        let known = Known { info: Arc::new(info), piece_layers: PieceLayers::new() };
        let now = Time::from_micros(1_000_000);
        let torrent =
            Torrent::with_info(Config { upload_slots: Some(8), ..Config::new(ME) }, known, 1, now).unwrap();
        Self { torrent, now }
    }

    fn give(&mut self, input: Input<u32>) -> Vec<Out> {
        self.torrent.handle(self.now, input);
        std::iter::from_fn(|| self.torrent.poll()).collect()
    }

    fn wait(&mut self, time: Duration) -> Vec<Out> {
        let (until, mut out) = (self.now + time, Vec::new());
        while let Some(at) = self.torrent.deadline().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            out.extend(self.give(Input::Tick));
        }
        self.now = until;
        out
    }

    fn event(&mut self, peer: u64, event: Event<u32>) -> Vec<Out> {
        self.give(Input::Peer { peer: PeerKey(peer), event })
    }

    /// A peer connects to us and greets.
    fn join_as(&mut self, peer: u64, id: u8, outgoing: bool) -> Vec<Out> {
        self.join_at(peer, addr(peer), id, outgoing)
    }

    fn join_at(&mut self, peer: u64, addr: SocketAddr, id: u8, outgoing: bool) -> Vec<Out> {
        let mut out = self.give(Input::Connected { peer: PeerKey(peer), addr, outgoing });
        let (peer_id, hash) = (PeerId([id; 20]), WireHash([0; 20]));
        let hello = Hello { peer_id, hash, v2: false, fast: true, extended: true, dht: false };
        out.extend(self.event(peer, Event::Hello(hello)));
        out
    }

    /// A seed joins and serves us. Returns the blocks it is asked for.
    fn seed(&mut self, peer: u64) -> Vec<Block> {
        self.join_as(peer, 100 + peer as u8, false);
        self.event(peer, Event::HaveAll);
        requests(&self.event(peer, Event::Unchoke), peer)
    }

    fn bring(&mut self, peer: u64, block: Block) -> Vec<Out> {
        self.event(peer, Event::Block { block, data: 0 })
    }

    fn verdict(&mut self, piece: u32, ok: bool, digests: &[(u32, Sha256Hash)]) -> Vec<Out> {
        self.give(Input::Verified { piece: PieceIndex(piece), ok, digests: digests.to_vec() })
    }
}

fn addr(n: u64) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, n as u8], 6881))
}

fn commands(out: &[Out], to: u64) -> Vec<&Command> {
    let sent = out.iter().filter_map(|o| match o {
        Output::Send { peer, command } if peer.0 == to => Some(command),
        _ => None,
    });
    sent.collect()
}

fn requests(out: &[Out], to: u64) -> Vec<Block> {
    let sent = commands(out, to).into_iter().filter_map(|c| match c {
        Command::Request(block) => Some(*block),
        _ => None,
    });
    sent.collect()
}

fn cancels(out: &[Out], to: u64) -> Vec<Block> {
    let sent = commands(out, to).into_iter().filter_map(|c| match c {
        Command::Cancel(block) => Some(*block),
        _ => None,
    });
    sent.collect()
}

fn disconnected(out: &[Out]) -> Vec<(u64, Departure)> {
    let gone = out.iter().filter_map(|o| match o {
        Output::Disconnect { peer, reason } => Some((peer.0, *reason)),
        _ => None,
    });
    gone.collect()
}

fn is_complete(out: &[Out]) -> bool {
    out.iter().any(|o| matches!(o, Output::Event(TorrentEvent::Complete)))
}

#[test]
fn the_first_word_of_a_peer_on_its_dht_node_counts() {
    let mut driver = Driver::new(1, 1);
    driver.join_as(1, 1, true);
    let told = |out: Vec<Out>| {
        let node = |out| match out {
            Output::Event(TorrentEvent::DhtNode(addr)) => Some(addr.port()),
            _ => None,
        };
        out.into_iter().filter_map(node).collect::<Vec<_>>()
    };
    let ports = [0, 6881, 6882].map(|port| driver.event(1, Event::Port(port)));
    assert_eq!(ports.map(told), [vec![], vec![6881], vec![]]);
}

#[test]
fn downloads_from_a_seed_and_lets_it_go() {
    let mut driver = Driver::new(2, 2);
    let blocks = driver.seed(1);
    assert_eq!(blocks.len(), 4, "all at once, for it is less than a window");
    for block in &blocks {
        let out = driver.bring(1, *block);
        assert!(matches!(
            out[0],
            Output::Store { peer: PeerKey(1), expected: Expected { v1: Some(_), .. }, .. }
        ));
    }
    let out = driver.verdict(0, true, &[]);
    assert!(!is_complete(&out) && disconnected(&out).is_empty());
    let out = driver.verdict(1, true, &[]);
    assert!(is_complete(&out));
    assert_eq!(disconnected(&out), [(1, Departure::Useless)]);
    let stats = driver.torrent.stats();
    assert_eq!((stats.done, stats.wanted, stats.wasted), (4 * 16384, 4 * 16384, 0));
    assert!(!is_complete(&driver.verdict(1, true, &[])), "said once");
}

#[test]
fn the_first_thing_a_peer_hears_is_what_we_have_and_then_what_is_new() {
    let mut driver = Driver::new(2, 1);
    let out = driver.join_as(9, 9, false);
    assert!(
        matches!(commands(&out, 9)[..], [Command::Layout { .. }, Command::AllowPex(true), Command::Bitfield(have)] if have.len() == 2)
    );
    let block = driver.seed(1)[0];
    driver.bring(1, block);
    let out = driver.verdict(block.piece.0, true, &[]);
    assert!(matches!(commands(&out, 9)[..], [Command::Have(piece)] if *piece == block.piece));
    assert!(commands(&out, 1).is_empty(), "it has that piece");
}

#[test]
fn an_interested_peer_is_served_at_once_while_there_are_slots() {
    let mut driver = Driver::new(2, 1);
    for peer in 1..=9 {
        driver.join_as(peer, 100 + peer as u8, false);
        let out = driver.event(peer, Event::Interested);
        let served = matches!(commands(&out, peer)[..], [Command::Choke(false)]);
        assert_eq!(served, peer <= 8, "eight slots");
    }
    let out = driver.event(3, Event::NotInterested);
    assert!(matches!(commands(&out, 9)[..], [Command::Choke(false)]), "the slot goes on at once");
    assert!(matches!(commands(&out, 3)[..], [Command::Choke(true)]));
}

#[test]
fn a_lone_liar_is_banned_and_its_piece_comes_from_another() {
    let mut driver = Driver::new(1, 2);
    for block in driver.seed(1) {
        driver.bring(1, block);
    }
    let out = driver.verdict(0, false, &[]);
    assert_eq!(disconnected(&out), [(1, Departure::Violation(Violation::BadPieces))]);
    assert_eq!(driver.torrent.stats().wasted, 2 * 16384);
    assert_eq!(driver.seed(2).len(), 2);
    let again = driver.give(Input::Connected { peer: PeerKey(3), addr: addr(1), outgoing: false });
    assert_eq!(disconnected(&again), [(3, Departure::Banned)]);
}

/// What the disk says of blocks of these contents.
fn digests(contents: &[&str]) -> Vec<(u32, Sha256Hash)> {
    (0..).zip(contents.iter().map(|text| leaf(text.as_bytes()))).collect()
}

/// A torrent of two pieces of two blocks, of which the first came from both peers, each one block, and was wrong.
fn spoiled() -> Driver {
    let mut driver = Driver::new(2, 2);
    let blocks = driver.seed(1);
    driver.seed(2);
    let half: Vec<_> = blocks.iter().filter(|b| b.piece.0 == 0).copied().collect();
    blocks.iter().filter(|b| **b != half[0]).for_each(|b| drop(driver.event(1, Event::Rejected(*b))));
    driver.wait(Duration::from_millis(10));
    driver.bring(1, half[0]);
    driver.bring(2, half[1]);
    let out = driver.verdict(0, false, &digests(&["a", "lie"]));
    assert!(disconnected(&out).is_empty(), "one does not know yet");
    driver
}

fn suspects(driver: &Driver) -> Vec<u64> {
    driver.torrent.peers().filter(|p| p.suspect).map(|p| p.peer.0).collect()
}

/// Whether anything is stored with a wish for digests.
fn suspected(out: &[Out]) -> bool {
    out.iter().any(|o| matches!(o, Output::Store { suspected: true, .. }))
}

#[test]
fn of_several_senders_the_liar_goes_when_the_piece_comes_again() {
    let mut driver = spoiled();
    assert_eq!(suspects(&driver), [1, 2]);
    let asked = driver.seed(3);
    let again: Vec<_> = asked.iter().filter(|b| b.piece.0 == 0).copied().collect();
    assert_eq!(again.len(), 2, "one that did not take part fetches it, alone");
    assert!(suspected(&driver.bring(3, again[0])));
    driver.bring(3, again[1]);
    let out = driver.verdict(0, true, &digests(&["a", "b"]));
    assert_eq!(disconnected(&out), [(2, Departure::Violation(Violation::BadPieces))]);
    assert_eq!((suspects(&driver), driver.torrent.stats().banned), (vec![], 1));
}

#[test]
fn a_liar_that_left_is_banned_all_the_same() {
    let mut driver = spoiled();
    driver.event(2, Event::Closed(Departure::Io));
    driver.seed(3).into_iter().filter(|b| b.piece.0 == 0).for_each(|b| drop(driver.bring(3, b)));
    let out = driver.verdict(0, true, &digests(&["a", "b"]));
    let banned = |o: &Out| matches!(o, Output::Event(TorrentEvent::Banned { addr: a, .. }) if *a == addr(2));
    assert!(out.iter().any(banned));
    let again = driver.give(Input::Connected { peer: PeerKey(4), addr: addr(2), outgoing: false });
    assert_eq!(disconnected(&again), [(4, Departure::Banned)]);
}

#[test]
fn a_suspect_that_comes_back_is_still_one() {
    let mut driver = spoiled();
    driver.event(2, Event::Closed(Departure::Io));
    driver.give(Input::Connected { peer: PeerKey(7), addr: addr(2), outgoing: false });
    assert_eq!(suspects(&driver), [1, 7]);
}

#[test]
fn a_right_piece_of_its_own_clears_a_suspect_and_a_wrong_one_convicts_it() {
    for ok in [true, false] {
        let mut driver = spoiled();
        // What was asked of it of the other piece was asked of nobody else: that is its own now.
        assert!(driver.seed(3).iter().all(|b| b.piece.0 == 0), "nobody helps it");
        let layout = driver.torrent.layout().unwrap().clone();
        layout.blocks(PieceIndex(1)).for_each(|b| drop(driver.bring(2, b)));
        let out = driver.verdict(1, ok, &[]);
        assert_eq!(disconnected(&out).iter().any(|(peer, _)| *peer == 2), !ok);
        assert_eq!(suspects(&driver), [1]);
    }
}

#[test]
fn suspects_get_on_with_it_if_nobody_else_is_there() {
    let (mut driver, mut came) = (spoiled(), BTreeMap::new());
    let layout = driver.torrent.layout().unwrap().clone();
    // Piece 1 was asked of the second one, which has it in mind.
    let mut asked: Vec<_> = layout.blocks(PieceIndex(1)).map(|b| (2, b)).collect();
    for _ in 0..6 {
        let mut out = Vec::new();
        for (peer, block) in std::mem::take(&mut asked) {
            out.extend(driver.bring(peer, block));
            *came.entry(block.piece.0).or_insert(0) += 1;
        }
        for piece in [0, 1].into_iter().filter(|piece| came.get(piece) == Some(&2)) {
            out.extend(driver.verdict(piece, true, &digests(&["a", "lie"])));
        }
        came.retain(|_, n| *n < 2);
        out.extend(driver.wait(Duration::from_secs(1)));
        asked.extend(
            [1, 2].into_iter().flat_map(|peer| requests(&out, peer).into_iter().map(move |b| (peer, b))),
        );
    }
    assert!(driver.torrent.is_complete(), "{:?}", driver.torrent.stats());
    assert_eq!(driver.torrent.stats().banned, 0, "what they sent was right: the disk had erred");
}

#[test]
fn a_silent_peer_loses_its_blocks_to_another() {
    let mut driver = Driver::new(1, 4);
    let blocks = driver.seed(1);
    assert_eq!(blocks.len(), 4);
    // The second one is asked for the same in the end game; then it goes, and comes back when the first is snubbed.
    driver.seed(2);
    driver.event(2, Event::Closed(Departure::Io));
    let out = driver.wait(Duration::from_secs(22));
    assert_eq!(cancels(&out, 1), blocks[1..], "it may still bring the first");
    assert_eq!(driver.seed(3).iter().filter(|b| blocks[1..].contains(b)).count(), 3);
}

#[test]
fn a_peer_that_we_hold_up_is_not_silent() {
    let mut driver = Driver::new(1, 4);
    driver.seed(1);
    for _ in 0..30 {
        assert_eq!(cancels(&driver.wait(Duration::from_secs(5)), 1), []);
        driver.event(1, Event::Held);
    }
    assert_ne!(cancels(&driver.wait(Duration::from_secs(22)), 1), []);
}

#[test]
fn while_we_are_the_late_ones_there_is_no_end_game() {
    let mut driver = Driver::new(1, 4);
    let blocks = driver.seed(1);
    driver.event(1, Event::Held);
    assert_eq!(driver.seed(2), []);
    driver.wait(Duration::from_secs(2));
    driver.event(1, Event::Held);
    assert_eq!(requests(&driver.wait(Duration::from_secs(2)), 2), []);
    assert_eq!(requests(&driver.wait(Duration::from_secs(2)), 2).len(), blocks.len());
}

#[test]
fn silent_peers_do_not_keep_the_last_block_from_one_who_brings_it() {
    let mut driver = Driver::new(1, 1);
    let block = driver.seed(1)[0];
    // As many as may be asked for one block.
    assert_eq!([driver.seed(2), driver.seed(3), driver.seed(4)], [vec![block], vec![block], vec![]]);
    let out = driver.wait(Duration::from_secs(22));
    assert_eq!([1, 2, 3].map(|peer| cancels(&out, peer)), [[block], [block], [block]]);
    assert_eq!(requests(&out, 4), [block]);
}

#[test]
fn in_the_end_game_the_slower_one_is_told() {
    let mut driver = Driver::new(1, 2);
    let blocks = driver.seed(1);
    let twice = driver.seed(2);
    assert_eq!((blocks.len(), twice.len()), (2, 2));
    let out = driver.bring(2, twice[0]);
    assert_eq!(cancels(&out, 1), [twice[0]]);
    assert!(!driver.bring(1, twice[0]).iter().any(|o| matches!(o, Output::Store { .. })));
    assert_eq!(driver.torrent.stats().wasted, 16384);
}

#[test]
fn of_two_connections_to_one_peer_both_ends_keep_the_same() {
    for (remote, ours_stays) in [(9, true), (1, false)] {
        for ours_first in [true, false] {
            let mut driver = Driver::new(1, 1);
            driver.join_at(1, addr(1), remote, ours_first);
            let out = driver.join_at(2, addr(1), remote, !ours_first);
            let loser = if ours_first == ours_stays { 2 } else { 1 };
            assert_eq!(disconnected(&out), [(loser, Departure::Duplicate)]);
        }
    }
    let mut driver = Driver::new(1, 1);
    assert_eq!(disconnected(&driver.join_as(1, ME.0[0], false)), [(1, Departure::SelfConnection)]);
}

#[test]
fn pause_takes_everything_back_and_resume_asks_again() {
    let mut driver = Driver::new(1, 3);
    let blocks = driver.seed(1);
    let out = driver.give(Input::Pause);
    assert_eq!(cancels(&out, 1), blocks);
    assert!(requests(&driver.wait(Duration::from_secs(3)), 1).is_empty());
    assert_eq!(requests(&driver.give(Input::Resume), 1).len(), 3);
}

#[test]
fn pieces_that_become_wanted_are_asked_for_and_completion_is_said_again() {
    let mut driver = Driver::unready(1, 1);
    driver.give(Input::Select(vec![Priority::Skip]));
    let out = driver.give(Input::Ready { have: Bitfield::new(1) });
    assert!(is_complete(&out), "nothing is wanted");
    driver.join_as(1, 1, false);
    let out = driver.give(Input::Select(vec![Priority::Normal]));
    assert!(!is_complete(&out));
    let block = driver.seed(2)[0];
    driver.bring(2, block);
    assert!(is_complete(&driver.verdict(0, true, &[])));
}

#[test]
fn a_lost_peer_of_the_user_is_called_back() {
    let mut driver = Driver::new(1, 1);
    let connect = |out: &[Out]| matches!(out, [Output::Connect { addr: a }] if *a == addr(1));
    let out = driver.give(Input::Candidates { source: Source::User, addrs: vec![addr(1)] });
    assert!(connect(&out));
    driver.join_as(1, 1, true);
    driver.event(1, Event::Closed(Departure::Io));
    assert!(driver.wait(Duration::from_millis(900)).is_empty());
    assert!(connect(&driver.wait(Duration::from_millis(400))));
    driver.give(Input::ConnectFailed { addr: addr(1) });
    assert!(connect(&driver.wait(Duration::from_millis(2600))));
}

#[test]
fn nobody_is_called_before_the_storage_is_ready_or_after_the_end() {
    let mut driver = Driver::unready(1, 1);
    let addrs = vec![addr(1), addr(2)];
    assert!(driver.give(Input::Candidates { source: Source::User, addrs }).is_empty());
    assert_eq!(driver.torrent.deadline(), None);
    assert_eq!(driver.give(Input::Ready { have: Bitfield::new(1) }).len(), 2);
    driver.join_as(1, 1, true);
    let out = driver.give(Input::Stop);
    assert_eq!(disconnected(&out), [(1, Departure::Shutdown)]);
    driver.event(1, Event::Closed(Departure::Shutdown));
    driver.give(Input::ConnectFailed { addr: addr(2) });
    assert!(driver.wait(Duration::from_secs(600)).is_empty());
}

#[test]
fn metadata_comes_from_peers_and_what_they_said_before_counts() {
    let raw = bencoded_info(3, 1);
    let info = Info::parse(raw.clone().into()).unwrap();
    let now = Time::ZERO;
    let mut driver = Driver { torrent: Torrent::new(Config::new(ME), info.hashes(), 1, now), now };
    driver.join_as(1, 1, false);
    driver.event(1, Event::Bitfield(vec![0b0100_0000]));
    driver.event(1, Event::Have(PieceIndex(2)));
    let extended =
        Extended { ut_metadata: true, metadata_size: Some(raw.len() as u32), ..Extended::default() };
    let out = driver.event(1, Event::Extended(extended));
    assert!(matches!(commands(&out, 1)[..], [Command::MetadataRequest(0)]));
    let total = raw.len() as u32;
    let out = driver.event(1, Event::MetadataData { piece: 0, total, data: raw });
    assert!(out.iter().any(|o| matches!(o, Output::Event(TorrentEvent::Metadata(i)) if **i == info)));
    assert!(matches!(commands(&out, 1)[..], [Command::Layout { .. }]));
    let out = driver.give(Input::Ready { have: Bitfield::new(3) });
    assert!(matches!(commands(&out, 1)[..], [Command::Interested(true)]));
    let asked = requests(&driver.event(1, Event::Unchoke), 1);
    assert_eq!(asked.iter().map(|b| b.piece.0).collect::<std::collections::BTreeSet<_>>(), [1, 2].into());
    let out = driver.event(1, Event::MetadataRequest(0));
    assert!(matches!(commands(&out, 1)[..], [Command::MetadataData { piece: 0, .. }]));
    let out = driver.event(1, Event::MetadataRequest(1));
    assert!(matches!(commands(&out, 1)[..], [Command::MetadataReject(1)]));
}

#[test]
fn a_torrent_of_empty_files_is_complete_when_ready() {
    let mut driver = Driver::unready(0, 1);
    assert!(is_complete(&driver.give(Input::Ready { have: Bitfield::new(0) })));
}

/// Anything that a shell could ever give for three peers and a torrent of four pieces, in any order.
fn any_input() -> impl Strategy<Value = Input<u32>> {
    let peer = || (0u64..3).prop_map(PeerKey);
    let piece = || (0u32..6).prop_map(PieceIndex);
    let block = || {
        let offset = prop_oneof![Just(0), Just(BLOCK_LEN), any::<u32>()];
        let len = prop_oneof![Just(BLOCK_LEN), any::<u32>()];
        (piece(), offset, len).prop_map(|(piece, offset, len)| Block { piece, offset, len })
    };
    let hello = (any::<u8>(), any::<bool>()).prop_map(|(id, v2)| Hello {
        peer_id: PeerId([id % 7; 20]),
        hash: WireHash([0; 20]),
        v2,
        fast: true,
        extended: true,
        dht: false,
    });
    let extended = (any::<Option<u32>>(), any::<Option<u16>>(), any::<bool>()).prop_map(|(n, port, flag)| {
        let metadata_size = n.map(|n| n % 200_000);
        Extended {
            reqq: n,
            listen_port: port,
            metadata_size,
            ut_metadata: true,
            ut_pex: true,
            upload_only: flag,
            ..Extended::default()
        }
    });
    let bytes = || prop::collection::vec(any::<u8>(), 0..3);
    let event = prop_oneof![
        3 => hello.prop_map(Event::Hello),
        2 => extended.prop_map(Event::Extended),
        3 => prop_oneof![Just(Event::Choke), Just(Event::Unchoke), Just(Event::Unchoke)],
        2 => prop_oneof![Just(Event::Interested), Just(Event::NotInterested)],
        3 => prop_oneof![piece().prop_map(Event::Have), piece().prop_map(Event::DontHave)],
        3 => prop_oneof![bytes().prop_map(Event::Bitfield), Just(Event::HaveAll), Just(Event::HaveNone)],
        1 => piece().prop_map(Event::AllowedFast),
        2 => block().prop_map(Event::Rejected),
        8 => block().prop_map(|block| Event::Block { block, data: 0 }),
        1 => any::<u32>().prop_map(Event::MetadataRequest),
        1 => (0u32..4, bytes()).prop_map(|(piece, data)| Event::MetadataData { piece, total: 0, data }),
        1 => any::<u32>().prop_map(Event::MetadataReject),
        1 => (0u64..300).prop_map(|n| Event::Pex(PexMessage { added: vec![(addr(n), PexFlags(n as u8))], dropped: vec![addr(n)] })),
        1 => any::<u32>().prop_map(|payload| Event::Sent { payload }),
        1 => Just(Event::Closed(Departure::Io)),
    ];
    let address = || (0u64..5).prop_map(addr);
    let priority =
        || prop::sample::select(vec![Priority::Skip, Priority::Low, Priority::Normal, Priority::High]);
    prop_oneof![
        3 => (peer(), address(), any::<bool>())
            .prop_map(|(peer, addr, outgoing)| Input::Connected { peer, addr, outgoing }),
        20 => (peer(), event).prop_map(|(peer, event)| Input::Peer { peer, event }),
        1 => address().prop_map(|addr| Input::ConnectFailed { addr }),
        1 => address().prop_map(|addr| Input::ConnectDeferred { addr }),
        1 => address().prop_map(|addr| Input::Local { ip: addr.ip() }),
        1 => (address(), address()).prop_map(|(by, addr)| Input::Seen { by: by.ip(), ip: addr.ip() }),
        1 => any::<bool>().prop_map(Input::Room),
        1 => prop::collection::vec(address(), 0..3)
            .prop_map(|addrs| Input::Candidates { source: Source::Pex, addrs }),
        1 => (0u32..6).prop_map(|n| Input::Ready { have: Bitfield::new(n) }),
        3 => (piece(), any::<bool>(), prop::collection::vec((0u32..3, (0u8..2).prop_map(|n| Sha256Hash([n; 32]))), 0..3))
            .prop_map(|(piece, ok, digests)| Input::Verified { piece, ok, digests }),
        1 => piece().prop_map(|piece| Input::Lost { piece }),
        1 => prop::collection::vec(priority(), 0..2).prop_map(Input::Select),
        1 => (piece(), prop::option::of(priority()))
            .prop_map(|(piece, priority)| Input::Prioritise { piece, priority }),
        1 => prop::collection::vec((piece(), 0u64..9_000_000), 0..4)
            .prop_map(|d| Input::Deadlines(d.into_iter().map(|(p, at)| (p, Time::from_micros(at))).collect())),
        1 => prop_oneof![Just(Input::Pause), Just(Input::Resume), Just(Input::Tick)],
    ]
}

proptest! {
    #[test]
    fn no_input_makes_it_panic_or_speak_to_the_gone(
        inputs in prop::collection::vec((any_input(), 0u64..3_000_000), 0..120),
        magnet: bool,
    ) {
        let mut driver = Driver::unready(4, 2);
        if magnet {
            let hashes = driver.torrent.hashes();
            driver.torrent = Torrent::new(Config::new(ME), hashes, 1, driver.now);
        }
        let mut told_to_go = std::collections::BTreeSet::new();
        for (input, wait) in inputs {
            if let Input::Connected { peer, .. } = &input {
                // Names are never used twice.
                if driver.torrent.peers().any(|p| p.peer == *peer) {
                    continue;
                }
                told_to_go.remove(peer);
            }
            let closed = if let Input::Peer { peer, event: Event::Closed(_) } = &input { Some(*peer) } else { None };
            told_to_go.extend(closed);
            driver.now = driver.now + Duration::from_micros(wait);
            for output in driver.give(input) {
                match output {
                    Output::Send { peer, .. } => prop_assert!(!told_to_go.contains(&peer)),
                    Output::Disconnect { peer, .. } => prop_assert!(told_to_go.insert(peer), "told twice"),
                    _ => {}
                }
            }
            let stats = driver.torrent.stats();
            prop_assert!(stats.done <= stats.wanted);
        }
    }
}

/// The pieces that `to` was told of.
fn haves(out: &[Out], to: u64) -> Vec<u32> {
    let told = commands(out, to).into_iter().filter_map(|c| match c {
        Command::Have(piece) => Some(piece.0),
        _ => None,
    });
    told.collect()
}

#[test]
fn a_lone_seed_tells_each_peer_of_other_pieces_and_of_more_when_they_left() {
    let mut driver = Driver::unready(40, 1);
    driver.give(Input::Ready { have: Bitfield::full(40) });
    driver.join_as(1, 101, false);
    let first = haves(&driver.event(1, Event::HaveNone), 1);
    driver.join_as(2, 102, false);
    let second = haves(&driver.event(2, Event::HaveNone), 2);
    assert_eq!((first, second), (vec![0, 1], vec![2, 3]));
    driver.event(1, Event::Interested);
    // It need not say that it has what it was told of.
    let out = driver.event(1, Event::Sent { payload: BLOCK_LEN });
    assert_eq!(haves(&out, 1), [4]);
    // Another one has piece 1: it is not offered again.
    driver.event(2, Event::Have(PieceIndex(1)));
    driver.join_as(3, 103, false);
    assert_eq!(haves(&driver.event(3, Event::HaveNone), 3), [5, 6]);
}

#[test]
fn who_wants_nothing_of_what_a_lone_seed_told_it_of_soon_sees_everything() {
    let mut driver = Driver::unready(40, 1);
    driver.give(Input::Ready { have: Bitfield::full(40) });
    driver.join_as(1, 101, false);
    assert_eq!(haves(&driver.event(1, Event::HaveNone), 1).len(), 2);
    let out = driver.wait(Duration::from_millis(1100));
    assert_eq!(haves(&out, 1), (2..40).collect::<Vec<_>>());
    driver.join_as(2, 102, false);
    assert_eq!(haves(&driver.event(2, Event::HaveNone), 2).len(), 2, "others are told little still");
}
