//! Which servers there are in a region, from the answers of lookups.

use std::collections::BTreeMap;

use crate::kad::{BUCKET_PEERS_MAX, KadId, PeerInfo, Prefix};

/// Peers of one region that are kept: more would mean a network 100 times larger than the one the region was cut for.
const PEERS_MAX: usize = 8_192;

/// Lookups of one region. A region has about 8.
const LOOKUPS_MAX: usize = 256;

/// What is known of a region, and what is still to be looked at.
#[derive(Debug)]
pub(super) struct Coverage {
    region: Prefix,
    uncovered: Vec<Prefix>,
    peers: BTreeMap<KadId, PeerInfo>,
    lookups: usize,
    is_all_known: bool,
}

impl Coverage {
    pub(super) fn new(region: Prefix) -> Self {
        Self { region, uncovered: vec![region], peers: BTreeMap::new(), lookups: 0, is_all_known: false }
    }

    /// The next part to look at: a lookup for any place in it, told by [`Coverage::answered`]. `None`: all is known.
    pub(super) fn next(&mut self) -> Option<Prefix> {
        if self.is_all_known || self.lookups >= LOOKUPS_MAX {
            return None;
        }
        while self.uncovered.is_empty() {
            // With fewer than 20 servers in it, some keys have closer ones outside: what lies beside it is needed too.
            if self.count_within(&self.region) >= BUCKET_PEERS_MAX {
                return None;
            }
            let sibling = self.region.sibling()?;
            self.region = self.region.parent()?;
            self.uncovered.push(sibling);
        }
        self.uncovered.last().copied()
    }

    /// The 20 closest peers of a place in the part that [`Coverage::next`] gave.
    pub(super) fn answered(&mut self, place: &KadId, closest: Vec<PeerInfo>) {
        self.lookups += 1;
        let Some(part) = self.uncovered.pop() else { return };
        let count = closest.len();
        let shared = closest.iter().map(|peer| place.common_prefix_bits(&KadId::from(&peer.id))).min();
        for peer in closest {
            if self.peers.len() < PEERS_MAX {
                self.peers.insert(KadId::from(&peer.id), peer);
            }
        }
        // Fewer than 20 are all that there are anywhere.
        self.is_all_known |= count < BUCKET_PEERS_MAX;
        let covered_bits = shared.map_or(0, |bits| bits + 1);
        // What is left of the part: at each step down to what is covered, the other half.
        let mut parent = part;
        while parent.bits() < covered_bits.min(part.bits() + 64) {
            let near = parent.child(place.bit(parent.bits()));
            self.uncovered.extend(near.sibling());
            parent = near;
        }
    }

    /// How many peers are known.
    pub(super) fn peers_len(&self) -> usize {
        self.peers.len()
    }

    /// How many lookups it took.
    #[cfg(test)]
    pub(super) fn lookups(&self) -> usize {
        self.lookups
    }

    fn count_within(&self, prefix: &Prefix) -> usize {
        self.peers.range(prefix.first()..=prefix.last()).count()
    }

    /// The 20 closest of the known peers to a place, closest first.
    pub(super) fn closest(&self, place: &KadId) -> Vec<&PeerInfo> {
        // The longest prefix of the place with 20 peers in it has all of the closest 20.
        let mut bits = self.region.bits();
        while bits < KadId::BITS && self.count_within(&Prefix::of(place, bits + 1)) >= BUCKET_PEERS_MAX {
            bits += 1;
        }
        while bits > 0 && self.count_within(&Prefix::of(place, bits)) < BUCKET_PEERS_MAX {
            bits -= 1;
        }
        let prefix = Prefix::of(place, bits);
        let within = self.peers.range(prefix.first()..=prefix.last());
        let mut near: Vec<(&KadId, &PeerInfo)> = within.collect();
        near.sort_by_key(|(id, _)| id.distance(place));
        near.truncate(BUCKET_PEERS_MAX);
        near.into_iter().map(|(_, peer)| peer).collect()
    }
}

#[cfg(test)]
mod tests {
    use libp2p::PeerId;

    use super::*;

    fn network(size: usize) -> BTreeMap<KadId, PeerInfo> {
        let peer = || PeerInfo { id: PeerId::random(), addresses: Vec::new() };
        std::iter::repeat_with(peer).take(size).map(|peer| (KadId::from(&peer.id), peer)).collect()
    }

    fn closest(network: &BTreeMap<KadId, PeerInfo>, place: &KadId) -> Vec<PeerInfo> {
        let mut all: Vec<(&KadId, &PeerInfo)> = network.iter().collect();
        all.sort_by_key(|(id, _)| id.distance(place));
        all.into_iter().take(BUCKET_PEERS_MAX).map(|(_, peer)| peer.clone()).collect()
    }

    #[test]
    fn a_region_is_known_whole_after_the_lookups_that_cover_it() {
        let network = network(2_000);
        for number in 0..16_u8 {
            let region = Prefix::of(&KadId::of(&[number]), 5);
            let mut coverage = Coverage::new(region);
            while let Some(part) = coverage.next() {
                // Any place in the part will do.
                let place = part.last();
                coverage.answered(&place, closest(&network, &place));
            }
            let there = network.range(region.first()..=region.last()).count();
            assert_eq!(coverage.count_within(&region), there);
            assert!(coverage.lookups() <= there / 4, "{} lookups for {there} peers", coverage.lookups());
            for key in 0..200_u16 {
                let place = KadId::of(&key.to_be_bytes());
                if region.contains(&place) {
                    let truth = closest(&network, &place);
                    assert!(coverage.closest(&place).into_iter().eq(&truth));
                }
            }
        }
    }

    #[test]
    fn a_small_network_is_known_after_one_lookup() {
        let network = network(7);
        let mut coverage = Coverage::new(Prefix::of(&KadId::of(b"x"), 3));
        let part = coverage.next().unwrap();
        coverage.answered(&part.first(), closest(&network, &part.first()));
        assert_eq!(coverage.peers_len(), 7);
        assert_eq!((coverage.next(), coverage.lookups()), (None, 1));
        assert_eq!(coverage.closest(&KadId::of(b"y")).len(), 7);
    }
}
