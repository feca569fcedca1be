//! The index: RocksDB behind a handle that can be closed and opened again while the store lives.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use rocksdb::{
    BottommostLevelCompaction, ColumnFamily, CompactOptions, DB, Direction, IteratorMode, Options,
    ReadOptions, Snapshot, WaitForCompactOptions, WriteBatch, WriteOptions,
};

use crate::config::Durability;
use crate::error::IndexError;
use crate::options::Tuning;
use crate::rows::{MetaRow, family, stats_key};
use crate::sync::{lock, read, write};
use crate::wal::refuse_endless;
use crate::witness::Witness;

/// RocksDB, opened.
pub(crate) struct Index {
    db: DB,
    /// Number of the last batch. Held while a batch is written, so that numbers ascend in the log.
    last: Mutex<u64>,
    /// The last batch that a sync has covered. What opening recovered is on disk.
    synced: AtomicU64,
    witness: Arc<Witness>,
    durability: Durability,
    lost_rounds: u64,
}

/// Files that a family may have at level 0 when the index is closed, before their compaction is waited for: it starts at
/// 4, but a process that ends at once never lets it finish.
const LEVEL_0_FILES_MAX: u64 = 8;
/// How long closing waits for a compaction.
const SETTLE_WAIT: Duration = Duration::from_secs(2);
/// Below this size a file is small. Every process that writes leaves one a family, and RocksDB only moves those whose
/// keys do not overlap down its levels, so that they would stay small for good.
const SMALL_FILE_BYTES: usize = 256 << 10;
/// Small files that a family may have when the index is closed, however few bytes it holds, ...
const SMALL_FILES_MIN: usize = 32;
/// ... and one more for each of these bytes: merging rewrites the family.
const BYTES_PER_SMALL_FILE: usize = 1 << 20;

/// A page of rows: keys and values.
pub(crate) type Rows = Vec<(Box<[u8]>, Box<[u8]>)>;

impl Index {
    pub(crate) fn open(
        path: &Path,
        tuning: &Tuning,
        witness: Arc<Witness>,
        durability: Durability,
    ) -> Result<Self, IndexError> {
        let options = tuning.database();
        let found = if path.join("CURRENT").exists() {
            refuse_endless(path)?;
            DB::list_cf(&options, path)?
        } else {
            Vec::new()
        };
        let db = DB::open_cf_descriptors(&options, path, tuning.families(&found))?;
        let mut index = Self {
            db,
            last: Mutex::default(),
            synced: AtomicU64::new(0),
            witness,
            durability,
            lost_rounds: 0,
        };
        let recovered = index.get(family::STATS, stats_key::ROUND)?.unwrap_or_default();
        let recovered = recovered.try_into().map_or(0, u64::from_le_bytes);
        let acknowledged = index.witness.round();
        index.lost_rounds = acknowledged.saturating_sub(recovered);
        // Numbers are never used twice, lost ones neither.
        let last = recovered.max(acknowledged);
        index.last = Mutex::new(last);
        index.synced = AtomicU64::new(last);
        Ok(index)
    }

    /// Batches that were acknowledged and are not there any more.
    pub(crate) fn lost_rounds(&self) -> u64 {
        self.lost_rounds
    }

    /// The handle of one of our families.
    pub(crate) fn family(&self, name: &'static str) -> &ColumnFamily {
        self.db.cf_handle(name).expect("invariant: every family of `family::ALL` was opened or created")
    }

    /// The handle of any family.
    pub(crate) fn any_family(&self, name: &str) -> Result<&ColumnFamily, IndexError> {
        self.db.cf_handle(name).ok_or_else(|| IndexError::Closed(format!("there is no family {name}")))
    }

    /// Makes a family of another part of the program, if there is none.
    pub(crate) fn create_family(&mut self, name: &str, options: &Options) -> Result<(), IndexError> {
        if self.db.cf_handle(name).is_none() {
            self.db.create_cf(name, options)?;
        }
        Ok(())
    }

    pub(crate) fn meta(&self, key: &[u8]) -> Result<Option<MetaRow>, IndexError> {
        let row = self.db.get_pinned_cf(self.family(family::META), key)?;
        row.map(|row| MetaRow::decode(&row).map_err(|error| error.at(key))).transpose()
    }

    pub(crate) fn get(&self, name: &'static str, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        Ok(self.db.get_cf(self.family(name), key)?)
    }

    /// Many rows of a family, in the order of `keys`.
    pub(crate) fn get_many(
        &self,
        name: &'static str,
        keys: &[&[u8]],
    ) -> Result<Vec<Option<Vec<u8>>>, IndexError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let rows = self.db.batched_multi_get_cf(self.family(name), keys.iter().copied(), false);
        rows.into_iter().map(|row| Ok(row?.map(|row| row.to_vec()))).collect()
    }

    pub(crate) fn contains(&self, name: &'static str, key: &[u8]) -> Result<bool, IndexError> {
        Ok(self.db.get_pinned_cf(self.family(name), key)?.is_some())
    }

    /// Up to `max` rows whose keys begin with `prefix`, from `from` on. Pages hold no iterator open, so that neither
    /// a slow reader nor a long listing keeps the index from being reopened.
    pub(crate) fn page(
        &self,
        name: &'static str,
        prefix: &[u8],
        from: &[u8],
        max: usize,
    ) -> Result<Rows, IndexError> {
        self.page_with(ReadOptions::default(), name, prefix, from, max)
    }

    fn page_with(
        &self,
        mut options: ReadOptions,
        name: &'static str,
        prefix: &[u8],
        from: &[u8],
        max: usize,
    ) -> Result<Rows, IndexError> {
        if let Some(end) = prefix_end(prefix) {
            options.set_iterate_upper_bound(end);
        }
        let start = IteratorMode::From(if from > prefix { from } else { prefix }, Direction::Forward);
        let rows = self.db.iterator_cf_opt(self.family(name), options, start).take(max);
        rows.map(|row| row.map_err(IndexError::from)).collect()
    }

    /// The index as it is in this moment.
    pub(crate) fn view(&self) -> View<'_> {
        View { index: self, snapshot: self.db.snapshot() }
    }

    /// Number of rows of a family, by a walk.
    pub(crate) fn count(&self, name: &'static str) -> Result<u64, IndexError> {
        let mut rows = self.db.iterator_cf(self.family(name), IteratorMode::Start);
        rows.try_fold(0, |count, row| row.map(|_| count + 1)).map_err(IndexError::from)
    }

    /// Merges the files of a family within a range of keys, so that what was deleted leaves the disk. Writing and
    /// RocksDB's own compactions go on beside.
    pub(crate) fn compact(&self, name: &'static str, from: Option<&[u8]>, to: Option<&[u8]>) {
        let mut options = CompactOptions::default();
        options.set_exclusive_manual_compaction(false);
        self.db.compact_range_cf_opt(self.family(name), from, to, &options);
    }

    /// All rows whose keys begin with `prefix`: for what is known to be few.
    pub(crate) fn all(&self, name: &'static str, prefix: &[u8]) -> Result<Rows, IndexError> {
        self.page(name, prefix, prefix, usize::MAX)
    }

    /// Writes a batch to the log and the memtables at once: all of it survives a crash, or nothing. The witness notes it
    /// if it is synced, or if nobody wants syncs.
    pub(crate) fn write(&self, mut batch: WriteBatch, sync: bool) -> Result<(), IndexError> {
        let mut options = WriteOptions::default();
        options.set_sync(sync);
        let mut last = lock(&self.last);
        let round = *last + 1;
        batch.put_cf(self.family(family::STATS), stats_key::ROUND, round.to_le_bytes());
        self.db.write_opt(batch, &options)?;
        *last = round;
        if sync {
            self.synced.fetch_max(round, Ordering::AcqRel);
        }
        if sync || self.durability == Durability::Process {
            self.witness.note(round);
        }
        Ok(())
    }

    /// Merges small files before the index is closed, if many have gathered. It is a matter of tidiness: what goes wrong
    /// here is met again, and told, by whatever needs it.
    pub(crate) fn settle(&self) {
        let name = "rocksdb.num-files-at-level0";
        let files = |family| self.db.property_value_cf(self.family(family), name).ok()??.parse().ok();
        if family::ALL.into_iter().filter_map(files).any(|files: u64| files >= LEVEL_0_FILES_MAX) {
            let mut options = WaitForCompactOptions::default();
            options.set_timeout(SETTLE_WAIT.as_micros() as u64);
            drop(self.db.wait_for_compact(&options));
        }
        let files = self.db.live_files().unwrap_or_default();
        for name in family::ALL {
            let sizes = files.iter().filter(|file| file.column_family_name == name).map(|file| file.size);
            let small = sizes.clone().filter(|size| *size < SMALL_FILE_BYTES).count();
            let bytes: usize = sizes.sum();
            if small >= SMALL_FILES_MIN.max(bytes / BYTES_PER_SMALL_FILE) {
                let mut options = CompactOptions::default();
                options.set_bottommost_level_compaction(BottommostLevelCompaction::Force);
                let all = None::<&[u8]>;
                self.db.compact_range_cf_opt(self.family(name), all, all, &options);
            }
        }
    }

    /// Writes all memtables to files, so that the log of what is in them can go.
    pub(crate) fn flush_all(&self) -> Result<(), IndexError> {
        for name in family::ALL {
            self.db.flush_cf(self.family(name))?;
        }
        Ok(())
    }

    /// Syncs what was written to the log so far, if there is anything to sync, and lets the witness note it.
    pub(crate) fn sync_log(&self) -> Result<(), IndexError> {
        let covers = *lock(&self.last);
        if self.synced.load(Ordering::Acquire) < covers {
            self.db.flush_wal(true)?;
            self.synced.fetch_max(covers, Ordering::AcqRel);
        }
        self.witness.note(covers);
        Ok(())
    }
}

/// The index as it was in one moment: what is read through it belongs together, whatever is written meanwhile.
pub(crate) struct View<'a> {
    index: &'a Index,
    snapshot: Snapshot<'a>,
}

impl View<'_> {
    /// As [`Index::page`].
    pub(crate) fn page(
        &self,
        name: &'static str,
        prefix: &[u8],
        from: &[u8],
        max: usize,
    ) -> Result<Rows, IndexError> {
        let mut options = ReadOptions::default();
        options.set_snapshot(&self.snapshot);
        self.index.page_with(options, name, prefix, from, max)
    }

    /// As [`Index::get`].
    pub(crate) fn get(&self, name: &'static str, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        Ok(self.snapshot.get_cf(self.index.family(name), key)?)
    }
}

/// The first key after all that begin with `prefix`; `None` where there is no such key.
fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if let Some(next) = last.checked_add(1) {
            end.push(next);
            return Some(end);
        }
    }
    None
}

/// The key that follows `key` directly: where the next page begins.
pub(crate) fn after(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}

/// The index in its place: readers borrow it for one operation, and a failed write lets it be opened again.
pub(crate) struct IndexCell {
    slot: RwLock<Option<Arc<Index>>>,
    path: PathBuf,
    tuning: Tuning,
    witness: Arc<Witness>,
    durability: Durability,
}

impl IndexCell {
    pub(crate) fn open(path: PathBuf, tuning: Tuning, durability: Durability) -> Result<Self, IndexError> {
        let witness = Arc::new(Witness::of(&path));
        let index = Index::open(&path, &tuning, Arc::clone(&witness), durability)?;
        Ok(Self { slot: RwLock::new(Some(Arc::new(index))), path, tuning, witness, durability })
    }

    /// Bytes of memory that its cache and its memtables use.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.tuning.memory_bytes()
    }

    pub(crate) fn get(&self) -> Result<Arc<Index>, IndexError> {
        let closed = || IndexError::Closed("it did not open".to_owned());
        read(&self.slot).as_ref().map(Arc::clone).ok_or_else(closed)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Closes the index and opens it again. Operations in flight are waited for up to `wait`; those that begin
    /// meanwhile wait for the end. If a reader stays, the old handle stays: it reads on, and the next try comes later.
    pub(crate) fn reopen(&self, wait: Duration) -> Result<(), IndexError> {
        let mut slot = write(&self.slot);
        let deadline = Instant::now() + wait;
        if let Some(mut shared) = slot.take() {
            loop {
                match Arc::try_unwrap(shared) {
                    Ok(index) => {
                        drop(index);
                        break;
                    }
                    Err(still_read) if Instant::now() >= deadline => {
                        *slot = Some(still_read);
                        return Err(IndexError::Closed(format!("it is being read for over {wait:?}")));
                    }
                    Err(still_read) => shared = still_read,
                }
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        let index = Index::open(&self.path, &self.tuning, Arc::clone(&self.witness), self.durability)
            .map_err(|error| IndexError::Closed(error.to_string()))?;
        *slot = Some(Arc::new(index));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_before_the_next_one() {
        assert_eq!(prefix_end(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(prefix_end(&[1, 0xFF]), Some(vec![2]));
        assert_eq!(prefix_end(&[0xFF, 0xFF]), None);
        assert_eq!(prefix_end(&[]), None);
    }
}
