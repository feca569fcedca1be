//! What is counted, for `bitswap stat` and the metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of buckets of sizes in bytes, as Kubo has them.
pub const BUCKETS_BYTES: [u64; 6] = [1 << 6, 1 << 10, 1 << 14, 1 << 18, (1 << 18) + 15, 1 << 22];

/// Upper bounds of buckets of times in microseconds, as Kubo has them: 1, 10, 30, 60, 90, 120 and 600 seconds.
pub const BUCKETS_MICROS: [u64; 7] =
    [1_000_000, 10_000_000, 30_000_000, 60_000_000, 90_000_000, 120_000_000, 600_000_000];

/// Upper bounds of buckets of sizes of whole messages in bytes, as Kubo has them.
pub const BUCKETS_MESSAGE_BYTES: [u64; 7] =
    [1, 128 << 10, 256 << 10, 512 << 10, 1024 << 10, 2048 << 10, 4092 << 10];

/// Upper bounds of buckets of times in microseconds that sending our wants takes, as Kubo has them: 50 ms to 32 minutes.
pub const BUCKETS_WANTS_MICROS: [u64; 15] = [
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    120_000_000,
    240_000_000,
    480_000_000,
    960_000_000,
    1_920_000_000,
];

/// Sizes of blocks in bytes, or times in microseconds, counted by bucket.
#[derive(Debug)]
pub struct Histogram {
    buckets: Box<[(u64, AtomicU64)]>,
    count: AtomicU64,
    sum: AtomicU64,
}

impl Histogram {
    fn new(bounds: &[u64]) -> Self {
        let buckets = bounds.iter().map(|bound| (*bound, AtomicU64::new(0))).collect();
        Self { buckets, count: AtomicU64::new(0), sum: AtomicU64::new(0) }
    }

    pub(crate) fn observe(&self, value: u64) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
        if let Some((_, bucket)) = self.buckets.iter().find(|(bound, _)| value <= *bound) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many were observed.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// All of them together.
    pub fn sum(&self) -> u64 {
        self.sum.load(Ordering::Relaxed)
    }

    /// Upper bound and count of each bucket, not cumulated.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> {
        self.buckets.iter().map(|(bound, bucket)| (*bound, bucket.load(Ordering::Relaxed)))
    }
}

/// A histogram of sizes.
impl Default for Histogram {
    fn default() -> Self {
        Self::new(&BUCKETS_BYTES)
    }
}

/// A histogram of times.
#[derive(Debug)]
pub struct Times(Histogram);

impl Times {
    pub(crate) fn observe(&self, time: Duration) {
        self.0.observe(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    /// What was observed, in microseconds.
    pub fn micros(&self) -> &Histogram {
        &self.0
    }
}

impl Default for Times {
    fn default() -> Self {
        Self(Histogram::new(&BUCKETS_MICROS))
    }
}

/// A number that is read from any thread.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, by: u64) {
        self.0.fetch_add(by, Ordering::Relaxed);
    }

    fn sub(&self, by: u64) {
        self.0.fetch_sub(by, Ordering::Relaxed);
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
    /// From when a message with answers was handed to a connection until all of it was in the stream.
    pub send_times: Times,
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
    /// What streams carry.
    pub traffic: Traffic,
}

/// What streams carry. The names of fields are those of Kubo's metrics (`exchange_bitswap_<field>`).
#[derive(Debug)]
pub struct Traffic {
    /// Streams that peers have open, and messages that are being written.
    pub requests_in_flight: Counter,
    /// Sizes of messages that arrived.
    pub response_bytes: Histogram,
    /// Messages with our wants handed to connections.
    pub wantlists_total: Counter,
    /// Wants and cancels in them.
    pub wantlists_items_total: Counter,
    /// From when such a message was handed to a connection until all of it was in the stream.
    pub wantlists_seconds: Times,
}

impl Default for Traffic {
    fn default() -> Self {
        Self {
            requests_in_flight: Counter::default(),
            response_bytes: Histogram::new(&BUCKETS_MESSAGE_BYTES),
            wantlists_total: Counter::default(),
            wantlists_items_total: Counter::default(),
            wantlists_seconds: Times(Histogram::new(&BUCKETS_WANTS_MICROS)),
        }
    }
}

/// One of [`Traffic::requests_in_flight`], for as long as it is there.
#[derive(Debug)]
pub(crate) struct InFlight(Arc<Counters>);

impl InFlight {
    pub(crate) fn new(counters: &Arc<Counters>) -> Self {
        counters.traffic.requests_in_flight.add(1);
        Self(counters.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.traffic.requests_in_flight.sub(1);
    }
}
