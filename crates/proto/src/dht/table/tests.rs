use super::bucket::YOUNG;
use super::*;
use crate::rng::Rng;
use proptest::prelude::*;

const RTT: Duration = Duration::from_millis(100);

fn at(secs: u64) -> Time {
    Time::from_micros(secs * 1_000_000)
}

fn own() -> NodeId {
    NodeId([0; 20])
}

/// A node whose id starts with `bytes`, at an address of its own network.
fn node(n: u32, bytes: &[u8]) -> Contact {
    let mut id = NodeId::random(&mut Rng::new(n.into()));
    id.0[..bytes.len()].copy_from_slice(bytes);
    let ip = std::net::Ipv4Addr::from_bits(0x2000_0000 + (n << 8));
    Contact { id, addr: (ip, 6881).into() }
}

fn fitting(n: u32, byte: u8) -> Contact {
    let mut rng = Rng::new(n.into());
    let addr = node(n, &[]).addr;
    loop {
        let id = NodeId::for_address(addr.ip(), &mut rng);
        if id.0[0] >> 3 == byte >> 3 {
            return Contact { id, addr };
        }
        // An address gives 8 prefixes; look on with a neighbour.
        let ip = std::net::Ipv4Addr::from_bits(0x2000_0000 + ((n + 1000) << 8) + rng.below(250) as u32);
        let id = NodeId::for_address(ip.into(), &mut rng);
        if id.0[0] >> 3 == byte >> 3 {
            return Contact { id, addr: (ip, 6881).into() };
        }
    }
}

fn holds(table: &Table, contact: &Contact) -> bool {
    table.iter().any(|entry| entry.contact == *contact)
}

#[test]
fn splits_only_around_us_and_is_wide_near_the_root() {
    let mut table = Table::new(own());
    (0..2000).for_each(|n| table.answered(at(1), node(n, &[]), RTT));
    let sizes: Vec<_> = table.buckets.iter().map(|bucket| bucket.live.len()).collect();
    assert!(sizes.len() > 6 && sizes[0] <= 128 && sizes[1] <= 64 && sizes[4] <= 8, "{sizes:?}");
    assert!(sizes[0] > 100 && sizes[3] == 16 && sizes[4] == 8, "{sizes:?}");
}

#[test]
fn a_dead_node_gives_its_place_to_the_fastest_spare() {
    let mut table = Table::new(own());
    // Deep enough that the bucket holds K.
    (0..20).for_each(|n| table.answered(at(1), node(n, &[0x80]), RTT));
    (20..150).for_each(|n| table.answered(at(1), node(n, &[0, 0x80]), RTT));
    let full: Vec<_> = table.buckets[8].live.iter().map(|entry| entry.contact).collect();
    assert_eq!((full.len(), table.buckets[8].spares.len()), (K, K));
    let fast = node(500, &[0, 0x80]);
    table.answered(at(2), fast, RTT / 2);
    assert!(!holds(&table, &fast));
    table.failed(&full[0]);
    assert!(holds(&table, &full[0]), "one loss is forgiven");
    table.failed(&full[0]);
    assert!(!holds(&table, &full[0]) && holds(&table, &fast));
}

#[test]
fn ids_that_fit_take_the_place_of_ids_that_do_not() {
    let mut table = Table::new(own());
    (0..130).for_each(|n| table.answered(at(1), node(n, &[0x08]), RTT));
    (200..260).for_each(|n| table.answered(at(1), node(n, &[0x00, 0x80]), RTT));
    let n = table.index(&node(0, &[0x08]).id);
    assert_eq!(table.buckets[n].live.len(), K);
    let good = fitting(1, 0x08);
    table.answered(at(2), good, RTT);
    assert!(holds(&table, &good));
    let unfit = node(900, &[0x08]);
    assert!(!table.wants(&unfit));
    table.answered(at(3), unfit, RTT);
    assert!(holds(&table, &good) && !holds(&table, &unfit));
}

#[test]
fn one_address_has_one_node_and_one_network_few() {
    let mut table = Table::new(own());
    let public = |id: u8, host: u8, port: u16| Contact {
        id: NodeId([id; 20]),
        addr: (std::net::Ipv4Addr::new(8, 8, 8, host), port).into(),
    };
    table.answered(at(1), public(0x80, 1, 1), RTT);
    table.answered(at(1), public(0x81, 1, 2), RTT);
    assert_eq!(table.len(), 1, "another port of the same address");
    table.answered(at(1), public(0x82, 2, 1), RTT);
    assert_eq!(table.len(), 1, "the same network in the same bucket");
    // Fill, so that there are buckets.
    (0..400).for_each(|n| table.answered(at(1), node(n, &[]), RTT));
    (0..400).for_each(|n| table.answered(at(1), node(n + 400, &[n as u8 & 3]), RTT));
    (3..100).for_each(|n| table.answered(at(1), public(0x7f >> (n % 8), n, 1), RTT));
    let site = Range::site([8, 8, 8, 8].into());
    assert!(table.iter().filter(|entry| entry.site == site).count() <= MAX_SITE);
    // On one machine there may be many.
    let mut table = Table::new(own());
    (0..50).for_each(|n| {
        table.answered(
            at(1),
            Contact { id: NodeId([n | 1; 20]), addr: ([127, 0, 0, 1], 100 + u16::from(n)).into() },
            RTT,
        )
    });
    assert_eq!(table.len(), 25, "by id, each once");
}

#[test]
fn a_node_that_changes_its_id_is_evicted_and_comes_back_under_the_new() {
    let mut table = Table::new(own());
    let (a, b) = (node(1, &[0x80]), Contact { id: NodeId([0x90; 20]), ..node(1, &[]) });
    table.answered(at(1), a, RTT);
    table.answered(at(2), b, RTT);
    assert!(!holds(&table, &a) && holds(&table, &b));
    let thief = Contact { addr: node(7, &[]).addr, ..b };
    table.answered(at(3), thief, RTT);
    assert!(holds(&table, &b), "an id stays where it answers");
    table.failed(&b);
    table.answered(at(5), thief, RTT);
    assert!(holds(&table, &thief));
}

#[test]
fn questions_keep_a_node_fresh_but_not_for_ever() {
    let mut table = Table::new(own());
    let a = node(1, &[0x80]);
    assert!(table.asked(at(0), &a), "there is room");
    table.answered(at(10), a, RTT);
    assert_eq!(table.stalest(), Some((at(10) + YOUNG, a)), "new nodes are looked at sooner");
    table.answered(at(310), a, RTT);
    assert_eq!(table.stalest(), Some((at(610), a)), "the longer it is there, the longer it is trusted");
    table.answered(at(5000), a, RTT);
    assert_eq!(table.stalest(), Some((at(5000) + FRESH, a)));
    assert!(!table.asked(at(5500), &a));
    assert_eq!(table.stalest(), Some((at(5500) + FRESH, a)));
    table.asked(at(50_000), &a);
    assert!(table.stalest().unwrap().0 < at(50_000));
    table.pinged(at(50_000), &a);
    assert_eq!(table.stalest(), Some((at(50_020), a)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn closest_agrees_with_sorting_everybody(seed: u64, nodes in 0u32..600, count in 1usize..20) {
        let mut rng = Rng::new(seed);
        let mut table = Table::new(NodeId::random(&mut rng));
        (0..nodes).for_each(|n| table.answered(at(1), node(n, &[]), RTT));
        if nodes > 0 {
            table.failed(&node(0, &[]));
        }
        for target in [table.own(), NodeId::random(&mut rng), table.own().beside(3, &mut rng)] {
            let mut all: Vec<_> = table.iter().filter(|e| e.fails == 0).map(|e| e.contact).collect();
            all.sort_by_key(|c| c.id.distance(&target));
            all.truncate(count);
            prop_assert_eq!(table.closest(&target, count), all);
        }
    }

    #[test]
    fn whatever_happens_bounds_and_places_hold(seed: u64, steps in 1usize..400) {
        let mut rng = Rng::new(seed);
        let mut table = Table::new(own());
        for step in 0..steps as u64 {
            let mut c = node(rng.below(60) as u32, &[]);
            let deep = own().within(rng.below(12) as u32, &mut rng);
            if rng.below(3) > 0 { c.id = deep; }
            match rng.below(5) {
                0 => table.failed(&c),
                1 => { let _ = table.asked(at(step), &c); }
                2 => { for e in table.iter().copied().collect::<Vec<_>>() { if rng.below(4) == 0 { table.failed(&e.contact) } } }
                3 if rng.below(20) == 0 => { let id = NodeId::random(&mut rng); table.set_own(id); }
                _ => table.answered(at(step), c, RTT),
            }
            let mut addrs: Vec<_> = table.iter().map(|e| e.host).collect();
            addrs.sort();
            prop_assert!(addrs.windows(2).all(|pair| pair[0] != pair[1]));
            for (n, bucket) in table.buckets.iter().enumerate() {
                prop_assert!(bucket.spares.len() <= K && bucket.live.len() <= 128);
                prop_assert!(bucket.live.iter().all(|e| table.index(&e.contact.id) == n && !e.is_bad()));
            }
        }
    }
}
