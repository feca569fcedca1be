//! The keys that are announced, on disk: family `provides`, in the order of the key space.
//!
//! Rows (docs/providing.md has the bytes): a key that is announced again and again; a new key that waits for its first
//! announcement, once for each DHT; how far a sweep has come; and what the last sync of the keys was.

mod counts;

use std::collections::{BTreeSet, HashSet};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use holdfast_blockstore::{ReadError, SideChange, SideTable, Store, WriteError};
use holdfast_dag::cid::{Cid, Multihash, codec};
use holdfast_dht::kad::{KadId, Key, Scope};

use counts::Counts;

/// First byte of every row.
const VERSION: u8 = 1;

/// First bytes of the keys of rows.
mod kind {
    pub(super) const KEY: u8 = 1;
    pub(super) const NEW: u8 = 2;
    pub(super) const SWEEP: u8 = 3;
    pub(super) const SYNC: u8 = 4;
    pub(super) const BEGUN: u8 = 5;
    pub(super) const COUNTS: u8 = 6;
}

/// The DHTs that new keys may wait for.
const SCOPES: [Scope; 2] = [Scope::Wan, Scope::Lan];

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

/// The rows. All functions block. New keys wait only as long as they are among those that are announced again and again.
pub(super) struct Table {
    store: Store,
    /// The DHTs that announce: where new keys wait.
    queues: Vec<Scope>,
    /// Held from looking at rows to changing them.
    writing: Mutex<()>,
    /// Of the sync that began last; it changes under `writing`, so that what is noted beside a sync is never left over from
    /// the one before.
    generation: AtomicU32,
    /// How many rows there are; it changes under `writing`, with them.
    counts: Mutex<Counts>,
}

impl Table {
    /// Nothing is known before [`Table::resume`].
    pub(super) fn new(store: Store, queues: Vec<Scope>) -> Self {
        let (writing, generation, counts) = Default::default();
        Self { store, queues, writing, generation, counts }
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    /// How many keys are announced again and again.
    pub(super) fn len(&self) -> u64 {
        self.counts().keys
    }

    /// How many new keys wait for a DHT.
    pub(super) fn waiting_len(&self, scope: Scope) -> usize {
        usize::try_from(self.counts().waiting(scope)).unwrap_or(usize::MAX)
    }

    fn counts(&self) -> Counts {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn one_at_a_time(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes changes, and the counts what they are then. The caller holds `writing`.
    fn write(&self, mut changes: Vec<SideChange>, counts: Counts) -> Result<(), TableError> {
        if changes.is_empty() {
            return Ok(());
        }
        let only_removes = changes.iter().all(|change| change.value.is_none());
        changes.push(SideChange { key: vec![kind::COUNTS], value: Some(counts.encode()) });
        match self.store.side_write(SideTable::Provides, &changes) {
            // A full disk takes removals alone; the rows are counted at the next start.
            Err(WriteError::DiskFull { .. }) if only_removes => {
                if let Some(row) = changes.last_mut() {
                    row.value = None;
                }
                self.store.side_write(SideTable::Provides, &changes)?;
            }
            written => written?,
        }
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner) = counts;
        Ok(())
    }

    /// Whether a key is announced from here.
    pub(super) fn has(store: &Store, key: &Key) -> Result<bool, ReadError> {
        let row = store.side_get(SideTable::Provides, &key_row(&key.id()))?;
        Ok(row.and_then(|row| split_key(&row)).is_some_and(|found| *found.hash == *key.as_bytes()))
    }

    /// A sync begins: what is noted from now on is of its generation, which no row has. A sync that was cut off has left rows
    /// of its own, so it is remembered that it began.
    pub(super) fn begin_sync(&self) -> Result<u32, TableError> {
        let _one_at_a_time = self.one_at_a_time();
        let generation = self.last_begun()?.wrapping_add(1);
        let row = [&[VERSION], generation.to_be_bytes().as_slice()].concat();
        let change = SideChange { key: vec![kind::BEGUN], value: Some(row) };
        self.store.side_write(SideTable::Provides, &[change])?;
        self.generation.store(generation, Ordering::Relaxed);
        Ok(generation)
    }

    /// Goes on as before the start. Where it is not known how many rows there are, they are counted.
    pub(super) fn resume(&self) -> Result<(), TableError> {
        let _one_at_a_time = self.one_at_a_time();
        self.generation.store(self.last_begun()?, Ordering::Relaxed);
        let row = self.store.side_get(SideTable::Provides, &[kind::COUNTS])?;
        let counts = match row.and_then(|row| Counts::decode(&row)) {
            Some(counts) => counts,
            None => self.count()?,
        };
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner) = counts;
        Ok(())
    }

    /// Counts all rows. New keys that wait and are announced no more are removed.
    fn count(&self) -> Result<Counts, TableError> {
        let mut counts = Counts::default();
        self.pages(&[kind::KEY], |rows| {
            counts.keys += rows.len() as u64;
            Ok(())
        })?;
        for scope in SCOPES {
            self.pages(&[kind::NEW, scope_byte(scope)], |rows| {
                let keys: Vec<Vec<u8>> = rows.iter().filter_map(|row| key_row_of(row)).collect();
                let wanted: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
                let there = self.store.side_get_many(SideTable::Provides, &wanted)?;
                let left = rows.iter().zip(there).filter(|(_, there)| there.is_none());
                let left: Vec<SideChange> = left.map(|(row, _)| removal(row.to_vec())).collect();
                *counts.waiting_mut(scope) += (rows.len() - left.len()) as u64;
                Ok(self.store.side_write(SideTable::Provides, &left)?)
            })?;
        }
        Ok(counts)
    }

    /// The keys of all rows that begin with `prefix`, a page at a time.
    fn pages(
        &self,
        prefix: &[u8],
        mut each: impl FnMut(&[Box<[u8]>]) -> Result<(), TableError>,
    ) -> Result<(), TableError> {
        let mut behind: Option<Box<[u8]>> = None;
        loop {
            let rows = self.store.side_page(SideTable::Provides, prefix, behind.as_deref(), PAGE_ROWS)?;
            let keys: Vec<Box<[u8]>> = rows.into_iter().map(|(key, _)| key).collect();
            each(&keys)?;
            if keys.len() < PAGE_ROWS {
                return Ok(());
            }
            behind = keys.into_iter().next_back();
        }
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
        let places: Vec<Option<KadId>> = keys.iter().map(|key| key.as_ref().map(Key::id)).collect();
        let row_keys: Vec<Vec<u8>> = places.iter().flatten().map(key_row).collect();
        let _one_at_a_time = self.one_at_a_time();
        let generation = self.generation.load(Ordering::Relaxed);
        let wanted: Vec<&[u8]> = row_keys.iter().map(Vec::as_slice).collect();
        let mut rows = self.store.side_get_many(SideTable::Provides, &wanted)?.into_iter();
        let (mut changes, mut counts) = (Vec::new(), self.counts());
        let (mut walked, mut noted) = (Vec::with_capacity(hashes.len()), HashSet::new());
        for (key, place) in keys.into_iter().zip(places) {
            let (Some(key), Some(place)) = (key, place) else {
                walked.push(false);
                continue;
            };
            let row = rows.next().flatten();
            let known = row.as_deref().and_then(split_key);
            let was_whole =
                known.as_ref().is_some_and(|known| known.is_whole && known.generation == generation);
            walked.push(was_whole);
            // A hash may come twice at a time.
            if !noted.insert(place) {
                continue;
            }
            let new = encode_key(key.as_bytes(), generation, is_whole || was_whole);
            if row.as_deref() != Some(&new) {
                changes.push(SideChange { key: key_row(&place), value: Some(new) });
            }
            counts.keys += u64::from(row.is_none());
            if known.is_none() && announce {
                for scope in &self.queues {
                    let key_of_row = queue_row(*scope, &place);
                    // Where the row of the key was damaged, it may wait already.
                    let waits =
                        row.is_some() && self.store.side_get(SideTable::Provides, &key_of_row)?.is_some();
                    *counts.waiting_mut(*scope) += u64::from(!waits);
                    let value = Some([&[VERSION], key.as_bytes()].concat());
                    changes.push(SideChange { key: key_of_row, value });
                }
            }
        }
        self.write(changes, counts)?;
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
                    None => gone.push(row_key.to_vec()),
                }
            }
            self.forget(std::mem::take(&mut gone))?;
        }
        self.forget(gone)?;
        Ok(found)
    }

    /// Removes rows whose blocks are gone, or that do not decode. A block may have come back since it was looked for, and
    /// another sweep may have removed its row.
    fn forget(&self, gone: Vec<Vec<u8>>) -> Result<(), TableError> {
        if gone.is_empty() {
            return Ok(());
        }
        let _one_at_a_time = self.one_at_a_time();
        let wanted: Vec<&[u8]> = gone.iter().map(Vec::as_slice).collect();
        let rows = self.store.side_get_many(SideTable::Provides, &wanted)?;
        let there = gone.into_iter().zip(rows).filter_map(|(key, row)| Some((key, block_of(&row?))));
        let there: Vec<(Vec<u8>, Option<Cid>)> = there.collect();
        let cids: Vec<Cid> = there.iter().filter_map(|(_, cid)| *cid).collect();
        let mut sizes = self.store.sizes(&cids)?.into_iter();
        let still = there.into_iter().filter(|(_, cid)| cid.is_none() || sizes.next().flatten().is_none());
        self.remove(still.map(|(key, _)| key).collect())
    }

    /// Removes rows of keys, which are there, and with each what waits of it. The caller holds `writing`.
    fn remove(&self, rows: Vec<Vec<u8>>) -> Result<(), TableError> {
        let (mut counts, mut changes) = (self.counts(), Vec::new());
        counts.keys = counts.keys.saturating_sub(rows.len() as u64);
        for scope in SCOPES {
            if counts.waiting(scope) == 0 {
                continue;
            }
            let queued = rows.iter().filter_map(|row| queue_row_of(scope, row)).collect();
            changes.extend(self.removals(scope, queued, &mut counts)?);
        }
        changes.extend(rows.into_iter().map(removal));
        self.write(changes, counts)
    }

    /// The removal of those of some rows of new keys that are there.
    fn removals(
        &self,
        scope: Scope,
        rows: BTreeSet<Vec<u8>>,
        counts: &mut Counts,
    ) -> Result<Vec<SideChange>, TableError> {
        let wanted: Vec<&[u8]> = rows.iter().map(Vec::as_slice).collect();
        let found = self.store.side_get_many(SideTable::Provides, &wanted)?;
        let there = rows.into_iter().zip(found).filter(|(_, found)| found.is_some());
        let changes: Vec<SideChange> = there.map(|(key, _)| removal(key)).collect();
        let waiting = counts.waiting_mut(scope);
        *waiting = waiting.saturating_sub(changes.len() as u64);
        Ok(changes)
    }

    /// Removes the keys of other generations than that of the sync that began last; `go_on` is asked between pages. How many
    /// keys there are then.
    pub(super) fn purge(&self, go_on: &dyn Fn() -> bool) -> Result<u64, TableError> {
        let mut behind: Option<Box<[u8]>> = None;
        while go_on() {
            let _one_at_a_time = self.one_at_a_time();
            let generation = self.generation.load(Ordering::Relaxed);
            let rows =
                self.store.side_page(SideTable::Provides, &[kind::KEY], behind.as_deref(), PAGE_ROWS)?;
            let is_old = |row: &[u8]| split_key(row).is_none_or(|found| found.generation != generation);
            let old = rows.iter().filter(|(_, row)| is_old(row)).map(|(key, _)| key.to_vec());
            self.remove(old.collect())?;
            if rows.len() < PAGE_ROWS {
                break;
            }
            behind = rows.into_iter().next_back().map(|(key, _)| key);
        }
        Ok(self.len())
    }

    /// New keys that wait, from behind a place on, at most `max`. Rows that do not decode are removed.
    pub(super) fn waiting(
        &self,
        scope: Scope,
        behind: Option<&KadId>,
        max: usize,
    ) -> Result<Vec<Key>, TableError> {
        let mut behind = behind.map(|place| queue_row(scope, place));
        let prefix = [kind::NEW, scope_byte(scope)];
        let key = |row_key: &[u8], row: &[u8]| {
            let key = Key::new(row.strip_prefix(&[VERSION])?).ok()?;
            (queue_row(scope, &key.id()) == row_key).then_some(key)
        };
        loop {
            let rows = self.store.side_page(SideTable::Provides, &prefix, behind.as_deref(), max)?;
            let is_last = rows.len() < max;
            behind = rows.last().map(|(row_key, _)| row_key.to_vec());
            let (mut found, mut damaged) = (Vec::new(), BTreeSet::new());
            for (row_key, row) in rows {
                match key(&row_key, &row) {
                    Some(key) => found.push(key),
                    None => drop(damaged.insert(row_key.into_vec())),
                }
            }
            self.unqueue(scope, damaged)?;
            if is_last || !found.is_empty() {
                return Ok(found);
            }
        }
    }

    /// New keys have been announced, or are not to be. Those that were announced past the queue have no row.
    pub(super) fn settle(&self, scope: Scope, keys: &[Key]) -> Result<(), TableError> {
        self.unqueue(scope, keys.iter().map(|key| queue_row(scope, &key.id())).collect())
    }

    fn unqueue(&self, scope: Scope, rows: BTreeSet<Vec<u8>>) -> Result<(), TableError> {
        if rows.is_empty() {
            return Ok(());
        }
        let _one_at_a_time = self.one_at_a_time();
        let mut counts = self.counts();
        let changes = self.removals(scope, rows, &mut counts)?;
        self.write(changes, counts)
    }

    /// Forgets the new keys that wait, for all DHTs. How many different ones there were.
    pub(super) fn clear_waiting(&self) -> Result<usize, TableError> {
        let mut most = 0;
        for scope in SCOPES {
            let mut cleared = 0;
            self.pages(&[kind::NEW, scope_byte(scope)], |rows| {
                cleared += rows.len();
                self.unqueue(scope, rows.iter().map(|row| row.to_vec()).collect())
            })?;
            most = most.max(cleared);
        }
        Ok(most)
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

/// The row in which what waits of a key is.
fn queue_row_of(scope: Scope, key_row: &[u8]) -> Option<Vec<u8>> {
    Some([&[kind::NEW, scope_byte(scope)], key_row.strip_prefix(&[kind::KEY])?].concat())
}

/// The row of the key that waits in another.
fn key_row_of(queue_row: &[u8]) -> Option<Vec<u8>> {
    Some([&[kind::KEY], queue_row.strip_prefix(&[kind::NEW])?.get(1..)?].concat())
}

fn removal(key: Vec<u8>) -> SideChange {
    SideChange { key, value: None }
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
mod tests;
