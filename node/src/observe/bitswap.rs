//! What Bitswap counts, under Kubo's names. All of Kubo's are gauges, also those whose names end like counters'.

use holdfast_bitswap::{Counters, Histogram, Times};

use super::snapshot::{Sheet, Written};

/// What Bitswap has counted.
#[derive(Debug, Clone, PartialEq)]
pub struct BitswapFigures {
    /// Names behind `ipfs_bitswap_`, what they mean, and values: numbers that go up and down or up only.
    gauges: Vec<(&'static str, &'static str, u64)>,
    /// Ours: names, what they mean, and values that go up only.
    counters: Vec<(&'static str, &'static str, u64)>,
    histograms: Vec<(&'static str, &'static str, Counted)>,
}

/// Sizes of blocks in bytes, or times in seconds, by bucket.
#[derive(Debug, Clone, PartialEq)]
struct Counted {
    /// Upper bound and count of each bucket, not cumulated.
    buckets: Vec<(f64, u64)>,
    count: u64,
    sum: f64,
}

impl Counted {
    fn bytes(histogram: &Histogram) -> Self {
        Self::of(histogram, 1.0)
    }

    fn seconds(times: &Times) -> Self {
        Self::of(times.micros(), 1e6)
    }

    /// `unit` is how much of what was counted makes one of what is told.
    fn of(histogram: &Histogram, unit: f64) -> Self {
        let mut buckets: Vec<(f64, u64)> =
            histogram.buckets().map(|(bound, count)| (bound as f64 / unit, count)).collect();
        let (count, sum) = (histogram.count(), histogram.sum() as f64 / unit);
        // Read one after the other: a block may have come between.
        let counted: u64 = buckets.iter().map(|(_, count)| count).sum();
        buckets.push((f64::INFINITY, count.saturating_sub(counted)));
        Self { buckets, count: count.max(counted), sum }
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
            histograms: vec![
                (
                    "recv_all_blocks_bytes",
                    "Sizes of blocks that arrived, wanted or not",
                    Counted::bytes(&counters.recv_all_blocks_bytes),
                ),
                (
                    "recv_dup_blocks_bytes",
                    "Sizes of blocks that arrived again",
                    Counted::bytes(&counters.recv_dup_blocks_bytes),
                ),
                (
                    "sent_all_blocks_bytes",
                    "Sizes of blocks that were sent",
                    Counted::bytes(&counters.sent_all_blocks_bytes),
                ),
                (
                    "send_times",
                    "Seconds from handing a message with answers to a connection until all of it was sent",
                    Counted::seconds(&counters.send_times),
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
        for (name, help, counted) in &self.histograms {
            let name = format!("ipfs_bitswap_{name}");
            sheet.histogram(&name, help, counted.sum, counted.count, &counted.buckets)?;
        }
        Ok(())
    }
}
