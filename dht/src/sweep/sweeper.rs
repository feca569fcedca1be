//! The state machine: regions in turn and new keys at once, with a bounded number of workers.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::time::Duration;

use libp2p::PeerId;

use super::job::{Job, Origin, Step};
use super::schedule::{SavedState, Schedule};
use super::stats::{Past, SweepStats};
use crate::ipns::Timestamp;
use crate::kad::{BUCKET_PEERS_MAX, KadId, Key, PeerInfo, Prefix};

/// New keys that wait at most: 262,144, about 30 MB. [`Sweeper::provide`] takes no more until some are out.
const PENDING_MAX: usize = 262_144;

/// Regions hold at least so many servers on average, so that most hold 20.
const REGION_PEERS_MIN: f64 = 40.0;

/// Finest cut of the key space, in bits: 65,536 regions, for 2.6 million servers.
const REGION_BITS_MAX: u32 = 16;

/// A region that failed is tried again after a minute.
const RETRY_DELAY: Duration = Duration::from_secs(60);
/// One whose servers were found and that has a key which none of them took: records live longer than that.
const UNSERVED_DELAY: Duration = Duration::from_secs(6 * 3600);

/// How long searches that find fewer peers than a key has servers are taken for a broken line, where the network was larger.
const DOUBT_TIME: Duration = Duration::from_secs(3600);

/// Regions that wait to be tried again.
const RETRIES_MAX: usize = 1 << REGION_BITS_MAX;

/// Announcements that all workers together have on their way: three quarters of the queries that a DHT runs at a time
/// ([`Config::queries_max`](crate::kad::Config::queries_max)), so that others find room.
const ANNOUNCEMENTS_MAX: usize = 768;

/// Settings. The defaults are Kubo's (`Provide.DHT`).
#[derive(Debug, Clone)]
pub struct SweepConfig {
    /// How often each key is announced. Default: 22 hours; records live 48. Zero: never again, only new keys are announced.
    pub interval: Duration,
    /// Regions at work at a time: 1 to 768. Default: 16.
    pub workers_max: usize,
    /// Workers kept free for the schedule; at least one is left for new keys, if there are two. Default: 2.
    pub dedicated_periodic: usize,
    /// Workers kept free for new keys, of those that are left. Default: 1.
    pub dedicated_burst: usize,
    /// Servers that one worker tells at a time; all of them together at most 768. Default: 20.
    pub connections_per_worker: usize,
    /// Keys read at a time. Default: 16,384, about 2 MB.
    pub batch_keys: usize,
    /// How long after the last peer was lost the state is told as `disconnected`, and then as `offline`. Default: 2 hours.
    pub offline_delay: Duration,
}

impl SweepConfig {
    /// What can be worked with: each queue gets at least one of two workers, and may have the only one.
    fn within_bounds(mut self) -> Self {
        self.workers_max = self.workers_max.clamp(1, ANNOUNCEMENTS_MAX);
        let most = self.workers_max - 1;
        self.dedicated_periodic = self.dedicated_periodic.min(most);
        self.dedicated_burst = self.dedicated_burst.min(self.workers_max - self.dedicated_periodic).min(most);
        let connections = (ANNOUNCEMENTS_MAX / self.workers_max).max(1);
        self.connections_per_worker = self.connections_per_worker.clamp(1, connections);
        self
    }
}

impl Default for SweepConfig {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(22 * 3600),
            workers_max: 16,
            dedicated_periodic: 2,
            dedicated_burst: 1,
            connections_per_worker: 20,
            batch_keys: 16_384,
            offline_delay: Duration::from_secs(2 * 3600),
        }
    }
}

/// A region at work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobId(u64);

/// What the sweep wants to be done.
#[derive(Debug, PartialEq, Eq)]
pub enum SweepAction {
    /// Read keys whose place is in `from..=last`, in the order of their places, at most `max`; tell
    /// [`Sweeper::on_keys`].
    Keys {
        /// For whom.
        job: JobId,
        /// First place.
        from: KadId,
        /// Last place.
        last: KadId,
        /// How many at most.
        max: usize,
    },
    /// Find the closest peers of a key; tell [`Sweeper::on_closest`].
    Lookup {
        /// For whom.
        job: JobId,
        /// The key.
        key: Key,
    },
    /// Tell a server of keys; tell [`Sweeper::on_announced`] how many.
    Announce {
        /// For whom.
        job: JobId,
        /// The server.
        peer: PeerInfo,
        /// The keys.
        keys: Vec<Key>,
    },
}

/// The sweep of one DHT. Times are the wall clock's, for the schedule lasts over restarts.
#[derive(Debug)]
pub struct Sweeper {
    config: SweepConfig,
    schedule: Schedule,
    network_size: Option<f64>,
    /// Since when searches find fewer peers than a key has servers.
    short_since: Option<Timestamp>,
    jobs: BTreeMap<JobId, Job>,
    next_job: u64,
    /// New keys by place.
    pending: BTreeMap<KadId, Key>,
    /// Regions that failed, and when they are tried again.
    retries: BTreeSet<(Timestamp, Prefix)>,
    actions: VecDeque<SweepAction>,
    started_at: Timestamp,
    status_since: Timestamp,
    is_online: bool,
    was_online: bool,
    /// New keys that were dealt with, and whether any server took them.
    settled: Vec<(Key, bool)>,
    past: Past,
    cycle: Cycle,
    last_cycle: Cycle,
}

/// Figures of one cycle.
#[derive(Debug, Clone, Copy, Default)]
struct Cycle {
    keys: u64,
    regions: u64,
    peers: u64,
    reachable: u64,
    failed_regions: u64,
}

impl Sweeper {
    /// A sweep that goes on where `saved` was. Without it, all keys are announced at once, and in turn from then on.
    pub fn new(config: SweepConfig, saved: Option<SavedState>, now: Timestamp) -> Self {
        let config = config.within_bounds();
        Self {
            schedule: Schedule::new(config.interval, saved, now),
            config,
            network_size: None,
            short_since: None,
            jobs: BTreeMap::new(),
            next_job: 0,
            pending: BTreeMap::new(),
            retries: BTreeSet::new(),
            actions: VecDeque::new(),
            started_at: now,
            status_since: now,
            is_online: true,
            was_online: false,
            settled: Vec::new(),
            past: Past::default(),
            cycle: Cycle::default(),
            last_cycle: Cycle::default(),
        }
    }

    /// Tells how many servers there are, as far as is known: regions are cut by it.
    pub fn set_network_size(&mut self, size: Option<f64>) {
        self.network_size = size;
    }

    /// Tells whether anybody can be reached. Nothing is begun while nobody can.
    pub fn set_online(&mut self, is_online: bool, now: Timestamp) {
        if self.is_online != is_online {
            self.is_online = is_online;
            self.was_online |= is_online;
            self.status_since = now;
        }
    }

    /// Whether anybody can be reached, as was last told.
    pub fn is_online(&self) -> bool {
        self.is_online
    }

    /// Takes new keys, which are announced as soon as a worker is free; how many found room.
    pub fn provide(&mut self, keys: impl IntoIterator<Item = Key>) -> usize {
        let mut taken = 0;
        for key in keys {
            if self.pending.len() >= PENDING_MAX {
                break;
            }
            self.pending.insert(key.id(), key);
            taken += 1;
        }
        taken
    }

    /// Forgets the new keys that wait (`provide clear`); how many there were.
    pub fn clear(&mut self) -> usize {
        let cleared = std::mem::take(&mut self.pending);
        let count = cleared.len();
        self.settled.extend(cleared.into_values().map(|key| (key, false)));
        count
    }

    /// Makes all keys due at once (`routing reprovide`).
    pub fn restart(&mut self, now: Timestamp) {
        self.schedule.restart(now);
    }

    /// New keys that were dealt with since this was last asked, and whether any server took them. Those that none took are
    /// not tried again until they are given once more.
    pub fn take_settled(&mut self) -> Vec<(Key, bool)> {
        std::mem::take(&mut self.settled)
    }

    /// What to remember over a restart: 41 bytes once encoded. Regions at work count as not done.
    pub fn saved_state(&self) -> SavedState {
        let working = self.jobs.values().filter(|job| job.origin == Origin::Periodic);
        let retried = self.retries.iter().map(|(_, region)| region.first());
        let first = working.map(|job| job.region.first()).chain(retried).min();
        // A region of the cycle before is begun again: its first place lies behind the place of this one.
        let place = self.schedule.place();
        let (place, is_before) = match first {
            Some(first) if first < place => (first, false),
            Some(first) if self.jobs.values().any(|job| job.origin == Origin::Periodic) => (first, true),
            _ => (place, false),
        };
        let start = self.schedule.cycle_start();
        let interval = i64::try_from(self.config.interval.as_secs()).unwrap_or(i64::MAX);
        let cycle_start = if is_before {
            Timestamp::from_unix(start.unix_seconds().saturating_sub(interval), 0)
        } else {
            start
        };
        SavedState { cycle_start, place }
    }

    /// Begins what is due. Call it at [`Sweeper::wait`], and after every other call.
    pub fn on_timeout(&mut self, now: Timestamp) {
        if self.is_online {
            while self.has_worker(Origin::Burst) && self.begin_burst(now) {}
            while self.has_worker(Origin::Periodic) && self.begin_periodic(now) {}
        }
    }

    /// How long until the next region is due, if nothing else happens; `None` while all workers are busy or nobody can be
    /// reached.
    pub fn wait(&mut self, now: Timestamp) -> Option<Duration> {
        if !self.is_online || !self.has_worker(Origin::Periodic) || self.schedule.interval().is_zero() {
            return None;
        }
        let retry = self.retries.first().map(|(at, _)| at.since(now));
        let due = self.schedule.wait(self.region_bits(), now);
        Some(retry.map_or(due, |retry| retry.min(due)))
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<SweepAction> {
        self.actions.pop_front()
    }

    /// Keys that were read; `None` if the store failed.
    pub fn on_keys(&mut self, job: JobId, keys: Option<Vec<Key>>, now: Timestamp) {
        let max = self.config.batch_keys;
        self.with_job(job, now, |job| job.on_keys(keys, max));
    }

    /// The closest peers of a key; `None` if the search failed.
    pub fn on_closest(&mut self, job: JobId, key: &Key, closest: Option<Vec<PeerInfo>>, now: Timestamp) {
        let place = key.id();
        self.past.lookups += 1;
        let is_all = closest.as_ref().is_none_or(|closest| self.is_all(closest.len(), now));
        self.with_job(job, now, |job| job.on_closest(&place, closest, is_all));
    }

    /// Whether as many peers as a search found can be all that are closest: in a network that was larger a moment ago, a few are
    /// those that could still be reached.
    fn is_all(&mut self, found: usize, now: Timestamp) -> bool {
        if found >= BUCKET_PEERS_MAX {
            self.short_since = None;
            return true;
        }
        let since = *self.short_since.get_or_insert(now);
        self.network_size.is_none_or(|size| size < REGION_PEERS_MIN) || now.since(since) >= DOUBT_TIME
    }

    /// A server was told of the first `sent` keys; `None` if this node itself could not ask it, which says nothing of the server.
    pub fn on_announced(
        &mut self,
        job: JobId,
        peer: &PeerId,
        keys: &[Key],
        sent: Option<usize>,
        now: Timestamp,
    ) {
        self.with_job(job, now, |job| job.on_announced(peer, keys, sent));
    }

    fn with_job(&mut self, id: JobId, now: Timestamp, go_on: impl FnOnce(&mut Job)) {
        if let Some(job) = self.jobs.get_mut(&id) {
            go_on(job);
            self.pump(id, now);
        }
    }

    /// Lets a job go on as far as it can.
    fn pump(&mut self, id: JobId, now: Timestamp) {
        let max = self.config.batch_keys;
        while let Some(job) = self.jobs.get_mut(&id) {
            let action = match job.step() {
                Step::Keys { from, last } => SweepAction::Keys { job: id, from, last, max },
                Step::Lookup(key) => SweepAction::Lookup { job: id, key },
                Step::Announce(peer, keys) => SweepAction::Announce { job: id, peer, keys },
                Step::Wait => return,
                Step::Over => return self.end(id, now),
            };
            self.actions.push_back(action);
        }
    }

    fn end(&mut self, id: JobId, now: Timestamp) {
        let Some(mut job) = self.jobs.remove(&id) else { return };
        self.settled.extend(job.take_settled());
        let (counts, took) = (job.counts, now.since(job.started_at));
        self.past.records_provided += counts.records;
        self.past.keys_provided += counts.keys_provided;
        self.past.keys_failed += counts.keys_failed;
        self.past.busy += took;
        let minutes = (took.as_secs_f64() / 60.0).max(1.0 / 60.0);
        let per_minute = counts.keys_provided as f64 / minutes;
        if job.origin == Origin::Burst {
            self.past.keys_provided_per_minute = mix(self.past.keys_provided_per_minute, per_minute);
            return;
        }
        if counts.is_failed || counts.keys_failed > 0 {
            self.cycle.failed_regions += 1;
            if self.retries.len() < RETRIES_MAX {
                let delay = if counts.is_failed { RETRY_DELAY } else { UNSERVED_DELAY };
                self.retries.insert((now.after(delay), job.region));
            }
        }
        if !counts.is_failed && counts.keys_provided > 0 {
            self.past.keys_reprovided_per_minute = mix(self.past.keys_reprovided_per_minute, per_minute);
            self.past.keys_per_region = mix(self.past.keys_per_region, counts.keys as f64);
            let duration = mix(self.past.region_duration.as_secs_f64(), took.as_secs_f64());
            self.past.region_duration = Duration::from_secs_f64(duration.max(0.0));
            self.cycle.regions += 1;
            self.cycle.keys += counts.keys;
            self.cycle.peers += counts.peers;
            self.cycle.reachable += counts.reachable;
        }
    }

    fn active(&self, origin: Origin) -> usize {
        self.jobs.values().filter(|job| job.origin == origin).count()
    }

    /// Whether a worker is free for this queue: those kept for the other one are not.
    fn has_worker(&self, origin: Origin) -> bool {
        let (periodic, burst) = (self.active(Origin::Periodic), self.active(Origin::Burst));
        let kept = match origin {
            Origin::Periodic => self.config.dedicated_burst.saturating_sub(burst),
            Origin::Burst => self.config.dedicated_periodic.saturating_sub(periodic),
        };
        periodic + burst + kept < self.config.workers_max.max(1)
    }

    /// Bits of a region.
    fn region_bits(&self) -> u32 {
        let regions = self.network_size.unwrap_or(1.0) / REGION_PEERS_MIN;
        (0..REGION_BITS_MAX).take_while(|bits| f64::from(2_u32 << bits) <= regions).count() as u32
    }

    fn begin(&mut self, job: Job, now: Timestamp) {
        self.next_job += 1;
        let id = JobId(self.next_job);
        self.jobs.insert(id, job);
        self.pump(id, now);
    }

    /// Begins with the first new key and all others of its region, at most one batch.
    fn begin_burst(&mut self, now: Timestamp) -> bool {
        let Some(first) = self.pending.keys().next().copied() else { return false };
        let region = Prefix::of(&first, self.region_bits());
        let within = self.pending.range(region.first()..=region.last());
        let places: Vec<KadId> = within.take(self.config.batch_keys).map(|(place, _)| *place).collect();
        let keys = places.iter().filter_map(|place| self.pending.remove(place)).collect();
        let salt = self.next_job << 20;
        self.begin(Job::burst(region, keys, self.config.connections_per_worker, salt, now), now);
        true
    }

    /// Begins with a region that failed before, or with the next one that is due.
    fn begin_periodic(&mut self, now: Timestamp) -> bool {
        if self.schedule.interval().is_zero() {
            return false;
        }
        let salt = self.next_job << 20;
        let connections = self.config.connections_per_worker;
        if self.retries.first().is_some_and(|(at, _)| *at <= now)
            && let Some((_, region)) = self.retries.pop_first()
        {
            self.begin(Job::periodic(region, connections, salt, now), now);
            return true;
        }
        let bits = self.region_bits();
        if !self.schedule.wait(bits, now).is_zero() {
            return false;
        }
        let region = Prefix::of(&self.schedule.place(), bits);
        if self.schedule.begin(&region) {
            self.last_cycle = self.cycle;
            self.cycle = Cycle::default();
        }
        self.begin(Job::periodic(region, connections, salt, now), now);
        true
    }

    fn status(&self, now: Timestamp) -> &'static str {
        match (self.is_online, self.was_online) {
            (true, _) => "online",
            (false, true) if now.since(self.status_since) < self.config.offline_delay => "disconnected",
            (false, _) => "offline",
        }
    }

    /// What `provide stat` shows.
    pub fn stats(&mut self, now: Timestamp) -> SweepStats {
        let bits = self.region_bits();
        let regions: HashSet<Prefix> = self.pending.keys().map(|place| Prefix::of(place, bits)).collect();
        let ongoing = |origin| {
            let jobs = self.jobs.values().filter(|job| job.origin == origin);
            jobs.fold((0, 0), |(regions, keys), job| (regions + 1, keys + job.keys_len()))
        };
        let (ongoing_provides, ongoing_reprovides) = (ongoing(Origin::Burst), ongoing(Origin::Periodic));
        let cycle = if self.last_cycle.regions > 0 { self.last_cycle } else { self.cycle };
        let per = |sum: u64, count: u64| sum as f64 / count.max(1) as f64;
        let wait = self.schedule.wait(bits, now);
        SweepStats {
            status: self.status(now),
            since: self.status_since,
            pending_key_provides: self.pending.len(),
            pending_region_provides: regions.len(),
            pending_region_reprovides: self.retries.len(),
            scheduled_keys: cycle.keys,
            scheduled_regions: cycle.regions,
            average_prefix_bits: f64::from(bits),
            next_reprovide_at: now.after(wait),
            next_reprovide_prefix: Prefix::of(&self.schedule.place(), bits),
            workers_max: self.config.workers_max,
            active_periodic: self.active(Origin::Periodic),
            active_burst: self.active(Origin::Burst),
            dedicated_periodic: self.config.dedicated_periodic,
            dedicated_burst: self.config.dedicated_burst,
            queued_periodic: self.retries.len(),
            queued_burst: regions.len(),
            connections_per_worker: self.config.connections_per_worker,
            uptime: now.since(self.started_at),
            interval: self.schedule.interval(),
            cycle_start: self.schedule.cycle_start(),
            offset: now.since(self.schedule.cycle_start()),
            reprovide_delay_max: RETRY_DELAY,
            ongoing_provides,
            ongoing_reprovides,
            past: Past { regions_last_cycle: self.last_cycle.regions, ..self.past },
            peers: cycle.peers,
            reachable: cycle.reachable.min(cycle.peers),
            is_complete: cycle.regions > 0 && cycle.failed_regions == 0,
            average_holders: per(self.past.records_provided, self.past.keys_provided),
            average_region_peers: per(cycle.peers, cycle.regions),
            replication: BUCKET_PEERS_MAX,
        }
    }
}

/// A moving average in which the newest counts a fifth.
fn mix(average: f64, newest: f64) -> f64 {
    if average == 0.0 { newest } else { average * 0.8 + newest * 0.2 }
}

#[cfg(test)]
mod tests;
