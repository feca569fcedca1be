//! Write epochs: which blocks were written before a collection began, and which are old.
//!
//! A block's row holds the epoch in which it was written. The epoch advances when a collection begins, and on a slow
//! clock while blocks are written; the time at which each began is a row of `stats`. So a block was written before
//! moment t if an epoch after its own began at or before t: that needs no time in every row.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use rocksdb::WriteBatch;

use crate::error::IndexError;
use crate::index::Index;
use crate::rows::{family, stats_key};
use crate::store::Inner;
use crate::sync::lock;
use crate::tail::Tail;

/// While blocks are written, an epoch lasts this long.
const SPAN: Duration = Duration::from_secs(600);
/// Epochs whose beginnings are remembered. Blocks of older ones count as old.
const REMEMBERED: u64 = 1024;

/// The current epoch, and when the ones that this process saw began.
pub(crate) struct Epochs {
    current: AtomicU64,
    times: Mutex<Times>,
}

struct Times {
    /// When the current one began by the clock on the wall, in milliseconds since 1970, if that is known.
    current_unix_ms: Option<u64>,
    /// Epochs that began in this process. The clock on the wall may be set meanwhile; this one cannot.
    here: Vec<(u64, Instant)>,
}

impl Epochs {
    /// What the index remembers.
    pub(crate) fn read(index: &Index) -> Result<Self, IndexError> {
        let number = |bytes: Option<Vec<u8>>| Some(u64::from_le_bytes(bytes?.try_into().ok()?));
        let current = number(index.get(family::STATS, stats_key::EPOCH)?).unwrap_or(1);
        let current_unix_ms = number(index.get(family::STATS, &stats_key::of_epoch(current))?);
        let times = Times { current_unix_ms, here: Vec::new() };
        Ok(Self { current: AtomicU64::new(current), times: Mutex::new(times) })
    }

    /// The epoch of what is written now.
    pub(crate) fn current(&self) -> u64 {
        self.current.load(Ordering::Acquire)
    }

    /// Advances to `epoch`. The row is written before a block can carry the new epoch, and through the same log: no
    /// crash leaves blocks of an epoch that the index has not heard of.
    fn advance(&self, index: &Index, epoch: u64) -> Result<(), IndexError> {
        let now = unix_ms();
        let mut batch = WriteBatch::default();
        let stats = index.family(family::STATS);
        batch.put_cf(stats, stats_key::EPOCH, epoch.to_le_bytes());
        batch.put_cf(stats, stats_key::of_epoch(epoch), now.to_le_bytes());
        if let Some(forgotten) = epoch.checked_sub(REMEMBERED) {
            batch.delete_cf(stats, stats_key::of_epoch(forgotten));
        }
        index.write(batch, false)?;
        let mut times = lock(&self.times);
        times.current_unix_ms = Some(now);
        times.here.push((epoch, Instant::now()));
        let surplus = times.here.len().saturating_sub(REMEMBERED as usize);
        times.here.drain(..surplus);
        self.current.store(epoch, Ordering::Release);
        Ok(())
    }

    /// Whether the current epoch has lasted long enough, or no one knows how long.
    fn is_over(&self) -> bool {
        let Some(began) = lock(&self.times).current_unix_ms else { return true };
        // A beginning in the future: the clock was set back.
        unix_ms().checked_sub(began).is_none_or(|ms| u128::from(ms) >= SPAN.as_millis())
    }

    /// The first epoch whose blocks are younger than `age`: those of all before are older.
    pub(crate) fn first_younger(&self, index: &Index, age: Duration) -> Result<u64, IndexError> {
        let until = unix_ms().saturating_sub(age.as_millis().try_into().unwrap_or(u64::MAX));
        let prefix = [stats_key::EPOCH_BEGAN, b':'];
        let rows = index.all(family::STATS, &prefix)?;
        let times = lock(&self.times);
        let old = rows.iter().rev().find_map(|(key, began)| {
            let epoch = u64::from_be_bytes(key.strip_prefix(&prefix)?.try_into().ok()?);
            let began = u64::from_le_bytes(began.as_ref().try_into().ok()?);
            let here = times.here.iter().find(|(of, _)| *of == epoch);
            (began <= until && here.is_none_or(|(_, began)| began.elapsed() >= age)).then_some(epoch)
        });
        Ok(old.unwrap_or(0))
    }
}

fn unix_ms() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(0, |since| since.as_millis().try_into().unwrap_or(u64::MAX))
}

impl Inner {
    /// The epoch for blocks that are appended with this hold of the tail's lock.
    pub(crate) fn epoch_to_append(&self, _tail: &Tail) -> u64 {
        let epoch = self.epochs.current();
        if self.epochs.is_over() {
            let advanced = self.index.get().and_then(|index| self.epochs.advance(&index, epoch + 1));
            if let Err(error) = advanced {
                // The old epoch goes on: its blocks count as younger than they are, which keeps them longer.
                tracing::debug!("could not begin a new epoch: {error}");
            }
        }
        self.epochs.current()
    }

    /// Begins a new epoch. Every block that is appended after this returns carries it, or a later one.
    pub(crate) fn begin_epoch(&self, at_least: u64) -> Result<u64, IndexError> {
        let _tail = lock(&self.tail);
        let epoch = (self.epochs.current() + 1).max(at_least);
        self.epochs.advance(&*self.index.get()?, epoch)?;
        Ok(epoch)
    }
}
