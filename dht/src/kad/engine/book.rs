//! The addresses of peers that were met, servers or not: what lets FIND_NODE tell of peers that are in no table.

use std::collections::{HashMap, VecDeque};

use libp2p::{Multiaddr, PeerId};

use crate::kad::wire::ADDRESSES_MAX;

/// Peers that are remembered: 4,096, about 2 MiB. Who was met first goes first.
const PEERS_MAX: usize = 4_096;

#[derive(Debug, Default)]
pub(in crate::kad) struct AddressBook {
    peers: HashMap<PeerId, Vec<Multiaddr>>,
    order: VecDeque<PeerId>,
}

impl AddressBook {
    /// Replaces what is known of a peer.
    pub(in crate::kad) fn learn(&mut self, peer: PeerId, addresses: &[Multiaddr]) {
        if !self.peers.contains_key(&peer) {
            if self.order.len() >= PEERS_MAX
                && let Some(first) = self.order.pop_front()
            {
                self.peers.remove(&first);
            }
            self.order.push_back(peer);
        }
        self.peers.insert(peer, addresses.iter().take(ADDRESSES_MAX).cloned().collect());
    }

    /// What is known of a peer.
    pub(in crate::kad) fn addresses(&self, peer: &PeerId) -> &[Multiaddr] {
        self.peers.get(peer).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_holds_more_than_it_may() {
        let mut book = AddressBook::default();
        let address: Multiaddr = "/ip4/10.0.0.1/tcp/1".parse().unwrap();
        let first = PeerId::random();
        book.learn(first, std::slice::from_ref(&address));
        for _ in 0..PEERS_MAX {
            assert_eq!(book.addresses(&first).len(), 1);
            book.learn(PeerId::random(), std::slice::from_ref(&address));
        }
        assert_eq!((book.peers.len(), book.order.len()), (PEERS_MAX, PEERS_MAX));
        assert!(book.addresses(&first).is_empty());
    }
}
