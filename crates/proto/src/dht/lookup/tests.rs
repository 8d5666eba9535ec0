use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::*;
use crate::rng::Rng;

/// A network of nodes that know their neighbours, some of which are dead.
struct Net {
    nodes: BTreeMap<SocketAddr, NodeId>,
    dead: Vec<SocketAddr>,
}

fn addr(n: u32) -> SocketAddr {
    (std::net::Ipv4Addr::from_bits(0x2000_0000 + (n << 8)), 1).into()
}

fn place(byte: u8) -> NodeId {
    NodeId::random(&mut Rng::new(byte.into()))
}

impl Net {
    fn new(count: u32, rng: &mut Rng) -> Self {
        let nodes = (0..count).map(|n| (addr(n), NodeId::for_address(addr(n).ip(), rng))).collect();
        Self { nodes, dead: Vec::new() }
    }

    fn contacts(&self) -> Vec<Contact> {
        self.nodes.iter().map(|(addr, id)| Contact { id: *id, addr: *addr }).collect()
    }

    fn closest(&self, target: &NodeId, count: usize) -> Vec<Contact> {
        let mut all = self.contacts();
        all.sort_by_key(|c| c.id.distance(target));
        all.truncate(count);
        all
    }

    /// What a node with full buckets says. Half of the nodes have not noticed who is dead.
    fn ask(&self, of: &Contact, target: &NodeId) -> Vec<Contact> {
        let mut buckets: BTreeMap<u32, Vec<Contact>> = BTreeMap::new();
        for contact in self.contacts() {
            let bucket = buckets.entry(contact.id.shared_bits(&of.id)).or_default();
            let notices = of.id.0[19].is_multiple_of(2) && self.dead.contains(&contact.addr);
            if bucket.len() < K && !notices {
                bucket.push(contact);
            }
        }
        let mut known: Vec<_> = buckets.into_values().flatten().collect();
        known.sort_by_key(|c| c.id.distance(target));
        known.truncate(K);
        known
    }

    /// Runs a lookup to its end; returns how many questions it took.
    fn run(&self, lookup: &mut Lookup, lie: &dyn Fn(&Contact) -> Option<Vec<Contact>>) -> usize {
        let mut asked = Vec::new();
        let mut count = 0;
        while !lookup.is_done() {
            while let Some(contact) = lookup.next_to_ask() {
                asked.push(contact);
                count += 1;
            }
            assert!(asked.len() <= ALPHA && count < 500);
            let contact = asked.remove(0);
            match (lie(&contact), self.nodes.get(&contact.addr)) {
                (Some(named), _) => lookup.answered(&contact, contact.id, named, Some(b"t"), false),
                (None, Some(id)) if !self.dead.contains(&contact.addr) => {
                    let named = self.ask(&Contact { id: *id, ..contact }, &lookup.target());
                    lookup.answered(&contact, *id, named, Some(b"t"), false);
                }
                _ => {
                    lookup.slow(&contact);
                    lookup.failed(&contact);
                }
            }
        }
        count
    }
}

const HONEST: &dyn Fn(&Contact) -> Option<Vec<Contact>> = &|_| None;

#[test]
fn the_closest_are_found_with_few_questions() {
    let mut rng = Rng::new(1);
    let net = Net::new(1500, &mut rng);
    for n in 0..6 {
        let mut lookup = Lookup::new(place(n), Some(1500.0));
        lookup.seed(net.contacts().into_iter().skip(usize::from(n) * 7).take(3));
        let count = net.run(&mut lookup, HONEST);
        assert_eq!(lookup.closest().collect::<Vec<_>>(), net.closest(&place(n), K));
        assert!(count < 40 && (2..=8).contains(&lookup.hops()), "{count} questions, {} hops", lookup.hops());
        assert_eq!(lookup.storers().len(), K);
    }
}

#[test]
fn the_dead_are_passed_over_and_the_late_still_count() {
    let mut rng = Rng::new(2);
    let mut net = Net::new(1000, &mut rng);
    let target = place(9);
    let closest = net.closest(&target, 3 * K);
    net.dead = closest.iter().step_by(2).map(|c| c.addr).collect();
    let mut lookup = Lookup::new(target, None);
    lookup.seed(net.contacts().into_iter().take(8));
    net.run(&mut lookup, HONEST);
    let alive: Vec<_> = closest.iter().skip(1).step_by(2).take(K).copied().collect();
    assert_eq!(lookup.closest().collect::<Vec<_>>(), alive);

    // One that is late takes its place when it answers.
    let mut lookup = Lookup::new(target, None);
    lookup.seed(closest.iter().take(9).copied());
    let first = lookup.next_to_ask().unwrap();
    lookup.slow(&first);
    assert!(!lookup.is_done());
    lookup.answered(&first, first.id, [], None, false);
    assert_eq!(lookup.closest().collect::<Vec<_>>(), [first]);
    lookup.answered(&first, first.id, [], None, false);
    assert_eq!(lookup.closest().count(), 1);
}

#[test]
fn a_crowd_around_the_target_does_not_push_out_the_honest() {
    let mut rng = Rng::new(3);
    let net = Net::new(2000, &mut rng);
    let target = place(4);
    let honest = net.closest(&target, K);
    let sybil = |n: u32, id| Contact { id, addr: addr(100_000 + n) };
    // Ids of their own choice, each in a network of its own, that name only each other.
    let crowd: Vec<_> = (0..60).map(|n| sybil(n, target.beside(20 + n % 5, &mut rng))).collect();
    let lie = |c: &Contact| crowd.contains(c).then(|| crowd.clone());
    let mut lookup = Lookup::new(target, Some(2000.0));
    lookup.seed(net.contacts().into_iter().take(4).chain(crowd.iter().copied().take(4)));
    let count = net.run(&mut lookup, &lie);
    let storers: Vec<_> = lookup.storers().into_iter().map(|s| s.contact).collect();
    assert!(honest.iter().all(|c| storers.contains(c)), "{count} questions");
    assert!(storers.len() <= K + K / 2 && count < 80);
    // Even with ids that fit their addresses, a crowd is a crowd.
    let mut lookup = Lookup::new(target, Some(2000.0));
    lookup.candidates.clear();
    lookup.seed(honest.iter().copied());
    for contact in &honest {
        lookup.next_to_ask();
        lookup.answered(contact, contact.id, [], Some(b"t"), false);
    }
    assert!(honest.iter().all(|c| lookup.storers().iter().any(|s| s.contact == *c)));
}

#[test]
fn one_network_has_few_places() {
    let mut lookup = Lookup::new(place(1), None);
    let contact =
        |n: u8, host: u8, port: u16| Contact { id: NodeId([n; 20]), addr: ([9, 9, 9, host], port).into() };
    lookup.seed((0..50).map(|n| contact(n, n, 1)));
    assert_eq!(lookup.candidates.len(), MAX_SITE);
    lookup.seed([contact(60, 0, 2)]);
    assert_eq!(lookup.candidates.len(), MAX_SITE);
    lookup.seed(
        (0..200).map(|n| Contact { id: NodeId([n; 20]), addr: ([127, 0, 0, 1], 1 + u16::from(n)).into() }),
    );
    assert_eq!(lookup.candidates.len(), MAX_CANDIDATES);
}

#[test]
fn who_names_only_the_dead_is_not_believed() {
    let mut rng = Rng::new(6);
    let target = place(2);
    let liar = Contact { id: NodeId::for_address(addr(1).ip(), &mut rng), addr: addr(1) };
    let ghosts: Vec<_> =
        (0..16).map(|n| Contact { id: target.beside(30 + n, &mut rng), addr: addr(500 + n) }).collect();
    let mut lookup = Lookup::new(target, None);
    lookup.seed([liar]);
    lookup.next_to_ask();
    lookup.answered(&liar, liar.id, ghosts.iter().copied(), None, false);
    let mut tried = 0;
    while let Some(ghost) = lookup.next_to_ask() {
        lookup.failed(&ghost);
        tried += 1;
    }
    assert!(lookup.is_done() && tried <= usize::from(LIAR), "{tried}");
    // Somebody else vouches for one of them.
    lookup.seed([ghosts[9]]);
    assert_eq!(lookup.next_to_ask(), Some(ghosts[9]));
}

#[test]
fn a_node_counts_where_it_says_it_is() {
    let target = place(3);
    let claimed = Contact { id: target, addr: addr(1) };
    let mut lookup = Lookup::new(target, None);
    lookup.seed([claimed]);
    lookup.next_to_ask();
    lookup.answered(&claimed, place(77), [], Some(b"t"), true);
    let at = Contact { id: place(77), ..claimed };
    assert_eq!(lookup.closest().collect::<Vec<_>>(), [at]);
    assert_eq!(lookup.storers(), [Storer { contact: at, token: b"t"[..].into(), holds: true }]);
}

#[test]
fn who_always_names_somebody_closer_is_not_followed_for_ever() {
    let target = place(5);
    let mut rng = Rng::new(8);
    let far = Contact { id: target.beside(0, &mut rng), addr: addr(1) };
    let mut lookup = Lookup::new(target, None);
    lookup.seed([far]);
    let mut count = 0;
    while let Some(contact) = lookup.next_to_ask() {
        count += 1;
        let closer = contact.id.shared_bits(&target) + 1;
        let named: Vec<_> = (0..16u32)
            .map(|n| addr(count * 16 + n + 2))
            .map(|addr| Contact { id: target.beside(closer.min(159), &mut rng), addr })
            .collect();
        lookup.answered(&contact, contact.id, named, None, false);
        assert!(count <= MAX_ASKED as u32 && !(count == 1 && lookup.is_done()));
    }
    assert!(lookup.is_done(), "after {count}");
}
