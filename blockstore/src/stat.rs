//! Counting and listing what is stored.

use std::collections::HashSet;
use std::sync::Arc;

use holdfast_dag::cid::Multihash;

use crate::error::{IndexError, ReadError};
use crate::pages::Pages;
use crate::rows::{MetaRow, decode_meta_key, family};
use crate::segments::dir_disk_bytes;
use crate::store::Store;
use crate::sync::read;

/// Rows read at a time.
const PAGE: usize = 4096;

/// How much is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreStat {
    /// Number of blocks.
    pub blocks: u64,
    /// Bytes of their values.
    pub value_bytes: u64,
    /// Bytes that index and segments take on disk.
    pub disk_bytes: u64,
    /// Blocks whose stored copy is known to be damaged. They count among `blocks`.
    pub damaged_blocks: u64,
    /// Segment files.
    pub segments: u64,
    /// How often a write failed since the store was opened.
    pub generation: u64,
}

impl Store {
    /// How much is stored, from counters: the time does not grow with the number of blocks.
    pub fn stat(&self) -> Result<StoreStat, ReadError> {
        let inner = self.inner();
        let count = read(&inner.pending).total();
        let (blocks, value_bytes) = (count.blocks.unsigned_abs(), count.value_bytes.unsigned_abs());
        let closed = |error: std::io::Error| ReadError::Index(IndexError::Closed(error.to_string()));
        let on_disk =
            inner.segments.disk_bytes().and_then(|bytes| Ok(bytes + dir_disk_bytes(inner.index.path())?));
        let segments = inner.segments.list().map_err(closed)?.len() as u64;
        let damaged_blocks = read(&inner.damaged).len() as u64;
        let disk_bytes = on_disk.map_err(closed)?;
        Ok(StoreStat {
            blocks,
            value_bytes,
            disk_bytes,
            damaged_blocks,
            segments,
            generation: inner.generation(),
        })
    }

    /// All blocks and their sizes: first those that are not in the index yet, then the others in the order of their
    /// multihashes. It reads as it goes; blocks that come or go meanwhile may or may not be seen.
    pub fn blocks(&self) -> Blocks {
        let fresh = read(&self.inner().pending).new_blocks();
        let seen = fresh.iter().map(|(key, _)| Arc::clone(key)).collect();
        let indexed = Pages::new(self, family::META, Vec::new(), PAGE);
        Blocks { fresh: fresh.into_iter(), seen, indexed }
    }
}

/// Blocks one after the other.
pub struct Blocks {
    fresh: std::vec::IntoIter<(Arc<[u8]>, u32)>,
    seen: HashSet<Arc<[u8]>>,
    indexed: Pages,
}

impl Iterator for Blocks {
    type Item = Result<(Multihash, u64), ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some((key, size)) = self.fresh.next() {
            return Some(decode_meta_key(&key).map(|hash| (hash, u64::from(size))).map_err(ReadError::from));
        }
        let seen = &self.seen;
        let is_new =
            |row: &Result<(Box<[u8]>, _), _>| row.as_ref().map_or(true, |(key, _)| !seen.contains(&**key));
        let row = self.indexed.by_ref().find(is_new)?;
        let decode = |(key, value): (Box<[u8]>, Box<[u8]>)| {
            Ok((decode_meta_key(&key)?, u64::from(MetaRow::decode(&value)?.place.size)))
        };
        Some(row.and_then(decode).map_err(ReadError::from))
    }
}
