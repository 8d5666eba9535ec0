//! One copy of each URL, however many torrents name it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::TrackerUrl;

#[derive(Debug, Default)]
pub(super) struct Urls {
    known: BTreeSet<Arc<TrackerUrl>>,
    /// How many there may be before those that nobody uses are looked for.
    sweep_at: usize,
}

impl Urls {
    /// Puts the common copy in place of `url`.
    pub(super) fn share(&mut self, url: &mut Arc<TrackerUrl>) {
        if let Some(known) = self.known.get(url) {
            *url = Arc::clone(known);
            return;
        }
        if self.known.len() >= self.sweep_at {
            self.known.retain(|url| Arc::strong_count(url) > 1);
            self.sweep_at = 2 * self.known.len() + 64;
        }
        self.known.insert(Arc::clone(url));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_copy_and_none_that_nobody_uses() {
        let mut urls = Urls::default();
        let mut make = |n: u32| {
            let mut url = Arc::new(TrackerUrl::parse(&format!("http://h{n}/")).unwrap());
            urls.share(&mut url);
            url
        };
        let (a, b) = (make(1), make(1));
        assert!(Arc::ptr_eq(&a, &b));
        (2..10_000).for_each(|n| drop(make(n)));
        assert!(urls.known.len() < 200);
        assert!(urls.known.contains(&a));
    }
}
