//! How many nodes there are, by how close the closest are to random places.
//!
//! If the k-th closest node to a random place lies at the part x of the key space, about (k − 1/3)/x nodes are spread over
//! all of it (the order statistics of uniform ids; Kostoulas et al. 2005 call it the interval density). One sample is off by
//! 1/√k; the median over the latest 16 lookups is within some 10 % if all closest nodes answer, and a single crowd of Sybils
//! does not move it.
//!
//! Tested on made-up networks.

use std::collections::VecDeque;

use super::id::Distance;

/// Lookups that count.
const SAMPLES: usize = 16;
/// Lookups before anything is said.
const QUORUM: usize = 3;

/// The latest samples.
#[derive(Clone, Debug, Default)]
pub struct Census {
    /// Nodes for the unit of the key space, one for each lookup.
    samples: VecDeque<f32>,
}

impl Census {
    /// A lookup of a random place found `k` nodes that answered, the farthest of them at this distance.
    pub fn add(&mut self, k: usize, farthest: Distance) {
        // The part has a gamma distribution, and k − 1/3 is where its median lies; k − 1 would do for a mean.
        let part = (farthest.high() as f64 / u128::MAX as f64).max(f64::MIN_POSITIVE);
        if k < 2 {
            return;
        }
        self.samples.push_back(((k as f64 - 1.0 / 3.0) / part).min(1e18) as f32);
        if self.samples.len() > SAMPLES {
            self.samples.pop_front();
        }
    }

    /// Nodes in the network that answer, roughly; `None` before there are samples.
    pub fn size(&self) -> Option<f64> {
        if self.samples.len() < QUORUM {
            return None;
        }
        let mut sorted: Vec<f32> = self.samples.iter().copied().collect();
        sorted.sort_by(f32::total_cmp);
        Some(f64::from(sorted[sorted.len() / 2]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::NodeId;
    use crate::rng::Rng;

    #[test]
    fn the_size_of_made_up_networks_is_told_within_a_third() {
        let mut rng = Rng::new(5);
        for nodes in [50, 1000, 20_000] {
            let ids: Vec<NodeId> = (0..nodes).map(|_| NodeId::random(&mut rng)).collect();
            let mut census = Census::default();
            assert_eq!(census.size(), None);
            for _ in 0..SAMPLES {
                let place = NodeId::random(&mut rng);
                let mut far: Vec<_> = ids.iter().map(|id| id.distance(&place)).collect();
                far.sort();
                census.add(8, far[7]);
            }
            let ratio = census.size().unwrap() / f64::from(nodes);
            assert!((0.67..1.5).contains(&ratio), "{nodes}: {ratio}");
        }
    }
}
