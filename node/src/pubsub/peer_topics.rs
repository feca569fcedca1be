//! How much is remembered of the topics that peers follow: libp2p bounds their number, and not their names.

use std::collections::HashMap;

use libp2p::PeerId;

/// Bytes of the names of one peer's topics: those of 4,096 records of names, and half as much again.
const PEER_BYTES_MAX: usize = 512 << 10;
/// Bytes of the names of all peers' topics.
const BYTES_MAX: usize = 64 << 20;

/// The bytes of the names, by connected peer.
#[derive(Debug, Default)]
pub(super) struct PeerTopics {
    bytes: HashMap<PeerId, usize>,
    all: usize,
}

impl PeerTopics {
    /// It is connected.
    pub(super) fn meet(&mut self, peer: PeerId) {
        self.bytes.entry(peer).or_default();
    }

    /// A peer follows one more topic. False where that is more than may be: the peer has to go. One that has gone already counts
    /// for nothing.
    pub(super) fn add(&mut self, peer: PeerId, topic: &str) -> bool {
        let Some(bytes) = self.bytes.get_mut(&peer) else { return true };
        *bytes += topic.len();
        self.all += topic.len();
        *bytes <= PEER_BYTES_MAX && self.all <= BYTES_MAX
    }

    /// It follows one less.
    pub(super) fn remove(&mut self, peer: &PeerId, topic: &str) {
        if let Some(bytes) = self.bytes.get_mut(peer) {
            let less = topic.len().min(*bytes);
            *bytes -= less;
            self.all -= less;
        }
    }

    /// It is gone.
    pub(super) fn forget(&mut self, peer: &PeerId) {
        self.all -= self.bytes.remove(peer).unwrap_or(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_follows_too_much_has_to_go_and_leaves_nothing() {
        let (mut topics, peer, other) = (PeerTopics::default(), PeerId::random(), PeerId::random());
        let name = "t".repeat(1024);
        topics.meet(peer);
        topics.meet(other);
        for _ in 0..512 {
            assert!(topics.add(peer, &name));
        }
        assert!(topics.add(other, &name), "one peer's is not another's");
        topics.remove(&peer, &name);
        assert!(topics.add(peer, &name));
        assert!(!topics.add(peer, &name));
        topics.forget(&peer);
        assert!(topics.add(peer, &name), "what is told of it later is nothing");
        topics.forget(&other);
        topics.remove(&other, &name);
        assert!(topics.all == 0 && topics.bytes.is_empty());
    }

    #[test]
    fn all_together_follow_no_more_than_may_be_remembered() {
        let (mut topics, name) = (PeerTopics::default(), "t".repeat(PEER_BYTES_MAX));
        let mut follow = |name: &str| {
            let peer = PeerId::random();
            topics.meet(peer);
            topics.add(peer, name)
        };
        for _ in 0..BYTES_MAX / PEER_BYTES_MAX {
            assert!(follow(&name));
        }
        assert!(!follow("t"));
    }
}
