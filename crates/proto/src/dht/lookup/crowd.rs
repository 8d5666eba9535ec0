//! Whether more nodes stand around a place than chance would put there.
//!
//! Who wants to own a key puts nodes next to it, closer together than random ids are (Wang and Kangasharju 2012 measured
//! hundreds of thousands of such in mainline; Cholez et al. 2010 compare the prefixes of the closest nodes with what
//! they should be). Among n nodes with random ids, n/2^b share b bits with a place, Poisson distributed. A number that
//! chance exceeds once in some ten thousand lookups is a crowd; so is anybody who is 2^10 times closer than the closest
//! should be.
//!
//! It says nothing of networks of fewer than [`SMALL`] nodes, where an operator may choose ids. Tested by chance.

/// Nodes below which nothing is a crowd.
const SMALL: f64 = 256.0;
/// Bits beyond the closest honest node's that are never credible.
const TOO_CLOSE: f64 = 10.0;

/// The least number of shared bits from which on nodes stand in a crowd; `u32::MAX` if none do. `shared` goes from the
/// closest node outwards, in a network of about `size` nodes.
pub(super) fn first_crowded(size: f64, shared: impl Iterator<Item = u32>) -> u32 {
    if size < SMALL {
        return u32::MAX;
    }
    let mut crowded = (size.log2() + TOO_CLOSE) as u32;
    for (n, bits) in shared.enumerate() {
        let expected = size / 2f64.powi(bits as i32);
        if (n + 1) as f64 > expected + 3.5 * expected.sqrt() + 4.0 {
            crowded = crowded.min(bits);
        }
    }
    crowded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::NodeId;
    use crate::rng::Rng;

    fn shared(ids: &[NodeId], place: &NodeId) -> Vec<u32> {
        let mut bits: Vec<_> = ids.iter().map(|id| id.shared_bits(place)).collect();
        bits.sort_by_key(|bits| std::cmp::Reverse(*bits));
        bits.truncate(40);
        bits
    }

    #[test]
    fn chance_is_no_crowd_and_a_crowd_is_seen() {
        let mut rng = Rng::new(1);
        let ids: Vec<NodeId> = (0..4096).map(|_| NodeId::random(&mut rng)).collect();
        let wrong = (0..200)
            .filter(|_| {
                let place = NodeId::random(&mut rng);
                let bits = shared(&ids, &place);
                first_crowded(4096.0, bits.iter().copied()) <= bits[0]
            })
            .count();
        assert!(wrong <= 2, "{wrong} of 200");
        for (count, bits) in [(20, 14), (12, 16), (1, 30), (40, 11)] {
            let place = NodeId::random(&mut rng);
            let crowd = (0..count).map(|_| place.beside(bits, &mut rng));
            let all: Vec<NodeId> = ids.iter().copied().chain(crowd).collect();
            let found = first_crowded(4096.0, shared(&all, &place).into_iter());
            assert!(found <= bits, "{count} at {bits}: {found}");
        }
        assert_eq!(first_crowded(50.0, [100; 50].into_iter()), u32::MAX);
    }
}
