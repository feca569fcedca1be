//! The routing table: for every length of prefix shared with this node, up to 20 servers.
//!
//! A peer is in it because it serves the protocol and has an address of the scope. It stays as long as it answers: three
//! failed requests in a row take it out, so a link that is down for a moment costs nobody the table. In a full bucket a
//! newcomer takes the place of a peer that fails, else of the one that was least recently useful, if that was more than 45
//! minutes ago; else it has to wait.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use libp2p::{Multiaddr, PeerId};

use super::wire::ADDRESSES_MAX;
use super::{KadId, PeerInfo};

/// Peers in a bucket, peers that keep a record, peers in an answer (k).
pub const BUCKET_PEERS_MAX: usize = 20;

/// A peer that was useful since then keeps its place: 45 minutes. With refreshes every 10 minutes that ask 10 of 20 peers, one
/// that is alive is used in this time with 95 %.
const USEFUL_GRACE: Duration = Duration::from_secs(45 * 60);

/// Failed requests in a row that take a peer out.
const FAILURES_MAX: u8 = 3;

/// Failures that come within a second are one: whatever waited for the same dial, or was on the same connection.
const FAILURE_PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Entry {
    peer: PeerId,
    id: KadId,
    addresses: Vec<Multiaddr>,
    failures: u8,
    failed_at: Option<Instant>,
    added_at: Instant,
    useful_at: Option<Instant>,
    queried_at: Option<Instant>,
}

impl Entry {
    fn info(&self) -> PeerInfo {
        PeerInfo { id: self.peer, addresses: self.addresses.clone() }
    }

    /// When it was last of use; a new one counts as useful, so that it gets its chance.
    fn last_of_use(&self) -> Instant {
        self.useful_at.unwrap_or(self.added_at)
    }
}

#[derive(Debug, Default)]
struct Bucket {
    peers: Vec<Entry>,
    refreshed_at: Option<Instant>,
}

/// What became of a peer that was offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Offered {
    /// It was there; its addresses are as told now.
    Known,
    /// It came in, and the other one went, if one did.
    Added {
        /// Who went.
        instead_of: Option<PeerId>,
    },
    /// There is no place for it.
    Full,
}

/// A bucket as `stats dht` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketStats {
    /// How long ago it was refreshed.
    pub refreshed: Option<Duration>,
    /// The peers in it, those in use last first.
    pub peers: Vec<PeerStats>,
}

/// A peer as `stats dht` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerStats {
    /// The peer.
    pub peer: PeerId,
    /// Whether the node is connected to it.
    pub connected: bool,
    /// How long ago it was of use to a query.
    pub useful: Option<Duration>,
    /// How long ago it answered.
    pub queried: Option<Duration>,
}

/// What `stats dht` shows.
#[derive(Debug, Clone, PartialEq)]
pub struct Stats {
    /// Which DHT.
    pub scope: super::Scope,
    /// Whether it answers.
    pub mode: super::Mode,
    /// The buckets by the number of bits that are shared, up to the last one that is not empty.
    pub buckets: Vec<BucketStats>,
    /// How many peers there are in the network, as far as can be guessed.
    pub network_size: Option<f64>,
    /// Queries that are running.
    pub queries: usize,
    /// Requests that are on their way.
    pub requests: usize,
    /// Messages since the start.
    pub messages: super::Counts,
}

/// The table.
#[derive(Debug)]
pub(super) struct Table {
    local: KadId,
    /// By the number of leading bits that are shared: at most 256 buckets.
    buckets: BTreeMap<u32, Bucket>,
    len: usize,
}

impl Table {
    pub(super) fn new(local: KadId) -> Self {
        Self { local, buckets: BTreeMap::new(), len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    fn entry(&self, peer: &PeerId) -> Option<&Entry> {
        let bucket = self.buckets.get(&self.local.common_prefix_bits(&KadId::from(peer)))?;
        bucket.peers.iter().find(|entry| entry.peer == *peer)
    }

    fn entry_mut(&mut self, peer: &PeerId) -> Option<&mut Entry> {
        let bucket = self.buckets.get_mut(&self.local.common_prefix_bits(&KadId::from(peer)))?;
        bucket.peers.iter_mut().find(|entry| entry.peer == *peer)
    }

    pub(super) fn contains(&self, peer: &PeerId) -> bool {
        self.entry(peer).is_some()
    }

    /// Its addresses; empty if it is not there.
    pub(super) fn addresses(&self, peer: &PeerId) -> &[Multiaddr] {
        self.entry(peer).map_or(&[], |entry| &entry.addresses)
    }

    /// Offers a server with its addresses, all of the scope.
    pub(super) fn offer(&mut self, peer: PeerId, mut addresses: Vec<Multiaddr>, now: Instant) -> Offered {
        addresses.truncate(ADDRESSES_MAX);
        if let Some(entry) = self.entry_mut(&peer) {
            entry.addresses = addresses;
            entry.failures = 0;
            return Offered::Known;
        }
        let id = KadId::from(&peer);
        let bucket = self.buckets.entry(self.local.common_prefix_bits(&id)).or_default();
        let instead_of = if bucket.peers.len() < BUCKET_PEERS_MAX {
            None
        } else {
            let Some(out) = bucket.replaceable(now) else { return Offered::Full };
            Some(bucket.peers.swap_remove(out).peer)
        };
        let entry = Entry {
            peer,
            id,
            addresses,
            failures: 0,
            failed_at: None,
            added_at: now,
            useful_at: None,
            queried_at: None,
        };
        bucket.peers.push(entry);
        self.len += usize::from(instead_of.is_none());
        Offered::Added { instead_of }
    }

    /// It answered a query.
    pub(super) fn was_useful(&mut self, peer: &PeerId, now: Instant) {
        if let Some(entry) = self.entry_mut(peer) {
            entry.failures = 0;
            entry.useful_at = Some(now);
            entry.queried_at = Some(now);
        }
    }

    /// It did not answer. Whether that took it out.
    pub(super) fn failed(&mut self, peer: &PeerId, now: Instant) -> bool {
        let Some(entry) = self.entry_mut(peer) else { return false };
        let is_same = |failed: Instant| now.saturating_duration_since(failed) < FAILURE_PAUSE;
        if entry.failures > 0 && entry.failed_at.is_some_and(is_same) {
            return false;
        }
        entry.failed_at = Some(now);
        entry.failures = entry.failures.saturating_add(1);
        entry.failures >= FAILURES_MAX && self.remove(peer)
    }

    /// Takes it out. Whether it was there.
    pub(super) fn remove(&mut self, peer: &PeerId) -> bool {
        let bits = self.local.common_prefix_bits(&KadId::from(peer));
        let Some(bucket) = self.buckets.get_mut(&bits) else { return false };
        let before = bucket.peers.len();
        bucket.peers.retain(|entry| entry.peer != *peer);
        let removed = bucket.peers.len() < before;
        self.len -= usize::from(removed);
        removed
    }

    /// The peers closest to a place, closest first: those that fail last.
    pub(super) fn closest(&self, target: &KadId, count: usize) -> Vec<PeerInfo> {
        // Buckets by how close all of their peers are to the target: those that share more bits with this node than the
        // target does are as close as the target's own bucket begins, and of the rest the deeper ones are closer.
        let shared = self.local.common_prefix_bits(target);
        let mut found: Vec<&Entry> = Vec::with_capacity(count * 2);
        found.extend(self.buckets.get(&shared).into_iter().flat_map(|bucket| &bucket.peers));
        if found.len() < count {
            let deeper = self.buckets.range(shared.saturating_add(1)..);
            found.extend(deeper.flat_map(|(_, bucket)| &bucket.peers));
        }
        for (_, bucket) in self.buckets.range(..shared).rev() {
            if found.len() >= count {
                break;
            }
            found.extend(&bucket.peers);
        }
        found.sort_by_cached_key(|entry| entry.id.distance(target));
        found.truncate(count);
        found.sort_by_key(|entry| entry.failures > 0);
        found.into_iter().map(Entry::info).collect()
    }

    /// All peers.
    #[cfg(test)]
    pub(super) fn peers(&self) -> impl Iterator<Item = PeerId> + '_ {
        self.buckets.values().flat_map(|bucket| bucket.peers.iter().map(|entry| entry.peer))
    }

    /// The deepest bucket that is not empty.
    pub(super) fn depth(&self) -> Option<u32> {
        let mut filled = self.buckets.iter().filter(|(_, bucket)| !bucket.peers.is_empty());
        filled.next_back().map(|(bits, _)| *bits)
    }

    /// A bucket is being refreshed.
    pub(super) fn refreshed(&mut self, bits: u32, now: Instant) {
        self.buckets.entry(bits.min(KadId::BITS)).or_default().refreshed_at = Some(now);
    }

    pub(super) fn stats(&self, now: Instant, is_connected: impl Fn(&PeerId) -> bool) -> Vec<BucketStats> {
        let since = |at: Option<Instant>| at.map(|at| now.saturating_duration_since(at));
        let last = self.depth().map_or(0, |bits| bits + 1);
        let stats = |bits| {
            let Some(bucket) = self.buckets.get(&bits) else {
                return BucketStats { refreshed: None, peers: Vec::new() };
            };
            let peer = |entry: &Entry| PeerStats {
                peer: entry.peer,
                connected: is_connected(&entry.peer),
                useful: since(entry.useful_at),
                queried: since(entry.queried_at),
            };
            let mut peers: Vec<PeerStats> = bucket.peers.iter().map(peer).collect();
            peers.sort_by_key(|peer| peer.useful.unwrap_or(Duration::MAX));
            BucketStats { refreshed: since(bucket.refreshed_at), peers }
        };
        (0..last).map(stats).collect()
    }
}

impl Bucket {
    /// Whose place a newcomer may take.
    fn replaceable(&self, now: Instant) -> Option<usize> {
        let failing = self.peers.iter().enumerate().filter(|(_, entry)| entry.failures > 0);
        if let Some((index, _)) = failing.max_by_key(|(_, entry)| entry.failures) {
            return Some(index);
        }
        let (index, least) = self.peers.iter().enumerate().min_by_key(|(_, entry)| entry.last_of_use())?;
        (now.saturating_duration_since(least.last_of_use()) > USEFUL_GRACE).then_some(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address() -> Vec<Multiaddr> {
        vec!["/ip4/10.0.0.1/tcp/1".parse().unwrap()]
    }

    /// Peers that share no bit with the local one, so that they meet in one bucket.
    fn far(local: &KadId, count: usize) -> Vec<PeerId> {
        let peers = std::iter::repeat_with(PeerId::random);
        peers.filter(|peer| local.common_prefix_bits(&KadId::from(peer)) == 0).take(count).collect()
    }

    #[test]
    fn a_full_bucket_takes_a_newcomer_only_for_one_that_is_of_no_use() {
        let local = KadId::of(b"local");
        let (mut table, start) = (Table::new(local), Instant::now());
        let peers = far(&local, 23);
        let (inside, outside) = peers.split_at(20);
        for peer in inside {
            assert_eq!(table.offer(*peer, address(), start), Offered::Added { instead_of: None });
        }
        assert_eq!(table.offer(outside[0], address(), start), Offered::Full);
        table.failed(&inside[3], start);
        assert_eq!(
            table.offer(outside[0], address(), start),
            Offered::Added { instead_of: Some(inside[3]) },
            "one that fails goes first"
        );
        let later = start + Duration::from_secs(3600);
        inside.iter().filter(|peer| **peer != inside[7]).for_each(|peer| table.was_useful(peer, later));
        table.was_useful(&outside[0], later);
        assert_eq!(table.offer(outside[1], address(), later), Offered::Added { instead_of: Some(inside[7]) });
        assert_eq!(table.offer(outside[2], address(), later), Offered::Full);
        assert_eq!(table.len(), 20);
    }

    #[test]
    fn three_failures_in_a_row_take_a_peer_out() {
        let (mut table, mut now) = (Table::new(KadId::of(b"local")), Instant::now());
        let peer = PeerId::random();
        table.offer(peer, address(), now);
        let mut fail = |table: &mut Table| {
            now += FAILURE_PAUSE;
            // As many requests as waited for one dial.
            (0..5).any(|_| table.failed(&peer, now))
        };
        assert!(!fail(&mut table) && !fail(&mut table));
        table.was_useful(&peer, Instant::now());
        assert!(!fail(&mut table) && !fail(&mut table) && table.contains(&peer));
        assert!(fail(&mut table) && !table.contains(&peer) && table.len() == 0);
    }

    #[test]
    fn the_closest_are_the_closest_of_all() {
        let (mut table, now) = (Table::new(KadId::of(b"local")), Instant::now());
        (0..2_000).for_each(|_| {
            table.offer(PeerId::random(), address(), now);
        });
        for number in 0..50_u8 {
            let target = KadId::of(&[number]);
            let distance = |peer: &PeerId| KadId::from(peer).distance(&target);
            let mut all: Vec<PeerId> = table.peers().collect();
            all.sort_by_key(distance);
            let found: Vec<PeerId> = table.closest(&target, 20).iter().map(|peer| peer.id).collect();
            assert_eq!(found, all[..20]);
        }
    }
}
