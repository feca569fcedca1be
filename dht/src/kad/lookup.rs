//! The search for the peers closest to a place: whom to ask next, and when to stop.
//!
//! Up to alpha peers are asked at a time, always the closest that have not been. When the closest beta that can be reached
//! have answered, the candidates are frozen and the rest of the closest 20 are asked too, so that what is stored with them
//! is stored with peers that are there. Nobody is asked twice, and no more peers in all than configured: whoever invents
//! closer and closer ones ends the search, not the memory.

use std::collections::BTreeMap;

use libp2p::{Multiaddr, PeerId};

use super::wire::ADDRESSES_MAX;
use super::{BUCKET_PEERS_MAX, Distance, KadId, PeerInfo};

/// Candidates that are kept: those farther away are forgotten.
const CANDIDATES_MAX: usize = 512;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Known, not asked.
    Heard,
    /// Asked.
    Waiting,
    /// Answered.
    Answered,
    /// Asked, without an answer.
    Failed,
}

#[derive(Debug)]
struct Candidate {
    peer: PeerInfo,
    state: State,
}

#[derive(Debug)]
pub(super) struct Lookup {
    target: KadId,
    candidates: BTreeMap<Distance, Candidate>,
    concurrency: usize,
    resiliency: usize,
    requests_max: usize,
    asked: usize,
    waiting: usize,
    is_frozen: bool,
    /// Whether what is searched is itself a peer, whose answer is not needed to know who is close to it.
    is_for_peer: bool,
}

impl Lookup {
    pub(super) fn new(target: KadId, concurrency: usize, resiliency: usize, requests_max: usize) -> Self {
        Self {
            target,
            candidates: BTreeMap::new(),
            concurrency,
            resiliency,
            requests_max,
            asked: 0,
            waiting: 0,
            is_frozen: false,
            is_for_peer: false,
        }
    }

    /// The same for a peer, which may be dead where it was: whoever else is closest decides when the search is over.
    pub(super) fn for_peer(self) -> Self {
        Self { is_for_peer: true, ..self }
    }

    /// How many peers were asked.
    pub(super) fn asked(&self) -> usize {
        self.asked
    }

    /// A peer that somebody knows. Whether it is new.
    pub(super) fn heard(&mut self, peer: PeerInfo) -> bool {
        let distance = KadId::from(&peer.id).distance(&self.target);
        if let Some(known) = self.candidates.get_mut(&distance) {
            add_addresses(&mut known.peer.addresses, peer.addresses);
            return false;
        }
        if self.is_frozen {
            return false;
        }
        if self.candidates.len() >= CANDIDATES_MAX {
            let farthest = self.candidates.last_key_value().map(|(distance, _)| *distance);
            if farthest.is_none_or(|farthest| distance > farthest) {
                return false;
            }
            self.forget_farthest();
        }
        self.candidates.insert(distance, Candidate { peer, state: State::Heard });
        true
    }

    fn forget_farthest(&mut self) {
        let heard = self.candidates.iter().rev().find(|(_, candidate)| candidate.state != State::Waiting);
        if let Some(distance) = heard.map(|(distance, _)| *distance) {
            self.candidates.remove(&distance);
        }
    }

    /// The next peer to ask, which counts as asked now.
    pub(super) fn next(&mut self) -> Option<PeerInfo> {
        self.freeze_if_found();
        let (limit, near) =
            if self.is_frozen { (usize::MAX, BUCKET_PEERS_MAX) } else { (self.concurrency, usize::MAX) };
        if self.waiting >= limit || self.asked >= self.requests_max {
            return None;
        }
        let reachable = self.candidates.values_mut().filter(|candidate| candidate.state != State::Failed);
        let next = reachable.take(near).find(|candidate| candidate.state == State::Heard)?;
        next.state = State::Waiting;
        self.asked += 1;
        self.waiting += 1;
        Some(next.peer.clone())
    }

    fn freeze_if_found(&mut self) {
        let is_target = |distance: &Distance| self.is_for_peer && distance.leading_zeros() == KadId::BITS;
        let others = self.candidates.iter().filter(|(distance, _)| !is_target(distance));
        let mut reachable =
            others.filter(|(_, candidate)| candidate.state != State::Failed).take(self.resiliency).peekable();
        let is_any = reachable.peek().is_some();
        self.is_frozen |= is_any && reachable.all(|(_, candidate)| candidate.state == State::Answered);
    }

    /// Whether the closest peers have answered. Ask for [`Lookup::next`] first.
    pub(super) fn is_found(&self) -> bool {
        self.is_frozen
    }

    /// Asks nobody any more.
    pub(super) fn stop(&mut self) {
        self.is_frozen = true;
        self.requests_max = self.asked;
    }

    pub(super) fn answered(&mut self, peer: &PeerId) {
        self.settle(peer, State::Answered);
    }

    pub(super) fn failed(&mut self, peer: &PeerId) {
        self.settle(peer, State::Failed);
    }

    fn settle(&mut self, peer: &PeerId, state: State) {
        let distance = KadId::from(peer).distance(&self.target);
        if let Some(candidate) = self.candidates.get_mut(&distance)
            && candidate.state == State::Waiting
        {
            candidate.state = state;
            self.waiting -= 1;
        }
    }

    /// Whether nobody is left to ask or to wait for. Ask for [`Lookup::next`] first.
    pub(super) fn is_over(&self) -> bool {
        self.waiting == 0
    }

    /// The closest peers that answered, closest first.
    pub(super) fn closest_answered(&self, count: usize) -> Vec<PeerInfo> {
        let answered = self.candidates.values().filter(|candidate| candidate.state == State::Answered);
        answered.take(count).map(|candidate| candidate.peer.clone()).collect()
    }

    /// The closest peers that are not known to fail, closest first, with their distances.
    pub(super) fn closest_reachable(&self, count: usize) -> impl Iterator<Item = (&Distance, &PeerInfo)> {
        let reachable = self.candidates.iter().filter(|(_, candidate)| candidate.state != State::Failed);
        reachable.take(count).map(|(distance, candidate)| (distance, &candidate.peer))
    }

    /// How far the closest peers that answered are, as parts of the space.
    pub(super) fn distances(&self, count: usize) -> Vec<f64> {
        let answered = self.candidates.iter().filter(|(_, candidate)| candidate.state == State::Answered);
        answered.take(count).map(|(distance, _)| distance.fraction()).collect()
    }

    /// What is known of a peer's addresses.
    pub(super) fn addresses(&self, peer: &PeerId) -> &[Multiaddr] {
        let distance = KadId::from(peer).distance(&self.target);
        self.candidates.get(&distance).map_or(&[], |candidate| &candidate.peer.addresses)
    }
}

/// Adds addresses that are not there yet, as long as there is room.
pub(super) fn add_addresses(known: &mut Vec<Multiaddr>, more: Vec<Multiaddr>) {
    for address in more {
        if known.len() < ADDRESSES_MAX && !known.contains(&address) {
            known.push(address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer() -> PeerInfo {
        PeerInfo { id: PeerId::random(), addresses: Vec::new() }
    }

    fn lookup() -> Lookup {
        Lookup::new(KadId::of(b"target"), 10, 3, 256)
    }

    #[test]
    fn ten_at_a_time_then_all_of_the_closest_twenty() {
        let mut lookup = lookup();
        (0..100).for_each(|_| assert!(lookup.heard(peer())));
        let asked: Vec<PeerInfo> = std::iter::from_fn(|| lookup.next()).collect();
        assert_eq!(asked.len(), 10);
        for peer in asked.iter().take(3) {
            lookup.answered(&peer.id);
        }
        let rest: Vec<PeerInfo> = std::iter::from_fn(|| lookup.next()).collect();
        assert_eq!(rest.len(), 10, "the other ten of the closest twenty");
        assert!(!lookup.heard(peer()), "too late");
        asked.iter().chain(&rest).for_each(|peer| lookup.answered(&peer.id));
        assert!(lookup.next().is_none() && lookup.is_over());
        assert_eq!(lookup.closest_answered(20).len(), 20);
        assert_eq!(lookup.asked(), 20);
    }

    #[test]
    fn who_fails_is_replaced_by_the_next() {
        let mut lookup = lookup();
        (0..30).for_each(|_| {
            lookup.heard(peer());
        });
        let mut failed = 0;
        while let Some(peer) = lookup.next() {
            if failed < 10 {
                lookup.failed(&peer.id);
                failed += 1;
            } else {
                lookup.answered(&peer.id);
            }
        }
        assert!(lookup.is_over());
        assert_eq!(lookup.closest_answered(20).len(), 20);
    }

    #[test]
    fn peers_that_are_invented_end_the_search_and_not_the_memory() {
        let mut lookup = lookup();
        lookup.heard(peer());
        let mut requests = 0;
        while let Some(asked) = lookup.next() {
            requests += 1;
            (0..32).for_each(|_| {
                lookup.heard(peer());
            });
            // It answers, but the newcomers are closer, as somebody who can grind IDs makes them.
            lookup.failed(&asked.id);
        }
        assert_eq!(requests, 256);
        assert!(lookup.is_over() && lookup.candidates.len() <= CANDIDATES_MAX);
    }
}
