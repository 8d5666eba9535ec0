use proptest::prelude::*;

use super::*;
use crate::merkle::leaf;
use crate::rng::Rng;

const P: PieceIndex = PieceIndex(7);

fn addr(n: u32) -> SocketAddr {
    SocketAddr::from(([10, 0, (n >> 8) as u8, n as u8], 6881))
}

fn digest(text: &str) -> Sha256Hash {
    leaf(text.as_bytes())
}

fn sent(block: u32, from: u32, text: &str) -> Sent {
    Sent { block, addr: addr(from), digest: Some(digest(text)) }
}

#[test]
fn who_sent_other_bytes_than_the_right_ones_lied_and_the_rest_are_cleared() {
    let mut blame = Blame::default();
    assert!(blame.is_empty() && !blame.awaits(P));
    assert!(blame.failed(P, &[sent(0, 1, "a"), sent(1, 2, "lie"), sent(2, 3, "c")]).is_empty());
    assert!(blame.awaits(P) && blame.took_part(addr(2), P) && !blame.took_part(addr(4), P));
    assert_eq!([1, 2, 3, 4].map(|n| blame.standing(addr(n)) == Standing::Suspect), [true, true, true, false]);
    let truth = [(0, digest("a")), (1, digest("b")), (2, digest("c"))];
    assert_eq!(blame.proven(P, &truth), [addr(2)]);
    assert!(blame.is_empty());
    assert!(blame.proven(P, &truth).is_empty(), "it is over");
}

#[test]
fn one_block_in_two_versions_is_a_lie() {
    let mut blame = Blame::default();
    assert!(blame.failed(P, &[sent(0, 1, "a"), sent(1, 2, "b")]).is_empty());
    assert!(blame.failed(P, &[sent(0, 1, "a"), sent(1, 3, "x")]).is_empty(), "another's version is no proof");
    assert_eq!(blame.failed(P, &[sent(0, 1, "A"), sent(1, 3, "x")]), [addr(1)]);
}

#[test]
fn evidence_outlives_a_good_deed_and_a_connection() {
    let mut blame = Blame::default();
    blame.failed(P, &[sent(0, 1, "a"), sent(1, 2, "lie")]);
    blame.redeemed(addr(2));
    assert_eq!(blame.standing(addr(2)), Standing::Involved);
    assert_eq!(blame.failures(addr(2)).collect::<Vec<_>>(), [P]);
    let other_port = SocketAddr::new(addr(2).ip(), 50_000);
    assert_eq!(blame.standing(other_port), Standing::Involved);
    assert_eq!(blame.proven(P, &[(0, digest("a")), (1, digest("b"))]), [addr(2)]);
}

#[test]
fn a_suspect_of_two_pieces_is_cleared_by_both_or_by_one_of_its_own() {
    let two = || {
        let mut blame = Blame::default();
        blame.failed(P, &[sent(0, 1, "a"), sent(1, 2, "b")]);
        blame.failed(PieceIndex(8), &[sent(0, 1, "a"), sent(1, 3, "b")]);
        blame
    };
    let mut blame = two();
    blame.proven(P, &[(0, digest("a")), (1, digest("b"))]);
    assert_eq!([1, 2].map(|n| blame.standing(addr(n))), [Standing::Suspect, Standing::Clear]);
    blame.proven(PieceIndex(8), &[]);
    assert!(blame.is_empty());
    let mut blame = two();
    blame.redeemed(addr(1));
    assert_eq!([1, 2].map(|n| blame.standing(addr(n))), [Standing::Involved, Standing::Suspect]);
}

#[test]
fn without_digests_there_is_suspicion_and_no_proof() {
    let mut blame = Blame::default();
    let mute = |block, from| Sent { digest: None, ..sent(block, from, "") };
    assert!(blame.failed(P, &[mute(0, 1), mute(1, 2)]).is_empty());
    assert_eq!(blame.standing(addr(1)), Standing::Suspect);
    assert!(blame.proven(P, &[(0, digest("a")), (1, digest("b"))]).is_empty());
    assert!(blame.is_empty());
}

#[test]
fn memory_is_bounded_and_the_oldest_goes() {
    let mut blame = Blame::default();
    let pieces = MOST_PIECES as u32 + 10;
    for piece in 0..pieces {
        let blocks: Vec<_> = (0..64).map(|n| sent(n, piece % 5000 + n % 2, "x")).collect();
        blame.failed(PieceIndex(piece), &blocks);
        let counted: usize = blame.failed.values().map(|f| f.digests.len()).sum();
        assert_eq!((counted, blame.order.len()), (blame.digests, blame.failed.len()));
        assert!(blame.failed.len() <= MOST_PIECES && blame.digests <= MOST_DIGESTS);
    }
    assert!(!blame.awaits(PieceIndex(0)) && blame.awaits(PieceIndex(pieces - 1)));
    assert_eq!(blame.standing(addr(0)), Standing::Suspect, "until it proves itself");
    blame.redeemed(addr(0));
    assert_eq!(blame.standing(addr(0)), Standing::Clear);
    for n in 0..2 * MOST_HOSTS as u32 {
        blame.failed(PieceIndex(n), &[sent(0, 2 * n, "x"), sent(1, 2 * n + 1, "x")]);
        assert!(blame.hosts.len() <= MOST_HOSTS + 2);
    }
    let huge: Vec<_> = (0..MOST_DIGESTS as u32 + 1).map(|n| sent(n, n % 2, "x")).collect();
    blame.failed(P, &huge);
    assert!(blame.is_empty() || blame.digests == 0, "a piece that is too large is not kept");
}

/// What host `n` sends for a block: liars lie in some blocks, always or now and then.
fn version(n: u32, block: u32, liars: u32, rng: &mut Rng) -> (String, bool) {
    let wrong = n < liars && (block + n).is_multiple_of(3) && rng.below(3) > 0;
    (if wrong { format!("lie {n} {}", rng.below(2)) } else { format!("right {block}") }, !wrong)
}

proptest! {
    #[test]
    fn only_liars_are_convicted_and_those_that_did_harm_all_are(
        hosts in 2u32..8, liars in 0u32..4, blocks in 2u32..8, rounds in 1usize..60, seed: u64,
    ) {
        let (mut blame, mut rng) = (Blame::default(), Rng::new(seed));
        let liars = liars.min(hosts - 1);
        let truth: Vec<_> = (0..blocks).map(|n| (n, digest(&format!("right {n}")))).collect();
        let (mut convicted, mut harmful) = (BTreeSet::new(), BTreeSet::new());
        for _ in 0..rounds {
            let piece = PieceIndex(rng.below(3) as u32);
            let (mut all, mut bad) = (Vec::new(), BTreeSet::new());
            for block in 0..blocks {
                let from = rng.below(u64::from(hosts)) as u32;
                let (text, right) = version(from, block, liars, &mut rng);
                all.push(sent(block, from, &text));
                if !right {
                    bad.insert(addr(from));
                }
            }
            let found = if bad.is_empty() {
                blame.proven(piece, &truth)
            } else {
                harmful.extend(bad);
                blame.failed(piece, &all)
            };
            convicted.extend(found);
            if rng.below(5) == 0 {
                blame.redeemed(addr(rng.below(u64::from(hosts)) as u32));
            }
            prop_assert!(convicted.iter().all(|a| (0..liars).any(|n| addr(n) == *a)), "{convicted:?}");
        }
        (0..3).for_each(|piece| convicted.extend(blame.proven(PieceIndex(piece), &truth)));
        prop_assert_eq!(convicted, harmful);
        prop_assert!(blame.is_empty());
    }
}
