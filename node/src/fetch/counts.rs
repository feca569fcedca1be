//! How many blocks were asked for.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use holdfast_blockstore::ReadError;

/// Blocks that were asked for since the node opened. Those that need no storage do not count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FetchCounts {
    /// Were in the store.
    pub found: u64,
    /// Were not.
    pub missing: u64,
    /// Bytes of those that were.
    pub bytes: u64,
    /// Came from other nodes.
    pub fetched: u64,
    /// Bytes of those that did.
    pub fetched_bytes: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    found: AtomicU64,
    missing: AtomicU64,
    bytes: AtomicU64,
    fetched: AtomicU64,
    fetched_bytes: AtomicU64,
}

impl Counters {
    /// Counts what the store found.
    pub(super) fn note(&self, found: &Result<Option<Bytes>, ReadError>) {
        match found {
            Ok(Some(block)) => {
                self.found.fetch_add(1, Ordering::Relaxed);
                self.bytes.fetch_add(block.len() as u64, Ordering::Relaxed);
            }
            Ok(None) => {
                self.missing.fetch_add(1, Ordering::Relaxed);
            }
            Err(_) => {}
        }
    }

    /// Counts a block that came from another node.
    pub(super) fn note_fetched(&self, bytes: u64) {
        self.fetched.fetch_add(1, Ordering::Relaxed);
        self.fetched_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> FetchCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        FetchCounts {
            found: read(&self.found),
            missing: read(&self.missing),
            bytes: read(&self.bytes),
            fetched: read(&self.fetched),
            fetched_bytes: read(&self.fetched_bytes),
        }
    }
}
