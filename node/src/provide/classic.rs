//! Announcing each key with a lookup of its own, as Kubo does it with `Provide.DHT.SweepEnabled=false`.
//!
//! New keys come from the table's queue, through a [`super::feed::Feeder`] as for a sweep; all of the strategy's come again
//! once an interval, one after another. `Provide.DHT.MaxWorkers` bounds the lookups of both together. Where a sweep needs one
//! lookup for a whole region, this needs one a key: it is for those who have few.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::StreamExt as _;
use futures_util::stream::{self, FuturesUnordered};
use holdfast_dag::cid::Multihash;
use holdfast_dht::ipns::Timestamp;
use holdfast_dht::kad::{KadId, Key, Scope};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::{Instant, sleep, timeout};

use super::feed::Feed;
use super::table::Table;
use crate::pool::Pool;
use crate::routing::Routing;

/// Where the table keeps what is remembered: a key is announced in one DHT, and which is decided for each.
pub(super) const SCOPE: Scope = Scope::Wan;

/// New keys that are in memory at a time; the others wait in the table.
const QUEUE_KEYS_MAX: usize = 4_096;
/// Keys that are read at a time where all are announced.
const PAGE_KEYS: usize = 1_024;
/// How long one key may take, its lookup and the records.
const KEY_TIME_MAX: Duration = Duration::from_secs(60);
/// How often it is looked whether anybody is there, while nobody is.
const LOOK_PERIOD: Duration = Duration::from_secs(1);
/// First byte of what is remembered. A sweep's is another, and neither takes the other's.
const VERSION: u8 = 2;

/// What `provide stat` shows, under Kubo's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClassicStats {
    /// TotalReprovides: keys that were announced again, since the start.
    pub reprovided: u64,
    /// LastReprovideBatchSize: those of the last time.
    pub last_keys: u64,
    /// ReprovideInterval.
    pub interval: Duration,
    /// AvgReprovideDuration: of one key.
    pub key_duration: Duration,
    /// LastReprovideDuration: of all keys, the last time.
    pub last_duration: Duration,
    /// LastRun: when the last time ended.
    pub last_run: Option<Timestamp>,
}

/// Gives orders to what announces; cheap to clone.
#[derive(Clone)]
pub(super) struct Classic {
    shared: Arc<Shared>,
}

struct Shared {
    routing: Routing,
    table: Arc<Table>,
    pool: Pool,
    feed: Arc<Feed>,
    workers_max: usize,
    workers: Semaphore,
    queue: Mutex<VecDeque<Key>>,
    bell: Notify,
    /// Rung where all keys are to be announced at once.
    again: Notify,
    stats: Mutex<ClassicStats>,
}

/// What it is made from.
pub(super) struct ClassicParams {
    pub(super) routing: Routing,
    pub(super) table: Arc<Table>,
    pub(super) pool: Pool,
    pub(super) feed: Arc<Feed>,
    pub(super) workers_max: usize,
    pub(super) interval: Duration,
    /// What was remembered.
    pub(super) state: Option<Vec<u8>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Classic {
    pub(super) fn new(params: ClassicParams) -> Self {
        let ClassicParams { routing, table, pool, feed, workers_max, interval, state } = params;
        let last_run = state.and_then(|state| decode(&state));
        let shared = Shared {
            routing,
            table,
            pool,
            feed,
            workers_max,
            workers: Semaphore::new(workers_max),
            queue: Mutex::default(),
            bell: Notify::new(),
            again: Notify::new(),
            stats: Mutex::new(ClassicStats { interval, last_run, ..ClassicStats::default() }),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Announces new keys as workers are free; how many found room.
    pub(super) fn provide(&self, keys: Vec<Key>) -> usize {
        let mut queue = lock(&self.shared.queue);
        let room = QUEUE_KEYS_MAX.saturating_sub(queue.len());
        let before = queue.len();
        queue.extend(keys.into_iter().take(room));
        let taken = queue.len() - before;
        drop(queue);
        self.shared.bell.notify_one();
        taken
    }

    /// Forgets the new keys that wait; how many there were.
    pub(super) fn clear(&self) -> usize {
        let cleared: Vec<(Key, bool)> = lock(&self.shared.queue).drain(..).map(|key| (key, true)).collect();
        let count = cleared.len();
        self.shared.feed.settled(cleared);
        count
    }

    /// Makes all keys due at once.
    pub(super) fn restart(&self) {
        self.shared.again.notify_one();
    }

    pub(super) fn stats(&self) -> ClassicStats {
        *lock(&self.shared.stats)
    }

    /// Announces new keys until it is aborted.
    pub(super) async fn run_new(self) {
        let shared = &*self.shared;
        let mut running = FuturesUnordered::new();
        loop {
            tokio::select! {
                Some(()) = running.next(), if !running.is_empty() => {}
                key = shared.next(), if running.len() < shared.workers_max => running.push(async move {
                    let is_told = shared.announce(&key).await;
                    shared.feed.settled(vec![(key, is_told)]);
                }),
            }
        }
    }

    /// Announces all keys once an interval, from when the table is known to hold them, until it is aborted.
    pub(super) async fn run_again(self, mut is_ready: watch::Receiver<bool>) {
        let shared = &*self.shared;
        if is_ready.wait_for(|is_ready| *is_ready).await.is_err() || self.stats().interval.is_zero() {
            return;
        }
        loop {
            tokio::select! {
                () = sleep(self.stats().wait(SystemTime::now().into())) => {}
                () = shared.again.notified() => {}
            }
            shared.announce_all().await;
        }
    }
}

impl ClassicStats {
    /// How long it is until all keys are due.
    fn wait(&self, now: Timestamp) -> Duration {
        // A clock that was set back makes it wait no longer than one interval.
        self.last_run.map_or(Duration::ZERO, |last| self.interval.saturating_sub(now.since(last)))
    }
}

impl Shared {
    async fn next(&self) -> Key {
        loop {
            if let Some(key) = lock(&self.queue).pop_front() {
                return key;
            }
            self.bell.notified().await;
        }
    }

    /// Announces one key when a worker is free and somebody is there; whether anybody knows of it now.
    async fn announce(&self, key: &Key) -> bool {
        // They are never closed.
        let _worker = self.workers.acquire().await;
        let Ok(hash) = Multihash::from_bytes(key.as_bytes()) else { return false };
        while !self.routing.knows_anybody() {
            sleep(LOOK_PERIOD).await;
        }
        match timeout(KEY_TIME_MAX, self.routing.provide(&hash, None)).await {
            Ok(Ok(_)) => true,
            Ok(Err(error)) => {
                tracing::debug!("a key was announced to nobody: {error}");
                false
            }
            Err(_) => false,
        }
    }

    async fn announce_all(&self) {
        let began = Instant::now();
        let (mut from, mut told) = (Some(KadId::from_bytes([0; 32])), 0_u64);
        while let Some(first) = from.take() {
            let Some(mut page) = self.page(first).await else { return };
            if page.len() > PAGE_KEYS {
                from = page.pop().map(|key| key.id());
            }
            let announcing = stream::iter(page).map(|key| async move { self.announce(&key).await });
            let told_of_page =
                announcing.buffer_unordered(self.workers_max).filter(|told| std::future::ready(*told));
            told += told_of_page.count().await as u64;
        }
        let now = Timestamp::from(SystemTime::now());
        lock(&self.stats).ended(told, began.elapsed(), now);
        let table = Arc::clone(&self.table);
        let saved = self.pool.run(move || table.set_sweep_state(SCOPE, Some(encode(now)))).await;
        if let Ok(Err(error)) = saved {
            tracing::warn!("when all was announced last is not remembered: {error}");
        }
    }

    /// Keys from a place on, and one more than a page where there are more.
    async fn page(&self, from: KadId) -> Option<Vec<Key>> {
        let table = Arc::clone(&self.table);
        let last = KadId::from_bytes([u8::MAX; 32]);
        match self.pool.run(move || table.keys(from, last, PAGE_KEYS + 1)).await {
            Ok(Ok(page)) => Some(page),
            Ok(Err(error)) => {
                tracing::warn!("keys cannot be read, and are announced an interval later: {error}");
                lock(&self.stats).last_run = Some(SystemTime::now().into());
                None
            }
            // The node is closing.
            Err(_) => {
                sleep(LOOK_PERIOD).await;
                None
            }
        }
    }
}

impl ClassicStats {
    /// All keys were announced.
    fn ended(&mut self, keys: u64, took: Duration, now: Timestamp) {
        let before = self.key_duration.as_secs_f64() * self.reprovided as f64;
        self.reprovided += keys;
        let of_one = (before + took.as_secs_f64()) / self.reprovided.max(1) as f64;
        self.key_duration = Duration::try_from_secs_f64(of_one).unwrap_or_default();
        (self.last_keys, self.last_duration, self.last_run) = (keys, took, Some(now));
    }
}

fn encode(last_run: Timestamp) -> Vec<u8> {
    [&[VERSION][..], &last_run.unix_seconds().to_be_bytes()].concat()
}

fn decode(state: &[u8]) -> Option<Timestamp> {
    let seconds = state.strip_prefix(&[VERSION])?.try_into().ok()?;
    Some(Timestamp::from_unix(i64::from_be_bytes(seconds), 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_due_at_once_the_first_time_and_then_an_interval_after_the_last() {
        let at = |seconds| Timestamp::from_unix(seconds, 0);
        let mut stats = ClassicStats { interval: Duration::from_secs(100), ..ClassicStats::default() };
        assert_eq!(stats.wait(at(1_000)), Duration::ZERO);
        stats.ended(4, Duration::from_secs(20), at(1_000));
        assert_eq!((stats.reprovided, stats.last_keys), (4, 4));
        assert_eq!(stats.key_duration, Duration::from_secs(5));
        stats.ended(1, Duration::from_secs(10), at(1_000));
        assert_eq!((stats.reprovided, stats.key_duration), (5, Duration::from_secs(6)));
        assert_eq!(stats.wait(at(1_030)), Duration::from_secs(70));
        assert_eq!(stats.wait(at(2_000)), Duration::ZERO);
        assert_eq!(stats.wait(at(10)), Duration::from_secs(100), "the clock was set back");
    }

    #[test]
    fn what_a_sweep_remembered_is_not_taken_for_its_own() {
        let now = Timestamp::from_unix(1_700_000_000, 0);
        assert_eq!(decode(&encode(now)), Some(now));
        let sweeps = [&[1_u8][..], &[0; 40]].concat();
        assert_eq!(decode(&sweeps), None);
        assert!(holdfast_dht::sweep::SavedState::decode(&encode(now)).is_err());
    }
}
