//! What Bitswap counts, under Kubo's names. Those that begin with `ipfs_` are gauges, also where their names end like counters'.

use holdfast_bitswap::{Counter, Counters, Histogram, Times};

use super::snapshot::{Sheet, Written};

/// Names, what they mean, and values.
type Rows<T> = Vec<(&'static str, &'static str, T)>;

/// What Bitswap has counted.
#[derive(Debug, Clone, PartialEq)]
pub struct BitswapFigures {
    /// Numbers that go up and down or up only.
    gauges: Rows<u64>,
    /// Numbers that go up only.
    counters: Rows<u64>,
    histograms: Rows<Counted>,
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
        let traffic = &counters.traffic;
        let gauges = [
            ("ipfs_bitswap_blocks_received", "Wanted blocks that arrived", &counters.blocks_received),
            ("ipfs_bitswap_haves_received", "HAVE answers that arrived", &counters.haves_received),
            ("ipfs_bitswap_wantlist_total", "Blocks that are waited for", &counters.wantlist_total),
            (
                "ipfs_bitswap_want_blocks_total",
                "Blocks that are waited for and were asked of a peer",
                &counters.want_blocks_total,
            ),
            (
                "ipfs_bitswap_wanthaves_broadcast",
                "Questions for blocks that went to many peers",
                &counters.wanthaves_broadcast,
            ),
            (
                "ipfs_bitswap_bcast_skips_total",
                "Peers that a broadcast left out",
                &counters.bcast_skips_total,
            ),
            (
                "ipfs_bitswap_pending_tasks",
                "Wants of peers that wait for being served",
                &counters.pending_tasks,
            ),
            ("ipfs_bitswap_active_tasks", "Batches that are being read for peers", &counters.active_tasks),
            (
                "ipfs_bitswap_pending_block_tasks",
                "Blocks that wait for being served",
                &counters.pending_block_tasks,
            ),
            (
                "ipfs_bitswap_active_block_tasks",
                "Blocks that are being read for peers",
                &counters.active_block_tasks,
            ),
            (
                "exchange_bitswap_requests_in_flight",
                "Streams that peers have open, and messages that are being written",
                &traffic.requests_in_flight,
            ),
        ];
        // Without `_total`.
        let counted = [
            (
                "exchange_bitswap_wantlists",
                "Messages with our wants handed to connections",
                &traffic.wantlists_total,
            ),
            (
                "exchange_bitswap_wantlists_items",
                "Wants and cancels handed to connections",
                &traffic.wantlists_items_total,
            ),
            (
                "holdfast_bitswap_messages_received",
                "Messages of peers that arrived",
                &counters.messages_received,
            ),
            (
                "holdfast_bitswap_bad_messages",
                "Messages of peers that were refused, each with its stream",
                &counters.bad_messages,
            ),
            (
                "holdfast_bitswap_unwanted_blocks",
                "Blocks that peers sent and nobody had asked for; they were dropped",
                &counters.unwanted_blocks,
            ),
            (
                "holdfast_bitswap_dont_haves_received",
                "DONT_HAVE answers that arrived",
                &counters.dont_haves_received,
            ),
        ];
        let histograms = vec![
            (
                "ipfs_bitswap_recv_all_blocks_bytes",
                "Sizes of blocks that arrived, wanted or not",
                Counted::bytes(&counters.recv_all_blocks_bytes),
            ),
            (
                "ipfs_bitswap_recv_dup_blocks_bytes",
                "Sizes of blocks that arrived again",
                Counted::bytes(&counters.recv_dup_blocks_bytes),
            ),
            (
                "ipfs_bitswap_sent_all_blocks_bytes",
                "Sizes of blocks that were sent",
                Counted::bytes(&counters.sent_all_blocks_bytes),
            ),
            (
                "ipfs_bitswap_send_times",
                "Seconds from handing a message with answers to a connection until all of it was sent",
                Counted::seconds(&counters.send_times),
            ),
            (
                "exchange_bitswap_response_bytes",
                "Sizes of messages that arrived",
                Counted::bytes(&traffic.response_bytes),
            ),
            (
                "exchange_bitswap_wantlists_seconds",
                "Seconds from handing a message with our wants to a connection until all of it was sent",
                Counted::seconds(&traffic.wantlists_seconds),
            ),
        ];
        Self { gauges: read(gauges), counters: read(counted), histograms }
    }

    pub(super) fn write(&self, sheet: &mut Sheet<'_>) -> Written {
        for (name, help, value) in &self.gauges {
            sheet.gauge(name, help, *value)?;
        }
        for (name, help, value) in &self.counters {
            sheet.counter(name, help, *value)?;
        }
        for (name, help, counted) in &self.histograms {
            sheet.histogram(name, help, counted.sum, counted.count, &counted.buckets)?;
        }
        Ok(())
    }
}

fn read<const COUNT: usize>(rows: [(&'static str, &'static str, &Counter); COUNT]) -> Rows<u64> {
    rows.into_iter().map(|(name, help, counter)| (name, help, counter.get())).collect()
}
