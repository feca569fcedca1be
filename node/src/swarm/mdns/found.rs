//! Who was found in the local network, and until when that is believed. It does no I/O and knows no clock.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant};

use libp2p::{Multiaddr, PeerId};

/// Addresses that are known at once, in all; those that end first make room.
pub(super) const ADDRESSES_MAX: usize = 1024;
/// How long others are believed at most, whatever they say: as long as we ask to be believed, so that none stays longer than
/// we would.
pub(super) const TTL_MAX: Duration = Duration::from_secs(6 * 60);

/// The addresses of neighbours.
#[derive(Debug, Default)]
pub(super) struct Found {
    until: HashMap<(PeerId, Multiaddr), Instant>,
    by_end: BTreeSet<(Instant, PeerId, Multiaddr)>,
    /// How many of them each peer has.
    counts: HashMap<PeerId, usize>,
}

/// What changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// Addresses that were not known before.
    pub(super) new: Vec<(PeerId, Multiaddr)>,
    /// Peers of which no address is left.
    pub(super) gone: Vec<PeerId>,
}

impl Found {
    /// Somebody says where peers are, and for how long that holds: not at all for those that go.
    pub(super) fn hear(
        &mut self,
        peers: impl IntoIterator<Item = (PeerId, Multiaddr, Duration)>,
        now: Instant,
    ) -> Changes {
        let (mut new, mut left) = (Vec::new(), Vec::new());
        for (peer, address, ttl) in peers {
            let known = (peer, address);
            let was_known = self.forget(&known);
            if ttl.is_zero() {
                left.extend(was_known.then_some(peer));
                continue;
            }
            if !was_known {
                left.extend(self.make_room());
                new.push(known.clone());
            }
            self.remember(known, now + ttl.min(TTL_MAX));
        }
        // More than there is room for were said at once.
        new.retain(|known| self.until.contains_key(known));
        Changes { new, gone: self.without_address(left) }
    }

    /// Forgets what is no longer believed; the peers of which no address is left.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<PeerId> {
        let mut left = Vec::new();
        while let Some((until, peer, address)) = self.by_end.first()
            && *until <= now
        {
            let known = (*peer, address.clone());
            left.push(known.0);
            self.forget(&known);
        }
        self.without_address(left)
    }

    fn make_room(&mut self) -> Option<PeerId> {
        if self.until.len() < ADDRESSES_MAX {
            return None;
        }
        let (_, peer, address) = self.by_end.first()?;
        let first = (*peer, address.clone());
        self.forget(&first);
        Some(first.0)
    }

    fn remember(&mut self, known: (PeerId, Multiaddr), until: Instant) {
        *self.counts.entry(known.0).or_default() += 1;
        self.by_end.insert((until, known.0, known.1.clone()));
        self.until.insert(known, until);
    }

    /// Whether it was known.
    fn forget(&mut self, known: &(PeerId, Multiaddr)) -> bool {
        let Some(until) = self.until.remove(known) else { return false };
        self.by_end.remove(&(until, known.0, known.1.clone()));
        if let Some(count) = self.counts.get_mut(&known.0) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&known.0);
            }
        }
        true
    }

    /// Those of the peers that have no address any more, each once.
    fn without_address(&self, peers: Vec<PeerId>) -> Vec<PeerId> {
        let gone: HashSet<PeerId> =
            peers.into_iter().filter(|peer| !self.counts.contains_key(peer)).collect();
        gone.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: usize) -> Multiaddr {
        format!("/ip6/fd00::{number:x}/tcp/4001").parse().unwrap()
    }

    #[test]
    fn a_peer_is_told_once_kept_while_it_is_heard_and_gone_with_its_last_address() {
        let (mut found, peer, now) = (Found::default(), PeerId::random(), Instant::now());
        let v4: Multiaddr = "/ip4/10.0.0.1/tcp/4001".parse().unwrap();
        let both = [v4.clone(), address(2)];
        let changes = found.hear(both.clone().map(|address| (peer, address, TTL_MAX)), now);
        assert_eq!(changes, Changes { new: both.map(|address| (peer, address)).to_vec(), gone: Vec::new() });
        assert_eq!(found.hear([(peer, v4.clone(), TTL_MAX)], now + TTL_MAX / 2), Changes::default());
        assert!(found.expire(now + TTL_MAX).is_empty(), "an address of it is left");
        assert_eq!(found.expire(now + TTL_MAX + TTL_MAX / 2), [peer]);
        // One that says that it goes.
        found.hear([(peer, v4.clone(), TTL_MAX), (peer, address(2), TTL_MAX)], now);
        let leave = |found: &mut Found, address| found.hear([(peer, address, Duration::ZERO)], now);
        assert_eq!(leave(&mut found, v4.clone()), Changes::default());
        assert_eq!(leave(&mut found, address(2)), Changes { new: Vec::new(), gone: vec![peer] });
        assert_eq!(leave(&mut found, v4), Changes::default(), "it is known no longer");
    }

    #[test]
    fn a_neighbour_that_says_too_much_fills_no_memory_and_leaves_nothing() {
        let (mut found, now) = (Found::default(), Instant::now());
        let mut here = HashSet::new();
        for number in 0..3 * ADDRESSES_MAX {
            let when = now + Duration::from_millis(number as u64);
            let changes = found.hear([(PeerId::random(), address(number), Duration::MAX)], when);
            here.extend(changes.new.into_iter().map(|(peer, _)| peer));
            for peer in &changes.gone {
                assert!(here.remove(peer), "it was told before");
            }
        }
        assert_eq!((found.until.len(), here.len()), (ADDRESSES_MAX, ADDRESSES_MAX));
        assert_eq!((found.by_end.len(), found.counts.len()), (ADDRESSES_MAX, ADDRESSES_MAX));
        let gone = found.expire(now + Duration::from_secs(10) + TTL_MAX);
        assert_eq!(gone.into_iter().collect::<HashSet<_>>(), here);
        assert!(found.until.is_empty() && found.by_end.is_empty() && found.counts.is_empty());
    }

    #[test]
    fn a_neighbour_finds_its_place_among_inventions() {
        let (mut found, now, peer) = (Found::default(), Instant::now(), PeerId::random());
        for number in 0..ADDRESSES_MAX {
            found.hear([(PeerId::random(), address(number), Duration::MAX)], now);
        }
        let later = now + Duration::from_secs(1);
        assert_eq!(found.hear([(peer, address(1), TTL_MAX)], later).new, [(peer, address(1))]);
        found.hear([(PeerId::random(), address(2), Duration::MAX)], later);
        assert!(found.until.contains_key(&(peer, address(1))), "inventions made room, and not it");
    }
}
