//! A value that is replaced now and then, while threads use it thousands of times a second.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Holds the newest value.
#[derive(Debug)]
pub(crate) struct Shared<T> {
    version: AtomicU64,
    value: Mutex<Arc<T>>,
}

impl<T> Shared<T> {
    pub(crate) fn new(value: T) -> Arc<Self> {
        Arc::new(Self { version: AtomicU64::new(0), value: Mutex::new(Arc::new(value)) })
    }

    /// Replaces the value. Who uses the old one goes on with it until its next look.
    pub(crate) fn set(&self, value: T) {
        *self.value.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(value);
        self.version.fetch_add(1, Ordering::Release);
    }

    fn newest(&self) -> Arc<T> {
        Arc::clone(&self.value.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One thread's view of it.
#[derive(Debug)]
pub(crate) struct Reader<T> {
    shared: Arc<Shared<T>>,
    version: u64,
    value: Arc<T>,
}

impl<T> Reader<T> {
    pub(crate) fn new(shared: &Arc<Shared<T>>) -> Self {
        let version = shared.version.load(Ordering::Acquire);
        Self { shared: Arc::clone(shared), version, value: shared.newest() }
    }

    /// How often the value was replaced.
    pub(crate) fn edition(&self) -> u64 {
        self.shared.version.load(Ordering::Acquire)
    }

    /// The newest value, for the price of reading one number that hardly ever changes.
    pub(crate) fn get(&mut self) -> &Arc<T> {
        let version = self.shared.version.load(Ordering::Acquire);
        if version != self.version {
            (self.version, self.value) = (version, self.shared.newest());
        }
        &self.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_see_what_was_set_and_keep_what_they_hold() {
        let shared = Shared::new(1);
        let (mut a, mut b) = (Reader::new(&shared), Reader::new(&shared));
        let held = Arc::clone(a.get());
        shared.set(2);
        assert_eq!((**a.get(), **b.get(), *held), (2, 2, 1));
        assert_eq!(**Reader::new(&shared).get(), 2);
    }
}
