//! A table of what was last in use: it has a cap, and what was not in use for longest makes room.

use std::collections::BTreeMap;

/// Values by key.
#[derive(Debug)]
pub(super) struct Recent<K, V> {
    cap: usize,
    entries: BTreeMap<K, (u64, V)>,
    /// By the turn of last use.
    order: BTreeMap<u64, K>,
    turn: u64,
}

impl<K: Ord + Copy, V: Default> Recent<K, V> {
    /// For at most `cap` keys.
    pub(super) const fn new(cap: usize) -> Self {
        Self { cap, entries: BTreeMap::new(), order: BTreeMap::new(), turn: 0 }
    }

    /// The value of a key, new if there is none, which is now in use.
    pub(super) fn at(&mut self, key: K) -> &mut V {
        if !self.entries.contains_key(&key) && self.entries.len() >= self.cap {
            let oldest = self.order.pop_first();
            oldest.and_then(|(_, oldest)| self.entries.remove(&oldest));
        }
        self.turn += 1;
        let entry = self.entries.entry(key).or_default();
        self.order.remove(&entry.0);
        self.order.insert(self.turn, key);
        entry.0 = self.turn;
        &mut entry.1
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        assert_eq!(self.entries.len(), self.order.len());
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_used_for_longest_goes() {
        let mut recent = Recent::new(2);
        *recent.at('a') = 1;
        *recent.at('b') = 2;
        assert_eq!(*recent.at('a'), 1);
        *recent.at('c') = 3;
        assert_eq!((*recent.at('a'), recent.len()), (1, 2));
        assert_eq!(*recent.at('b'), 0);
        assert_eq!((*recent.at('a'), *recent.at('c')), (1, 0));
    }
}
