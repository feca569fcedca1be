//! Rows of blocks that are appended but not in RocksDB yet. They count at once: for `has`, `get` and dedup.

use std::collections::HashMap;
use std::sync::Arc;

use crate::segment::Place;

/// The value part of a row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewValue {
    pub(crate) place: Place,
    pub(crate) epoch: u64,
    /// The damaged copy that this one replaces.
    pub(crate) replaces: Option<Place>,
}

/// What one appended block adds to the index.
#[derive(Debug)]
pub(crate) struct Row {
    /// Binary multihash.
    pub(crate) key: Arc<[u8]>,
    /// Where the value went; `None` if only links under another codec are added to a block that is there.
    pub(crate) value: Option<NewValue>,
    /// Codec and `links` row.
    pub(crate) links: Option<(u64, Vec<u8>)>,
}

impl Row {
    /// Memory that the row takes until it is in RocksDB, as a batch included.
    pub(crate) fn memory_bytes(&self) -> usize {
        // The links row is held once here and turned into rlinks rows of about twice the size.
        256 + 2 * self.key.len() + self.links.as_ref().map_or(0, |(_, row)| 4 * row.len())
    }
}

/// The rows, by multihash.
#[derive(Default)]
pub(crate) struct Pending {
    rows: HashMap<Arc<[u8]>, Vec<Arc<Row>>>,
    blocks: u64,
    value_bytes: u64,
}

impl Pending {
    /// Where a block lies, if it is pending.
    pub(crate) fn value(&self, key: &[u8]) -> Option<NewValue> {
        // The last one counts: it may replace a copy that turned out damaged while it was pending itself.
        self.rows.get(key)?.iter().rev().find_map(|row| row.value)
    }

    /// Whether anything about a block is pending.
    pub(crate) fn contains(&self, key: &[u8]) -> bool {
        self.rows.contains_key(key)
    }

    /// The `links` row of a block under a codec, if pending.
    pub(crate) fn links(&self, key: &[u8], codec: u64) -> Option<Vec<u8>> {
        let links = self.rows.get(key)?.iter().filter_map(|row| row.links.as_ref());
        links.filter(|(of, _)| *of == codec).map(|(_, row)| row.clone()).next()
    }

    pub(crate) fn insert(&mut self, row: Arc<Row>) {
        if let Some(value) = row.value.filter(|value| value.replaces.is_none()) {
            self.blocks += 1;
            self.value_bytes += u64::from(value.place.size);
        }
        self.rows.entry(Arc::clone(&row.key)).or_default().push(row);
    }

    /// Takes rows out that RocksDB has now.
    pub(crate) fn remove(&mut self, done: &[Arc<Row>]) {
        for row in done {
            if let Some(value) = row.value.filter(|value| value.replaces.is_none()) {
                self.blocks -= 1;
                self.value_bytes -= u64::from(value.place.size);
            }
            if let Some(rows) = self.rows.get_mut(&row.key) {
                rows.retain(|other| !Arc::ptr_eq(other, row));
                if rows.is_empty() {
                    self.rows.remove(&row.key);
                }
            }
        }
    }

    /// Drops everything: what a failed write leaves behind.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Blocks and bytes that RocksDB's counters do not have yet.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.blocks, self.value_bytes)
    }

    /// Multihashes and sizes of new blocks.
    pub(crate) fn new_blocks(&self) -> Vec<(Arc<[u8]>, u32)> {
        let rows = self.rows.values().flatten();
        rows.filter_map(|row| row.value.map(|value| (Arc::clone(&row.key), value.place.size))).collect()
    }
}
