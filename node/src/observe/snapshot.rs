//! What is read for a scrape: figures of the store and the process, which count all along by themselves.

use std::sync::{Arc, Mutex, PoisonError};

use holdfast_blockstore::{StoreStat, StoreTally};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;

use super::finding::DhtFigures;
use super::{AllocatorFigures, BitswapFigures, Logs, ProcessFigures};
use crate::commands::{Context, KUBO_VERSION};
use crate::fetch::FetchCounts;
use crate::swarm::Usage;
use crate::swarm::meter::Traffic;

/// What a node counts.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeFigures {
    /// Its peer ID; empty where the config has none.
    pub peer_id: String,
    /// Whether it is well: [`super::health`] says what that means.
    pub healthy: bool,
    /// The store; `None` if it could not be asked.
    pub store: Option<StoreStat>,
    /// `Datastore.StorageMax` in bytes, if there is a limit.
    pub storage_bytes_max: Option<u64>,
    /// Blocks that were asked for.
    pub fetch: FetchCounts,
    /// What the store has done since it was opened.
    pub tally: StoreTally,
    /// Its swarm; `None` if it is not online.
    pub swarm: Option<SwarmFigures>,
    /// Its Bitswap; `None` if it has none.
    pub bitswap: Option<BitswapFigures>,
    /// Its DHTs; none if it takes part in none.
    pub dhts: Vec<DhtFigures>,
}

/// What a swarm counts.
#[derive(Debug, Clone, PartialEq)]
pub struct SwarmFigures {
    /// Connections that are open, by the protocols of their addresses: a small set, as addresses are ours or were dialled.
    pub by_transport: Vec<(String, usize)>,
    /// Connections and streams.
    pub usage: Usage,
    /// Bytes by protocol, which are ours.
    pub traffic: Vec<(String, Traffic)>,
}

/// Reads everything and writes it out: the answer to a scrape. `None` where no metrics are kept, at a plain terminal.
pub async fn scrape(context: &Context) -> Option<String> {
    let runtime = context.runtime()?;
    let figures = super::health::figures(context).await;
    let process = tokio::task::spawn_blocking(ProcessFigures::read).await.ok().flatten();
    Some(runtime.metrics().text(figures, process))
}

/// What the last scrape read, where the registry finds it.
#[derive(Debug, Clone)]
pub(super) struct Snapshot {
    logs: Logs,
    read: Arc<Mutex<Read>>,
}

#[derive(Debug, Default)]
struct Read {
    node: Option<NodeFigures>,
    process: Option<ProcessFigures>,
}

impl Snapshot {
    pub(super) fn new(logs: Logs) -> Self {
        Self { logs, read: Arc::default() }
    }

    pub(super) fn set(&self, node: Option<NodeFigures>, process: Option<ProcessFigures>) {
        *self.read.lock().unwrap_or_else(PoisonError::into_inner) = Read { node, process };
    }
}

pub(super) type Written = Result<(), std::fmt::Error>;

impl Collector for Snapshot {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Written {
        let read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sheet = Sheet { encoder };
        let commit = concat!("holdfast-", env!("CARGO_PKG_VERSION"));
        let info = Info::new(vec![("version", KUBO_VERSION), ("commit", commit)]);
        sheet.metric("ipfs", "Kubo's level that this node matches, and what it is", &info)?;
        sheet.counter(
            "holdfast_log_lines_lost",
            "Log lines that no room was left for",
            self.logs.lines_lost(),
        )?;
        if let Some(node) = &read.node {
            sheet.node(node)?;
        }
        if let Some(process) = &read.process {
            sheet.process(process)?;
        }
        AllocatorFigures::read().map_or(Ok(()), |allocator| sheet.allocator(&allocator))
    }
}

/// Writes metrics that are known only as numbers.
pub(super) struct Sheet<'e> {
    encoder: DescriptorEncoder<'e>,
}

impl Sheet<'_> {
    fn metric(&mut self, name: &str, help: &str, metric: &impl EncodeMetric) -> Written {
        let encoder = self.encoder.encode_descriptor(name, help, None, metric.metric_type())?;
        metric.encode(encoder)
    }

    pub(super) fn gauge(&mut self, name: &str, help: &str, value: u64) -> Written {
        self.metric(name, help, &ConstGauge::new(value as f64))
    }

    /// `buckets`: upper bounds, the last of them infinite, and counts, not cumulated. Without any, it is a summary.
    pub(super) fn histogram(
        &mut self,
        name: &str,
        help: &str,
        sum: f64,
        count: u64,
        buckets: &[(f64, u64)],
    ) -> Written {
        let mut encoder = self.encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        encoder.encode_histogram::<NoLabelSet>(sum, count, buckets, None)
    }

    /// `name` is without `_total`.
    pub(super) fn counter(&mut self, name: &str, help: &str, value: u64) -> Written {
        self.metric(name, help, &ConstCounter::new(value))
    }

    fn node(&mut self, node: &NodeFigures) -> Written {
        let health = ConstGauge::new(i64::from(node.healthy));
        let mut encoder = self.encoder.encode_descriptor(
            "ipfs_node_health",
            "1 if the node is well, else 0",
            None,
            health.metric_type(),
        )?;
        let labels = [("node", node.peer_id.as_str())];
        health.encode(encoder.encode_family(&labels)?)?;
        let fetch = &node.fetch;
        self.counter("ipfs_cache_hits", "Blocks that were asked for and are in the store", fetch.found)?;
        self.counter(
            "ipfs_cache_misses",
            "Blocks that were asked for and are not in the store",
            fetch.missing,
        )?;
        self.counter("holdfast_read_bytes", "Bytes of the blocks that were read", fetch.bytes)?;
        self.counter("holdfast_fetched_blocks", "Blocks that came from other nodes", fetch.fetched)?;
        self.counter(
            "holdfast_fetched_bytes",
            "Bytes of the blocks that came from other nodes",
            fetch.fetched_bytes,
        )?;
        if let Some(bytes) = node.storage_bytes_max {
            self.gauge(
                "holdfast_repo_storage_max_bytes",
                "Bytes that the repo may take: Datastore.StorageMax",
                bytes,
            )?;
        }
        node.swarm.as_ref().map_or(Ok(()), |swarm| self.swarm(swarm))?;
        node.bitswap.as_ref().map_or(Ok(()), |bitswap| bitswap.write(self))?;
        self.tally(&node.tally)?;
        self.finding(&node.dhts)?;
        node.store.as_ref().map_or(Ok(()), |store| self.store(store))
    }

    /// Kubo's and go-libp2p's names, where they have some.
    fn swarm(&mut self, swarm: &SwarmFigures) -> Written {
        let transports: Vec<_> = swarm
            .by_transport
            .iter()
            .map(|(name, count)| ([("transport", name.as_str())], *count as u64))
            .collect();
        self.gauges("ipfs_p2p_peers_total", "Connections that are open, by transport", &transports)?;
        let scope = ("scope", "system");
        let usage = &swarm.usage;
        let directions = |inbound: usize, outbound: usize| {
            [([("dir", "inbound"), scope], inbound as u64), ([("dir", "outbound"), scope], outbound as u64)]
        };
        let connections = directions(usage.inbound_connections, usage.outbound_connections);
        self.gauges(
            "libp2p_rcmgr_connections",
            "Connections that are open, by who opened them",
            &connections,
        )?;
        let streams = directions(usage.streams.inbound, usage.streams.outbound);
        self.gauges("libp2p_rcmgr_streams", "Streams that are open, by who opened them", &streams)?;
        self.counter(
            "holdfast_p2p_streams_refused",
            "Streams that peers opened beyond the limits",
            usage.streams.refused,
        )?;
        self.gauge(
            "holdfast_p2p_unread_bytes",
            "Bytes that peers sent over yamux and that nobody has read yet",
            usage.unread_bytes as u64,
        )?;
        let bytes = |pick: fn(&Traffic) -> u64, direction: &'static str| {
            swarm.traffic.iter().map(move |(name, traffic)| {
                ([("protocol", name.as_str()), ("direction", direction)], pick(traffic))
            })
        };
        let bytes: Vec<_> = bytes(|traffic| traffic.bytes_in, "in")
            .chain(bytes(|traffic| traffic.bytes_out, "out"))
            .collect();
        self.gauges("holdfast_p2p_protocol_bytes", "Bytes that protocols sent and received", &bytes)
    }

    /// `name` is without `_total`.
    pub(super) fn counters<const LABELS: usize>(
        &mut self,
        name: &str,
        help: &str,
        values: &[([(&str, &str); LABELS], u64)],
    ) -> Written {
        let Some(kind) = values.first().map(|(_, value)| ConstCounter::new(*value).metric_type()) else {
            return Ok(());
        };
        let mut encoder = self.encoder.encode_descriptor(name, help, None, kind)?;
        for (labels, value) in values {
            ConstCounter::new(*value).encode(encoder.encode_family(labels)?)?;
        }
        Ok(())
    }

    pub(super) fn gauges<const LABELS: usize>(
        &mut self,
        name: &str,
        help: &str,
        values: &[([(&str, &str); LABELS], u64)],
    ) -> Written {
        let Some(kind) = values.first().map(|(_, value)| ConstGauge::new(*value as f64).metric_type()) else {
            return Ok(());
        };
        let mut encoder = self.encoder.encode_descriptor(name, help, None, kind)?;
        for (labels, value) in values {
            ConstGauge::new(*value as f64).encode(encoder.encode_family(labels)?)?;
        }
        Ok(())
    }

    fn store(&mut self, store: &StoreStat) -> Written {
        self.gauge("holdfast_repo_size_bytes", "Bytes that blocks and index take on disk", store.disk_bytes)?;
        self.gauge("holdfast_repo_blocks", "Blocks in the repo", store.blocks)?;
        self.gauge("holdfast_repo_block_bytes", "Bytes of the blocks in the repo", store.value_bytes)?;
        self.gauge(
            "holdfast_repo_damaged_blocks",
            "Blocks whose stored copy is damaged",
            store.damaged_blocks,
        )?;
        self.gauge("holdfast_repo_segments", "Files that hold the blocks", store.segments)?;
        self.counter("holdfast_repo_write_failures", "Writes to the repo that failed", store.generation)
    }

    fn tally(&mut self, tally: &StoreTally) -> Written {
        self.counter("holdfast_commits", "Commits to the repo that were acknowledged", tally.commits)?;
        self.histogram(
            "holdfast_commit_round_duration_seconds",
            "Seconds that it took to make something durable, for all commits that waited for it together",
            tally.round_time.as_secs_f64(),
            tally.rounds,
            &[],
        )?;
        self.histogram(
            "holdfast_gc_duration_seconds",
            "Seconds that collections of garbage took",
            tally.collection_time.as_secs_f64(),
            tally.collections,
            &[],
        )?;
        self.counter("holdfast_gc_removed_blocks", "Blocks that were collected", tally.collected_blocks)?;
        self.counter(
            "holdfast_gc_removed_bytes",
            "Bytes of blocks that were collected",
            tally.collected_bytes,
        )?;
        self.counter(
            "holdfast_gc_rewritten_bytes",
            "Bytes that were written anew to give space back",
            tally.rewritten_bytes,
        )?;
        self.gauge(
            "holdfast_index_memory_bytes",
            "Bytes of memory that the cache and the memtables of the index use",
            tally.index_memory_bytes,
        )
    }

    fn allocator(&mut self, allocator: &AllocatorFigures) -> Written {
        self.gauge(
            "holdfast_allocator_thread_cache_bytes",
            "Bytes that were freed and that threads keep for what they allocate next",
            allocator.thread_cache_bytes,
        )?;
        self.gauge(
            "holdfast_allocator_allocated_bytes",
            "Bytes that are allocated and not freed",
            allocator.allocated_bytes,
        )?;
        self.gauge(
            "holdfast_allocator_active_bytes",
            "Bytes of the pages that hold what is allocated",
            allocator.active_bytes,
        )?;
        self.gauge(
            "holdfast_allocator_resident_bytes",
            "Bytes of the allocator's pages that are in memory",
            allocator.resident_bytes,
        )?;
        self.gauge(
            "holdfast_allocator_mapped_bytes",
            "Bytes of address space that the allocator has",
            allocator.mapped_bytes,
        )
    }

    fn process(&mut self, process: &ProcessFigures) -> Written {
        let cpu = ConstCounter::new(process.cpu_seconds);
        self.metric("process_cpu_seconds", "Seconds of processor time, of user and system", &cpu)?;
        let start = ConstGauge::new(process.start_unix_seconds);
        self.metric("process_start_time_seconds", "When the process started, in seconds since 1970", &start)?;
        self.gauge(
            "process_resident_memory_bytes",
            "Bytes of memory that are resident",
            process.resident_bytes,
        )?;
        self.gauge("process_virtual_memory_bytes", "Bytes of address space", process.virtual_bytes)?;
        self.gauge("process_open_fds", "Open file descriptors", process.open_fds)?;
        self.gauge("process_max_fds", "File descriptors that may be open", process.max_fds)?;
        self.gauge("process_threads", "Threads of the process", process.threads)
    }
}
