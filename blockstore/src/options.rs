//! How RocksDB is set up. It holds rows of some hundred bytes and never a value.
//!
//! Never set here, each for a reason that was read in its source: `manual_wal_flush` (a log error becomes fatal),
//! `unordered_write`, `two_write_queues`, `enable_pipelined_write`, `best_efforts_recovery` (reads no log),
//! `avoid_flush_during_recovery` and `_shutdown`, `recycle_log_file_num` other than 0.

use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamilyDescriptor, DBRecoveryMode, LogLevel, MergeOperands, Options,
    WriteBufferManager,
};

use crate::config::{Budget, WAL_BYTES_MAX};
use crate::rows::family;

/// RocksDB's record of its files starts anew at this size (its default of 1 GiB makes opening slow).
const MANIFEST_BYTES_MAX: usize = 8 << 20;
/// Files that RocksDB holds open.
const OPEN_FILES_MAX: i32 = 256;
/// Bits a key in the filters: about 1 % of lookups of what is not there read a block.
const FILTER_BITS_PER_KEY: f64 = 10.0;

/// What must outlive a single opening of the index: its cache is kept when it is reopened.
#[derive(Clone)]
pub(crate) struct Tuning {
    budget: Budget,
    cache: Cache,
    memtables: WriteBufferManager,
}

impl Tuning {
    pub(crate) fn new(budget: Budget) -> Self {
        let cache = Cache::new_lru_cache(budget.cache);
        let memtables =
            WriteBufferManager::new_write_buffer_manager_with_cache(budget.memtables, false, cache.clone());
        Self { budget, cache, memtables }
    }

    /// Bytes that are in use of the budget for cache and memtables, which are charged to the cache.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.cache.get_usage() as u64
    }

    /// Options of the database.
    pub(crate) fn database(&self) -> Options {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
        options.set_track_and_verify_wals_in_manifest(true);
        options.set_max_total_wal_size(WAL_BYTES_MAX);
        options.set_max_manifest_file_size(MANIFEST_BYTES_MAX);
        options.set_max_open_files(OPEN_FILES_MAX);
        options.set_max_background_jobs(2);
        options.set_skip_stats_update_on_db_open(true);
        options.set_stats_dump_period_sec(0);
        options.set_stats_persist_period_sec(0);
        options.set_bytes_per_sync(1 << 20);
        options.set_write_buffer_manager(&self.memtables);
        // What RocksDB has to say goes to the program's log, not to files that grow beside the data.
        options.set_info_logger(rocksdb::InfoLogger::new_callback_logger(LogLevel::Warn, |level, text| {
            match level {
                LogLevel::Error | LogLevel::Fatal => {
                    tracing::error!(target: "holdfast_blockstore::rocksdb", "{text}");
                }
                LogLevel::Header | LogLevel::Debug | LogLevel::Info => {}
                LogLevel::Warn => tracing::warn!(target: "holdfast_blockstore::rocksdb", "{text}"),
            }
        }));
        options
    }

    /// All families that are opened: ours, and those found that other parts of the program keep here.
    pub(crate) fn families(&self, found: &[String]) -> Vec<ColumnFamilyDescriptor> {
        let others = found.iter().map(String::as_str).filter(|name| !family::ALL.contains(name));
        self.families_of(family::ALL.into_iter().chain(others))
    }

    /// These families.
    pub(crate) fn families_of<'a>(
        &self,
        names: impl Iterator<Item = &'a str>,
    ) -> Vec<ColumnFamilyDescriptor> {
        names.map(|name| ColumnFamilyDescriptor::new(name, self.family(name))).collect()
    }

    /// Options of a family.
    pub(crate) fn family(&self, name: &str) -> Options {
        let mut options = Options::default();
        let mut table = BlockBasedOptions::default();
        table.set_block_cache(&self.cache);
        table.set_cache_index_and_filter_blocks(true);
        table.set_pin_l0_filter_and_index_blocks_in_cache(true);
        table.set_block_size(4 << 10);
        if name == family::META || name == family::LINKS {
            table.set_bloom_filter(FILTER_BITS_PER_KEY, false);
            table.set_optimize_filters_for_memory(true);
        }
        options.set_block_based_table_factory(&table);
        let large = [family::META, family::LINKS, family::RLINKS].contains(&name);
        let memtable = if large { self.budget.memtables / 3 } else { self.budget.memtables / 16 };
        options.set_write_buffer_size(memtable.clamp(256 << 10, 16 << 20));
        options.set_max_write_buffer_number(3);
        options.set_target_file_size_base(16 << 20);
        options.set_level_compaction_dynamic_level_bytes(true);
        if name == family::STATS {
            options.set_merge_operator_associative("holdfast.add_i64", add_i64);
        }
        options
    }
}

/// Adds the deltas to the counter: little-endian i64 each. A malformed one counts as nothing: if the merge failed
/// instead, so would every flush and compaction, and all writes with them. [`Store::check`](crate::Store::check) tells.
#[expect(clippy::unnecessary_wraps, reason = "the shape of a merge operator")]
fn add_i64(_key: &[u8], existing: Option<&[u8]>, deltas: &MergeOperands) -> Option<Vec<u8>> {
    let all = existing.into_iter().chain(deltas.iter());
    let sum =
        all.filter_map(|bytes| bytes.try_into().map(i64::from_le_bytes).ok()).fold(0, i64::wrapping_add);
    Some(sum.to_le_bytes().to_vec())
}
