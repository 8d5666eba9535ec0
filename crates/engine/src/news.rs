//! News for whoever listens: each reader has a queue of its own, which is bounded and loses the oldest.
//!
//! A channel that sets its slots aside beforehand costs a hundred kilobytes for each torrent; this one costs nothing
//! while nothing happens, and ten thousand torrents mostly have nothing to tell.
//!
//! It refuses to make who speaks wait for who listens. Tested below.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// News that may wait for a slow reader before the oldest is dropped.
const WAITING: usize = 1024;

/// Where news is told. Dropping it ends it for all readers.
pub(crate) struct News<T>(Mutex<Hub<T>>);

struct Hub<T> {
    readers: Vec<Arc<Queue<T>>>,
    closed: bool,
}

struct Queue<T> {
    waiting: Mutex<Waiting<T>>,
    arrived: Notify,
}

struct Waiting<T> {
    news: VecDeque<T>,
    closed: bool,
}

/// One who listens.
pub(crate) struct Reader<T>(Arc<Queue<T>>);

impl<T> Default for News<T> {
    fn default() -> Self {
        Self(Mutex::new(Hub { readers: Vec::new(), closed: false }))
    }
}

impl<T: Clone> News<T> {
    /// Tells all who listen; says how many that are.
    pub(crate) fn send(&self, news: T) -> usize {
        let mut hub = self.hub();
        // A queue that nobody else holds has lost its reader.
        hub.readers.retain(|queue| Arc::strong_count(queue) > 1);
        hub.readers.iter().for_each(|queue| queue.push(news.clone()));
        hub.readers.len()
    }

    /// Listens from now on.
    pub(crate) fn subscribe(&self) -> Reader<T> {
        let mut hub = self.hub();
        let waiting = Waiting { news: VecDeque::new(), closed: hub.closed };
        let queue = Arc::new(Queue { waiting: Mutex::new(waiting), arrived: Notify::new() });
        hub.readers.retain(|queue| Arc::strong_count(queue) > 1);
        if !hub.closed {
            hub.readers.push(Arc::clone(&queue));
        }
        Reader(queue)
    }
}

impl<T> News<T> {
    /// No news comes any more.
    pub(crate) fn close(&self) {
        let mut hub = self.hub();
        hub.closed = true;
        hub.readers.drain(..).for_each(|queue| queue.close());
    }

    fn hub(&self) -> MutexGuard<'_, Hub<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Drop for News<T> {
    fn drop(&mut self) {
        self.close();
    }
}

impl<T> Queue<T> {
    fn waiting(&self) -> MutexGuard<'_, Waiting<T>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, news: T) {
        let mut waiting = self.waiting();
        if waiting.news.len() == WAITING {
            waiting.news.pop_front();
        }
        waiting.news.push_back(news);
        drop(waiting);
        self.arrived.notify_one();
    }

    fn close(&self) {
        self.waiting().closed = true;
        self.arrived.notify_one();
    }
}

impl<T> Reader<T> {
    /// What comes next; `None` once no more comes and all was heard. Cancel safe. Only one may wait at a time.
    pub(crate) async fn next(&self) -> Option<T> {
        loop {
            {
                let mut waiting = self.0.waiting();
                if let Some(news) = waiting.news.pop_front() {
                    return Some(news);
                }
                if waiting.closed {
                    return None;
                }
            }
            // What came in between has left its mark.
            self.0.arrived.notified().await;
        }
    }
}

impl<T> std::fmt::Debug for News<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "News({} readers)", self.hub().readers.len())
    }
}

impl<T> std::fmt::Debug for Reader<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Reader({} waiting)", self.0.waiting().news.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_reader_hears_everything_from_its_beginning_to_the_end() {
        let news = News::default();
        assert_eq!(news.send(1), 0);
        let (early, late);
        early = news.subscribe();
        assert_eq!(news.send(2), 1);
        late = news.subscribe();
        assert_eq!(news.send(3), 2);
        drop(late);
        assert_eq!(news.send(4), 1, "who is gone is forgotten");
        drop(news);
        for expected in [Some(2), Some(3), Some(4), None, None] {
            assert_eq!(early.next().await, expected);
        }
    }

    #[tokio::test]
    async fn a_slow_reader_loses_the_oldest() {
        let news = News::default();
        let reader = news.subscribe();
        (0..WAITING + 5).for_each(|n| assert_eq!(news.send(n), 1));
        assert_eq!(reader.next().await, Some(5));
        news.close();
        assert_eq!(news.subscribe().next().await, None, "nothing comes after the end");
        assert_eq!(news.send(0), 0);
    }

    #[tokio::test]
    async fn a_waiting_reader_is_woken() {
        let news = Arc::new(News::default());
        let reader = news.subscribe();
        let waits = tokio::spawn(async move { (reader.next().await, reader.next().await) });
        tokio::task::yield_now().await;
        news.send(7);
        tokio::task::yield_now().await;
        news.close();
        assert_eq!(waits.await.unwrap(), (Some(7), None));
    }
}
