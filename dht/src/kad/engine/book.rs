//! The addresses of peers that were met, servers or not: what lets FIND_NODE tell of peers that are in no table.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use libp2p::{Multiaddr, PeerId};

use crate::kad::wire::ADDRESSES_MAX;

/// Peers that are remembered: 4,096, about 2 MiB. Who left first goes first.
const PEERS_MAX: usize = 4_096;

/// How long a peer is remembered that is not connected any more: 30 minutes, as go-libp2p does it. Later it is elsewhere.
const GONE_MAX: Duration = Duration::from_secs(30 * 60);

#[derive(Debug)]
struct Known {
    addresses: Vec<Multiaddr>,
    is_connected: bool,
    /// When it was last met: connected, or left.
    at: Instant,
}

impl Known {
    /// Where it stands in the order of forgetting.
    fn turn(&self, peer: PeerId) -> (bool, Instant, PeerId) {
        (self.is_connected, self.at, peer)
    }
}

#[derive(Debug, Default)]
pub(in crate::kad) struct AddressBook {
    peers: HashMap<PeerId, Known>,
    /// Who left, and then who is connected, each by time.
    turns: BTreeSet<(bool, Instant, PeerId)>,
}

impl AddressBook {
    /// Replaces what is known of a peer.
    pub(in crate::kad) fn learn(
        &mut self,
        peer: PeerId,
        addresses: &[Multiaddr],
        is_connected: bool,
        now: Instant,
    ) {
        self.forget(&peer);
        if self.peers.len() >= PEERS_MAX
            && let Some((_, _, first)) = self.turns.pop_first()
        {
            self.peers.remove(&first);
        }
        let addresses = addresses.iter().take(ADDRESSES_MAX).cloned().collect();
        let known = Known { addresses, is_connected, at: now };
        self.turns.insert(known.turn(peer));
        self.peers.insert(peer, known);
    }

    /// A peer is connected now, or not any more.
    pub(in crate::kad) fn connected(&mut self, peer: PeerId, is_connected: bool, now: Instant) {
        let Some(known) = self.peers.get_mut(&peer) else { return };
        if known.is_connected != is_connected {
            self.turns.remove(&known.turn(peer));
            (known.is_connected, known.at) = (is_connected, now);
            self.turns.insert(known.turn(peer));
        }
    }

    /// Forgets who left long ago.
    pub(in crate::kad) fn expire(&mut self, now: Instant) {
        while let Some((false, at, peer)) = self.turns.first().copied()
            && now.saturating_duration_since(at) >= GONE_MAX
        {
            self.forget(&peer);
        }
    }

    fn forget(&mut self, peer: &PeerId) {
        if let Some(known) = self.peers.remove(peer) {
            self.turns.remove(&known.turn(*peer));
        }
    }

    /// What is known of a peer.
    pub(in crate::kad) fn addresses(&self, peer: &PeerId) -> &[Multiaddr] {
        self.peers.get(peer).map_or(&[], |known| &known.addresses)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address() -> [Multiaddr; 1] {
        ["/ip4/10.0.0.1/tcp/1".parse().unwrap()]
    }

    #[test]
    fn it_never_holds_more_than_it_may_and_keeps_who_is_connected() {
        let (mut book, mut now) = (AddressBook::default(), Instant::now());
        let (here, gone) = (PeerId::random(), PeerId::random());
        book.learn(here, &address(), true, now);
        book.learn(gone, &address(), true, now);
        for _ in 0..PEERS_MAX - 2 {
            now += Duration::from_millis(1);
            book.learn(PeerId::random(), &address(), true, now);
        }
        book.connected(gone, false, now);
        assert_eq!(book.addresses(&gone).len(), 1);
        book.learn(PeerId::random(), &address(), true, now);
        assert!(book.addresses(&gone).is_empty(), "who left goes first");
        assert_eq!(book.addresses(&here).len(), 1);
        book.learn(PeerId::random(), &address(), true, now);
        assert!(book.addresses(&here).is_empty(), "then who was met first");
        assert_eq!((book.peers.len(), book.turns.len()), (PEERS_MAX, PEERS_MAX));
    }

    #[test]
    fn a_peer_is_forgotten_half_an_hour_after_it_left() {
        let (mut book, start) = (AddressBook::default(), Instant::now());
        let (here, gone) = (PeerId::random(), PeerId::random());
        book.learn(here, &address(), true, start);
        book.learn(gone, &address(), true, start);
        let left = start + 3 * GONE_MAX;
        book.expire(left);
        book.connected(gone, false, left);
        book.connected(gone, false, left + GONE_MAX);
        book.expire(left + GONE_MAX.saturating_sub(Duration::from_secs(1)));
        assert_eq!(book.addresses(&gone).len(), 1);
        book.expire(left + GONE_MAX);
        assert!(book.addresses(&gone).is_empty() && book.addresses(&here).len() == 1);
        assert_eq!((book.peers.len(), book.turns.len()), (1, 1));
    }
}
