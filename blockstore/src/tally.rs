//! What a store has done since it was opened: counted as it goes, for metrics.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::gc::{GcError, GcReport};
use crate::store::Store;

/// What a store has done since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct StoreTally {
    /// Commits that were acknowledged: barriers, and changes of pins and records.
    pub commits: u64,
    /// Rounds that made something durable. One serves all commits that wait.
    pub rounds: u64,
    /// The time that these took: syncing segments, and writing the index.
    pub round_time: Duration,
    /// Collections of garbage that came to their end. Dry runs are not counted, here and below.
    pub collections: u64,
    /// The time that they took.
    pub collection_time: Duration,
    /// Blocks that they removed.
    pub collected_blocks: u64,
    /// Bytes of these blocks.
    pub collected_bytes: u64,
    /// Bytes that they wrote anew to give space back.
    pub rewritten_bytes: u64,
    /// Bytes of memory that the index uses now, of those that the config gives it: its cache, with the memtables.
    pub index_memory_bytes: u64,
}

/// The same, as it is counted.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    commits: AtomicU64,
    rounds: AtomicU64,
    round_nanos: AtomicU64,
    collections: AtomicU64,
    collection_nanos: AtomicU64,
    collected_blocks: AtomicU64,
    collected_bytes: AtomicU64,
    rewritten_bytes: AtomicU64,
}

/// Five centuries fit.
fn add_time(counter: &AtomicU64, began: Instant) {
    let nanos = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
    counter.fetch_add(nanos, Ordering::Relaxed);
}

fn add(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

impl Tally {
    /// A round that began then has made so many commits durable.
    pub(crate) fn round(&self, began: Instant, commits: usize) {
        add(&self.commits, commits as u64);
        add(&self.rounds, 1);
        add_time(&self.round_nanos, began);
    }

    /// A collection that began then has ended.
    pub(crate) fn collection(&self, began: Instant, dry_run: bool, outcome: &Result<GcReport, GcError>) {
        let Ok(report) = outcome else { return };
        if dry_run {
            return;
        }
        add(&self.collections, 1);
        add_time(&self.collection_nanos, began);
        add(&self.collected_blocks, report.removed_blocks);
        add(&self.collected_bytes, report.removed_bytes);
        add(&self.rewritten_bytes, report.compaction.rewritten_bytes);
    }

    fn read(&self) -> StoreTally {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        StoreTally {
            commits: count(&self.commits),
            rounds: count(&self.rounds),
            round_time: Duration::from_nanos(count(&self.round_nanos)),
            collections: count(&self.collections),
            collection_time: Duration::from_nanos(count(&self.collection_nanos)),
            collected_blocks: count(&self.collected_blocks),
            collected_bytes: count(&self.collected_bytes),
            rewritten_bytes: count(&self.rewritten_bytes),
            index_memory_bytes: 0,
        }
    }
}

impl Store {
    /// What it has done since it was opened. Costs nothing.
    pub fn tally(&self) -> StoreTally {
        let inner = self.inner();
        StoreTally { index_memory_bytes: inner.index.memory_bytes(), ..inner.tally.read() }
    }
}
