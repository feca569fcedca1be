//! Rows of blocks that are appended but not in RocksDB yet. They count at once: for `has`, `get` and dedup.

use std::collections::HashMap;
use std::sync::Arc;

use crate::links::children_of_row;
use crate::rows::links_key;
use crate::segment::Place;

/// Parents of blocks, by the blocks' multihashes.
pub(crate) type Parents = HashMap<Vec<u8>, Vec<Vec<u8>>>;

/// The value part of a row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewValue {
    pub(crate) place: Place,
    pub(crate) epoch: u64,
    /// The damaged copy that this one replaces. Segment 0, which there never is: nobody knows where it lies.
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

/// A number of blocks and the bytes of their values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) blocks: i64,
    pub(crate) value_bytes: i64,
}

impl Count {
    fn of(row: &Row) -> Self {
        let new = row.value.filter(|value| value.replaces.is_none());
        new.map_or_else(Self::default, |value| Self { blocks: 1, value_bytes: i64::from(value.place.size) })
    }

    fn add(&mut self, other: Self) {
        self.blocks += other.blocks;
        self.value_bytes += other.value_bytes;
    }

    fn subtract(&mut self, other: Self) {
        self.blocks -= other.blocks;
        self.value_bytes -= other.value_bytes;
    }
}

/// The rows, by multihash.
#[derive(Default)]
pub(crate) struct Pending {
    rows: HashMap<Arc<[u8]>, Vec<Arc<Row>>>,
    /// What the rows add.
    fresh: Count,
    /// What is stored, these rows included. Kept here, because the index's counters and the rows change hands in two
    /// steps, and a count taken between them would be wrong.
    total: Count,
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

    /// Codecs under which links of a block are pending.
    pub(crate) fn codecs(&self, key: &[u8]) -> impl Iterator<Item = u64> {
        self.rows.get(key).into_iter().flatten().filter_map(|row| row.links.as_ref().map(|(codec, _)| *codec))
    }

    pub(crate) fn insert(&mut self, row: Arc<Row>) {
        self.fresh.add(Count::of(&row));
        self.total.add(Count::of(&row));
        self.rows.entry(Arc::clone(&row.key)).or_default().push(row);
    }

    /// Takes rows out that RocksDB has now.
    pub(crate) fn remove(&mut self, done: &[Arc<Row>]) {
        for row in done {
            self.fresh.subtract(Count::of(row));
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
        self.rows.clear();
        self.total.subtract(self.fresh);
        self.fresh = Count::default();
    }

    /// Takes note of what the index counts while none of the rows is in it: after it was opened.
    pub(crate) fn set_indexed(&mut self, indexed: Count) {
        self.total = indexed;
        self.total.add(self.fresh);
    }

    /// Takes note of a deletion.
    pub(crate) fn deleted(&mut self, count: Count) {
        self.total.subtract(count);
    }

    /// What is stored.
    pub(crate) fn total(&self) -> Count {
        self.total
    }

    /// The `rlinks` rows that are on their way: child to parents, each a multihash and a codec as in a `links` key.
    pub(crate) fn parents(&self) -> Parents {
        let mut parents = Parents::new();
        for row in self.rows.values().flatten() {
            if let Some((codec, links)) = &row.links {
                for child in children_of_row(links) {
                    parents.entry(child).or_default().push(links_key(&row.key, *codec));
                }
            }
        }
        parents
    }

    /// Multihashes and sizes of new blocks.
    pub(crate) fn new_blocks(&self) -> Vec<(Arc<[u8]>, u32)> {
        let rows = self.rows.values().flatten();
        rows.filter_map(|row| row.value.map(|value| (Arc::clone(&row.key), value.place.size))).collect()
    }
}
