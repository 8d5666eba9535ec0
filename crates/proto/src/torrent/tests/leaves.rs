//! Leaves of v2 pieces: asked for to name a wrong block, and told to others.

use super::*;
use crate::bencode::write_dict;
use crate::merkle::{HashRequest, HashTree, layer_root, parent};

const PIECE: u32 = 4 * BLOCK_LEN;
const LEN: u64 = 2 * PIECE as u64;

/// The SHA-256 of a block, counted from the start of the file.
fn right(block: u32) -> Sha256Hash {
    leaf(&block.to_be_bytes())
}

fn piece_leaves(piece: u32) -> Vec<Sha256Hash> {
    (4 * piece..4 * piece + 4).map(right).collect()
}

/// What the disk says of a piece of which some blocks are wrong.
fn came(piece: u32, wrong: &[u32]) -> Vec<(u32, Sha256Hash)> {
    let digest = |(n, hash)| (n, if wrong.contains(&n) { leaf(b"lie") } else { hash });
    (0..).zip(piece_leaves(piece)).map(digest).collect()
}

fn layer() -> Vec<u8> {
    let root = |l: Vec<Sha256Hash>| parent(&parent(&l[0], &l[1]), &parent(&l[2], &l[3]));
    (0..2).flat_map(|piece| root(piece_leaves(piece)).0).collect()
}

fn tree() -> HashTree {
    let mut tree = HashTree::new(layer_root(&layer(), PIECE).unwrap(), LEN, PIECE);
    tree.set_layer(&layer()).unwrap();
    tree
}

/// A v2 torrent of one file of two pieces of four blocks, storage open and empty.
fn driver() -> Driver {
    let root = *tree().root();
    let mut raw = Vec::new();
    write_dict(&mut raw, |d| {
        d.dict("file tree", |tree| {
            tree.dict("x", |file| {
                file.dict("", |f| {
                    f.int("length", LEN as i64);
                    f.bytes("pieces root", root.0);
                });
            });
        });
        d.int("meta version", 2);
        d.bytes("name", "x");
        d.int("piece length", PIECE.into());
    });
    let info = Arc::new(Info::parse(raw.into()).unwrap());
    let known = Known { info, piece_layers: [(root, Arc::from(layer()))].into() };
    let now = Time::from_micros(1_000_000);
    let mut driver = Driver { torrent: Torrent::with_info(Config::new(ME), known, 1, now).unwrap(), now };
    driver.give(Input::Ready { have: Bitfield::new(2) });
    driver
}

/// A seed that speaks v2 joins and serves us. Returns what it is asked for.
fn seed(driver: &mut Driver, peer: u64) -> Vec<Block> {
    driver.give(Input::Connected { peer: PeerKey(peer), addr: addr(peer), outgoing: false });
    let peer_id = PeerId([100 + peer as u8; 20]);
    let hello = Hello { peer_id, hash: WireHash([0; 20]), v2: true, fast: true, extended: true, dht: false };
    driver.event(peer, Event::Hello(hello));
    driver.event(peer, Event::HaveAll);
    requests(&driver.event(peer, Event::Unchoke), peer)
}

fn asked_leaves(out: &[Out], peer: u64) -> Option<HashRequest> {
    commands(out, peer).into_iter().find_map(|command| match command {
        Command::HashRequest(request) if request.base == 0 => Some(*request),
        _ => None,
    })
}

fn discarded(out: &[Out]) -> Vec<(u32, Option<Vec<u32>>)> {
    let gone = out.iter().filter_map(|o| match o {
        Output::Discard { piece, blocks } => Some((piece.0, blocks.clone())),
        _ => None,
    });
    gone.collect()
}

/// Piece 0 came from 1 and 2, a half each; 2 lied in its last block. Returns the answer to its verdict.
fn spoiled(driver: &mut Driver) -> Vec<Out> {
    let blocks = seed(driver, 1);
    let first: Vec<_> = blocks.iter().filter(|b| b.piece.0 == 0).copied().collect();
    for block in blocks.iter().filter(|b| !first[..2].contains(b)) {
        driver.event(1, Event::Rejected(*block));
    }
    seed(driver, 2);
    driver.wait(Duration::from_millis(10));
    first[..2].iter().for_each(|block| drop(driver.bring(1, *block)));
    first[2..].iter().for_each(|block| drop(driver.bring(2, *block)));
    driver.verdict(0, false, &came(0, &[3]))
}

fn leaves_of(request: &HashRequest, piece: u32) -> Vec<u8> {
    tree().answer_leaves(request, &piece_leaves(piece)).unwrap()
}

#[test]
fn the_leaves_name_the_liar_and_only_its_block_comes_again() {
    let mut driver = driver();
    let out = spoiled(&mut driver);
    assert!(discarded(&out).is_empty() && disconnected(&out).is_empty(), "one asks first");
    assert_eq!(suspects(&driver), [1, 2]);
    let request = asked_leaves(&out, 1).unwrap();
    assert!(driver.verdict(0, true, &[]).is_empty(), "no verdict is due");
    let out = driver.event(1, Event::Hashes(request, leaves_of(&request, 0)));
    assert_eq!(disconnected(&out), [(2, Departure::Violation(Violation::BadPieces))]);
    assert_eq!(discarded(&out), [(0, Some(vec![3]))]);
    assert_eq!((suspects(&driver), driver.torrent.stats().wasted), (vec![], 16384));
    let out = driver.wait(Duration::from_secs(2));
    let again: Vec<_> = requests(&out, 1).into_iter().filter(|b| b.piece.0 == 0).collect();
    assert_eq!(again.iter().map(|b| b.index()).collect::<Vec<_>>(), [3]);
    driver.bring(1, again[0]);
    let out = driver.verdict(0, true, &[]);
    assert!(out.iter().any(|o| matches!(o, Output::Event(TorrentEvent::PieceDone(PieceIndex(0))))));
    assert_eq!(driver.torrent.stats().banned, 1);
}

#[test]
fn a_second_lie_in_a_piece_is_named_without_asking() {
    let mut driver = driver();
    let out = spoiled(&mut driver);
    let request = asked_leaves(&out, 1).unwrap();
    driver.event(1, Event::Hashes(request, leaves_of(&request, 0)));
    driver.event(1, Event::Choke);
    let again = seed(&mut driver, 3).into_iter().find(|b| b.piece.0 == 0).unwrap();
    driver.bring(3, again);
    let out = driver.verdict(0, false, &came(0, &[3]));
    assert_eq!(asked_leaves(&out, 1), None);
    assert_eq!(disconnected(&out), [(3, Departure::Violation(Violation::BadPieces))]);
    assert_eq!(discarded(&out), [(0, Some(vec![3]))]);
}

#[test]
fn if_nobody_says_the_leaves_the_piece_comes_again_from_one_alone() {
    for silent in [true, false] {
        let mut driver = driver();
        let out = spoiled(&mut driver);
        let request = asked_leaves(&out, 1).unwrap();
        let out = driver.event(1, Event::HashReject(request));
        assert!(discarded(&out).is_empty(), "the other may answer");
        let out = if silent {
            driver.wait(Duration::from_secs(7))
        } else {
            driver.event(2, Event::Closed(Departure::Io))
        };
        assert_eq!(discarded(&out), [(0, None)]);
        assert!(disconnected(&out).is_empty());
        assert_eq!(driver.torrent.stats().banned, 0);
    }
}

#[test]
fn leaves_that_the_piece_does_not_prove_ban_who_sent_them_and_the_others_are_waited_for() {
    let mut driver = driver();
    let out = spoiled(&mut driver);
    let request = asked_leaves(&out, 1).unwrap();
    let out = driver.event(2, Event::Hashes(request, vec![7; 128]));
    assert_eq!(disconnected(&out), [(2, Departure::Violation(Violation::BadHashes))]);
    assert!(discarded(&out).is_empty());
    let out = driver.event(1, Event::Hashes(request, leaves_of(&request, 0)));
    assert_eq!(discarded(&out), [(0, Some(vec![3]))]);
}

#[test]
fn a_piece_that_the_storage_lost_is_not_asked_about_any_more() {
    let mut driver = driver();
    let out = spoiled(&mut driver);
    let request = asked_leaves(&out, 1).unwrap();
    assert_eq!(discarded(&driver.give(Input::Lost { piece: PieceIndex(0) })), [(0, None)]);
    let out = driver.event(1, Event::Hashes(request, leaves_of(&request, 0)));
    assert!(discarded(&out).is_empty() && disconnected(&out).is_empty());
}

/// A driver that has the first piece.
fn having() -> Driver {
    let mut driver = driver();
    let blocks = seed(&mut driver, 1);
    blocks.iter().filter(|b| b.piece.0 == 0).for_each(|b| drop(driver.bring(1, *b)));
    driver.verdict(0, true, &[]);
    driver
}

#[test]
fn leaves_of_what_we_have_are_told_and_of_nothing_else() {
    let mut driver = having();
    let request = tree().leaf_request(0).unwrap();
    let out = driver.event(1, Event::HashRequest(request));
    assert!(matches!(out[..], [Output::ReadLeaves { piece: PieceIndex(0) }]));
    let out = driver.give(Input::Leaves { piece: PieceIndex(0), leaves: piece_leaves(0) });
    let [Command::Hashes(answered, hashes)] = commands(&out, 1)[..] else { panic!("{out:?}") };
    assert_eq!(*answered, request);
    assert_eq!(tree().verify(&request, hashes).unwrap(), piece_leaves(0));
    let refused = |out: &[Out]| matches!(commands(out, 1)[..], [Command::HashReject(_)]);
    let lacking = tree().leaf_request(1).unwrap();
    assert!(refused(&driver.event(1, Event::HashRequest(lacking))));
    let nonsense = HashRequest { root: Sha256Hash([1; 32]), ..request };
    assert!(refused(&driver.event(1, Event::HashRequest(nonsense))));
    driver.event(1, Event::HashRequest(request));
    let out = driver.give(Input::Leaves { piece: PieceIndex(0), leaves: Vec::new() });
    assert!(refused(&out), "the disk could not read them");
}

#[test]
fn who_asks_for_leaves_without_end_is_refused() {
    let (mut driver, mut read) = (having(), 0);
    let request = tree().leaf_request(0).unwrap();
    for _ in 0..2000 {
        let out = driver.event(1, Event::HashRequest(request));
        if matches!(out[..], [Output::ReadLeaves { .. }]) {
            read += 1;
            driver.give(Input::Leaves { piece: PieceIndex(0), leaves: piece_leaves(0) });
        }
    }
    // 16 MiB, in pieces of 64 KiB and the fee for each.
    assert_eq!(read, 204);
}
