//! New keys on their way from the table to a sweep: a page at a time, so that any number may wait, and each until a server
//! has taken it, over restarts too.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use holdfast_dht::kad::{KadId, Key, Scope};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::announcer::Announcer;
use super::table::{Table, TableError};
use crate::pool::Pool;

/// Keys that a sweep is given at a time.
const PAGE_KEYS: usize = 4_096;

/// How long after a pass in which keys were taken by nobody the next one begins, if no new keys come.
const RETRY_DELAY: Duration = Duration::from_secs(60);

/// How long a sweep that has no room is left alone.
const FULL_DELAY: Duration = Duration::from_secs(1);

/// What one sweep has dealt with, and the bell for more.
#[derive(Default)]
pub(super) struct Feed {
    settled: Mutex<Vec<(Key, bool)>>,
    bell: Notify,
}

impl Feed {
    /// The sweep has dealt with keys. At most a page of them comes before they are taken, beside single ones.
    pub(super) fn settled(&self, keys: Vec<(Key, bool)>) {
        self.settled.lock().unwrap_or_else(PoisonError::into_inner).extend(keys);
        self.bell.notify_one();
    }

    /// There are new keys in the table.
    pub(super) fn ring(&self) {
        self.bell.notify_one();
    }

    fn take(&self) -> Vec<(Key, bool)> {
        std::mem::take(&mut *self.settled.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Feeds one sweep.
pub(super) struct Feeder {
    pub(super) feed: Arc<Feed>,
    pub(super) table: Arc<Table>,
    pub(super) pool: Pool,
    pub(super) scope: Scope,
    pub(super) sweep: Announcer,
}

impl Feeder {
    /// Runs until the sweep has ended.
    pub(super) async fn run(self) {
        let (mut given, mut behind, mut nobody_took): (HashSet<KadId>, _, _) = (HashSet::new(), None, 0);
        loop {
            nobody_took += self.note_settled(&mut given).await;
            if !given.is_empty() {
                self.feed.bell.notified().await;
                continue;
            }
            let page = self.page(behind).await;
            if !page.is_empty() {
                let Ok(taken) = self.sweep.provide(page.clone()).await else { return };
                // It takes them in their order.
                given = page.iter().take(taken).map(Key::id).collect();
                match page.get(..taken).and_then(<[Key]>::last) {
                    Some(last) => behind = Some(last.id()),
                    None => tokio::time::sleep(FULL_DELAY).await,
                }
            } else if behind.take().is_none() {
                self.feed.bell.notified().await;
            } else if std::mem::take(&mut nobody_took) > 0 {
                // The bell means new keys, with which the others are tried again too.
                let _is_rung = timeout(RETRY_DELAY, self.feed.bell.notified()).await;
            }
        }
    }

    /// Removes from the table what servers have taken; how many keys none took.
    async fn note_settled(&self, given: &mut HashSet<KadId>) -> usize {
        let settled = self.feed.take();
        if settled.is_empty() {
            return 0;
        }
        for (key, _) in &settled {
            given.remove(&key.id());
        }
        let count = settled.len();
        let taken: Vec<Key> =
            settled.into_iter().filter(|(_, is_taken)| *is_taken).map(|(key, _)| key).collect();
        let failed = count - taken.len();
        let (table, scope) = (Arc::clone(&self.table), self.scope);
        if let Err(error) = self.work(move || table.settle(scope, &taken)).await {
            tracing::warn!("keys that were announced are announced again: {error}");
        }
        failed
    }

    async fn page(&self, behind: Option<KadId>) -> Vec<Key> {
        let (table, scope) = (Arc::clone(&self.table), self.scope);
        let page = self.work(move || table.waiting(scope, behind.as_ref(), PAGE_KEYS)).await;
        page.unwrap_or_else(|error| {
            tracing::warn!("new keys that wait to be announced cannot be read: {error}");
            Vec::new()
        })
    }

    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, TableError> + Send + 'static,
    ) -> Result<T, String> {
        let done = self.pool.run(work).await;
        done.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    }
}
