//! Prints the figures of docs/dht.md: lookups among 200 engines, and sweeps of 1,000 to 1,000,000 keys over 10,000 virtual
//! servers, all in virtual time. Fails when fewer than 95 % of the pairs of key and server are right.
//!
//! `cargo run --release -p holdfast-dht --example scale`

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "../tests/support/mod.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod support;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use holdfast_dht::ipns::Timestamp;
use holdfast_dht::kad::{Goal, KadId, Key, Outcome, PeerInfo, Prefix, Provide};
use holdfast_dht::sweep::{JobId, SavedState, SweepAction, SweepConfig, Sweeper};
use libp2p::PeerId;

/// Servers of the sweeps.
const SERVERS: usize = 10_000;

/// Of 100 servers, so many do not answer a lookup that should have found them.
const MISSED_PERCENT: u64 = 1;

/// What a lookup takes.
const LOOKUP: Duration = Duration::from_millis(1_500);

/// What reaching a server takes, and then each key.
const REACH: Duration = Duration::from_millis(300);
const PER_KEY: Duration = Duration::from_millis(1);

const CYCLE: Duration = Duration::from_secs(22 * 3600);

fn main() {
    memory();
    engines();
    println!();
    println!(
        "sweep over {SERVERS} virtual servers, {MISSED_PERCENT} % of them missed by each lookup, one cycle of 22 h"
    );
    println!(
        "| keys | lookups | right pairs | records | busy (virtual) | keys/s (one worker) | CPU | keys/s (CPU) |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let network = Network::new(SERVERS);
    for count in [1_000, 10_000, 100_000, 1_000_000] {
        sweep(&network, count);
    }
}

fn engines() {
    const SIZE: usize = 200;
    let began = Instant::now();
    let mut net = support::Net::new(SIZE);
    let built = net.messages;
    let mut rows: BTreeMap<&str, (usize, usize, usize)> = BTreeMap::new();
    for number in 0..40_u32 {
        let node = |step: u32| (number * 13 + step) as usize % SIZE;
        let key = support::key(number);
        let how = if number % 2 == 0 { Provide::Classic } else { Provide::Optimistic };
        let provided = net.query(node(0), Goal::Provide { key: key.clone(), how });
        let is_told = matches!(provided.result, Some(Ok(Outcome::Stored { .. })));
        let name = if number % 2 == 0 { "provide, classic" } else { "provide, optimistic" };
        add(&mut rows, name, is_told, provided.requests());
        let found = net.query(node(71), Goal::Providers { key: key.clone(), count: 1 });
        add(&mut rows, "find providers, count 1", found.providers.len() == 1, found.requests());
        let all = net.query(node(97), Goal::Providers { key: key.clone(), count: 1_000 });
        add(&mut rows, "find providers, all", all.providers.len() == 1, all.requests());
        let peer = net.peer(node(31));
        let met = net.query(node(150), Goal::FindPeer { peer });
        add(&mut rows, "find peer", matches!(met.result, Some(Ok(_))), met.requests());
        let closest = net.query(node(5), Goal::ClosestPeers { key });
        add(&mut rows, "closest peers", matches!(closest.result, Some(Ok(_))), closest.requests());
    }
    println!("{SIZE} engines, which had met 3 others each; tables filled with {built} messages");
    println!("| query | succeeded | requests on average |");
    println!("|---|---|---|");
    for (name, (runs, succeeded, requests)) in rows {
        println!("| {name} | {succeeded} of {runs} | {:.1} |", requests as f64 / runs as f64);
    }
    println!("(took {:.1} s)", began.elapsed().as_secs_f64());
}

fn add(
    rows: &mut BTreeMap<&'static str, (usize, usize, usize)>,
    name: &'static str,
    is_good: bool,
    requests: usize,
) {
    let row = rows.entry(name).or_default();
    *row = (row.0 + 1, row.1 + usize::from(is_good), row.2 + requests);
}

struct Network {
    servers: BTreeMap<KadId, PeerInfo>,
}

impl Network {
    fn new(size: usize) -> Self {
        let peer = || PeerInfo { id: PeerId::random(), addresses: Vec::new() };
        let servers = std::iter::repeat_with(peer).take(size).map(|peer| (KadId::from(&peer.id), peer));
        Self { servers: servers.collect() }
    }

    /// The closest servers, without those for which `is_missed` says so.
    fn closest(&self, place: &KadId, is_missed: impl Fn(&KadId) -> bool) -> Vec<PeerInfo> {
        let within = |bits| {
            let prefix = Prefix::of(place, bits);
            self.servers.range(prefix.first()..=prefix.last())
        };
        let mut bits = 0;
        while within(bits + 1).count() >= 30 {
            bits += 1;
        }
        let mut near: Vec<_> = within(bits).filter(|(id, _)| !is_missed(id)).collect();
        near.sort_by_key(|(id, _)| id.distance(place));
        near.into_iter().take(20).map(|(_, peer)| peer.clone()).collect()
    }
}

enum Done {
    Closest(JobId, Key, Vec<PeerInfo>),
    Announced(JobId, PeerId, Vec<Key>),
}

fn sweep(network: &Network, count: u32) {
    let keys: BTreeMap<KadId, Key> = (0..count).map(support::key).map(|key| (key.id(), key)).collect();
    let start = Timestamp::from_unix(1_700_000_000, 0);
    let saved = SavedState { cycle_start: start, place: KadId::from_bytes([0; 32]) };
    let mut sweeper = Sweeper::new(SweepConfig::default(), Some(saved), start);
    sweeper.set_network_size(Some(SERVERS as f64));
    let (mut now, mut sequence, mut lookups, mut records) = (start, 0_u64, 0_u64, 0_u64);
    let mut queue: BTreeMap<(Timestamp, u64), Done> = BTreeMap::new();
    // Pairs of a sample of keys are checked.
    let sample: HashSet<Key> = keys.values().step_by((count as usize / 1_000).max(1)).cloned().collect();
    let mut told: HashMap<Key, HashSet<PeerId>> = HashMap::new();
    let began = Instant::now();
    // A region is due with its last place: the last one at the end of the cycle, and the first one of the next far behind it.
    let end = start.after(CYCLE + Duration::from_secs(60));
    while now < end {
        sweeper.on_timeout(now);
        while let Some(action) = sweeper.poll_action() {
            sequence += 1;
            match action {
                SweepAction::Keys { job, from, last, max } => {
                    let batch = keys.range(from..=last).take(max).map(|(_, key)| key.clone()).collect();
                    sweeper.on_keys(job, Some(batch), now);
                }
                SweepAction::Lookup { job, key } => {
                    lookups += 1;
                    let salt = lookups;
                    let is_missed = |id: &KadId| {
                        let number = id.as_bytes().iter().fold(salt, |sum, byte| {
                            sum.wrapping_mul(0x0100_0000_01b3).wrapping_add(u64::from(*byte))
                        });
                        number >> 7 & 0xffff < 0xffff * MISSED_PERCENT / 100
                    };
                    let closest = network.closest(&key.id(), is_missed);
                    queue.insert((now.after(LOOKUP), sequence), Done::Closest(job, key, closest));
                }
                SweepAction::Announce { job, peer, keys } => {
                    records += keys.len() as u64;
                    for key in keys.iter().filter(|key| sample.contains(*key)) {
                        told.entry(key.clone()).or_default().insert(peer.id);
                    }
                    let takes = REACH + PER_KEY * u32::try_from(keys.len()).unwrap_or(u32::MAX);
                    queue.insert((now.after(takes), sequence), Done::Announced(job, peer.id, keys));
                }
            }
        }
        match queue.pop_first() {
            Some(((at, _), done)) => {
                now = now.max(at);
                match done {
                    Done::Closest(job, key, closest) => sweeper.on_closest(job, &key, Some(closest), now),
                    Done::Announced(job, peer, keys) => {
                        sweeper.on_announced(job, &peer, &keys, Some(keys.len()), now);
                    }
                }
            }
            None => now = now.after(sweeper.wait(now).unwrap_or(LOOKUP).max(Duration::from_millis(10))),
        }
    }
    let took = began.elapsed();
    let (mut right, mut all) = (0_u64, 0_u64);
    for key in &sample {
        for peer in network.closest(&key.id(), |_| false) {
            all += 1;
            right += u64::from(told.get(key).is_some_and(|told| told.contains(&peer.id)));
        }
    }
    assert!(sample.iter().all(|key| told.contains_key(key)), "a cycle leaves out no region");
    assert!(right * 100 >= all * 95, "{right} of {all} pairs are those of the closest servers");
    let busy = sweeper.stats(now).past.busy;
    println!(
        "| {count} | {lookups} | {:.2} % | {records} | {:.2} h | {:.1} | {:.2} s | {:.0} |",
        right as f64 * 100.0 / all as f64,
        busy.as_secs_f64() / 3600.0,
        f64::from(count) / busy.as_secs_f64(),
        took.as_secs_f64(),
        f64::from(count) / took.as_secs_f64(),
    );
}

/// Resident bytes.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok()).map_or(0, |kib| kib << 10)
}

fn memory() {
    const KEYS: u32 = 262_144;
    let now = Timestamp::from_unix(1_700_000_000, 0);
    let mut sweeper = Sweeper::new(SweepConfig::default(), None, now);
    let before = resident_bytes();
    let taken = sweeper.provide((0..KEYS).map(|number| {
        Key::new(&[&[0x12, 0x20][..], KadId::of(&number.to_be_bytes()).as_bytes()].concat())
            .expect("34 bytes")
    }));
    let grown = resident_bytes().saturating_sub(before);
    println!(
        "memory: {} bytes a new key that waits ({taken} keys); 0 a key of the schedule, which lies in the key store",
        grown / u64::try_from(taken.max(1)).unwrap_or(1)
    );
}
