//! What Bitswap counts, under Kubo's names. All of Kubo's are gauges, also those whose names end like counters'.

use holdfast_bitswap::{Counters, Histogram};

use super::snapshot::{Sheet, Written};

/// What Bitswap has counted.
#[derive(Debug, Clone, PartialEq)]
pub struct BitswapFigures {
    /// Names behind `ipfs_bitswap_`, what they mean, and values: numbers that go up and down or up only.
    gauges: Vec<(&'static str, &'static str, u64)>,
    /// Ours: names, what they mean, and values that go up only.
    counters: Vec<(&'static str, &'static str, u64)>,
    sizes: Vec<(&'static str, &'static str, Sizes)>,
}

/// Sizes of blocks by bucket.
#[derive(Debug, Clone, PartialEq)]
struct Sizes {
    /// Upper bound in bytes and count of each bucket, not cumulated.
    buckets: Vec<(f64, u64)>,
    count: u64,
    bytes: u64,
}

impl Sizes {
    fn of(histogram: &Histogram) -> Self {
        let mut buckets: Vec<(f64, u64)> =
            histogram.buckets().map(|(bound, count)| (bound as f64, count)).collect();
        let (count, bytes) = (histogram.count(), histogram.sum());
        // Read one after the other: a block may have come between.
        let counted: u64 = buckets.iter().map(|(_, count)| count).sum();
        buckets.push((f64::INFINITY, count.saturating_sub(counted)));
        Self { buckets, count: count.max(counted), bytes }
    }
}

impl BitswapFigures {
    pub(super) fn of(counters: &Counters) -> Self {
        Self {
            gauges: vec![
                ("blocks_received", "Wanted blocks that arrived", counters.blocks_received.get()),
                ("haves_received", "HAVE answers that arrived", counters.haves_received.get()),
                ("wantlist_total", "Blocks that are waited for", counters.wantlist_total.get()),
                (
                    "want_blocks_total",
                    "Blocks that are waited for and were asked of a peer",
                    counters.want_blocks_total.get(),
                ),
                (
                    "wanthaves_broadcast",
                    "Questions for blocks that went to many peers",
                    counters.wanthaves_broadcast.get(),
                ),
                ("bcast_skips_total", "Peers that a broadcast left out", counters.bcast_skips_total.get()),
                ("pending_tasks", "Wants of peers that wait for being served", counters.pending_tasks.get()),
                ("active_tasks", "Batches that are being read for peers", counters.active_tasks.get()),
                (
                    "pending_block_tasks",
                    "Blocks that wait for being served",
                    counters.pending_block_tasks.get(),
                ),
                (
                    "active_block_tasks",
                    "Blocks that are being read for peers",
                    counters.active_block_tasks.get(),
                ),
            ],
            counters: vec![
                (
                    "holdfast_bitswap_messages_received",
                    "Messages of peers that arrived",
                    counters.messages_received.get(),
                ),
                (
                    "holdfast_bitswap_bad_messages",
                    "Messages of peers that were refused, each with its stream",
                    counters.bad_messages.get(),
                ),
                (
                    "holdfast_bitswap_unwanted_blocks",
                    "Blocks that peers sent and nobody had asked for; they were dropped",
                    counters.unwanted_blocks.get(),
                ),
                (
                    "holdfast_bitswap_dont_haves_received",
                    "DONT_HAVE answers that arrived",
                    counters.dont_haves_received.get(),
                ),
            ],
            sizes: vec![
                (
                    "recv_all_blocks_bytes",
                    "Sizes of blocks that arrived, wanted or not",
                    Sizes::of(&counters.recv_all_blocks_bytes),
                ),
                (
                    "recv_dup_blocks_bytes",
                    "Sizes of blocks that arrived again",
                    Sizes::of(&counters.recv_dup_blocks_bytes),
                ),
                (
                    "sent_all_blocks_bytes",
                    "Sizes of blocks that were sent",
                    Sizes::of(&counters.sent_all_blocks_bytes),
                ),
            ],
        }
    }

    pub(super) fn write(&self, sheet: &mut Sheet<'_>) -> Written {
        for (name, help, value) in &self.gauges {
            sheet.gauge(&format!("ipfs_bitswap_{name}"), help, *value)?;
        }
        for (name, help, value) in &self.counters {
            sheet.counter(name, help, *value)?;
        }
        for (name, help, sizes) in &self.sizes {
            let name = format!("ipfs_bitswap_{name}");
            sheet.histogram(&name, help, sizes.bytes as f64, sizes.count, &sizes.buckets)?;
        }
        Ok(())
    }
}
