//! What is counted, for `bitswap stat` and the metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// Upper bounds of the buckets of [`Histogram`] in bytes, as Kubo has them.
pub const BUCKETS_BYTES: [u64; 6] = [1 << 6, 1 << 10, 1 << 14, 1 << 18, (1 << 18) + 15, 1 << 22];

/// Sizes of blocks, counted by bucket.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS_BYTES.len()],
    count: AtomicU64,
    sum: AtomicU64,
}

impl Histogram {
    pub(crate) fn observe(&self, bytes: u64) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(bytes, Ordering::Relaxed);
        let bucket = BUCKETS_BYTES.iter().zip(&self.buckets).find(|(bound, _)| bytes <= **bound);
        if let Some((_, bucket)) = bucket {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many were observed.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Their bytes.
    pub fn sum(&self) -> u64 {
        self.sum.load(Ordering::Relaxed)
    }

    /// Upper bound in bytes and count of each bucket, not cumulated.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> {
        BUCKETS_BYTES
            .iter()
            .zip(&self.buckets)
            .map(|(bound, bucket)| (*bound, bucket.load(Ordering::Relaxed)))
    }
}

/// A number that is read from any thread.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, by: u64) {
        self.0.fetch_add(by, Ordering::Relaxed);
    }

    pub(crate) fn set(&self, to: u64) {
        self.0.store(to, Ordering::Relaxed);
    }

    /// The value now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Everything that is counted. The names of fields are those of Kubo's metrics where it has them (`ipfs_bitswap_<field>`).
#[derive(Debug, Default)]
pub struct Counters {
    /// Sizes of all blocks that arrived, wanted or not.
    pub recv_all_blocks_bytes: Histogram,
    /// Sizes of blocks that arrived again.
    pub recv_dup_blocks_bytes: Histogram,
    /// Sizes of blocks handed to connections.
    pub sent_all_blocks_bytes: Histogram,
    /// Wanted blocks that arrived.
    pub blocks_received: Counter,
    /// Their bytes.
    pub data_received: Counter,
    /// HAVE answers that arrived.
    pub haves_received: Counter,
    /// DONT_HAVE answers that arrived.
    pub dont_haves_received: Counter,
    /// Messages that arrived.
    pub messages_received: Counter,
    /// CIDs that are waited for now.
    pub wantlist_total: Counter,
    /// Of those: asked of a peer as blocks.
    pub want_blocks_total: Counter,
    /// Want-haves said to peers by broadcast.
    pub wanthaves_broadcast: Counter,
    /// Connected peers that a broadcast left out.
    pub bcast_skips_total: Counter,
    /// Wants of peers that wait for being served.
    pub pending_tasks: Counter,
    /// Batches that are being read for peers.
    pub active_tasks: Counter,
    /// Blocks that wait for being served.
    pub pending_block_tasks: Counter,
    /// Blocks that are being read.
    pub active_block_tasks: Counter,
    /// Blocks that nobody here waited for and that had not arrived before; dropped, before or after hashing.
    pub unwanted_blocks: Counter,
    /// Messages that were refused, each with its stream.
    pub bad_messages: Counter,
}
