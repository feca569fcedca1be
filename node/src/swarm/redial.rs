//! Peers that are always to be connected: when to dial them again. It does no I/O and knows no clock.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use libp2p::{Multiaddr, PeerId};

/// Longest wait between two attempts, before the jitter.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(10);
/// Wait after the first failure.
const WAIT_MIN: Duration = Duration::from_millis(500);
/// Peers in the list, at most.
pub(super) const PEERS_MAX: usize = 4096;
/// Peers of the local network that are dialled at a time. Anyone there can say that there are many.
const NEIGHBOURS_MAX: usize = 32;

/// Why a peer is in the list. One that is there for several reasons stays until the last is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// `Peering.Peers`, `swarm peering add`.
    Peered,
    /// It was found in the local network.
    Mdns,
}

#[derive(Debug, Default)]
struct Entry {
    peered: bool,
    mdns: bool,
    /// As they were given; names in them are resolved anew for each attempt.
    addresses: Vec<Multiaddr>,
    attempts: u32,
    /// None while it is connected or being dialled.
    next: Option<Instant>,
}

/// The list.
#[derive(Debug, Default)]
pub(super) struct Redial {
    peers: HashMap<PeerId, Entry>,
}

impl Redial {
    /// Puts a peer into the list, or adds to what is known of it. It is due at once unless it is `connected`. False where the
    /// list is full.
    pub(super) fn add(
        &mut self,
        peer: PeerId,
        reason: Reason,
        addresses: Vec<Multiaddr>,
        connected: bool,
        now: Instant,
    ) -> bool {
        if self.peers.len() >= PEERS_MAX && !self.peers.contains_key(&peer) {
            return false;
        }
        let new = !self.peers.contains_key(&peer);
        let entry = self.peers.entry(peer).or_default();
        match reason {
            Reason::Peered => {
                entry.peered = true;
                entry.addresses = addresses;
            }
            Reason::Mdns => entry.mdns = true,
        }
        if new && !connected {
            entry.next = Some(now);
        }
        true
    }

    /// Takes a reason away; true if the peer left the list.
    pub(super) fn remove(&mut self, peer: &PeerId, reason: Reason) -> bool {
        let Some(entry) = self.peers.get_mut(peer) else { return false };
        match reason {
            Reason::Peered => (entry.peered, entry.addresses) = (false, Vec::new()),
            Reason::Mdns => entry.mdns = false,
        }
        if entry.peered || entry.mdns {
            return false;
        }
        self.peers.remove(peer).is_some()
    }

    pub(super) fn connected(&mut self, peer: &PeerId) {
        if let Some(entry) = self.peers.get_mut(peer) {
            (entry.attempts, entry.next) = (0, None);
        }
    }

    /// A connection ended, or an attempt failed. `jitter` is a random number from 0 to 1.
    pub(super) fn lost(&mut self, peer: &PeerId, now: Instant, jitter: f64) {
        if let Some(entry) = self.peers.get_mut(peer) {
            let wait = WAIT_MIN.saturating_mul(1 << entry.attempts.min(10)).min(WAIT_MAX);
            entry.attempts = entry.attempts.saturating_add(1);
            // From half of it to all of it: two that lost each other do not keep meeting half-way.
            entry.next = Some(now + wait.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0));
        }
    }

    /// The peers to dial now, each until it is heard of again, and the addresses that they were given. Of those found in the
    /// local network the ones that wait longest, and no more than 32 at a time; in all, so many at most are dialled or connected
    /// then.
    pub(super) fn due(&mut self, now: Instant, neighbours_max: usize) -> Vec<(PeerId, Vec<Multiaddr>)> {
        let engaged = self.peers.values().filter(|entry| !entry.peered && entry.next.is_none()).count();
        let room = neighbours_max.saturating_sub(engaged).min(NEIGHBOURS_MAX);
        let due = self.peers.iter().filter_map(|(peer, entry)| {
            let next = entry.next.filter(|next| *next <= now)?;
            Some((entry.peered, next, *peer))
        });
        let (peered, mut neighbours): (Vec<_>, Vec<_>) = due.partition(|(peered, ..)| *peered);
        neighbours.sort_by_key(|(_, next, _)| *next);
        neighbours.truncate(room);
        let chosen = peered.into_iter().chain(neighbours).map(|(.., peer)| peer);
        chosen
            .filter_map(|peer| {
                let entry = self.peers.get_mut(&peer)?;
                entry.next = None;
                Some((peer, entry.addresses.clone()))
            })
            .collect()
    }

    /// The peered ones, by ID.
    pub(super) fn peered(&self) -> Vec<(PeerId, Vec<Multiaddr>)> {
        let peered = self.peers.iter().filter(|(_, entry)| entry.peered);
        let mut all: Vec<_> = peered.map(|(peer, entry)| (*peer, entry.addresses.clone())).collect();
        all.sort_by_key(|(peer, _)| peer.to_base58());
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_stays_away_is_tried_ever_less_often_but_at_least_every_ten_seconds() {
        let (mut now, mut redial, peer) = (Instant::now(), Redial::default(), PeerId::random());
        redial.add(peer, Reason::Peered, Vec::new(), false, now);
        let mut waits = Vec::new();
        for _ in 0..50 {
            assert_eq!(redial.due(now, usize::MAX).len(), 1);
            assert!(redial.due(now, usize::MAX).is_empty(), "it is being dialled");
            redial.lost(&peer, now, 1.0);
            let wait = (1..=400).map(|tenths| Duration::from_millis(100 * tenths));
            let wait = wait
                .into_iter()
                .find(|wait| redial.peers[&peer].next.is_some_and(|next| next <= now + *wait));
            waits.push(wait.unwrap());
            now += wait.unwrap();
        }
        assert!(waits.windows(2).all(|pair| pair[0] <= pair[1]), "{waits:?}");
        assert_eq!((waits[0], waits[49]), (WAIT_MIN, WAIT_MAX));
        redial.due(now, usize::MAX);
        redial.connected(&peer);
        assert!(redial.due(now + WAIT_MAX, usize::MAX).is_empty(), "it is connected");
        redial.lost(&peer, now, 0.0);
        assert_eq!(redial.due(now + WAIT_MIN / 2, usize::MAX).len(), 1, "the count begins anew");
    }

    #[test]
    fn a_peer_leaves_with_its_last_reason() {
        let (now, mut redial, peer) = (Instant::now(), Redial::default(), PeerId::random());
        redial.add(peer, Reason::Peered, Vec::new(), false, now);
        redial.add(peer, Reason::Mdns, Vec::new(), false, now);
        assert!(!redial.remove(&peer, Reason::Peered));
        assert!(redial.peered().is_empty());
        assert!(redial.due(now, 0).is_empty(), "a neighbour can wait");
        assert_eq!(redial.due(now, usize::MAX).len(), 1);
        assert!(redial.remove(&peer, Reason::Mdns));
        redial.lost(&peer, now, 0.0);
        assert!(redial.due(now + WAIT_MAX, usize::MAX).is_empty());
    }

    #[test]
    fn a_few_neighbours_are_dialled_also_when_there_are_enough_connections() {
        let (now, mut redial) = (Instant::now(), Redial::default());
        let peered = PeerId::random();
        redial.add(peered, Reason::Peered, Vec::new(), false, now);
        for _ in 0..20 {
            redial.add(PeerId::random(), Reason::Mdns, Vec::new(), false, now);
        }
        let dialled: Vec<PeerId> = redial.due(now, 8).into_iter().map(|(peer, _)| peer).collect();
        assert_eq!(dialled.len(), 9, "eight neighbours");
        assert!(dialled.contains(&peered), "and who is always dialled");
        let neighbours = || dialled.iter().filter(|peer| **peer != peered);
        neighbours().for_each(|peer| redial.connected(peer));
        assert!(redial.due(now, 8).is_empty(), "the others wait while those are connected");
        neighbours().take(3).for_each(|peer| redial.lost(peer, now, 1.0));
        assert_eq!(redial.due(now, 8).len(), 3, "and take the places of those that went");
        assert_eq!(redial.due(now + WAIT_MAX, usize::MAX).len(), 12);
    }

    #[test]
    fn who_waits_longest_is_dialled_first_and_who_is_invented_holds_nobody_up() {
        let (now, mut redial) = (Instant::now(), Redial::default());
        let peered = PeerId::random();
        for _ in 0..3 * NEIGHBOURS_MAX {
            redial.add(PeerId::random(), Reason::Mdns, Vec::new(), false, now);
        }
        let real = PeerId::random();
        redial.add(real, Reason::Mdns, Vec::new(), false, now + Duration::from_millis(1));
        redial.add(peered, Reason::Peered, Vec::new(), false, now + Duration::from_millis(1));
        let mut later = now + Duration::from_millis(1);
        let first = redial.due(later, usize::MAX);
        assert_eq!((first.len(), first[0].0), (NEIGHBOURS_MAX + 1, peered));
        let mut dialled: Vec<PeerId> = first.into_iter().map(|(peer, _)| peer).collect();
        for _ in 0..3 {
            // None of them is there.
            for peer in &dialled {
                redial.lost(peer, later, 1.0);
            }
            later += Duration::from_millis(400);
            dialled = redial.due(later, usize::MAX).into_iter().map(|(peer, _)| peer).collect();
        }
        assert!(dialled.contains(&real), "its turn came with the fourth");
    }

    #[test]
    fn a_full_list_takes_nobody_and_forgets_nobody() {
        let (now, mut redial, first) = (Instant::now(), Redial::default(), PeerId::random());
        assert!(redial.add(first, Reason::Peered, Vec::new(), false, now));
        for _ in 1..PEERS_MAX {
            assert!(redial.add(PeerId::random(), Reason::Peered, Vec::new(), false, now));
        }
        assert!(!redial.add(PeerId::random(), Reason::Peered, Vec::new(), false, now));
        assert!(redial.add(first, Reason::Mdns, Vec::new(), false, now), "it is there");
        assert_eq!(redial.peered().len(), PEERS_MAX);
    }
}
