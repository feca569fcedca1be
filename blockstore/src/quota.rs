//! The storage limit: adding stops before the store takes more of the disk than it may.
//!
//! What the store takes is sampled (one look at the size of each file) and counted on from there as values are appended,
//! so that asking costs nothing. It is sampled again when much was appended, after each collection, and before anything
//! is refused.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use crate::error::{QuotaAdvice, WriteError};
use crate::gc::GcOptions;
use crate::segments::dir_disk_bytes;
use crate::store::{Inner, Store};
use crate::sync::lock;

/// Bytes appended after which the files are looked at again: what they take differs from what was appended by the index.
const SAMPLE_EVERY_BYTES: u64 = 64 << 20;
/// The shortest time between two collections that adds begin, and between two looks at the files for refusing.
const COLLECT_EVERY: Duration = Duration::from_secs(10);
const SAMPLE_EVERY: Duration = Duration::from_millis(20);
/// How long an add waits for a collection of someone else.
const WAIT_MAX: Duration = Duration::from_secs(60);
const WAIT_STEP: Duration = Duration::from_millis(20);

/// What the store takes.
#[derive(Default)]
pub(crate) struct Quota {
    /// As last sampled.
    sampled_bytes: AtomicU64,
    /// Appended since.
    appended_bytes: AtomicU64,
    sampled: Mutex<Option<Instant>>,
    /// When an add last collected garbage, and what it spared.
    collected: Mutex<Option<(Instant, u64)>>,
}

impl Quota {
    /// Counts what was appended.
    pub(crate) fn appended(&self, bytes: u64) {
        self.appended_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn used(&self) -> u64 {
        self.sampled_bytes.load(Ordering::Relaxed) + self.appended_bytes.load(Ordering::Relaxed)
    }
}

impl Store {
    /// Bytes that the store takes on disk, index included, to within what the index grew by since some 64 MiB ago.
    pub fn used_bytes(&self) -> u64 {
        self.inner().quota.used()
    }
}

impl Inner {
    /// Looks at the size of every file.
    pub(crate) fn sample_used(&self) {
        if self.config.bytes_max.is_none() {
            return;
        }
        // Counted before: what is appended while the files are looked at counts twice rather than not at all.
        let before = self.quota.appended_bytes.load(Ordering::Relaxed);
        let files =
            self.segments.disk_bytes().and_then(|bytes| Ok(bytes + dir_disk_bytes(self.index.path())?));
        if let Ok(bytes) = files {
            self.quota.sampled_bytes.store(bytes, Ordering::Relaxed);
            self.quota.appended_bytes.fetch_sub(before, Ordering::Relaxed);
            *lock(&self.quota.sampled) = Some(Instant::now());
        }
    }

    /// Refuses what would take the store beyond its limit, after a collection if that is wanted.
    pub(crate) fn check_limit(&self, bytes: u64) -> Result<(), WriteError> {
        let Some(bytes_max) = self.config.bytes_max else { return Ok(()) };
        if bytes == 0 {
            return Ok(());
        }
        if self.quota.appended_bytes.load(Ordering::Relaxed) >= SAMPLE_EVERY_BYTES {
            self.sample_used();
        }
        let fits = || self.quota.used().saturating_add(bytes) <= bytes_max;
        if fits() {
            return Ok(());
        }
        let fresh = lock(&self.quota.sampled).is_some_and(|at| at.elapsed() < SAMPLE_EVERY);
        if !fresh {
            self.sample_used();
        }
        if fits() || self.config.collect_at_limit && self.collect_for(&fits) {
            return Ok(());
        }
        let collected = *lock(&self.quota.collected);
        let advice = match collected.filter(|(at, _)| at.elapsed() < COLLECT_EVERY) {
            None => QuotaAdvice::Collect,
            Some((_, 0)) => QuotaAdvice::AllHeld,
            Some((_, young_bytes)) => QuotaAdvice::Young { young_bytes },
        };
        Err(WriteError::Quota { used_bytes: self.quota.used(), bytes_max, needed_bytes: bytes, advice })
    }

    /// Collects garbage for an add, or waits for the collection that runs; whether the add fits then. No lock is held,
    /// and what the add has put or found is protected by its shield.
    fn collect_for(&self, fits: &dyn Fn() -> bool) -> bool {
        let begin = Instant::now();
        let _one_at_a_time = loop {
            match self.maintenance.try_lock() {
                Ok(guard) => break guard,
                Err(TryLockError::Poisoned(poisoned)) => break PoisonError::into_inner(poisoned),
                Err(TryLockError::WouldBlock) if begin.elapsed() >= WAIT_MAX => return fits(),
                Err(TryLockError::WouldBlock) => std::thread::sleep(WAIT_STEP),
            }
        };
        if fits() || lock(&self.quota.collected).is_some_and(|(at, _)| at.elapsed() < COLLECT_EVERY) {
            return fits();
        }
        let options = GcOptions { grace: self.config.grace, ..GcOptions::default() };
        match self.collect(&options, &mut |_| ControlFlow::Continue(())) {
            Ok(report) => {
                *lock(&self.quota.collected) = Some((Instant::now(), report.young_bytes));
                tracing::info!(
                    removed_blocks = report.removed_blocks,
                    removed_bytes = report.removed_bytes,
                    rewritten_bytes = report.compaction.rewritten_bytes,
                    longest_hold_ms = report.longest_hold.as_millis() as u64,
                    "the storage limit was met: garbage was collected"
                );
            }
            Err(error) => {
                tracing::warn!("the storage limit was met, and garbage could not be collected: {error}");
            }
        }
        fits()
    }
}
