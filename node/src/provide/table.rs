//! The keys that are announced, on disk: family `provides`, in the order of the key space.
//!
//! Rows (docs/disk-format.md has the bytes): a key that is announced again and again; a new key that waits for its first
//! announcement, once for each DHT; how far a sweep has come; and what the last sync of the keys was.

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use holdfast_blockstore::{ReadError, SideChange, SideTable, Store, WriteError};
use holdfast_dag::cid::{Cid, Multihash, codec};
use holdfast_dht::kad::{KadId, Key, Scope};

/// First byte of every row.
const VERSION: u8 = 1;

/// First bytes of the keys of rows.
mod kind {
    pub(super) const KEY: u8 = 1;
    pub(super) const NEW: u8 = 2;
    pub(super) const SWEEP: u8 = 3;
    pub(super) const SYNC: u8 = 4;
    pub(super) const BEGUN: u8 = 5;
}

/// Rows that are read at a time where all are gone through.
const PAGE_ROWS: usize = 4_096;

/// Why a row was not read or written.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// The store cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The store cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// A key, and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// Its multihash in bytes.
    pub(super) hash: Box<[u8]>,
    /// Everything below it was walked too, in its generation.
    pub(super) is_whole: bool,
    /// The sync that saw it last, or beside which it came.
    pub(super) generation: u32,
}

/// What the last sync of the keys with the repo was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Synced {
    /// Rows of other generations are left over.
    pub(super) generation: u32,
    /// By which strategy.
    pub(super) strategy: String,
}

/// The rows. All functions block.
pub(super) struct Table {
    store: Store,
    /// Where new keys wait: one queue for each DHT that announces, and how many wait in it.
    queues: Vec<(Scope, AtomicUsize)>,
    /// Held from looking at rows to changing them.
    writing: Mutex<()>,
    /// Of the sync that began last; it changes under `writing`, so that what is noted beside a sync is never left over from
    /// the one before.
    generation: AtomicU32,
    /// Keys that are announced again and again, as of the last sync and what came since.
    keys: AtomicU64,
}

impl Table {
    pub(super) fn new(store: Store, queues: Vec<Scope>) -> Self {
        let queues = queues.into_iter().map(|scope| (scope, AtomicUsize::new(0))).collect();
        Self {
            store,
            queues,
            writing: Mutex::default(),
            generation: AtomicU32::new(0),
            keys: AtomicU64::new(0),
        }
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    /// How many keys are announced again and again; less until the first sync since the start has ended.
    pub(super) fn len(&self) -> u64 {
        self.keys.load(Ordering::Relaxed)
    }

    /// Whether a key is announced from here.
    pub(super) fn has(store: &Store, key: &Key) -> Result<bool, ReadError> {
        let row = store.side_get(SideTable::Provides, &key_row(&key.id()))?;
        Ok(row.and_then(|row| split_key(&row)).is_some_and(|found| *found.hash == *key.as_bytes()))
    }

    /// A sync begins: what is noted from now on is of its generation, which no row has. A sync that was cut off has left rows
    /// of its own, so it is remembered that it began.
    pub(super) fn begin_sync(&self) -> Result<u32, TableError> {
        let _one_at_a_time = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let generation = self.last_begun()?.wrapping_add(1);
        let row = [&[VERSION], generation.to_be_bytes().as_slice()].concat();
        let change = SideChange { key: vec![kind::BEGUN], value: Some(row) };
        self.store.side_write(SideTable::Provides, &[change])?;
        self.generation.store(generation, Ordering::Relaxed);
        Ok(generation)
    }

    /// Goes on in the generation of before the start.
    pub(super) fn resume(&self) -> Result<(), TableError> {
        self.generation.store(self.last_begun()?, Ordering::Relaxed);
        Ok(())
    }

    fn last_begun(&self) -> Result<u32, TableError> {
        let row = self.store.side_get(SideTable::Provides, &[kind::BEGUN])?;
        let begun =
            row.and_then(|row| Some(u32::from_be_bytes(*row.strip_prefix(&[VERSION])?.first_chunk()?)));
        let ended = self.synced()?.map(|synced| synced.generation);
        Ok(begun.max(ended).unwrap_or(0))
    }

    /// Notes keys as those of the sync that began last; those that are new wait in the queues if `announce`. Keys that no DHT
    /// takes are left out. Returns for each whether everything below it was walked before, since that sync began: what was
    /// walked earlier is of another generation, and goes unless somebody walks it again.
    pub(super) fn note(
        &self,
        hashes: &[Multihash],
        is_whole: bool,
        announce: bool,
    ) -> Result<Vec<bool>, TableError> {
        let keys: Vec<Option<Key>> = hashes.iter().map(|hash| Key::new(&hash.to_bytes()).ok()).collect();
        let places: Vec<Vec<u8>> = keys.iter().flatten().map(|key| key_row(&key.id())).collect();
        let _one_at_a_time = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let generation = self.generation.load(Ordering::Relaxed);
        let wanted: Vec<&[u8]> = places.iter().map(Vec::as_slice).collect();
        let mut rows = self.store.side_get_many(SideTable::Provides, &wanted)?.into_iter();
        let (mut changes, mut walked) = (Vec::new(), Vec::with_capacity(hashes.len()));
        let mut added = 0;
        for key in keys {
            let Some(key) = key else {
                walked.push(false);
                continue;
            };
            let row = rows.next().flatten();
            let known = row.as_deref().and_then(split_key);
            let was_whole =
                known.as_ref().is_some_and(|known| known.is_whole && known.generation == generation);
            walked.push(was_whole);
            let new = encode_key(key.as_bytes(), generation, is_whole || was_whole);
            if row.as_deref() != Some(&new) {
                changes.push(SideChange { key: key_row(&key.id()), value: Some(new) });
            }
            added += usize::from(known.is_none());
            if known.is_none() && announce {
                let waiting = self.queues.iter().map(|(scope, _)| SideChange {
                    key: queue_row(*scope, &key.id()),
                    value: Some([&[VERSION], key.as_bytes()].concat()),
                });
                changes.extend(waiting);
            }
        }
        if !changes.is_empty() {
            self.store.side_write(SideTable::Provides, &changes)?;
        }
        self.keys.fetch_add(added as u64, Ordering::Relaxed);
        for (_, waiting) in self.queues.iter().filter(|_| announce) {
            waiting.fetch_add(added, Ordering::Relaxed);
        }
        Ok(walked)
    }

    /// Keys in `from..=last` whose blocks are here, at most `max`. Rows of blocks that are gone are removed.
    pub(super) fn keys(&self, from: KadId, last: KadId, max: usize) -> Result<Vec<Key>, TableError> {
        let (mut found, mut gone) = (Vec::new(), Vec::new());
        let (mut start, end) = (key_row(&from), key_row(&last));
        'pages: loop {
            let rows = self.store.side_from(SideTable::Provides, &[kind::KEY], &start, PAGE_ROWS.min(max))?;
            let Some((behind, _)) = rows.last() else { break };
            start = [behind, [0].as_slice()].concat();
            let cids: Vec<Option<Cid>> = rows.iter().map(|(_, row)| block_of(row)).collect();
            let wanted: Vec<Cid> = cids.iter().flatten().copied().collect();
            let mut sizes = self.store.sizes(&wanted)?.into_iter();
            for ((row_key, _), cid) in rows.iter().zip(cids) {
                let here = cid.filter(|_| sizes.next().flatten().is_some());
                if found.len() >= max || **row_key > *end {
                    break 'pages;
                }
                match here.and_then(|cid| Key::new(&cid.hash().to_bytes()).ok()) {
                    Some(key) => found.push(key),
                    None => gone.push((row_key.to_vec(), cid)),
                }
            }
            self.forget(std::mem::take(&mut gone))?;
        }
        self.forget(gone)?;
        Ok(found)
    }

    /// Removes rows whose blocks are gone, or that do not decode. A block may have come back since it was looked for.
    fn forget(&self, gone: Vec<(Vec<u8>, Option<Cid>)>) -> Result<(), TableError> {
        if gone.is_empty() {
            return Ok(());
        }
        let _one_at_a_time = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let cids: Vec<Cid> = gone.iter().filter_map(|(_, cid)| *cid).collect();
        let mut sizes = self.store.sizes(&cids)?.into_iter();
        let still = gone.into_iter().filter(|(_, cid)| cid.is_none() || sizes.next().flatten().is_none());
        let removed: Vec<SideChange> = still.map(|(key, _)| SideChange { key, value: None }).collect();
        self.store.side_write(SideTable::Provides, &removed)?;
        let fewer = |keys: u64| Some(keys.saturating_sub(removed.len() as u64));
        let _was = self.keys.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer);
        Ok(())
    }

    /// Removes the keys of other generations than that of the sync that began last; `go_on` is asked between pages. How many
    /// keys are left.
    pub(super) fn purge(&self, go_on: &dyn Fn() -> bool) -> Result<u64, TableError> {
        let generation = self.generation.load(Ordering::Relaxed);
        let (mut behind, mut left): (Option<Box<[u8]>>, u64) = (None, 0);
        while go_on() {
            let _one_at_a_time = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
            let rows =
                self.store.side_page(SideTable::Provides, &[kind::KEY], behind.as_deref(), PAGE_ROWS)?;
            let is_old = |row: &[u8]| split_key(row).is_none_or(|found| found.generation != generation);
            let old: Vec<SideChange> = rows
                .iter()
                .filter(|(_, row)| is_old(row))
                .map(|(key, _)| SideChange { key: key.to_vec(), value: None })
                .collect();
            left += (rows.len() - old.len()) as u64;
            if !old.is_empty() {
                self.store.side_write(SideTable::Provides, &old)?;
            }
            let is_last = rows.len() < PAGE_ROWS;
            behind = rows.into_iter().next_back().map(|(key, _)| key);
            if is_last {
                self.keys.store(left, Ordering::Relaxed);
                break;
            }
        }
        Ok(left)
    }

    /// New keys that wait, from behind a place on, at most `max`.
    pub(super) fn waiting(
        &self,
        scope: Scope,
        behind: Option<&KadId>,
        max: usize,
    ) -> Result<Vec<Key>, TableError> {
        let behind = behind.map(|place| queue_row(scope, place));
        let prefix = [kind::NEW, scope_byte(scope)];
        let rows = self.store.side_page(SideTable::Provides, &prefix, behind.as_deref(), max)?;
        let key = |row: &[u8]| row.strip_prefix(&[VERSION]).and_then(|hash| Key::new(hash).ok());
        Ok(rows.iter().filter_map(|(_, row)| key(row)).collect())
    }

    /// New keys have been announced, or are not to be.
    pub(super) fn settle(&self, scope: Scope, keys: &[Key]) -> Result<(), TableError> {
        let rows: Vec<Vec<u8>> = keys.iter().map(|key| queue_row(scope, &key.id())).collect();
        let wanted: Vec<&[u8]> = rows.iter().map(Vec::as_slice).collect();
        let _one_at_a_time = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        // Keys that were announced past the queue have no row.
        let found = self.store.side_get_many(SideTable::Provides, &wanted)?;
        let there = rows.iter().zip(found).filter(|(_, found)| found.is_some());
        let done: Vec<SideChange> =
            there.map(|(row, _)| SideChange { key: row.clone(), value: None }).collect();
        self.store.side_write(SideTable::Provides, &done)?;
        if let Some(waiting) = self.queue(scope) {
            let fewer = |waiting: usize| Some(waiting.saturating_sub(done.len()));
            let _was = waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer);
        }
        Ok(())
    }

    fn queue(&self, scope: Scope) -> Option<&AtomicUsize> {
        self.queues.iter().find(|(of, _)| *of == scope).map(|(_, waiting)| waiting)
    }

    /// How many new keys wait for a DHT.
    pub(super) fn waiting_len(&self, scope: Scope) -> usize {
        self.queue(scope).map_or(0, |waiting| waiting.load(Ordering::Relaxed))
    }

    /// Counts the keys that wait from before.
    pub(super) fn count_waiting(&self) -> Result<(), TableError> {
        for (scope, waiting) in &self.queues {
            let (mut behind, mut count): (Option<Box<[u8]>>, usize) = (None, 0);
            loop {
                let prefix = [kind::NEW, scope_byte(*scope)];
                let rows =
                    self.store.side_page(SideTable::Provides, &prefix, behind.as_deref(), PAGE_ROWS)?;
                count += rows.len();
                if rows.len() < PAGE_ROWS {
                    break;
                }
                behind = rows.into_iter().next_back().map(|(key, _)| key);
            }
            waiting.store(count, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Forgets the new keys that wait, for all DHTs. How many different ones there were.
    pub(super) fn clear_waiting(&self) -> Result<usize, TableError> {
        let _one_at_a_time = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.store.side_clear(SideTable::Provides, &[kind::NEW])?;
        let cleared = self.queues.iter().map(|(_, waiting)| waiting.swap(0, Ordering::Relaxed));
        Ok(cleared.max().unwrap_or(0))
    }

    /// How far a sweep had come.
    pub(super) fn sweep_state(&self, scope: Scope) -> Result<Option<Vec<u8>>, TableError> {
        Ok(self.store.side_get(SideTable::Provides, &[kind::SWEEP, scope_byte(scope)])?)
    }

    /// Remembers how far a sweep has come; `None` forgets it.
    pub(super) fn set_sweep_state(&self, scope: Scope, state: Option<Vec<u8>>) -> Result<(), TableError> {
        let change = SideChange { key: vec![kind::SWEEP, scope_byte(scope)], value: state };
        Ok(self.store.side_write(SideTable::Provides, &[change])?)
    }

    /// The last sync that came to its end.
    pub(super) fn synced(&self) -> Result<Option<Synced>, TableError> {
        let row = self.store.side_get(SideTable::Provides, &[kind::SYNC])?;
        Ok(row.and_then(|row| {
            let (generation, strategy) = row.strip_prefix(&[VERSION])?.split_first_chunk::<4>()?;
            let strategy = String::from_utf8(strategy.to_vec()).ok()?;
            Some(Synced { generation: u32::from_be_bytes(*generation), strategy })
        }))
    }

    /// A sync has come to its end.
    pub(super) fn set_synced(&self, synced: &Synced) -> Result<(), TableError> {
        let generation = synced.generation.to_be_bytes();
        let row = [&[VERSION], generation.as_slice(), synced.strategy.as_bytes()].concat();
        let change = SideChange { key: vec![kind::SYNC], value: Some(row) };
        Ok(self.store.side_write(SideTable::Provides, &[change])?)
    }
}

fn scope_byte(scope: Scope) -> u8 {
    match scope {
        Scope::Wan => 0,
        Scope::Lan => 1,
    }
}

fn key_row(place: &KadId) -> Vec<u8> {
    [&[kind::KEY], place.as_bytes().as_slice()].concat()
}

fn queue_row(scope: Scope, place: &KadId) -> Vec<u8> {
    [&[kind::NEW, scope_byte(scope)], place.as_bytes().as_slice()].concat()
}

fn encode_key(hash: &[u8], generation: u32, is_whole: bool) -> Vec<u8> {
    [&[VERSION, u8::from(is_whole)], generation.to_be_bytes().as_slice(), hash].concat()
}

/// A key's row; `None` for one that is damaged or of another version: it counts as absent.
fn split_key(row: &[u8]) -> Option<Found> {
    let (flags, rest) = row.strip_prefix(&[VERSION])?.split_first()?;
    let (generation, hash) = rest.split_first_chunk::<4>()?;
    Some(Found { hash: hash.into(), is_whole: *flags == 1, generation: u32::from_be_bytes(*generation) })
}

/// The block whose key a row is.
fn block_of(row: &[u8]) -> Option<Cid> {
    let hash = Multihash::from_bytes(&split_key(row)?.hash).ok()?;
    Some(Cid::new_v1(codec::RAW, hash))
}

#[cfg(test)]
mod tests {
    use holdfast_blockstore::StoreConfig;
    use holdfast_dag::block::Block;
    use holdfast_dag::cid::{CidBuilder, Version};
    use holdfast_dag::hash::HashKind;

    use super::*;

    fn table(folder: &tempfile::TempDir) -> Table {
        let store = Store::open(folder.path(), StoreConfig::default()).unwrap();
        Table::new(store, vec![Scope::Wan, Scope::Lan])
    }

    /// Stores blocks with these numbers in them.
    fn put(table: &Table, numbers: std::ops::Range<u32>) -> Vec<Cid> {
        let builder = CidBuilder { version: Version::V1, hash: HashKind::Sha2_256 };
        let block = |number: u32| {
            let data = number.to_be_bytes().to_vec();
            Block::trusted(builder.cid_of(codec::RAW, &[&data]), data)
        };
        let blocks: Vec<Block> = numbers.map(block).collect();
        let cids = blocks.iter().map(|block| block.cid).collect();
        table.store.writer().put(blocks).unwrap();
        cids
    }

    fn hashes(cids: &[Cid]) -> Vec<Multihash> {
        cids.iter().map(|cid| *cid.hash()).collect()
    }

    fn all(table: &Table, max: usize) -> Vec<Key> {
        let (mut from, last) = (KadId::from_bytes([0; 32]), KadId::from_bytes([0xff; 32]));
        let mut found: Vec<Key> = Vec::new();
        loop {
            let page = table.keys(from, last, max).unwrap();
            let is_last = page.len() < max;
            // As the sweep does it: from the place behind the last key on.
            if let Some(key) = page.last() {
                let mut next = *key.id().as_bytes();
                next[31] = next[31].wrapping_add(1);
                from = KadId::from_bytes(next);
            }
            found.extend(page);
            if is_last {
                return found;
            }
        }
    }

    #[test]
    fn keys_come_in_the_order_of_the_key_space_each_once_and_wait_for_both_dhts() {
        let folder = tempfile::tempdir().unwrap();
        let table = table(&folder);
        let cids = put(&table, 0..100);
        table.note(&hashes(&cids), false, true).unwrap();
        table.note(&hashes(&cids), false, true).unwrap();
        let found = all(&table, 7);
        assert_eq!(found.len(), 100);
        assert!(found.is_sorted_by_key(Key::id));
        for scope in [Scope::Wan, Scope::Lan] {
            assert_eq!(table.waiting_len(scope), 100);
        }
        let first = table.waiting(Scope::Lan, None, 10).unwrap();
        assert_eq!(first, found[..10]);
        table.settle(Scope::Lan, &first).unwrap();
        assert_eq!(table.waiting_len(Scope::Lan), 90);
        assert_eq!(table.waiting(Scope::Lan, Some(&found[19].id()), 10).unwrap(), found[20..30]);
        assert_eq!(table.waiting_len(Scope::Wan), 100);
        assert_eq!(table.clear_waiting().unwrap(), 100);
        assert_eq!(table.waiting_len(Scope::Wan), 0);
        assert_eq!(all(&table, 1000), found, "clearing the queue keeps the schedule");
    }

    #[test]
    fn a_block_that_went_is_announced_no_more_and_its_row_goes() {
        let folder = tempfile::tempdir().unwrap();
        let table = table(&folder);
        let cids = put(&table, 0..50);
        table.note(&hashes(&cids), false, false).unwrap();
        let key = Key::new(&cids[0].hash().to_bytes()).unwrap();
        assert!(Table::has(&table.store, &key).unwrap());
        table.store.delete_blocks(&cids[..40]).unwrap();
        // Fewer than asked for would mean that there are no more: pages are filled up.
        assert_eq!(all(&table, 5).len(), 10);
        assert!(!Table::has(&table.store, &key).unwrap());
        assert_eq!(table.waiting_len(Scope::Wan), 0);
    }

    #[test]
    fn what_a_sync_did_not_see_is_purged() {
        let folder = tempfile::tempdir().unwrap();
        let table = table(&folder);
        let cids = put(&table, 0..30);
        table.begin_sync().unwrap();
        table.note(&hashes(&cids), true, false).unwrap();
        assert_eq!(table.note(&hashes(&cids[..10]), false, true).unwrap(), [true; 10]);
        table.begin_sync().unwrap();
        assert_eq!(table.note(&hashes(&cids[..10]), false, true).unwrap(), [false; 10], "not in this one");
        assert_eq!(table.note(&hashes(&cids[..10]), false, true).unwrap(), [false; 10]);
        assert_eq!(table.len(), 30);
        assert_eq!(table.purge(&|| true).unwrap(), 10);
        assert_eq!(table.len(), 10);
        assert_eq!(all(&table, 100).len(), 10);
        assert_eq!(table.waiting_len(Scope::Wan), 0, "they were known");
    }

    #[test]
    fn a_sync_that_was_cut_off_leaves_no_rows_that_the_next_one_takes_for_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let generation = {
            let table = table(&folder);
            let generation = table.begin_sync().unwrap();
            let cids = put(&table, 0..3);
            assert_eq!(table.note(&hashes(&cids), true, false).unwrap(), [false; 3]);
            generation
        };
        let table = table(&folder);
        table.resume().unwrap();
        let cids = put(&table, 0..3);
        assert_eq!(table.note(&hashes(&cids[..1]), true, false).unwrap(), [true]);
        assert!(table.begin_sync().unwrap() > generation);
        assert_eq!(table.note(&hashes(&cids[..1]), true, false).unwrap(), [false]);
        assert_eq!(table.purge(&|| true).unwrap(), 1);
    }

    #[test]
    fn a_restart_finds_the_state_and_damage_counts_as_absent() {
        let folder = tempfile::tempdir().unwrap();
        let synced = Synced { generation: 7, strategy: "pinned+mfs".to_owned() };
        {
            let table = table(&folder);
            assert_eq!(table.synced().unwrap(), None);
            table.set_synced(&synced).unwrap();
            table.set_sweep_state(Scope::Wan, Some(vec![1, 2, 3])).unwrap();
            let cids = put(&table, 0..3);
            table.note(&hashes(&cids), false, true).unwrap();
        }
        let table = table(&folder);
        table.count_waiting().unwrap();
        assert_eq!(table.waiting_len(Scope::Lan), 3);
        assert_eq!(table.synced().unwrap(), Some(synced));
        assert_eq!(table.sweep_state(Scope::Wan).unwrap(), Some(vec![1, 2, 3]));
        assert_eq!(table.sweep_state(Scope::Lan).unwrap(), None);
        let damaged = SideChange { key: key_row(&KadId::of(b"x")), value: Some(vec![9; 3]) };
        table.store.side_write(SideTable::Provides, &[damaged]).unwrap();
        assert_eq!(all(&table, 100).len(), 3);
    }
}
