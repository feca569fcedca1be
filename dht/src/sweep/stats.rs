//! What `provide stat` shows, under Kubo's names.

use std::time::Duration;

use crate::ipns::Timestamp;
use crate::kad::Prefix;

/// Figures of a sweep. The grouping is that of Kubo's JSON: `Connectivity`, `Queues`, `Schedule`, `Workers`, `Timing`,
/// `Operations`, `Network`.
#[derive(Debug, Clone, PartialEq)]
pub struct SweepStats {
    /// Connectivity.Status: `online`, `disconnected` or `offline`.
    pub status: &'static str,
    /// Connectivity.Since: since when.
    pub since: Timestamp,
    /// Queues.PendingKeyProvides: new keys that wait.
    pub pending_key_provides: usize,
    /// Queues.PendingRegionProvides: regions in which they lie.
    pub pending_region_provides: usize,
    /// Queues.PendingRegionReprovides: regions that failed and are tried again.
    pub pending_region_reprovides: usize,
    /// Schedule.Keys: keys that are announced every interval, as counted in the last cycle.
    pub scheduled_keys: u64,
    /// Schedule.Regions.
    pub scheduled_regions: u64,
    /// Schedule.AvgPrefixLength, in bits.
    pub average_prefix_bits: f64,
    /// Schedule.NextReprovideAt.
    pub next_reprovide_at: Timestamp,
    /// Schedule.NextReprovidePrefix.
    pub next_reprovide_prefix: Prefix,
    /// Workers.Max.
    pub workers_max: usize,
    /// Workers.ActivePeriodic.
    pub active_periodic: usize,
    /// Workers.ActiveBurst.
    pub active_burst: usize,
    /// Workers.DedicatedPeriodic.
    pub dedicated_periodic: usize,
    /// Workers.DedicatedBurst.
    pub dedicated_burst: usize,
    /// Workers.QueuedPeriodic: regions that are due and wait for a worker.
    pub queued_periodic: usize,
    /// Workers.QueuedBurst.
    pub queued_burst: usize,
    /// Workers.MaxProvideConnsPerWorker.
    pub connections_per_worker: usize,
    /// Timing.Uptime.
    pub uptime: Duration,
    /// Timing.ReprovidesInterval.
    pub interval: Duration,
    /// Timing.CycleStart.
    pub cycle_start: Timestamp,
    /// Timing.CurrentTimeOffset: how far into the cycle it is.
    pub offset: Duration,
    /// Timing.MaxReprovideDelay.
    pub reprovide_delay_max: Duration,
    /// Operations.Ongoing.RegionProvides and KeyProvides.
    pub ongoing_provides: (usize, usize),
    /// Operations.Ongoing.RegionReprovides and KeyReprovides.
    pub ongoing_reprovides: (usize, usize),
    /// Operations.Past.
    pub past: Past,
    /// Network.Peers: servers that were found in the last cycle.
    pub peers: u64,
    /// Network.Reachable: how many of them took something.
    pub reachable: u64,
    /// Network.CompleteKeyspaceCoverage: whether every region of the last cycle was explored.
    pub is_complete: bool,
    /// Network.AvgHolders: servers that hold a record of a key.
    pub average_holders: f64,
    /// Network.AvgRegionSize: servers in a region.
    pub average_region_peers: f64,
    /// Network.ReplicationFactor.
    pub replication: usize,
}

/// Operations.Past: since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Past {
    /// RecordsProvided: (key, server) pairs.
    pub records_provided: u64,
    /// KeysProvided: keys that at least one server took.
    pub keys_provided: u64,
    /// KeysFailed: keys that nobody took.
    pub keys_failed: u64,
    /// Searches for closest peers.
    pub lookups: u64,
    /// Time that regions took, in all.
    pub busy: Duration,
    /// KeysProvidedPerMinute: new keys, by a worker.
    pub keys_provided_per_minute: f64,
    /// KeysReprovidedPerMinute: by a worker.
    pub keys_reprovided_per_minute: f64,
    /// RegionReprovideDuration: of a region, on average.
    pub region_duration: Duration,
    /// AvgKeysPerReprovide: of a region.
    pub keys_per_region: f64,
    /// RegionReprovidedLastCycle.
    pub regions_last_cycle: u64,
}
