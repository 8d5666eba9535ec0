use proptest::prelude::*;

use super::*;

const A: PeerKey = PeerKey(1);
const B: PeerKey = PeerKey(2);

/// `pieces` pieces of `blocks` blocks each, but for a last one that is at most one and a half blocks long.
fn layout(pieces: u32, blocks: u32) -> Arc<Layout> {
    let piece_length = blocks * BLOCK_LEN;
    let len =
        u64::from(pieces - 1) * u64::from(piece_length) + u64::from(piece_length.min(BLOCK_LEN * 3 / 2));
    Arc::new(Layout::new(piece_length, [(len, false)], false).unwrap())
}

fn picker(pieces: u32, blocks: u32, sequential: bool) -> Picker {
    let (none, all) = (Bitfield::new(pieces), Bitfield::full(pieces));
    Picker::new(layout(pieces, blocks), none, (all.clone(), None), all, sequential, 7)
}

/// A peer as the picker sees it.
struct Peer {
    key: PeerKey,
    has: Bitfield,
    fast: bool,
    snubbed: bool,
    confined: bool,
    pace: Pace,
    now: Time,
    current: Option<PieceIndex>,
    asked: Vec<Block>,
}

impl Peer {
    fn new(key: PeerKey, has: Bitfield, fast: bool) -> Self {
        let pace = Pace {
            wait: Duration::from_millis(if fast { 100 } else { 5000 }),
            block: Duration::ZERO,
            measured: true,
        };
        let (snubbed, confined, now) = (false, false, Time::ZERO);
        Self { key, has, fast, snubbed, confined, pace, now, current: None, asked: Vec::new() }
    }

    fn seed(key: PeerKey, pieces: u32, fast: bool) -> Self {
        Self::new(key, Bitfield::full(pieces), fast)
    }

    fn pick(&mut self, picker: &mut Picker, n: usize) -> Vec<Block> {
        let mut out = Vec::new();
        let mut asker = Asker {
            peer: self.key,
            has: &self.has,
            fast: self.fast,
            snubbed: self.snubbed,
            idle: self.asked.is_empty(),
            confined: self.confined,
            pace: self.pace,
            now: self.now,
            current: &mut self.current,
        };
        picker.pick(&mut asker, n, &mut out);
        self.asked.extend(&out);
        out
    }

    fn bring(&mut self, picker: &mut Picker, block: Block) -> (Received, Vec<PeerKey>) {
        self.asked.retain(|b| *b != block);
        let mut others = Vec::new();
        (picker.receive(block, self.key, &mut others), others)
    }
}

#[test]
fn a_lone_fast_peer_gets_every_block_once_and_runs_of_neighbours() {
    let mut picker = picker(300, 16, false);
    let mut peer = Peer::seed(A, 300, true);
    let blocks = peer.pick(&mut picker, usize::MAX / 2);
    assert_eq!(blocks.len(), 299 * 16 + 2);
    assert_eq!(blocks.iter().collect::<BTreeSet<_>>().len(), blocks.len());
    let follows = |w: &[Block]| w[1].piece == w[0].piece || w[1].piece.0 == w[0].piece.0 + 1;
    let jumps = blocks.windows(2).filter(|w| !follows(w)).count();
    // A run is 32 pieces, and begins anywhere among them.
    assert!(jumps < 60, "{jumps}");
    assert!(blocks.windows(2).all(|w| w[0].piece != w[1].piece || w[0].offset < w[1].offset));
}

#[test]
fn sequential_is_in_order() {
    let mut picker = picker(20, 3, true);
    let blocks = Peer::seed(A, 20, false).pick(&mut picker, 1000);
    assert!(blocks.is_sorted());
    assert_eq!(blocks.len(), 19 * 3 + 2);
}

#[test]
fn the_rarest_first_and_fast_peers_alone() {
    let mut picker = picker(10, 4, false);
    (0..10).filter(|p| *p != 6).for_each(|p| picker.gained(PieceIndex(p)));
    let mut a = Peer::seed(A, 10, true);
    let mut b = Peer::seed(B, 10, true);
    assert!(a.pick(&mut picker, 2).iter().all(|b| b.piece.0 == 6));
    assert!(b.pick(&mut picker, 2).iter().all(|b| b.piece.0 != 6), "A fetches it alone");
    assert!(a.pick(&mut picker, 2).iter().all(|b| b.piece.0 == 6));
}

#[test]
fn slow_peers_share_pieces() {
    let mut picker = picker(10, 4, false);
    let a = Peer::seed(A, 10, false).pick(&mut picker, 2);
    let b = Peer::seed(B, 10, false).pick(&mut picker, 2);
    assert_eq!(a[0].piece, b[0].piece);
    assert_eq!(b[0].index(), 2);
}

#[test]
fn released_blocks_are_given_to_others_and_an_untouched_piece_is_open_again() {
    let mut picker = picker(1, 4, false);
    let mut a = Peer::seed(A, 1, true);
    let blocks = a.pick(&mut picker, 10);
    assert_eq!(picker.rarity.open_count(), 0);
    assert!(blocks.iter().all(|b| picker.release(*b, A)));
    assert_eq!(picker.rarity.open_count(), 1);
    assert_eq!(Peer::seed(B, 1, false).pick(&mut picker, 10), blocks);
}

#[test]
fn end_game_asks_twice_only_when_all_is_asked_and_the_first_to_bring_wins() {
    let mut picker = picker(2, 2, false);
    let (mut a, mut b) = (Peer::seed(A, 2, true), Peer::seed(B, 2, true));
    let first = a.pick(&mut picker, 3);
    let rest = b.pick(&mut picker, 10);
    assert_eq!((first.len(), rest.len()), (3, 1), "B has something to do: no block twice");
    assert_eq!(b.bring(&mut picker, rest[0]).1, []);
    let twice = b.pick(&mut picker, 10);
    assert_eq!(twice.iter().collect::<BTreeSet<_>>(), first.iter().collect());
    assert_eq!(b.bring(&mut picker, first[0]), (Received::New, vec![A]));
    assert_eq!(a.bring(&mut picker, first[0]), (Received::Wasted, vec![]));
}

#[test]
fn a_failed_piece_is_fetched_alone() {
    let mut picker = picker(1, 4, false);
    let mut a = Peer::seed(A, 1, false);
    for block in a.pick(&mut picker, 4) {
        a.bring(&mut picker, block);
    }
    assert!(picker.is_whole(PieceIndex(0)));
    assert!(picker.reject(PieceIndex(0)).unwrap().senders().all(|(_, p)| p == A));
    assert_eq!(Peer::seed(B, 1, false).pick(&mut picker, 1).len(), 1);
    let piece = &picker.started[&PieceIndex(0)];
    assert_eq!(piece.owner, Some(B));
    assert!(!picker.accept(PieceIndex(0)), "no verdict is due");
}

#[test]
fn a_suspect_gets_pieces_of_its_own_and_nobody_helps_it_at_first() {
    let mut picker = picker(2, 4, false);
    let mut a = Peer::seed(A, 2, false);
    let first = a.pick(&mut picker, 2);
    let mut suspect = Peer { confined: true, ..Peer::seed(B, 2, false) };
    let own = suspect.pick(&mut picker, 10);
    assert!(own.iter().all(|b| b.piece != first[0].piece) && !own.is_empty());
    assert!(suspect.pick(&mut picker, 10).is_empty(), "not even to help out");
    assert!(a.pick(&mut picker, 10).iter().all(|b| b.piece == first[0].piece));
    a.asked.clear();
    suspect.asked.clear();
    assert!(a.pick(&mut picker, 10).is_empty(), "the other piece is its alone");
    assert!(suspect.pick(&mut picker, 10).is_empty(), "nor in the end game");
    a.now = Time::ZERO + Duration::from_secs(5);
    assert!(a.pick(&mut picker, 10).iter().any(|b| b.piece == own[0].piece), "for a while");
}

#[test]
fn wrong_blocks_are_anybodys_and_the_rest_of_their_piece_stays() {
    let mut picker = picker(1, 4, false);
    let mut a = Peer::seed(A, 1, true);
    for block in a.pick(&mut picker, 4) {
        a.bring(&mut picker, block);
    }
    picker.spoil(PieceIndex(0), &[1]);
    assert!(!picker.is_whole(PieceIndex(0)));
    let mut b = Peer::seed(B, 1, false);
    let again = b.pick(&mut picker, 10);
    assert_eq!(again.iter().map(|b| b.index()).collect::<Vec<_>>(), [1]);
    assert_eq!(b.bring(&mut picker, again[0]).0, Received::Whole);
    assert!(picker.accept(PieceIndex(0)));
}

#[test]
fn nothing_unwanted_or_unprovable_is_picked() {
    let mut wanted = Bitfield::new(4);
    let mut provable = Bitfield::new(4);
    [0, 1, 2].into_iter().for_each(|p| assert!(wanted.insert(PieceIndex(p))));
    [2, 3].into_iter().for_each(|p| assert!(provable.insert(PieceIndex(p))));
    let mut picker = Picker::new(layout(4, 1), Bitfield::new(4), (wanted, None), provable, false, 1);
    let mut peer = Peer::seed(A, 4, true);
    let pieces = |blocks: Vec<Block>| blocks.iter().map(|b| b.piece.0).collect::<Vec<_>>();
    assert_eq!(pieces(peer.pick(&mut picker, 10)), [2]);
    picker.set_provable(PieceIndex(0));
    assert_eq!(pieces(peer.pick(&mut picker, 10)), [0]);
    picker.set_wanted((Bitfield::full(4), None));
    assert_eq!(pieces(peer.pick(&mut picker, 10)), [3]);
    assert_eq!(picker.missing(), 4);
}

#[test]
fn allowed_pieces_are_served_while_choked() {
    let mut picker = picker(4, 2, false);
    let has = Bitfield::full(4);
    let pace = Pace { wait: Duration::ZERO, block: Duration::ZERO, measured: true };
    let (confined, snubbed, now, current) = (false, false, Time::ZERO, &mut None);
    let asker = Asker { peer: A, has: &has, fast: false, snubbed, idle: true, confined, pace, now, current };
    let mut out = Vec::new();
    picker.pick_of(&BTreeSet::from([PieceIndex(1), PieceIndex(9)]), &asker, 10, &mut out);
    assert_eq!(out.iter().map(|b| (b.piece.0, b.index())).collect::<Vec<_>>(), [(1, 0), (1, 1)]);
}

#[test]
fn a_higher_priority_goes_before_rarity_and_before_what_was_begun() {
    let mut picker = picker(10, 4, false);
    (0..10).filter(|p| *p != 6).for_each(|p| picker.gained(PieceIndex(p)));
    picker.prioritise(PieceIndex(6), Priority::Low);
    picker.prioritise(PieceIndex(2), Priority::Skip);
    let mut a = Peer::seed(A, 10, false);
    let begun = a.pick(&mut picker, 1)[0].piece;
    assert!(![2, 6].contains(&begun.0));
    picker.prioritise(PieceIndex(9), Priority::High);
    let mut b = Peer::seed(B, 10, false);
    assert!(b.pick(&mut picker, 2).iter().all(|b| b.piece.0 == 9), "not the one that A began");
    assert_eq!(a.pick(&mut picker, 1)[0].piece, begun, "a peer goes on with its piece");
    let order: Vec<_> = b.pick(&mut picker, 100).iter().map(|b| b.piece.0).collect();
    assert_eq!((order.last(), order.contains(&2)), (Some(&6), false));
    assert_eq!(picker.missing(), 9);
}

#[test]
fn in_order_within_each_priority() {
    let mut picker = picker(8, 1, true);
    [5, 3].into_iter().for_each(|p| picker.prioritise(PieceIndex(p), Priority::High));
    picker.prioritise(PieceIndex(0), Priority::Low);
    let order: Vec<_> = Peer::seed(A, 8, false).pick(&mut picker, 100).iter().map(|b| b.piece.0).collect();
    assert_eq!(order, [3, 5, 1, 2, 4, 6, 7, 0]);
}

#[test]
fn a_silent_peer_shares_or_takes_what_most_have() {
    let mut picker = picker(10, 4, false);
    picker.gained(PieceIndex(4));
    let mut silent = Peer { snubbed: true, ..Peer::seed(B, 10, false) };
    assert_eq!(silent.pick(&mut picker, 1)[0].piece.0, 4);
    let begun = Peer::seed(A, 10, false).pick(&mut picker, 1)[0].piece;
    assert_eq!(begun.0, 4, "slow peers share it");
    let mut other = Peer { snubbed: true, ..Peer::seed(PeerKey(3), 10, false) };
    assert_eq!(other.pick(&mut picker, 1)[0].piece.0, 4);
}

#[test]
fn deadlines_come_first_in_their_order_for_peers_that_are_quick_enough() {
    let at = |ms: u64| Time::from_micros(ms * 1000);
    let mut picker = picker(10, 2, false);
    picker.set_deadlines(at(0), &[(PieceIndex(7), at(0)), (PieceIndex(3), at(6000)), (PieceIndex(5), at(0))]);
    let (mut quick, mut slow) = (Peer::seed(A, 10, true), Peer::seed(B, 10, false));
    picker.survey([(A, &quick.has, quick.pace.nth(0)), (B, &slow.has, slow.pace.nth(0))].into_iter());
    let pieces = |blocks: Vec<Block>| blocks.iter().map(|b| b.piece.0).collect::<Vec<_>>();
    assert_eq!(pieces(slow.pick(&mut picker, 1)), [3], "it would be late for the others");
    assert_eq!(pieces(quick.pick(&mut picker, 5)), [5, 5, 7, 7, 3]);
    assert!(![5, 7, 3].contains(&slow.pick(&mut picker, 1)[0].piece.0));
    assert!(!picker.all_asked(Time::ZERO));
}

#[test]
fn a_late_block_of_an_urgent_piece_is_asked_of_another_and_nothing_else_is() {
    let at = |ms: u64| Time::from_micros(ms * 1000);
    let mut picker = picker(10, 2, false);
    picker.set_deadlines(at(0), &[(PieceIndex(7), at(0))]);
    let (mut first, mut second) = (Peer::seed(A, 10, true), Peer::seed(B, 10, true));
    let blocks = first.pick(&mut picker, 3);
    assert_eq!(blocks[..2].iter().map(|b| b.piece.0).collect::<Vec<_>>(), [7, 7]);
    second.now = at(149);
    assert!(second.pick(&mut picker, 2).iter().all(|b| b.piece.0 != 7), "not late yet");
    second.now = at(151);
    assert_eq!(second.pick(&mut picker, 2), blocks[..2]);
    assert_eq!(second.bring(&mut picker, blocks[0]), (Received::New, vec![A]));
    // What is done is urgent no more.
    second.bring(&mut picker, blocks[1]);
    assert!(picker.accept(PieceIndex(7)) && !picker.has_deadlines());
}

#[test]
fn a_piece_that_was_lost_is_fetched_again() {
    let mut picker = picker(1, 1, false);
    let mut a = Peer::seed(A, 1, true);
    let block = a.pick(&mut picker, 1)[0];
    a.bring(&mut picker, block);
    assert!(picker.accept(PieceIndex(0)) && picker.missing() == 0);
    assert!(picker.forget(PieceIndex(0)) && !picker.forget(PieceIndex(0)));
    assert_eq!((picker.missing(), a.pick(&mut picker, 1)), (1, vec![block]));
}

/// What must hold between any two calls.
fn check(picker: &Picker, peers: &[Peer]) {
    let pieces = picker.layout.num_pieces();
    for piece in (0..pieces).map(PieceIndex) {
        let started = picker.started.get(&piece);
        assert!(!(started.is_some() && picker.have.has(piece)));
        let urgent = picker.urgent.contains(piece);
        assert_eq!(picker.rarity.is_open(piece), started.is_none() && picker.needs(piece) && !urgent);
        let free = started.is_some_and(|p| p.free() > 0) && picker.wanted.has(piece) && !urgent;
        let owned = started.is_some_and(|p| p.owner.is_some());
        assert_eq!(picker.shared.contains(&piece), free && !owned);
        assert_eq!(picker.owned.contains(&piece), free && owned);
        let Some(partial) = started else { continue };
        assert!(!partial.is_untouched());
        for (index, peer) in partial.asked() {
            let block = picker.layout.block(piece, index);
            assert!(peers.iter().any(|p| p.key == peer && p.asked.contains(&block)));
        }
    }
    assert_eq!(picker.missing(), picker.missing_in(&Bitfield::full(pieces)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_course_of_events_keeps_the_books_and_ends(
        pieces in 1u32..8,
        blocks in 1u32..5,
        sequential: bool,
        moves in prop::collection::vec((0usize..3, 0u8..10, any::<u16>()), 0..150),
    ) {
        let mut picker = picker(pieces, blocks, sequential);
        let mut peers: Vec<_> = (0..3).map(|i| Peer::seed(PeerKey(i), pieces, i == 0)).collect();
        for (time, (who, what, x)) in (0..).zip(moves) {
            let now = Time::from_micros(time * 100_000);
            let urgent: Vec<_> = picker.urgent.pieces().collect();
            let end_game = picker.all_asked(peers[who].now) && peers[who].asked.is_empty();
            let peer = &mut peers[who];
            (peer.now, peer.snubbed) = (now, x % 7 == 0);
            let some = (!peer.asked.is_empty()).then(|| peer.asked[x as usize % peer.asked.len().max(1)]);
            let piece = PieceIndex(u32::from(x) % pieces);
            match (what, some) {
                (0 | 1, _) => {
                    let before = peer.asked.len();
                    let new = peer.pick(&mut picker, 1 + x as usize % 4);
                    prop_assert!(new.iter().all(|b| !peer.asked[..before].contains(b)), "no peer is asked twice");
                    let elsewhere = |b: &Block| peers.iter().any(|p| p.key.0 != who as u64 && p.asked.contains(b));
                    let twice: Vec<_> = new.iter().filter(|b| elsewhere(b)).collect();
                    prop_assert!(end_game || twice.iter().all(|b| urgent.contains(&b.piece)), "{twice:?}");
                }
                (2, Some(block)) => {
                    for other in peer.bring(&mut picker, block).1 {
                        peers[other.0 as usize].asked.retain(|b| *b != block);
                    }
                }
                (3, Some(block)) => {
                    peer.asked.retain(|b| *b != block);
                    picker.release(block, peer.key);
                }
                (4, _) => drop(picker.accept(piece)),
                (5, _) if picker.is_whole(piece) => drop(picker.reject(piece)),
                (6, _) => picker.prioritise(piece, [Priority::Low, Priority::High][x as usize % 2]),
                (7, _) => {
                    let at = |n: u32| (PieceIndex(n), Time::from_micros(u64::from(x) * 1000));
                    picker.set_deadlines(now, &(0..pieces.min(u32::from(x) % 3)).map(at).collect::<Vec<_>>());
                }
                (8, _) => picker.survey(peers.iter().map(|p| (p.key, &p.has, p.pace.nth(0)))),
                (9, _) if x % 5 == 0 => drop(picker.forget(piece)),
                _ => {}
            }
            check(&picker, &peers);
        }
        // Whatever happened, one peer that answers can finish.
        for peer in &mut peers {
            let asked = std::mem::take(&mut peer.asked);
            for block in asked {
                picker.release(block, peer.key);
            }
        }
        // Nobody is quicker, and nothing is left to one who does not bring it.
        peers[1].now = Time::from_micros(100_000_000);
        picker.survey(std::iter::once((peers[1].key, &peers[1].has, peers[1].pace.nth(0))));
        while picker.missing() > 0 {
            let got = peers[1].pick(&mut picker, 3);
            let whole: Vec<_> = (0..pieces).map(PieceIndex).filter(|p| picker.is_whole(*p)).collect();
            prop_assert!(!got.is_empty() || !whole.is_empty());
            got.into_iter().for_each(|b| drop(peers[1].bring(&mut picker, b)));
            for piece in (0..pieces).map(PieceIndex) {
                picker.accept(piece);
            }
            check(&picker, &peers);
        }
        prop_assert!(picker.have().is_full());
    }
}
